"""Every forecast is the present state, an output of zero; learns nothing.

What a forecast is worth that assumes no change: good for a fraction of the fastest time of the flow. It has no entries.

Reference: D. S. Wilks, Statistical Methods in the Atmospheric Sciences, the chapter on forecast verification, for
persistence as the reference forecast.
"""

from __future__ import annotations

import time

import numpy as np

from ...suite.contracts import Learned
from .recursion import Still
from .rung import Lesson, Rung, fitted


def learn(lesson: Lesson) -> Learned:
    """Outputs are zero."""
    started = time.perf_counter()
    return fitted(lesson, Still(np.zeros(lesson.task.inputs)), started, {"parameters": 0})


FORECASTER = Rung("persistence", "Wilks, Statistical Methods in the Atmospheric Sciences", learn)
