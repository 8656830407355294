"""What a model does once the forecast is over: a run on its own output for many Lyapunov times, against the attractor.

The same statistics are taken of true samples of the same size and sampling, independent of the one they are compared
with, and averaged: the floors. Everything is in the learners' units, standard deviations of the attractor, and of what
they see.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...suite.contracts import Array, ClosedLoop
from ...suite.errors import Diverged
from ...suite.seeds import stream
from .definition import System
from .dimension import correlation_dimension, diameter
from .kaplan_yorke import kaplan_yorke
from .map_exponents import MapExponents, NotSmoothError, map_exponents
from .spectrum import hellinger
from .state_space import partition, state_space_divergence
from .truth import TRAIN_SEED, on_attractor, trajectories
from .view import View

RUNS = 10
"""Independent runs that are pooled."""

FLOORS = 4
"""True samples that the floors are means over: one alone can be as unusual as a poor model's."""

FORGOTTEN = 0.1
"""The first share of a run, which is not counted: it still follows the truth."""

SAMPLE_TOLERANCE = 1e-8
"""Of the true sample, of which only the statistics matter."""

SPECTRAL_WIDTH = 0.05
"""Cycles per Lyapunov time over which power spectra are smoothed."""

RUNAWAY = 1e6
"""Standard deviations at which a run has left the attractor for good; it is NaN from there on."""

MOST_EXPONENTS = 44
"""At most so many exponents of a learned map; otherwise two more than are known of the system."""

EXPONENT_SHARE = 0.5
"""They are taken over this share of the run's time, after its end."""

SHOWN = 500
"""Consecutive points of the first run in the row, for the figure of the attractor."""


@dataclass(frozen=True)
class LongRun:
    """`times` Lyapunov times of each of `runs` runs of what a learner sees."""

    view: View
    times: float
    runs: int = RUNS

    @property
    def chaotic(self) -> System:
        return self.view.chaotic

    @property
    def sampling(self) -> float:
        return self.view.sampling

    @property
    def steps(self) -> int:
        return self.view.samples(self.times)

    @property
    def counted(self) -> slice:
        """Of steps 0 .. `steps`, those after the forgotten beginning."""
        return slice(self.steps - round((1.0 - FORGOTTEN) * self.steps) + 1, None)

    def statistics(self, generated: Array) -> tuple[dict[str, float], dict[str, Any]]:
        """Metrics and the curve "long" of runs (steps + 1, runs, components), NaN from where one is lost.

        The correlation dimension is of the runs that stayed, and absent where none did or the points are too few.
        """
        one, *others = _true_samples(self)
        generated = generated[self.counted]
        flat, own = _pooled(one), _pooled(generated)
        cells = partition(flat)
        window, width = self.view.samples(1.0) + 1, SPECTRAL_WIDTH * self.chaotic.exponent
        size, kept = diameter(flat), np.isfinite(generated).all(axis=(0, 2))
        metrics = {
            "state_space_divergence": state_space_divergence(flat, own, cells),
            "state_space_divergence_floor": _mean(state_space_divergence(flat, _pooled(o), cells) for o in others),
            "escaped": cells.escaped(own),
            "hellinger": hellinger(one, generated, self.sampling, width),
            "hellinger_floor": _mean(hellinger(one, other, self.sampling, width) for other in others),
            "correlation_dimension": correlation_dimension(generated[:, kept], window, size)
            if kept.any()
            else math.nan,
            "correlation_dimension_true": correlation_dimension(others[0], window, size),
        }
        few = len(self.view.seen) <= 3
        projected = self.view.physical if few else cells.project
        curve = {
            "truth": _columns(projected(one[:SHOWN, 0])),
            "model": _columns(projected(generated[:SHOWN, 0])),
            "projection": "components" if few else "principal components",
            "points": len(own),
            "runs": self.runs,
            "sampling": self.sampling,
            "spectral_width": width,
        }
        return {key: value for key, value in metrics.items() if not math.isnan(value)}, curve

    def follow(self, closed: ClosedLoop, context: Array) -> tuple[Array, Array]:
        """Run on from contexts (time, runs, components): forecasts (steps + 1, runs, components) with the context's
        last first, NaN where a run is lost, and the final states of those that are not."""
        start = state = closed.start(context)
        kept = np.ones(len(state), dtype=bool)
        forecasts = np.full((self.steps + 1, *context.shape[1:]), np.nan)
        forecasts[0] = context[-1]
        for i in range(1, self.steps + 1):
            if i > 1:
                state, stepped = _step(closed, state)
                kept &= stepped
            seen = closed.observe(state)
            kept &= np.isfinite(state).all(axis=1) & (np.abs(seen) < RUNAWAY).all(axis=1)
            forecasts[i, kept] = seen[kept]
            if not kept.any():
                break
            # a lost run starts again, unseen, lest it take the others of the batch along
            state = np.where(kept[:, None], state, start)
        return forecasts, state[kept]

    def exponents(self, closed: ClosedLoop, states: Array) -> tuple[dict[str, float], dict[str, Any]]:
        """Metrics and the curve "lyapunov" of the map from states (runs, size). Where there are none, or not all are
        measured, the curve has a `reason`."""
        steps = max(50, self.view.samples(EXPONENT_SHARE * self.times))
        count = min(len(self.chaotic.exponents) + 2, MOST_EXPONENTS)
        rng = stream(TRAIN_SEED, f"chaos/{self.view.name}/exponents")
        if not len(states):
            return {}, {"reason": "no run stayed"}
        try:
            found = map_exponents(closed, states, steps, self.sampling, rng, count)
        except (Diverged, NotSmoothError) as error:
            return {}, {"reason": str(error)}
        curve = {
            "exponents": found.exponents.tolist(),
            "errors": found.errors.tolist(),
            "resolved": found.resolved,
            "steps": steps,
            "runs": len(states),
        }
        if found.resolved < min(len(found.exponents), self.chaotic.dimension):
            curve["reason"] = f"only {found.resolved} directions live longer than a step"
        return self._of_exponents(found), curve

    def _of_exponents(self, found: MapExponents) -> dict[str, float]:
        metrics = {"kaplan_yorke": kaplan_yorke(found.exponents.tolist())}
        if found.resolved:
            metrics |= {
                "lyapunov_max": float(found.exponents[0]),
                "lyapunov_max_error": float(found.errors[0]),
            }
        if found.resolved >= self.chaotic.dimension:
            metrics["lyapunov_sum"] = float(found.exponents[: self.chaotic.dimension].sum())
        return metrics


def _step(closed: ClosedLoop, state: Array) -> tuple[Array, Array]:
    """The next states and which could be had; a model may refuse a whole batch for one of it."""
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            return closed.step(state), np.ones(len(state), dtype=bool)
        except Diverged:
            pass
        after, stepped = state.copy(), np.ones(len(state), dtype=bool)
        for i in range(len(state)):
            try:
                after[i] = closed.step(state[i : i + 1])[0]
            except Diverged:
                stepped[i] = False
    return after, stepped


@lru_cache(maxsize=4)
def _true_samples(run: LongRun) -> tuple[Array, ...]:
    """1 + `FLOORS` independent true samples, as the learners see them: (counted, runs, components) each; the same every
    time."""
    chaotic, n = run.chaotic, run.runs
    starts = on_attractor(chaotic, (1 + FLOORS) * n, stream(TRAIN_SEED, f"chaos/{run.view.name}/attractor"))
    times = run.sampling * np.arange(len(range(*run.counted.indices(run.steps + 1))))
    found = trajectories(chaotic.equation, starts, times, SAMPLE_TOLERANCE)
    seen = run.view.standard(found)
    seen.setflags(write=False)
    return tuple(np.split(seen, 1 + FLOORS, axis=1))


def _pooled(series: Array) -> Array:
    return series.reshape(-1, series.shape[-1])


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _columns(points: Array) -> list[list[float]]:
    """(n, k) -> k lists, to five digits."""
    return [[float(f"{value:.5g}") for value in column] for column in points.T]
