"""Conformance: what a plugin must do, as rules that run; shipped, so that an author can test against them.

`check("my-task")` returns one `Verdict` a rule. The rules for tableaux, cells and backends belong to the
solvers and are called by name. `checkup` does the same in a process apart, which adds what can be seen from outside
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

from .catalogue import entries, find, load
from .contracts import Task
from .errors import UsageError
from .task_rules import made, rules
from .verdict import Verdict, judged, silent

CHECKED = ("task", "tableau", "cell", "backend")
"""The kinds that have rules."""


def checkable() -> list[str]:
    """Every name that `check` has rules for."""
    return list(dict.fromkeys(name for kind in CHECKED for name in entries(kind)))


def kinds_of(name: str) -> list[str]:
    """The kinds with rules that a name of the catalogue, or a file, has. Raises `UsageError` where there is none."""
    found = find(name)
    kinds = [entry.kind for entry in found if entry.kind in CHECKED]
    if not kinds:
        kind = found[0].kind
        raise UsageError(f"{name!r} is of kind {kind!r}: only tasks, tableaux, cells and backends have checks.")
    return kinds


def check(name: str) -> list[Verdict]:
    """The verdicts on a task, tableau, cell or backend: a name, or the path of a file that defines some of them.

    Raises `UsageError` for an unknown name, and for a file that does not import or defines none of them.
    """
    return list(examined(name))


def examined(name: str, begin: Callable[[str], None] = silent) -> Iterator[Verdict]:
    """The verdicts of `check` as they are found. begin: told each rule before it is examined."""
    for kind in kinds_of(name):
        try:
            if kind == "task":
                yield from _examined_task(name, begin)
            else:
                yield from import_module("odernn.solvers.checks").examined(kind, name, begin)
        except UsageError as error:
            yield Verdict("imports", False, str(error))


def check_task(task: str | type[Task]) -> list[Verdict]:
    """The verdicts on a task, with its parameters at their defaults. task: a name, a file, or the class itself.

    Raises `UsageError` where a name or a file gives no task.
    """
    return list(_examined_task(task, silent))


def _examined_task(task: str | type[Task], begin: Callable[[str], None]) -> Iterator[Verdict]:
    found = load("task", task) if isinstance(task, str) else task
    shape = "is a frozen dataclass with a name, a primary metric and defaults"
    tasks: list[Any] = []

    def make() -> str:
        tasks.append(made(found))
        return ""

    for verdict in judged([(shape, make)], begin):
        yield verdict
        if not verdict.ok:
            return  # nothing further can be asked
    (task,) = tasks
    yield from judged(((rule, partial(examine, task)) for rule, examine in rules(task)), begin)
