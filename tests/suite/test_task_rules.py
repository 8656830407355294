"""Task villains: each of these is wrong in one way, and the rule that is meant to see it does."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from odernn.suite.checks import check_task
from odernn.suite.contracts import Array, Batch, LearningTask
from odernn.suite.metrics import mean_squared_error

REMEMBERED = "does not show in its latest inputs"


@dataclass(frozen=True)
class Good(LearningTask):
    """Say at the last of three steps what was seen at the first."""

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
        return 2

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        numbers = rng.random((3, size, 1))
        targets = np.zeros_like(numbers)
        targets[2] = numbers[0]
        weights = np.zeros((3, size))
        weights[2] = 1.0
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
        (Misshapen, "draws batches of the declared", "inputs has shape (7, 3, 1): expected"),
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


# ------------------------------------------------------------------------------------------ answers that are given away


def shown(batch: Batch, step: int, value: Array) -> Batch:
    inputs = batch.inputs.copy()
    inputs[step] = value
    return Batch(inputs, batch.targets, batch.weights)


@dataclass(frozen=True)
class ShownAtOnce(Good):
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        batch = super().batch(size, rng)
        return shown(batch, 2, batch.targets[2])


@dataclass(frozen=True)
class ShownThroughALogarithm(Good):
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        batch = super().batch(size, rng)
        return shown(batch, 2, np.log(0.01 + batch.targets[2]))


@dataclass(frozen=True)
class ShownOneStepBefore(Good):
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        batch = super().batch(size, rng)
        return shown(batch, 1, batch.targets[2])


@dataclass(frozen=True)
class ShownAsClass(Good):
    """One of eight classes, at the scored step as a number in no order."""

    loss = "cross_entropy"
    primary_metric = "accuracy"

    @property
    def outputs(self) -> int:
        return 8

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        classes = rng.integers(0, 8, (3, size))
        inputs = np.stack([classes / 8, rng.random((3, size))], axis=-1)
        inputs[1, :, 0], inputs[2, :, 0] = 0.0, (5 * classes[0] % 8) / 8
        inputs[1:, :, 1] = 0.0
        weights = np.zeros((3, size))
        weights[2] = 1.0
        targets = np.zeros((3, size), np.int64)
        targets[2] = classes[0]
        return Batch(inputs, targets, weights)

    @property
    def inputs(self) -> int:
        return 2

    def baseline(self) -> dict[str, float]:
        return {"accuracy": 1 / 8}

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        return {"accuracy": float((outputs[2].argmax(-1) == batch.targets[2]).mean())}


@dataclass(frozen=True)
class HalfShown(Good):
    """The mean of the answer and a random number: the best guess is that mean, with squared error 1/24."""

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        batch = super().batch(size, rng)
        return shown(batch, 2, (batch.targets[2] + batch.inputs[2]) / 2)


@dataclass(frozen=True)
class HalfShownAndSo(HalfShown):
    def baseline(self) -> dict[str, float]:
        return {"mean_squared_error": 1 / 24}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (ShownAtOnce, "on the present input gains 100%"),
        (ShownThroughALogarithm, "on the present input gains"),
        (ShownOneStepBefore, "on the input 1 step before gains 100%"),
        (ShownAsClass, "on the present input gains"),
        (HalfShown, "on the present input gains"),
    ],
)
def test_an_answer_that_leaks_into_the_inputs_is_found(task: type[Any], said: str) -> None:
    found = [detail for rule, detail in broken(task).items() if rule.startswith(REMEMBERED)]
    assert len(found) == 1
    assert said in found[0]


def test_what_the_present_input_tells_may_be_declared() -> None:
    assert broken(HalfShownAndSo) == {}
    assert broken(Good) == {}


# -------------------------------------------------------------------------------------------------- data that are wrong

KEPT: dict[tuple[int, ...], Array] = {}
SERIES = np.random.default_rng(0).random(20_000)


@dataclass(frozen=True)
class Nearby(Good):
    """Training and test sequences that differ by less than anybody would call a difference."""

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        batch = super().batch(size, np.random.default_rng(0))
        return shown(batch, 0, batch.inputs[0] + 1e-9 * rng.random((size, 1)))


@dataclass(frozen=True)
class Windows(Good):
    """Stretches of one series, wherever they fall, for training and for testing."""

    @property
    def memory_length(self) -> int:
        return 39

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        first = rng.integers(0, len(SERIES) - 40, size)
        inputs = SERIES[first[None, :] + np.arange(40)[:, None]][..., None] + 0.0
        inputs[:, :, 0] += 0.0
        targets = np.zeros_like(inputs)
        targets[-1] = inputs[0]
        weights = np.zeros((40, size))
        weights[-1] = 1.0
        return Batch(inputs, targets, weights)


@dataclass(frozen=True)
class Recycling(Good):
    """Every batch of a size is the same arrays, filled anew."""

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        batch = super().batch(size, rng)
        buffer = KEPT.setdefault(batch.inputs.shape, batch.inputs)
        buffer[:] = batch.inputs
        return Batch(buffer, batch.targets, batch.weights)


@dataclass(frozen=True)
class Scribbling(Good):
    """It measures in place."""

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        outputs -= batch.targets
        return {"mean_squared_error": float((outputs[2] ** 2).mean())}


@dataclass(frozen=True)
class Timely(Good):
    """The same within an hour."""

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        batch = super().batch(size, rng)
        return shown(batch, 1, batch.inputs[1] + time.localtime().tm_year)


@dataclass(frozen=True)
class Dated(Good):
    def baseline(self) -> dict[str, float]:
        return {"mean_squared_error": 1 / 12 + 0 * datetime.now().year}


@dataclass(frozen=True)
class Dicing(Good):
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        random.random()
        return super().batch(size, rng)


@dataclass(frozen=True)
class Elsewhere(Good):
    """A score of a known direction whose best answer is not the right one."""

    primary_metric = "smape"

    def baseline(self) -> dict[str, float]:
        return {"smape": 1.0}

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        return {"smape": float(abs((outputs[2] - batch.targets[2]).mean() - 0.25))}


@dataclass(frozen=True)
class Indifferent(Good):
    """A score that is the same for every answer."""

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        return {"mean_squared_error": 0.0}


@dataclass(frozen=True)
class Private(Good):
    """A score of which nobody can say which is better."""

    primary_metric = "my_score"

    def baseline(self) -> dict[str, float]:
        return {"my_score": 1.0}

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        return {"my_score": 1.0}


@pytest.mark.parametrize(
    ("task", "rule", "said"),
    [
        (Nearby, "draws disjoint", "500 sequences are in both"),
        (Windows, "draws disjoint", "in both"),
        (Recycling, "leaves batches that it gave alone", "the inputs of a batch changed"),
        (Scribbling, "leaves batches that it gave alone", "the outputs of a batch changed"),
        (Timely, "asks no clock", "it calls time.localtime"),
        (Dated, "asks no clock", "it calls datetime.now"),
        (Dicing, "leaves every global random state alone", "moved"),
        (Elsewhere, "gives a perfect answer the optimum", "it is no better"),
        (Indifferent, "gives a perfect answer the optimum", "noise has mean_squared_error 0, a perfect one 0"),
        (Private, "declares a primary metric that odernn knows", "which 'my_score' is better"),
    ],
)
def test_each_is_caught_by_the_rule_meant_for_it(task: type[Any], rule: str, said: str) -> None:
    found = [detail for name, detail in broken(task).items() if name.startswith(rule)]
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize("name", ["a/b", "../up", "x\x1b[2J", "line\nbreak", "", "own.py", "ä", "x" * 81, 3])
def test_a_name_is_no_path_and_moves_no_cursor(name: Any) -> None:
    task = dataclass(frozen=True)(type("Named", (Good,), {"name": name, "__annotations__": {}}))
    (verdict,) = (verdict for verdict in check_task(task) if not verdict.ok)
    assert "name" in verdict.detail
    assert verdict.detail.isprintable()
