"""Every backend steps the tableau it is given: coefficients, trajectories, held inputs, gradients, counts, refusals.

Longer than most test files because every property is asked of every backend here, side by side.
"""

from __future__ import annotations

import itertools
import math
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from odernn.solvers.backends import find_backend
from odernn.solvers.backends.probe import deviation, recover
from odernn.solvers.backends.scipy import method
from odernn.solvers.step import active
from odernn.solvers.tableau import Tableau
from odernn.solvers.tableaux import METHODS, TABLEAUX
from odernn.suite.errors import Diverged, UsageError

NAMES = ["native", "torchdiffeq", "torchdiffeq-adjoint", "scipy"]
EXPLICIT = [t for t in TABLEAUX.values() if t.explicit]
PAIRS = [t for t in EXPLICIT if t.b_hat is not None]
RK4, PAIR = TABLEAUX["rk4"], TABLEAUX["dormand-prince54"]
UNSEEN = Tableau("never used before", TABLEAUX["heun2"].A, TABLEAUX["heun2"].b, 2, "test")
IMPLICIT = Tableau("Gauss, one stage", (("1/2",),), ("1",), 2, "test", ("1",), 1)

backends = pytest.mark.parametrize("backend", [find_backend(name) for name in NAMES], ids=NAMES)
tableaux = pytest.mark.parametrize("tableau", EXPLICIT, ids=lambda t: t.name)
pairs = pytest.mark.parametrize("tableau", PAIRS, ids=lambda t: t.name)


def cases(everywhere, elsewhere):
    """Every tableau in the backends `everywhere`, and the tableaux `elsewhere` in the others."""
    chosen = [(b, t) for b in NAMES for t in EXPLICIT if b in everywhere or t.name in elsewhere]
    ids = [f"{b}-{t.name}" for b, t in chosen]
    return pytest.mark.parametrize(("backend", "tableau"), [(find_backend(b), t) for b, t in chosen], ids=ids)


def lorenz(t, y, drive=None, weights=()):
    stack = np.stack if isinstance(y, np.ndarray) else torch.stack
    a, b, c = y[..., 0], y[..., 1], y[..., 2]
    return stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], -1)


def cell(t, y, drive, weights):
    """A small driven, time-dependent network: (batch, 3)."""
    W, b = weights
    return torch.tanh(y @ W + drive + b) * (1 + 0.3 * math.sin(float(t))) - 0.5 * y


def plain_loop(f, y, times, tableau):
    A, b, c = tableau.arrays.A, tableau.arrays.b, tableau.arrays.c
    states = [y]
    for t0, t1 in itertools.pairwise(times):
        h, k = t1 - t0, np.zeros((len(b), *y.shape))
        for i in range(len(b)):
            k[i] = f(t0 + c[i] * h, y + h * np.tensordot(A[i, :i], k[:i], 1))
        y = y + h * np.tensordot(b, k, 1)
        states.append(y)
    return np.array(states)


def problem(dtype=torch.float64, steps=5):
    generator = torch.Generator().manual_seed(3)
    y0 = torch.randn(2, 3, generator=generator, dtype=dtype)
    drives = torch.randn(steps, 2, 3, generator=generator, dtype=dtype)
    weights = (torch.randn(3, 3, generator=generator, dtype=dtype), torch.randn(3, generator=generator, dtype=dtype))
    return tuple(x.requires_grad_() for x in (y0, drives, *weights))


def gradients(backend, tableau, inputs, times, tolerance=None):
    y0, drives, *weights = inputs
    if tolerance is None:
        found = backend.fixed(cell, y0, times, tableau, drives, tuple(weights))
    else:
        found = backend.adaptive(cell, y0, times, tableau, tolerance, tolerance, drives, tuple(weights))
    scale = torch.arange(1, found.states.numel() + 1, dtype=y0.dtype).reshape(found.states.shape).cos()
    return found.states.detach(), torch.autograd.grad((found.states.square() * scale).sum(), inputs)


# ------------------------------------------------------------------------------------------------------- coefficients


@backends
@tableaux
@pytest.mark.parametrize("torch_state", [False, True], ids=["numpy", "torch"])
def test_recovered_tableau_is_the_given_one(backend, tableau, torch_state):
    for adaptive in (False, True) if tableau.b_hat is not None else (False,):
        kept = list(active(tableau, embedded=adaptive))
        A, b, c = recover(backend, tableau, adaptive, torch_state)
        given = tableau.arrays
        for found, expected in ((A, given.A[kept][:, kept]), (b, given.b[kept]), (c, given.c[kept])):
            np.testing.assert_allclose(found, expected, rtol=1e-15, atol=1e-15)
        assert deviation(backend, tableau, adaptive, torch_state) <= 1e-15


def test_recover_sees_a_wrong_backend():
    """A backend that steps Heun's method when asked for the midpoint rule."""

    class Liar(type(find_backend("native")).__mro__[1]):
        name, differentiable = "liar", False

        def fixed(self, field, y0, times, tableau, drives=None, weights=()):
            return find_backend("native").fixed(field, y0, times, TABLEAUX["heun2"], drives, weights)

        def adaptive(self, *args):
            raise AssertionError

    assert deviation(Liar(), TABLEAUX["midpoint"]) == pytest.approx(0.5)


# ------------------------------------------------------------------------------------------------------- trajectories


@cases(everywhere=["native", "torchdiffeq", "scipy"], elsewhere=["rk4", "dormand-prince54"])
@pytest.mark.parametrize("torch_state", [False, True], ids=["numpy", "torch"])
def test_lorenz_equals_a_plain_loop(backend, tableau, torch_state):
    times = [0.01 * k for k in range(201)]
    y0 = np.ones(3)
    found = backend.fixed(lorenz, torch.from_numpy(y0) if torch_state else y0, times, tableau)
    assert isinstance(found.states, torch.Tensor if torch_state else np.ndarray)
    assert (found.accepted, found.rejected, tuple(found.states.shape)) == (200, 0, (201, 3))
    largest = max(1.0, np.abs(tableau.arrays.A).max())  # huge coefficients cancel, and leave their rounding
    np.testing.assert_allclose(found.states, plain_loop(lorenz, y0, times, tableau), rtol=0, atol=1e-12 * largest)


def starts(t, y, drive=None, weights=()):
    return y * np.cos(float(t)) + (np if isinstance(y, np.ndarray) else torch).sin(y)


Y0 = np.array([0.5, 1.0, -0.3, 2.0])
REFERENCE = solve_ivp(starts, (0, 2), Y0, method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1]
FIRST = {1: 256, 2: 64, 3: 64, 4: 32, 5: 24, 6: 12, 7: 10, 8: 10}


@cases(everywhere=["native"], elsewhere=["heun3", "rk4", "dormand-prince54"])
def test_observed_order(backend, tableau):
    """y' = y cos t + sin y, nonlinear and non-autonomous: the error falls by 2^order when the step halves."""
    errors = []
    for steps in (FIRST[tableau.order], 2 * FIRST[tableau.order]):
        states = backend.fixed(starts, Y0, np.linspace(0, 2, steps + 1).tolist(), tableau).states
        errors.append(np.linalg.norm(states[-1] - REFERENCE))
    assert errors[1] > 1e-13, "too close to rounding to see an order"
    assert math.log2(errors[0] / errors[1]) > tableau.order - 0.6


@pytest.mark.parametrize(("name", "theirs"), [("dormand-prince54", "RK45"), ("bogacki-shampine32", "RK23")])
def test_injected_scipy_class_takes_the_steps_of_scipy(name, theirs):
    expected = solve_ivp(lorenz, (0, 5), np.ones(3), method=theirs, rtol=1e-6, atol=1e-8)
    found = solve_ivp(lorenz, (0, 5), np.ones(3), method=method(TABLEAUX[name]), rtol=1e-6, atol=1e-8)
    assert found.nfev == expected.nfev
    np.testing.assert_allclose(found.t, expected.t, rtol=1e-9)
    np.testing.assert_allclose(found.y, expected.y, rtol=1e-8, atol=1e-8)


def test_scipy_interpolant_is_the_cubic_hermite_polynomial():
    """Exact on cubics: y = t^3 - t, whose values and slopes at the ends determine it."""
    cls = method(PAIR)
    found = solve_ivp(lambda t, y: [3 * t * t - 1], (0, 1), [0.0], method=cls, rtol=1e-3, dense_output=True)
    t = np.linspace(0, 1, 11)
    np.testing.assert_allclose(found.sol(t)[0], t**3 - t, atol=1e-14)


@backends
@pairs
def test_adaptive_lands_on_outputs_of_a_closed_form(backend, tableau):
    """y' = y cos t, y = exp(sin t); the times are landed on, so the last digits are those of the method."""
    times = [0.0, 0.3, 0.3 + 1e-9, 2.0, 5.0]
    found = backend.adaptive(lambda t, y, drive, weights: y * np.cos(float(t)), np.ones(2), times, tableau, 1e-8, 1e-8)
    np.testing.assert_allclose(found.states, np.exp(np.sin(times))[:, None] * np.ones(2), rtol=2e-6)
    assert found.accepted >= 4
    fast = [find_backend("native").adaptive(lorenz, np.ones(3), [0, 1], tableau, r, r).accepted for r in (1e-4, 1e-6)]
    assert fast[0] < fast[1]


@backends
@pytest.mark.parametrize(("name", "theirs"), [("dormand-prince54", "RK45"), ("bogacki-shampine32", "RK23")])
@pytest.mark.parametrize("rtol", [1e-4, 1e-6])
def test_adaptive_steps_are_those_of_scipys_own_pair(backend, name, theirs, rtol):
    """y' = -y / (1 + t): steps only grow, where all three controllers agree; so scale of the error, exponent and first
    step are SciPy's. The last steps differ, since each engine has its own way to the end."""
    times = []

    def f(t, y, drive=None, weights=()):
        times.append(float(t))
        return -y / (1 + float(t))

    y0 = np.array([1.0, 2.0])
    expected = solve_ivp(f, (0, 50), y0, method=theirs, rtol=rtol, atol=rtol)
    stages = [t for t in times if t < expected.t[-4]]
    times.clear()
    found = backend.adaptive(f, y0, [0.0, 50.0], TABLEAUX[name], rtol, rtol)
    np.testing.assert_allclose(times[: len(stages)], stages, rtol=1e-8)
    assert (found.accepted, found.rejected) == (len(expected.t) - 1, 0)


@backends
@pairs
def test_the_second_step_follows_the_error_of_the_first(backend, tableau):
    """h2 = 0.9 h1 err^(-1 / (q + 1)), q the smaller order, err the root mean square of h (b - b_hat) k / scale."""
    rtol, times, y0 = 1e-7, [], np.array([1.0, 2.0])

    def f(t, y, drive=None, weights=()):
        times.append(float(t))
        return -y * y / (1 + float(t))

    backend.adaptive(f, y0, [0.0, 50.0], tableau, rtol, rtol)
    A, b, c, b_hat = tableau.arrays.A, tableau.arrays.b, tableau.arrays.c, tableau.arrays.b_hat
    s = tableau.stages
    h = times[2] / c[1]  # after f(t0) and one evaluation for the choice of h
    second = (times[2 + (s - 1) + (not tableau.fsal)] - h) / c[1]
    k = np.zeros((s, 2))
    for i in range(s):
        k[i] = f(c[i] * h, y0 + h * A[i, :i] @ k[:i])
    scale = rtol + rtol * np.maximum(y0, y0 + h * b @ k)
    error = np.sqrt(np.mean((h * (b - b_hat) @ k / scale) ** 2))
    factor = 0.9 * error ** (-1 / (min(tableau.order, tableau.embedded_order) + 1))
    assert 1 < factor < 10, "outside, the controllers bound it in ways of their own"
    assert second / h == pytest.approx(factor, rel=1e-4)


@backends
def test_many_outputs_do_not_shrink_the_steps_between_them(backend):
    def f(t, y, drive, weights):
        return y * math.cos(float(t))

    times = [0.0, *(x for k in range(1, 10) for x in (k - 1e-7, float(k))), 10.0]
    few = backend.adaptive(f, np.ones(1), [0.0, 10.0], PAIR, 1e-6, 1e-6).accepted
    assert backend.adaptive(f, np.ones(1), times, PAIR, 1e-6, 1e-6).accepted <= few + 2 * 18


@backends
def test_times_are_doubles_whatever_the_state_is(backend):
    """At t = 1000 single precision tells times 6e-5 apart, a part in a hundred of these steps."""
    times = [1000.0 + 0.005 * k for k in range(101)]
    found = backend.fixed(lambda t, y, drive, weights: y * 0 + 1, torch.zeros(1), times, PAIR).states
    assert found.dtype is torch.float32
    np.testing.assert_allclose(found.diff(dim=0).numpy(), 0.005, rtol=0, atol=1e-6)


# --------------------------------------------------------------------------------------------------------- held inputs


@backends
@tableaux
def test_no_stage_reads_the_next_input(backend, tableau):
    """y' = u_i - y on interval i: one step is R(-h) y + (1 - R(-h)) u_i, with R(z) = 1 + z b^T (I - zA)^-1 1."""
    times, u = [0.0, 0.25, 0.75, 1.0, 1.5], np.array([1.0, -50.0, 300.0, 0.0])
    given = tableau.arrays
    expected = [2.0]
    for h, value in zip(np.diff(times), u, strict=True):
        s = tableau.stages
        R = 1 - h * given.b @ np.linalg.solve(np.eye(s) + h * given.A, np.ones(s))
        expected.append(R * expected[-1] + (1 - R) * value)
    found = backend.fixed(lambda t, y, drive, weights: drive - y, np.array([2.0]), times, tableau, u)
    largest = max(1.0, np.abs(tableau.arrays.A).max())
    np.testing.assert_allclose(found.states[:, 0], expected, rtol=0, atol=1e-12 * largest)


@backends
@pytest.mark.parametrize("torch_state", [False, True], ids=["numpy", "torch"])
def test_adaptive_restarts_where_the_input_jumps(backend, torch_state):
    times, u = [0.0, 0.25, 0.75, 1.0, 4.0], np.array([1.0, -50.0, 300.0, 0.0])
    expected = [2.0]
    for h, value in zip(np.diff(times), u, strict=True):
        expected.append(value + (expected[-1] - value) * math.exp(-h))
    y0 = torch.tensor([2.0], dtype=torch.float64) if torch_state else np.array([2.0])
    found = backend.adaptive(lambda t, y, drive, weights: drive - y, y0, times, PAIR, 1e-10, 1e-10, u.tolist())
    np.testing.assert_allclose(found.states[:, 0], expected, rtol=0, atol=1e-6)


# ----------------------------------------------------------------------------------------------------------- gradients


def test_native_passes_gradcheck():
    y0, drives, *weights = problem(steps=3)
    native = find_backend("native")

    def rollout(y0, drives, *weights):
        return native.fixed(cell, y0, [0.0, 0.2, 0.5, 0.6], PAIR, drives, weights).states

    assert torch.autograd.gradcheck(rollout, (y0, drives, *weights))


@pytest.mark.parametrize("name", ["torchdiffeq", "scipy"])
@pytest.mark.parametrize("tableau", [TABLEAUX["euler"], TABLEAUX["heun2"], RK4, PAIR], ids=lambda t: t.name)
def test_gradients_equal_native(name, tableau):
    inputs, times = problem(), [0.0, 0.2, 0.5, 0.6, 0.9, 1.3]
    expected = gradients(find_backend("native"), tableau, inputs, times)
    found = gradients(find_backend(name), tableau, inputs, times)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_adaptive_gradient_of_a_closed_form(name):
    """y' = u_i - w y: both y and its derivatives by y0, w and u are known."""
    w, y0 = torch.tensor(0.7, dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    u = torch.tensor([[1.0], [-3.0]], dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (y0, u, w)]
    times = [0.0, 0.5, 2.0]
    exact = y0
    for i, h in enumerate((0.5, 1.5)):
        exact = u[i] / w + (exact - u[i] / w) * torch.exp(-w * h)
    expected = torch.autograd.grad(exact.sum(), inputs)

    def f(t, y, drive, weights):
        return drive - weights[0] * y

    states = find_backend(name).adaptive(f, y0, times, PAIR, 1e-9, 1e-9, u, (w,)).states
    torch.testing.assert_close(torch.autograd.grad(states[-1].sum(), inputs), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["torchdiffeq", "scipy"])
def test_adaptive_gradients_equal_native(name):
    inputs, times = problem(), [0.0, 0.2, 0.5, 0.6, 0.9, 1.3]
    expected = gradients(find_backend("native"), PAIR, inputs, times, 1e-9)
    found = gradients(find_backend(name), PAIR, inputs, times, 1e-9)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("tableau", [TABLEAUX["heun2"], RK4], ids=lambda t: t.name)
def test_adjoint_gradient_converges_to_the_discrete_one(tableau):
    """The difference falls with the order of the method: both approximate the continuous gradient."""
    y0, drives, *weights = problem(steps=4)
    differences = []
    for parts in (4, 8):
        times = [k / parts for k in range(4 * parts + 1)]
        inputs = (y0, drives.detach().repeat_interleave(parts, 0).requires_grad_(), *weights)
        both = []
        for name in ("native", "torchdiffeq-adjoint"):
            found = find_backend(name).fixed(cell, y0, times, tableau, inputs[1], tuple(weights))
            both.append(torch.autograd.grad(found.states[-1].square().sum(), (y0, *weights)))
        differences.append(max(float((a - b).abs().max()) for a, b in zip(*both, strict=True)))
    assert differences[0] < 1e-1
    assert math.log2(differences[0] / differences[1]) > tableau.order - 0.4


def test_adjoint_counts_a_weight_made_from_another_once():
    """weights (a, a^2) on y' = (a + a^2) y: dy/da = (1 + 2a) t y; through its input alone a would get t y twice."""
    a, y0 = torch.tensor(0.3, dtype=torch.float64, requires_grad=True), torch.ones(1, dtype=torch.float64)

    def f(t, y, drive, weights):
        return (weights[0] + weights[1]) * y

    times = [k / 50 for k in range(51)]
    states = find_backend("torchdiffeq-adjoint").fixed(f, y0, times, RK4, None, (a, a * a)).states
    (found,) = torch.autograd.grad(states[-1].sum(), a)
    assert float(found) == pytest.approx(1.6 * math.exp(0.39), rel=1e-8)


@backends
def test_complex_states_and_weights(backend):
    """y' = i w y with complex w: y = exp(i w t) y0, |y| known, gradient by w real and imaginary."""
    w = torch.tensor(0.8 + 0.1j, dtype=torch.complex128, requires_grad=True)
    y0 = torch.tensor([1 + 2j, -0.5j], dtype=torch.complex128)
    times = [k / 40 for k in range(41)]
    states = backend.fixed(lambda t, y, drive, weights: 1j * weights[0] * y, y0, times, PAIR, None, (w,)).states
    torch.testing.assert_close(states[-1], torch.exp(1j * w) * y0, rtol=1e-8, atol=1e-8)
    (found,) = torch.autograd.grad(states[-1].real.sum(), w)
    (expected,) = torch.autograd.grad((torch.exp(1j * w) * y0).real.sum(), w)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["torchdiffeq-adjoint", "scipy"])
def test_nothing_to_differentiate_needs_no_graph(name):
    y0, drives, *weights = (x.detach() for x in problem())
    times = [0.0, 0.2, 0.5, 0.6, 0.9, 1.3]
    assert not find_backend(name).fixed(cell, y0, times, RK4, drives, tuple(weights)).states.requires_grad
    only = weights[0].requires_grad_()
    states = find_backend(name).fixed(cell, y0, times, RK4, drives, tuple(weights)).states
    (found,) = torch.autograd.grad(states.sum(), only)
    assert found.shape == only.shape
    assert bool(found.abs().sum() > 0)


@backends
def test_the_field_sees_the_dtype_of_the_state(backend):
    inputs, seen = problem(torch.float32), set()

    def f(t, y, drive, weights):
        seen.add(y.dtype)
        return cell(t, y, drive, weights)

    y0, drives, *weights = inputs
    times = [0.0, 0.2, 0.5, 0.6, 0.9, 1.3]
    for found in (
        backend.fixed(f, y0, times, RK4, drives, tuple(weights)),
        backend.adaptive(f, y0, times, PAIR, 1e-3, 1e-3, drives, tuple(weights)),
    ):
        assert found.states.dtype == torch.float32
        found.states.sum().backward()
    assert seen == {torch.float32}
    single = backend.fixed(lambda t, y, drive, weights: -y, np.ones(2, dtype=np.float32), times, RK4)
    assert single.states.dtype == np.float32


# -------------------------------------------------------------------------------------------------------------- counts


@backends
@pytest.mark.parametrize("name", ["euler", "rk4", "dormand-prince54", "fehlberg45"])
@pytest.mark.parametrize("driven", [False, True])
def test_evaluations_of_a_fixed_grid(backend, name, driven):
    """N s' for s' stages that matter; SciPy also evaluates the end of a step: 1 + N s', with drives N (s' + 1)."""
    tableau, n = TABLEAUX[name], 7
    count = 0

    def f(t, y, drive, weights):
        nonlocal count
        count += 1
        return -y

    found = backend.fixed(f, np.ones(2), list(range(n + 1)), tableau, [0.0] * n if driven else None)
    s = len(active(tableau))
    expected = n * s if backend.name != "scipy" else n * (s + 1) if driven else 1 + n * s
    assert found.f_calls == count == expected


@backends
@pairs
@pytest.mark.parametrize("driven", [False, True])
def test_evaluations_of_adaptive_steps(backend, tableau, driven):
    """2 a start, then s - 1 (FSAL) or s an attempt; native keeps the first slope after a rejection."""
    times = [0.0, 0.5, 1.0, 2.0]
    count = 0

    def f(t, y, drive, weights):
        nonlocal count
        count += 1
        return lorenz(t, y)

    found = backend.adaptive(f, np.ones(3), times, tableau, 1e-5, 1e-5, [0.0] * 3 if driven else None)
    starts, s = 3 if driven else 1, tableau.stages
    tried = found.accepted + found.rejected
    expected = 2 * starts + tried * (s - 1 if tableau.fsal else s)
    if backend.name == "native" and not tableau.fsal:
        expected = 2 * starts + tried * (s - 1) + found.accepted - starts
    assert found.f_calls == count == expected
    assert found.rejected > 0


# ------------------------------------------------------------------------------------------------------------ refusals


@backends
def test_a_step_far_too_large_diverges(backend):
    """R(-100) of classical RK4 is about 4e6: 60 steps overflow."""
    with pytest.raises(Diverged, match=r"step \d+, t = \d"):
        backend.fixed(lambda t, y, drive, weights: -1000 * y, np.ones(2), [0.1 * k for k in range(61)], RK4)
    y0 = torch.ones(2, dtype=torch.float64)
    with pytest.raises(Diverged, match=r"step \d+, t = \d"):
        backend.fixed(lambda t, y, drive, weights: -1000 * y, y0, [0.1 * k for k in range(61)], RK4)


@backends
@pytest.mark.parametrize("torch_state", [False, True], ids=["numpy", "torch"])
def test_a_blow_up_diverges(backend, torch_state):
    y0 = torch.ones(1, dtype=torch.float64) if torch_state else np.ones(1)
    with pytest.raises(Diverged, match=r"t = (1\b|0\.999)"):
        backend.adaptive(lambda t, y, drive, weights: y * y, y0, [0.0, 2.0], PAIR, 1e-6, 1e-6)


@backends
def test_a_start_that_is_not_finite_diverges(backend):
    for y0 in (np.array([np.nan]), torch.tensor([math.inf])):
        with pytest.raises(Diverged, match="step 0, t = 0"):
            backend.fixed(lambda t, y, drive, weights: -y, y0, [0.0, 1.0], RK4)
        with pytest.raises(Diverged, match="step 0, t = 0"):
            backend.adaptive(lambda t, y, drive, weights: -y, y0, [0.0, 1.0], PAIR, 1e-3, 1e-3)


@backends
def test_what_a_backend_refuses(backend):
    def f(t, y, drive, weights):
        return -y

    y0 = np.ones(1)
    if backend.name != "native":
        with pytest.raises(UsageError, match=f"backend '{backend.name}' cannot step the implicit tableau"):
            backend.fixed(f, y0, [0.0, 1.0], IMPLICIT)
        with pytest.raises(UsageError, match=r"cannot step the implicit tableau .* backend 'native'"):
            backend.adaptive(f, y0, [0.0, 1.0], IMPLICIT, 1e-3, 1e-3)
        with pytest.raises(UsageError, match="cannot step the partitioned tableau 'stormer-verlet'"):
            backend.fixed(f, np.ones(2), [0.0, 1.0], METHODS["stormer-verlet"])
        with pytest.raises(UsageError, match="cannot step the splitting 'strang'"):
            backend.fixed(f, y0, [0.0, 1.0], METHODS["strang"])
    with pytest.raises(UsageError, match=r"'rk4' has no embedded weights .*dormand-prince54"):
        backend.adaptive(f, y0, [0.0, 1.0], RK4, 1e-3, 1e-3)
    with pytest.raises(UsageError, match=r"rtol = -1"):
        backend.adaptive(f, y0, [0.0, 1.0], PAIR, -1, 1e-3)
    with pytest.raises(UsageError, match="both 0"):
        backend.adaptive(f, y0, [0.0, 1.0], PAIR, 0, 0)
    with pytest.raises(UsageError, match="strictly increasing"):
        backend.fixed(f, y0, [0.0, 1.0, 1.0], RK4)
    with pytest.raises(UsageError, match="3 drives for 3 times: expected one for each interval, 2"):
        backend.fixed(f, y0, [0.0, 1.0, 2.0], RK4, [0.0] * 3)
    with pytest.raises(UsageError, match="NumPy array or a torch tensor"):
        backend.fixed(f, [1.0], [0.0, 1.0], RK4)


@backends
def test_a_single_time_is_the_start(backend):
    found = backend.fixed(lambda t, y, drive, weights: -y, np.ones(2), [3.0], RK4)
    assert (found.states.shape, found.f_calls, found.accepted) == ((1, 2), 0, 0)
    found = backend.adaptive(lambda t, y, drive, weights: -y, np.ones(2), [3.0], PAIR, 1e-3, 1e-3)
    assert (found.states.shape, found.accepted) == ((1, 2), 0)


def test_threads_do_not_mix_their_tableaux():
    """Each thread injects its own method into torchdiffeq's one registry."""
    times = [0.05 * k for k in range(21)]

    def run(tableau):
        return find_backend("torchdiffeq").fixed(lorenz, np.ones(3), times, tableau).states

    chosen = EXPLICIT[:8]
    with ThreadPoolExecutor(4) as pool:
        for tableau, states in zip(chosen, pool.map(run, chosen), strict=True):
            np.testing.assert_allclose(states, plain_loop(lorenz, np.ones(3), times, tableau), atol=1e-11)


def test_a_missing_package_is_named(monkeypatch):
    from odernn.solvers.backends import torchdiffeq as module

    for hidden, sentence in (
        ("torchdiffeq", "needs a package: pip install"),
        ("torchdiffeq._impl.odeint", "internals"),
    ):
        module._library.cache_clear()
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, hidden, None)
            with pytest.raises(UsageError, match=sentence):
                module.Direct().fixed(lambda t, y, drive, weights: -y, np.ones(1), [0.0, 1.0], UNSEEN)
    module._library.cache_clear()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "native"])
def test_a_library_keeps_its_own_control_of_steps(name):
    arguments = (lorenz, np.ones(3), [0.0, 0.1], PAIR, 1e-3, 1e-3)
    backend = find_backend(name)
    assert backend.adaptive(*arguments, controller="elementary", dense=False).accepted > 0
    with pytest.raises(UsageError, match=f"backend '{name}' has no controller 'pi': expected 'elementary'"):
        backend.adaptive(*arguments, controller="pi")
    with pytest.raises(UsageError, match=f"backend '{name}' has no dense output"):
        backend.adaptive(*arguments, dense=True)
    with pytest.raises(UsageError, match="unknown controller 'pie': did you mean 'pi'"):
        backend.adaptive(*arguments, controller="pie")
