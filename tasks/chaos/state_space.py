"""How differently two clouds of points visit state space: a binned Kullback-Leibler divergence.

After the state space divergence of Koppe et al. 2019, PLoS Comput. Biol. 15:e1007263, as Hess et al. 2023
(arXiv:2306.04406) take it for few dimensions. Two choices are this project's. The box is frozen from a true sample, the
same for every model. And what lies outside it, or is not finite, has a cell of its own: published code drops such
points and so rewards a model for leaving. Any two finite samples differ: read a value beside the same statistic of two
independent true samples of that size and sampling, its floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...suite.contracts import Array

BINS = 30
"""Cells a dimension."""

AXES = 3
"""At most so many dimensions are binned: the components themselves, or as many leading principal components."""

MARGIN = 0.1
"""The box goes beyond the reference sample by this many of its standard deviations, on each side."""

SMOOTHING = 1e-5
"""Added to every count (Laplace), so that an empty cell costs something finite."""


@dataclass(frozen=True)
class Partition:
    """Cells of a box: point -> (point - centre) @ axes, bins intervals of each coordinate between lower and upper.

    centre: (dimension,); axes: (dimension, k); lower, upper: (k,), k at most 3.
    """

    centre: Array
    axes: Array
    lower: Array
    upper: Array
    bins: int = BINS

    @property
    def cells(self) -> int:
        """How many there are, the one outside the box included; it is the last."""
        return int(self.bins ** len(self.lower)) + 1

    def project(self, points: Array) -> Array:
        """(..., dimension) -> (..., k); not finite where a point is not."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray((points - self.centre) @ self.axes)

    def index(self, points: Array) -> Array:
        """The cell of each point (n, dimension): (n,) int64. An upper edge belongs to the box."""
        place = (self.project(points) - self.lower) / (self.upper - self.lower)
        inside = ((place >= 0.0) & (place <= 1.0)).all(axis=-1)
        digits = np.minimum((np.where(inside[:, None], place, 0.0) * self.bins).astype(np.int64), self.bins - 1)
        flat = digits @ (self.bins ** np.arange(len(self.lower)))
        return np.where(inside, flat, self.cells - 1)

    def counts(self, points: Array) -> Array:
        """Points (n, dimension) in every cell: (cells,)."""
        return np.bincount(self.index(points), minlength=self.cells)

    def escaped(self, points: Array) -> float:
        """The share of points (n, dimension) outside the box."""
        return float(np.mean(self.index(points) == self.cells - 1))


def partition(reference: Array, bins: int = BINS) -> Partition:
    """The cells that a true sample (n, dimension) fixes: its own components up to three of them, else the first three
    principal components of the sample, each from its least to its greatest value and the margin."""
    dimension = reference.shape[1]
    centre, axes = np.zeros(dimension), np.eye(dimension)
    if dimension > AXES:
        centre = reference.mean(axis=0)
        _, vectors = np.linalg.eigh(np.cov(reference.T))
        axes = vectors[:, ::-1][:, :AXES]
        axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(AXES)] < 0, -1.0, 1.0)  # a sign for good
    seen = (reference - centre) @ axes
    margin = MARGIN * seen.std(axis=0)
    return Partition(centre, axes, seen.min(axis=0) - margin, seen.max(axis=0) + margin, bins)


def state_space_divergence(truth: Array, generated: Array, cells: Partition, smoothing: float = SMOOTHING) -> float:
    """KL(truth || generated) over the cells, in nats: sum p ln(p / q), p and q the smoothed relative frequencies.

    truth (n, dimension), generated (m, dimension), in the same units as the partition's reference. At least 0, and 0
    for equal frequencies; points that left count in the cell outside.
    """
    p, q = (_frequencies(cells.counts(points), smoothing) for points in (truth, generated))
    return float(np.sum(p * np.log(p / q)))


def _frequencies(counts: Array, smoothing: float) -> Array:
    return np.asarray((counts + smoothing) / (counts.sum() + smoothing * len(counts)))
