"""Which code makes a row: a digest of everything of ours, and of a plugin's, that the run of a point calls.

The modules are found from syntax trees alone, through every import statement, those in functions included; nothing is
imported for it but the table of methods, which needs no torch. A module counts by its syntax tree without docstrings
and comments, so that a reworded sentence makes no row stale. What a registry loads by name (a field, a forecaster, a
backend, a task) counts where the point names it, and a method by its coefficients, not by the file that lists them
all. Of a plugin its own files count: what lies beside its file, its distribution's packages, and any other package that
is not installed in the usual place or has no version. Packages of others are compared by their versions, see
`freshness`.

Not seen are what a run reads (data files), compiled extensions of a plugin's own, modules whose names or paths are put
together while it runs, and code made by exec. Past 200 lines because what is followed and what is not can be judged
only together.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from .catalogue import ROOT, entries
from .environment import ALWAYS, PACKAGES, version_of
from .row import Point
from .source import (
    OURS,
    Source,
    Stamp,
    file_of,
    folder_of,
    hashed,
    intact,
    neighbours,
    read_source,
    scripts,
    spec_of,
    stamp_of,
)

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


INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders whose packages are of others, and have versions."""


@dataclass(frozen=True)
class Code:
    """The code of a point. digest: 16 hexadecimal digits; modules: by dotted name (by path for a plugin's file, with
    "tableau NAME" and "package NAME" beside them), 8 hexadecimal digits each. imports: top-level packages of others.
    packages: versions of those that only a plugin imports. files: by path, what all this was read from, as it was."""

    digest: str
    modules: Mapping[str, str]
    imports: frozenset[str]
    packages: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Stamp] = field(default_factory=dict, compare=False, repr=False)

    def intact(self) -> bool:
        """Whether all files are still those that were looked at: a run may outlast an edit of its code, and an edit
        that was taken back."""
        return intact(self.files)


@dataclass
class _Found:
    """What was found of a point's code so far. followed: top-level packages whose files count as ours do; ours, theirs:
    packages of others that our modules import, and that a plugin's do; packages: versions of the latter."""

    modules: dict[str, str] = field(default_factory=dict)
    methods: set[str] = field(default_factory=set)
    followed: set[str] = field(default_factory=set)
    ours: set[str] = field(default_factory=set)
    theirs: set[str] = field(default_factory=set)
    packages: dict[str, str] = field(default_factory=dict)
    files: dict[str, Stamp] = field(default_factory=dict)


class Fingerprints:
    """The codes of many points, as their files are when first looked at.

    seen: `first_look`, of now where absent. To be made before a plugin is carried out, which may change where Python
    looks for modules.
    """

    def __init__(self, seen: Mapping[str, Stamp] | None = None) -> None:
        self._codes: dict[tuple[str, ...], Code] = {}
        self._search = tuple(sys.path)
        self._seen = dict(first_look() if seen is None else seen)

    def of(self, point: Point) -> Code:
        """The code of a point; points that name the same things share it."""
        names = _names(point)
        if names not in self._codes:
            self._codes[names] = self._code(point, names)
        return self._codes[names]

    def _look(self, path: str) -> Stamp:
        """The stamp of a file, always that of the first look; of none: that nothing is there, which must stay so."""
        return self._seen.setdefault(path, stamp_of(path))

    def _code(self, point: Point, names: tuple[str, ...]) -> Code:
        skipped, found = _skipped(point), _Found()
        visited: set[tuple[str, Path | None]] = set()
        waiting: list[tuple[str, Path | None]] = [(ENTRY, None)]
        for kind, name in _called(point, names):
            waiting += [(one, None) for one in self._home(kind, name, found)]
        while waiting:
            name, root = waiting.pop()
            if (name, root) in visited:
                continue
            visited.add((name, root))
            path = file_of(name, found.followed, self._search)
            if path is None and not name.endswith(".py"):
                continue
            place = os.path.abspath(path or name)
            stamp = found.files[place] = self._look(place)
            if path is None:
                continue
            source = read_source(name, path, stamp)
            if name not in TABLES:
                found.modules[name] = source.digest
                found.methods |= {word for word in source.words if word in _methods()}
            for kind, called in source.found:
                waiting += [(one, None) for one in self._home(kind, called, found)]
            waiting += [(one, None) for one in source.imports if _top(one) == OURS and (name, one) not in skipped]
            if _top(name) == OURS and not name.endswith(".py"):
                found.ours |= {_top(one) for one in source.imports} - {OURS}
            else:
                waiting += self._of_plugin(name, path, root, source, found)
        found.modules |= {f"tableau {_method_name(name)}": _method_digest(name) for name in found.methods}
        modules = dict(sorted(found.modules.items()))
        imports = frozenset((found.ours - _unused(names, modules)) | found.theirs)
        used = {*ALWAYS, *(imports & set(PACKAGES)), *found.packages}
        files = found.files | {own: self._look(own) for one in sorted(used) if (own := _origin(one, self._search))}
        return Code(hashed(repr(list(modules.items())), 16), modules, imports, found.packages, files)

    def _of_plugin(
        self, name: str, path: Path, root: Path | None, source: Source, found: _Found
    ) -> Iterator[tuple[str, Path | None]]:
        """What a plugin's file may load of its own, each with the folder that its imports may start from."""
        yield from ((one, root) for one in scripts(path, source.words))
        homes: set[Path] = set()
        if name.endswith(".py"):
            root = root or (path.resolve() if path.is_symlink() else path).parent
            homes = {root.resolve(), path.parent.resolve()}
            yield from ((one, root) for one in neighbours(path, root, source.imports))
        for top in {_top(one) for one in source.imports} - sys.stdlib_module_names - found.followed - {OURS, ""}:
            spec = None if top in PACKAGES else spec_of(top, self._search)
            folder = None if spec is None else folder_of(spec)
            if folder is None:
                found.theirs.add(top)
            elif folder.resolve() in homes:
                continue  # found beside it by whoever has that folder in its path: a neighbour, for everybody
            elif _is_others(top, folder):
                found.theirs.add(top)
                found.packages[top] = version_of(top)
            else:
                found.followed.add(top)
        yield from ((one, None) for one in source.imports if _top(one) in found.followed)

    def _home(self, kind: str, name: str, found: _Found) -> Iterator[str]:
        """The modules to look at for a name of the catalogue; notes a method, a plugin's packages and its version."""
        if kind == "module" or name.endswith(".py"):
            yield name
        elif kind == "tableau" and name.lower() in _methods():
            found.methods.add(name.lower())
        elif (entry := entries(kind).get(name)) is not None:
            if entry.distribution:
                found.followed |= {_top(entry.module), *_packages_of(entry.distribution)}
                found.modules[f"package {entry.distribution}"] = hashed(_version(entry.distribution), 8)
            yield entry.module


def first_look() -> dict[str, Stamp]:
    """By path, the files of ours that a run may import, and of the packages that it may use: to be taken before the
    processes start that import them, so that what they have is what is looked at."""
    ours = [str(file) for folder in ("suite", "tasks", "solvers") for file in (ROOT / folder).rglob("*.py")]
    theirs = [_origin(name, tuple(sys.path)) for name in PACKAGES]
    return {path: stamp_of(path) for path in (*ours, *filter(None, theirs))}


def _origin(top: str, search: tuple[str, ...]) -> str:
    """The file that comes and goes with the version of a package; "" where there is none."""
    spec = spec_of(top, search)
    return (spec.origin if spec and spec.has_location else None) or ""


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


def _top(name: str) -> str:
    """The package of a dotted name; "" of a relative one."""
    return name.partition(".")[0]


def _is_others(top: str, folder: Path) -> bool:
    """Whether a package that lies in a folder is told by its version alone: installed in the usual way."""
    if not INSTALLED & set(folder.parts) and not any(folder.glob(f"{top}-*.dist-info")):
        return False  # of a checkout, say, whose version stays as it is while it is worked on
    return version_of(top) != ""


@cache
def _packages_of(distribution: str) -> frozenset[str]:
    """The top-level packages and modules that a distribution brings."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return frozenset()
    files = [file.parts[0].removesuffix(".py") for file in found.files or ()]
    named = {*files, *(found.read_text("top_level.txt") or "").split()}
    return frozenset(name for name in named if name.isidentifier()) - {OURS}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
