"""Noise x size of the data x sampling step: what a forecast owes to what it was learned from."""

from __future__ import annotations

import pandas as pd

from ..frame import tidy
from ..grids import grid_lines
from ..pieces import Table
from ..rungs import VALID

_NAMES = {
    f"{VALID} median": "valid time",
    f"{VALID}_q25 median": "lower quartile",
    f"{VALID}_q75 median": "upper quartile",
    "metrics.nrmse median": "nrmse",
    "metrics.smape median": "smape",
}
COLUMNS = (
    *("system", "rung", "tableau", "backend", "step", "options", "every", "noise", "trajectories", "samples", "points"),
    *("valid time", "lower quartile", "upper quartile", "nrmse", "smape", "seeds", "failed", "reason"),
    *("device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting of each solver that saw several kinds of data."""
    table = grid_lines(frame)
    if table.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    return tidy(table.rename(columns=_NAMES), COLUMNS)


TABLE = Table(
    name="data_grid",
    title="Noise, size of the data and sampling step",
    kinds=("forecast",),
    caption=(
        "every: so many sampling steps of the system lie between two points that a learner sees; noise: standard "
        "deviation on the training data, in standard deviations of the attractor, the test being free of it; points: "
        "trajectories times samples. Valid time in Lyapunov times, median and quartiles over initial conditions, each "
        "the median over seeds; nrmse, smape over the first Lyapunov time."
    ),
    make=build,
    heading=("system", "rung"),
    narrow=("tableau", "every", "noise", "points", "valid time", "lower quartile", "upper quartile", "nrmse", "failed"),
    each=12,
)
