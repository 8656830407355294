"""Chaotic forecasts as ladders of information: which rows compete with each other, in which order, the best of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from . import style
from .frame import PROTOCOL, over_seeds, records

VALID = "metrics.valid_prediction_time"
GRID = ("every", "noise", "trajectories", "samples")
"""Of the protocol, what a grid of data varies."""

PLAIN = {"every": 1.0, "noise": 0.0}
"""Not worth a word."""

TRAINING = ("length", "forcing", "window")
"""Parameters of the task that say how a model is trained on its data."""

_LAST = ("lstm", "gru")


def place(cell: str, parameter_error: float = math.nan) -> tuple[float, float, str]:
    """A sorting key, the least informed first: forecasters, cells of the catalogue, LSTM and GRU, the true field with a
    wrong parameter (the worst first), the true field."""
    if cell == "true-field":
        wrong = abs(parameter_error) if math.isfinite(parameter_error) else 0.0
        return (1000.0, -wrong, "")
    if cell in style.RUNGS:
        return (float(list(style.RUNGS).index(cell)), 0.0, "")
    if cell in _LAST:
        return (900.0 + _LAST.index(cell), 0.0, "")
    return (100.0, 0.0, cell)


def rung_name(cell: str, parameter_error: float = math.nan) -> str:
    """ "NVAR", "true field", "true field, parameters off by 1 %"."""
    if math.isfinite(parameter_error) and parameter_error != 0:
        return f"{style.label(cell)}, parameters off by {100 * parameter_error:.3g} %"
    return style.label(cell)


def with_protocol(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with a column "protocol": the system and what else of `PROTOCOL` differs between rows of that system.

    How a model is trained on the data (sequences, forcing, window), and how long its long run is, is no part of it:
    rows of one protocol are scored on the same forecasts.
    """
    named = rows.copy()
    named["protocol"] = named["task.system"].map(str)
    for _, part in rows.groupby("task.system", sort=False):
        varied = [key for key in PROTOCOL[1:] if part[f"task.{key}"].nunique(dropna=False) > 1]
        for index, line in part.iterrows():
            values = {key: float(line[f"task.{key}"]) for key in varied}
            parts = [f"{k}={v:g}" for k, v in values.items() if math.isfinite(v) and v != PLAIN.get(k)]
            named.loc[index, "protocol"] = " · ".join([str(line["task.system"]), *parts])
    return named


def ladder_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The forecasts of the ladders, with their protocol.

    A protocol on which fewer than half as many cells were tried as on the richest one of its system is a point of a
    grid of data, and left to the figure and the table of those.
    """
    rows = frame[frame["kind"] == "forecast"]
    if rows.empty:
        return rows.assign(protocol="")
    rows = with_protocol(rows)
    count = rows.groupby("protocol")["solver.cell"].nunique()
    system = rows.groupby("protocol")["task.system"].first()
    kept = [p for p in count.index if count[p] >= 0.5 * count[system == system[p]].max()]
    return with_protocol(rows[rows["protocol"].isin(kept)])  # named anew, by what differs between the ladders


def scored(rows: pd.DataFrame, values: Sequence[str]) -> pd.DataFrame:
    """`over_seeds`, with how a model was trained on the data among its options: no part of the protocol, nor of what
    a ladder calls its lines."""
    table = over_seeds(rows, values)
    told = [[w for w in str(task).split(" · ") if w.partition("=")[0] in TRAINING] for task in table["task"]]
    table["options"] = [", ".join(filter(None, (o, *w))) for o, w in zip(table["options"], told, strict=True)]
    return table


def best_settings(rows: pd.DataFrame, values: Sequence[str]) -> pd.DataFrame:
    """One line a protocol and rung, in the ladder's order: the setting with the longest median valid time.

    Columns: those of `over_seeds`, protocol, system, rung, parameter error, evaluations (of the field in a Lyapunov
    time, median), settings (how many were tried), failed (runs without a result, of all of them).
    """
    rows = rows.assign(evaluations=[_evaluations(line) for line in records(rows)])
    table = scored(rows, [VALID, "evaluations", *(v for v in values if v != VALID)])
    table["evaluations"] = table["evaluations median"]
    first = rows.drop_duplicates("setting").set_index("setting")
    table["protocol"] = table["setting"].map(first["protocol"])
    table["system"] = table["setting"].map(first["task.system"])
    table["parameter error"] = table["setting"].map(first["solver.parameter_error"])
    table["rung"] = [rung_name(c, e) for c, e in zip(table["cell"], table["parameter error"], strict=True)]
    lines = []
    for _, group in table.groupby(["protocol", "rung"], sort=False):
        middle = group[f"{VALID} median"]
        line = group.iloc[int(np.argmax(middle.fillna(-np.inf).to_numpy(float)))].copy()
        line["settings"], line["failed"] = len(group), int(group["failed"].sum())
        lines.append(line)
    best = pd.DataFrame(lines).infer_objects()
    order = {protocol: number for number, protocol in enumerate(rows["protocol"].unique())}
    keys = [
        (order[p], *place(c, e))
        for p, c, e in zip(best["protocol"], best["cell"], best["parameter error"], strict=True)
    ]
    return best.iloc[sorted(range(len(keys)), key=lambda i: keys[i])].reset_index(drop=True)


def middle_row(rows: pd.DataFrame, setting: str, curve: str) -> pd.Series[Any] | None:
    """Of a setting's rows that have that curve, the one of median valid time; None for none."""
    group = rows[rows["setting"] == setting]
    group = group[[isinstance(c, dict) for c in group[curve]]]
    group = group.sort_values(VALID, kind="stable")
    return group.iloc[(len(group) - 1) // 2] if len(group) else None


def horizon(row: Mapping[Any, Any]) -> float:
    """Lyapunov times that a forecast is followed: as the task says, else where its curve ends; NaN if unknown."""
    stated = row.get("task.horizon")
    if isinstance(stated, int | float) and math.isfinite(stated):
        return float(stated)
    curve = row.get("curves.forecast")
    time = curve.get("time") if isinstance(curve, dict) else None
    return float(time[-1]) if isinstance(time, list) and time else math.nan


def reasons(rows: pd.DataFrame) -> str:
    """What the rows without a result say, each sentence once."""
    both = zip(rows["status"], rows["reason"], strict=True)
    said = [f"{status}: {reason}" for status, reason in both if status != "ok"]
    return "; ".join(dict.fromkeys(said))


def _evaluations(row: Mapping[Any, Any]) -> float:
    return float(row["cost.f_calls"]) / horizon(row)
