"""The training loop: it learns what can be learned, says how a training was lost, and repeats itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from odernn.suite.contracts import Array, Batch, Budget, LearningTask
from odernn.suite.learn import TorchForecaster, _Objective, gradient_ratio, learn
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
