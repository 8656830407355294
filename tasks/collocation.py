"""Stiff initial value problems in many digits: Radau IIA collocation with many stages, in mpmath.

The method is the collocation at the s right Radau points (Hairer & Wanner, *Solving Ordinary Differential Equations
II*, 2nd ed., section IV.5), of order 2s - 1 and stiffly accurate. The equations for the stages are solved by Newton's
method with residuals in many digits and corrections in binary64: each iteration gains the digits that a binary64
solution of the linear system is good for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np

from ..suite.contracts import Array, VectorField
from ..suite.errors import Diverged

Number = Any
"""An mpmath real."""

mp: Any = mpmath.mp

DIGITS = 34
"""Working digits."""

NEWTON = 1e-27
"""Size of the last correction, relative to each component's largest value in the step."""

ITERATIONS = 30


@lru_cache(maxsize=8)
def radau(stages: int) -> tuple[list[Number], Array, Array]:
    """c, A (stages, stages) and the weights of y0, Y_1, ... in the highest divided difference, in mpmath reals.

    The points are the zeros of P_s - P_(s-1) on [-1, 1], moved to [0, 1].
    """
    with mp.workdps(DIGITS + 2 * stages):
        series = np.zeros(stages + 1)
        series[-2:] = -1.0, 1.0
        c = [(1 + _zero(stages, float(x.real))) / 2 for x in np.sort(np.polynomial.legendre.legroots(series))]
        c[-1] = mp.one
        powers = mp.matrix([[x**k for k in range(stages)] for x in c])
        integrals = mp.matrix([[x ** (k + 1) / (k + 1) for k in range(stages)] for x in c])
        a = integrals * mp.inverse(powers)
        points = [mp.zero, *c]
        weights = [1 / mp.fprod(x - z for z in points if z != x) for x in points]
        A = np.array([[a[i, j] for j in range(stages)] for i in range(stages)], dtype=object)
        return c, A, np.array(weights, dtype=object)


def _zero(stages: int, start: float) -> Number:
    """The zero of P_s - P_(s-1) near `start`, by Newton's method; at 1 it is exact."""
    if start > 1 - 1e-9:
        return mp.one
    return mp.findroot(lambda x: mp.legendre(stages, x) - mp.legendre(stages - 1, x), start)


def collocation(
    equation: VectorField, y0: Sequence[Number], t0: Number, t1: Number, stages: int, tolerance: float
) -> list[Number]:
    """y(t1) in mpmath reals, with the step chosen so that the highest coefficient of the collocation polynomial is
    below the tolerance.

    The coefficient is that of the Chebyshev polynomial of degree `stages` on the step, relative to each component's
    largest value there. The equation's NumPy function is called with mpmath reals, so its right-hand side may hold
    sums, products and whole powers only. Raises `Diverged` where no step is small enough.
    """
    with mp.workdps(DIGITS):
        f, jacobian = equation.function(), equation.jacobian()
        c, _, weights = radau(stages)
        t, end = mp.mpf(t0), mp.mpf(t1)
        y = np.array([mp.mpf(value) for value in y0], dtype=object)
        h, slopes = (end - t) * mp.mpf(10) ** -6, None
        shrink = mp.mpf(2) ** (1 - 2 * stages)
        while t < end:
            h = min(h, end - t)
            Y = _stages(f, jacobian, c, t, y, h, stages, slopes)
            if Y is None:
                h, slopes = h / 4, None
                if h < (end - t) * mp.mpf(10) ** -30:
                    raise Diverged(f"no step is small enough at t = {float(t):.6g}")
                continue
            whole = np.vstack([y[None], Y])
            top = np.abs(weights @ whole) * shrink
            size = np.abs(whole).max(axis=0)
            size = np.maximum(size, size.max() * mp.mpf(10) ** -24)
            error = max(top / size)
            factor = mp.power(tolerance / error, mp.one / stages) * mp.mpf("0.9") if error else mp.mpf(5)
            if error <= tolerance:
                t = end if h == end - t else t + h
                y, slopes = Y[-1], (h, whole)
            h *= min(mp.mpf(5), max(mp.mpf("0.1"), factor))
        return list(y)


def _stages(
    f: Callable[..., Any],
    jacobian: Callable[..., Any],
    c: list[Number],
    t: Number,
    y: Array,
    h: Number,
    stages: int,
    last: tuple[Number, Array] | None,
) -> Array | None:
    """Y (stages, dimension); None where Newton's method does not converge."""
    _, A, _ = radau(stages)
    n, times = len(y), [t + x * h for x in c]
    Y = np.array([y] * stages, dtype=object) if last is None else _continued(c, h, *last)
    small, hA = [float(x) for x in times], h * A
    solve: Callable[[Array], Array] | None = None
    before = np.inf
    for k in range(ITERATIONS):
        slopes = np.array([f(x, state) for x, state in zip(times, Y, strict=True)], dtype=object)
        residual = Y - y - hA @ slopes
        if solve is None or k < 4:
            solve = _linear(jacobian, small, Y.astype(np.float64), (hA).astype(np.float64))
        if solve is None:
            return None
        size = np.maximum(np.abs(Y).max(axis=0), np.abs(y))
        size = np.maximum(size, size.max() * mp.mpf(10) ** -24)
        scale = np.maximum(size.astype(np.float64), 1e-300)
        largest = max(np.abs(residual).max(), mp.mpf(10) ** -200)
        change = solve((residual / largest).astype(np.float64).ravel()).reshape(stages, n)
        if not np.isfinite(change).all():
            return None
        Y = np.asarray(Y - change * largest)
        moved = float(largest * np.max(np.abs(change) / scale))
        if moved < NEWTON:
            return Y
        if (k > 8 and moved > before) or moved > 1e6:
            return None
        before = moved
    return None


def _linear(jacobian: Callable[..., Any], times: list[float], Y: Array, hA: Array) -> Callable[[Array], Array] | None:
    """The solver of (I - h A J) x = r in binary64; None if singular."""
    from scipy.linalg import LinAlgError, lu_factor, lu_solve

    stages, n = Y.shape
    matrix = np.eye(stages * n).reshape(stages, n, stages, n)
    for j in range(stages):
        matrix[:, :, j, :] -= hA[:, j, None, None] * jacobian(times[j], Y[j])
    if not np.isfinite(matrix).all():
        return None
    try:
        factors = lu_factor(matrix.reshape(stages * n, stages * n))
    except LinAlgError:
        return None
    return lambda r: np.asarray(lu_solve(factors, r))


def _continued(c: list[Number], h: Number, before: Number, whole: Array) -> Array:
    """The last step's polynomial, in binary64, at the new stages: where Newton's method starts."""
    points = [mp.zero, *c]
    rows = []
    for x in c:
        z = 1 + x * h / before
        if z > 3:  # far outside, the polynomial is no guide
            return np.array([whole[-1]] * len(c), dtype=object)
        weights = [mp.fprod((z - b) / (a - b) for b in points if b != a) for a in points]
        rows.append(np.array(weights, dtype=object) @ whole)
    return np.array(rows, dtype=object)
