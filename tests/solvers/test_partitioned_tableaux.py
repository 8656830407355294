"""Partitioned tableaux: orders by counting, symbolic expansion and convergence; structure by Jacobians; stability."""

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Polynomial
from scipy.integrate import solve_ivp
from scipy.optimize import root

from odernn.solvers.coloured_trees import coloured_trees, computed_order, residuals, verify
from odernn.solvers.oscillator import _bounded_up_to, oscillator_limit
from odernn.solvers.partitioned_tableau import EVERY, PARTITIONED, SEPARABLE, PartitionedTableau
from odernn.solvers.structure import partitioned_symmetric, partitioned_symplectic
from odernn.solvers.tableaux import TABLEAUX, describe
from odernn.suite.errors import UsageError

F = Fraction
NAMES = list(PARTITIONED)


def same_twice(tableau):
    return PartitionedTableau(tableau.name, (tableau.A, tableau.A), (tableau.b, tableau.b), tableau.order, "twice")


def step(method, f, y, h):
    """One step for y = (q, p) by SciPy's root finder, from the definition; f(y) -> (q', p')."""
    A, b, s = method.arrays.A, method.arrays.b, method.stages

    def slopes_of(k):
        Y = np.stack([y[0] + h * A[0] @ k[:, 0], y[1] + h * A[1] @ k[:, 1]], axis=1)
        return np.stack(f(Y.T), axis=1)

    start = np.tile(f(y), (s, 1))
    found = root(lambda k: (k.reshape(s, 2) - slopes_of(k.reshape(s, 2))).ravel(), start.ravel(), tol=1e-14)
    k = slopes_of(found.x.reshape(s, 2))
    return y + h * np.array([b[0] @ k[:, 0], b[1] @ k[:, 1]])


def general(y):
    q, p = y
    return np.array([np.sin(p) - 0.3 * q * p, -q + 0.5 * np.cos(q + 2 * p)])


def pendulum(y):
    q, p = y
    return np.array([p, -np.sin(q)])


@pytest.mark.parametrize(("vertices", "count"), list(enumerate([2, 4, 14, 52, 214, 916], start=1)))
def test_there_are_as_many_coloured_trees_as_known(vertices, count):
    """OEIS A000151."""
    assert len(set(coloured_trees(vertices))) == len(coloured_trees(vertices)) == count


@pytest.mark.parametrize("name", NAMES)
def test_computed_order_is_the_claim_and_not_one_more(name):
    verify(PARTITIONED[name])
    with pytest.raises(UsageError, match="but its order is"):
        verify(replace(PARTITIONED[name], order=PARTITIONED[name].order + 1))


@pytest.mark.parametrize("name", ["euler", "heun2", "rk4", "gauss2", "radau2a2", "lobatto3c3"])
def test_a_tableau_used_for_both_blocks_keeps_its_order(name):
    method = same_twice(TABLEAUX[name])
    assert computed_order(method) == computed_order(method, separable=True) == TABLEAUX[name].order


@pytest.mark.parametrize("field", [general, pendulum])
@pytest.mark.parametrize("name", NAMES)
def test_error_of_one_step_falls_with_the_order(name, field):
    y = np.array([0.8, 0.5])

    def error(h):
        exact = solve_ivp(lambda t, y: field(y), (0, h), y, method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1]
        return np.abs(step(PARTITIONED[name], field, y, h) - exact).max()

    assert math.log2(error(0.1) / error(0.05)) == pytest.approx(PARTITIONED[name].order + 1, abs=0.25)


def test_order_two_conditions_written_out():
    """b^0 c^0, b^0 c^1, b^1 c^0, b^1 c^1 = 1/2 (GNI, III.2.2); a separable field needs the two mixed ones only."""
    a, b = F(1, 3), F(1, 5)
    method = PartitionedTableau("m", (((0, 0), (a, 0)), ((b, 0), (0, F(1, 2)))), ((1, 0), ("1/2", "1/2")), 1, "test")
    expected = []
    for weights in method.b:
        for nodes in method.c:
            expected.append(sum(w * c for w, c in zip(weights, nodes, strict=True)) - F(1, 2))
    assert sorted(residuals(method, 2).values()) == sorted(expected)


def test_order_for_separable_fields_may_be_higher():
    """Ruth's third-order method (IEEE Trans. Nucl. Sci. 30 (1983) 2669), drifts c, kicks d, is of order 3 there."""
    c, d = [F(7, 24), F(3, 4), F(-1, 24)], [F(2, 3), F(-2, 3), F(1)]
    # kick d_i at the position before drift c_i, then drift with the new momentum
    A1 = tuple(tuple(c[j] if j <= i else F(0) for j in range(3)) for i in range(3))
    A0 = tuple(tuple(d[j] if j < i else F(0) for j in range(3)) for i in range(3))
    ruth = PartitionedTableau("ruth3", (A0, A1), (tuple(d), tuple(c)), 1, "Ruth 1983")
    assert computed_order(ruth, separable=True) == 3
    assert computed_order(ruth) < 3
    assert ruth.explicit_when_separable
    assert partitioned_symplectic(ruth, separable=True)
    assert not partitioned_symplectic(ruth)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_coefficients_are_caught(name):
    """Every entry of A and b, of either block; those of A only where the order asks anything of them."""
    method, change = PARTITIONED[name], F(1, 10**9)

    def bump(row, j):
        return (*row[:j], row[j] + change, *row[j + 1 :])

    for k in (0, 1):
        for j in range(method.stages):
            b = tuple(bump(method.b[k], j) if k == block else method.b[block] for block in (0, 1))
            with pytest.raises(UsageError, match="but its order is 0"):
                verify(replace(method, b=b))
            for i in range(method.stages if method.order > 1 else 0):
                changed = (*method.A[k][:i], bump(method.A[k][i], j), *method.A[k][i + 1 :])
                A = tuple(changed if k == block else method.A[block] for block in (0, 1))
                with pytest.raises(UsageError, match=f"but its order is [1-{method.order - 1}]"):
                    verify(replace(method, A=A))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("separable", [False, True])
def test_symplectic_as_seen_on_the_jacobian_of_a_step(name, separable):
    """det dPhi = 1 for H = p^2 / 2 - cos q, and for H = (1 + q^2)(p^2 + 1) / 2 + sin(p q) that does not separate."""

    def field(y):
        q, p = y
        if separable:
            return pendulum(y)
        return np.array([(1 + q * q) * p + q * np.cos(p * q), -q * (p * p + 1) - p * np.cos(p * q)])

    y, h, e = np.array([0.4, 0.3]), 0.2, 1e-5
    columns = [
        (step(PARTITIONED[name], field, y + e * d, h) - step(PARTITIONED[name], field, y - e * d, h)) / (2 * e)
        for d in np.eye(2)
    ]
    kept = abs(np.linalg.det(columns) - 1) < 1e-7
    assert kept == partitioned_symplectic(PARTITIONED[name], separable)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_there_and_back(name):
    y = np.array([0.8, 0.5])
    again = step(PARTITIONED[name], general, step(PARTITIONED[name], general, y, 0.2), -0.2)
    assert (np.abs(again - y).max() < 1e-12) == partitioned_symmetric(PARTITIONED[name])


@pytest.mark.parametrize(
    ("name", "explicit", "separable"),
    [
        ("symplectic-euler", False, True),
        ("symplectic-euler-position", False, True),
        ("stormer-verlet", False, True),
        ("lobatto3ab3", False, False),
        ("gauss-seidel-euler", True, True),
    ],
)
def test_which_are_explicit(name, explicit, separable):
    method = PARTITIONED[name]
    assert (method.explicit, method.explicit_when_separable) == (explicit, separable)


def scheduled(method, reads, slopes, y, h):
    """A step that evaluates the slopes in the order of the schedule, one by one."""
    A, b, found = method.arrays.A, method.arrays.b, {}
    for block, stage in method.schedule(reads):
        Y = {}
        for other in reads[block]:
            terms = [(j, a) for j, a in enumerate(A[other][stage]) if a]
            Y[other] = y[other] + h * sum(a * found[other, j] for j, a in terms)
        found[block, stage] = slopes[block](Y)
    return [y[k] + h * sum(w * found[k, i] for i, w in enumerate(b[k]) if w) for k in (0, 1)]


@pytest.mark.parametrize("name", [name for name in NAMES if PARTITIONED[name].explicit_when_separable])
def test_the_schedule_gives_the_step(name):
    slopes = [lambda Y: np.sin(Y[1]), lambda Y: -Y[0] + 0.5 * Y[0] ** 3]
    y = [0.6, -0.3]

    def field(y):
        return np.array([slopes[0]({1: y[1]}), slopes[1]({0: y[0]})])

    expected = step(PARTITIONED[name], field, np.array(y), 0.3)
    np.testing.assert_allclose(scheduled(PARTITIONED[name], SEPARABLE, slopes, y, 0.3), expected, rtol=1e-12)


def test_names_say_what_they_step():
    """Kick before drift, drift before kick, and kick, drift, kick, written out on the pendulum."""
    q, p, h = 0.6, -0.3, 0.3
    y = np.array([q, p])
    kicked = p - h * np.sin(q)
    np.testing.assert_allclose(step(PARTITIONED["symplectic-euler"], pendulum, y, h), [q + h * kicked, kicked])
    drifted = q + h * p
    found = step(PARTITIONED["symplectic-euler-position"], pendulum, y, h)
    np.testing.assert_allclose(found, [drifted, p - h * np.sin(drifted)])
    half = p - h / 2 * np.sin(q)
    end = q + h * half
    found = step(PARTITIONED["stormer-verlet"], pendulum, y, h)
    np.testing.assert_allclose(found, [end, half - h / 2 * np.sin(end)])
    slope = general(y)
    memory = p + h * slope[1]
    found = step(PARTITIONED["gauss-seidel-euler"], general, y, h)
    np.testing.assert_allclose(found, [q + h * general(np.array([q, memory]))[0], memory])
    assert PARTITIONED["gauss-seidel-euler"].schedule(EVERY) == ((1, 0), (0, 1))


def step_matrix(method, h):
    A, b, s = method.arrays.A, method.arrays.b, method.stages
    left = np.block([[np.eye(s), -h * A[1]], [h * A[0], np.eye(s)]])
    columns = []
    for q, p in np.eye(2):
        k = np.linalg.solve(left, np.r_[np.full(s, p), np.full(s, -q)])
        columns.append([q + h * b[0] @ k[:s], p + h * b[1] @ k[s:]])
    return np.array(columns).T


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("symplectic-euler", 2),
        ("symplectic-euler-position", 2),
        ("stormer-verlet", 2),
        ("gauss-seidel-euler", 2),
        ("lobatto3ab3", 2 * math.sqrt(2)),
    ],
)
def test_stability_on_the_harmonic_oscillator(name, limit):
    method = PARTITIONED[name]
    assert oscillator_limit(method) == pytest.approx(limit, rel=1e-15)
    radius = [max(abs(np.linalg.eigvals(step_matrix(method, h)))) for h in limit * np.linspace(0.01, 0.999, 300)]
    assert max(radius) < 1 + 1e-9
    assert max(abs(np.linalg.eigvals(step_matrix(method, limit * 1.01)))) > 1.01


@pytest.mark.parametrize(
    "name", ["euler", "heun2", "rk4", "kutta3", "dormand-prince54", "gauss2", "trapezoid", "radau2a3"]
)
def test_a_tableau_used_for_both_blocks_has_its_imaginary_interval(name):
    from odernn.solvers.stability import imaginary_stability_interval

    interval = imaginary_stability_interval(TABLEAUX[name])
    assert oscillator_limit(same_twice(TABLEAUX[name])) == pytest.approx(interval, rel=1e-15)


entries = st.fractions(-1, 1, max_denominator=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(entries, min_size=8, max_size=8), st.fractions(0, 1, max_denominator=8))
def test_no_unbounded_step_inside_the_limit(values, b):
    A = ((values[:2], values[2:4]), (values[4:6], values[6:]))
    method = PartitionedTableau("random", A, ((b, 1 - b), (1 - b, b)), 1, "made for a test")
    limit = min(oscillator_limit(method), 10.0)
    for h in limit * np.linspace(0.02, 0.98, 49):
        assert max(abs(np.linalg.eigvals(step_matrix(method, h)))) < 1 + 1e-6


def test_a_step_of_minus_one_inside_is_harmless():
    """Two Verlet steps as one, each a quarter turn at h = 2 sqrt 2."""
    verlet = PARTITIONED["stormer-verlet"]
    two = tuple(
        (*((*(x / 2 for x in row), 0, 0) for row in A), *((*(w / 2 for w in b), *(x / 2 for x in row)) for row in A))
        for A, b in zip(verlet.A, verlet.b, strict=True)
    )
    method = PartitionedTableau("twice", two, tuple(tuple(w / 2 for w in (*b, *b)) for b in verlet.b), 2, "composed")
    assert oscillator_limit(method) == 4.0
    assert np.allclose(step_matrix(method, 2 * math.sqrt(2)), -np.eye(2))


def test_a_double_eigenvalue_inside_ends_the_interval_unless_diagonal():
    """1 - a = x (4 - x)^2 / 16 and a^2 + x b c = 1: at x = 4 eigenvalue 1 is double, and S = I only where b = c = 0."""
    one, square = Polynomial([1]), Polynomial([4, -1]) ** 2 / 16
    a = one - Polynomial([0, 1]) * square

    def step_of(b, c):
        return tuple(tuple(F(v) for v in p.coef) for p in (a, b, c, a, one))

    shear = step_of(square, one + a)
    identity = step_of(Polynomial([4, -1]) / 4, Polynomial([4, -1]) / 4 * (one + a))
    assert _bounded_up_to(shear) == 4.0
    # a = -1 where x (4 - x)^2 = 32
    assert _bounded_up_to(identity) == pytest.approx(max(Polynomial([-32, 16, -8, 1]).roots().real))


def test_the_step_matrix_with_sympy():
    x = sympy.Symbol("x", positive=True)
    method = PARTITIONED["lobatto3ab3"]
    A0, A1 = (sympy.Matrix([[sympy.sympify(str(a)) for a in row] for row in A]) for A in method.A)
    b = sympy.Matrix([[sympy.sympify(str(w)) for w in method.b[0]]])
    ones = sympy.ones(3, 1)
    trace = 2 - x * (b * (sympy.eye(3) + x * A1 * A0).inv() * A1 * ones)[0]
    trace -= x * (b * (sympy.eye(3) + x * A0 * A1).inv() * A0 * ones)[0]
    ends = [r for r in sympy.solve(sympy.together(trace + 2), x) if r.is_positive]
    assert oscillator_limit(method) ** 2 == pytest.approx(float(min(ends)))


@pytest.mark.parametrize("name", NAMES)
def test_description_is_json(name):
    method = PARTITIONED[name]
    seen = json.loads(json.dumps(describe(method), allow_nan=False))
    again = PartitionedTableau(seen["name"], tuple(seen["A"]), tuple(seen["b"]), seen["order"], "")
    assert again == method
    assert hash(again) == hash(method)
    assert (seen["order"], seen["family"], seen["stages"]) == (method.order, "partitioned", method.stages)
    assert method.arrays.A.shape == (2, method.stages, method.stages)
    assert method.arrays.c.shape == (2, method.stages)


@pytest.mark.parametrize(
    ("A", "b", "message"),
    [
        ((((0,),),), ((1,),), "expected two"),
        ((((0,),), ((0,),)), ((1,), (1, 0)), "expected the same number of stages"),
        ((((0,),), ((0, 0),)), ((1,), (1,)), "expected 1 x 1"),
        ((((0,),), ((0.5,),)), ((1,), (1,)), "0.5 is not exact"),
        (((("sqrt(2)",),), (("sqrt(3)",),)), ((1,), (1,)), "expected one root"),
    ],
)
def test_impossible_ones_are_refused(A, b, message):
    with pytest.raises(UsageError, match=message):
        PartitionedTableau("wrong", A, b, 1, "none")


@pytest.mark.parametrize("name", NAMES)
def test_superfluous_stages_change_no_decision(name):
    """Each stage written twice, as two stages that are equal for every field, and one more that nothing reads."""
    method, s = PARTITIONED[name], PARTITIONED[name].stages
    twice = [i for i in range(s) for _ in range(2)]
    tables = []
    for A in method.A:
        doubled = [
            [A[i][j] if (row + column) % 2 == 0 else F(0) for column, j in enumerate(twice)] + [F(0)]
            for row, i in enumerate(twice)
        ]
        tables.append((*map(tuple, doubled), (F(1, 3),) * (2 * s + 1)))
    weights = [(*(b[i] / 2 for i in twice), F(0)) for b in method.b]
    large = PartitionedTableau("large", tuple(tables), tuple(weights), method.order, "")
    assert partitioned_symplectic(large) == partitioned_symplectic(method)
    assert partitioned_symplectic(large, separable=True) == partitioned_symplectic(method, separable=True)
    assert partitioned_symmetric(large) == partitioned_symmetric(method)
