"""The QUNN as a step program: flows of its parts for splittings, its slope for explicit methods.

The state's blocks are the real parts of the 2^q components, then the imaginary ones; its units are the sites. The
encoded input is one number a qubit and row. See `solvers.qunn` for the equation and the layout of the state.

Before these blocks the program has q + 1 more, which a step computes of the state that it ends in while that is at
hand: the occupations of the sites, and at each site <Z_j>, from which `QUNN.shown` makes the features.

The chain couples even sites to odd ones alone. In the coordinates phi_k = i^k psi_k the hopping is therefore real,
phi_k' = J_(k-1) phi_(k-1) - J_k phi_(k+1), one orthogonal matrix for real and imaginary parts alike, which takes half
the products of the complex one; the other flows act at each site by itself and do not see the factor.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import sympy

from ..partitioned_tableau import PartitionedTableau
from ..splitting import Splitting
from ..tableaux import Method
from .program import H
from .writer import Blocks, CannotLowerError, Lowered, Operand, Writer, runge_kutta

A, B, C, ALPHA, BETA = range(5)
"""Places of the trained vectors among the field's weights."""

Turned: TypeAlias = tuple[sympy.Expr, sympy.Expr]
"""cos and sin of an angle."""


@lru_cache(maxsize=64)
def lowered(qubits: int, method: Method) -> Lowered:
    """The program of one step. Raises `CannotLowerError`."""
    qunn = _Qunn(qubits)
    y = qunn.state
    if isinstance(method, Splitting):
        sequence = [(part, float(share)) for part, share in method.sequence(3)]
        y = qunn.entered(y)
        for part, share in sequence:
            match part:
                case 0:
                    y = qunn.hop(y, share, method.linear)
                case 1:
                    y = qunn.turn(y, H * sympy.Float(share, 17))
                case _:
                    y = qunn.dephase(y, H * sympy.Float(share, 17))
        order = [part for part, _ in sequence]
        return qunn.finish(qunn.left(y), max(order.count(part) for part in range(3)), even=True)
    if isinstance(method, PartitionedTableau) or not method.explicit:
        raise CannotLowerError(f"method {method.name!r} is no explicit one")
    new, calls = runge_kutta(qunn.writer, qunn.slope, method, y, H)
    return qunn.finish(new, calls)


class _Qunn:
    def __init__(self, qubits: int) -> None:
        self.qubits, self.components = qubits, 2**qubits
        self.observed = qubits + 1
        self.writer = Writer(self.observed + 2 * self.components, row_scalars=qubits)
        self.state: Blocks = self.writer.state[self.observed :]
        self._turned: dict[sympy.Expr, Turned] = {}

    def flipped(self, component: int, qubit: int) -> int:
        return component ^ (1 << (self.qubits - 1 - qubit))

    def sign(self, component: int, qubit: int) -> int:
        """The eigenvalue of Z."""
        return 1 - 2 * (component >> (self.qubits - 1 - qubit) & 1)

    def pairs(self, component: int) -> int:
        """The eigenvalue of the sum of Z_j Z_(j+1)."""
        return sum(x * y for x, y in pairwise(self.sign(component, j) for j in range(self.qubits)))

    def vector(self, which: int) -> sympy.Symbol:
        return self.writer.vector(Operand("vector", which))

    def rate(self, qubit: int) -> sympy.Expr:
        """a_k + alpha_k e_j."""
        found: sympy.Expr = self.vector(A) + self.vector(ALPHA) * self.writer.row_scalars[qubit]
        return found

    def energy(self, component: int) -> sympy.Expr:
        """The diagonal of H(u)."""
        signs = [self.sign(component, j) for j in range(self.qubits)]
        encoded = sympy.Add(*(s * e for s, e in zip(signs, self.writer.row_scalars, strict=True)))
        still = sum(signs) * self.vector(B) + self.pairs(component) * self.vector(C)
        found: sympy.Expr = still + encoded * self.vector(BETA)
        return found

    def finish(self, new: Blocks, calls: int, even: bool = False) -> Lowered:
        """The program, with what is shown of the new state."""
        D = self.components
        new = tuple(self.writer.array(block) for block in new)
        weights = [self.writer.assign(new[c] ** 2 + new[D + c] ** 2) for c in range(D)]
        signs = [[1] * D, *([self.sign(c, j) for c in range(D)] for j in range(self.qubits))]
        shown = tuple(sympy.Add(*(s * w for s, w in zip(row, weights, strict=True))) for row in signs)
        return self.writer.finish((*shown, *new), calls, even, self.observed)

    # ---------------------------------------------------------------------------------------------------- coordinates

    def entered(self, y: Blocks) -> Blocks:
        """i^k psi_k."""
        return self.rotated(y, tuple(range(self.components)), [self.factor()] * self.components, -1)

    def left(self, y: Blocks) -> Blocks:
        """psi_k of i^k psi_k."""
        return self.rotated(y, tuple(range(self.components)), [self.factor()] * self.components)

    def factor(self) -> Turned:
        """Real and imaginary part of i^k, k from 0."""
        return self.writer.vector(Operand("signs", 0)), self.writer.vector(Operand("signs", 1))

    # ---------------------------------------------------------------------------------------------------------- parts

    def turned(self, angle: sympy.Expr) -> Turned:
        """Equal angles are taken once."""
        if angle not in self._turned:
            found = self.writer.assign(angle)
            self._turned[angle] = self.writer.assign(sympy.cos(found)), self.writer.assign(sympy.sin(found))
        return self._turned[angle]

    def rotated(self, y: Blocks, other: tuple[int, ...], by: list[Turned], sense: int = 1) -> Blocks:
        """cos v - i sin v', component by component, v'_c = v_other(c); sense = -1: cos v + i sin v'."""
        D = self.components
        real = [self.writer.assign(by[c][0] * y[c] + sense * by[c][1] * y[D + other[c]]) for c in range(D)]
        imaginary = [self.writer.assign(by[c][0] * y[D + c] - sense * by[c][1] * y[other[c]]) for c in range(D)]
        return (*real, *imaginary)

    def hop(self, y: Blocks, share: float, linear: Literal["exact", "cayley"]) -> Blocks:
        """The flow along the sites, of i^k psi_k."""
        operand = Operand("flow", share=share, linear=linear)
        return tuple(self.writer.product(block, operand)[0] for block in y)

    def turn(self, y: Blocks, h: sympy.Expr) -> Blocks:
        D = self.components
        for qubit in range(self.qubits):
            by = self.turned(h * self.rate(qubit))
            y = self.rotated(y, tuple(self.flipped(c, qubit) for c in range(D)), [by] * D)
        return y

    def dephase(self, y: Blocks, h: sympy.Expr) -> Blocks:
        """By angles whose cos and sin are those of one angle a qubit, and of the pairs', by the sums' formulas."""
        D, one = self.components, self.writer.assign
        rates = [self.vector(B) + self.vector(BETA) * e for e in self.writer.row_scalars]
        phases = [self.turned(h * rates[0])]
        for rate in rates[1:]:
            cos, sin = self.turned(h * rate)
            phases = [
                (one(c * cos - sign * s * sin), one(s * cos + sign * c * sin)) for c, s in phases for sign in (1, -1)
            ]
        phases += [(c, -s) for c, s in reversed(phases)]  # with every sign turned round
        for component in range(D):
            pairs = self.pairs(component)
            if pairs:
                cos, sin = self.turned(h * abs(pairs) * self.vector(C))
                c, s = phases[component]
                sign = 1 if pairs > 0 else -1
                phases[component] = one(c * cos - sign * s * sin), one(s * cos + sign * c * sin)
        return self.rotated(y, tuple(range(D)), phases)

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
