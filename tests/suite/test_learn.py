"""The training loop: it learns what can be learned, says how a training was lost, and repeats itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from odernn.suite.contracts import Array, Batch, Budget, Feedback, Forecaster, ForecastTask, LearningTask, Outcome
from odernn.suite.learn import TorchForecaster, _Objective, decayed, gradient_ratio, learn, with_feedback
from odernn.suite.seeds import stream

CPU = torch.device("cpu")


class Sum(LearningTask):
    """Give the sum of the inputs so far: linear, so its answer is known."""

    name = "sum"
    primary_metric = "mean_squared_error"
    loss = "mean_squared_error"
    inputs = 1
    outputs = 1
    memory_length = 5

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        inputs = rng.standard_normal((6, size, 1))
        return Batch(inputs, inputs.cumsum(0), np.ones((6, size)))

    def baseline(self) -> dict[str, float]:
        return {"mean_squared_error": 2.5}  # the mean of 0..5: the variance of what came before

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        return {"mean_squared_error": float(((outputs - batch.targets) ** 2).mean())}


class Linear(torch.nn.Module):
    """y+ = decay y + u, with a readout: decay 1 solves the task."""

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = torch.nn.Parameter(torch.tensor(decay, dtype=torch.float64))
        self.gain = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        y = torch.zeros_like(x[0]) if state is None else state
        outputs = []
        for u in x:
            y = self.decay * y + u
            outputs.append(self.gain * y)
        return torch.stack(outputs), y


def test_learns_the_running_sum() -> None:
    model = Linear(0.5)
    found = learn(model, Sum(), 0, Budget(updates=300, learning_rate=0.02), CPU, torch.float64)
    assert found.outcome.status == "ok"
    assert model.decay.item() == pytest.approx(1.0, abs=0.02)
    assert found.outcome.metrics["train_loss"] < 0.02
    marks = found.outcome.curves["learning"]
    assert marks["updates"][-1] == 300
    assert marks["test"][-1] < marks["test"][0]


def test_training_is_adam_with_clipping_on_named_streams() -> None:
    """The same loop written out with torch's own parts: parameters, losses, the curve and what is called train_loss."""
    budget = Budget(updates=20, batch=5, learning_rate=0.05, clip=0.3, evaluations=4)
    model, twin = Linear(0.5), Linear(0.5)
    found = learn(model, Sum(), 3, budget, CPU, torch.float64).outcome
    rng, validation = stream(3, "sum/train"), Sum().batch(100, stream(3, "sum/validation"))
    adam, losses, tests = torch.optim.Adam(twin.parameters(), lr=0.05), [], []

    def loss_on(batch: Batch) -> Tensor:
        return torch.nn.functional.mse_loss(twin(torch.tensor(batch.inputs))[0], torch.tensor(batch.targets))

    for _ in range(20):
        loss = loss_on(Sum().batch(5, rng))
        adam.zero_grad()
        loss.backward()
        assert torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.3) > 0.3  # so that the bound acts
        adam.step()
        losses.append(loss.item())
        tests.append(loss_on(validation).item())
    assert [p.item() for p in model.parameters()] == pytest.approx([p.item() for p in twin.parameters()], rel=1e-12)
    assert found.metrics["train_loss"] == pytest.approx(np.mean(losses[-2:]), rel=1e-12)
    marks = found.curves["learning"]
    assert marks["updates"] == [5, 10, 15, 20]
    assert marks["loss"] == pytest.approx([np.mean(losses[k : k + 5]) for k in (0, 5, 10, 15)], rel=1e-12)
    assert marks["test"] == pytest.approx(tests[4::5], rel=1e-12)


def test_training_validation_and_test_are_drawn_apart() -> None:
    names = []

    class Listening(Sum):
        def batch(self, size: int, rng: np.random.Generator) -> Batch:
            names.append(tuple(rng.bit_generator.state["state"].values()))
            return super().batch(size, rng)

    model = learn(Linear(0.5), Listening(), 0, Budget(updates=1), CPU, torch.float64).forecaster
    Listening().judge(model, 0)
    assert len(names) == len(set(names)) == 3


def test_the_same_seed_gives_the_same_training_and_another_seed_another() -> None:
    def final(seed: int) -> list[float]:
        return learn(Linear(0.5), Sum(), seed, Budget(updates=20), CPU, torch.float64).outcome.curves["learning"][
            "loss"
        ]

    assert final(3) == final(3)
    assert final(3) != final(4)


@pytest.mark.parametrize("decay", [0.5, 0.9, 2.0])
def test_gradient_ratio_of_a_linear_recurrence_is_known(decay: float) -> None:
    """Loss read at the end only: dL/dy_1 = decay^(steps between) dL/dy_last."""

    class Last(Sum):
        def batch(self, size: int, rng: np.random.Generator) -> Batch:
            batch = super().batch(size, rng)
            weights = np.zeros((6, size))
            weights[-1] = 1.0
            return Batch(batch.inputs, batch.targets, weights)

    task = Last()
    objective = _Objective(task, CPU, torch.float64)
    tensors = objective.tensors(task.batch(7, np.random.default_rng(0)))
    # states after step 1 and before step 6: four steps lie between
    assert gradient_ratio(Linear(decay), objective, tensors) == pytest.approx(decay**4, rel=1e-12)


def test_divergence_is_an_outcome_with_a_reason() -> None:
    found = learn(Linear(200.0), Sum(), 0, Budget(updates=50), CPU, torch.float64)
    assert found.outcome.status == "diverged"
    assert "loss" in found.outcome.reason
    assert "update 1" in found.outcome.reason


@pytest.mark.parametrize(("gain", "status"), [(50.0, "ok"), (300.0, "diverged")])
def test_a_loss_of_ten_thousand_times_that_of_zero_is_lost(gain: float, status: str) -> None:
    """Outputs of gain times the answer have (gain - 1)^2 times the squared error of zero outputs: 2,401 and 89,401."""
    model = Linear(1.0)
    model.gain.data.fill_(gain)
    assert learn(model, Sum(), 0, Budget(updates=1), CPU, torch.float64).outcome.status == status


def test_nan_is_named() -> None:
    found = learn(Linear(float("nan")), Sum(), 0, Budget(updates=5), CPU, torch.float64)
    assert found.outcome.status == "diverged"
    assert found.outcome.reason.startswith("NaN")


def test_cross_entropy_counts_weights() -> None:
    class Classes(Sum):
        loss = "cross_entropy"

    objective = _Objective(Classes(), CPU, torch.float64)
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 5.0]]], dtype=torch.float64)
    batch = Batch(np.zeros((2, 1, 1)), np.array([[0], [0]]), np.array([[1.0], [0.0]]))
    _, targets, weights = objective.tensors(batch)
    assert float(objective(logits, targets, weights)) == pytest.approx(np.log(1 + np.exp(-2.0)), rel=1e-14)


def test_forecaster_steps_as_it_reads() -> None:
    model = TorchForecaster(Linear(0.9), CPU, torch.float64)
    inputs = np.random.default_rng(1).standard_normal((5, 3, 1))
    whole = model.outputs(inputs)
    assert np.array_equal(model.begin(inputs[:4]), whole[3])
    assert np.allclose(model.step(inputs[4]), whole[4], rtol=0, atol=1e-15)


# ---- the learning rate along the way -----------------------------------------------------------------------------


@pytest.mark.parametrize("last", [0.0, 0.01, 1.0])
def test_the_decay_starts_at_one_ends_at_the_fraction_and_is_halfway_between_at_half_time(last: float) -> None:
    assert decayed(last, 0.0) == 1.0
    assert decayed(last, 1.0) == pytest.approx(last, abs=1e-15)
    assert decayed(last, 0.5) == pytest.approx((1 + last) / 2, rel=1e-14)


def test_a_decayed_training_is_torch_s_cosine_annealing() -> None:
    model, twin = Linear(0.5), Linear(0.5)
    learn(model, Sum(), 3, Budget(updates=30, batch=5, learning_rate=0.05, decay=0.1), CPU, torch.float64)
    rng, adam = stream(3, "sum/train"), torch.optim.Adam(twin.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=30, eta_min=0.005)
    for _ in range(30):
        batch = Sum().batch(5, rng)
        adam.zero_grad()
        torch.nn.functional.mse_loss(twin(torch.tensor(batch.inputs))[0], torch.tensor(batch.targets)).backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        adam.step()
        schedule.step()
    assert [p.item() for p in model.parameters()] == pytest.approx([p.item() for p in twin.parameters()], rel=1e-11)


def test_without_decay_a_training_is_the_old_one_to_the_bit() -> None:
    """The loop as it was before a learning rate could fall: one rate, given to Adam once."""
    budget = Budget(updates=25, batch=5, learning_rate=0.03)
    model, twin = Linear(0.5), Linear(0.5)
    found = learn(model, Sum(), 1, budget, CPU, torch.float64).outcome
    objective, rng = _Objective(Sum(), CPU, torch.float64), stream(1, "sum/train")
    adam, losses = torch.optim.Adam(twin.parameters(), lr=0.03), []
    for _ in range(25):
        x, targets, weights = objective.tensors(Sum().batch(5, rng))
        loss = objective(twin(x)[0], targets, weights)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        adam.step()
        losses.append(loss.item())
    assert [p.item() for p in model.parameters()] == [p.item() for p in twin.parameters()]
    assert found.metrics["train_loss"] == sum(losses[-2:]) / 2


# ---- a model's own forecasts in training -------------------------------------------------------------------------

INCREMENT = (0.3, 0.05)


class Leaky(torch.nn.Module):
    """y+ = y + tanh(W y + V u - y) with a readout: a memory that is not linear, in float64."""

    def __init__(self, hidden: int = 3, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.weights = torch.nn.Parameter(torch.tensor(0.5 * rng.standard_normal((hidden, hidden))))
        self.drive = torch.nn.Parameter(torch.tensor(rng.standard_normal((hidden, 2))))
        self.readout = torch.nn.Parameter(torch.tensor(rng.standard_normal((2, hidden))))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        y = torch.zeros(x.shape[1], len(self.weights), dtype=x.dtype) if state is None else state
        outputs = []
        for u in x:
            y = y + torch.tanh(y @ self.weights.T + u @ self.drive.T - y)
            outputs.append(y @ self.readout.T)
        return torch.stack(outputs), y


def sequences(time: int = 9, batch: int = 4) -> tuple[Tensor, Tensor]:
    """True states (time + 1, batch, 2) and the targets of teacher forcing (time, batch, 2)."""
    states = torch.tensor(np.random.default_rng(7).standard_normal((time + 1, batch, 2)).cumsum(0) * 0.1)
    return states, states.diff(dim=0) / torch.tensor(INCREMENT, dtype=torch.float64)


def fed(model: Any, feedback: Feedback, time: int = 9) -> Tensor:
    return with_feedback(model, sequences(time)[0][:-1], feedback, torch.tensor(INCREMENT, dtype=torch.float64))


def by_hand(model: Leaky, states: Array, truth: float, warmup: int) -> Array:
    """Forecasts (time, batch, 2) of the next states, in NumPy, one sequence and one step after another."""
    weights, drive, readout = (p.detach().numpy() for p in (model.weights, model.drive, model.readout))
    forecasts = np.zeros_like(states[:-1])
    for b in range(states.shape[1]):
        y = np.zeros(len(weights))
        for i in range(len(states) - 1):
            u = states[i, b] if i < warmup else truth * states[i, b] + (1 - truth) * forecasts[i - 1, b]
            y = y + np.tanh(weights @ y + drive @ u - y)
            forecasts[i, b] = u + np.array(INCREMENT) * (readout @ y)
    return forecasts


@pytest.mark.parametrize("truth", [1.0, 1.0 - 1e-14])
@pytest.mark.parametrize("warmup", [0, 3, 20])
def test_the_truth_alone_is_teacher_forcing(truth: float, warmup: int) -> None:
    model = Leaky()
    plain = model(sequences()[0][:-1])[0]
    assert torch.allclose(fed(model, Feedback(truth, warmup)), plain, rtol=0, atol=1e-11)


@pytest.mark.parametrize("truth", [0.0, 0.3, 0.9])
@pytest.mark.parametrize(("warmup", "led"), [(0, 1), (1, 1), (4, 4)])
def test_a_fed_model_runs_as_written_by_hand(truth: float, warmup: int, led: int) -> None:
    """Forecasts agree, and the error of an output against its target is that of the forecast, in increments."""
    model, (states, targets) = Leaky(), sequences()
    wanted = by_hand(model, states.numpy(), truth, led)
    outputs = fed(model, Feedback(truth, warmup)).detach()
    increment = np.array(INCREMENT)
    assert np.allclose(states[:-1].numpy() + increment * outputs.numpy(), wanted, rtol=0, atol=1e-13)
    errors = (wanted - states[1:].numpy()) / increment
    assert np.allclose((outputs - targets).numpy(), errors, rtol=0, atol=1e-11)


def test_without_truth_a_model_runs_on_as_it_is_judged() -> None:
    """The closed loop of the training is that of `Forecaster.begin` and `step`, which the forecasts are scored by."""
    model, (states, _) = Leaky(), sequences()
    forecaster, increment = TorchForecaster(model, CPU, torch.float64), np.array(INCREMENT)
    state = states[3].numpy() + increment * forecaster.begin(states[:4].numpy())
    outputs = fed(model, Feedback(truth=0.0, warmup=4)).detach()
    for i in range(4, 9):
        state = state + increment * forecaster.step(state)
        assert np.allclose(states[i].numpy() + increment * outputs[i].numpy(), state, rtol=0, atol=1e-13)


@pytest.mark.parametrize("truth", [0.0, 0.4])
def test_gradients_flow_through_the_forecasts(truth: float) -> None:
    """Central differences of the loss by the hand-written loop, in every weight; a gradient that stops at the forecasts
    is another one."""
    model, (states, targets) = Leaky(), sequences()

    def loss_by_hand() -> float:
        errors = (by_hand(model, states.numpy(), truth, 2) - states[1:].numpy()) / np.array(INCREMENT)
        return float((errors**2).mean())

    (fed(model, Feedback(truth, 2)) - targets).square().mean().backward()
    for weights in model.parameters():
        assert weights.grad is not None
        for index in np.ndindex(*weights.shape):
            value, found = weights[index].item(), []
            for moved in (value + 1e-6, value - 1e-6):
                weights.data[index] = moved
                found.append(loss_by_hand())
            weights.data[index] = value
            assert weights.grad[index].item() == pytest.approx((found[0] - found[1]) / 2e-6, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("truth", [1.0, 0.3])
@pytest.mark.parametrize(
    ("warmup", "length", "steps"),
    [(2, 3, 5), (2, 0, 2), (0, 3, 4), (0, 0, 1), (2, 100, 9), (9, 5, 9), (30, 5, 9), (30, None, 9), (2, None, 9)],
)
def test_a_growing_window_cuts_a_sequence_and_changes_nothing_before(
    truth: float, warmup: int, length: int | None, steps: int
) -> None:
    """A warm-up longer than the sequence leaves teacher forcing of the whole; one step is always led and kept."""
    model = Leaky()
    cut = fed(model, Feedback(truth, warmup, length))
    assert len(cut) == steps
    assert torch.allclose(cut, fed(model, Feedback(truth, warmup))[:steps], rtol=0, atol=1e-13)


def test_a_torch_module_with_two_states_is_fed_alike() -> None:
    """torch.nn.LSTM keeps a pair of states: one call on everything is the same as steps with the truth put in."""

    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.cell, self.readout = torch.nn.LSTM(2, 4).double(), torch.nn.Linear(4, 2).double()

        def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
            y, state = self.cell(x, state)
            return self.readout(y), state

    model, (states, _) = Pair(), sequences()
    increment = torch.tensor(INCREMENT, dtype=torch.float64)
    inputs = [states[0]]
    for i in range(1, 9):  # each time from the beginning: no state is handed on
        forecast = inputs[-1] + increment * model(torch.stack(inputs))[0][-1]
        inputs.append(0.6 * states[i] + 0.4 * forecast)
    read = torch.stack(inputs)
    wanted = (read + increment * model(read)[0] - states[:-1]) / increment
    assert torch.allclose(fed(model, Feedback(0.6)), wanted, rtol=0, atol=1e-11)


class Doubling(ForecastTask):
    """z+ = 1.1 z, whose increment is 0.1 z: the loop asks for feedback by the share of its updates."""

    name = "doubling"
    primary_metric = "mean_squared_error"
    loss = "mean_squared_error"
    inputs = outputs = 1
    memory_length = 0
    sampling = 1.0
    increment = np.array([0.5])

    def __init__(self, feedback: Feedback | None) -> None:
        self.asked: list[float] = []
        self._feedback = feedback

    def series(self) -> Array:
        return np.random.default_rng(0).standard_normal((1, 8, 1)) * 1.1 ** np.arange(6)[:, None, None]

    def feedback(self, progress: float) -> Feedback | None:
        self.asked.append(progress)
        return self._feedback

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        states = self.series()[:, rng.integers(0, 8, size)]
        return Batch(states[:-1], np.diff(states, axis=0) / self.increment, np.ones((5, size)))

    def baseline(self) -> dict[str, float]:
        return {}

    def judge(self, model: Forecaster, seed: int) -> Outcome:
        return Outcome()

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        return {}


class Gain(torch.nn.Module):
    """An output of gain times the input: 0.2 solves the task, on its own forecasts as on the truth.

    It remembers nothing: its state is its last output."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.0, dtype=torch.float64))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Tensor]:
        outputs = self.gain * x
        return outputs, outputs[-1]


def test_the_loop_asks_for_feedback_by_the_share_of_its_updates_and_learns_with_it() -> None:
    task, model = Doubling(Feedback(truth=0.0, warmup=1)), Gain()
    found = learn(model, task, 0, Budget(updates=200, learning_rate=0.02, decay=0.01), CPU, torch.float64)
    assert task.asked == [i / 200 for i in range(200)]
    assert found.outcome.status == "ok"
    assert model.gain.item() == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_the_loss_of_a_fed_model_is_of_its_own_forecasts(truth: float) -> None:
    """A gain of 0 is persistence: on its own forecasts its error is 1.1^i - 1 of the first state after i steps, on the
    truth always 0.1 of the last; both in increments."""
    task, model = Doubling(Feedback(truth=truth, warmup=1)), Gain()
    loss = learn(model, task, 0, Budget(updates=1, batch=3), CPU, torch.float64).outcome.metrics["train_loss"]
    states = task.batch(3, stream(0, "doubling/train")).inputs[:, :, 0]
    i = np.arange(5)[:, None]
    errors = 0.1 * states if truth == 1.0 else states[0] * (1.1 ** (i + 1) - 1)
    assert loss == pytest.approx(np.mean((errors / 0.5) ** 2), rel=1e-12)


def test_a_cut_window_weighs_only_what_it_keeps() -> None:
    task, model = Doubling(Feedback(truth=1.0, warmup=1, length=1)), Gain()
    loss = learn(model, task, 0, Budget(updates=1, batch=3), CPU, torch.float64).outcome.metrics["train_loss"]
    states = task.batch(3, stream(0, "doubling/train")).inputs[:2, :, 0]
    assert loss == pytest.approx(np.mean((0.1 * states / 0.5) ** 2), rel=1e-12)
