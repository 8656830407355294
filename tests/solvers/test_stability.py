"""Intervals and radii against the literature, SymPy's root isolation, NumPy's eigenvalues and direct sampling."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from odernn.solvers.order import principal_error_norm
from odernn.solvers.stability import (
    a_stable,
    circle_radius,
    imaginary_stability_interval,
    l_stable,
    real_stability_interval,
    ssp_radius,
    stability_function,
    stability_polynomial,
)
from odernn.solvers.structure import algebraically_stable, b_stable, irreducible, symmetric, symplectic
from odernn.solvers.tableau import Tableau
from odernn.solvers.tableaux import TABLEAUX
from odernn.suite.errors import UsageError

F = Fraction
NAMES = [name for name, entry in TABLEAUX.items() if entry.explicit]
IMPLICIT = [name for name, entry in TABLEAUX.items() if not entry.explicit]
SQRT = math.sqrt


def with_polynomial(coefficients):
    """A tableau, one chain of stages, whose stability polynomial is the given one (from 1, 1, ... up)."""
    ones, a = coefficients[:2], [F(x) for x in coefficients]
    assert list(ones) == [1, 1]
    s = len(a) - 1
    A = [[F(0)] * s for _ in range(s)]
    for k in range(2, s + 1):  # b = e_s, so a_k / a_(k-1) sits k - 2 rows above the last
        A[s - k + 1][s - k] = a[k] / a[k - 1]
    return Tableau("chain", A, [0] * (s - 1) + [1], 1, "made for a test")


def implicit(A, b):
    return Tableau("implicit", A, b, 1, "made for a test")


@pytest.mark.parametrize(
    ("name", "real", "imaginary"),
    [
        ("euler", 2, 0),
        ("midpoint", 2, 0),
        ("heun2", 2, 0),
        ("ralston2", 2, 0),
        ("kutta3", 2.512745326618329, SQRT(3)),
        ("ssp33", 2.512745326618329, SQRT(3)),
        ("ssp43", 5.149486147774043, None),
        ("ssp104", 13.917047464637367, None),
        ("rk4", 2.785293563405282, 2 * SQRT(2)),
        ("rk38", 2.785293563405282, 2 * SQRT(2)),
        ("dormand-prince54", 3.3066, 0.997),
        ("tsitouras54", 3.5068, 0.47798),
        ("bogacki-shampine54", 3.9879271987261333, None),
        ("verner65", 4.8552743145651425, None),
        ("fehlberg45", 3.020, 0),
        ("cash-karp54", 3.734, 0),
    ],
)
def test_published_intervals(name, real, imaginary):
    """Hairer, Wanner, section IV.2, for the classical ones; the SciML and NodePy collections for the others."""
    rel = 1e-4 if len(str(real)) < 8 else 1e-9
    assert real_stability_interval(TABLEAUX[name]) == pytest.approx(real, rel=rel)
    if imaginary is not None:
        assert imaginary_stability_interval(TABLEAUX[name]) == pytest.approx(
            imaginary, rel=1e-3 if rel > 1e-5 else 1e-15
        )


def sign_changes(expression, x):
    """The positive roots of odd multiplicity, by SymPy, as floats."""
    roots = sympy.real_roots(sympy.Poly(expression, x), multiple=False)
    return sorted(float(root.evalf(30)) for root, multiplicity in roots if multiplicity % 2 and root > 0)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if TABLEAUX[name].stages <= 10 and not TABLEAUX[name].tolerance]
)
def test_intervals_are_where_sympy_finds_the_first_sign_change(name):
    t, x = TABLEAUX[name], sympy.Symbol("x")
    s, rational = t.stages, sympy.Rational
    A = sympy.Matrix(s, s, lambda i, j: rational(t.A[i][j].numerator, t.A[i][j].denominator))
    b = sympy.Matrix(1, s, [rational(w.numerator, w.denominator) for w in t.b])
    vector, R = sympy.ones(s, 1), sympy.Integer(1)
    for k in range(1, s + 1):
        R += (b * vector)[0] * x**k
        vector = A * vector
    real = sign_changes(sympy.expand(1 - R.subs(x, -x) ** 2), x)
    assert real_stability_interval(t) == pytest.approx(real[0], rel=1e-14)
    even, odd = R.subs(x, sympy.I * x).expand().as_real_imag()
    y = sympy.Symbol("y", real=True)
    excess = sympy.Poly(sympy.expand(even.subs(x, y) ** 2 + odd.subs(x, y) ** 2 - 1).subs(sympy.im(x), 0), y)
    lowest = excess.coeffs()[-1]
    imaginary = 0.0 if lowest > 0 else sign_changes(excess.as_expr(), y)[0]
    assert imaginary_stability_interval(t) == pytest.approx(imaginary, rel=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_sampling_agrees_inside_and_just_outside(name):
    R = np.polynomial.Polynomial([float(a) for a in stability_polynomial(TABLEAUX[name])])
    inside = np.linspace(0, 1, 4001)
    for direction, end in (
        (-1, real_stability_interval(TABLEAUX[name])),
        (1j, imaginary_stability_interval(TABLEAUX[name])),
    ):
        assert np.abs(R(direction * end * inside)).max() <= 1 + 1e-12
        assert max(abs(R(direction * (end + gap))) for gap in (0.01, 0.1, 0.5)) > 1 + 1e-12


@pytest.mark.parametrize("s", range(2, 9))
def test_touching_one_is_not_leaving(s):
    """T_s(1 + z/s^2) touches +-1 on the way to exactly -2 s^2 (Hairer, Wanner, IV.2)."""
    z = sympy.Symbol("z")
    coefficients = sympy.Poly(sympy.chebyshevt(s, 1 + z / s**2), z).all_coeffs()[::-1]
    assert real_stability_interval(with_polynomial([F(int(a.p), int(a.q)) for a in coefficients])) == 2 * s**2


@pytest.mark.parametrize("s", [3, 5, 7, 9])
def test_longest_imaginary_interval_is_reached_through_tangencies(s):
    """The s-stage polynomial with the longest possible imaginary interval, s - 1 (Kinnmark, Gray 1984)."""
    z = sympy.Symbol("z")
    w, t = z / (sympy.I * (s - 1)), sympy.chebyshevt
    R = sympy.I ** (s - 1) * t(s - 1, w) + sympy.I**s * (t(s, w) - t(s - 2, w)) / 2
    coefficients = sympy.Poly(sympy.expand(R), z).all_coeffs()[::-1]
    method = with_polynomial([F(int(a.p), int(a.q)) for a in coefficients])
    assert imaginary_stability_interval(method) == s - 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.fractions(0, 1, max_denominator=50).filter(bool), min_size=1, max_size=5))
def test_the_first_sign_change_of_any_polynomial(tail):
    method = with_polynomial([F(1), F(1), *tail])
    assert list(stability_polynomial(method)) == [1, 1, *tail]
    R = np.polynomial.Polynomial([float(a) for a in (1, 1, *tail)])
    for direction, end in ((-1, real_stability_interval(method)), (1j, imaginary_stability_interval(method))):
        assert np.abs(R(direction * end * np.linspace(0, 1, 501))).max() <= 1 + 1e-10
        outside = [abs(R(direction * (end + gap))) for gap in (1e-6, 1e-4, 1e-2)]
        assert max(outside) > 1 - 1e-15


def test_rk4_and_the_three_eighths_rule_differ_only_beyond_linear_problems():
    rk4, rk38 = TABLEAUX["rk4"], TABLEAUX["rk38"]
    assert stability_polynomial(rk4) == stability_polynomial(rk38) == (1, 1, F(1, 2), F(1, 6), F(1, 24))
    assert principal_error_norm(rk4.A, rk4.b, 4) != pytest.approx(principal_error_norm(rk38.A, rk38.b, 4), rel=0.1)
    assert circle_radius(rk4) > 2 * circle_radius(rk38)


@pytest.mark.parametrize("name", NAMES)
def test_polynomial_starts_like_the_exponential(name):
    t = TABLEAUX[name]
    assert stability_polynomial(t)[: t.order + 1] == tuple(F(1, math.factorial(k)) for k in range(t.order + 1))


def test_implicit_tableau_has_no_polynomial():
    with pytest.raises(UsageError, match="is implicit"):
        stability_polynomial(implicit([["1/2"]], ["1"]))


@pytest.mark.parametrize(
    ("name", "radius"),
    [
        ("euler", 1),
        ("heun2", 1),
        ("ralston2", 0.5),
        ("midpoint", 0),
        ("kutta3", 0),
        ("heun3", 0),
        ("ssp33", 1),
        ("ssp43", 2),
        ("ssp54", 1.508180049189838),
        ("ssp104", 6),
        ("rk4", 0),
        ("rk38", 0),
        ("dormand-prince54", 0),
    ],
)
def test_published_ssp_coefficients(name, radius):
    """Gottlieb, Ketcheson, Shu, *Strong Stability Preserving Runge-Kutta and Multistep Time Discretizations* (2011)."""
    assert ssp_radius(TABLEAUX[name]) == pytest.approx(radius, rel=1e-12, abs=0)


def test_ssp_radius_of_implicit_methods():
    """Kraaijevanger (1991): unbounded for backward Euler, 2 for implicit midpoint and the trapezoid."""
    assert ssp_radius(implicit([["1"]], ["1"])) == math.inf
    assert ssp_radius(implicit([["1/2"]], ["1"])) == 2
    assert ssp_radius(implicit([["0", "0"], ["1/2", "1/2"]], ["1/2", "1/2"])) == 2


weights = st.fractions(F(1, 10), 1, max_denominator=20)


@settings(max_examples=40, deadline=None)
@given(st.lists(weights, min_size=9, max_size=9))
def test_ssp_radius_of_random_methods_with_numpy(values):
    A = np.zeros((3, 3), dtype=object) + F(0)
    A[1, 0], A[2, 0], A[2, 1] = values[:3]
    method = Tableau("random", A.tolist(), values[3:6], 1, "made for a test")
    K = np.zeros((4, 4))
    K[:3, :3], K[3, :3] = method.arrays.A, method.arrays.b

    def slack(r):
        P = K @ np.linalg.inv(np.eye(4) + r * K)
        return min(P[np.tril_indices(4, -1)].min(), (1 - r * P.sum(axis=1)).min())

    r = ssp_radius(method)
    assert r > 0
    assert slack(r) >= -1e-12
    assert slack(r * (1 + 1e-6)) < 0


@pytest.mark.parametrize(
    ("name", "radius"),
    [
        ("euler", 1),
        ("heun2", 1),
        ("ssp33", 1),
        ("rk4", 1),
        ("rk38", 2 * SQRT(3) - 3),
        ("ralston2", (SQRT(21) - 3) / 2),
        ("bogacki-shampine32", 2 * SQRT(6) - 4),
        ("midpoint", 0),
        ("dormand-prince54", 0),
    ],
)
def test_known_circle_radii(name, radius):
    """The closed forms are the roots of det(M + B / r) = 0, worked out by hand for the small tableaux."""
    assert circle_radius(TABLEAUX[name]) == pytest.approx(radius, rel=1e-14, abs=0)


def test_circle_radius_of_implicit_methods():
    assert circle_radius(implicit([["1/2"]], ["1"])) == math.inf
    assert circle_radius(implicit([["1"]], ["1"])) == math.inf
    assert circle_radius(implicit([["5/12", "-1/12"], ["3/4", "1/4"]], ["3/4", "1/4"])) == math.inf  # Radau IIA
    assert circle_radius(implicit([["0", "0"], ["1/2", "1/2"]], ["1/2", "1/2"])) == 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.fractions(-1, 1, max_denominator=12), min_size=9, max_size=9), st.lists(weights, min_size=3, max_size=3)
)
def test_circle_radius_is_the_eigenvalue_of_largest_size(entries, b):
    """M + B/r >= 0 exactly when 1/r >= -(smallest eigenvalue of B^(-1/2) M B^(-1/2))."""
    A = [entries[:3], entries[3:6], entries[6:]]
    for classes in ([[0, 1], [2]], [[0, 2], [1]], [[1, 2], [0]], [[0, 1, 2]]):  # stages that are equal count as one
        sums = [[sum(row[j] for j in group) for group in classes] for row in A]
        assume(not all(sums[i] == sums[group[0]] for group in classes for i in group))
    smallest = least_eigenvalue(A, b)
    assume(smallest < -1e-6)
    assert circle_radius(implicit(A, b)) == pytest.approx(-1 / smallest, rel=1e-8)


def test_circle_radius_of_a_method_with_equal_stages_is_that_of_the_method_without():
    b = [F(1, 10), F(1, 10), F(1, 10)]
    smallest = least_eigenvalue([[0, 0], [1, 0]], [F(1, 5), F(1, 10)])
    assert circle_radius(implicit([[0, 0, 0], [0, 0, 0], [0, 1, 0]], b)) == pytest.approx(-1 / smallest, rel=1e-14)


def least_eigenvalue(A, b):
    """Of B^(-1/2) (B A + A^T B - b b^T) B^(-1/2), by NumPy."""
    A, w = np.array(A, float), np.array(b, float)
    M = np.diag(w) @ A + A.T @ np.diag(w) - np.outer(w, w)
    return np.linalg.eigvalsh(M / np.sqrt(np.outer(w, w)))[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_promised_disk_is_stable(name):
    """A linear field with its eigenvalue in |lambda + rho| <= rho satisfies the circle condition, so |R| <= 1 there."""
    R = np.polynomial.Polynomial([float(a) for a in stability_polynomial(TABLEAUX[name])])
    for radius in (circle_radius(TABLEAUX[name]), ssp_radius(TABLEAUX[name])):
        circle = radius * (np.exp(2j * np.pi * np.linspace(0, 1, 2000)) - 1)
        assert np.abs(R(circle)).max() <= 1 + 1e-12


# ------------------------------------------------------------------------------------------------------------ implicit


@pytest.mark.parametrize(
    ("name", "P", "Q"),
    [
        ("backward-euler", "1", "1 - z"),
        ("implicit-midpoint", "1 + z/2", "1 - z/2"),
        ("trapezoid", "1 + z/2", "1 - z/2"),
        ("gauss2", "1 + z/2 + z**2/12", "1 - z/2 + z**2/12"),
        ("gauss3", "1 + z/2 + z**2/10 + z**3/120", "1 - z/2 + z**2/10 - z**3/120"),
        ("radau2a2", "1 + z/3", "1 - 2*z/3 + z**2/6"),
        ("radau2a3", "1 + 2*z/5 + z**2/20", "1 - 3*z/5 + 3*z**2/20 - z**3/60"),
        ("lobatto3a3", "1 + z/2 + z**2/12", "1 - z/2 + z**2/12"),
        ("lobatto3b2", "1 + z/2", "1 - z/2"),
        ("lobatto3b3", "1 + z/2 + z**2/12", "1 - z/2 + z**2/12"),
        ("lobatto3c2", "1", "1 - z + z**2/2"),
        ("lobatto3c3", "1 + z/4", "1 - 3*z/4 + z**2/4 - z**3/24"),
        ("sdirk2", "1 + (sqrt(2) - 1)*z", "(1 - (1 - sqrt(2)/2)*z)**2"),
        ("tr-bdf2", "1 + (sqrt(2) - 1)*z", "(1 - (1 - sqrt(2)/2)*z)**2"),
    ],
)
def test_published_stability_functions(name, P, Q):
    """Hairer, Wanner, IV.3, table 3.1: Pade approximants; Alexander (1977) and Hosea, Shampine (1996) for the last."""
    z = sympy.Symbol("z")
    for found, expected in zip(stability_function(TABLEAUX[name]), (P, Q), strict=True):
        told = sympy.Poly(sympy.expand(sympy.sympify(expected)), z).all_coeffs()[::-1]
        assert [sympy.simplify(sympy.sympify(str(a)) - b) for a, b in zip(found, told, strict=True)] == [0] * len(told)


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("backward-euler", "AL B alg"),
        ("implicit-midpoint", "A B alg symplectic symmetric"),
        ("gauss2", "A B alg symplectic symmetric"),
        ("gauss3", "A B alg symplectic symmetric"),
        ("radau2a2", "AL B alg"),
        ("radau2a3", "AL B alg"),
        ("trapezoid", "A symmetric"),
        ("lobatto3a3", "A symmetric"),
        ("lobatto3b3", "A symmetric"),
        ("lobatto3c2", "AL B alg"),
        ("lobatto3c3", "AL B alg"),
        ("sdirk2", "AL"),
        ("tr-bdf2", "AL"),
        ("esdirk43", "AL"),
        # equal stages, so not irreducible: the implicit midpoint rule, with M of IIIB indefinite
        ("lobatto3b2", "A B symplectic symmetric"),
        ("euler", ""),
        ("rk4", ""),
        ("dop853", ""),
    ],
)
def test_known_stability_and_structure(name, letters):
    """Hairer, Wanner, table 5.13 and theorem 12.9; Geometric Numerical Integration, sections V.2 and VI.4."""
    t = TABLEAUX[name]
    found = {
        "A": a_stable(t) and not l_stable(t),
        "AL": a_stable(t) and l_stable(t),
        "B": b_stable(t),
        "alg": algebraically_stable(t),
        "symplectic": symplectic(t),
        "symmetric": symmetric(t),
    }
    assert {word for word, holds in found.items() if holds} == set(letters.split())


def rational_function(t, z):
    """det(I - z A + z 1 b^T) / det(I - z A) at complex z, by NumPy (Hairer, Wanner, IV.3, eq. 3.3)."""
    A, b, s = t.arrays.A, t.arrays.b, t.stages
    z = np.asarray(z)[..., None, None]
    return np.linalg.det(np.eye(s) - z * A + z * b) / np.linalg.det(np.eye(s) - z * A)


def value(t, z):
    P, Q = (np.polynomial.Polynomial([float(a) for a in p]) for p in stability_function(t))
    return P(z) / Q(z)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fractions(-1, 1, max_denominator=6), min_size=12, max_size=12))
def test_stability_function_of_random_methods_with_numpy(values):
    t = implicit([values[:3], values[3:6], values[6:9]], values[9:])
    P, Q = stability_function(t)
    assert P[0] == Q[0] == 1
    z = np.array([0.1, -0.2j, 0.15 + 0.2j])
    np.testing.assert_allclose(value(t, z), rational_function(t, z), rtol=1e-10)


@pytest.mark.parametrize("name", IMPLICIT)
def test_stable_half_planes_by_sampling(name):
    """The imaginary axis far out and close in, and poles, with NumPy; R(infinity) is 0 for L-stability."""
    t = TABLEAUX[name]
    y = np.geomspace(1e-3, 1e4, 4001)
    assert np.abs(rational_function(t, 1j * y)).max() <= 1 + 1e-9
    poles = 1 / np.linalg.eigvals(t.arrays.A)[np.abs(np.linalg.eigvals(t.arrays.A)) > 1e-7]
    assert poles.real.min() > 0
    assert (abs(rational_function(t, -1e7)) < 1e-5) == l_stable(t)


@pytest.mark.parametrize("gamma", ["1/5", "6/25", "1/4", "3/10", "1/2", "1", "3/2"])
def test_sdirk_family_of_order_two(gamma):
    """A-stable for g >= 1/4 (Hairer, Wanner, IV.6, eq. 6.11 and table 6.3 for s = p = 2)."""
    g = F(gamma)
    t = implicit([[g, 0], [1 - 2 * g, g]], ["1/2", "1/2"])
    assert a_stable(t) == (g >= F(1, 4))


def test_poles_on_the_left_are_seen():
    """R = (1 - z/2)^2 / (1 + z/2)^2 has modulus 1 on the axis, and a pole at -2: not A-stable."""
    t = implicit([["-1/2", 0], ["-1", "-1/2"]], ["-1", "-1"])
    assert stability_function(t) == ((1, -1, F(1, 4)), (1, 1, F(1, 4)))
    assert imaginary_stability_interval(t) == math.inf
    assert not a_stable(t)
    assert real_stability_interval(t) == 0.0


def test_intervals_that_end():
    """The theta method with theta < 1/2 is stable on [-2 / (1 - 2 theta), 0], and nowhere on the axis."""
    for theta in (F(0), F(1, 4), F(2, 5)):
        t = implicit([[0, 0], [1 - theta, theta]], [1 - theta, theta])
        assert real_stability_interval(t) == pytest.approx(float(2 / (1 - 2 * theta)), rel=1e-15)
        assert imaginary_stability_interval(t) == 0
        assert not a_stable(t)


def test_radii_of_tableaux_with_roots():
    """gamma of sdirk2: SSP radius and circle radius by NumPy's eigenvalues and inverses."""
    for name in ("sdirk2", "tr-bdf2"):
        t = TABLEAUX[name]
        A, b = t.arrays.A, t.arrays.b
        M = np.diag(b) @ A + A.T @ np.diag(b) - np.outer(b, b)
        assert circle_radius(t) == pytest.approx(-1 / np.linalg.eigvalsh(M / np.sqrt(np.outer(b, b)))[0], rel=1e-9)
        K = np.zeros((t.stages + 1,) * 2)
        K[:-1, :-1], K[-1, :-1] = A, b

        def slack(r, K=K):
            P = K @ np.linalg.inv(np.eye(len(K)) + r * K)
            return min(P.min(), (1 - r * P.sum(axis=1)).min())

        r = ssp_radius(t)
        assert slack(r) >= -1e-12
        assert slack(r * (1 + 1e-6)) < 0


@pytest.mark.parametrize("name", ["gauss2", "gauss3", "radau2a2", "radau2a3", "lobatto3c3", "backward-euler"])
def test_algebraically_stable_methods_contract(name):
    assert circle_radius(TABLEAUX[name]) == math.inf


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(IMPLICIT), st.fractions(F(-1), 2, max_denominator=9), st.randoms(use_true_random=False))
def test_superfluous_stages_change_no_decision(name, share, random):
    """The same method with one stage twice, an idle stage, and its stages in another order."""
    t = TABLEAUX[name]
    twin = random.randrange(t.stages)

    def split(row):
        return [*(v if j != twin else v * (1 - share) for j, v in enumerate(row)), row[twin] * share, 0]

    rows = [split(row) for row in (*t.A, t.A[twin])] + [split(t.b)]
    order = random.sample(range(t.stages + 2), t.stages + 2)
    weights = split(t.b)
    again = implicit([[rows[i][j] for j in order] for i in order], [weights[i] for i in order])
    assert len(irreducible(again)[1]) == len(irreducible(t)[1])
    for decide in (stability_function, a_stable, l_stable, b_stable, symplectic, symmetric):
        assert decide(again) == decide(t)


@pytest.mark.parametrize("name", IMPLICIT)
def test_a_step_there_and_back(name):
    """symmetric, seen on a step of a nonlinear field with h and then with -h, stages by SciPy's root finder."""
    from scipy.optimize import root

    t = TABLEAUX[name]
    A, b = t.arrays.A, t.arrays.b

    def f(y):
        return np.stack([np.sin(y[..., 1]) - y[..., 0] ** 2, y[..., 0] * y[..., 1] - 0.5], axis=-1)

    def step(y, h):
        def gap(k):
            return (k.reshape(-1, 2) - f(y + h * A @ k.reshape(-1, 2))).ravel()

        found = root(gap, np.tile(f(y), (t.stages, 1)).ravel(), tol=1e-14)
        return y + h * b @ found.x.reshape(-1, 2)

    y = np.array([0.7, 0.4])
    gap = np.abs(step(step(y, 0.3), -0.3) - y).max()
    assert (gap < 1e-12) == symmetric(t)
