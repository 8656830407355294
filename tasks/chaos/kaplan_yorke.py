"""The dimension that Lyapunov exponents give an attractor.

Kaplan and Yorke 1979, Chaotic behavior of multidimensional difference equations, Lecture Notes in Mathematics 730:204,
as the formula of Frederickson, Kaplan, Yorke and Yorke 1983, J. Differential Equations 49:185.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def kaplan_yorke(exponents: Sequence[float]) -> float:
    """j + (lambda_1 + ... + lambda_j) / |lambda_{j+1}|, j the last number of exponents with a sum of at least 0.

    exponents: the leading ones, in any order and any unit of rate. A pure number: 0 where the largest is negative, the
    number of exponents where all of them have a sum of at least 0 (a lower bound if some were left out), NaN if one is.
    """
    ordered = sorted((float(value) for value in exponents), reverse=True)
    if any(math.isnan(value) for value in ordered):
        return math.nan
    total = 0.0
    for count, value in enumerate(ordered):
        if total + value < 0.0:
            return count + total / abs(value) if count else 0.0
        total += value
    return float(len(ordered))
