"""The rules for tasks of every kind, and those for integration tasks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any

from .catalogue import NAME, build_task, entries
from .contracts import Audit, Budget, LearningTask, Task
from .learning_rules import LEARNING
from .reference import Reference
from .verdict import must


def made(found: Any) -> Any:
    """The task at its defaults. Raises `BrokenRuleError` where it has no such thing."""
    must(isinstance(found, type) and issubclass(found, Task), f"{found!r} is not derived from Task")
    must(is_dataclass(found), "it is not a dataclass")
    must(found.__dataclass_params__.frozen, "the dataclass is not frozen")
    for attribute in ("name", "primary_metric"):
        value = getattr(found, attribute, None)
        must(isinstance(value, str) and bool(value), f"it declares no {attribute}")
        shaped = NAME.fullmatch(str(value)) is not None
        must(shaped, f"its {attribute} is {value!r}: expected letters, digits, '-', '_' and '+'")
    return found()


def _parameters(task: Any) -> str:
    values = asdict(task)
    must(json.loads(json.dumps(values)) == json.loads(json.dumps(values, default=list)), "they change on the way")
    if task.name in entries("task"):
        again = build_task({"name": task.name, **json.loads(json.dumps(values))})
        must(again == task, f"built from {values} it becomes {again}")
    return ", ".join(f"{key}={value!r}" for key, value in values.items()) or "none"


_EVERY: list[tuple[str, Callable[[Any], str]]] = [
    ("its parameters survive JSON", _parameters),
]


def _solved(task: Task) -> str:
    first = task.evaluate(Reference(), 0, Budget())
    must(first.status == "ok", f"an exact integrator ended as {first.status}: {first.reason}")
    name = task.primary_metric
    must(name in first.metrics, f"the outcome holds no {name!r}: {', '.join(first.metrics)}")
    value = first.metrics[name]
    must(math.isfinite(value), f"an exact integrator has {name} {value}")
    if name == "error":
        must(value < 1e-6, f"an exact integrator has error {value:.3g}: expected below 1e-6")
    again = task.evaluate(Reference(), 0, Budget())
    must(dict(again.metrics) == dict(first.metrics), "a second evaluation with the same seed differs")
    return f"{name} = {value:.3g}"


_INTEGRATION: list[tuple[str, Callable[[Any], str]]] = [
    ("lets SciPy's DOP853 at 1e-12 do well, twice the same", _solved),
]


def rules(task: Any) -> list[tuple[str, Callable[[Any], str]]]:
    """The rules for a task of this kind, each with what examines it."""
    if isinstance(task, LearningTask):
        return _EVERY + LEARNING
    return _EVERY if isinstance(task, Audit) else _EVERY + _INTEGRATION
