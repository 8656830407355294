"""Short-term memory of an untrained cell: how many past inputs a linear readout recovers from its state."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...suite.contracts import Array, Audit, Budget, Outcome, Solver, finite
from ...suite.errors import UsageError
from ...suite.seeds import stream

IDLE = 1e-12
"""A state number that varies by less than this, relative to its mean or to one, is constant and told nothing from."""


@dataclass(frozen=True)
class MemoryCapacity(Audit):
    """The sum over lags k of the R^2 with which a ridge readout of the state after input i recovers input i - k.

    Jaeger, "Short term memory in echo state networks", GMD Report 152 (2001): for independent inputs the sum over all
    lags of a linear readout is at most the number of state numbers, here blocks * hidden; a linear network can reach
    it. The input is one channel, independent and uniform on [-amplitude, amplitude] (0.5 is Jaeger's). Lag 0, the input
    just read, counts. Several sequences are run side by side from the cell's own start; the readout, of all state
    numbers and a constant, is fitted on half of them and judged on the others, and the other way round: the mean of
    the two R^2 = 1 - (squared error) / (variance) owes nothing to the fit.

    The finite sample: for a lag that the state says nothing about, the held-out R^2 is about -D / N with a spread of
    at most sqrt(6 D) / N, for D state numbers and N fitted and as many held-out samples. A lag counts where its R^2 is
    above twice that spread; others count zero (`threshold` in the row). States that change slowly are fewer samples in
    effect: a network near its bound comes out within about three hundredths of it, above it too.

    length: steps used of each sequence, after `washout` steps that are not; lags: how many are asked, 0 to lags - 1;
    ridge: added to the mean square of the state numbers brought to variance 1: noise of that variance, in effect.
    Raises `UsageError` for sizes out of range or a solver that is no cell given by a field; `Diverged` where the state
    leaves the finite numbers.
    """

    length: int = 400
    lags: int = 128
    sequences: int = 50
    washout: int = 150
    amplitude: float = 0.5
    ridge: float = 1e-8

    name: ClassVar[str] = "memory-capacity"
    primary_metric: ClassVar[str] = "memory_capacity"

    def __post_init__(self) -> None:
        for key, value, least in (
            ("length", self.length, 2),
            ("lags", self.lags, 1),
            ("sequences", self.sequences, 2),
            ("washout", self.washout, self.lags - 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"memory-capacity needs {key} of at least {least}, got {value!r}.")
        for key, number in (("amplitude", self.amplitude), ("ridge", self.ridge)):
            if not (isinstance(number, int | float) and math.isfinite(number) and number > 0):
                raise UsageError(f"memory-capacity needs {key} above 0, got {number!r}.")

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: memory_capacity, memory_capacity_per_unit; curves: capacity {lag, r2}. The budget is unused."""
        cell = solver.recurrence(1, seed)
        rng = stream(seed, f"{self.name}/inputs")
        steps = self.washout + self.length
        inputs = rng.uniform(-self.amplitude, self.amplitude, (steps, self.sequences, 1))
        with np.errstate(all="ignore"):
            states = finite(cell.run(inputs, cell.start(self.sequences)), "the state")[1:]
        states = states.reshape(steps, self.sequences, -1)[self.washout :]
        targets = delayed(inputs[..., 0], self.lags)[self.washout :]
        half = self.sequences // 2
        parts = [(_samples(states[:, part]), _samples(targets[:, part])) for part in (slice(half), slice(half, None))]
        r2 = np.mean([held_out_r2(*parts[i], *parts[1 - i], self.ridge) for i in (0, 1)], axis=0)
        numbers = states.shape[-1]
        limit = threshold(numbers, half * self.length)
        capacity = float(r2[r2 > limit].sum())
        return Outcome(
            metrics={"memory_capacity": capacity, "memory_capacity_per_unit": capacity / numbers},
            curves={"capacity": {"lag": list(range(self.lags)), "r2": [float(value) for value in r2]}},
            cost={"parameters": float(cell.count())},
            properties={"state_numbers": numbers, "threshold": limit},
        )


def delayed(signal: Array, lags: int) -> Array:
    """(time, batch) -> (time, batch, lags): at [i, :, k] the signal at i - k, zero before it began."""
    found = np.zeros((*signal.shape, lags))
    for k in range(min(lags, len(signal))):
        found[k:, :, k] = signal[: len(signal) - k]
    return found


def held_out_r2(x: Array, y: Array, x_held: Array, y_held: Array, ridge: float) -> Array:
    """R^2 of each target on held-out samples, of a ridge readout fitted on others: (targets,).

    x: (samples, features), brought to mean 0 and variance 1; y: (samples, targets); likewise held. The constant of the
    readout is not shrunk.
    """
    mean, scale = x.mean(axis=0), x.std(axis=0)
    live = scale > IDLE * np.maximum(1.0, np.abs(mean))
    if not live.any():
        return np.zeros(y.shape[1])
    features, held = ((values[:, live] - mean[live]) / scale[live] for values in (x, x_held))
    centre = y.mean(axis=0)
    # by the singular values: the normal equations would square the condition number of nearly dependent states
    left, size, right = np.linalg.svd(features, full_matrices=False)
    weights = right.T @ ((size / (size**2 + ridge * len(x)))[:, None] * (left.T @ (y - centre)))
    residual = y_held - centre - held @ weights
    found: Array = 1.0 - np.mean(residual**2, axis=0) / np.var(y_held, axis=0)
    return found


def threshold(numbers: int, samples: int) -> float:
    """The R^2 below which a lag cannot be told from none (see `MemoryCapacity`), with that many samples a half."""
    return 2.0 * math.sqrt(6 * numbers) / samples


def _samples(values: Array) -> Array:
    return values.reshape(-1, values.shape[-1])


TASK = MemoryCapacity
