"""Next-generation reservoir: ridge regression on monomials of delayed states (Gauthier et al. 2021).

The output, an increment of the state, is linear in all monomials up to `degree` of the last `taps` states, `skip`
samples apart: a vector autoregression that is nonlinear. With one tap and enough degree it is a polynomial Euler map.
Computes in float64, by orthogonal factors. Entries, with their defaults:

taps = 2        delayed states
skip = 1        samples between two of them
degree = 2      of the monomials, at most 6
ridge = 1e-6    penalty on the squared weights, against the sum of squared errors

Reference: D. J. Gauthier, E. Bollt, A. Griffith, W. A. S. Barbosa, Nature Communications 12 (2021) 5564,
doi:10.1038/s41467-021-25801-2, equations (5) to (9).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import final

import numpy as np

from ...suite.contracts import Array, Learned
from ...suite.errors import UsageError
from .monomials import Monomials
from .recursion import DelayLine
from .ridge import ridge_regression
from .rung import Lesson, Option, Rung, fitted

MOST_FEATURES = 3000
"""Beyond this the least-squares problem takes minutes and a gigabyte."""


@final
@dataclass(frozen=True)
class Autoregression:
    """Outputs = monomials(delayed states) @ weights, as a `Recursion`."""

    line: DelayLine
    monomials: Monomials
    skip: int
    weights: Array

    @property
    def size(self) -> int:
        return self.line.size

    def begin(self, batch: int) -> Array:
        return self.line.begin(batch)

    def advance(self, memory: Array, inputs: Array) -> tuple[Array, Array]:
        memory = self.line.push(memory, inputs)
        delayed = self.line.view(memory)[:, :: self.skip].reshape(len(memory), -1)
        with np.errstate(over="ignore", invalid="ignore"):  # a lost forecast is the task's to judge
            return memory, self.monomials(delayed) @ self.weights


def learn(lesson: Lesson) -> Learned:
    """Fit the weights to every sample of every series that has its whole past. Raises `UsageError`."""
    started = time.perf_counter()
    taps, skip, degree, ridge = (lesson.options[key] for key in ("taps", "skip", "degree", "ridge"))
    series = lesson.series
    samples, _, channels = series.shape
    monomials = Monomials(taps * channels, degree)
    if monomials.count > MOST_FEATURES:
        raise UsageError(
            f"cell 'nvar' with {taps} taps of {channels} components and degree {degree} has {monomials.count} features:"
            f" expected at most {MOST_FEATURES}, so fewer taps or a lower degree."
        )
    first = (taps - 1) * skip
    if first >= samples - 1:
        raise UsageError(
            f"cell 'nvar' reaches {first} samples back: expected fewer than the {samples} of a training series."
        )
    past = [series[first - k * skip : samples - 1 - k * skip] for k in range(taps)]
    features = monomials(np.concatenate(past, axis=-1).reshape(-1, taps * channels))
    weights = ridge_regression(features, lesson.outputs()[first:].reshape(-1, channels), ridge)
    recursion = Autoregression(DelayLine(first + 1, channels), monomials, skip, weights)
    return fitted(lesson, recursion, started, {"parameters": weights.size})


FORECASTER = Rung(
    "nvar",
    "Gauthier, Bollt, Griffith, Barbosa 2021, Nature Communications 12:5564, doi:10.1038/s41467-021-25801-2",
    learn,
    {
        "taps": Option(2, least=1),
        "skip": Option(1, least=1),
        "degree": Option(2, least=1, most=6),
        "ridge": Option(1e-6, least=0.0),
    },
)
