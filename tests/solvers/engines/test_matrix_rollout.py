"""Compiled matrix equations against exact solutions, SciPy, a step written in NumPy, and the general path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from odernn.solvers.backends.native import Native
from odernn.solvers.engines import machine, trajectories
from odernn.solvers.engines.matrix_rollout import MatrixProblem
from odernn.solvers.engines.step_control import DONE, LOST_AT_START, TOO_SMALL
from odernn.solvers.engines.trajectories import CompiledTrajectories, compilable
from odernn.solvers.engines.vector import Lanes
from odernn.solvers.field_integrator import FieldIntegrator
from odernn.solvers.spec import parse
from odernn.solvers.step import stages
from odernn.solvers.tableau import Tableau
from odernn.solvers.tableaux import TABLEAUX
from odernn.suite.equation import symbols
from odernn.suite.errors import Diverged, UsageError
from odernn.suite.matrix_equation import MatrixEquation
from odernn.suite.seeds import stream

RK4, PAIR = TABLEAUX["rk4"], TABLEAUX["dormand-prince54"]
PAIRS = [t for t in TABLEAUX.values() if t.explicit and t.b_hat is not None]
SIZES = [1, 7, 16, 50]
BATCHES = [1, 3, 20]
DTYPES = ["float64", "float32"]


def mixed(n: int, seed: int = 0) -> MatrixEquation:
    """Dense random matrices, a constant, and a function with two parameters."""
    rng = stream(seed, "equation")
    (s,), (a, k) = symbols("s"), symbols("a k")
    linear = rng.standard_normal((n, n)) / np.sqrt(n) - np.eye(n)
    mixing = rng.standard_normal((n, n)) / np.sqrt(n)
    return MatrixEquation(
        "mixed", linear, mixing, sympy.tanh(k * s) + a * s**2 / 8, s, rng.standard_normal(n), {a: 0.3, k: 1.5}
    )


def in_numpy(equation: MatrixEquation, y: Any) -> Any:
    """The slope of `mixed`, written out."""
    a, k = equation.parameters.values()
    g = np.tanh(k * y) + a * y**2 / 8
    return y @ equation.linear.T + g @ equation.mixing.T + equation.constant


def starts(batch: int, n: int, seed: int = 1) -> Any:
    return stream(seed, "start").uniform(-1, 1, (batch, n))


def general(equation: MatrixEquation, y0: Any, times: Any, tableau: Tableau, *tolerances: float, **entries: Any) -> Any:
    """The same by the native backend in NumPy."""
    function = equation.function("numpy")

    def field(t: Any, y: Any, drive: Any, weights: Any) -> Any:
        return function(t, y)

    times = np.asarray(times).tolist()
    if tolerances:
        return Native().adaptive(field, y0, times, tableau, *tolerances, **entries)
    return Native().fixed(field, y0, times, tableau)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("n", SIZES)
def test_one_classical_step(n: int, batch: int, dtype: str) -> None:
    equation, y, h = mixed(n), starts(batch, n), 0.1
    k1 = in_numpy(equation, y)
    k2 = in_numpy(equation, y + h / 2 * k1)
    k3 = in_numpy(equation, y + h / 2 * k2)
    k4 = in_numpy(equation, y + h * k3)
    expected = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    found = CompiledTrajectories(equation, RK4, dtype).fixed(y, [0.5, 0.5 + h])
    assert found.states.dtype == dtype
    assert found.states.shape == (2, batch, n)
    tolerance = 1e-13 if dtype == "float64" else 3e-6
    np.testing.assert_allclose(found.states[0], y, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.states[1], expected, rtol=tolerance, atol=tolerance)
    assert (set(found.f_calls.tolist()), set(found.accepted.tolist())) == ({4}, {1})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("n", [3, 20])
def test_a_linear_equation_against_the_exponential(n: int, batch: int, dtype: str) -> None:
    """y' = L y + 2 M y + c, y(t) = exp(t (L + 2 M)) (y0 + p) - p with p = (L + 2 M)^-1 c."""
    (s,) = symbols("s")
    rng, y0 = stream(0, "matrices"), starts(batch, n)
    linear, mixing = (rng.standard_normal((n, n)) / np.sqrt(n) for _ in range(2))
    c = rng.standard_normal(n)
    whole = linear + 2 * mixing
    p = np.linalg.solve(whole, c)
    expected = [(y0 + p) @ expm(t * whole).T - p for t in (0.0, 0.3, 1.0)]
    compiled = CompiledTrajectories(MatrixEquation("linear", linear, mixing, 2 * s, s, c), PAIR, dtype)
    tight = (1e-11, 1e-11) if dtype == "float64" else (1e-5, 1e-6)
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    steps = compiled.fixed(y0, np.linspace(0, 1, 101), [0, 30, 100])
    for found in (compiled.adaptive(y0, [0.0, 0.3, 1.0], *tight), steps):
        found.check()
        np.testing.assert_allclose(found.states, expected, rtol=tolerance, atol=tolerance)


def test_against_scipy_at_tight_tolerance() -> None:
    equation, y0, times = mixed(33), starts(3, 33), np.linspace(0, 2, 5)
    found = CompiledTrajectories(equation, PAIR, "float64").adaptive(y0, times, 1e-12, 1e-12)
    for i, y in enumerate(y0):
        theirs = solve_ivp(lambda t, y: in_numpy(equation, y), (0, 2), y, "DOP853", times, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(found.states[:, i], theirs.y.T, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", [name for name, t in TABLEAUX.items() if t.explicit and t.b_hat is None])
def test_fixed_steps_are_those_of_the_general_path(name: str) -> None:
    times = np.cumsum(stream(0, "times").uniform(0.01, 0.05, 40)) + 0.7
    y0 = starts(5, 9)
    found = CompiledTrajectories(mixed(9), TABLEAUX[name], "float64").fixed(y0, times)
    expected = general(mixed(9), y0, times, TABLEAUX[name])
    np.testing.assert_allclose(found.states, expected.states, rtol=1e-12, atol=1e-12)
    assert set(found.f_calls.tolist()) == {expected.f_calls}
    assert set(found.accepted.tolist()) == {expected.accepted}


@pytest.mark.parametrize("controller", ["elementary", "pi"])
@pytest.mark.parametrize("tableau", PAIRS, ids=lambda t: t.name)
def test_pairs_take_the_steps_of_the_general_path(tableau: Tableau, controller: str) -> None:
    y0, times = starts(3, 10), [0.3, 0.31, 2.0, 9.0]
    compiled = CompiledTrajectories(mixed(10), tableau, "float64")
    for tolerances in ((1e-3, 1e-5), (1e-7, 1e-7)):
        found = compiled.adaptive(y0, times, *tolerances, controller)
        found.check()
        for i, y in enumerate(y0):
            expected = general(mixed(10), y, times, tableau, *tolerances, controller=controller)
            np.testing.assert_allclose(found.states[:, i], expected.states, rtol=1e-8, atol=1e-9)
            counts = (found.f_calls[i], found.accepted[i], found.rejected[i])
            assert counts == (expected.f_calls, expected.accepted, expected.rejected)


def test_float32_pairs_take_the_steps_of_the_general_path() -> None:
    y0, times = starts(2, 10).astype("float32"), [0.0, 0.5, 4.0]
    found = CompiledTrajectories(mixed(10), PAIR, "float32").adaptive(y0, times, 1e-3, 1e-4)
    for i, y in enumerate(y0):
        expected = general(mixed(10), y, times, PAIR, 1e-3, 1e-4)
        np.testing.assert_allclose(found.states[:, i], expected.states, rtol=1e-4, atol=1e-4)
        assert (found.f_calls[i], found.rejected[i]) == (expected.f_calls, expected.rejected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tableau", ["dormand-prince54", "fehlberg45"])
def test_a_batch_is_the_same_as_one_by_one(dtype: str, tableau: str) -> None:
    """Trajectories that need different numbers of steps, through kernels of several rows and of one."""
    y0 = starts(11, 21) * np.geomspace(0.01, 3, 11)[:, None]
    tolerances = (1e-6, 1e-8) if dtype == "float64" else (1e-4, 1e-5)
    compiled = CompiledTrajectories(mixed(21), TABLEAUX[tableau], dtype)
    times = np.linspace(0, 1, 11)
    together, steps = compiled.adaptive(y0, [0.0, 0.5, 8.0], *tolerances), compiled.fixed(y0, times)
    together.check()
    assert len(set(together.accepted.tolist())) > 1
    for i, start in enumerate(y0):
        alone = compiled.adaptive(start, [0.0, 0.5, 8.0], *tolerances)
        np.testing.assert_array_equal(together.states[:, i], alone.states[:, 0])
        assert (together.f_calls[i], together.rejected[i]) == (alone.f_calls[0], alone.rejected[0])
        np.testing.assert_array_equal(steps.states[:, i], compiled.fixed(start, times).states[:, 0])


def test_threads_and_restarts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    y0, times, every = starts(37, 12), np.linspace(0, 1, 31), [0, 0, 3, 17, 17, 29]
    compiled = CompiledTrajectories(mixed(12), PAIR, "float64")
    steps, chosen = compiled.fixed(y0, times, every), compiled.adaptive(y0, [0.0, 1.0, 5.0], 1e-6, 1e-6)
    for limit in (trajectories.ATTEMPTS, 500):
        monkeypatch.setattr(trajectories, "ATTEMPTS", limit)
        for threads in (1, 2, 3):
            found = compiled.fixed(y0, times, every, threads)
            np.testing.assert_array_equal(found.states, steps.states)
            found = compiled.adaptive(y0, [0.0, 1.0, 5.0], 1e-6, 1e-6, threads=threads)
            np.testing.assert_array_equal(found.states, chosen.states)
            np.testing.assert_array_equal(found.f_calls, chosen.f_calls)
    expected = general(mixed(12), y0, times, PAIR).states[every]
    np.testing.assert_allclose(steps.states, expected, rtol=1e-12, atol=1e-12)


def test_other_numbers_need_no_new_code(monkeypatch: pytest.MonkeyPatch) -> None:
    y0, times = starts(1, 6), np.linspace(0, 1, 11)
    CompiledTrajectories(mixed(6), RK4, "float64").fixed(y0, times)

    def refuse(text: str) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(machine, "_compiled", refuse)
    sparse = replace(mixed(6), mixing=np.diag(np.arange(6.0)), constant=np.zeros(6))
    for changed in (mixed(6, seed=5), mixed(6).with_parameters({"a": 2.5, "k": 0.5}), sparse):
        found = CompiledTrajectories(changed, RK4, "float64").fixed(y0, times)
        np.testing.assert_allclose(found.states, general(changed, y0, times, RK4).states, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("n", [5, 24])
def test_columns_of_zeros(n: int) -> None:
    """Only the last component goes through the function, none through L, or nothing at all moves."""
    (s,) = symbols("s")
    y0, times = starts(3, n), np.linspace(0, 1, 6)
    mixing, none = np.zeros((n, n)), np.zeros((n, n))
    mixing[0, -1] = 2.0
    delayed = MatrixEquation("delayed", none, mixing, sympy.sin(s), s)
    found = CompiledTrajectories(delayed, RK4, "float64").fixed(y0, times, [5])
    expected = y0.copy()
    expected[:, 0] += 2 * np.sin(y0[:, -1])
    np.testing.assert_allclose(found.states[0], expected, rtol=1e-14, atol=1e-14)
    still = CompiledTrajectories(MatrixEquation("still", none, none, sympy.sin(s), s), PAIR, "float64")
    for found in (still.fixed(y0, times), still.adaptive(y0, times, 1e-3, 1e-3)):
        np.testing.assert_array_equal(found.states, np.broadcast_to(y0, (6, 3, n)))


def test_a_constant_function() -> None:
    (s,) = symbols("s")
    equation = MatrixEquation("constant", np.zeros((3, 3)), np.eye(3), sympy.Rational(1, 2), s)
    found = CompiledTrajectories(equation, PAIR, "float64").adaptive([1.0, 2.0, 3.0], [0.0, 2.0], 1e-6, 0.0)
    np.testing.assert_allclose(found.states[1, 0], [2.0, 3.0, 4.0], rtol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_start_that_is_not_finite(bad: float) -> None:
    """It is lost, whichever of a group it is, and the others are as they are alone."""
    y0 = starts(6, 5)
    y0[2, 3] = bad
    compiled = CompiledTrajectories(mixed(5), PAIR, "float64")
    found = compiled.adaptive(y0, [0.0, 1.0], 1e-6, 1e-6)
    assert found.status.tolist() == [DONE, DONE, LOST_AT_START, DONE, DONE, DONE]
    assert np.isnan(found.states[1, 2]).all()
    clean = compiled.adaptive(np.delete(y0, 2, 0), [0.0, 1.0], 1e-6, 1e-6)
    np.testing.assert_array_equal(np.delete(found.states, 2, 1), clean.states)
    with pytest.raises(Diverged, match="start or its slope is not finite at t = 0"):
        found.check()
    assert not np.isfinite(compiled.fixed(y0, [0.0, 0.1]).states[1, 2]).all()


def test_an_explosion_has_a_status_and_leaves_the_others_alone() -> None:
    (s,) = symbols("s")
    equation = MatrixEquation("explosion", np.zeros((3, 3)), np.eye(3), s**2, s)  # y = 1 / (1 / y0 - t)
    y0 = np.array([[-1.0, 0.1, 0.2], [0.1, 1.0, 0.3]])
    compiled = CompiledTrajectories(equation, PAIR, "float64")
    found = compiled.adaptive(y0, [0.0, 0.5, 2.0], 1e-8, 1e-8)
    assert found.status.tolist() == [DONE, TOO_SMALL]
    np.testing.assert_allclose(found.states[2, 0], 1 / (1 / y0[0] - 2.0), rtol=1e-7)
    assert found.ended[1] == pytest.approx(1.0, abs=1e-6)
    assert np.isnan(found.states[2, 1]).all()
    with pytest.raises(Diverged, match="step size fell"):
        found.check()
    with pytest.raises(Diverged, match="step size fell"):
        general(equation, y0[1], [0.0, 0.5, 2.0], PAIR, 1e-8, 1e-8)


def integrator(**entries: Any) -> FieldIntegrator:
    return FieldIntegrator(parse({"cell": "true-field", "tableau": "rk4", "backend": "native", **entries}),
                           "cpu", "float64")  # fmt: skip


@pytest.mark.parametrize("entries", [{}, {"rtol": 1e-6, "tableau": "dormand-prince54", "per_trajectory": True}])
@pytest.mark.parametrize("shape", [(8,), (2, 3, 8)])
def test_the_integrator_chooses_it(shape: tuple[int, ...], entries: dict[str, Any]) -> None:
    y0, t = stream(0, "start").uniform(-1, 1, shape), np.array([0.0, 0.1, 0.4])
    chosen = integrator(**entries)
    auto, slow = (s.solve(mixed(8), y0, t) for s in (chosen, integrator(engine="general", **entries)))
    assert chosen.engine(mixed(8), len(shape) > 1) == ("cpu", "")
    assert chosen.engines() == {"cpu": ""}
    np.testing.assert_allclose(auto.y, slow.y, rtol=1e-9, atol=1e-10)
    assert (auto.f_calls, auto.accepted, auto.rejected) == (slow.f_calls, slow.accepted, slow.rejected)


@pytest.mark.parametrize("engine", ["cpu", "general"])
def test_a_step_far_too_large(engine: str) -> None:
    """Every engine tells the same step and time."""
    (s,) = symbols("s")
    equation = MatrixEquation("stiff", -100 * np.eye(9), np.eye(9), s**3, s)
    t = np.linspace(0, 60, 61)
    with pytest.raises(Diverged) as lost:
        integrator(engine="general").solve(equation, np.ones(9), t)
    with pytest.raises(Diverged, match=r"at step \d+, t = ") as found:
        integrator(engine=engine).solve(equation, np.ones((3, 9)), t)
    assert str(found.value) == str(lost.value)


@pytest.mark.parametrize("engine", ["cpu", "general"])
def test_a_start_of_another_dimension(engine: str) -> None:
    with pytest.raises(UsageError, match="shape"):
        integrator(engine=engine).solve(mixed(4), np.ones(5), np.array([0.0, 1.0]))


def test_what_cannot_be_compiled() -> None:
    (s,) = symbols("s")
    odd = MatrixEquation("odd", np.eye(2), np.eye(2), sympy.gamma(s), s)
    assert compilable(mixed(200), RK4) == ""
    assert "gamma(s)" in compilable(odd, RK4)
    assert "explicit" in compilable(mixed(2), TABLEAUX["gauss2"])
    with pytest.raises(UsageError, match="cannot be compiled"):
        CompiledTrajectories(odd, RK4, "float64")


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize("n", [1, 16, 33, 128, 1000])
def test_blocks_fit_in_registers(width: int, n: int) -> None:
    (s,) = symbols("s")
    for rows in (1, 2, 4):
        problem = MatrixProblem(s, s, (), n, stages(RK4, "numpy"), Lanes("float32", width), rows)
        assert sum(problem.panels) * width == problem.padded >= n
        assert max(problem.panels) - min(problem.panels) <= 1
        assert rows * max(problem.panels) * problem.ways <= problem.held
