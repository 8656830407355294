"""Linear memory capacity of untrained cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..frame import over_seeds, tidy
from ..pieces import Table

HALF = 0.5
COLUMNS = (
    *("task", "cell", "tableau", "backend", "step", "options", "device", "dtype", "state numbers"),
    *("capacity", "capacity ±", "per number", "half lag", "lags", "runs", "failed"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting, the largest capacity first."""
    rows = frame[frame["kind"] == "capacity"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    table = over_seeds(rows, ["metrics.memory_capacity", "metrics.memory_capacity_per_unit"])
    names = {"metrics.memory_capacity": "capacity", "metrics.memory_capacity ±": "capacity ±"}
    table = table.rename(columns=names | {"metrics.memory_capacity_per_unit": "per number"})
    groups = dict(list(rows.groupby("setting")))
    curves = {setting: r2_by_lag(group) for setting, group in groups.items()}
    table["state numbers"] = [groups[s]["properties.state_numbers"].max() for s in table["setting"]]
    table["half lag"] = [half_lag(curves[s]) for s in table["setting"]]
    table["lags"] = [len(curves[s]) or math.nan for s in table["setting"]]
    table["runs"] = table["seeds"] + table["failed"]
    return tidy(table.sort_values(["task", "capacity"], ascending=[True, False], kind="stable"), COLUMNS)


def r2_by_lag(group: pd.DataFrame) -> np.ndarray[Any, Any]:
    """The median over seeds of the R^2 of lags 0, 1, ...; empty where no run has one."""
    found = [np.asarray(c["r2"], float) for c in group["curves.capacity"] if isinstance(c, Mapping) and c.get("r2")]
    shortest = min((len(c) for c in found), default=0)
    return np.median([c[:shortest] for c in found], axis=0) if found else np.zeros(0)


def half_lag(r2: np.ndarray[Any, Any]) -> float:
    """How many lags in a row, from 0 on, are recovered with an R^2 of at least one half."""
    if not len(r2):
        return math.nan
    below = np.flatnonzero(r2 < HALF)
    return float(below[0] if len(below) else len(r2))


TABLE = Table(
    name="capacity",
    title="Memory capacity of untrained cells",
    kinds=("capacity",),
    caption=(
        "How much of its past input a linear readout recovers from an untrained cell's state (Jaeger 2001): capacity "
        "is the sum over lags of the R^2 on held-out data, at most the number of state numbers (blocks times hidden "
        "units); per number: over that. Half lag: lags in a row, from 0 on, with an R^2 of at least one half. Lags: "
        "how many were asked; a capacity near it is cut off by it. Standard deviation over seeds."
    ),
    make=build,
    narrow=("cell", "tableau", "step", "options", "state numbers", "capacity", "per number", "half lag", "failed"),
    each=40,
)
