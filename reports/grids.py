"""Forecasts of one solver from more and less data: rows that differ in noise, size of the data and sampling step."""

from __future__ import annotations

import json
import math

import pandas as pd

from .frame import over_seeds, records
from .rungs import GRID, PLAIN, VALID, place, reasons, rung_name

AXES = ("noise", "points", "every")
VALUES = (VALID, f"{VALID}_q25", f"{VALID}_q75", "metrics.nrmse", "metrics.smape")


def grid_lines(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting of every solver that saw at least two kinds of data of its system; empty where there is none.

    Columns: those of `over_seeds`, system, rung, noise, every, trajectories, samples, points (of all trajectories),
    solver id (all of the setting but system and data), reason.
    """
    rows = frame[frame["kind"] == "forecast"].copy()
    if rows.empty:
        return pd.DataFrame()
    rows["solver id"] = [_without_data(setting) for setting in rows["setting"]]
    rows["task.points"] = rows["task.samples"] * rows["task.trajectories"]
    for key, plain in PLAIN.items():
        rows[f"task.{key}"] = rows[f"task.{key}"].fillna(plain)
    rows["data"] = [
        tuple(-1.0 if math.isnan(line[f"task.{a}"]) else float(line[f"task.{a}"]) for a in AXES)
        for line in records(rows[[f"task.{a}" for a in AXES]])
    ]
    rows = rows[rows.groupby(["task.system", "solver id"])["data"].transform("nunique") > 1]
    if rows.empty:
        return pd.DataFrame()
    table = over_seeds(rows, VALUES)
    first = rows.drop_duplicates("setting").set_index("setting")
    for key in ("system", *AXES, "trajectories", "samples"):
        table[key] = table["setting"].map(first[f"task.{key}"])
    table["solver id"] = table["setting"].map(first["solver id"])
    error = table["setting"].map(first["solver.parameter_error"])
    table["rung"] = [rung_name(c, e) for c, e in zip(table["cell"], error, strict=True)]
    table["reason"] = [reasons(rows[rows["setting"] == setting]) for setting in table["setting"]]
    keys = [
        (line["system"], *place(line["cell"]), line["solver"], line["every"], line["noise"], line["points"])
        for line in records(table)
    ]
    return table.iloc[sorted(range(len(keys)), key=lambda i: keys[i])].reset_index(drop=True)


def _without_data(setting: str) -> str:
    """A setting of `frame` less the system, what is learned from, and the long run, which the forecast is not of."""
    task, *others = json.loads(setting)
    kept = {key: value for key, value in task.items() if key not in (*GRID, "system", "long")}
    return json.dumps([kept, *others], sort_keys=True)
