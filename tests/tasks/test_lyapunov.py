"""Lyapunov exponents: the method on maps and flows whose exponents are known in closed form, published values, and the
exponents of stepped maps."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import sympy

from odernn.suite.contracts import Budget, Trajectory
from odernn.suite.equation import Equation, symbols
from odernn.suite.errors import UsageError
from odernn.tasks.chaos import lyapunov
from odernn.tasks.chaos.kaplan_yorke import kaplan_yorke
from odernn.tasks.chaos.lyapunov import Lyapunov, exact_sum, exponents, map_exponents, summary
from odernn.tasks.chaos.systems import SYSTEMS
from odernn.tasks.chaos.tangent import advance
from odernn.tasks.chaos.variational import Variational


@dataclass(frozen=True)
class Explicit:
    """Euler's method or the classical one, `steps` an interval, on whatever field it is given."""

    method: str = "rk4"
    steps: int = 1
    learns: bool = False

    def solve(self, equation, y0, t, inputs=None):
        f, y, calls, states = equation.function(), y0, 0, [y0]
        for left, right in pairwise(t):
            h = (right - left) / self.steps
            for _ in range(self.steps):
                k1 = f(left, y)
                if self.method == "euler":
                    y, calls = y + h * k1, calls + 1
                    continue
                k2 = f(left, y + h / 2 * k1)
                k3 = f(left, y + h / 2 * k2)
                k4 = f(left, y + h * k3)
                y, calls = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), calls + 4
            states.append(y)
        return Trajectory(t, np.array(states), calls, len(t) - 1)


def henon_field():
    """Euler's method with step 1 on this field is the Henon map."""
    x, y = symbols("x y")
    return Equation("henon", (x, y), (1 + y - sympy.Rational(7, 5) * x**2 - x, sympy.Rational(3, 10) * x - y))


def linear_field():
    x, y, z = symbols("x y z")
    return Equation("linear", (x, y, z), (x / 2 + y, -y, z / 10 - 2 * z))


def test_the_henon_map():
    """Sum ln 0.3 exactly; 0.41922 (Sprott)."""

    class Henon:
        equation = henon_field()
        dt = 1.0

    starts = 0.1 * np.random.default_rng(0).random((64, 2))
    frame = np.broadcast_to(np.eye(2), (64, 2, 2)).copy()
    found, calls = map_exponents(Explicit("euler"), Henon, starts, (100, 1500), frame, 1.0)
    spectrum = summary(found)
    assert spectrum.total == pytest.approx(math.log(0.3), abs=1e-12)
    assert spectrum.exponents[0] == pytest.approx(0.41922, abs=4 * spectrum.errors[0])
    assert spectrum.errors[0] < 0.003
    assert spectrum.kaplan_yorke == pytest.approx(1.25827, abs=0.003)
    assert calls == 1600


def test_a_linear_field_has_its_eigenvalues():
    found = exponents(linear_field(), np.zeros((2, 3)), 100.0, np.random.default_rng(0), step=0.1)
    assert np.sort(found, axis=1)[:, ::-1] == pytest.approx(np.array([[0.5, -1.0, -1.9]] * 2), abs=0.02)
    assert found.sum(axis=1) == pytest.approx(-2.4, abs=1e-9)


def test_the_compiled_loop_and_the_vectorised_one_agree():
    chaotic = SYSTEMS["lorenz63"]

    class Plain:
        """The same field for NumPy alone."""

        name, dimension = "plain", 3

        def function(self, library="numpy"):
            if library != "numpy":
                raise UsageError("only NumPy")
            return chaotic.equation.function()

        def jacobian(self, library="numpy"):
            return chaotic.equation.jacobian()

    start, frame = np.array([[1.0, 2.0, 20.0], [-3.0, 1.0, 15.0]]), np.broadcast_to(np.eye(3), (2, 3, 3)).copy()
    one, other = advance(chaotic.equation, 0.02)(start, frame, 50), advance(Plain(), 0.02)(start, frame, 50)
    assert one[0] == pytest.approx(other[0], abs=1e-9)
    assert one[2] == pytest.approx(other[2], abs=1e-9)
    assert one[2].sum(axis=1) == pytest.approx(-(10 + 1 + 8 / 3), abs=1e-6)  # over one unit of time


@pytest.mark.parametrize(
    ("name", "total"),
    [("lorenz63", -(10 + 1 + 8 / 3)), ("lorenz96", -40.0), ("lorenz96-5", -5.0), ("henon-heiles", 0.0)],
)
def test_sums_that_are_known(name, total):
    assert exact_sum(SYSTEMS[name].equation) == pytest.approx(total, abs=1e-12)


def test_the_double_pendulum_keeps_volume_and_roessler_has_no_constant_trace():
    assert exact_sum(SYSTEMS["double-pendulum"].equation) == 0.0
    assert exact_sum(SYSTEMS["roessler"].equation) is None


@pytest.mark.parametrize("name", ["lorenz96-5", "henon-heiles"])
def test_the_method_reproduces_the_sums(name):
    chaotic = SYSTEMS[name]
    rng = np.random.default_rng(1)
    starts = chaotic.on_invariants(np.array(chaotic.start) + 0.01 * rng.standard_normal((2, chaotic.dimension)))
    found = exponents(chaotic.equation, starts, 20.0, rng, chaotic.dt / chaotic.substeps)
    assert found.sum(axis=1) == pytest.approx(exact_sum(chaotic.equation), abs=1e-6)


def test_the_sum_of_the_delay_equation_is_the_trace_of_its_linear_part():
    equation = SYSTEMS["mackey-glass"].equation
    found = exponents(equation, np.full((1, 33), 0.9), 10.0, np.random.default_rng(0), step=0.05)
    assert found.sum() == pytest.approx(exact_sum(equation), rel=1e-4)


AGREEING = ["lorenz63", "roessler", "lorenz96", "mackey-glass", "henon-heiles"]


@pytest.mark.parametrize("name", AGREEING)
def test_stated_numbers_agree_with_published_ones(name):
    chaotic, published = SYSTEMS[name], SYSTEMS[name].published
    if published.exponent is not None:
        allowed = 4 * math.hypot(chaotic.exponent_error, published.exponent_error)
        assert abs(chaotic.exponent - published.exponent) < allowed
    if published.dimension is not None:
        allowed = 4 * math.hypot(chaotic.kaplan_yorke_error, published.dimension_error)
        assert abs(chaotic.kaplan_yorke - published.dimension) < allowed


def test_kuramoto_sivashinsky_beside_the_published_values():
    """The exponent is that of Cvitanovic, Davidchack and Siminos. Edson et al.'s dimension is less by what their
    largest exponent, 0.043, is less, over the size of the first exponent that is well below zero."""
    chaotic = SYSTEMS["kuramoto-sivashinsky"]
    assert abs(chaotic.exponent - 0.048) < 4 * math.hypot(chaotic.exponent_error, 0.0005)
    less = (chaotic.exponent - 0.043) / abs(chaotic.exponents[5])
    assert chaotic.kaplan_yorke - less == pytest.approx(5.198, abs=4 * chaotic.kaplan_yorke_error)
    assert kaplan_yorke(chaotic.exponents) == pytest.approx(chaotic.kaplan_yorke, abs=0.001)
    # an independent Fourier code, without the mean's zero exponent: 0.0485 +- 0.0004, 4.239
    assert abs(chaotic.exponent - 0.0485) < 4 * math.hypot(chaotic.exponent_error, 0.0004)
    without_mean = kaplan_yorke([value for i, value in enumerate(chaotic.exponents) if i != 2])
    assert without_mean == pytest.approx(4.239, abs=4 * chaotic.kaplan_yorke_error)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_the_stated_exponents_are_measured_again(name):
    chaotic = SYSTEMS[name]
    found = lyapunov.reference(name, 8, 30.0)
    allowed = 5 * math.hypot(float(found.errors[0]), chaotic.exponent_error)
    assert abs(found.exponents[0] - chaotic.exponent) < allowed + 0.02 * chaotic.exponent


def test_the_variational_field_is_the_derivative_of_the_step():
    equation = SYSTEMS["lorenz63"].equation
    field, y, q = Variational(equation, 2), np.array([1.0, -2.0, 20.0]), np.array([[1.0, 0.0], [0.0, 1.0], [2.0, -1.0]])
    both = Explicit().solve(field, np.concatenate([y, q.ravel()])[None], np.array([0.0, 0.05])).y[-1, 0]
    epsilon = 1e-6
    for i in range(2):
        ahead, back = (
            Explicit().solve(equation, (y + s * epsilon * q[:, i])[None], np.array([0.0, 0.05])).y[-1, 0]
            for s in (1, -1)
        )
        assert both[3:].reshape(3, 2)[:, i] == pytest.approx((ahead - back) / (2 * epsilon), abs=1e-6)
    with pytest.raises(UsageError, match="explicit method"):
        field.jacobian()


@pytest.mark.parametrize("library", ["torch", "jax", "numba"])
def test_the_variational_field_is_the_same_in_every_library(library):
    pytest.importorskip(library)
    field = Variational(SYSTEMS["lorenz63"].equation, 3)
    y = np.random.default_rng(0).standard_normal(12)
    expected = field.function()(0.0, y)
    if library == "numba":
        found = np.empty(12)
        field.function("numba")(0.0, y, found)
        assert found == pytest.approx(expected, abs=1e-12)
    elif library == "torch":
        import torch

        assert field.function("torch")(0.0, torch.tensor(y)).numpy() == pytest.approx(expected, abs=1e-12)
    else:
        assert np.asarray(field.function("jax")(0.0, y.astype(np.float32))) == pytest.approx(expected, abs=1e-4)


def test_the_audit_tells_an_accurate_map_from_a_coarse_one():
    task = Lyapunov(trajectories=4, time=15.0, flow_time=40.0)
    fine, coarse = (task.evaluate(solver, 0, Budget()) for solver in (Explicit(), Explicit("euler")))
    exact = -(10 + 1 + 8 / 3)
    assert fine.metrics["lyapunov_sum_exact"] == pytest.approx(exact)
    assert fine.metrics["lyapunov_sum"] == pytest.approx(exact, abs=0.01)
    assert abs(coarse.metrics["lyapunov_sum"] - exact) > 0.3
    allowed = 5 * math.hypot(fine.metrics["lyapunov_max_error"], fine.metrics["flow_lyapunov_max_error"])
    assert abs(fine.metrics["lyapunov_max"] - fine.metrics["flow_lyapunov_max"]) < allowed
    assert coarse.metrics["lyapunov_max"] > 1.2  # Euler's map at 0.02 stretches half as much again
    assert fine.properties["published"]["exponent"] == 0.9056
    assert len(fine.curves["lyapunov"]["exponents"]) == len(fine.curves["lyapunov"]["errors"]) == 3
    intervals = round(15.0 / SYSTEMS["lorenz63"].exponent / 0.02)
    assert fine.cost["f_calls"] == 4 * (intervals + round(0.1 * intervals))


def test_bad_parameters_and_learners():
    for bad in ({"trajectories": 1}, {"time": -1.0}, {"flow_time": 0.0}, {"system": "lorenz62"}):
        with pytest.raises(UsageError):
            Lyapunov(**bad)
    with pytest.raises(UsageError, match="true-field"):
        Lyapunov().evaluate(Explicit(learns=True), 0, Budget())
