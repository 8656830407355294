"""Train tableau x evaluate tableau: oracles are the exact field, the order of the trainer, and the inverse crime."""

from __future__ import annotations

import numpy as np
import pytest

from odernn.solvers.solver import build_solver
from odernn.suite.contracts import Budget, Outcome
from odernn.suite.errors import UsageError
from odernn.tasks.chaos.transfer import Transfer

SMALL = {"horizon": 4.0, "initial_conditions": 4, "trajectories": 4, "samples": 400, "methods": ("euler", "rk4")}


def evaluate(task: Transfer, **entries: object) -> Outcome:
    solver = build_solver({"backend": "native", **entries}, "cpu", "float64", task)
    return task.evaluate(solver, 0, Budget())


def test_the_true_field_has_no_field_error_and_its_refinement_has_the_order_of_its_tableau() -> None:
    found = evaluate(Transfer(**SMALL), cell="true-field", tableau="rk4", steps=1)
    assert found.metrics["field_error"] < 1e-12
    errors, steps = found.curves["refinement"]["error"], found.curves["refinement"]["step"]
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(4.0, abs=0.1)
    assert found.properties["learned_a"] == "flow"
    assert found.metrics["valid_prediction_time_limit"] == pytest.approx(4.0, abs=0.02)
    assert found.curves["transfer"]["tableau"] == ["euler", "rk4"]
    assert found.metrics["valid_prediction_time"] == found.curves["transfer"]["valid_prediction_time"][1]


def test_the_bias_of_a_field_learned_through_euler_is_its_modified_equation_of_order_one() -> None:
    errors = []
    for substeps in (1, 2, 4):
        found = evaluate(Transfer(**SMALL), cell="polynomial-field", tableau="euler", degree=4, substeps=substeps)
        errors.append(found.metrics["field_error"])
        if substeps == 1:
            assert found.properties["learned_a"] == "map"
            assert found.metrics["valid_prediction_time"] > 3 * found.metrics["valid_prediction_time_limit"]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.25)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(1.0, abs=0.25)


def test_data_made_by_the_trainer_give_the_field_away_and_are_flagged() -> None:
    crime = evaluate(Transfer(**SMALL, generator="rk4"), cell="polynomial-field", tableau="rk4", degree=2)
    assert crime.properties["generator_equals_trainer"] is True
    assert crime.metrics["field_error"] < 1e-8
    other = evaluate(Transfer(**SMALL, generator="euler"), cell="polynomial-field", tableau="rk4", degree=2)
    assert other.properties["generator_equals_trainer"] is False
    assert other.metrics["field_error"] > 1e-2


def test_the_first_term_of_the_bias_is_that_of_the_inverse_modified_equation() -> None:
    """For Euler: f_h = f + (h/2) f' f + O(h^2) (Zhu et al. 2022, section 3), compared at points of the attractor."""
    task = Transfer(**SMALL)
    solver = build_solver(
        {"cell": "polynomial-field", "tableau": "euler", "backend": "native", "degree": 5, "substeps": 4},
        "cpu",
        "float64",
        task,
    )
    flow = solver.learn(task, 0, Budget()).flow
    assert flow is not None
    view, h = task.view, task.sampling / 4
    y = view.windows(1, 4, 1, 100)[1].reshape(-1, 3)
    f, jacobian, sigma = (
        view.chaotic.equation.function(),
        view.chaotic.equation.jacobian(),
        np.array(view.chaotic.sigma),
    )
    slope = f(0.0, y)
    first = h / 2 * np.einsum("nij,nj->ni", jacobian(0.0, y), slope)
    bias = flow.slope(view.standard(y)) * sigma - slope
    assert np.sqrt(np.mean((bias - first) ** 2) / np.mean(first**2)) < 0.15


@pytest.mark.parametrize(
    ("task", "word"),
    [
        (lambda: Transfer(system="mackey-glass"), "whole state"),
        (lambda: Transfer(substeps=(0,)), "substeps"),
        (lambda: Transfer(methods=()), "methods"),
        (lambda: Transfer(generator="gauss2"), "no explicit tableau"),
        (lambda: Transfer(generator="strang"), "no explicit tableau"),
        (lambda: Transfer(generator="rk5"), "rk4"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(task: object, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        task()  # type: ignore[operator]


@pytest.mark.parametrize("entries", [{"cell": "persistence"}, {"cell": "lstm", "hidden": 4}])
def test_a_solver_that_learns_no_field_is_refused(entries: dict[str, object]) -> None:
    task = Transfer(**SMALL)
    solver = build_solver(entries, "cpu", "float64", task)
    with pytest.raises(UsageError, match="polynomial-field"):
        task.evaluate(solver, 0, Budget(updates=1))
