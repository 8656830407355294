"""Work and precision in seconds: error against the wall time of the shortest solve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ..pieces import Figure
from .work_precision import View, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

VIEW = View(work="cost.solve_seconds", work_label="seconds of a solve")


def _paint(frame: pd.DataFrame) -> Canvas | None:
    return paint(frame, VIEW)


FIGURE = Figure(
    name="work_precision_time",
    title="Work and precision in seconds",
    kinds=("integration",),
    caption=(
        "Error at the end against seconds of wall time, the shortest of the repeated solves after a first one that "
        "warms up: a compiled library pays its compilation there. Marks as in the figure of evaluations."
    ),
    paint=_paint,
)
