"""Which command made which row: however often, in whatever folder, whatever happened to the file."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odernn.suite.cli import main
from odernn.suite.commands import FILE, Command, facts_of, made_by, merged, note_command, read_commands
from odernn.suite.errors import UsageError
from odernn.suite.merging import merge
from odernn.suite.row import FILE as ROWS
from odernn.suite.row import encode, read

Out = pytest.CaptureFixture[str]


def at(minute: int) -> str:
    return f"2026-01-02T03:{minute:02}:00.000+00:00"


def command(line: str, minute: int, *ids: str) -> Command:
    return Command(line, "made", at(minute), facts_of({"version": "1", "dirty": False}), ids)


def row(key: str, minute: int) -> dict[str, Any]:
    return {"id": key, "started": at(minute)}


def lines(rows: list[dict[str, Any]], commands: list[Command]) -> dict[str, str]:
    return {key: one.line for key, one in made_by(rows, commands).items()}


def test_a_row_is_of_the_last_command_that_was_to_run_it_and_began_before_it() -> None:
    first, second, third = command("one", 0, "a", "b"), command("two", 10, "b", "c"), command("three", 20, "a", "d")
    rows = [row("a", 5), row("b", 15), row("c", 10), row("d", 15), row("e", 25)]
    expected = {"a": "one", "b": "two", "c": "two"}  # the third was killed before it came to a and d
    assert lines(rows, [first, second, third]) == lines(rows, [third, second, first]) == expected
    assert lines([row("a", 25)], [first, second, third]) == {"a": "three"}
    assert lines([{"id": "a", "started": "yesterday"}, {"id": None, "started": None}], [first]) == {}


def test_times_are_compared_whatever_their_zone() -> None:
    late = Command("late", "made", "2026-01-02T05:30:00+02:00", (), ("a",))  # 3:30 in UTC
    assert lines([row("a", 29)], [late]) == {}
    assert lines([row("a", 30)], [late]) == {"a": "late"}


def test_what_is_noted_is_read_again(tmp_path: Path) -> None:
    odd = command("odernn run 'a\nb' \udcff \u202e <script>", 0, "a")
    note_command(tmp_path, odd)
    with (tmp_path / FILE).open("ab") as file:
        file.write(command("torn", 1, "a").encode().encode()[:-9])
    note_command(tmp_path, command("next", 2, "b"))
    found = read_commands(tmp_path)
    assert found.found == (odd, command("next", 2, "b"))
    assert len(found.torn) == 1
    assert found.torn[0].startswith(f"{tmp_path / FILE}, line 2: no command with its points in ")


def test_a_folder_without_the_file_has_no_commands(tmp_path: Path) -> None:
    assert read_commands(tmp_path) == read_commands(tmp_path / "nowhere")
    os.mkfifo(tmp_path / FILE)
    assert read_commands(tmp_path).found == ()
    with pytest.raises(UsageError, match="cannot be written to"):
        note_command(tmp_path, command("one", 0, "a"))


@given(
    st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps), st.data()
)
def test_no_line_is_fatal(tmp_path_factory: pytest.TempPathFactory, line: bytes | str, data: Any) -> None:
    folder = tmp_path_factory.mktemp("lines")
    entry = json.loads(command("one", 0, "a").encode())
    entry[data.draw(st.sampled_from([*entry]))] = data.draw(st.none() | st.integers() | st.text() | st.lists(st.none()))
    raw = line if isinstance(line, bytes) else line.encode()
    (folder / FILE).write_bytes(raw + b"\n" + json.dumps(entry).encode() + b"\n" + b"[" * 9999)
    found = read_commands(folder)
    assert found.torn
    for one in found.found:
        assert Command.encode(one)
    made_by([row("a", 1)], found.found)


def test_commands_of_several_folders_keep_the_rows_that_are_theirs() -> None:
    """Both ran a, which stays from the second folder alone, though the first one's command began later."""
    early, late = command("early", 0, "a", "b"), command("late", 5, "a", "c")
    found = merged([([late], [row("c", 10)]), ([early], [row("a", 9), row("b", 9)])])
    assert {one.line: one.ids for one in found} == {"late": ("c",), "early": ("a", "b")}
    again = merged([(found, [row("c", 10), row("a", 9)]), ([early], [row("b", 9)])])
    assert {one.line: one.ids for one in again} == {"late": ("c",), "early": ("a", "b")}
    assert merged([([early], [])]) == []


def stored(folder: Path, rows: list[dict[str, Any]], *commands: Command) -> Path:
    folder.mkdir()
    (folder / ROWS).write_text("".join(encode(one) + "\n" for one in rows))
    for one in commands:
        note_command(folder, one)
    return folder


def test_merge_carries_the_commands_over(tmp_path: Path) -> None:
    def whole(key: str, minute: int) -> dict[str, Any]:
        point = {"task": {"name": key}, "solver": {"cell": "c"}, "budget": {}, "seed": 0, "device": "cpu", "dtype": "f"}
        sections = {"metrics": {}, "curves": {}, "cost": {}, "properties": {}, "environment": {}}
        told = {"schema": 1, "id": key, "experiment": "made", "status": "ok", "reason": ""}
        return {**point, **sections, **told, "started": at(minute), "finished": at(minute)}

    a = stored(tmp_path / "a", [whole("x", 1), whole("y", 2)], command("one", 0, "x", "y"))
    b = stored(tmp_path / "b", [whole("y", 4), whole("z", 5)], command("two", 3, "y", "z"), command("idle", 9, "z"))
    with (b / FILE).open("a") as file:
        file.write('{"command": "torn')
    said = merge([a, b], tmp_path / "c")
    assert f"{b / FILE}, line 3: no command with its points" in said
    found = read_commands(tmp_path / "c")
    assert [(one.line, one.ids) for one in found.found] == [("one", ("x",)), ("two", ("y", "z"))]
    assert not found.torn
    assert lines(read(tmp_path / "c" / ROWS).rows, list(found.found)) == {"x": "one", "y": "two", "z": "two"}
    merge([a, tmp_path / "c", a], tmp_path / "d")
    twice = read_commands(tmp_path / "d").found
    assert {one.line: set(one.ids) for one in twice} == {"one": {"x"}, "two": {"y", "z"}}
    no = stored(tmp_path / "no", [whole("x", 1)])
    merge([no], tmp_path / "e")
    assert not (tmp_path / "e" / FILE).exists()


# -------------------------------------------------------------------------------------------------- by the command line


@pytest.fixture
def toys(toy: Path, tmp_path: Path) -> Path:
    """An experiment that has the name of a shipped one."""
    path = tmp_path / "own toys.toml"
    path.write_text(
        f'name = "quick"\nsummary = "Toys."\nseeds = 2\n[[grid]]\ntask.name = "{toy}"\ntask.what = "ok"\n'
        'solver.cell = "true-field"\nsolver.tableau = "euler"\nsolver.backend = "native"\nsolver.steps = [1, 2]\n'
    )
    return path


def run(*arguments: str | Path) -> str:
    """Carries a run out; its command line."""
    assert main(["run", *map(str, arguments)]) == 0
    return shlex.join(["odernn", "run", *map(str, arguments)])


def counts(page: str) -> list[list[tuple[str, int]]]:
    """By list of the page, what each command is said to have made."""
    parts = re.findall(r'<ul class="by">(.*?)</ul>', page, re.DOTALL)
    items = [re.findall(r"<li>(?:<code>(.*?)</code>: )?(\d+) rows?", part) for part in parts]
    return [[(html.unescape(line), int(number)) for line, number in item] for item in items]


def test_the_page_names_the_commands_that_made_its_rows(toys: Path, tmp_path: Path) -> None:
    """Two commands in one folder, the second of which made part of the first one's points again by other means."""
    out = tmp_path / "out"
    first = run(toys, "--seeds", "1", "--out", out)
    second = run(toys, "--set", "steps=2,3", "--out", out, "--jobs", "1")
    assert [(one.line, len(one.ids)) for one in read_commands(out).found] == [(first, 2), (second, 3)]
    page = (out / "report" / "index.html").read_text()
    told = counts(page)
    assert told[-1] == [(first, 2), (second, 3)], "all rows, the oldest first"
    assert all(sum(number for _, number in each) <= 5 for each in told)
    assert len(told) > 1, "each table and figure has its own"
    assert "odernn run quick" not in page
    assert f"<pre>odernn report {out}</pre>" in page
    assert main(["report", str(out), "--out", str(out / "report")]) == 0
    again = (out / "report" / "index.html").read_text().replace(f" --out {out / 'report'}</pre>", "</pre>")
    assert again == page, "the command that is named makes the page"


def test_rows_made_again_are_of_the_later_command(toys: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(toys, "--out", out)
    environment = [one | {"environment": {**one["environment"], "code": "0" * 16}} for one in read(out / ROWS).rows]
    (out / ROWS).write_text("".join(encode(one) + "\n" for one in environment))
    later = run(toys, "--out", out, "--jobs", "2")
    assert counts((out / "report" / "index.html").read_text())[-1] == [(later, 4)]


def test_a_run_that_was_killed_has_left_its_command(toys: Path, tmp_path: Path) -> None:
    toys.write_text(toys.read_text().replace('task.what = "ok"', 'task.what = ["ok", "sleep"]').replace("[1, 2]", "1"))
    out = tmp_path / "out"
    arguments = ["run", str(toys), "--out", str(out), "--jobs", "2", "--seeds", "1"]
    process = subprocess.Popen([sys.executable, "-m", "odernn.suite", *arguments], start_new_session=True)
    for _ in range(600):
        if (out / ROWS).exists() and (out / ROWS).stat().st_size:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (row,) = read(out / ROWS).rows
    assert made_by([row], read_commands(out).found)[row["id"]].line == shlex.join(["odernn", *arguments])


def test_hostile_lines_are_told_and_escaped(toys: Path, tmp_path: Path, capsys: Out) -> None:
    out = tmp_path / "out"
    run(toys, "--out", out)
    line = json.loads((out / FILE).read_text())
    line["command"] = "odernn run </code><script>alert(1)</script> \x1b[31m\u202e"
    (out / FILE).write_text(json.dumps(line) + "\n\x1b[2J{\n")
    capsys.readouterr()
    assert main(["report", str(out)]) == 0
    assert f"odernn: {out / FILE}, line 2: no command with its points in 5 bytes, set aside." in capsys.readouterr().err
    page = (out / "report" / "index.html").read_text()
    assert "<script>alert" not in page
    assert counts(page)[-1] == [("odernn run </code><script>alert(1)</script> \\x1b[31m\\u202e", 4)]


def test_rows_of_no_known_command_are_said_to_be(toys: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(toys, "--out", out)
    (out / FILE).unlink()
    assert main(["report", str(out)]) == 0
    page = (out / "report" / "index.html").read_text()
    assert counts(page)[-1] == [("", 4)]
    assert "4 rows with which no command is stored" in page
    assert "odernn run quick" not in page
