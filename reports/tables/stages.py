"""n and t, measured: how deeply a step nests the nonlinearity, and how much of its past a cell needs."""

from __future__ import annotations

import math
import re

import pandas as pd

from ..frame import describe, options, tidy
from ..pieces import Table

COLUMNS = (
    *("cell", "tableau", "step", "options", "stages", "reaching", "n", "verdict on n", "t", "ode order"),
    *("verdict on t", "order", "backend", "runs", "failed", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting: tableaux (of the true field) first, then cells."""
    rows = frame[frame["kind"] == "stages"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    other = options(rows)
    alone = rows[rows["solver.cell"] == "true-field"].groupby("solver.tableau")["metrics.nesting_depth"].median()
    lines = []
    for setting, group in rows.groupby("setting", sort=False):
        depth, memory = group["metrics.nesting_depth"].median(), group["metrics.memory_order"].median()
        stages, reaching = group["properties.stages"].max(), group["properties.stages_reaching"].max()
        ode_order = group["properties.ode_order"].max()
        cell = group["solver.cell"].iloc[0] != "true-field"
        links = next((found for found in group.get("properties.broken_links", ()) if isinstance(found, list)), [])
        lines.append(
            describe(group.iloc[0])
            | {
                "options": other.get(str(setting), ""),
                "stages": stages,
                "reaching": reaching,
                "n": depth,
                "verdict on n": _on_n(
                    depth, stages, reaching, float(alone.get(group["solver.tableau"].iloc[0], math.nan)), links
                ),
                "t": memory,
                "ode order": ode_order if cell else math.nan,
                "verdict on t": _on_t(memory, ode_order) if cell else "",
                "order": group["properties.order"].max(),
                "runs": len(group),
                "failed": int((group["status"] != "ok").sum()),
                "is a cell": cell,
            }
        )
    table = pd.DataFrame(lines).sort_values("is a cell", kind="stable")
    return tidy(table, COLUMNS)


def _on_n(depth: float, stages: float, reaching: float, alone: float, links: list[int]) -> str:
    """The measured depth against the stages, with why it is less; alone: that of the tableau on a general field; links:
    the stages that do not read the one before."""
    if math.isnan(depth):
        return "no result"
    if math.isinf(depth):
        return "unbounded (implicit)"
    expected = stages if math.isnan(reaching) else reaching
    if math.isnan(expected):
        return "has no stages"
    if depth > expected:
        return "more than stages"
    reasons = [] if math.isnan(stages) or expected >= stages else [_unreached(int(stages - expected))]
    if links and reasons:
        reasons.append(f"no link into stage {', '.join(map(str, links))}")
    if depth < expected:
        reasons.append("affine slopes" if alone > depth else "broken chain")
    return f"fewer: {', '.join(reasons)}" if reasons else "as many as stages"


def _unreached(count: int) -> str:
    return "1 stage does not reach the result" if count == 1 else f"{count} stages do not reach the result"


def _on_t(memory: float, ode_order: float) -> str:
    if math.isnan(memory) or math.isnan(ode_order):
        return "no result"
    return "as claimed" if memory == ode_order else "more" if memory > ode_order else "fewer"


def _brief(table: pd.DataFrame) -> pd.DataFrame:
    """What is remarkable first: depths that are not the number of stages, memories that are not the order."""
    short = {"as many as stages": "as many", "unbounded (implicit)": "unbounded", "has no stages": "no stages"}
    names = {"verdict on n": "on n", "verdict on t": "on t"}
    usual = [("as many" in n) and t in ("", "as claimed") for n, t in _verdicts(table)]
    brief = table.assign(usual=usual).sort_values("usual", kind="stable").drop(columns="usual")
    brief = brief.replace({"verdict on n": short}).rename(columns=names)
    brief["on n"] = [re.sub(r" stages? do(es)? not reach the result", " not reaching", told) for told in brief["on n"]]
    return brief


def _verdicts(table: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(table["verdict on n"].map(str), table["verdict on t"].map(str), strict=True))


def summary(table: pd.DataFrame) -> str:
    """Lines by verdict, for n and for t."""
    n = table["verdict on n"].value_counts()
    t = table.loc[table["cell"] != "true-field", "verdict on t"].value_counts()
    told = ["n: " + ", ".join(f"{count} {name}" for name, count in n.items())]
    if len(t):
        told.append("t: " + ", ".join(f"{count} {name}" for name, count in t.items()))
    return "; ".join(told) + "."


def _note(table: pd.DataFrame) -> str:
    n, t = table["on n"].value_counts(), table.loc[table["cell"] != "true-field", "on t"].value_counts()
    return "; ".join(", ".join(f"{count} {name}" for name, count in counts.items()) for counts in (n, t) if len(counts))


TABLE = Table(
    name="stages",
    title="Stages and order, measured",
    kinds=("stages",),
    caption=(
        "n: nested evaluations of the nonlinearity in one step, from the degree of the polynomial that the step makes"
        " of quadratic slopes, in exact arithmetic; reaching: stages that the result depends on. Fewer: some stages do "
        "not reach the result (the last of a pair whose first slope it is, or one of the error estimate alone), or the "
        "chain of those that do is broken, as some do not read the one before; unbounded: the stages are solved for. "
        "t: lags of the observed block that determine the next, from the rank of an observability matrix, beside the "
        "order of the ODE. More than stages: substeps, or a slope that itself nests."
    ),
    make=build,
    heading=("device", "dtype"),
    narrow=("cell", "tableau", "options", "stages", "n", "on n", "t", "ode order", "on t", "failed"),
    each=80,
    note=_note,
    brief=_brief,
    total=summary,
)
