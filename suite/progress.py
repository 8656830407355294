"""What a person sees while points run: bars on a terminal, plain lines elsewhere; and how long it may take."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

from .printable import printable
from .row import FAILURES, Row, describe

if TYPE_CHECKING:
    from .screen import Picture, Screen

INTEGRATION = 1.0
"""Seconds expected of a solver that learns nothing, until one was seen: next to a training it is nothing."""

DRAWN, ESTIMATED = 0.25, 1.0
"""Seconds between two pictures of the bars, and between two estimates of the time left, at least."""

SHARE = 20.0
"""An estimate takes at most this fraction of the time, however many points wait."""


LONGEST = 1e9
"""Seconds, thirty years: a row that says that it took longer says nothing."""


class Pace:
    """Seconds that a point takes, learned from rows: seconds a unit of work, of the points most like it.

    Among points of another task a point is the unit: what takes time there, updates, compilations or rounds of a
    measurement, says nothing of this one's.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._sums: dict[tuple[Any, ...], tuple[float, float]] = {}
        self._count, self._seconds = 0, 0.0
        for row in rows:
            self.observe(row)

    @staticmethod
    def work(point: Mapping[str, Any]) -> float:
        """Updates times steps of a sequence, as far as the point tells; 1 for an integration."""
        task, budget, solver = point["task"], point["budget"], point["solver"]
        return _above(budget.get("updates")) * _above(task.get("length")) * _above(solver.get("substeps"))

    @classmethod
    def _keys(cls, point: Mapping[str, Any]) -> list[tuple[tuple[Any, ...], float]]:
        """What a point is like, the likest first, and its work among those."""
        task, solver, work = point["task"], point["solver"], cls.work(point)
        # A plugin's value may be of any type, and so is a row's of whoever wrote it.
        name = str(task.get("name"))
        cell, tableau, backend = (str(solver.get(key)) for key in ("cell", "tableau", "backend"))
        kind = cell == "true-field"
        return [
            ((str(sorted(task.items())), str(sorted(solver.items())), point["device"]), work),
            ((name, cell, tableau, backend, point["device"]), work),
            ((name, cell, backend, point["device"]), work),
            ((name, kind, point["device"]), work),
            ((kind, point["device"]), 1.0),
            ((kind,), 1.0),
        ]

    def observe(self, row: Mapping[str, Any]) -> None:
        """Learn from a row that ran to an end of its own."""
        seconds = row["cost"].get("seconds")
        if row["status"] in ("ok", "diverged") and isinstance(seconds, int | float) and 0 <= seconds < LONGEST:
            self._count += 1
            self._seconds += seconds
            for key, unit in self._keys(row):
                total, work = self._sums.get(key, (0.0, 0.0))
                self._sums[key] = (total + seconds, work + unit)

    def seconds(self, point: Mapping[str, Any]) -> float | None:
        """Expected seconds of a point; an integration takes about one until one was seen; None for other new kinds."""
        for key, unit in self._keys(point):
            if key in self._sums:
                total, work = self._sums[key]
                return total / work * unit
        return INTEGRATION if point["solver"].get("cell") == "true-field" else None

    def total(self, points: Iterable[Mapping[str, Any]], jobs: int = 1, spent: Sequence[float] = ()) -> float | None:
        """Expected seconds of many points on `jobs` processes, the mean of all seen for an unknown; None at first.

        spent: seconds that the first of the points have been at work already.
        """
        if not self._count:
            return None
        mean = self._seconds / self._count
        each = [mean if (seconds := self.seconds(point)) is None else seconds for point in points]
        each[: len(spent)] = [max(0.0, whole - past) for whole, past in zip(each, spent, strict=False)]
        return max(sum(each) / jobs, max(each, default=0.0))


def _above(value: Any) -> float:
    """The value where it is a number above 0 that can be counted with, else 1."""
    return float(value) if isinstance(value, int | float) and 1 / LONGEST < value < LONGEST else 1.0


def duration(seconds: float) -> str:
    """ "0:07", "12:30", "3:05:00"."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Done of total, failed, elapsed, left, and what is at work; to stderr unless told otherwise.

    On a terminal that can move its cursor these are bars at its bottom, above which failures stay; anywhere else, a
    plain line a row. A stream that takes nothing any more, as of a terminal that was closed, ends the showing alone.
    """

    def __init__(self, points: Iterable[Row], jobs: int, pace: Pace, stream: TextIO | None = None) -> None:
        self._waiting = {point["id"]: point for point in points}
        self._total, self._jobs, self._pace = len(self._waiting), jobs, pace
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
        self._lost = False
        self._screen: Screen | None = None
        self._done = self._failed = 0
        self._at_work: dict[str, float] = {}
        self._started = time.monotonic()
        self._last = ""
        self._due_picture = self._due_estimate = self._estimated = 0.0
        self._estimate: float | None = None

    def finished(self, row: Row) -> None:
        """Count a row and show it; failures stay on the screen with their reason."""
        self._waiting.pop(row["id"], None)
        self._at_work.pop(row["id"], None)
        self._done += 1
        self._failed += row["status"] in FAILURES
        self._pace.observe(row)
        seconds = row["cost"].get("seconds")
        took = f"  {seconds:.1f} s" if isinstance(seconds, int | float) else ""
        self._last = f"{row['status']}  {describe(row)}{took}"
        if row["status"] != "ok":
            reason = row["reason"].splitlines()[0] if row["reason"] else ""
            self._say(f"{self._head()} {self._last}: {reason}", row["status"])
        elif not self._live:
            self._say(f"{self._head()} {self._last} {self._tail()}", "ok")

    def tick(self, running: int) -> None:
        """Keep the bars going. running: so many points are at work, those that wait longest."""
        if not self._live or self._lost:
            return
        now = time.monotonic()
        self._at_work = {key: self._at_work.get(key, now) for key in islice(self._waiting, running)}
        if now >= self._due_picture:
            self._draw(now)
            self._due_picture = time.monotonic() + DRAWN

    def close(self) -> None:
        """Take the bars away."""
        if self._screen is not None:
            screen, self._screen = self._screen, None
            try:
                screen.close()
            except OSError:
                self._lost = True

    def _head(self) -> str:
        width = len(str(self._total))
        return f"[{self._done:{width}}/{self._total}]"

    def _tail(self) -> str:
        parts = [f"{self._failed} failed"] if self._failed else []
        parts.append(f"{duration(time.monotonic() - self._started)} elapsed")
        left = self._left()
        if left is not None:
            parts.append(f"about {duration(left)} left")
        return f"({', '.join(parts)})"

    def _left(self) -> float | None:
        """Expected seconds until the end; None where nothing tells, or where it takes longer than what was expected."""
        now = time.monotonic()
        if now >= self._due_estimate:
            spent = [now - since for since in self._at_work.values()]
            self._estimate = self._pace.total(self._waiting.values(), self._jobs, spent) if self._waiting else None
            self._estimated = now
            self._due_estimate = now + max(ESTIMATED, SHARE * (time.monotonic() - now))
        left = None if self._estimate is None else self._estimate - (now - self._estimated)
        return left if self._waiting and left is not None and left >= 0.5 else None

    def _draw(self, now: float) -> None:
        try:
            self._opened().show(self._picture(now))
        except BrokenPipeError:
            raise
        except OSError:
            self._lost = True

    def _picture(self, now: float) -> Picture:
        from .screen import AtWork, Picture  # rich, which nobody needs before something runs

        at_work = [
            AtWork(describe(self._waiting[key]), now - since, self._pace.seconds(self._waiting[key]))
            for key, since in self._at_work.items()
        ]
        elapsed = now - self._started
        return Picture(self._done, self._total, self._failed, elapsed, self._left(), at_work, self._last)

    def _opened(self) -> Screen:
        if self._screen is None:
            from .screen import Screen

            self._screen = Screen(self._stream)
        return self._screen

    def _say(self, line: str, status: str) -> None:
        if self._lost:
            return
        try:
            if self._live:
                screen = self._opened()
                screen.say(line, status)
                screen.show(self._picture(time.monotonic()))
            else:
                self._stream.write(printable(line) + "\n")
                self._stream.flush()
        except BrokenPipeError:  # its reader went away, which ends a command
            raise
        except OSError:
            self._lost = True
