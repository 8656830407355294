"""A forecaster as one map of its memory and its input, seen as the hub's `Forecaster` and `ClosedLoop`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from ...suite.contracts import Array


class Recursion(Protocol):
    """(memory, input) -> (new memory, output), all float64, one row for each series of the batch."""

    @property
    def size(self) -> int:
        """Numbers in the memory of one series."""
        ...

    def begin(self, batch: int) -> Array:
        """The memory (batch, size) before the first input."""
        ...

    def advance(self, memory: Array, inputs: Array) -> tuple[Array, Array]:
        """Memory (batch, size) and inputs (batch, inputs) to the memory after them and the outputs (batch, inputs)."""
        ...


def driven(recursion: Recursion, inputs: Array) -> Array:
    """Outputs (time, batch, inputs) for inputs (time, batch, inputs), from the memory before the first."""
    memory = recursion.begin(inputs.shape[1])
    found: list[Array] = []
    for x in np.asarray(inputs, dtype=np.float64):
        memory, output = recursion.advance(memory, x)
        found.append(output)
    outputs: Array = np.stack(found)
    return outputs


@final
class RecursionForecaster:
    """The hub's `Forecaster` of a recursion."""

    def __init__(self, recursion: Recursion) -> None:
        self._recursion = recursion
        self._memory = recursion.begin(0)

    def outputs(self, inputs: Array) -> Array:
        return driven(self._recursion, inputs)

    def begin(self, context: Array) -> Array:
        self._memory = self._recursion.begin(context.shape[1])
        output: Array = np.empty_like(context[0])
        for x in np.asarray(context, dtype=np.float64):
            output = self.step(x)
        return output

    def step(self, inputs: Array) -> Array:
        self._memory, output = self._recursion.advance(self._memory, np.asarray(inputs, dtype=np.float64))
        return output

    def closed_loop(self, increment: Array) -> RecursionLoop:
        return RecursionLoop(self._recursion, np.asarray(increment, dtype=np.float64))


@final
@dataclass(frozen=True)
class RecursionLoop:
    """The hub's `ClosedLoop`: the state is the memory, then the last forecast."""

    recursion: Recursion
    increment: Array

    def start(self, context: Array) -> Array:
        memory = self.recursion.begin(context.shape[1])
        for x in np.asarray(context[:-1], dtype=np.float64):
            memory = self.recursion.advance(memory, x)[0]
        return self._read(memory, np.asarray(context[-1], dtype=np.float64))

    def step(self, state: Array) -> Array:
        return self._read(state[:, : self.recursion.size], self.observe(state))

    def observe(self, state: Array) -> Array:
        return np.asarray(state[:, self.recursion.size :])

    def _read(self, memory: Array, x: Array) -> Array:
        memory, output = self.recursion.advance(memory, x)
        return np.concatenate([memory, x + self.increment * output], axis=1)


@final
@dataclass(frozen=True)
class DelayLine:
    """A memory of the last `length` inputs, newest first, of `channels` each: a flat row of length * channels numbers.

    Before the first input it holds NaN, and the first input then fills all of it: the past is taken to have stood
    still.
    """

    length: int
    channels: int

    @property
    def size(self) -> int:
        return self.length * self.channels

    def begin(self, batch: int) -> Array:
        return np.full((batch, self.size), np.nan)

    def push(self, memory: Array, x: Array) -> Array:
        shifted = np.concatenate([x, memory], axis=1)[:, : self.size]
        return np.where(np.isnan(shifted), np.tile(x, self.length), shifted)

    def view(self, memory: Array) -> Array:
        """(batch, length, channels), the newest first."""
        return memory.reshape(len(memory), self.length, self.channels)


@final
@dataclass(frozen=True)
class Still:
    """The recursion without memory whose output is `factor` times the input."""

    factor: Array

    size = 0

    def begin(self, batch: int) -> Array:
        return np.empty((batch, 0))

    def advance(self, memory: Array, inputs: Array) -> tuple[Array, Array]:
        return memory, np.asarray(self.factor * inputs)
