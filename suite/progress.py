"""What a person sees while points run: one live line on a terminal, plain lines elsewhere; and how long it may take."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from .row import FAILURES, Row, describe

INTEGRATION = 1.0
"""Seconds expected of a solver that learns nothing, until one was seen: next to a training it is nothing."""


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
        length, updates = point["task"].get("length", 1), point["budget"].get("updates", 1)
        return float(updates) * float(length) * float(point["solver"].get("substeps", 1))

    @classmethod
    def _keys(cls, point: Mapping[str, Any]) -> list[tuple[tuple[Any, ...], float]]:
        """What a point is like, the likest first, and its work among those."""
        task, solver, work = point["task"], point["solver"], cls.work(point)
        cell, tableau, backend = (solver.get(key) for key in ("cell", "tableau", "backend"))
        kind = cell == "true-field"
        return [
            ((str(sorted(task.items())), str(sorted(solver.items())), point["device"]), work),
            ((task.get("name"), cell, tableau, backend, point["device"]), work),
            ((task.get("name"), cell, backend, point["device"]), work),
            ((task.get("name"), kind, point["device"]), work),
            ((kind, point["device"]), 1.0),
            ((kind,), 1.0),
        ]

    def observe(self, row: Mapping[str, Any]) -> None:
        """Learn from a row that ran to an end of its own."""
        seconds = row["cost"].get("seconds")
        if row["status"] in ("ok", "diverged") and isinstance(seconds, int | float):
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

    def total(self, points: Iterable[Mapping[str, Any]], jobs: int = 1) -> float | None:
        """Expected seconds of many points on `jobs` processes, the mean of all seen for an unknown; None at first."""
        if not self._count:
            return None
        mean = self._seconds / self._count
        each = [mean if (seconds := self.seconds(point)) is None else seconds for point in points]
        return max(sum(each) / jobs, max(each, default=0.0))


def duration(seconds: float) -> str:
    """ "0:07", "12:30", "3:05:00"."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Done of total, failed, elapsed, left, and the point just finished; to stderr unless told otherwise."""

    def __init__(self, points: Iterable[Row], jobs: int, pace: Pace, stream: TextIO | None = None) -> None:
        self._waiting = {point["id"]: point for point in points}
        self._total, self._jobs, self._pace = len(self._waiting), jobs, pace
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._done = self._failed = 0
        self._started = time.monotonic()
        self._last = "starting"
        self._drawn = 0.0

    def finished(self, row: Row) -> None:
        """Count a row and show it; failures stay on the screen with their reason."""
        self._waiting.pop(row["id"], None)
        self._done += 1
        self._failed += row["status"] in FAILURES
        self._pace.observe(row)
        seconds = row["cost"].get("seconds", 0.0)
        self._last = f"{row['status']}  {describe(row)}  {seconds:.1f} s"
        if row["status"] != "ok":
            self._clear()
            self._print(f"{self._head()} {self._last}: {row['reason'].splitlines()[0] if row['reason'] else ''}")
        elif not self._live:
            self._print(f"{self._head()} {self._last} {self._tail()}")
        self._draw()

    def tick(self, running: int) -> None:
        """Keep the live line's clock going."""
        if time.monotonic() - self._drawn > 0.5:
            self._draw(running)

    def close(self) -> None:
        self._clear()

    def _head(self) -> str:
        width = len(str(self._total))
        return f"[{self._done:{width}}/{self._total}]"

    def _tail(self) -> str:
        parts = [f"{self._failed} failed"] if self._failed else []
        parts.append(f"{duration(time.monotonic() - self._started)} elapsed")
        left = self._pace.total(self._waiting.values(), self._jobs)
        if left is not None and self._waiting:
            parts.append(f"about {duration(left)} left")
        return f"({', '.join(parts)})"

    def _draw(self, running: int = 0) -> None:
        if self._live:
            busy = f" {running} running," if running else ""
            width = shutil.get_terminal_size().columns - 1
            line = f"{self._head()} {self._tail()}{busy} last: {self._last}"
            self._stream.write(f"\r\x1b[K{line[:width]}")
            self._stream.flush()
            self._drawn = time.monotonic()

    def _clear(self) -> None:
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
