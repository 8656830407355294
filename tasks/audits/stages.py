"""n and t, measured: nested nonlinearity of one step, and the lags of the observed block that determine the next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from ...suite.contracts import Audit, Budget, Outcome, Solver
from .memory_order import memory_order


@dataclass(frozen=True)
class Stages(Audit):
    """Nesting depth of a tableau (cell "true-field"), or nesting depth and memory order of a cell with its method.

    The nesting depth is found from a polynomial degree in exact arithmetic, the memory order from the rank of an
    observability matrix (`memory_order`); neither is read off the description. The report compares n with the
    stages that reach the result; a t that is not the field's order as an ODE fails the row.
    """

    inputs: int = 2

    name: ClassVar[str] = "stages"
    primary_metric: ClassVar[str] = "nesting_depth"

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: nesting_depth (infinite where stages are solved for), memory_order of a cell; curves: degrees."""
        nesting = solver.nesting(seed)
        metrics, facts, reason = {"nesting_depth": nesting.depth}, dict[str, Any](), ""
        if solver.learns:
            cell = solver.recurrence(self.inputs, seed)
            metrics["memory_order"] = float(memory_order(cell, seed))
            facts = {key: cell.facts[key] for key in ("ode_order", "observed")}
            if metrics["memory_order"] != facts["ode_order"]:
                reason = f"its memory is of {metrics['memory_order']:g} lags, its ODE of order {facts['ode_order']}"
        swept = {"sweeps": list(nesting.sweeps), "depth": [float(depth) for depth in nesting.depths]}
        return Outcome(
            metrics=metrics,
            curves={"degrees": swept} if nesting.sweeps else {},
            properties={
                **facts,
                "primary_metric": self.primary_metric,
                "stages_reaching": nesting.reaching,
                "broken_links": list(nesting.broken),
                "solved_stages": math.isinf(nesting.depth),
            },
            status="failed" if reason else "ok",
            reason=reason,
        )


TASK = Stages
