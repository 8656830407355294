"""The soundness hunt: every certificate, how often it was tried to break it, and whether it broke."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ..frame import describe, options, tidy
from ..pieces import Table
from .spectra import said

COLUMNS = (
    *("cell", "tableau", "options", "norm", "inflate", "certificate", "cases", "violations", "worst growth"),
    *("tightness", "verdict", "reason", "runs", "failed", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting, seeds added up; what is violated first, then the inflated steps, then what holds."""
    rows = frame[frame["kind"] == "certificate"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    other = options(rows)
    table = pd.DataFrame(
        [_line(g) | {"options": other.get(str(s), "")} for s, g in rows.groupby("setting", sort=False)]
    )
    order = ["VIOLATED", "failed", "not caught", "caught", "sound", "no certificate"]
    table["place"] = [order.index(verdict) for verdict in table["verdict"]]
    return tidy(table.sort_values("place", kind="stable"), COLUMNS)


def _line(group: pd.DataFrame) -> dict[str, Any]:
    first = group.iloc[0]
    stated = first.get("properties.task")
    inflate = first.get("task.inflate")
    if not isinstance(inflate, int | float) or math.isnan(inflate):
        inflate = stated.get("inflate", 1.0) if isinstance(stated, dict) else 1.0
    norm = said(group, "norm") or str(first.get("task.norm", ""))
    cases, violations = group["metrics.cases"].sum(), group["metrics.violations"].sum()
    told = group["metrics.violations"].notna().any()
    reasons = [said(group, "reason"), *(str(r) for r in group.loc[group["status"] != "ok", "reason"] if r)]
    line: dict[str, Any] = {
        "norm": norm,
        "inflate": float(inflate),
        "certificate": said(group, "kind"),
        "cases": cases if told else math.nan,
        "violations": violations if told else math.nan,
        "worst growth": group["metrics.worst_growth"].max(),
        "tightness": group["metrics.tightness"].max(),
        "reason": "; ".join(dict.fromkeys(r for r in reasons if r)),
        "runs": len(group),
        "failed": int((~group["status"].isin(["ok", "skipped"])).sum()),
    }
    if not told:
        verdict = "no certificate" if (group["status"] == "skipped").all() else "failed"
    elif inflate > 1:
        verdict = "caught" if violations > 0 else "not caught"
    else:
        verdict = "VIOLATED" if violations > 0 else "sound"
    return describe(first) | line | {"verdict": verdict}


def summary(table: pd.DataFrame) -> str:
    """All cases and violations together."""
    honest, inflated = table[table["inflate"] <= 1], table[(table["inflate"] > 1) & table["cases"].notna()]
    told = f"{honest['cases'].sum():.0f} certified cases, {honest['violations'].sum():.0f} violations"
    if len(inflated):
        caught = int((inflated["verdict"] == "caught").sum())
        told += f"; with the step inflated, {caught} of {len(inflated)} caught"
    return f"{told}."


TABLE = Table(
    name="certificates",
    title="Soundness of the certificates",
    kinds=("certificate",),
    caption=(
        "A random and adversarial search for weights, starts and inputs with which a certified step lets a difference"
        " of two states grow: a violation refutes the certificate. Worst growth: the largest factor seen, in the "
        "certified norm; tightness: certified step over the smallest step seen at which something grows, 1 where the "
        "bound is sharp. Inflate multiplies the certified step: above 1 the hunt must catch it where the bound is "
        "sharp, or it would prove nothing. Cases are added up over seeds."
    ),
    make=build,
    heading=("device", "dtype"),
    narrow=(
        *("cell", "tableau", "norm", "inflate", "certificate", "cases", "violations", "worst growth", "tightness"),
        "verdict",
    ),
    each=80,
    note=summary,
    total=summary,
)
