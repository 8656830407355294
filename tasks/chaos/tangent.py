"""States and frames of tangent vectors advanced together, by methods of fixed step that no solver under test uses.

A frame is made orthonormal again after every step, and the logarithms of its stretching factors are added up (Benettin
et al. 1980, Meccanica 15:9). The coefficients of order eight are those that SciPy's DOP853 carries (Hairer, Noersett
and Wanner, Solving Ordinary Differential Equations I, section II.5); fields with a
linear part take exponential time differencing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from scipy.integrate import DOP853

from ...suite.contracts import Array, VectorField
from ...suite.equation import with_values
from ...suite.errors import UsageError
from ...suite.matrix_equation import MatrixEquation
from .stiff import exponential, exponential_step, nonlinear

Advance = Callable[[Array, Array, int], tuple[Array, Array, Array]]
"""(state (n, d), frame (n, d, k), steps) -> both at the end, and the sums of the logarithms (n, k)."""


def advance(equation: VectorField, h: float) -> Advance:
    """The tangent flow of a field in steps of h."""
    if isinstance(equation, MatrixEquation):
        return _differencing(equation, h)
    try:
        f, jacobian = equation.function("numba"), equation.jacobian("numba")
    except UsageError:  # a field that NumPy alone can evaluate
        return _vectorised(equation, h)
    run, A, b = _kernel(), h * np.ascontiguousarray(DOP853.A[:12, :12]), h * np.ascontiguousarray(DOP853.B)

    def explicit(state: Array, frame: Array, steps: int) -> tuple[Array, Array, Array]:
        rows = np.concatenate([state[:, None], frame.transpose(0, 2, 1)], axis=1)
        logs = np.zeros((len(state), frame.shape[2]))
        for i in range(len(state)):
            run(f, jacobian, A, b, steps, rows[i], logs[i])
        return rows[:, 0], rows[:, 1:].transpose(0, 2, 1), logs

    return explicit


@lru_cache(maxsize=1)
def _kernel() -> Any:
    """The compiled loop over the steps of one trajectory; it changes rows and logs in place."""
    import numba

    # plain loops: array expressions take the compiler several times as long
    def orthonormalise(rows: Any, logs: Any) -> None:
        """Gram and Schmidt, modified and done twice, so that the rows are orthogonal to rounding."""
        k, d = rows.shape
        for i in range(k):
            for _ in range(2):
                for j in range(i):
                    inner = 0.0
                    for m in range(d):
                        inner += rows[j, m] * rows[i, m]
                    for m in range(d):
                        rows[i, m] -= inner * rows[j, m]
            square = 0.0
            for m in range(d):
                square += rows[i, m] * rows[i, m]
            norm = math.sqrt(square)
            logs[i] += math.log(norm)
            for m in range(d):
                rows[i, m] /= norm

    def combine(out: Any, start: Any, weights: Any, slopes: Any, count: Any) -> None:
        """out = start + sum_j weights[j] slopes[j], for rows of numbers."""
        for r in range(out.shape[0]):
            for m in range(out.shape[1]):
                out[r, m] = start[r, m]
        for j in range(count):
            if weights[j] != 0.0:
                for r in range(out.shape[0]):
                    for m in range(out.shape[1]):
                        out[r, m] += weights[j] * slopes[j, r, m]

    def run(f: Any, jacobian: Any, A: Any, b: Any, steps: Any, rows: Any, logs: Any) -> None:
        """rows (1 + k, d): the state, and below it the vectors; A, b: times the step."""
        count, d = rows.shape
        stages = len(b)
        at, slopes, matrix = np.empty((count, d)), np.zeros((stages, count, d)), np.zeros((d, d))
        for _ in range(steps):
            for s in range(stages):
                combined(at, rows, A[s], slopes, s)
                f(0.0, at[0], slopes[s, 0])
                jacobian(0.0, at[0], matrix)
                for r in range(1, count):
                    for i in range(d):
                        slopes[s, r, i] = 0.0
                for i in range(d):
                    for j in range(d):
                        if matrix[i, j] != 0.0:
                            for r in range(1, count):
                                slopes[s, r, i] += matrix[i, j] * at[r, j]
            combined(rows, rows, b, slopes, stages)
            orthonormal(rows[1:], logs)

    combined = numba.njit(combine)
    orthonormal = numba.njit(orthonormalise)
    return numba.njit(run)


def _vectorised(equation: VectorField, h: float) -> Advance:
    """As the compiled loop, with NumPy over all trajectories at once."""
    f, jacobian = equation.function(), equation.jacobian()

    def explicit(state: Array, frame: Array, steps: int) -> tuple[Array, Array, Array]:
        both = np.concatenate([state[:, :, None], frame], axis=2)
        logs = np.zeros((len(state), frame.shape[2]))
        for _ in range(steps):
            slopes: list[Array] = []
            for row in DOP853.A[:12, :12]:
                at = both + h * sum((w * k for w, k in zip(row, slopes, strict=False) if w), np.zeros_like(both))
                y = np.ascontiguousarray(at[:, :, 0])
                slopes.append(np.concatenate([f(0.0, y)[:, :, None], jacobian(0.0, y) @ at[:, :, 1:]], axis=2))
            both = both + h * sum((w * k for w, k in zip(DOP853.B, slopes, strict=True)), np.zeros_like(both))
            both[:, :, 1:], factors = np.linalg.qr(both[:, :, 1:])
            logs += np.log(np.abs(np.diagonal(factors, axis1=1, axis2=2)))
        return both[:, :, 0], both[:, :, 1:], logs

    return explicit


def _differencing(equation: MatrixEquation, h: float) -> Advance:
    """By exponential time differencing: base state and tangent vectors share the linear part."""
    matrices, drive_of, slope_of = exponential(equation, h), nonlinear(equation), _slope(equation)

    def drive(rows: Array) -> Array:
        """(n, 1 + k, d): the nonlinear part at the state, and its derivative along the vectors."""
        state = rows[:, 0]
        mixed = slope_of(state)[:, None] * rows[:, 1:] @ equation.mixing.T
        return np.concatenate([drive_of(state)[:, None], mixed], axis=1)

    def stiff(state: Array, frame: Array, steps: int) -> tuple[Array, Array, Array]:
        rows = np.concatenate([state[:, None], frame.transpose(0, 2, 1)], axis=1)
        logs = np.zeros((len(state), frame.shape[2]))
        for _ in range(steps):
            rows = exponential_step(matrices, drive, rows)
            frame, factors = np.linalg.qr(rows[:, 1:].transpose(0, 2, 1))
            logs += np.log(np.abs(np.diagonal(factors, axis1=1, axis2=2)))
            rows[:, 1:] = frame.transpose(0, 2, 1)
        return rows[:, 0], frame, logs

    return stiff


def _slope(equation: MatrixEquation) -> Callable[[Array], Array]:
    """g'(y), componentwise."""
    (derivative,) = with_values([sympy.diff(equation.pointwise, equation.symbol)], equation.parameters)
    raw: Any = sympy.lambdify(equation.symbol, derivative, "numpy")
    return lambda y: np.broadcast_to(raw(y), y.shape)
