"""The conformance checks: the good pass, and each rule catches the task that breaks it. And the generated package."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odernn.suite import catalogue
from odernn.suite.checks import Verdict, check, check_task, checkable
from odernn.suite.cli import main
from odernn.suite.contracts import Array, Batch, LearningTask
from odernn.suite.errors import UsageError
from odernn.suite.metrics import mean_squared_error


@pytest.mark.parametrize("name", ["adding", "copying", "ivp", "order"])
def test_what_ships_conforms(name: str) -> None:
    broken = [verdict for verdict in check(name) if not verdict.ok]
    assert broken == []
    assert len(check(name)) >= 2


@dataclass(frozen=True)
class Good(LearningTask):
    """Say at the second step what was seen at the first."""

    width: int = 1

    name = "good"
    primary_metric = "mean_squared_error"
    loss = "mean_squared_error"

    @property
    def inputs(self) -> int:
        return 1

    @property
    def outputs(self) -> int:
        return 1

    @property
    def memory_length(self) -> int:
        return 1

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        numbers = rng.random((2, size, 1))
        targets = np.zeros_like(numbers)
        targets[1] = numbers[0]
        weights = np.zeros((2, size))
        weights[1] = 1.0
        return Batch(numbers, targets, weights)

    def baseline(self) -> dict[str, float]:
        return {"mean_squared_error": 1 / 12}

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        return {"mean_squared_error": mean_squared_error(outputs, batch.targets, batch.weights)}


def broken(task: type[Any]) -> dict[str, str]:
    return {verdict.rule: verdict.detail for verdict in check_task(task) if not verdict.ok}


def test_a_good_task_passes_every_rule() -> None:
    assert broken(Good) == {}
    assert len(check_task(Good)) == 10


@dataclass(frozen=True)
class Unseeded(Good):
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        return super().batch(size, np.random.default_rng())


@dataclass(frozen=True)
class Deaf(Good):
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        return super().batch(size, np.random.default_rng(0))


@dataclass(frozen=True)
class Meddling(Good):
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        np.random.rand()  # noqa: NPY002 (the mistake)
        return super().batch(size, rng)


@dataclass(frozen=True)
class Single(Good):
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        batch = super().batch(size, rng)
        return Batch(batch.inputs.astype(np.float32), batch.targets, batch.weights)


@dataclass(frozen=True)
class Misshapen(Good):
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        batch = super().batch(size, rng)
        return Batch(batch.inputs.swapaxes(0, 1), batch.targets, batch.weights)


@dataclass(frozen=True)
class Infinite(Good):
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        batch = super().batch(size, rng)
        return Batch(batch.inputs, batch.targets / batch.weights[..., None], batch.weights)


@dataclass(frozen=True)
class Boastful(Good):
    def baseline(self) -> dict[str, float]:
        return {"mean_squared_error": 0.2}


@dataclass(frozen=True)
class Baseless(Good):
    def baseline(self) -> dict[str, float]:
        return {"accuracy": 0.5}


@dataclass(frozen=True)
class Crooked(Good):
    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        return {"mean_squared_error": mean_squared_error(outputs, batch.targets + 1, batch.weights)}


@dataclass(frozen=True)
class Opaque(Good):
    secret: object = field(default_factory=object)


@dataclass(frozen=True)
class Lossy(Good):
    loss = "hinge"  # type: ignore[assignment]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("task", "rule", "detail"),
    [
        (Unseeded, "draws the same for a seed", "the same seed gave other inputs"),
        (Deaf, "draws the same for a seed", "another seed gave the same inputs"),
        (Deaf, "draws disjoint", "500 sequences are in both"),
        (Meddling, "leaves every global random state alone", "moved"),
        (Single, "draws batches of the declared", "inputs has dtype float32: expected float64"),
        (Misshapen, "draws batches of the declared", "inputs has shape (7, 2, 1): expected"),
        (Infinite, "draws finite values", "targets holds NaN or infinity"),
        (Boastful, "has a baseline", "must be at least as good"),
        (Baseless, "has a baseline", "the primary metric 'mean_squared_error' is not in it: accuracy"),
        (Crooked, "gives a perfect answer the optimum", "a perfect answer has mean_squared_error 1: expected 0"),
        (Opaque, "its parameters survive JSON", "not JSON serializable"),
        (Lossy, "declares a loss", "loss is 'hinge': expected one of cross_entropy, mean_squared_error"),
    ],
)
def test_each_rule_catches_its_mistake(task: type[Any], rule: str, detail: str) -> None:
    found = [text for name, text in broken(task).items() if name.startswith(rule)]
    assert len(found) == 1
    assert detail in found[0]


def test_what_is_no_task_gets_one_verdict() -> None:
    for wrong in (3, type("Loose", (LearningTask,), {}), type("Other", (), {})):
        verdicts = check_task(wrong)  # type: ignore[arg-type]
        assert [verdict.ok for verdict in verdicts] == [False]


def test_names_without_rules_are_refused() -> None:
    with pytest.raises(UsageError, match="'accuracy' is of kind 'metric'"):
        check("accuracy")
    with pytest.raises(UsageError, match="did you mean 'adding'"):
        check("ading")
    assert {"adding", "leaky", "rk4", "native"} <= set(checkable())


def test_the_command_says_ok_or_fail_and_exits_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["check", "adding"]) == 0
    assert "  ok    draws finite values" in capsys.readouterr().out
    monkeypatch.setattr("odernn.suite.checks.check", lambda name: [Verdict("a rule", False, "a reason")])
    assert main(["check", "adding"]) == 1
    assert "  FAIL  a rule: a reason" in capsys.readouterr().out


def test_a_generated_package_conforms_as_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "made"
    assert main(["new", "task", "delayed-echo", "--out", str(out)]) == 0
    project = tomllib.loads((out / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["odernn.tasks"] == {"delayed-echo": "odernn_delayed_echo:DelayedEcho"}
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "experiment.toml",
        "odernn_delayed_echo.py",
        "pyproject.toml",
        "test_odernn_delayed_echo.py",
    ]
    spec = importlib.util.spec_from_file_location("odernn_delayed_echo", out / "odernn_delayed_echo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "odernn_delayed_echo", module)
    spec.loader.exec_module(module)
    assert broken(module.DelayedEcho) == {}
    environment = {**os.environ, "PYTHONPATH": str(out)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=out, check=False)
    assert done.returncode == 0, done.stdout
    assert "11 passed" in done.stdout


def test_a_generated_package_is_found_once_installed(tmp_path: Path) -> None:
    out = tmp_path / "made"
    assert main(["new", "task", "far-echo", "--out", str(out)]) == 0
    info = out / "odernn_far_echo-0.1.0.dist-info"  # what an installation leaves beside the module
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odernn-far-echo\nVersion: 0.1.0\nSummary: echo\n")
    (info / "entry_points.txt").write_text("[odernn.tasks]\nfar-echo = odernn_far_echo:FarEcho\n")
    command = [sys.executable, "-m", "odernn.suite", "check", "far-echo"]
    environment = {**os.environ, "PYTHONPATH": str(out)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, "FAIL" in done.stdout) == (0, False), done.stdout + done.stderr


@pytest.mark.parametrize("name", ["adding", "Echo", "two words", "class", "../up", "a--b", "", "1st", "a_", "é"])
def test_bad_and_taken_names_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "task", name, "--out", str(tmp_path / "made")]) == 2
    assert "task name" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_an_existing_folder_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert main(["new", "task", "far-echo", "--out", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert "far-echo" not in catalogue.entries("task")
