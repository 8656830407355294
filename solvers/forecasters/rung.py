"""What a rung of the ladder is: its entries with their defaults and ranges, its reference, and how it learns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ...suite.contracts import Array, Budget, Flow, ForecastTask, Learned, Outcome
from ...suite.errors import UsageError, nearest
from .recursion import Recursion, RecursionForecaster, driven

Value: TypeAlias = bool | int | float


@dataclass(frozen=True)
class Option:
    """One entry of a rung: its default, whose type is the entry's, and its range.

    least: the smallest value; above: the value must be larger than `least`, not equal to it; most: the largest.
    """

    default: Value
    least: float = -math.inf
    above: bool = False
    most: float = math.inf

    def checked(self, value: Any, name: str, cell: str) -> Value:
        """The value in the default's type. Raises `UsageError`."""
        if isinstance(self.default, bool):
            if isinstance(value, bool):
                return value
            raise UsageError(f"solver entry {name!r} of cell {cell!r} is {value!r}: expected true or false.")
        whole = isinstance(self.default, int)
        fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if not fits or not math.isfinite(value) or not self.least <= value <= self.most:
            raise self._refused(value, name, cell, whole)
        if self.above and value == self.least:
            raise self._refused(value, name, cell, whole)
        return int(value) if whole else float(value)

    def _refused(self, value: Any, name: str, cell: str, whole: bool) -> UsageError:
        what = f"a {'whole number' if whole else 'number'}"
        if self.least > -math.inf:
            what += f" above {self.least:g}" if self.above else f" of at least {self.least:g}"
        if self.most < math.inf:
            what += f" and at most {self.most:g}"
        return UsageError(f"solver entry {name!r} of cell {cell!r} is {value!r}: expected {what}.")


@dataclass(frozen=True)
class Lesson:
    """What a rung learns from. options: every entry of the rung; tableau, backend, substeps: of one that is a field."""

    task: ForecastTask
    options: Mapping[str, Any]
    seed: int
    budget: Budget
    dtype: str = "float64"
    tableau: str = ""
    backend: str = ""
    substeps: int = 1

    @property
    def series(self) -> Array:
        """(samples, series, inputs) float64."""
        return np.asarray(self.task.series(), dtype=np.float64)

    def outputs(self) -> Array:
        """The targets of the whole series: (samples - 1, series, inputs), in units of the increment."""
        return np.asarray(np.diff(self.series, axis=0) / self.task.increment)


@dataclass(frozen=True)
class Rung:
    """A forecaster that an experiment can name.

    entries: by name, beside `cell` and, where `is_field`, the required `tableau` and `backend` and the optional
    `substeps`. updates: whether it is trained by the updates of the budget. dtypes: what it computes in.
    """

    name: str
    reference: str
    learn: Callable[[Lesson], Learned]
    entries: Mapping[str, Option] = field(default_factory=dict)
    is_field: bool = False
    updates: bool = False
    dtypes: tuple[str, ...] = ("float64",)

    def checked(self, entries: Mapping[str, Any]) -> dict[str, Value]:
        """Every option with its value. Raises `UsageError` for an unknown entry, a wrong type or range."""
        known = {"cell", *self.entries, *(("tableau", "backend", "substeps") if self.is_field else ())}
        for key in entries:
            if key not in known:
                raise UsageError(f"unknown solver entry {key!r} for cell {self.name!r}: {nearest(key, known)}")
        return {
            key: option.checked(entries.get(key, option.default), key, self.name)
            for key, option in self.entries.items()
        }


def fitted(
    lesson: Lesson, recursion: Recursion, started: float, cost: Mapping[str, float], flow: Flow | None = None
) -> Learned:
    """The account of a rung that is fitted at once.

    Metric train_loss: the mean squared error of its outputs, each from the true inputs, over the last half of the
    first training series, where every memory is full. started: `time.perf_counter()` at the start.
    """
    inputs = lesson.series[:-1, :1]
    late = slice(len(inputs) // 2, None)
    error = driven(recursion, inputs)[late] - lesson.outputs()[late, :1]
    return Learned(
        RecursionForecaster(recursion),
        Outcome(
            metrics={"train_loss": float(np.mean(error**2))},
            cost={"train_seconds": time.perf_counter() - started, **cost},
        ),
        flow=flow,
    )
