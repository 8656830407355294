"""The bottom of a terminal while points run: a bar of all of them, a bar for each that is at work."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .printable import printable
from .progress import duration
from .row import FAILURES

ROWS = 8
"""So many runs are shown at most; the others are counted."""

MEDIUM, NARROW = 70, 44
"""Columns below which what matters less is left out, and below which there is room for no bar."""


@dataclass(frozen=True)
class AtWork:
    """One run that is under way. spent, expected: seconds; None where nothing tells."""

    what: str
    spent: float
    expected: float | None


@dataclass(frozen=True)
class Picture:
    """What is to be seen. elapsed, left: seconds; left None where nothing tells. last: the point finished last."""

    done: int
    total: int
    failed: int
    elapsed: float
    left: float | None
    at_work: Sequence[AtWork] = ()
    last: str = ""


def drawn(picture: Picture, width: int, height: int) -> RenderableType:
    """The picture for a terminal of so many columns and lines: no line is broken, and all of it has room."""
    rows = max(0, min(ROWS, height - 4, len(picture.at_work)))
    if rows == len(picture.at_work) - 1 and rows < height - 4:
        rows += 1  # as much room as the line that would count it
    parts: list[RenderableType] = [_overall(picture, width)]
    if rows:
        parts.append(_runs(picture.at_work[:rows], width))
    if len(picture.at_work) > rows and height > 2:
        parts.append(_line(f"  and {len(picture.at_work) - rows} more at work", "dim"))
    if picture.last and height > 6:
        parts.append(_line(f"  last: {picture.last}", "dim"))
    return Group(*parts)


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style, no_wrap=True, overflow="ellipsis")


def _overall(picture: Picture, width: int) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    counts = f"{picture.done}/{picture.total}"
    times = [] if picture.left is None else [f"about {duration(picture.left)} left"]
    if width >= MEDIUM or not times:
        times.insert(0, f"{duration(picture.elapsed)} elapsed")
    failed = [Text(f"{picture.failed} failed", "red")] if picture.failed else []
    cells: list[RenderableType] = [Text(counts, "bold")]
    table.add_column(no_wrap=True)
    if width >= NARROW:
        table.add_column(ratio=1)
        cells.append(ProgressBar(total=max(1, picture.total), completed=picture.done))
    table.add_column(no_wrap=True, overflow="ellipsis")
    cells.append(Text(", ").join([*failed, *map(Text, times)]))
    table.add_row(*cells)
    return table


def _runs(at_work: Sequence[AtWork], width: int) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True)
    if width >= MEDIUM:
        table.add_column(width=12)
    table.add_column(no_wrap=True, justify="right")
    for one in at_work:
        what, _, last = one.what.rpartition(" | ")  # its seed, which tells it from its neighbours
        cells: list[RenderableType] = [_line(f"  {what}"), Text(printable(last), no_wrap=True)]
        if width >= MEDIUM:
            known = one.expected is not None and one.expected > 0
            cells.append(ProgressBar(total=one.expected, completed=min(one.spent, one.expected)) if known else "")  # type: ignore[type-var, arg-type]
        expected = f" of about {duration(one.expected)}" if one.expected is not None and width >= NARROW else ""
        cells.append(Text(f"{duration(one.spent)}{expected}", "dim"))
        table.add_row(*cells)
    return table


class Screen:
    """Bars that stay at the bottom of a terminal; whatever is said meanwhile stands above them and stays.

    Colours are those that the terminal has, none with NO_COLOR. Nothing is drawn between two calls of `show`, so that
    there is no thread beside the runs. What other code prints to stderr meanwhile goes above the bars too.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(
            file=stream, force_terminal=True, force_jupyter=False, highlight=False, markup=False, emoji=False
        )
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,  # it may well be a file
            redirect_stderr=stream is sys.stderr,
            vertical_overflow="crop",
        )

    def show(self, picture: Picture) -> None:
        """Draw the bars anew. Raises `OSError` where the terminal is gone."""
        if not self._live.is_started:
            self._live.start()
            self._console.show_cursor(True)  # a run that is killed must not leave a terminal without one
        size = self._console.size
        self._live.update(drawn(picture, size.width, size.height), refresh=True)

    def say(self, line: str, status: str = "ok") -> None:
        """One line that stays, in the colour of that status. Raises `OSError`."""
        style = "red" if status in FAILURES else "yellow" if status == "diverged" else ""
        self._console.print(Text(printable(line), style), soft_wrap=True)

    def close(self) -> None:
        """Take the bars away; what was said stays. Raises `OSError`."""
        self._live.stop()
