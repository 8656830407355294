"""Forecast a chaotic flow: learn one step from a true series, then run on the model's own output.

The score is for how long that stays near the truth, in Lyapunov times; the reference is the true field stepped by the
same tableau (a solver that does not learn), scored on the same initial conditions in the same way. Definitions after
Vlachas et al. 2020, Neural Networks 126:191 (normalised error, valid prediction time); the threshold 0.4 and the
protocol are this project's. What a learner sees is in `view`, how a forecast is scored in `scoring`, what a model does
long after the forecast is over in `long_run`; past 200 lines for the parameters and what is said of wrong ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...suite.contracts import Array, Batch, Budget, Feedback, Forecaster, ForecastTask, Outcome, Solver
from ...suite.errors import Diverged, UsageError
from ...suite.metrics import mean_squared_error, skill
from .definition import System
from .long_run import RUNAWAY, RUNS, LongRun
from .scoring import curve, score, score_beside_climatology
from .systems import system
from .view import View

BASELINE_HORIZON = 2.0
"""Lyapunov times over which persistence is scored; it is long past the threshold by then."""

ANNEALED = 0.5
"""The share of the updates after which forcing and window have reached their final values, linearly from the first."""

LED = 0.2
"""The first share of a training sequence, which reads the truth alone, so that a memory can settle."""


@dataclass(frozen=True)
class Chaos(ForecastTask):
    """Sequences of the standardised state z = (y - mean) / sigma: input z_i, target (z_{i+1} - z_i) / increment, so
    that an output of zero is persistence and a target is of order one; mean squared error. z has the components that
    the system lets a learner see, and those alone are scored; a given field starts from the whole state.

    system: a name of `SYSTEMS`. horizon: Lyapunov times of a test forecast, no more than the system's `valid`;
    initial_conditions: how many are scored, each on a trajectory of its own that no training series shares; length:
    steps of a training sequence; warmup: true states a model reads before it runs on its own output; noise: standard
    deviation, in units of sigma, of the noise on the training series (drawn once, as a measurement has it; the test is
    free of it); trajectories, samples: the training data are so many trajectories of so many points, the same for every
    seed. The validation sequences of the learning curve are drawn from them too: it shows how well they are fitted, and
    only the forecasts are of trajectories never seen. every: the learner sees every so many of the system's sampling
    steps dt. forcing, window: of training on a model's own forecasts, see `feedback`; 1 and 0: on true states alone.
    long: Lyapunov times of each of 10 runs (no more than initial_conditions) on a model's own output, for the
    statistics of its attractor, see `long_run`; 0: none. Raises `UsageError` for what cannot be.
    """

    system: str = "lorenz63"
    horizon: float = 10.0
    initial_conditions: int = 100
    length: int = 50
    warmup: int = 50
    noise: float = 0.0
    trajectories: int = 16
    samples: int = 1250
    every: int = 1
    forcing: float = 1.0
    window: int = 0
    long: float = 0.0

    name = "chaos"
    primary_metric = "valid_prediction_time"
    loss = "mean_squared_error"

    def __post_init__(self) -> None:
        valid = self.chaotic.valid
        for key, value in (
            ("initial_conditions", self.initial_conditions),
            ("length", self.length),
            ("warmup", self.warmup),
            ("trajectories", self.trajectories),
            ("every", self.every),
        ):
            if value < 1:
                raise UsageError(f"chaos needs {key} of at least 1, got {value}.")
        if not 0.0 < self.horizon <= valid:
            raise UsageError(
                f"chaos needs a horizon above 0 and at most {valid:g} Lyapunov times, "
                f"up to where the truth of {self.system} is known, got {self.horizon:g}."
            )
        if not 0.0 <= self.noise < math.inf:
            raise UsageError(f"chaos needs a noise of at least 0, got {self.noise}.")
        if self.samples <= self.length:
            raise UsageError(f"chaos needs more samples than the length {self.length}, got {self.samples}.")
        if not 0.0 <= self.forcing <= 1.0:
            raise UsageError(f"chaos needs a forcing from 0 to 1, the weight of the truth, got {self.forcing:g}.")
        free = self.length - self._led
        if not 0 <= self.window <= free:
            raise UsageError(f"chaos needs a window from 0 to {free} steps (length {self.length}), got {self.window}.")
        if not 0.0 <= self.long < math.inf:
            raise UsageError(f"chaos needs a long run of at least 0 Lyapunov times, got {self.long:g}.")

    @property
    def chaotic(self) -> System:
        return system(self.system)

    @property
    def view(self) -> View:
        """What a learner sees."""
        return View(self.system, self.every)

    @property
    def inputs(self) -> int:
        return len(self.view.seen)

    @property
    def outputs(self) -> int:
        return len(self.view.seen)

    @property
    def sampling(self) -> float:
        return self.view.sampling

    @property
    def increment(self) -> Array:
        return self.view.increment

    def series(self) -> Array:
        return self.view.series(self.trajectories, self.samples, self.noise)

    def feedback(self, progress: float) -> Feedback | None:
        """The weight of the truth falls from 1 to `forcing` and the window grows from `window` steps to the whole
        sequence, linearly over the first half of the updates, and both stay there; the first fifth of a sequence always
        reads the truth. None for forcing 1 and window 0."""
        if self.forcing == 1.0 and self.window == 0:
            return None
        share = min(1.0, progress / ANNEALED)
        free = self.length - self._led
        length = round(self.window + share * (free - self.window)) if self.window else free
        truth = 1.0 - share * (1.0 - self.forcing)
        return Feedback(truth=truth, warmup=self._led, length=length if length < free else None)

    @property
    def _led(self) -> int:
        return max(1, round(LED * self.length))

    @property
    def memory_length(self) -> int:
        """0: where the whole state is seen, the increment depends on it alone."""
        return 0

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        return sequences(self.series(), self.length, self.increment, size, rng)

    def baseline(self) -> dict[str, float]:
        """Persistence, the forecast that nothing changes, over the initial conditions of seed 0."""
        horizon = min(self.horizon, BASELINE_HORIZON)
        truth = self.view.standard(self._windows(0, horizon)[1])
        scored = score(self.view, truth, np.broadcast_to(truth[0], truth.shape))
        return {key: scored[key] for key in ("valid_prediction_time", "nrmse")}

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        """One step ahead, in units of the mean square increment, so that persistence scores 1."""
        error = mean_squared_error(outputs, batch.targets, batch.weights)
        return {"mean_squared_error": error, "skill": skill(error, 1.0)}

    def judge(self, model: Forecaster, seed: int) -> Outcome:
        """Forecasts from every initial condition at once, each step's output becoming the next step's input; then the
        long run, in float64."""
        context, truth = map(self.view.standard, self._windows(seed, self.horizon))
        prediction = np.full_like(truth, np.nan)
        prediction[0] = truth[0]
        increment = self.increment
        output = model.begin(context)
        for i in range(1, len(truth)):
            with np.errstate(over="ignore", invalid="ignore"):
                state = prediction[i - 1] + increment * output
            prediction[i] = np.where(np.abs(state) < RUNAWAY, state, np.nan)
            if np.isnan(prediction[i]).all():
                break
            if i + 1 < len(truth):
                # a lost forecast stays NaN; the model gets a number for it, lest it give up the others of the batch
                output = model.step(np.nan_to_num(prediction[i], nan=0.0))
        judged = self._outcome(truth, prediction)
        if not self.long:
            return judged
        run, closed = self._long_run, model.closed_loop(increment)
        forecasts, states = run.follow(closed, context[:, : run.runs])
        metrics, shown = run.statistics(forecasts)
        rates, exponents = run.exponents(closed, states)
        curves = {"long": shown} | ({"lyapunov": exponents} if exponents else {})
        return Outcome(metrics={**judged.metrics, **metrics, **rates}, curves={**judged.curves, **curves})

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """A solver that learns is trained and judged; one that does not is given the true field, and scored alike."""
        if solver.learns:
            outcome = super().evaluate(solver, seed, budget)
            if "f_calls" not in outcome.cost:
                return outcome
            # what the solver counts on one training sequence, for a forecast: comparable with the true field's
            steps = self._windows(seed, self.horizon)[1].shape[0] - 1
            calls = round(outcome.cost["f_calls"] * steps / self.length)
            return replace(outcome, cost={**outcome.cost, "f_calls": calls})
        _, truth = self._windows(seed, self.horizon)
        found = solver.solve(self.chaotic.equation, truth[0].copy(), self.sampling * np.arange(len(truth)))
        judged = self._outcome(self.view.standard(truth), self.view.standard(found.y))
        baseline = {f"baseline_{key}": value for key, value in self.baseline().items()}
        long, curves = self._long_solution(solver, truth[0]) if self.long else ({}, {})
        return Outcome(
            metrics={**judged.metrics, **long, **baseline},
            curves={**judged.curves, **curves},
            cost={"f_calls": found.f_calls, "accepted": found.accepted, "rejected": found.rejected},
            properties={"memory_length": self.memory_length},
        )

    def _long_solution(self, solver: Solver, starts: Array) -> tuple[dict[str, float], dict[str, Any]]:
        """The statistics of the solver's own steps; a solution that leaves the finite numbers has escaped, whole."""
        run = self._long_run
        starts, times = starts[: run.runs].copy(), run.sampling * np.arange(run.steps + 1)
        try:
            solution = self.view.standard(solver.solve(self.chaotic.equation, starts, times).y)
        except Diverged:
            solution = np.full((run.steps + 1, run.runs, self.inputs), np.nan)
        metrics, shown = run.statistics(solution)
        return metrics, {"long": shown}

    @property
    def _long_run(self) -> LongRun:
        return LongRun(self.view, self.long, min(RUNS, self.initial_conditions))

    def _windows(self, seed: int, horizon: float) -> tuple[Array, Array]:
        """Context (warmup, n, dimension) and truth (steps + 1, n, dimension) in the system's units."""
        return self.view.windows(seed, self.initial_conditions, self.warmup, self.view.samples(horizon))

    def _outcome(self, truth: Array, prediction: Array) -> Outcome:
        return Outcome(
            metrics=score_beside_climatology(self.view, truth, prediction),
            curves={"forecast": curve(self.view, truth, prediction)},
        )


def sequences(series: Array, length: int, increment: Array, size: int, rng: np.random.Generator) -> Batch:
    """`size` sequences of `length` steps from anywhere in a series (samples, trajectories, components)."""
    samples, trajectories = series.shape[:2]
    which = rng.integers(0, trajectories, size)
    starts = rng.integers(0, samples - length, size)
    segments = series[starts + np.arange(length + 1)[:, None], which]
    return Batch(segments[:-1], np.diff(segments, axis=0) / increment, np.ones((length, size)))
