"""Classic initial value problems: how near a solver comes to the reference value, and at what cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ..suite.contracts import (
    Array,
    Budget,
    InitialValueProblem,
    Outcome,
    Solver,
    Task,
    Trajectory,
    VectorField,
    finite,
)
from ..suite.errors import Diverged, UsageError, unknown
from .problems import PROBLEMS

PATIENCE = 2.0
"""Seconds of timed solves after which there is no further one."""

WARM = 60.0
"""A first solve that takes longer, in seconds, is the only one, and is timed."""

RECOUNT = 20.0
"""A failure that took longer, in seconds, is not run again to count its evaluations."""

NEGLIGIBLE = 1e-14
"""Components of the reference below this part of its largest do not count for the scaled error."""

DECADES = 16
"""Of a logarithmic grid of times."""


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


def scaled_error(problem: InitialValueProblem, y: Array) -> float:
    """max |y_i - reference_i| / |reference_i| over the components above `NEGLIGIBLE` times the largest.

    -log10 of it is the number of significant correct digits (scd) of the Test Set for IVP Solvers. Raises `Diverged`.
    """
    reference = np.array(problem.reference)
    size = np.abs(reference)
    counted = size > NEGLIGIBLE * size.max()
    difference = np.abs(finite(y, f"the solution of {problem.equation.name}") - reference)
    return float((difference[counted] / size[counted]).max())


def times(problem: InitialValueProblem, number: int) -> Array:
    """t0 and `number` times up to t1: evenly spaced, or by equal factors where the interval spans a million."""
    span = problem.t1 - problem.t0
    if span < 1e6:
        return np.linspace(problem.t0, problem.t1, number + 1)
    late = problem.t1 * 10 ** np.linspace(-DECADES, 0.0, number) if number > 1 else np.array([problem.t1])
    return np.concatenate([[problem.t0], late])


@lru_cache(maxsize=16)
def reference_trajectory(name: str, number: int) -> Array:
    """The solution at `times` by SciPy: DOP853, or LSODA with the analytic Jacobian where the problem is stiff.

    (number + 1, dimension). Both run at the tightest relative tolerance that gains anything.
    """
    from scipy.integrate import solve_ivp

    problem = find(name)
    method, rtol = ("LSODA", 1e-13) if problem.stiff else ("DOP853", 2.3e-14)
    options: dict[str, Any] = {"jac": problem.equation.jacobian()} if problem.stiff else {}
    solve: Any = solve_ivp  # its overloads do not know optional options
    size = max(abs(value) for value in problem.reference)
    grid = times(problem, number)
    found = solve(
        problem.equation.function(),
        (problem.t0, problem.t1),
        np.array(problem.y0),
        method=method,
        t_eval=grid,
        rtol=rtol,
        atol=1e-17 * size,
        **options,
    )
    if not found.success:
        raise UsageError(f"SciPy's {method} does not solve {name}: {found.message}")
    return np.asarray(found.y.T)


@dataclass(frozen=True)
class Ivp(Task):
    """Solve one problem from t0 to t1 with an integrator of its own field.

    trajectory: at how many times the solution is compared with a reference trajectory; 0: at t1 alone, and the solver
    is asked for y(t1) only. A fixed-step solver divides each interval between two times into its steps, an adaptive
    one chooses them. repeats: how often it solves; the first of several warms up and is not timed, and slow
    ones are not repeated. Raises `UsageError` for an unknown problem, a wrong number, or a solver that learns.
    """

    problem: str = "lotka-volterra"
    trajectory: int = 0
    repeats: int = 1

    name: ClassVar[str] = "ivp"
    primary_metric: ClassVar[str] = "error"

    def __post_init__(self) -> None:
        find(self.problem)
        for what, value, least in (("trajectory", self.trajectory, 0), ("repeats", self.repeats, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"{what} of ivp is {value!r}: expected a whole number of at least {least}.")

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: error, error_scaled; with `trajectory` also trajectory_error and reference_error.

        cost: f_calls, accepted, rejected, jacobian_calls, factorizations, repeats, and solve_seconds, the shortest
        solve. A solution that is lost is an outcome of status "diverged" with the cost up to there. Deterministic but
        for the seconds: seed and budget are not used.
        """
        if solver.learns:
            raise UsageError("ivp asks for a true-field solver, got a cell that learns.")
        problem = find(self.problem)
        grid = times(problem, max(self.trajectory, 1))
        start = time.perf_counter()
        try:
            found, seconds = self._solved(solver, problem, grid)
            error = relative_error(problem, found.y[-1])
            along = self._along(problem, found) if self.trajectory else {}
        except Diverged as reason:
            return _lost(solver, problem, grid, time.perf_counter() - start, str(reason))
        return Outcome(
            metrics={"error": error, "error_scaled": scaled_error(problem, found.y[-1]), **along},
            cost={
                "f_calls": found.f_calls,
                "accepted": found.accepted,
                "rejected": found.rejected,
                "jacobian_calls": found.jacobian_calls,
                "factorizations": found.factorizations,
                "solve_seconds": min(seconds[1:] or seconds),
                "repeats": len(seconds),
            },
            properties={"primary_metric": self.primary_metric, "stiff": problem.stiff},
        )

    def _solved(self, solver: Solver, problem: InitialValueProblem, grid: Array) -> tuple[Trajectory, list[float]]:
        """The solution, and the seconds of every solve."""
        seconds: list[float] = []
        y0 = np.array(problem.y0)
        while len(seconds) < self.repeats and sum(seconds[1:]) < PATIENCE and sum(seconds[:1]) < WARM:
            start = time.perf_counter()
            found = solver.solve(problem.equation, y0, grid)
            seconds.append(time.perf_counter() - start)
        return found, seconds

    def _along(self, problem: InitialValueProblem, found: Trajectory) -> dict[str, float]:
        """The largest error along the way, each relative to the reference's largest component at its time."""
        reference = reference_trajectory(self.problem, self.trajectory)[1:]
        y = finite(found.y[1:], f"the solution of {problem.equation.name}")
        errors = np.abs(y - reference).max(axis=-1) / np.abs(reference).max(axis=-1)
        return {
            "trajectory_error": float(errors.max()),
            "reference_error": relative_error(problem, reference[-1]),
        }


def _lost(solver: Solver, problem: InitialValueProblem, grid: Array, seconds: float, reason: str) -> Outcome:
    """The outcome of a lost solution; its evaluations are counted in a second run, as the first one's are lost too."""
    cost: dict[str, float] = {"solve_seconds": seconds, "repeats": 1}
    if seconds < RECOUNT:
        counted = _Counted(problem.equation, [0])
        with suppress(Diverged, UsageError):  # a solver may insist on the equation itself
            solver.solve(counted, np.array(problem.y0), grid)
        if counted.calls[0]:  # compiled functions are not counted
            cost["f_calls"] = counted.calls[0]
    properties = {"primary_metric": Ivp.primary_metric, "stiff": problem.stiff}
    return Outcome(cost=cost, properties=properties, status="diverged", reason=reason)


@dataclass(frozen=True, eq=False)
class _Counted:
    """An equation that counts the calls of its NumPy and torch functions in calls[0]."""

    equation: VectorField
    calls: list[int]

    @property
    def name(self) -> str:
        return self.equation.name

    @property
    def dimension(self) -> int:
        return self.equation.dimension

    def function(self, library: str = "numpy") -> Callable[..., Any]:
        f: Callable[..., Any] = self.equation.function(library)
        if library not in ("numpy", "torch"):
            return f

        def counting(t: Any, y: Any) -> Any:
            self.calls[0] += 1
            return f(t, y)

        return counting

    def jacobian(self, library: str = "numpy") -> Callable[..., Any]:
        jacobian: Callable[..., Any] = self.equation.jacobian(library)
        return jacobian

    def latex(self) -> str:
        return self.equation.latex()


TASK = Ivp
