"""Steps backwards: the exact inverse of a step of a partitioned method on a field whose slopes can be undone.

The inverse of a step of size h is a step of size -h of the adjoint method (E. Hairer, C. Lubich, G. Wanner, *Geometric
Numerical Integration*, 2nd ed., 2006, section II.3, definition II.3.1). Where that needs no equations solved, as on a
separable field (y' = f(z), z' = g(y), input held), it undoes the step to rounding. Needs no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import sympy

from ..suite.errors import UsageError
from .backends.base import State
from .backends.common import Rate, is_numpy
from .field import EquationField
from .implicit import Problem, advance_step
from .partitioned_tableau import PartitionedTableau
from .schedule import Dependencies, Schedule, schedule
from .tableaux import Method


def adjoint(method: PartitionedTableau) -> PartitionedTableau:
    """The method whose step of size -h undoes a step of size h: a*_ij = b_(s+1-j) - a_(s+1-i)(s+1-j), b*_j = b_(s+1-j).

    By block. For one tableau: E. Hairer, S. P. Norsett, G. Wanner, *Solving Ordinary Differential Equations I*, 2nd ed.
    (1993), theorem II.8.3; a pair numbers its stages alike, so both turn around together.
    """
    last = method.stages - 1
    stages = range(method.stages)
    A = tuple(
        tuple(tuple(b[last - j] - a[last - i][last - j] for j in stages) for i in stages)
        for a, b in zip(method.A, method.b, strict=True)
    )
    b = tuple(tuple(reversed(b)) for b in method.b)
    return PartitionedTableau(f"{method.name}-adjoint", (A[0], A[1]), (b[0], b[1]), method.order, method.reference)


def inverse_plan(method: Method, name: str, reads: Dependencies) -> Schedule:
    """The adjoint of a method made ready for a field, without equations to solve.

    name: the field's, for messages; reads: for each block the blocks that its slope reads. Raises `UsageError` where
    there is none: another kind of method, another number of blocks, or slopes that wait for each other on the way back.
    """
    if isinstance(method, PartitionedTableau) and len(reads) == method.blocks:
        plan = schedule(adjoint(method), reads)
        if plan.explicit:
            return plan
    raise UsageError(
        f"the steps of cell {name!r} under {method.name!r} cannot be undone: expected memory 'segments', or a "
        "cell whose two blocks move each other alone ('unicornn', 'srnn') under 'symplectic-euler', "
        "'symplectic-euler-position', 'stormer-verlet' or 'gauss-seidel-euler'."
    )


def reads_of(equation: EquationField) -> Dependencies:
    """For each block, the blocks that its slope reads: itself, in preactivations, in mixed quantities."""

    def read(expression: Any) -> frozenset[int]:
        free = sympy.sympify(expression).free_symbols
        found = {k for k, symbol in enumerate(equation.state) if symbol in free}
        found |= {block for m in equation.maps if m.symbol in free for block, _ in m.reads}
        return frozenset(found).union(*(read(m.of) for m in equation.mixes if m.symbol in free))

    return tuple(read(expression) for expression in equation.rhs)


def walk_back(
    plan: Schedule, field: Any, y: State, times: Sequence[float], drives: Sequence[Any], weights: tuple[Any, ...]
) -> State:
    """The state at times[0] from the state y (batch, blocks * hidden) at times[-1], without a graph.

    plan: of `inverse_plan`; times: ascending, as the steps were taken; drives[i]: held over [times[i], times[i + 1]).
    """
    rate = Rate(field, weights)
    problem = Problem(rate, y, is_numpy(y), plan.blocks)
    with problem.quiet():
        for (t0, t1), rate.drive in zip(reversed(list(itertools.pairwise(times))), reversed(drives), strict=True):
            y = advance_step(problem, plan, t1, y, t0 - t1).y
    return y
