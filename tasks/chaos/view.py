"""What a learner is shown of a system: some components, standardised, every so many sampling steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...suite.contracts import Array
from ...suite.seeds import stream
from .definition import System
from .systems import system
from .truth import TRAIN_SEED, training_series, windows

INCREMENT_SERIES, INCREMENT_SAMPLES = 16, 1250
"""The increment over several sampling steps is measured on so many trajectories of at least so many points."""


@dataclass(frozen=True)
class View:
    """name: of the system; every: so many of its sampling steps lie between two samples."""

    name: str
    every: int = 1

    @property
    def chaotic(self) -> System:
        return system(self.name)

    @property
    def seen(self) -> tuple[int, ...]:
        """The components that are shown."""
        return self.chaotic.observed

    @property
    def sampling(self) -> float:
        """Time between two samples, in the equation's unit."""
        return self.every * self.chaotic.dt

    @property
    def increment(self) -> Array:
        """Root mean square of z(t + sampling) - z(t), (components,): the system's own where every step is shown, else
        that of a true series."""
        whole = np.array(self.chaotic.increment) if self.every == 1 else _increment(self.name, self.every)
        return whole[list(self.seen)]

    def samples(self, times: float) -> int:
        """How many make so many Lyapunov times, at least 1."""
        return max(1, round(times * self.chaotic.lyapunov_time / self.sampling))

    def standard(self, y: Array) -> Array:
        """z = (y - mean) / sigma of what is shown of whole states (..., dimension) in the system's units."""
        return np.asarray(_standard(self.chaotic, y)[..., list(self.seen)])

    def physical(self, z: Array) -> Array:
        """The shown components (..., components) in the system's units again."""
        chosen = list(self.seen)
        return np.asarray(z * np.array(self.chaotic.sigma)[chosen] + np.array(self.chaotic.mean)[chosen])

    def series(self, count: int, samples: int, noise: float) -> Array:
        """Training data (samples, count, components), with white noise of that many sigma drawn once; read-only."""
        return _noisy_series(self, count, samples, noise)

    def windows(self, seed: int, n: int, warmup: int, steps: int) -> tuple[Array, Array]:
        """Context (warmup, n, dimension) and truth (steps + 1, n, dimension): whole states in the system's units."""
        context, truth = windows(self.name, seed, n, (warmup - 1) * self.every + 1, steps * self.every)
        return context[:: self.every], truth[:: self.every]


@lru_cache(maxsize=8)
def _noisy_series(view: View, count: int, samples: int, noise: float) -> Array:
    clean = _standard(view.chaotic, training_series(view.name, count, (samples - 1) * view.every + 1)[:: view.every])
    noisy: Array = clean + noise * stream(TRAIN_SEED, f"chaos/{view.name}/noise").standard_normal(clean.shape)
    noisy = noisy[..., list(view.seen)]
    noisy.setflags(write=False)
    return noisy


@lru_cache(maxsize=8)
def _increment(name: str, every: int) -> Array:
    clean = _standard(system(name), training_series(name, INCREMENT_SERIES, max(INCREMENT_SAMPLES, 2 * every)))
    return np.asarray(np.sqrt(np.mean((clean[every:] - clean[:-every]) ** 2, axis=(0, 1))))


def _standard(chaotic: System, y: Array) -> Array:
    return np.asarray((y - np.array(chaotic.mean)) / np.array(chaotic.sigma))
