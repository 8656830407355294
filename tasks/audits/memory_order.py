"""t, measured: how many lags of the observed block it takes to determine its next value."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from ...suite.contracts import Array, RecurrentMap
from ...suite.errors import Diverged
from ...suite.seeds import stream

Observed: TypeAlias = Literal["block", "unit"]
"""What is observed: "block" 0 of the state, or "unit" 0 of every block, which is the first site of a chain of sites."""

WARM = 4
"""Steps before the first linearisation, so that no block is at an exceptional start."""

STARTS = 3
"""Points of the trajectory from which lags are counted; the largest count stands."""

FORGOTTEN = 1e-6
"""A direction that one step shrinks below this, relative to the largest, counts as mapped to zero."""

ROUNDING, CLEAR = 30.0, 3e3
"""In units of the estimated rounding error: a singular value below the first is zero, one above the second is not."""


def memory_order(cell: RecurrentMap, seed: int, batch: int = 2, observed: Observed | None = None) -> int:
    """The smallest m for which (x_i, ..., x_(i-m+1)) determine x_(i+1), x being block 0 of the state, inputs known.

    observed: something else than block 0; None takes it from the cell's fact "observed", "block" where it has none.

    Measured on the linearised steps J_i along a random trajectory: perturbations of the state that leave m lags of x
    unchanged must leave the next x unchanged. In terms of the observability matrix with the rows C J_(m-1) ... J_0 that
    says its rank stops growing, rank O_(m+1) = rank O_m. It is found without those products, whose small singular
    values drown in rounding: the invisible perturbations are carried along as an orthonormal basis, cut by C z = 0 and
    moved by J at each step, and every cut is decided by the singular values of C on the basis, which lie in [0, 1].
    Directions that a step maps to zero, relatively, are dropped: what is forgotten determines nothing. The rounding
    error of the basis is estimated along the way (it grows by the condition of J on the basis).

    A lag is all of x (hidden numbers): m is the order of the recurrence as an equation for a vector, not for one unit.
    m is local (first order, near the trajectory) and generic (exceptional weights may show less); it is the largest
    over starts and sequences. Raises `Diverged` where every start has a singular value that is neither rounding
    nor clearly more, or the trajectory is not finite.
    """
    rng = stream(seed, "memory-order")
    D = cell.blocks * cell.hidden
    steps = WARM + STARTS + D + 1
    inputs = rng.normal(size=(steps, batch, cell.inputs))
    begin = cell.start(batch) + rng.normal(size=(batch, cell.blocks, cell.hidden))
    states = cell.run(inputs, begin)
    if not np.isfinite(states).all():
        raise Diverged("the trajectory on which the memory order is measured is not finite")
    chosen = observed or cell.facts.get("observed", "block")
    view = np.arange(cell.hidden) if chosen == "block" else np.arange(0, D, cell.hidden)
    jacobians: list[Array] = []

    def jacobian(first: int, one: int, i: int) -> Array:
        while len(jacobians) <= first + i:  # only as many as are needed: most cells have two blocks
            k = WARM + len(jacobians)
            jacobians.append(cell.jacobian(states[k], inputs[k]))
        found: Array = jacobians[first + i][one]
        return found

    orders: list[int] = []
    undecided: list[Diverged] = []
    for first in range(STARTS):
        for one in range(batch):
            try:
                orders.append(_lags(partial(jacobian, first, one), D, view))
            except Diverged as error:  # saturated units at this place, say
                undecided.append(error)
    if not orders:
        raise undecided[0]
    return max(orders)


def _lags(jacobian: Callable[[int], Array], D: int, view: Array) -> int:
    """Cuts that still show something, one a step; jacobian: of the i-th step, (D, D)."""
    basis, rounding, lags = np.eye(D), float(np.finfo(float).eps), 0
    while basis.shape[1]:
        seen, basis = _cut(basis, view, rounding)
        if not seen:
            break
        if basis.shape[1]:
            basis, growth = _range(jacobian(lags) @ basis)
            rounding = growth * (rounding + float(np.finfo(float).eps))
        lags += 1
    return lags


def _cut(basis: Array, view: Array, rounding: float) -> tuple[bool, Array]:
    """Whether x sees anything of the span of orthonormal columns, and a basis of what it does not see."""
    _, values, rows = np.linalg.svd(basis[view])
    doubtful = values[(values > ROUNDING * rounding) & (values <= CLEAR * rounding)]
    if len(doubtful):
        raise Diverged(
            f"no rank can be told from a singular value of {doubtful[0]:.1e} at a rounding of {rounding:.1e}"
        )
    rank = int((values > CLEAR * rounding).sum())
    return rank > 0, basis @ rows[rank:].T


def _range(columns: Array) -> tuple[Array, float]:
    """An orthonormal basis of the columns' span, and the condition of the columns on it."""
    left, values, _ = np.linalg.svd(columns, full_matrices=False)
    kept = values > FORGOTTEN * values[0]
    return left[:, kept], float(values[0] / values[kept][-1]) if kept.any() else 1.0
