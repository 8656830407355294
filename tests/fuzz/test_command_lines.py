"""Command lines of any words: an exit status of the list, no traceback, nothing changed outside of the folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from .conftest import CANARY, Command
from .inputs import GOOD, command_lines, counted, fuzz, line_of, row


@counted(400, 5000)
def test_any_command_line_ends_cleanly(tries: int, command: Command, tmp_path: Path) -> None:

    def fresh() -> None:
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (tmp_path / "t.toml").write_text(GOOD + 'solver.backend = "native"\nsolver.step = 0.5\n')
        for name in ("out", "empty"):
            (tmp_path / name).mkdir()
        (tmp_path / "out" / "rows.jsonl").write_bytes(line_of(row()) + b"\n" + line_of(row(1)) + b"\n")

    def target(arguments: list[str]) -> None:
        if not (tmp_path / "t.toml").is_file() or len(list(tmp_path.iterdir())) > 3:
            fresh()
        before = (tmp_path / "out" / "rows.jsonl").read_bytes()
        command(arguments)
        assert (tmp_path / "out" / "rows.jsonl").read_bytes() == before
        assert not list(tmp_path.rglob(f"*{CANARY}*"))

    fuzz(target, command_lines(), tries)
