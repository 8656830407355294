"""Every forecast is the mean state, zero of the standardised series; learns nothing.

What a forecast is worth that knows the attractor and not where on it one is: errors of one standard deviation after
the first step, for ever. It has no entries.

Reference: D. S. Wilks, Statistical Methods in the Atmospheric Sciences, the chapter on forecast verification, for
climatology as the reference forecast.
"""

from __future__ import annotations

import time

import numpy as np

from ...suite.contracts import Learned
from .recursion import Still
from .rung import Lesson, Rung, fitted


def learn(lesson: Lesson) -> Learned:
    """Outputs take the next state to zero."""
    started = time.perf_counter()
    factor = -1.0 / np.asarray(lesson.task.increment, dtype=np.float64)
    return fitted(lesson, Still(factor), started, {"parameters": 0})


FORECASTER = Rung("climatology", "Wilks, Statistical Methods in the Atmospheric Sciences", learn)
