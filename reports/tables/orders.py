"""The order of every tableau as observed, beside the claimed one."""

from __future__ import annotations

import pandas as pd

from ..frame import over_seeds, tidy
from ..pieces import Table

TOLERANCE = 0.25
COLUMNS = (
    *("task", "cell", "tableau", "backend", "step", "options", "device", "dtype"),
    *("claimed", "observed", "difference", "agrees", "runs", "failed"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting, by claimed order. agrees: within 0.25 of the claim; no for a run without a result."""
    rows = frame[frame["kind"] == "order"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    table = over_seeds(rows, ["metrics.observed_order"]).rename(columns={"metrics.observed_order": "observed"})
    first = rows.drop_duplicates("setting").set_index("setting")
    table["claimed"] = table["setting"].map(first["properties.claimed_order"].fillna(first["properties.order"]))
    table["difference"] = table["observed"] - table["claimed"]
    table["agrees"] = table["difference"].abs() <= TOLERANCE
    table["runs"] = table["seeds"] + table["failed"]
    return tidy(table.sort_values(["task", "claimed", "tableau", "backend"], kind="stable"), COLUMNS)


TABLE = Table(
    name="orders",
    title="Order of convergence",
    caption=f"Slope of log error against log step, beside the claimed order; agrees: within {TOLERANCE} of it.",
    make=build,
    heading=("task", "device", "dtype"),
    narrow=("tableau", "backend", "claimed", "observed", "agrees", "runs", "failed"),
)
