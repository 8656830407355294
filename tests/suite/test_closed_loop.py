"""A trained model as one map of its whole state: against its own step-by-step forecasts, torch.nn and autograd."""

import numpy as np
import pytest
import torch

from odernn.solvers import ODERNN
from odernn.solvers.baselines import GRU, LSTM
from odernn.suite.learn import TorchForecaster
from odernn.tasks.chaos.map_exponents import map_exponents

INCREMENT = np.array([0.1, 0.2, 0.05])


def model(name, dtype=torch.float64):
    torch.manual_seed(3)
    if name == "lstm":
        return LSTM(3, 7, 3, dtype=dtype)
    if name == "gru":
        return GRU(3, 7, 3, dtype=dtype)
    if name == "companion":
        return ODERNN(3, 5, "companion", "rk4", 0.5, ode_order=2, output_size=3, dtype=dtype)
    return ODERNN(3, 7, name, "heun", 0.5, output_size=3, dtype=dtype)


SIZES = {"lstm": 14, "gru": 7, "leaky": 7, "lem": 14, "companion": 10}
NAMES = sorted(SIZES)


def context(batch=4, length=6):
    return np.random.default_rng(0).standard_normal((length, batch, 3))


def forecaster(name, dtype=torch.float64):
    return TorchForecaster(model(name, dtype), torch.device("cpu"), dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NAMES)
def test_the_loop_is_begin_and_step(name, dtype):
    trained, given = forecaster(name, dtype), context()
    closed = trained.closed_loop(INCREMENT)
    state = closed.start(given)
    assert state.shape == (4, SIZES[name] + 3)
    assert state.dtype == np.float64
    output, last = trained.begin(given), given[-1]
    for _ in range(20):
        last = last + INCREMENT * output
        assert closed.observe(state) == pytest.approx(last, abs=1e-12 if dtype == torch.float64 else 1e-5)
        output = trained.step(last)
        state = closed.step(state)


@pytest.mark.parametrize("name", NAMES)
def test_each_of_a_batch_goes_its_own_way(name):
    closed = forecaster(name).closed_loop(INCREMENT)
    given = context()
    state = closed.start(given)
    for _ in range(3):
        state = closed.step(state)
    order = [2, 0, 3, 1]
    assert closed.start(given[:, order]) == pytest.approx(closed.start(given)[order], abs=1e-13)
    assert closed.step(state[order]) == pytest.approx(closed.step(state)[order], abs=1e-13)
    for i in range(4):
        assert closed.step(state[i : i + 1])[0] == pytest.approx(closed.step(state)[i], abs=1e-13)
    assert closed.step(np.repeat(state, 40, axis=0))[::40] == pytest.approx(closed.step(state), abs=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_the_loop_is_a_copy_and_keeps_the_given_state(name):
    trained = forecaster(name)
    closed = trained.closed_loop(INCREMENT)
    state = closed.start(context())
    kept = state.copy()
    after = closed.step(state)
    assert (state == kept).all()
    with torch.no_grad():
        for weight in trained._model.parameters():
            weight.zero_()
    assert (closed.step(state) == after).all()
    assert trained._state is None  # the forecaster's own memory is left alone


def test_the_state_of_an_lstm_is_hidden_then_cell():
    trained = forecaster("lstm")
    state = trained.closed_loop(INCREMENT).start(context())
    with torch.no_grad():
        _, (h, c) = trained._model.cell(torch.as_tensor(context()))
    assert state[:, :7] == pytest.approx(h[0].numpy(), abs=1e-14)
    assert state[:, 7:14] == pytest.approx(c[0].numpy(), abs=1e-14)


@pytest.mark.parametrize("name", ["gru", "leaky"])
def test_exponents_of_the_loop_equal_those_of_autograd(name):
    """The whole spectrum of a short run from exact Jacobians: determinants, step by step."""
    closed = forecaster(name).closed_loop(INCREMENT)
    states = [closed.start(context(1, 200))]
    for _ in range(60):
        states.append(closed.step(states[-1]))
    trained, size = model(name), SIZES[name]

    def step(state):
        hidden = state[:size].reshape((1, 1, size))
        output, after = trained(state[None, None, size:], hidden)
        return torch.cat([after.flatten(), state[size:] + torch.as_tensor(INCREMENT) * output.flatten()])

    sums = []
    for state in states[6:-1]:
        J = torch.autograd.functional.jacobian(step, torch.as_tensor(state[0]))
        sums.append(torch.linalg.slogdet(J)[1].item())
    found = map_exponents(closed, states[0], 60, 1.0, np.random.default_rng(0), size + 3)
    assert found.exponents.sum() == pytest.approx(np.mean(sums), abs=1e-3)
