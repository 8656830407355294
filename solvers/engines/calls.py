"""What calls of compiled initial value problems share: compiled code by tableau, addresses, threads."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, final

import numpy as np

from ...suite.contracts import Array
from ..tableau import Tableau

Compiled: TypeAlias = Callable[..., None]

MOST_CODES = 512
ALIGNED_BYTES = 64


@final
@dataclass(frozen=True)
class Code:
    """Compiled functions, and how many stages a step has."""

    functions: tuple[Compiled, ...]
    stages: int


_CODES: dict[tuple[Any, ...], tuple[Tableau, Any]] = {}
"""By right-hand side and the identity of a tableau, which is kept: hashing all its fractions costs more than steps."""
_changing = threading.Lock()

Made = TypeVar("Made")


def kept(tableau: Tableau, key: tuple[Any, ...], make: Callable[[], Made]) -> Made:
    """What was made for a tableau and a key; made where it is not in memory. One key, one type."""
    full = (id(tableau), *key)
    with _changing:
        there = _CODES.get(full)
    if there is not None:
        found: Made = there[1]
        return found
    made = make()
    with _changing:
        while len(_CODES) >= MOST_CODES:
            del _CODES[next(iter(_CODES))]
        _CODES[full] = (tableau, made)
    return made


def address(array: Array) -> int:
    """Where its numbers lie; a third of the time that `array.ctypes` takes."""
    found: int = array.__array_interface__["data"][0]
    return found


def zeros(shape: tuple[int, ...], dtype: str) -> Array:
    """An array of zeros that starts where a register's load crosses no cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + ALIGNED_BYTES, dtype=np.uint8)
    skipped = -address(memory) % ALIGNED_BYTES
    return memory[skipped : skipped + size].view(dtype).reshape(shape)


def held(batch: int) -> int:
    """The smallest power of two that is at least the batch."""
    return 1 << (batch - 1).bit_length()


def spread(part: Callable[[int, int], None], total: int, width: int, threads: int) -> None:
    """part(first, last) over all trajectories, whole groups of `width` on every thread."""
    groups = total // width
    count = max(1, min(threads, groups))
    if count == 1:
        part(0, total)
        return
    edges = [width * (groups * i // count) for i in range(count + 1)]
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(part, first, last) for first, last in itertools.pairwise(edges)]:
            done.result()
