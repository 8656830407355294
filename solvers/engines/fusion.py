"""Operations -> few passes over memory: what lies between two products becomes one loop over the elements.

Products take the earliest place that what they read allows; that makes the fewest loops. An array is carried from one
loop to a later one through memory, or computed again there if that is cheaper (arithmetic alone: a product or a dear
function is never computed twice). Which, is a minimum cut for each loop, the last one first, so that an array which a
later loop takes anyway is known to be in memory. A little over the usual length: levels, places and cuts are one plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

import sympy

from .dataflow import cheapest_cut, expensive, gives, live, ordered, reads
from .program import Assign, Loop, Operation, Outer, Pass, Product, Reverse, RowSum, Step, UnitSum
from .split import split

_READ, _WRITE = 3, 3
"""An array read or written, in units of one addition or multiplication of all its elements."""

_Root = Assign | RowSum | UnitSum


def forward_passes(step: Step, saved: Collection[sympy.Symbol] = ()) -> tuple[Pass, ...]:
    """The passes of a step; `saved` of its reverse are written too."""
    step = split(step)
    return passes(step.operations, tuple(dict.fromkeys((*step.result, *saved))), (*step.state, *step.drives))


def reverse_passes(reverse: Reverse) -> tuple[Pass, ...]:
    """The passes of the reverse of a step (one without `gains`)."""
    wanted = [symbol for symbol in (*reverse.state, *reverse.drives) if symbol is not None]
    given = (*reverse.step.state, *reverse.step.drives, *reverse.saved, *reverse.cotangents)
    return passes(reverse.operations, tuple(dict.fromkeys(wanted)), given)


def passes(
    operations: Sequence[Operation], wanted: Collection[sympy.Symbol], arrays: Collection[sympy.Symbol]
) -> tuple[Pass, ...]:
    """Loops and products in order, then all outer products, those of one matrix side by side. Dead code is dropped.

    operations: split (functions stand alone), each symbol assigned once. wanted: arrays that must be in memory at the
    end, such as results, saved ones and cotangents. arrays: those in memory at the start, the state, drives, saved and
    given cotangents; every other symbol that is read and not assigned is a vector, a row scalar or a scalar, and is
    not among the `reads` of a loop. A symbol is written to memory once; one that is cheap may be assigned again in a
    later loop, in registers.
    """
    return _passes(tuple(operations), tuple(ordered(set(wanted))), tuple(ordered(set(arrays))))


@lru_cache(maxsize=256)
def _passes(
    operations: tuple[Operation, ...], wanted: tuple[sympy.Symbol, ...], arrays: tuple[sympy.Symbol, ...]
) -> tuple[Pass, ...]:
    return _Schedule(live(operations, wanted), wanted, arrays).passes()


class _Schedule:
    def __init__(
        self, operations: list[Operation], wanted: Collection[sympy.Symbol], arrays: Collection[sympy.Symbol]
    ) -> None:
        self.products = [operation for operation in operations if isinstance(operation, Product)]
        self.outers = [operation for operation in operations if isinstance(operation, Outer)]
        self.points: list[_Root] = [op for op in operations if isinstance(op, Assign | RowSum | UnitSum)]
        self.made = {op.symbol: op for op in self.points if isinstance(op, Assign)}
        products = {symbol for operation in self.products for symbol in operation.outputs}
        self.stored = set(arrays) | products  # in memory before any loop that may read it
        self.parents: dict[_Root, tuple[sympy.Symbol, ...]] = {
            op: tuple(s for s in reads(op) if s in self.made or s in self.stored) for op in self.points
        }
        varying = {*self.made, *self.stored}
        self.work = {op.symbol: _flops(op.value, varying) for op in self.made.values()}
        self.dear = {op.symbol for op in self.made.values() if expensive(op.value)}
        self.level, self.phase = self._levels(operations)
        self.last = max((self.level[op] for op in self.points), default=0)
        self.deadline = self._deadlines(wanted)
        self.home, self.demand = self._homes()

    def _levels(self, operations: Iterable[Operation]) -> tuple[dict[object, int], dict[Product, int]]:
        """The first loop that can compute each symbol and sum; the first phase of each product. Products of phase p
        come before loop p and after loop p - 1."""
        level: dict[object, int] = dict.fromkeys(self.stored, 0)
        phase: dict[Product, int] = {}
        for operation in operations:
            if isinstance(operation, Product):
                phase[operation] = max(level[s] + (s in self.made) for s in reads(operation))
                level.update(dict.fromkeys(operation.outputs, phase[operation]))
            elif not isinstance(operation, Outer):
                level[operation] = max((level[s] for s in self.parents[operation]), default=0)
                level.update((symbol, level[operation]) for symbol in gives(operation))
        return level, phase

    def _deadlines(self, wanted: Collection[sympy.Symbol]) -> dict[sympy.Symbol, int]:
        """The assigned arrays that must be written, and the last loop that may do so."""
        deadline = {symbol: self.last for symbol in wanted if symbol in self.made}
        for outer in self.outers:
            deadline.update((symbol, self.last) for symbol in reads(outer) if symbol in self.made)
        for product in self.products:
            for symbol in reads(product):
                if symbol in self.made:
                    deadline[symbol] = min(deadline.get(symbol, self.last), self.phase[product] - 1)
        return deadline

    def _homes(self) -> tuple[dict[_Root, int], dict[sympy.Symbol, set[int]]]:
        """The loop of each sum, array that must be written and dear function; the loops that may need each symbol.

        As late as the first use allows; without a use, where what it reads is read by others already.
        """
        near: dict[int, set[sympy.Symbol]] = {loop: set() for loop in range(self.last + 1)}
        for symbol, deadline in self.deadline.items():
            if self.level[symbol] == deadline:
                near[deadline] |= self._inputs(self.made[symbol], deadline)
        home: dict[_Root, int] = {}
        demand: dict[sympy.Symbol, set[int]] = {}
        for operation in reversed(self.points):
            uses: set[int] = set()
            end = self.last
            if isinstance(operation, Assign):
                uses = demand.setdefault(operation.symbol, set())
                end = self.deadline.get(operation.symbol, self.last)
                if operation.symbol not in self.deadline and operation.symbol not in self.dear:
                    for parent in self.parents[operation]:
                        demand.setdefault(parent, set()).update(uses)
                    continue
            if uses:
                home[operation] = min(end, *uses)
            else:
                window = range(self.level[operation], end + 1)
                extra = {loop: len(self._inputs(operation, loop) - near[loop]) for loop in window}
                home[operation] = min(window, key=lambda loop, extra=extra: (extra[loop], -loop))  # type: ignore[misc]
            near[home[operation]] |= self._inputs(operation, home[operation])
            for parent in self.parents[operation]:
                demand.setdefault(parent, set()).add(home[operation])
        return home, demand

    def _inputs(self, operation: _Root, loop: int) -> set[sympy.Symbol]:
        """The arrays from which a loop would compute it: those in memory, and dear ones of earlier loops."""
        found: set[sympy.Symbol] = set()
        waiting = list(self.parents[operation])
        for symbol in waiting:
            if symbol in self.stored or (symbol in self.dear and self.level[symbol] < loop):
                found.add(symbol)
            elif symbol not in found:
                waiting += self.parents[self.made[symbol]]
        return found

    def passes(self) -> tuple[Pass, ...]:
        written = {symbol: self.home[self.made[symbol]] for symbol in self.deadline}
        loops: dict[int, Loop] = {}
        for place in range(self.last, -1, -1):
            loop = self._loop(place, written)
            if loop.operations:
                loops[place] = loop
        result: list[Pass] = []
        for place in range(max([self.last, *self.phase.values()]) + 1):
            result += [product for product in self.products if self.phase[product] == place]
            if place in loops:
                result.append(loops[place])
        return (*result, *sorted(self.outers, key=lambda outer: outer.matrix))

    def _loop(self, place: int, written: dict[sympy.Symbol, int]) -> Loop:
        """The loop at a place; arrays that it takes from an earlier one join `written`."""

        def first(symbol: sympy.Symbol) -> int:
            """The loop that computes it first, and so the one that could write it."""
            operation = self.made[symbol]
            return self.home[operation] if operation in self.home else min(self.demand[symbol])

        def price(symbol: sympy.Symbol) -> int | None:
            if symbol in self.stored or written.get(symbol, place) < place:
                return _READ
            return _READ + _WRITE if symbol not in written and first(symbol) < place else None

        def given(symbol: sympy.Symbol) -> bool:
            return symbol in self.stored or (symbol in self.dear and self.home[self.made[symbol]] < place)

        def parents(symbol: sympy.Symbol) -> tuple[sympy.Symbol, ...]:
            return self.parents[self.made[symbol]]

        outputs = [symbol for symbol, home in written.items() if home == place]
        sums = [op for op in self.points if not isinstance(op, Assign) and self.home[op] == place]
        targets = [*outputs, *(symbol for op in sums for symbol in self.parents[op])]
        taken = cheapest_cut(targets, parents, price, self.work.__getitem__, given)
        for symbol in taken:
            if symbol in self.made and symbol not in written:
                written[symbol] = first(symbol)
        computed: set[sympy.Symbol] = set()
        waiting = [symbol for symbol in targets if symbol not in taken]
        for symbol in waiting:
            if symbol not in computed:
                computed.add(symbol)
                waiting += [parent for parent in parents(symbol) if parent not in taken]
        chosen = tuple(op for op in self.points if (op.symbol in computed if isinstance(op, Assign) else op in sums))
        used = {symbol for op in chosen for symbol in self.parents[op]}
        return Loop(
            chosen,
            tuple(symbol for symbol in ordered(taken) if symbol in used),
            tuple(op.symbol for op in chosen if isinstance(op, Assign) and op.symbol in outputs),
        )


def _flops(value: sympy.Basic, arrays: Collection[sympy.Symbol]) -> int:
    """Arithmetic operations of one element. A factor that is no array belongs to a fused multiply-add."""
    if value.free_symbols.isdisjoint(arrays):
        return 0
    inner = sum(_flops(part, arrays) for part in value.args)
    if isinstance(value, sympy.Mul):
        return inner + max(sum(not part.free_symbols.isdisjoint(arrays) for part in value.args) - 1, 0)
    if isinstance(value, sympy.Pow) and value.exp.is_Integer:
        return inner + int(abs(value.exp)).bit_length() - 1
    return inner + max(len(value.args) - 1, 0)
