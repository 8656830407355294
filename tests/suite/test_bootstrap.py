"""`python3 suite` and `python3 tests` from a fresh clone, as far as that goes without installing anything."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "suite" / "__main__.py").is_file(), reason="not a checkout")


@pytest.fixture
def set_up(tmp_path: Path) -> ModuleType:
    """The bootstrap module of a small clone that has nothing but it."""
    (tmp_path / "suite").mkdir()
    shutil.copy(ROOT / "suite" / "__main__.py", tmp_path / "suite")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("")
    spec = importlib.util.spec_from_file_location("set_up_under_test", tmp_path / "suite" / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", ["suite/__main__.py", "tests/__main__.py"])
def test_it_needs_the_standard_library_alone_and_old_syntax(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text(), feature_version=(3, 7))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) if not node.level}
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_an_old_python_is_told_what_to_do(set_up: ModuleType) -> None:
    with pytest.raises(set_up.SetUpError, match=r"^this is Python 3\.9 and odernn needs 3\.11 or newer: install one"):
        set_up.check_python((3, 9), which=lambda name: None)
    with pytest.raises(set_up.SetUpError, match=r"use python3\.12, which is on this machine"):
        set_up.check_python((3, 10), which=lambda name: name if name == "python3.12" else None)
    set_up.check_python((3, 11))


def test_arguments_go_to_a_command_or_to_the_quick_run(set_up: ModuleType) -> None:
    assert set_up.arguments([]) == ["run", "quick"]
    assert set_up.arguments(["--seeds", "1"]) == ["run", "quick", "--seeds", "1"]
    assert set_up.arguments(["list", "tasks"]) == ["list", "tasks"]
    assert set_up.arguments(["--help"]) == ["--help"]


def test_every_command_is_passed_on(set_up: ModuleType) -> None:
    from odernn.suite.cli import COMMANDS

    assert {name for name in COMMANDS if name} <= set(set_up.COMMANDS)


def test_the_stamp_follows_what_is_installed(set_up: ModuleType, tmp_path: Path) -> None:
    Path(set_up.python()).parent.mkdir(parents=True)
    Path(set_up.python()).write_text("")
    assert not set_up.installed()
    Path(set_up.STAMP).write_text(set_up.fingerprint())
    assert set_up.installed()
    (tmp_path / "constraints.txt").write_text("numpy==1\n")
    assert not set_up.installed()


def test_a_failing_pip_shows_its_last_lines(set_up: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    script = "import sys; print('Collecting numpy'); print('the cause'); sys.exit(3)"
    with pytest.raises(set_up.SetUpError, match="pip failed with status 3"):
        set_up._install([sys.executable, "-c", script])
    assert "  pip: the cause" in capsys.readouterr().err


def test_no_network_is_said_so(set_up: ModuleType) -> None:
    script = "import sys; print('NewConnectionError(...): Temporary failure in name resolution'); sys.exit(1)"
    with pytest.raises(set_up.SetUpError, match="could not fetch the packages: connect to the network"):
        set_up._install([sys.executable, "-c", script])


def test_a_python_without_venv_names_the_package(set_up: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(set_up.SetUpError, match=rf"apt install python3\.{sys.version_info.minor}-venv"):
        set_up._make_venv()


@pytest.mark.parametrize("folder", ["suite", "tests"])
def test_a_set_up_clone_goes_straight_on(set_up: ModuleType, tmp_path: Path, folder: str) -> None:
    """.venv is there and stamped; its Python is a script that shows what it was asked."""
    if folder == "tests":
        (tmp_path / "tests").mkdir()
        shutil.copy(ROOT / "tests" / "__main__.py", tmp_path / "tests")
    inner = Path(set_up.python())
    inner.parent.mkdir(parents=True)
    inner.write_text('#!/bin/sh\necho "$@" from "$PWD"\n')
    inner.chmod(0o755)
    Path(set_up.STAMP).write_text(set_up.fingerprint())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, str(tmp_path / folder), "list"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, check=True)
    tests = f"-P -m pytest -n auto --dist worksteal list from {tmp_path}"
    want = f"-P -m odernn.suite list from {elsewhere}" if folder == "suite" else tests
    assert done.stdout.strip() == want


def test_its_folder_shadows_nothing(set_up: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "suite" / "hashlib.py").write_text("raise SystemExit('shadowed')\n")
    inner = Path(set_up.python())
    inner.parent.mkdir(parents=True)
    inner.symlink_to("/bin/echo")
    Path(set_up.STAMP).write_text(set_up.fingerprint())
    done = subprocess.run([sys.executable, str(tmp_path / "suite")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "-P -m odernn.suite run quick\n", "")


def test_as_a_module_it_is_the_command_line() -> None:
    command = [sys.executable, "-m", "odernn.suite", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"})
    assert done.stdout.startswith("odernn 0.")
