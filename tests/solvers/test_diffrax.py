"""The diffrax backend: recovered tableaux, trajectories, counts, landing, gradients, refusals."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import solve_ivp

from odernn.solvers.backends import find_backend
from odernn.solvers.backends.base import Field
from odernn.solvers.backends.probe import deviation
from odernn.solvers.field_integrator import FieldIntegrator
from odernn.solvers.spec import parse, validate
from odernn.solvers.tableaux import TABLEAUX
from odernn.suite.equation import TIME, Equation, symbols
from odernn.suite.errors import Diverged, UsageError

pytest.importorskip("diffrax")

BACKEND = find_backend("diffrax")
PAIR, RK4 = TABLEAUX["dormand-prince54"], TABLEAUX["rk4"]


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


def driven() -> Equation:
    """Nonlinear, non-autonomous, with a parameter."""
    x, y = symbols("x y")
    (a,) = symbols("a")
    return Equation("driven", (x, y), (y - a * x**3 * sympy.cos(TIME), sympy.sin(TIME) * y / 2 - x), {a: 0.5})


@dataclass(frozen=True)
class Compiled:
    """A field with a jax form, and what was asked of its NumPy form."""

    rate: float

    def __call__(self, t, y, drive, weights):
        return -self.rate * y if drive is None else drive - self.rate * y

    def traced(self, t, y, drive):
        return -self.rate * y if drive is None else drive - self.rate * y


@pytest.mark.parametrize(("name", "adaptive"), [("euler", False), ("fehlberg45", True)])
def test_recovered_tableau_is_the_given_one(name, adaptive):
    assert deviation(BACKEND, TABLEAUX[name], adaptive) <= 1e-15
    assert deviation(BACKEND, TABLEAUX[name], adaptive, torch_state=True) <= 1e-15


@pytest.mark.slow
@pytest.mark.parametrize("tableau", [t for t in TABLEAUX.values() if t.explicit], ids=lambda t: t.name)
def test_every_explicit_tableau_is_recovered(tableau):
    for adaptive in (False, True) if tableau.b_hat is not None else (False,):
        assert deviation(BACKEND, tableau, adaptive) <= 1e-15


def test_a_compiled_equation_and_a_called_one_equal_a_plain_loop():
    times = [0.0, 0.1, 0.15, 0.4, 0.5, 0.75]
    equation, y0 = driven(), np.array([1.0, 0.5])
    expected = plain_loop(equation.function("numpy"), y0, times, RK4)
    called: list[float] = []

    def f(t, y, drive, weights):
        called.append(t)
        return equation.function("numpy")(t, y)

    solver = FieldIntegrator(parse({"cell": "true-field", "tableau": "rk4", "backend": "diffrax"}), "cpu", "float64")
    compiled, back = solver.solve(equation, y0, np.array(times)), BACKEND.fixed(f, y0, times, RK4)
    for states, calls in ((compiled.y, compiled.f_calls), (back.states, back.f_calls)):
        np.testing.assert_allclose(states, expected, rtol=0, atol=1e-14)
        assert calls == 4 * 5
    assert len(called) == 20
    assert called[:4] == [0.0, 0.05, 0.05, 0.1]


def test_one_program_serves_equal_fields():
    traced = []

    @dataclass(frozen=True)
    class Telling:
        def __call__(self, t, y, drive, weights):
            raise AssertionError("a compiled field is not called")

        def traced(self, t, y, drive):
            traced.append(1)
            return -y

    for _ in range(3):
        states = BACKEND.fixed(Telling(), np.ones(1), [0.0, 0.5, 1.0], RK4).states
    before = len(traced)
    BACKEND.fixed(Telling(), 2 * np.ones(1), [0.0, 0.25, 1.0], RK4)
    assert before == len(traced) > 0
    assert states[1, 0] == pytest.approx(1 - 0.5 + 0.5**2 / 2 - 0.5**3 / 6 + 0.5**4 / 24, rel=1e-15)


def test_adaptive_counts_and_lands():
    """y' = y cos t: exp(sin t). Outputs close together do not shrink the steps between them; counts of both paths."""
    calls = [0]

    def f(t, y, drive, weights):
        calls[0] += 1
        return y * math.cos(t)

    times = [0.0, *(x for k in range(1, 10) for x in (k - 1e-7, float(k))), 10.0]
    few = BACKEND.adaptive(f, np.ones(1), [0.0, 10.0], PAIR, 1e-6, 1e-6)
    assert few.f_calls == calls[0] == 2 + 6 * (few.accepted + few.rejected)
    many = BACKEND.adaptive(f, np.ones(1), times, PAIR, 1e-6, 1e-6)
    assert many.accepted <= few.accepted + 2 * 18
    np.testing.assert_allclose(many.states[:, 0], np.exp(np.sin(times)), rtol=2e-5)
    tight = BACKEND.adaptive(f, np.ones(1), times, PAIR, 1e-10, 1e-10)
    np.testing.assert_allclose(tight.states[:, 0], np.exp(np.sin(times)), rtol=1e-8)
    native = find_backend("native").adaptive(f, np.ones(1), [0.0, 10.0], PAIR, 1e-6, 1e-6)
    assert abs(native.accepted - few.accepted) <= 2


def test_the_first_step_is_that_of_the_rule_and_not_of_the_library():
    """HNW II.4 for y' = -100 y, y(0) = 1: about (0.01 / max(d1, d2))^(1/5) with d1 = 100 / 2e-10, far under 0.01."""
    times = []

    def f(t, y, drive, weights):
        times.append(t)
        return -100 * y

    BACKEND.adaptive(f, np.ones(1), [0.0, 1.0], PAIR, 1e-10, 1e-10)
    h = times[2] / PAIR.arrays.c[1]
    d1 = 100 / 2e-10
    d2 = 100 * d1  # |f(y + h0 f) - f(y)| / h0 = 100 |f|
    assert h == pytest.approx((0.01 / d2) ** (1 / 5), rel=1e-6)


@pytest.mark.parametrize("kind", ["called", "compiled"])
def test_inputs_hold_over_their_steps(kind):
    """y' = u_i - y on interval i: one step is R(-h) y + (1 - R(-h)) u_i."""
    times, u = [0.0, 0.25, 0.75, 1.0, 1.5], [1.0, -50.0, 300.0, 0.0]
    field: Field = Compiled(1.0) if kind == "compiled" else lambda t, y, drive, weights: drive - y
    expected = [2.0]
    for h, value in zip(np.diff(times), u, strict=True):
        R = 1 - h + h**2 / 2 - h**3 / 6 + h**4 / 24
        expected.append(R * expected[-1] + (1 - R) * value)
    found = BACKEND.fixed(field, np.array([2.0]), times, RK4, [np.array([v]) for v in u])
    np.testing.assert_allclose(found.states[:, 0], expected, rtol=0, atol=1e-12)
    assert found.f_calls == 16


def test_torch_and_float32_states():
    found = BACKEND.fixed(lambda t, y, drive, weights: -y, torch.ones(2), [0.0, 0.5], RK4)
    assert found.states.dtype is torch.float32
    np.testing.assert_allclose(found.states[1].numpy(), 0.6067708, rtol=1e-6)
    assert not found.states.requires_grad
    assert not BACKEND.differentiable


@pytest.mark.parametrize(
    "entries", [{"tableau": "rk4"}, pytest.param({"tableau": "dopri5", "rtol": 1e-9}, marks=pytest.mark.slow)]
)
def test_gradient_by_reverse_mode_equals_central_differences(entries):
    """Differences of the same method in plain NumPy: the native backend."""
    t, y0, w = np.linspace(0, 1, 4), np.array([1.0, 0.5]), np.array([0.3, -2.0])
    solver = FieldIntegrator(parse({"cell": "true-field", "backend": "diffrax", **entries}), "cpu", "float64")
    native = solver.in_backend("native")

    def last(y):
        return w @ native.solve(driven(), y, t).y[-1]

    expected = [(last(y0 + e) - last(y0 - e)) / 2e-5 for e in 1e-5 * np.eye(2)]
    np.testing.assert_allclose(solver.gradient(driven(), y0, t, w), expected, rtol=1e-7)


def test_adaptive_equation_against_scipy():
    t = np.array([0.0, 0.7, 2.0])
    exact = solve_ivp(driven().function("numpy"), (0, 2), [1.0, 0.5], "DOP853", t, rtol=1e-13, atol=1e-13).y.T
    spec = parse({"cell": "true-field", "backend": "diffrax", "tableau": "dopri5", "rtol": 1e-9})
    found = FieldIntegrator(spec, "cpu", "float64").solve(driven(), np.array([1.0, 0.5]), t)
    np.testing.assert_allclose(found.y, exact, rtol=1e-7)
    assert found.f_calls == 2 + 6 * (found.accepted + found.rejected) + 1


def test_refusals_and_losses():
    with pytest.raises(UsageError, match="implicit"):
        BACKEND.fixed(Compiled(1.0), np.ones(1), [0.0, 1.0], TABLEAUX["gauss2"])
    with pytest.raises(UsageError, match="embedded"):
        BACKEND.adaptive(Compiled(1.0), np.ones(1), [0.0, 1.0], RK4, 1e-3, 1e-3)
    with pytest.raises(UsageError, match="dense"):
        BACKEND.adaptive(Compiled(1.0), np.ones(1), [0.0, 1.0], PAIR, 1e-3, 1e-3, dense=True)
    with pytest.raises(UsageError, match="complex128"):
        BACKEND.fixed(Compiled(1.0), np.ones(1) * 1j, [0.0, 1.0], RK4)
    with pytest.raises(Diverged, match="minimum step size"):
        BACKEND.adaptive(lambda t, y, drive, weights: y * y, np.ones(1), [0.0, 2.0], PAIR, 1e-6, 1e-6)
    with pytest.raises(Diverged, match="finite"):
        BACKEND.fixed(lambda t, y, drive, weights: 1e300 * y, np.ones(1), [0.0, 1.0, 2.0], RK4)

    def broken(t, y, drive, weights):
        raise KeyError("the field's own error")

    with pytest.raises(KeyError, match="own error"):
        BACKEND.fixed(broken, np.ones(1), [0.0, 1.0], RK4)
    learned = {"cell": "leaky", "tableau": "rk4", "backend": "diffrax", "step": 0.5}
    with pytest.raises(UsageError, match="learned through gradients"):
        validate(learned, {"name": "adding"})
    with pytest.raises(UsageError, match="CPU only"):
        validate({"cell": "true-field", "tableau": "rk4", "backend": "diffrax"}, {"name": "ivp"}, "cuda", "float64")
