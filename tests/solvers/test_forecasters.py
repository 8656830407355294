"""The information ladder: each rung against a closed form, a published value, finite differences or a recursion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from odernn.solvers.forecasters import FORECASTERS, rung_of
from odernn.solvers.forecasters.esn import reservoir
from odernn.solvers.forecasters.monomials import Monomials
from odernn.solvers.forecasters.polynomial_field import Polynomial, Stepping, fit
from odernn.solvers.forecasters.ridge import ridge_regression
from odernn.solvers.forecasters.rung import Lesson
from odernn.solvers.ladder import LadderSolver
from odernn.solvers.solver import build_solver
from odernn.solvers.spec import engine_of, find_tableau, parse, validate
from odernn.suite import experiment
from odernn.suite.catalogue import entries, load
from odernn.suite.contracts import Array, Batch, Budget, Feedback, ForecastTask, Learned
from odernn.suite.errors import UsageError
from odernn.suite.row import identity

NATIVE = {"tableau": "rk4", "backend": "native"}
FIELDS = ("polynomial-field", "mlp-field")


@dataclass(frozen=True, eq=False)
class Series(ForecastTask):
    """A series given as an array (samples, series, channels), in whatever units."""

    data: Array
    step: float = 1.0
    scale: Array = field(default_factory=lambda: np.ones(1))

    name = "chaos"
    primary_metric = "skill"
    loss = "mean_squared_error"

    @property
    def inputs(self) -> int:
        return int(self.data.shape[2])

    @property
    def outputs(self) -> int:
        return int(self.data.shape[2])

    @property
    def memory_length(self) -> int:
        return 0

    @property
    def sampling(self) -> float:
        return self.step

    @property
    def increment(self) -> Array:
        return np.ones(self.inputs) * self.scale

    def series(self) -> Array:
        return self.data

    def feedback(self, progress: float) -> Feedback | None:
        return None

    def baseline(self) -> dict[str, float]:
        return {"skill": 0.0}

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        return {"skill": 1.0 - float(np.mean((outputs - batch.targets) ** 2))}

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        picked = self.data[:11, rng.integers(0, self.data.shape[1], size)]
        return Batch(picked[:-1], np.diff(picked, axis=0) / self.increment, np.ones((10, size)))


def lorenz(t: float, y: Array) -> Array:
    u, v, w = y.reshape(3, -1)
    return np.concatenate([10 * (v - u), u * (28 - w) - v, u * v - 8 / 3 * w])


@lru_cache(maxsize=8)
def truth(n: int, samples: int, dt: float, seed: int) -> Array:
    """Lorenz's equations by SciPy, (samples, n, 3), from points near the attractor after a transient."""
    start = np.array([0.0, 0.0, 25.0]) + 5 * np.random.default_rng(seed).standard_normal((n, 3))
    start = solve_ivp(lorenz, (0, 20), start.T.ravel(), method="DOP853", rtol=1e-8).y[:, -1]
    grid = dt * np.arange(samples)
    found = solve_ivp(lorenz, (0, grid[-1]), start, method="DOP853", t_eval=grid, rtol=1e-12, atol=1e-12).y
    solved: Array = found.reshape(3, n, samples).transpose(2, 1, 0)
    return solved


MEAN, SIGMA = np.array([0.0, 0.0, 23.5]), np.array([7.9, 9.0, 8.6])


def standard_lorenz(samples: int = 400, n: int = 8, dt: float = 0.02, seed: int = 0) -> Series:
    z = (truth(n, samples, dt, seed) - MEAN) / SIGMA
    return Series(z, dt, np.sqrt(np.mean(np.diff(z, axis=0) ** 2, axis=(0, 1))))


def learned(entries: Mapping[str, Any], task: ForecastTask, seed: int = 0, budget: Budget | None = None) -> Learned:
    return build_solver(entries, "cpu", "float64", task).learn(task, seed, budget or Budget())


def rolled(found: Learned, task: ForecastTask, context: Array, steps: int) -> Array:
    """Forecasts (steps, batch, channels) of the closed loop."""
    loop = found.forecaster.closed_loop(task.increment)
    state, seen = loop.start(context), []
    for _ in range(steps):
        seen.append(loop.observe(state))
        state = loop.step(state)
    return np.stack(seen)


def valid_time(forecast: Array, exact: Array, dt: float) -> float:
    """Median time in Lyapunov times until the error passes 0.4; to the end where it never does."""
    wrong = ~(np.sqrt(np.mean((forecast - exact) ** 2, axis=2)) < 0.4)
    first = np.where(wrong.any(axis=0), wrong.argmax(axis=0), len(wrong))
    return float(np.median(first)) * dt * 0.906


QUICK: dict[str, dict[str, Any]] = {
    "climatology": {},
    "persistence": {},
    "parroting": {"delay": 2, "context": 5},
    "nvar": {"skip": 2},
    "esn": {"hidden": 20, "washout": 5},
    "polynomial-field": {**NATIVE, "pairs": 100},
    "mlp-field": {**NATIVE, "hidden": 8, "segment": 2, "solve": False},
}


# ------------------------------------------------------------------------------------------------------- every rung


@pytest.mark.parametrize("cell", FORECASTERS)
def test_the_closed_loop_is_the_forecaster_fed_with_its_own_output(cell: str) -> None:
    task = standard_lorenz(60, 3)
    found = learned({"cell": cell, **QUICK[cell]}, task, budget=Budget(updates=3, batch=4))
    context, model = task.data[:20], found.forecaster
    output, x, expected = model.begin(context), context[-1], []
    for _ in range(6):
        x = x + task.increment * output
        expected.append(x)
        output = model.step(x)
    np.testing.assert_allclose(rolled(found, task, context, 6), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(model.outputs(context)[-1], model.begin(context), rtol=1e-12, atol=1e-12)
    one = rolled(found, task, context[:, 1:2], 6)
    np.testing.assert_allclose(one[:, 0], np.array(expected)[:, 1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("cell", FORECASTERS)
def test_the_seed_decides_everything(cell: str) -> None:
    task = standard_lorenz(60, 3)
    entry, budget = {"cell": cell, **QUICK[cell]}, Budget(updates=3, batch=4)
    first, again, other = (rolled(learned(entry, task, s, budget), task, task.data[:20], 5) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    drawn = cell in ("esn", "mlp-field")  # the pairs of a polynomial field are drawn too, and hardly change it
    assert not drawn or np.abs(first - other).max() > 1e-6


@pytest.mark.parametrize("cell", FORECASTERS)
def test_a_lost_series_leaves_the_others_alone(cell: str) -> None:
    task = standard_lorenz(60, 3)
    model = learned({"cell": cell, **QUICK[cell]}, task, budget=Budget(updates=3, batch=4)).forecaster
    context = task.data[:20]
    clean = model.begin(context)
    x = context[-1] + task.increment * clean
    expected = model.step(x)
    model.begin(context)
    broken = x.copy()
    broken[1] = np.nan
    found = model.step(broken)
    np.testing.assert_allclose(found[[0, 2]], expected[[0, 2]], rtol=1e-9, atol=1e-9)
    model.step(np.nan_to_num(found))  # and does not raise


@pytest.mark.parametrize("cell", FORECASTERS)
def test_the_catalogue_and_the_docstring_tell_every_entry_and_the_reference(cell: str) -> None:
    entry, rung = entries("cell")[cell], rung_of(cell)
    about = load("cell", cell).__doc__
    assert entry.summary == about.splitlines()[0]
    assert rung.name == cell
    assert "Reference:" in about
    for name, option in rung.entries.items():
        default = {True: "true", False: "false"}[option.default] if isinstance(option.default, bool) else option.default
        shown = [line.split()[2] for line in about.splitlines() if line.startswith(f"{name} = ")]
        assert len(shown) == 1
        assert shown[0] == default if isinstance(default, str) else float(shown[0]) == default


def test_cells_that_are_not_trained_by_updates_have_no_budget_in_their_points() -> None:
    untrained = {name for name in FORECASTERS if not rung_of(name).updates}
    assert set(experiment.UNTRAINED) == {"true-field", *untrained}
    text = 'name = "a"\nsummary = "b"\n[[grid]]\ntask.name = "chaos"\nsolver.cell = ["nvar", "mlp-field", "lstm"]\n'
    points = experiment.parse(text, "text").points()
    assert [bool(point["budget"]) for point in points] == [False, True, True]
    twice = experiment.parse(text, "text").with_axis("updates", [7]).points()
    assert [identity(a) == identity(b) for a, b in zip(points, twice, strict=True)] == [True, False, False]


# --------------------------------------------------------------------------------------------------------- entries


def test_entries_that_make_no_sense_are_refused() -> None:
    for entry, said in (
        ({"cell": "nvar", "tap": 2}, "unknown solver entry 'tap' for cell 'nvar': did you mean 'taps'"),
        ({"cell": "nvar", "taps": 0}, "'taps' of cell 'nvar' is 0: expected a whole number of at least 1"),
        ({"cell": "nvar", "taps": 1.5}, "expected a whole number"),
        ({"cell": "nvar", "degree": 9}, "at least 1 and at most 6"),
        ({"cell": "esn", "quadratic": 1}, "expected true or false"),
        ({"cell": "esn", "leak": 0.0}, "expected a number above 0 and at most 1"),
        ({"cell": "esn", "ridge": float("nan")}, "expected a number of at least 0"),
        ({"cell": "persistence", "tableau": "rk4"}, "unknown solver entry 'tableau'"),
        ({"cell": "mlp-field", "tableau": "rk4"}, "needs a 'backend'"),
        ({"cell": "mlp-field", **NATIVE, "substeps": 0}, "'substeps' is 0"),
        ({"cell": "polynomial-field", "tableau": "rk5", "backend": "native"}, "unknown tableau 'rk5'"),
        ({"cell": "polynomial-field", "tableau": "radau2a3", "backend": "scipy"}, "is not explicit"),
        ({"cell": "polynomial-field", "tableau": "stormer-verlet", "backend": "native"}, "no single Butcher tableau"),
    ):
        with pytest.raises(UsageError, match=said):
            parse(entry)


def test_points_that_cannot_run_are_refused_before() -> None:
    for entry, task, device, dtype, said in (
        ({"cell": "nvar"}, "adding", "cpu", "float64", "forecasts a series and task 'adding' has none"),
        ({"cell": "nvar"}, "ivp", "cpu", "float64", "expected 'chaos'"),
        ({"cell": "nvar"}, "chaos", "cuda", "float64", "on the CPU only"),
        ({"cell": "nvar"}, "chaos", "cpu", "float32", "computes in float64, not in float32"),
        ({"cell": "mlp-field", **NATIVE}, "chaos", "cpu", "bfloat16", "computes in float32 or float64"),
        (
            {"cell": "mlp-field", "tableau": "rk4", "backend": "scipy"},
            "chaos",
            "cpu",
            "float32",
            "'scipy' integrates in float64 only",
        ),
    ):
        with pytest.raises(UsageError, match=said):
            validate(entry, {"name": task}, device, dtype)
    validate({"cell": "mlp-field", **NATIVE}, {"name": "chaos"}, "cpu", "float32")


def test_a_rung_says_what_it_is_and_refuses_what_it_is_not() -> None:
    task = standard_lorenz(60, 3)
    solver = build_solver({"cell": "nvar", "skip": 3}, "cpu", "float64", task)
    assert isinstance(solver, LadderSolver)
    told = solver.properties()
    assert told["solver"] == {"cell": "nvar", "taps": 2, "skip": 3, "degree": 2, "ridge": 1e-6}
    assert "s41467-021-25801-2" in told["reference"]
    stepped = build_solver({"cell": "mlp-field", **NATIVE}, "cpu", "float64", task)
    assert (stepped.properties()["stages"], stepped.properties()["order"]) == (4, 4)
    assert stepped.in_backend("scipy").properties()["solver"]["backend"] == "scipy"
    assert (engine_of({"cell": "esn"}), engine_of({"cell": "mlp-field"})) == ("numpy", "general")
    y = np.zeros(1)
    equation: Any = None
    for ask in (
        lambda: solver.solve(equation, y, y),
        lambda: solver.flow(equation),
        lambda: solver.gradient(equation, y, y, y),
        lambda: solver.in_backend("scipy"),
        lambda: solver.nesting(0),
        lambda: solver.hunt(1, 0, 1.0, "2"),
        lambda: solver.recurrence(1, 0),
    ):
        with pytest.raises(UsageError, match="cell 'nvar'"):
            ask()


# ------------------------------------------------------------------------------------------- closed forms, parroting


def test_climatology_and_persistence_are_their_closed_forms() -> None:
    task = standard_lorenz(60, 3)
    context = task.data[:7]
    climate = rolled(learned({"cell": "climatology"}, task), task, context, 4)
    np.testing.assert_allclose(climate, 0.0, atol=1e-15)
    still = rolled(learned({"cell": "persistence"}, task), task, context, 4)
    np.testing.assert_array_equal(still, np.broadcast_to(context[-1], still.shape))


def test_parroting_a_periodic_series_is_exact() -> None:
    period = np.random.default_rng(0).standard_normal((7, 1, 2))
    data = np.tile(period, (5, 1, 1))
    task = Series(data)
    found = learned({"cell": "parroting", "delay": 2, "context": 0}, task)
    np.testing.assert_allclose(rolled(found, task, data[:10], 60), np.tile(data, (3, 1, 1))[10:70], atol=1e-12)


def test_parroting_finds_its_motif_in_the_context_alone() -> None:
    """A period that the training series does not have."""
    rng = np.random.default_rng(1)
    task = Series(5.0 + rng.standard_normal((30, 1, 2)))
    other = np.tile(rng.standard_normal((6, 2, 2)), (9, 1, 1))
    found = learned({"cell": "parroting", "delay": 3, "context": 20}, task)
    np.testing.assert_allclose(rolled(found, task, other[:20], 30), other[20:50], atol=1e-12)


def test_parroting_takes_the_nearest_of_all_states_that_have_a_successor() -> None:
    rng = np.random.default_rng(2)
    data, query = rng.standard_normal((50, 2, 3)), rng.standard_normal((1, 20, 3))
    found = learned({"cell": "parroting", "delay": 1, "context": 0}, Series(data))
    output = found.forecaster.begin(query)
    for b in range(20):
        gaps = np.sum((data[:-1] - query[0, b]) ** 2, axis=2)
        i, which = np.unravel_index(np.argmin(gaps), gaps.shape)
        np.testing.assert_allclose(output[b], data[i + 1, which] - query[0, b], rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------- nvar


def nvar_of_its_paper(method: str, tolerance: float, seed: int) -> tuple[float, float]:
    """Gauthier et al. 2021: Lorenz's equations in their own units, dt 0.025, 400 training points, two taps, degree 2,
    ridge 2.5e-6, then a forecast from the end of the training. The error over one Lyapunov time (1.104) against the
    total deviation of all components, as they take it, and the time until it passes 0.4, in Lyapunov times."""
    grid = 0.025 * np.arange(700)
    start = truth(1, 2, 0.025, seed)[0, 0]
    y = solve_ivp(lorenz, (0, grid[-1]), start, method=method, t_eval=grid, rtol=tolerance, atol=tolerance / 1000).y.T
    task = Series(y[:401, None], 0.025)
    found = learned({"cell": "nvar", "taps": 2, "skip": 1, "degree": 2, "ridge": 2.5e-6}, task)
    assert found.outcome.cost["parameters"] == 3 * 28  # one, six linear, twenty-one quadratic, as in their paper
    with np.errstate(over="ignore", invalid="ignore"):
        gap = rolled(found, task, y[399:401, None], 290)[:, 0] - y[401:691]
        error = np.sqrt(np.sum(gap**2, axis=1) / np.sum(np.var(y, axis=0)))
        lost = ~(error < 0.4)
        return float(np.sqrt(np.mean(error[:44] ** 2))), (int(np.argmax(lost)) if lost.any() else 290) * 0.025 / 1.104


def test_nvar_reproduces_the_forecasts_of_its_paper() -> None:
    """They report thousandths over one Lyapunov time, and forecasts that are good for several; their data come from
    SciPy's RK23 at its default tolerances, which is what these are."""
    errors, times = np.array([nvar_of_its_paper("RK23", 1e-3, seed) for seed in range(6)]).T
    assert 2e-4 < np.median(errors) < 1e-2
    assert np.median(times) > 2.0


def test_nvar_of_its_paper_owes_its_stability_to_the_error_of_its_data() -> None:
    """The same on an accurate truth: the small ridge no longer holds the weights, and the loop explodes."""
    assert max(nvar_of_its_paper("DOP853", 1e-10, seed)[1] for seed in range(3)) < 1.0


def test_nvar_in_class_is_exact_on_a_quadratic_map() -> None:
    """Henon's map x+ = 1 - 1.4 x^2 + 0.3 x_before: two taps of degree two hold it."""
    x = [0.1, 0.2]
    for _ in range(300):
        x.append(1 - 1.4 * x[-1] ** 2 + 0.3 * x[-2])
    task = Series(np.array(x)[:, None, None])
    found = learned({"cell": "nvar", "taps": 2, "degree": 2, "ridge": 0.0}, task)
    forecast = rolled(found, task, task.data[:50], 20)
    np.testing.assert_allclose(forecast[:, 0, 0], x[50:70], atol=1e-6)
    assert found.outcome.metrics["train_loss"] < 1e-24


def test_nvar_and_esn_refuse_what_is_too_large_or_too_long() -> None:
    task = standard_lorenz(60, 3)
    with pytest.raises(UsageError, match="features: expected at most 3000"):
        learned({"cell": "nvar", "taps": 10, "degree": 4}, task)
    with pytest.raises(UsageError, match="reaches 80 samples back"):
        learned({"cell": "nvar", "skip": 80}, task)
    with pytest.raises(UsageError, match="drops a washout of 100"):
        learned({"cell": "esn"}, task)
    with pytest.raises(UsageError, match="longer training series"):
        learned({"cell": "parroting", "delay": 60}, task)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10))
@settings(max_examples=25, deadline=None)
def test_monomials_and_their_derivatives(dimension: int, degree: int, seed: int) -> None:
    monomials = Monomials(dimension, degree)
    x = np.random.default_rng(seed).standard_normal((2, dimension))
    assert monomials.count == len(monomials.factors) == len(set(monomials.factors))
    expected = [math.prod(float(x[0, v]) for v in factors) for factors in monomials.factors]
    np.testing.assert_allclose(monomials(x)[0], expected, rtol=1e-12)
    for v in range(dimension):
        shift = 1e-6 * np.eye(dimension)[v]
        slope = (monomials(x + shift) - monomials(x - shift)) / 2e-6
        np.testing.assert_allclose(monomials.jacobian(x)[..., v], slope, rtol=1e-7, atol=1e-7)


def test_ridge_solves_the_augmented_least_squares_and_a_singular_one_by_least_norm() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 6)), rng.standard_normal((40, 2))
    augmented = np.vstack([x, np.sqrt(0.3) * np.eye(6)])
    expected = np.linalg.lstsq(augmented, np.vstack([y, np.zeros((6, 2))]), rcond=None)[0]
    np.testing.assert_allclose(ridge_regression(x, y, 0.3), expected, rtol=1e-10)
    twice = np.concatenate([x, x], axis=1)
    np.testing.assert_allclose(ridge_regression(twice, y, 0.0), np.linalg.pinv(twice) @ y, atol=1e-10)


# -------------------------------------------------------------------------------------------------------------- esn


def test_an_echo_state_forgets_its_start() -> None:
    task = standard_lorenz(200, 1)
    lesson = Lesson(task, parse({"cell": "esn", "hidden": 50}).options, 0, Budget())
    fresh = reservoir(lesson)
    assert np.abs(np.linalg.eigvals(fresh.recurrent)).max() == pytest.approx(0.6)
    near, far = fresh.begin(1), np.ones((1, 50))
    for x in task.data:
        near, far = fresh.move(near, x), fresh.move(far, x)
    assert np.abs(near - far).max() < 1e-12


def test_a_reservoir_forecasts_lorenz_for_several_lyapunov_times() -> None:
    task = standard_lorenz(1000, 4)
    test = (truth(10, 500, 0.02, 9) - MEAN) / SIGMA
    found = learned({"cell": "esn", "hidden": 150}, task)
    assert valid_time(rolled(found, task, test[:100], 400), test[100:], 0.02) > 5.0


# -------------------------------------------------------------------------------------------------- polynomial field


def plain_step(tableau: str, f: Any, y: Array, h: float) -> Array:
    """One step by the definition of a Runge-Kutta method, of an explicit tableau."""
    table = find_tableau(tableau)
    slopes: list[Array] = []
    for row in table.A:
        slopes.append(f(y + h * sum((float(a) * k for a, k in zip(row, slopes, strict=False)), np.zeros_like(y))))
    return np.asarray(y + h * sum(float(b) * k for b, k in zip(table.b, slopes, strict=True)))


def lorenz_coefficients() -> Array:
    """Of 1, x, y, z, xx, xy, xz, yy, yz, zz in the equations' own units."""
    found = np.zeros((3, 10))
    found[0, [1, 2]] = -10.0, 10.0
    found[1, [1, 2, 6]] = 28.0, -1.0, -1.0
    found[2, [3, 5]] = -8 / 3, 1.0
    return found


def exact_field(y: Array) -> Array:
    return lorenz(0.0, y.T.ravel()).reshape(3, -1).T


@pytest.mark.parametrize("tableau", ["euler", "heun2", "rk4", "dormand-prince54"])
@pytest.mark.parametrize("substeps", [1, 3])
def test_pairs_made_by_the_same_steps_give_the_coefficients_back(tableau: str, substeps: int) -> None:
    before = truth(8, 100, 0.02, 0)[::2].reshape(-1, 3)
    after = before
    for _ in range(substeps):
        after = plain_step(tableau, exact_field, after, 0.02 / substeps)
    found = fit(Stepping(find_tableau(tableau), substeps, 0.02), Monomials(3, 2), before, after)
    np.testing.assert_allclose(found.coefficients, lorenz_coefficients(), atol=2e-8)


def test_an_implicit_method_gives_the_coefficients_back() -> None:
    """The implicit midpoint rule, its equation solved here by fixed-point iteration."""
    before = truth(8, 100, 0.02, 0)[::8].reshape(-1, 3)
    after = before
    for _ in range(200):
        after = before + 0.02 * exact_field((before + after) / 2)
    found = fit(Stepping(find_tableau("implicit-midpoint"), 1, 0.02), Monomials(3, 2), before, after)
    np.testing.assert_allclose(found.coefficients, lorenz_coefficients(), atol=1e-6)


@pytest.mark.parametrize(("tableau", "order"), [("euler", 1), ("heun2", 2), ("rk4", 4)])
def test_the_bias_of_a_learned_field_has_the_order_of_its_method(tableau: str, order: int) -> None:
    """On pairs of the exact flow the field that fits carries the truncation error (Zhu et al. 2022): halving the step
    divides |f_learned - f| by 2^p. Degree 6 holds the leading terms well enough."""
    points = truth(8, 400, 0.02, 0)[::8].reshape(-1, 3)
    scaled = (points - MEAN) / SIGMA
    errors = []
    for h in (0.02, 0.01):
        after = solve_ivp(lorenz, (0, h), points.T.ravel(), method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
        target = (after.reshape(3, -1).T - MEAN) / SIGMA
        found = fit(Stepping(find_tableau(tableau), 1, h), Monomials(3, 6), scaled, target)
        errors.append(np.linalg.norm(found(0.0, scaled) - exact_field(points) / SIGMA))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("tableau", ["rk4", "bogacki-shampine32", "gauss2"])
def test_the_derivative_of_a_step_by_its_coefficients(tableau: str) -> None:
    rng = np.random.default_rng(0)
    field, z = Polynomial(Monomials(2, 3), rng.standard_normal((2, 10))), 0.5 * rng.standard_normal((4, 2))
    stepping = Stepping(find_tableau(tableau), 2, 0.1)
    value, slopes = stepping.sensitivity(field, z)
    np.testing.assert_allclose(value, stepping(field, z), rtol=1e-13)
    for i in range(2):
        for j in range(10):
            shift = np.zeros((2, 10))
            shift[i, j] = 1e-5
            both = [stepping(Polynomial(field.monomials, field.coefficients + s * shift), z) for s in (1, -1)]
            np.testing.assert_allclose(slopes[:, :, i, j], (both[0] - both[1]) / 2e-5, atol=2e-8)


def test_a_polynomial_field_of_many_components_is_refused() -> None:
    task = Series(np.random.default_rng(0).standard_normal((30, 1, 9)))
    with pytest.raises(UsageError, match="at most 8 components and the task has 9: expected 'mlp-field'"):
        learned({"cell": "polynomial-field", **NATIVE}, task)


# --------------------------------------------------------------------------------------------------------- mlp field


def test_a_network_learns_a_linear_field_through_its_steps() -> None:
    """A damped rotation, x' = A x: the learned slope against A x, and the rollout against the exponential of A."""
    a = np.array([[-0.1, -1.0], [1.0, -0.1]])
    dt, rng = 0.1, np.random.default_rng(0)
    values, vectors = np.linalg.eig(a)

    def flow(t: float) -> Array:
        return np.asarray((vectors * np.exp(values * t)) @ np.linalg.inv(vectors)).real

    start = rng.standard_normal((20, 2))
    data = np.stack([start @ flow(i * dt).T for i in range(30)])
    task = Series(data, dt, np.sqrt(np.mean(np.diff(data, axis=0) ** 2)))
    entry = {"cell": "mlp-field", **NATIVE, "hidden": 16, "segment": 4, "solve": False}
    budget = Budget(updates=600, batch=64, learning_rate=2e-2, decay=0.01)
    found = learned(entry, task, budget=budget)
    assert found.flow is not None
    assert found.outcome.cost["parameters"] == 2 * 16 + 16 + 16 * 2 + 2
    assert found.outcome.cost["f_calls"] == 4 * 10  # a sequence of the task has ten steps
    z = data[5]
    assert np.abs(found.flow.slope(z) - z @ a.T).max() < 0.1
    ahead = rolled(found, task, data[:1], 15)
    assert np.abs(ahead - data[1:16]).max() < 0.2
    learning = found.outcome.curves["learning"]
    assert learning["test"][-1] < 0.1 * learning["test"][0]
    solved = learned({**entry, "solve": True}, task, budget=budget)
    assert solved.flow is not None
    assert solved.outcome.curves["learning"]["test"][-1] < 0.1 * learning["test"][-1]
    assert np.abs(solved.flow.slope(z) - z @ a.T).max() < 0.2 * np.abs(found.flow.slope(z) - z @ a.T).max()


def test_a_network_forecasts_lorenz_for_several_lyapunov_times() -> None:
    task = standard_lorenz(1000, 8)
    test = (truth(10, 500, 0.02, 9) - MEAN) / SIGMA
    budget = Budget(updates=60, batch=64, learning_rate=5e-3, decay=0.01)
    found = learned({"cell": "mlp-field", **NATIVE}, task, budget=budget)
    assert valid_time(rolled(found, task, test[:1], 499), test[1:], 0.02) > 5.0


def test_segments_grow_by_doubling_to_the_longest() -> None:
    from odernn.solvers.forecasters.shooting import segment_length

    assert [segment_length(p, 6) for p in (0.0, 0.49, 0.5, 0.7, 0.9, 1.0)] == [1, 1, 2, 4, 6, 6]
    assert {segment_length(p, 1) for p in (0.0, 0.5, 1.0)} == {1}


def test_a_training_that_leaves_the_finite_numbers_is_a_row() -> None:
    task = standard_lorenz(60, 3)
    found = learned({"cell": "mlp-field", **NATIVE}, task, budget=Budget(updates=50, batch=4, learning_rate=1e30))
    assert found.outcome.status == "diverged"
    assert found.outcome.reason


def test_segments_longer_than_the_series_are_refused() -> None:
    with pytest.raises(UsageError, match="has segments of 60 samples"):
        learned({"cell": "mlp-field", **NATIVE, "segment": 60}, standard_lorenz(60, 3))
