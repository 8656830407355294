"""`odernn new task NAME`: a package that installs and passes its own checks as generated."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from .catalogue import entries
from .errors import UsageError

_TAKEN = ("Array", "Batch", "LearningTask", "Verdict", "UsageError", "True", "False", "None")
"""Names that a class in the generated files cannot have."""

_FILES = {
    "pyproject.toml.template": "pyproject.toml",
    "README.md.template": "README.md",
    "experiment.toml.template": "experiment.toml",
    "task.py.template": "odernn_${module}.py",
    "test_task.py.template": "test_odernn_${module}.py",
}


def new_task(name: str, out: Path | None = None) -> list[Path]:
    """Write the package of a task called `name` into `out` (default: ./odernn-<name>); the files written.

    Raises `UsageError` for a name that is no lower-case identifier of at most 60 characters or is taken, and for a
    folder that is not empty.
    """
    module = name.replace("-", "_")
    shaped = re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name) is not None and len(name) <= 60
    class_name = "".join(part.capitalize() for part in module.split("_"))
    if not shaped or keyword.iskeyword(name):
        raise UsageError(f"task name {name!r}: expected lower-case words joined by '-', such as 'delayed-echo'.")
    if class_name in _TAKEN:
        raise UsageError(f"task name {name!r}: its class cannot be called {class_name}, expected another name.")
    taken = {known.replace("-", "_") for known in entries("task")}
    if module in taken:
        raise UsageError(f"task name {name!r} is taken: 'odernn list tasks' shows them all.")
    folder = Path(f"odernn-{module.replace('_', '-')}") if out is None else out
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder: give another --out.")
    words = {
        "name": name,
        "module": module,
        "project": f"odernn-{module.replace('_', '-')}",
        "class_name": class_name,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}.") from None
    written = []
    for source, target in _FILES.items():
        text = (Path(__file__).parent / "template" / source).read_text(encoding="utf-8")
        path = folder / Template(target).substitute(words)
        path.write_text(Template(text).substitute(words), encoding="utf-8")
        written.append(path)
    return written
