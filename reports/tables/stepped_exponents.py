"""Lyapunov exponents of the stepped maps: a method has its own, and at a large step they are not the flow's."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ..frame import describe, natural
from ..pieces import Table
from .lyapunov import agreement

COLUMNS = (
    *("system", "tableau", "backend", "step", "exponent", "exponent ±", "exponent of the flow"),
    *("exponent of the flow ±", "map against flow", "sum", "exact sum", "Kaplan-Yorke", "Kaplan-Yorke ±"),
    *("evaluations", "seed", "status", "reason", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a row of the task "lyapunov" whose solver was stepped, or should have been."""
    rows = frame[frame["kind"] == "lyapunov"]
    if len(rows) and "properties.of" in rows:
        rows = rows[rows["properties.of"] != "flow"]
    lines = [_line(row) for _, row in rows.iterrows()]
    if not lines:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.DataFrame(lines)
    keys = [(str(r["system"]), str(r["tableau"]), natural(str(r["step"]))) for r in table.to_dict("records")]
    return table.iloc[sorted(range(len(keys)), key=lambda i: keys[i])][list(COLUMNS)]


def _line(row: pd.Series[Any]) -> dict[str, Any]:
    ours = (float(row["metrics.lyapunov_max"]), float(row["metrics.lyapunov_max_error"]))
    flow = (float(row["metrics.flow_lyapunov_max"]), float(row["metrics.flow_lyapunov_max_error"]))
    return describe(row) | {
        "system": row["task.system"],
        "exponent": ours[0],
        "exponent ±": ours[1],
        "exponent of the flow": flow[0],
        "exponent of the flow ±": flow[1],
        "map against flow": agreement(*ours, *flow) if not math.isnan(ours[0]) else "",
        "sum": row["metrics.lyapunov_sum"],
        "exact sum": row["metrics.lyapunov_sum_exact"],
        "Kaplan-Yorke": row["metrics.kaplan_yorke"],
        "Kaplan-Yorke ±": row["metrics.kaplan_yorke_error"],
        "evaluations": row["cost.f_calls"],
        "seed": row["seed"],
        "status": row["status"],
        "reason": row["reason"],
    }


TABLE = Table(
    name="stepped_exponents",
    title="Lyapunov exponents of stepped maps",
    kinds=("lyapunov",),
    caption=(
        "The largest exponent of the map that a method steps, by tableau and step (steps: in a sampling step of the "
        "system), beside the flow's, with standard errors; agreeing up to two joint errors. The exact sum is the "
        "flow's: a map of large steps contracts otherwise."
    ),
    make=build,
    heading=("system", "device", "dtype"),
    narrow=("tableau", "step", "exponent", "exponent of the flow", "map against flow", "sum", "Kaplan-Yorke", "status"),
    each=20,
)
