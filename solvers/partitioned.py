"""Partitioned Runge-Kutta methods: what of the state is a block, and which slopes read which blocks.

E. Hairer, C. Lubich, G. Wanner, *Geometric Numerical Integration* (2nd ed., 2006), section II.2.1. The state is two
equal blocks along its last axis, position (output) first, momentum (memory) second. Where no slopes wait for each
other they are evaluated in turn, otherwise solved for together (`solvers.implicit`).

Each block has its own nodes: the slope of block k at stage i is taken at t + c^k_i h, as if each block carried its own
copy of the time; so the order holds for fields that depend on time.
"""

from __future__ import annotations

from typing import Any

from ..suite.errors import UsageError
from .backends.base import BlockField
from .partitioned_tableau import EVERY, PartitionedTableau
from .schedule import Schedule, schedule
from .tableau import Tableau

BLOCKS = 2


def plan_for(method: Tableau | PartitionedTableau, field: Any, shape: tuple[int, ...]) -> Schedule:
    """The method made ready for a field and a state of this shape: `Schedule.blocks` is 1 for a `Tableau`.

    A `BlockField` says what its slopes read; of any other field each slope is taken to read both blocks. Raises
    `UsageError` where a partitioned method finds another number of blocks than two.
    """
    if isinstance(method, Tableau):
        return schedule(method)
    if isinstance(field, BlockField):
        if field.blocks != BLOCKS:
            raise UsageError(
                f"partitioned tableau {method.name!r} steps a state of two blocks, and the field has {field.blocks}: "
                "expected a Runge-Kutta tableau, or a field of two blocks such as 'unicornn'."
            )
        return schedule(method, tuple(field.dependencies))
    if not shape or shape[-1] % BLOCKS:
        raise UsageError(
            f"partitioned tableau {method.name!r} steps a state of two equal blocks along its last axis: "
            f"expected an even length there, not the shape {shape}."
        )
    return schedule(method, EVERY)
