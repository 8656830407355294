"""Seconds of several ways to do one thing: on the same cores, in turn, in one process."""

from __future__ import annotations

import gc
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ...suite.contracts import Timing
from ...suite.errors import MissingPackage, UsageError

Run: TypeAlias = Callable[[], Any]

SHORTEST = 0.02
"""Seconds that a round lasts at least: shorter work is done several times in it."""

PATIENCE = 6.0
"""Seconds after which one that has had `FEWEST` rounds takes part in no further one, or a single round where its call
takes as long by itself."""

FEWEST = 3


@dataclass(frozen=True)
class Peer:
    """make: builds what is timed (imports, weights, inputs), untimed. factor: what its seconds are multiplied by.
    operations: see `Timing`."""

    name: str
    make: Callable[[], Run]
    factor: float = 1.0
    operations: float = 0.0


def measure(peers: Sequence[Peer], rounds: int, settle: Callable[[], None] = lambda: None) -> list[Timing]:
    """Every peer's timing, in their order: the first call, one to warm up, then the rounds of all in turn.

    Each round begins with another peer. settle: waits for what the device still does. Whatever a peer raises is its
    reason.
    """
    found: dict[str, _Clock] = {}
    reasons: dict[str, str] = {}
    for peer in peers:
        try:
            found[peer.name] = _Clock(peer, settle)
        except ImportError as error:
            reasons[peer.name] = f"package {error.name or '?'} is not installed"
        except (UsageError, MissingPackage) as error:
            reasons[peer.name] = str(error)
        except Exception as error:  # a library may raise anything; the others are measured all the same
            reasons[peer.name] = f"{type(error).__name__}: {str(error)[:300]}"
    clocks = list(found.values())
    gc.collect()
    gc.freeze()  # what is there by now is not looked through again
    try:
        for number in range(rounds):
            gc.collect()
            turn = number % max(1, len(clocks))
            for clock in clocks[turn:] + clocks[:turn]:
                if clock.spent < PATIENCE or len(clock.seconds) < clock.fewest:
                    clock.round()
    finally:
        gc.unfreeze()
    return [
        Timing(peer.name, reason=reasons[peer.name])
        if peer.name in reasons
        else Timing(
            peer.name, tuple(found[peer.name].seconds), found[peer.name].first, operations=float(peer.operations)
        )
        for peer in peers
    ]


def first_call(run: Run, settle: Callable[[], None] = lambda: None) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    settle()
    return time.perf_counter() - start


class _Clock:
    """One peer that has run twice."""

    def __init__(self, peer: Peer, settle: Callable[[], None]) -> None:
        self._run, self._settle, self._factor, self._calls = peer.make(), settle, peer.factor, 1
        self.seconds: list[float] = []
        self.spent = 0.0
        settle()
        self.first = self._timed()
        warm = self._timed()
        self.fewest = FEWEST if warm / self._factor < PATIENCE else 1
        self._calls = max(1, min(10_000, math.ceil(SHORTEST / max(warm / self._factor, 1e-9))))

    def round(self) -> None:
        self.seconds.append(self._timed())

    def _timed(self) -> float:
        """Seconds of one call, the mean over `calls` of them."""
        gc.disable()
        try:
            start = time.perf_counter()
            for _ in range(self._calls):
                self._run()
            self._settle()
            whole = time.perf_counter() - start
        finally:
            gc.enable()
        self.spent += whole
        return whole / self._calls * self._factor


@contextmanager
def cores(threads: int) -> Iterator[None]:
    """Give torch so many threads, and the whole process so many cores where the system can pin it; undone afterwards.

    Libraries without a number of threads of their own (jax, the BLAS of NumPy) are held to these cores alike. Raises
    `UsageError` for more threads than there are cores.
    """
    import torch

    allowed = sorted(allowed_cores())
    if threads > len(allowed):
        raise UsageError(f"{threads} threads were asked for: this process may use {len(allowed)} cores.")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    _pin(set(allowed[:threads]))
    try:
        yield
    finally:
        _pin(set(allowed))
        torch.set_num_threads(before)


def allowed_cores() -> set[int]:
    """Those that this process may use."""
    found: set[int] = set()
    if sys.platform == "linux":  # which alone can pin
        found = set(os.sched_getaffinity(0))
    return found or set(range(os.cpu_count() or 1))


def _pin(chosen: set[int]) -> None:
    """Every thread of this process: those that libraries have started keep their own affinity otherwise."""
    if sys.platform == "linux":
        for thread in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # it may have ended meanwhile
                os.sched_setaffinity(int(thread.name), chosen)
