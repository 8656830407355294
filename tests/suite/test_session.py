"""A run that is started again: what is reused and why, what is said, and what a disk can do to it."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from odernn.suite import session
from odernn.suite.cli import main
from odernn.suite.row import FILE, encode, read

Out = pytest.CaptureFixture[str]


@pytest.fixture
def own(toy: Path, tmp_path: Path) -> Path:
    """A copy of the toy task that a test may edit."""
    path = tmp_path / "own.py"
    path.write_text(toy.read_text())
    return path


@pytest.fixture
def experiment(own: Path, tmp_path: Path) -> Path:
    path = tmp_path / "toys.toml"
    path.write_text(
        f'name = "toys"\nsummary = "Toys."\n[[grid]]\nseeds = 3\ntask.name = "{own}"\ntask.what = "ok"\n'
        'solver.cell = "true-field"\nsolver.tableau = "euler"\nsolver.backend = "native"\nsolver.steps = 1\n'
    )
    return path


@pytest.fixture(autouse=True)
def _unreported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have tests of their own, and take most of the time of a short run."""
    monkeypatch.setattr(session, "_report", lambda plan, request: None)


def run(*arguments: str | Path) -> int:
    return main(["run", *map(str, arguments)])


def rows(out: Path) -> list[dict[str, Any]]:
    return read(out / FILE).rows


def rewrite(out: Path, change: Any) -> None:
    """The rows again, each changed."""
    kept = rows(out)
    for row in kept:
        change(row)
    (out / FILE).write_text("".join(encode(row) + "\n" for row in kept))


def test_rows_of_edited_code_are_stale_and_run_again(experiment: Path, own: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    assert run(experiment, "--out", out) == 0
    assert {len(row["environment"]["code"]) for row in rows(out)} == {16}
    own.write_text(own.read_text().replace('"""A toy."""', '"""A finer toy."""') + "# why\n")
    assert run(experiment, "--out", out) == 3
    own.write_text(own.read_text().replace("0.5 + seed", "0.25 + seed"))
    capsys.readouterr()
    assert run(experiment, "--out", out, "--explain") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len(lines) == 3 + 1 + 3
    assert all(
        re.match(r"stale    .*own\.py what=ok .* \| seed \d: .*own\.py changed since\.$", line) for line in lines[:3]
    )
    assert "toys: 3 points, 0 done, 3 to run (0 fresh, 3 stale, 0 missing)" in lines[3]
    assert len(rows(out)) == 3, "--explain runs nothing"
    assert run(experiment, "--out", out) == 0
    assert f"3 of 3 points of toys have a stale row: {own} changed since." in capsys.readouterr().err
    assert [row["metrics"]["error"] - row["seed"] for row in rows(out)] == [0.5] * 3 + [0.25] * 3
    assert run(experiment, "--out", out) == 3


def test_every_state_is_explained_and_counted(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    assert run(experiment, "--out", out, "--seeds", "2") == 0

    def age(row: dict[str, Any]) -> None:
        if row["seed"] == 1:
            row["environment"]["packages"]["torch"] = "1.0"

    rewrite(out, age)
    capsys.readouterr()
    assert run(experiment, "--out", out, "--explain") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["fresh", "stale", "missing"]
    assert "torch 1.0 then, " in lines[1]
    assert run(experiment, "--out", out, "--dry-run") == 0
    assert "3 points, 1 done, 2 to run (1 fresh, 1 stale, 1 missing)" in capsys.readouterr().out


def test_rows_that_do_not_say_their_code_run_again(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    assert run(experiment, "--out", out) == 0
    rewrite(out, lambda row: row["environment"].pop("code"))
    assert run(experiment, "--out", out) == 0
    assert "3 of 3 points of toys have a stale row: its row does not say which code made it." in capsys.readouterr().err
    assert len(rows(out)) == 6
    (out / "code.jsonl").unlink()
    assert run(experiment, "--out", out) == 3, "without its book a code still is what it is"


def test_the_first_failure_ends_a_run_that_is_to_fail_fast(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    experiment.write_text(experiment.read_text().replace('"ok"', '["raise", "ok"]'))
    out = tmp_path / "out"
    assert run(experiment, "--out", out, "--jobs", "1", "--fail-fast") == 1
    assert [row["status"] for row in rows(out)] == ["failed"]
    said = capsys.readouterr().err
    assert "RuntimeError: boom" in said
    assert "toys: ended at the first failure, with 5 points left to run; the same command goes on from here" in said
    assert run(experiment, "--out", out, "--set", "what=ok", "--fail-fast") == 0


def test_a_run_that_fails_fast_and_retries_gets_to_every_point(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    experiment.write_text(experiment.read_text().replace('"ok"', '["raise", "ok"]').replace("seeds = 3", "seeds = 2"))
    out, said = tmp_path / "out", list[str]()
    for _ in range(4):
        assert run(experiment, "--out", out, "--jobs", "1", "--fail-fast", "--retry-failed") == 1
        said += [line for line in capsys.readouterr().err.splitlines() if "ended at the first failure" in line]
    done = [(row["status"], row["seed"]) for row in rows(out)]
    assert done[:2] == [("failed", 0), ("failed", 1)], "what failed is retried last"
    assert done[2:] == [("ok", 0), ("ok", 1), ("failed", 0), ("failed", 1)], "what failed longest ago comes first"
    ends = [line.partition("failure, ")[2] for line in said]
    goes_on = "left to run; the same command goes on from here, and runs the failed one again last."
    assert ends == [f"with {left} {goes_on}" for left in ("3 points", "3 points", "1 point", "1 point")]


def test_a_second_experiment_in_the_folder_sees_the_rows_of_the_first(experiment: Path, tmp_path: Path) -> None:
    other = tmp_path / "more.toml"
    other.write_text(experiment.read_text().replace('"toys"', '"more"').replace("seeds = 3", "seeds = 4"))
    out = tmp_path / "out"
    assert run(experiment, other, "--out", out, "--jobs", "1") == 0
    assert [row["seed"] for row in rows(out)] == [0, 1, 2, 3]


def test_the_next_start_says_what_it_found(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    assert run(experiment, "--out", out, "--seeds", "2") == 0
    with (out / FILE).open("a") as file:
        file.write('{"schema":1,"id":"torn')
    capsys.readouterr()
    assert run(experiment, "--out", out) == 0
    said = capsys.readouterr().err
    assert f"{out / FILE}, line 3: torn after 22 bytes, set aside." in said
    assert f"2 rows are in {out}, and a torn line was set aside." in said
    assert "1 point on" in said
    assert "2 of 3 are there already" in said
    assert [row["seed"] for row in rows(out)][2:] == [2]


def test_progress_is_noted_for_other_shells(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(experiment, "--out", out, "--seeds", "1") == 0
    assert run(experiment, "--out", out) == 0
    note = json.loads((out / "progress.json").read_text())
    assert {key: note[key] for key in ("experiment", "total", "fresh", "done", "failed", "running", "finished")} == {
        "experiment": "toys", "total": 3, "fresh": 1, "done": 2, "failed": 0, "running": [], "finished": True,
    }  # fmt: skip
    assert note["pid"] == os.getpid()
    assert note["started"] <= note["updated"]
    assert [path.name for path in out.iterdir() if "tmp" in path.name] == []


def test_a_note_names_the_runs_that_are_at_work(experiment: Path, tmp_path: Path) -> None:
    experiment.write_text(experiment.read_text().replace('"ok"', '["ok", "sleep"]').replace("seeds = 3", "seeds = 1"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "odernn.suite", "run", str(experiment), "--out", str(out), "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        note: dict[str, Any] = {}
        for _ in range(600):
            if (out / "progress.json").exists():
                note = json.loads((out / "progress.json").read_text())  # replaced at once: never torn
                if note["done"] == 1:
                    break
            time.sleep(0.1)
        assert (note["done"], note["pid"], note["finished"]) == (1, process.pid, False)
        assert [text for text in note["running"] if "what=sleep" in text] == note["running"] != []
    finally:
        process.terminate()
        assert process.wait(60) == 130


def limited(command: list[str], size: int) -> subprocess.CompletedProcess[str]:
    """The command where no file can grow beyond so many bytes, as on a disk that becomes full."""
    return subprocess.run(
        command,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_full_disk_costs_no_row_and_leaves_no_torn_line(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(experiment, "--out", out, "--seeds", "1") == 0
    one = (out / FILE).stat().st_size
    command = [sys.executable, "-m", "odernn.suite", "run", str(experiment), "--out", str(out), "--jobs", "1"]
    done = limited(command, one * 2 + one // 2)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"odernn: {out / FILE} cannot be written to: File too large, after 1 of 2 points; "
        "the same command goes on from here."
    )
    assert "Traceback" not in done.stderr
    assert [row["seed"] for row in rows(out)] == [0, 1]
    assert read(out / FILE).torn == []
    assert run(experiment, "--out", out) == 0
    assert [row["seed"] for row in rows(out)] == [0, 1, 2]


def test_a_folder_that_cannot_be_written_to_is_one_sentence(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    assert run(experiment, "--out", "/proc/odernn") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("odernn: /proc/odernn cannot be written to: ")


def test_a_folder_that_goes_away_meanwhile_is_one_sentence(experiment: Path, tmp_path: Path) -> None:
    experiment.write_text(experiment.read_text().replace('task.what = "ok"', 'task.what = "ok"\ntask.seconds = 2.0'))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "odernn.suite", "run", str(experiment), "--out", str(out), "--jobs", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if (out / FILE).exists() and (out / FILE).stat().st_size:
            break
        time.sleep(0.05)
    shutil.rmtree(out)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "Traceback" not in error
    assert f"{out / FILE} cannot be written to: No such file or directory" in error.splitlines()[-1]


def test_a_second_driver_is_refused_and_a_dead_one_blocks_nothing(
    experiment: Path, tmp_path: Path, capsys: Out
) -> None:
    experiment.write_text(experiment.read_text().replace('"ok"', '["ok", "sleep"]').replace("seeds = 3", "seeds = 1"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "odernn.suite", "run", str(experiment), "--out", str(out), "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    for _ in range(600):
        if (out / FILE).exists() and (out / FILE).stat().st_size:
            break
        time.sleep(0.05)
    assert run(experiment, "--out", out) == 2
    assert f"odernn: another run is writing to {out}" in capsys.readouterr().err
    process.kill()
    process.wait()
    assert run(experiment, "--out", out, "--set", "what=ok") == 3
    assert len(rows(out)) == 1
