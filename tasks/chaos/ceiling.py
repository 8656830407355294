"""How long a method can follow a chaotic flow before its arithmetic, and no longer its step, sets the limit.

A rounding error of size e grows to the threshold after about ln(threshold / e) Lyapunov times, however small the step;
below some step, more steps only add rounding. The largest median valid prediction time over steps is the ceiling of a
dtype: a forecast of whatever model, run in that arithmetic, cannot be expected beyond it. The truth here is a Taylor
series in extended precision, which has a ceiling of its own, some ten Lyapunov times above float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...suite.contracts import Array, Audit, Budget, Outcome, Solver
from ...suite.errors import Diverged, UsageError
from ...suite.metrics import normalised_error, valid_prediction_time
from ...suite.seeds import stream
from . import taylor
from .stiff import differencing, is_stiff
from .systems import System, system
from .truth import on_attractor, trajectories

THRESHOLD = 0.4
"""Standard deviations at which a forecast stops being valid."""

AGREED = 0.01
"""Of the threshold: two truths agree while their difference, in the same norm, is below this part of it."""

GROWTH = 0.02
"""A halved step that gains less than this part of the best median has not helped."""

FINE = 100
"""Steps in dt of the method that checks the truth of a stiff field."""


@dataclass(frozen=True)
class Ceiling(Audit):
    """The largest median valid prediction time of an integrator over ever finer steps, in its dtype.

    system: a name of `SYSTEMS`; initial_conditions: exactly representable in float32, so that every dtype starts from
    the same; horizon: Lyapunov times followed; coarsest: the first step, in units of the system's dt, a power of two;
    halvings: at most so many; they end early when two in a row have not helped. The solver is asked for one interval a
    step, so it takes no `steps`, or `steps` parts of it. agreement: whether to compare the float64 truth of the chaos
    task with an independent one, on as many trajectories. Raises `UsageError` for bad numbers, a solver that learns, a
    machine without extended precision, and a stiff field, which has no Taylor series (then only `agreement` with
    halvings 0 is to be had); `Diverged` where no step gives a solution.
    """

    system: str = "lorenz63"
    initial_conditions: int = 50
    horizon: float = 38.0
    coarsest: float = 1.0
    halvings: int = 7
    agreement: bool = False

    name: ClassVar[str] = "ceiling"
    primary_metric: ClassVar[str] = "ceiling"

    def __post_init__(self) -> None:
        _ = self.chaotic
        if self.initial_conditions < 1:
            raise UsageError(f"ceiling needs initial_conditions of at least 1, got {self.initial_conditions}.")
        if not 0.0 < self.horizon < math.inf:
            raise UsageError(f"ceiling needs a horizon above 0, got {self.horizon:g}.")
        if not (self.coarsest > 0.0 and math.log2(self.coarsest).is_integer()):
            raise UsageError(f"ceiling needs a coarsest step that is a power of two times dt, got {self.coarsest:g}.")
        if self.halvings < 0:
            raise UsageError(f"ceiling needs halvings of at least 0, got {self.halvings}.")

    @property
    def chaotic(self) -> System:
        return system(self.system)

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: ceiling, ceiling_step (the equation's time), agreement; curves: ceiling, medians and quartiles by
        step; cost: f_calls over all steps. The budget is unused."""
        if solver.learns:
            raise UsageError("ceiling asks for a true-field solver, got a cell that learns.")
        chaotic = self.chaotic
        starts = on_attractor(chaotic, self.initial_conditions, stream(seed, f"chaos/{self.system}/ceiling"))
        starts = starts.astype(np.float32).astype(np.float64)
        times = chaotic.dt * np.arange(1 + math.ceil(self.horizon * chaotic.lyapunov_time / chaotic.dt))
        metrics: dict[str, float] = {"initial_conditions": float(self.initial_conditions)}
        curve: dict[str, list[float]] = {"step": [], "valid_prediction_time": [], "q25": [], "q75": []}
        calls, truth = 0, None if is_stiff(chaotic.equation) else taylor.solution(chaotic.equation, starts, times)
        if self.agreement:
            metrics["agreement"] = agreement(chaotic, starts, times, truth)
        if truth is not None:
            calls = self._refine(solver, truth, curve)
            best = int(np.argmax(curve["valid_prediction_time"]))
            metrics |= {"ceiling": curve["valid_prediction_time"][best], "ceiling_step": curve["step"][best]}
        elif not self.agreement:
            raise UsageError(
                f"ceiling has no extended precision for the stiff {self.system}: expected agreement = true."
            )
        return Outcome(
            metrics=metrics,
            curves={"ceiling": curve},
            cost={"f_calls": calls},
            properties={"primary_metric": self.primary_metric, "valid": chaotic.valid},
        )

    def _refine(self, solver: Solver, truth: Array, curve: dict[str, list[float]]) -> int:
        """Fill the curve, coarse to fine; the evaluations that took."""
        chaotic, calls, without_gain = self.chaotic, 0, 0
        start = truth[0].astype(np.float64)
        for halving in range(self.halvings + 1):
            parts = 2.0**halving / self.coarsest  # steps in dt
            count = round((len(truth) - 1) * parts)
            times = chaotic.dt / parts * np.arange(count + 1)
            try:
                found = solver.solve(chaotic.equation, start, times)
            except Diverged:  # too coarse a step
                continue
            calls += found.f_calls
            stride = max(1, round(parts))  # samples of the solution between two that are compared
            each = max(1, round(1 / parts))  # and of the truth
            compared = truth[::each][: len(found.y[::stride])]
            median, q25, q75 = self._times(found.y[::stride][: len(compared)], compared, chaotic.dt * each)
            best = max(curve["valid_prediction_time"], default=0.0)
            for key, value in zip(curve, (chaotic.dt / parts, median, q25, q75), strict=True):
                curve[key].append(value)
            without_gain = without_gain + 1 if median < best * (1 + GROWTH) else 0
            if without_gain == 2:
                break
        if not curve["step"]:
            raise Diverged(f"the solution of {self.system} diverged at every step")
        return calls

    def _times(self, found: Array, truth: Array, dt: float) -> tuple[float, float, float]:
        """Median and quartiles of the valid prediction time."""
        chaotic = self.chaotic
        errors = normalised_error(truth[1:].astype(np.float64), found[1:], np.array(chaotic.sigma))
        times, _ = valid_prediction_time(errors, dt, chaotic.exponent, THRESHOLD)
        q25, median, q75 = np.percentile(times, [25, 50, 75])
        return float(median), float(q25), float(q75)


def agreement(chaotic: System, starts: Array, times: Array, independent: Array | None = None) -> float:
    """Lyapunov times up to which the truth of the chaos task and an independent solution agree on every trajectory.

    independent: the Taylor series, if it is at hand; a stiff field takes exponential time differencing instead. The
    whole time where they never part.
    """
    found = trajectories(chaotic.equation, starts, times)
    if independent is None and is_stiff(chaotic.equation):
        h = chaotic.dt / FINE
        independent = differencing(chaotic.equation, starts, h, (len(times) - 1) * FINE, FINE)
    if independent is None:
        independent = taylor.solution(chaotic.equation, starts, times)
    errors = normalised_error(independent.astype(np.float64), found, np.array(chaotic.sigma))
    apart = np.flatnonzero(~(errors < AGREED * THRESHOLD).all(axis=-1))
    last = len(times) - 1 if len(apart) == 0 else max(0, int(apart[0]) - 1)
    return float((times[last] - times[0]) * chaotic.exponent)


TASK = Ceiling
