"""Files of rows, and notes beside them: rows, or one sentence on what is wrong; nothing in them is executed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from hypothesis import strategies as st

from odernn.suite.errors import UsageError
from odernn.suite.freshness import CodeBook
from odernn.suite.progress import Pace
from odernn.suite.row import FILE, Rows, decode, encode, read
from odernn.suite.status import status

from .conftest import Command, watched
from .inputs import FOLDERS, GOOD, JSON, ODD_LINES, counted, files, fuzz, line_of, row


def rows_of(path: Path) -> Rows | None:
    try:
        return read(path)
    except UsageError as error:
        said = str(error)
    assert said.startswith(str(path))
    assert "\n" not in said
    return None


@counted(1000, 20_000)
def test_any_file_of_rows_is_read_or_refused(tries: int, tmp_path: Path) -> None:
    path, good = tmp_path / FILE, 0

    def target(data: bytes) -> None:
        nonlocal good
        path.write_bytes(data)
        with watched(tmp_path):
            rows = rows_of(path)
            if rows is None:
                return
            good += bool(rows.rows)
            assert all(encode(decode(encode(one))) == encode(one) for one in rows.rows)
            Pace(rows.rows).total(rows.rows, 2)
            assert status(tmp_path).replace("\n", "").isprintable()

    fuzz(target, files(), tries)
    assert good > tries / 20, "too few are near enough to rows to go deep"


@counted(300, 5000)
def test_any_note_and_book_beside_the_rows(tries: int, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(line_of(row()) + b"\n")

    def target(data: tuple[bytes, bytes]) -> None:
        (tmp_path / "progress.json").write_bytes(data[0])
        (tmp_path / "code.jsonl").write_bytes(data[1])
        with watched(tmp_path):
            assert status(tmp_path).replace("\n", "").isprintable()
            CodeBook.read(tmp_path)

    fuzz(target, st.tuples(*[ODD_LINES | JSON.map(lambda value: json.dumps(value).encode())] * 2), tries)


@counted(100, 1000)
def test_commands_take_any_folder_of_rows(tries: int, command: Command, tmp_path: Path) -> None:
    """What a run, `status`, `merge` and `compare` make of it."""
    (tmp_path / "t.toml").write_text(GOOD + 'solver.backend = "native"\nsolver.step = 0.5\n')
    good = tmp_path / "good"
    good.mkdir()
    (good / FILE).write_bytes(line_of(row()) + b"\n" + line_of(row(1)) + b"\n")

    def target(data: bytes) -> None:
        folder = tmp_path / "wild"
        folder.mkdir(exist_ok=True)
        (folder / FILE).write_bytes(data)
        for line in (
            ["status", "wild"],
            ["run", "t.toml", "--out", "wild", "--explain"],
            ["compare", "good", "wild"],
            ["compare", "wild", "good", "--json"],
            ["merge", "good", "wild", "--out", "merged"],
        ):
            command(line)
        assert (folder / FILE).read_bytes() == data
        shutil.rmtree(tmp_path / "merged", ignore_errors=True)

    fuzz(target, files() | FOLDERS, tries)


@counted(5, 100)
def test_reports_take_any_folder_of_rows(tries: int, command: Command, tmp_path: Path) -> None:
    def target(data: bytes) -> None:
        folder = tmp_path / "wild"
        folder.mkdir(exist_ok=True)
        (folder / FILE).write_bytes(data)
        assert command(["report", "wild", "--out", "page"]).status == 0
        assert (folder / FILE).read_bytes() == data
        shutil.rmtree(tmp_path / "page", ignore_errors=True)

    fuzz(target, FOLDERS, tries)
