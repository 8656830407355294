"""How long arithmetic lets a forecast of the true field last, by system and dtype."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ..frame import describe
from ..pieces import Table

COLUMNS = (
    *("system", "tableau", "backend", "ceiling", "step at the ceiling", "lower quartile", "upper quartile"),
    *("truths agree for", "initial conditions", "seed", "status", "reason", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a row of the task "ceiling"."""
    rows = frame[frame["kind"] == "ceiling"]
    lines = [_line(row) for _, row in rows.iterrows()]
    if not lines:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.DataFrame(lines).sort_values(["system", "dtype"], kind="stable")[list(COLUMNS)]


def _line(row: pd.Series[Any]) -> dict[str, Any]:
    low, high = _quartiles(row)
    return describe(row) | {
        "system": row["task.system"],
        "ceiling": row["metrics.ceiling"],
        "step at the ceiling": row["metrics.ceiling_step"],
        "lower quartile": low,
        "upper quartile": high,
        "truths agree for": row["metrics.agreement"],
        "initial conditions": row["metrics.initial_conditions"],
        "seed": row["seed"],
        "status": row["status"],
        "reason": row["reason"],
    }


def _quartiles(row: pd.Series[Any]) -> tuple[float, float]:
    """Over initial conditions, at the step of the ceiling."""
    curve = row["curves.ceiling"]
    if not isinstance(curve, dict) or row["metrics.ceiling_step"] not in curve.get("step", []):
        return math.nan, math.nan
    at = curve["step"].index(row["metrics.ceiling_step"])
    low, high = (curve[key][at] if key in curve else math.nan for key in ("q25", "q75"))
    return float(low), float(high)


TABLE = Table(
    name="ceilings",
    title="Ceilings of floating-point arithmetic",
    kinds=("ceiling",),
    caption=(
        "ceiling: the largest median valid prediction time, in Lyapunov times, that the true field reaches over ever "
        "finer steps, against a truth in extended precision; quartiles over initial conditions at that step (in the "
        "equation's unit of time). truths agree for: Lyapunov times up to which the truth of the forecasts and an "
        "independent solution are the same to a hundredth of the threshold on every trajectory."
    ),
    make=build,
    heading=("system",),
    narrow=("tableau", "dtype", "ceiling", "step at the ceiling", "truths agree for", "status"),
)
