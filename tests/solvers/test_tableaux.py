"""Every tableau in the table: its orders, its coefficients against other sources, and that no typing error survives."""

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy
from scipy.integrate import RK23, RK45
from scipy.integrate._ivp.rk import DOP853

from odernn.solvers.implicit_tableaux import IMPLICIT as IMPLICIT_TABLE
from odernn.solvers.order import computed_order, verify
from odernn.solvers.tableau import Tableau
from odernn.solvers.tableaux import ALIASES, METHODS, TABLEAUX, describe, method, tableau
from odernn.suite.browse import listing, polynomial, shown
from odernn.suite.errors import UsageError

F = Fraction
KEYS = [
    "name",
    "family",
    "stages",
    "order",
    "embedded_order",
    "real_stability_interval",
    "imaginary_stability_interval",
    "A_stable",
    "L_stable",
    "algebraically_stable",
    "B_stable",
    "symplectic",
    "symmetric",
    "oscillator_limit",
    "A",
    "b",
    "b_hat",
    "c",
    "explicit",
    "diagonally_implicit",
    "fsal",
    "stiffly_accurate",
    "stability_function",
    "ssp_radius",
    "circle_radius",
    "principal_error_norm",
    "reference",
]
NAMES = list(TABLEAUX)
IMPLICIT = [name for name in NAMES if not TABLEAUX[name].explicit]
EMBEDDED = [name for name in NAMES if TABLEAUX[name].b_hat is not None]


@pytest.mark.parametrize("name", NAMES)
def test_computed_order_is_the_claim_and_not_one_more(name):
    t = TABLEAUX[name]
    assert computed_order(t.A, t.b, t.order + 1, t.tolerance) == t.order
    if t.b_hat is not None:
        assert computed_order(t.A, t.b_hat, t.order + 2, t.tolerance) == t.embedded_order
        assert t.b_hat != t.b


def mutants(t, change):
    """The tableau with one coefficient changed: every entry of A, b and b_hat, zeros included.

    Of an explicit A, the entries below the diagonal only.
    """

    def bump(row, j):
        return (*row[:j], row[j] + change, *row[j + 1 :])

    for i in range(t.stages):
        for j in range(i if t.explicit else t.stages):
            yield f"A[{i}][{j}]", replace(t, A=(*t.A[:i], bump(t.A[i], j), *t.A[i + 1 :]))
    for j in range(t.stages):
        yield f"b[{j}]", replace(t, b=bump(t.b, j))
        if t.b_hat is not None:
            yield f"b_hat[{j}]", replace(t, b_hat=bump(t.b_hat, j))


@pytest.mark.parametrize("change", [F(1, 10**10), F(-1, 7)])
@pytest.mark.parametrize("name", NAMES)
def test_no_single_wrong_coefficient_survives(name, change):
    survivors = []
    for where, mutant in mutants(TABLEAUX[name], change):
        try:
            verify(mutant)
        except UsageError:
            continue
        survivors.append(where)
    # the one condition of order 1 says nothing of A: what makes a one-stage method backward Euler is its R(z)
    assert survivors == (["A[0][0]"] if name == "backward-euler" else [])


def number(x):
    """A coefficient in mpmath's precision."""
    if isinstance(x, F):
        return mpmath.mpf(x.numerator) / x.denominator
    return number(x.p) + number(x.q) * mpmath.sqrt(x.d)


@pytest.mark.parametrize("name", NAMES)
def test_error_of_one_step_falls_with_the_order(name):
    """One step of y' = -2 t y^2, z' = y z from t = 1/2, exact 1/(1 + t^2) and exp(atan t), in 100 digits."""
    t = TABLEAUX[name]
    with mpmath.workdps(100):
        A = [[number(x) for x in row] for row in t.A]
        c = [number(x) for x in t.c]

        def exact(x):
            return [1 / (1 + x**2), mpmath.exp(mpmath.atan(x))]

        def error(weights, h):
            start = mpmath.mpf(1) / 2
            slopes = [[mpmath.mpf(0)] * 2 for _ in c]
            # in place, so that one sweep gives the slopes of an explicit method; each more gains a digit at least
            for _ in range(1 if t.explicit else 35):
                for i, (row, node) in enumerate(zip(A, c, strict=True)):
                    y, z = (
                        u + h * sum(a * k[m] for a, k in zip(row, slopes, strict=True))
                        for m, u in enumerate(exact(start))
                    )
                    slopes[i] = [-2 * (start + node * h) * y**2, y * z]
            end = [
                u + h * sum(w * k[m] for w, k in zip(weights, slopes, strict=True)) for m, u in enumerate(exact(start))
            ]
            return max(abs(u - v) for u, v in zip(end, exact(start + h), strict=True))

        for weights, order in ((t.b, t.order), (t.b_hat, t.embedded_order)):
            if weights is not None:
                b = [number(x) for x in weights]
                # the error must stay above the rounding of the decimals
                h = mpmath.mpf(2) ** {"dop853": -8, "tsitouras54": -10}.get(name, -14)
                slope = mpmath.log(error(b, h) / error(b, h / 2), 2)
                assert float(slope) == pytest.approx(order + 1, abs=0.05)


def test_coefficients_are_those_of_scipy():
    for name, scipy_method in (("bogacki-shampine32", RK23), ("dormand-prince54", RK45)):
        arrays, s = TABLEAUX[name].arrays, scipy_method.n_stages
        np.testing.assert_allclose(arrays.A[:s, : s - 1], scipy_method.A[:, : s - 1], rtol=1e-15, atol=0)
        np.testing.assert_allclose(arrays.b[:s], scipy_method.B, rtol=1e-15, atol=0)
        np.testing.assert_allclose(arrays.c[:s], scipy_method.C, rtol=1e-15, atol=0)
        np.testing.assert_allclose((arrays.b_hat - arrays.b)[: s + 1], scipy_method.E, rtol=1e-13, atol=1e-16)
    arrays = TABLEAUX["dop853"].arrays
    assert np.array_equal(arrays.A, DOP853.A[:12, :12])
    assert np.array_equal(arrays.b, DOP853.B)
    np.testing.assert_allclose(arrays.c, DOP853.C[:12], rtol=1e-15, atol=0)
    np.testing.assert_allclose(arrays.b - arrays.b_hat, DOP853.E5[:12], rtol=1e-13, atol=1e-16)


def test_radau_is_that_of_scipy():
    """SciPy's Radau is Radau IIA with three stages: its nodes, its eigenvalues of A^(-1), its T block-diagonalises."""
    from scipy.integrate._ivp.radau import MU_COMPLEX, MU_REAL, TI, C, T

    arrays = TABLEAUX["radau2a3"].arrays
    np.testing.assert_allclose(arrays.c, C, rtol=1e-15)
    inverse = TI @ np.linalg.inv(arrays.A) @ T
    a, b = MU_COMPLEX.real, MU_COMPLEX.imag
    np.testing.assert_allclose(inverse, [[MU_REAL, 0, 0], [0, a, -b], [0, b, a]], atol=1e-12)


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("gauss2", lambda x: sympy.diff((x * (x - 1)) ** 2, x, 2)),
        ("gauss3", lambda x: sympy.diff((x * (x - 1)) ** 3, x, 3)),
        ("radau2a2", lambda x: sympy.diff(x * (x - 1) ** 2, x)),
        ("radau2a3", lambda x: sympy.diff(x**2 * (x - 1) ** 3, x, 2)),
        ("lobatto3a3", lambda x: sympy.diff((x * (x - 1)) ** 2, x)),
    ],
)
def test_collocation_methods_from_their_nodes(name, points):
    """a_ij and b_j integrate the Lagrange polynomials of the nodes (Hairer, Wanner, IV.5), by SymPy, exactly."""
    x, t = sympy.Symbol("x"), TABLEAUX[name]
    c = sorted(sympy.roots(sympy.expand(points(x)), x))
    assert [sympy.simplify(sympy.sympify(str(a)) - b) for a, b in zip(t.c, c, strict=True)] == [0] * t.stages
    for j, node in enumerate(c):
        others = [other for other in c if other != node]
        antiderivative = sympy.integrate(sympy.expand(sympy.prod([(x - o) / (node - o) for o in others])), x)
        assert sympy.simplify(antiderivative.subs(x, 1) - sympy.sympify(str(t.b[j]))) == 0
        for i, end in enumerate(c):
            assert sympy.simplify(antiderivative.subs(x, end) - sympy.sympify(str(t.A[i][j]))) == 0


def test_lobatto_3b_and_3c_from_3a():
    """b_i ahat_ij + bhat_j a_ji = b_i bhat_j makes IIIB of IIIA; IIIC has a_i1 = b_1 and C(s - 1)."""
    a, b, c = (TABLEAUX[f"lobatto3{kind}3"] for kind in "abc")
    for i in range(3):
        for j in range(3):
            assert b.A[i][j] == b.b[j] * (1 - a.A[j][i] / a.b[i])
    for t in (c, TABLEAUX["lobatto3c2"]):
        assert all(row[0] == t.b[0] for row in t.A)
        for k in range(1, t.stages):
            sums = [sum(x * node ** (k - 1) for x, node in zip(row, t.c, strict=True)) for row in t.A]
            assert sums == [node**k / k for node in t.c]


def test_sympy_numbers_and_text_are_the_same_tableau():
    root = sympy.sqrt(3) / 6
    quarter, half = sympy.Rational(1, 4), sympy.Rational(1, 2)
    A = ((quarter, quarter - root), (1 / (12 - 6 * sympy.sqrt(3)) - quarter / 3, quarter))
    assert Tableau("gauss2", A, (half, half), 4, "SymPy") == TABLEAUX["gauss2"]


def test_spiteri_ruuth_form_of_ssp54():
    """The fifteen digits of their table for SSP(5,4), multiplied out."""
    alpha = {
        (2, 0): 0.444370493651235,
        (2, 1): 0.555629506348765,
        (3, 0): 0.620101851488403,
        (3, 2): 0.379898148511597,
        (4, 0): 0.178079954393132,
        (4, 3): 0.821920045606868,
        (5, 2): 0.517231671970585,
        (5, 3): 0.096059710526147,
        (5, 4): 0.386708617503269,
        (1, 0): 1.0,
    }
    beta = {
        (1, 0): 0.391752226571890,
        (2, 1): 0.368410593050371,
        (3, 2): 0.251891774271694,
        (4, 3): 0.544974750228521,
        (5, 3): 0.063692468666290,
        (5, 4): 0.226007483236906,
    }
    K = np.zeros((6, 5))
    for i in range(1, 6):
        for j in range(5):
            K[i, j] = beta.get((i, j), 0) + sum(alpha.get((i, k), 0) * K[k, j] for k in range(1, i))
    arrays = TABLEAUX["ssp54"].arrays
    np.testing.assert_allclose(arrays.A, K[:5], atol=2e-14)
    np.testing.assert_allclose(arrays.b, K[5], atol=2e-14)


def test_decimals_only_where_nothing_exact_exists():
    assert {name for name in NAMES if TABLEAUX[name].tolerance} == {"ssp54", "tsitouras54", "dop853"}
    assert all(TABLEAUX[name].tolerance <= F(1, 10**27) for name in NAMES)


def test_derived_properties():
    assert {name for name in NAMES if TABLEAUX[name].fsal} == {
        "bogacki-shampine32",
        "dormand-prince54",
        "tsitouras54",
        "bogacki-shampine54",
        "verner65",
    }
    assert all(t.c[0] == 0 for t in TABLEAUX.values() if t.explicit)
    assert set(IMPLICIT) == {entry.name for entry in IMPLICIT_TABLE}
    assert {name for name in IMPLICIT if TABLEAUX[name].diagonally_implicit} == {
        *("backward-euler", "implicit-midpoint", "trapezoid", "lobatto3b2", "sdirk2", "tr-bdf2", "esdirk43")
    }
    assert {name for name in IMPLICIT if TABLEAUX[name].stiffly_accurate} == {
        *("backward-euler", "trapezoid", "radau2a2", "radau2a3", "lobatto3a3", "lobatto3c2", "lobatto3c3"),
        *("sdirk2", "tr-bdf2", "esdirk43"),
    }
    assert TABLEAUX["dormand-prince54"].c == (0, F(1, 5), F(3, 10), F(4, 5), F(8, 9), 1, 1)
    assert TABLEAUX["tsitouras54"].c[1:4] == (F("0.161"), F("0.327"), F("0.9"))
    assert not Tableau("implicit midpoint", (("1/2",),), ("1",), 2, "x").explicit
    assert all(name == name.lower() and TABLEAUX[name].name == name and TABLEAUX[name].reference for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_are_the_nearest_floats_and_read_only(name):
    t = TABLEAUX[name]
    assert t.arrays is t.arrays
    assert t.arrays.A.dtype == np.float64
    with mpmath.workdps(60):
        assert t.arrays.A.tolist() == [[float(number(x)) for x in row] for row in t.A]
        assert t.arrays.c.tolist() == [float(number(x)) for x in t.c]
    assert (t.arrays.b_hat is None) == (t.b_hat is None)
    with pytest.raises(ValueError, match="read-only"):
        t.arrays.b[0] = 0.0


def test_equality_is_that_of_name_and_coefficients():
    euler = Tableau("euler", (("0",),), ("1",), 1, "one place")
    assert euler == Tableau("euler", ((0,),), (F(1),), 1, "another place")
    assert hash(euler) == hash(TABLEAUX["euler"])
    assert euler != Tableau("euler", (("0",),), ("2",), 1, "one place")
    assert euler != Tableau("Euler", (("0",),), ("1",), 1, "one place")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"A": (("0",),), "b": ("1", "0")}, "expected 2 x 2"),
        ({"A": (("0",), ("1", "0")), "b": ("1", "0")}, "expected 2 x 2"),
        ({"A": (), "b": ()}, "at least one stage"),
        ({"A": ((0.5,),), "b": ("1",)}, "0.5 is not exact"),
        ({"A": (("one",),), "b": ("1",)}, "'one' is not exact"),
        ({"A": (("1/0",),), "b": ("1",)}, "'1/0' is not exact"),
        ({"A": (("sqrt(-2)",),), "b": ("1",)}, "is not exact"),
        ({"A": (("sqrt(2)+sqrt(3)",),), "b": ("1",)}, "is not exact"),
        ({"A": (("sqrt(2) and 1",),), "b": ("1",)}, "is not exact"),
        ({"A": ((sympy.Float("0.5"),),), "b": ("1",)}, "is not exact"),
        ({"A": ((sympy.pi,),), "b": ("1",)}, "is not exact"),
        ({"A": (("sqrt(2)",),), "b": ("sqrt(3)",)}, r"sqrt\(2\) and sqrt\(3\): expected one root"),
        ({"A": (("0",),), "b": ("1",), "b_hat": ("1", "0"), "embedded_order": 1}, "2 embedded weights: expected 1"),
        ({"A": (("0",),), "b": ("1",), "b_hat": ("1",)}, "both b_hat and embedded_order"),
    ],
)
def test_impossible_tableaux_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        Tableau("wrong", order=1, reference="none", **arguments)


def test_names_and_aliases():
    assert tableau("RK4") is TABLEAUX["rk4"]
    assert tableau("dopri5") is TABLEAUX["dormand-prince54"]
    assert tableau("tsit5") is TABLEAUX["tsitouras54"]
    assert tableau("bs32") is TABLEAUX["bogacki-shampine32"]
    assert tableau("three-eighths") is TABLEAUX["rk38"]
    assert tableau("crank-nicolson") is TABLEAUX["trapezoid"]
    assert method("Verlet") is METHODS["stormer-verlet"]
    assert set(ALIASES.values()) <= set(METHODS)
    assert not set(ALIASES) & set(METHODS)
    assert all(entry.name == name for name, entry in METHODS.items())
    with pytest.raises(UsageError, match="'verlet' is a partitioned method: expected one tableau"):
        tableau("verlet")
    with pytest.raises(UsageError, match="'strang' is a splitting method"):
        tableau("strang")
    with pytest.raises(UsageError, match="unknown tableau 'dormand-price54': did you mean 'dormand-prince54'"):
        tableau("dormand-price54")
    with pytest.raises(TypeError):
        TABLEAUX["mine"] = TABLEAUX["rk4"]


@pytest.mark.parametrize("name", NAMES)
def test_description_is_json_and_complete(name):
    t = TABLEAUX[name]
    seen = json.loads(json.dumps(describe(t), allow_nan=False))
    assert list(seen) == KEYS
    again = Tableau(seen["name"], seen["A"], seen["b"], seen["order"], "", seen["b_hat"], seen["embedded_order"])
    assert again == t
    assert hash(again) == hash(t)
    assert (seen["order"], seen["embedded_order"], seen["stages"]) == (t.order, t.embedded_order, t.stages)
    assert seen["c"] == [str(x) for x in t.c]


def test_the_listing_says_what_is_computed():
    """Every method of every kind, as text and as JSON; numbers are rounded down, so they stay inside the intervals."""
    text, refused = listing("tableaux", as_json=False)
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines()[2 : 2 + len(METHODS)]}
    assert (set(lines), refused) == (set(METHODS), [])
    assert lines["gauss2"][:8] == ["implicit", "2", "4", "AB", "symplectic,", "symmetric", "inf", "inf"]
    assert lines["rk4"][:6] == ["explicit", "4", "4", "2.7852", "2.8284", "2.8284"]
    assert lines["dormand-prince54"][:3] == ["explicit", "7", "5(4)"]
    assert lines["stormer-verlet"][:6] == ["partitioned", "2", "2", "symplectic,", "symmetric", "2"]
    assert lines["strang"][:8] == ["splitting", "2", "ALB", "symplectic,", "symmetric", "inf", "inf", "2"]
    facts = {entry["name"]: entry for entry in json.loads(listing("tableau", as_json=True)[0])}
    assert set(facts) == set(METHODS)
    for name, entry in facts.items():
        assert entry["kind"] == "tableau"
        assert entry["order"] == METHODS[name].order
        assert entry["family"] in ("explicit", "diagonally implicit", "implicit", "partitioned", "splitting")


def test_a_method_is_shown_with_its_stability_function():
    shown_text = shown("gauss2", as_json=False)
    assert "R(z)" in shown_text
    assert "(1 + 1/2 z + 1/12 z^2) / (1 - 1/2 z + 1/12 z^2)" in shown_text
    assert polynomial(["1", "0", "-1 + sqrt(2)", "-1", "1"]) == "1 + (-1 + sqrt(2)) z^2 - z^3 + z^4"
    assert "part 0 over 1/2 h" in shown("strang", as_json=False)
    assert "block 1, momentum" in shown("verlet", as_json=False)


def test_the_table_is_light():
    code = "import sys, odernn.solvers.tableaux; print([m for m in ('torch', 'sympy', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
