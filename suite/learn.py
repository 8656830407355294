"""The one training loop: Adam on fresh sequences, with an account of how the gradient travels through time.

Longer than most files because the models it trains are seen through NumPy here too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from .checkpoint import Checkpoint
from .contracts import Array, Batch, Budget, ClosedLoop, Feedback, ForecastTask, Learned, LearningTask, Outcome
from .errors import Diverged
from .seeds import stream
from .training import Training

HOPELESS = 1e4
"""A loss this many times that of constant zero outputs is a diverged training."""

VALIDATION_SIZE = 100
"""Sequences in the validation batch of the learning curve and of the gradient ratio."""


class SequenceModel(Protocol):
    """A recurrence with a readout: (time, batch, inputs) -> (time, batch, outputs), and its state."""

    def __call__(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]: ...

    def parameters(self) -> Any: ...

    def train(self, mode: bool = True) -> Any: ...


class TorchForecaster:
    """A trained model seen through NumPy (the hub's `Forecaster`)."""

    def __init__(self, model: SequenceModel, device: torch.device, dtype: torch.dtype) -> None:
        self._model, self._device, self._dtype = model, device, dtype
        self._state: Any = None

    def _call(self, inputs: Array, state: Any) -> tuple[Array, Any]:
        with torch.no_grad():
            outputs, state = self._model(torch.as_tensor(inputs, dtype=self._dtype, device=self._device), state)
        return outputs.double().cpu().numpy(), state

    def outputs(self, inputs: Array) -> Array:
        return self._call(inputs, None)[0]

    def begin(self, context: Array) -> Array:
        outputs, self._state = self._call(context, None)
        last: Array = outputs[-1]
        return last

    def step(self, inputs: Array) -> Array:
        outputs, self._state = self._call(inputs[None], self._state)
        last: Array = outputs[-1]
        return last

    def closed_loop(self, increment: Array) -> ClosedLoop:
        copy = deepcopy(cast(torch.nn.Module, self._model)).to(device="cpu").double()
        return TorchLoop(cast(SequenceModel, copy), np.asarray(increment, dtype=np.float64))


class TorchLoop:
    """A model fed with its own output (the hub's `ClosedLoop`), in the precision of its weights, on the CPU.

    model: in float64. A state is the tensors that the model passes on from step to step, flattened side by side, and
    the last forecast.
    """

    def __init__(self, model: SequenceModel, increment: Array) -> None:
        self._model, self._increment = model, increment
        # torch.nn has the batch second in a state, a cell first: it is the axis that grows with the batch
        states = [self._run(np.zeros((1, batch, len(increment))), None)[1] for batch in (2, 3)]
        two, three = map(_leaves, states)
        self._bare = isinstance(states[0], Tensor)
        self._axes = [
            next(i for i, n in enumerate(a.shape) if n != b.shape[i]) for a, b in zip(two, three, strict=True)
        ]
        self._shapes = [a.movedim(axis, 0).shape[1:] for a, axis in zip(two, self._axes, strict=True)]

    def start(self, context: Array) -> Array:
        outputs, state = self._run(context, None)
        return self._join(state, context[-1] + self._increment * outputs[-1].numpy())

    def step(self, state: Array) -> Array:
        forecast = self.observe(state)
        outputs, after = self._run(forecast[None], self._split(state))
        return self._join(after, forecast + self._increment * outputs[-1].numpy())

    def observe(self, state: Array) -> Array:
        return state[:, -len(self._increment) :]

    def _run(self, inputs: Array, state: Any) -> tuple[Tensor, Any]:
        with torch.no_grad():
            return self._model(torch.as_tensor(inputs, dtype=torch.float64), state)

    def _join(self, state: Any, forecast: Array) -> Array:
        leaves = [leaf.movedim(axis, 0).flatten(1) for leaf, axis in zip(_leaves(state), self._axes, strict=True)]
        return np.concatenate([leaf.numpy() for leaf in leaves] + [forecast], axis=1)

    def _split(self, state: Array) -> Any:
        sizes = [shape.numel() for shape in self._shapes]
        parts = torch.as_tensor(state[:, : sum(sizes)]).split(sizes, dim=1)
        leaves = [
            part.reshape(len(state), *shape).movedim(0, axis).contiguous()
            for part, shape, axis in zip(parts, self._shapes, self._axes, strict=True)
        ]
        return leaves[0] if self._bare else tuple(leaves)


class _Objective:
    """The task's weighted loss of a model on a batch, in torch."""

    def __init__(self, task: LearningTask, device: torch.device, dtype: torch.dtype) -> None:
        self._loss, self._device, self._dtype = task.loss, device, dtype
        # a mean over thousands of terms in half precision would measure the loss's rounding, not the cell's
        self._exact = torch.float32 if dtype.itemsize < 4 else dtype

    def tensors(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        whole = self._loss == "cross_entropy"
        return (
            torch.as_tensor(batch.inputs, dtype=self._dtype, device=self._device),
            torch.as_tensor(batch.targets, dtype=torch.long if whole else self._exact, device=self._device),
            torch.as_tensor(batch.weights, dtype=self._exact, device=self._device),
        )

    def __call__(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        outputs = outputs.to(self._exact)
        if self._loss == "cross_entropy":
            each = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
            each = each.view(weights.shape)
        else:
            each = (outputs - targets).square().mean(-1)
        return (each * weights).sum() / weights.sum()


def _leaves(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else list(state)


def gradient_ratio(model: SequenceModel, objective: _Objective, tensors: tuple[Tensor, Tensor, Tensor]) -> float | None:
    """||dL/dy_first|| / ||dL/dy_last|| of the state after the first and before the last step of a sequence.

    Far below one the gradient vanishes on its way back through time, far above it explodes. None for sequences under
    three steps or where the last gradient is zero.
    """
    x, targets, weights = tensors
    if len(x) < 3:
        return None
    with torch.enable_grad():
        head, first = model(x[:1])
        body, last = model(x[1:-1], first)
        tail, _ = model(x[-1:], last)
        loss = objective(torch.cat([head, body, tail]), targets, weights)
        early, late = _leaves(first), _leaves(last)
        slopes = torch.autograd.grad(loss, early + late, allow_unused=True)

    def norm(parts: tuple[Tensor | None, ...]) -> float:
        return math.sqrt(sum(float(p.double().square().sum()) for p in parts if p is not None))

    bottom = norm(slopes[len(early) :])
    return norm(slopes[: len(early)]) / bottom if bottom > 0 else None


def with_feedback(model: SequenceModel, x: Tensor, feedback: Feedback, increment: Tensor) -> Tensor:
    """Outputs of a model that reads its own forecasts beside the truth, as `Feedback` says, comparable with the targets
    of teacher forcing: at an input u in place of the true x, the forecast u + increment * output stands for the output
    (u - x) / increment + output. Gradients flow through the forecasts.

    x: (time, batch, inputs), time of at least 1; the first step has no forecast to read and always reads the truth.
    increment: (inputs,). Returns (time', batch, inputs), time' <= time.
    """
    warm = min(max(1, feedback.warmup), len(x))
    count = len(x) if feedback.length is None else min(len(x), warm + feedback.length)
    if feedback.truth == 1.0:  # a cell reads a whole sequence faster than its steps one by one
        return model(x[:count])[0]
    head, state = model(x[:warm])
    outputs, forecast = [head], x[warm - 1] + increment * head[-1]
    for true in x[warm:count]:
        u = feedback.truth * true + (1 - feedback.truth) * forecast
        out, state = model(u.unsqueeze(0), state)
        forecast = u + increment * out[0]
        outputs.append(out + (u - true) / increment)
    return torch.cat(outputs)


def learn(
    model: SequenceModel,
    task: LearningTask,
    seed: int,
    budget: Budget,
    device: torch.device,
    dtype: torch.dtype,
    checkpoint: Checkpoint | None = None,
) -> Learned:
    """Train `model` on `task` within `budget` and account for it.

    Metrics: train_loss (mean of the last tenth of the updates), gradient_ratio and gradient_ratio_before. Curve:
    learning. Cost: train_seconds, updates. A loss or gradient that is not finite, or a loss beyond `HOPELESS`,
    ends the training with status "diverged" and its reason; it is an outcome, not an error.

    checkpoint: where the state of the training is kept from time to time, and taken up again. What such a training
    finds is to the bit what it would have found without; train_seconds counts all of it, but not the writing.
    """
    objective = _Objective(task, device, dtype)
    forward = _forward(model, task, device, dtype)
    validation = objective.tensors(task.batch(VALIDATION_SIZE, stream(seed, f"{task.name}/validation")))
    zeros = torch.zeros(*validation[0].shape[:2], task.outputs, dtype=dtype, device=device)
    bound = HOPELESS * float(objective(zeros, *validation[1:]))
    every = max(1, budget.updates // max(1, budget.evaluations))
    optimiser = torch.optim.Adam(model.parameters(), lr=budget.learning_rate)
    training = Training(cast(torch.nn.Module, model), optimiser, stream(seed, f"{task.name}/train"), device)
    resumed = checkpoint is not None and checkpoint.resume(training.restore)
    losses, marks, metrics = training.losses, training.marks, training.metrics
    status, reason = "ok", ""
    started = time.perf_counter() - training.seconds
    try:
        if not resumed:
            _note(metrics, "gradient_ratio_before", gradient_ratio(model, objective, validation))
        for update in range(len(losses) + 1, budget.updates + 1):
            progress = (update - 1) / budget.updates
            x, targets, weights = objective.tensors(task.batch(budget.batch, training.rng))
            outputs = forward(x, progress)
            loss = objective(outputs, targets[: len(outputs)], weights[: len(outputs)])
            value = float(loss.detach())
            _check(value, bound, "loss", update)
            optimiser.param_groups[0]["lr"] = budget.learning_rate * decayed(budget.decay, progress)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            size = torch.nn.utils.clip_grad_norm_(model.parameters(), budget.clip or float("inf"))
            _check(float(size), float("inf"), "gradient", update)
            optimiser.step()
            losses.append(value)
            if update % every == 0 or update == budget.updates:
                with torch.no_grad():
                    test = float(objective(model(validation[0])[0], *validation[1:]))
                for key, number in (("updates", update), ("loss", sum(losses[-every:]) / every), ("test", test)):
                    marks[key].append(number)
            if checkpoint is not None:
                now = time.perf_counter()
                last = update == budget.updates and checkpoint.worth(now - started)
                if last or checkpoint.due():
                    checkpoint.save(training.state(now - started))
                    started += time.perf_counter() - now
        _note(metrics, "gradient_ratio", gradient_ratio(model, objective, validation))
    except Diverged as error:
        status, reason = "diverged", str(error)
    tail = losses[-max(1, len(losses) // 10) :]
    if tail:
        metrics["train_loss"] = sum(tail) / len(tail)
    outcome = Outcome(
        metrics=metrics,
        curves={"learning": marks},
        cost={"train_seconds": time.perf_counter() - started, "updates": len(losses)},
        status="diverged" if status == "diverged" else "ok",
        reason=reason,
    )
    return Learned(TorchForecaster(model, device, dtype), outcome)


def decayed(last: float, progress: float) -> float:
    """The factor of the learning rate: half a cosine from 1 at progress 0 down to `last` at 1."""
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * progress))


def _forward(
    model: SequenceModel, task: LearningTask, device: torch.device, dtype: torch.dtype
) -> Callable[[Tensor, float], Tensor]:
    """(x, fraction of the updates done) -> the outputs that enter the loss."""
    if not isinstance(task, ForecastTask):
        return lambda x, progress: model(x)[0]
    increment = torch.as_tensor(task.increment, dtype=dtype, device=device)

    def outputs(x: Tensor, progress: float) -> Tensor:
        feedback = task.feedback(progress)
        return model(x)[0] if feedback is None else with_feedback(model, x, feedback, increment)

    return outputs


def _note(metrics: dict[str, float], name: str, value: float | None) -> None:
    if value is not None:
        metrics[name] = value


def _check(value: float, bound: float, what: str, update: int) -> None:
    if value != value:
        raise Diverged(f"NaN {what} at update {update}")
    if (what == "loss" and not value < bound) or value == float("inf"):
        raise Diverged(f"{what} {value:.3g} at update {update}")
