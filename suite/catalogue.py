"""Read-only names: what exists, by kind, and the objects behind the names.

Listing reads the first docstring line and the definitions of each file through its syntax tree, so that it imports no
plugin and no torch; only `load` imports. Longer than most files because seven kinds are found in seven places.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from importlib import import_module, metadata, util
from pathlib import Path
from types import MappingProxyType, ModuleType, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import PLUGIN_ERRORS, UsageError, nearest, unknown

if TYPE_CHECKING:
    from .contracts import Task

ROOT = Path(__file__).resolve().parents[1]
"""The folder of suite, tasks, solvers and reports: a checkout, or the installed `odernn`."""

PUBLISHED = ROOT / "reports" / "published"
"""The folder of the rows that come with the package."""

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "task": "tasks",
        "cell": "cells",
        "tableau": "tableaux",
        "backend": "backends",
        "metric": "metrics",
        "report": "reports",
        "experiment": "experiments",
    }
)
"""Every kind, with its plural."""

GROUPS: Mapping[str, str] = MappingProxyType(
    {kind: f"odernn.{KINDS[kind]}" for kind in ("task", "cell", "tableau", "backend", "report")}
)
"""The entry-point groups through which other packages add to a kind."""

_CELLS_WITHOUT_FILE = {
    "gru": "torch.nn.GRU with a linear readout; a library baseline",
    "lstm": "torch.nn.LSTM with a linear readout; a library baseline",
    "true-field": "no learning: the problem's own field, stepped by the tableau in the backend",
}


@dataclass(frozen=True)
class Entry:
    """One name: its kind, one sentence, the module and the attribute (dotted, "" for the module) that hold it, and the
    distribution it came with ("" for built-in)."""

    kind: str
    name: str
    summary: str
    module: str
    attribute: str = ""
    distribution: str = ""


# ------------------------------------------------------------------------------------------------------------ listing


def kind_of(word: str) -> str:
    """The kind for a singular or plural word. Raises `UsageError` for another word."""
    for kind, plural in KINDS.items():
        if word in (kind, plural):
            return kind
    raise unknown("kind", word, KINDS.values())


def entries(kind: str) -> Mapping[str, Entry]:
    """By name, everything of one kind, in alphabetical order. Imports no plugin."""
    return _entries(kind_of(kind))[0]


def problems(kind: str) -> tuple[str, ...]:
    """One sentence for every entry point that was refused because its name is taken."""
    return _entries(kind_of(kind))[1]


def find(name: str) -> list[Entry]:
    """Every entry of that name, over all kinds. Raises `UsageError` with the nearest where there is none."""
    found = [entries(kind)[name] for kind in KINDS if name in entries(kind)]
    if not found:
        raise unknown("name", name, {n for kind in KINDS for n in entries(kind)})
    return found


@lru_cache(maxsize=len(KINDS))
def _entries(kind: str) -> tuple[Mapping[str, Entry], tuple[str, ...]]:
    found: dict[str, Entry] = {}
    refused: list[str] = []
    for entry in _BUILT_IN[kind]():
        if entry.name in found:
            refused.append(
                f"{kind} {entry.name!r} of {entry.module} is refused: {found[entry.name].module} has that name."
            )
        else:
            found[entry.name] = entry
    for entry in _third_party(kind):
        if entry.name in found:
            owner = found[entry.name].distribution or "odernn itself"
            refused.append(f"{kind} {entry.name!r} of {entry.distribution} is refused: {owner} has that name.")
        else:
            found[entry.name] = entry
    return MappingProxyType(dict(sorted(found.items()))), tuple(refused)


def _third_party(kind: str) -> Iterator[Entry]:
    if kind not in GROUPS:
        return
    for point in sorted(metadata.entry_points(group=GROUPS[kind]), key=lambda p: (p.name, p.value)):
        summary = (point.dist.metadata["Summary"] or "") if point.dist else ""
        owner = point.dist.name if point.dist else point.module
        yield Entry(kind, point.name, summary, point.module, point.attr, owner)


def _files(folder: str) -> Iterator[tuple[str, Path]]:
    """(module, file) of every module and package of a folder, "tasks/audits" say, in alphabetical order."""
    for path in sorted((ROOT / folder).glob("*")):
        if path.suffix == ".py" and not path.stem.startswith("_"):
            yield f"odernn.{folder.replace('/', '.')}.{path.stem}", path
        elif (path / "__init__.py").is_file():
            yield f"odernn.{folder.replace('/', '.')}.{path.name}", path / "__init__.py"


def _read(path: Path) -> tuple[str, dict[str, ast.expr | None]]:
    """A file's first docstring line, and its module-level names with what is assigned to them, if anything."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        return f"cannot be read: {error.msg} in line {error.lineno}", {}
    names: dict[str, ast.expr | None] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = node.value
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.asname or alias.name: None for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = None
    return _sentence(ast.get_docstring(tree)), names


def _sentence(docstring: str | None) -> str:
    return (docstring or "").strip().split("\n")[0]


def _defining(kind: str, folder: str, attribute: str) -> Iterator[Entry]:
    for module, path in _files(folder):
        summary, names = _read(path)
        if attribute in names:
            yield Entry(kind, module.rpartition(".")[2].replace("_", "-"), summary, module, attribute)


def _tasks() -> Iterator[Entry]:
    yield from _defining("task", "tasks", "TASK")
    yield from _defining("task", "tasks/audits", "TASK")
    yield from _defining("task", "tasks/chaos", "TASK")


def _cells() -> Iterator[Entry]:
    yield from _defining("cell", "solvers/fields", "field")
    yield from _defining("cell", "solvers/forecasters", "FORECASTER")
    for name, summary in _CELLS_WITHOUT_FILE.items():
        yield Entry("cell", name, summary, "odernn.solvers.solver")


def _tableaux() -> Iterator[Entry]:
    module = import_module("odernn.solvers.tableaux")
    for name, method in module.METHODS.items():
        kind, size = "", ""
        if name in module.TABLEAUX:
            kind = "" if method.explicit else "implicit, "
            size = ("" if method.b_hat is None else f"({method.embedded_order})") + f", {method.stages} stages"
        elif name in module.PARTITIONED:
            kind, size = "partitioned, ", f", {method.stages} stages"
        else:
            kind = f"splitting, linear parts {method.linear}, "
        summary = f"{kind}order {method.order}{size}; {_sentence(method.reference)}"
        yield Entry("tableau", name, summary, "odernn.solvers.tableaux", f"METHODS.{name}")


def _backends() -> Iterator[Entry]:
    for module, path in _files("solvers/backends"):
        summary, names = _read(path)
        table = names.get("BACKENDS")
        if isinstance(table, ast.Call) and len(table.args) == 1:  # MappingProxyType({...})
            table = table.args[0]
        if isinstance(table, ast.Dict):
            for key in table.keys:
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield Entry("backend", key.value, summary, module, f"BACKENDS.{key.value}")


def _metrics() -> Iterator[Entry]:
    from .metrics import METRICS

    for name, metric in METRICS.items():
        better = "" if metric.direction == "none" else f", {metric.direction} is better"
        yield Entry(
            "metric", name, f"[{metric.unit}{better}] {metric.summary}", "odernn.suite.metrics", f"METRICS.{name}"
        )


def _reports() -> Iterator[Entry]:
    for folder, attribute, what in (("tables", "TABLE", "table"), ("figures", "FIGURE", "figure")):
        for entry in _defining("report", f"reports/{folder}", attribute):
            yield Entry("report", f"{what}-{entry.name}", f"{what}: {entry.summary}", entry.module, attribute)


def _experiments() -> Iterator[Entry]:
    for path in sorted((ROOT / "suite" / "experiments").glob("*.toml")):
        try:
            summary = str(tomllib.loads(path.read_text(encoding="utf-8")).get("summary", ""))
        except tomllib.TOMLDecodeError as error:
            summary = f"cannot be read: {error}"
        yield Entry("experiment", path.stem, summary, str(path))


_BUILT_IN: Mapping[str, Callable[[], Iterator[Entry]]] = MappingProxyType(
    {
        "task": _tasks,
        "cell": _cells,
        "tableau": _tableaux,
        "backend": _backends,
        "metric": _metrics,
        "report": _reports,
        "experiment": _experiments,
    }
)


# ------------------------------------------------------------------------------------------------------------ loading


def load(kind: str, name: str) -> Any:
    """The object of that name: a Task class, a cell's module (or its entry point's object), a tableau or method, ...

    Raises `UsageError` for an unknown name (with the nearest), a missing package (with the pip line) or a plugin that
    does not import.
    """
    kind = kind_of(kind)
    if kind == "task" and name.endswith(".py"):
        return _task_class(_load_file(Path(name)), name)
    known = entries(kind)
    if name not in known:
        raise unknown(kind, name, known)
    entry = known[name]
    if kind == "experiment":
        from .experiment import load_experiment

        return load_experiment(entry.module)
    if kind == "cell" and name in _CELLS_WITHOUT_FILE:
        return name
    found: Any = _import(entry)
    head, _, key = entry.attribute.partition(".")
    if kind in ("tableau", "backend", "metric") and not entry.distribution:
        return getattr(found, head)[key]
    if kind == "cell" and not entry.distribution:
        return found
    for part in filter(None, entry.attribute.split(".")):
        if part not in vars(found):
            raise UsageError(f"{kind} {name!r}: {entry.module} has no {entry.attribute!r}.")
        found = getattr(found, part)
    return _task_class(found, name) if kind == "task" else found


def _import(entry: Entry) -> ModuleType:
    who = f"{entry.kind} {entry.name!r}" + (f" of {entry.distribution}" if entry.distribution else "")
    try:
        return import_module(entry.module)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "odernn", entry.module.partition(".")[0]):
            raise UsageError(f"{who} does not import: {error}.") from error
        raise UsageError(
            f"{who} needs the package {package!r}, which is not installed: pip install {package}"
        ) from error
    except UsageError:
        raise
    except PLUGIN_ERRORS as error:  # a plugin may raise anything while it is imported; the others must go on
        raise UsageError(f"{who} does not import: {type(error).__name__}: {_sentence(str(error))}") from error


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"task {str(path)!r}: there is no such file.")
    spec = util.spec_from_file_location(f"odernn_file_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"task {str(path)!r} is no Python file.")
    module = util.module_from_spec(spec)
    import sys

    sys.modules[module.__name__] = module  # a dataclass looks its own module up
    try:
        spec.loader.exec_module(module)
    except PLUGIN_ERRORS as error:  # whatever the author's file raises is the author's to see, in one line
        raise UsageError(
            f"task {str(path)!r} does not import: {type(error).__name__}: {_sentence(str(error))}"
        ) from error
    if "TASK" not in vars(module):
        raise UsageError(f"task {str(path)!r} defines no TASK.")
    return module.TASK


def _task_class(found: Any, name: str) -> type[Task]:
    from .contracts import Task

    if not (isinstance(found, type) and issubclass(found, Task)) or "__dataclass_params__" not in vars(found):
        raise UsageError(f"task {name!r} is {found!r}: expected a frozen dataclass derived from odernn's Task.")
    if not name.endswith(".py") and found.name != name:
        raise UsageError(f"task {name!r} calls itself {found.name!r}: expected the same name.")
    return found


# -------------------------------------------------------------------------------------------------------------- tasks


def build_task(entry: Mapping[str, Any]) -> Task:
    """The task of an experiment's entries {"name": ..., parameter: value, ...}; absent parameters take their defaults.

    Raises `UsageError` for an unknown name or parameter (with the nearest), a value of another type or out of range.
    """
    name = entry.get("name")
    if not isinstance(name, str):
        raise UsageError(f"a task needs a 'name', got {dict(entry)!r}.")
    found = load("task", name)
    hints = get_type_hints(found)
    known = {f.name: f for f in fields(found) if f.init}
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "name":
            continue
        if key not in known:
            hint = nearest(key, known) if known else "it has none."
            raise UsageError(f"unknown parameter {key!r} of task {name!r}: {hint}")
        values[key] = _typed(value, hints[key], f"parameter {key!r} of task {name!r}")
    for key, one in known.items():
        if key not in values and one.default is MISSING and one.default_factory is MISSING:
            raise UsageError(f"task {name!r} needs a {key!r}.")
    try:
        task: Task = found(**values)
    except UsageError:
        raise
    except (TypeError, ValueError) as error:
        raise UsageError(f"task {name!r} refuses {values}: {error}") from error
    return task


def _typed(value: Any, hint: Any, what: str) -> Any:
    """The value if it is of the annotated type (a whole number passes for a float, a list for a tuple)."""
    if _fits(value, hint):
        if hint is float:
            return float(value)
        return tuple(value) if isinstance(value, list) and (get_origin(hint) or hint) is tuple else value
    wanted = " or ".join(repr(a) for a in get_args(hint)) if get_origin(hint) is Literal else _name(hint)
    raise UsageError(f"{what} is {value!r}: expected {wanted}.")


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float)
    if (origin or hint) in (tuple, list):
        inner = get_args(hint)[:1] or (Any,)
        return isinstance(value, list | tuple) and all(_fits(item, inner[0]) for item in value)
    if hint is NoneType:
        return value is None
    return isinstance(value, origin or hint)


def _name(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
    return names.get(hint, str(hint).replace("typing.", "")) if isinstance(hint, type) else str(hint)
