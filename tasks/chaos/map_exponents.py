"""Lyapunov exponents of a forecaster that runs on its own output: of the map of its whole state.

The method of Benettin et al. 1980, Meccanica 15:9, as Wolf et al. 1985, Physica D 16:285, have it: a frame of tangent
vectors is carried by the map's derivative and made orthonormal again at every step, and the logarithms of its
stretching factors are averaged. The derivative along each vector is a central difference of two copies of the state,
which ride along as one batch. So the exponents are of the map that is really run, memory included, whatever it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...suite.contracts import Array, ClosedLoop
from ...suite.errors import Diverged, UsageError

APART = 1e-6
"""Distance of a copy, relative to the largest number of the state (at least 1): truncation and rounding are both near
1e-10 of a stretching factor."""

RESOLVED = 1e-9
"""A stretching factor below this is rounding; it counts as this."""

BENT = 0.1
"""One-sided slopes further apart than this part of the central one, and `JUMP` more, are no derivative."""

JUMP = 0.01

ROUGH = 0.01
"""A map whose derivative is missing at more than this share of the steps has no exponents."""

BLOCKS = 5
"""A trajectory is cut into so many blocks, whose averages give the standard error."""


@dataclass(frozen=True)
class MapExponents:
    """exponents: the leading ones, largest first, per unit of time; errors: their standard errors, over blocks;
    resolved: so many of them, from the first, are measured; from there on directions die within a step."""

    exponents: Array
    errors: Array
    resolved: int


class NotSmoothError(ValueError):
    """The map has no derivative along its trajectory, and so no exponents."""


def map_exponents(
    closed: ClosedLoop, state: Array, steps: int, sampling: float, rng: np.random.Generator, count: int
) -> MapExponents:
    """The `count` leading exponents over `steps` steps from every state (trajectories, size), `sampling` apart in time.

    No more than size of them. The first tenth of the steps goes by unrecorded, for the frame to align itself. No value
    is below ln(1e-9) / sampling, where a direction dies within a step, and one nearer to zero than rounding is zero.
    Raises `Diverged` where the state leaves the finite numbers, `NotSmoothError` where the slopes on the two sides of
    the trajectory are not the same, `UsageError` for fewer than 50 steps.
    """
    if steps < 10 * BLOCKS:
        raise UsageError(f"the exponents of a map need at least {10 * BLOCKS} steps, got {steps}.")
    n, size = state.shape
    k = min(count, size)
    frame = np.linalg.qr(rng.standard_normal((n, size, k)))[0]
    logs = np.empty((steps, n, k))
    broken = 0.0
    for i in range(steps):
        apart = APART * np.maximum(1.0, np.abs(state).max(axis=1))[:, None, None]
        around = apart * frame.transpose(0, 2, 1)
        copies = np.concatenate([state[:, None], state[:, None] + around, state[:, None] - around], axis=1)
        moved = closed.step(copies.reshape(-1, size)).reshape(n, 2 * k + 1, size)
        if not np.isfinite(moved).all():
            raise Diverged("the state of the closed loop is not finite")
        state = moved[:, 0]
        stretched = ((moved[:, 1 : k + 1] - moved[:, k + 1 :]) / (2.0 * apart)).transpose(0, 2, 1)
        bend = (moved[:, 1 : k + 1] + moved[:, k + 1 :] - 2.0 * state[:, None]).transpose(0, 2, 1) / apart
        broken += _differ(bend, stretched).mean()
        if broken > ROUGH * steps:
            raise NotSmoothError("the map has no derivative where it runs")
        frame, factors = np.linalg.qr(stretched)
        logs[i] = np.log(np.maximum(np.abs(np.diagonal(factors, axis1=1, axis2=2)), RESOLVED))
    counted = logs[steps // 10 :] / sampling
    exponents = counted.mean(axis=(0, 1))
    exponents = np.where(np.abs(exponents) < RESOLVED / sampling, 0.0, exponents)
    dying = (logs[steps // 10 :] <= math.log(RESOLVED)).mean(axis=(0, 1)) > ROUGH
    blocks = np.concatenate([block.mean(axis=0) for block in np.array_split(counted, BLOCKS)])
    order = np.argsort(-exponents, kind="stable")
    errors = blocks.std(axis=0, ddof=1)[order] / math.sqrt(len(blocks))
    return MapExponents(exponents[order], errors, int(np.argmax(np.append(dying[order], True))))


def _differ(bend: Array, slope: Array) -> Array:
    """For each of n trajectories whether along some vector the slopes of the two sides, (n, size, k) apart by `bend`,
    are not those of a derivative."""
    size = np.linalg.norm(slope, axis=1)
    return np.asarray((np.linalg.norm(bend, axis=1) > BENT * size + JUMP).any(axis=1))
