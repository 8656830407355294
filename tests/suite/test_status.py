"""How far a run is, told from its note and its rows: alive, ended, silent, elsewhere, finished."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odernn.suite.cli import main
from odernn.suite.errors import UsageError
from odernn.suite.row import FILE, KEYS, writer
from odernn.suite.status import note, status


def make(number: int, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(KEYS, "") | {"schema": 1, "id": f"{number:016x}", "metrics": {}, "curves": {}, "cost": {}}
    row |= {"properties": {}, "environment": {}, "budget": {}, "device": "cpu", "dtype": "float32", "status": "ok"}
    return row | {"task": {"name": "adding"}, "solver": {"cell": "leaky"}, "seed": number} | changes


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def facts(**changes: Any) -> dict[str, Any]:
    """The note of this process, which runs 2 of 10 points."""
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "started": ago(0.5),
        "experiment": "quick",
        "total": 10,
        "fresh": 3,
        "done": 2,
        "failed": 1,
        "running": ["adding | leaky | seed 5", "adding | leaky | seed 6"],
        "updated": ago(0.2),
        "finished": False,
        "seconds_left": 75.0,
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    with writer(out) as file:
        for number in range(4):
            file.append(make(number))
        file.append(make(4, status="failed", reason="RuntimeError: boom\nin line 3"))
    return out


def test_a_run_that_is_under_way(folder: Path) -> None:
    note(folder, facts())
    assert status(folder).splitlines() == [
        f"{folder}: quick, 5 of 10 points are done, 3 of them before this run, 1 of them failed.",
        f"running: process {os.getpid()} on {platform.node()}, started just now, last heard of just now, "
        "about 1:15 left.",
        "  at work: adding | leaky | seed 5",
        "  at work: adding | leaky | seed 6",
        "rows: 4 ok, 1 failed.",
        "  failed: adding | leaky | seed 4: RuntimeError: boom",
    ]


def test_a_finished_run(folder: Path) -> None:
    note(folder, facts(finished=True, running=[], started=ago(100), updated=ago(30), seconds_left=0.0))
    lines = status(folder).splitlines()
    assert lines[1] == f"finished: process {os.getpid()} on {platform.node()} ended it 30 s ago, after 1:10."


def test_a_driver_that_was_killed_is_told_from_one_that_runs(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        started = datetime.fromtimestamp(psutil.Process(child.pid).create_time() + 0.5, UTC).isoformat()
        note(folder, facts(pid=child.pid, started=started))
        assert "\nrunning: process" in status(folder)
        child.send_signal(signal.SIGKILL)
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:  # dead, though nobody has asked for it yet
            time.sleep(0.01)
        assert "\nended unfinished: process" in status(folder)
    finally:
        child.kill()
        child.wait()
    text = status(folder)
    assert f"\nended unfinished: process {child.pid} on {platform.node()} is not there any more" in text
    assert "the same `odernn run` goes on from there." in text
    assert "at work" not in text


def test_another_process_of_that_number_is_not_the_driver(folder: Path) -> None:
    note(folder, facts(started=ago(10**7), updated=ago(10**7)))
    assert "ended unfinished" in status(folder)


def test_a_run_on_another_host_is_not_looked_up_here(folder: Path) -> None:
    note(folder, facts(host="elsewhere"))
    assert f"running, as far as can be told from another host: process {os.getpid()} on elsewhere" in status(folder)
    note(folder, facts(host="elsewhere", updated=ago(300)))
    assert "silent, and cannot be asked from this host" in status(folder)
    assert "last heard of 5:00 ago, about 0:00 left" in status(folder)


def test_a_silent_driver_that_is_there(folder: Path) -> None:
    started = datetime.fromtimestamp(psutil.Process().create_time() + 0.5, UTC).isoformat()
    note(folder, facts(started=started, updated=ago(90), seconds_left=None))
    assert "\nsilent: process" in status(folder)
    assert "last heard of 90 s ago." in status(folder)


def test_without_a_note_the_rows_tell(folder: Path) -> None:
    assert status(folder).splitlines()[:2] == [
        f"{folder}: no run has noted its progress here.",
        "rows: 4 ok, 1 failed.",
    ]
    with (folder / FILE).open("a") as file:
        file.write('{"half')
    assert status(folder).splitlines()[-1] == f"{folder / FILE}, line 6: torn after 6 bytes, set aside."
    note(folder, facts())
    assert "torn" not in status(folder)  # it may be the row that is being written


def test_long_lists_are_counted(folder: Path) -> None:
    with writer(folder) as file:
        for number in range(20):
            file.append(make(100 + number, status="timeout"))
    note(folder, facts(running=[f"point {n}" for n in range(64)]))
    lines = status(folder).splitlines()
    assert "  and 54 more at work" in lines
    assert "  and 11 more failed" in lines
    assert "  timeout: adding | leaky | seed 119: no reason is given" in lines


def test_what_is_no_folder_of_results(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="is not a folder of results"):
        status(tmp_path)
    assert main(["status", str(tmp_path / "absent")]) == 2
    assert main(["status", str(folder)]) == 0
    assert "rows: 4 ok, 1 failed." in capsys.readouterr().out


def test_nothing_in_the_folder_moves_the_cursor(folder: Path) -> None:
    wild = "\x1b[2J\u202e\nodernn: forged"
    with writer(folder) as file:
        file.append(make(9, status="failed", reason=wild, task={"name": wild}))
    note(folder, facts(running=[wild], experiment=wild, host=platform.node()))
    text = status(folder)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert not [line for line in text.splitlines()[1:] if line.startswith("odernn")]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "3", "{}", '{"pid": 1}', "[" * 100000, "\x00", '{"a": ' + "9" * 5000 + "}"),
        *(json.dumps(facts(**{key: value})) for key, value in [
            ("pid", "1"), ("pid", True), ("pid", -1), ("pid", 10**30), ("total", 1.5), ("running", [3]),
            ("running", {}), ("started", "yesterday"), ("updated", "2026-01-01"),
            ("updated", "0001-01-01T00:00:00+23:59"),
            ("finished", 1), ("seconds_left", float("nan")), ("seconds_left", float("inf")), ("host", None),
        ]),
        json.dumps(facts(running=["x" * 2**20])),
    ],
)  # fmt: skip
def test_what_is_no_note_is_set_aside(folder: Path, text: str) -> None:
    (folder / "progress.json").write_text(text)
    assert status(folder).splitlines()[0] == f"{folder}: progress.json is no note of a run and was set aside."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(changes=st.dictionaries(st.sampled_from(list(facts())), JSON, min_size=1, max_size=3), data=st.data())
def test_any_note_is_told_or_set_aside(
    changes: dict[str, Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-note"
    folder.mkdir(exist_ok=True)
    (folder / FILE).touch()
    (folder / "progress.json").write_text(json.dumps({**facts(), **changes}))
    lines = status(folder).split("\n")
    assert lines[0].startswith(str(folder))
    assert lines[-1] == "rows: none yet." or any(line == "rows: none yet." for line in lines)


def test_a_note_follows_no_link_and_leaves_nothing_behind(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("progress.json", "progress.json.tmp"):
        (folder / name).symlink_to(outside)
    note(folder, {"done": 1})
    assert outside.read_text() == "mine"
    assert json.loads((folder / "progress.json").read_text()) == {"done": 1}
    assert [path.name for path in folder.iterdir()] == ["progress.json"]


def test_a_note_that_cannot_be_written_is_not_missed(tmp_path: Path) -> None:
    note(tmp_path / "absent", {"done": 1})
    note(tmp_path, {"done": object()})
    (tmp_path / "progress.json").mkdir()
    note(tmp_path, {"done": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


def test_points_of_a_driver_that_is_gone_are_counted_in_the_rows(tmp_path: Path) -> None:
    """It was killed, or its disk was full, before it noted what it wrote last."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    out = tmp_path / "out"
    with writer(out) as file:
        file.append(make(0, experiment="quick", started=ago(900)))
        file.append(make(1, experiment="other", started=ago(5)))
        for number, seconds in ((2, 9), (3, 8), (4, 7)):
            file.append(make(number, experiment="quick", started=ago(seconds)))
        file.append(make(5, experiment="quick", started=ago(6), status="failed", reason="boom"))
    note(out, facts(pid=child.pid, started=ago(10), total=16, fresh=1, done=1, failed=0))
    assert status(out).splitlines()[0] == (
        f"{out}: quick, 5 of 16 points are done, 1 of them before this run, 1 of them failed."
    )
    note(out, facts(pid=child.pid, started=ago(10), total=1, fresh=0, done=1, failed=0))
    assert status(out).splitlines()[0].startswith(f"{out}: quick, 1 of 1 point is done")
