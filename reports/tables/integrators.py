"""Initial value problems: error and cost of every tableau in every backend."""

from __future__ import annotations

import pandas as pd

from ..frame import over_seeds, tidy
from ..pieces import Table

_NAMES = {
    "metrics.error": "error",
    "cost.f_calls": "f calls",
    "cost.accepted": "accepted",
    "cost.rejected": "rejected",
    "cost.seconds median": "seconds",
}
COLUMNS = (
    *("problem", "cell", "tableau", "backend", "step", "options", "device", "dtype", "error"),
    *("f calls", "accepted", "rejected", "seconds", "runs", "failed"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting, by problem, tableau and backend, from the cheapest to the dearest."""
    rows = frame[frame["kind"] == "integration"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    table = over_seeds(rows, ["metrics.error", "cost.f_calls", "cost.accepted", "cost.rejected", "cost.seconds"])
    table = table.rename(columns=_NAMES)
    first = rows.drop_duplicates("setting").set_index("setting")
    name = first["task.problem"].where(first["task.problem"] != "", first["task_label"])
    table["problem"] = table["setting"].map(name)
    table["runs"] = table["seeds"] + table["failed"]
    order = ["problem", "tableau", "backend", "device", "dtype", "f calls"]
    return tidy(table.sort_values(order, kind="stable", na_position="last"), COLUMNS)


def _brief(table: pd.DataFrame) -> pd.DataFrame:
    """One line a tableau: of its cases (problem, step) with the most backends the finest, its error in each backend."""
    lines = []
    backends = sorted(table["backend"].unique()) if "backend" in table else []
    for _, group in table.groupby(["tableau", "device", "dtype"] if "tableau" in table else ["device", "dtype"]):
        cases = [case for _, case in group.groupby(["problem", "step"] if "step" in table else ["problem"], sort=False)]
        case = max(cases, key=lambda c: (len(c.dropna(subset="error")), -float(c["error"].fillna(1e99).max())))
        first = case.iloc[0]
        line = {name: first[name] for name in ("tableau", "problem", "step", "f calls") if name in table}
        line |= {f"error {b}": case.loc[case["backend"] == b, "error"].min() for b in backends}
        line |= {"failed": group["failed"].sum()}
        lines.append(line | {"device": first["device"], "dtype": first["dtype"]})
    return pd.DataFrame(lines)


TABLE = Table(
    name="integrators",
    title="Initial value problems",
    caption=(
        "Error at the end point (maximum norm, relative to the reference's largest component), evaluations of the "
        "field, accepted and rejected steps (means over the runs with a result), and seconds of wall time (median)."
    ),
    make=build,
    heading=("device", "dtype"),
    narrow=("tableau", "problem", "step", "f calls", "error *", "failed"),
    brief=_brief,
)
