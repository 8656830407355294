"""What a run costs: wall time and peak memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Cost:
    """seconds: wall time of the measured block, 0 until it ends. peak_memory_mib: see `peak_memory_mib`, at its end."""

    seconds: float = 0.0
    peak_memory_mib: float = 0.0

    def row(self) -> dict[str, float]:
        """By the names a row uses."""
        return {"seconds": self.seconds, "peak_memory_mib": self.peak_memory_mib}


def peak_memory_mib() -> float:
    """The largest resident set of this process since it started, in MiB; it never falls.

    To attribute it to one run, give the run a process of its own. `ru_maxrss` is in KiB on Linux, in bytes on macOS.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure a block: `with measured() as cost: ...`. The result is filled in when the block ends, by an error too."""
    cost = Cost()
    start = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - start
        cost.peak_memory_mib = peak_memory_mib()
