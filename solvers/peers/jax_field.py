"""An equation's slopes and method steps in jax, for the peers that jax compiles. Needs jax where it is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import sympy

from ...suite.equation import lambdified
from ...suite.errors import UsageError
from ..field import EquationField
from ..layout import layout
from ..partitioned_tableau import PartitionedTableau
from ..schedule import schedule
from ..tableau import Tableau
from .problem import SequenceProblem

Step: TypeAlias = Callable[[Any, Any, Any], Any]
"""(y (batch, blocks * hidden), drive, weights) -> y after one step of the method."""


class JaxField:
    """The slopes of a `CellField` for traced arrays, with its constants and the memory layout of its weights."""

    def __init__(self, problem: SequenceProblem) -> None:
        from jax import numpy as jnp

        self._jnp = jnp
        self.equation: EquationField = problem.equation
        self.hidden, self.blocks = problem.field.hidden_size, self.equation.blocks
        self._values = dict(problem.field.constants)
        placed = layout(self.equation)
        self._groups = placed.groups
        self._driven = [m.symbol for m in placed.driven]
        self._pointwise = [*self.equation.state, *self._driven, *(m.symbol for m in placed.vectors)]
        self._mixes = self.equation.mixes
        self._rhs = [self._printed([e], [m.symbol for m in self._mixes]) for e in self.equation.rhs]
        self._inside = [self._printed([m.of], []) for m in self._mixes]
        self._seen = lambdified(self.equation.state, [self._bound(e) for e in self.equation.seen], "jax")

    def _bound(self, expression: Any) -> Any:
        return sympy.sympify(expression).xreplace(self._values)

    def _printed(self, expressions: Sequence[sympy.Expr], more: list[sympy.Symbol]) -> Callable[..., Any]:
        return lambdified([*self._pointwise, *more], [self._bound(e) for e in expressions], "jax")

    def split(self, y: Any) -> list[Any]:
        return list(self._jnp.split(y, self.blocks, axis=-1))

    def features(self, y: Any) -> Any:
        """What the readout sees of states (..., blocks * hidden)."""
        blocks = self.split(y)
        values = self._seen(*blocks)
        return self._jnp.concatenate([self._jnp.broadcast_to(v, blocks[0].shape) for v in values], axis=-1)

    def slope(self, k: int, blocks: Sequence[Any], drive: Any, weights: Sequence[Any]) -> Any:
        """Of block k, (batch, hidden). What several slopes compute alike is computed once by the compiler."""
        jnp, n, mixes = self._jnp, self.hidden, len(self._mixes)
        whole, mixing, vectors = weights[0], weights[1 : 1 + mixes], weights[1 + mixes :]
        a = list(jnp.split(drive, len(self._driven), axis=-1)) if self._driven else []
        for group in self._groups:
            columns = slice(group.first * n, group.last * n)
            y = jnp.concatenate([blocks[j] for j in group.blocks], axis=-1)
            W = jnp.concatenate([whole[j * n : (j + 1) * n, columns] for j in group.blocks])
            product = y @ W + drive[..., columns]
            a[group.first : group.last] = jnp.split(product, group.last - group.first, axis=-1)
        mixed = [inside(*blocks, *a, *vectors)[0] @ matrix for inside, matrix in zip(self._inside, mixing, strict=True)]
        value = self._rhs[k](*blocks, *a, *vectors, *mixed)[0]
        return jnp.broadcast_to(jnp.asarray(value, blocks[0].dtype), blocks[0].shape)

    def whole(self, y: Any, drive: Any, weights: Sequence[Any]) -> Any:
        """All slopes side by side, (batch, blocks * hidden)."""
        blocks = self.split(y)
        slopes = [self.slope(k, blocks, drive, weights) for k in range(self.blocks)]
        return self._jnp.concatenate(slopes, axis=-1)


def step_of(problem: SequenceProblem, field: JaxField) -> Step:
    """One step of the cell's method. Raises `UsageError` for a splitting, and where equations are to be solved."""
    method, h = problem.cell.tableau, problem.h
    if isinstance(method, Tableau) and method.explicit:
        A, b = method.arrays.A.tolist(), method.arrays.b.tolist()

        def explicit(y: Any, drive: Any, weights: Any) -> Any:
            k: list[Any] = []
            for row in A:
                k.append(field.whole(_sum(y, h, row, k), drive, weights))
            return _sum(y, h, b, k)

        return explicit
    if isinstance(method, PartitionedTableau):
        plan = schedule(method, tuple(problem.field.dependencies))
        if plan.explicit:
            calls = [(stage, k) for group in plan.groups for stage, _, wanted in group.calls for k in wanted]
            rows, weighted = method.arrays.A.tolist(), method.arrays.b.tolist()

            def partitioned(y: Any, drive: Any, weights: Any) -> Any:
                blocks = field.split(y)
                found: dict[tuple[int, int], Any] = {}
                for stage, k in calls:
                    at = [_known(blocks[q], h, rows[q][stage], found, q) for q in range(field.blocks)]
                    found[stage, k] = field.slope(k, at, drive, weights)
                ends = [_known(blocks[q], h, weighted[q], found, q) for q in range(field.blocks)]
                return field._jnp.concatenate(ends, axis=-1)

            return partitioned
    raise UsageError(f"method {method.name!r} is not written in jax: expected an explicit one.")


def _sum(y: Any, h: float, row: Sequence[float], slopes: Sequence[Any]) -> Any:
    for coefficient, slope in zip(row, slopes, strict=False):
        if coefficient:
            y = y + (h * coefficient) * slope
    return y


def _known(y: Any, h: float, row: Sequence[float], found: dict[tuple[int, int], Any], block: int) -> Any:
    """The stage value from the slopes that are there; one that nothing reads may lack some."""
    return _sum(y, h, row, [found.get((stage, block), 0.0) for stage in range(len(row))])
