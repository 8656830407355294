"""Every tableau in the table: its orders, its coefficients against other sources, and that no typing error survives."""

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy.integrate import RK23, RK45
from scipy.integrate._ivp.rk import DOP853

from odernn.solvers.order import computed_order, verify
from odernn.solvers.tableau import Tableau
from odernn.solvers.tableaux import ALIASES, TABLEAUX, describe, tableau
from odernn.suite.errors import UsageError

F = Fraction
KEYS = [
    "name",
    "stages",
    "order",
    "embedded_order",
    "A",
    "b",
    "b_hat",
    "c",
    "explicit",
    "fsal",
    "real_stability_interval",
    "imaginary_stability_interval",
    "ssp_radius",
    "circle_radius",
    "principal_error_norm",
    "reference",
]
NAMES = list(TABLEAUX)
EMBEDDED = [name for name in NAMES if TABLEAUX[name].b_hat is not None]


@pytest.mark.parametrize("name", NAMES)
def test_computed_order_is_the_claim_and_not_one_more(name):
    t = TABLEAUX[name]
    assert computed_order(t.A, t.b, t.order + 1, t.tolerance) == t.order
    if t.b_hat is not None:
        assert computed_order(t.A, t.b_hat, t.order + 2, t.tolerance) == t.embedded_order
        assert t.b_hat != t.b


def mutants(t, change):
    """The tableau with one coefficient changed: every entry below the diagonal, of b and of b_hat, zeros included."""

    def bump(row, j):
        return (*row[:j], row[j] + change, *row[j + 1 :])

    for i in range(t.stages):
        for j in range(i):
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
    assert survivors == []


@pytest.mark.parametrize("name", NAMES)
def test_error_of_one_step_falls_with_the_order(name):
    """One step of y' = -2 t y^2, z' = y z from t = 1/2, exact 1/(1 + t^2) and exp(atan t), in 100 digits."""
    t = TABLEAUX[name]
    with mpmath.workdps(100):
        A = [[mpmath.mpf(x.numerator) / x.denominator for x in row] for row in t.A]
        c = [mpmath.mpf(x.numerator) / x.denominator for x in t.c]

        def exact(x):
            return [1 / (1 + x**2), mpmath.exp(mpmath.atan(x))]

        def error(weights, h):
            start, slopes = mpmath.mpf(1) / 2, []
            for row, node in zip(A, c, strict=True):
                y, z = (
                    u + h * sum(a * k[m] for a, k in zip(row, slopes, strict=False)) for m, u in enumerate(exact(start))
                )
                slopes.append([-2 * (start + node * h) * y**2, y * z])
            end = [
                u + h * sum(w * k[m] for w, k in zip(weights, slopes, strict=True)) for m, u in enumerate(exact(start))
            ]
            return max(abs(u - v) for u, v in zip(end, exact(start + h), strict=True))

        for weights, order in ((t.b, t.order), (t.b_hat, t.embedded_order)):
            if weights is not None:
                b = [mpmath.mpf(x.numerator) / x.denominator for x in weights]
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
    assert all(t.explicit and t.c[0] == 0 for t in TABLEAUX.values())
    assert TABLEAUX["dormand-prince54"].c == (0, F(1, 5), F(3, 10), F(4, 5), F(8, 9), 1, 1)
    assert TABLEAUX["tsitouras54"].c[1:4] == (F("0.161"), F("0.327"), F("0.9"))
    assert not Tableau("implicit midpoint", (("1/2",),), ("1",), 2, "x").explicit
    assert all(name == name.lower() and TABLEAUX[name].name == name and TABLEAUX[name].reference for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_are_the_nearest_floats_and_read_only(name):
    t = TABLEAUX[name]
    assert t.arrays is t.arrays
    assert t.arrays.A.dtype == np.float64
    assert t.arrays.A.tolist() == [[x.numerator / x.denominator for x in row] for row in t.A]
    assert t.arrays.c.tolist() == [x.numerator / x.denominator for x in t.c]
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
    assert set(ALIASES.values()) <= set(TABLEAUX)
    assert not set(ALIASES) & set(TABLEAUX)
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
    assert (seen["order"], seen["embedded_order"], seen["stages"]) == (t.order, t.embedded_order, t.stages)
    assert [F(x) for x in seen["c"]] == list(t.c)


def test_the_table_is_light():
    code = "import sys, odernn.solvers.tableaux; print([m for m in ('torch', 'sympy', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
