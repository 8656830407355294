"""A classic initial value problem whose field is learned from its trajectories, then solved by many methods.

The learned field is rolled out from the problem's own start, by every method of a ladder at every number of steps, so
that it lies on the plane of error against evaluations beside integrators of the true field. There its error levels off
where the field is wrong; on the way down it owes its shape to the method that it was trained through, whose truncation
error it carries (Zhu et al. 2022, arXiv:2206.07335).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..suite.contracts import (
    Array,
    Batch,
    Budget,
    Feedback,
    Flow,
    Forecaster,
    ForecastTask,
    InitialValueProblem,
    Outcome,
    Solver,
    VectorField,
)
from ..suite.errors import Diverged, UsageError
from ..suite.metrics import mean_squared_error, skill
from ..suite.seeds import stream
from .chaos.truth import TRAIN_SEED, trajectories
from .ivp import find

LENGTH = 20
"""Steps of a training sequence, for learners that read sequences."""


@dataclass(frozen=True)
class LearnedIvp(ForecastTask):
    """Sequences of the standardised state of a problem: mean squared error of its increments, as in task "chaos".

    problem: a name of `PROBLEMS`, not stiff and autonomous. trajectories: the training data are so many true solutions
    over the problem's time, from starts y0 + spread * max |y0| * normal noise, the same for every seed; intervals: the
    sampling step is (t1 - t0) / intervals. tableaux, substeps: the methods, and the numbers of their steps a sample,
    that solve the problem with the learned field, in float64. Raises `UsageError` for what cannot be.
    """

    problem: str = "lotka-volterra"
    trajectories: int = 16
    intervals: int = 200
    spread: float = 0.05
    tableaux: tuple[str, ...] = ("euler", "heun2", "rk4", "dormand-prince54")
    substeps: tuple[int, ...] = (1, 2, 4)

    name = "learned-ivp"
    primary_metric = "error"
    loss = "mean_squared_error"

    def __post_init__(self) -> None:
        for key, value, least in (("trajectories", self.trajectories, 1), ("intervals", self.intervals, LENGTH)):
            if value < least:
                raise UsageError(f"learned-ivp needs {key} of at least {least}, got {value}.")
        if not 0.0 < self.spread < math.inf:
            raise UsageError(f"learned-ivp needs a spread above 0, got {self.spread}.")
        if not self.tableaux or not self.substeps or min(self.substeps) < 1:
            raise UsageError("learned-ivp needs at least one tableau, and substeps that are all at least 1.")
        if self.posed.stiff:
            raise UsageError(f"problem {self.problem!r} is stiff: learned-ivp takes those that are not.")
        if not _autonomous(self.posed):
            raise UsageError(f"problem {self.problem!r} depends on time: learned-ivp learns an autonomous field.")

    @property
    def posed(self) -> InitialValueProblem:
        return find(self.problem)

    @property
    def inputs(self) -> int:
        return self.posed.equation.dimension

    @property
    def outputs(self) -> int:
        return self.inputs

    @property
    def memory_length(self) -> int:
        """0: the whole state is seen."""
        return 0

    @property
    def sampling(self) -> float:
        return (self.posed.t1 - self.posed.t0) / self.intervals

    @property
    def increment(self) -> Array:
        return self._data[3].copy()

    @property
    def _data(self) -> tuple[Array, Array, Array, Array]:
        return _standardised(self.problem, self.trajectories, self.intervals, self.spread)

    @property
    def times(self) -> Array:
        return np.linspace(self.posed.t0, self.posed.t1, self.intervals + 1)

    def series(self) -> Array:
        return self._data[0]

    def feedback(self, progress: float) -> Feedback | None:
        """None: a sequence is read as it is."""
        return None

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        series = self.series()
        starts, which = rng.integers(0, self.intervals - LENGTH + 1, size), rng.integers(0, self.trajectories, size)
        segments = series[starts + np.arange(LENGTH + 1)[:, None], which]
        return Batch(segments[:-1], np.diff(segments, axis=0) / self.increment, np.ones((LENGTH, size)))

    def baseline(self) -> dict[str, float]:
        """Persistence: y(t1) = y0."""
        return {"error": _relative(np.array(self.posed.y0), np.array(self.posed.reference))}

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        """One step ahead, in units of the mean square increment, so that persistence scores 1."""
        error = mean_squared_error(outputs, batch.targets, batch.weights)
        return {"mean_squared_error": error, "skill": skill(error, 1.0)}

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """Learn the field, then solve with it: error at t1 and trajectory_error by the method it was trained through,
        baseline_error of persistence; curves.work_precision {tableau, substeps, f_calls, error} of the ladder, where a
        lost solution has an infinite error. Raises `UsageError` for a solver that learns no field."""
        if not solver.learns:
            raise UsageError("learned-ivp asks for a cell that learns a field, got the true field: see task 'ivp'.")
        own = solver.properties().get("solver", {})
        if "tableau" not in own:
            raise UsageError(f"learned-ivp asks for a cell that learns a field: {own.get('cell')!r} learns none.")
        learned = solver.learn(self, seed, budget)
        if learned.flow is None and learned.outcome.status == "ok":
            raise UsageError(f"learned-ivp asks for a cell that learns a field: {own.get('cell')!r} learns a map.")
        found = self.account(learned, seed)
        said = {**found.properties, "learned": True, "problem": self.problem}
        if learned.flow is None or found.status != "ok":
            return replace(found, properties=said)
        curves = {**found.curves, "work_precision": self._ladder(learned.flow)}
        calls = found.cost["f_calls"] * self.intervals / found.cost["sequence_steps"]
        return replace(found, curves=curves, cost={**found.cost, "f_calls": round(calls)}, properties=said)

    def judge(self, model: Forecaster, seed: int) -> Outcome:
        """The problem's solution by the model on its own output: error at t1, and trajectory_error."""
        _, mean, sigma, increment = self._data
        loop = model.closed_loop(increment)
        start = (np.array([[self.posed.y0]]) - mean) / sigma
        states, state = [start[0]], loop.start(start)
        while len(states) <= self.intervals:
            states.append(loop.observe(state))
            state = loop.step(state)
        y = np.concatenate(states) * sigma + mean
        if not np.isfinite(y).all():
            return Outcome(status="diverged", reason="the solution with the learned field leaves the finite numbers")
        truth = _truth(self.problem, self.intervals)
        along = float(np.abs(y - truth).max() / np.abs(truth).max())
        return Outcome({"error": _relative(y[-1], np.array(self.posed.reference)), "trajectory_error": along})

    def _solved(self, flow: Flow, tableau: str, substeps: int) -> tuple[Array, int]:
        """The problem's solution with the learned field at t1, in the problem's units, and its evaluations."""
        _, mean, sigma, _ = self._data
        start = (np.array([self.posed.y0]) - mean) / sigma
        found = flow.rollout(start, self.times, tableau, substeps)
        return found.y[-1, 0] * sigma + mean, found.f_calls

    def _ladder(self, flow: Flow) -> dict[str, list[Any]]:
        rows: dict[str, list[Any]] = {"tableau": [], "substeps": [], "f_calls": [], "error": []}
        for tableau in self.tableaux:
            for substeps in self.substeps:
                try:
                    y, calls = self._solved(flow, tableau, substeps)
                    error = _relative(y, np.array(self.posed.reference))
                except Diverged:
                    calls, error = 0, math.inf
                for key, value in zip(rows, (tableau, substeps, calls, error), strict=True):
                    rows[key].append(value)
        return rows


def _relative(y: Array, reference: Array) -> float:
    """max |y - reference| / max |reference|."""
    return float(np.abs(y - reference).max() / np.abs(reference).max())


def _autonomous(problem: InitialValueProblem) -> bool:
    """Whether the field is the same at three times, at the start."""
    f, y = problem.equation.function(), np.array(problem.y0)
    slopes = [f(problem.t0 + share * (problem.t1 - problem.t0), y) for share in (0.0, 0.377, 0.811)]
    return all(np.array_equal(slopes[0], slope) for slope in slopes)


def _solutions(equation: VectorField, starts: Array, times: Array) -> Array:
    return trajectories(equation, starts, times, 1e-12)


@lru_cache(maxsize=8)
def _truth(name: str, intervals: int) -> Array:
    """The problem's own solution (intervals + 1, dimension)."""
    problem = find(name)
    times = np.linspace(problem.t0, problem.t1, intervals + 1)
    return _solutions(problem.equation, np.array([problem.y0]), times)[:, 0]


@lru_cache(maxsize=8)
def _standardised(name: str, count: int, intervals: int, spread: float) -> tuple[Array, Array, Array, Array]:
    """The training series (intervals + 1, count, dimension), and mean, standard deviation and root mean square
    increment of each component, all read-only."""
    problem = find(name)
    y0 = np.array(problem.y0)
    noise = stream(TRAIN_SEED, f"learned-ivp/{name}/train").standard_normal((count, len(y0)))
    times = np.linspace(problem.t0, problem.t1, intervals + 1)
    solutions = _solutions(problem.equation, y0 + spread * np.abs(y0).max() * noise, times)
    mean, sigma = solutions.mean(axis=(0, 1)), solutions.std(axis=(0, 1))
    series = (solutions - mean) / sigma
    found = (series, mean, sigma, np.sqrt(np.mean(np.diff(series, axis=0) ** 2, axis=(0, 1))))
    for array in found:
        array.setflags(write=False)
    return found


TASK = LearnedIvp
