"""The conformance checks: what ships passes, each rule catches the task that breaks it, and what the command says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odernn.suite.catalogue import entries
from odernn.suite.checks import Verdict, check, check_task, checkable
from odernn.suite.cli import main
from odernn.suite.contracts import Array, Batch, LearningTask
from odernn.suite.errors import UsageError
from odernn.suite.metrics import mean_squared_error


@pytest.mark.parametrize("name", checkable())
def test_what_ships_conforms(name: str) -> None:
    verdicts = check(name)
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert len(verdicts) >= (1 if name in ("torch", "true-field") else 2)


def test_everything_that_ships_and_has_rules_is_checked() -> None:
    known = {name for kind in ("task", "cell", "tableau", "backend") for name in entries(kind)}
    assert set(checkable()) == known


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
    assert len(check_task(Good)) == 14


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
    found = [("adding", [Verdict("a rule", False, "a reason")]), ("ivp", [Verdict("another", True)])]
    monkeypatch.setattr("odernn.suite.checkup.check_isolated", lambda names, timeout, jobs: iter(found))
    assert main(["check", "adding"]) == 1
    assert "  FAIL  a rule: a reason" in capsys.readouterr().out
