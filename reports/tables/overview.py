"""At a glance: of every learned task the best setting, and which cells are beyond the baseline."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..marks import judged
from ..pieces import Table

COLUMNS = (
    *("task", "beyond the baseline", "not beyond", "baseline", "best", "best ±", "solver", "seeds", "failed"),
    *("metric", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line per task, device and dtype; cells in order of their best setting."""
    rows = frame[frame["learned"].astype(bool) & frame["kind"].isin(["sequence", "forecast"])]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    lines = [_line(group) for _, group in judged(rows).groupby(["task", "device", "dtype"], sort=False)]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _line(group: pd.DataFrame) -> dict[str, Any]:
    group = group.sort_values("loss", kind="stable", na_position="last")
    first, told = group.iloc[0], not group["baseline"].isna().all()
    cells = [str(cell) for cell in group["cell"].unique()]
    beyond = set(group.loc[group["mark"] != "", "cell"])
    return {key: first[key] for key in ("task", "metric", "device", "dtype")} | {
        "baseline": group["baseline"].max(),
        "solver": first["solver"] if first["seeds"] else "",
        "best": first["value"],
        "best ±": first["value ±"],
        "seeds": first["seeds"],
        "beyond the baseline": ", ".join(c for c in cells if c in beyond),
        "not beyond": ", ".join(c for c in cells if c not in beyond) if told else "",
        "failed": group["failed"].sum(),
    }


def _brief(table: pd.DataFrame) -> pd.DataFrame:
    """Without the spread and what else a terminal has no room for."""
    short = table[["task", "baseline", "best", "device", "dtype"]].copy()
    short.insert(3, "beyond the baseline", table["beyond the baseline"].str.replace(", ", " "))
    if (table["not beyond"] != "").any():
        short.insert(4, "not", table["not beyond"].str.replace(", ", " "))
    return short


TABLE = Table(
    name="overview",
    title="Against the baseline",
    kinds=("forecast", "sequence"),
    caption=(
        "For every task the best setting (mean ± standard deviation over its seeds) and the cells of which some "
        "setting is beyond the baseline, the best that can be done without memory (of a forecast: persistence), by "
        "more than its spread over seeds; best first. Failed: runs without a result, over all settings."
    ),
    make=build,
    narrow=("task", "baseline", "best", "beyond the baseline", "not"),
    heading=("device", "dtype"),
    brief=_brief,
    lead=True,
)
