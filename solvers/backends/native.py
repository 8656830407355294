"""The project's own engine: explicit, implicit, partitioned, splitting methods, in NumPy or torch as the state is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np

from ..adaptive import Attempt, Tolerance, Try, check_controller, explicit_attempt, integrate_adaptively
from ..composition import Composition
from ..dense import DenseOutput, interpolation_nodes
from ..implicit import Problem, advance_step
from ..partitioned import plan_for
from ..partitioned_tableau import PartitionedTableau
from ..schedule import Schedule, schedule
from ..splitting import Splitting
from ..step import advance, stages
from ..tableau import Tableau
from ..tableaux import Method
from .base import Backend, Field, Solution, State
from .common import Rate, check_finite, checked_pair, checked_times, is_numpy, listed, same_drive


@final
class Native(Backend):
    """Runs NumPy or torch states on their own device and dtype; torch gradients flow through every operation.

    Evaluations, fixed: one for each interval and stage that the result depends on (`step.active`), so an FSAL pair
    costs one less than its stages; of implicit and partitioned methods see `implicit.advance_step`, of splittings
    `composition.Composition`. Adaptive: see `solvers.adaptive.integrate_adaptively`, once for each restart; dense
    output (`solvers.dense`) adds what its partial steps cost.
    """

    name: ClassVar[str] = "native"
    differentiable: ClassVar[bool] = True

    def fixed(
        self,
        field: Field,
        y0: State,
        times: Sequence[float],
        tableau: Method,
        drives: Sequence[Any] | None = None,
        weights: tuple[Any, ...] = (),
    ) -> Solution:
        """See `Backend.fixed`."""
        grid = checked_times(times, drives)
        numpy = is_numpy(y0)
        rate = Rate(field, weights)
        bound = listed(drives, len(grid) - 1)
        if isinstance(tableau, Splitting):
            return self._composed(rate, y0, grid, tableau, bound)
        if isinstance(tableau, PartitionedTableau) or not tableau.explicit:
            return self._solved(rate, y0, grid, tableau, bound)
        method = stages(tableau, "numpy" if numpy else "torch")
        y, states = y0, [y0]
        with np.errstate(all="ignore"):  # what overflows is reported once, as Diverged
            for (t0, t1), rate.drive in zip(itertools.pairwise(grid), bound, strict=True):
                y = advance(rate, t0, y, t1 - t0, method)[0]
                states.append(y)
            check_finite(states, grid, self.name)
        return Solution(stacked(states, numpy), rate.calls, len(grid) - 1)

    def _solved(
        self, rate: Rate, y0: State, grid: list[float], method: Tableau | PartitionedTableau, drives: list[Any]
    ) -> Solution:
        """Steps of a method whose slopes follow a schedule."""
        plan = plan_for(method, rate.field, tuple(y0.shape))
        problem = Problem(rate, y0, is_numpy(y0), plan.blocks)
        y, states = y0, [y0]
        with np.errstate(all="ignore"):
            check_finite(states, grid, self.name)
            for i, ((t0, t1), rate.drive) in enumerate(zip(itertools.pairwise(grid), drives, strict=True), start=1):
                where = f" at step {i}, t = {t0:g} (method {plan.name!r}, backend {self.name!r})"
                y = advance_step(problem, plan, t0, y, t1 - t0, where).y
                states.append(y)
            check_finite(states, grid, self.name)
        return _solution(stacked(states, problem.numpy), rate, len(grid) - 1, 0, problem)

    def _composed(self, rate: Rate, y0: State, grid: list[float], method: Splitting, drives: list[Any]) -> Solution:
        """Steps of a splitting. Steps that differ by the rounding of their times alone share their flows."""
        composition = Composition(method, rate.field, rate.weights)
        y, states = y0, [y0]
        sizes = step_sizes(grid)
        with np.errstate(all="ignore"):
            for h, drive in zip(sizes, drives, strict=True):
                y = composition.step(y, drive, h)
                states.append(y)
            check_finite(states, grid, self.name)
        count = len(grid) - 1
        return Solution(stacked(states, is_numpy(y0)), composition.calls_a_step * count, count)

    def adaptive(
        self,
        field: Field,
        y0: State,
        times: Sequence[float],
        tableau: Method,
        rtol: float,
        atol: float,
        drives: Sequence[Any] | None = None,
        weights: tuple[Any, ...] = (),
        controller: str = "elementary",
        dense: bool = False,
    ) -> Solution:
        """See `Backend.adaptive`."""
        check_controller(controller)
        pair, order = checked_pair(tableau, rtol, atol, self.name)
        grid = checked_times(times, drives)
        numpy = is_numpy(y0)
        rate, tolerance = Rate(field, weights), Tolerance(rtol, atol)
        problem = None if pair.explicit else Problem(rate, y0, numpy, rtol=rtol, atol=atol)
        if problem is None:
            attempt = explicit_attempt(rate, stages(pair, "numpy" if numpy else "torch", embedded=True))
        else:
            attempt = _implicit_attempt(problem, schedule(pair, embedded=True), self.name)
        dense = dense and len(grid) > 1 and 0 not in y0.shape
        nodes = interpolation_nodes(pair.order, order)
        states, accepted, rejected = [y0], 0, 0
        with np.errstate(all="ignore"):
            check_finite(states, grid, self.name)
            for piece, rate.drive in _pieces(grid, drives, merged=dense):
                start = states[-1]
                if dense:
                    output = DenseOutput(piece[1:], nodes, attempt, rate, tolerance, stiff=problem is not None)
                    ends, observe = [piece[0], piece[-1]], output.accept
                    _, good, bad = integrate_adaptively(
                        rate, start, ends, attempt, order, tolerance, controller, observe
                    )
                    states += output.finish()
                else:
                    found, good, bad = integrate_adaptively(rate, start, piece, attempt, order, tolerance, controller)
                    states += found[1:]
                accepted, rejected = accepted + good, rejected + bad
        return _solution(stacked(states, numpy), rate, accepted, rejected, problem)


def _implicit_attempt(problem: Problem, plan: Schedule, backend: str) -> Try:
    """Steps of an implicit pair; every stage is found anew, the first one too."""

    def attempt(t: float, y: Any, h: float, first: Any) -> Attempt:
        where = f" at t = {t:g}, h = {h:g} (method {plan.name!r}, backend {backend!r})"
        made = advance_step(problem, plan, t, y, h, where)
        return Attempt(made.y, made.error, first, made.last)

    return attempt


def _pieces(grid: list[float], drives: Any, merged: bool) -> list[tuple[list[float], Any]]:
    """The times between two restarts, with the drive there; merged: intervals with the same drive are one piece."""
    if drives is None:
        return [(grid, None)]
    pieces: list[tuple[list[float], Any]] = []
    for pair, drive in zip(itertools.pairwise(grid), listed(drives, len(grid) - 1), strict=True):
        if merged and pieces and same_drive(pieces[-1][1], drive):
            pieces[-1][0].append(pair[1])
        else:
            pieces.append((list(pair), drive))
    return pieces


def _solution(states: State, rate: Rate, accepted: int, rejected: int, problem: Problem | None) -> Solution:
    if problem is None:
        return Solution(states, rate.calls, accepted, rejected)
    count = problem.count
    return Solution(
        states, rate.calls, accepted, rejected, problem.jacobian_calls, count.iterations, count.factorizations
    )


def step_sizes(grid: list[float]) -> list[float]:
    """Step sizes; those that agree to the rounding of their times are made equal."""
    sizes = [b - a for a, b in itertools.pairwise(grid)]
    slack = 4 * np.finfo(np.float64).eps * max(map(abs, grid))
    seen: list[float] = []
    for i, h in enumerate(sizes):
        same = next((other for other in seen[-4:] if abs(other - h) <= slack), None)
        if same is None:
            seen.append(h)
        else:
            sizes[i] = same
    return sizes


def stacked(states: list[State], numpy: bool) -> State:
    """The states along a new first axis."""
    if numpy:
        return np.stack(states)
    import torch

    return torch.stack(states)


BACKENDS: dict[str, Backend] = {"native": Native()}
