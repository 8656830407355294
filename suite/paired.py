"""Statistics of paired differences: exact sign flips, Holm's correction, bootstrap intervals.

Pure NumPy and scipy.special. One group is one setting, a difference in it is one seed's. Same input, same output: what
is drawn has a named stream, and no sum is left to a library whose order of summation depends on threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .seeds import stream

Array = npt.NDArray[Any]

EXACT = 30
"""Up to so many differences every sign flip is counted; beyond, `DRAWS` random ones are."""
DRAWS = 99_999
RESAMPLES = 9_999
_BLOCK = 2_000_000
"""Numbers held at once."""


def sign_flip(differences: Sequence[float] | Array, rounding: float = 0.0) -> float:
    """Two-sided p-value of the mean of differences (n,) under flips of their signs: the share of all 2^n that give a
    sum at least as far from zero (Fisher 1935, The Design of Experiments, section 21).

    rounding: sums that differ by no more (or by their own rounding) count as equal, which can only raise the p-value.
    Above `EXACT` differences that are not zero: (1 + hits) / (1 + draws) over random flips (Phipson and Smyth 2010).
    """
    return sign_flips([np.asarray(differences, float)], [rounding])[0]


def sign_flips(groups: Sequence[Array], roundings: Sequence[float]) -> list[float]:
    """`sign_flip` of many groups; those of equal length beyond `EXACT` are flipped by the same draws."""
    found = [1.0] * len(groups)
    drawn: dict[int, list[tuple[int, Array, float]]] = {}
    for place, (group, rounding) in enumerate(zip(groups, roundings, strict=True)):
        given = group[group != 0]
        total = math.fsum(np.abs(given))
        edge = abs(math.fsum(given)) - rounding - len(given) * 2.0**-51 * total  # what sums of them may be off by
        if edge > 0 and len(given) > EXACT:
            drawn.setdefault(len(given), []).append((place, given, edge))
        elif edge > 0:
            found[place] = _counted(given, edge)
    for several in drawn.values():
        places, rows, edges = zip(*several, strict=True)
        for place, p in zip(places, _drawn(np.array(rows), np.array(edges)).tolist(), strict=True):
            found[place] = p
    return found


def _counted(given: Array, edge: float) -> float:
    half = len(given) // 2
    left, right = _signed_sums(given[:half]), np.sort(_signed_sums(given[half:]))
    # S and -S are equally frequent: twice the sums beyond the edge on one side
    hits = len(left) * len(right) - int(np.searchsorted(right, edge - left, side="left").sum())
    return float(min(1.0, 2.0 * hits / 2.0 ** len(given)))


def _signed_sums(numbers: Array) -> Array:
    sums = np.zeros(1)
    for number in numbers:
        sums = np.concatenate([sums + number, sums - number])
    return sums


def _drawn(given: Array, edges: Array) -> Array:
    """given (groups, n), edges (groups,): their p-values (groups,)."""
    groups, count = given.shape
    random, hits = stream(0, f"compare/signs/{count}"), np.zeros(groups, int)
    block = max(1, _BLOCK // max(count, groups))
    for start in range(0, DRAWS, block):
        signs = random.integers(0, 2, (min(block, DRAWS - start), count), dtype=np.int8) * 2.0 - 1.0
        hits += np.count_nonzero(np.abs(signs @ given.T) >= edges, axis=0)
    return np.asarray((1 + hits) / (1 + DRAWS))


def smallest(count: int) -> float:
    """The smallest p-value that `sign_flip` can give of so many differences that are not zero."""
    return 1.0 / (1 + DRAWS) if count > EXACT else min(1.0, 2.0 ** (1 - count))


def needed(alpha: float, groups: int = 1) -> int:
    """How many seeds a group needs so that `sign_flip`, corrected over the groups, can come down to alpha."""
    return next(count for count in range(1, 1100) if max(groups, 1) * 2.0 ** (1 - count) <= alpha)


def testable(lowest: Sequence[float] | Array, alpha: float) -> tuple[npt.NDArray[np.bool_], int]:
    """Which hypotheses to test at all, by the smallest p-value that each can reach, and the number to correct for.

    A hypothesis that could not be rejected whatever its signs costs the others nothing (Tarone 1990, Biometrics
    46:515): of the numbers K with at most K hypotheses that can reach alpha / K, the smallest. The smallest p-value
    does not depend on the signs, so that the choice leaves the tests as they are.
    """
    low = np.asarray(lowest, float)
    ordered = np.sort(low)
    for number in range(1, len(low) + 1):
        if np.searchsorted(ordered, alpha / number, side="right") <= number:
            return low <= alpha / number, number
    return np.zeros(len(low), bool), 1


def holm(p: Sequence[float] | Array) -> Array:
    """P-values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6:65): at most one of them
    falls to alpha or below by chance with probability alpha, however they depend on each other."""
    given = np.asarray(p, float)
    order = np.argsort(given, kind="stable")
    corrected = np.empty(len(given))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)))
    return corrected


def intervals(differences: Array, level: float) -> Array:
    """Bootstrap intervals (groups, 2) of the mean differences of groups with equally many seeds, (groups, n), n > 1.

    The percentile interval, its level raised so that with few seeds it is as wide as Student's (Hesterberg 2015, The
    American Statistician 69:371, "expanded percentile"). Of 6 normal differences these intervals at 95 % cover the mean
    94 times of 100, plain percentile ones 86; of log-normal ones 82 and 73. They cannot reach beyond the smallest and
    the largest difference: below `needed` seeds no level is kept.
    """
    from scipy.special import ndtr, stdtrit

    groups, count = differences.shape
    tail = float(ndtr(math.sqrt(count / (count - 1)) * stdtrit(count - 1, (1 - level) / 2)))
    resamples = max(999, min(RESAMPLES, 10 * _BLOCK // count))
    random = stream(0, f"compare/bootstrap/{count}")
    block = max(1, _BLOCK // count)
    weights = [
        random.multinomial(count, np.full(count, 1 / count), size=min(block, resamples - start)).astype(np.float32)
        for start in range(0, resamples, block)
    ]
    found = np.empty((groups, 2))
    at_once = max(1, 4 * _BLOCK // resamples)
    for start in range(0, groups, at_once):
        part = differences[start : start + at_once]
        means = np.concatenate([_weighted(part, each) for each in weights], axis=1) / count
        found[start : start + at_once] = np.quantile(means, [tail, 1 - tail], axis=1).T
    low, high = differences.min(axis=1), differences.max(axis=1)  # rounding of the sums must not pass them
    return np.clip(found, low[:, None], high[:, None])


def _weighted(differences: Array, weights: Array) -> Array:
    """differences (groups, n), weights (resamples, n) -> (groups, resamples), summed in the order of the seeds."""
    total = np.zeros((len(differences), len(weights)))
    for column in range(differences.shape[1]):
        total += differences[:, column, None] * weights[None, :, column]
    return total
