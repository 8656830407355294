"""Train tableau x evaluate tableau: oracles are the exact field, the order of the trainer, and the inverse crime."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from odernn.solvers.solver import build_solver
from odernn.suite.contracts import Array, Budget, Outcome, Trajectory
from odernn.suite.errors import Diverged, UsageError
from odernn.tasks.chaos.transfer import Transfer, _growth, _same

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


def test_the_true_field_is_no_crime_and_another_name_of_the_method_is() -> None:
    true = evaluate(Transfer(**SMALL, generator="rk4"), cell="true-field", tableau="rk4", steps=1)
    assert true.properties["generator_equals_trainer"] is False
    finer = evaluate(Transfer(**SMALL, generator="rk4"), cell="polynomial-field", tableau="rk4", substeps=2)
    assert finer.properties["generator_equals_trainer"] is False
    assert _same("heun2", "heun2")
    assert not _same("heun2", "gauss2")
    assert not _same("", "euler")


def test_sequences_are_of_the_data_that_the_generator_made() -> None:
    task = Transfer(**SMALL, generator="euler")
    inputs = task.batch(5, np.random.default_rng(0)).inputs
    assert np.isin(inputs, task.series()).all()
    assert not np.isin(inputs[1:], Transfer(**SMALL).series()).any()


@dataclass(frozen=True)
class Wild:
    """dz/dt = 0 near the attractor; one that starts beyond is lost at once, and takes its batch along."""

    def slope(self, y: Array) -> Array:
        return np.zeros_like(y)

    def rollout(
        self, y0: Array, t: Array, tableau: str, substeps: int = 1, dtype: str = "float64", backend: str = "native"
    ) -> Trajectory:
        if (y0[:, 0] > 1.0).any():
            raise Diverged("the solution is not finite")
        return Trajectory(t, np.stack([y0, y0]), 7, 1)


def test_one_lost_rollout_does_not_take_the_others_along() -> None:
    task = Transfer(**SMALL)
    truth = np.zeros((4, 5, 3))
    truth[:, 3, 0] = 2.0
    found, calls = task._rollout(Wild(), truth, "rk4", 1)
    assert np.isnan(found[1:, 3]).all()
    assert (np.delete(found, 3, axis=1) == 0.0).all()
    assert calls == 3 * 7
    assert math.isinf(task._one_sample(Wild(), truth, "rk4", 1))


@pytest.mark.parametrize(
    ("first", "last", "growth"),
    [(1.0, 3.0, 3.0), (0.0, 0.0, 1.0), (0.0, 1.0, math.inf), (math.inf, 1.0, math.inf), (1.0, math.inf, math.inf)],
)
def test_an_error_that_is_lost_or_grows_from_nothing_is_of_no_flow(first: float, last: float, growth: float) -> None:
    assert _growth(first, last) == growth


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
        (lambda: Transfer(generator="rk4", noise=0.1), "noise 0"),
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
