"""`odernn new task|cell|tableau NAME`: a package that installs and passes its own checks as generated."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Literal

from .catalogue import GROUPS, entries
from .errors import UsageError, unknown

Kind = Literal["task", "cell", "tableau"]

EXAMPLES: Mapping[str, str] = MappingProxyType({"task": "delayed-echo", "cell": "slow-leak", "tableau": "ralston-pair"})
"""By kind that there is a template for, a name that a message may suggest."""

_DEPENDENCIES = {"task": '"numpy", "odernn"', "cell": '"odernn", "sympy"', "tableau": '"odernn"'}

LONGEST = 60
"""Characters of a name, at most."""

_TAKEN = ("Array", "Batch", "LearningTask", "Verdict", "UsageError", "True", "False", "None")
"""Names that a class in the generated files cannot have."""

_FILES = {
    "pyproject.toml.template": "pyproject.toml",
    "README.md.template": "README.md",
    "${kind}_experiment.toml.template": "experiment.toml",
    "${kind}_module.py.template": "odernn_${module}.py",
    "${kind}_test.py.template": "test_odernn_${module}.py",
}


def new_plugin(kind: Kind, name: str, out: Path | None = None) -> list[Path]:
    """Write the package of a task, cell or tableau called `name` into `out` (default: ./odernn-<name>); its files.

    Raises `UsageError` for a name that is no lower-case identifier of at most 60 characters or is taken, and for a
    folder that is not empty.
    """
    if kind not in EXAMPLES:
        raise unknown("kind of package", kind, EXAMPLES)
    words = _words(kind, name)
    folder = Path(words["project"]) if out is None else out
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder: give another --out.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}.") from None
    written = []
    for source, target in _FILES.items():
        template = Path(__file__).parent / "template" / Template(source).substitute(words)
        path = folder / Template(target).substitute(words)
        path.write_text(Template(template.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
        written.append(path)
    return written


def _words(kind: Kind, name: str) -> dict[str, str]:
    """What the templates leave open. Raises `UsageError` for a name that cannot be."""
    module = name.replace("-", "_")
    shaped = re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name) is not None
    class_name = "".join(part.capitalize() for part in module.split("_"))
    what = f"{kind} name {name!r}"
    if len(name) > LONGEST:
        raise UsageError(f"{kind} name {name[:LONGEST]!r}... has {len(name)} characters: expected at most {LONGEST}.")
    if not shaped or keyword.iskeyword(name):
        raise UsageError(f"{what}: expected lower-case words joined by '-', such as {EXAMPLES[kind]!r}.")
    if class_name in _TAKEN:
        raise UsageError(f"{what}: its class cannot be called {class_name}, expected another name.")
    taken = set(entries(kind))
    if kind == "tableau":
        taken |= set(import_module("odernn.solvers.tableaux").ALIASES)
    if module in {known.lower().replace("-", "_") for known in taken}:
        raise UsageError(f"{what} is taken: 'odernn list {GROUPS[kind].partition('.')[2]}' shows them all.")
    return {
        "kind": kind,
        "name": name,
        "module": module,
        "project": f"odernn-{module.replace('_', '-')}",
        "class_name": class_name,
        "group": GROUPS[kind],
        "attribute": {"task": class_name, "cell": "field", "tableau": "TABLEAU"}[kind],
        "dependencies": _DEPENDENCIES[kind],
    }
