"""The forecaster that a flow and a method are: so many steps a sample, no memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from ...suite.contracts import Array, Flow, Learned
from ...suite.errors import Diverged
from ...suite.seeds import stream
from .rung import Lesson, fitted


@final
@dataclass(frozen=True)
class FlowMap:
    """`substeps` steps of the tableau over one sampling interval, as a `Recursion`: output (z_next - z) / increment.

    A series whose state is not finite, or leaves the finite numbers on the way, gets NaN and leaves the others alone.
    """

    flow: Flow
    sampling: float
    increment: Array
    tableau: str
    substeps: int
    dtype: str
    backend: str

    size = 0

    def begin(self, batch: int) -> Array:
        return np.empty((batch, 0))

    def advance(self, memory: Array, inputs: Array) -> tuple[Array, Array]:
        after = np.full_like(inputs, np.nan)
        good = np.isfinite(inputs).all(axis=1)
        if good.any():
            after[good] = self._stepped(inputs[good])
        with np.errstate(over="ignore", invalid="ignore"):
            return memory, (after - inputs) / self.increment

    def _stepped(self, z: Array) -> Array:
        try:
            found: Array = self.flow.rollout(
                z, np.array([0.0, self.sampling]), self.tableau, self.substeps, self.dtype, self.backend
            ).y[-1]
        except Diverged:
            if len(z) == 1:
                return np.full_like(z, np.nan)
            return np.concatenate([self._stepped(one[None]) for one in z])
        return found


def account(lesson: Lesson, flow: Flow, started: float, cost: Mapping[str, float]) -> Learned:
    """What is said of a learned field: beside its training, the evaluations of a training sequence's forecast."""
    task, substeps = lesson.task, lesson.substeps
    one = np.zeros((1, task.inputs))
    calls = flow.rollout(one, np.array([0.0, task.sampling]), lesson.tableau, substeps, "float64", lesson.backend)
    length = len(task.batch(1, stream(lesson.seed, f"{task.name}/probe")).inputs)
    recursion = FlowMap(flow, task.sampling, task.increment, lesson.tableau, substeps, lesson.dtype, lesson.backend)
    return fitted(
        lesson, recursion, started, {**cost, "f_calls": calls.f_calls * length, "sequence_steps": length}, flow
    )
