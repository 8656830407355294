"""How an equation's preactivations lie in memory, and what an expression needs of them. Needs torch only to print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy

from .field import EquationField, Map
from .printing import Constants, torch_function


@dataclass(frozen=True)
class Group:
    """Preactivations first..last - 1 of the layout, which read the same `blocks`: one matrix product."""

    first: int
    last: int
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Preactivations in memory order: those that read the state, grouped; those of the input alone; trained vectors.

    group_of[k]: the group of the k-th reading one. driven: all that are no vectors.
    """

    reading: tuple[Map, ...]
    driven: tuple[Map, ...]
    vectors: tuple[Map, ...]
    groups: tuple[Group, ...]
    group_of: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Pointwise expressions as one function of what they need: states, then preactivations, vectors, mixed quantities.

    states, maps, vectors, mixes: which of them, by position in the state, the layout, its vectors, and the equation's
    mixes; blocks: the blocks of the state that the values depend on, through whatever way.
    """

    function: Callable[..., list[Any]]
    states: tuple[int, ...]
    maps: tuple[int, ...]
    vectors: tuple[int, ...]
    mixes: tuple[int, ...]
    blocks: frozenset[int]


@lru_cache(maxsize=256)
def layout(equation: EquationField) -> Layout:
    """The layout of an equation; stable: maps that read the same blocks keep their order."""

    def read(m: Map) -> tuple[int, ...]:
        return tuple(sorted({block for block, _ in m.reads}))

    reading = [m for m in equation.maps if m.reads]
    sets = list(dict.fromkeys(read(m) for m in reading))
    ordered = [m for blocks in sets for m in reading if read(m) == blocks]
    groups: list[Group] = []
    for blocks in sets:
        first = groups[-1].last if groups else 0
        groups.append(Group(first, first + sum(read(m) == blocks for m in reading), blocks))
    others = [m for m in equation.maps if m.driven and not m.reads]
    return Layout(
        tuple(ordered),
        (*ordered, *others),
        tuple(m for m in equation.maps if m.vector),
        tuple(groups),
        tuple(index for index, group in enumerate(groups) for _ in range(group.first, group.last)),
    )


@lru_cache(maxsize=1024)
def plan(equation: EquationField, constants: Constants, expressions: tuple[sympy.Expr, ...]) -> Plan:
    """What the expressions need, and their function. Mixed quantities count as needing what is mixed."""
    placed = layout(equation)
    used: set[Any] = set()
    for expression in expressions:
        used |= sympy.sympify(expression).free_symbols
    kinds = (
        list(equation.state),
        [m.symbol for m in placed.driven],
        [m.symbol for m in placed.vectors],
        [m.symbol for m in equation.mixes],
    )
    states, maps, vectors, mixes = (tuple(k for k, symbol in enumerate(symbols) if symbol in used) for symbols in kinds)
    blocks = {*states, *(block for k in maps for block, _ in placed.driven[k].reads)}
    for k in mixes:
        blocks |= plan(equation, constants, (equation.mixes[k].of,)).blocks
    arguments = [
        symbols[k] for symbols, chosen in zip(kinds, (states, maps, vectors, mixes), strict=True) for k in chosen
    ]
    return Plan(
        torch_function(arguments, list(expressions), constants), states, maps, vectors, mixes, frozenset(blocks)
    )
