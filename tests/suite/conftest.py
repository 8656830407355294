"""A toy task, given by the path of its file, that does to its process whatever a run can do; and folders of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from odernn.suite.row import FILE, encode

TOY = '''
"""A toy."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from odernn.suite.contracts import Outcome, Task
from odernn.suite.errors import Diverged, UsageError


@dataclass(frozen=True)
class Toy(Task):
    what: str = "ok"
    seconds: float = 0.0

    def __post_init__(self):
        if self.what == "refuse":
            raise RuntimeError("no such toy")

    name = "toy"
    primary_metric = "error"

    def evaluate(self, solver, seed, budget):
        time.sleep(self.seconds)
        if self.what == "kill":
            print("last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), 9)
        if self.what == "exit":
            os._exit(3)
        if self.what == "sys.exit":
            sys.exit(0)
        if self.what == "sleep":
            child = subprocess.Popen(["sleep", "600"])
            with open(os.environ.get("TOY_CHILD", os.devnull), "w") as file:
                file.write(str(child.pid))
            time.sleep(600)
        if self.what == "hog":
            hoard = []
            while True:
                hoard.append(bytearray(2**24))
                time.sleep(0.002)
        if self.what == "raise":
            raise RuntimeError("boom")
        if self.what == "memory":
            raise MemoryError("too much")
        if self.what == "diverge":
            raise Diverged("NaN loss at update 3")
        if self.what == "usage":
            raise UsageError("that does not go together.")
        if self.what == "chatter":
            print('  File "/a/place/of/mine.py", line 3' + "y" * 10**6, flush=True)
            os._exit(3)
        if self.what == "stray":
            child = subprocess.Popen(["sleep", "600"])
            return Outcome(metrics={"error": float(child.pid)})
        if self.what == "surrogate":
            raise RuntimeError("half a pair: \\ud800")
        if self.what == "word":
            return Outcome(metrics={"error": "small"})
        if self.what == "status":
            return Outcome(status="splendid")
        if self.what == "nothing":
            return None
        if self.what == "object":
            return Outcome(metrics={"error": object()})
        if self.what == "noise":
            print("noise" * 10000)
            return Outcome(metrics={"error": float("nan")}, curves={"long": list(range(200000))})
        return Outcome(metrics={"error": 0.5 + seed}, cost={"f_calls": 7})


TASK = Toy
'''


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the toy task."""
    path = tmp_path_factory.mktemp("toy") / "toy.py"
    path.write_text(TOY)
    return path


@pytest.fixture
def point(toy: Path) -> Callable[..., dict[str, Any]]:
    """Makes the point that has the toy do something."""

    def make(what: str, seed: int = 0, **task: Any) -> dict[str, Any]:
        return {
            "task": {"name": str(toy), "what": what, **task},
            "solver": {"cell": "true-field", "tableau": "euler", "backend": "native", "steps": 1},
            "budget": {},
            "seed": seed,
            "device": "cpu",
            "dtype": "float64",
        }

    return make


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, Sequence[dict[str, Any]]], Path]:
    """Writes rows to a folder of the given name."""

    def write(name: str, rows: Sequence[dict[str, Any]]) -> Path:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / FILE).write_text("".join(encode(row) + "\n" for row in rows))
        return tmp_path / name

    return write


@pytest.fixture(autouse=True)
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports that are made in this process have empty pictures: tests/reports looks at pictures, which are most of a
    report's time."""
    blank = b'<svg width="100pt" height="100pt" xmlns="http://www.w3.org/2000/svg"></svg>'
    monkeypatch.setattr("odernn.reports.style.render", lambda canvas, kind: blank)
