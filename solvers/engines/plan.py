"""The passes of a step in one direction, with a place for every array: what `sequence` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias, assert_never

import sympy

from . import adjoint, fusion
from .program import Assign, Loop, Operation, Outer, Pass, Product, Step

Direction: TypeAlias = Literal["forward", "backward"]

_FAR = {
    "forward": ("drives", "next", "saved"),
    "backward": ("states", "next", "drives", "saved", "cotangents", "drive"),
}
"""Places that lie elsewhere in every step."""


@dataclass(frozen=True)
class Needs:
    """What a function needs of its caller: arrays of (rows, wide) in scratch, arrays kept a step, packed matrices."""

    scratch: int
    saved: int
    matrices: bool
    transposed: bool
    projection: bool


@dataclass(frozen=True)
class Plan:
    """The passes of one step in one direction, and where their arrays lie.

    given: arrays that are somewhere outside of scratch; slots: index in scratch of each of the others. projected: the
    drives are products of the inputs, found in scratch once an input, as are their cotangents.
    """

    step: Step
    direction: Direction
    projected: bool
    passes: tuple[Pass, ...]
    saved: tuple[sympy.Symbol, ...]
    given: Mapping[sympy.Symbol, tuple[str, int]]
    slots: Mapping[sympy.Symbol, int]

    @cached_property
    def fetched(self) -> dict[Loop, tuple[sympy.Symbol, ...]]:
        """For each loop, the arrays outside of scratch whose part of the next step it brings into the cache.

        Nothing else would: what a tile reads in one step lies far from what it reads in the next.
        """
        loops = [made for made in self.passes if isinstance(made, Loop)]
        found: dict[Loop, tuple[sympy.Symbol, ...]] = dict.fromkeys(loops, ())
        far = _FAR[self.direction]
        touched = {s for made in self.passes for s in (*read(made), *assigned(made))}
        for symbol in (s for s, (where, _) in self.given.items() if where in far and s in touched):
            for made in [*(m for m in loops if symbol in (*m.reads, *m.writes)), *loops][:1]:
                found[made] += (symbol,)
        return found

    @property
    def carried(self) -> int:
        """The first of the slots that hold the state's cotangent between steps, of a backward plan."""
        return max(self.slots.values(), default=-1) + 1

    @property
    def driven(self) -> int:
        """The first of the slots of projected drives; their cotangents follow."""
        return self.carried + (2 * len(self.step.state) if self.direction == "backward" else 0)

    @property
    def needs(self) -> Needs:
        """What the printed function needs of its caller."""
        products = [p for p in self.passes if isinstance(p, Product)]
        return Needs(
            self.driven + (2 * len(self.step.drives) if self.projected else 0),
            len(self.saved),
            any(not p.transposed for p in products),
            any(p.transposed for p in products),
            self.projected and any(symbol in self.step.drives for made in self.passes for symbol in read(made)),
        )


def forward_plan(step: Step, keep: bool, projected: bool = False) -> Plan:
    """A step's passes; its results go where the next state is, what is kept where the reverse finds it."""
    saved: tuple[sympy.Symbol, ...] = ()
    if keep:
        saved = adjoint.reverse(step, True, results=True).saved
    step = adjoint.split(step)
    operations: list[Operation] = list(step.operations)
    made = {s for o in operations for s in assigned(o)}
    given = {s: ("states", b) for b, s in enumerate(step.state)}
    given |= {s: ("drives", d) for d, s in enumerate(step.drives)}
    given |= {s: ("saved", k) for k, s in enumerate(saved)}
    for b, symbol in enumerate(step.result):
        if symbol in given or symbol not in made:
            symbol, source = _fresh("result", b), symbol
            operations.append(Assign(symbol, source))
        given[symbol] = ("next", b)
    wanted = {s for s, (where, _) in given.items() if where in ("next", "saved")}
    return _planned(step, "forward", projected, operations, wanted, saved, given)


def backward_plan(step: Step, keep: bool, projected: bool = False) -> Plan:
    """The passes of a step's reverse: its cotangents gain those of the caller, those of a drive sum over substeps."""
    reverse = adjoint.reverse(step, keep, results=True)
    step = reverse.step
    operations: list[Operation] = list(reverse.operations)
    given = {s: ("states", b) for b, s in enumerate(step.state)}
    given |= {s: ("drives", d) for d, s in enumerate(step.drives)}
    given |= {s: ("saved", k) for k, s in enumerate(reverse.saved)}
    given |= {s: ("next", b) for s, b in adjoint.kept_results(step).items()}
    given |= {s: ("later", b) for b, s in enumerate(reverse.cotangents)}
    wanted = set()
    for where, other, found in (("earlier", "cotangents", reverse.state), ("drive", "drive_before", reverse.drives)):
        for k, symbol in enumerate(found):
            total, before = _fresh(where, k), _fresh(other, k)
            operations.append(Assign(total, before if symbol is None else before + symbol))
            given |= {total: (where, k), before: (other, k)}
            wanted.add(total)
    return _planned(step, "backward", projected, operations, wanted, reverse.saved, given)


def _fresh(name: str, index: int) -> sympy.Symbol:
    """A symbol that no program has."""
    return sympy.Symbol(f"{name}#{index}", real=True)


def assigned(operation: Operation | Loop) -> tuple[sympy.Symbol, ...]:
    """The arrays that an operation or a pass leaves in memory."""
    match operation:
        case Assign():
            return (operation.symbol,)
        case Product():
            return operation.outputs
        case Loop():
            return operation.writes
        case _:
            return ()


def _planned(
    step: Step,
    direction: Direction,
    projected: bool,
    operations: Sequence[Operation],
    wanted: set[sympy.Symbol],
    saved: tuple[sympy.Symbol, ...],
    given: Mapping[sympy.Symbol, tuple[str, int]],
) -> Plan:
    """Passes with a slot in scratch for every array that has no place yet; a slot is used again once it is free."""
    before = [s for s in given if s not in wanted]
    passes = fusion.passes(operations, wanted, before)
    last = {symbol: index for index, made in enumerate(passes) for symbol in read(made)}
    free: list[int] = []
    slots: dict[sympy.Symbol, int] = {}
    count = 0
    for index, made in enumerate(passes):
        for symbol in assigned(made):
            if symbol not in given:
                if not free:
                    free, count = [count], count + 1
                slots[symbol] = free.pop()
        for symbol in {*read(made), *assigned(made)}:
            if symbol in slots and last.get(symbol, index) == index:
                free.append(slots[symbol])
        free.sort(reverse=True)
    return Plan(step, direction, projected and bool(step.drives), passes, saved, given, slots)


def read(made: Pass) -> tuple[sympy.Symbol, ...]:
    """The arrays that a pass reads from memory."""
    match made:
        case Product():
            return (*made.inputs, *(p for p in made.plus if p is not None))
        case Outer():
            return (made.inputs, *made.outputs)
        case Loop():
            return made.reads
    assert_never(made)
