"""Implicit pairs on stiff problems, against published end values and SciPy: errors, work, filtered error estimates."""

from __future__ import annotations

import math
import re

import mpmath
import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import solve_ivp

from odernn.solvers.backends import find_backend
from odernn.solvers.backends.common import Rate
from odernn.solvers.implicit import Problem, advance_step
from odernn.solvers.integration import integrate
from odernn.solvers.newton import NumpyAlgebra, TorchAlgebra
from odernn.solvers.schedule import schedule, unbounded_estimate
from odernn.solvers.tableaux import TABLEAUX
from odernn.suite.errors import Diverged

NATIVE = find_backend("native")
NAMES = ["tr-bdf2", "esdirk43"]
names = pytest.mark.parametrize("name", NAMES)


def system(rhs, size):
    """f and df/dy of expressions in y, through SymPy."""
    y = sympy.symbols(f"y:{size}")
    f = sympy.lambdify([y], rhs(*y), "numpy")
    J = sympy.lambdify([y], sympy.Matrix(rhs(*y)).jacobian(y), "numpy")
    return (lambda t, y: np.array(f(y))), (lambda t, y: np.array(J(y), dtype=float))


def van_der_pol(a, b):
    return [b, 1000 * (1 - a * a) * b - a]


def robertson(a, b, c):
    return [-0.04 * a + 1e4 * b * c, 0.04 * a - 1e4 * b * c - 3e7 * b * b, 3e7 * b * b]


def oregonator(a, b, c):
    return [77.27 * (b + a * (1 - 8.375e-6 * a - b)), (c - (1 + a) * b) / 77.27, 0.161 * (a - c)]


def hires(a, b, c, d, e, f, g, h):
    return [
        -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
        1.71 * a - 8.75 * b,
        -10.03 * c + 0.43 * d + 0.035 * e,
        8.32 * b + 1.71 * c - 1.12 * d,
        -1.745 * e + 0.43 * f + 0.43 * g,
        -280 * f * h + 0.69 * d + 1.71 * e - 0.43 * f + 0.69 * g,
        280 * f * h - 1.81 * g,
        -280 * f * h + 1.81 * g,
    ]


RATES = [
    0.35, 26.6, 1.23e4, 8.6e-4, 8.2e-4, 1.5e4, 1.3e-4, 2.4e4, 1.65e4, 9e3, 0.022, 1.2e4, 1.88, 1.63e4, 4.8e6, 3.5e-4,
    0.0175, 1e8, 4.44e11, 1.24e3, 2.1, 5.78, 0.0474, 1.78e3, 3.12,
]  # fmt: skip
REACTANTS = [
    (1,), (2, 4), (5, 2), (7,), (7,), (7, 6), (9,), (9, 6), (11, 2), (11, 1), (13,),
    (10, 2), (14,), (1, 6), (3,), (4,), (4,), (16,), (16,), (17, 6), (19,), (19,), (1, 4), (19, 1), (20,),
]  # fmt: skip
GAINS = {
    1: (-1, -10, -14, -23, -24, 2, 3, 9, 11, 12, 22, 25), 2: (-2, -3, -9, -12, 1, 21), 3: (-15, 1, 17, 19, 22),
    4: (-2, -16, -17, -23, 15), 5: (-3, 4, 4, 6, 7, 13, 20), 6: (-6, -8, -14, -20, 3, 18, 18), 7: (-4, -5, -6, 13),
    8: (4, 5, 6, 7), 9: (-7, -8), 10: (-12, 7, 9), 11: (-9, -10, 8, 11), 12: (9,), 13: (-11, 10), 14: (-13, 12),
    15: (14,), 16: (-18, -19, 16), 17: (-20,), 18: (20,), 19: (-21, -22, -24, 23, 25), 20: (-25, 24),
}  # fmt: skip


def pollution(*y):
    speed = [k * math.prod(y[i - 1] for i in who) for k, who in zip(RATES, REACTANTS, strict=True)]
    return [sum(math.copysign(1, i) * speed[abs(i) - 1] for i in GAINS[n]) for n in range(1, 21)]


POLLUTED = [0, 0.2, 0, 0.04, 0, 0, 0.1, 0.3, 0.01, 0, 0, 0, 0, 0, 0, 0, 0.007, 0, 0, 0]
TEST_SET = "F. Mazzia, C. Magherini, Test Set for Initial Value Problem Solvers, release 2.4 (2008)"
PROBLEMS = {
    "van der Pol": (van_der_pol, [2.0, 0.0], 2000.0, 1e-6, [1.706167732170483, -0.8928097010247975e-3]),
    "Robertson": (robertson, [1.0, 0.0, 0.0], 1e11, 1e-14, [0.2083340149701255e-7, 0.8333360770334713e-13, 1.0]),
    "OREGO": (oregonator, [1.0, 2.0, 3.0], 360.0, 1e-6, [1.000814870318523, 1228.178521549917, 132.0554942846706]),
    "HIRES": (
        hires,
        [1, 0, 0, 0, 0, 0, 0, 0.0057],
        321.8122,
        1e-10,
        [
            *(0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2),
            *(0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2),
        ],
    ),
}
"""Right-hand side, start, end, atol, end value: """ + TEST_SET


@names
@pytest.mark.parametrize("problem", PROBLEMS)
def test_published_end_values(name, problem):
    rhs, y0, end, atol, expected = PROBLEMS[problem]
    f, J = system(rhs, len(y0))
    rtol, error, most = (1e-4, 0.12, 700) if name == "tr-bdf2" else (1e-6, 2e-3, 620)
    found = integrate(f, y0, [0.0, end], tableau=name, rtol=rtol, atol=atol, jacobian=J)
    np.testing.assert_allclose(found.states[-1], expected, rtol=error)
    assert found.accepted < most
    assert found.jacobian_calls < 1.1 * (found.accepted + found.rejected)
    assert found.f_calls < 30 * (found.accepted + found.rejected)


def test_pollution_equals_scipys_radau():
    f, J = system(pollution, 20)
    expected = solve_ivp(f, (0, 60), POLLUTED, "Radau", jac=J, rtol=1e-9, atol=1e-12).y[:, -1]
    assert expected[0] == pytest.approx(0.05646255, rel=1e-5), TEST_SET
    found = integrate(f, POLLUTED, [0.0, 60.0], tableau="esdirk43", rtol=1e-6, atol=1e-9, jacobian=J)
    np.testing.assert_allclose(found.states[-1], expected, rtol=1e-5, atol=1e-9)
    assert found.accepted < 150


@names
def test_dense_values_of_a_stiff_problem(name):
    f, J = system(robertson, 3)
    times = np.concatenate([[0.0], np.geomspace(1e-5, 1e4, 40)])
    expected = solve_ivp(f, (0, 1e4), [1.0, 0.0, 0.0], "Radau", times, jac=J, rtol=1e-10, atol=1e-15).y.T
    steps = {}
    for dense in (True, False):
        found = integrate(f, expected[0], times, tableau=name, rtol=1e-5, atol=1e-9, jacobian=J, dense=dense)
        error = np.abs(found.states - expected) / (1e-9 + 1e-5 * np.abs(expected))
        assert error.max() < 60
        steps[dense] = found.accepted
    assert steps[True] < steps[False]


# ---------------------------------------------------------------------------------------------- filtered error estimate


def estimate(table, z):
    """(R - R_hat)(z) in 50 digits."""
    with mpmath.workdps(50):
        A, d = mpmath.matrix(table.arrays.A.tolist()), mpmath.matrix([(table.arrays.b - table.arrays.b_hat).tolist()])
        return z * (d * mpmath.lu_solve(mpmath.eye(A.rows) - z * A, mpmath.ones(A.rows, 1)))[0]


@names
def test_the_filter_is_for_estimates_that_grow(name):
    table = TABLEAUX[name]
    growth = float(estimate(table, mpmath.mpf(-1e8)) / estimate(table, mpmath.mpf(-1e4)))
    assert unbounded_estimate(table) == (growth > 100)
    assert schedule(table, embedded=True).filtered == (name == "tr-bdf2")


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("z", [-1e-2, -3.0, -1e6])
@names
def test_the_estimate_of_a_linear_step(name, z, library):
    """E(z), or E(z) / (1 - gamma z) where it is filtered: bounded for the stiffest component."""
    table = TABLEAUX[name]
    y = np.ones(1) if library == "numpy" else torch.ones(1, dtype=torch.float64)
    problem = Problem(Rate(lambda t, y, drive, weights: z * y, ()), y, library == "numpy")
    found = float(advance_step(problem, schedule(table, embedded=True), 0.0, y, 1.0).error[0])
    expected = float(estimate(table, mpmath.mpf(z)))
    if name == "tr-bdf2":
        expected /= 1 - float(table.A[1][1]) * z
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert abs(found) < 2


def test_the_filter_saves_steps(monkeypatch):
    """A stiff linear component off its slow solution: unfiltered, it forces steps and rejections for nothing."""
    f, J = system(oregonator, 3)
    _, y0, end, atol, expected = PROBLEMS["OREGO"]
    work = {}
    for filtered in (True, False):
        if not filtered:
            monkeypatch.setattr("odernn.solvers.schedule.unbounded_estimate", lambda pair: False)
        schedule.cache_clear()
        found = integrate(f, y0, [0.0, end], tableau="tr-bdf2", rtol=1e-4, atol=atol, jacobian=J)
        work[filtered] = (found.accepted, found.rejected)
        np.testing.assert_allclose(found.states[-1], expected, rtol=0.05)
    schedule.cache_clear()
    assert work[True][0] < work[False][0]
    assert work[True][1] < work[False][1]


# --------------------------------------------------------------------------------------------------- work and sentences


def test_a_rejected_step_keeps_its_jacobian():
    """y' = -50 (y - cos 20 t^2): rejected steps evaluate no Jacobian of their own."""
    found = integrate(
        lambda t, y: -50 * (y - math.cos(20 * t * t)),
        [0.0],
        [0.0, 2.0],
        tableau="esdirk43",
        rtol=1e-5,
        jacobian=lambda t, y: np.array([[-50.0]]),
    )
    assert found.rejected > 0
    assert found.jacobian_calls == found.accepted
    assert found.factorizations == found.accepted + found.rejected


def test_a_tolerance_spares_iterations():
    """Stage equations are solved to a small part of the tolerance, not to rounding; the error stays the tolerance's."""
    f, J = system(van_der_pol, 2)
    expected = solve_ivp(f, (0, 500), [2.0, 0.0], "Radau", jac=J, rtol=1e-11, atol=1e-13).y[:, -1]
    iterations = []
    for rtol in (1e-4, 1e-8):
        found = integrate(f, [2.0, 0.0], [0.0, 500.0], tableau="esdirk43", rtol=rtol, atol=rtol, jacobian=J)
        np.testing.assert_allclose(found.states[-1], expected, atol=20 * rtol, rtol=0)
        iterations.append(found.iterations / (found.accepted + found.rejected))
    assert iterations[0] < iterations[1]


@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_the_member_of_a_batch_that_fails_is_named(make):
    """y' = y^2 with its Jacobian, each member a system of its own: backward Euler from y0 > 1 / 4 has no real root."""

    def jacobian(t, y):
        return 2 * y[..., None]

    y0 = make([[0.01], [0.02], [3.0], [0.1]])
    with pytest.raises(Diverged, match=r"did not converge .* \(member 2 of a batch of 4\) at step 1"):
        integrate(lambda t, y: y * y, y0, [0.0, 1.0], tableau="backward-euler", jacobian=jacobian)
    with pytest.raises(Diverged, match=r"finite numbers in iteration 1 \(member 2 of a batch of 4\) at step 1"):
        integrate(lambda t, y: y / (y < 1), y0, [0.0, 1.0], tableau="backward-euler", jacobian=jacobian)
    with pytest.raises(Diverged, match=r"singular after 0 iterations \(member 1 of a batch of 3\)"):
        integrate(
            lambda t, y: y * y, make([[0.1], [0.5], [0.2]]), [0.0, 1.0], tableau="backward-euler", jacobian=jacobian
        )


@pytest.mark.parametrize("library", [NumpyAlgebra(), TorchAlgebra()])
def test_the_singular_matrix_is_found(library):
    matrices = np.stack([np.eye(2), np.diag([1.0, 2.0]), np.diag([1.0, 0.0]), np.zeros((2, 2))])
    assert library.singular(matrices if isinstance(library, NumpyAlgebra) else torch.from_numpy(matrices)) == 2


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("name", ["tr-bdf2", "esdirk43", "dormand-prince54", "dop853"])
def test_what_blows_up_is_one_sentence(name, dense):
    """y' = y^2 has its pole at t = 1, y' = exp(y) from y0 at t = exp(-y0); a field may not be finite at all."""
    for f, y0, where in ((lambda t, y: y * y, 1.0, 1.0), (lambda t, y: np.exp(y), 5.0, math.exp(-5))):
        with pytest.raises(Diverged) as caught:
            integrate(f, [y0], np.linspace(0, 2, 50), tableau=name, rtol=1e-6, dense=dense)
        assert "\n" not in str(caught.value)
        (at,) = re.findall(r"t = ([0-9.e-]*[0-9])", str(caught.value))
        assert float(at) == pytest.approx(where, rel=1e-3)
    with pytest.raises(Diverged, match="slope is not finite at t = 0"):
        integrate(lambda t, y: y * math.inf, [1.0], [0.0, 1.0], tableau=name, rtol=1e-6, dense=dense)
