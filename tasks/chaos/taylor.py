"""Taylor series of the solution in extended precision, for many trajectories at once: what the truth is checked by.

The coefficients come from recurrences over the expression tree of the field (Hairer, Noersett and Wanner, Solving
Ordinary Differential Equations I, section I.8; the rule for powers: Griewank and Walther, Evaluating Derivatives,
chapter 13). Numbers are np.longdouble; parameters and initial values are taken exactly as the binary64 numbers they
are. Steps follow Jorba and Zou 2005, Experimental Mathematics 14:99: e^-2 of the radius of convergence, here the
smallest over the trajectories.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import sympy

from ...suite.contracts import Array, VectorField
from ...suite.equation import TIME, Equation
from ...suite.errors import UsageError
from ...suite.matrix_equation import MatrixEquation

ORDER = 30

Expression = Any
"""A SymPy expression; Any, as SymPy does not type the attributes of its node classes."""

Rule = Callable[[int], Array]
"""Coefficient k of a node, from lower coefficients of every node and coefficient k of the nodes before it."""


class _Tree:
    """The Taylor coefficients of every node of some expressions, filled order by order.

    c: (nodes, order + 1, *shape); its first nodes are the inputs, whose coefficients are given; outputs: the nodes of
    the expressions. values: of the parameters.
    """

    def __init__(self, inputs: tuple[sympy.Symbol, ...], expressions: list[Expression], values: dict[Any, Any]) -> None:
        self.c: Array = np.empty(0)
        self._values = {symbol: np.longdouble(float(value)) for symbol, value in values.items()}
        self._known: dict[Any, int] = {s: i for i, s in enumerate(inputs)}
        self._rules: list[Rule] = []
        self._inputs = len(inputs)
        self.outputs = [self._node(sympy.sympify(e)) for e in expressions]

    def clear(self, order: int, shape: tuple[int, ...]) -> None:
        self.c = np.zeros((self._inputs + len(self._rules), order + 1, *shape), np.longdouble)

    def extend(self, k: int) -> None:
        """Coefficient k of every node, after that of the inputs."""
        for i, rule in enumerate(self._rules, start=self._inputs):
            self.c[i, k] = rule(k)

    def _add(self, rule: Rule, key: Expression) -> int:
        self._rules.append(rule)
        index = self._inputs + len(self._rules) - 1
        if key is not None:
            self._known[key] = index
        return index

    def _constant(self, e: Expression) -> Any:
        if e in self._values:
            return self._values[e]
        if e.is_Rational:
            return np.longdouble(int(e.p)) / np.longdouble(int(e.q))
        if e.is_Float:
            return np.longdouble(float(e))
        parts = [self._constant(part) for part in e.args]
        if e.is_Add:
            return sum(parts)
        if e.is_Mul:
            return np.prod(np.array(parts))
        if e.is_Pow:
            return parts[0] ** parts[1]
        raise UsageError(f"no extended-precision value is known for {e}.")

    def _node(self, e: Expression) -> int:
        """The row of an expression, made if it is new."""
        if e in self._known:
            return self._known[e]
        if not e.free_symbols - set(self._values):
            value = self._constant(e)
            return self._add(lambda k: np.asarray(value if k == 0 else np.longdouble(0)), e)
        if e.is_Add:
            parts = [self._node(part) for part in e.args]
            return self._add(lambda k: self.c[parts, k].sum(axis=0), e)
        if e.is_Mul:
            return self._multiply(e)
        if e.is_Pow and e.exp.is_number:
            return self._raise(e)
        if e.is_Pow and e.exp in self._values:
            return self._raise(e)
        raise UsageError(f"no Taylor recurrence is known for {e.func.__name__}; expected +, *, and constant powers.")

    def _multiply(self, e: Expression) -> int:
        constant, varying = e.as_independent(*(s for s in e.free_symbols if s not in self._values), as_Add=False)
        first, *rest = (self._node(part) for part in sympy.Mul.make_args(varying))
        for i, other in enumerate(rest):
            whole = constant == 1 and i == len(rest) - 1
            first = self._product(first, other, e if whole else None)
        if constant == 1:
            return first
        factor, node = self._constant(constant), first
        return self._add(lambda k: factor * self.c[node, k], e)

    def _product(self, a: int, b: int, key: Expression) -> int:
        return self._add(lambda k: (self.c[a, : k + 1] * self.c[b, k::-1]).sum(axis=0), key)

    def _raise(self, e: Expression) -> int:
        """v = u^p: u v' = p u' v, or repeated products for small whole powers (which may pass through zero)."""
        if e.exp.is_Integer and 2 <= e.exp <= 4:
            rest = self._node(e.base ** (e.exp - 1))
            return self._product(self._node(e.base), rest, e)
        base, p = self._node(e.base), self._constant(e.exp)
        index = self._add(lambda k: rule(k), e)

        def rule(k: int) -> Array:
            u, v = self.c[base], self.c[index]
            if k == 0:
                return np.asarray(u[0] ** p)
            weights = (p + 1) * np.arange(1, k + 1) - k
            terms = u[1 : k + 1] * v[k - 1 :: -1] if k > 1 else u[1:2] * v[:1]
            return np.asarray(np.tensordot(weights, terms, axes=1) / (k * u[0]))

        return index


def solution(equation: VectorField, y0: Array, times: Array, order: int = ORDER) -> Array:
    """Solutions from y0 (n, dimension) at times[0], reported at `times`: (len(times), n, dimension), np.longdouble.

    Raises `UsageError` for a field that is no equation, a function without a recurrence, or a machine whose longdouble
    is no wider than a double.
    """
    if np.finfo(np.longdouble).eps > 1e-18:
        raise UsageError("a Taylor series in extended precision needs an 80-bit longdouble, which this machine lacks.")
    expand = _expansion(equation, order)
    y = y0.astype(np.longdouble)
    found = [y]
    for left, right in pairwise(times):
        # the times as doubles are what the other solvers are given too
        remaining = np.longdouble(right) - np.longdouble(left)
        while remaining > 0:
            c = expand(y)
            h = remaining / ceil(float(remaining / (_radius(c) * np.exp(np.longdouble(-2)))))
            y = c[order]
            for k in range(order - 1, -1, -1):
                y = y * h + c[k]
            remaining = remaining - h if h < remaining else np.longdouble(0)
        found.append(y)
    return np.array(found)


def _radius(c: list[Array]) -> Any:
    """The radius of convergence by the root test on the last two coefficients, the smallest over trajectories."""
    size = np.maximum(1.0, np.abs(c[0]).max())
    order = len(c) - 1
    return min((size / np.maximum(np.abs(c[k]).max(), 1e-300)) ** (np.longdouble(1) / k) for k in (order - 1, order))


def _expansion(equation: VectorField, order: int) -> Callable[[Array], list[Array]]:
    """y (n, dimension) -> the coefficients 0..order of the solution, each (n, dimension)."""
    if isinstance(equation, Equation):
        if any(e.has(TIME) for e in equation.rhs):
            raise UsageError(f"the Taylor series of {equation.name} is not available: its field depends on time.")
        tree = _Tree(equation.state, list(equation.rhs), dict(equation.parameters))

        def expand(y: Array) -> list[Array]:
            tree.clear(order, y.shape[:1])
            c = [y]
            for k in range(order):
                tree.c[: y.shape[1], k] = c[k].T
                tree.extend(k)
                c.append(tree.c[tree.outputs, k].T / np.longdouble(k + 1))
            return c

        return expand
    if isinstance(equation, MatrixEquation):
        return _matrix_expansion(equation, order)
    raise UsageError(f"no Taylor series is known for {equation.name}: expected an equation in symbols.")


def _matrix_expansion(equation: MatrixEquation, order: int) -> Callable[[Array], list[Array]]:
    linear, mixing = (np.ascontiguousarray(m.T).astype(np.longdouble) for m in (equation.linear, equation.mixing))
    rows, columns = (np.flatnonzero(mixing.any(axis=axis)) for axis in (1, 0))
    mixing = mixing[np.ix_(rows, columns)]  # of rank one for a delay: most components need no g
    constant = np.asarray(equation.constant).astype(np.longdouble)
    tree = _Tree((equation.symbol,), [equation.pointwise], dict(equation.parameters))

    def expand(y: Array) -> list[Array]:
        tree.clear(order, (len(y), len(rows)))
        c = [y]
        for k in range(order):
            tree.c[0, k] = c[k][:, rows]
            tree.extend(k)
            slope = c[k] @ linear
            slope[:, columns] += tree.c[tree.outputs[0], k] @ mixing
            if k == 0:
                slope = slope + constant
            c.append(slope / np.longdouble(k + 1))
        return c

    return expand
