"""n measured: how deeply a step nests the field's nonlinearity, from a polynomial degree in exact arithmetic.

The field is replaced by polynomials of the same pattern: where a slope is affine in the state, an affine one; else a
quadratic one, in the blocks that it reads; coefficients are random integers. One step of an explicit method is then a
polynomial of the state, and each nested evaluation of a quadratic doubles its degree: n = log2(degree). Evaluated along
a line, modulo primes (`solvers.residues`), and read off by finite differences. Stage equations that depend on each
other in a circle are swept 1, 2, 3, 4 times by fixed-point iteration; where every sweep nests deeper, n is infinite.
Definition: this project's own, for the n of Niu, Horesh, Chuang, arXiv:1904.12933.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..suite.contracts import Nesting
from ..suite.errors import UsageError
from .partitioned_tableau import PartitionedTableau
from .residues import PRIMES, Residues, degree
from .splitting import Splitting
from .step import active, explicit_step
from .tableau import Tableau
from .tableaux import Method, method

if TYPE_CHECKING:
    from .cell import ODERNN

SWEEPS = (1, 2, 3, 4)
LONGEST = 14
"""The deepest nest that is measured: 2^14 points on the line. A deeper one of an explicit step is refused."""

Blocks = list[Residues]
Slope = Callable[[Blocks], Residues]


@dataclass(frozen=True)
class Pattern:
    """Of one block's slope: the blocks it reads, and whether it is affine in them."""

    reads: frozenset[int]
    affine: bool


@dataclass(frozen=True)
class PartPattern:
    """Of one part's step: what its blocks' slopes read; with a method of its own, that and its substeps."""

    slopes: tuple[Pattern, ...]
    method: str = ""
    substeps: int = 1


def nesting_of_method(chosen: Method) -> Nesting:
    """Of a method on a general nonlinear field: one block, or two that read each other for a partitioned method."""
    if isinstance(chosen, Splitting):  # two nonlinear parts, the least that is to be split
        one = PartPattern((Pattern(frozenset({0}), False),))
        return _measured([one, one], chosen, 1)
    blocks = 2 if isinstance(chosen, PartitionedTableau) else 1
    general = Pattern(frozenset(range(blocks)), False)
    return _measured([PartPattern((general,) * blocks)], chosen, 1)


def nesting_of_cell(cell: ODERNN) -> Nesting:
    """Of a recurrent cell: its own method and substeps, on the pattern that its field is found to have."""
    from .field_pattern import pattern_of_field, patterns_of_parts

    if isinstance(cell.tableau, Splitting):
        return _measured(patterns_of_parts(cell.field, cell.tableau.linear), cell.tableau, cell.substeps)
    return _measured([PartPattern(pattern_of_field(cell.field))], cell.tableau, cell.substeps)


def _measured(parts: Sequence[PartPattern], chosen: Method, substeps: int) -> Nesting:
    if isinstance(chosen, Splitting) or _closed(chosen, parts[0].slopes):
        found = _depth(parts, chosen, substeps, 0)
        if math.isinf(found):  # finite, and no circle: infinite would say that stages are solved for
            raise UsageError(f"a step of {chosen.name!r} nests deeper than {LONGEST}: too deep to be measured.")
        return Nesting(found, reaching=_reaching(chosen), broken=_broken(chosen))
    depths = tuple(_depth(parts, chosen, substeps, sweeps) for sweeps in SWEEPS)
    grows = all(after > before for before, after in pairwise(depths))
    return Nesting(math.inf if grows else depths[-1], SWEEPS, depths, _reaching(chosen))


def _reaching(chosen: Method) -> int | None:
    if isinstance(chosen, Splitting):
        return None
    return len(active(chosen)) if isinstance(chosen, Tableau) and chosen.explicit else chosen.stages


def _broken(chosen: Method) -> tuple[int, ...]:
    """The explicit stages, from 1, that do not read the one before: a chain through all of them is not possible."""
    if not isinstance(chosen, Tableau) or not chosen.explicit:
        return ()
    return tuple(i + 1 for i in range(1, chosen.stages) if chosen.A[i][i - 1] == 0)


def _closed(chosen: Tableau | PartitionedTableau, slopes: Sequence[Pattern]) -> bool:
    if isinstance(chosen, Tableau):
        return chosen.explicit
    return chosen.schedule(tuple(slope.reads for slope in slopes)) is not None


def _depth(parts: Sequence[PartPattern], chosen: Method, substeps: int, sweeps: int) -> float:
    """log2 of the degree of one step, the larger of what two primes say."""
    points = 2**6 + 2
    while points <= 2 ** (LONGEST + 2):
        found = [_degree(parts, chosen, substeps, sweeps, prime, points) for prime in PRIMES]
        known = [one for one in found if one is not None]
        if len(known) == len(found):
            return math.log2(max(1, *known))
        points *= 4
    return math.inf


def _degree(
    parts: Sequence[PartPattern], chosen: Method, substeps: int, sweeps: int, prime: int, points: int
) -> int | None:
    rng = np.random.default_rng(prime)
    blocks = len(parts[0].slopes)
    line = np.arange(points, dtype=np.int64)
    y = [Residues((int(a) * line + int(b)) % prime, prime) for a, b in rng.integers(1, prime, (blocks, 2))]
    slopes = [[_polynomial(pattern, rng, prime) for pattern in part.slopes] for part in parts]
    sequence = chosen.sequence(len(parts)) if isinstance(chosen, Splitting) else ((0, Fraction(1)),)
    for _ in range(substeps):
        for index, fraction in sequence:
            y = _part(parts[index], slopes[index], y, fraction, chosen, sweeps)
    return degree(np.stack([block.values for block in y]), prime)


def _part(part: PartPattern, slopes: Sequence[Slope], y: Blocks, h: Fraction, chosen: Method, sweeps: int) -> Blocks:
    """One part's step; without a method of its own under a splitting, an Euler step has the flow's pattern."""
    if not isinstance(chosen, Splitting):
        return _step(chosen, part.slopes, slopes, y, h, sweeps)
    if not part.method:
        return [block + slope(y) * h for block, slope in zip(y, slopes, strict=True)]
    inner = method(part.method)
    for _ in range(part.substeps):
        y = _part(PartPattern(part.slopes), slopes, y, h / part.substeps, inner, SWEEPS[-1])
    return y


def _step(
    chosen: Tableau | PartitionedTableau,
    patterns: Sequence[Pattern],
    slopes: Sequence[Slope],
    y: Blocks,
    h: Fraction,
    sweeps: int,
) -> Blocks:
    prime, blocks = y[0].prime, range(len(y))
    if isinstance(chosen, Tableau) and chosen.explicit:
        whole = Residues(np.stack([block.values for block in y]), prime)

        def slope(_: object, state: Residues) -> Residues:
            each = [Residues(row, prime) for row in state.values]
            return Residues(np.stack([one(each).values for one in slopes]), prime)

        after = explicit_step(slope, Fraction(0), whole, h, chosen)
        return [Residues(row, prime) for row in after.values]
    A = [chosen.A] * len(y) if isinstance(chosen, Tableau) else list(chosen.A)
    b = [chosen.b] * len(y) if isinstance(chosen, Tableau) else list(chosen.b)
    if isinstance(chosen, PartitionedTableau):
        order = chosen.schedule(tuple(pattern.reads for pattern in patterns))
        sweeps = sweeps if order is None else len(order)
    zero = y[0] * 0
    k = [[zero for _ in blocks] for _ in range(chosen.stages)]
    for _ in range(sweeps):
        stages = [[y[j] + _sum(A[j][i], [row[j] for row in k], zero) * h for j in blocks] for i in range(chosen.stages)]
        k = [[slopes[j](stage) for j in blocks] for stage in stages]
    return [y[j] + _sum(b[j], [row[j] for row in k], zero) * h for j in blocks]


def _sum(coefficients: Sequence[object], slopes: Sequence[Residues], zero: Residues) -> Residues:
    total = zero
    for coefficient, slope in zip(coefficients, slopes, strict=True):
        if coefficient:
            total = total + slope * coefficient
    return total


def _polynomial(pattern: Pattern, rng: np.random.Generator, prime: int) -> Slope:
    """A random affine or quadratic polynomial in the blocks that the pattern reads."""
    linear = {j: int(rng.integers(1, prime)) for j in sorted(pattern.reads)}
    square = {j: int(rng.integers(1, prime)) for j in sorted(pattern.reads)}
    offset = int(rng.integers(1, prime))

    def slope(y: Blocks) -> Residues:
        total = y[0] * 0 + offset
        for j, factor in linear.items():
            total = total + y[j] * factor
        if not pattern.affine:
            inner = y[0] * 0
            for j, factor in square.items():
                inner = inner + y[j] * factor
            total = total + inner * inner
        return total

    return slope
