"""The audit of the norm against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from odernn.solvers.solver import build_solver
from odernn.suite.catalogue import build_task
from odernn.suite.contracts import Budget, Outcome
from odernn.suite.errors import UsageError
from odernn.tasks.audits.norm import Norm


def drift(steps: int = 300, **entries: Any) -> Outcome:
    task = Norm(steps=steps)
    given = {"cell": "schroedinger", "backend": "native", "step": 0.2, "hidden": 3, **entries}
    return task.evaluate(build_solver(given, "cpu", "float64", task), 0, Budget())


@pytest.mark.parametrize("tableau", ["lie", "lie-cayley", "implicit-midpoint", "gauss2"])
def test_unitary_methods_keep_the_norm(tableau: str) -> None:
    assert drift(tableau=tableau).metrics["norm_drift"] < 1e-12


@pytest.mark.parametrize("tableau", ["strang", "implicit-midpoint"])
def test_qunn_keeps_it(tableau: str) -> None:
    assert drift(cell="qunn", tableau=tableau, steps=100).metrics["norm_drift"] < 1e-12


def test_euler_gains_what_its_stability_function_says() -> None:
    """|1 + i h w| > 1 for every frequency w: the norm grows with every step, and the curve with it."""
    found = drift(tableau="euler", steps=50)
    curve = found.curves["drift"]["drift"]
    assert np.all(np.diff(curve) > 0)
    assert found.metrics["norm_drift"] == pytest.approx(curve[-1])


def test_a_start_at_zero_has_no_norm_to_keep() -> None:
    with pytest.raises(UsageError, match="starts at zero"):
        drift(cell="leaky", tableau="euler")


@pytest.mark.parametrize("entries", [{"steps": 0}, {"steps": True}, {"steps": 10**9}, {"inputs": 0}])
def test_what_it_refuses(entries: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected a whole number"):
        build_task({"name": "norm", **entries})
