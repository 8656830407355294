"""Exact numbers p + q sqrt(d) of one real quadratic field: what Gauss, Radau and SDIRK methods are made of.

p and q are Fractions and d is a square-free integer greater than 1. Arithmetic, comparison and the zero test are exact;
a result without a root comes back as a Fraction, so that `Fraction | Quadratic` is a field with one form a number. A
class of some hundred lines, because SymPy costs half a second at import and milliseconds an operation.
"""

from __future__ import annotations

import ast
import math
import operator
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any, TypeAlias


class Quadratic:
    """p + q sqrt(d) with q != 0. Made by `surd` or by arithmetic, never changed.

    Mixes with int and Fraction, and with SymPy expressions, which take it as theirs. Raises `ArithmeticError` where
    numbers of two fields meet.
    """

    __slots__ = ("d", "p", "q")

    def __init__(self, p: Fraction, q: Fraction, d: int) -> None:
        self.p, self.q, self.d = p, q, d

    def _parts(self, other: Scalar | int) -> tuple[Fraction | int, Fraction | int]:
        if not isinstance(other, Quadratic):
            return other, 0
        if other.d != self.d:
            raise ArithmeticError(f"sqrt({self.d}) and sqrt({other.d}) do not lie in one quadratic field.")
        return other.p, other.q

    def _new(self, p: Fraction, q: Fraction) -> Scalar:
        return Quadratic(p, q, self.d) if q else p

    def __add__(self, other: Scalar | int) -> Scalar:
        if not isinstance(other, _NUMBERS):
            return NotImplemented
        p, q = self._parts(other)
        return self._new(self.p + p, self.q + q)

    def __neg__(self) -> Quadratic:
        return Quadratic(-self.p, -self.q, self.d)

    def __sub__(self, other: Scalar | int) -> Scalar:
        if not isinstance(other, _NUMBERS):
            return NotImplemented
        p, q = self._parts(other)
        return self._new(self.p - p, self.q - q)

    def __rsub__(self, other: Fraction | int) -> Scalar:
        return -self + other if isinstance(other, _NUMBERS) else NotImplemented

    def __mul__(self, other: Scalar | int) -> Scalar:
        if not isinstance(other, _NUMBERS):
            return NotImplemented
        p, q = self._parts(other)
        return self._new(self.p * p + self.q * q * self.d, self.p * q + self.q * p)

    def __truediv__(self, other: Scalar | int) -> Scalar:
        if isinstance(other, Quadratic):
            return self * other._inverse()
        if not isinstance(other, _NUMBERS):
            return NotImplemented
        return self._new(self.p / other, self.q / other)

    def __rtruediv__(self, other: Fraction | int) -> Scalar:
        return self._inverse() * other if isinstance(other, _NUMBERS) else NotImplemented

    __radd__ = __add__
    __rmul__ = __mul__

    def _inverse(self) -> Quadratic:
        norm = self.p * self.p - self.q * self.q * self.d  # not zero: d is no square
        return Quadratic(self.p / norm, -self.q / norm, self.d)

    def __pow__(self, exponent: int) -> Scalar:
        result: Scalar = Fraction(1)
        for _ in range(abs(exponent)):
            result = result * self
        return result if exponent >= 0 else 1 / result

    def sign(self) -> int:
        """1 or -1."""
        p, q = (self.p > 0) - (self.p < 0), (1 if self.q > 0 else -1)
        if p in (0, q):
            return q
        return p if self.p * self.p > self.q * self.q * self.d else q

    def __abs__(self) -> Quadratic:
        return self if self.sign() > 0 else -self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quadratic) and (self.p, self.q, self.d) == (other.p, other.q, other.d)

    def __hash__(self) -> int:
        return hash((self.p, self.q, self.d))

    def _compared(self, other: Scalar | int, relation: Callable[[int, int], bool]) -> bool:
        if not isinstance(other, _NUMBERS):
            return NotImplemented
        gap = self - other
        return relation(gap.sign() if isinstance(gap, Quadratic) else (gap > 0) - (gap < 0), 0)

    def __lt__(self, other: Scalar | int) -> bool:
        return self._compared(other, operator.lt)

    def __le__(self, other: Scalar | int) -> bool:
        return self._compared(other, operator.le)

    def __gt__(self, other: Scalar | int) -> bool:
        return self._compared(other, operator.gt)

    def __ge__(self, other: Scalar | int) -> bool:
        return self._compared(other, operator.ge)

    def __float__(self) -> float:
        """The nearest float: the root is enclosed ever more tightly until both ends round to the same."""
        bits = 128
        while True:
            root = math.isqrt(self.d << 2 * bits)
            ends = {float(self.p + self.q * Fraction(root + k, 1 << bits)) for k in (0, 1)}
            if len(ends) == 1:
                return ends.pop()
            bits *= 2

    def __str__(self) -> str:
        numerator, denominator = abs(self.q.numerator), self.q.denominator
        root = (
            f"{'' if numerator == 1 else f'{numerator}*'}sqrt({self.d}){'' if denominator == 1 else f'/{denominator}'}"
        )
        if not self.p:
            return root if self.q > 0 else f"-{root}"
        return f"{self.p} {'+' if self.q > 0 else '-'} {root}"

    __repr__ = __str__

    def _sympy_(self) -> Any:
        import sympy

        p, q = (sympy.Rational(part.numerator, part.denominator) for part in (self.p, self.q))
        return p + q * sympy.sqrt(self.d)


Scalar: TypeAlias = Fraction | Quadratic
"""An exact coefficient."""

_NUMBERS = (int, Fraction, Quadratic)


def magnitude(x: Scalar) -> Scalar:
    """|x|."""
    return x if x >= 0 else -x


def surd(d: int) -> Scalar:
    """The square root of a non-negative integer. Raises `ValueError` for a negative one."""
    outside, inside, factor = 1, d, 2
    while factor * factor <= inside:
        while inside % (factor * factor) == 0:
            outside, inside = outside * factor, inside // (factor * factor)
        factor += 1
    if inside < 0:
        raise ValueError(f"sqrt({d}) is not real.")
    return Fraction(outside * inside) if inside < 2 else Quadratic(Fraction(0), Fraction(outside), inside)


_OPERATIONS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = MappingProxyType(
    {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
)


def parse(text: str) -> Scalar:
    """The number that a text states: "1/2", "0.161", "1e-30", "1/4 - sqrt(3)/6", "(88 - 7*sqrt(6))/360".

    Raises `ValueError` for any other text, and for roots of two fields; `ZeroDivisionError` for a division by zero.
    """
    if "sqrt" not in text:
        return Fraction(text)

    def value(node: ast.expr) -> Scalar:
        match node:
            case ast.Constant(value=int() as number) if not isinstance(number, bool):
                return Fraction(number)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
                result: Scalar = _OPERATIONS[type(op)](value(left), value(right))
                return result
            case ast.Call(func=ast.Name(id="sqrt"), args=[ast.Constant(value=int() as number)], keywords=[]) if (
                not isinstance(number, bool)
            ):
                return surd(number)
        raise ValueError(f"{text!r} states no number p + q sqrt(d).")

    try:
        return value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ArithmeticError) as error:
        if isinstance(error, ZeroDivisionError):
            raise
        raise ValueError(f"{text!r} states no number p + q sqrt(d): {error}") from error


def from_sympy(value: object) -> Scalar | None:
    """An exact SymPy number of a real quadratic field; None for everything else."""
    if "sympy" not in sys.modules:
        return None
    import sympy

    if not isinstance(value, sympy.Expr) or value.free_symbols or value.atoms(sympy.Float):
        return None
    try:
        return parse(str(sympy.expand(sympy.radsimp(value))))
    except (ValueError, ZeroDivisionError):
        return None
