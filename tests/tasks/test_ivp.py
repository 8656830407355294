"""The task of classic initial value problems, with SciPy as the solver under test."""

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from odernn.suite.contracts import Array, Budget, Learned, LearningTask, Trajectory, VectorField
from odernn.suite.errors import Diverged, UsageError
from odernn.tasks.collocation import collocation
from odernn.tasks.ivp import TASK, Ivp, reference_trajectory, relative_error, scaled_error, times
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

    def solve(self, equation: VectorField, y0: Array, t: Array) -> Trajectory:
        self.asked.append(t)
        out = solve_ivp(equation.function(), (t[0], t[-1]), y0, "DOP853", t, rtol=self.rtol, atol=1e-14)
        return Trajectory(out.t, out.y.T, f_calls=out.nfev, accepted=7, rejected=2)


class Shifted(SciPy):
    """Answers with the reference plus a known error in one component."""

    def solve(self, equation: VectorField, y0: Array, t: Array) -> Trajectory:
        y = np.array(PROBLEMS[equation.name].reference)
        y[0] += 0.5
        return Trajectory(t, np.stack([y0, y]), f_calls=1, accepted=1)


class Lost(SciPy):
    def solve(self, equation: VectorField, y0: Array, t: Array) -> Trajectory:
        f = equation.function()
        for _ in range(11):
            f(0.0, y0)
        raise Diverged("not finite at t = 1")


def test_the_plug_in_name() -> None:
    assert TASK is Ivp
    assert (Ivp.name, Ivp.primary_metric, Ivp().problem) == ("ivp", "error", "lotka-volterra")


@pytest.mark.parametrize("name", ["lotka-volterra", "brusselator", "kepler", "rigid-body", "van-der-pol", "driven"])
def test_a_good_solver_has_a_small_error(name: str) -> None:
    outcome = Ivp(name).evaluate(SciPy(), 0, Budget())
    assert outcome.status == "ok"
    assert set(outcome.metrics) == {"error", "error_scaled"}
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


def test_a_lost_solution_keeps_its_cost_and_reason() -> None:
    outcome = Ivp().evaluate(Lost(), 0, Budget())
    assert (outcome.status, outcome.reason) == ("diverged", "not finite at t = 1")
    assert dict(outcome.metrics) == {}
    assert outcome.cost["f_calls"] == 11
    assert outcome.cost["solve_seconds"] > 0
    assert outcome.properties["primary_metric"] == "error"


def test_a_solution_that_is_not_finite_is_lost() -> None:
    class Infinite(SciPy):
        def solve(self, equation: VectorField, y0: Array, t: Array) -> Trajectory:
            return Trajectory(t, np.full((len(t), 2), np.inf), f_calls=1, accepted=1)

    outcome = Ivp("lotka-volterra").evaluate(Infinite(), 0, Budget())
    assert (outcome.status, outcome.reason) == ("diverged", "the solution of lotka-volterra is not finite")


def test_scaled_error_is_each_components_own() -> None:
    """The second of Robertson's components is 8e-14 of the largest and counts; 1e-14 of it would not."""
    problem = PROBLEMS["robertson"]
    y = np.array(problem.reference)
    y[1] *= 1.25
    assert scaled_error(problem, y) == pytest.approx(0.25, rel=1e-12)
    assert relative_error(problem, y) < 1e-13
    problem = PROBLEMS["pollution"]
    y = np.array(problem.reference)
    y[15] *= 3.0  # 4e-18, beside 0.3
    assert scaled_error(problem, y) == 0.0
    y[2] *= 1.5  # 4e-9
    assert scaled_error(problem, y) == pytest.approx(0.5, rel=1e-12)


def test_the_solver_is_asked_for_the_compared_times() -> None:
    solver = SciPy()
    outcome = Ivp("driven", trajectory=4, repeats=3).evaluate(solver, 0, Budget())
    np.testing.assert_array_equal(solver.asked, [[0.0, 0.5, 1.0, 1.5, 2.0]] * 3)
    assert outcome.cost["repeats"] == 3
    assert outcome.cost["solve_seconds"] > 0
    assert {"error", "error_scaled", "trajectory_error", "reference_error"} == set(outcome.metrics)


def test_times_of_a_long_interval_grow_by_equal_factors() -> None:
    t = times(PROBLEMS["robertson"], 17)
    assert (t[0], t[-1]) == (0.0, 1e11)
    np.testing.assert_allclose(t[1:], 10.0 ** np.arange(-5, 12), rtol=1e-12)
    np.testing.assert_allclose(times(PROBLEMS["hires"], 2), [0, 321.8122 / 2, 321.8122])
    assert list(times(PROBLEMS["robertson"], 1)) == [0.0, 1e11]


def test_trajectory_error_is_the_largest_along_the_way() -> None:
    """A known error early on, of one component beside a larger one; otherwise the closed form."""

    class Bent(SciPy):
        def solve(self, equation: VectorField, y0: Array, t: Array) -> Trajectory:
            e, e3 = np.exp(-t), np.exp(-3 * t)
            y = np.stack([1 + e / 2 + e3 / 2, 1 - e3, 1 - e / 2 + e3 / 2], axis=-1)
            y[1, 2] += 1e-3
            return Trajectory(t, y, f_calls=1, accepted=1)

    metrics = Ivp("detest-b2", trajectory=10).evaluate(Bent(), 0, Budget()).metrics
    largest = 1 + np.exp(-2) / 2 + np.exp(-6) / 2
    assert metrics["trajectory_error"] == pytest.approx(1e-3 / largest, rel=1e-9)
    assert metrics["error"] < 1e-14
    assert metrics["reference_error"] < 1e-13


@pytest.mark.parametrize("name", ["hires", "robertson", pytest.param("pollution", marks=pytest.mark.slow)])
def test_stiff_reference_trajectories_against_collocation(name: str) -> None:
    """Halfway, where SciPy interpolates between its steps, against the method in many digits."""
    problem = PROBLEMS[name]
    grid = times(problem, 40)
    found = reference_trajectory(name, 40)
    truth = [float(v) for v in collocation(problem.equation, problem.y0, problem.t0, float(grid[12]), 8, 1e-11)]
    assert np.abs(found[12] - truth).max() < 2e-11 * np.abs(truth).max()
    assert relative_error(problem, found[-1]) < 2e-11


def test_nonstiff_reference_trajectories_against_closed_forms() -> None:
    t = times(PROBLEMS["detest-a3"], 30)
    np.testing.assert_allclose(reference_trajectory("detest-a3", 30)[:, 0], np.exp(np.sin(t)), rtol=2e-12)
    t = times(PROBLEMS["detest-a4"], 30)
    np.testing.assert_allclose(reference_trajectory("detest-a4", 30)[:, 0], 20 / (1 + 19 * np.exp(-t / 4)), rtol=2e-12)


@pytest.mark.parametrize(
    ("entry", "value"), [("trajectory", -1), ("repeats", 0), ("repeats", 1.5), ("trajectory", True)]
)
def test_wrong_numbers_are_refused(entry: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{entry} of ivp is {value}: expected a whole number of at least"):
        Ivp(**{entry: value})


def test_the_compiled_field_integrates() -> None:
    """A plain RK4 loop in NumPy with the numba form: Kepler's closed orbit to the reference, order 4."""
    problem = PROBLEMS["kepler"]
    f = problem.equation.function("numba")

    def end(n: int) -> Array:
        y, h = np.array(problem.y0), (problem.t1 - problem.t0) / n
        k = np.zeros((4, 4))
        for i in range(n):
            t = problem.t0 + i * h
            f(t, y, k[0])
            f(t + h / 2, y + h / 2 * k[0], k[1])
            f(t + h / 2, y + h / 2 * k[1], k[2])
            f(t + h, y + h * k[2], k[3])
            y = y + h / 6 * (k[0] + 2 * k[1] + 2 * k[2] + k[3])
        return y

    coarse, fine = (relative_error(problem, end(n)) for n in (2000, 4000))
    assert fine < 1e-6
    assert 12 < coarse / fine < 40
