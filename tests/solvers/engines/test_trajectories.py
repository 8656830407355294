"""Compiled initial value problems against the general path, SciPy and exact solutions."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from odernn.solvers.backends.native import Native
from odernn.solvers.engines import calls, machine, trajectories
from odernn.solvers.engines.trajectories import CompiledTrajectories, compilable
from odernn.solvers.tableau import Tableau
from odernn.solvers.tableaux import TABLEAUX
from odernn.suite.equation import TIME, Equation, symbols
from odernn.suite.errors import Diverged, UsageError
from odernn.suite.seeds import stream
from odernn.tasks.problems import PROBLEMS

EXPLICIT = [t for t in TABLEAUX.values() if t.explicit]
PAIRS = [t for t in EXPLICIT if t.b_hat is not None]
NAMED = ["lorenz", "lotka-volterra", "brusselator", "van-der-pol", "arenstorf"]


def forced() -> Equation:
    """Non-linear, non-autonomous, with a parameter, functions of time and a product with time."""
    x, v = symbols("x v")
    (a,) = symbols("a")
    return Equation("forced", (x, v), (v * sympy.cos(TIME), -sympy.sin(x) - a * v + TIME / 5), {a: 0.3})


def general(equation: Equation, y0: Any, times: Any, tableau: Tableau, *tolerances: float, controller: str = "") -> Any:
    """The same by the native backend in NumPy."""
    function = equation.function("numpy")

    def field(t: Any, y: Any, drive: Any, weights: Any) -> Any:
        return function(t, y)

    times = np.asarray(times).tolist()
    if tolerances:
        return Native().adaptive(field, y0, times, tableau, *tolerances, controller=controller or "elementary")
    return Native().fixed(field, y0, times, tableau)


@pytest.mark.parametrize(
    ("name", "dtype"), [*((t.name, "float64") for t in EXPLICIT), *((n, "float32") for n in ("euler", "rk4", "dop853"))]
)
def test_fixed_steps_are_those_of_the_general_path(name: str, dtype: str) -> None:
    tableau, tolerance = TABLEAUX[name], 2e-13 if dtype == "float64" else 1e-4
    assert isinstance(tableau, Tableau)
    times = np.cumsum(stream(0, "times").uniform(0.01, 0.05, 40)) + 0.7
    y0 = stream(1, "start").uniform(-1, 1, (5, 2)).astype(dtype)
    found = CompiledTrajectories(forced(), tableau, dtype).fixed(y0, times)
    expected = general(forced(), y0, times, tableau)
    assert found.states.dtype == dtype
    assert found.states.shape == (40, 5, 2)
    np.testing.assert_allclose(found.states, expected.states, rtol=tolerance, atol=tolerance)
    assert set(found.f_calls.tolist()) == {expected.f_calls}
    assert set(found.accepted.tolist()) == {expected.accepted}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("batch", [1, 3, 64, 200])
def test_classic_problems_in_batches(name: str, batch: int) -> None:
    problem = PROBLEMS[name]
    equation = problem.equation
    assert isinstance(equation, Equation)
    drawn = stream(2, "start").standard_normal((batch, equation.dimension))
    y0 = np.asarray(problem.y0) + 1e-5 * drawn
    times = np.linspace(problem.t0, problem.t0 + 0.5, 26)
    found = CompiledTrajectories(equation, TABLEAUX["rk4"], "float64").fixed(y0, times, [0, 7, 25])
    expected = general(equation, y0, times, TABLEAUX["rk4"]).states[[0, 7, 25]]
    np.testing.assert_allclose(found.states, expected, rtol=1e-10, atol=1e-12)


def test_many_components() -> None:
    problem = PROBLEMS["pleiades"]
    times = np.linspace(0, 0.1, 11)
    assert isinstance(problem.equation, Equation)
    found = CompiledTrajectories(problem.equation, TABLEAUX["rk4"], "float64").fixed(problem.y0, times)
    expected = general(problem.equation, np.array(problem.y0), times, TABLEAUX["rk4"])
    np.testing.assert_allclose(found.states[:, 0], expected.states, rtol=1e-12)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads: int) -> None:
    y0 = stream(3, "start").standard_normal((300, 2))
    compiled = CompiledTrajectories(forced(), TABLEAUX["dormand-prince54"], "float64")
    times = np.linspace(0, 2, 9)
    np.testing.assert_array_equal(compiled.fixed(y0, times).states, compiled.fixed(y0, times, threads=threads).states)
    alone, shared = compiled.adaptive(y0, times, 1e-6, 1e-6), compiled.adaptive(y0, times, 1e-6, 1e-6, threads=threads)
    np.testing.assert_array_equal(alone.states, shared.states)
    np.testing.assert_array_equal(alone.f_calls, shared.f_calls)


def test_other_parameters_need_no_new_code(monkeypatch: pytest.MonkeyPatch) -> None:
    y0, times = np.array([1.0, 0.5]), np.linspace(0, 1, 11)
    CompiledTrajectories(forced(), TABLEAUX["rk4"], "float64").fixed(y0, times)

    def refuse(text: str) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(machine, "_compiled", refuse)
    changed = forced().with_parameters({"a": 2.5})
    found = CompiledTrajectories(changed, TABLEAUX["rk4"], "float64").fixed(y0, times)
    np.testing.assert_allclose(found.states[:, 0], general(changed, y0, times, TABLEAUX["rk4"]).states, rtol=1e-13)


@pytest.mark.parametrize("controller", ["elementary", "pi"])
@pytest.mark.parametrize("tableau", PAIRS, ids=lambda t: t.name)
def test_pairs_take_the_steps_of_the_general_path(tableau: Tableau, controller: str) -> None:
    y0, times = np.array([0.5, -1.0]), [0.3, 0.31, 2.0, 9.0]
    compiled = CompiledTrajectories(forced(), tableau, "float64")
    for tolerances in ((1e-3, 1e-5), (1e-7, 1e-7)):
        found = compiled.adaptive(y0, times, *tolerances, controller)
        expected = general(forced(), y0, times, tableau, *tolerances, controller=controller)
        found.check()
        # where the estimate is near rounding, so are the step sizes that it chooses
        np.testing.assert_allclose(found.states[:, 0], expected.states, rtol=1e-9, atol=1e-10)
        counts = (found.f_calls[0], found.accepted[0], found.rejected[0])
        assert counts == (expected.f_calls, expected.accepted, expected.rejected)


@pytest.mark.parametrize("name", NAMED)
def test_steps_on_classic_problems(name: str) -> None:
    problem = PROBLEMS[name]
    assert isinstance(problem.equation, Equation)
    pair, times = TABLEAUX["dormand-prince54"], [problem.t0, problem.t0 + 1.0, problem.t0 + 2.0]
    found = CompiledTrajectories(problem.equation, pair, "float64").adaptive(problem.y0, times, 1e-6, 1e-8)
    expected = general(problem.equation, np.array(problem.y0), times, pair, 1e-6, 1e-8)
    np.testing.assert_allclose(found.states[:, 0], expected.states, rtol=1e-9, atol=1e-10)
    assert (found.f_calls[0], found.rejected[0]) == (expected.f_calls, expected.rejected)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("tableau", ["dormand-prince54", "fehlberg45"])
def test_a_batch_is_the_same_as_one_by_one(dtype: str, tableau: str) -> None:
    """Trajectories that need different numbers of steps; a restart of the call changes nothing either."""
    y0 = stream(4, "start").standard_normal((11, 2)) * np.geomspace(0.01, 300, 11)[:, None]
    tolerances = (1e-6, 1e-8) if dtype == "float64" else (1e-3, 1e-3)
    compiled = CompiledTrajectories(forced(), TABLEAUX[tableau], dtype)
    together = compiled.adaptive(y0, [0.0, 0.5, 15.0], *tolerances)
    together.check()
    assert len(set(together.accepted.tolist())) > 3
    for i, start in enumerate(y0):
        alone = compiled.adaptive(start, [0.0, 0.5, 15.0], *tolerances)
        np.testing.assert_array_equal(together.states[:, i], alone.states[:, 0])
        assert (together.f_calls[i], together.rejected[i]) == (alone.f_calls[0], alone.rejected[0])


def test_a_call_may_stop_and_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    y0 = stream(5, "start").standard_normal((5, 2))
    compiled = CompiledTrajectories(forced(), TABLEAUX["bogacki-shampine32"], "float64")
    whole = compiled.adaptive(y0, [0.0, 1.0, 5.0], 1e-6, 1e-6)
    monkeypatch.setattr(trajectories, "ATTEMPTS", 7)
    parts = compiled.adaptive(y0, [0.0, 1.0, 5.0], 1e-6, 1e-6)
    np.testing.assert_array_equal(whole.states, parts.states)
    np.testing.assert_array_equal(whole.accepted, parts.accepted)


def test_against_scipy_at_tight_tolerance() -> None:
    problem = PROBLEMS["lorenz"]
    equation = problem.equation
    assert isinstance(equation, Equation)
    times = np.linspace(0, 3, 4)
    theirs = solve_ivp(equation.function(), (0, 3), problem.y0, "DOP853", times, rtol=1e-13, atol=1e-13)
    ours = CompiledTrajectories(equation, TABLEAUX["dormand-prince54"], "float64")
    found = ours.adaptive(problem.y0, times, 1e-12, 1e-12)
    np.testing.assert_allclose(found.states[:, 0], theirs.y.T, rtol=1e-8)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun2", 2), ("rk4", 4), ("dormand-prince54", 5)])
def test_the_order_of_the_error(name: str, order: int) -> None:
    """Halved steps divide the error on a non-autonomous problem by 2^order."""
    exact = solve_ivp(forced().function(), (0, 2), [0.5, 1.0], "DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
    compiled = CompiledTrajectories(forced(), TABLEAUX[name], "float64")
    errors = [
        np.linalg.norm(compiled.fixed([0.5, 1.0], np.linspace(0, 2, n + 1), [n]).states[0, 0] - exact)
        for n in (20, 40, 80)
    ]
    assert [np.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([order, order], abs=0.35)


def test_lost_trajectories_have_a_status_and_leave_the_others_alone() -> None:
    (y,) = symbols("y")
    explosion = Equation("explosion", (y,), (y**2,))  # y = 1 / (1 / y0 - t)
    compiled = CompiledTrajectories(explosion, TABLEAUX["dormand-prince54"], "float64")
    found = compiled.adaptive([[-1.0], [0.1], [1.0]], [0.0, 0.5, 2.0], 1e-8, 1e-8)
    assert (found.status == 0).tolist() == [True, True, False]
    np.testing.assert_allclose(found.states[:, :2, 0].T, [[-1, -1 / 1.5, -1 / 3], [0.1, 1 / 9.5, 0.125]], rtol=1e-7)
    assert found.ended[2] == pytest.approx(1.0, abs=1e-6)
    assert np.isnan(found.states[2, 2, 0])
    assert found.states[1, 2, 0] == pytest.approx(2.0, rel=1e-6)
    with pytest.raises(Diverged, match="step size fell"):
        found.check()
    with pytest.raises(Diverged, match="step size fell"):
        general(explosion, np.array([1.0]), [0.0, 0.5, 2.0], TABLEAUX["dormand-prince54"], 1e-8, 1e-8)


def test_a_start_without_a_finite_slope() -> None:
    (y,) = symbols("y")
    equation = Equation("pole", (y,), (1 / y,))
    found = CompiledTrajectories(equation, TABLEAUX["dormand-prince54"], "float64").adaptive(
        [0.0], [0.0, 1.0], 1e-6, 1e-6
    )
    with pytest.raises(Diverged, match="slope is not finite at t = 0"):
        found.check()
    constant = CompiledTrajectories(Equation("constant", (y,), (sympy.Integer(1),)), TABLEAUX["fehlberg45"], "float32")
    for start in (np.nan, np.inf):
        found = constant.adaptive([[start], [2.0]], [0.0, 1.0], 1e-3, 1e-3)
        assert np.isnan(found.states[1, 0, 0])
        assert found.states[1, 1, 0] == pytest.approx(3.0, abs=1e-5)
        with pytest.raises(Diverged, match="start"):
            found.check()


def test_a_single_time_is_the_start() -> None:
    compiled = CompiledTrajectories(forced(), TABLEAUX["dormand-prince54"], "float64")
    for found in (compiled.fixed([1.0, 2.0], [0.5]), compiled.adaptive([1.0, 2.0], [0.5], 1e-3, 1e-3)):
        np.testing.assert_array_equal(found.states, [[[1.0, 2.0]]])
        assert found.f_calls.tolist() == [0]


def test_what_cannot_be_compiled() -> None:
    x, y = symbols("x y")
    rk4 = TABLEAUX["rk4"]
    assert compilable(forced(), rk4) == ""
    assert "function is no equation" in compilable(lambda t, y: -y, rk4)
    assert "explicit" in compilable(forced(), TABLEAUX["implicit-euler" if "implicit-euler" in TABLEAUX else "gauss2"])
    assert "gamma(x)" in compilable(Equation("odd", (x,), (sympy.gamma(x),)), rk4)
    assert "reads y" in compilable(Equation("open", (x,), (x * y,)), rk4)
    many = symbols(" ".join(f"x{i}" for i in range(65)))
    assert "65" in compilable(Equation("large", many, many), rk4)
    with pytest.raises(UsageError, match="cannot be compiled"):
        CompiledTrajectories(Equation("odd", (x,), (sympy.gamma(x),)), rk4, "float64")


def test_arguments_that_do_not_fit() -> None:
    compiled = CompiledTrajectories(forced(), TABLEAUX["rk4"], "float64")
    with pytest.raises(UsageError, match="shape"):
        compiled.fixed([1.0, 2.0, 3.0], [0.0, 1.0])
    with pytest.raises(UsageError, match="strictly increasing"):
        compiled.fixed([1.0, 2.0], [0.0, 1.0, 1.0])
    with pytest.raises(UsageError, match="indices"):
        compiled.fixed([1.0, 2.0], [0.0, 1.0], [2])
    with pytest.raises(UsageError, match="no embedded weights"):
        compiled.adaptive([1.0, 2.0], [0.0, 1.0], 1e-3, 1e-3)
    with pytest.raises(UsageError, match="not a tolerance"):
        CompiledTrajectories(forced(), replace(PAIRS[0]), "float64").adaptive([1.0, 2.0], [0.0, 1.0], -1.0, 1e-3)
    with pytest.raises(UsageError, match="float16"):
        CompiledTrajectories(forced(), TABLEAUX["rk4"], "float16")


def test_threads_find_their_code_while_others_drop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MOST_CODES", 1)
    monkeypatch.setattr(calls, "_CODES", {})
    rk4 = TABLEAUX["rk4"]

    def made(key: int) -> int:
        time.sleep(1e-5)  # others run meanwhile
        return key

    def asked(number: int) -> list[int]:
        return [calls.kept(rk4, (key,), partial(made, key)) for key in range(number, number + 500)]

    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(asked, range(4))):
            assert found == list(range(number, number + 500))
    assert len(calls._CODES) == 1
