"""One step of a method on a field as a straight line of operations on arrays: what every engine prints.

An array is (rows, n): one row a sequence of the batch, n hidden units. A step is written once (`lowering`), its
reverse is derived (`adjoint`), and an engine prints both in its own language. Needs no torch.

Symbols are SymPy symbols, real, each assigned once. Kinds:

* arrays: blocks of the state, drives (what the input adds to a preactivation), and everything assigned on the way;
* vectors: (n,), the same for every row, such as trained biases;
* row scalars: one number a row, the same for every unit, such as the encoded input of a QUNN;
* scalars: one number, such as the step h and the constants of the equation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import sympy

H = sympy.Symbol("h", real=True, positive=True)
"""The size of the step, the first of a program's scalars."""


@dataclass(frozen=True)
class Assign:
    """symbol = value, unit by unit. value: an expression in arrays, vectors, row scalars and scalars."""

    symbol: sympy.Symbol
    value: sympy.Expr


@dataclass(frozen=True)
class Product:
    """[outputs] = [inputs] @ W + [plus], arrays side by side.

    matrix: an index of the program's matrices, each (n, width * n). Forward: one input, `width` outputs. transposed:
    with W^T, so `width` inputs and one output. plus: for each output an array that is added, or None.
    """

    outputs: tuple[sympy.Symbol, ...]
    inputs: tuple[sympy.Symbol, ...]
    matrix: int
    transposed: bool = False
    plus: tuple[sympy.Symbol | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.plus:
            object.__setattr__(self, "plus", (None,) * len(self.outputs))


@dataclass(frozen=True)
class Outer:
    """The cotangent of a matrix gains inputs^T @ [outputs], summed over rows. One input, `width` outputs."""

    matrix: int
    inputs: sympy.Symbol
    outputs: tuple[sympy.Symbol, ...]


@dataclass(frozen=True)
class RowSum:
    """The cotangent of a vector gains the sum of `value` over the rows, unit by unit."""

    vector: sympy.Symbol
    value: sympy.Expr


@dataclass(frozen=True)
class UnitSum:
    """The cotangent of a row scalar is the sum of `value` over the units, row by row."""

    scalar: sympy.Symbol
    value: sympy.Expr


Operation: TypeAlias = Assign | Product | Outer | RowSum | UnitSum


@dataclass(frozen=True)
class Step:
    """y -> y+ with the input held.

    state, result: the blocks before and after (a result may be any array, also one of the state); drives, vectors,
    row_scalars, scalars (h first): what it reads beside; widths: of each matrix (n, width * n), how many arrays its
    product gives; fixed: vectors whose cotangents nobody wants, such as signs.
    """

    state: tuple[sympy.Symbol, ...]
    result: tuple[sympy.Symbol, ...]
    operations: tuple[Assign | Product, ...]
    drives: tuple[sympy.Symbol, ...] = ()
    vectors: tuple[sympy.Symbol, ...] = ()
    row_scalars: tuple[sympy.Symbol, ...] = ()
    scalars: tuple[sympy.Symbol, ...] = (H,)
    widths: tuple[int, ...] = ()
    fixed: tuple[sympy.Symbol, ...] = ()


@dataclass(frozen=True)
class Reverse:
    """The discrete adjoint of a step: cotangents of y and of all it reads from the cotangent of y+.

    step: the one it belongs to, whose symbols the operations use; saved: arrays that the forward pass keeps for it, in
    order, so that no product and no function such as tanh is computed twice (empty where everything is recomputed from
    the state before the step); cotangents: of the result, one new symbol a block, given; state, drives: the cotangents
    found, one array each (None: zero). Matrices, vectors and row scalars gain through `Outer`, `RowSum`, `UnitSum`.
    """

    step: Step
    saved: tuple[sympy.Symbol, ...]
    cotangents: tuple[sympy.Symbol, ...]
    operations: tuple[Operation, ...]
    state: tuple[sympy.Symbol | None, ...]
    drives: tuple[sympy.Symbol | None, ...]


@dataclass(frozen=True)
class Loop:
    """Assignments and sums that one pass over an array's elements carries out, in order.

    reads: arrays that come from memory; writes: arrays that later operations read, and so go to memory. Everything
    else assigned stays in registers.
    """

    operations: tuple[Assign | RowSum | UnitSum, ...]
    reads: tuple[sympy.Symbol, ...]
    writes: tuple[sympy.Symbol, ...]


Pass: TypeAlias = Loop | Product | Outer
