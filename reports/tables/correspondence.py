"""The correspondence: every recurrent network as field, method and step, with what was measured of the claim."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..frame import EQUAL, records
from ..pieces import Table

CLOSE = 0.3
"""How far the observed order may be from the claimed one."""
LIMIT = 1e-8
"""How far the extrapolated limit of small steps may be from the exact flow, relatively."""
TOLD_APART = 1e-6
"""A deliberately wrong cell must differ by this much, or the comparison proves nothing."""
NOT_EQUAL, NO_INTEGRATOR, HOLDS = "NOT equal", "not an integrator", "equal & consistent"
COLUMNS = (
    *("RNN", "cell", "method", "step", "n", "t", "verdict", "error, 1 step", "error, 100 steps"),
    *("order", "claimed", "limit", "wrong variant", "its error", "frozen", "equation", "stages", "ode order"),
    "gap at 0",
    *("substeps", "backend", "runs", "failed", "reason", "paper", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line per row of the theory and solver, seeds taken together: the largest errors, the median order.

    What is false or has no result comes first.
    """
    rows = frame[frame["kind"] == "correspondence"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.DataFrame([_line(group) for _, group in rows.groupby("setting", sort=False)], columns=list(COLUMNS))
    table["place"] = [verdict in (HOLDS, NO_INTEGRATOR) for verdict in table["verdict"]]
    return table.sort_values("place", kind="stable").drop(columns="place")


def _line(group: pd.DataFrame) -> dict[str, Any]:
    known = records(group)
    told = next((r for r in known if isinstance(r.get("properties.equation"), str)), known[0])
    errors = group[["metrics.equality_error_one_step", "metrics.equality_error"]].dropna(how="all")
    one, whole = (float(errors[name].max(skipna=False)) if len(errors) else math.nan for name in errors)
    order, claimed = group["metrics.observed_order"].median(), group["properties.order"].max()
    bad = group[group["status"] != "ok"]
    line: dict[str, Any] = {
        "RNN": _text(told, "task.row") or _text(told, "solver.cell"),
        "cell": _text(told, "solver.cell"),
        "method": _text(told, "solver.tableau"),
        "step": _number(told, "solver.step"),
        "n": _number(told, "properties.nesting_depth"),
        "t": group["metrics.memory_order"].median(),
        "error, 1 step": one,
        "error, 100 steps": whole,
        "order": order,
        "claimed": claimed if told.get("properties.integrator") is not False else math.nan,
        "limit": group["metrics.limit_gap"].max(),
        "wrong variant": _text(told, "properties.wrong"),
        "its error": group["metrics.wrong_error"].min(),
        "frozen": _text(told, "properties.frozen"),
        "equation": _text(told, "properties.equation"),
        "stages": _number(told, "properties.stages"),
        "ode order": _number(told, "properties.ode_order"),
        "gap at 0": group["metrics.gap_at_zero_step"].min(),
        "substeps": _number(told, "properties.substeps"),
        "backend": _text(told, "solver.backend"),
        "runs": len(group),
        "failed": len(bad),
        "reason": "; ".join(dict.fromkeys(str(r) for r in bad["reason"] if r)),
        "paper": _text(told, "properties.paper"),
        "device": told["device"],
        "dtype": told["dtype"],
    }
    return line | {"verdict": _verdict(line, told.get("properties.integrator") is not False)}


def _verdict(line: Mapping[str, Any], integrator: bool) -> str:
    """From the numbers; where a run failed although they are good, the failure."""
    errors = (line["error, 1 step"], line["error, 100 steps"])
    if all(math.isnan(error) for error in errors):
        return "no result"
    if not all(error <= EQUAL for error in errors):  # one that is not a number is not equal
        return NOT_EQUAL
    if not line["its error"] >= TOLD_APART:
        return "NOT told apart"
    if integrator and (not abs(line["order"] - line["claimed"]) <= CLOSE or line["limit"] > LIMIT):
        return "equal, NOT consistent"
    if line["failed"]:
        return "FAILED"
    return HOLDS if integrator else NO_INTEGRATOR


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _number(record: Mapping[str, Any], key: str) -> float:
    value = record.get(key)
    return float(value) if isinstance(value, int | float) else math.nan


def _brief(table: pd.DataFrame) -> pd.DataFrame:
    """Shorter heads and numbers."""
    names = {"error, 1 step": "1 step", "error, 100 steps": "100", "its error": "wrong by"}
    short = table.rename(columns=names)
    for name in names.values():
        short[name] = [float(f"{value:.1e}") for value in short[name]]
    short["limit"] = [float(f"{value:.0e}") for value in short["limit"]]
    return short.assign(order=short["order"].round(2)).rename(columns={"claimed": "of"})


def holding(table: pd.DataFrame) -> str:
    """How many lines hold, of how many."""
    counts = table["verdict"].value_counts()
    return ", ".join(f"{counts[name]} {name}" for name in counts.index) + "."


def _note(table: pd.DataFrame) -> str:
    return f"{holding(table)[:-1]}; errors after 1 step and 100, order of the claimed one"


TABLE = Table(
    name="correspondence",
    title="Known recurrent networks as methods for an ODE",
    kinds=("correspondence",),
    caption=(
        "Each network as field, method and step: (n, t) = nested evaluations of the nonlinearity in a step, and lags "
        "of the output that determine the next. Errors: largest relative difference from an independent transcription"
        " of the published update with the same weights, after one step and over 100; equal: at most 1e-12. Order: "
        "observed as the step goes to zero, against the exact flow of the field; consistent: within 0.3 of the "
        "claimed one. Limit: relative distance of the limit that the finest steps are extrapolated to from that flow, "
        "consistent: at most 1e-8. Its error: that of a plausible wrong variant in the same comparison, which must be "
        "large. Frozen: what is held over the step. What is not an integrator has no limit as its time goes to zero "
        "(gap at 0). Largest errors and median order over seeds."
    ),
    make=build,
    narrow=("RNN", "method", "step", "n", "t", "1 step", "100", "order", "of", "limit", "wrong by", "verdict"),
    heading=("device", "dtype"),
    each=60,
    note=_note,
    brief=_brief,
    compact=(
        *("RNN", "cell", "method", "step", "n", "t", "equation", "frozen", "error, 1 step", "error, 100 steps"),
        *("order", "claimed", "limit", "wrong variant", "its error", "verdict", "failed", "device", "dtype"),
    ),
    math=("equation",),
    total=holding,
    lead=True,
)
