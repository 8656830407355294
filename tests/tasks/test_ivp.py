"""The task of classic initial value problems, with SciPy as the solver under test."""

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from odernn.suite.contracts import Array, Budget, Learned, LearningTask, Trajectory
from odernn.suite.equation import Equation
from odernn.suite.errors import Diverged, UsageError
from odernn.tasks.ivp import TASK, Ivp
from odernn.tasks.problems import PROBLEMS


class SciPy:
    """DOP853 behind the hub's solver contract; remembers what it was asked."""

    def __init__(self, rtol: float = 1e-10, learns: bool = False) -> None:
        self.rtol, self.learns = rtol, learns
        self.asked: list[Array] = []

    def properties(self) -> dict[str, Any]:
        return {"order": 8}

    def learn(self, task: LearningTask, seed: int, budget: Budget) -> Learned:
        raise UsageError("does not learn")

    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        self.asked.append(t)
        out = solve_ivp(equation.function(), (t[0], t[-1]), y0, "DOP853", t, rtol=self.rtol, atol=1e-14)
        return Trajectory(out.t, out.y.T, f_calls=out.nfev, accepted=7, rejected=2)


class Shifted(SciPy):
    """Answers with the reference plus a known error in one component."""

    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        y = np.array(PROBLEMS[equation.name].reference)
        y[0] += 0.5
        return Trajectory(t, np.stack([y0, y]), f_calls=1, accepted=1)


class Lost(SciPy):
    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        raise Diverged("not finite at t = 1")


def test_the_plug_in_name() -> None:
    assert TASK is Ivp
    assert (Ivp.name, Ivp.primary_metric, Ivp().problem) == ("ivp", "error", "lotka-volterra")


@pytest.mark.parametrize("name", ["lotka-volterra", "brusselator", "kepler", "rigid-body", "van-der-pol", "driven"])
def test_a_good_solver_has_a_small_error(name: str) -> None:
    outcome = Ivp(name).evaluate(SciPy(), 0, Budget())
    assert outcome.status == "ok"
    assert set(outcome.metrics) == {"error"}
    assert 0 < outcome.metrics["error"] < 1e-7
    assert outcome.properties["primary_metric"] == "error"


def test_cost_is_the_trajectorys() -> None:
    outcome = Ivp("kepler").evaluate(SciPy(), 0, Budget())
    assert outcome.cost["accepted"] == 7
    assert outcome.cost["rejected"] == 2
    assert outcome.cost["f_calls"] > 100


def test_a_better_solver_has_a_smaller_error_and_costs_more() -> None:
    loose, tight = (Ivp("brusselator").evaluate(SciPy(rtol), 0, Budget()) for rtol in (1e-4, 1e-10))
    assert tight.metrics["error"] < 1e-3 * loose.metrics["error"]
    assert tight.cost["f_calls"] > loose.cost["f_calls"]


def test_error_is_relative_to_the_largest_component() -> None:
    error = Ivp("lorenz").evaluate(Shifted(), 0, Budget()).metrics["error"]
    assert error == pytest.approx(0.5 / 24.571964902009608, rel=1e-14)


def test_the_solver_is_asked_for_the_two_ends_only() -> None:
    solver = SciPy()
    Ivp("driven").evaluate(solver, 0, Budget())
    np.testing.assert_array_equal(solver.asked, [[0.0, 2.0]])


def test_an_unknown_problem_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown problem 'lotka-voltera': did you mean 'lotka-volterra'"):
        Ivp("lotka-voltera")


def test_a_learning_solver_is_refused() -> None:
    with pytest.raises(UsageError, match="ivp asks for a true-field solver"):
        Ivp().evaluate(SciPy(learns=True), 0, Budget())


def test_divergence_is_passed_on() -> None:
    with pytest.raises(Diverged, match="t = 1"):
        Ivp().evaluate(Lost(), 0, Budget())
