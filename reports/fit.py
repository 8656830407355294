"""The fit of a power law, with its interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """y = factor x^exponent; low and high bound the exponent's 95 % interval (NaN where the fit is exact by count)."""

    factor: float
    exponent: float
    low: float
    high: float


def power_law(x: Iterable[float], y: Iterable[float]) -> PowerLaw | None:
    """Least squares of log y against log x, interval by Student's t; None below three distinct positive x."""
    points = np.array([(a, b) for a, b in zip(x, y, strict=True) if a > 0 and b > 0 and np.isfinite(a * b)], float)
    if len(points) < 3 or len(np.unique(points[:, 0])) < 3:
        return None
    from scipy import stats  # half a second that only a report with a fit needs

    fit = stats.linregress(np.log(points[:, 0]), np.log(points[:, 1]))
    half = float(stats.t.ppf(0.975, len(points) - 2)) * float(fit.stderr)
    slope = float(fit.slope)
    return PowerLaw(float(np.exp(fit.intercept)), slope, slope - half, slope + half)
