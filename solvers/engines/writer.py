"""Writes the operations of a step program: what all fields and methods share when they are lowered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sympy

from ..schedule import Schedule
from ..step import Row, stages
from ..tableau import Tableau
from .program import Assign, H, Product, Step

Source: TypeAlias = Literal["maps", "bias", "mix", "vector", "flow", "drift", "signs", "chain"]
Blocks: TypeAlias = tuple[sympy.Expr, ...]
"""One symbol, or zero, for each block of the state."""
Slope: TypeAlias = Callable[[int, Blocks, dict[Any, Any]], sympy.Expr]
"""(block, state, memo) -> the slope of that block; memo: of one step, so that what reads the same is written once."""


class CannotLowerError(Exception):
    """Why a field under a method has no step program, in one clause."""


@dataclass(frozen=True)
class Operand:
    """A matrix or vector of a program, by where it comes from (each field reads it in its own way, `operands`).

    maps: rows of block `row`, columns `first` to `last` (in units) of an equation's whole matrix; bias: of its
    preactivation `first`; mix: its mixing matrix `first`; vector: the weight `first`; flow, drift: block (`first`,
    `row`) of E^T, Phi^T of the linear part `part` over `share` of a step; signs: the reflection of block `first`,
    or other fixed numbers, which get no cotangent; chain: a fixed combination of the weights.
    diagonal: of that matrix, the diagonal.
    """

    source: Source
    first: int = 0
    last: int = 0
    row: int = 0
    part: int = 0
    share: float = 1.0
    linear: Literal["exact", "cayley"] = "exact"
    diagonal: bool = False


@dataclass(frozen=True)
class Lowered:
    """A step program and what its inputs are.

    drives: which preactivations (in the order of `solvers.layout`) the input adds to, without their biases; constants:
    of the equation, the program's scalars after h; calls: evaluations of the field in a step, as the general path
    counts them; even: all steps must have one size, because tensors depend on it; shown: how many leading blocks of
    the program's state are no part of the field's, but what its features are made of: written by a step, read by none.
    """

    step: Step
    matrices: tuple[Operand, ...]
    vectors: tuple[Operand, ...]
    drives: tuple[int, ...] = ()
    constants: tuple[sympy.Symbol, ...] = ()
    calls: int = 1
    even: bool = False
    shown: int = 0


def symbol(name: str) -> sympy.Symbol:
    """A symbol of a program."""
    return sympy.Symbol(name, real=True)


class Writer:
    """Writes operations on fresh symbols, for a state of so many blocks."""

    def __init__(self, blocks: int, constants: Sequence[str] = (), row_scalars: int = 0) -> None:
        self.state = tuple(symbol(f"y{j}") for j in range(blocks))
        self.row_scalars = tuple(symbol(f"e{j}") for j in range(row_scalars))
        self.constants = {symbol(name): symbol(f"c{k}") for k, name in enumerate(constants)}
        self.operations: list[Assign | Product] = []
        self._drives: dict[int, sympy.Symbol] = {}
        self._vectors: dict[Operand, sympy.Symbol] = {}
        self._matrices: dict[Operand, int] = {}
        self._widths: list[int] = []
        self._count = 0

    def fresh(self) -> sympy.Symbol:
        self._count += 1
        return symbol(f"x{self._count}")

    def assign(self, value: sympy.Expr) -> sympy.Expr:
        """The value as a symbol; a symbol or zero stays as it is."""
        if value == 0 or value.is_Symbol:
            return value
        found = self.fresh()
        self.operations.append(Assign(found, value))
        return found

    def array(self, value: sympy.Expr) -> sympy.Symbol:
        """The value as a symbol of an array, zero too."""
        found = self.assign(value)
        if isinstance(found, sympy.Symbol):
            return found
        zero = self.fresh()
        self.operations.append(Assign(zero, sympy.S.Zero))
        return zero

    def vector(self, operand: Operand) -> sympy.Symbol:
        return self._vectors.setdefault(operand, symbol(f"v{len(self._vectors)}"))

    def drive(self, k: int) -> sympy.Symbol:
        return self._drives.setdefault(k, symbol(f"d{k}"))

    def product(
        self, value: sympy.Expr, operand: Operand, width: int = 1, plus: Sequence[sympy.Symbol | None] = ()
    ) -> tuple[sympy.Symbol, ...]:
        """[value] @ matrix + [plus], `width` arrays."""
        if operand not in self._matrices:
            self._matrices[operand] = len(self._matrices)
            self._widths.append(width)
        outputs = tuple(self.fresh() for _ in range(width))
        self.operations.append(Product(outputs, (self.array(value),), self._matrices[operand], plus=tuple(plus)))
        return outputs

    def shifted(self, value: sympy.Expr, row: Row, slopes: Mapping[int, sympy.Expr], h: sympy.Expr) -> sympy.Expr:
        """value + h times a row's combination of slopes."""
        return self.assign(sympy.Add(value, *(h * sympy.Float(float(a), 17) * slopes[j] for j, a in row)))

    def finish(self, new: Blocks, calls: int, even: bool = False, shown: int = 0) -> Lowered:
        """The program, with these blocks as the new state."""
        result = tuple(self.array(value) for value in new)
        drives = tuple(sorted(self._drives))
        step = Step(
            state=self.state,
            result=result,
            operations=tuple(self.operations),
            drives=tuple(self._drives[k] for k in drives),
            vectors=tuple(self._vectors.values()),
            row_scalars=self.row_scalars,
            scalars=(H, *self.constants.values()),
            widths=tuple(self._widths),
            fixed=tuple(symbol for operand, symbol in self._vectors.items() if operand.source == "signs"),
        )
        operands = tuple(self._matrices), tuple(self._vectors)
        return Lowered(step, *operands, drives, tuple(self.constants), calls, even, shown)


def runge_kutta(writer: Writer, slope: Slope, tableau: Tableau, y: Blocks, h: sympy.Expr) -> tuple[Blocks, int]:
    """A step of an explicit tableau, and its evaluations."""
    method, memo = stages(tableau, "numpy"), dict[Any, Any]()
    slopes: list[dict[int, sympy.Expr]] = [{} for _ in y]
    for i, row in enumerate(method.rows):
        at = tuple(writer.shifted(b, row, slopes[j], h) for j, b in enumerate(y))
        for j in range(len(y)):
            slopes[j][i] = writer.assign(slope(j, at, memo))
    return tuple(writer.shifted(b, method.weights, slopes[j], h) for j, b in enumerate(y)), len(method)


def partitioned(writer: Writer, slope: Slope, plan: Schedule, y: Blocks, h: sympy.Expr) -> tuple[Blocks, int]:
    """A step of a partitioned method whose slopes wait for no equation, and its evaluations."""
    memo: dict[Any, Any] = {}
    slopes: list[dict[int, sympy.Expr]] = [{} for _ in y]
    values: dict[Any, sympy.Expr] = {}
    counted: set[int] = set()

    def value(block: int, row: Row) -> sympy.Expr:
        """y + h sum_j row_j k_j of one block; equal rows are one value, so that the last stage may be y+."""
        if (block, row) not in values:
            values[block, row] = writer.shifted(y[block], row, slopes[block], h)
        return values[block, row]

    for group in plan.groups:
        ((stage, _, wanted),) = group.calls
        needed = frozenset().union(*(plan.reads[k] for k in wanted))
        at = tuple(value(q, plan.rows[q][stage]) if q in needed else b for q, b in enumerate(y))
        for k in wanted:
            slopes[k][stage] = writer.assign(slope(k, at, memo))
        counted.add(stage)
    return tuple(value(k, row) for k, row in enumerate(plan.weights)), len(counted)
