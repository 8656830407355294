"""A field dz/dt given by a polynomial, fitted through the steps of its own method by Gauss-Newton.

Its class holds the true field of Lorenz's systems, so what is left of an error is the method's: the field that is found
carries the truncation error of its tableau, with the opposite sign. Starts from linear least squares on the trapezoidal
rule. The derivative of a step with respect to the coefficients is exact for an explicit method: the variational
equation, stepped by the same method; for an implicit one it is taken by central differences. Up to 8 components, for
their monomials are all of them; computes in float64. Entries, with their defaults:

tableau, backend    required; a Runge-Kutta method
substeps = 1        steps of it a sample
degree = 2          of the polynomial, at most 7
pairs = 3000        of successive samples that are fitted, drawn from the training series by the seed

Reference: A. Zhu, P. Jin, B. Zhu, Y. Tang, ICML 2022, arXiv:2206.07335, for learning a field through a method's step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from scipy.linalg import lstsq

from ...suite.contracts import Array, Learned
from ...suite.errors import Diverged, UsageError
from ...suite.seeds import stream
from ..integration import integrate
from ..learned_flow import LearnedFlow
from ..spec import find_tableau
from ..tableau import Tableau
from .flow import account
from .monomials import Monomials
from .ridge import ridge_regression
from .rung import Lesson, Option, Rung

MOST_COMPONENTS = 8
"""Beyond this a polynomial in all components has too many monomials to be fitted through a step."""

ITERATIONS = 30
"""Gauss-Newton steps at most; it takes 4 to 8."""

SETTLED = 1e-13
"""Relative change of the coefficients at which they are found."""


@final
@dataclass(frozen=True)
class Polynomial:
    """dz/dt = C monomials(z): coefficients C (dimension, count)."""

    monomials: Monomials
    coefficients: Array

    def __call__(self, t: Any, z: Array) -> Array:
        return np.asarray(self.monomials(z) @ self.coefficients.T.astype(z.dtype, copy=False))

    def jacobian(self, t: Any, z: Array) -> Array:
        """(..., dimension, dimension)."""
        return np.asarray(self.coefficients.astype(z.dtype, copy=False) @ self.monomials.jacobian(z))


@dataclass(frozen=True)
class Stepping:
    """The map that is fitted: `substeps` steps of a tableau over the time `span`."""

    tableau: Tableau
    substeps: int
    span: float

    def __call__(self, field: Polynomial, z: Array) -> Array:
        return np.asarray(self._rolled(field, z, field.jacobian))

    def _rolled(self, f: Callable[..., Any], y: Array, jacobian: Callable[..., Any] | None) -> Array:
        times = [0.0, self.span]
        states = integrate(f, y, times, tableau=self.tableau, steps=self.substeps, jacobian=jacobian).states
        return np.asarray(states[-1])

    def sensitivity(self, field: Polynomial, z: Array) -> tuple[Array, Array]:
        """The map at z (n, d), and its derivative (n, d, d, count) with respect to the coefficients."""
        return self._variational(field, z) if self.tableau.explicit else self._differenced(field, z)

    def _variational(self, field: Polynomial, z: Array) -> tuple[Array, Array]:
        """S' = (df/dz) S + df/dC beside z' = f(z): a Runge-Kutta step of both is the step and its derivative."""
        n, d = z.shape
        count = field.monomials.count
        which = np.arange(d)

        def f(t: Any, joint: Array) -> Array:
            state, sensitivity = joint[:, :d], joint[:, d:].reshape(n, d, d * count)
            slope = (field.jacobian(t, state) @ sensitivity).reshape(n, d, d, count)
            values = field.monomials(state)
            slope[:, which, which] += values[:, None]
            return np.concatenate([values @ field.coefficients.T, slope.reshape(n, -1)], axis=1)

        start = np.concatenate([z, np.zeros((n, d * d * count))], axis=1)
        found = self._rolled(f, start, None)
        return found[:, :d], found[:, d:].reshape(n, d, d, count)

    def _differenced(self, field: Polynomial, z: Array) -> tuple[Array, Array]:
        n, d = z.shape
        count = field.monomials.count
        slopes = np.empty((n, d, d * count))
        scale = max(1.0, float(np.abs(field.coefficients).max()))
        shift = scale * np.cbrt(np.finfo(np.float64).eps)
        for k in range(d * count):
            both = []
            for sign in (1.0, -1.0):
                changed = field.coefficients.copy()
                changed.flat[k] += sign * shift
                both.append(self(Polynomial(field.monomials, changed), z))
            slopes[:, :, k] = (both[0] - both[1]) / (2 * shift)
        return self(field, z), slopes.reshape(n, d, d, count)


def fit(stepping: Stepping, monomials: Monomials, before: Array, after: Array) -> Polynomial:
    """The field whose map takes before (n, d) nearest to after (n, d), in the mean square.

    Raises `Diverged` where no step of Gauss-Newton stays finite.
    """
    secant = (after - before) / stepping.span
    best = ridge_regression((monomials(before) + monomials(after)) / 2, secant, 0.0).T
    error, slopes = _residual(stepping, Polynomial(monomials, best), before, after)
    if not np.isfinite(error).all():
        raise Diverged("the polynomial field of the least squares on differences leaves the finite numbers in a step")
    change = _change(slopes, error)
    for _ in range(ITERATIONS):
        trial = best + change
        found, slopes = _residual(stepping, Polynomial(monomials, trial), before, after)
        if np.linalg.norm(found) < np.linalg.norm(error):
            best, error, change = trial, found, _change(slopes, found)
        else:
            change = change / 4
        if np.linalg.norm(change) <= SETTLED * np.linalg.norm(best):
            break
    return Polynomial(monomials, best)


def _residual(stepping: Stepping, field: Polynomial, before: Array, after: Array) -> tuple[Array, Array]:
    """What the map misses (n, d), and the derivative of the map; NaN where it leaves the finite numbers."""
    try:
        reached, slopes = stepping.sensitivity(field, before)
    except Diverged:
        return np.full_like(after, np.nan), np.empty(0)
    return after - reached, slopes


def _change(slopes: Array, error: Array) -> Array:
    """The coefficients' change (d, count) that Gauss-Newton takes, from columns of equal norm."""
    matrix = slopes.reshape(error.size, -1)
    size = np.linalg.norm(matrix, axis=0)
    size[size == 0] = 1.0
    change: Array = lstsq(matrix / size, error.ravel(), lapack_driver="gelsy")[0] / size
    return change.reshape(slopes.shape[2:])


def learn(lesson: Lesson) -> Learned:
    """Fit the field to pairs of successive samples. Raises `UsageError`, `Diverged`."""
    started = time.perf_counter()
    dimension, degree = lesson.task.inputs, lesson.options["degree"]
    if dimension > MOST_COMPONENTS:
        raise UsageError(
            f"cell 'polynomial-field' takes at most {MOST_COMPONENTS} components and the task has {dimension}: "
            "expected 'mlp-field'."
        )
    monomials = Monomials(dimension, degree)
    series = lesson.series
    before, after = (part.reshape(-1, dimension) for part in (series[:-1], series[1:]))
    wanted = max(lesson.options["pairs"], 2 * monomials.count)
    if wanted < len(before):
        kept = stream(lesson.seed, "pairs").choice(len(before), wanted, replace=False)
        before, after = before[kept], after[kept]
    stepping = Stepping(find_tableau(lesson.tableau), lesson.substeps, lesson.task.sampling)
    found = fit(stepping, monomials, before, after)
    flow = LearnedFlow(dimension, found, jacobian=found.jacobian)
    return account(lesson, flow, started, {"parameters": found.coefficients.size, "pairs": len(before)})


FORECASTER = Rung(
    "polynomial-field",
    "Zhu, Jin, Zhu, Tang, ICML 2022, arXiv:2206.07335",
    learn,
    {"degree": Option(2, least=1, most=7), "pairs": Option(3000, least=10)},
    is_field=True,
)
