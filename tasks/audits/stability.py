"""Stability of a recurrence before and after training: spectrum, growth of products of Jacobians, certificate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...suite.contracts import Array, Audit, Budget, Outcome, RecurrentMap, Solver
from ...suite.errors import Diverged, UsageError
from ...suite.seeds import stream
from ..adding import Adding

SAMPLES = 8
"""States of each sequence whose Jacobian's eigenvalues are looked at, evenly spaced in time."""

SEQUENCES = 2
INSIDE = 1 + 1e-9
"""|R| up to this counts as in the region: eigenvalues on the boundary are known to rounding only."""


@dataclass(frozen=True)
class Stability(Audit):
    """Trains the cell on the adding problem and looks at its linearisation along test sequences, before and after.

    inside: share of h lambda, lambda the eigenvalues of df/dy, with |R(h lambda)| <= 1 (paper's form of the condition);
    without a stability function the eigenvalues of the step itself count. conditioning: median 2-norm condition number
    of the eigenvectors, which bounds what the eigenvalues leave out. predicted_growth: mean over the steps of log max
    |R(h lambda)|; measured_growth: log ||J_T ... J_1||_2 / T of the step's Jacobians over the whole sequence, median
    over sequences: the rate at which gradients really grow (or, below zero, vanish). certified_step, spectral_step: the
    largest h that the certificate promises, and that the sampled eigenvalues allow. All in float64, whatever the dtype
    of the training. length: of the adding problem. Raises `UsageError` for a solver that does not learn.
    """

    length: int = 20

    name: ClassVar[str] = "stability"
    primary_metric: ClassVar[str] = "mean_squared_error"

    def __post_init__(self) -> None:
        Adding(self.length)

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """Metrics of the training, and each of the above with _before and _after (none after a divergence)."""
        if not solver.learns:
            raise UsageError("stability asks for a cell that learns, got cell 'true-field'.")
        task = Adding(self.length)
        inputs = task.batch(SEQUENCES, stream(seed, f"{self.name}/sequences")).inputs
        before = solver.recurrence(task.inputs, seed)
        learned = solver.learn(task, seed, budget)
        trained = task.account(learned, seed)
        metrics = {**trained.metrics, **examine(before, inputs, "before")}
        if learned.cell is not None:
            metrics |= examine(learned.cell, inputs, "after")
        promise = (learned.cell or before).certificate()
        return Outcome(
            metrics=metrics,
            curves=trained.curves,
            cost=trained.cost,
            properties={
                **trained.properties,
                "primary_metric": self.primary_metric,
                **{f"certificate_{key}": promise[key] for key in ("kind", "norm", "reason")},
            },
            status=trained.status,
            reason=trained.reason,
        )


def examine(cell: RecurrentMap, inputs: Array, when: str) -> dict[str, float]:
    """The measures of one cell on inputs (time, batch, channel), with `when` at the end of their names."""
    try:
        states = cell.run(inputs, cell.start(inputs.shape[1]))
    except Diverged:
        return {f"certified_step_{when}": float(cell.certificate()["step"])}
    chosen = sorted({(2 * k + 1) * len(inputs) // (2 * SAMPLES) for k in range(SAMPLES)})
    state, u = np.concatenate([states[i] for i in chosen]), np.concatenate([inputs[i] for i in chosen])
    found = {
        **_spectral(cell, state, u),
        "measured_growth": measured_growth(cell, inputs, states),
        "certified_step": float(cell.certificate()["step"]),
    }
    limit = cell.spectral_step(state, u)
    if limit is not None:
        found["spectral_step"] = limit
    return {f"{name}_{when}": value for name, value in found.items()}


def _spectral(cell: RecurrentMap, state: Array, u: Array) -> dict[str, float]:
    facts = cell.facts
    if "stability_polynomial" in facts:
        values, vectors = np.linalg.eig(cell.field_jacobian(state, u))
        z = values * cell.step / int(facts["substeps"])
        polynomial, below = facts["stability_polynomial"], facts.get("stability_denominator", [1.0])
        with np.errstate(all="ignore"):
            R = np.abs(np.polynomial.polynomial.polyval(z, polynomial) / np.polynomial.polynomial.polyval(z, below))
        R = R ** int(facts["substeps"])
    else:
        values, vectors = np.linalg.eig(cell.jacobian(state, u))
        R = np.abs(values)
    largest = np.nanmax(R, axis=-1)
    return {
        "inside": float(np.mean(R <= INSIDE)),
        "conditioning": float(np.median(np.linalg.cond(vectors))),
        "predicted_growth": float(np.mean(np.log(np.maximum(largest, 1e-300)))),
    }


def measured_growth(cell: RecurrentMap, inputs: Array, states: Array) -> float:
    """log of the 2-norm of the product of the step's Jacobians along the sequence, a step; median over the batch."""
    time, batch = inputs.shape[:2]
    D = cell.blocks * cell.hidden
    product, scale = np.broadcast_to(np.eye(D), (batch, D, D)), np.zeros(batch)
    for i in range(time):
        product = cell.jacobian(states[i], inputs[i]) @ product
        size = np.maximum(np.linalg.norm(product, axis=(1, 2)), 1e-300)  # kept near one: no overflow on the way
        product, scale = product / size[:, None, None], scale + np.log(size)
    norms = np.log(np.maximum(np.linalg.norm(product, 2, axis=(1, 2)), 1e-300)) + scale
    found = float(np.median(norms)) / time
    return found if math.isfinite(found) else math.nan


TASK = Stability
