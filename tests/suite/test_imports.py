"""Hub and spokes, from the syntax trees: who may import whom; and what light commands must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("suite", "tasks", "solvers", "reports")
ALLOWED = {"suite": set[str](), "tasks": {"suite"}, "solvers": {"suite"}, "reports": {"suite"}}
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(tree: ast.AST, path: Path, top_level_only: bool) -> Iterator[str]:
    """Absolute names ("odernn.suite.errors") that a file imports; `if TYPE_CHECKING` counts as not imported."""
    package = ["odernn", *path.relative_to(ROOT).parts[:-1]]

    def walk(node: ast.AST) -> Iterator[str]:
        if top_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])])
            if not node.module:
                yield from (".".join([*base, alias.name]) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    yield from walk(tree)


def folder_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "odernn" and len(parts) > 1 else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_the_hub(path: Path) -> None:
    home = path.relative_to(ROOT).parts[0]
    names = list(imported(ast.parse(path.read_text()), path, top_level_only=False))
    foreign = {folder_of(name) for name in names} - {None, home}
    assert foreign <= ALLOWED[home]
    assert not {name.split(".")[0] for name in names} & set(FOLDERS), "a folder under its bare name"
    assert not [name for name in names if name == "odernn" or name.split(".")[0] == "tests"]


@pytest.mark.parametrize("folder", ["suite", "tasks", "reports"])
def test_no_torch_at_module_level(folder: str) -> None:
    able = {"suite/learn.py"}  # the training loop, which whoever trains imports
    for path in sorted((ROOT / folder).rglob("*.py")):
        if str(path.relative_to(ROOT)) not in able:
            names = imported(ast.parse(path.read_text()), path, top_level_only=True)
            assert "torch" not in {name.split(".")[0] for name in names}, path


def test_the_rules_of_this_file_bite(tmp_path: Path) -> None:
    tree = ast.parse("from ..solvers.cell import x\nfrom . import y\ndef f():\n    import torch\n")
    path = ROOT / "tasks" / "adding.py"
    assert list(imported(tree, path, False)) == ["odernn.solvers.cell", "odernn.tasks", "odernn.tasks.y", "torch"]
    assert "torch" not in list(imported(tree, path, True))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["list"], ["list", "--json"], ["report", "--help"]])
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from odernn.suite.cli import main\n"
        f"status = main({arguments!r})\n"
        "bare = {'suite', 'tasks', 'solvers', 'reports'}\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'torchdiffeq', 'rich', 'psutil', 'distributed'}\n"
        "print((status, sorted((bare | heavy) & set(sys.modules))), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.splitlines()[-1] == "(0, [])"
    assert done.stdout


def test_help_loads_no_numbers() -> None:
    script = "import sys\nfrom odernn.suite.cli import main\nmain(['--help'])\nassert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
