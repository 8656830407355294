"""The audits of stability, stages and certificates: closed forms on cells whose Jacobian is known by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from odernn.solvers.solver import build_solver
from odernn.suite.catalogue import build_task
from odernn.suite.contracts import Budget, Outcome, Solver, Task
from odernn.suite.errors import UsageError
from odernn.tasks.audits.certificate import Certificate
from odernn.tasks.audits.stability import Stability, examine, measured_growth
from odernn.tasks.audits.stages import Stages

BUDGET = Budget(updates=3, batch=4, evaluations=1)


class Linear:
    """y+ = M y + u 1, the exact map of a field J with h = 1 under a method with R(z) = 1 + z (Euler)."""

    blocks, inputs, step = 1, 1, 1.0

    def __init__(self, J: np.ndarray) -> None:
        self.J, self.M, self.hidden = J, np.eye(len(J)) + J, len(J)
        self.facts: dict[str, Any] = {"stability_polynomial": [1.0, 1.0], "substeps": 1}

    def start(self, batch: int) -> np.ndarray:
        return np.zeros((batch, 1, self.hidden))

    def run(self, inputs: np.ndarray, state: np.ndarray) -> np.ndarray:
        states = [state]
        for u in inputs:
            states.append(states[-1] @ self.M.T + u[:, :1, None])
        return np.stack(states)

    def jacobian(self, state: np.ndarray, u: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.M, (len(state), *self.M.shape))

    def field_jacobian(self, state: np.ndarray, u: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.J, (len(state), *self.J.shape))

    def certificate(self, norm: str | None = None) -> dict[str, Any]:
        return {"kind": "none", "norm": None, "step": 0.0, "reason": "made by hand"}

    def spectral_step(self, state: np.ndarray, u: np.ndarray) -> float:
        return 2.0


def test_a_non_normal_matrix_grows_although_its_spectrum_lies_inside() -> None:
    """J = [[-1, 10], [0, -1]]: under Euler with h = 1, M is nilpotent of norm 10 for one step, zero for two."""
    cell: Any = Linear(np.array([[-0.5, 10.0], [0.0, -0.5]]))
    found = examine(cell, np.zeros((2, 1, 1)), "before")
    assert found["inside_before"] == 1.0
    assert found["predicted_growth_before"] == pytest.approx(math.log(0.5))
    # M = [[1/2, 10], [0, 1/2]], M^2 = [[1/4, 10], [0, 1/4]]
    exact = np.linalg.norm(np.array([[0.25, 10.0], [0.0, 0.25]]), 2)
    assert found["measured_growth_before"] == pytest.approx(math.log(exact) / 2)
    assert found["conditioning_before"] > 1e6


def test_a_long_product_does_not_overflow() -> None:
    cell: Any = Linear(np.diag([99.0, -1.0]))
    inputs = np.zeros((500, 2, 1))
    states = np.zeros((501, 2, 1, 2))
    assert measured_growth(cell, inputs, states) == pytest.approx(math.log(100.0))


def test_a_rotation_under_euler_leaves_the_region() -> None:
    cell: Any = Linear(np.array([[0.0, 1.0], [-1.0, 0.0]]))
    found = examine(cell, np.zeros((6, 1, 1)), "after")
    assert found["inside_after"] == 0.0
    assert found["predicted_growth_after"] == pytest.approx(0.5 * math.log(2))
    assert found["measured_growth_after"] == pytest.approx(0.5 * math.log(2))
    assert found["conditioning_after"] == pytest.approx(1.0)


def evaluate(task: Task, dtype: str = "float32", **entries: Any) -> Outcome:
    return task.evaluate(solver(task, dtype, **entries), 0, BUDGET)


def solver(task: Task, dtype: str = "float32", **entries: Any) -> Solver:
    given = {"cell": "leaky", "tableau": "euler", "backend": "native", "step": 0.5, "hidden": 5, **entries}
    return build_solver(given, "cpu", dtype, task)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_a_training_is_examined_before_and_after(dtype: str) -> None:
    found = evaluate(Stability(length=6), dtype)
    assert found.status == "ok"
    assert found.properties["certificate_kind"] in ("circle", "none")
    for name in ("inside", "conditioning", "predicted_growth", "measured_growth", "certified_step", "spectral_step"):
        assert math.isfinite(found.metrics[f"{name}_before"])
        assert math.isfinite(found.metrics[f"{name}_after"])
    assert found.metrics["baseline_mean_squared_error"] == pytest.approx(1 / 6)


def test_before_does_not_depend_on_the_dtype_of_the_training() -> None:
    first, second = (evaluate(Stability(length=6), dtype).metrics for dtype in ("float64", "bfloat16"))
    names = [name for name in first if name.endswith("_before") and name != "gradient_ratio_before"]
    assert {name: first[name] for name in names} == {name: second[name] for name in names}


def test_a_certified_step_does_not_grow() -> None:
    """What the certificate promises, read off the product of Jacobians of the trained cell."""
    found = evaluate(Stability(length=30), cell="leaky-certified", step=1.0, gamma=1.0)
    assert found.metrics["certified_step_after"] >= 1.0 - 1e-6
    assert found.metrics["measured_growth_after"] <= 1e-9


def test_a_diverged_training_keeps_what_was_seen_before() -> None:
    found = evaluate(Stability(length=20), cell="leaky", step=40.0)
    assert found.status == "diverged"
    assert found.reason
    assert "inside_before" in found.metrics
    assert "inside_after" not in found.metrics


def test_stability_asks_for_a_cell() -> None:
    with pytest.raises(UsageError, match="examines a recurrent cell"):
        build_solver({"cell": "true-field", "tableau": "rk4", "backend": "native"}, "cpu", "float64", Stability())


def test_stages_of_a_cell_and_of_a_tableau() -> None:
    cell = evaluate(Stages(), cell="cornn", tableau="rk4", step=0.1, gamma=1.0, epsilon=1.0)
    assert (cell.metrics["nesting_depth"], cell.metrics["memory_order"]) == (4.0, 2.0)
    assert cell.properties["ode_order"] == 2
    method = build_solver({"cell": "true-field", "tableau": "gauss2", "backend": "native"}, "cpu", "float64", Stages())
    found = Stages().evaluate(method, 0, BUDGET)
    assert found.metrics == {"nesting_depth": math.inf}
    assert found.properties["solved_stages"]


def test_stages_of_a_baseline_are_refused() -> None:
    task = Stages()
    with pytest.raises(UsageError, match="library baseline"):
        task.evaluate(build_solver({"cell": "lstm"}, "cpu", "float32", task), 0, BUDGET)


@pytest.mark.parametrize(("norm", "inflate"), [("2", 1.0), ("max", 1.0), ("2", 1.05), ("max", 1.05)])
def test_the_hunt_finds_what_is_broken_and_nothing_else(norm: str, inflate: float) -> None:
    found = evaluate(Certificate(cases=150, norm=norm, inflate=inflate), "float64")
    assert found.status == "ok"
    assert found.metrics["cases"] > 20
    assert (found.metrics["violations"] > 0) == (inflate > 1)
    assert found.properties["sound"] is (inflate == 1.0)
    assert ("absolute monotonicity" in found.properties["certificate_reason"]) == (norm == "max")


def test_nothing_certified_is_skipped_with_its_reason() -> None:
    found = evaluate(Certificate(cases=20, norm="2"), "float64", cell="antisymmetric")
    assert found.status == "skipped"
    assert "no certificate in the 2-norm" in found.reason


def test_a_broken_promise_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Certificate(cases=10)
    one = solver(task, "float64")
    row = {"cases": 10, "violations": 2, "worst_growth": 1.2, "tightness": None, "kind": "circle", "reason": "-"}
    monkeypatch.setattr(type(one), "hunt", lambda *_: row)
    found = task.evaluate(one, 0, BUDGET)
    assert found.status == "failed"
    assert found.reason.startswith("2 of 10 cases grow")


@pytest.mark.parametrize(
    "entries", [{"norm": "1"}, {"cases": 0}, {"cases": True}, {"cases": 10**9}, {"inflate": 0.0}, {"inflate": math.nan}]
)
def test_what_the_hunt_refuses(entries: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        build_task({"name": "certificate", **entries})


def test_a_baseline_has_no_certificate_to_hunt() -> None:
    task = Certificate(cases=10)
    with pytest.raises(UsageError, match="cell 'gru' is a library baseline"):
        task.evaluate(build_solver({"cell": "gru", "hidden": 2}, "cpu", "float64", task), 0, BUDGET)
