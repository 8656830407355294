"""The conformance audit on solvers written here: right ones pass at rounding, villains are named for what they are."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import RK45, solve_ivp

from odernn.suite.contracts import Array, Budget, Outcome, Trajectory, VectorField
from odernn.suite.errors import Diverged, UsageError
from odernn.tasks.audits.conformance import TASK
from odernn.tasks.audits.plain_loop import Coefficients, derivative, trajectory
from odernn.tasks.audits.probes import claimed_interval
from odernn.tasks.problems import PROBLEMS

RK4: Any = ([[0, 0, 0, 0], [1 / 2, 0, 0, 0], [0, 1 / 2, 0, 0], [0, 0, 1, 0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6])
KUTTA38: Any = (
    [[0, 0, 0, 0], [1 / 3, 0, 0, 0], [-1 / 3, 1, 0, 0], [1, -1, 1, 0]],
    [1 / 8, 3 / 8, 3 / 8, 1 / 8],
)
DP5: Any = (np.pad(RK45.A, ((0, 0), (0, 1))), RK45.B)
TRAPEZOID: Any = ([[0, 0], [1 / 2, 1 / 2]], [1 / 2, 1 / 2])
RADAU3: Any = ([[5 / 12, -1 / 12], [3 / 4, 1 / 4]], [3 / 4, 1 / 4])


class Loop:
    """One step an interval of a method that says it is `claims`; the villains below change one thing each."""

    learns = False

    def __init__(self, tableau: Any, claims: str, order: int) -> None:
        self.A, self.b = (np.array(part, float) for part in tableau)
        self.c = self.A.sum(axis=1)
        self.claims, self.order = claims, order
        self.method: str | None = None
        self.held: tuple[Array, ...] = ()

    def properties(self) -> dict[str, Any]:
        solver = {"cell": "true-field", "backend": "native", "steps": 1}
        if self.method is None:
            return {"solver": solver | {"tableau": self.claims}, "order": self.order}
        claimed = {"name": self.method, "tableau": self.claims, "order": self.order}
        return {"solver": solver | {"method": self.method}, "claimed": claimed}

    def gradient(self, equation: VectorField, y0: Array, t: Array, cotangent: Array) -> Array:
        """Complex steps: exact derivatives of the discrete solution, to rounding."""
        columns = []
        for i in range(len(y0)):
            start = y0.astype(complex)
            start[i] += 1e-30j
            columns.append(self.run(equation, start, t, None)[0][-1].imag @ cotangent / 1e-30)
        return np.array(columns)

    def solve(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None = None) -> Trajectory:
        with np.errstate(all="ignore"):
            y, calls = self.run(equation, np.array(y0, float), t, inputs)
        if not np.isfinite(y).all():
            raise Diverged("not finite")
        return Trajectory(t, y, calls, accepted=len(t) - 1)

    def run(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None) -> tuple[Array, int]:
        raw = equation.function("numpy")
        states, calls = [y0], 0
        for n, (now, h) in enumerate(zip(t[:-1], np.diff(t), strict=True)):
            self.held = () if inputs is None else (inputs[n],)

            def f(node: float, y: Array, n: int = n, now: float = now, h: float = h) -> Array:
                u = () if inputs is None else (self.input(inputs, n, node),)
                slope: Array = raw(now + node * h, y, *u)
                return slope

            k = self.stages(f, equation, now, h, states[-1])
            calls += len(k)
            states.append(states[-1] + h * sum(w * slope for w, slope in zip(self.b, k, strict=True)))
        return np.array(states), calls

    def input(self, inputs: Array, n: int, node: float) -> Array:
        return inputs[n]

    def stages(self, f: Any, equation: VectorField, now: float, h: float, y: Array) -> list[Array]:
        k: list[Array] = []
        for row, node in zip(self.A, self.c, strict=True):
            k.append(f(node, y + h * sum((a * s for a, s in zip(row, k, strict=False) if a), 0 * y)))
        return k


class Implicit(Loop):
    """Newton's method for all stages together, until it stands still."""

    def stages(self, f: Any, equation: VectorField, now: float, h: float, y: Array) -> list[Array]:
        s, d = len(self.b), len(y)
        jacobian = equation.jacobian("numpy")
        k = np.tile(f(0.0, y), (s, 1))
        for _ in range(30):
            at = [y + h * (a @ k) for a in self.A]
            residual = k - np.array([f(c, x) for x, c in zip(at, self.c, strict=True)])
            J = [jacobian(now + c * h, x, *self.held) for x, c in zip(at, self.c, strict=True)]
            blocks = [[float(i == j) * np.eye(d) - h * self.A[i, j] * J[i] for j in range(s)] for i in range(s)]
            change = np.linalg.solve(np.block(blocks), residual.ravel()).reshape(s, d)
            k = k - change
            if np.abs(change).max() <= 1e-15 * max(1, np.abs(k).max()):
                break
        return list(k)


def examine(solver: Any) -> Outcome:
    return TASK().evaluate(solver, 0, Budget())


@pytest.mark.parametrize(
    ("solver", "intervals"),
    [
        (Loop(RK4, "rk4", 4), (2.785293563405, math.sqrt(8))),
        (Loop(DP5, "dormand-prince54", 5), (3.306567892634, 0.99713)),
        (Implicit(TRAPEZOID, "trapezoid", 2), (math.inf, math.inf)),
        (Implicit(RADAU3, "radau2a2", 3), (math.inf, math.inf)),
    ],
    ids=["rk4", "dormand-prince54", "trapezoid", "radau2a2"],
)
def test_a_right_method_conforms(solver: Loop, intervals: tuple[float, float]) -> None:
    outcome = examine(solver)
    metrics = outcome.metrics
    assert outcome.status == "ok"
    assert metrics["coefficient_error"] < 1e-13
    assert metrics["trajectory_gap"] < 1e-13
    assert metrics["restart_gap"] < 1e-14
    assert metrics["observed_order"] == pytest.approx(solver.order, abs=0.1)
    assert metrics["jump_order"] > solver.order - 0.5
    assert (metrics["real_interval"], metrics["imaginary_interval"]) == pytest.approx(intervals, abs=2e-3)
    assert outcome.properties["identified"] == [solver.claims]
    assert outcome.properties["identified_by"] == "coefficients"
    assert outcome.properties["remembers"] is False
    if type(solver) is Loop:
        assert metrics["calls_per_step"] == len(solver.b)
        assert metrics["gradient_gap"] < 1e-13


def test_the_three_eighths_rule_called_rk4() -> None:
    solver = Loop(KUTTA38, "rk4", 4)
    solver.method = "rk4"
    outcome = examine(solver)
    assert outcome.properties["identified"] == ["rk38"]
    assert outcome.properties["claimed"]["tableau"] == "rk4"
    assert outcome.metrics["coefficient_error"] == pytest.approx(1.0)
    assert outcome.metrics["observed_order"] == pytest.approx(4, abs=0.1)
    assert outcome.properties["gradient_reference"] == "derivative of the plain loop of rk38"
    assert "trajectory_gap" not in outcome.metrics


class Stale(Loop):
    """Takes the last stage's slope for that at the new state, though it is not."""

    def run(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None) -> tuple[Array, int]:
        self.last: Array | None = None
        return super().run(equation, y0, t, inputs)

    def stages(self, f: Any, equation: VectorField, now: float, h: float, y: Array) -> list[Array]:
        if self.last is None:
            self.last = f(0.0, y)
        k = [self.last]
        for row, node in zip(self.A[1:], self.c[1:], strict=True):
            k.append(f(node, y + h * sum(a * s for a, s in zip(row, k, strict=False))))
        self.last = k[-1]
        return k


HEUN: Any = ([[0, 0], [1, 0]], [1 / 2, 1 / 2])


def test_a_heun_that_reuses_its_last_slope() -> None:
    """Its characteristic polynomial is that of the two-step Adams-Bashforth method: stable on [-1, 0]."""
    outcome = examine(Stale(HEUN, "heun2", 2))
    assert outcome.properties["remembers"] is True
    assert outcome.properties["identified"] == []
    assert outcome.properties["starts_as"] == ["heun2"]
    assert outcome.metrics["restart_gap"] > 1e-4
    assert outcome.metrics["real_interval"] == pytest.approx(1, abs=5e-3)
    assert outcome.curves["stability"]["claimed_real"] == pytest.approx(2, abs=5e-3)
    assert "coefficient_error" not in outcome.metrics


def test_a_lost_evaluation_of_a_first_same_as_last_pair() -> None:
    outcome = examine(Stale(DP5, "dormand-prince54", 5))  # without its seventh stage the last slope is not at the end
    assert outcome.properties["remembers"] is True
    assert outcome.metrics["trajectory_gap"] > 1e-8


class Peeking(Loop):
    """A stage at the end of its interval reads the next input."""

    def input(self, inputs: Array, n: int, node: float) -> Array:
        return inputs[min(n + (node == 1), len(inputs) - 1)]


def test_a_stage_that_reads_the_next_input() -> None:
    outcome = examine(Peeking(RK4, "rk4", 4))
    assert outcome.metrics["jump_order"] == pytest.approx(1, abs=0.2)
    assert outcome.metrics["jump_error"] > 1e-4
    assert outcome.metrics["observed_order"] == pytest.approx(4, abs=0.1)
    assert outcome.metrics["coefficient_error"] < 1e-15


def test_a_coefficient_in_the_ninth_digit() -> None:
    A = np.array(RK4[0])
    A[2, 1] += 1e-9
    solver = Loop((A, RK4[1]), "rk4", 4)
    outcome = examine(solver)
    assert outcome.metrics["coefficient_error"] == pytest.approx(1e-9, rel=1e-4)
    assert outcome.metrics["trajectory_gap"] > 1e-13
    assert outcome.properties["identified"] == []


class AdamsBashforth(Loop):
    """y+ = y + h (3 f - f of the step before) / 2, the first step by Euler."""

    def run(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None) -> tuple[Array, int]:
        self.last: Array | None = None
        return super().run(equation, y0, t, inputs)

    def stages(self, f: Any, equation: VectorField, now: float, h: float, y: Array) -> list[Array]:
        slope = f(0.0, y)
        found = slope if self.last is None else 1.5 * slope - 0.5 * self.last
        self.last = slope
        return [found]


def test_a_two_step_method() -> None:
    outcome = examine(AdamsBashforth(([[0]], [1]), "euler", 1))
    assert outcome.properties["remembers"] is True
    assert outcome.properties["starts_as"] == ["euler"]
    assert outcome.metrics["observed_order"] == pytest.approx(2, abs=0.1)
    assert outcome.metrics["real_interval"] == pytest.approx(1, abs=5e-3)


class AdamsBashforth6(Loop):
    """Six slopes, the start by the method's own first ones; its coefficients from the interpolation of the slopes."""

    def run(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None) -> tuple[Array, int]:
        self.last: list[Array] = []
        return super().run(equation, y0, t, inputs)

    def stages(self, f: Any, equation: VectorField, now: float, h: float, y: Array) -> list[Array]:
        self.last = [f(0.0, y), *self.last][:6]
        k = len(self.last)
        weights = np.linalg.solve(np.vander(-np.arange(k), increasing=True).T, 1 / np.arange(1, k + 1))
        return [sum(w * slope for w, slope in zip(weights, self.last, strict=True))]  # type: ignore[list-item]


def test_the_interval_of_a_method_of_many_steps() -> None:
    """That of Adams-Bashforth of six steps is 5/57 = 0.0877 (HNW III.3, by the root at -1): a short run shows more."""
    outcome = examine(AdamsBashforth6(([[0]], [1]), "euler", 1))
    assert outcome.properties["remembers"] is True
    assert outcome.metrics["real_interval"] == pytest.approx(5 / 57, rel=0.1)


class Leapfrog(Loop):
    """y+ = y of the step before + 2 h f, the first step by Euler: stable on [-i, i], where two solutions beat."""

    def run(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None) -> tuple[Array, int]:
        self.before: Array | None = None
        return super().run(equation, y0, t, inputs)

    def stages(self, f: Any, equation: VectorField, now: float, h: float, y: Array) -> list[Array]:
        slope: Array = f(0.0, y)
        found = slope if self.before is None else (self.before - y) / h + 2 * slope
        self.before = y
        return [found]


def test_two_solutions_that_beat_do_not_grow() -> None:
    outcome = examine(Leapfrog(([[0]], [1]), "euler", 1))
    assert outcome.properties["remembers"] is True
    assert outcome.metrics["imaginary_interval"] == pytest.approx(1, abs=0.01)
    assert outcome.metrics["real_interval"] < 0.02


class Drifting(Loop):
    """Adds what no slope says, alike on every grid."""

    def run(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None) -> tuple[Array, int]:
        states, calls = super().run(equation, y0, t, inputs)
        return states + 0.5 * t[:, None], calls


def test_no_order_is_told_where_nothing_converges() -> None:
    outcome = examine(Drifting(RK4, "rk4", 4))
    assert "the state moves where every slope is zero" in outcome.properties["refused"]["coefficients"]
    assert "observed_order" not in outcome.metrics
    assert "on the finest grid" in outcome.properties["refused"]["order"]


class Unsolved(Implicit):
    """Stops two digits before rounding would, at an error of 1e-9 a step: a plateau that is no order."""

    def stages(self, f: Any, equation: VectorField, now: float, h: float, y: Array) -> list[Array]:
        found = super().stages(f, equation, now, h, y)
        return [slope + 1e-9 / h * h**0.5 * (1 + np.sin(1e9 * now)) for slope in found]


def test_a_plateau_of_the_iteration_is_no_order() -> None:
    outcome = examine(Unsolved(RADAU3, "radau2a2", 3))
    assert outcome.metrics["observed_order"] == pytest.approx(3, abs=0.3)


def test_stages_alike_but_for_their_node_are_two() -> None:
    A = np.array([[0, 0, 0], [1 / 2, 0, 0], [1 / 2, 0, 0]])
    method = Coefficients(A, np.array([0, 1 / 2, 1 / 2]), np.array([0, 1 / 2, 3 / 4]))
    assert len(method.active().b) == 3
    assert len(Coefficients(A, method.b, A.sum(axis=1)).active().b) == 2


class Adaptive(Loop):
    """Takes steps of its own."""

    def solve(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None = None) -> Trajectory:
        return Trajectory(t, np.ones((len(t), len(y0))), f_calls=9, accepted=3 * len(t), rejected=1)


def test_refusals_are_kept_with_their_reasons() -> None:
    outcome = examine(Adaptive(RK4, "rk4", 4))
    assert outcome.status == "failed"
    assert "expected one step an interval" in outcome.reason
    assert {"memory", "coefficients", "order", "jumps"} <= set(outcome.properties["refused"])
    with pytest.raises(UsageError, match="true-field"):
        TASK().evaluate(type("Cell", (), {"learns": True})(), 0, Budget())  # type: ignore[arg-type]


def test_the_plain_loop_solves_and_differentiates() -> None:
    """Against SciPy at tight tolerance, and differences of the loop itself in complex arithmetic above."""
    problem = PROBLEMS["driven"]
    f, J = problem.equation.function("numpy"), problem.equation.jacobian("numpy")
    method = Coefficients(*(np.array(x, float) for x in RADAU3), np.array([1 / 3, 1.0]))
    t = np.linspace(0, 0.5, 401)
    y0 = np.array(problem.y0)
    exact = solve_ivp(f, (0, 0.5), y0, rtol=1e-12, atol=1e-12).y[:, -1]
    assert np.abs(trajectory(method, f, J, y0, t)[-1] - exact).max() < 1e-9
    flow = derivative(method, f, J, y0, t)
    ends = [[trajectory(method, f, J, y0 + s * e, t)[-1] for s in (1, -1)] for e in 1e-5 * np.eye(2)]
    differences = np.array([(plus - minus) / 2e-5 for plus, minus in ends]).T
    assert np.abs(flow - differences).max() < 1e-8


@pytest.mark.parametrize(
    ("method", "intervals"),
    [(RK4, (2.785293563405, math.sqrt(8))), (HEUN, (2.0, 0.0)), (RADAU3, (math.inf, math.inf))],
)
def test_intervals_of_a_stability_function(method: Any, intervals: tuple[float, float]) -> None:
    A, b = (np.array(x, float) for x in method)
    found = [claimed_interval(Coefficients(A, b, A.sum(axis=1)), direction) for direction in (-1.0, 1j)]
    assert found == pytest.approx(intervals, abs=3e-3)


@pytest.mark.parametrize(
    ("backend", "tableau"), [("scipy", "fehlberg45"), ("torchdiffeq", "ssp33"), ("native", "backward-euler")]
)
def test_our_backends_conform(backend: str, tableau: str) -> None:
    from odernn.solvers.solver import build_solver

    entries = {"cell": "true-field", "tableau": tableau, "backend": backend, "steps": 1}
    outcome = examine(build_solver(entries, "cpu", "float64", TASK()))
    assert outcome.properties["refused"] == {}
    assert outcome.properties["identified"] == [tableau]
    for name in ("coefficient_error", "trajectory_gap", "gradient_gap"):
        assert outcome.metrics[name] < 1e-12
