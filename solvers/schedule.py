"""In which order the slopes of one step can be found, and which of them only together.

The slope of block k at stage i is a node (i, k). It reads the stage values (i, q) of the blocks q that the field's
slope of block k depends on, and a stage value reads the slopes with non-zero coefficients in its row of A. The
strongly connected components of this graph, in topological order, are what is evaluated (a node that does not reach
itself) or solved for (the others): the stages of a DIRK method one by one, those of a Gauss method together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from ..suite.errors import UsageError
from .partitioned_tableau import PartitionedTableau
from .tableau import Tableau

Node: TypeAlias = tuple[int, int]
"""(stage, block), of a slope or of a stage value."""
FloatRow: TypeAlias = tuple[tuple[int, float], ...]
"""The non-zero coefficients of a row of A or of b: (stage, coefficient)."""
Dependencies: TypeAlias = tuple[frozenset[int], ...]
"""For each block, the blocks that its slope reads."""

WHOLE: Dependencies = (frozenset({0}),)
"""The state as one block."""


@dataclass(frozen=True)
class Group:
    """Slopes that are found at once: in one evaluation, or where `unknown` is not empty by solving equations.

    calls: the evaluations, (stage, node c, blocks whose slopes are wanted). unknown: the stage values solved for.
    inner, outer: the rows of A of the unknowns, over the slopes of this group and over earlier ones. recover: the
    slopes as combinations K = sum_j r_j Z_j / h of the unknown increments Z; None where these do not determine them.
    """

    calls: tuple[tuple[int, float, tuple[int, ...]], ...]
    unknown: tuple[Node, ...] = ()
    inner: tuple[FloatRow, ...] = ()
    outer: tuple[FloatRow, ...] = ()
    recover: tuple[tuple[Node, FloatRow], ...] | None = None


@dataclass(frozen=True)
class Schedule:
    """A method made ready for a field: rows[k][i] of A and weights[k], the row b, of each block k, and the groups.

    error: b - b_hat of each block, () where no error is asked for. reads: the field's dependencies. closing: of a pair,
    the stage that is the result. filtered: the error estimate of a pair grows without bound with the stiffness and is
    to be multiplied by (I - gamma h J)^-1, gamma the one diagonal coefficient of its stages.
    """

    name: str
    rows: tuple[tuple[FloatRow, ...], ...]
    weights: tuple[FloatRow, ...]
    error: tuple[FloatRow, ...]
    reads: Dependencies
    groups: tuple[Group, ...]
    closing: int | None = None
    filtered: bool = False

    @property
    def blocks(self) -> int:
        return len(self.rows)

    @property
    def explicit(self) -> bool:
        """No equations are to be solved."""
        return not any(group.unknown for group in self.groups)


@lru_cache(maxsize=512)
def schedule(method: Tableau | PartitionedTableau, reads: Dependencies = WHOLE, embedded: bool = False) -> Schedule:
    """Prepare a method for a field with these dependencies: only slopes that the result (or the error) needs.

    A `Tableau` takes the state as one block. Raises `UsageError` for `embedded` without embedded weights.
    """
    A: tuple[Any, ...]
    b: tuple[Any, ...]
    c: tuple[Any, ...]
    if isinstance(method, Tableau):
        A, b, c = (method.A,), (method.b,), (method.c,)
    else:
        A, b, c = method.A, method.b, method.c
    hat: tuple[Any, ...] = ()
    if embedded:
        if not isinstance(method, Tableau) or method.b_hat is None:
            raise UsageError(f"tableau {method.name!r} has no embedded weights: expected a pair.")
        hat = (method.b_hat,)
    rows = tuple(tuple(_row(row) for row in matrix) for matrix in A)

    def below(node: Node) -> set[Node]:
        stage, block = node
        return {(j, q) for q in reads[block] for j, _ in rows[q][stage]}

    needed = [(i, k) for k, row in enumerate(b) for i, x in enumerate(row) if x or (hat and hat[k][i])]
    reach = {node: _closure(node, below) for node in _closure(None, lambda n: set(needed) if n is None else below(n))}
    components: list[tuple[Node, ...]] = []
    # a node that reads another reaches strictly more, itself counted
    for node in sorted(reach, key=lambda n: (len(reach[n] | {n}), n)):
        if not any(node in component for component in components):
            components.append(tuple(n for n in sorted(reach) if n == node or (n in reach[node] and node in reach[n])))
    groups: list[Group] = []
    for component in components:
        if component[0] in reach[component[0]]:
            groups.append(_coupled(component, rows, c, reads))
            continue
        ((i, k),) = component
        call = (i, float(c[k][i]), (k,))
        if groups and not groups[-1].unknown and groups[-1].calls[0][:2] == call[:2]:
            before = groups[-1].calls[0][2]
            if not any((i, other) in reach[(i, k)] for other in before):
                groups[-1] = Group((((*call[:2], (*before, k))),))
                continue
        groups.append(Group((call,)))
    difference = tuple(_row([x - y for x, y in zip(b[k], hat[k], strict=True)]) for k in range(len(hat)))
    weights = tuple(_row(row) for row in b)
    closing, filtered = None, False
    if hat and isinstance(method, Tableau):
        closing = next((i for i, row in enumerate(rows[0]) if row == weights[0] and (i, 0) in reach), None)
        filtered = unbounded_estimate(method)
    return Schedule(method.name, rows, weights, difference, reads, tuple(groups), closing, filtered)


def unbounded_estimate(pair: Tableau) -> bool:
    """Whether the error estimate E(z) = R(z) - R_hat(z) of y' = z y grows like z for a pair whose first stage is
    explicit and whose others share one diagonal coefficient: such an estimate is useless for stiff components.

    With A = ((0, 0), (a, B)) and d = b - b_hat, E(z) / z tends to d_1 - d_rest B^-1 a (Hairer, Wanner II, IV.3,
    eq. 3.2, at infinity). The remedy is that of M. E. Hosea, L. F. Shampine, Appl. Numer. Math. 20
    (1996) 21-37: the filtered estimate E(z) / (1 - gamma z), of the same order and bounded.
    """
    if pair.explicit or not pair.diagonally_implicit or pair.b_hat is None or pair.A[0][0] or pair.stages < 2:
        return False
    diagonal = {pair.A[i][i] for i in range(1, pair.stages)}
    if len(diagonal) != 1 or not all(diagonal):
        return False
    A, d = pair.arrays.A, pair.arrays.b - np.array([float(x) for x in pair.b_hat])
    growth = d[0] - d[1:] @ np.linalg.solve(A[1:, 1:], A[1:, 0])
    return bool(abs(growth) > 1e-10 * np.abs(d).max())


def _row(values: Sequence[Any]) -> FloatRow:
    return tuple((j, float(x)) for j, x in enumerate(values) if x)


def _closure(start: Any, below: Callable[[Any], set[Node]]) -> set[Node]:
    """Everything that can be reached from `start`, itself only if it is reached again."""
    found: set[Node] = set()
    waiting = list(below(start))
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += below(node)
    return found


def _coupled(
    slopes: tuple[Node, ...], rows: tuple[tuple[FloatRow, ...], ...], c: Sequence[Sequence[Any]], reads: Dependencies
) -> Group:
    wanted: dict[tuple[int, float], tuple[int, ...]] = {}
    for i, k in slopes:
        key = (i, float(c[k][i]))
        wanted[key] = (*wanted.get(key, ()), k)
    inside = set(slopes)
    values = sorted({(i, q) for i, k in slopes for q in reads[k]}, key=lambda n: (n[1], n[0]))
    unknown = tuple((i, q) for i, q in values if any((j, q) in inside for j, _ in rows[q][i]))
    return Group(
        calls=tuple((i, node, blocks) for (i, node), blocks in wanted.items()),
        unknown=unknown,
        inner=tuple(tuple((j, a) for j, a in rows[q][i] if (j, q) in inside) for i, q in unknown),
        outer=tuple(tuple((j, a) for j, a in rows[q][i] if (j, q) not in inside) for i, q in unknown),
        recover=_recover(slopes, unknown, rows),
    )


def _recover(
    slopes: tuple[Node, ...], unknown: tuple[Node, ...], rows: tuple[tuple[FloatRow, ...], ...]
) -> tuple[tuple[Node, FloatRow], ...] | None:
    """The inverse of the coefficients, block by block."""
    found: list[tuple[Node, FloatRow]] = []
    for q in sorted({k for _, k in slopes}):
        stages = [i for i, k in slopes if k == q]
        places = [n for n, (_, k) in enumerate(unknown) if k == q]
        if len(stages) != len(places):
            return None
        matrix = np.array([[dict(rows[q][unknown[n][0]]).get(j, 0.0) for j in stages] for n in places])
        if np.linalg.cond(matrix) > 1e6:
            return None
        inverse = np.linalg.inv(matrix)
        for j, row in zip(stages, inverse, strict=True):
            found.append(((j, q), tuple((n, float(x)) for n, x in zip(places, row, strict=True) if x)))
    return tuple(found)
