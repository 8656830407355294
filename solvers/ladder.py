"""A rung of the information ladder as a solver: it learns from a forecast task and from no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from ..suite.contracts import (
    Array,
    Budget,
    Flow,
    ForecastTask,
    Learned,
    LearningTask,
    Nesting,
    Outcome,
    RecurrentMap,
    Timing,
    Trajectory,
    VectorField,
    Workload,
)
from ..suite.errors import Diverged, UsageError
from .forecasters import rung_of
from .forecasters.recursion import RecursionForecaster, Still
from .forecasters.rung import Lesson
from .refusals import no_given_field, no_recurrent_cell
from .spec import Spec, properties_of


@final
@dataclass(frozen=True)
class LadderSolver:
    """A forecaster of `solvers.forecasters`, by the name of its cell; on the CPU."""

    spec: Spec
    dtype: str

    learns = True

    def properties(self) -> dict[str, Any]:
        return {"learns": True, **properties_of(self.spec), "reference": rung_of(self.spec.cell).reference}

    def learn(self, task: LearningTask, seed: int, budget: Budget) -> Learned:
        """Fit or train the forecaster; a fit that leaves the finite numbers is an outcome of status "diverged"."""
        spec = self.spec
        if not isinstance(task, ForecastTask):
            raise UsageError(f"cell {spec.cell!r} forecasts a series: task {task.name!r} has none.")
        lesson = Lesson(
            task, spec.options, seed, budget, self.dtype, spec.tableau or "", spec.backend or "", spec.substeps
        )
        task.series()  # made once and kept by the task, so that its making is not counted as training
        try:
            return rung_of(spec.cell).learn(lesson)
        except Diverged as error:
            still = RecursionForecaster(Still(0.0 * task.increment))
            return Learned(still, Outcome(status="diverged", reason=str(error)))

    def solve(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None = None) -> Trajectory:
        raise no_given_field(self.spec.cell)

    def flow(self, equation: VectorField) -> Flow:
        raise no_given_field(self.spec.cell)

    def gradient(self, equation: VectorField, y0: Array, t: Array, cotangent: Array) -> Array:
        raise no_given_field(self.spec.cell)

    def training_step(self, length: int, batch: int, seed: int) -> Callable[[], float]:
        raise UsageError(
            f"cell {self.spec.cell!r} is a forecaster: expected a recurrent cell, whose training is measured."
        )

    def in_backend(self, name: str) -> LadderSolver:
        if not rung_of(self.spec.cell).is_field:
            raise UsageError(f"cell {self.spec.cell!r} is no field: no backend steps it.")
        return replace(self, spec=replace(self.spec, backend=name))

    def nesting(self, seed: int) -> Nesting:
        raise no_recurrent_cell(self.spec.cell)

    def hunt(self, cases: int, seed: int, inflate: float, norm: str) -> dict[str, Any] | None:
        raise no_recurrent_cell(self.spec.cell)

    def recurrence(self, inputs: int, seed: int, hidden: int | None = None) -> RecurrentMap:
        raise no_recurrent_cell(self.spec.cell)

    def engines(self) -> Mapping[str, str]:
        return {}

    def timings(
        self,
        workload: Workload,
        seed: int,
        peers: bool = True,
        equation: VectorField | None = None,
        start: Array | None = None,
    ) -> list[Timing]:
        raise no_recurrent_cell(self.spec.cell)
