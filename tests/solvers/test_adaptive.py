"""Step-size control of the native backend, against SciPy's published implementation of the same section of the book."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.integrate._ivp.common import select_initial_step

from odernn.solvers.adaptive import (
    LARGEST,
    SMALLEST,
    Attempt,
    Tolerance,
    factor,
    first_step,
    integrate_adaptively,
    pi_factor,
)
from odernn.solvers.step import stages
from odernn.solvers.tableaux import TABLEAUX
from odernn.suite.errors import Diverged

PAIRS = [t for t in TABLEAUX.values() if t.explicit and t.b_hat is not None]


def lorenz(t, y):
    return np.stack([10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]])


def forced(t, y):
    return y * np.cos(t)


def solve(f, y0, times, pair, rtol, atol, arithmetic="numpy", controller="elementary"):
    order, method = min(pair.order, pair.embedded_order), stages(pair, arithmetic, embedded=True)
    return integrate_adaptively(f, y0, times, method, order, Tolerance(rtol, atol), controller)


@pytest.mark.parametrize(("name", "scipy_name"), [("dormand-prince54", "RK45"), ("bogacki-shampine32", "RK23")])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_takes_the_steps_of_scipy(name, scipy_name, rtol):
    """The times of every stage, rejected steps included, up to where the last step is stretched or cut to the end."""
    times: list[float] = []

    def recorded(t, y):
        times.append(t)
        return lorenz(t, y)

    y0 = np.array([1.0, 1.0, 1.0])
    theirs = solve_ivp(recorded, (0, 4), y0, method=scipy_name, rtol=rtol, atol=rtol)
    expected, end = times.copy(), theirs.t[-3]
    times.clear()
    _, accepted, rejected = solve(recorded, y0, [0.0, 4.0], TABLEAUX[name], rtol, rtol)
    count = next(i for i, t in enumerate(expected) if t >= end)
    np.testing.assert_allclose(times[:count], expected[:count], rtol=1e-7)
    assert abs(accepted - (len(theirs.t) - 1)) <= 1
    tried = (theirs.nfev - 2) // (TABLEAUX[name].stages - 1)
    assert abs(rejected - (tried - (len(theirs.t) - 1))) <= 1


@given(st.floats(0.1, 10), st.floats(-5, 5), st.floats(1e-10, 1e-2))
def test_first_step_is_that_of_the_book(rate, start, rtol):
    y = np.array([start, 1.0])

    def f(t, y):
        return np.array([-rate * y[0], np.cos(t)])

    k = f(0.0, y)
    expected = select_initial_step(f, 0.0, y, 50.0, np.inf, k, 1.0, 4, rtol, 1e-8)
    assert first_step(f, 0.0, y, k, 50.0, 4, Tolerance(rtol, 1e-8)) == pytest.approx(expected, rel=1e-12)


@given(st.one_of(st.floats(0), st.just(math.nan)), st.integers(1, 8))
def test_factor_stays_in_its_bounds(error, order):
    assert SMALLEST <= factor(error, order) <= LARGEST
    if error > 1:
        assert factor(error, order) < 1


@pytest.mark.parametrize("pair", PAIRS, ids=lambda t: t.name)
def test_every_pair_follows_its_tolerance(pair):
    """y' = y cos t, y = exp(sin t): the error falls with the tolerance, and costs what the formula says."""
    times = np.linspace(0, 5, 6).tolist()
    exact = np.exp(np.sin(times))
    errors, calls = [], 0
    for rtol in (1e-4, 1e-8):
        calls = 0

        def f(t, y):
            nonlocal calls
            calls += 1
            return forced(t, y)

        states, accepted, rejected = solve(f, np.array([1.0]), times, pair, rtol, rtol)
        errors.append(max(abs(np.array(states)[:, 0] - exact)))
        method = stages(pair, "numpy", embedded=True)
        again = 0 if method.fsal else accepted - 1
        assert calls == 2 + (len(method) - 1) * (accepted + rejected) + again
    assert errors[0] < 1e-2
    assert errors[1] < min(1e-6, errors[0])


def test_lands_on_every_output_and_never_reads_past_the_end():
    times = [0.0, 1e-9, 0.1, 0.1 + 1e-12, 2.0, 3.0]
    seen: list[float] = []

    def f(t, y):
        seen.append(t)
        return forced(t, y)

    states, accepted, _ = solve(f, np.array([1.0]), times, TABLEAUX["dormand-prince54"], 1e-9, 1e-9)
    assert set(times) <= set(seen)
    assert max(seen) == 3.0
    assert accepted >= 5
    np.testing.assert_allclose(np.array(states)[:, 0], np.exp(np.sin(times)), rtol=1e-7)


def test_many_outputs_do_not_shrink_the_steps_between_them():
    """A step cut short by an output time must not make the next one start small."""
    few = solve(forced, np.array([1.0]), [0.0, 10.0], TABLEAUX["dormand-prince54"], 1e-6, 1e-6)[1]
    times = [0.0, *(x for k in range(1, 10) for x in (k - 1e-7, float(k))), 10.0]
    many = solve(forced, np.array([1.0]), times, TABLEAUX["dormand-prince54"], 1e-6, 1e-6)[1]
    assert many <= few + 2 * 18


def test_torch_takes_the_steps_of_numpy():
    y0 = np.array([[1.0, 0.5], [2.0, -1.0]])
    pair, times = TABLEAUX["dormand-prince54"], [0.0, 1.0, 3.0]

    def swing(t, y):
        return y * (1 - y * y) * math.cos(t)

    expected = solve(swing, y0, times, pair, 1e-6, 1e-8)
    found = solve(swing, torch.from_numpy(y0), times, pair, 1e-6, 1e-8, "torch")
    assert found[1:] == expected[1:]
    np.testing.assert_allclose(torch.stack(found[0]).numpy(), np.stack(expected[0]), rtol=1e-12)


def test_gives_up_in_a_sentence():
    pair = TABLEAUX["dormand-prince54"]
    with np.errstate(all="ignore"):
        with pytest.raises(Diverged, match=r"step size fell to .* at t = 1\b"):
            solve(lambda t, y: y * y, np.array([1.0]), [0.0, 2.0], pair, 1e-6, 1e-6)
        with pytest.raises(Diverged, match="slope is not finite at t = 0"):
            solve(lambda t, y: y / 0.0, np.array([1.0]), [0.0, 2.0], pair, 1e-6, 1e-6)


# ------------------------------------------------------------------------------------------------------ PI controller


@given(st.floats(1e-6, 1), st.floats(1e-4, 1), st.integers(1, 8))
def test_pi_factor_is_the_formula_of_the_book(error, before, order):
    """0.9 err^-alpha err_before^beta with alpha = 0.7 / k, beta = 0.4 / k, k = q + 1 (HW II, IV.2)."""
    expected = 0.9 * math.exp((-0.7 * math.log(error) + 0.4 * math.log(before)) / (order + 1))
    assert pi_factor(error, before, order) == pytest.approx(min(10, max(0.2, expected)), rel=1e-12)
    assert pi_factor(error, None, order) == factor(error, order)


@pytest.mark.parametrize("controller", ["elementary", "pi"])
def test_the_sequence_of_steps(controller):
    """Errors given by hand: a rejection takes the memory away."""
    errors = [0.5, 0.2, 3.0, 0.6, 0.3]
    steps: list[float] = []

    def attempt(t, y, h, first):
        steps.append(h)
        return Attempt(y, np.array([errors[len(steps) - 1] if len(steps) <= len(errors) else 1e-9]), first, first)

    def accepted(error, before):
        plain = 0.9 * error**-0.25
        return plain if controller == "elementary" or before is None else 0.9 * error**-0.175 * before**0.1

    times, tolerance = [0.0, 1.0], Tolerance(0.0, 1.0)
    integrate_adaptively(lambda t, y: 0 * y, np.zeros(1), times, attempt, 3, tolerance, controller)
    h = 1e-6  # the starting step of a slope of zero
    expected = [h]
    h *= accepted(0.5, None)
    expected.append(h)
    h *= accepted(0.2, 0.5)
    expected.append(h)
    h *= 0.9 * 3.0**-0.25  # rejected
    expected.append(h)
    h *= min(1.0, accepted(0.6, None))  # no growth
    expected.append(h)
    h *= accepted(0.3, 0.6)
    expected.append(h)
    np.testing.assert_allclose(steps[: len(expected)], expected, rtol=1e-12)


def test_a_cut_step_is_forgotten():
    """The third step is cut by an output time: the fourth goes on as planned, its successor has no memory of a cut."""
    steps: list[float] = []

    def attempt(t, y, h, first):
        steps.append(h)
        return Attempt(y, np.array([0.01]), first, first)

    ratio, start = 0.9 * 0.01**-0.25, 1e-6
    steady = 0.9 * 0.01**-0.075
    cut = start * (1 + ratio + 0.1)
    integrate_adaptively(
        lambda t, y: 0 * y, np.zeros(1), [0.0, cut, 1.0], attempt, 3, Tolerance(0.0, 1.0), controller="pi"
    )
    third = start * ratio * steady
    expected = [start, start * ratio, 0.1 * start, third, third * ratio, third * ratio * steady]
    np.testing.assert_allclose(steps[:6], expected, rtol=1e-9)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda t: t.name)
def test_the_pi_controller_follows_the_tolerance(pair):
    times = np.linspace(0, 5, 6).tolist()
    exact = np.exp(np.sin(times))
    errors = []
    for rtol in (1e-4, 1e-8):
        states, _, _ = solve(forced, np.array([1.0]), times, pair, rtol, rtol, controller="pi")
        errors.append(max(abs(np.array(states)[:, 0] - exact)))
    assert errors[0] < 1e-2
    assert errors[1] < min(1e-6, errors[0])


def test_the_pi_controller_rejects_less_at_the_border_of_stability():
    """y' = -1000 (y - cos t): what Gustafsson built it for. SciPy's RK45 is the elementary controller."""
    pair, rejected = TABLEAUX["dormand-prince54"], {}

    def f(t, y):
        return -1000 * (y - math.cos(t))

    for controller in ("elementary", "pi"):
        states, _, rejected[controller] = solve(f, np.array([0.0]), [0.0, 2.0], pair, 1e-4, 1e-4, controller=controller)
        exact = (1e6 * math.cos(2) + 1e3 * math.sin(2)) / (1 + 1e6)
        assert states[-1][0] == pytest.approx(exact, abs=1e-3)
    assert rejected["elementary"] > 20
    assert rejected["pi"] < 0.25 * rejected["elementary"]
