"""The systems of the package dysts (Gilpin 2021, arXiv:2110.05266), with time scales and exponents of our own.

Names are "dysts:Lorenz" and so on. Only the right-hand sides and the parameters come from the package: its stored
exponents and time scales are off by factors for some systems. What `systems` states for its own is measured here once
in a process: the sampling step from the dominant period of a trajectory, then the exponents (NumPy, with central
differences for the Jacobian), mean, sigma and increment. Systems with a delay, or a field that depends on time, have
none of this and are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from ...suite.contracts import Array, VectorField
from ...suite.equation import Function
from ...suite.errors import Diverged, MissingPackage, UsageError, unknown
from ...suite.seeds import stream
from .definition import System
from .kaplan_yorke import kaplan_yorke
from .tangent import advance

PREFIX = "dysts:"

POINTS_PER_PERIOD = 50
"""Samples in the dominant period: a sampling step of our own."""

DIFFERENCE = 6e-6
"""Step of the central differences, relative to 1 + |y_i|: about the cube root of the rounding."""

PERIODS = 40
"""Length, in dominant periods, of each trajectory that is measured."""

TRAJECTORIES = 8

VALID = 10.0
"""Lyapunov times for which the truth is trusted; those of `systems` are checked one by one, these are not."""

TOLERANCE = 1e-8


@dataclass(frozen=True)
class DystsField:
    """The field of a dysts system with its own parameters, in NumPy alone; equality is that of names."""

    name: str
    dimension: int

    def function(self, library: str = "numpy") -> Function:
        """f(t, y) for y (..., dimension). Raises `UsageError` for another library than NumPy."""
        self._only_numpy(library)
        return _right_hand_side(self.name)

    def jacobian(self, library: str = "numpy") -> Function:
        """df/dy (..., dimension, dimension) by central differences, good to about nine digits."""
        self._only_numpy(library)
        f = _right_hand_side(self.name)

        def jacobian(t: Any, y: Any) -> Any:
            shifts = DIFFERENCE * (1.0 + np.abs(y))[..., None, :] * np.eye(self.dimension)
            ahead, back = y[..., None, :] + shifts, y[..., None, :] - shifts
            width = np.diagonal(ahead - back, axis1=-2, axis2=-1)[..., None, :]
            return np.swapaxes(f(t, ahead) - f(t, back), -1, -2) / width

        return jacobian

    def latex(self) -> str:
        return rf"\text{{{self.name}}}"

    def _only_numpy(self, library: str) -> None:
        if library != "numpy":
            raise UsageError(
                f"the field of {self.name} is a NumPy function: expected the library numpy, got {library!r}."
            )


def _flows() -> Any:
    try:
        return import_module("dysts.flows")
    except ImportError:
        raise MissingPackage(
            "systems named 'dysts:' need the package dysts, which is not installed: pip install 'odernn[dysts]'."
        ) from None


@lru_cache(maxsize=32)
def _flow(name: str) -> Any:
    """The dysts object. Raises `UsageError` for an unknown name, a delay, or a field that depends on time."""
    flows, base, bare = _flows(), import_module("dysts.base"), name.removeprefix(PREFIX)
    kinds = (base.DynSys, base.DynSysDelay)
    known = {key: value for key, value in vars(flows).items() if isinstance(value, type) and value not in kinds}
    known = {key: value for key, value in known.items() if issubclass(value, kinds)}
    if bare not in known:
        raise unknown("dysts system", bare, known)
    if issubclass(known[bare], base.DynSysDelay):
        raise UsageError(f"{name} has a delay: expected an ordinary equation.")
    before = np.random.get_state()  # noqa: NPY002 (the package seeds the global generator)
    try:
        flow = known[bare]()
    finally:
        np.random.set_state(before)  # noqa: NPY002
    if re.search(r"\bt\b", _body(flow)):
        raise UsageError(f"the field of {name} depends on time: expected an autonomous one.")
    return flow


def _body(flow: Any) -> str:
    """The source of its right-hand side, without the signature."""
    import inspect

    return inspect.getsource(type(flow)._rhs).split(":", 1)[1]


@lru_cache(maxsize=32)
def _right_hand_side(name: str) -> Callable[[Any, Any], Any]:
    flow = _flow(name)
    raw = np.vectorize(flow.rhs, signature="(d),()->(d)") if not _elementwise(flow) else None

    def f(t: Any, y: Any) -> Any:
        if raw is not None:
            return raw(y, 0.0)
        out = np.empty_like(y)
        for i, value in enumerate(type(flow)._rhs(*np.moveaxis(y, -1, 0), 0.0, *flow.param_list)):
            out[..., i] = value
        return out

    return f


def _elementwise(flow: Any) -> bool:
    """Whether its right-hand side takes one array a component and gives for several states what it gives for each."""
    y = np.abs(stream(0, "chaos/dysts/probe").standard_normal((3, np.size(flow.ic)))) + 0.1
    try:
        together = np.stack([np.broadcast_to(v, 3) for v in type(flow)._rhs(*y.T, 0.0, *flow.param_list)], axis=1)
        alone = np.array([flow.rhs(one, 0.0) for one in y])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return False
    return bool(together.shape == alone.shape and np.allclose(together, alone, rtol=1e-12, atol=1e-12))


@lru_cache(maxsize=16)
def dysts_system(name: str) -> System:
    """The system "dysts:NAME", measured. Takes seconds to a minute; kept for the life of the process.

    Raises `UsageError` for what cannot be had, `Diverged` for a trajectory that is lost or an exponent that is not
    above three standard errors: then there is no Lyapunov time to measure in.
    """
    flow = _flow(name)
    ic = np.array(flow.ic, dtype=np.float64).ravel()
    field = DystsField(name, len(ic))
    period = _period(field, ic, float(flow.period))
    dt = period / POINTS_PER_PERIOD
    rng = stream(0, f"chaos/{name}/starts")
    settled = _solve(field, ic, np.array([0.0, 20.0 * period]))[-1]
    orbit = _solve(field, settled, dt * np.arange(TRAJECTORIES * PERIODS * POINTS_PER_PERIOD))
    sigma = orbit.std(axis=0)
    starts = orbit[rng.integers(0, len(orbit), TRAJECTORIES)]
    found = _exponents(field, starts, dt / 2, 2 * PERIODS * POINTS_PER_PERIOD, rng)
    mean, errors = found.mean(axis=0), found.std(axis=0, ddof=1) / math.sqrt(TRAJECTORIES)
    if not mean[0] > 3 * errors[0]:
        raise Diverged(f"{name} has no positive exponent beyond its error: {mean[0]:.3g} +- {errors[0]:.1g}")
    return System(
        equation=field,
        dt=dt,
        start=tuple(settled.tolist()),
        spread=0.01 * float(sigma.min()),
        transient=200.0 * period,
        exponents=tuple(mean.tolist()),
        exponent_errors=tuple(errors.tolist()),
        kaplan_yorke=kaplan_yorke(mean.tolist()),
        kaplan_yorke_error=float(np.std([kaplan_yorke(one.tolist()) for one in found], ddof=1) / math.sqrt(len(found))),
        mean=tuple(orbit.mean(axis=0).tolist()),
        sigma=tuple(sigma.tolist()),
        increment=tuple((np.sqrt(np.mean(np.diff(orbit, axis=0) ** 2, axis=0)) / sigma).tolist()),
        valid=VALID,
        source=f"dysts 0.95, {name.removeprefix(PREFIX)}; Gilpin 2021, arXiv:2110.05266",
    )


def _solve(field: VectorField, y0: Array, times: Array) -> Array:
    f = field.function()
    found = solve_ivp(f, (times[0], times[-1]), y0, method="DOP853", t_eval=times, rtol=TOLERANCE, atol=TOLERANCE)
    if not found.success or not np.isfinite(found.y).all():
        raise Diverged(f"the trajectory of {field.name} could not be computed: {found.message}")
    return np.ascontiguousarray(found.y.T)


def _period(field: VectorField, ic: Array, guess: float) -> float:
    """The period at the power-weighted mean frequency of all components, over a window that the guess only scales."""
    settled = _solve(field, ic, np.array([0.0, 20.0 * guess]))[-1]
    samples = 8192
    dt = 80.0 * guess / samples
    orbit = _solve(field, settled, dt * np.arange(samples))
    power = np.abs(np.fft.rfft((orbit - orbit.mean(axis=0)) / orbit.std(axis=0), axis=0)) ** 2
    frequency = np.fft.rfftfreq(samples, dt)
    return float(power.sum() / (power * frequency[:, None]).sum())


def _exponents(field: VectorField, starts: Array, h: float, steps: int, rng: np.random.Generator) -> Array:
    """All exponents from each start, (n, d); a tenth of the steps more goes by unrecorded first."""
    n, d = starts.shape
    run = advance(field, h)
    state, frame, _ = run(starts, np.linalg.qr(rng.standard_normal((n, d, d)))[0], steps // 10)
    logs = run(state, frame, steps)[2]
    if not np.isfinite(logs).all():
        raise Diverged(f"the tangent vectors of {field.name} are not finite")
    return logs / (steps * h)
