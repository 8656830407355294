"""The order of every tableau as observed, beside the claimed one."""

from __future__ import annotations

import pandas as pd

from ..frame import over_seeds, tidy
from ..merge import without_backends
from ..pieces import Table

TOLERANCE = 0.25
COLUMNS = (
    *("task", "cell", "tableau", "backend", "step", "options", "device", "dtype"),
    *("claimed", "observed", "difference", "verdict", "runs", "failed"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting, by claimed order. verdict: as claimed, higher or lower; nothing where there is no result."""
    rows = frame[frame["kind"] == "order"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    table = over_seeds(rows, ["metrics.observed_order"]).rename(columns={"metrics.observed_order": "observed"})
    first = rows.drop_duplicates("setting").set_index("setting")
    table["claimed"] = table["setting"].map(first["properties.claimed_order"].fillna(first["properties.order"]))
    table["difference"] = table["observed"] - table["claimed"]
    table["verdict"] = [_verdict(difference) for difference in table["difference"]]
    table["runs"] = table["seeds"] + table["failed"]
    return tidy(table.sort_values(["task", "claimed", "tableau", "backend"], kind="stable"), COLUMNS)


def _verdict(difference: float) -> str:
    if difference != difference:
        return ""
    return "as claimed" if abs(difference) <= TOLERANCE else "higher" if difference > 0 else "lower"


def _brief(table: pd.DataFrame) -> pd.DataFrame:
    """What is not as claimed first; one line for backends that agree."""
    return without_backends(table, ("observed",)).sort_values(
        "verdict", key=lambda verdict: verdict == "as claimed", kind="stable"
    )


def _note(group: pd.DataFrame) -> str:
    return f"{int((group['verdict'] == 'as claimed').sum())} of {len(group)} as claimed"


TABLE = Table(
    name="orders",
    title="Order of convergence",
    kinds=("order",),
    caption=(
        "Slope of log error against log step, beside the claimed order; as claimed: within 0.25 of it. A method with "
        "very small principal error terms may show more than its order."
    ),
    make=build,
    heading=("task", "device", "dtype"),
    narrow=("tableau", "backend", "claimed", "observed", "verdict", "runs", "failed"),
    note=_note,
    brief=_brief,
)
