"""The command line as a user meets it: what is written, what is said, what the exit status is."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from odernn.suite.browse import butcher
from odernn.suite.cli import main
from odernn.suite.progress import Pace, duration
from odernn.suite.row import FILE, read

Out = pytest.CaptureFixture[str]


@pytest.fixture
def experiment(toy: Path, tmp_path: Path) -> Path:
    """A file with two good points and a failing one."""
    path = tmp_path / "toys.toml"
    path.write_text(
        f'name = "toys"\nsummary = "Toys."\nseeds = 1\n[[grid]]\ntask.name = "{toy}"\n'
        'task.what = ["ok", "raise", "diverge"]\nsolver.cell = "true-field"\nsolver.tableau = "euler"\n'
        'solver.backend = "native"\nsolver.steps = 1\n'
    )
    return path


def run(*arguments: str | Path) -> int:
    return main(["run", *map(str, arguments)])


def statuses(out: Path) -> list[str]:
    return [row["status"] for row in read(out / FILE).rows]


def test_a_run_writes_rows_and_a_report_and_goes_on_where_it_stopped(
    experiment: Path, tmp_path: Path, capsys: Out
) -> None:
    out = tmp_path / "out"
    assert run(experiment, "--out", out, "--set", "what=ok,diverge", "--jobs", "1") == 0
    assert statuses(out) == ["ok", "diverged"]
    assert (out / "report" / "index.html").is_file()
    said = capsys.readouterr()
    assert f"Report: {out / 'report' / 'index.html'}" in said.out
    assert said.err.startswith("odernn: toys, 2 points: Toys.")
    assert re.search(r"\[1/2\] ok  .*what=ok .* \(0:\d\d elapsed", said.err)
    assert re.search(r"\[2/2\] diverged  .*NaN loss at update 3", said.err)

    assert run(experiment, "--out", out, "--jobs", "1") == 1
    assert statuses(out) == ["ok", "diverged", "failed"]
    assert "1 point on 1 process, 2 of 3 are there already" in capsys.readouterr().err

    before = (out / FILE).read_bytes()
    assert run(experiment, "--out", out) == 1
    assert run(experiment, "--out", out, "--set", "what=ok,diverge") == 3
    assert (out / FILE).read_bytes() == before
    assert "nothing to run, all 2 points are in" in capsys.readouterr().err

    assert run(experiment, "--out", out, "--retry-failed") == 1
    assert statuses(out) == ["ok", "diverged", "failed", "failed"]
    assert read(out / FILE).rows[0]["experiment"] == "toys"


def test_an_experiment_may_limit_the_runs_at_once(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    experiment.write_text(experiment.read_text().replace("seeds = 1", "seeds = 1\njobs = 1"))
    out = ("--out", tmp_path / "out", "--set", "what=ok,diverge")
    assert run(experiment, *out, "--jobs", "2", "--dry-run") == 0
    said = capsys.readouterr()
    assert "odernn: toys runs at most 1 at once, as its runs would disturb each other." in said.err
    assert run(experiment, *out, "--jobs", "1") == 0
    said = capsys.readouterr()
    assert "2 points on 1 process; rows" in said.err
    assert "at most" not in said.err


def test_a_retried_failure_that_works_counts_as_done(toy: Path, experiment: Path, tmp_path: Path) -> None:
    out, mended = tmp_path / "out", tmp_path / "mended.py"
    mended.write_text(toy.read_text())
    text = experiment.read_text().replace(str(toy), str(mended))
    experiment.write_text(text.replace('["ok", "raise", "diverge"]', '"raise"'))
    assert run(experiment, "--out", out) == 1
    mended.write_text(toy.read_text().replace('raise RuntimeError("boom")', "pass"))
    assert run(experiment, "--out", out, "--retry-failed") == 0
    assert statuses(out) == ["failed", "ok"]
    assert run(experiment, "--out", out, "--retry-failed") == 3


def test_results_go_to_their_own_folder(experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(experiment, "--set", "what=ok", "--seeds", "2") == 0
    assert [row["seed"] for row in read(tmp_path / "results" / "toys" / FILE).rows] in ([0, 1], [1, 0])


def test_points_whose_package_is_missing_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    from odernn.solvers import spec

    monkeypatch.setattr(spec, "find_spec", lambda name: None)
    path = tmp_path / "both.toml"
    path.write_text(
        'name = "both"\nsummary = "Two backends."\n[[grid]]\ndtype = "float64"\ntask.name = "ivp"\n'
        'solver.cell = "true-field"\nsolver.tableau = "rk4"\nsolver.backend = ["native", "diffrax"]\nsolver.steps = 9\n'
    )
    assert run(path, "--out", tmp_path / "out", "--dry-run") == 0
    said = capsys.readouterr()
    assert "both: 1 point, 0 done, 1 to run" in said.out
    assert "1 point of both left out for want of a package: pip install 'diffrax" in said.err
    assert run(path, "--out", tmp_path / "out", "--dry-run", "--set", "backend=diffrax") == 2
    assert "no point of both can run here: pip install 'diffrax" in capsys.readouterr().err


def test_a_dry_run_counts_and_writes_nothing(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    assert run(experiment, "--out", tmp_path / "out", "--dry-run", "--seeds", "5") == 0
    assert "toys: 15 points, 0 done, 15 to run" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "what"], "--set 'what': expected AXIS=VALUE"),
        (["--set", "wat=ok"], "unknown axis 'wat' of experiment 'toys'"),
        (["--set", "what=1"], "parameter 'what' of task"),
        (["--set", "tableau=eulr"], "unknown tableau 'eulr': did you mean 'euler'?"),
        (["--set", "cell=leeky"], "leeky"),
        (["--set", "tableau=[]"], "axis 'tableau' is an empty list: expected at least one value."),
        (["--set", "what=refuse"], "RuntimeError: no such toy"),
        (["--seeds", "0"], "the number of seeds is 0: expected at least 1."),
        (["--jobs", "0"], "--jobs is 0: expected a number above 0."),
        (["--timeout", "-1"], "--timeout is -1.0: expected a number above 0."),
        (["--device", "cud"], "unknown device 'cud': did you mean 'cuda'?"),
        (["--device", "mps"], "device 'mps' is not available on this machine"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    experiment: Path, tmp_path: Path, capsys: Out, arguments: list[str], said: str
) -> None:
    if sys.platform == "darwin" and "mps" in arguments:
        pytest.skip("this machine has that device")
    assert run(experiment, "--out", tmp_path / "out", *arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert said in last
    assert not (tmp_path / "out").exists()


def test_other_peoples_folders_are_left_alone(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    assert run(experiment, "--out", tmp_path) == 2
    assert "is not a folder of results: it is not empty" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    (tmp_path / FILE).write_text('{"schema": 99}\n')
    assert run(experiment, "--out", tmp_path) == 2
    assert main(["report", str(tmp_path)]) == 2
    assert (tmp_path / FILE).read_text() == '{"schema": 99}\n'
    assert "schema 99, expected 1" in capsys.readouterr().err


def test_unknown_experiments_and_malformed_files(tmp_path: Path, capsys: Out) -> None:
    assert run("quik-quak-quok") == 2
    (tmp_path / "bad.toml").write_text("name = \n")
    assert run(tmp_path / "bad.toml") == 2
    error = capsys.readouterr().err
    assert "unknown experiment 'quik-quak-quok'" in error
    assert "bad.toml, line 1: Invalid value." in error
    assert "Traceback" not in error


def test_a_report_from_rows_alone_sets_a_torn_line_aside(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    assert run(experiment, "--out", out, "--set", "what=ok") == 0
    with (out / FILE).open("a") as file:
        file.write('{"schema":1,"id":"torn')
    assert main(["report", str(out), "--out", str(tmp_path / "page")]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == str(tmp_path / "page" / "index.html")
    assert "line 2: torn after 22 bytes, set aside." in said.err
    assert run(experiment, "--out", out, "--set", "what=ok,diverge") == 0
    assert statuses(out) == ["ok", "diverged"]


@pytest.mark.parametrize("arguments", [[], ["rum"], ["run"], ["report"], ["report", ".", "--published"], ["check"]])
def test_a_wrong_command_exits_2(arguments: list[str], capsys: Out) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err


def test_closed_streams_and_narrow_terminals_are_no_traceback() -> None:
    command = (
        f"{sys.executable} -m odernn.suite list >&-; echo $? >&2; "
        f"PYTHONIOENCODING=ascii {sys.executable} -m odernn.suite list cells | tail -c 1; echo ${{PIPESTATUS[0]}} >&2"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr.split() == ["0", "0"]


def test_list_as_text_and_json(capsys: Out) -> None:
    assert main(["list", "tasks"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^  adding +The adding problem", text, re.MULTILINE)
    assert main(["list", "cell", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert {"kind": "cell", "name": "gru", "distribution": "odernn"}.items() <= {
        **next(entry for entry in entries if entry["name"] == "gru")
    }.items()
    assert main(["list", "tsaks"]) == 2


def test_show_a_tableau_with_its_array(capsys: Out) -> None:
    assert main(["show", "rk4", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [Fraction(value) for value in facts["b"]] == [Fraction(1, n) for n in (6, 3, 3, 6)]
    assert (facts["order"], facts["stages"], facts["kind"]) == (4, 4, "tableau")
    assert main(["show", "rk4"]) == 0
    assert "    | 1/6  1/3  1/3  1/6" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["adding", "leaky", "lstm", "native", "accuracy", "table-accuracy"])
def test_show_everything_else(name: str, capsys: Out) -> None:
    assert main(["show", name]) == 0
    assert capsys.readouterr().out.startswith(f"{name} (")
    assert main(["show", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == name


def test_butcher_arrays_line_up() -> None:
    heun = butcher(["0", "1"], [["0", "0"], ["1", "0"]], ["1/2", "1/2"], ["1", "0"])
    assert heun == "0 |\n1 |   1\n--+---------\n  | 1/2  1/2\n  |   1    0"
    implicit = butcher(["1"], [["1"]], ["1"])
    assert implicit == "1 | 1\n--+--\n  | 1"


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f"{sys.executable} -m odernn.suite list --json | head -c 10; echo; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in ("0", "141")


def slow(experiment: Path, toy: Path) -> None:
    experiment.write_text(experiment.read_text().replace('["ok", "raise", "diverge"]', '["ok", "sleep"]'))


def wait_for(path: Path, lines: int) -> None:
    for _ in range(600):
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.1)
    pytest.fail(f"{path} did not get {lines} lines in a minute")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_its_rows(experiment: Path, toy: Path, tmp_path: Path, number: int) -> None:
    slow(experiment, toy)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "odernn.suite", "run", str(experiment), "--out", str(out), "--jobs", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(out / FILE, 1)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130, error
    assert "interrupted after 1 of 2 points; the same command goes on from here." in error
    assert "Traceback" not in error
    assert statuses(out) == ["ok"]


def test_a_terminal_gets_bars_above_which_failures_stay(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "odernn.suite", "run", str(experiment), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(ours)
    assert process.wait(60) == 1
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert re.search(r"[0-2]/3 ━+ .*\d:\d\d elapsed", text)
    assert re.search(r"\[\d/3\] failed  .*RuntimeError: boom\r\n", text)
    assert seen.count(b"\x1b[?25h") >= seen.count(b"\x1b[?25l") > 0
    assert text.rstrip().endswith("--retry-failed runs the failed ones again.")


def test_pace_scales_with_the_work() -> None:
    def row(updates: int, length: int, cell: str = "leaky", seconds: float = 0.0, name: str = "adding") -> Any:
        task, solver = {"name": name, "length": length}, {"cell": cell, "tableau": "rk4", "backend": "native"}
        point = {"task": task, "solver": solver, "budget": {"updates": updates}, "device": "cpu"}
        return {**point, "status": "ok", "cost": {"seconds": seconds}}

    pace = Pace([row(100, 10, seconds=2.0)])
    assert pace.seconds(row(100, 10)) == pytest.approx(2.0)
    assert pace.seconds(row(300, 20)) == pytest.approx(12.0)
    assert pace.seconds(row(100, 10, cell="cornn")) == pytest.approx(2.0)
    assert pace.seconds(row(1, 1, cell="true-field")) == pytest.approx(1.0)
    assert pace.total([row(100, 10)] * 4, jobs=2) == pytest.approx(4.0)
    assert pace.total([row(1, 1, cell="true-field")] * 3) == pytest.approx(3.0)
    assert pace.seconds(row(300, 5000, name="speed")) == pytest.approx(2.0)  # another task: a point is a point
    assert pace.seconds(row(100, 20, cell="cornn")) == pytest.approx(4.0)
    assert Pace().total([row(1, 1)]) is None
    assert [duration(s) for s in (7.4, 750, 11100)] == ["0:07", "12:30", "3:05:00"]


def test_a_tableau_is_shown_by_its_alias_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "dopri5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "dormand-prince54"


def test_tableaux_are_listed_with_their_aliases(capsys: Out) -> None:
    assert main(["list", "tableaux"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^  lie .* lie-trotter, zoh, zero-order-hold$", text, re.MULTILINE)
    assert re.search(r"^  trapezoid .* bilinear, tustin$", text, re.MULTILINE)
    assert main(["list", "tableaux", "--json"]) == 0
    aliases = {entry["name"]: entry["aliases"] for entry in json.loads(capsys.readouterr().out)}
    assert aliases["lie-cayley"] == ["cayley"]
    assert aliases["kutta3"] == []


@pytest.mark.parametrize("option", ["--hidden", "--seed"])
def test_show_ignores_no_option(option: str, capsys: Out) -> None:
    assert main(["show", "leaky", option, "0"]) == 2
    assert f"{option} is of a cell's certified step: expected it with --tableau NAME." in capsys.readouterr().err
    assert main(["show", "leaky", "--tableau", "euler", option, "1"]) == 0
    assert ("hidden 1," if option == "--hidden" else "seed 1") in capsys.readouterr().out


@pytest.mark.parametrize("name", ["none", "true", "batch", "learning-task", "Upper", "a--b", "../a"])
def test_a_task_package_cannot_have_any_name(name: str, tmp_path: Path, capsys: Out) -> None:
    assert main(["new", "task", name, "--out", str(tmp_path / "package")]) == 2
    assert f"task name {name!r}" in capsys.readouterr().err
    assert not (tmp_path / "package").exists()


def test_a_task_file_that_ends_the_process_is_told(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    assert main(["check", str(tmp_path / "leaves.py")]) == 1
    assert "does not import: SystemExit: 3" in capsys.readouterr().out


def test_points_that_cannot_run_on_the_gpu_stay_on_the_cpu(tmp_path: Path) -> None:
    """Placement alone, so it needs no GPU: the SciPy backend is of the CPU, the others move."""
    from odernn.suite.environment import host
    from odernn.suite.experiment import load_experiment
    from odernn.suite.planning import Planner
    from odernn.suite.row import Rows

    quick = load_experiment("quick")
    plan = Planner("cuda", host()).plan(quick, quick.points(), tmp_path, Rows([], []), 0)
    placed = {(point["solver"].get("backend"), point["device"]) for point in plan.points()}
    assert ("scipy", "cpu") in placed
    assert ("scipy", "cuda") not in placed
    assert {("native", "cuda"), ("torchdiffeq", "cuda"), (None, "cuda")} <= placed
    assert ("native", "cpu") not in placed


def test_an_account_of_several_lines_comes_on_several_lines(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    a, b = tmp_path / "a\nodernn: all is well", tmp_path / "b"
    assert run(experiment, "--out", a, "--set", "what=ok") == 0
    b.mkdir()
    changed = (a / FILE).read_text().replace('"error":0.5', '"error":0.75')
    (b / FILE).write_text(changed)
    capsys.readouterr()
    assert main(["merge", str(a), str(b), "--out", str(tmp_path / "c")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0] == "odernn: 1 point differs between the folders, so nothing was written:"
    assert "error is 0.5 in " in lines[1]
    assert r"a\nodernn: all is well" in lines[1]


def test_no_name_moves_the_cursor_or_begins_a_line(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "o\x1b[31mx\nodernn: ok"
    assert run(experiment, "--out", out, "--set", "what=ok") == 0
    assert main(["report", str(out), "--out", str(out / "again")]) == 0
    assert main(["new", "task", "some-words", "--out", str(tmp_path / "it's\nnew")]) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert r"o\x1b[31mx\nodernn: ok/report/index.html" in said.out
    assert "odernn: ok" not in [line[:10] for line in said.out.splitlines()]
    place = str(tmp_path).replace("'", "'\\''")
    assert rf"Next: pip install -e $'{place}/it\'s\nnew' && odernn check some-words" in said.out
    done = subprocess.run(
        ["bash", "-c", "printf %s " + said.out.rpartition("pip install -e ")[2].partition(" && ")[0]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == str(tmp_path / "it's\nnew")


@pytest.mark.parametrize("kind", ["file", "link", "file above", "figures"])
def test_a_report_that_cannot_be_there_is_one_sentence(
    experiment: Path, tmp_path: Path, capsys: Out, kind: str
) -> None:
    out, page = tmp_path / "out", tmp_path / "page"
    assert run(experiment, "--out", out, "--set", "what=ok") == 0
    taken = {"figures": page / "figures"}.get(kind, page)
    taken.parent.mkdir(exist_ok=True)
    if kind == "link":
        taken.symlink_to(tmp_path / "nowhere")
    else:
        taken.write_text("mine")
    capsys.readouterr()
    assert main(["report", str(out), "--out", str(page / "deep" if kind == "file above" else page)]) == 2
    told = f"odernn: {taken} is a file, or a link to no folder: expected a folder for the report, as of --out.\n"
    assert capsys.readouterr().err == told


def test_a_pipe_in_the_place_of_rows_is_refused(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    os.mkfifo(tmp_path / FILE)
    assert run(experiment, "--out", tmp_path, "--dry-run") == 2
    assert f"{tmp_path / FILE} is no file: expected one of rows, or none." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", ".", "--published"], "report needs a folder of results, or --published, and not both."),
        (["report"], "report needs a folder of results, or --published."),
        (["check", "--all", "rk4"], "check needs names, or --all, and not both."),
        (["check"], "check needs names, or --all."),
        (["new", "task", "x" * 61], "has 61 characters: expected at most 60."),
        (["list", ""], "expected one of "),
        (["run", "quick", "--set", "tableau="], "--set 'tableau=': expected AXIS=VALUE"),
    ],
)
def test_what_was_expected_is_said(arguments: list[str], said: str, capsys: Out) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "did you mean" not in error


@pytest.mark.parametrize("mask", [0o077, 0o002])
def test_files_have_the_modes_that_the_umask_leaves(experiment: Path, tmp_path: Path, mask: int) -> None:
    out = tmp_path / "out"
    before = os.umask(mask)
    try:
        assert run(experiment, "--out", out, "--set", "what=ok") == 0
        assert main(["merge", str(out), "--out", str(tmp_path / "merged")]) == 0
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for folder in (out, tmp_path / "merged") for path in folder.rglob("*")}
    files = {path: mode for path, mode in modes.items() if path.is_file()}
    assert {"rows.jsonl", "commands.jsonl", "progress.json", "index.html"} <= {path.name for path in files}
    assert {path: oct(mode) for path, mode in files.items() if mode != 0o666 & ~mask} == {}
