"""Copy what followed the nearest state seen before, in the context or the training series.

The nearest in Euclidean distance of the last `delay` states; what followed it is copied for up to `reuse` samples or
to the end of its series, then the search begins anew. Learns nothing but stores its library. An attractor's analogues
are as near as its dimension and the length of the library allow. Computes in float64. Entries, with their defaults:

delay = 3       states that are compared
context = 50    last states that are searched beside the training series; 0: none
reuse = 1000    samples copied from one match

Reference: E. N. Lorenz, Journal of the Atmospheric Sciences 26 (1969) 636, for forecasts by analogues; Y. Zhang and
W. Gilpin, arXiv:2409.15771, for context parroting as the baseline of forecasts of chaos.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from scipy.spatial import cKDTree

from ...suite.contracts import Array, Learned
from ...suite.errors import UsageError
from .recursion import DelayLine
from .rung import Lesson, Option, Rung, fitted


@final
@dataclass(frozen=True)
class Parrot:
    """A library, searched by a tree of its delay vectors, as a `Recursion`.

    library (n, channels): all training series, one after the other; follows (n,): whether the next entry belongs to
    the same series. places: the entry at which each delay vector of the tree ends. The memory: the last states, then
    where the last match is and how many samples of it are still to be copied. A match in the library is the entry's
    place; one in the memory is -m, m states before the newest, which stays true as both move on.
    """

    line: DelayLine
    delay: int
    context: int
    reuse: int
    library: Array
    follows: Array
    places: Array
    tree: Any
    increment: Array

    @property
    def size(self) -> int:
        return self.line.size + 2

    def begin(self, batch: int) -> Array:
        return np.concatenate([self.line.begin(batch), np.zeros((batch, 2))], axis=1)

    def advance(self, memory: Array, inputs: Array) -> tuple[Array, Array]:
        fresh = np.isnan(memory[:, : self.line.size]).all(axis=1) if self.line.size else np.zeros(len(memory), bool)
        past = self.line.push(memory[:, : self.line.size], inputs)
        recent, known = self.line.view(past), np.isfinite(inputs).all(axis=1)
        match, left = memory[:, -2].astype(int), memory[:, -1].astype(int)
        match = np.where(match >= 0, match + 1, match)
        match = np.where(match < len(self.library), match, 0)
        search = (left <= 0) | fresh | ((match >= 0) & ~self.follows[np.maximum(match, 0)])
        search &= known
        if search.any():
            match[search], left[search] = self._nearest(recent[search]), self.reuse
        copied = np.where(
            (match >= 0)[:, None],
            self.library[np.clip(match + 1, 0, len(self.library) - 1)],
            recent[np.arange(len(recent)), np.clip(-match - 1, 0, self.line.length - 1)],
        )
        return np.column_stack([past, match, left - 1]), (copied - inputs) / self.increment

    def _nearest(self, recent: Array) -> Array:
        """Matches of states (batch, length, channels), the newest first."""
        distance, found = self.tree.query(recent[:, : self.delay].reshape(len(recent), -1))
        match: Array = self.places[found].copy()
        for back in range(1, self.context - self.delay + 1):
            gap = np.linalg.norm(
                (recent[:, back : back + self.delay] - recent[:, : self.delay]).reshape(len(recent), -1), axis=1
            )
            # a past that only stands still, as a fresh memory has it, is no past: an exact repeat of all is skipped
            still = (recent[:, : back + self.delay] == recent[:, :1]).all(axis=(1, 2))
            nearer = (gap < distance) & ~still
            match, distance = np.where(nearer, -back, match), np.where(nearer, gap, distance)
        return match


def learn(lesson: Lesson) -> Learned:
    """Store the training series. Raises `UsageError` where they are shorter than a delay vector and its successor."""
    started = time.perf_counter()
    delay, context, reuse = (lesson.options[key] for key in ("delay", "context", "reuse"))
    series = lesson.series
    samples, count, channels = series.shape
    if samples < delay + 1:
        raise UsageError(
            f"cell 'parroting' compares {delay} states and copies the next: expected a longer training series than "
            f"{samples} samples."
        )
    library = series.transpose(1, 0, 2).reshape(-1, channels)
    follows = np.tile(np.arange(samples) < samples - 1, count)
    ends = np.tile((np.arange(samples) >= delay - 1) & (np.arange(samples) < samples - 1), count)
    places = np.flatnonzero(ends)
    vectors = np.concatenate([library[places - k] for k in range(delay)], axis=1)
    line = DelayLine(max(delay, context), channels)
    increment = np.asarray(lesson.task.increment, dtype=np.float64)
    parrot = Parrot(line, delay, context, reuse, library, follows, places, cKDTree(vectors), increment)
    return fitted(lesson, parrot, started, {"parameters": 0, "library_samples": len(library)})


FORECASTER = Rung(
    "parroting",
    "Lorenz 1969, Journal of the Atmospheric Sciences 26:636; Zhang and Gilpin 2024, arXiv:2409.15771",
    learn,
    {
        "delay": Option(3, least=1),
        "context": Option(50, least=0),
        "reuse": Option(1000, least=1),
    },
)
