"""Plugins by path that cheat or break: the rule meant for each catches it, and honest ones of the same look pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from odernn.suite.checks import check
from odernn.suite.checkup import OFFLINE, STARTING, TIDY, check_isolated
from odernn.suite.errors import UsageError
from odernn.suite.verdict import Verdict


def fails(verdicts: list[Verdict]) -> dict[str, str]:
    return {verdict.rule: verdict.detail for verdict in verdicts if not verdict.ok}


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
    "leaves-at-import": ("pass", "os._exit(0)", "imports", "does not import: it ends its process with exit status 0"),
    "dies-at-import": ("pass", "os.kill(os.getpid(), signal.SIGKILL)", STARTING, "its process was killed by SIGKILL"),
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
