"""A partitioned Runge-Kutta method: one tableau for each block of the state.

    Y_i^k = y^k + h sum_j a^k_ij f^k(Y_j),   y+^k = y^k + h sum_i b^k_i f^k(Y_i),   k = 0, 1

E. Hairer, C. Lubich, G. Wanner, *Geometric Numerical Integration* (2nd ed., 2006), section II.2.1. Block 0 is the
position (the output), block 1 the momentum (the memory). Fields of more blocks are not covered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

from ..suite.errors import UsageError
from .coefficients import Arrays, Matrix, Row, check_root, check_shape, exact_row, read_only, row_sums

Slopes: TypeAlias = tuple[int, int]
"""The slope of one block at one stage: (block, stage)."""

EVERY: tuple[frozenset[int], ...] = (frozenset({0, 1}), frozenset({0, 1}))
"""What the slopes of a general field read: p' = f(p, q), q' = g(p, q)."""

SEPARABLE: tuple[frozenset[int], ...] = (frozenset({1}), frozenset({0}))
"""What the slopes of a separable field read: p' = f(q), q' = g(p)."""


@dataclass(frozen=True)
class PartitionedTableau:
    """Two Runge-Kutta tableaux with the same number of stages, one for each block of the state.

    A, b accept any `Number` of `solvers.coefficients`. order is the author's claim for p' = f(p, q), q' = g(p, q);
    `solvers.coloured_trees` computes it. Equality and hash are those of name and coefficients. Raises `UsageError` for
    an impossible shape or coefficient.
    """

    name: str
    A: tuple[Matrix, Matrix]
    b: tuple[Row, Row]
    order: int = field(compare=False)
    reference: str = field(compare=False)

    def __post_init__(self) -> None:
        if len(self.A) != 2 or len(self.b) != 2:
            raise UsageError(f"partitioned tableau {self.name!r} has {len(self.A)} blocks: expected two.")
        object.__setattr__(self, "A", tuple(tuple(exact_row(row) for row in A) for A in self.A))
        object.__setattr__(self, "b", tuple(exact_row(b) for b in self.b))
        if len(self.b[0]) != len(self.b[1]):
            raise UsageError(
                f"partitioned tableau {self.name!r} has {len(self.b[0])} and {len(self.b[1])} weights: "
                "expected the same number of stages."
            )
        for A, b in zip(self.A, self.b, strict=True):
            check_shape(self.name, A, b)
        check_root(self.name, (*self.A[0], *self.A[1], *self.b))

    @property
    def stages(self) -> int:
        return len(self.b[0])

    @property
    def blocks(self) -> int:
        """The blocks of the state that it steps: two."""
        return len(self.b)

    @cached_property
    def c(self) -> tuple[Row, Row]:
        """The nodes of each block: row sums of its A, exact."""
        return row_sums(self.A[0]), row_sums(self.A[1])

    @cached_property
    def explicit(self) -> bool:
        """Whether no equation is to be solved, whatever the slopes read."""
        return self.schedule(EVERY) is not None

    @cached_property
    def explicit_when_separable(self) -> bool:
        """Whether no equation is to be solved where the slope of each block reads the other block only."""
        return self.schedule(SEPARABLE) is not None

    def schedule(self, dependencies: Sequence[frozenset[int]]) -> tuple[Slopes, ...] | None:
        """The slopes that the result needs, (block, stage), in an order in which each can be evaluated.

        dependencies: for each block the blocks that its slope reads. None where the slopes depend on each other in a
        circle, so that equations must be solved.
        """
        from .schedule import schedule

        plan = schedule(self, tuple(dependencies))
        if not plan.explicit:
            return None
        return tuple((k, stage) for group in plan.groups for stage, _, wanted in group.calls for k in wanted)

    @cached_property
    def arrays(self) -> Arrays:
        """The coefficients as float64 arrays: A (2, s, s), b and c (2, s)."""
        return Arrays(A=read_only(self.A), b=read_only(self.b), c=read_only(self.c), b_hat=None)


def _partitioned(
    name: str, position: tuple[str, ...], momentum: tuple[str, ...], b: tuple[str, str], order: int, reference: str
) -> PartitionedTableau:
    def rows(text: tuple[str, ...]) -> Matrix:
        return tuple(exact_row(row.split()) for row in text)

    weights = exact_row(b[0].split()), exact_row(b[1].split())
    return PartitionedTableau(name, (rows(position), rows(momentum)), weights, order, reference)


_GNI = "E. Hairer, C. Lubich, G. Wanner, Geometric Numerical Integration, 2nd ed., Springer (2006)"

_ENTRIES = (
    _partitioned(
        "symplectic-euler",
        ("0",),
        ("1",),
        ("1", "1"),
        1,
        "R. de Vogelaere, Methods of integration which preserve the contact transformation property of the Hamilton "
        f"equations, Univ. of Notre Dame (1956); {_GNI}, section I.1.2: momentum first, position with the new momentum",
    ),
    _partitioned(
        "symplectic-euler-position",
        ("1",),
        ("0",),
        ("1", "1"),
        1,
        f"{_GNI}, section I.1.2: position first, momentum with the new position; the adjoint of symplectic-euler",
    ),
    _partitioned(
        "stormer-verlet",
        ("0 0", "1/2 1/2"),
        ("1/2 0", "1/2 0"),
        ("1/2 1/2", "1/2 1/2"),
        2,
        "L. Verlet, Computer experiments on classical fluids, Phys. Rev. 159 (1967) 98-103, as kick, drift, kick; "
        f"{_GNI}, section II.2.1: Lobatto IIIA for the position, IIIB for the momentum",
    ),
    _partitioned(
        "lobatto3ab3",
        ("0 0 0", "5/24 1/3 -1/24", "1/6 2/3 1/6"),
        ("1/6 -1/6 0", "1/6 1/3 0", "1/6 5/6 0"),
        ("1/6 2/3 1/6", "1/6 2/3 1/6"),
        4,
        "G. Sun, Construction of high order symplectic Runge-Kutta methods, J. Comput. Math. 11 (1993) 250-260; "
        f"{_GNI}, section II.2.2: Lobatto IIIA for the position, IIIB for the momentum",
    ),
    _partitioned(
        "gauss-seidel-euler",
        ("0 0", "0 0"),
        ("0 0", "1 0"),
        ("0 1", "1 0"),
        1,
        "Own form: explicit Euler of the memory, then of the output with the memory's new value, in the order of "
        "Gauss-Seidel; the step of the LSTM at h = 1",
    ),
)

PARTITIONED: Mapping[str, PartitionedTableau] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Every partitioned tableau by name, read-only."""
