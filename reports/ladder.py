"""Parameters for memory: the smallest size that was trained to solve a task, and the smallest with room on paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

import pandas as pd

from .fit import PowerLaw, power_law
from .frame import OUTCOMES, describe, records, solved

FAMILY = ("task", "cell", "tableau", "backend", "step", "device", "dtype")
LADDER = (*FAMILY, "memory length", "parameters", "skill", "state", "solved seeds", "seeds", "failed", "rungs")


def parameter_ladder(frame: pd.DataFrame) -> pd.DataFrame:
    """One line per solver family and memory length: the smallest solving rung, or the largest one tried.

    state: solved; "at most" where already the smallest size tried solves, so that the count is a bound from above;
    "more than" where none does, so that the largest count tried is a bound from below.

    A rung (the settings of one parameter count) solves when more than half of all its seeds do, failed ones included.
    Only families that were tried on two lengths or more, on one of them in two sizes or more, are on the ladder.
    """
    rows = frame[(frame["kind"] == "sequence") & frame["properties.memory_length"].notna()].copy()
    if rows.empty:
        return pd.DataFrame(columns=list(LADDER))
    rows["task_label"] = _tasks(rows)
    rows["solves"] = [
        state in OUTCOMES[:2] and solved(metric, value, skill)
        for state, metric, value, skill in zip(
            rows["outcome"], rows["primary_metric"], rows["primary"], rows["metrics.skill"], strict=True
        )
    ]
    described = pd.DataFrame([describe(line) for line in records(rows)], index=rows.index)
    for column in FAMILY:
        rows[column] = described[column]
    lines = []
    lengths = rows.groupby(list(FAMILY))["properties.memory_length"].transform("nunique")
    sizes = rows.groupby([*FAMILY, "properties.memory_length"])["cost.parameters"].transform("nunique")
    rows = rows[(lengths > 1) & (sizes.groupby([rows[key] for key in FAMILY]).transform("max") > 1)]
    for key, family in rows.groupby([*FAMILY, "properties.memory_length"], sort=False):
        rungs = [rung for _, rung in family.groupby("cost.parameters", dropna=False, sort=True)]
        passed = [rung for rung in rungs if rung["solves"].mean() > 0.5]
        rung = passed[0] if passed else rungs[-1]
        lines.append(
            dict(zip((*FAMILY, "memory length"), key if isinstance(key, tuple) else (key,), strict=True))
            | {
                "parameters": rung["cost.parameters"].iloc[0],
                "skill": rung.loc[rung["outcome"].isin(OUTCOMES[:2]), "metrics.skill"].median(),
                "state": "more than" if not passed else "at most" if rung is rungs[0] else "solved",
                "solved seeds": int(rung["solves"].sum()),
                "seeds": len(rung),
                "failed": int((~family["outcome"].isin(OUTCOMES[:2])).sum()),
                "rungs": len(rungs),
            }
        )
    return pd.DataFrame(lines, columns=list(LADDER)).sort_values([*FAMILY[:4], "memory length"], kind="stable")


def _tasks(rows: pd.DataFrame) -> list[str]:
    """Each row's task less what varies its memory length: "adding", "copying · length=1", "copying · symbols=5".

    That is the length, or, where one length was run with several numbers of symbols, their number.
    """
    entries = records(rows.filter(regex=r"^task\."))
    symbols: dict[tuple[Any, Any], set[Any]] = {}
    for entry in entries:
        symbols.setdefault((entry["task.name"], entry.get("task.length")), set()).add(str(entry.get("task.symbols")))
    labels = []
    for entry in entries:
        several = len(symbols[entry["task.name"], entry.get("task.length")]) > 1
        hidden = ("task.name", "task.symbols" if several else "task.length")
        own = {k.removeprefix("task."): v for k, v in sorted(entry.items()) if k not in hidden and v == v}
        shown = [f"{k}={v:g}" if isinstance(v, int | float) else f"{k}={v}" for k, v in own.items() if v is not None]
        labels.append(" · ".join([str(entry["task.name"]), *(t for t in shown if not t.endswith("="))]))
    return labels


COUNTS = (
    "cell",
    "data length",
    "memory length",
    "parameters",
    "hidden",
    "counted",
    "formula",
    "failed",
    "device",
    "dtype",
)


def parameter_counts(frame: pd.DataFrame) -> pd.DataFrame:
    """One line per cell, data length and memory length of the task "parameters": the smallest cell with room for them.

    The count depends on no tableau, step or seed, so the first run with one stands for them; failed: runs without.
    """
    rows = frame[frame["kind"] == "parameters"].copy()
    if rows.empty:
        return pd.DataFrame(columns=list(COUNTS))
    for column, key in (("data length", "data_length"), ("memory length", "memory_length")):
        rows[column] = [_entry(line, key) for line in records(rows)]
    lines = []
    keys = ["solver.cell", "data length", "memory length", "device", "dtype"]
    for place, group in rows.groupby(keys, sort=True):
        cell, p, t, device, dtype = cast("tuple[Any, ...]", place)
        carried = group[group["metrics.parameters"].notna() & group["outcome"].isin(OUTCOMES[:2])]
        first = dict(carried.iloc[0]) if len(carried) else {}
        lines.append(
            {
                "cell": cell,
                "data length": int(p),
                "memory length": int(t),
                "parameters": first.get("metrics.parameters", math.nan),
                "hidden": first.get("metrics.hidden", math.nan),
                "counted": _text(first.get("properties.counted")),
                "formula": _text(first.get("properties.formula")),
                "failed": len(group) - len(carried),
                "device": device,
                "dtype": dtype,
            }
        )
    return pd.DataFrame(lines, columns=list(COUNTS))


def local_power(x: Iterable[float], y: Iterable[float], largest: int = 3) -> PowerLaw | None:
    """The power law through the points of the largest x: what the growth comes to, where terms of lower order fade."""
    points = sorted((a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b))[-largest:]
    return power_law([a for a, _ in points], [b for _, b in points])


def _entry(line: Mapping[Any, Any], key: str) -> float:
    """A task's entry: the point's own, else the default that the row tells among its properties; NaN where neither."""
    stated = line.get("properties.task")
    values = (line.get(f"task.{key}"), stated.get(key) if isinstance(stated, Mapping) else None)
    return next((float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)), math.nan)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
