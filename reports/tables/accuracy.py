"""The primary metric of every sequence task, over seeds, beside the baseline."""

from __future__ import annotations

import math

import pandas as pd

from ..frame import over_seeds, sign, tidy
from ..pieces import Table

COLUMNS = (
    *("task", "cell", "tableau", "backend", "step", "options", "parameters", "value", "value ±", "seeds", "failed"),
    *("baseline", "mark", "metric", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting; tasks in order of first appearance, the best mean first, settings without a result last."""
    rows = frame[frame["kind"] == "sequence"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    table = over_seeds(rows, ["primary"]).rename(columns={"primary": "value", "primary ±": "value ±"})
    first = rows.drop_duplicates("setting").set_index("setting")
    table["metric"] = table["setting"].map(first["primary_metric"])
    table["baseline"] = table["setting"].map(first["baseline"])
    table["mark"] = ""
    for _, group in table.groupby(["task", "device", "dtype"], sort=False):
        table.loc[group.index, "mark"] = _marks(group)
    order = {task: place for place, task in enumerate(table["task"].unique())}
    table["gain"] = [-sign(m) * v for m, v in zip(table["metric"], table["value"], strict=True)]
    table["place"] = table["task"].map(order)
    return tidy(table.sort_values(["place", "gain"], kind="stable", na_position="last"), COLUMNS)


def _marks(group: pd.DataFrame) -> list[str]:
    """better, best, tied or nothing for the settings of one task, device and dtype."""
    direction = sign(group["metric"].iloc[0])
    spread = group["value ±"].fillna(0.0)
    gain = direction * (group["value"] - group["baseline"])
    better = gain > spread
    whole = better & (group["failed"] == 0)
    best = (direction * group["value"])[whole].max() if whole.any() else math.nan
    best_spread = float(spread[whole & (direction * group["value"] == best)].max()) if whole.any() else 0.0
    marks = []
    for value, own, beyond, candidate in zip(group["value"], spread, better, whole, strict=True):
        distance = best - direction * float(value)
        if candidate and distance == 0:
            marks.append("best")
        elif candidate and distance <= math.hypot(best_spread, float(own)):
            marks.append("tied")
        else:
            marks.append("better" if beyond else "")
    return marks


TABLE = Table(
    name="accuracy",
    title="Sequence tasks",
    caption=(
        "Primary metric, mean ± standard deviation over the seeds that gave a result; failed seeds are counted, not "
        "averaged. Mark, within a task, device and dtype: better = beyond the baseline by more than the spread; best "
        "= the best mean of those without a failed seed; tied = within the two spreads of the best."
    ),
    make=build,
    narrow=("cell", "tableau", "backend", "step", "options", "value", "seeds", "failed", "baseline", "mark"),
)
