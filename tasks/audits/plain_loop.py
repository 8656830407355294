"""Runge-Kutta steps written as the definition reads, with the derivative of each: what conformance compares with.

HNW II.7, eq. (7.7): k_i = f(t + c_i h, y + h sum_j a_ij k_j), y+ = y + h sum_i b_i k_i. Nothing is reused, estimated or
made fast. Stages that are not explicit are solved together by Newton's method with the exact Jacobian, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...suite.contracts import Array
from ...suite.errors import Diverged

Function = Callable[[float, Array], Array]

ITERATIONS = 60
ROUNDING = 8 * np.finfo(float).eps
SAME_NODE = 1e-14


@dataclass(frozen=True, eq=False)
class Coefficients:
    """A (s, s), b (s,), c (s,) in float64. c is given for itself: a wrong method need not have row sums as nodes."""

    A: Array
    b: Array
    c: Array

    @property
    def explicit(self) -> bool:
        return not np.triu(self.A).any()

    def distance(self, other: Coefficients) -> float:
        """The largest difference of a coefficient, in units of max(1, |coefficient of the other|); infinite where the
        numbers of stages differ."""
        if self.b.shape != other.b.shape:
            return float("inf")
        pairs = ((self.A, other.A), (self.b, other.b), (self.c, other.c))
        gaps = [np.max(np.abs(x - y) / np.maximum(1, np.abs(y)), initial=0.0) for x, y in pairs]
        return float(max(gaps))

    def active(self) -> Coefficients:
        """The stages that the result depends on, in order; stages with the same row and node, and so equal, as one."""
        kept = {int(i) for i in np.flatnonzero(self.b)}
        while True:
            more = kept | {int(j) for i in kept for j in np.flatnonzero(self.A[i])}
            if more == kept:
                break
            kept = more
        order = sorted(kept)

        def equal(i: int, j: int) -> bool:
            return np.array_equal(self.A[i], self.A[j]) and abs(float(self.c[i] - self.c[j])) < SAME_NODE

        first = {i: next(j for j in order if equal(i, j)) for i in order}
        distinct = sorted(set(first.values()))
        alike = np.array([[float(first[i] == j) for j in distinct] for i in order])
        return Coefficients(self.A[np.ix_(distinct, order)] @ alike, self.b[order] @ alike, self.c[distinct])

    def stability(self, z: Array) -> Array:
        """R(z) = 1 + z b^T (I - z A)^-1 1 (HW IV.3, eq. 3.2) at complex z of shape (n,)."""
        s = len(self.b)
        matrices = np.eye(s) - z[:, None, None] * self.A
        solved = np.linalg.solve(matrices, np.ones((len(z), s, 1)))[..., 0]
        found: Array = 1 + z * (solved @ self.b)
        return found


def trajectory(method: Coefficients, f: Function, jacobian: Function, y0: Array, t: Array) -> Array:
    """One step of the method between two times of t: states (len(t), dimension). Raises `Diverged`."""
    states = [np.array(y0, dtype=np.float64)]
    for now, then in zip(t[:-1].tolist(), t[1:].tolist(), strict=True):
        slopes = _stages(method, f, jacobian, now, then - now, states[-1])
        states.append(states[-1] + (then - now) * (method.b @ slopes))
    return np.array(states)


def derivative(method: Coefficients, f: Function, jacobian: Function, y0: Array, t: Array) -> Array:
    """d y(t[-1]) / d y0 of the discrete solution, (dimension, dimension): the stage equations differentiated."""
    y = np.array(y0, dtype=np.float64)
    d, s = len(y), len(method.b)
    product = np.eye(d)
    for now, then in zip(t[:-1].tolist(), t[1:].tolist(), strict=True):
        h = then - now
        slopes = _stages(method, f, jacobian, now, h, y)
        J = np.stack([jacobian(now + c * h, y + h * (a @ slopes)) for c, a in zip(method.c, method.A, strict=True)])
        system = np.eye(s * d) - h * np.einsum("ij,ikl->ikjl", method.A, J).reshape(s * d, s * d)
        moved = np.linalg.solve(system, J.reshape(s * d, d)).reshape(s, d, d)
        product = (np.eye(d) + h * np.einsum("i,ikl->kl", method.b, moved)) @ product
        y = y + h * (method.b @ slopes)
    return product


def _stages(method: Coefficients, f: Function, jacobian: Function, t: float, h: float, y: Array) -> Array:
    """The slopes k of one step, (s, dimension)."""
    if not method.explicit:
        return _newton(method, f, jacobian, t, h, y)
    slopes = np.zeros((len(method.b), len(y)))
    for i, (row, node) in enumerate(zip(method.A, method.c, strict=True)):
        slopes[i] = f(t + node * h, y + h * (row[:i] @ slopes[:i]))
    return slopes


def _newton(method: Coefficients, f: Function, jacobian: Function, t: float, h: float, y: Array) -> Array:
    s, d = len(method.b), len(y)
    slopes = np.tile(f(t, y), (s, 1))
    last = np.inf
    for _ in range(ITERATIONS):
        states = y + h * (method.A @ slopes)
        times = t + method.c * h
        residual = slopes - np.stack([f(time, state) for time, state in zip(times, states, strict=True)])
        J = np.stack([jacobian(time, state) for time, state in zip(times, states, strict=True)])
        system = np.eye(s * d) - h * np.einsum("ij,ikl->ikjl", method.A, J).reshape(s * d, s * d)
        change = np.linalg.solve(system, residual.ravel()).reshape(s, d)
        slopes = slopes - change
        size = float(np.abs(change).max())
        if not np.isfinite(size):
            break
        if size <= ROUNDING * max(1.0, float(np.abs(slopes).max())) or (last < 1e-9 and size >= last):
            return slopes
        last = size
    raise Diverged(f"Newton's method for the stages of the plain loop did not converge at t = {t:g}")


def of(table: Any) -> Coefficients:
    """The coefficients of a tableau of the catalogue."""
    arrays = table.arrays
    return Coefficients(np.array(arrays.A), np.array(arrays.b), np.array(arrays.c))
