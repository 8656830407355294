"""The discrete adjoint of a step, by reverse accumulation over its assignments and products.

Each assignment is small, so SymPy differentiates it; a function that its own derivative can be written in, such as
tanh' = 1 - tanh^2, is differentiated so: then its value is kept and its argument, the output of a product, is not.
See Griewank and Walther, Evaluating Derivatives, 2nd ed. 2008, chapter 3 (reverse mode) and 12 (what to keep).
A little over the usual length: every kind of operation has its rule here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import sympy

from ..functions import sign
from .dataflow import cheapest_cut, expensive, gives, live, ordered, reads
from .program import Assign, Operation, Outer, Product, Reverse, RowSum, Step, UnitSum
from .split import Assignments, split

__all__ = ["reverse", "split"]

_FLAT = (sympy.Heaviside, sympy.sign, sign, sympy.floor, sympy.ceiling)
"""Functions that are constant between their jumps: their derivative is taken as 0 everywhere."""


@lru_cache(maxsize=256)
def reverse(
    step: Step, keep: bool, gains: tuple[tuple[sympy.Symbol, sympy.Symbol], ...] = (), results: bool = False
) -> Reverse:
    """The reverse of a step.

    keep: the fewest arrays are saved such that no product and no function such as tanh is computed again and the rest,
    such as the stage values of a Runge-Kutta method, follows by arithmetic from them and the state before the step;
    else nothing is saved and everything is computed again from that state. What depends on vectors alone or on row
    scalars alone is computed again either way. The step of the answer is `split(step)`, which the forward pass must
    run to find the saved arrays under their names. gains: pairs of a state or drive and an array in memory that its
    cotangent begins with, such as what the caller or another step adds: a product may then start from it. results: the
    state after the step is in memory as well (`kept_results`), so that nothing of it is computed again or saved.
    """
    step = split(step)
    tape = _Tape(step)
    cotangents = tuple(tape.given(symbol) for symbol in step.result)
    for symbol, array in gains:
        tape.add(symbol, array)
    for operation in _backwards(step.operations):
        if isinstance(operation, Product):
            tape.product(operation)
        else:
            tape.assignment(operation)
    state = tuple(tape.total(symbol) for symbol in step.state)
    drives = tuple(tape.total(symbol) for symbol in step.drives)
    sums: list[Operation] = []
    sums += [RowSum(s, value) for s in step.vectors if s not in step.fixed and (value := tape.sum(s)) != 0]
    sums += [UnitSum(symbol, value) for symbol in step.row_scalars if (value := tape.sum(symbol)) != 0]
    outers = sorted(tape.outers, key=lambda outer: outer.matrix)
    found = [symbol for symbol in (*state, *drives) if symbol is not None]
    backward = live([*tape.writer.operations, *sums, *outers], found)
    needed = [symbol for operation in backward for symbol in reads(operation)] + found
    after = kept_results(step) if results else {}
    saved = _saved(step, needed, after) if keep else ()
    there = {*saved, *after}
    again = live([op for op in step.operations if not set(gives(op)) <= there], set(needed) - there)
    return Reverse(step, saved, cotangents, (*again, *backward), state, drives)


def kept_results(step: Step) -> dict[sympy.Symbol, int]:
    """The arrays that a step assigns and that lie in the state after it, and the block of each.

    Of a product with several outputs, all of them or none: it is carried out again as a whole.
    """
    found = set(step.result)
    made = {
        symbol for operation in step.operations if found.issuperset(gives(operation)) for symbol in gives(operation)
    }
    return {symbol: block for block, symbol in enumerate(step.result) if symbol in made}


def _backwards(operations: Sequence[Assign | Product]) -> Iterator[Assign | Product]:
    """From the last to the first, assignments before products wherever the order is free.

    Then the cotangents that a product adds to have come together when it is carried out.
    """
    uses = Counter(symbol for operation in operations for symbol in reads(operation))
    waiting = list(reversed(operations))
    while waiting:
        free = [op for op in waiting if not any(uses[symbol] for symbol in gives(op))]
        chosen = [op for op in free if isinstance(op, Assign)] or free[:1]
        yield from chosen
        for operation in chosen:
            uses.subtract(reads(operation))
            waiting.remove(operation)


class _Tape:
    """Contributions to the cotangent of every symbol, in the order in which its uses are met."""

    def __init__(self, step: Step) -> None:
        self.writer = Assignments(step)
        self.writer.known.update((op.value, op.symbol) for op in step.operations if isinstance(op, Assign))
        self.outers: list[Outer] = []
        self._assigned = {op.symbol for op in step.operations if isinstance(op, Assign)}
        self._stored: set[sympy.Expr] = set()
        self._parts: dict[sympy.Symbol, list[sympy.Expr]] = {}
        self._zero: sympy.Symbol | None = None

    def given(self, symbol: sympy.Symbol) -> sympy.Symbol:
        """A new array in memory that its cotangent gains."""
        cotangent = self.writer.fresh("c")
        self._stored.add(cotangent)
        self.add(symbol, cotangent)
        return cotangent

    def add(self, symbol: sympy.Symbol, part: sympy.Expr) -> None:
        if part != 0:
            self._parts.setdefault(symbol, []).append(part)

    def sum(self, symbol: sympy.Symbol) -> sympy.Expr:
        return sympy.Add(*self._parts.get(symbol, ()))

    def total(self, symbol: sympy.Symbol) -> sympy.Symbol | None:
        """What has come together so far, under one symbol; None: nothing."""
        value = self.sum(symbol)
        if value == 0:
            return None
        total = self.writer.named(value, "c")
        self._parts[symbol] = [total]
        return total

    def assignment(self, operation: Assign) -> None:
        total = self.total(operation.symbol)
        if total is None:
            return
        for inner, slope in self._slopes(operation):
            part = total * self.writer.arithmetic(slope)
            gradient = self._gradient(inner)
            if len(gradient) > 1:
                part = self.writer.named(part, "c")
            for symbol in ordered(gradient):
                self.add(symbol, part * gradient[symbol])

    def product(self, operation: Product) -> None:
        totals = [self.total(symbol) for symbol in operation.outputs]
        if all(total is None for total in totals):
            return
        for plus, total in zip(operation.plus, totals, strict=True):
            if plus is not None and total is not None:
                self.add(plus, total)
        given = tuple(self._nothing() if total is None else total for total in totals)
        pluses = tuple(self._so_far(symbol) for symbol in operation.inputs)  # a repeated input takes it once
        found = tuple(self.given(symbol) for symbol in operation.inputs)
        self.writer.operations.append(Product(found, given, operation.matrix, not operation.transposed, pluses))
        if operation.transposed:
            self.outers.append(Outer(operation.matrix, given[0], operation.inputs))
        else:
            self.outers.append(Outer(operation.matrix, operation.inputs[0], given))

    def _so_far(self, symbol: sympy.Symbol) -> sympy.Symbol | None:
        """What a product adds to; it is no part of the cotangent any more.

        Of an assigned array, whose cotangent a loop reads anyway, only what is in memory: the rest needs no way there.
        """
        if symbol not in self._assigned:
            total = self.total(symbol)
            self._parts[symbol] = []
            return total
        parts = self._parts.get(symbol, [])
        for part in parts:
            if isinstance(part, sympy.Symbol) and part in self._stored:
                parts.remove(part)
                return part
        return None

    def _gradient(self, value: Any) -> dict[sympy.Symbol, Any]:
        """Of an arithmetic expression, by all its symbols at once (SymPy's `diff` goes through it for each of them)."""
        if isinstance(value, sympy.Symbol):
            return {value: sympy.S.One} if self.writer.varies(value) else {}
        if isinstance(value, sympy.Pow) and self.writer.varies(value):
            factor = value.exp * value.base ** (value.exp - 1)
            return {symbol: factor * part for symbol, part in self._gradient(value.base).items()}
        found: dict[sympy.Symbol, list[Any]] = {}
        if isinstance(value, sympy.Add | sympy.Mul):
            for place, inner in enumerate(value.args):
                rest = value.args[:place] + value.args[place + 1 :] if isinstance(value, sympy.Mul) else ()
                for symbol, part in self._gradient(inner).items():
                    found.setdefault(symbol, []).append(sympy.Mul(*rest, part))
        return {symbol: sympy.Add(*parts) for symbol, parts in found.items()}

    def _nothing(self) -> sympy.Symbol:
        """An array of zeros, where a product has an output that nothing uses."""
        if self._zero is None:
            self._zero = self.writer.named(sympy.S.Zero, "c")
        return self._zero

    def _varying(self, expression: sympy.Basic) -> tuple[sympy.Symbol, ...]:
        return ordered(self.writer.varying & expression.free_symbols)

    def _slopes(self, operation: Assign) -> Iterator[tuple[sympy.Expr, sympy.Expr]]:
        """Arithmetic expressions that the value depends on, and its derivative by each of them."""
        symbol: sympy.Symbol = operation.symbol
        value: Any = operation.value
        if isinstance(value, _FLAT):
            return
        if isinstance(value, sympy.Piecewise):
            branches: list[Any] = list(value.args)
            for inner in self._varying(sympy.Tuple(*(branch.expr for branch in branches))):
                yield inner, sympy.Piecewise(*((branch.expr.diff(inner), branch.cond) for branch in branches))
        elif isinstance(value, sympy.Max | sympy.Min):
            yield from self._extremum(symbol, value)
        elif isinstance(value, sympy.Abs):
            yield value.args[0], sign(value.args[0])
        elif isinstance(value, sympy.Function):
            for index, inner in enumerate(value.args, 1):
                if self.writer.varies(inner):
                    yield inner, value.fdiff(index).xreplace({value: symbol})
        elif isinstance(value, sympy.Pow) and not self.writer.plain(value):
            yield from self._power(symbol, value)
        else:
            yield value, sympy.S.One

    def _power(self, symbol: sympy.Symbol, value: sympy.Pow) -> Iterator[tuple[sympy.Expr, sympy.Expr]]:
        base, exponent = value.args
        if self.writer.varies(base):
            if exponent == -1:
                yield base, -(symbol**2)
            elif exponent == sympy.S.Half:
                yield base, 1 / (2 * symbol)
            else:
                yield base, exponent * base ** (exponent - 1)
        if self.writer.varies(exponent):
            yield exponent, symbol * sympy.log(base)

    def _extremum(self, symbol: sympy.Symbol, value: Any) -> Iterator[tuple[sympy.Expr, sympy.Expr]]:
        """1 for the argument that is beyond all others, 0 where two are equal (relu has slope 0 at 0)."""
        direction = 1 if isinstance(value, sympy.Max) else -1
        for index, inner in enumerate(value.args):
            if self.writer.varies(inner):
                others = value.func(*(other for place, other in enumerate(value.args) if place != index))
                # where the others are constant, the value itself tells, and the argument need not be kept
                beyond = inner if self.writer.varies(others) else symbol
                yield inner, sympy.Heaviside(direction * (beyond - others), 0)


def _saved(
    step: Step, needed: Iterable[sympy.Symbol], after: Collection[sympy.Symbol] = ()
) -> tuple[sympy.Symbol, ...]:
    """The fewest arrays of the forward pass from which the needed ones follow without a product or a dear function.

    after: those that are in memory anyway.
    """
    made: dict[sympy.Symbol, Assign | Product] = {}
    kinds: dict[sympy.Symbol, frozenset[str]] = {symbol: frozenset({"array"}) for symbol in (*step.state, *step.drives)}
    kinds |= {symbol: frozenset({"vector"}) for symbol in step.vectors}
    kinds |= {symbol: frozenset({"row"}) for symbol in step.row_scalars}
    dear: set[sympy.Symbol] = set()
    for operation in step.operations:
        kind: frozenset[str] = frozenset().union(*(kinds.get(symbol, frozenset()) for symbol in reads(operation)))
        for symbol in gives(operation):
            made[symbol] = operation
            kinds[symbol] = frozenset({"array"}) if isinstance(operation, Product) else kind
            if isinstance(operation, Product) or (expensive(operation.value) and ("array" in kind or len(kind) > 1)):
                dear.add(symbol)

    def parents(symbol: sympy.Symbol) -> tuple[sympy.Symbol, ...]:
        return tuple(parent for parent in reads(made[symbol]) if parent in made)

    targets = dict.fromkeys(symbol for symbol in needed if symbol in made)
    chosen = set(cheapest_cut(targets, parents, lambda s: int(s not in after), lambda _: 0, dear.__contains__))
    chosen -= set(after)
    return tuple(symbol for operation in step.operations for symbol in gives(operation) if symbol in chosen)
