"""Peak memory of training against the length of the sequence, by size, engine and memory mode."""

from __future__ import annotations

import math

import pandas as pd

from ..fit import power_law
from ..footprints import KEYS, LIMIT, footprints
from ..pieces import Table

COLUMNS = (
    *("cell", "tableau", "step", "options", "hidden", "batch", "engine", "memory", "length", "mebibytes"),
    *("limit", "exponent", "step seconds", "status", "reason", "runs", "failed", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting; exponent: of peak memory ~ length^exponent over the lengths of the same setting."""
    table = footprints(frame)
    if table.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    table["limit"] = [limit(*key) for key in zip(table["mebibytes"], table["status"], strict=True)]
    table["exponent"] = math.nan
    for _, line in table.groupby([key for key in KEYS if key != "length"], sort=False, dropna=False):
        fit = power_law(line["length"], line["mebibytes"])
        if fit is not None:
            table.loc[line.index, "exponent"] = fit.exponent
    places = ["device", "dtype", "cell", "tableau", "hidden", "batch", "engine", "memory", "length"]
    shown = table.sort_values(places, kind="stable")[list(COLUMNS)]
    return shown.drop(columns=[name for name in ("step", "options", "memory") if (shown[name] == "").all()])


def limit(mebibytes: float, status: str) -> str:
    """In words, where a run stands beside 4 GiB."""
    if math.isnan(mebibytes):
        return "beyond the memory given" if status == "memory" else "not measured"
    return "within 4 GiB" if mebibytes <= LIMIT else "beyond 4 GiB"


TABLE = Table(
    name="footprint",
    title="Memory of training",
    kinds=("footprint",),
    caption=(
        "Peak memory of a training step (forward and backward), MiB, and its seconds, by length of the sequence, "
        "engine and memory mode. Exponent: memory ~ length^exponent over the lengths measured, from three on. A run "
        "that ran out of memory or time is a line with its reason."
    ),
    make=build,
    narrow=("hidden", "batch", "engine", "memory", "length", "mebibytes", "limit", "step seconds", "reason"),
    heading=("cell", "tableau", "device", "dtype"),
    each=24,
)
