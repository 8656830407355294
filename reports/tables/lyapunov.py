"""Lyapunov exponents of the flows: ours with standard errors beside the published ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..frame import records
from ..pieces import Table

STANDARD_ERRORS = 2.0
"""Two numbers agree that differ by no more than so many of their joint standard errors."""

COLUMNS = (
    *("system", "exponent", "exponent ±", "published", "published ±", "agreement", "sum", "exact sum"),
    *("sum off by", "Kaplan-Yorke", "Kaplan-Yorke ±", "published Kaplan-Yorke", "published Kaplan-Yorke ±"),
    *("agreement of dimensions", "source", "runs", "failed", "reason", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a system, device and dtype: of its rows the one with the smallest error of the flow's exponent."""
    rows = frame[frame["kind"] == "lyapunov"]
    lines = [_line(part) for _, part in rows.groupby(["task.system", "device", "dtype"], sort=False)]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _line(part: pd.DataFrame) -> dict[str, Any]:
    good, first = part[part["status"] == "ok"], part.iloc[0]
    known: dict[str, Any] = {"system": first["task.system"], "device": first["device"], "dtype": first["dtype"]}
    lost = part[part["status"] != "ok"]
    said = dict.fromkeys(f"{r['solver_label']}: {r['reason']}" for r in records(lost))
    known |= {"runs": len(part), "failed": len(lost), "reason": "; ".join(said)}
    if good.empty:
        return known
    row = good.sort_values("metrics.flow_lyapunov_max_error", kind="stable").iloc[0]
    published, total = _published(row), _total(row)
    ours = (row["metrics.flow_lyapunov_max"], row["metrics.flow_lyapunov_max_error"])
    dimension = (row["metrics.flow_kaplan_yorke"], row["metrics.flow_kaplan_yorke_error"])
    others = (number(published, "exponent"), number(published, "exponent_error"))
    theirs = (number(published, "dimension"), number(published, "dimension_error"))
    exact = float(row["metrics.lyapunov_sum_exact"])
    return known | {
        "exponent": ours[0],
        "exponent ±": ours[1],
        "published": others[0],
        "published ±": others[1],
        "agreement": agreement(*ours, *others),
        "sum": total,
        "exact sum": exact,
        "sum off by": total - exact,
        "Kaplan-Yorke": dimension[0],
        "Kaplan-Yorke ±": dimension[1],
        "published Kaplan-Yorke": theirs[0],
        "published Kaplan-Yorke ±": theirs[1],
        "agreement of dimensions": agreement(*dimension, *theirs),
        "source": str(published.get("source") or ""),
    }


def agreement(ours: float, error: float, theirs: float, their_error: float) -> str:
    """In words: how two numbers with their errors stand to each other; nothing where one is missing."""
    if math.isnan(ours) or math.isnan(theirs):
        return ""
    away = abs(ours - theirs)
    joint = math.hypot(*(e if math.isfinite(e) else 0.0 for e in (error, their_error)))
    if joint == 0.0:
        return "equal" if away == 0.0 else f"off by {away:.2g}, no error known"
    times = away / joint
    return f"agrees, {times:.1f} errors apart" if times <= STANDARD_ERRORS else f"DIFFERS, {times:.1f} errors apart"


def number(published: Mapping[str, Any], key: str) -> float:
    value = published.get(key)
    return float(value) if isinstance(value, int | float) else math.nan


def _published(row: pd.Series[Any]) -> Mapping[str, Any]:
    value = row.get("properties.published")
    return value if isinstance(value, Mapping) else {}


def _total(row: pd.Series[Any]) -> float:
    """The sum of the flow's exponents, where the row holds all of them: where it holds a sum."""
    curve = row.get("curves.flow")
    if math.isnan(row["metrics.lyapunov_sum"]):
        return math.nan
    if isinstance(curve, dict) and curve.get("exponents"):
        return float(sum(curve["exponents"]))
    return float(row["metrics.lyapunov_sum"])


TABLE = Table(
    name="lyapunov",
    title="Lyapunov exponents",
    kinds=("lyapunov",),
    caption=(
        "exponent: the flow's largest, in 1 over the equation's unit of time, with its standard error over "
        "trajectories; published: with the stated uncertainty, or half a unit of the last digit printed. agreement: "
        "the difference in joint errors, agreeing up to two. sum: of all exponents, beside the exact mean divergence "
        "of the field where that is constant. Kaplan-Yorke: dimension."
    ),
    make=build,
    heading=("device", "dtype"),
    narrow=("system", "exponent", "published", "agreement", "sum", "exact sum", "Kaplan-Yorke", "failed"),
)
