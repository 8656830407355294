"""Exact linear algebra and polynomials over the rationals or one real quadratic field, as much as stability takes.

No tolerance and no root finder: roots are located by Sturm's theorem, signs of quadratic forms by elimination, half
planes by Routh's array. SymPy has all of it, and costs a second at import.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

from .quadratic import Scalar, magnitude

Polynomial: TypeAlias = tuple[Scalar, ...]
"""Coefficients from the constant term up, without zeros at the end; () is the zero polynomial."""

Matrix: TypeAlias = Sequence[Sequence[Scalar]]


def semidefinite(M: Matrix) -> bool:
    """Whether a symmetric matrix has no negative eigenvalue, by symmetric elimination."""
    if not M:
        return True
    pivot, rest = M[0][0], M[0][1:]
    if pivot < 0 or (pivot == 0 and any(rest)):
        return False
    if pivot == 0:
        return semidefinite([row[1:] for row in M[1:]])
    return semidefinite([[a - row[0] * top / pivot for a, top in zip(row[1:], rest, strict=True)] for row in M[1:]])


def solve(left: Matrix, right: Matrix) -> list[list[Scalar]] | None:
    """X with left X = right, by elimination; None where left is singular."""
    size = len(left)
    work = [[*row, *extra] for row, extra in zip(left, right, strict=True)]
    for k in range(size):
        swap = next((i for i in range(k, size) if work[i][k]), None)
        if swap is None:
            return None
        work[k], work[swap] = work[swap], work[k]
        work[k] = [a / work[k][k] for a in work[k]]
        for i in range(size):
            if i != k and work[i][k]:
                work[i] = [a - work[i][k] * top for a, top in zip(work[i], work[k], strict=True)]
    return [row[size:] for row in work]


def positive_up_to(p: Sequence[Scalar]) -> float:
    """The largest x with p >= 0 on [0, x]; 0 where p < 0 right of zero. Where p only touches zero, it may go on."""
    p = trim(p)
    while p and p[0] == 0:  # a factor x does not change the sign on x > 0
        p = p[1:]
    if not p:
        return math.inf
    if p[0] < 0:
        return 0.0
    chain = _sturm(sign_changing(p))
    bound = 2 + max(float(magnitude(a / p[-1])) for a in p)  # Cauchy: every root is smaller
    low, high = Fraction(0), Fraction(2 ** int(bound).bit_length())  # a power of 2 keeps the midpoints short
    at_zero = _changes(chain, low)
    if at_zero == _changes(chain, high):
        return math.inf
    while float(low) != float(high):  # the smallest root lies in (low, high]
        middle = (low + high) / 2
        low, high = (middle, high) if at_zero == _changes(chain, middle) else (low, middle)
    return float(high)


def sign_changing(p: Polynomial) -> Polynomial:
    """A square-free polynomial with the roots of odd multiplicity of p (by Yun's decomposition)."""
    common = gcd(p, derivative(p))
    simple, rest = divide(p, common)[0], divide(derivative(p), common)[0]
    result: Polynomial = (Fraction(1),)
    multiplicity = 1
    while len(simple) > 1:
        rest = add(rest, [-a for a in derivative(simple)])
        factor = gcd(simple, rest)
        if multiplicity % 2:
            result = multiply(result, factor)
        simple, rest, multiplicity = divide(simple, factor)[0], divide(rest, factor)[0], multiplicity + 1
    return result


def _sturm(p: Polynomial) -> list[list[Scalar | int]]:
    """Sturm's chain of a square-free polynomial, in integers where they are enough, up to positive factors."""
    chain = [_primitive(p), _primitive(derivative(p))]
    while chain[-1]:
        chain.append(_primitive([-a for a in divide(chain[-2], chain[-1])[1]]))
    # beside a root of the field, a link may hold fractions
    return [[int(a) if isinstance(a, Fraction) and a.denominator == 1 else a for a in link] for link in chain[:-1]]


def _changes(chain: Sequence[Sequence[Scalar | int]], x: Fraction) -> int:
    """Sign changes of the chain at x; their difference at a and b counts the roots in (a, b]."""
    values = [value for value in (_scaled_value(p, x) for p in chain) if value]
    return sum((left < 0) != (right < 0) for left, right in pairwise(values))


def _scaled_value(p: Sequence[Scalar | int], x: Fraction) -> Scalar | int:
    """p(x) times a positive integer."""
    value: Scalar | int = 0
    power = 1
    for a in reversed(p):
        value, power = value * x.numerator + a * power, power * x.denominator
    return value


def trim(p: Sequence[Scalar]) -> Polynomial:
    """p without zeros at the end."""
    end = len(p)
    while end and p[end - 1] == 0:
        end -= 1
    return tuple(p[:end])


def _primitive(p: Sequence[Scalar]) -> Polynomial:
    """p times a positive number: coprime integers where p is rational, which keeps the numbers of a chain short."""
    p = trim(p)
    rational = [a for a in p if isinstance(a, Fraction)]
    if len(rational) < len(p):
        lead = magnitude(p[-1])
        return tuple(a / lead for a in p)
    scale = math.lcm(*(a.denominator for a in rational))
    divisor = math.gcd(*(int(a * scale) for a in rational)) or 1
    return tuple(a * scale / divisor for a in rational)


def add(p: Sequence[Scalar], q: Sequence[Scalar | int]) -> Polynomial:
    """p + q."""
    size = max(len(p), len(q))
    return trim([(p[k] if k < len(p) else Fraction(0)) + (q[k] if k < len(q) else 0) for k in range(size)])


def multiply(p: Sequence[Scalar], q: Sequence[Scalar]) -> Polynomial:
    """p q."""
    product: list[Scalar] = [Fraction(0)] * max(len(p) + len(q) - 1, 0)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            product[i + j] += a * b
    return trim(product)


def derivative(p: Polynomial) -> Polynomial:
    """p'."""
    return tuple(k * a for k, a in enumerate(p))[1:]


def divide(p: Polynomial, q: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Quotient and remainder."""
    quotient: list[Scalar] = [Fraction(0)] * max(len(p) - len(q) + 1, 0)
    rest = list(p)
    for k in reversed(range(len(quotient))):
        quotient[k] = rest[k + len(q) - 1] / q[-1]
        for j, b in enumerate(q):
            rest[k + j] -= quotient[k] * b
    return trim(quotient), trim(rest)


def gcd(p: Polynomial, q: Polynomial) -> Polynomial:
    """The monic greatest common divisor; p is not zero."""
    while q:
        p, q = q, _primitive(divide(p, q)[1])
    return tuple(a / p[-1] for a in p)


def reduced(p: Polynomial, q: Polynomial) -> tuple[Polynomial, Polynomial]:
    """p / q in lowest terms, q with constant term 1; q(0) is not zero."""
    common = gcd(q, p)
    p, q = divide(p, common)[0], divide(q, common)[0]
    return tuple(a / q[0] for a in p), tuple(a / q[0] for a in q)


def reciprocal_characteristic(A: Matrix) -> Polynomial:
    """det(I - z A) as a polynomial in z, by the method of Faddeev and Le Verrier."""
    size = len(A)
    result: list[Scalar] = [Fraction(1)]
    adjugate: list[list[Scalar]] = [[Fraction(int(i == j)) for j in range(size)] for i in range(size)]
    for k in range(1, size + 1):
        product = times(A, adjugate)
        coefficient = -sum((product[i][i] for i in range(size)), Fraction(0)) / k
        result.append(coefficient)
        adjugate = [[product[i][j] + (coefficient if i == j else 0) for j in range(size)] for i in range(size)]
    return trim(result)


def has_roots_on_the_left_only(p: Polynomial) -> bool:
    """Whether every root of p != 0 has a negative real part: the first column of Routh's array keeps its sign."""
    falling = [a / p[-1] for a in reversed(p)]
    first, second = falling[0::2], falling[1::2]
    while second:
        if second[0] <= 0:
            return False
        ratio = first[0] / second[0]
        below = [a - ratio * (second[i] if i < len(second) else 0) for i, a in enumerate(first) if i]
        first, second = second, below
    return True


def times(left: Matrix, right: Matrix) -> list[list[Scalar]]:
    """The product of two matrices."""
    columns = list(zip(*right, strict=True))
    return [[dot(row, column) for column in columns] for row in left]


def dot(left: Sequence[Scalar], right: Sequence[Scalar]) -> Scalar:
    """The inner product."""
    return sum((x * y for x, y in zip(left, right, strict=True) if x and y), Fraction(0))
