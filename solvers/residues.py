"""Exact rational arithmetic modulo a prime: the degree of a polynomial of thousands, without thousand-digit numbers.

A rational coefficient p/q, or one of a real quadratic field, becomes a residue; sums and products of residues are the
residues of sums and products. So a polynomial's degree modulo the prime is its degree, unless the prime divides the
leading coefficient: it never reads too high, and two primes rarely both too low.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..suite.errors import UsageError
from .quadratic import Quadratic

PRIMES = (2147482681, 2147480161)
"""Below 2^31, so that a product fits into 64 bits; 1 modulo 840, so that 2, 3, 5, 7 and their products have roots."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Residues:
    """An array of residues. Takes sums, differences and products with its like, with integers and exact numbers."""

    values: Integers
    prime: int

    def __add__(self, other: Any) -> Residues:
        return Residues((self.values + self._of(other)) % self.prime, self.prime)

    def __mul__(self, other: Any) -> Residues:
        return Residues(self.values * self._of(other) % self.prime, self.prime)

    __radd__ = __add__
    __rmul__ = __mul__

    def _of(self, other: Any) -> Any:
        return other.values if isinstance(other, Residues) else residue(other, self.prime)


@lru_cache(maxsize=4096)
def residue(number: Any, prime: int) -> int:
    """An exact number's residue. Raises `UsageError` for a root that the prime does not have."""
    if isinstance(number, Quadratic):
        return (residue(number.p, prime) + residue(number.q, prime) * _root(number.d, prime)) % prime
    exact = Fraction(number)
    return exact.numerator * pow(exact.denominator, -1, prime) % prime


@lru_cache(maxsize=64)
def _root(d: int, prime: int) -> int:
    """A square root of d modulo a prime (Tonelli and Shanks)."""
    if pow(d, (prime - 1) // 2, prime) != 1:
        raise UsageError(f"sqrt({d}) has no counterpart modulo {prime}: expected roots of products of 2, 3, 5 and 7.")
    odd, twos = prime - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    z = next(z for z in range(2, prime) if pow(z, (prime - 1) // 2, prime) == prime - 1)
    c, x, t = pow(z, odd, prime), pow(d, (odd + 1) // 2, prime), pow(d, odd, prime)
    while t != 1:
        k, power = 0, t
        while power != 1:
            power, k = power * power % prime, k + 1
        b = pow(c, 1 << (twos - k - 1), prime)
        x, c, twos = x * b % prime, b * b % prime, k
        t = t * c % prime
    return x


def degree(values: Integers, prime: int) -> int | None:
    """The degree of the polynomial that takes these values at 0, 1, 2, ...; values: (..., points), the largest counts.

    By finite differences: of a polynomial of degree d the (d + 1)-th vanish. None where the points are too few to tell.
    """
    found, work = 0, values % prime
    for order in range(values.shape[-1]):
        if work.any():
            found = order
        elif order > found + 1:
            return found
        work = np.diff(work) % prime
    return found if found < values.shape[-1] - 1 else None
