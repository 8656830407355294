"""The order of a Runge-Kutta method, computed from its coefficients by rooted trees, in exact arithmetic.

Hairer, Norsett, Wanner, *Solving Ordinary Differential Equations I* (2nd ed., 1993), section II.2: a method has order
p when the elementary weight of every rooted tree t with at most p vertices equals 1/gamma(t) (theorem 2.13). All
arithmetic is in integers over one common denominator, so that order 8 with twelve stages takes a fraction of a second;
in integers p + q sqrt(d) where coefficients have a root.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import TypeAlias

from ..suite.errors import UsageError
from .quadratic import Quadratic, Scalar, magnitude
from .tableau import Tableau

Tree: TypeAlias = tuple["Tree", ...]
"""A rooted tree is the sorted tuple of the trees that hang on its root; () is the single vertex."""

Matrix: TypeAlias = Sequence[Sequence[Scalar]]

Whole: TypeAlias = int | Scalar
"""An integer, or p + q sqrt(d) with whole p and q."""


@cache
def trees(vertices: int) -> tuple[Tree, ...]:
    """All rooted trees with that many vertices (at least 1): 1, 1, 2, 4, 9, 20, 48, 115, ... of them."""
    if vertices == 1:
        return ((),)
    return tuple(sorted({grown for tree in trees(vertices - 1) for grown in _with_one_leaf_more(tree)}))


def _with_one_leaf_more(tree: Tree) -> Iterator[Tree]:
    yield ((), *tree)
    for i, child in enumerate(tree):
        for grown in _with_one_leaf_more(child):
            yield tuple(sorted((*tree[:i], grown, *tree[i + 1 :])))


@cache
def size(tree: Tree) -> int:
    """The number of vertices."""
    return 1 + sum(size(child) for child in tree)


@cache
def density(tree: Tree) -> int:
    """gamma(t): the product of the sizes of all subtrees (HNW II.2, definition 2.10)."""
    return size(tree) * math.prod(density(child) for child in tree)


@cache
def symmetry(tree: Tree) -> int:
    """sigma(t): the number of automorphisms of the tree."""
    return math.prod(
        symmetry(child) ** tree.count(child) * math.factorial(tree.count(child)) for child in dict.fromkeys(tree)
    )


def residuals(A: Matrix, weights: Sequence[Scalar], vertices: int) -> dict[Tree, Scalar]:
    """Phi(t) - 1/gamma(t) for every tree with that many vertices; all zero where these order conditions hold."""
    return _residuals(_Stages(A), weights, vertices)


def _residuals(stages: _Stages, weights: Sequence[Scalar], vertices: int) -> dict[Tree, Scalar]:
    scale = _common_denominator(weights)
    scaled = [_whole(weight, scale) for weight in weights]
    unit = Fraction(1, scale * stages.scale ** (vertices - 1))
    return {tree: _dot(scaled, stages.weights(tree)) * unit - Fraction(1, density(tree)) for tree in trees(vertices)}


def computed_order(A: Matrix, weights: Sequence[Scalar], limit: int = 10, tolerance: Scalar = Fraction(0)) -> int:
    """The largest p <= limit for which every order condition up to p holds within the tolerance (0: exactly)."""
    stages = _Stages(A)
    for p in range(1, limit + 1):
        if any(magnitude(residual) > tolerance for residual in _residuals(stages, weights, p).values()):
            return p - 1
    return limit


def principal_error_norm(A: Matrix, weights: Sequence[Scalar], order: int) -> float:
    """The 2-norm over the trees with order + 1 vertices of (Phi(t) - 1/gamma(t)) / sigma(t).

    With alpha(t) = (order + 1)! / (sigma(t) gamma(t)) these are the coefficients of the local error, HNW II.3.
    """
    terms = residuals(A, weights, order + 1)
    return math.sqrt(sum(((residual / symmetry(tree)) ** 2 for tree, residual in terms.items()), Fraction(0)))


def verify(tableau: Tableau) -> None:
    """Raise `UsageError` unless b and b_hat have exactly the orders the tableau claims, neither less nor more."""
    claims = [("b", tableau.b, tableau.order)]
    if tableau.b_hat is not None and tableau.embedded_order is not None:
        claims.append(("b_hat", tableau.b_hat, tableau.embedded_order))
    for which, weights, claim in claims:
        found = computed_order(tableau.A, weights, claim + 1, tableau.tolerance)
        if found != claim:
            seen = found if found <= claim else f"at least {found}"
            raise UsageError(f"tableau {tableau.name!r} claims order {claim} for {which}, but its order is {seen}.")


class _Stages:
    """Elementary weights of the stages times scale^(size - 1), which makes them whole; remembered per tree."""

    def __init__(self, A: Matrix) -> None:
        self.scale = _common_denominator([entry for row in A for entry in row])
        self._rows = [[_whole(entry, self.scale) for entry in row] for row in A]
        self._known: dict[Tree, list[Whole]] = {(): [1] * len(A)}

    def weights(self, tree: Tree) -> list[Whole]:
        if tree not in self._known:
            branches = [[_dot(row, self.weights(child)) for row in self._rows] for child in tree]
            self._known[tree] = [_product(factors) for factors in zip(*branches, strict=True)]
        return self._known[tree]


def _common_denominator(values: Sequence[Scalar]) -> int:
    """The smallest positive integer whose product with each value is whole."""
    parts = [part for value in values for part in ((value.p, value.q) if isinstance(value, Quadratic) else (value,))]
    return math.lcm(*(part.denominator for part in parts))


def _whole(value: Scalar, scale: int) -> Whole:
    scaled = value * scale
    return scaled if isinstance(scaled, Quadratic) else int(scaled)


def _product(factors: Iterable[Whole]) -> Whole:
    """The product, 1 of none."""
    result: Whole = 1
    for factor in factors:
        result = result * factor
    return result


def _dot(left: Sequence[Whole], right: Sequence[Whole]) -> Whole:
    total: Whole = 0
    for x, y in zip(left, right, strict=True):
        if x:
            total = total + x * y
    return total
