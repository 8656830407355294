"""The correlation dimension of an attractor from points on it.

Grassberger and Procaccia 1983, Physica D 9:189, equations (1.1) to (1.4), with the window of Theiler 1986, Phys. Rev. A
34:2427: pairs close in time say how the trajectory runs and not how the attractor fills space, and are left out. The
value hangs on the range of distances, which is therefore declared; over this one it is known to about 0.1.
"""

from __future__ import annotations

import math

import numpy as np

from ...suite.contracts import Array

RANGE = (0.01, 0.1)
"""The distances of the fit, from least to greatest, as fractions of the attractor's diameter."""

RADII = 10
"""Distances in that range, evenly spaced in their logarithm."""

POINTS = 8000
"""At most so many points are paired."""

ENOUGH = 100
"""Pairs needed below the least distance; with fewer there is no estimate."""

CHUNK = 500


def diameter(points: Array, most: int = 2000) -> float:
    """The largest distance between any two of at most `most` evenly chosen points (n, dimension)."""
    chosen = points[:: max(1, math.ceil(len(points) / most))]
    return math.sqrt(max(float(_squares(chosen[i : i + CHUNK], chosen).max()) for i in range(0, len(chosen), CHUNK)))


def correlation_dimension(series: Array, window: int, size: float | None = None) -> float:
    """Slope of ln C(r) against ln r by least squares, C(r) the share of pairs closer than r; a pure number.

    series: (samples, runs, dimension), finite, runs independent of each other. window: pairs of one run at most so many
    samples apart are left out, at least a Lyapunov time of them. size: the diameter that the range refers to; None: the
    series' own. A fixed point has dimension 0. NaN where fewer than `ENOUGH` pairs are closer than the least distance:
    there are too few points for so many dimensions, or none.
    """
    samples, runs, dimension = series.shape
    stride = max(1, math.ceil(samples * runs / POINTS))
    points = series[::stride].transpose(1, 0, 2).reshape(-1, dimension)
    kept = -(-samples // stride)
    place = np.arange(kept) * stride + np.arange(runs)[:, None] * (samples + window + stride)  # runs are far apart
    time = place.ravel()
    if not len(points):
        return math.nan
    extent = diameter(points) if size is None else size
    if not extent > 0.0:
        return 0.0
    radii = extent * np.geomspace(*RANGE, RADII)
    closer, pairs = np.zeros(RADII), 0
    for start in range(0, len(points), CHUNK):
        rows = slice(start, start + CHUNK)
        ahead = slice(start, None)
        counted = time[ahead] - time[rows, None] > window  # each pair once
        squares = _squares(points[rows], points[ahead])[counted]
        pairs += squares.size
        near = squares[squares < radii[-1] ** 2]
        closer += [np.count_nonzero(near < radius**2) for radius in radii]
    if closer[0] < ENOUGH:
        return math.nan
    return float(np.polyfit(np.log(radii), np.log(closer / pairs), 1)[0])


def _squares(one: Array, other: Array) -> Array:
    """Squared distances (n, m), component by component, which keeps small ones exact."""
    total = np.zeros((len(one), len(other)))
    for a, b in zip(one.T, other.T, strict=True):
        total += (a[:, None] - b) ** 2
    return total
