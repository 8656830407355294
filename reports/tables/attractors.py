"""What models do long after a forecast is over: the statistics of their attractors beside those of the true one."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ..frame import tidy
from ..pieces import Table
from ..rungs import place, reasons, rung_name, scored, with_protocol
from ..text import shown

_METRICS = {
    "state_space_divergence": "divergence",
    "state_space_divergence_floor": "divergence floor",
    "escaped": "escaped",
    "hellinger": "hellinger",
    "hellinger_floor": "hellinger floor",
    "correlation_dimension": "correlation dimension",
    "correlation_dimension_true": "true dimension",
    "lyapunov_max": "exponent",
    "lyapunov_max_error": "exponent error",
    "lyapunov_sum": "sum of exponents",
    "kaplan_yorke": "Kaplan-Yorke",
}
COLUMNS = (
    *("forecasts of", "rung", "tableau", "backend", "step", "options"),
    *("divergence", "divergence ±", "divergence floor", "divergence above floor", "escaped"),
    *("hellinger", "hellinger ±", "hellinger floor", "hellinger above floor"),
    *("correlation dimension", "true dimension", "exponent", "exponent error", "true exponent", "sum of exponents"),
    "no exponent",
    *("Kaplan-Yorke", "true Kaplan-Yorke", "seeds", "failed", "reason", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting with a long run, in the ladder's order."""
    rows = frame[frame["kind"] == "forecast"]
    rows = rows[rows["task_id"].isin(rows.loc[rows["metrics.hellinger_floor"].notna(), "task_id"])]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    rows = with_protocol(rows)
    table = scored(rows, [f"metrics.{name}" for name in _METRICS])
    table = table.rename(columns={f"metrics.{k}{e}": f"{v}{e}" for k, v in _METRICS.items() for e in ("", " ±")})
    table = table.drop(columns=["exponent ±"])  # its own error is told
    first = rows.drop_duplicates("setting").set_index("setting")
    table["forecasts of"] = table["setting"].map(first["protocol"])
    error = table["setting"].map(first["solver.parameter_error"])
    table["rung"] = [rung_name(c, e) for c, e in zip(table["cell"], error, strict=True)]
    table["no exponent"] = table["setting"].map(first["curves.lyapunov"].map(_unmeasured))
    for name in ("divergence", "hellinger"):
        table[f"{name} above floor"] = table[name] - table[f"{name} floor"]
    true = _true(frame)
    for column, key in (("true exponent", "lyapunov_max"), ("true Kaplan-Yorke", "kaplan_yorke")):
        system = table["setting"].map(first["task.system"])
        table[column] = [true.get(str(s), {}).get(key, math.nan) for s in system]
    table["reason"] = [reasons(rows[rows["setting"] == setting]) for setting in table["setting"]]
    order = {protocol: number for number, protocol in enumerate(table["forecasts of"].unique())}
    keys = [(order[p], *place(c, e)) for p, c, e in zip(table["forecasts of"], table["cell"], error, strict=True)]
    return tidy(table.iloc[sorted(range(len(keys)), key=lambda i: keys[i])], COLUMNS)


def _unmeasured(curve: Any) -> str:
    """Why exponents are missing, as the row says."""
    return str(curve.get("reason") or "") if isinstance(curve, dict) else ""


def _true(frame: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By system the flow's own numbers, where rows of the task "lyapunov" hold them."""
    rows = frame[(frame["kind"] == "lyapunov") & frame["metrics.flow_lyapunov_max"].notna()]
    return {
        str(system): {k: float(part[f"metrics.flow_{k}"].median()) for k in ("lyapunov_max", "kaplan_yorke")}
        for system, part in rows.groupby("task.system")
    }


def _note(group: pd.DataFrame) -> str:
    floor, other = float(group["divergence floor"].median()), float(group["hellinger floor"].median())
    return f"floors: divergence {shown(floor)}, hellinger {shown(other)}"


TABLE = Table(
    name="attractors",
    title="Long-term statistics",
    kinds=("forecast", "lyapunov"),
    caption=(
        "Of long runs on a model's own output, mean over seeds. divergence: of Kullback and Leibler, of the true from "
        "the model's histogram in state space, in nats; hellinger: distance of the smoothed power spectra, 0 to 1. "
        "floor: the same between independent true samples of the same size, so that nothing below it means "
        "anything; above floor: the difference. escaped: fraction of points outside the true attractor's box. "
        "correlation dimension: of the runs that stayed, beside the true sample's. exponent: the largest of the "
        "model's own map, in 1 over the equation's unit of time, with its standard error; true: of the flow, where the "
        "report holds it; no exponent: why one is missing. A "
        "collapsed model has a large divergence and hellinger distance and no dimension."
    ),
    make=build,
    heading=("forecasts of",),
    narrow=(
        *("rung", "tableau", "step", "divergence above floor", "escaped", "hellinger above floor"),
        *("correlation dimension", "exponent", "true exponent", "failed"),
    ),
    each=24,
    note=_note,
)
