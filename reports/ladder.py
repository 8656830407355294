"""The ladder of sizes: by solver family and memory length, the smallest parameter count that solves the task."""

from __future__ import annotations

import pandas as pd

from .frame import OUTCOMES, describe, solved

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
    rows["task_label"] = rows["task.name"]
    rows["solves"] = [
        state in OUTCOMES[:2] and solved(metric, value, skill)
        for state, metric, value, skill in zip(
            rows["outcome"], rows["primary_metric"], rows["primary"], rows["metrics.skill"], strict=True
        )
    ]
    described = pd.DataFrame([describe(line) for _, line in rows.iterrows()], index=rows.index)
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
