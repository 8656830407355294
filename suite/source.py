"""One Python file as a run sees it: a digest of its program, what it imports, which names of the catalogue it holds.

From the syntax tree alone, without docstrings and comments; nothing is imported.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import machinery
from pathlib import Path
from typing import Any, TypeAlias

from .catalogue import ROOT

OURS = "odernn"

Stamp: TypeAlias = tuple[int, int, int]
"""A file as `stamp_of` saw it."""

ABSENT: Stamp = (0, 0, 0)

LOADERS: Mapping[str, str] = {"import_module": "", "__import__": "", "made_by": "odernn.solvers"}
"""Functions that import the module of a constant name, and the package in which it is looked up; "": as Python does."""

LAZY = "odernn.solvers"
"""The package whose names load on first use."""

FINDERS: Mapping[str, str] = {"find_backend": "backend", "in_backend": "backend", "field_of": "cell", "rung_of": "cell"}
"""Functions that take a name of the catalogue, and its kind."""


@dataclass(frozen=True)
class Source:
    """One file: its digest, the modules that it imports (attributes too; of a file given by its path relative ones with
    their dots), names of the catalogue, its constants."""

    digest: str
    imports: frozenset[str]
    found: frozenset[tuple[str, str]]
    words: frozenset[str]


def stamp_of(path: Path | str) -> Stamp:
    """When a file was written, how long it is, and when it was touched in any way; `ABSENT` where there is none.

    The last never comes back, so that a file which is edited and then put back, its time of writing too, is not taken
    for one that has never been edited. It is left out (0) of a file with several names: installers share files between
    environments, and each new name touches the file of all.
    """
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return ABSENT
    return facts.st_mtime_ns, facts.st_size, facts.st_ctime_ns if facts.st_nlink == 1 else 0


def intact(files: Mapping[str, Stamp]) -> bool:
    """Whether every file is still as its stamp says."""
    return all(stamp_of(path) == stamp for path, stamp in files.items())


def file_of(name: str, followed: Collection[str], search: tuple[str, ...]) -> Path | None:
    """The file of a module of ours or of a package that is followed, or of a path; None for anything else, an attribute
    say. search: the folders where Python looks for modules."""
    if name.endswith(".py"):
        return Path(name) if os.path.isfile(name) else None
    top = name.partition(".")[0]
    return _home_of(name, search) if top == OURS or top in followed else None


@cache
def _home_of(name: str, search: tuple[str, ...]) -> Path | None:
    top, *parts = name.split(".")
    if top == OURS:
        return _within(ROOT, parts) if parts else None
    spec = spec_of(top, search)
    if spec is None:
        return None
    if not parts:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    homes = [_within(Path(home), parts) for home in spec.submodule_search_locations or ()]
    return next((path for path in homes if path is not None), None)


@cache
def spec_of(top: str, search: tuple[str, ...]) -> machinery.ModuleSpec | None:
    """Where Python finds a top-level module; nothing is imported. search: `sys.path` before any plugin added to it."""
    for finder in sys.meta_path:
        try:
            found = (
                machinery.PathFinder.find_spec(top, list(search))
                if finder is machinery.PathFinder
                else finder.find_spec(top, None)
            )
        except Exception:  # a broken finder of another package
            continue
        if found is not None:
            return found
    return None


def folder_of(spec: machinery.ModuleSpec) -> Path | None:
    """The folder that holds a top-level module or package; None for what is built in."""
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.has_location and spec.origin else ())]
    return Path(os.path.abspath(places[0])).parent if places else None


def scripts(path: Path, words: Collection[str]) -> set[str]:
    """Files beside a plugin's that its constants name, there or not: they may be carried out by their paths."""
    home = (path.resolve() if path.is_symlink() else path).parent  # as its __file__ says
    named = [word for word in words if word.endswith(".py")]
    return {str(home / word) for word in named} | {str(home / word.lstrip("/")) for word in named}


def neighbours(path: Path, root: Path, imports: Collection[str]) -> set[str]:
    """Files beside one given by its path that its imports may mean, there or not. root: the folder that they may start
    from, if not the file's own."""
    found: set[str] = set()
    for one in imports:
        level = len(one) - len(one.lstrip("."))
        homes = path.parents[level - 1 : level] if level else {root, path.parent}
        parts = [*filter(str.isidentifier, one.split("."))]
        for place in (home.joinpath(*parts[:end]) for home in homes for end in range(1, len(parts) + 1)):
            found |= {str(place / "__init__.py"), f"{place}.py"}
    return found


def _within(folder: Path, parts: list[str]) -> Path | None:
    place = folder.joinpath(*parts)
    for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
        if path.is_file():
            return path
    return None


@cache
def read_source(name: str, path: Path, stamp: Stamp) -> Source:
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
            written = "." * node.level + (node.module or "")
            home = written if alone else _absolute(written, package)
            imports |= {home, *(f"{home}{'' if home.endswith('.') else '.'}{alias.name}" for alias in node.names)}
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
                wanted = given[0] if alone else _absolute(given[0], package)
                imports.add(f"{where}.{given[0]}" if where else wanted)
            elif called in FINDERS and isinstance(given[0], str):
                found.add((FINDERS[called], given[0]))
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
