"""SymPy expressions on lanes: common subexpressions once, sums of products fused, powers by products.

Longer than most files: one printer, a branch for each kind of node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias, cast

import sympy
from llvmlite import ir
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import ITE, And, Boolean, BooleanFalse, BooleanTrue, Not, Or

from ...suite.errors import UsageError
from . import elementary
from .vector import Builder, Lanes, Value

Binary: TypeAlias = Callable[[Builder, Lanes, Value, Value], Value]

RELATIONS = MappingProxyType(
    {
        sympy.StrictLessThan: "<",
        sympy.LessThan: "<=",
        sympy.StrictGreaterThan: ">",
        sympy.GreaterThan: ">=",
        sympy.Equality: "==",
        sympy.Unequality: "!=",
    }
)
BINARY: MappingProxyType[str, Binary] = MappingProxyType({"atan2": elementary.arctan2})
LONGEST_POWER = 64
"""Integer powers up to this are products; beyond it the C library's pow."""


def supported(expressions: Iterable[sympy.Expr]) -> bool:
    """Whether `evaluate` can print all of them."""
    return not unsupported(expressions)


def unsupported(expressions: Iterable[sympy.Expr]) -> str:
    """The first part of the expressions that `evaluate` cannot print, as text; empty where it can print all."""
    for expression in expressions:
        for node in sympy.preorder_traversal(sympy.sympify(expression)):
            if not _printable(node):
                return str(node)
    return ""


def _printable(node: Any) -> bool:
    if isinstance(node, sympy.Symbol | sympy.Add | sympy.Mul | sympy.Pow | sympy.Max | sympy.Min | sympy.Piecewise):
        return True
    if isinstance(node, ExprCondPair | And | Or | Not | ITE):
        return True
    if isinstance(node, BooleanTrue | BooleanFalse) or type(node) in RELATIONS:
        return True
    if isinstance(node, sympy.Number | sympy.NumberSymbol):
        return True
    name = type(node).__name__
    if isinstance(node, sympy.Heaviside):
        return True  # the second argument, its value at 0, is not asked for
    if isinstance(node, sympy.Function):
        return (name in elementary.FUNCTIONS and len(node.args) == 1) or (name in BINARY and len(node.args) == 2)
    return False


def evaluate(
    b: Builder, lanes: Lanes, expressions: Sequence[sympy.Expr], values: Mapping[sympy.Symbol, Value]
) -> list[Value]:
    """The values of the expressions, whose symbols have the given values.

    Heaviside is 0 at 0, as the slope of torch's relu. A piecewise expression is NaN where no condition holds. Raises
    `UsageError` for a function that cannot be compiled, and for a symbol without a value.
    """
    wanted = [sympy.sympify(e) for e in expressions]
    strange = unsupported(wanted)
    if strange:
        raise UsageError(f"{strange} cannot be compiled: expected arithmetic and functions of the compiled engines.")
    names = (sympy.Symbol(f"_common{i}", real=True) for i in range(1 << 30))
    shared, results = sympy.cse(wanted, symbols=names, list=True)
    printer = _Printer(b, lanes, dict(values))
    for symbol, value in shared:
        printer.known[symbol] = printer.value(value)
    return [printer.value(e) for e in results]


class _Printer:
    """Prints nodes, each distinct one once."""

    def __init__(self, b: Builder, lanes: Lanes, known: dict[Any, Value]) -> None:
        self.b, self.lanes, self.known = b, lanes, known

    def value(self, node: Any) -> Value:
        if node not in self.known:
            self.known[node] = self._new(node)
        return self.known[node]

    def _new(self, node: Any) -> Value:
        b, lanes = self.b, self.lanes
        if node.is_Symbol:
            raise UsageError(
                f"an expression reads {node}, which has no value: expected one of {sorted(map(str, self.known))}."
            )
        if node.is_number and not isinstance(node, Boolean):
            return lanes.constant(_float(node))
        if node.is_Add:
            return self._sum(node)
        if node.is_Mul:
            return self._quotient(*_factors(node))
        if node.is_Pow:
            return self._quotient(*_factors(node)) if _inverse(node) else self._power(node)
        if isinstance(node, sympy.Max | sympy.Min):
            join = elementary.maximum if isinstance(node, sympy.Max) else elementary.minimum
            first, *rest = (self.value(a) for a in node.args)
            for other in rest:
                first = join(b, lanes, first, other)
            return first
        if isinstance(node, sympy.Piecewise):
            total, pairs = lanes.constant(math.nan), cast(Any, node.args)
            for expression, condition in reversed(pairs):
                value = self.value(expression)
                total = value if condition == sympy.true else b.select(self.value(condition), value, total)
            return total
        if isinstance(node, Boolean):
            return self._mask(node)
        name = type(node).__name__
        if name in BINARY:
            return BINARY[name](b, lanes, self.value(node.args[0]), self.value(node.args[1]))
        return elementary.FUNCTIONS[name](b, lanes, self.value(node.args[0]))

    def _mask(self, condition: Any) -> Value:
        if isinstance(condition, BooleanTrue | BooleanFalse):
            bit = int(bool(condition))
            return ir.Constant(self.lanes.mask, bit if self.lanes.width == 1 else [bit] * self.lanes.width)
        if isinstance(condition, And | Or):
            first, *rest = (self.value(c) for c in condition.args)
            for other in rest:
                first = self.b.and_(first, other) if isinstance(condition, And) else self.b.or_(first, other)
            return first
        if isinstance(condition, Not):
            return self.b.not_(self.value(condition.args[0]))
        if isinstance(condition, ITE):
            return self.b.select(*(self.value(c) for c in condition.args))
        left, right = (self.value(a) for a in condition.args)
        return self.lanes.compare(self.b, RELATIONS[type(condition)], left, right)

    def _sum(self, node: Any) -> Value:
        """Terms that are no products first, then the products, each fused with the sum so far."""
        b, lanes = self.b, self.lanes
        plain: list[tuple[Any, list[Any], list[Any]]] = []
        products: list[tuple[Any, list[Any], list[Any]]] = []
        for term in node.args:
            coefficient, above, below = _coefficient(term)
            alone = below or (len(above) < 2 and (abs(coefficient) == 1 or not above))
            (plain if alone else products).append((coefficient, above, below))
        total = None
        for coefficient, above, below in sorted(plain, key=lambda term: bool(term[0] < 0)):
            if not above and not below:
                value, minus = lanes.constant(_float(coefficient)), False
            else:
                minus = bool(coefficient < 0)
                value = self._quotient(*_with_coefficient(abs(coefficient), above, below))
            if total is None:
                total = b.fneg(value) if minus else value
            else:
                total = b.fsub(total, value) if minus else b.fadd(total, value)
        for coefficient, above, _ in products:
            minus = bool(coefficient < 0)
            factors = [self.value(f) for f in above]
            if abs(coefficient) != 1:
                factors = [lanes.constant(_float(coefficient)), *factors]
                minus = False
            *others, last = factors
            product = self._product(others)
            if total is None:
                total = b.fmul(b.fneg(product) if minus else product, last)
            else:
                total = lanes.fma(b, b.fneg(product) if minus else product, last, total)
        return total

    def _product(self, factors: list[Value]) -> Value:
        first, *rest = factors
        for other in rest:
            first = self.b.fmul(first, other)
        return first

    def _quotient(self, above: list[Any], below: list[Any]) -> Value:
        """Product of some nodes over the product of others, in one division."""
        minus = above[:1] == [sympy.S.NegativeOne]
        above = above[1:] if minus else above
        top = self._product([self.value(f) for f in above]) if above else self.lanes.constant(1.0)
        if below:
            top = self.b.fdiv(top, self._product([self.value(f) for f in below]))
        return self.b.fneg(top) if minus else top

    def _power_of(self, node: Any) -> Value:
        return self.value(node)

    def _power(self, node: Any) -> Value:
        """base ** exponent with an exponent that is not a negative number."""
        base, exponent = node.as_base_exp()
        x = self.value(base)
        twice = 2 * exponent
        if not (twice.is_Integer and 0 < exponent <= LONGEST_POWER):
            return elementary.power(self.b, self.lanes, x, self.value(exponent))
        whole = int(exponent)
        result = elementary.sqrt(self.b, self.lanes, x) if twice.is_odd else None
        while whole:
            if whole & 1:
                result = x if result is None else self.b.fmul(result, x)
            whole >>= 1
            x = self.b.fmul(x, x) if whole else x
        return result


def _float(node: Any) -> float:
    """A number, correctly rounded to float64."""
    if node.is_Rational and node.is_finite:
        return float(int(node.p) / int(node.q))
    return float(node) if node.is_Float else float(node.evalf(25))


def _inverse(node: Any) -> bool:
    """Whether it is a power with a negative number above."""
    return bool(node.is_Pow and node.exp.is_number and node.exp.is_negative)


def _factors(node: Any) -> tuple[list[Any], list[Any]]:
    """What a product consists of, above and below its bar; a rational number is one factor."""
    above: list[Any] = []
    below: list[Any] = []
    factors: Any = sympy.Mul.make_args(node)
    for factor in factors:
        if _inverse(factor):
            below.append(factor.base ** (-factor.exp))
        else:
            above.append(factor)
    return above, below


def _coefficient(term: Any) -> tuple[Any, list[Any], list[Any]]:
    """A term as number times factors over factors."""
    coefficient, rest = term.as_coeff_Mul()
    if rest == 1:
        return coefficient, [], []
    above, below = _factors(rest)
    return coefficient, above, below


def _with_coefficient(coefficient: Any, above: list[Any], below: list[Any]) -> tuple[list[Any], list[Any]]:
    return ([coefficient, *above] if coefficient != 1 else above), below
