"""True trajectories, from SciPy's DOP853 near the tightest tolerance it takes; never from a solver under test. Where
the field is stiff, from collocation of order nine (`stiff`).

A model trained on series from its own tableau can learn that tableau's error exactly, so the data must come from
elsewhere and be far more accurate than anything that is scored (Hairer, Noersett and Wanner, Solving Ordinary
Differential Equations I, section II.5, for the method). Many trajectories advance together, as one large state.
Arrays are (time, trajectory, component), float64, in the equation's own units; cached ones are read-only.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from ...suite.contracts import Array, VectorField
from ...suite.errors import Diverged
from ...suite.seeds import stream
from .stiff import collocated, is_stiff
from .systems import System, system

TOLERANCE = 1e-13
"""rtol and atol of everything that is trained on or scored against."""

TRANSIENT_TOLERANCE = 1e-8
"""rtol and atol on the way to the attractor, where any point of it will do."""

TRAIN_SEED = 0
"""The training series belong to the task and are the same for every seed of an experiment."""


def trajectories(equation: VectorField, y0: Array, times: Array, tolerance: float = TOLERANCE) -> Array:
    """Solutions from y0 (n, dimension) at times[0], reported at `times`: (len(times), n, dimension).

    One step size serves all n, chosen from the root mean square of their errors (fixed for a stiff field, whatever the
    tolerance). Raises `Diverged` if the integrator gives up.
    """
    if is_stiff(equation):
        return collocated(equation, y0, times)
    f, (n, dimension) = equation.function(), y0.shape

    def flat(t: float, y: Any) -> Any:
        # Component by component in memory, so that the field's elementwise operations run over contiguous arrays.
        return f(t, y.reshape(dimension, n).T).T.ravel()

    found = solve_ivp(
        flat, (times[0], times[-1]), y0.T.ravel(), method="DOP853", t_eval=times, rtol=tolerance, atol=tolerance
    )
    if not found.success or not np.isfinite(found.y).all():
        raise Diverged(f"the true trajectories of {equation.name} could not be computed: {found.message}")
    return np.ascontiguousarray(found.y.reshape(dimension, n, len(times)).transpose(2, 1, 0))


def on_attractor(chaotic: System, n: int, rng: np.random.Generator) -> Array:
    """n independent points (n, dimension), each at a random time in the second half of a transient of its own.

    The random time is needed where a flow mixes its phase slowly (Roessler's): it would stay that of the start. Where
    the flow keeps an energy, all starts are near one point of the chaotic sea and so in it, and the points are moved
    back onto the energy that a tolerance has let them drift from.
    """
    noise = chaotic.spread * rng.standard_normal((n, chaotic.dimension))
    starts = chaotic.on_invariants(np.array(chaotic.start) + noise)
    times = chaotic.transient * np.concatenate([[0.0], np.sort(rng.uniform(0.5, 1.0, n))])
    points: Array = trajectories(chaotic.equation, starts, times, TRANSIENT_TOLERANCE)[1:][np.arange(n), np.arange(n)]
    return chaotic.on_invariants(points)


@lru_cache(maxsize=8)
def training_series(name: str, series: int, samples: int) -> Array:
    """`series` independent trajectories of `samples` points each, dt apart: (samples, series, dimension)."""
    chaotic = system(name)
    starts = on_attractor(chaotic, series, stream(TRAIN_SEED, f"chaos/{name}/train"))
    return _frozen(trajectories(chaotic.equation, starts, chaotic.dt * np.arange(samples)))


@lru_cache(maxsize=8)
def windows(name: str, seed: int, n: int, warmup: int, steps: int) -> tuple[Array, Array]:
    """For n initial conditions, what came before and what comes after: context (warmup, n, dimension) ending in the
    initial condition, and truth (steps + 1, n, dimension) starting with it.

    The solution restarts at the initial condition, so that its error there is zero whatever the warm-up.
    """
    chaotic = system(name)
    starts = on_attractor(chaotic, n, stream(seed, f"chaos/{name}/test"))
    context = starts[None]
    if warmup > 1:
        context = trajectories(chaotic.equation, starts, chaotic.dt * np.arange(warmup))
    truth = trajectories(chaotic.equation, context[-1], chaotic.dt * np.arange(steps + 1))
    return _frozen(context), _frozen(truth)


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array
