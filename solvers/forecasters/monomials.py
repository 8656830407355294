"""All monomials up to a degree in some variables, with their derivatives, each from one of the degree below."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from math import comb
from typing import final

import numpy as np

from ...suite.contracts import Array


@final
@dataclass(frozen=True)
class Monomials:
    """1, then x_0, ..., x_{d-1}, then x_0 x_0, x_0 x_1, ..., degree by degree, in lexicographic order."""

    dimension: int
    degree: int

    @property
    def count(self) -> int:
        return comb(self.dimension + self.degree, self.degree)

    @cached_property
    def factors(self) -> tuple[tuple[int, ...], ...]:
        """The variables of each monomial, repeated as their powers say; () for the constant."""
        return tuple(
            factors
            for k in range(self.degree + 1)
            for factors in combinations_with_replacement(range(self.dimension), k)
        )

    @cached_property
    def _steps(self) -> list[tuple[list[int], list[int]]]:
        """For each degree from 1: the place of the monomial without its last variable, and that variable."""
        place = {factors: i for i, factors in enumerate(self.factors)}
        found = []
        for k in range(1, self.degree + 1):
            new = [factors for factors in self.factors if len(factors) == k]
            found.append(([place[factors[:-1]] for factors in new], [factors[-1] for factors in new]))
        return found

    def __call__(self, x: Array) -> Array:
        """(..., dimension) -> (..., count), in the dtype of x."""
        values = np.ones((*x.shape[:-1], 1), dtype=x.dtype)
        for parents, variables in self._steps:
            values = np.concatenate([values, values[..., parents] * x[..., variables]], axis=-1)
        return values

    def jacobian(self, x: Array) -> Array:
        """d monomial / d x: (..., count, dimension)."""
        values = np.ones((*x.shape[:-1], 1), dtype=x.dtype)
        slopes = np.zeros((*x.shape[:-1], 1, self.dimension), dtype=x.dtype)
        unit = np.eye(self.dimension, dtype=x.dtype)
        for parents, variables in self._steps:
            last = x[..., variables]
            new = slopes[..., parents, :] * last[..., None] + values[..., parents][..., None] * unit[variables]
            values = np.concatenate([values, values[..., parents] * last], axis=-1)
            slopes = np.concatenate([slopes, new], axis=-2)
        return slopes
