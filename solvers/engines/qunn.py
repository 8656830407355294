"""The QUNN as a step program: flows of its parts for splittings, its slope for explicit methods.

The state's blocks are the real parts of the 2^q components, then the imaginary ones; its units are the sites. The
encoded input is one number a qubit and row. See `solvers.qunn` for the equation and the layout of the state.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import sympy

from ..partitioned_tableau import PartitionedTableau
from ..splitting import Splitting
from ..tableaux import Method
from .program import H
from .writer import Blocks, CannotLowerError, Lowered, Operand, Writer, runge_kutta

A, B, C, ALPHA, BETA = range(5)
"""Places of the trained vectors among the field's weights."""


@lru_cache(maxsize=64)
def lowered(qubits: int, method: Method) -> Lowered:
    """The program of one step. Raises `CannotLowerError`."""
    qunn = _Qunn(qubits)
    y: Blocks = qunn.writer.state
    if isinstance(method, Splitting):
        sequence = [(part, float(share)) for part, share in method.sequence(3)]
        for part, share in sequence:
            match part:
                case 0:
                    y = qunn.hop(y, share, method.linear)
                case 1:
                    y = qunn.turn(y, H * sympy.Float(share, 17))
                case _:
                    y = qunn.dephase(y, H * sympy.Float(share, 17))
        order = [part for part, _ in sequence]
        return qunn.writer.finish(y, max(order.count(part) for part in range(3)), even=True)
    if isinstance(method, PartitionedTableau) or not method.explicit:
        raise CannotLowerError(f"method {method.name!r} is no explicit one")
    new, calls = runge_kutta(qunn.writer, qunn.slope, method, y, H)
    return qunn.writer.finish(new, calls)


class _Qunn:
    def __init__(self, qubits: int) -> None:
        self.qubits, self.components = qubits, 2**qubits
        self.writer = Writer(2 * self.components, row_scalars=qubits)

    def flipped(self, component: int, qubit: int) -> int:
        return component ^ (1 << (self.qubits - 1 - qubit))

    def sign(self, component: int, qubit: int) -> int:
        """The eigenvalue of Z."""
        return 1 - 2 * (component >> (self.qubits - 1 - qubit) & 1)

    def vector(self, which: int) -> sympy.Symbol:
        return self.writer.vector(Operand("vector", which))

    def rate(self, qubit: int) -> sympy.Expr:
        """a_k + alpha_k e_j."""
        found: sympy.Expr = self.vector(A) + self.vector(ALPHA) * self.writer.row_scalars[qubit]
        return found

    def energy(self, component: int) -> sympy.Expr:
        """The diagonal of H(u)."""
        signs = [self.sign(component, j) for j in range(self.qubits)]
        pairs = sum(x * y for x, y in pairwise(signs))
        encoded = sympy.Add(*(s * e for s, e in zip(signs, self.writer.row_scalars, strict=True)))
        found: sympy.Expr = sum(signs) * self.vector(B) + pairs * self.vector(C) + encoded * self.vector(BETA)
        return found

    # ---------------------------------------------------------------------------------------------------------- parts

    def rotated(self, y: Blocks, other: tuple[int, ...], cos: list[sympy.Expr], sin: list[sympy.Expr]) -> Blocks:
        """cos v - i sin v', component by component, v'_c = v_other(c)."""
        D = self.components
        real = [self.writer.assign(cos[c] * y[c] + sin[c] * y[D + other[c]]) for c in range(D)]
        imaginary = [self.writer.assign(cos[c] * y[D + c] - sin[c] * y[other[c]]) for c in range(D)]
        return (*real, *imaginary)

    def hop(self, y: Blocks, share: float, linear: Literal["exact", "cayley"]) -> Blocks:
        """E v along the sites, E = kept - i moved: kept and moved side by side in one matrix."""
        D = self.components
        operand = Operand("flow", share=share, linear=linear)
        pairs = [self.writer.product(block, operand, 2) for block in y]
        real = [self.writer.assign(pairs[c][0] + pairs[D + c][1]) for c in range(D)]
        imaginary = [self.writer.assign(pairs[D + c][0] - pairs[c][1]) for c in range(D)]
        return (*real, *imaginary)

    def turn(self, y: Blocks, h: sympy.Expr) -> Blocks:
        D = self.components
        for qubit in range(self.qubits):
            angle = self.writer.assign(h * self.rate(qubit))
            cos, sin = self.writer.assign(sympy.cos(angle)), self.writer.assign(sympy.sin(angle))
            y = self.rotated(y, tuple(self.flipped(c, qubit) for c in range(D)), [cos] * D, [sin] * D)
        return y

    def dephase(self, y: Blocks, h: sympy.Expr) -> Blocks:
        D = self.components
        angles = [self.writer.assign(h * self.energy(c)) for c in range(D)]
        cos = [self.writer.assign(sympy.cos(angle)) for angle in angles]
        sin = [self.writer.assign(sympy.sin(angle)) for angle in angles]
        return self.rotated(y, tuple(range(D)), cos, sin)

    # ---------------------------------------------------------------------------------------------------------- slope

    def slope(self, block: int, at: Blocks, memo: dict[Any, Any]) -> sympy.Expr:
        """-i H psi: (H im, -H re)."""
        D = self.components
        c, other = block % D, D if block < D else 0
        v = at[other + c]
        total: sympy.Expr = self.energy(c) * v + self.writer.product(v, Operand("chain"))[0]
        for qubit in range(self.qubits):
            total = total + self.rate(qubit) * at[other + self.flipped(c, qubit)]
        return total if other else -total
