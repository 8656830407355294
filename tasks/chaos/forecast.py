"""Forecast a chaotic flow: learn one step from a true series, then run on the model's own output.

The score is for how long that stays near the truth, in Lyapunov times; the reference is the true field stepped by the
same tableau (a solver that does not learn), scored on the same initial conditions in the same way. Definitions after
Vlachas et al. 2020, Neural Networks 126:191 (normalised error, valid prediction time); the threshold 0.4 and the
protocol are this project's. The forecast and its scoring are one path, which is why they share this file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ...suite.contracts import Array, Batch, Budget, Forecaster, LearningTask, Outcome, Solver
from ...suite.errors import UsageError
from ...suite.metrics import mean_squared_error, normalised_error, nrmse, skill, valid_prediction_time
from ...suite.seeds import stream
from .systems import System, system
from .truth import TRAIN_SEED, training_series, windows

THRESHOLD = 0.4
"""Standard deviations of the attractor at which a forecast stops being valid."""

CURVE_POINTS = 500
"""At most so many points in the curve of a forecast."""

RUNAWAY = 1e6
"""Standard deviations at which a forecast has left the attractor for good; it is NaN from there on."""

BASELINE_HORIZON = 2.0
"""Lyapunov times over which persistence is scored; it is long past the threshold by then."""


@dataclass(frozen=True)
class Chaos(LearningTask):
    """Sequences of the standardised state z = (y - mean) / sigma, dt apart: input z_i, target (z_{i+1} - z_i) /
    increment, so that an output of zero is persistence and a target is of order one; mean squared error.

    system: a name of `SYSTEMS`. horizon: Lyapunov times of a test forecast, no more than the system's `valid`;
    initial_conditions: how many are scored, each on a trajectory of its own that no training series shares; length:
    steps of a training sequence; warmup: true states a model reads before it runs on its own output; noise: standard
    deviation, in units of sigma, of the noise on the training series (drawn once, as a measurement has it; the test is
    free of it); series, samples: the training data are `series` trajectories of `samples` points, the same for every
    seed. The validation sequences of the learning curve are drawn from them too: it shows how well they are fitted, and
    only the forecasts are of trajectories never seen. Raises `UsageError` for what cannot be.
    """

    system: str = "lorenz63"
    horizon: float = 10.0
    initial_conditions: int = 100
    length: int = 50
    warmup: int = 50
    noise: float = 0.0
    series: int = 16
    samples: int = 1250

    name = "chaos"
    primary_metric = "valid_prediction_time"
    loss = "mean_squared_error"

    def __post_init__(self) -> None:
        valid = self.chaotic.valid
        for key, value in (
            ("initial_conditions", self.initial_conditions),
            ("length", self.length),
            ("warmup", self.warmup),
            ("series", self.series),
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

    @property
    def chaotic(self) -> System:
        return system(self.system)

    @property
    def inputs(self) -> int:
        return self.chaotic.dimension

    @property
    def outputs(self) -> int:
        return self.chaotic.dimension

    @property
    def memory_length(self) -> int:
        """0: the whole state is seen, and the increment depends on it alone."""
        return 0

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        series = _standardised_series(self.system, self.series, self.samples, self.noise)
        which = rng.integers(0, self.series, size)
        starts = rng.integers(0, self.samples - self.length, size)
        segments = series[starts + np.arange(self.length + 1)[:, None], which]
        targets = np.diff(segments, axis=0) / np.array(self.chaotic.increment)
        return Batch(segments[:-1], targets, np.ones((self.length, size)))

    def baseline(self) -> dict[str, float]:
        """Persistence, the forecast that nothing changes, over the initial conditions of seed 0."""
        horizon = min(self.horizon, BASELINE_HORIZON)
        truth = self._standard(self._windows(0, horizon)[1])
        scored = self._score(truth, np.broadcast_to(truth[0], truth.shape))
        return {key: scored[key] for key in ("valid_prediction_time", "nrmse")}

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        """One step ahead, in units of the mean square increment, so that persistence scores 1."""
        error = mean_squared_error(outputs, batch.targets, batch.weights)
        return {"mean_squared_error": error, "skill": skill(error, 1.0)}

    def judge(self, model: Forecaster, seed: int) -> Outcome:
        """Forecasts from every initial condition at once, each step's output becoming the next step's input."""
        context, truth = map(self._standard, self._windows(seed, self.horizon))
        prediction = np.full_like(truth, np.nan)
        prediction[0] = truth[0]
        increment = np.array(self.chaotic.increment)
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
        return self._outcome(truth, prediction)

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
        found = solver.solve(self.chaotic.equation, truth[0].copy(), self.chaotic.dt * np.arange(len(truth)))
        judged = self._outcome(self._standard(truth), self._standard(found.y))
        baseline = {f"baseline_{key}": value for key, value in self.baseline().items()}
        return Outcome(
            metrics={**judged.metrics, **baseline},
            curves=judged.curves,
            cost={"f_calls": found.f_calls, "accepted": found.accepted, "rejected": found.rejected},
            properties={"memory_length": self.memory_length},
        )

    def _standard(self, y: Array) -> Array:
        return np.asarray((y - np.array(self.chaotic.mean)) / np.array(self.chaotic.sigma))

    def _windows(self, seed: int, horizon: float) -> tuple[Array, Array]:
        """Context (warmup, n, dimension) and truth (steps + 1, n, dimension) in the system's units."""
        steps = max(1, round(horizon * self.chaotic.lyapunov_time / self.chaotic.dt))
        return windows(self.system, seed, self.initial_conditions, self.warmup, steps)

    def _score(self, truth: Array, prediction: Array) -> dict[str, float]:
        """Valid prediction time over initial conditions, and the error over one Lyapunov time."""
        chaotic = self.chaotic
        errors = normalised_error(truth[1:], prediction[1:], 1.0)
        times, censored = valid_prediction_time(errors, chaotic.dt, chaotic.exponent, THRESHOLD)
        first = slice(1, 1 + max(1, round(chaotic.lyapunov_time / chaotic.dt)))
        q25, median, q75 = np.percentile(times, [25, 50, 75])
        return {
            "valid_prediction_time": float(median),
            "valid_prediction_time_q25": float(q25),
            "valid_prediction_time_q75": float(q75),
            "valid_prediction_time_censored": float(censored.mean()),
            "nrmse": nrmse(truth[first], prediction[first], 1.0),
        }

    def _outcome(self, truth: Array, prediction: Array) -> Outcome:
        climatology = self._score(truth, np.zeros_like(truth))
        metrics = self._score(truth, prediction) | {
            "initial_conditions": float(self.initial_conditions),
            "climatology_valid_prediction_time": climatology["valid_prediction_time"],
            "climatology_nrmse": climatology["nrmse"],
        }
        return Outcome(metrics=metrics, curves={"forecast": self._curve(truth, prediction)})

    def _curve(self, truth: Array, prediction: Array) -> dict[str, Any]:
        """Of the first initial condition: first component (system's units), normalised error, time (Lyapunov times)."""
        every = slice(None, None, math.ceil(len(truth) / CURVE_POINTS))
        chaotic = self.chaotic
        time = np.arange(len(truth)) * chaotic.dt * chaotic.exponent
        error = normalised_error(truth[:, 0], prediction[:, 0], 1.0)
        shown = {
            "time": time,
            "truth": truth[:, 0, 0] * chaotic.sigma[0] + chaotic.mean[0],
            "prediction": prediction[:, 0, 0] * chaotic.sigma[0] + chaotic.mean[0],
            "error": error,
        }
        return {key: values[every].tolist() for key, values in shown.items()}


@lru_cache(maxsize=8)
def _standardised_series(name: str, series: int, samples: int, noise: float) -> Array:
    """The training data (samples, series, dimension), noise included."""
    chaotic = system(name)
    clean = (training_series(name, series, samples) - np.array(chaotic.mean)) / np.array(chaotic.sigma)
    noisy: Array = clean + noise * stream(TRAIN_SEED, f"chaos/{name}/noise").standard_normal(clean.shape)
    noisy.setflags(write=False)
    return noisy


TASK = Chaos
