"""Rows of the task "transfer" as lines: what a field was trained through, and its valid time under every method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .frame import OUTCOMES, options, over_seeds, records
from .rungs import VALID, horizon, reasons, with_protocol

LIMIT = f"{VALID}_limit"
VALUES = (VALID, LIMIT, "metrics.field_error", "metrics.refinement_gap", "cost.parameters")


@dataclass(frozen=True, order=True)
class Case:
    """How a field was stepped: `substeps` of the tableau in a sample."""

    tableau: str
    substeps: int
    dtype: str
    backend: str


def lines(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting, learned fields before the true field: medians over seeds.

    Columns: those of `over_seeds`, protocol, system, trained with, steps (a sample), training step (the equation's
    time), order (of the tableau), generator, crime (the trainer made the data), learned a, matrix (case -> valid time),
    refinement (step, error), others (what else tells the setting apart), horizon, reason.
    """
    rows = frame[frame["kind"] == "transfer"]
    if rows.empty:
        return pd.DataFrame()
    rows = with_protocol(rows)
    table = over_seeds(rows, VALUES)
    told = {str(setting): _told(group) for setting, group in rows.groupby("setting", sort=False)}
    other = options(rows)
    for key in next(iter(told.values())):
        table[key] = [told[setting][key] for setting in table["setting"]]
    table["others"] = [_others(other.get(setting, "")) for setting in table["setting"]]
    keys = [_place(line) for line in records(table)]
    return table.iloc[sorted(range(len(table)), key=lambda i: keys[i])].reset_index(drop=True)


def all_cases(table: pd.DataFrame) -> list[Case]:
    """Every way of stepping in the table, in the order of the rows."""
    return list(dict.fromkeys(case for matrix in table["matrix"] for case in matrix))


def _told(group: pd.DataFrame) -> dict[str, Any]:
    carried = group[group["outcome"].isin(OUTCOMES[:2])]
    first = (carried if len(carried) else group).iloc[0]
    matrices = [_matrix(curve) for curve in carried["curves.transfer"]]
    cases = dict.fromkeys(case for matrix in matrices for case in matrix)
    trained = first.get("properties.trained_with")
    return {
        "protocol": first["protocol"],
        "system": first["task.system"],
        "trained with": trained if isinstance(trained, str) else first["solver.tableau"],
        "steps": _steps(first),
        "training step": float(first["properties.training_step"]),
        "order": float(first["properties.order"]),
        "generator": first["task.generator"],
        "crime": str(first.get("properties.generator_equals_trainer")) == "True",
        "learned a": first.get("properties.learned_a") if len(carried) else "",
        "matrix": {c: float(np.median([m[c] for m in matrices if c in m])) for c in cases},
        "refinement": first["curves.refinement"] if isinstance(first["curves.refinement"], dict) else {},
        "horizon": horizon(first.to_dict()),
        "reason": reasons(group),
    }


def _matrix(curve: Any) -> dict[Case, float]:
    if not isinstance(curve, dict):
        return {}
    count = len(curve["tableau"])
    columns = [curve["tableau"], curve["substeps"], *(curve.get(k, [""] * count) for k in ("dtype", "backend"))]
    times = [float(v) for v in curve[VALID.removeprefix("metrics.")]]
    return {
        Case(str(t), int(n), str(d), str(b)): value
        for (t, n, d, b), value in zip(zip(*columns, strict=True), times, strict=True)
    }


def _steps(row: pd.Series[Any]) -> int:
    """Of training, in a sample."""
    for key in ("solver.substeps", "solver.steps"):
        value = row.get(key)
        if isinstance(value, int | float) and math.isfinite(value):
            return int(value)
    return 1


def _place(line: Mapping[Any, Any]) -> tuple[Any, ...]:
    """A sorting key: learned before true, exact data first, tableaux by order, coarse steps first."""
    order = line["order"] if math.isfinite(line["order"]) else 99.0
    first = (line["protocol"], line["cell"] == "true-field", str(line["cell"]), line["others"], line["generator"])
    return (*first, order, str(line["trained with"]), line["steps"])


def _others(text: str) -> str:
    """The options without the steps, which have a column."""
    parts = [part for part in text.split(", ") if part and not part.startswith(("substeps=", "steps="))]
    return ", ".join(parts)
