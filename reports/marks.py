"""Which settings beat the baseline, which is the best and which cannot be told from it."""

from __future__ import annotations

import math

import pandas as pd

from .frame import over_seeds, sign


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a setting (`over_seeds`) with value, "value ±", metric, baseline and mark.

    mark, within a task, device and dtype: better = beyond the baseline by more than the spread over seeds; best = the
    best mean of those without a failed seed; tied = within the two spreads of the best; else empty.
    """
    table = over_seeds(rows, ["primary"]).rename(columns={"primary": "value", "primary ±": "value ±"})
    first = rows.drop_duplicates("setting").set_index("setting")
    table["metric"] = table["setting"].map(first["primary_metric"])
    table["baseline"] = table["setting"].map(first["baseline"])
    table["mark"] = ""
    for _, group in table.groupby(["task", "device", "dtype"], sort=False):
        table.loc[group.index, "mark"] = _marks(group)
    table["loss"] = [-sign(m) * v for m, v in zip(table["metric"], table["value"], strict=True)]
    return table


def _marks(group: pd.DataFrame) -> list[str]:
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
