"""What more cores bring: the same workload on one thread and on several."""

from __future__ import annotations

import pandas as pd

from ..frame import records
from ..pieces import Table
from ..timings import cores, timings, workload

COLUMNS = (
    *("workload", "peer", "threads", "base threads", "milliseconds", "base milliseconds", "gain", "per thread"),
    *("cell", "system", "tableau", "hidden", "batch", "length", "failed", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a workload, peer and thread count beyond the smallest; our engines first, then the peers by gain."""
    lines = cores(timings(frame))
    if lines.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    lines["workload"] = [workload(line, ("threads",)) for line in records(lines)]
    lines["milliseconds"], lines["base milliseconds"] = 1e3 * lines["seconds"], 1e3 * lines["base seconds"]
    lines["per thread"] = lines["gain"] * lines["base threads"] / lines["threads"]
    lines["place"] = [("ours", "engine", "peer", "floor").index(role) for role in lines["role"]]
    lines["fall"] = -lines["gain"]
    places = ["device", "dtype", "work", "system", "cell", "tableau", "hidden", "batch", "length", "threads"]
    return lines.sort_values([*places, "place", "fall"], kind="stable")[list(COLUMNS)]


def brief(table: pd.DataFrame) -> pd.DataFrame:
    """For the terminal: our engines alone, where there are any."""
    own = table[table["peer"].str.startswith("odernn")]
    return own if len(own) else table


TABLE = Table(
    name="cores",
    title="What more cores bring",
    kinds=("speed",),
    caption=(
        "The same workload on more threads: gain = median time on the smallest thread count over that on this one; "
        "per thread = gain over the ratio of thread counts, 1 at best. Only workloads measured on two counts."
    ),
    make=build,
    narrow=("peer", "threads", "base milliseconds", "milliseconds", "gain", "per thread"),
    heading=("workload", "device", "dtype"),
    brief=brief,
    compact=(
        *("workload", "peer", "threads", "base threads", "base milliseconds", "milliseconds", "gain", "per thread"),
        *("failed", "device", "dtype"),
    ),
)
