"""The solver of a point: an integrator of a given field, a forecaster of the ladder, or a learned recurrence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..suite.checkpoint import Checkpoints
from ..suite.contracts import Solver, Task
from .field_integrator import FieldIntegrator
from .forecasters import FORECASTERS
from .ladder import LadderSolver
from .recurrence import Recurrence
from .spec import TRUE_FIELD, parse
from .spec import engine_of as engine_of
from .spec import validate as validate


def build_solver(
    entries: Mapping[str, Any], device: str, dtype: str, task: Task, checkpoints: Checkpoints | None = None
) -> Solver:
    """The solver of a point. checkpoints: where its trainings are kept. Raises `UsageError` where `validate` would."""
    validate(entries, {"name": task.name}, device, dtype)
    spec = parse(entries)
    if spec.cell == TRUE_FIELD:
        return FieldIntegrator(spec, device, dtype)
    if spec.cell in FORECASTERS:
        return LadderSolver(spec, dtype)
    return Recurrence(spec, device, dtype, checkpoints=checkpoints)
