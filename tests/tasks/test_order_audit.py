"""The order audit on plain stage loops written here, right and deliberately wrong."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.integrate import RK45
from scipy.integrate._ivp import dop853_coefficients as dop853

from odernn.suite.contracts import Array, Budget, Learned, LearningTask, Trajectory
from odernn.suite.equation import Equation
from odernn.suite.errors import Diverged, UsageError
from odernn.tasks.audits.order import TASK, Order, observed_order


class Loop:
    """One explicit Runge-Kutta step per interval; c defaults to the row sums of A."""

    learns = False

    def __init__(self, A: Any, b: Any, c: Any = None, dtype: type = np.float64, noise: float = 0.0) -> None:
        self.A: Array = np.array(A, dtype)
        self.b: Array = np.array(b, dtype)
        self.c: Array = self.A.sum(axis=1) if c is None else np.array(c, dtype)
        self.dtype, self.noise = dtype, noise

    def properties(self) -> dict[str, Any]:
        return {}

    def learn(self, task: LearningTask, seed: int, budget: Budget) -> Learned:
        raise UsageError("does not learn")

    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        with np.errstate(all="ignore"):
            return self._solve(equation, y0, t)

    def _solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        f = equation.function()
        y: list[Array] = [y0.astype(self.dtype)]
        rng = np.random.default_rng(len(t))
        for now, h in zip(t[:-1], np.diff(t), strict=True):
            k: list[Array] = []
            for row, node in zip(self.A, self.c, strict=True):
                stage = y[-1] + self.dtype(h) * sum((a * slope for a, slope in zip(row, k, strict=False)), 0 * y[-1])
                k.append(f(self.dtype(now + node * h), stage))
            increment = sum((weight * slope for weight, slope in zip(self.b, k, strict=True)), 0 * y[-1])
            y.append((y[-1] + self.dtype(h) * increment).astype(self.dtype))
        y[-1] = y[-1] + self.noise * rng.standard_normal(y[-1].shape)
        steps = len(t) - 1
        return Trajectory(t, np.array(y, dtype=np.float64), f_calls=steps * len(self.b), accepted=steps)


EULER: tuple[Any, Any] = ([[0]], [1])
MIDPOINT: tuple[Any, Any] = ([[0, 0], [1 / 2, 0]], [0, 1])
HEUN3: tuple[Any, Any] = ([[0, 0, 0], [1 / 3, 0, 0], [0, 2 / 3, 0]], [1 / 4, 0, 3 / 4])
RK4: tuple[Any, Any] = ([[0, 0, 0, 0], [1 / 2, 0, 0, 0], [0, 1 / 2, 0, 0], [0, 0, 1, 0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6])
KUTTA38: tuple[Any, Any] = (
    [[0, 0, 0, 0], [1 / 3, 0, 0, 0], [-1 / 3, 1, 0, 0], [1, -1, 1, 0]],
    [1 / 8, 3 / 8, 3 / 8, 1 / 8],
)
DP5: tuple[Any, Any] = (np.pad(RK45.A, ((0, 0), (0, 1))), RK45.B)
DOP8: tuple[Any, Any] = (dop853.A[:12, :12], dop853.B)


def extrapolated_euler(order: int) -> tuple[Array, Array]:
    """Euler with 1..order substeps, extrapolated: a method of that order as one tableau (HNW II.9)."""
    stages = order * (order + 1) // 2
    A, b, first = np.zeros((stages, stages)), np.zeros(stages), 0
    for j in range(1, order + 1):
        for i in range(j):
            A[first + i, first : first + i] = 1 / j
        weight = np.prod([j / (j - i) for i in range(1, order + 1) if i != j])
        b[first : first + j] = weight / j
        first += j
    return A, b


def order_of(solver: Any, **options: Any) -> float:
    return Order(**options).evaluate(solver, 0, Budget()).metrics["observed_order"]


@pytest.mark.parametrize(
    ("tableau", "order"),
    [(EULER, 1), (MIDPOINT, 2), (HEUN3, 3), (RK4, 4), (KUTTA38, 4), (DP5, 5), (DOP8, 8)],
    ids=["euler", "midpoint", "heun3", "rk4", "3/8", "dormand-prince", "dop853"],
)
def test_the_order_of_known_methods(tableau: tuple[Any, Any], order: int) -> None:
    assert order_of(Loop(*tableau)) == pytest.approx(order, abs=0.12 if order > 4 else 0.03)


@pytest.mark.parametrize("order", range(1, 8))
def test_every_order_shows(order: int) -> None:
    """Beyond 7 the weights of extrapolated Euler amplify rounding too much; DOP853 above has order 8."""
    assert order_of(Loop(*extrapolated_euler(order))) == pytest.approx(order, abs=0.25)


WRONG = {
    "the 3/8 rule with the sign of a coefficient lost": (
        ([*KUTTA38[0][:2], [1 / 3, 1, 0, 0], KUTTA38[0][3]], KUTTA38[1]),
        1,
    ),
    "RK4 with two weights swapped": ((RK4[0], [1 / 3, 1 / 6, 1 / 3, 1 / 6]), 1),
    "RK4 with a coefficient typed as 0.45": (([*RK4[0][:2], [0, 0.45, 0, 0], RK4[0][3]], RK4[1], [0, 0.5, 0.5, 1]), 1),
    "RK4 whose third stage starts from the first": (([*RK4[0][:2], [0.5, 0, 0, 0], RK4[0][3]], RK4[1]), 2),
    "RK4 wrong in b A A c alone": (([*RK4[0][:3], [0, 0.5, 0.5, 0]], RK4[1]), 3),
    "RK4 that reads time at the start of the step": ((*RK4, [0, 0, 0, 0]), 1),
    "weights that do not add up to one": ((RK4[0], [1 / 6, 1 / 3, 1 / 3, 1 / 5]), 0),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_method_is_caught(what: str) -> None:
    arguments, order = WRONG[what]
    assert order_of(Loop(*arguments)) == pytest.approx(order, abs=0.2)


def test_the_convergence_problem_tells_two_methods_of_one_order_apart() -> None:
    rk4, kutta = (Order().evaluate(Loop(*tableau), 0, Budget()).curves["convergence"] for tableau in (RK4, KUTTA38))
    assert rk4["h"][:15] == kutta["h"][:15]
    ratio = np.array(rk4["error"][8:15]) / np.array(kutta["error"][8:15])
    assert (ratio > 4).all()


def test_the_outcome_has_the_whole_curve() -> None:
    outcome = Order().evaluate(Loop(*RK4), 0, Budget())
    curve = outcome.curves["convergence"]
    assert curve["h"][:4] == [1.0, 2 / 3, 0.5, 1 / 3]
    assert len(curve["h"]) == len(curve["error"]) > 10
    assert outcome.properties["primary_metric"] == "observed_order"
    steps = sum(round(2.0 / h) for h in curve["h"])
    assert outcome.cost["f_calls"] == 4 * steps


def test_refinement_stops_at_the_floor() -> None:
    curve = Order().evaluate(Loop(*DOP8), 0, Budget()).curves["convergence"]
    assert curve["error"][-1] < 1e-13
    assert min(curve["error"][:-1]) >= 1e-13


@pytest.mark.parametrize("noise", [1e-10, 1e-9, 1e-8, 1e-7])
def test_a_plateau_is_not_part_of_the_slope(noise: float) -> None:
    """The tolerance of an implicit stage solver, or single precision, ends the convergence above the floor."""
    assert order_of(Loop(*RK4, noise=noise)) == pytest.approx(4, abs=0.25)


def test_single_precision() -> None:
    assert order_of(Loop(*RK4, dtype=np.float32)) == pytest.approx(4, abs=0.3)
    assert order_of(Loop(*RK4, dtype=np.float32), floor=1e-5) == pytest.approx(4, abs=0.3)


@pytest.mark.parametrize("slope", [0.0, 1.0, 4.0])
def test_the_fit_is_exact_on_a_power_law(slope: float) -> None:
    steps = [1.0, 0.7, 0.5, 0.3, 0.2]
    assert observed_order(steps, [1e-2 * h**slope for h in steps], 1e-13) == pytest.approx(slope, abs=1e-12)


def test_too_few_points() -> None:
    assert observed_order([1.0, 0.5, 0.25], [1e-3, 1e-8, 1e-14], 1e-13) is None


class Exact(Loop):
    """At rounding on the first grid."""

    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        from odernn.tasks.problems import PROBLEMS

        y = np.stack([np.array(PROBLEMS[equation.name].reference)] * len(t))
        return Trajectory(t, y, f_calls=1, accepted=len(t) - 1)


def test_no_observation_is_a_failed_outcome() -> None:
    outcome = Order().evaluate(Exact(*EULER), 0, Budget())
    assert outcome.status == "failed"
    assert "fewer than three grids" in outcome.reason
    assert "observed_order" not in outcome.metrics


class Substepping(Loop):
    """Takes at least `least` steps for the whole interval: a solver whose own step is finer than the coarse grids."""

    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        k = -(-64 // (len(t) - 1))
        fine = np.concatenate([np.linspace(a, b, k, endpoint=False) for a, b in pairwise(t)])
        out = super().solve(equation, y0, np.append(fine, t[-1]))
        return Trajectory(t, out.y[::k], out.f_calls, out.accepted)


def test_the_step_is_the_one_taken_not_the_interval() -> None:
    outcome = Order().evaluate(Substepping(*MIDPOINT), 0, Budget())
    assert outcome.metrics["observed_order"] == pytest.approx(2, abs=0.03)
    steps: Sequence[float] = outcome.curves["convergence"]["h"]
    assert steps[0] == 2.0 / 64
    assert all(a > b for a, b in pairwise(steps))


class Lost(Loop):
    """Diverges on grids coarser than `least` intervals."""

    least = 16

    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        if len(t) - 1 < self.least:
            raise Diverged("not finite")
        return super().solve(equation, y0, t)


def test_coarse_grids_may_diverge() -> None:
    solver = Lost(*RK4)
    outcome = Order().evaluate(solver, 0, Budget())
    assert outcome.curves["convergence"]["h"][0] == 2.0 / 16
    assert outcome.metrics["observed_order"] == pytest.approx(4, abs=0.03)
    solver.least = 10**6
    with pytest.raises(Diverged, match="every grid"):
        Order().evaluate(solver, 0, Budget())


class Adaptive(Loop):
    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        return Trajectory(t, np.zeros((len(t), len(y0))), f_calls=9, accepted=2 * len(t) + 1, rejected=0)


class Learner(Loop):
    learns = True


def test_what_it_refuses() -> None:
    with pytest.raises(UsageError, match="fixed steps"):
        Order().evaluate(Adaptive(*EULER), 0, Budget())
    with pytest.raises(UsageError, match="order asks for a true-field solver"):
        Order().evaluate(Learner(*EULER), 0, Budget())
    with pytest.raises(UsageError, match="did you mean 'driven'"):
        Order(problem="drivn")


def test_other_problems_show_the_order_too() -> None:
    assert order_of(Loop(*RK4), problem="brusselator") == pytest.approx(4, abs=0.3)
    assert TASK is Order
