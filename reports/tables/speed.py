"""Seconds of every workload: ours, the peers measured with it, and the floor of its matrix products."""

from __future__ import annotations

import math

import pandas as pd

from ..pieces import Table
from ..timings import WORKLOAD, timings

COLUMNS = (
    *("workload", "work", "cell", "system", "tableau", "step", "options", "hidden", "batch", "length", "threads"),
    *(
        "inputs",
        "span",
        "peer",
        "milliseconds",
        "lower quartile",
        "upper quartile",
        "times ours",
        "times low",
        "times high",
    ),
    *("standing", "over the floor", "first call", "rounds", "engine", "reason", "runs", "failed", "device", "dtype"),
)
READ = (
    *("workload", "peer", "milliseconds", "lower quartile", "upper quartile", "times ours", "standing"),
    *("over the floor", "first call", "rounds", "reason", "failed", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a workload and peer, the fastest first, those not measured last."""
    lines = timings(frame)
    if lines.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    lines = once(lines)
    each = zip(lines["role"], lines["times ours"], lines["seconds"], strict=True)
    lines["standing"] = [standing(*key) for key in each]
    lines.loc[lines["role"] == "", "standing"] = lines["status"]
    lines["milliseconds"] = 1e3 * lines["seconds"].astype(float)
    for name in ("lower quartile", "upper quartile"):
        lines[name] = 1e3 * lines[name].astype(float)
    sizes = ["threads", "work", "system", "cell", "tableau", "step", "options", "hidden", "batch", "length", "workload"]
    places = ["device", "dtype", *sizes, "engine", "milliseconds"]
    return lines.sort_values(places, kind="stable", na_position="last")[list(COLUMNS)]


def once(lines: pd.DataFrame) -> pd.DataFrame:
    """Without what a workload took by itself where it was measured beside its peers too."""
    beside = lines["peers"].astype(bool)
    timed = (beside & (lines["role"] != "")).groupby([lines[name] for name in WORKLOAD], dropna=False)
    return lines[beside | ~timed.transform("any")].copy()


def standing(role: str, times: float, seconds: float) -> str:
    """In words: ours, another engine or a peer beside ours, a floor, not measured."""
    if math.isnan(seconds):
        return "not measured"
    if role in ("ours", "floor"):
        return role
    if math.isnan(times):
        return ""
    return "faster than ours" if times < 1 else "slower" if times > 1 else "as fast"


def brief(table: pd.DataFrame) -> pd.DataFrame:
    """For the terminal: the workloads with the most peers first."""
    peers = table.groupby(["workload", "device", "dtype"], sort=False)["peer"].transform("size")
    return table.assign(peers=-peers).sort_values("peers", kind="stable").drop(columns="peers")


TABLE = Table(
    name="speed",
    title="Speed",
    kinds=("speed",),
    caption=(
        "Each workload with all its peers measured in turns in one process, fastest first: milliseconds (median and "
        "quartiles over rounds), how many times as long as ours it takes (below 1 the peer beats ours, and standing "
        "says so), how many times as long as the workload's matrix products alone (the floor), seconds of the first "
        "call with whatever is compiled in it. Other engines of ours are named odernn; products are no peers but what "
        "the arithmetic costs, by the library's product and at the best rate measured. Read the ratios, not the times."
    ),
    make=build,
    narrow=("peer", "milliseconds", "times ours", "standing", "first call", "reason"),
    heading=("workload", "device", "dtype"),
    each=14,
    brief=brief,
    compact=READ,
)
