"""The observed order of convergence: is the method that was written the method that runs?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...suite.contracts import Audit, Budget, InitialValueProblem, Outcome, Solver, Trajectory
from ...suite.errors import Diverged, UsageError
from ..ivp import find, relative_error

LADDER = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Intervals on the grids tried, coarse to fine: powers of two and their midpoints, so that a high order shows between
the first digit and the last; the finest is enough for order 1 to settle to a hundredth."""

FITTED = 4
"""Rungs in the fit; three are the least."""

PLATEAU = 1e-5
"""Errors below this that stop falling are taken as rounding, or as the tolerance of an implicit stage solver."""


@dataclass(frozen=True)
class Order(Audit):
    """The slope of log error against log step on ever finer uniform grids, one step per interval.

    The rule: grids are refined until the error is below `floor`, or has reached a plateau (below 1e-5, and not a
    quarter less than on the grid with half as many intervals), or the ladder ends. The floor is raised to ten times a
    plateau. The observed order is the least-squares slope over the finest four grids above the floor. A method that
    converges to something else than the solution, by more than 1e-5, shows an order near 0; a smaller inconsistency is
    taken for a plateau of rounding and not seen here (the recovered tableau of `solvers.backends.probe` sees it). One
    with very small principal error terms can show more than its order in double precision (Bogacki & Shampine 5(4)
    shows 6).

    floor: relative error below which rounding shows; 1e-13 suits float64, about 1e-5 float32. Raises `UsageError` for
    an unknown problem, a solver that learns, or one that chooses its steps; `Diverged` where every grid does.
    """

    problem: str = "driven"
    floor: float = 1e-13

    name: ClassVar[str] = "order"
    primary_metric: ClassVar[str] = "observed_order"

    def __post_init__(self) -> None:
        find(self.problem)

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: observed_order; curves: convergence, every grid tried; cost: f_calls. Seed and budget are unused."""
        if solver.learns:
            raise UsageError("order asks for a true-field solver, got a cell that learns.")
        problem = find(self.problem)
        steps: list[float] = []
        errors: list[float] = []
        f_calls = 0
        for n in LADDER:
            try:
                trajectory = solver.solve(
                    problem.equation, np.array(problem.y0), np.linspace(problem.t0, problem.t1, n + 1)
                )
                error = relative_error(problem, trajectory.y[-1])
            except Diverged:  # too coarse a grid for this method
                continue
            f_calls += trajectory.f_calls
            h = _step(trajectory, problem, n)
            if steps and h >= steps[-1]:  # the solver's own step is still the finer one
                continue
            steps.append(h)
            errors.append(error)
            if errors[-1] < self.floor or stalled(errors):
                break
        if not errors:
            raise Diverged(f"the solution of {self.problem} diverged on every grid of up to {LADDER[-1]} steps")
        observed = observed_order(steps, errors, self.floor)
        return Outcome(
            metrics={} if observed is None else {"observed_order": observed},
            curves={"convergence": {"h": steps, "error": errors}},
            cost={"f_calls": f_calls},
            properties={"primary_metric": self.primary_metric},
            status="failed" if observed is None else "ok",
            reason="" if observed is not None else "fewer than three grids have an error above the rounding floor",
        )


def observed_order(steps: Sequence[float], errors: Sequence[float], floor: float) -> float | None:
    """The least-squares slope of log error against log step, by the rule of `Order`; None for fewer than three points.

    steps: falling; errors: relative, one per step.
    """
    if stalled(errors):
        floor = max(floor, 10 * max(errors[-3:]))
    kept = [(h, e) for h, e in zip(steps, errors, strict=True) if e > floor][-FITTED:]
    if len(kept) < 3:
        return None
    h, e = np.log(np.array(kept)).T
    return float(np.polyfit(h, e, 1)[0])


def stalled(errors: Sequence[float]) -> bool:
    """Whether the last errors are a plateau, by the rule of `Order`."""
    return len(errors) > 2 and errors[-1] < PLATEAU and errors[-1] > 0.75 * errors[-3]


def _step(trajectory: Trajectory, problem: InitialValueProblem, n: int) -> float:
    """The uniform step taken. Raises `UsageError` where the steps cannot have been uniform."""
    if trajectory.rejected or not trajectory.accepted or trajectory.accepted % n:
        raise UsageError(
            f"order asks for a solver with fixed steps, got one that took {trajectory.accepted} steps "
            f"and rejected {trajectory.rejected} on {n} intervals."
        )
    return (problem.t1 - problem.t0) / trajectory.accepted


TASK = Order
