"""Whatever is killed, and whenever: started again until complete, a run ends with the rows of an undisturbed one.

Killed outright (SIGKILL) are the driver, the server that the runs are forked from, and any process of a run; the driver
is also asked to end (SIGTERM, SIGINT). Which and when is drawn at random, from the first moment on.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from odernn.suite.row import FAILURES, FILE, read

EXPERIMENT = """
name = "kills"
summary = "Short runs that are disturbed."
[[grid]]
seeds = {toys}
task.name = "{toy}"
task.seconds = 0.02
solver.cell = "true-field"
solver.tableau = "euler"
solver.backend = "native"
solver.steps = 1
[[grid]]
dtype = "float64"
task.name = "ivp"
task.problem = "lotka-volterra"
solver.cell = "true-field"
solver.tableau = ["euler", "rk4"]
solver.backend = "native"
solver.steps = [1, 2]
[[grid]]
seeds = 2
task.name = "adding"
task.length = 5
solver.cell = "leaky"
solver.tableau = "euler"
solver.backend = "native"
solver.step = 0.5
solver.hidden = 4
budget.updates = 20
budget.batch = 4
budget.evaluations = 4
"""
UNREPORTED = """
import sys
from odernn.suite import session
from odernn.suite.cli import main
session._report = lambda plan, request: None
sys.exit(main(sys.argv[1:]))
"""
"""The command line without its reports, which would be most of the time of these runs."""

ENDED = (0, 3)
"""The statuses of a run in which everything is done."""


def start(file: Path, out: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", UNREPORTED, "run", str(file), "--out", str(out), "--jobs", "2"]
    with log.open("ab") as to:
        return subprocess.Popen(
            [*command, "--retry-failed"], stdout=subprocess.DEVNULL, stderr=to, start_new_session=True
        )


def victim(driver: int, kind: str) -> int | None:
    """A process to kill: the driver, the server that it has started, or one that the server has; None: none yet."""
    if kind == "driver":
        return driver
    with suppress(psutil.Error):
        children = psutil.Process(driver).children()
        servers = [one for one in children if "forkserver" in " ".join(one.cmdline())]
        if kind == "server":
            return servers[0].pid if servers else None
        runs = [each for one in servers for each in one.children(recursive=True)]
        return random.choice(runs).pid if runs else None
    return None


class Disturber:
    """Starts a run again until every point had its turn, then one into the next folder; kills what it is told to."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file, self.log, self.folder = file, folder / "log", folder
        self.kills: Counter[str] = Counter()
        self.outs = [folder / "out-1"]
        self.driver = start(file, self.outs[-1], self.log)

    def revive(self) -> None:
        """Start the driver where it has ended; whatever ended it, it is one of the ends that are promised."""
        if self.driver.poll() is None:
            return
        early = (-signal.SIGTERM, -signal.SIGINT)  # before the first line of ours was carried out
        assert self.driver.returncode in (0, 1, 3, 130, -signal.SIGKILL, *early), self.log.read_text()[-3000:]
        if self.driver.returncode in (*ENDED, 1):
            self.outs.append(self.folder / f"out-{len(self.outs) + 1}")
        self.driver = start(self.file, self.outs[-1], self.log)

    def kill(self, kind: str, number: int) -> None:
        """Kill one, as soon as there is one."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            self.revive()
            found = victim(self.driver.pid, kind)
            if found is not None:
                with suppress(ProcessLookupError):
                    os.kill(found, number)
                    self.kills[f"{kind} {signal.Signals(number).name}"] += 1
                    if kind == "driver":
                        self.driver.wait(60)
                    return
            time.sleep(0.05)  # to look through all processes takes a core
        pytest.fail(f"there was no {kind} to kill in a minute:\n{self.log.read_text()[-3000:]}")

    def complete(self) -> None:
        """Run what is left in every folder, as a user would."""
        self.driver.wait(200)
        for out in self.outs:
            for _ in range(5):
                if start(self.file, out, self.log).wait(200) in ENDED:
                    break
            else:
                pytest.fail(f"{out} was not complete after five more starts:\n{self.log.read_text()[-3000:]}")


def disturb(toy: Path, folder: Path, kills: Counter[str], toys: int) -> Disturber:
    """Kill so many of each kind, in random order. What is left and what was never hurt must agree."""
    file = folder / "kills.toml"
    file.write_text(EXPERIMENT.format(toy=toy, toys=toys))
    calm = start(file, folder / "calm", folder / "calm.log")
    assert calm.wait(300) == 0, (folder / "calm.log").read_text()
    draw = random.Random(kills.total())
    random.seed(kills.total())
    one = Disturber(file, folder)
    todo = list(kills.elements())
    draw.shuffle(todo)
    for kind in todo:
        number = signal.SIGKILL
        if kind == "driver":
            time.sleep(draw.uniform(0.0, 2.5))  # from the first import to well into the runs
            number = draw.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        else:
            time.sleep(draw.uniform(0.0, 0.1))
        one.kill(kind, number)
    one.complete()
    assert one.kills.total() == kills.total()
    for part in one.log.read_text().split("Traceback")[1:]:  # Python's own, before the first line of ours
        assert "KeyboardInterrupt" in part.partition("odernn: ")[0], part[:3000]
    for out in one.outs:
        agree(folder / "calm", out)
    return one


def agree(calm: Path, disturbed: Path) -> None:
    """The same ids, the newest of each with the same result to the last bit, and no good row twice."""
    before, after = read(calm / FILE), read(disturbed / FILE)
    assert before.newest().keys() == after.newest().keys()
    for key, row in before.newest().items():
        other = after.newest()[key]
        assert row["status"] == other["status"] == "ok", other["reason"]
        for part in ("metrics", "curves", "task", "solver", "seed", "experiment"):
            assert row[part] == other[part], key
        assert row["environment"]["code"] == other["environment"]["code"]
    good = Counter(row["id"] for row in after.rows if row["status"] not in FAILURES)
    assert set(good.values()) == {1}, "a finished row was made twice"
    left = [path.name for path in disturbed.iterdir()]
    assert "checkpoints" not in left


def alive(text: str) -> list[int]:
    """Processes whose command line has the text."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command: Any = process.info["cmdline"]
        if command and text in " ".join(command):
            found.append(process.pid)
    return found


@pytest.mark.timeout(600)
def test_a_run_survives_a_hundred_kills(toy: Path, tmp_path: Path) -> None:
    disturb(toy, tmp_path, Counter(driver=5, server=3, run=92), toys=100)
    assert alive(str(tmp_path / "out-")) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_survives_many_more_kills_of_its_driver(toy: Path, tmp_path: Path) -> None:
    one = disturb(toy, tmp_path, Counter(driver=150, server=50, run=300), toys=150)
    assert {"driver SIGKILL", "driver SIGTERM", "driver SIGINT", "server SIGKILL", "run SIGKILL"} == set(one.kills)
