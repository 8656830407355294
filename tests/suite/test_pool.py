"""Runs in processes of their own: whatever one does, it becomes a row and the others go on."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from odernn.suite.pool import Limits, run_all
from odernn.suite.row import KEYS, encode, identity
from odernn.suite.run import run

Make = Callable[..., dict[str, Any]]


def one(point: dict[str, Any], limits: Limits | None = None) -> dict[str, Any]:
    (row,) = run_all([point], limits=limits or Limits(), facts={"version": "0"})
    assert row["id"] == identity(point)
    assert set(row) == set(KEYS)
    assert row["started"] <= row["finished"]
    return row


@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [
        ("ok", "ok", ""),
        ("kill", "failed", "killed by SIGKILL"),
        ("exit", "failed", "ended with exit status 3 before it gave a result"),
        ("sys.exit", "failed", "ended with exit status 0 before it gave a result"),
        ("raise", "failed", "RuntimeError: boom"),
        ("memory", "memory", "MemoryError: too much"),
        ("diverge", "diverged", "NaN loss at update 3"),
        ("usage", "failed", "that does not go together."),
        ("object", "failed", "TypeError: object is not a JSON value"),
        ("surrogate", "failed", "RuntimeError: half a pair: ?"),
        ("word", "failed", "metric 'error' is 'small': expected a number"),
        ("status", "failed", "the task's status is 'splendid': expected one of ok, "),
        ("nothing", "failed", "the task's outcome is a NoneType: expected an Outcome"),
        ("noise", "ok", ""),
    ],
)
def test_whatever_a_run_does_is_a_row(point: Make, what: str, status: str, reason: str) -> None:
    row = one(point(what))
    assert (row["status"], reason in row["reason"]) == (status, True)
    assert row["cost"]["seconds"] >= 0
    encode(row)


def test_what_a_run_found_comes_back_whole(point: Make) -> None:
    row = one(point("noise"))
    assert math.isnan(row["metrics"]["error"])
    assert row["curves"]["long"] == list(range(200000))
    assert row["properties"]["primary_metric"] == "error"
    assert row["properties"]["order"] == 1
    assert row["environment"] == {"version": "0", "gpu": None, "threads": 1}


def test_the_last_words_of_a_killed_process_are_kept(point: Make) -> None:
    assert one(point("kill"))["reason"].endswith("last words")


def test_a_reason_names_files_but_not_their_folders(point: Make, toy: Path) -> None:
    reason = one(point("raise"))["reason"]
    assert "toy.py:" in reason
    assert str(toy.parent) not in reason


def test_last_words_are_short_and_name_no_folder(point: Make) -> None:
    reason = one(point("chatter"))["reason"]
    assert len(reason) < 1000
    assert "/a/place" not in reason


def test_what_a_run_started_ends_with_it(point: Make) -> None:
    row = one(point("stray"))
    assert row["status"] == "ok"
    assert gone([int(row["metrics"]["error"])])


def gone(pids: list[int]) -> bool:
    """Whether these processes end within ten seconds."""
    for _ in range(100):
        if all(not psutil.pid_exists(pid) or dead(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


def dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_time_is_enforced_on_a_sleeping_run_and_its_children(point: Make, tmp_path: Path) -> None:
    script = tmp_path / "sleep.py"
    started = time.monotonic()
    child = tmp_path / "child"
    source = Path(point("sleep")["task"]["name"]).read_text()
    script.write_text(source.replace('os.environ.get("TOY_CHILD", os.devnull)', repr(str(child))))
    sleeper = point("sleep")
    sleeper["task"]["name"] = str(script)
    row = one(sleeper, Limits(seconds=1.0))
    assert (row["status"], row["reason"]) == ("timeout", "ended after 1 s, the time allowed.")
    assert 1.0 <= row["cost"]["seconds"] < time.monotonic() - started < 60
    assert gone([int(child.read_text())])


def test_memory_is_enforced(point: Make) -> None:
    row = one(point("hog"), Limits(seconds=100, bytes=2**30))
    assert row["status"] == "memory"
    assert "at most 1 GiB were allowed" in row["reason"]
    assert row["cost"]["peak_memory_mib"] > 1024


def test_the_good_go_on_beside_the_bad(point: Make) -> None:
    points = [point(what, seed) for seed in range(2) for what in ("ok", "kill", "exit", "raise", "ok")]
    rows = list(run_all(points, jobs=3))
    assert sorted(row["status"] for row in rows) == ["failed"] * 6 + ["ok"] * 4
    assert {row["id"] for row in rows} == {identity(p) for p in points}


def test_closing_ends_what_is_at_work(point: Make) -> None:
    work = run_all([point("ok"), point("sleep"), point("sleep", 1)], jobs=3)
    assert next(work)["status"] == "ok"
    time.sleep(0.5)  # so that the sleepers have children; the test holds without, but shows less
    at_work = [p.pid for p in psutil.Process().children(recursive=True) if p.name() == "sleep"]
    parents = [psutil.Process(pid).ppid() for pid in at_work]
    work.close()  # type: ignore[attr-defined]
    assert gone(at_work + parents)


def test_a_run_does_not_outlive_a_parent_that_was_killed(point: Make, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, json, psutil\n"
        "from odernn.suite.pool import run_all\n"
        "def tick(running):\n"
        "    if running == 1:\n"
        "        found = [p.pid for p in psutil.Process().children(recursive=True)]\n"
        "        open(sys.argv[2], 'w').write(json.dumps(found))\n"
        "        os.kill(os.getpid(), 9)\n"
        "if __name__ == '__main__':\n"
        "    list(run_all(json.loads(sys.argv[1]), facts={}, tick=tick))\n"
    )
    lasting = point("ok", seconds=300.0)
    done = subprocess.run([sys.executable, str(script), json.dumps([lasting]), str(pids)], check=False)
    assert done.returncode == -signal.SIGKILL
    left = json.loads(pids.read_text())
    assert left
    assert gone(left), "the run went on without its parent"


def test_run_alone_gives_the_same_row(point: Make) -> None:
    here, there = run(point("ok", 4), {}), one(point("ok", 4))
    for key in ("id", "status", "metrics", "properties", "task", "solver", "seed"):
        assert here[key] == there[key]
    assert here["metrics"] == {"error": 4.5}
