"""Read-only names: what exists, by kind, and the objects behind the names.

Listing reads the first docstring line and the definitions of each file through its syntax tree, so that it imports no
plugin and no torch; only `load` imports, and carries out the file where a name is the path of one. Longer than most
files because seven kinds are found in seven places.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from importlib import import_module, machinery, metadata, util
from pathlib import Path
from types import MappingProxyType, ModuleType, NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import UsageError, nearest, unknown
from .loading import DEFINED, defined, is_file, load_file, load_module
from .printable import printable

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

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,79}")
"""What a plugin's name may be: it stands in experiments, rows, reports and on command lines, and is no path."""

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
    """One sentence for every entry point that was refused because its name is taken or is none, and for every one
    whose module is not there or is no Python."""
    return _entries(kind_of(kind))[1]


def find(name: str) -> list[Entry]:
    """Every entry of that name, over all kinds, or whatever a file defines where the name is the path of one.

    Raises `UsageError` with the nearest name where there is none, or where the file defines nothing.
    """
    if is_file(name):
        module = load_file(Path(name), f"file {name!r}")
        summary = printable(_sentence(module.__doc__))
        there = [Entry(kind, name, summary, name, DEFINED[kind]) for kind in DEFINED if defined(module, kind)]
        if not there:
            raise UsageError(f"file {name!r} defines none of {', '.join(DEFINED.values())}.")
        return there
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
    taken = {_key(name): entry for name, entry in found.items()}
    if kind == "tableau":
        aliases: Mapping[str, str] = import_module("odernn.solvers.tableaux").ALIASES
        taken |= {_key(alias): found[meant] for alias, meant in aliases.items() if meant in found}
    for entry in _third_party(kind):
        said = f"{kind} {entry.name!r} of {entry.distribution}"
        if NAME.fullmatch(entry.name) is None:
            refused.append(f"{said} is refused: a name is letters, digits, '-', '_' and '+', 80 at most.")
        elif _key(entry.name) in taken:
            owner = taken[_key(entry.name)].distribution or "odernn itself"
            refused.append(f"{said} is refused: {owner} has that name.")
        else:
            found[entry.name] = taken[_key(entry.name)] = entry
            if wrong := _unreadable(entry.module):
                refused.append(f"{said} cannot be loaded: {wrong}.")
    return MappingProxyType(dict(sorted(found.items()))), tuple(refused)


def _key(name: str) -> str:
    """Names that differ in nothing else are one name."""
    return name.lower().replace("_", "-")


def _unreadable(module: str) -> str:
    """Why the module cannot be imported, as far as its file tells without being carried out; '' where it may well."""
    folders: list[str] = []
    for end in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:end])
        try:  # by all finders where it has no parent, which importing would be
            spec = util.find_spec(name) if end == 1 else machinery.PathFinder.find_spec(name, folders)
        except Exception as error:  # a broken finder of another package
            return f"looking for module {name!r} raised {type(error).__name__}"
        if spec is None:
            return f"there is no module {name!r}" if end == 1 else ""
        folders = list(spec.submodule_search_locations or ())
        if isinstance(spec.loader, machinery.SourceFileLoader):
            try:
                ast.parse(Path(spec.origin or "").read_bytes())
            except (SyntaxError, ValueError, OSError) as error:
                line = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
                return f"{name!r} is not readable Python{line}"
    return ""


def _third_party(kind: str) -> Iterator[Entry]:
    if kind not in GROUPS:
        return
    for point in sorted(metadata.entry_points(group=GROUPS[kind]), key=lambda p: (p.name, p.value)):
        summary = (point.dist.metadata["Summary"] or "") if point.dist else ""
        owner = point.dist.name if point.dist else point.module
        yield Entry(kind, point.name, printable(_sentence(summary)), point.module, point.attr, printable(owner))


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
    """The object of that name: a Task class, a cell's module, a tableau or method, a backend, ...

    Of a cell from another package or a file: the function that makes its field. name: of the catalogue, or the path of
    a Python file that defines `TASK`, `field`, `TABLEAU` or `BACKEND`. Raises `UsageError` for an unknown name (with
    the nearest), a plugin that does not import or is not what it is declared as; `MissingPackage` (with the pip line)
    where a package is missing.
    """
    kind = kind_of(kind)
    if kind in DEFINED and is_file(name):
        who = f"{kind} {name!r}"
        module = load_file(Path(name), who)
        if not defined(module, kind):
            raise UsageError(f"{who} defines no {DEFINED[kind]}.")
        return _checked(kind, vars(module)[DEFINED[kind]], name)
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
        found = vars(found)[part]
    return _checked(kind, found, name) if kind in DEFINED else found


def _import(entry: Entry) -> ModuleType:
    return load_module(
        entry.module, f"{entry.kind} {entry.name!r}" + (f" of {entry.distribution}" if entry.distribution else "")
    )


def _checked(kind: str, found: Any, name: str) -> Any:
    """What a plugin gives, if it is of its kind and calls itself what it is called. Raises `UsageError`."""
    if kind == "task":
        return _task_class(found, name)
    who = f"{kind} {name!r}"
    if kind == "cell":
        if not callable(found):
            raise UsageError(f"{who} is a {type(found).__name__}: expected a function that gives its field.")
        return found
    module = import_module("odernn.solvers.tableau" if kind == "tableau" else "odernn.solvers.backends.base")
    wanted = get_args(module.Method) if kind == "tableau" else (module.Backend,)
    if not isinstance(found, wanted):
        what = "the class itself" if isinstance(found, type) else f"a {type(found).__name__}"
        raise UsageError(f"{who} is {what}: expected a {' or '.join(one.__name__ for one in wanted)}.")
    _own_name(found.name, who, name)
    return found


def _own_name(own: Any, who: str, name: str) -> None:
    """Raises `UsageError` where a plugin calls itself something else than its entry point, or what is no name."""
    if not isinstance(own, str) or NAME.fullmatch(own) is None:
        said = printable(own) if isinstance(own, str) else own
        raise UsageError(f"{who} calls itself {said!r}: expected letters, digits, '-', '_' and '+', 80 at most.")
    if not is_file(name) and own != name:
        raise UsageError(f"{who} calls itself {own!r}: expected the same name.")


def _task_class(found: Any, name: str) -> type[Task]:
    from .contracts import Task

    who = f"task {name!r}"
    if not (isinstance(found, type) and issubclass(found, Task)) or "__dataclass_params__" not in vars(found):
        raise UsageError(f"{who} is {found!r}: expected a frozen dataclass derived from odernn's Task.")
    _own_name(getattr(found, "name", None), who, name)
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
