"""Classic initial value problems: how near a solver comes to the reference value, and at what cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..suite.contracts import Array, Budget, InitialValueProblem, Outcome, Solver, Task, finite
from ..suite.errors import UsageError, unknown
from .problems import PROBLEMS


def find(name: str) -> InitialValueProblem:
    """The problem of that name. Raises `UsageError` with the nearest name."""
    if name not in PROBLEMS:
        raise unknown("problem", name, PROBLEMS)
    return PROBLEMS[name]


def relative_error(problem: InitialValueProblem, y: Array) -> float:
    """max |y - reference| / max |reference|, for y of shape (dimension,). Raises `Diverged` where y is not finite."""
    reference = np.array(problem.reference)
    return float(
        np.abs(finite(y, f"the solution of {problem.equation.name}") - reference).max() / np.abs(reference).max()
    )


@dataclass(frozen=True)
class Ivp(Task):
    """Solve one problem from t0 to t1 with an integrator of its own field.

    The solver is asked for y(t1) only: a fixed-step solver divides the interval into its steps, an adaptive one chooses
    them. Raises `UsageError` for an unknown problem or a solver that learns; passes on `Diverged`.
    """

    problem: str = "lotka-volterra"

    name: ClassVar[str] = "ivp"
    primary_metric: ClassVar[str] = "error"

    def __post_init__(self) -> None:
        find(self.problem)

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: error; cost: f_calls, accepted, rejected. Deterministic: seed and budget are not used."""
        if solver.learns:
            raise UsageError("ivp asks for a true-field solver, got a cell that learns.")
        problem = find(self.problem)
        trajectory = solver.solve(problem.equation, np.array(problem.y0), np.array([problem.t0, problem.t1]))
        return Outcome(
            metrics={"error": relative_error(problem, trajectory.y[-1])},
            cost={
                "f_calls": trajectory.f_calls,
                "accepted": trajectory.accepted,
                "rejected": trajectory.rejected,
            },
            properties={"primary_metric": self.primary_metric},
        )


TASK = Ivp
