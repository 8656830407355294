"""A learned field stepped by every method and backend: against a loop written out, and against each other."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from odernn.solvers.forecasters.flow import FlowMap
from odernn.solvers.forecasters.monomials import Monomials
from odernn.solvers.forecasters.polynomial_field import Polynomial
from odernn.solvers.learned_flow import LearnedFlow
from odernn.suite.catalogue import entries
from odernn.suite.contracts import Array
from odernn.suite.errors import Diverged, UsageError

TIMES = np.linspace(0.0, 1.0, 6)
START = np.array([[0.5, -0.2], [1.0, 0.3], [-0.4, 0.8]])


class Pendulum(torch.nn.Module):
    """(q, p) -> (p, -stiffness sin q)."""

    def __init__(self) -> None:
        super().__init__()
        self.stiffness = torch.nn.Parameter(torch.tensor(1.3, dtype=torch.float64))

    def forward(self, t: Any, y: torch.Tensor) -> torch.Tensor:
        return torch.stack([y[..., 1], -self.stiffness * torch.sin(y[..., 0])], dim=-1)


def pendulum(y: Array) -> Array:
    return np.stack([y[..., 1], -1.3 * np.sin(y[..., 0])], axis=-1)


def cubic(y: Array) -> Array:
    """Duffing's oscillator."""
    return np.stack([y[..., 1], y[..., 0] - y[..., 0] ** 3 - 0.2 * y[..., 1]], axis=-1)


def duffing() -> LearnedFlow:
    """1, q, p, qq, qp, pp, qqq, qqp, qpp, ppp."""
    coefficients = np.zeros((2, 10))
    coefficients[0, 2] = 1.0
    coefficients[1, [1, 2, 6]] = 1.0, -0.2, -1.0
    field = Polynomial(Monomials(2, 3), coefficients)
    return LearnedFlow(2, field, jacobian=field.jacobian)


FLOWS = {"torch": (LearnedFlow(2, Pendulum(), "torch"), pendulum), "numpy": (duffing(), cubic)}


def rk4(f: Any, y: Array, h: float) -> Array:
    a = f(y)
    b = f(y + h / 2 * a)
    c = f(y + h / 2 * b)
    return np.asarray(y + h / 6 * (a + 2 * b + 2 * c + f(y + h * c)))


@pytest.mark.parametrize("library", ["torch", "numpy"])
@pytest.mark.parametrize("backend", ["native", "scipy", "torchdiffeq", "diffrax"])
def test_every_backend_takes_the_same_steps(library: str, backend: str) -> None:
    if backend == "diffrax":
        pytest.importorskip("diffrax")
        assert backend in entries("backend")
    flow, f = FLOWS[library]
    np.testing.assert_allclose(flow.slope(START), f(START), rtol=1e-14)
    found = flow.rollout(START, TIMES, "rk4", 3, backend=backend)
    y = START
    for i in range(5):
        np.testing.assert_allclose(found.y[i], y, rtol=1e-12, atol=1e-13)
        for _ in range(3):
            y = rk4(f, y, 0.2 / 3)
    np.testing.assert_allclose(found.y[5], y, rtol=1e-12, atol=1e-13)
    assert found.y.dtype == np.float64
    assert found.f_calls >= 4 * 15
    assert found.accepted == 15


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_an_implicit_method_solves_its_equation(library: str) -> None:
    flow, f = FLOWS[library]
    y = flow.rollout(START, TIMES, "implicit-midpoint").y
    for before, after in itertools.pairwise(y):
        np.testing.assert_allclose(after, before + 0.2 * f((before + after) / 2), atol=1e-10)


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_float32_is_computed_in_float32(library: str) -> None:
    flow, _ = FLOWS[library]
    exact, rough = (flow.rollout(START, TIMES, "rk4", dtype=dtype).y for dtype in ("float64", "float32"))
    assert 1e-9 < np.abs(exact - rough).max() < 1e-5
    np.testing.assert_array_equal(rough, rough.astype(np.float32))
    with pytest.raises(UsageError, match="'scipy' integrates in float64 only"):
        flow.rollout(START, TIMES, "rk4", dtype="float32", backend="scipy")
    with pytest.raises(UsageError, match="unknown dtype"):
        flow.rollout(START, TIMES, "rk4", dtype="float16")
    with pytest.raises(UsageError, match=r"learned for \(\.\.\., 2\)"):
        flow.rollout(START[:, :1], TIMES, "rk4")


def test_a_flow_that_explodes_is_diverged_and_its_map_keeps_the_others() -> None:
    """x' = x^2 from 1 is infinite at t = 1; from 0.1 it is 1 / (10 - t)."""
    field = Polynomial(Monomials(1, 2), np.array([[0.0, 0.0, 1.0]]))
    flow = LearnedFlow(1, field, jacobian=field.jacobian)
    start = np.array([[1.0], [0.1], [np.nan]])
    with pytest.raises(Diverged):
        flow.rollout(start[:2], np.array([0.0, 3.0]), "rk4", 40)
    stepped = FlowMap(flow, 3.0, np.array([2.0]), "rk4", 40, "float64", "native")
    memory, output = stepped.advance(stepped.begin(3), start)
    assert memory.shape == (3, 0)
    np.testing.assert_array_equal(np.isnan(output[:, 0]), [True, False, True])
    assert 0.1 + 2.0 * output[1, 0] == pytest.approx(1 / 7, rel=1e-8)
