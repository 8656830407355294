"""Plugins that cheat or break, each caught by the rule that is meant for it; honest ones of the same look pass."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odernn.suite.checks import Verdict, check, check_task
from odernn.suite.checkup import OFFLINE, STARTING, TIDY, check_isolated
from odernn.suite.contracts import Array, Batch, LearningTask
from odernn.suite.errors import UsageError
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


def fails(verdicts: list[Verdict]) -> dict[str, str]:
    return {verdict.rule: verdict.detail for verdict in verdicts if not verdict.ok}


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


# ----------------------------------------------------------------------------------- tableaux, cells, backends, by path

TABLEAU = """
from odernn.solvers.tableau import Tableau

TABLEAU = Tableau(
    "own",
    ((0, 0, 0, 0), ("1/2", 0, 0, 0), (0, {a32}, 0, 0), (0, 0, 1, 0)),
    ("1/6", "1/3", "1/3", "1/6"),
    {order},
    "mine",
)
"""

CELL = """
from odernn.solvers.field import CellField, CustomField
from odernn.solvers.fields import leaky


class Crooked(CellField):
    def jacobian(self, y, drive, weights, t=0.0):
        return super().jacobian(y, drive, weights, t).transpose(-1, -2)


def make(input_size, hidden_size, constants, device, dtype):
    return Crooked(leaky.field(), input_size, hidden_size, device=device, dtype=dtype)


def field(ode_order=None):
    return CustomField("own", ("y' &= f(y)",), "mine", make, published_method="euler")
"""

BACKEND = """
from odernn.solvers.backends.base import Backend
from odernn.solvers.backends.native import Native
from odernn.solvers.tableaux import tableau as named


class Impostor(Backend):
    name = "own"
    differentiable = True
    honest = Native()

    def fixed(self, field, y0, times, tableau, *rest):
        return self.honest.fixed(field, y0, times, named("rk38") if tableau.name == "rk4" else tableau, *rest)

    def adaptive(self, *given, **more):
        return self.honest.adaptive(*given, **more)


BACKEND = Impostor()
"""


@pytest.mark.parametrize(
    ("source", "rule", "said"),
    [
        (TABLEAU.format(a32='"1/2"', order=4), None, ""),
        (TABLEAU.format(a32='"1/3"', order=4), "computed order of b and b_hat", "order"),
        (TABLEAU.format(a32='"5000001/10000000"', order=4), "computed order of b and b_hat", "order"),
        (TABLEAU.format(a32='"1/2"', order=5), "computed order of b and b_hat", "order"),
        (TABLEAU.format(a32='"1/2"', order=4).replace('"mine"', '" "'), "a reference is given", "no reference"),
        (CELL, "Jacobian from the equation", "differs from finite differences"),
        (CELL.replace(".transpose(-1, -2)", ""), None, ""),
        (CELL.replace('"own"', '"o/w\\x1bn"'), "its field goes by its name", "o/w\\x1bn"),
        (BACKEND, "recovered tableau equals the given one, fixed grid", "rk4 is off by"),
        (BACKEND.replace('named("rk38") if tableau.name == "rk4" else tableau', "tableau"), None, ""),
    ],
)
def test_by_path_each_is_caught_by_the_rule_meant_for_it(
    source: str, rule: str | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.py"
    path.write_text(source)
    found = fails(check(str(path)))
    if rule is None:
        assert found == {}
    else:
        assert [detail for name, detail in found.items() if name.startswith(rule) and said in detail] != []


# -------------------------------------------------------------------------------- what a plugin does to its own process

HONEST = '''
"""Say at the second step what was seen at the first."""
import os
import signal
import socket
import time
from dataclasses import dataclass

import numpy as np

from odernn.suite.contracts import Batch, LearningTask
from odernn.suite.metrics import mean_squared_error


@dataclass(frozen=True)
class Own(LearningTask):
    name = "own"
    primary_metric = "mean_squared_error"
    loss = "mean_squared_error"
    inputs = 1
    outputs = 1
    memory_length = 1

    def batch(self, size, rng):
        {deed}
        numbers = rng.random((2, size, 1))
        targets = np.zeros_like(numbers)
        targets[1] = numbers[0]
        weights = np.zeros((2, size))
        weights[1] = 1.0
        return Batch(numbers, targets, weights)

    def baseline(self):
        return {{"mean_squared_error": 1 / 12}}

    def measure(self, outputs, batch):
        return {{"mean_squared_error": mean_squared_error(outputs, batch.targets, batch.weights)}}


{import_deed}
TASK = Own
'''
DRAWS = "draws batches of the declared shapes and dtypes"
LOOKS_UP = "\n        try:\n            socket.getaddrinfo('localhost', 80)\n        except OSError:\n            pass"
CONNECTS = (
    "\n        with socket.socket() as it:\n            try:\n                it.connect(('127.0.0.1', 9))\n"
    "            except OSError:\n                pass"
)
FORKS = "\n        if os.fork() == 0:\n            time.sleep(600)\n        os._exit(7)"

DEEDS: Mapping[str, tuple[str, str, str | None, str]] = {
    "honest": ("pass", "", None, ""),
    "kills-itself": ("os.kill(os.getpid(), signal.SIGKILL)", "", DRAWS, "its process was killed by SIGKILL"),
    "leaves-at-import": ("pass", "os._exit(0)", STARTING, "it ended its process with exit status 0"),
    "interrupts-at-import": ("pass", "raise KeyboardInterrupt", "imports", "does not import: KeyboardInterrupt"),
    "exits-at-import": ("pass", "raise SystemExit(3)", "imports", "does not import: SystemExit: 3"),
    "looks-up": (LOOKS_UP, "", OFFLINE, "it asked for getaddrinfo 'localhost'"),
    "connects": (CONNECTS, "", OFFLINE, "it asked for connect ('127.0.0.1', 9)"),
    "leaves-files": ("open('left', 'w').close()", "", TIDY, "it left 'left'"),
    "floods": ("\n        while True:\n            os.write(1, b'x' * 2**20)", "", DRAWS, "OSError"),
    "shuts-the-pipe": ("os.closerange(3, 64)", "", DRAWS, "it ended its process with exit status 1"),
    "forks": (FORKS, "", DRAWS, "it ended its process with exit status 7"),
    "controls": ("raise ValueError('\\x1b[2J\\nred')", "", DRAWS, "ValueError: \\x1b[2J red"),
}


def test_a_plugin_ends_no_more_than_its_own_process(tmp_path: Path) -> None:
    paths = {}
    for name, (deed, import_deed, _, _) in DEEDS.items():
        paths[name] = tmp_path / f"{name.replace('-', '_')}.py"
        paths[name].write_text(HONEST.format(deed=deed, import_deed=import_deed))
    found = dict(check_isolated([str(path) for path in paths.values()], timeout=100, jobs=2))
    assert list(found) == [str(path) for path in paths.values()]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths.values())
    for name, (_, _, rule, said) in DEEDS.items():
        failed = fails(found[str(paths[name])])
        if rule is None:
            assert failed == {}
        else:
            assert said in failed[rule], name
            assert failed[rule].isprintable()
    for name in ("looks-up", "connects", "leaves-files"):  # nothing else is wrong with them
        assert len(fails(found[str(paths[name])])) == 1


def test_a_hang_is_a_verdict_after_the_time_allowed(tmp_path: Path) -> None:
    path = tmp_path / "hangs.py"
    path.write_text(HONEST.format(deed="signal.pthread_sigmask(0, range(1, 32)); time.sleep(600)", import_deed=""))
    ((_, verdicts),) = check_isolated([str(path)], timeout=3)
    assert fails(verdicts).popitem()[1] == "not done after 3 s, the time allowed"


def test_wrong_names_are_refused_before_anything_is_carried_out(tmp_path: Path) -> None:
    for names, said in (
        (["adding", "ading"], "did you mean 'adding'"),
        (["accuracy"], "'accuracy' is of kind 'metric'"),
        ([str(tmp_path / "absent.py")], "there is no such file"),
    ):
        with pytest.raises(UsageError, match=said):
            next(check_isolated(names))
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="--timeout"):
            next(check_isolated(["adding"], timeout=wrong))
    with pytest.raises(UsageError, match="--jobs"):
        next(check_isolated(["adding"], jobs=0))
