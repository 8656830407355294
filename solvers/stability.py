"""What a tableau promises about stability: intervals, SSP radius, circle-contractivity radius; decided exactly.

Everything is exact rational arithmetic up to the last step, the rounding of one number to a float: no sampling, no
eigenvalue routine, no tolerance. Intervals come from Sturm's theorem, radii from bisection on an exact test, where the
returned number always passes the test itself. The second half of the file is the exact algebra that this takes, kept
here because nothing else needs it and because SymPy would cost a second at import.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

from ..suite.errors import UsageError
from .tableau import Tableau

Polynomial: TypeAlias = tuple[Fraction, ...]
"""Coefficients from the constant term up, without zeros at the end; () is the zero polynomial."""

Matrix: TypeAlias = Sequence[Sequence[Fraction]]


def stability_polynomial(tableau: Tableau) -> Polynomial:
    """R(z) = 1 + sum_k z^k b^T A^(k-1) 1 of an explicit tableau (Hairer, Wanner, *Solving ODEs II*, IV.2), exact.

    For a tableau known as decimals only, the coefficients that its order fixes are set to 1/k!, as the decimals mean.
    Raises `UsageError` for an implicit tableau.
    """
    if not tableau.explicit:
        raise UsageError(f"tableau {tableau.name!r} is implicit, so its stability function is not a polynomial.")
    coefficients, vector = [Fraction(1)], [Fraction(1)] * tableau.stages
    for k in range(1, tableau.stages + 1):
        known = tableau.tolerance > 0 and k <= tableau.order
        coefficients.append(Fraction(1, math.factorial(k)) if known else _dot(tableau.b, vector))
        vector = [_dot(row, vector) for row in tableau.A]
    return _trim(coefficients)


def real_stability_interval(tableau: Tableau) -> float:
    """The largest r such that |R(z)| <= 1 on all of [-r, 0]."""
    mirrored = [a * (-1) ** k for k, a in enumerate(stability_polynomial(tableau))]
    return min(_positive_up_to([-a for a in _add(mirrored, (-1,))]), _positive_up_to(_add(mirrored, (1,))))


def imaginary_stability_interval(tableau: Tableau) -> float:
    """The largest r such that |R(iy)| <= 1 for all y in [-r, r]; 0 where |R(iy)| > 1 for all small y."""
    R = stability_polynomial(tableau)
    even = [a * (-1) ** k for k, a in enumerate(R[0::2])]
    odd = [a * (-1) ** k for k, a in enumerate(R[1::2])]
    modulus = _add(_multiply(even, even), [Fraction(0), *_multiply(odd, odd)])  # |R(iy)|^2 in powers of y^2
    return math.sqrt(_positive_up_to([-a for a in _add(modulus, (-1,))]))


def ssp_radius(tableau: Tableau) -> float:
    """The radius of absolute monotonicity (Kraaijevanger, BIT 31 (1991) 482-528).

    With K = [[A, 0], [b^T, 0]]: the largest r for which K (I + r K)^(-1) >= 0 and r K (I + r K)^(-1) 1 <= 1, entry by
    entry. It is the SSP coefficient: convex functionals that explicit Euler does not increase for h <= h0, the method
    does not increase for h <= r h0. Stages that do not reach the result are left out.
    """
    A, b = _irreducible(tableau)
    K = [[*row, Fraction(0)] for row in A] + [[*b, Fraction(0)]]
    if any(entry < 0 for row in K for entry in row):
        return 0.0
    size = len(K)

    def monotone(r: Fraction) -> bool:
        shifted = [[(i == j) + r * K[i][j] for j in range(size)] for i in range(size)]
        # K commutes with (I + r K)^(-1), so the columns of the product solve (I + r K) X = K.
        product = _solve(shifted, K)
        return product is not None and all(min(row) >= 0 and r * sum(row) <= 1 for row in product)

    return _largest(monotone)


def circle_radius(tableau: Tableau) -> float:
    """The circle-contractivity radius r = sup { r : M + B / r >= 0 }, M = B A + A^T B - b b^T, B = diag(b).

    After G. Dahlquist, R. Jeltsch, *Generalized disks of contractivity for explicit and implicit Runge-Kutta methods*,
    TRITA-NA-7906, KTH Stockholm (1979): where a field satisfies the circle condition with constant rho in an
    inner-product norm, the step contracts in that norm for h rho <= r.
    0 where a weight is not positive, infinite where M is positive semidefinite with positive weights (algebraically
    stable). Stages that do not reach the result are left out.
    """
    A, b = _irreducible(tableau)
    if any(weight <= 0 for weight in b):
        return 0.0
    s = range(len(b))
    M = [[b[i] * A[i][j] + b[j] * A[j][i] - b[i] * b[j] for j in s] for i in s]
    if _semidefinite(M):
        return math.inf
    return _largest(lambda r: _semidefinite([[M[i][j] + (b[i] / r if i == j else 0) for j in s] for i in s]))


def _irreducible(tableau: Tableau) -> tuple[Matrix, Sequence[Fraction]]:
    """A and b without the stages that the result does not depend on, such as the last one of a FSAL pair."""
    used = {i for i, weight in enumerate(tableau.b) if weight}
    while more := {j for i in used for j, entry in enumerate(tableau.A[i]) if entry} - used:
        used |= more
    keep = sorted(used)
    return [[tableau.A[i][j] for j in keep] for i in keep], [tableau.b[i] for i in keep]


def _largest(holds: Callable[[Fraction], bool], bits: int = 52) -> float:
    """sup of the r > 0 for which a test holds that, once failed, fails for all greater r; rounded down to a float.

    Precise to 52 bits; 0 where it fails already at 2^-30, infinite where it still holds at 2^30.
    """
    low, high = Fraction(1, 2**30), Fraction(2**30)
    if not holds(low):
        return 0.0
    if holds(high):
        return math.inf
    while high > 2 * low:
        middle = Fraction(2) ** ((_exponent(low) + _exponent(high)) // 2)
        low, high = (middle, high) if holds(middle) else (low, middle)
    for _ in range(bits):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return float(low)


def _exponent(power: Fraction) -> int:
    """The e of a power 2^e."""
    return power.numerator.bit_length() - power.denominator.bit_length()


def _semidefinite(M: Matrix) -> bool:
    """Whether a symmetric matrix has no negative eigenvalue, by symmetric elimination."""
    if not M:
        return True
    pivot, rest = M[0][0], M[0][1:]
    if pivot < 0 or (pivot == 0 and any(rest)):
        return False
    if pivot == 0:
        return _semidefinite([row[1:] for row in M[1:]])
    return _semidefinite([[a - row[0] * top / pivot for a, top in zip(row[1:], rest, strict=True)] for row in M[1:]])


def _solve(left: Matrix, right: Matrix) -> list[list[Fraction]] | None:
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


def _positive_up_to(p: Sequence[Fraction]) -> float:
    """The largest x with p >= 0 on [0, x]; 0 where p < 0 right of zero. Where p only touches zero, it may go on."""
    p = _trim(p)
    while p and p[0] == 0:  # a factor x does not change the sign on x > 0
        p = p[1:]
    if not p:
        return math.inf
    if p[0] < 0:
        return 0.0
    chain = _sturm(_sign_changing(p))
    bound = 2 + max(abs(a / p[-1]) for a in p)  # Cauchy: every root is smaller
    low, high = Fraction(0), Fraction(2 ** int(bound).bit_length())  # a power of 2 keeps the midpoints short
    at_zero = _changes(chain, low)
    if at_zero == _changes(chain, high):
        return math.inf
    while float(low) != float(high):  # the smallest root lies in (low, high]
        middle = (low + high) / 2
        low, high = (middle, high) if at_zero == _changes(chain, middle) else (low, middle)
    return float(high)


def _sign_changing(p: Polynomial) -> Polynomial:
    """A square-free polynomial with the roots of odd multiplicity of p (by Yun's decomposition)."""
    common = _gcd(p, _derivative(p))
    simple, rest = _divide(p, common)[0], _divide(_derivative(p), common)[0]
    result: Polynomial = (Fraction(1),)
    multiplicity = 1
    while len(simple) > 1:
        rest = _add(rest, [-a for a in _derivative(simple)])
        factor = _gcd(simple, rest)
        if multiplicity % 2:
            result = _multiply(result, factor)
        simple, rest, multiplicity = _divide(simple, factor)[0], _divide(rest, factor)[0], multiplicity + 1
    return result


def _sturm(p: Polynomial) -> list[list[int]]:
    """Sturm's chain of a square-free polynomial, in integers, up to positive factors."""
    chain = [_primitive(p), _primitive(_derivative(p))]
    while chain[-1]:
        chain.append(_primitive([-a for a in _divide(chain[-2], chain[-1])[1]]))
    return [[int(a) for a in link] for link in chain[:-1]]


def _changes(chain: Sequence[Sequence[int]], x: Fraction) -> int:
    """Sign changes of the chain at x; their difference at a and b counts the roots in (a, b]."""
    values = [value for value in (_scaled_value(p, x) for p in chain) if value]
    return sum((left < 0) != (right < 0) for left, right in pairwise(values))


def _scaled_value(p: Sequence[int], x: Fraction) -> int:
    """p(x) times a positive integer."""
    value, power = 0, 1
    for a in reversed(p):
        value, power = value * x.numerator + a * power, power * x.denominator
    return value


def _trim(p: Sequence[Fraction]) -> Polynomial:
    end = len(p)
    while end and p[end - 1] == 0:
        end -= 1
    return tuple(p[:end])


def _primitive(p: Sequence[Fraction]) -> Polynomial:
    """p times a positive number, with coprime integer coefficients: keeps the numbers of a chain short."""
    p = _trim(p)
    scale = math.lcm(*(a.denominator for a in p))
    divisor = math.gcd(*(int(a * scale) for a in p)) or 1
    return tuple(a * scale / divisor for a in p)


def _add(p: Sequence[Fraction], q: Sequence[Fraction | int]) -> Polynomial:
    size = max(len(p), len(q))
    return _trim([(p[k] if k < len(p) else Fraction(0)) + (q[k] if k < len(q) else 0) for k in range(size)])


def _multiply(p: Sequence[Fraction], q: Sequence[Fraction]) -> Polynomial:
    product = [Fraction(0)] * max(len(p) + len(q) - 1, 0)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            product[i + j] += a * b
    return _trim(product)


def _derivative(p: Polynomial) -> Polynomial:
    return tuple(k * a for k, a in enumerate(p))[1:]


def _divide(p: Polynomial, q: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Quotient and remainder."""
    quotient, rest = [Fraction(0)] * max(len(p) - len(q) + 1, 0), list(p)
    for k in reversed(range(len(quotient))):
        quotient[k] = rest[k + len(q) - 1] / q[-1]
        for j, b in enumerate(q):
            rest[k + j] -= quotient[k] * b
    return _trim(quotient), _trim(rest)


def _gcd(p: Polynomial, q: Polynomial) -> Polynomial:
    while q:
        p, q = q, _primitive(_divide(p, q)[1])
    return tuple(a / p[-1] for a in p)


def _dot(left: Sequence[Fraction], right: Sequence[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(left, right, strict=True) if x and y), Fraction(0))
