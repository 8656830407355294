"""The true field: fixed and adaptive grids, inputs, Jacobians, wrong parameters, gradients, flows, other backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from odernn.solvers.field_integrator import FieldIntegrator
from odernn.solvers.solver import build_solver
from odernn.solvers.spec import parse, validate
from odernn.suite.equation import TIME, Equation, symbols
from odernn.suite.errors import Diverged, UsageError
from odernn.tasks.ivp import Ivp

TRUE = {"cell": "true-field", "tableau": "rk4", "backend": "native"}
Y0 = np.array([1.0, 0.5])


def decay() -> Equation:
    (y,) = symbols("y")
    return Equation("decay", (y,), (-y,))


def driven() -> Equation:
    x, y = symbols("x y")
    (a,) = symbols("a")
    return Equation("driven", (x, y), (y - a * x**3 * sympy.cos(TIME), sympy.sin(TIME) * y / 2 - x), {a: 0.5})


def solver(**entries: Any) -> FieldIntegrator:
    return FieldIntegrator(parse({**TRUE, **entries}), "cpu", "float64")


class Forced:
    """y' = u - k y, with a Jacobian or without; counts both."""

    name, dimension = "forced", 1

    def __init__(self, with_jacobian: bool = True) -> None:
        self.calls, self.jacobians, self.with_jacobian = 0, 0, with_jacobian

    def function(self, library: str = "numpy") -> Any:
        if library not in ("numpy", "torch"):
            raise UsageError("no other form.")

        def f(t: Any, y: Any, u: Any = 0.0) -> Any:
            self.calls += 1
            return u - 5 * y

        return f

    def jacobian(self, library: str = "numpy") -> Any:
        if not self.with_jacobian:
            raise UsageError("no Jacobian.")

        def J(t: Any, y: Any, u: Any = 0.0) -> Any:
            self.jacobians += 1
            return (y * 0 - 5)[..., None]

        return J

    def latex(self) -> str:
        return ""


@pytest.mark.parametrize("backend", ["native", "torchdiffeq", "scipy"])
def test_true_field_refines_the_reported_grid(backend: str) -> None:
    t = np.array([0.0, 0.3, 1.0])
    for entries, steps in (({"steps": 4}, 8), ({"step": 0.1}, 10), ({}, 2)):
        built = build_solver({**TRUE, "backend": backend, **entries}, "cpu", "float64", Ivp())
        found = built.solve(decay(), np.array([[1.0], [2.0]]), t)
        assert found.accepted == steps
        assert found.y.shape == (3, 2, 1)
        assert np.allclose(found.y[:, :, 0], np.exp(-t)[:, None] * [1.0, 2.0], rtol=4e-3)  # RK4 with h = 0.7


def test_adaptive_true_field_keeps_its_tolerance() -> None:
    t = np.linspace(0.0, 3.0, 4)
    found = solver(tableau="dormand-prince54", rtol=1e-8).solve(decay(), np.array([1.0]), t)
    assert np.abs(found.y[:, 0] - np.exp(-t)).max() < 1e-7


def test_controller_and_dense_output_reach_the_native_backend() -> None:
    """Dense output takes the steps of one long interval; every reported time is a step's end otherwise."""
    t, entries = np.linspace(0.0, 3.0, 61), {"tableau": "dormand-prince54", "rtol": 1e-8}
    exact = solve_ivp(driven().function(), (0, 3), Y0, "DOP853", t, rtol=1e-13, atol=1e-13).y.T
    land = solver(**entries).solve(driven(), Y0, t)
    dense = solver(**entries, output="dense").solve(driven(), Y0, t)
    pi = solver(**entries, output="dense", controller="pi").solve(driven(), Y0, t)
    assert land.accepted >= 60 > dense.accepted
    for found in (land, dense, pi):
        assert np.abs(found.y - exact).max() < 1e-6
    assert np.abs(pi.y - dense.y).max() > 0


def test_float32_is_computed_in_float32() -> None:
    built = build_solver({**TRUE, "steps": 1000}, "cpu", "float32", Ivp())
    y = built.solve(decay(), np.array([1.0]), np.array([0.0, 1.0])).y[-1, 0]
    assert 1e-9 < abs(y - np.exp(-1.0)) < 1e-4


def test_a_step_far_too_large_diverges() -> None:
    (y,) = symbols("y")
    stiff = Equation("cubic", (y,), (-1000 * y**3,))
    with pytest.raises(Diverged):
        solver(tableau="euler", steps=50).solve(stiff, np.array([1.0]), np.array([0.0, 10.0]))


def test_an_implicit_method_takes_the_equations_jacobian() -> None:
    """Backward Euler on y' = -5 y divides by 1 + 5 h; without a Jacobian differences give the same."""
    t, entries = np.array([0.0, 0.1, 0.4]), {"tableau": "backward-euler"}
    for given in (True, False):
        equation = Forced(given)
        found = solver(**entries).solve(equation, np.ones(1), t)
        np.testing.assert_allclose(found.y[1:, 0], [1 / 1.5, 1 / 1.5 / 2.5], rtol=1e-12)
        assert (equation.jacobians > 0) == given
        assert found.jacobian_calls > 0
        assert found.factorizations > 0
    assert found.f_calls <= equation.calls


@pytest.mark.parametrize("backend", ["native", "torchdiffeq", "torchdiffeq-adjoint", "scipy"])
@pytest.mark.parametrize("entries", [{"steps": 20}, {"tableau": "dormand-prince54", "rtol": 1e-9}])
def test_inputs_are_held(backend: str, entries: dict[str, Any]) -> None:
    """y' = u_i - 5 y on interval i: exponentials in closed form."""
    t, u = np.array([0.0, 0.5, 1.5, 2.0]), np.array([[1.0], [-5.0], [30.0]])
    expected = [2.0]
    for h, value in zip(np.diff(t), u[:, 0], strict=True):
        expected.append(value / 5 + (expected[-1] - value / 5) * np.exp(-5 * h))
    found = solver(backend=backend, **entries).solve(Forced(), np.array([2.0]), t, u)
    np.testing.assert_allclose(found.y[:, 0], expected, rtol=2e-4 if "steps" in entries else 1e-7)
    with pytest.raises(UsageError, match="3 intervals"):
        solver(backend=backend, **entries).solve(Forced(), np.array([2.0]), t, u[:2])


def test_an_implicit_method_with_inputs() -> None:
    t, u = np.array([0.0, 0.1, 0.4]), np.array([[1.0], [2.0]])
    found = solver(tableau="backward-euler").solve(Forced(), np.ones(1), t, u)
    first = (1 + 0.1 * 1) / 1.5
    np.testing.assert_allclose(found.y[1:, 0], [first, (first + 0.3 * 2) / 2.5], rtol=1e-12)


def test_a_wrong_parameter_is_wrong_by_that_much() -> None:
    """y' = -k y with k = 2, solved with k (1 + e)."""
    (y,), (k,) = symbols("y"), symbols("k")
    t = np.array([0.0, 1.0])
    equation = Equation("decay", (y,), (-k * y,), {k: 2.0})
    entries = {"tableau": "dormand-prince54", "rtol": 1e-10, "parameter_error": 0.01}
    assert solver(**entries).solve(equation, np.ones(1), t).y[-1, 0] == pytest.approx(np.exp(-2.02), rel=1e-8)
    own = FieldIntegrator(
        parse({"cell": "true-field", "backend": "scipy", "method": "RK45", "rtol": 1e-10, "parameter_error": 0.01}),
        "cpu",
        "float64",
    )
    assert own.solve(equation, np.ones(1), t).y[-1, 0] == pytest.approx(np.exp(-2.02), rel=1e-8)
    assert solver(parameter_error=0.01).flow(equation).slope(np.ones(1))[0] == pytest.approx(-2.02)
    for without in (decay(), Forced()):
        with pytest.raises(UsageError, match="no parameters"):
            solver(**entries).solve(without, np.ones(1), t)


@pytest.mark.parametrize("backend", ["native", "torchdiffeq", "scipy", "torchdiffeq-adjoint"])
def test_gradient_equals_central_differences(backend: str) -> None:
    """The adjoint's gradient is that of the continuous problem: near for small steps."""
    t, w = np.linspace(0, 1, 3), np.array([0.3, -2.0])
    built = solver(backend=backend, steps=20)

    def last(y: Any) -> float:
        return float(w @ built.solve(driven(), y, t).y[-1])

    expected = [(last(Y0 + e) - last(Y0 - e)) / 2e-5 for e in 1e-5 * np.eye(2)]
    found = built.gradient(driven(), Y0, t, w)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if backend.endswith("adjoint") else 1e-8)


def test_gradient_of_an_implicit_method() -> None:
    """Backward Euler on y' = -5 y: d y_2 / d y_0 = 1 / (1.5 * 2.5)."""
    found = solver(tableau="backward-euler").gradient(Forced(), np.ones(1), np.array([0.0, 0.1, 0.4]), np.array([2.0]))
    assert found == pytest.approx([2 / 3.75])


def test_a_flow_steps_by_any_method() -> None:
    """RK4 and Euler on y' = -y: powers of their stability functions, for a batch, in two backends and dtypes."""
    flow = solver().flow(decay())
    assert flow.slope(np.array([[2.0], [3.0]])).tolist() == [[-2.0], [-3.0]]
    t, y0, z = np.array([0.0, 0.5, 1.0]), np.array([[1.0], [2.0]]), -0.25
    rk4 = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
    for backend in ("native", "scipy"):
        found = flow.rollout(y0, t, "rk4", substeps=2, backend=backend)
        np.testing.assert_allclose(found.y[:, :, 0], np.outer(rk4 ** np.array([0, 2, 4]), [1, 2]), rtol=1e-14)
    single = flow.rollout(y0, t, "euler", dtype="float32")
    np.testing.assert_allclose(single.y[:, 0, 0], [1, 0.5, 0.25], rtol=1e-7)
    with pytest.raises(UsageError, match="did you mean"):
        flow.rollout(y0, t, "rk5")


def test_the_same_method_in_another_backend() -> None:
    built = solver(steps=3)
    other = built.in_backend("scipy")
    assert other.spec.backend == "scipy"
    t = np.array([0.0, 1.0])
    np.testing.assert_allclose(other.solve(driven(), Y0, t).y, built.solve(driven(), Y0, t).y, rtol=1e-13)
    with pytest.raises(UsageError, match="native"):
        solver(tableau="gauss2").in_backend("scipy")
    with pytest.raises(UsageError, match="did you mean 'scipy'"):
        built.in_backend("scipi")


def test_conformance_is_refused_in_single_precision() -> None:
    """Its tolerances are those of float64: in float32 every method would be called wrong."""
    entries = {"cell": "true-field", "tableau": "rk4", "backend": "native", "steps": 1}
    validate(entries, {"name": "conformance"}, "cpu", "float64")
    with pytest.raises(UsageError, match="float64"):
        validate(entries, {"name": "conformance"}, "cpu", "float32")


@pytest.mark.parametrize("entries", [{"steps": 3}, {"step": 0.07}, {}], ids=["steps", "step", "as given"])
def test_compiled_code_takes_the_grid_of_the_general_path(entries: dict[str, float]) -> None:
    t = 5.0 + np.array([0.0, 0.3, 0.35, 1.0])
    for start in (Y0, np.stack([Y0, 2 * Y0, -Y0]), np.ones((2, 3, 2)), np.ones((0, 2))):
        general = solver(engine="general", **entries).solve(driven(), start, t)
        auto = solver(**entries)
        compiled = auto.solve(driven(), start, t)
        assert auto.engines() == ({"cpu": ""} if start.size else {"general": ""})
        np.testing.assert_allclose(compiled.y, general.y, rtol=1e-12)
        assert compiled.y.shape == (4, *start.shape)
        assert (compiled.f_calls, compiled.accepted) == (general.f_calls, general.accepted)


def test_a_grid_of_steps_ends_at_the_times_given() -> None:
    t = np.array([-1.0, -0.1, 0.0, 0.25])
    times, every = solver(step=0.25)._grid(t)
    np.testing.assert_allclose(times, [-1.0, -0.775, -0.55, -0.325, -0.1, 0.0, 0.25], rtol=1e-15)
    assert times[every].tolist() == t.tolist()
    assert every.tolist() == [0, 4, 5, 6]
    assert solver(steps=2)._grid(t)[1].tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("engine", ["cpu", "general"])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (4, 3)])
def test_a_start_of_another_dimension(engine: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"expected \(2,\), or several such, for driven"):
        solver(engine=engine).solve(driven(), np.ones(shape), np.array([0.0, 1.0]))


@pytest.mark.parametrize("engine", ["cpu", "general"])
@pytest.mark.parametrize("steps", [1, 40])
def test_where_a_fixed_grid_is_lost(engine: str, steps: int) -> None:
    """y' = y^2 from 1 ends at t = 1: the step that is lost and its time are told by every engine alike."""
    (y,) = symbols("y")
    t = np.linspace(0.0, 40.0, 41)
    with pytest.raises(Diverged) as lost:
        solver(engine="general", steps=steps).solve(Equation("blow-up", (y,), (y**2,)), np.ones(1), t)
    with pytest.raises(Diverged, match=r"at step \d+, t = ") as found:
        solver(engine=engine, steps=steps).solve(Equation("blow-up", (y,), (y**2,)), np.ones((3, 1)), t)
    assert str(found.value) == str(lost.value)


def test_times_of_two_axes() -> None:
    with pytest.raises(UsageError, match=r"the times have shape \(1, 2\)"):
        solver().solve(driven(), Y0, np.array([[0.0, 1.0]]))
