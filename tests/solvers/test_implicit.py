"""Implicit steps against stability functions, SciPy, closed forms and gradcheck; and what happens where they fail."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from odernn.solvers.backends import find_backend
from odernn.solvers.backends.base import JacobianField
from odernn.solvers.integration import integrate
from odernn.solvers.tableaux import TABLEAUX
from odernn.suite.errors import Diverged, UsageError

NATIVE = find_backend("native")
IMPLICIT = [t for t in TABLEAUX.values() if not t.explicit]
STIFF = ["backward-euler", "radau2a2", "radau2a3", "lobatto3c2", "lobatto3c3", "sdirk2", "tr-bdf2", "esdirk43"]
implicit = pytest.mark.parametrize("tableau", IMPLICIT, ids=lambda t: t.name)


def stability(tableau, z):
    """R(z) = 1 + z b^T (I - z A)^-1 1 (HW II, IV.3, eq. 3.2), in 50 digits from the float64 coefficients."""
    with mpmath.workdps(50):
        A, b = mpmath.matrix(tableau.arrays.A.tolist()), mpmath.matrix([tableau.arrays.b.tolist()])
        z = mpmath.mpc(z)
        return complex(1 + z * (b * mpmath.lu_solve(mpmath.eye(len(b)) - z * A, mpmath.ones(len(b), 1)))[0])


@implicit
@settings(max_examples=8, deadline=None)
@given(x=st.floats(-50, 0.2), y=st.floats(-20, 20))
def test_linear_steps_are_powers_of_the_stability_function(tableau, x, y):
    z = complex(x, y)
    found = integrate(lambda t, y: z * y, np.array([1 + 0j, 2j]), [0.0, 1.0, 2.0, 3.0], tableau=tableau)
    R = stability(tableau, z)
    scale = max(1.0, abs(R) ** 3)
    np.testing.assert_allclose(found.states[-1], R**3 * np.array([1, 2j]), rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("name", STIFF)
def test_l_stable_methods_damp_the_stiffest_mode(name):
    table = TABLEAUX[name]
    found = integrate(lambda t, y: -1e6 * y, [1.0], [0.0, 1.0, 2.0], tableau=table).states[:, 0]
    expected = stability(table, -1e6).real
    assert found[1] == pytest.approx(expected, abs=1e-13)
    assert abs(found[2]) < 1e-4 * abs(found[0])


def pendulum(t, y, drive=None, weights=()):
    """Nonlinear, coupled, and explicit in time."""
    lib = np if isinstance(y, np.ndarray) else torch
    q, p = y[..., 0], y[..., 1]
    slopes = [p * math.cos(t) + lib.sin(q), lib.cos(q) * math.sin(2 * t) - p * q / 3]
    return np.stack(slopes, -1) if lib is np else torch.stack(slopes, -1)


START = np.array([0.5, -0.3])
REFERENCE = solve_ivp(pendulum, (0, 2), START, method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1]


@implicit
def test_observed_order(tableau):
    errors = []
    for steps in (16, 32):
        states = NATIVE.fixed(pendulum, START, np.linspace(0, 2, steps + 1).tolist(), tableau).states
        errors.append(np.linalg.norm(states[-1] - REFERENCE))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(tableau.order, abs=0.35)


def test_the_tolerance_leaves_no_plateau():
    grid = np.linspace(0, 2, 201).tolist()
    assert np.abs(NATIVE.fixed(pendulum, START, grid, TABLEAUX["gauss3"]).states[-1] - REFERENCE).max() < 2e-14


@implicit
def test_torch_takes_the_steps_of_numpy(tableau):
    grid = [0.0, 0.1, 0.4, 0.5]
    expected = NATIVE.fixed(pendulum, START, grid, tableau).states
    found = NATIVE.fixed(pendulum, torch.from_numpy(START), grid, tableau).states
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", ["radau2a3", "esdirk43", "sdirk2", "lobatto3c3"])
def test_van_der_pol_equals_scipys_radau(name):
    def field(t, y):
        return np.array([y[1], 100.0 * (1 - y[0] ** 2) * y[1] - y[0]])

    expected = solve_ivp(field, (0, 2), [2.0, -0.66], method="Radau", rtol=1e-10, atol=1e-12).y[:, -1]
    found = integrate(field, [2.0, -0.66], [0.0, 2.0], tableau=name, steps=100)
    np.testing.assert_allclose(found.states[-1], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["tr-bdf2", "esdirk43"])
def test_implicit_pairs_choose_their_steps(name):
    def field(t, y):
        return np.array([y[1], 100.0 * (1 - y[0] ** 2) * y[1] - y[0]])

    expected = solve_ivp(field, (0, 120), [2.0, -0.66], method="Radau", rtol=1e-9, atol=1e-12).y[:, -1]
    found = integrate(field, [2.0, -0.66], [0.0, 120.0], tableau=name, rtol=1e-5)
    np.testing.assert_allclose(found.states[-1], expected, atol=2e-3)
    assert found.accepted < 1000, "an explicit pair needs many thousands"
    assert found.iterations >= found.accepted


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_midpoint_keeps_the_norm_of_a_skew_field(library):
    """y' = |y|^2 K y, K skew: nonlinear, and |y|^2 is a quadratic invariant."""
    M = np.random.default_rng(0).normal(size=(5, 5))
    K = M - M.T
    y0 = np.ones(5) / math.sqrt(5)
    steps = 1000
    if library == "torch":
        K, y0, steps = torch.from_numpy(K), torch.from_numpy(y0), 100
    times = 0.05 * np.arange(steps + 1)
    found = integrate(lambda t, y: K @ y * (y * y).sum(), y0, times, tableau="implicit-midpoint")
    assert np.abs(np.linalg.norm(found.states, axis=-1) - 1).max() < 1e-13


def kepler(t, y):
    r = np.hypot(y[0], y[1]) ** 3
    return np.array([y[2], y[3], -y[0] / r, -y[1] / r])


@pytest.mark.parametrize(("name", "drift"), [("gauss2", 2e-4), ("gauss3", 2e-6)])
def test_gauss_keeps_the_invariants_of_kepler(name, drift):
    """Eccentricity 0.3, five periods: L is quadratic and exact, the energy error stays bounded."""
    e = 0.3
    y0 = [1 - e, 0.0, 0.0, math.sqrt((1 + e) / (1 - e))]
    y = integrate(kepler, y0, np.linspace(0, 10 * math.pi, 251), tableau=name).states
    L = y[:, 0] * y[:, 3] - y[:, 1] * y[:, 2]
    H = (y[:, 2] ** 2 + y[:, 3] ** 2) / 2 - 1 / np.hypot(y[:, 0], y[:, 1])
    assert np.abs(L - L[0]).max() < 2e-13
    assert np.abs(H + 0.5).max() < drift


# ----------------------------------------------------------------------------------------------------------- gradients


def cell(t, y, drive, weights):
    W, b = weights
    return torch.tanh(y @ W + drive + b) * (1 + 0.3 * math.sin(float(t))) - 0.2 * y**3


class Known:
    """`cell` with its Jacobian, so that the batch is a batch of small systems."""

    def __call__(self, t, y, drive, weights):
        return cell(t, y, drive, weights)

    def jacobian(self, y, drive, weights, t=0.0):
        W, b = weights
        slope = (1 - torch.tanh(y @ W + drive + b) ** 2) * (1 + 0.3 * math.sin(float(t)))
        return slope.unsqueeze(-1) * W.t() - torch.diag_embed(0.6 * y * y)


def inputs(batch=2, size=2, steps=2, dtype=torch.float64):
    g = torch.Generator().manual_seed(1)
    shapes = ((batch, size), (steps, batch, size), (size, size), (size,))
    return tuple(torch.randn(s, generator=g, dtype=dtype).requires_grad_() for s in shapes)


@implicit
@pytest.mark.parametrize("field", [cell, Known()], ids=["function", "jacobian"])
def test_gradients(tableau, field):
    assert isinstance(Known(), JacobianField)

    def run(y0, drives, W, b):
        return NATIVE.fixed(field, y0, [0.0, 0.4, 1.0], tableau, drives, (W, b)).states

    given = inputs()
    assert torch.autograd.gradcheck(run, given, atol=1e-7, fast_mode=True)
    with torch.no_grad():
        plain = run(*given)
    assert not plain.requires_grad
    torch.testing.assert_close(run(*given).detach(), plain, rtol=0, atol=1e-15)


def test_a_closure_gets_its_gradient():
    W = torch.tensor([[0.1, 1.0], [-1.0, 0.2]], dtype=torch.float64, requires_grad=True)
    y0 = torch.tensor([1.0, -0.5], dtype=torch.float64)
    found = integrate(lambda t, y: W @ y, y0, [0.0, 1.0], tableau="gauss3", steps=20).states[-1]
    (expected,) = torch.autograd.grad((torch.linalg.matrix_exp(W) @ y0).sum(), W)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), W)[0], expected, rtol=1e-10, atol=1e-10)


def test_a_closure_that_enters_late_gets_its_gradient():
    """exp(-0.5) up to t = 0.5, then exp(-w / 2): the first steps know nothing of w. Watching costs no evaluation."""
    w = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(1, dtype=torch.float64)
    grid = [0.25 * i for i in range(5)]

    def rate(t, y):
        return -w * y if t >= 0.5 else -y

    found = integrate(rate, y0, grid, tableau="gauss3")
    (gradient,) = torch.autograd.grad(found.states[-1].sum(), w)
    assert float(gradient) == pytest.approx(-0.5 * math.exp(-0.5 - 0.35), rel=1e-8)
    with torch.no_grad():
        still = integrate(lambda t, y: -y, y0, grid, tableau="gauss3")
    assert integrate(lambda t, y: -y, y0, grid, tableau="gauss3").f_calls == still.f_calls


def test_a_second_derivative_is_refused():
    y = torch.ones(2, dtype=torch.float64, requires_grad=True)
    states = integrate(lambda t, y: -(y**3), y, [0.0, 1.0], tableau="gauss2").states
    (first,) = torch.autograd.grad(states[-1].sum(), y, create_graph=True)
    with pytest.raises(UsageError, match="no second derivative"):
        torch.autograd.grad(first.sum(), y)


def test_the_graph_does_not_grow_with_the_iterations():
    def nodes(scale):
        y0, drives, W, b = inputs()
        states = NATIVE.fixed(cell, y0, [0.0, scale], TABLEAUX["gauss2"], drives[:1], (W, b))
        seen, waiting = set(), [states.states.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in seen:
                seen.add(node)
                waiting += [other for other, _ in node.next_functions]
        return len(seen), states.iterations

    (few, short), (many, long) = nodes(1e-3), nodes(0.8)
    assert long > short
    assert few == many


# ----------------------------------------------------------------------------------------------- dtypes, work, refusals


@implicit
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 0.05), (torch.half, 6e-3)])
def test_short_numbers_keep_their_dtype(tableau, dtype, tolerance):
    y0, drives, W, b = (x.detach() for x in inputs())
    expected = NATIVE.fixed(Known(), y0, [0.0, 0.5, 1.0], tableau, drives, (W, b)).states
    short = [x.to(dtype).requires_grad_() for x in (y0, drives, W, b)]
    found = NATIVE.fixed(Known(), short[0], [0.0, 0.5, 1.0], tableau, short[1], tuple(short[2:])).states
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=4 * tolerance)
    gradients = torch.autograd.grad(found.float().sum(), short)
    assert all(g.dtype == dtype and bool(g.isfinite().all()) for g in gradients)


def test_numpy_float32_stays():
    found = integrate(lambda t, y: -y, np.ones(2, dtype=np.float32), [0.0, 1.0], tableau="gauss2").states
    assert found.dtype == np.float32
    assert found[-1, 0] == pytest.approx(stability(TABLEAUX["gauss2"], -1).real, rel=1e-6)


def test_a_sequence_does_not_depend_on_its_batch():
    y0, drives, W, b = (x.detach() for x in inputs(batch=5))
    both = NATIVE.fixed(Known(), y0, [0.0, 0.4, 1.0], TABLEAUX["gauss3"], drives, (W, b)).states
    for k in range(5):
        alone = NATIVE.fixed(Known(), y0[k : k + 1], [0.0, 0.4, 1.0], TABLEAUX["gauss3"], drives[:, k : k + 1], (W, b))
        torch.testing.assert_close(both[:, k : k + 1], alone.states, rtol=0, atol=1e-15)


def test_work_is_counted():
    """A linear field: one iteration finds the stages, a second confirms them; SDIRK stages share one factorisation."""
    calls = []

    class Linear:
        def __call__(self, t, y, drive, weights):
            calls.append(t)
            return -y

        def jacobian(self, y, drive, weights, t=0.0):
            return -np.ones((*y.shape, 1))

    for name, solves, stages, factorizations in (("gauss3", 1, 3, 1), ("sdirk2", 2, 1, 1), ("trapezoid", 1, 1, 1)):
        calls.clear()
        found = NATIVE.fixed(Linear(), np.ones((4, 1)), [0.0, 1.0], TABLEAUX[name])
        assert found.iterations == 2 * solves
        assert found.f_calls == len(calls) == 2 * solves * stages + (name == "trapezoid")
        assert (found.jacobian_calls, found.factorizations) == (1, factorizations)


def test_a_given_jacobian_is_used():
    def jacobian(t, y, u):
        return -3 * np.eye(2) + 0 * u

    arguments = (lambda t, y, u: -3 * y + u, [1.0, 2.0], [0.0, 0.5], [np.array([0.5])])
    with_it = integrate(*arguments, tableau="gauss2", jacobian=lambda t, y, u: -3 * np.eye(2))
    without = integrate(*arguments, tableau="gauss2")
    np.testing.assert_allclose(with_it.states, without.states, rtol=1e-14)
    assert with_it.f_calls < without.f_calls
    with pytest.raises(UsageError, match="jacobian is a float"):
        integrate(*arguments, tableau="gauss2", jacobian=3.0)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_given_jacobian_takes_the_states_dtype_and_must_have_its_shape(library):
    """-y with its exact float32 Jacobian in a float64 problem; one of another shape is a mistake of the caller."""
    y0, short = np.ones((3, 2)), -np.stack([np.eye(2, dtype=np.float32)] * 3)
    if library == "torch":
        y0, short = torch.from_numpy(y0), torch.from_numpy(short)
    found = integrate(lambda t, y: -y, y0, [0.0, 1.0], tableau="gauss3", steps=10, jacobian=lambda t, y: short)
    assert found.states.dtype == y0.dtype
    np.testing.assert_allclose(np.asarray(found.states[-1]), math.exp(-1), rtol=1e-11)
    with pytest.raises(UsageError, match=r"\(2, 2\).*\(3, 2, 2\)"):
        integrate(lambda t, y: -y, y0, [0.0, 1.0], tableau="gauss3", jacobian=lambda t, y: short[0])


def test_a_stiff_time_needs_a_fresh_jacobian():
    """lambda(t) grows from 0 to -1e4 within the step: the first Jacobian says nothing."""
    found = integrate(lambda t, y: -1e4 * t * (y - math.cos(t)), [1.0], [0.0, 1.0], tableau="backward-euler")
    assert found.states[-1, 0] == pytest.approx((1 + 1e4 * math.cos(1)) / (1 + 1e4), rel=1e-13)


@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("name", ["backward-euler", "gauss2", "esdirk43"])
def test_what_has_no_solution_diverges(make, name):
    """y' = y^2: past its pole the stage equation has no real root. The sentence says where."""
    y0 = make([1.0, 2.0])
    with pytest.raises(Diverged, match=r"did not converge in \d+ iterations.*residual.* at step 1, t = 0 .*'native'"):
        integrate(lambda t, y: y * y, y0, [0.0, 5.0], tableau=name)
    with pytest.raises(Diverged, match="left the finite numbers in iteration 1 at step 1"):
        integrate(lambda t, y: y * math.nan, y0, [0.0, 1.0], tableau=name)
    with pytest.raises(Diverged, match="step 0, t = 0"):
        integrate(lambda t, y: -y, y0 * math.nan, [0.0, 1.0], tableau=name)


@pytest.mark.parametrize("make", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_a_singular_matrix_diverges(make):
    with pytest.raises(Diverged, match="singular after 0 iterations at step 1"):
        integrate(lambda t, y: y, make([1.0]), [0.0, 1.0], tableau="backward-euler")


def test_a_huge_step_of_a_monotone_field_is_solved():
    """Backward Euler of y' = -y^3 with h = 1e8: Y + h Y^3 = y has one real root."""
    found = integrate(lambda t, y: -(y**3), [1.0, 2.0], [0.0, 1e8], tableau="backward-euler").states[-1]
    np.testing.assert_allclose(found + 1e8 * found**3, [1.0, 2.0], rtol=1e-13)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_empty_batch_stays_empty(shape):
    for y0 in (np.ones(shape), torch.ones(shape)):
        assert tuple(integrate(lambda t, y: -y, y0, [0.0, 1.0], tableau="gauss2").states.shape) == (2, *shape)
        for pair in ("esdirk43", "dormand-prince54"):
            found = integrate(lambda t, y: -y, y0, [0.0, 0.5, 1.0], tableau=pair, rtol=1e-6)
            assert (tuple(found.states.shape), found.accepted) == ((3, *shape), 0)


def test_a_number_is_a_state():
    found = integrate(lambda t, y: -y, np.array(1.0), [0.0, 1.0], tableau="gauss3", steps=10)
    assert found.states[-1] == pytest.approx(math.exp(-1), rel=1e-11)
