"""Which code makes a row: a digest of everything of ours, and of a plugin's, that the run of a point calls.

The modules are found from syntax trees alone, through every import statement, those in functions included; nothing is
imported for it but the table of methods, which needs no torch. A module counts by its syntax tree without docstrings
and comments, so that a reworded sentence makes no row stale. What a registry loads by name (a field, a forecaster, a
backend, a task) counts where the point names it, and a method by its coefficients, not by the file that lists them
all. Data files and packages of others are not code of ours: versions of packages are compared by themselves, see
`freshness`. Past 200 lines because what is followed and what is not can be judged only together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from .catalogue import entries
from .row import Point
from .source import OURS, file_of, hashed, read_source, stamp_of

ENTRY = "odernn.suite.run"
"""Where every run begins."""

TABLES = ("odernn.solvers.tableaux", "odernn.solvers.implicit_tableaux")
"""Lists of methods: what they import is followed, the lists themselves are not counted, the methods named are."""

NEVER = frozenset(
    {
        ("odernn.suite.run", "odernn.suite.environment"),  # facts about the machine: no result depends on them
        ("odernn.suite.catalogue", "odernn.suite.experiment"),  # reads files of experiments, before any run
        ("odernn.solvers.tableaux", "odernn.solvers.facts"),  # what `odernn show` says of a method
    }
)
"""(importer, imported) that no run goes through."""

INTEGRATOR = ("odernn.solvers.solver", "odernn.solvers.field_integrator")
FORECASTER = ("odernn.solvers.solver", "odernn.solvers.ladder")
RECURRENCE = ("odernn.solvers.solver", "odernn.solvers.recurrence")
PEERS = frozenset(
    (importer, "odernn.solvers.peers.timing") for importer in (INTEGRATOR[1], FORECASTER[1], RECURRENCE[1])
)
"""What speed is measured beside: only task "speed" asks for it."""


@dataclass(frozen=True)
class Code:
    """The code of a point. digest: 16 hexadecimal digits; modules: by dotted name (by path for a plugin's file, with
    "tableau NAME" and "package NAME" beside them), 8 hexadecimal digits each. imports: top-level packages of others."""

    digest: str
    modules: Mapping[str, str]
    imports: frozenset[str]


class Fingerprints:
    """The codes of many points, as the files are when they are first looked at."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, ...], Code] = {}
        self._seen: dict[Path, tuple[int, int]] = {}

    def of(self, point: Point) -> Code:
        """The code of a point; points that name the same things share it."""
        names = _names(point)
        if names not in self._codes:
            self._codes[names] = self._code(point, names)
        return self._codes[names]

    def intact(self) -> bool:
        """Whether every file is still the one that was looked at: a run may outlast an edit of its code."""
        return all(stamp_of(path) == stamp for path, stamp in self._seen.items())

    def _code(self, point: Point, names: tuple[str, ...]) -> Code:
        skipped, plugins = _skipped(point), set[str]()
        modules, methods, others = dict[str, str](), set[str](), set[str]()
        waiting = [ENTRY]
        for kind, name in _called(point, names):
            waiting += self._home(kind, name, plugins, modules, methods)
        visited: set[str] = set()
        while waiting:
            name = waiting.pop()
            path = file_of(name, frozenset(plugins))
            if name in visited:
                continue
            visited.add(name)
            if path is None:
                if name.partition(".")[0] not in (OURS, *plugins) and not name.endswith(".py"):
                    others.add(name.partition(".")[0])
                continue
            stamp = self._seen.setdefault(path, stamp_of(path))
            source = read_source(name, path, stamp)
            if name not in TABLES:
                modules[name] = source.digest
                methods |= {word for word in source.words if word in _methods()}
            for kind, found in source.found:
                waiting += self._home(kind, found, plugins, modules, methods)
            waiting += [one for one in source.imports if (name, one) not in skipped]
        modules |= {f"tableau {_method_name(name)}": _method_digest(name) for name in methods}
        ordered = dict(sorted(modules.items()))
        return Code(hashed(repr(list(ordered.items())), 16), ordered, frozenset(others) - _unused(names, modules))

    def _home(
        self, kind: str, name: str, plugins: set[str], modules: dict[str, str], methods: set[str]
    ) -> Iterator[str]:
        """The modules to look at for a name of the catalogue; notes a method, a plugin's package and its version."""
        if kind == "module" or name.endswith(".py"):
            yield name
        elif kind == "tableau" and name.lower() in _methods():
            methods.add(name.lower())
        elif (entry := entries(kind).get(name)) is not None:
            if entry.distribution:
                plugins.add(entry.module.partition(".")[0])
                modules[f"package {entry.distribution}"] = hashed(_version(entry.distribution), 8)
            yield entry.module


def code_of(point: Point) -> Code:
    """The code of one point, as the files are now."""
    return Fingerprints().of(point)


# ------------------------------------------------------------------------------------------------------ what is called


def _names(point: Point) -> tuple[str, ...]:
    """Every string of the task and the solver, and which key of the solver has what: what can name code."""
    solver = point["solver"]
    named = [str(point["task"].get("name", "")), *(f"{key}={solver.get(key)}" for key in ("cell", "method"))]
    return (*named, *_strings(point["task"]), "", *_strings(solver))


def _unused(names: Iterable[str], modules: Iterable[str]) -> set[str]:
    """Packages that modules of ours import in a branch that this point does not take."""
    unused = set() if any(name.startswith("dysts:") for name in names) else {"dysts"}
    return unused if any("diffrax" in name or "jax" in name for name in modules) else unused | {"jax"}


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _called(point: Point, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(kind, name) of whatever the point names: a value of any entry that is a name of the catalogue counts, and of a
    library's own method the "module" that runs it."""
    yield "task", str(point["task"].get("name", ""))
    for kind in ("cell", "tableau", "backend"):
        known = entries(kind)
        for name in names:
            if name in known or (kind == "tableau" and name.lower() in _methods()):
                yield kind, name
        own = point["solver"].get(kind)
        if isinstance(own, str) and own.endswith(".py"):
            yield kind, own
    if point["solver"].get("method") is not None:
        backend = str(point["solver"].get("backend"))
        yield "module", f"odernn.solvers.library_{backend}"


def _skipped(point: Point) -> frozenset[tuple[str, str]]:
    """(importer, imported) that the run of this point does not go through."""
    cell, task = point["solver"].get("cell"), str(point["task"].get("name"))
    known = entries("cell")
    kinds = {INTEGRATOR, FORECASTER, RECURRENCE}
    if cell == "true-field":
        used = INTEGRATOR
    elif isinstance(cell, str) and cell in known and known[cell].module.startswith("odernn.solvers.forecasters."):
        used = FORECASTER
    else:
        used = RECURRENCE
    builtin = task in entries("task") and not entries("task")[task].distribution
    peers = PEERS if builtin and task != "speed" else frozenset[tuple[str, str]]()
    return NEVER | (kinds - {used}) | peers


# ---------------------------------------------------------------------------------------------------------- its methods


@lru_cache(maxsize=1)
def _methods() -> Mapping[str, Any]:
    """The methods of our tables by name and by alias."""
    table = import_module("odernn.solvers.tableaux")  # by name: the hub imports no sibling
    return {**table.METHODS, **{alias: table.METHODS[name] for alias, name in table.ALIASES.items()}}


def _method_name(name: str) -> str:
    return str(_methods()[name].name)


@cache
def _method_digest(name: str) -> str:
    """Of what defines a method, exactly: all of it but its reference."""
    method = _methods()[name]
    facts = {one.name: vars(method)[one.name] for one in fields(method) if one.name != "reference"}
    return hashed(repr(sorted(facts.items())), 8)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
