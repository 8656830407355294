"""A Runge-Kutta method as exact numbers and a reference; everything else about it is derived.

Notation of Hairer, Norsett, Wanner, *Solving Ordinary Differential Equations I* (2nd ed., 1993), section II.1: stage
coefficients A (s x s), weights b, nodes c, embedded weights b_hat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..suite.errors import UsageError

Number: TypeAlias = Fraction | int | str
"""What a coefficient may be written as: 1, "1/2", "0.161" or a Fraction. A float is not exact, and refused."""


def exact(value: Number) -> Fraction:
    """The coefficient as a Fraction. Raises `UsageError` for anything but an integer, a Fraction or their text."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError):
            pass
    raise UsageError(
        f"tableau coefficient {value!r} is not exact: expected an integer, a Fraction or text such as '1/2'."
    )


@dataclass(frozen=True)
class Arrays:
    """A tableau in float64, each entry the exact one rounded once. A (s, s); b, c, b_hat (s,); all read-only."""

    A: npt.NDArray[np.float64]
    b: npt.NDArray[np.float64]
    c: npt.NDArray[np.float64]
    b_hat: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class Tableau:
    """One Runge-Kutta method, with embedded weights or without.

    A, b, b_hat accept any `Number` and hold Fractions afterwards. order and embedded_order are the author's claims;
    `solvers.order` computes them from the coefficients and the tests compare. tolerance: 0 where the coefficients are
    the exact ones; where only decimals are known, the largest residual of an order condition that rounding explains.
    Equality and hash are those of name and coefficients. Raises `UsageError` for an impossible shape or coefficient.
    """

    name: str
    A: tuple[tuple[Fraction, ...], ...]
    b: tuple[Fraction, ...]
    order: int = field(compare=False)
    reference: str = field(compare=False)
    b_hat: tuple[Fraction, ...] | None = None
    embedded_order: int | None = field(default=None, compare=False)
    tolerance: Fraction = field(default=Fraction(0), compare=False)

    def __post_init__(self) -> None:
        def row(values: Sequence[Number]) -> tuple[Fraction, ...]:
            return tuple(exact(value) for value in values)

        object.__setattr__(self, "A", tuple(row(values) for values in self.A))
        object.__setattr__(self, "b", row(self.b))
        object.__setattr__(self, "b_hat", None if self.b_hat is None else row(self.b_hat))
        object.__setattr__(self, "tolerance", exact(self.tolerance))
        s = len(self.b)
        if s == 0:
            raise UsageError(f"tableau {self.name!r} has no weights: expected at least one stage.")
        if [len(values) for values in self.A] != [s] * s:
            shape = ", ".join(str(len(values)) for values in self.A)
            raise UsageError(
                f"tableau {self.name!r} has {s} weights but rows of A of length {shape}: expected {s} x {s}."
            )
        if self.b_hat is not None and len(self.b_hat) != s:
            raise UsageError(f"tableau {self.name!r} has {len(self.b_hat)} embedded weights: expected {s}.")
        if (self.b_hat is None) != (self.embedded_order is None):
            raise UsageError(f"tableau {self.name!r} needs both b_hat and embedded_order, or neither.")

    @property
    def stages(self) -> int:
        return len(self.b)

    @cached_property
    def c(self) -> tuple[Fraction, ...]:
        """The nodes: row sums of A (HNW II.1, eq. 1.9), exact."""
        return tuple(sum(row, Fraction(0)) for row in self.A)

    @cached_property
    def explicit(self) -> bool:
        """A is strictly lower triangular."""
        return not any(any(row[i:]) for i, row in enumerate(self.A))

    @cached_property
    def fsal(self) -> bool:
        """First same as last: explicit, the last stage is f(t + h, y+), so it is the next step's first one."""
        return self.stages > 1 and self.explicit and self.A[-1] == self.b and self.c[-1] == 1

    @cached_property
    def arrays(self) -> Arrays:
        """The coefficients as float64 arrays."""

        def cast(values: object) -> npt.NDArray[np.float64]:
            array = np.array(values, dtype=np.float64)
            array.flags.writeable = False
            return array

        hat = None if self.b_hat is None else cast(self.b_hat)
        return Arrays(A=cast(self.A), b=cast(self.b), c=cast(self.c), b_hat=hat)
