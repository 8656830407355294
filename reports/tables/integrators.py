"""Initial value problems: error and cost of every tableau in every backend."""

from __future__ import annotations

import pandas as pd

from ..frame import OUTCOMES, over_seeds, tidy
from ..pieces import Table

_NAMES = {
    "metrics.error": "error",
    "metrics.error_scaled": "scaled error",
    "metrics.trajectory_error": "error along",
    "metrics.reference_error": "reference error",
    "cost.f_calls": "f calls",
    "cost.accepted": "accepted",
    "cost.rejected": "rejected",
    "cost.jacobian_calls": "Jacobians",
    "cost.factorizations": "factorizations",
    "cost.solve_seconds median": "solve seconds",
    "cost.seconds median": "seconds",
}
_OPTIONAL = ("scaled error", "error along", "reference error", "Jacobians", "factorizations", "solve seconds", "reason")
"""Columns of rows that hold such a number; left out where none does."""
COLUMNS = (
    *("problem", "cell", "tableau", "backend", "step", "options", "device", "dtype", "error"),
    *(
        "scaled error",
        "error along",
        "reference error",
        "f calls",
        "accepted",
        "rejected",
        "Jacobians",
        "factorizations",
        "solve seconds",
        "seconds",
    ),
    *("runs", "failed", "reason"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting, by problem, tableau and backend, from the cheapest to the dearest."""
    rows = frame[frame["kind"] == "integration"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    measured = [name.removesuffix(" median") for name in _NAMES]
    rows = rows.reindex(columns=list(dict.fromkeys([*rows.columns, *measured])))
    rows["cost.rejected"] = rows["cost.rejected"].where(rows["cost.rejected"] >= 0)  # -1: the library does not say
    table = over_seeds(rows, measured).rename(columns=_NAMES)
    first = rows.drop_duplicates("setting").set_index("setting")
    name = first["task.problem"].where(first["task.problem"] != "", first["task_label"])
    table["problem"] = table["setting"].map(name)
    table["runs"] = table["seeds"] + table["failed"]
    lost = rows[~rows["outcome"].isin(OUTCOMES[:2])]
    reasons = lost.groupby("setting")["reason"].first().map(lambda text: str(text).split("\n", 1)[0])
    table["reason"] = table["setting"].map(reasons).astype(object).fillna("")
    order = ["problem", "tableau", "backend", "device", "dtype", "f calls"]
    said = [c for c in COLUMNS if c not in _OPTIONAL or (table[c].notna() & (table[c] != "")).any()]
    return tidy(table.sort_values(order, kind="stable", na_position="last"), said)


def _brief(table: pd.DataFrame) -> pd.DataFrame:
    """One line a tableau: of its cases (problem, step) with the most backends the finest, its error in each backend."""
    lines = []
    backends = sorted(table["backend"].unique()) if "backend" in table else []
    keys = ["tableau", "device", "dtype"] if "tableau" in table else ["device", "dtype"]
    cases = table.groupby([*keys, *(["problem", "step"] if "step" in table else ["problem"])], sort=False)
    # over all cases at once: there may be thousands
    known, worst = cases["error"].count(), table["error"].fillna(1e99).groupby(cases.ngroup()).max()
    best = pd.DataFrame({"known": known.to_numpy(), "worst": worst[worst.index >= 0].to_numpy()}, index=known.index)
    best = best.sort_values(["known", "worst"], ascending=[False, True], kind="stable")
    finest = {place[: len(keys)]: place for place in reversed(list(best.index))}
    for key, group in table.groupby(keys):
        case = cases.get_group(finest[key])
        first = case.iloc[0]
        line = {name: first[name] for name in ("tableau", "problem", "step", "f calls") if name in table}
        line |= {f"error {b}": case.loc[case["backend"] == b, "error"].min() for b in backends}
        line |= {"failed": group["failed"].sum()}
        lines.append(line | {"device": first["device"], "dtype": first["dtype"]})
    return pd.DataFrame(lines)


TABLE = Table(
    name="integrators",
    title="Initial value problems",
    kinds=("integration",),
    caption=(
        "Error at the end point (maximum norm, relative to the reference's largest component), evaluations of the "
        "field, accepted and rejected steps (means over the runs with a result), and seconds of wall time (median). "
        "Scaled error: the largest of the components, each relative to its own size. Error along: the largest error "
        "over the compared times; reference error: that of the reference they are compared with. Jacobians and "
        "factorizations are those of implicit methods. Solve seconds: the shortest solve alone; seconds: the whole "
        "run. Reason: why the first failed run failed."
    ),
    make=build,
    heading=("device", "dtype"),
    narrow=("tableau", "problem", "step", "f calls", "error *", "failed"),
    brief=_brief,
)
