"""Ranges of pointwise expressions over all real arguments: the sectors that a field's slopes lie in. Needs no torch.

An expression of one symbol that is rational in exp(c a) (tanh, the logistic function, softplus and their derivatives)
gets its exact range, from the roots of its derivative in x = exp(c a) > 0; sums and products of expressions of
different symbols get the interval of their parts. The result always contains the range, and is infinite where nothing
is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any, TypeAlias

import sympy

from .functions import sigmoid, sign

Interval: TypeAlias = tuple[float, float]
"""Lower and upper bound, either of which may be infinite."""

EVERYTHING: Interval = (-math.inf, math.inf)
_KNOWN: dict[Any, Interval] = {
    sympy.tanh: (-1.0, 1.0),
    sympy.sin: (-1.0, 1.0),
    sympy.cos: (-1.0, 1.0),
    sympy.sign: (-1.0, 1.0),
    sympy.Heaviside: (0.0, 1.0),
    sympy.Abs: (0.0, math.inf),
    sympy.atan: (-1.5707963267948968, 1.5707963267948968),
}
"""Ranges of functions whatever their real argument."""


def bound(expression: Any, ranges: Mapping[sympy.Symbol, Interval] | None = None) -> Interval:
    """An interval that contains every value of the expression; a symbol without a range takes all real numbers.

    Ends are rounded outwards, exact ones (0, 1, 1/4) are not moved.
    """
    library: Any = sympy
    exact = library.sympify(expression).replace(lambda e: e.is_Float, lambda e: library.Rational(e))
    return _bound(exact, tuple(sorted((ranges or {}).items(), key=str)))


def differentiable(expression: Any) -> Any:
    """The expression in functions whose derivatives SymPy knows, to be differentiated here and nowhere else.

    sign gets its impulse at the jump, which the slopes in use leave out: a jump has no bounded slope. A function that
    is not SymPy's becomes one without a known derivative.
    """
    library: Any = sympy

    def known(function: Any) -> Any:
        if function.func is sigmoid:
            return 1 / (1 + library.exp(-function.args[0]))
        return library.sign(*function.args) if function.func is sign else library.Function("unknown")(*function.args)

    def foreign(e: Any) -> bool:
        return bool(e.is_Function) and not (type(e).__module__ or "").startswith("sympy.")

    return library.sympify(expression).replace(foreign, known)


def add(intervals: Sequence[Interval]) -> Interval:
    """The interval of a sum."""
    return _down(math.fsum(low for low, _ in intervals), intervals), _up(math.fsum(h for _, h in intervals), intervals)


def multiply(left: Interval, right: Interval) -> Interval:
    """The interval of a product."""
    ends = [0.0 if 0.0 in pair else pair[0] * pair[1] for pair in product(left, right)]
    exact = all(a * b == 0 or abs(a) == 1 or abs(b) == 1 for a, b in product(left, right) if 0.0 not in (a, b))
    low, high = min(ends), max(ends)
    return (low, high) if exact else (math.nextafter(low, -math.inf), math.nextafter(high, math.inf))


@lru_cache(maxsize=4096)
def _bound(e: Any, ranges: tuple[tuple[sympy.Symbol, Interval], ...]) -> Interval:
    free = e.free_symbols
    if e.is_number:
        return _enclosed([e])
    known = dict(ranges)
    if e.is_Symbol:
        return known.get(e, EVERYTHING)
    exact = _rational_in_exponential(e, *free) if len(free) == 1 else None
    if exact is not None and not free & known.keys():
        return exact
    low, high = _by_parts(e, ranges)
    return (low, high) if exact is None else (max(low, exact[0]), min(high, exact[1]))


def _by_parts(e: Any, ranges: tuple[tuple[sympy.Symbol, Interval], ...]) -> Interval:
    """Interval arithmetic."""
    if e.is_Add or e.is_Mul:
        groups: dict[frozenset[Any], list[Any]] = {}
        for term in e.args:
            groups.setdefault(frozenset(term.free_symbols), []).append(term)
        parts = [e.func(*terms) for terms in groups.values()] if len(groups) > 1 else list(e.args)
        intervals = [_bound(part, ranges) for part in parts]
        if e.is_Add:
            return add(intervals)
        total = intervals[0]
        for interval in intervals[1:]:
            total = multiply(total, interval)
        return total
    if e.is_Pow and e.exp.is_Integer:
        low, high = _bound(e.base, ranges)
        if e.exp > 0:
            return _power((low, high), int(e.exp))
        if low <= 0:
            return EVERYTHING
        inverse = (math.nextafter(1 / high, -math.inf) if high < math.inf else 0.0, math.nextafter(1 / low, math.inf))
        return _power((1 / high, 1.0) if low == 1 and math.isinf(high) else inverse, -int(e.exp))
    if e.func is sympy.exp:  # the exponential may overflow; two places cover the library's rounding
        low, high = _bound(e.args[0], ranges)
        ends = [0.0 if x < -700 else math.inf if x > 700 else math.exp(x) for x in (low, high)]
        return ends[0] * (1 - 1e-15), ends[1] * (1 + 1e-15)
    return _KNOWN.get(e.func, EVERYTHING) if e.args and all(a.is_real for a in e.args) else EVERYTHING


def _power(base: Interval, exponent: int) -> Interval:
    total = base
    for _ in range(exponent - 1):
        total = multiply(total, base)
    return (max(total[0], 0.0), total[1]) if exponent % 2 == 0 else total


def _rational_in_exponential(e: Any, a: Any) -> Interval | None:
    """The range over all real a of an expression that is rational in x = exp(c a) for one c; None for another one."""
    library: Any = sympy
    written = library.powsimp(library.expand_power_exp(e.rewrite(library.exp)))
    rates = [power.args[0] / a for power in written.atoms(library.exp)]
    if not rates or any(not rate.is_Rational for rate in rates):
        return None
    unit = library.gcd_list([abs(rate) for rate in rates])
    x = library.Symbol("x", positive=True)
    powers = {library.exp(rate * a): x ** (rate / unit) for rate in rates}
    function = library.cancel(library.together(written.xreplace(powers)))
    if function.free_symbols - {x} or not function.is_rational_function(x):
        return None
    top, bottom = (library.Poly(part, x) for part in library.fraction(function))
    if not all(c.is_Rational for c in (*top.all_coeffs(), *bottom.all_coeffs())):
        return None
    if any(root > 0 for root in library.real_roots(bottom)):
        return None
    critical = top.diff(x) * bottom - top * bottom.diff(x)
    inside = [root for root in library.real_roots(critical) if root > 0] if not critical.is_zero else []
    values = [function.subs(x, root) for root in inside]
    values += [library.limit(function, x, 0, "+"), library.limit(function, x, library.oo)]
    return _enclosed(values)


def _enclosed(values: Sequence[Any]) -> Interval:
    """The smallest interval of floats that contains the numbers."""
    ends = []
    for value in values:
        if value in (sympy.oo, -sympy.oo):
            ends.append((float(value), float(value)))
            continue
        if not value.is_real:
            return EVERYTHING
        near = float(value if value.is_Rational else value.evalf(30))
        if value.is_Rational and Fraction(near) == Fraction(int(value.p), int(value.q)):
            ends.append((near, near))
        else:
            ends.append((math.nextafter(near, -math.inf), math.nextafter(near, math.inf)))
    return min(low for low, _ in ends), max(high for _, high in ends)


def _down(total: float, terms: Sequence[Interval]) -> float:
    return total if _whole(terms) else math.nextafter(total, -math.inf)


def _up(total: float, terms: Sequence[Interval]) -> float:
    return total if _whole(terms) else math.nextafter(total, math.inf)


def _whole(terms: Sequence[Interval]) -> bool:
    """Whether a sum of the ends needs no rounding: at most one is other than zero, or all are small integers."""
    ends = [end for interval in terms for end in interval if end and math.isfinite(end)]
    return len(terms) == 1 or all(abs(end) < 2**50 and end.is_integer() for end in ends)
