"""How much memory it takes to train on a sequence of a given length."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...suite.contracts import Audit, Budget, Outcome, Solver
from ...suite.cost import peak_memory_mib
from ...suite.errors import UsageError

WARM = 4
"""Inputs of the sequence on which everything is loaded and compiled before anything is measured."""

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
"""Of Linux: a 5 written to the first makes the peak of the resident memory start anew; the second shows it."""


@dataclass(frozen=True)
class Footprint(Audit):
    """The memory that one step of training on `batch` sequences of `length` inputs adds to a process, at its peak.

    A step is `Solver.training_step`: forward and backward pass and an update by Adam. What is measured is the rise of
    the process's resident memory while it runs, after a step on `WARM` inputs has loaded libraries and compiled code;
    the sequences themselves are there before and do not count. It includes what the allocators of the libraries keep
    for themselves, so that small numbers (a few MiB) say little. Linux tells the peak of the step itself. Elsewhere it
    is the rise of the largest resident memory that the process ever had, which needs a process of its own: the same
    unless more was in use before.

    length, batch: at least 1. Raises `UsageError` otherwise.
    """

    length: int = 1000
    batch: int = 32

    name: ClassVar[str] = "footprint"
    primary_metric: ClassVar[str] = "training_memory_mib"

    def __post_init__(self) -> None:
        for key, value in (("length", self.length), ("batch", self.batch)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"footprint needs {key} of at least 1, got {value!r}.")

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: training_memory_mib, train_step_seconds (of that same first step). The budget is unused."""
        solver.training_step(WARM, self.batch, seed)()
        memory, seconds = added_memory_mib(solver.training_step(self.length, self.batch, seed))
        return Outcome(metrics={"training_memory_mib": memory, "train_step_seconds": seconds})


def added_memory_mib(call: Callable[[], object]) -> tuple[float, float]:
    """How far the resident memory of this process rises while `call` runs, in MiB, and how long it takes, in s."""
    gc.collect()
    before = _restarted_peak()
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    return max(0.0, _peak() - before), seconds


def _restarted_peak() -> float:
    """The peak of the resident memory from here on, so far: what is resident now, where the system can start anew."""
    if sys.platform == "linux":
        with suppress(OSError):  # a container may forbid it
            CLEAR.write_text("5")
    return _peak()


def _peak() -> float:
    """The largest resident memory in MiB, since the last restart where there was one."""
    if sys.platform == "linux":
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    return peak_memory_mib()


TASK = Footprint
