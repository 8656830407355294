"""Echo state network: a fixed random reservoir and a ridge-regressed readout (Jaeger 2001).

r+ = (1 - leak) r + leak tanh(W r + W_in u + b); the output is linear in 1, u, r and, with `quadratic`, the squares of
r. Only the readout is trained, on states driven by the true series from zero, without their first `washout` samples; a
forecast starts warm, from the state that its context leaves. Computes in float64. Entries, with their defaults:

hidden = 400            units of the reservoir
spectral_radius = 0.6   of W, dense and normal before the scaling
input_scale = 0.6       W_in and b are uniform in [-input_scale, input_scale]
leak = 1.0              in (0, 1]
ridge = 1e-8            penalty on the squared weights of the readout, against the sum of squared errors
washout = 100           samples
quadratic = true        whether the readout sees squares

Reference: H. Jaeger, The "echo state" approach to analysing and training recurrent neural networks, GMD Report 148
(2001); leaky units after H. Jaeger, M. Lukosevicius, D. Popovici, U. Siewert, Neural Networks 20 (2007) 335.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import final

import numpy as np

from ...suite.contracts import Array, Learned
from ...suite.errors import UsageError
from ...suite.seeds import stream
from .ridge import ridge_regression
from .rung import Lesson, Option, Rung, fitted


@final
@dataclass(frozen=True)
class Reservoir:
    """W (n, n), W_in (n, channels), bias (n,), the leak, and the readout (features, channels), as a `Recursion`."""

    recurrent: Array
    inward: Array
    bias: Array
    leak: float
    quadratic: bool
    readout: Array

    @property
    def size(self) -> int:
        return len(self.bias)

    def begin(self, batch: int) -> Array:
        return np.zeros((batch, self.size))

    def move(self, memory: Array, inputs: Array) -> Array:
        """The state after an input."""
        driven = np.tanh(memory @ self.recurrent.T + inputs @ self.inward.T + self.bias)
        return np.asarray((1.0 - self.leak) * memory + self.leak * driven)

    def features(self, memory: Array, inputs: Array) -> Array:
        parts = [np.ones((*memory.shape[:-1], 1)), inputs, memory]
        return np.concatenate([*parts, memory**2] if self.quadratic else parts, axis=-1)

    def advance(self, memory: Array, inputs: Array) -> tuple[Array, Array]:
        memory = self.move(memory, inputs)
        return memory, self.features(memory, inputs) @ self.readout


def reservoir(lesson: Lesson) -> Reservoir:
    """Fresh weights from the lesson's seed, with an empty readout."""
    options, channels = lesson.options, lesson.task.inputs
    n, scale = options["hidden"], options["input_scale"]
    rng = stream(lesson.seed, "weights")
    recurrent = rng.standard_normal((n, n))
    recurrent *= options["spectral_radius"] / np.abs(np.linalg.eigvals(recurrent)).max()
    inward, bias = rng.uniform(-scale, scale, (n, channels)), rng.uniform(-scale, scale, n)
    return Reservoir(recurrent, inward, bias, options["leak"], options["quadratic"], np.zeros((0, channels)))


def learn(lesson: Lesson) -> Learned:
    """Drive the reservoir with every training series and fit the readout. Raises `UsageError`."""
    started = time.perf_counter()
    fresh, washout, series = reservoir(lesson), lesson.options["washout"], lesson.series
    samples, count, channels = series.shape
    if washout >= samples - 1:
        raise UsageError(
            f"cell 'esn' drops a washout of {washout}: expected fewer samples than the {samples} of a training series."
        )
    memory, kept = fresh.begin(count), []
    for i, x in enumerate(series[:-1]):
        memory = fresh.move(memory, x)
        if i >= washout:
            kept.append(fresh.features(memory, x))
    features = np.concatenate(kept)
    targets = lesson.outputs()[washout:].reshape(-1, channels)
    readout = ridge_regression(features, targets, lesson.options["ridge"])
    frozen = fresh.recurrent.size + fresh.inward.size + fresh.bias.size
    trained = Reservoir(fresh.recurrent, fresh.inward, fresh.bias, fresh.leak, fresh.quadratic, readout)
    return fitted(lesson, trained, started, {"parameters": readout.size, "frozen_parameters": frozen})


FORECASTER = Rung(
    "esn",
    "Jaeger 2001, GMD Report 148; Jaeger, Lukosevicius, Popovici, Siewert 2007, Neural Networks 20:335",
    learn,
    {
        "hidden": Option(400, least=1, most=4000),
        "spectral_radius": Option(0.6, least=0.0),
        "input_scale": Option(0.6, least=0.0, above=True),
        "leak": Option(1.0, least=0.0, above=True, most=1.0),
        "ridge": Option(1e-8, least=0.0),
        "washout": Option(100, least=0),
        "quadratic": Option(True),
    },
)
