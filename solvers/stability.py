"""What a Runge-Kutta tableau promises about stability: stability function, intervals, A- and L-stability, two radii.

Everything is decided in exact arithmetic up to the last step, the rounding of one number to a float: no sampling, no
eigenvalue routine, no tolerance. Intervals come from Sturm's theorem, half planes from Routh's array, radii from
bisection on an exact test, where the returned number always passes the test itself. Notation of Hairer, Wanner,
*Solving Ordinary Differential Equations II* (2nd ed., 1996), chapter IV.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache

from ..suite.errors import UsageError
from .exact_algebra import (
    Polynomial,
    add,
    dot,
    has_roots_on_the_left_only,
    multiply,
    positive_up_to,
    reciprocal_characteristic,
    reduced,
    semidefinite,
    solve,
    trim,
)
from .quadratic import Scalar
from .structure import algebraic_matrix, irreducible
from .tableau import Tableau


def stability_polynomial(tableau: Tableau) -> Polynomial:
    """R(z) = 1 + sum_k z^k b^T A^(k-1) 1 of an explicit tableau (Hairer, Wanner, IV.2), exact.

    For a tableau known as decimals only, the coefficients that its order fixes are set to 1/k!, as the decimals mean.
    Raises `UsageError` for an implicit tableau.
    """
    if not tableau.explicit:
        raise UsageError(f"tableau {tableau.name!r} is implicit, so its stability function is not a polynomial.")
    return stability_function(tableau)[0]


@lru_cache(maxsize=256)
def stability_function(tableau: Tableau) -> tuple[Polynomial, Polynomial]:
    """P and Q of R(z) = 1 + z b^T (I - z A)^(-1) 1 = P(z) / Q(z) (Hairer, Wanner, IV.3), exact.

    In lowest terms, with P(0) = Q(0) = 1; Q = 1 for an explicit tableau, see `stability_polynomial` for decimals.
    """
    series: list[Scalar] = [Fraction(1)]
    vector: Sequence[Scalar] = [Fraction(1)] * tableau.stages
    for k in range(1, tableau.stages + 1):
        known = tableau.tolerance > 0 and k <= tableau.order
        series.append(Fraction(1, math.factorial(k)) if known else dot(tableau.b, vector))
        vector = [dot(row, vector) for row in tableau.A]
    if tableau.explicit:
        return trim(series), (Fraction(1),)
    # P = det(I - z A + z 1 b^T) has degree s at most, so it is Q times the series, cut off
    Q = reciprocal_characteristic(tableau.A)
    return reduced(trim(multiply(Q, series)[: tableau.stages + 1]), Q)


def real_stability_interval(tableau: Tableau) -> float:
    """The largest r such that |R(z)| <= 1 on all of [-r, 0]; infinite where that is the whole half line."""
    P, Q = (tuple(a * (-1) ** k for k, a in enumerate(p)) for p in stability_function(tableau))
    return min(positive_up_to(add(Q, [-a for a in P])), positive_up_to(add(Q, P)))


def imaginary_stability_interval(tableau: Tableau) -> float:
    """The largest r such that |R(iy)| <= 1 for all y in [-r, r]; 0 where |R(iy)| > 1 for all small y.

    Infinite where it holds on the whole axis (I-stability): E(y) = |Q(iy)|^2 - |P(iy)|^2 is never negative.
    """
    P, Q = stability_function(tableau)
    return math.sqrt(positive_up_to(add(_modulus(Q), [-a for a in _modulus(P)])))


def _modulus(p: Polynomial) -> Polynomial:
    """|p(iy)|^2 as a polynomial in y^2."""
    even = [a * (-1) ** k for k, a in enumerate(p[0::2])]
    odd = [a * (-1) ** k for k, a in enumerate(p[1::2])]
    return add(multiply(even, even), [Fraction(0), *multiply(odd, odd)])


def a_stable(tableau: Tableau) -> bool:
    """|R(z)| <= 1 for all z with Re z <= 0.

    By the maximum principle: I-stability, and no pole with a negative real part (Hairer, Wanner, IV.3).
    """
    P, Q = stability_function(tableau)
    if len(P) > len(Q) or imaginary_stability_interval(tableau) < math.inf:
        return False
    return has_roots_on_the_left_only(tuple(a * (-1) ** k for k, a in enumerate(Q)))


def l_stable(tableau: Tableau) -> bool:
    """A-stable, and R(z) -> 0 for z -> infinity: the degree of P is smaller than that of Q (Hairer, Wanner, IV.3)."""
    P, Q = stability_function(tableau)
    return len(P) < len(Q) and a_stable(tableau)


def ssp_radius(tableau: Tableau) -> float:
    """The radius of absolute monotonicity (Kraaijevanger, BIT 31 (1991) 482-528).

    With K = [[A, 0], [b^T, 0]]: the largest r for which K (I + r K)^(-1) >= 0 and r K (I + r K)^(-1) 1 <= 1, entry by
    entry. It is the SSP coefficient: convex functionals that explicit Euler does not increase for h <= h0, the method
    does not increase for h <= r h0. Decided on the irreducible form.
    """
    A, b = irreducible(tableau)
    K = [[*row, Fraction(0)] for row in A] + [[*b, Fraction(0)]]
    if any(entry < 0 for row in K for entry in row):
        return 0.0
    size = len(K)

    def monotone(r: Fraction) -> bool:
        shifted = [[(i == j) + r * K[i][j] for j in range(size)] for i in range(size)]
        # K commutes with (I + r K)^(-1), so the columns of the product solve (I + r K) X = K.
        product = solve(shifted, K)
        return product is not None and all(min(row) >= 0 and r * sum(row) <= 1 for row in product)

    return _largest(monotone)


def circle_radius(tableau: Tableau) -> float:
    """The circle-contractivity radius r = sup { r : M + B / r >= 0 }, M = B A + A^T B - b b^T, B = diag(b).

    After G. Dahlquist, R. Jeltsch, *Generalized disks of contractivity for explicit and implicit Runge-Kutta methods*,
    TRITA-NA-7906, KTH Stockholm (1979): where a field satisfies the circle condition with constant rho in an
    inner-product norm, the step contracts in that norm for h rho <= r.
    0 where a weight is not positive, infinite where M is positive semidefinite with positive weights (algebraically
    stable). Decided on the irreducible form.
    """
    A, b = irreducible(tableau)
    if any(weight <= 0 for weight in b):
        return 0.0
    s = range(len(b))
    M = algebraic_matrix(A, b)
    if semidefinite(M):
        return math.inf
    return _largest(lambda r: semidefinite([[M[i][j] + (b[i] / r if i == j else 0) for j in s] for i in s]))


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
