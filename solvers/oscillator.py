"""How far methods for two blocks are stable on the harmonic oscillator q' = p, p' = -q, decided exactly.

With x = (h omega)^2 the step matrix is S = [[a, h b], [-h c, d]] / Q, its entries polynomials in x. Its powers are
bounded where 1 - det S >= 0 and 1 + det S >= |tr S|, except where an eigenvalue 1 or -1 is double without S = +-I.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TypeAlias

from .exact_algebra import (
    Matrix,
    Polynomial,
    add,
    derivative,
    divide,
    dot,
    gcd,
    multiply,
    positive_up_to,
    reciprocal_characteristic,
    sign_changing,
    times,
    trim,
)
from .partitioned_tableau import PartitionedTableau
from .quadratic import Scalar
from .splitting import Splitting

Step: TypeAlias = tuple[Polynomial, Polynomial, Polynomial, Polynomial, Polynomial]
"""a, b, c, d and Q of S = [[a, h b], [-h c, d]] / Q, each a polynomial in x = h^2."""


def oscillator_limit(method: PartitionedTableau | Splitting) -> float:
    """The largest r such that the powers of the step matrix stay bounded for every h omega in (0, r).

    For a `Splitting`, of the oscillator in the parts q' = p and p' = -q (each its own exact flow, by Cayley's map too).
    """
    step = partitioned_step(method) if isinstance(method, PartitionedTableau) else split_step(method)
    return math.sqrt(_bounded_up_to(step))


def partitioned_step(method: PartitionedTableau) -> Step:
    """The step matrix of a partitioned tableau."""
    A0, A1 = method.A
    ones: list[Scalar] = [Fraction(1)] * method.stages
    c0, c1 = method.c
    # the slopes of q solve (I + x A1 A0) k = 1 p - h A1 1 q, those of p likewise with A0 A1
    inner, outer = times(A1, A0), times(A0, A1)
    Q = tuple(a * (-1) ** k for k, a in enumerate(reciprocal_characteristic(inner)))

    def resolvent(weights: tuple[Scalar, ...], M: Matrix, vector: list[Scalar]) -> Polynomial:
        """weights (I + x M)^(-1) vector times Q = det(I + x M): its series, cut off at its degree."""
        series: list[Scalar] = []
        for k in range(method.stages):
            series.append(dot(weights, vector) * (-1) ** k)
            vector = [dot(row, vector) for row in M]
        return trim(multiply(Q, series)[: method.stages])

    def one_less(p: Polynomial) -> Polynomial:
        return add(Q, [Fraction(0), *(-a for a in p)])

    b0, b1 = method.b
    return (
        one_less(resolvent(b0, inner, list(c1))),
        resolvent(b0, inner, ones),
        resolvent(b1, outer, ones),
        one_less(resolvent(b1, outer, list(c0))),
        trim(Q),
    )


def split_step(splitting: Splitting) -> Step:
    """The step matrix of a splitting into q' = p (part 0, first) and p' = -q (part 1)."""
    a: Polynomial = (Fraction(1),)
    b: Polynomial = ()
    c: Polynomial = ()
    d: Polynomial = (Fraction(1),)
    for part, fraction in splitting.sequence(2):
        if part == 0:  # q grows by h fraction p: the first row by the second
            a, b = add(a, [Fraction(0), *(-fraction * v for v in c)]), add(b, [fraction * v for v in d])
        else:  # p falls by h fraction q: the second row by the first
            c, d = add(c, [fraction * v for v in a]), add(d, [Fraction(0), *(-fraction * v for v in b)])
    return a, b, c, d, (Fraction(1),)


def _bounded_up_to(step: Step) -> float:
    """The largest x such that the powers of S are bounded on (0, x)."""
    a, b, c, d, Q = step
    square = multiply(Q, Q)
    determinant = add(multiply(a, d), [Fraction(0), *multiply(b, c)])  # times Q^2
    trace = multiply(add(a, d), Q)
    limits = [positive_up_to(add(square, _negative(determinant)))]
    for signed in (trace, _negative(trace)):
        room = add(add(square, determinant), signed)
        limits.append(positive_up_to(room))
        # where it touches zero, a double eigenvalue; harmless where S is a multiple of I
        if room:
            touching = divide(room, sign_changing(room))[0]
            diagonal = gcd(gcd(b, c), add(a, _negative(d)))
            limits.append(_first_positive_root(_without(touching, diagonal)))
    limits.append(_first_positive_root(Q))
    return min(limits)


def _negative(p: Polynomial) -> Polynomial:
    return tuple(-a for a in p)


def _without(p: Polynomial, factor: Polynomial) -> Polynomial:
    """p != 0 without the roots that it has in common with a factor."""
    while len(common := gcd(p, factor)) > 1:
        p = divide(p, common)[0]
    return p


def _first_positive_root(p: Polynomial) -> float:
    """The smallest positive root of p, infinite where there is none."""
    while p and p[0] == 0:
        p = p[1:]
    if len(p) < 2:
        return math.inf
    simple = divide(p, gcd(p, derivative(p)))[0]
    return positive_up_to(simple if simple[0] > 0 else _negative(simple))
