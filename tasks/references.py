"""Recompute the reference values of the initial value problems: `python -m odernn.tasks.references [NAME ...]`.

The stiff ones by collocation in many digits (`tasks/collocation.py`), the others by the Taylor method of high order in
arbitrary precision: the coefficients of the solution follow by recurrences over the expression tree of the equation
(Hairer, Norsett & Wanner, *Solving Ordinary Differential Equations I*, 2nd ed., section
I.8; the rules for powers, exponentials, logarithms and sines: Griewank & Walther, *Evaluating Derivatives*, 2nd ed.,
chapter 13). Order and step follow Jorba & Zou, "A software package for the numerical integration of ODEs by means of
high-order Taylor methods", Experimental Mathematics 14 (2005), section 3.

Every number of a problem (initial values, parameters, end points) is taken as exactly the binary64 number it is, so
that a reference is the solution of the problem that a double-precision solver is given, and not of one nearby.

Past 200 lines because a rule for each elementary function is needed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from math import ceil, log
from typing import Any

import mpmath
import sympy

from ..suite.contracts import InitialValueProblem
from ..suite.equation import TIME, Equation
from ..suite.errors import UsageError, unknown
from .collocation import collocation
from .problems import PROBLEMS

Number = Any
"""An mpmath real."""

Expression = Any
"""A SymPy expression; Any, as SymPy does not type the attributes of its node classes."""

mp: Any = mpmath.mp

DIGITS = (30, 36)
"""The two tolerances, in decimal digits per step, whose results are compared."""

GUARD = 12
"""Working digits beyond the tolerance."""

AGREEMENT = 1e-20
"""The two results must agree to this, relative to the largest component."""

STIFF = ((12, 1e-17), (14, 1e-18))
"""Stages and tolerance of the two collocations whose results are compared, for stiff problems."""

STIFF_AGREEMENT = 1e-17
"""These must agree to this in every component, relative to the component."""

Rule = Callable[[int], Number]
"""Coefficient k of a node, from the lower coefficients of every node and coefficient k of the nodes before it."""


class _Series:
    """The Taylor coefficients of every node of an equation's expression tree, filled in order by order."""

    def __init__(self, equation: Equation) -> None:
        self._rows: list[list[Number]] = [[] for _ in range(1 + equation.dimension)]
        self._rules: list[Rule] = []
        self._known: dict[Any, int] = {s: i for i, s in enumerate((TIME, *equation.state))}
        self._values = {symbol: mp.mpf(value) for symbol, value in equation.parameters.items()}
        self._outputs = [self._node(sympy.sympify(expression)) for expression in equation.rhs]

    def expand(self, t: Number, y: Sequence[Number], order: int) -> list[list[Number]]:
        """Coefficients 0..order of every component of the solution through (t, y)."""
        inputs = 1 + len(y)
        for row in self._rows:
            row.clear()
        self._rows[0].extend([t, mp.one] + [mp.zero] * (order - 1))
        for row, value in zip(self._rows[1:inputs], y, strict=True):
            row.append(value)
        for k in range(order):
            for row, rule in zip(self._rows[inputs:], self._rules, strict=True):
                row.append(rule(k))
            for row, output in zip(self._rows[1:inputs], self._outputs, strict=True):
                row.append(self._rows[output][k] / (k + 1))
        return [list(row) for row in self._rows[1:inputs]]

    def _add(self, rule: Rule, key: Any = None) -> int:
        self._rules.append(rule)
        self._rows.append([])
        if key is not None:
            self._known[key] = len(self._rows) - 1
        return len(self._rows) - 1

    def _constant(self, expression: Expression) -> Number:
        """The value of an expression without time or state, with every Float and parameter taken exactly."""
        if expression in self._values:
            return self._values[expression]
        if expression.is_Rational:
            return mp.mpf(int(expression.p)) / int(expression.q)
        if expression.is_Float:
            return mp.mpf(float(expression))
        parts = [self._constant(part) for part in expression.args]
        if expression.is_Add:
            return mp.fsum(parts)
        if expression.is_Mul:
            return mp.fprod(parts)
        if expression.is_Pow:
            return mp.power(*parts)
        raise UsageError(f"no exact value is known for {expression}.")

    def _node(self, e: Expression) -> int:
        """The row of an expression, made if it is new."""
        if e in self._known:
            return self._known[e]
        if not (e.free_symbols - set(self._values)):
            value = self._constant(e)
            return self._add(lambda k: value if k == 0 else mp.zero, e)
        if e.is_Add:
            rows = [self._rows[self._node(part)] for part in e.args]
            return self._add(lambda k: mp.fsum(row[k] for row in rows), e)
        if e.is_Mul:
            return self._multiply(e)
        if e.is_Pow:
            return self._raise(e)
        if e.func in (sympy.exp, sympy.log, sympy.sin, sympy.cos):
            return self._elementary(e)
        raise UsageError(
            f"no Taylor recurrence is known for {e.func.__name__}; expected +, *, powers, exp, log, sin, cos."
        )

    def _multiply(self, e: Expression) -> int:
        constant, varying = e.as_independent(*(s for s in e.free_symbols if s not in self._values), as_Add=False)
        first, *rest = (self._node(part) for part in sympy.Mul.make_args(varying))
        for i, other in enumerate(rest):
            last = constant == 1 and i == len(rest) - 1
            first = self._product(self._rows[first], self._rows[other], e if last else None)
        if constant == 1:
            return first
        factor, row = self._constant(constant), self._rows[first]
        return self._add(lambda k: factor * row[k], e)

    def _product(self, a: list[Number], b: list[Number], key: Expression | None) -> int:
        return self._add(lambda k: mp.fdot(a[: k + 1], b[k::-1]), key)

    def _raise(self, e: Expression) -> int:
        """v = u^p: u v' = p u' v, or repeated products for small whole powers (which may pass through zero)."""
        if e.exp.is_Integer and 2 <= e.exp <= 4:
            u = self._rows[self._node(e.base)]
            rest = u if e.exp == 2 else self._rows[self._node(e.base ** (e.exp - 1))]
            return self._add(lambda k: mp.fdot(u[: k + 1], rest[k::-1]), e)
        u, p = self._rows[self._node(e.base)], self._constant(e.exp)
        index = self._add(lambda k: rule(k), e)
        v = self._rows[index]

        def rule(k: int) -> Number:
            if k == 0:
                return mp.power(u[0], p)
            weighted = [j * u[j] for j in range(1, k + 1)]
            back = v[k - 1 :: -1] if k > 1 else v[:1]
            return ((p + 1) * mp.fdot(weighted, back) - k * mp.fdot(u[1 : k + 1], back)) / (k * u[0])

        return index

    def _elementary(self, e: Expression) -> int:
        u = self._rows[self._node(e.args[0])]

        def chain(k: int, other: list[Number]) -> Number:
            """Coefficient k of the integral of u' times `other`."""
            return mp.fdot([j * u[j] for j in range(1, k + 1)], other[k - 1 :: -1] if k > 1 else other[:1]) / k

        if e.func is sympy.exp:
            index = self._add(lambda k: mp.exp(u[0]) if k == 0 else chain(k, self._rows[index]), e)
            return index
        if e.func is sympy.log:
            index = self._add(lambda k: logarithm(k, self._rows[index]), e)

            def logarithm(k: int, v: list[Number]) -> Number:
                if k == 0:
                    return mp.log(u[0])
                return (u[k] - mp.fdot([j * v[j] for j in range(1, k)], u[k - 1 : 0 : -1]) / k) / u[0]

            return index
        angle = e.args[0]
        sine = self._add(lambda k: mp.sin(u[0]) if k == 0 else chain(k, self._rows[cosine]), sympy.sin(angle))
        cosine = self._add(lambda k: mp.cos(u[0]) if k == 0 else -chain(k, self._rows[sine]), sympy.cos(angle))
        return sine if e.func is sympy.sin else cosine


def taylor(equation: Equation, y0: Sequence[Number], t0: Number, t1: Number, digits: int) -> list[Number]:
    """y(t1) by the Taylor method in mpmath reals; local error 10^-digits of max(1, |y|).

    Numbers may be floats, taken exactly, or mpmath reals. Raises `UsageError` for a function without a recurrence.
    """
    with mp.workdps(digits + GUARD):
        series = _Series(equation)
        order = ceil(digits * log(10) / 2) + 1
        t, end, y = mp.mpf(t0), mp.mpf(t1), [mp.mpf(value) for value in y0]
        while t < end:
            c = series.expand(t, y, order)
            h = min(_radius(c) * mp.exp(-2), end - t)
            y = [mp.polyval(row[::-1], h) for row in c]
            t = end if h == end - t else t + h
        return y


def _radius(coefficients: Sequence[Sequence[Number]]) -> Number:
    """The radius of convergence by the root test on the last four coefficients: odd or even ones may vanish."""
    size = max(mp.one, *(abs(row[0]) for row in coefficients))
    order = len(coefficients[0]) - 1
    tests = [(k, max(abs(row[k]) for row in coefficients)) for k in range(order - 3, order + 1)]
    return min((mp.power(size / last, mp.one / k) for k, last in tests if last), default=mp.one)


def reference(problem: InitialValueProblem) -> tuple[tuple[float, ...], float]:
    """The problem's y(t1), rounded to binary64, and the relative difference of the results at the two tolerances.

    The difference is relative to the largest component, of stiff problems to each component.
    """
    t0, t1, digits = problem.t0, problem.t1, max(DIGITS)
    if problem.stiff:
        coarse, fine = (collocation(problem.equation, problem.y0, t0, t1, *setting) for setting in STIFF)
        scales = [abs(b) for b in fine]
    else:
        if not isinstance(problem.equation, Equation):
            raise UsageError(f"the Taylor method needs expressions, which {problem.equation.name} does not have.")
        coarse, fine = (taylor(problem.equation, problem.y0, t0, t1, digits) for digits in DIGITS)
        scales = [max(abs(b) for b in fine)] * len(fine)
    with mp.workdps(digits):
        difference = max(abs(a - b) / s for a, b, s in zip(coarse, fine, scales, strict=True))
    return tuple(float(value) for value in fine), float(difference)


def main(arguments: Sequence[str] | None = None) -> int:
    """Recompute and compare the named problems, all by default; 0 when every stored value is the recomputed one."""
    parser = argparse.ArgumentParser(
        prog="python -m odernn.tasks.references", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(PROBLEMS)}; all of them if none")
    parser.add_argument("--print", action="store_true", help="print the recomputed values, one a line")
    options = parser.parse_args(arguments)
    wrong = 0
    for name in options.names or PROBLEMS:
        if name not in PROBLEMS:
            print(unknown("problem", name, PROBLEMS), file=sys.stderr)
            return 2
        start = time.perf_counter()
        value, difference = reference(PROBLEMS[name])
        needed = STIFF_AGREEMENT if PROBLEMS[name].stiff else AGREEMENT
        same = value == PROBLEMS[name].reference and difference < needed
        wrong += not same
        verdict = "as stored" if same else "NOT as stored"
        print(
            f"{name}: {verdict}; tolerances differ by {difference:.0e}; {time.perf_counter() - start:.1f} s", flush=True
        )
        if options.print:
            print(*(f"    {component!r}," for component in value), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
