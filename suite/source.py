"""One Python file as a run sees it: a digest of its program, what it imports, which names of the catalogue it holds.

From the syntax tree alone, without docstrings and comments; nothing is imported.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import util
from pathlib import Path
from typing import Any

from .catalogue import ROOT

OURS = "odernn"

LOADERS: Mapping[str, str] = {"import_module": "", "made_by": "odernn.solvers"}
"""Functions that import the module of a constant name, and the package in which it is looked up; "": as Python does."""

LAZY = "odernn.solvers"
"""The package whose names load on first use."""

FINDERS: Mapping[str, str] = {"find_backend": "backend", "in_backend": "backend", "field_of": "cell", "rung_of": "cell"}
"""Functions that take a name of the catalogue, and its kind."""


@dataclass(frozen=True)
class Source:
    """One file: its digest, the modules that it imports (attributes too), names of the catalogue, its constants."""

    digest: str
    imports: frozenset[str]
    found: frozenset[tuple[str, str]]
    words: frozenset[str]


def stamp_of(path: Path) -> tuple[int, int]:
    """When a file was written, and how long it is; (0, 0) where it is gone."""
    try:
        facts = path.stat()
    except OSError:
        return 0, 0
    return facts.st_mtime_ns, facts.st_size


def file_of(name: str, plugins: frozenset[str]) -> Path | None:
    """The file of a module of ours or of a plugin's package, or of a path; None for anything else, an attribute say."""
    if name.endswith(".py"):
        return Path(name) if Path(name).is_file() else None
    return _home_of(name, plugins)


@cache
def _home_of(name: str, plugins: frozenset[str]) -> Path | None:
    top, *parts = name.split(".")
    if top == OURS:
        return _within(ROOT, parts) if parts else None
    if top not in plugins:
        return None
    try:
        spec = util.find_spec(top)  # of a top-level name: nothing is imported
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not parts:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    homes = [_within(Path(home), parts) for home in spec.submodule_search_locations or ()]
    return next((path for path in homes if path is not None), None)


def _within(folder: Path, parts: list[str]) -> Path | None:
    place = folder.joinpath(*parts)
    for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if path.is_file():
            return path
    return None


@cache
def read_source(name: str, path: Path, stamp: tuple[int, int]) -> Source:
    """What a file says. stamp: of the file, so that an edited one is read again."""
    text = path.read_bytes()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # it will not import either; its bytes tell it from the next version
        return Source(hashed(text.decode(errors="replace"), 8), frozenset(), frozenset(), frozenset())
    alone = name.endswith(".py")
    package = name if path.name == "__init__.py" else ("" if alone else name.rpartition(".")[0])
    parts: list[str] = []
    imports, found, words = set[str](), set[tuple[str, str]](), set[str]()
    _write(tree, parts)
    for node in _run_nodes(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = _absolute("." * node.level + (node.module or ""), package)
            imports |= {home, *(f"{home}.{alias.name}" for alias in node.names)}
            if home == LAZY:
                imports |= {_lazy()[alias.name] for alias in node.names if alias.name in _lazy()}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value)
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else called
            given = [one.value if isinstance(one, ast.Constant) else None for one in node.args[:2]]
            if called in LOADERS and isinstance(given[0], str):
                where = LOADERS[called]
                imports.add(f"{where}.{given[0]}" if where else _absolute(given[0], package))
            elif called in FINDERS and isinstance(given[0], str):
                found.add((FINDERS[called], given[0]))
    if alone:  # a file may import its neighbours
        imports |= {str(path.parent / f"{one.partition('.')[0]}.py") for one in imports if not one.startswith(OURS)}
    imports |= set(_parents(name))
    return Source(hashed("".join(parts), 8), frozenset(imports), frozenset(found), frozenset(words))


def _parents(name: str) -> Iterator[str]:
    """The packages around a module: their __init__ runs before it."""
    while not name.endswith(".py") and "." in name:
        name = name.rpartition(".")[0]
        yield name


def _absolute(name: str, package: str) -> str:
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    above = package.split(".")[: len(package.split(".")) - level + 1]
    return ".".join([*above, *filter(None, [name[level:]])])


@lru_cache(maxsize=1)
def _lazy() -> Mapping[str, str]:
    """The names that a package of ours loads on first use, and their modules: its table `_HOMES`."""
    tree = ast.parse((ROOT / LAZY.partition(".")[2] / "__init__.py").read_bytes())
    tables = [node.value for node in tree.body if isinstance(node, ast.Assign) and _is_homes(node.targets)]
    return {name: LAZY + home for table in tables for name, home in ast.literal_eval(table).items()}


def _is_homes(targets: list[ast.expr]) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "_HOMES" for target in targets)


def _run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those below `if TYPE_CHECKING`, which no run reaches."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _write(node: Any, parts: list[str]) -> None:
    """A syntax tree as text, the same for every Python that reads the same program: without positions, what is absent,
    and strings that stand alone, docstrings among them."""
    if isinstance(node, ast.AST):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return
        parts.append(type(node).__name__)
        parts.append("(")
        for key, value in ast.iter_fields(node):
            if (value is None and not isinstance(node, ast.Constant)) or value == [] or key in ("ctx", "type_comment"):
                continue
            parts.append(key)
            _write(value, parts)
        parts.append(")")
    elif isinstance(node, list):
        parts.append("[")
        for item in node:
            _write(item, parts)
        parts.append("]")
    else:
        parts.append(repr(node))


def hashed(text: str, digits: int) -> str:
    """The first hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:digits]
