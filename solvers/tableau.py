"""A Runge-Kutta method as exact numbers and a reference; everything else about it is derived.

Notation of Hairer, Norsett, Wanner, *Solving Ordinary Differential Equations I* (2nd ed., 1993), section II.1: stage
coefficients A (s x s), weights b, nodes c, embedded weights b_hat. The numbers are rational, or of one real quadratic
field such as Q(sqrt 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

from ..suite.errors import UsageError
from .coefficients import (
    Arrays,
    Matrix,
    Number,
    Row,
    check_root,
    check_shape,
    exact,
    exact_row,
    read_only,
    row_sums,
)
from .partitioned_tableau import PartitionedTableau
from .quadratic import Scalar
from .splitting import Splitting

__all__ = ["Arrays", "Method", "Number", "Tableau", "exact"]


@dataclass(frozen=True)
class Tableau:
    """One Runge-Kutta method, with embedded weights or without.

    A, b, b_hat accept any `Number` and hold Fractions, or `Quadratic` numbers, afterwards. order and embedded_order are
    the author's claims; `solvers.order` computes them from the coefficients and the tests compare. tolerance: 0 where
    the coefficients are the exact ones; where only decimals are known, the largest residual of an order condition that
    rounding explains.
    Equality and hash are those of name and coefficients. Raises `UsageError` for an impossible shape or coefficient.
    """

    name: str
    A: Matrix
    b: Row
    order: int = field(compare=False)
    reference: str = field(compare=False)
    b_hat: Row | None = None
    embedded_order: int | None = field(default=None, compare=False)
    tolerance: Scalar = field(default=Fraction(0), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "A", tuple(exact_row(values) for values in self.A))
        object.__setattr__(self, "b", exact_row(self.b))
        object.__setattr__(self, "b_hat", None if self.b_hat is None else exact_row(self.b_hat))
        object.__setattr__(self, "tolerance", exact(self.tolerance))
        check_shape(self.name, self.A, self.b)
        if self.b_hat is not None and len(self.b_hat) != self.stages:
            raise UsageError(f"tableau {self.name!r} has {len(self.b_hat)} embedded weights: expected {self.stages}.")
        check_root(self.name, (*self.A, self.b, self.b_hat or ()))
        if (self.b_hat is None) != (self.embedded_order is None):
            raise UsageError(f"tableau {self.name!r} needs both b_hat and embedded_order, or neither.")

    @property
    def stages(self) -> int:
        return len(self.b)

    @cached_property
    def c(self) -> Row:
        """The nodes: row sums of A (HNW II.1, eq. 1.9), exact."""
        return row_sums(self.A)

    @cached_property
    def explicit(self) -> bool:
        """A is strictly lower triangular."""
        return not any(any(row[i:]) for i, row in enumerate(self.A))

    @cached_property
    def diagonally_implicit(self) -> bool:
        """A is lower triangular: stages can be solved one after another. True of explicit tableaux too."""
        return not any(any(row[i + 1 :]) for i, row in enumerate(self.A))

    @cached_property
    def fsal(self) -> bool:
        """First same as last: explicit, the last stage is f(t + h, y+), so it is the next step's first one."""
        return self.stages > 1 and self.explicit and self.stiffly_accurate

    @cached_property
    def stiffly_accurate(self) -> bool:
        """The last stage is the result: the last row of A is b, and the last node is 1."""
        return self.A[-1] == self.b and self.c[-1] == 1

    @cached_property
    def arrays(self) -> Arrays:
        """The coefficients as float64 arrays."""
        hat = None if self.b_hat is None else read_only(self.b_hat)
        return Arrays(A=read_only(self.A), b=read_only(self.b), c=read_only(self.c), b_hat=hat)


Method: TypeAlias = Tableau | PartitionedTableau | Splitting
"""Whatever makes a step: a Runge-Kutta method, one for each block of the state, or a composition of flows."""
