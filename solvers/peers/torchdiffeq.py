"""torchdiffeq on the same grid: our tableau pushed into its fixed-grid solver, or a method of its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from ..backends.torchdiffeq import fixed_method
from .clock import Run
from .problem import Passed, SequenceProblem, TrajectoryProblem, mean_square

LIKE_ITS_RK4 = ("rk4", "rk38")
"""Methods of four stages and order four, beside which the library's own "rk4", the 3/8 rule, is the same work."""


class _Held:
    """f(t, y) with an input that is held from step to step, of which the library tells before each."""

    def __init__(self, problem: SequenceProblem, drives: Sequence[Tensor], weights: tuple[Tensor, ...]) -> None:
        self._slope, self._drives, self._weights = problem.field.forward, iter(drives), weights
        self._drive = drives[0]

    def __call__(self, t: Any, y: Tensor) -> Tensor:
        return self._slope(t, y, self._drive, self._weights)

    def callback_step(self, t0: Any, y0: Any, dt: Any) -> None:
        self._drive = next(self._drives)


def sequence(problem: SequenceProblem, own: str = "") -> Run:
    """own: the library's method of that name; '': our tableau. Raises `UsageError` for no explicit tableau."""
    odeint: Any = import_module("torchdiffeq").odeint
    method = own or fixed_method(problem.tableau)
    operands = problem.leaves()
    substeps, (*weights, V, b) = problem.cell.substeps, operands
    times = problem.h * torch.arange(len(problem.x) * substeps + 1, dtype=torch.float64, device=problem.x.device)
    start = problem.start()

    def run() -> Passed:
        drives = torch.nn.functional.linear(problem.x, V, b).unbind(0)
        held = _Held(problem, [d for d in drives for _ in range(substeps)], tuple(weights))
        states = odeint(held, start, times, method=method)
        loss = mean_square(problem.field.features(states[substeps::substeps]))
        return Passed(loss, torch.autograd.grad(loss, operands))

    return run


def trajectory(problem: TrajectoryProblem) -> Run:
    """A batch is one system with one step size. Adaptive: its own dopri5."""
    odeint: Any = import_module("torchdiffeq").odeint
    f = problem.equation.function("torch")
    y0 = torch.as_tensor(problem.y0)
    if problem.steps is None:
        problem.must_be_dormand_prince()
        ends = torch.tensor([0.0, problem.span], dtype=torch.float64)
        return torch.no_grad()(
            lambda: odeint(f, y0, ends, method="dopri5", rtol=problem.rtol, atol=problem.atol)[-1].numpy()
        )
    times = torch.linspace(0.0, problem.span, problem.steps + 1, dtype=torch.float64)
    method = fixed_method(problem.tableau)
    return torch.no_grad()(lambda: odeint(f, y0, times, method=method)[-1].numpy())
