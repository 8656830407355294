"""Rows of the task "footprint": the peak memory of a training step, by length, size, engine and memory mode."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from .frame import OUTCOMES, records
from .timings import described, number, text, workload

KEYS = ("cell", "tableau", "step", "options", "engine", "memory", "hidden", "batch", "length", "device", "dtype")
COLUMNS = (*KEYS, "workload", "mebibytes", "step seconds", "status", "reason", "runs", "failed")
LIMIT = 4096.0
"""MiB: what training over the longest sequence may take."""


def footprints(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting: medians over the runs with a result, in mebibytes and seconds a training step.

    status: ok, else what became of the first run (memory, timeout, failed, ...), with its reason.
    """
    rows = frame[frame["kind"] == "footprint"] if len(frame) else frame
    lines: list[dict[str, Any]] = []
    for _, group in rows.groupby("setting", sort=False) if len(rows) else ():
        members = records(group)
        known = described(members[0], ("memory",))
        known |= {"memory": text(members[0].get("solver.memory"))}
        good = [r for r in members if _carried(r)]
        lost = [r for r in members if not _carried(r)]
        done = pd.DataFrame(good)
        lines.append(
            known
            | {
                "workload": workload(known, ("threads",)),
                "mebibytes": float(done[_PEAK].median()) if good else math.nan,
                "step seconds": float(done[_STEP].median()) if good and _STEP in done else math.nan,
                "status": "ok" if good else str(lost[0]["status"]),
                "reason": "" if good else text(lost[0]["reason"]),
                "runs": len(members),
                "failed": len(lost),
            }
        )
    return pd.DataFrame(lines, columns=list(COLUMNS))


_PEAK, _STEP = "metrics.training_memory_mib", "metrics.train_step_seconds"


def _carried(record: Mapping[str, Any]) -> bool:
    return record["outcome"] in OUTCOMES[:2] and number(record.get(_PEAK)) >= 0  # 0: in memory that was there
