"""Function applications of a step, one to an assignment: the form that its reverse and its passes are made from."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy

from .dataflow import gives, reads
from .program import Assign, Operation, Product, Step


class Assignments:
    """Operations in the making: fresh names, and functions one to an assignment, equal ones shared."""

    def __init__(self, step: Step) -> None:
        self.operations: list[Operation] = []
        self.known: dict[sympy.Expr, sympy.Symbol] = {}
        self.varying = {*step.state, *step.drives, *step.vectors, *step.row_scalars}
        self._taken = {symbol.name for symbol in (*self.varying, *step.scalars)}
        for operation in step.operations:
            self.varying.update(gives(operation))
            self._taken.update(symbol.name for symbol in (*gives(operation), *reads(operation)))
        self._count = 0

    def fresh(self, prefix: str) -> sympy.Symbol:
        while True:
            self._count += 1
            name = f"{prefix}__{self._count}"
            if name not in self._taken:
                self._taken.add(name)
                symbol = sympy.Symbol(name, real=True)
                self.varying.add(symbol)
                return symbol

    def varies(self, expression: sympy.Basic) -> bool:
        return not self.varying.isdisjoint(expression.free_symbols)

    def arithmetic(self, expression: sympy.Expr) -> sympy.Expr:
        """The expression by sums, products and integer powers of symbols; functions become assignments first."""
        value = self._outermost(expression)
        return value if self.plain(value) else self._assigned(value)

    def assign(self, symbol: sympy.Symbol, expression: sympy.Expr) -> None:
        """symbol = expression, where one function may stand alone on the right."""
        value = self._outermost(expression)
        if not self.plain(value):
            if value in self.known:
                value = self.known[value]
            else:
                self.known[value] = symbol
        self.operations.append(Assign(symbol, value))

    def named(self, expression: sympy.Expr, prefix: str) -> sympy.Symbol:
        """A symbol for an arithmetic expression: itself if it is one."""
        if isinstance(expression, sympy.Symbol):
            return expression
        symbol = self.fresh(prefix)
        self.operations.append(Assign(symbol, expression))
        return symbol

    def _assigned(self, value: sympy.Expr) -> sympy.Symbol:
        if value not in self.known:
            symbol = self.fresh("f")
            self.operations.append(Assign(symbol, value))
            self.known[value] = symbol
        return self.known[value]

    def plain(self, value: sympy.Expr) -> bool:
        """Whether the outermost operation is a sum, a product or a positive integer power."""
        if isinstance(value, sympy.Symbol | sympy.Add | sympy.Mul) or not self.varies(value):
            return True
        return bool(isinstance(value, sympy.Pow) and value.exp.is_Integer and value.exp.is_positive)

    def _outermost(self, expression: Any) -> Any:
        """The expression with every function below its root replaced by a symbol."""
        if isinstance(expression, sympy.Symbol) or not self.varies(expression):
            return expression
        if isinstance(expression, sympy.Pow) and expression.exp.is_Rational:
            base, exponent = self.arithmetic(expression.base), expression.exp
            if exponent.q == 2 and exponent.p != 1:
                return self._power(self.arithmetic(sympy.sqrt(base)), exponent.p)
            return self._power(base, exponent.p) if exponent.q == 1 else base**exponent
        return expression.func(*(self._below(part) for part in expression.args))

    def _below(self, part: Any) -> Any:
        """An argument: conditions and the branches of a Piecewise are no values, what they hold is."""
        if isinstance(part, sympy.Expr):
            return self.arithmetic(part)
        return part.func(*(self._below(inner) for inner in part.args)) if part.args else part

    def _power(self, base: Any, exponent: Any) -> Any:
        """Negative powers are powers of one reciprocal, whose derivative needs no more than itself."""
        if exponent > 0 or exponent == -1:
            return base**exponent
        return self._assigned(1 / base) ** (-exponent)


@lru_cache(maxsize=256)
def split(step: Step) -> Step:
    """The same step with every function application of arrays, vectors or row scalars an assignment of its own.

    What remains around them are sums, products and positive integer powers. Division by an array is a function, its
    reciprocal. Equal applications are computed once; new symbols are f__1, f__2, ... A split step is returned as is.
    """
    writer = Assignments(step)
    for operation in step.operations:
        if isinstance(operation, Product):
            writer.operations.append(operation)
        else:
            writer.assign(operation.symbol, operation.value)
    operations = tuple(operation for operation in writer.operations if isinstance(operation, Assign | Product))
    return Step(
        step.state,
        step.result,
        operations,
        step.drives,
        step.vectors,
        step.row_scalars,
        step.scalars,
        step.widths,
        step.fixed,
    )
