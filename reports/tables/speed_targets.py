"""The targets of speed, judged: required, measured, and met or missed or not measured."""

from __future__ import annotations

import pandas as pd

from ..pieces import Table
from ..targets import MET, MISSED, UNKNOWN, judged


def total(table: pd.DataFrame) -> str:
    """How many lines are met, missed and not measured."""
    counts = [int(table["verdict"].str.startswith(mark).sum()) for mark in (MET, MISSED, UNKNOWN)]
    return f"Of {len(table)} lines {counts[0]} are met, {counts[1]} missed and {counts[2]} not measured."


def brief(table: pd.DataFrame) -> pd.DataFrame:
    """For the terminal: the targets with a missed line first, then those met, then the rest."""
    place = table["verdict"].map(lambda v: next(i for i, m in enumerate((MISSED, MET, UNKNOWN)) if v.startswith(m)))
    return table.assign(place=place).sort_values("place", kind="stable").drop(columns="place")


TABLE = Table(
    name="speed_targets",
    title="Targets of speed",
    kinds=("footprint", "speed"),
    caption=(
        "Measured: how many times as long as ours the peer takes where the target is a factor; ours over the other "
        "where it is a share (the floor, torch.nn.LSTM); the gain of two threads over one; seconds of the first "
        "call, among workloads of less than half a second; GiB; for linear, the least-squares slope of log "
        "median seconds against log size, over two decades. Low and high: quartiles of the same ratio "
        "round by round, for a slope its 95 % interval. Verdicts read the medians alone."
    ),
    make=judged,
    narrow=("workload", "required", "measured", "verdict"),
    heading=("target",),
    brief=brief,
    total=total,
)
