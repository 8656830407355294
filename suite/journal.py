"""What the driver of a run notes for other shells: once a second at most, in the results folder."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from .progress import Pace
from .row import FAILURES, Point, Row, describe, identity
from .run import now
from .status import note

INTERVAL = 1.0
"""Seconds between two notes, at least."""

SHARE = 20.0
"""A note takes at most this fraction of the time, the estimate of the time left included."""


class Journal:
    """Counts the points of one experiment as they start and finish, and writes them down with `status.note`."""

    def __init__(self, folder: Path, experiment: str, points: Sequence[Point], total: int, pace: Pace, jobs: int):
        self._folder, self._pace, self._jobs = folder, pace, jobs
        self._waiting = {identity(point): point for point in points}
        self._facts: dict[str, Any] = {
            "pid": os.getpid(),
            "host": platform.node(),
            "started": now(),
            "experiment": experiment,
            "total": total,
            "fresh": total - len(points),
            "done": 0,
            "failed": 0,
        }
        self._due = 0.0

    def stored(self, row: Row) -> None:
        """A row is on the disk."""
        self._waiting.pop(row["id"], None)
        self._facts["done"] += 1
        self._facts["failed"] += row["status"] in FAILURES

    def tick(self, running: int) -> None:
        """Write the note, where one is due. running: so many points are at work, those that wait longest."""
        begun = time.monotonic()
        if begun < self._due:
            return
        self._write(running, finished=False)
        self._due = begun + max(INTERVAL, SHARE * (time.monotonic() - begun))

    def close(self) -> None:
        """Write the last note: finished where every point has its row."""
        self._write(0, finished=not self._waiting)

    def _write(self, running: int, finished: bool) -> None:
        facts = {
            **self._facts,
            "running": [describe(point) for point in islice(self._waiting.values(), running)],
            "updated": now(),
            "finished": finished,
            "seconds_left": self._pace.total(self._waiting.values(), self._jobs) if self._waiting else 0.0,
        }
        note(self._folder, facts)
