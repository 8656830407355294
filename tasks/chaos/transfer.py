"""A field learned through one tableau, stepped by every other: how much of the integrator has it absorbed?

A field trained through a method of order p on exact data is not the true field but the one whose *method* is exact: it
differs by O(h^p), with the opposite sign of the method's own error (the inverse modified equation; Zhu, Jin, Zhu & Tang
2022, arXiv:2206.07335). Stepped as it was trained it can look far better than its field is; stepped finely, or by
another method, it shows the bias (the convergence test of Krishnapriyan, Queiruga, Erichson & Mahoney 2023,
Commun. Phys. 6:319). So the row holds the whole matrix, the limit of fine steps and the distance of the two fields,
never the matched number alone. A little over 200 lines, for the parameters and what is said of wrong ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ...suite.contracts import (
    Array,
    Batch,
    Budget,
    Feedback,
    Flow,
    Forecaster,
    ForecastTask,
    Outcome,
    Solver,
    Trajectory,
)
from ...suite.errors import Diverged, UsageError
from .forecast import Chaos, sequences
from .generated import coefficients, generated_series
from .scoring import curve, score, score_beside_climatology
from .systems import system
from .view import View

RUNAWAY = 1e3
"""Standard deviations at which a rollout has left the attractor for good."""

FINE = ("dop853", 4)
"""Method and steps a sample that stand for the flow itself: far below every learning error, where no rounding shows."""

REFINED = (1, 2, 4, 8)
"""The refinement test's steps, in units of the training step."""

FIELD_POINTS = 2000
"""The two fields are compared at about so many points of the true attractor."""

FLOW_FACTOR = 2.0
"""A learned field whose error over one sample grows by less than this when its own method is refined is a flow."""


@dataclass(frozen=True)
class Transfer(ForecastTask):
    """Training as in the task "chaos" by a solver that learns a field, or the true field given; then rollouts by every
    method of `methods`, each with all of `substeps` steps a sample, in all of `dtypes`, in all of `backends`.

    system, horizon, initial_conditions, noise, trajectories, samples, every: as in "chaos". generator: "" for data of
    the exact flow, or an explicit tableau that makes the data, one step a sample and free of noise: a field trained
    through the same method with the same step can then be recovered exactly, and the row says generator_equals_trainer.
    Raises `UsageError` for what cannot be, also where the solver learns no field of the whole state.
    """

    system: str = "lorenz63"
    horizon: float = 15.0
    initial_conditions: int = 100
    noise: float = 0.0
    trajectories: int = 16
    samples: int = 1250
    every: int = 1
    generator: str = ""
    methods: tuple[str, ...] = ("euler", "heun2", "rk4", "dormand-prince54", "dop853")
    substeps: tuple[int, ...] = (1,)
    dtypes: tuple[str, ...] = ("float64",)
    backends: tuple[str, ...] = ("native",)

    name = "transfer"
    primary_metric = "valid_prediction_time_limit"
    loss = "mean_squared_error"

    def __post_init__(self) -> None:
        chaotic = system(self.system)
        if len(chaotic.observed) != chaotic.dimension:
            raise UsageError(f"transfer needs a system whose whole state is seen, and of {self.system} it is not.")
        _ = self._chaos  # which refuses what it cannot do
        for key, values in (("methods", self.methods), ("substeps", self.substeps), ("dtypes", self.dtypes)):
            if not values:
                raise UsageError(f"transfer needs at least one of {key}, got none.")
        if any(count < 1 for count in self.substeps):
            raise UsageError(f"transfer needs substeps of at least 1, got {list(self.substeps)}.")
        if self.generator and self.noise:
            raise UsageError(f"transfer makes data by a generator without noise: expected noise 0, got {self.noise:g}.")
        if self.generator:
            generated_series(self.view, self.generator, 1, 2)

    @property
    def _chaos(self) -> Chaos:
        return Chaos(
            self.system,
            self.horizon,
            self.initial_conditions,
            noise=self.noise,
            trajectories=self.trajectories,
            samples=self.samples,
            every=self.every,
        )

    @property
    def view(self) -> View:
        return self._chaos.view

    @property
    def inputs(self) -> int:
        return self._chaos.inputs

    @property
    def outputs(self) -> int:
        return self._chaos.outputs

    @property
    def memory_length(self) -> int:
        return 0

    @property
    def sampling(self) -> float:
        return self.view.sampling

    @property
    def increment(self) -> Array:
        return self.view.increment

    def series(self) -> Array:
        if not self.generator:
            return self._chaos.series()
        return generated_series(self.view, self.generator, self.trajectories, self.samples)

    def feedback(self, progress: float) -> Feedback | None:
        return None

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        return sequences(self.series(), self._chaos.length, self.increment, size, rng)

    def baseline(self) -> dict[str, float]:
        """Persistence, as in "chaos"; it has no field, so its limit is itself."""
        found = self._chaos.baseline()
        return {**found, "valid_prediction_time_limit": found["valid_prediction_time"]}

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        return self._chaos.measure(outputs, batch)

    def judge(self, model: Forecaster, seed: int) -> Outcome:
        return self._chaos.judge(model, seed)

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: valid_prediction_time (stepped as trained; of the true field, by the solver's own tableau),
        valid_prediction_time_limit, field_error, refinement_gap; curves: transfer, refinement, forecast (as trained).
        """
        trained, per_sample = _own_steps(solver)
        if solver.learns:
            learned = solver.learn(self, seed, budget)
            if learned.flow is None:
                raise UsageError("transfer needs a solver that learns a field, such as cell 'polynomial-field'.")
            if learned.outcome.status != "ok":
                return learned.outcome
            flow, account = learned.flow, learned.outcome
        else:
            flow, account = _Standardised(solver.flow(self._chaos.chaotic.equation), self.view), Outcome()
        truth = self.view.standard(self._truth(seed))
        curves, best = self._matrix(flow, truth)
        matched = self._rollout(flow, truth, trained, per_sample)[0]
        limit = score(self.view, truth, self._rollout(flow, truth, *FINE)[0])
        errors = [self._one_sample(flow, truth, trained, per_sample * m) for m in REFINED]
        gap = _growth(errors[0], errors[-1])
        metrics = {
            **account.metrics,
            **score_beside_climatology(self.view, truth, matched),
            "valid_prediction_time_limit": limit["valid_prediction_time"],
            "nrmse_limit": limit["nrmse"],
            "valid_prediction_time_best": best,
            "field_error": self._field_error(flow, truth),
            "refinement_gap": gap,
        }
        refinement = {"step": [self.sampling / (per_sample * m) for m in REFINED], "error": errors}
        baseline = {f"baseline_{key}": value for key, value in self.baseline().items()}
        return Outcome(
            metrics={**metrics, **baseline},
            curves={
                **account.curves,
                "transfer": curves,
                "refinement": refinement,
                "forecast": curve(self.view, truth, matched),
            },
            cost=account.cost,
            properties={
                **account.properties,
                "trained_with": trained,
                "training_step": self.sampling / per_sample,
                "generator_equals_trainer": solver.learns and per_sample == 1 and _same(self.generator, trained),
                "learned_a": "flow" if gap <= FLOW_FACTOR else "map",
                "memory_length": 0,
            },
        )

    def _truth(self, seed: int) -> Array:
        return self.view.windows(seed, self.initial_conditions, 1, self.view.samples(self.horizon))[1]

    def _matrix(self, flow: Flow, truth: Array) -> tuple[dict[str, list[Any]], float]:
        """One entry a case in columns, and the largest valid prediction time among them."""
        columns: dict[str, list[Any]] = {
            key: [] for key in ("tableau", "substeps", "dtype", "backend", "valid_prediction_time", "nrmse", "f_calls")
        }
        for tableau, substeps, dtype, backend in product(self.methods, self.substeps, self.dtypes, self.backends):
            found, calls = self._rollout(flow, truth, tableau, substeps, dtype, backend)
            scored = score(self.view, truth, found)
            case = (tableau, substeps, dtype, backend, scored["valid_prediction_time"], scored["nrmse"], calls)
            for key, value in zip(columns, case, strict=True):
                columns[key].append(value)
        return columns, max(columns["valid_prediction_time"])

    def _rollout(
        self, flow: Flow, truth: Array, tableau: str, substeps: int, dtype: str = "float64", backend: str = "native"
    ) -> tuple[Array, int]:
        """The forecast (steps + 1, n, dimension), NaN from where it has left the attractor for good; evaluations.

        Sample by sample, so that one lost forecast does not end the others.
        """
        found = np.full_like(truth, np.nan)
        found[0], calls = truth[0], 0
        alive = np.arange(truth.shape[1])
        for i in range(1, len(truth)):
            reached, step_calls = self._sample(flow, found[i - 1, alive], tableau, substeps, dtype, backend)
            calls += step_calls
            kept = np.abs(reached).max(axis=-1) < RUNAWAY
            alive = alive[kept]
            found[i, alive] = reached[kept]
            if not len(alive):
                break
        return found, calls

    def _sample(
        self, flow: Flow, y: Array, tableau: str, substeps: int, dtype: str = "float64", backend: str = "native"
    ) -> tuple[Array, int]:
        """The states (n, dimension) one sample later, NaN for those that leave the finite numbers; evaluations.

        A method refuses a batch for one of it, and a wild field overflows within a step: halves are then tried apart.
        """
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                step = flow.rollout(y, np.array([0.0, self.sampling]), tableau, substeps, dtype, backend)
            return step.y[-1], step.f_calls
        except Diverged:
            if len(y) == 1:
                return np.full_like(y, np.nan), 0
        halves = [self._sample(flow, half, tableau, substeps, dtype, backend) for half in np.array_split(y, 2)]
        return np.concatenate([reached for reached, _ in halves]), max(calls for _, calls in halves)

    def _one_sample(self, flow: Flow, truth: Array, tableau: str, substeps: int) -> float:
        """Root mean square error after one sample, in units of the increment, over pairs along the truth; infinite if
        one is lost."""
        every = max(1, truth[:-1, :, 0].size // FIELD_POINTS)
        starts, ends = truth[:-1][::every], truth[1:][::every]
        flat = starts.reshape(-1, truth.shape[-1])
        reached, _ = self._sample(flow, flat, tableau, substeps)
        error = (reached - ends.reshape(flat.shape)) / self.increment
        return float(np.sqrt(np.mean(error**2))) if np.isfinite(error).all() else math.inf

    def _field_error(self, flow: Flow, truth: Array) -> float:
        """rms |f_learned - f| / rms |f| at points of the true attractor, in standardised units."""
        points = truth.reshape(-1, truth.shape[-1])
        points = points[:: max(1, len(points) // FIELD_POINTS)]
        chaotic = self._chaos.chaotic
        sigma = np.array(chaotic.sigma)
        true = chaotic.equation.function()(0.0, self.view.physical(points)) / sigma
        return float(np.sqrt(np.mean((flow.slope(points) - true) ** 2) / np.mean(true**2)))


@dataclass(frozen=True)
class _Standardised:
    """A flow on the system's own state, seen in standardised units."""

    inner: Flow
    view: View

    def slope(self, y: Array) -> Array:
        return np.asarray(self.inner.slope(self.view.physical(y)) / np.array(self.view.chaotic.sigma))

    def rollout(
        self, y0: Array, t: Array, tableau: str, substeps: int = 1, dtype: str = "float64", backend: str = "native"
    ) -> Trajectory:
        found = self.inner.rollout(self.view.physical(y0), t, tableau, substeps, dtype, backend)
        return replace(found, y=self.view.standard(found.y))


def _own_steps(solver: Solver) -> tuple[str, int]:
    """The solver's tableau and its steps a sample. Raises `UsageError` where it has no fixed ones."""
    entries = solver.properties()["solver"]
    if entries.get("tableau") is None or entries.get("rtol") is not None or entries.get("step") is not None:
        raise UsageError(
            "transfer needs a field with a tableau and whole steps a sample, such as cell 'polynomial-field'."
        )
    return str(entries["tableau"]), int(entries.get("substeps") or entries.get("steps") or 1)


def _growth(first: float, last: float) -> float:
    """last / first; infinite where an error is, or grows from nothing."""
    if not (math.isfinite(first) and math.isfinite(last)):
        return math.inf
    return last / first if first > 0.0 else (1.0 if last == 0.0 else math.inf)


def _same(generator: str, trained: str) -> bool:
    """Whether the two names are of one explicit method; some methods have several."""
    if generator in ("", trained):
        return generator == trained
    try:
        return bool(coefficients(generator).distance(coefficients(trained)) == 0.0)
    except UsageError:  # the trainer is no explicit tableau
        return False


TASK = Transfer
