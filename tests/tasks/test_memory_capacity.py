"""Short-term memory of maps written here whose capacity is known: delay lines, orthogonal networks, noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

from odernn.suite.contracts import Array, Budget, Outcome, Solver
from odernn.suite.errors import Diverged, UsageError
from odernn.tasks.audits.memory_capacity import TASK, MemoryCapacity, delayed, held_out_r2, threshold


@dataclass
class Linear:
    """y+ = phi(W y + v u), one block."""

    W: Array
    v: Array
    phi: Any = np.positive

    @property
    def hidden(self) -> int:
        return len(self.W)

    def start(self, batch: int) -> Array:
        return np.zeros((batch, 1, self.hidden))

    def run(self, inputs: Array, state: Array) -> Array:
        states = [state]
        for u in inputs:
            states.append(self.phi(states[-1] @ self.W.T + (u * self.v)[:, None, :]))
        return np.array(states)

    def count(self) -> int:
        return self.W.size + self.v.size


class Noise(Linear):
    def run(self, inputs: Array, state: Array) -> Array:
        return np.random.default_rng(3).standard_normal((len(inputs) + 1, *state.shape))


@dataclass
class Given:
    """A solver that gives one map."""

    cell: Any
    asked: int = 0

    def recurrence(self, inputs: int, seed: int, hidden: int | None = None) -> Any:
        self.asked = inputs
        return self.cell


def examined(cell: Any, **options: Any) -> Outcome:
    return MemoryCapacity(**options).evaluate(cast(Solver, Given(cell)), 0, Budget())


def delay_line(n: int) -> Linear:
    return Linear(np.eye(n, k=-1), np.eye(n)[0])


def orthogonal(n: int, radius: float) -> Linear:
    rng = np.random.default_rng(1)
    W = radius * np.linalg.qr(rng.standard_normal((n, n)))[0]
    return Linear(W, rng.standard_normal(n))


@pytest.mark.parametrize("n", [1, 5, 20])
def test_a_delay_line_of_n_units_remembers_n_inputs(n: int) -> None:
    found = examined(delay_line(n), lags=32)
    assert found.metrics["memory_capacity"] == pytest.approx(n, abs=1e-6)
    assert found.metrics["memory_capacity_per_unit"] == pytest.approx(1, abs=1e-6)
    curve = found.curves["capacity"]
    assert curve["lag"] == list(range(32))
    assert curve["r2"][:n] == pytest.approx([1.0] * n, abs=1e-6)
    assert max(curve["r2"][n:]) < found.properties["threshold"]


def test_a_linear_orthogonal_network_remembers_nearly_as_many_inputs_as_it_has_units() -> None:
    """Jaeger 2001: a linear network whose controllability matrix has full rank reaches its size."""
    found = examined(orthogonal(16, 0.97), lags=96)
    assert found.metrics["memory_capacity"] == pytest.approx(16, rel=0.03)


def test_the_r2_of_one_leaky_unit_is_that_of_its_closed_form() -> None:
    """y+ = a y + u: the squared correlation of y with u at lag k is (1 - a^2) a^(2 k), and the sum is 1."""
    a = 0.8
    found = examined(Linear(np.array([[a]]), np.ones(1)), lags=24)
    expected = (1 - a**2) * a ** (2 * np.arange(24))
    assert found.curves["capacity"]["r2"] == pytest.approx(expected, abs=0.02)
    assert found.metrics["memory_capacity"] == pytest.approx(1, abs=0.05)


def test_a_state_of_noise_remembers_nothing() -> None:
    noise = Noise(np.eye(30), np.ones(30))
    found = examined(noise, sequences=20)
    assert found.metrics["memory_capacity"] == 0
    assert np.mean(found.curves["capacity"]["r2"]) == pytest.approx(-30 / 4000, rel=0.5)  # -D / N


def test_a_state_that_never_moves_remembers_nothing() -> None:
    found = examined(Linear(np.zeros((3, 3)), np.zeros(3)), lags=8)
    assert found.metrics["memory_capacity"] == 0


@pytest.mark.parametrize("gain", [0.2, 0.9, 1.5])
@pytest.mark.parametrize("n", [2, 9])
def test_no_capacity_is_above_the_number_of_units(n: int, gain: float) -> None:
    cell = orthogonal(n, gain)
    cell.phi = np.tanh
    assert examined(cell, lags=48).metrics["memory_capacity"] <= 1.03 * n


def test_a_nonlinear_network_remembers_less_of_louder_inputs() -> None:
    cell = orthogonal(12, 0.97)
    cell.phi = np.tanh
    quiet, loud = (examined(cell, amplitude=a).metrics["memory_capacity"] for a in (0.01, 2.0))
    assert quiet > 1.5 * loud


def test_every_block_is_read() -> None:
    """A second block that holds what the first one forgets."""

    class Blocks(Linear):
        def start(self, batch: int) -> Array:
            return np.zeros((batch, 2, 4))

        def run(self, inputs: Array, state: Array) -> Array:
            flat = delay_line(8).run(inputs, state.reshape(len(state), 1, 8))
            return flat.reshape(len(flat), len(state), 2, 4)

    assert examined(Blocks(np.eye(4), np.ones(4))).metrics["memory_capacity"] == pytest.approx(8, abs=1e-6)


def test_delayed_by_hand() -> None:
    found = delayed(np.array([[1.0], [2.0], [3.0]]), 5)[:, 0]
    assert found.tolist() == [[1, 0, 0, 0, 0], [2, 1, 0, 0, 0], [3, 2, 1, 0, 0]]


def test_the_readout_is_that_of_least_squares_where_nothing_is_shrunk() -> None:
    rng = np.random.default_rng(0)
    x, held = rng.standard_normal((2, 300, 4)) * [1, 100, 1e-3, 1] + [0, 5, 0, -3]
    y, y_held = rng.standard_normal((2, 300, 2)) + 0.01 * np.stack([x, held])[..., 1:2]
    design, design_held = (np.column_stack([v, np.ones(300)]) for v in (x, held))
    guess = design_held @ np.linalg.lstsq(design, y, rcond=None)[0]
    expected = 1 - ((y_held - guess) ** 2).mean(0) / y_held.var(0)
    assert held_out_r2(x, y, held, y_held, 1e-14) == pytest.approx(expected, abs=1e-9)


def test_the_threshold_is_twice_the_spread_of_nothing() -> None:
    """The held-out R^2 of independent features and targets, drawn here many times."""
    rng = np.random.default_rng(0)
    shapes = ((600, 10), (600, 40), (600, 10), (600, 40))
    found = np.array([held_out_r2(*map(rng.standard_normal, shapes), 1e-12) for _ in range(20)])
    assert found.std() == pytest.approx(threshold(10, 600) / 2, rel=0.15)
    assert found.mean() == pytest.approx(-10 / 600, rel=0.35)  # the lags of one draw share its fitted samples


def test_the_same_seed_gives_the_same_result() -> None:
    first, second = (examined(orthogonal(6, 0.9), lags=8).curves for _ in range(2))
    assert first == second


def test_a_state_that_leaves_the_numbers_is_lost() -> None:
    with pytest.raises(Diverged, match="the state is not finite"):
        examined(orthogonal(4, 1e9))


@pytest.mark.parametrize(
    "options",
    [{"length": 1}, {"lags": 0}, {"sequences": 1}, {"washout": 10, "lags": 20}, {"ridge": 0.0}, {"amplitude": -1.0}],
)
def test_what_it_refuses(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="memory-capacity needs"):
        TASK(**options)
