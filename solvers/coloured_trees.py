"""The order of a partitioned Runge-Kutta method, computed from its coefficients by two-coloured rooted trees.

E. Hairer, C. Lubich, G. Wanner, *Geometric Numerical Integration* (2nd ed., 2006), section III.2: a method has order p
for p' = f(p, q), q' = g(p, q) when Phi(t) = 1/gamma(t) for every rooted tree t with at most p vertices, each coloured
0 or 1 (theorem III.2.5); for p' = f(q), q' = g(p) when it holds for those whose neighbours differ in colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import TypeAlias

from ..suite.errors import UsageError
from .exact_algebra import dot
from .partitioned_tableau import PartitionedTableau
from .quadratic import Scalar

ColouredTree: TypeAlias = tuple[int, tuple["ColouredTree", ...]]
"""The colour of the root, and the sorted trees that hang on it."""


@cache
def coloured_trees(vertices: int) -> tuple[ColouredTree, ...]:
    """All two-coloured rooted trees with that many vertices (at least 1): 2, 4, 14, 52, 214, 916, ... of them."""
    if vertices == 1:
        return ((0, ()), (1, ()))
    return tuple(sorted({grown for tree in coloured_trees(vertices - 1) for grown in _with_one_leaf_more(tree)}))


def _with_one_leaf_more(tree: ColouredTree) -> Iterator[ColouredTree]:
    colour, branches = tree
    for leaf in (0, 1):
        yield colour, tuple(sorted((*branches, (leaf, ()))))
    for i, branch in enumerate(branches):
        for grown in _with_one_leaf_more(branch):
            yield colour, tuple(sorted((*branches[:i], grown, *branches[i + 1 :])))


@cache
def _size(tree: ColouredTree) -> int:
    return 1 + sum(_size(branch) for branch in tree[1])


@cache
def _density(tree: ColouredTree) -> int:
    return _size(tree) * math.prod(_density(branch) for branch in tree[1])


@cache
def _alternates(tree: ColouredTree) -> bool:
    """Whether neighbours differ in colour."""
    return all(branch[0] != tree[0] and _alternates(branch) for branch in tree[1])


def residuals(method: PartitionedTableau, vertices: int) -> dict[ColouredTree, Scalar]:
    """Phi(t) - 1/gamma(t) for every two-coloured tree with that many vertices."""
    known: dict[ColouredTree, list[Scalar]] = {}

    def stages(tree: ColouredTree) -> list[Scalar]:
        """At every stage, the product over the branches of A of the branch's colour times its own weights."""
        if tree not in known:
            known[tree] = [Fraction(1)] * method.stages
            for branch in tree[1]:
                below = stages(branch)
                sums = [dot(row, below) for row in method.A[branch[0]]]
                known[tree] = [x * y for x, y in zip(known[tree], sums, strict=True)]
        return known[tree]

    return {
        tree: dot(method.b[tree[0]], stages(tree)) - Fraction(1, _density(tree)) for tree in coloured_trees(vertices)
    }


def computed_order(method: PartitionedTableau, limit: int = 5, separable: bool = False) -> int:
    """The largest p <= limit for which every condition up to p holds exactly; those of separable fields if asked."""
    for p in range(1, limit + 1):
        if any(residual for tree, residual in residuals(method, p).items() if not separable or _alternates(tree)):
            return p - 1
    return limit


def verify(method: PartitionedTableau) -> None:
    """Raise `UsageError` unless the method has exactly the order that it claims, for general fields."""
    found = computed_order(method, method.order + 1)
    if found != method.order:
        seen = found if found <= method.order else f"at least {found}"
        raise UsageError(f"partitioned tableau {method.name!r} claims order {method.order}, but its order is {seen}.")
