"""The order of a splitting, computed from its fractions in a truncated algebra of words.

The flows of vector fields A, B, ... compose like exp(hA) exp(hB) ... of non-commuting letters (E. Hairer, C. Lubich,
G. Wanner, *Geometric Numerical Integration*, 2nd ed. 2006, section III.5), so the order is the length up to which the
words of the product have the coefficients of exp(h(A + B + ...)), where a word of k letters has 1/k!.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import TypeAlias

from ..suite.errors import UsageError
from .splitting import Linear, Splitting

Series: TypeAlias = dict[tuple[int, ...], Fraction]
"""The coefficient of each word; a word is a tuple of letters, the letters are the parts."""


def flow_coefficient(linear: Linear, k: int) -> Fraction:
    """Of X^k in the map that stands for a linear part X: exp(X), or Cayley's (I - X/2)^(-1) (I + X/2)."""
    if linear == "exact" or k == 0:
        return Fraction(1, math.factorial(k))
    return Fraction(1, 2 ** (k - 1))


def series(splitting: Splitting, parts: int, length: int) -> Series:
    """The product of the flows, every part taken as a linear one, up to words of that length."""
    result: Series = {(): Fraction(1)}
    for part, fraction in splitting.sequence(parts):
        grown: Series = {}
        for word, value in result.items():
            for k in range(length - len(word) + 1):
                longer = (*word, *[part] * k)
                change = value * fraction**k * flow_coefficient(splitting.linear, k)
                grown[longer] = grown.get(longer, Fraction(0)) + change
        result = grown
    return result


def computed_order(splitting: Splitting, parts: int = 3, limit: int = 5) -> int:
    """The largest p <= limit for which every word of up to p letters has its coefficient, exactly."""
    found = series(splitting, parts, limit)
    for p in range(1, limit + 1):
        if any(found.get(word, 0) != Fraction(1, math.factorial(p)) for word in product(range(parts), repeat=p)):
            return p - 1
    return limit


def verify(splitting: Splitting) -> None:
    """Raise `UsageError` unless the splitting has exactly the order that it claims, in two, three and four parts."""
    for parts in (2, 3, 4):
        found = computed_order(splitting, parts, splitting.order + 1)
        if found != splitting.order:
            seen = found if found <= splitting.order else f"at least {found}"
            raise UsageError(
                f"splitting {splitting.name!r} claims order {splitting.order}, "
                f"but its order is {seen} for {parts} parts."
            )
