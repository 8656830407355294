"""The floating-point ceiling: known growth with the step, and what float32 allows."""

import math

import numpy as np
import pytest

from odernn.suite.contracts import Budget, Trajectory
from odernn.suite.errors import UsageError
from odernn.tasks.chaos.ceiling import Ceiling, agreement
from odernn.tasks.chaos.systems import SYSTEMS

pytestmark = pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="no extended precision on this machine")


class Classical:
    """The classical Runge-Kutta method in a dtype."""

    def __init__(self, dtype, learns=False):
        self.dtype, self.learns = dtype, learns

    def solve(self, equation, y0, t, inputs=None):
        f, y, states = equation.function(), y0.astype(self.dtype), [y0]
        for h in np.diff(t).astype(self.dtype):
            k1 = f(0.0, y)
            k2 = f(0.0, y + h / 2 * k1)
            k3 = f(0.0, y + h / 2 * k2)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + f(0.0, y + h * k3))
            states.append(y.astype(np.float64))
        return Trajectory(t, np.array(states), 4 * (len(t) - 1), len(t) - 1)


def test_lorenz63_in_two_dtypes():
    # found when the suite was designed, against a Taylor series of 192 bits; about 12 in float32
    task = Ceiling(initial_conditions=16, halvings=2, horizon=20.0)
    double, single = (task.evaluate(Classical(dtype), 0, Budget()) for dtype in (np.float64, np.float32))
    curve = double.curves["ceiling"]
    assert curve["step"] == pytest.approx([0.02, 0.01, 0.005])
    assert curve["valid_prediction_time"] == pytest.approx([7.4, 11.4, 15.3], rel=0.15)
    assert double.metrics["ceiling"] == max(curve["valid_prediction_time"])
    assert double.metrics["ceiling_step"] == pytest.approx(0.005)
    assert single.metrics["ceiling"] == pytest.approx(12.0, abs=1.8)
    intervals = math.ceil(20.0 / SYSTEMS["lorenz63"].exponent / 0.02)
    assert double.cost["f_calls"] == 4 * 7 * intervals  # once at dt, twice at half of it, four times at a quarter


def test_refinement_ends_when_it_no_longer_helps():
    task = Ceiling(initial_conditions=8, halvings=9, horizon=16.0, coarsest=0.5)
    curve = task.evaluate(Classical(np.float32), 0, Budget()).curves["ceiling"]
    assert len(curve["step"]) < 6
    assert curve["step"][0] == pytest.approx(0.01)


def test_truths_agree_for_as_long_as_is_said():
    chaotic = SYSTEMS["lorenz63"]
    starts = np.array([[1.0, 2.0, 20.0], [-5.0, -6.0, 25.0]])
    assert agreement(chaotic, starts, chaotic.dt * np.arange(276)) == pytest.approx(275 * chaotic.dt * chaotic.exponent)
    wrong = np.zeros((276, 2, 3))
    assert agreement(chaotic, starts, chaotic.dt * np.arange(276), wrong) == 0.0


def test_bad_parameters():
    for bad in ({"initial_conditions": 0}, {"horizon": 0.0}, {"coarsest": 3.0}, {"halvings": -1}, {"system": "x"}):
        with pytest.raises(UsageError):
            Ceiling(**bad)
    with pytest.raises(UsageError, match="true-field"):
        Ceiling().evaluate(Classical(np.float64, learns=True), 0, Budget())
