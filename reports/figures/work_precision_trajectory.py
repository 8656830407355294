"""Work and precision along the way: the largest error of the trajectory against evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ..pieces import Figure
from .work_precision import View, paint

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

VIEW = View(error="metrics.trajectory_error", error_label="largest error along the way")


def _paint(frame: pd.DataFrame) -> Canvas | None:
    return paint(frame, VIEW)


FIGURE = Figure(
    name="work_precision_trajectory",
    title="Work and precision along the trajectory",
    kinds=("integration",),
    caption=(
        "Largest error over the compared times, each relative to the largest component of the reference at its time, "
        "against evaluations of the field. Marks as in the figure of the error at the end."
    ),
    paint=_paint,
)
