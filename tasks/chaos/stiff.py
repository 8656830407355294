"""Two unrelated integrators for y' = L y + M g(y) + c with a stiff linear part: one is the truth, one checks it.

`collocation` is the Radau IIA method with five stages, order nine (Hairer and Wanner, Solving Ordinary Differential
Equations II, section IV.5), its linear part solved exactly and its nonlinear part by fixed-point iteration.
`Exponential` is the fourth-order exponential time differencing of Cox and Matthews 2002, J. Comput. Phys. 176:430,
equations (26) to (29), with matrix functions from one matrix exponential (as in Kassam and Trefethen 2005, SIAM J. Sci.
Comput. 26:1214, which obtains them otherwise). Both advance many trajectories (n, dimension) at once, in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from math import ceil
from typing import TypeGuard

import numpy as np
from scipy.linalg import expm
from scipy.special import roots_jacobi

from ...suite.contracts import Array, VectorField
from ...suite.errors import Diverged
from ...suite.matrix_equation import MatrixEquation

STIFF = 100.0
"""Norm of the linear part, over a unit of time, from which explicit methods of the truth's tolerance cost too much."""

STEP = 0.125
"""Longest step of the truth, in the equation's unit: the iteration converges by a factor of three a turn."""

STAGES = 5
"""Stages of the collocation method."""

ITERATIONS = 100
"""At most so many fixed-point iterations a step."""

SETTLED = 4e-15
"""Change of a stage, relative to the largest component, below which the iteration has converged."""


def is_stiff(equation: VectorField) -> TypeGuard[MatrixEquation]:
    """Whether the truth needs `collocation`."""
    return isinstance(equation, MatrixEquation) and bool(np.linalg.norm(equation.linear, 2) > STIFF)


@lru_cache(maxsize=8)
def nonlinear(equation: MatrixEquation) -> Callable[[Array], Array]:
    """y (..., dimension) -> M g(y) + c."""
    f = replace(equation, linear=np.zeros_like(equation.linear)).function()
    return lambda y: np.asarray(f(0.0, y))


@lru_cache(maxsize=4)
def radau(stages: int = STAGES) -> tuple[Array, Array]:
    """Nodes c (stages,) and matrix A (stages, stages) of Radau IIA; its weights are A's last row."""
    # the nodes are 1 and the zeros of the Jacobi polynomial P^(1,0) on [0, 1]
    c = np.append((roots_jacobi(stages - 1, 1.0, 0.0)[0] + 1.0) / 2.0, 1.0)
    powers = np.arange(stages)
    vandermonde = c[:, None] ** powers
    integrals = c[:, None] ** (powers + 1) / (powers + 1)
    return c, integrals @ np.linalg.inv(vandermonde)


@lru_cache(maxsize=8)
def _factors(equation: MatrixEquation, h: float) -> tuple[Array, Array, Array]:
    """h A, the inverse of 1 - h A (x) L for the stages as one row vector, and the extrapolation of a step's stages to
    the next's."""
    c, A = radau()
    d = equation.dimension
    inverse = np.linalg.inv(np.eye(STAGES * d) - h * np.kron(A, equation.linear))
    nodes = np.append(0.0, c)
    interpolate = np.linalg.inv(nodes[:, None] ** np.arange(STAGES + 1))
    return h * A, np.ascontiguousarray(inverse.T), (1.0 + c)[:, None] ** np.arange(STAGES + 1) @ interpolate


def collocation(equation: MatrixEquation, y0: Array, h: float, steps: int, every: int) -> Array:
    """States at 0, every * h, 2 * every * h, ... from y0 (n, dimension): (steps // every + 1, n, dimension).

    Raises `Diverged` where the iteration does not converge.
    """
    n, d = y0.shape
    matrix, inverse, ahead = _factors(equation, h)
    drive_of = nonlinear(equation)
    y, found = y0, [y0]
    stages = np.repeat(y0[:, None], STAGES, axis=1)
    for i in range(steps):
        for _ in range(ITERATIONS):
            with np.errstate(over="ignore", invalid="ignore"):
                drive = y[:, None] + matrix @ drive_of(stages)
                new = (drive.reshape(n, -1) @ inverse).reshape(n, STAGES, d)
                change = np.abs(new - stages).max() / np.abs(new).max()
            stages = new
            if not change > SETTLED:
                break
        if not np.isfinite(stages).all() or change > 1e3 * SETTLED:
            raise Diverged(f"the true trajectories of {equation.name} could not be computed with the step {h:g}")
        before, y = y, stages[:, -1].copy()
        stages = ahead @ np.concatenate([before[:, None], stages], axis=1)
        if (i + 1) % every == 0:
            found.append(y)
    return np.array(found)


def collocated(equation: MatrixEquation, y0: Array, times: Array) -> Array:
    """Solutions from y0 (n, dimension) at times[0], reported at `times`: (len(times), n, dimension)."""
    # gaps that differ by rounding alone share a step, and so its factors
    gaps = [float(f"{right - left:.11g}") for left, right in pairwise(times.tolist())]
    found, start = [y0[None]], 0
    while start < len(gaps):
        end = start
        while end < len(gaps) and gaps[end] == gaps[start]:
            end += 1
        parts = ceil(gaps[start] / STEP * (1 - 1e-9))
        if parts == 0:
            found.append(np.repeat(found[-1][-1:], end - start, axis=0))
        else:
            found.append(collocation(equation, found[-1][-1], gaps[start] / parts, parts * (end - start), parts)[1:])
        start = end
    return np.concatenate(found)


@dataclass(frozen=True)
class Exponential:
    """The matrices of one step of exponential time differencing, transposed: they act on rows."""

    whole: Array
    half: Array
    drive: Array
    first: Array
    middle: Array
    last: Array


@lru_cache(maxsize=8)
def exponential(equation: MatrixEquation, h: float) -> Exponential:
    """For the step h: exp(h L), exp(h L / 2), and the combinations of phi-functions that weight the nonlinear part."""
    one, two, three = _phi(h * equation.linear)[1:]
    half, drive, *_ = _phi(h / 2 * equation.linear)
    return Exponential(
        whole=_phi(h * equation.linear)[0].T.copy(),
        half=half.T.copy(),
        drive=(h / 2 * drive).T.copy(),
        first=(h * (one - 3 * two + 4 * three)).T.copy(),
        middle=(h * (2 * two - 4 * three)).T.copy(),
        last=(h * (4 * three - two)).T.copy(),
    )


def _phi(z: Array) -> tuple[Array, Array, Array, Array]:
    """exp(z), phi_1(z), phi_2(z), phi_3(z) as blocks of one exponential (Al-Mohy and Higham 2011, SIAM J. Sci. Comput.
    33:488, theorem 2.1)."""
    d = len(z)
    block = np.zeros((4 * d, 4 * d))
    block[:d, :d] = z
    for i in range(3):
        block[i * d : (i + 1) * d, (i + 1) * d : (i + 2) * d] = np.eye(d)
    top = expm(block)[:d]
    return tuple(top[:, i * d : (i + 1) * d] for i in range(4))  # type: ignore[return-value]


def exponential_step(matrices: Exponential, drive: Callable[[Array], Array], y: Array) -> Array:
    """One step for rows y (..., dimension), drive their nonlinear part."""
    start, half = drive(y), y @ matrices.half
    a = half + start @ matrices.drive
    at_a = drive(a)
    at_b = drive(half + at_a @ matrices.drive)
    at_c = drive(a @ matrices.half + (2 * at_b - start) @ matrices.drive)
    return np.asarray(
        y @ matrices.whole + start @ matrices.first + (at_a + at_b) @ matrices.middle + at_c @ matrices.last
    )


def differencing(equation: MatrixEquation, y0: Array, h: float, steps: int, every: int) -> Array:
    """As `collocation`, by fourth-order exponential time differencing."""
    matrices, drive = exponential(equation, h), nonlinear(equation)
    y, found = y0, [y0]
    for i in range(steps):
        y = exponential_step(matrices, drive, y)
        if (i + 1) % every == 0:
            found.append(y)
    return np.array(found)
