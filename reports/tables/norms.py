"""How far the norm of a unitary cell's state drifts, by method."""

from __future__ import annotations

import pandas as pd

from ..frame import over_seeds, tidy
from ..pieces import Table

COLUMNS = ("cell", "tableau", "step", "options", "steps", "device", "dtype", "drift", "runs", "failed")


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting, the least drift first."""
    rows = frame[frame["kind"] == "norm"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    table = over_seeds(rows, ["metrics.norm_drift"]).rename(columns={"metrics.norm_drift": "drift"})
    first = rows.drop_duplicates("setting").set_index("setting")
    table["steps"] = table["setting"].map(first["task.steps"])
    table["runs"] = table["seeds"] + table["failed"]
    return tidy(table.sort_values(["steps", "drift"], kind="stable"), COLUMNS)


TABLE = Table(
    name="norms",
    title="Drift of the norm",
    kinds=("norm",),
    caption=(
        "Largest | ||y|| / ||y_0|| - 1 | along a sequence of so many steps with random inputs, mean over seeds, in "
        "float64. Strang splitting into exact unitary flows and the implicit midpoint rule keep the norm of a unitary "
        "field to rounding; an explicit method drifts."
    ),
    make=build,
    heading=("device", "dtype"),
    narrow=("cell", "tableau", "step", "steps", "drift", "runs", "failed"),
)
