"""Chaotic forecasts: how long they stay valid, with the true field stepped by the same tableau beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..frame import over_seeds, tidy
from ..merge import without_backends
from ..pieces import Table
from ..text import shown

VALID = "metrics.valid_prediction_time"
_NAMES = {
    f"{VALID} median": "valid time",
    f"{VALID}_q25 median": "lower quartile",
    f"{VALID}_q75 median": "upper quartile",
    "metrics.nrmse median": "nrmse",
    "metrics.baseline_valid_prediction_time median": "baseline",
    "metrics.valid_prediction_time_censored": "valid to the end",
    "metrics.initial_conditions median": "initial conditions",
}
COLUMNS = (
    *("task", "cell", "tableau", "backend", "step", "options", "parameters", "device", "dtype"),
    *("valid time", "lower quartile", "upper quartile", "true field", "baseline", "nrmse", "valid to the end"),
    *("initial conditions", "seeds", "failed"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting, the longest valid time first within each system."""
    rows = frame[frame["kind"] == "forecast"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    values = [VALID, f"{VALID}_q25", f"{VALID}_q75", f"{VALID}_censored", "metrics.nrmse"]
    values += ["metrics.baseline_valid_prediction_time", "metrics.initial_conditions"]
    table = over_seeds(rows, values).rename(columns=_NAMES)
    lines = table.to_dict("records")
    table["true field"] = [_reference(line, lines) for line in lines]
    order = {task: place for place, task in enumerate(table["task"].unique())}
    table["place"] = table["task"].map(order)
    table = table.sort_values(["place", "valid time"], ascending=[True, False], kind="stable", na_position="last")
    return tidy(table, COLUMNS)


def _reference(line: Mapping[Any, Any], lines: Sequence[Mapping[Any, Any]]) -> float:
    """The valid time of the true field with the line's task and tableau; NaN for the true field itself.

    Of several, the one of the same device, then of the same dtype, then that with one step a sample (no step given), as
    a learned field has it, then the coarsest.
    """
    wanted = ("true-field", line["task"], line["tableau"])
    same = [other for other in lines if (other["cell"], other["task"], other["tableau"]) == wanted]
    if line["cell"] == "true-field" or not same:
        return math.nan

    def near(other: Mapping[Any, Any]) -> tuple[bool, bool, bool, float]:
        step = other["step"] if isinstance(other["step"], float) else 0.0
        return other["device"] == line["device"], other["dtype"] == line["dtype"], other["step"] == "", step

    return float(max(same, key=near)["valid time"])


def _brief(table: pd.DataFrame) -> pd.DataFrame:
    """Learned fields first; one line for backends that give the true field the same numbers."""
    short = without_backends(table, ("valid time", "nrmse"))
    if not short["failed"].any():
        short = short.drop(columns="failed")
    short["true"] = short["cell"] == "true-field"
    short["task place"] = pd.factorize(short["task"])[0]
    short["only true"] = short.groupby(["task", "device", "dtype"])["true"].transform("all")
    return short.sort_values(["task place", "only true", "true"], kind="stable").drop(columns=["true", "only true"])


def _note(group: pd.DataFrame) -> str:
    return f"valid time in Lyapunov times, persistence {shown(float(group['baseline'].max()))}"


TABLE = Table(
    name="forecasting",
    title="Chaotic forecasts",
    kinds=("ceiling", "forecast"),
    caption=(
        "Valid prediction time in Lyapunov times: median and quartiles over initial conditions, each the median over "
        "seeds; nrmse over one Lyapunov time; valid to the end = fraction of forecasts that never passed the "
        "threshold, mean over seeds; baseline = persistence; true field = the valid time of the problem's own field "
        "stepped with the same tableau: what of the gap is integration and not learning."
    ),
    make=build,
    narrow=("cell", "tableau", "backend", "step", "options", "valid time", "true field", "nrmse", "seeds", "failed"),
    each=8,
    note=_note,
    brief=_brief,
)
