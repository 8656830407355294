"""Figures drawn side by side: as many processes as there are cores, each a fork that has the frame already.

Where a fork is not safe (other threads, torch loaded, no fork on the system) they are drawn one after another here. A
process that dies costs the figure that it was at, and no other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import TypeAlias

import pandas as pd

from ..suite.errors import PLUGIN_ERRORS
from . import style
from .pieces import Figure

KINDS = ("svg", "pdf", "png")
Drawn: TypeAlias = "dict[str, bytes] | str | None"
"""By format the picture; or a sentence on why there is none; or None where there is nothing to draw."""


class Drawing:
    """The figures of a frame; what they look like is waited for in `results`, so that tables are built meanwhile."""

    def __init__(self, figures: Sequence[Figure], data: pd.DataFrame) -> None:
        self._figures, self._data = figures, data
        self._found: dict[int, Drawn] = {}
        self._workers: dict[Connection, int | None] = {}
        """By the end of its pipe, the figure that a process is at."""
        self._processes: dict[Connection, ForkProcess] = {}
        jobs = min(_cores(), len(figures))
        if jobs > 1 and _may_fork():
            self._next = multiprocessing.get_context("fork").Value("i", 0)
            for _ in range(jobs):
                self._start()

    def results(self) -> list[Drawn]:
        """One for each figure, in their order."""
        while self._workers:
            for end in wait(list(self._workers)):
                assert isinstance(end, Connection)
                self._hear(end)
        left = (place for place in range(len(self._figures)) if place not in self._found)
        self._found |= {place: draw(self._figures[place], self._data) for place in left}
        return [self._found[place] for place in range(len(self._figures))]

    def _start(self) -> None:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=self._work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        self._workers[ours], self._processes[ours] = None, process

    def _work(self, end: Connection) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its children
        while True:
            with self._next.get_lock():
                place = self._next.value
                self._next.value += 1
            if place >= len(self._figures):
                end.send(None)
                os._exit(0)  # what the parent registered to do at its end is not the child's to do
            end.send(place)
            end.send(draw(self._figures[place], self._data))

    def _hear(self, end: Connection) -> None:
        """One message: the number of the figure that is begun, what became of it, or None at the end."""
        at = self._workers[end]
        try:
            told = end.recv()
        except (EOFError, OSError):
            self._ended(end)
            if at is not None:
                self._found[at] = "the process that drew it ended"
                self._start()
            return
        if at is not None:
            self._found[at], self._workers[end] = told, None
        elif told is None:
            self._ended(end)
        else:
            self._workers[end] = told

    def _ended(self, end: Connection) -> None:
        del self._workers[end]
        self._processes.pop(end).join()
        end.close()


def draw(figure: Figure, data: pd.DataFrame) -> Drawn:
    """One figure in all formats; whatever a plugin raises is a sentence."""
    try:
        with warnings.catch_warnings():  # a sign that the font lacks is drawn as a box, and there may be many
            warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from", UserWarning)
            canvas = figure.draw(data.copy(deep=False)) if len(data) else None
            return None if canvas is None else {kind: style.render(canvas, kind) for kind in KINDS}
    except PLUGIN_ERRORS as error:  # one broken figure must not cost the report
        return f"{type(error).__name__}: {error}"


def _cores() -> int:
    affinity: Callable[[int], set[int]] | None = vars(os).get("sched_getaffinity")  # absent on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _may_fork() -> bool:
    return sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules
