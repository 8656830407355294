"""Conformance: every tableau in every backend, what runs beside what was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..frame import records
from ..pieces import Table

EXACT = 1e-11
"""Coefficients, trajectories and gradients that differ by no more, relatively, are equal to rounding in float64."""

ORDER = 0.25
JUMP = 0.75
"""An order at jumps below this share of the claimed one is lost: the few grids do not show it as sharply."""

STABLE = 0.02
"""Intervals that differ by no more than this fraction, or this much near 0, are equal."""

NUMBERS = {
    "coefficient_error": "coefficients",
    "trajectory_gap": "trajectory",
    "gradient_gap": "gradient",
    "observed_order": "order",
    "real_interval": "real",
    "imaginary_interval": "imaginary",
    "calls_per_step": "calls",
    "jump_error": "jump error",
    "jump_order": "jump order",
}
COLUMNS = (
    *("backend", "tableau", "coefficients", "trajectory", "gradient", "claimed order", "order"),
    *("claimed real", "real", "claimed imaginary", "imaginary", "calls", "jump error", "jump order"),
    *("identified", "verdict", "refused", "status", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a backend and tableau. verdict: "conforms", or what does not, from the numbers of the line alone."""
    rows = frame[frame["kind"] == "conformance"]
    lines = [line(row) for row in records(rows) if not is_library_method(row)]
    lines = [known | {"verdict": verdict(known)} for known in lines]
    if not lines:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.DataFrame(lines).sort_values(["backend", "claimed order", "tableau"], kind="stable")[list(COLUMNS)]


def is_library_method(row: Mapping[Any, Any]) -> bool:
    return isinstance(row.get("solver.method"), str)


def line(row: Mapping[Any, Any]) -> dict[str, Any]:
    """What both tables of the audit tell of a row."""
    claimed, stability = _mapping(row, "properties.claimed"), _mapping(row, "curves.stability")
    refused = _mapping(row, "properties.refused")
    reasons = [f"{probe}: {reason}" for probe, reason in refused.items()]
    return {
        "backend": row["solver.backend"],
        "tableau": row["solver.tableau"],
        **{short: _number(row.get(f"metrics.{name}")) for name, short in NUMBERS.items()},
        "claimed order": _number(claimed.get("order")),
        "claimed real": _number(stability.get("claimed_real")),
        "claimed imaginary": _number(stability.get("claimed_imaginary")),
        "identified": ", ".join(_list(row.get("properties.identified"))),
        "refused": "; ".join(reasons) or (str(row["reason"]) if row["status"] != "ok" else ""),
        "input": "the input",
        "remembers": row.get("properties.remembers") if isinstance(row.get("properties.remembers"), bool) else None,
        "status": row["status"],
        "device": row["device"],
        "dtype": row["dtype"],
    }


def verdict(known: dict[str, Any]) -> str:
    """What the numbers of a line say; nothing for a run without a result."""
    if known["status"] != "ok":
        return ""
    wrong = ["reads slopes of the step before"] if known["remembers"] else []
    for name in ("coefficients", "trajectory", "gradient"):
        if known[name] > EXACT:
            wrong.append(f"{name} off by {known[name]:.1e}")
    wrong += misbehaviour(known)
    if not wrong and math.isnan(known["coefficients"]) and math.isnan(known["trajectory"]):
        return "neither coefficients nor trajectory known"
    return "; ".join(wrong) or "conforms"


def misbehaviour(known: dict[str, Any]) -> list[str]:
    """Of order, stability and jumps, what falls short of the claim."""
    wrong = []
    if known["order"] < known["claimed order"] - ORDER:
        wrong.append(f"order {known['order']:.2f} of {known['claimed order']:g}")
    for name in ("real", "imaginary"):
        if differs(known[f"claimed {name}"], known[name]):
            wrong.append(f"stable on the {name} axis up to {known[name]:.3g} instead of {known[f'claimed {name}']:.3g}")
    expected = known["claimed order"] if math.isfinite(known["claimed order"]) else known["order"]
    if known["jump order"] < JUMP * expected:
        wrong.append(f"order {known['jump order']:.2f} at jumps of {known['input']}")
    return wrong


SLOW = 0.2
"""Below, some methods grow too slowly to show: two intervals that both are below do not differ."""


def differs(claimed: float, measured: float) -> bool:
    """Whether two stability intervals differ; nothing differs from what is not known."""
    if math.isnan(claimed) or math.isnan(measured):
        return False
    if math.isinf(claimed) or math.isinf(measured):
        return claimed != measured
    if max(claimed, measured) < SLOW:
        return False
    return abs(claimed - measured) > STABLE * max(1.0, claimed)


def _mapping(row: Mapping[Any, Any], key: str) -> dict[str, Any]:
    value = row.get(key)
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _note(group: pd.DataFrame) -> str:
    return f"{int((group['verdict'] == 'conforms').sum())} of {len(group)} conform"


def _brief(table: pd.DataFrame) -> pd.DataFrame:
    """What does not conform first."""
    return table.sort_values("verdict", key=lambda verdicts: verdicts == "conforms", kind="stable")


TABLE = Table(
    name="conformance",
    title="Conformance of tableaux in backends",
    kinds=("conformance",),
    caption=(
        "coefficients: those recovered from the running solver against those asked for. trajectory: against a plain "
        "loop on the same uneven grid. gradient: against native; native's against the derivative of the plain loop. "
        "real, imaginary: the largest |z| up to which 200 steps of y' = z y do not grow, measured and by the tableau's "
        "stability function, by one rule (below 0.2 some methods grow too slowly to show). calls: evaluations a step. "
        "jump: of an input that jumps at grid times."
    ),
    make=build,
    heading=("backend", "device", "dtype"),
    narrow=("tableau", "coefficients", "trajectory", "gradient", "order", "jump order", "verdict"),
    note=_note,
    brief=_brief,
    compact=tuple(c for c in COLUMNS if c != "refused"),
)
