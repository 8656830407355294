"""A learned field on the plane of error against work: the inverse crime, the matched method, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from odernn.solvers.solver import build_solver
from odernn.suite.catalogue import build_task
from odernn.suite.checks import check
from odernn.suite.contracts import Budget, Outcome
from odernn.suite.errors import UsageError
from odernn.tasks.learned_ivp import LearnedIvp

SMALL = {"trajectories": 4, "intervals": 200, "tableaux": ("euler", "rk4"), "substeps": (1, 2)}


def outcome(task: LearnedIvp, tableau: str, degree: int) -> Outcome:
    entry = {"cell": "polynomial-field", "tableau": tableau, "backend": "native", "degree": degree, "pairs": 400}
    return task.evaluate(build_solver(entry, "cpu", "float64", task), 0, Budget())


def test_the_data_follow_the_problem() -> None:
    """Lotka and Volterra's invariant x + y / 2 - ... is constant along every training series."""
    task = LearnedIvp(**SMALL)
    series, mean, sigma, _ = task._data
    y = series * sigma + mean
    assert y.shape == (201, 4, 2)
    # x' = 2 x (1 - y), y' = -y (1 - x) keep 2 log y - 2 y + log x - x
    kept = 2 * np.log(y[..., 1]) - 2 * y[..., 1] + np.log(y[..., 0]) - y[..., 0]
    np.testing.assert_allclose(kept, np.broadcast_to(kept[0], kept.shape), atol=1e-9)
    np.testing.assert_allclose(np.mean(np.diff(series, axis=0) ** 2, axis=(0, 1)), task.increment**2)
    assert task.sampling == pytest.approx(0.1)


def test_a_field_in_class_lies_on_the_plane_and_carries_the_error_of_its_trainer() -> None:
    found = outcome(LearnedIvp(**SMALL), "dormand-prince54", 2)
    assert found.status == "ok"
    assert found.metrics["error"] < 1e-3 < found.metrics["baseline_error"]
    assert found.metrics["trajectory_error"] < 1e-3
    assert (found.properties["learned"], found.properties["problem"]) == (True, "lotka-volterra")
    plane = found.curves["work_precision"]
    assert plane["tableau"] == ["euler", "euler", "rk4", "rk4"]
    assert plane["f_calls"] == [200, 400, 800, 1600]
    assert plane["error"][3] < plane["error"][2] < plane["error"][1]
    matched = outcome(LearnedIvp(**SMALL), "rk4", 4)
    own = matched.curves["work_precision"]["error"]
    assert matched.metrics["error"] == pytest.approx(own[2], rel=1e-6)
    assert own[2] < own[3] / 3  # refined, the field that RK4 taught is worse


def test_a_lost_solution_is_infinite_on_the_plane() -> None:
    task = LearnedIvp("henon-heiles", 4, 100, 0.05, ("euler", "rk4"), (1,))
    plane = outcome(task, "rk4", 2).curves["work_precision"]
    assert plane["error"][0] == math.inf
    assert plane["error"][1] < 10


def test_what_cannot_be_is_refused() -> None:
    for entry, said in (
        ({"problem": "lorentz"}, "unknown problem"),
        ({"trajectories": 0}, "trajectories of at least 1"),
        ({"intervals": 3}, "intervals of at least 20"),
        ({"spread": 0.0}, "spread above 0"),
        ({"substeps": [0]}, "at least one tableau"),
    ):
        with pytest.raises(UsageError, match=said):
            build_task({"name": "learned-ivp", **entry})
    task = LearnedIvp(**SMALL)
    for solver, said in (
        ({"cell": "nvar"}, "'nvar' learns none"),
        ({"cell": "true-field", "tableau": "rk4", "backend": "native"}, "see task 'ivp'"),
        ({"cell": "cornn", "tableau": "rk4", "backend": "native", "step": 0.1, "hidden": 2}, "learns a map"),
    ):
        with pytest.raises(UsageError, match=said):
            task.evaluate(build_solver(solver, "cpu", "float64", task), 0, Budget(updates=1, batch=2))


def test_it_conforms() -> None:
    assert [verdict for verdict in check("learned-ivp") if not verdict.ok] == []
