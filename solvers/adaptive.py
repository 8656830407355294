"""Step sizes from an embedded error estimate: the controllers of the native backend, for NumPy and torch states.

Section II.4 of Hairer, Norsett, Wanner, *Solving Ordinary Differential Equations I* (2nd ed., 1993): the error norm
(4.11), the elementary controller (4.13) with factors 0.9, 0.2 and 10 and no growth right after a rejection, and the
starting step ("Starting Step Size", steps a to f). The exponent is 1 / (q + 1), q the smaller of both orders. The PI
controller is that of K. Gustafsson, *Control theoretic techniques for stepsize selection in explicit Runge-Kutta
methods*, ACM Trans. Math. Softw. 17 (1991) 533-554, in the form of Hairer, Wanner, *Solving Ordinary Differential
Equations II* (2nd ed., 1996), section IV.2, eq. (2.43). A batch shares one step. Step sizes are plain numbers:
gradients flow through the accepted steps, not through the choice of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..suite.errors import Diverged, unknown
from .step import Slope, Stages, advance, change

SAFETY, SMALLEST, LARGEST = 0.9, 0.2, 10.0
STRETCH = 1.01
"""A step that leaves less than 1 % of itself before an output time is stretched to it."""
ALPHA, BETA = 0.7, 0.4
"""Times 1 / (q + 1), the exponents of the last error and of the one before it in the PI controller, as HW II names them
(Gustafsson 1991: an integral part of 0.3 and a proportional one of 0.4)."""
NEGLIGIBLE = 1e-4
"""What the PI controller remembers at least of an error, so that a lucky step does not hold back the next one; as in
the code DOPRI5 (Hairer, Norsett, Wanner, appendix)."""
CONTROLLERS = ("elementary", "pi")


@dataclass(frozen=True)
class Tolerance:
    """rtol and atol: the error is measured in units of atol + rtol |y|."""

    rtol: float
    atol: float

    def norm(self, error: Any, y: Any, y_new: Any) -> float:
        """Root mean square of error / (atol + rtol max(|y|, |y_new|)), HNW (4.10), (4.11). May be NaN or infinite."""
        if isinstance(error, np.ndarray | np.generic):
            scale = self.atol + self.rtol * np.maximum(np.abs(y), np.abs(y_new))
            return float(np.sqrt(np.mean(np.abs(error / scale) ** 2)))
        import torch

        with torch.no_grad():
            bound = self.atol + self.rtol * torch.maximum(y.abs(), y_new.abs())
            return float((error / bound).abs().square().mean().sqrt())


def factor(error: float, order: int) -> float:
    """What (4.13) multiplies the step by; the smallest factor for an error that is not a number."""
    if not math.isfinite(error):
        return SMALLEST
    if error == 0:
        return LARGEST
    return float(min(LARGEST, max(SMALLEST, SAFETY * error ** (-1 / (order + 1)))))


def check_controller(name: str) -> None:
    """Raises `UsageError` for the name of no controller."""
    if name not in CONTROLLERS:
        raise unknown("controller", name, CONTROLLERS)


def pi_factor(error: float, before: float | None, order: int) -> float:
    """What the PI controller multiplies an accepted step by; before: the error of the accepted step before it.

    Without one (at a start, after a rejection or a step that was cut short) it is the elementary `factor`.
    """
    if before is None or error == 0:
        return factor(error, order)
    change = SAFETY * error ** (-ALPHA / (order + 1)) * max(before, NEGLIGIBLE) ** (BETA / (order + 1))
    return float(min(LARGEST, max(SMALLEST, change)))


def first_step(slope: Slope, t: float, y: Any, k: Any, span: float, order: int, tolerance: Tolerance) -> float:
    """The starting step, at most `span`; one evaluation beside k = slope(t, y). Raises `Diverged` for k not finite."""
    d0, d1 = tolerance.norm(y, y, y), tolerance.norm(k, y, y)
    if not math.isfinite(d1):
        raise Diverged(f"the slope is not finite at t = {t:g}")
    h0 = min(1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1, span)
    d2 = tolerance.norm(slope(t + h0, y + k * h0) - k, y, y) / h0
    if not math.isfinite(d2):
        return h0
    largest = max(d1, d2)
    h1 = max(1e-6, h0 * 1e-3) if largest <= 1e-15 else (0.01 / largest) ** (1 / (order + 1))
    return float(min(100 * h0, h1, span))


@dataclass(frozen=True)
class Attempt:
    """One step tried: the new state, the estimated error, the slope at its start, and at its end where it is known."""

    y: Any
    error: Any
    first: Any
    last: Any = None


Try: TypeAlias = Callable[[float, Any, float, Any], Attempt]
"""(t, y, h, the slope at (t, y) or None) -> `Attempt`; `Diverged` where stage equations are not solved."""


def explicit_attempt(slope: Slope, method: Stages) -> Try:
    """Steps of an explicit pair."""

    def attempt(t: float, y: Any, h: float, first: Any) -> Attempt:
        new, slopes = advance(slope, t, y, h, method, first)
        return Attempt(new, change(method.error, slopes, h, method), slopes[0], slopes[-1] if method.fsal else None)

    return attempt


Observer: TypeAlias = Callable[[float, Any, Any], None]
"""Told of (t, y, slope) at the start and after every accepted step."""


def integrate_adaptively(
    slope: Slope,
    y: Any,
    times: Sequence[float],
    method: Stages | Try,
    order: int,
    tolerance: Tolerance,
    controller: str = "elementary",
    observe: Observer | None = None,
) -> tuple[list[Any], int, int]:
    """States at every time of `times` (landed on, not interpolated), accepted and rejected steps, of a smooth slope.

    method: an explicit pair, or how a step is tried; a step whose stage equations are not solved is rejected.
    Evaluations: 2 at the start; of an explicit pair len(method) - 1 an attempt, and without FSAL one more after each
    accepted step but the last; after that one too with `observe`.
    Raises `Diverged` where the step falls under ten units in the last place of t, the solution having left the finite
    numbers or the problem being too stiff for the method.
    """
    attempt = explicit_attempt(slope, method) if isinstance(method, Stages) else method
    states, accepted, rejected = [y], 0, 0
    if len(times) < 2 or 0 in y.shape:  # an empty state has no error to measure
        return states * len(times), accepted, rejected
    t = times[0]
    first = slope(t, y)
    h = first_step(slope, t, y, first, times[-1] - t, order, tolerance)
    if observe is not None:
        observe(t, y, first)
    before: float | None = None
    for end in times[1:]:
        after_rejection = False
        while t < end:
            lands = t + STRETCH * h >= end
            step = end - t if lands else h
            if not lands and step < 10 * math.ulp(t):
                raise Diverged(f"the step size fell to {step:.2g} at t = {t:g}, below the spacing of numbers there")
            try:
                tried = attempt(t, y, step, first)
            except Diverged:
                rejected += 1
                h, after_rejection, before = SMALLEST * step, True, None
                if h < 10 * math.ulp(t):
                    raise
                continue
            error = tolerance.norm(tried.error, y, tried.y)
            if error <= 1:
                accepted += 1
                scaled = step * (pi_factor(error, before, order) if controller == "pi" else factor(error, order))
                if after_rejection:
                    scaled = min(scaled, step)
                # a step cut short by an output time says little about the one that was planned
                before = None if lands and step < h else error
                h = max(scaled, h) if lands and step < h else scaled
                t, y, after_rejection = (end if lands else t + step), tried.y, False
                first = tried.last
                if observe is not None:
                    first = slope(t, y) if first is None else first
                    observe(t, y, first)
            else:
                rejected += 1
                h, first = min(step * factor(error, order), SAFETY * step), tried.first
                after_rejection, before = True, None
        states.append(y)
    return states, accepted, rejected
