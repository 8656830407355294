"""What is shown while points run: bars on a terminal of any size, plain lines elsewhere; it never ends a run."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from odernn.suite import progress
from odernn.suite.progress import Pace, Progress
from odernn.suite.screen import AtWork, Picture, Screen, drawn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        """What was written, without what moves the cursor or colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


def point(seed: int, **task: Any) -> dict[str, Any]:
    return {
        "id": f"{seed:016x}",
        "task": {"name": "adding", "length": 20, **task},
        "solver": {"cell": "leaky", "tableau": "rk4"},
        "budget": {"updates": 10},
        "seed": seed,
        "device": "cpu",
        "dtype": "float32",
    }


def row(seed: int, status: str = "ok", reason: str = "", seconds: Any = 2.0, **task: Any) -> dict[str, Any]:
    return {**point(seed, **task), "status": status, "reason": reason, "cost": {"seconds": seconds}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still unless it is told."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "20")
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def shown(stream: Any, rows: Sequence[Mapping[str, Any]], clock: SimpleNamespace, count: int = 12) -> None:
    """Let a progress of so many points, on two processes, see the rows, one a second."""
    shows = Progress([point(seed) for seed in range(count)], 2, Pace([row(99, seconds=3.0)]), stream)
    shows.tick(2)
    for one in rows:
        clock.seconds += 1.0
        shows.finished(dict(one))
        shows.tick(2)
    shows.close()


def test_a_log_gets_a_plain_line_a_row(clock: SimpleNamespace) -> None:
    stream = io.StringIO()
    shown(stream, [row(0), row(1, "failed", "RuntimeError: boom\nand more"), row(2, "diverged", "NaN")], clock)
    assert stream.getvalue().splitlines() == [
        "[ 1/12] ok  adding length=20 | leaky rk4 | seed 0  2.0 s (0:01 elapsed, about 0:14 left)",
        "[ 2/12] failed  adding length=20 | leaky rk4 | seed 1  2.0 s: RuntimeError: boom",
        "[ 3/12] diverged  adding length=20 | leaky rk4 | seed 2  2.0 s: NaN",
    ]


@pytest.mark.parametrize("kind", ["dumb", "unknown", None])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(
    kind: str | None, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TERM") if kind is None else monkeypatch.setenv("TERM", kind)
    stream = Terminal()
    shown(stream, [row(0)], clock)
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().startswith("[ 1/12] ok  adding")


def test_a_terminal_gets_bars_and_keeps_failures(clock: SimpleNamespace) -> None:
    stream = Terminal()
    shown(stream, [row(0), row(1, "failed", "RuntimeError: boom"), row(2, "diverged", "NaN loss")], clock)
    text = stream.text()
    assert re.search(r"0/12 ━+ 0:00 elapsed, about 0:18 left", text)  # 12 points of 3 s on two processes
    assert re.search(r"1/12 ━+[╸╺]━* 0:01 elapsed, about 0:\d\d left", text)
    assert re.search(r"3/12 ━+[╸╺]?━+ 1 failed, 0:03 elapsed", text)
    assert re.search(r"  adding length=20 \| leaky rk4 +seed 1 ━+[╸╺]?━* 0:01 of about 0:0[23]", text)
    assert "last: ok  adding length=20 | leaky rk4 | seed 0  2.0 s" in text
    stays = [line for line in text.splitlines() if line.startswith("[")]
    assert stays == [
        "[ 2/12] failed  adding length=20 | leaky rk4 | seed 1  2.0 s: RuntimeError: boom",
        "[ 3/12] diverged  adding length=20 | leaky rk4 | seed 2  2.0 s: NaN loss",
    ]
    assert "\x1b[31m[ 2/12]" in stream.getvalue()
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")  # a cursor is left
    assert stream.getvalue().endswith("\x1b[1A\x1b[2K")  # and no bars


def test_no_color_is_obeyed(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    shown(stream, [row(0), row(1, "failed", "boom")], clock)
    assert re.search(r"\x1b\[[0-9;]*[34][0-9]", stream.getvalue()) is None
    assert "━" in stream.getvalue()


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_nothing_of_a_row_moves_the_cursor(stream: io.StringIO, clock: SimpleNamespace) -> None:
    wild = "\x1b[2J\x1b]0;title\x07\u202e\r\x9b1m[red]"
    shows = Progress([point(0, note=wild), point(1, note=wild)], 1, Pace(), stream)
    shows.tick(2)
    shows.finished(row(0, "failed", wild, note=wild))
    shows.finished(row(1, note=wild))
    clock.seconds += 1
    shows.tick(0)
    shows.close()
    text = stream.getvalue()
    assert all(found not in text for found in ("\x1b[2J", "\x1b]0", "\x07", "\u202e", "\x9b"))
    assert "\\x1b[2J" in text
    assert "[red]" in text  # and no markup is obeyed


def test_what_others_say_meanwhile_stands_above_the_bars(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    shows = Progress([point(0)], 1, Pace())
    shows.tick(1)
    print("odernn: a checkpoint was set aside", file=sys.stderr)
    shows.close()
    assert sys.stderr is stream
    assert re.search(r"\x1b\[2Kodernn: a checkpoint was set aside *\n", stream.getvalue())


class Gone(Terminal):
    """A terminal that was closed."""

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


class GoneLog(Gone):
    def isatty(self) -> bool:
        return False


@pytest.mark.parametrize("stream", [Gone(), GoneLog()])
def test_a_stream_that_is_gone_does_not_end_the_run(stream: Gone, clock: SimpleNamespace) -> None:
    shown(stream, [row(0), row(1, "failed", "boom")], clock)


def test_a_reader_that_went_away_does() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as stream:
        shows = Progress([point(0)], 1, Pace(), stream)
        with pytest.raises(BrokenPipeError):
            shows.finished(row(0))
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)


def test_time_already_spent_is_not_left() -> None:
    pace = Pace([row(0, seconds=10.0)])
    assert pace.total([point(1), point(2)], 1) == pytest.approx(20.0)
    assert pace.total([point(1), point(2)], 1, [4.0]) == pytest.approx(16.0)
    assert pace.total([point(1), point(2)], 2, [4.0, 99.0]) == pytest.approx(6.0)
    assert pace.total([], 2, [4.0]) == 0.0


def test_the_time_left_goes_down_while_one_long_run_is_at_work(clock: SimpleNamespace) -> None:
    stream = Terminal()
    shows = Progress([point(0)], 1, Pace([row(9, seconds=100.0)]), stream)
    for _ in range(110):
        shows.tick(1)
        clock.seconds += 1.0
    left = [int(m) * 60 + int(s) for m, s in re.findall(r"about (\d):(\d\d) left", stream.text())]
    assert left == sorted(left, reverse=True)
    assert left[0] == 100
    assert left[-1] == 1
    assert re.search(r"1:4\d of about 1:40", stream.text())  # longer than expected: nothing is promised any more
    shows.close()


def test_many_points_are_not_counted_again_for_every_row(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    class Counted(Pace):
        def total(self, points: Iterable[Mapping[str, Any]], jobs: int = 1, spent: Sequence[float] = ()) -> float:
            nonlocal calls
            calls += 1
            return 1.0

    shows = Progress([point(seed) for seed in range(5000)], 2, Counted(), io.StringIO())
    for seed in range(5000):
        clock.seconds += 0.01
        shows.finished(row(seed))
    assert calls <= 51


WILD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers())


@given(st.lists(st.tuples(WILD, WILD, WILD, WILD, WILD), min_size=1, max_size=4))
@example([(1e-272, 1e-300, "", "", 1.0)])  # whose product is 0
def test_a_pace_is_learned_from_rows_of_any_values(wild: list[tuple[Any, ...]]) -> None:
    rows = []
    for length, updates, cell, name, seconds in wild:
        one = row(0, seconds=seconds, length=length, name=name)
        rows.append({**one, "solver": {"cell": cell, "substeps": length}, "budget": {"updates": updates}})
    pace = Pace(rows)
    seconds = pace.total(rows, 2, [1.0])
    assert seconds is None or 0 <= seconds < float("inf")
    shows = Progress(rows, 1, pace, io.StringIO())
    for one in rows:
        shows.finished(one)


RUNS = st.lists(st.builds(AtWork, st.text(max_size=90), st.floats(0, 1e6), st.none() | st.floats(0, 1e6)), max_size=12)


@given(
    picture=st.builds(
        Picture,
        *(st.integers(0, 10**5), st.integers(0, 10**5), st.integers(0, 10**5)),
        *(st.floats(0, 1e7), st.none() | st.floats(0, 1e7)),
        *(RUNS, st.text(max_size=200)),
    ),
    width=st.integers(1, 130),
    height=st.integers(2, 30),
)
def test_every_picture_has_room_on_its_terminal(picture: Picture, width: int, height: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width, height=height, color_system=None).print(drawn(picture, width, height))
    lines = out.getvalue().rstrip("\n").split("\n")
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    if width >= 70:
        assert lines[0].startswith(f"{picture.done}/{picture.total} ")
        assert ("failed" in lines[0]) == (picture.failed > 0)


def test_an_ascii_terminal_gets_bars_too() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="backslashreplace")
    screen = Screen(stream)
    screen.show(Picture(1, 4, 0, 1.0, 3.0, [AtWork("adding | seed 0", 1.0, 2.0)] * 2))
    screen.close()
    stream.flush()
    assert re.search(rb"1/4.*-+.*elapsed, about 0:03 left", raw.getvalue())
    assert b"\\u" not in raw.getvalue()


@pytest.mark.parametrize("arguments", [["--help"], ["list", "metrics"], ["list", "--json"]])
def test_light_commands_do_not_load_the_bars(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom odernn.suite.cli import main\nimport odernn.suite.progress\n"
        f"status = main({arguments!r})\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('rich', 'psutil')]\nassert status == 0\n"
    )
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
