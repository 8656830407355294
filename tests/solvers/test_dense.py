"""Dense output against closed forms and tight SciPy solutions: order between steps, jumps, stiffness, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.interpolate import KroghInterpolator

from odernn.solvers.adaptive import Attempt, Tolerance, explicit_attempt
from odernn.solvers.backends import find_backend
from odernn.solvers.backends.base import Solution
from odernn.solvers.backends.common import Rate
from odernn.solvers.dense import DenseOutput, hermite, interpolation_nodes
from odernn.solvers.implicit import Problem, advance_step
from odernn.solvers.integration import integrate
from odernn.solvers.schedule import schedule
from odernn.solvers.step import stages
from odernn.solvers.tableaux import TABLEAUX

NATIVE = find_backend("native")
PAIRS = [t for t in TABLEAUX.values() if t.b_hat is not None]
pairs = pytest.mark.parametrize("pair", PAIRS, ids=lambda t: t.name)
START = np.array([0.5, -0.3])


def pendulum(t, y, drive=None, weights=()):
    """Nonlinear, coupled, explicit in time, with an input."""
    q, p = y[..., 0], y[..., 1]
    u = 0.0 if drive is None else drive
    return np.stack([p * math.cos(t) + np.sin(q) + u, np.cos(q) * math.sin(2 * t) - p * q / 3 - 2 * u], -1)


def reference(times, y0=START, drive=None):
    return solve_ivp(pendulum, (times[0], times[-1]), y0, "DOP853", times, rtol=1e-13, atol=1e-15, args=(drive,)).y.T


class Tried:
    """How a pair makes a step, whatever its kind; `made` counts."""

    def __init__(self, pair, rate, y0):
        self.made = 0
        if pair.explicit:
            self.attempt = explicit_attempt(rate, stages(pair, "numpy", embedded=True))
        else:
            problem, plan = Problem(rate, y0, True), schedule(pair, embedded=True)

            def attempt(t, y, h, first):
                made = advance_step(problem, plan, t, y, h)
                return Attempt(made.y, made.error, first, made.last)

            self.attempt = attempt

    def __call__(self, t, y, h, first):
        self.made += 1
        return self.attempt(t, y, h, first)


@given(st.lists(st.floats(0.1, 3), min_size=1, max_size=5), st.floats(0, 1))
def test_hermite_is_krogh_interpolation(gaps, place):
    """SciPy's interpolant of doubled nodes is the same polynomial."""
    nodes = np.cumsum([0.0, *gaps])
    x = np.array([place * nodes[-1]])
    values, slopes = np.cos(nodes), -np.sin(nodes)
    data = np.column_stack([values, slopes]).ravel()
    expected = KroghInterpolator(np.repeat(nodes, 2), data)(x)
    alpha, beta = hermite(nodes, x)
    np.testing.assert_allclose(alpha @ values + beta @ slopes, expected, rtol=1e-8, atol=1e-8)


@pairs
@pytest.mark.parametrize("trust", [True, False], ids=["interpolants", "partial steps"])
@pytest.mark.parametrize("uneven", [0.0, 0.5])
def test_values_between_forced_steps_have_the_order_of_the_pair(pair, trust, uneven):
    """With a tolerance that trusts every interpolant, and with one that trusts none."""
    order = min(pair.order, pair.embedded_order)
    T, errors = 2.0, []
    times = np.sort(np.append(np.random.default_rng(1).uniform(0, T, 40), T))
    expected = reference([0.0, *times])[1:]
    coarse = {2: 16, 3: 16, 4: 12}.get(pair.order, 8)
    for steps in (coarse, 2 * coarse):
        rate = Rate(pendulum, ())
        tried = Tried(pair, rate, START)
        tolerance = Tolerance(0.0, 1e30 if trust else 1e-100)
        output = DenseOutput(times.tolist(), interpolation_nodes(pair.order, order), tried, rate, tolerance)
        x = np.linspace(0, 1, steps + 1)
        grid, y = T * (x + uneven * x * (1 - x)), START
        output.accept(0.0, y, rate(0.0, y))
        for a, b in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
            y = tried.attempt(a, y, b - a, None).y
            output.accept(b, y, rate(b, y))
        found = np.array(output.finish())
        assert (tried.made == 0) == trust
        errors.append(np.abs(found - expected).max())
    assert math.log2(errors[0] / errors[1]) > pair.order - 0.5


@pairs
def test_values_follow_the_tolerance_at_little_cost(pair):
    """Many outputs: the error is that of the tolerance, the steps are those without outputs, the cost hardly more."""
    times = np.linspace(0, 6, 400)
    expected = reference(times)
    errors = []
    for rtol in (1e-4, 1e-6) if pair.order == 2 else (1e-4, 1e-8):
        plain = NATIVE.adaptive(pendulum, START, [0.0, 6.0], pair, rtol, rtol)
        found = NATIVE.adaptive(pendulum, START, times.tolist(), pair, rtol, rtol, dense=True)
        assert (found.accepted, found.rejected) == (plain.accepted, plain.rejected)
        np.testing.assert_array_equal(found.states[-1], plain.states[-1])
        errors.append(np.abs(found.states - expected).max())
        assert errors[-1] < 100 * rtol
        assert found.f_calls < 4.5 * plain.f_calls
    assert errors[1] < 0.1 * errors[0]


def test_without_a_partial_step_nothing_is_evaluated_more():
    """A fine FSAL solution: as many evaluations as without outputs; other pairs know one slope less, the last."""
    times = np.linspace(0, 4, 33).tolist()
    for name, extra in (("bogacki-shampine32", 0), ("ssp43", 1), ("tr-bdf2", 0)):
        pair = TABLEAUX[name]
        plain = NATIVE.adaptive(pendulum, START, [0.0, 4.0], pair, 1e-7, 1e-7)
        dense = NATIVE.adaptive(pendulum, START, times, pair, 1e-7, 1e-7, dense=True)
        assert dense.f_calls == plain.f_calls + extra


@pairs
def test_evaluations_are_counted(pair):
    calls = 0

    def counted(t, y, drive, weights):
        nonlocal calls
        calls += 1
        return pendulum(t, y)

    found = NATIVE.adaptive(counted, START, np.linspace(0, 3, 50).tolist(), pair, 1e-3, 1e-3, dense=True)
    assert found.f_calls == calls


@pairs
def test_a_jump_of_the_drive_ends_a_piece(pair):
    """Drives equal in value are one piece; where they differ the solver starts anew, and no interpolant reaches over.

    The oracle is solved from jump to jump.
    """
    times = np.linspace(0, 4, 81)
    drives = [0.5 if t < 1 else -0.6 if t < 2.5 else 0.1 for t in times[:-1]]
    expected = [START[None]]
    for a, b, u in ((0, 20, 0.5), (20, 50, -0.6), (50, 80, 0.1)):
        expected.append(reference(times[a : b + 1], expected[-1][-1], u)[1:])
    expected = np.concatenate(expected)
    errors = []
    for rtol in (1e-4, 1e-6) if pair.order == 2 else (1e-4, 1e-8):
        found = NATIVE.adaptive(pendulum, START, times.tolist(), pair, rtol, rtol, drives, dense=True)
        cut = NATIVE.adaptive(pendulum, START, times.tolist(), pair, rtol, rtol, drives)
        errors.append(np.abs(found.states - expected).max())
        assert errors[-1] < 100 * rtol
        assert np.abs(cut.states - expected).max() < 100 * rtol
        assert found.accepted <= cut.accepted
    assert errors[1] < 0.1 * errors[0]


def test_drives_that_learn_or_differ_are_never_merged():
    grid = [0.0, 0.5, 1.0]
    u = torch.ones(2, 1, dtype=torch.float64, requires_grad=True)

    def run(drives) -> Solution:
        return NATIVE.adaptive(
            lambda t, y, drive, weights: drive + 0 * y,
            torch.zeros(1, dtype=torch.float64),
            grid,
            TABLEAUX["dormand-prince54"],
            1e-6,
            1e-6,
            drives,
            dense=True,
        )

    (gradient,) = torch.autograd.grad(run(u).states[-1].sum(), u)
    torch.testing.assert_close(gradient, torch.full((2, 1), 0.5, dtype=torch.float64))
    merged = run(u.detach())
    assert merged.accepted < run(u).accepted
    np.testing.assert_allclose(run(u.detach() * torch.tensor([[1.0], [3.0]])).states[:, 0], [0, 0.5, 2])


@pytest.mark.parametrize("pair", [p for p in PAIRS if not p.explicit], ids=lambda t: t.name)
def test_stiff_transients_and_slow_pieces(pair):
    """y' = -1e6 (y - cos t) - sin t from y = 2: y = cos t + exp(-1e6 t). Slopes at 1e6: partial steps in the layer."""

    def relaxation(t, y):
        return -1e6 * (y - math.cos(t)) - math.sin(t)

    times = np.concatenate([[0.0], np.geomspace(1e-8, 1e-4, 23), np.linspace(0.01, 3, 50)])
    expected = np.cos(times) + np.exp(-1e6 * times)
    for rtol in (1e-3, 1e-5):
        found = integrate(relaxation, [2.0], times, tableau=pair, rtol=rtol, atol=rtol, dense=True)
        late = np.abs(found.states[:, 0] - expected)[times > 0.1]
        assert np.abs(found.states[:, 0] - expected).max() < 20 * rtol
        assert late.max() < 4 * rtol
        assert found.accepted < 600


def test_a_kink_that_the_field_hides():
    """y' = |sin t|: interpolants over its corners are found out by their own estimate."""
    times = np.linspace(0, 9, 200)
    whole = np.floor(times / np.pi)
    expected = 2 * whole + 1 - np.cos(times - whole * np.pi)
    found = integrate(lambda t, y: abs(math.sin(t)) + 0 * y, [0.0], times, rtol=1e-7, atol=1e-7, dense=True)
    plain = integrate(lambda t, y: abs(math.sin(t)) + 0 * y, [0.0], [0.0, 9.0], rtol=1e-7, atol=1e-7)
    assert np.abs(found.states[:, 0] - expected).max() < 2 * abs(plain.states[-1, 0] - expected[-1])


@pytest.mark.parametrize("name", ["dormand-prince54", "dop853", "esdirk43"])
def test_gradients_of_interpolated_values(name):
    """y' = W y, at times inside steps: gradients of sum_i exp(W t_i) y0 through torch.linalg.matrix_exp."""
    W = torch.tensor([[0.1, 1.0], [-1.0, 0.2]], dtype=torch.float64, requires_grad=True)
    y0 = torch.tensor([1.0, -0.5], dtype=torch.float64, requires_grad=True)
    times = torch.linspace(0, 5, 23, dtype=torch.float64)
    rtol = 1e-7 if name == "esdirk43" else 1e-9
    found = integrate(lambda t, y: W @ y, y0, times.tolist(), tableau=name, rtol=rtol, atol=rtol, dense=True)
    expected = torch.stack([torch.linalg.matrix_exp(W * t) @ y0 for t in times])
    torch.testing.assert_close(found.states, expected, rtol=1e-5, atol=1e-5)
    scale = torch.arange(1.0, 24.0, dtype=torch.float64)[:, None].cos()
    for got, wanted in zip(
        torch.autograd.grad((found.states * scale).sum(), (W, y0)),
        torch.autograd.grad((expected * scale).sum(), (W, y0)),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [np.ones, torch.ones], ids=["numpy", "torch"])
@pytest.mark.parametrize("kind", ["float32", "complex128", "empty"])
def test_shapes_and_dtypes_are_kept(make, kind):
    library = np if make is np.ones else torch
    y0 = make((0, 2)) if kind == "empty" else make((3, 2), dtype=getattr(library, kind))
    rate = 1j if kind == "complex128" else -1.0
    times = np.linspace(0, 2, 30)
    found = integrate(lambda t, y: rate * y, y0, times, rtol=1e-5, dense=True).states
    assert found.dtype == y0.dtype
    assert tuple(found.shape) == (30, *y0.shape)
    expected = np.exp(rate * times)[:, None, None] * np.ones(tuple(y0.shape))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=1e-5)


def test_only_one_time():
    found = integrate(lambda t, y: -y, [1.0], [0.5], rtol=1e-3, dense=True)
    assert found.states.tolist() == [[1.0]]
