"""Does the norm of the state stay what it is, over thousands of steps?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...suite.contracts import Audit, Budget, Outcome, Solver
from ...suite.errors import UsageError
from ...suite.seeds import stream

LONGEST = 1_000_000
MARKS = 20
"""Points of the curve, evenly spaced in time."""


@dataclass(frozen=True)
class Norm(Audit):
    """| ||y_i|| / ||y_0|| - 1 | of an untrained cell along random inputs.

    It is rounding for a method that conserves the norm, and drifts otherwise. For unitary cells (QUNN, Schroedinger
    RNN); any cell can be asked. steps: length of the sequence; inputs: channels. In float64. Raises `UsageError` for a
    start of norm zero.
    """

    steps: int = 10_000
    inputs: int = 2

    name: ClassVar[str] = "norm"
    primary_metric: ClassVar[str] = "norm_drift"

    def __post_init__(self) -> None:
        for what, value, most in (("steps", self.steps, LONGEST), ("inputs", self.inputs, 1000)):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise UsageError(f"{what} is {value!r}: expected a whole number from 1 to {most}.")

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: norm_drift, the largest along the sequence; curves: drift {step, drift}."""
        cell = solver.recurrence(self.inputs, seed)
        start = cell.start(1)
        size = float(np.linalg.norm(start))
        if size == 0:
            raise UsageError("the cell starts at zero, so its norm has nothing to keep: expected one such as 'qunn'.")
        u = stream(seed, f"{self.name}/inputs").normal(size=(self.steps, 1, self.inputs))
        norms = np.linalg.norm(cell.run(u, start).reshape(self.steps + 1, -1), axis=1)
        drift = np.abs(norms / size - 1)
        at = np.unique(np.linspace(1, self.steps, min(MARKS, self.steps)).astype(int))
        return Outcome(
            metrics={"norm_drift": float(drift.max())},
            curves={"drift": {"step": at.tolist(), "drift": [float(d) for d in drift[at]]}},
            properties={"primary_metric": self.primary_metric},
        )


TASK = Norm
