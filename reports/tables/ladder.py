"""The information ladder: of every rung its best setting, from climatology to the true field."""

from __future__ import annotations

import math

import pandas as pd

from ..frame import tidy
from ..limits import ceilings, limits_of
from ..pieces import Table
from ..rungs import VALID, best_settings, ladder_rows, reasons

_NAMES = {
    f"{VALID} median": "valid time",
    f"{VALID}_q25 median": "lower quartile",
    f"{VALID}_q75 median": "upper quartile",
    f"{VALID}_censored": "valid to the end",
    "metrics.nrmse median": "nrmse",
    "metrics.smape median": "smape",
    "metrics.initial_conditions median": "initial conditions",
    "protocol": "forecasts of",
}
COLUMNS = (
    *("forecasts of", "rung", "tableau", "backend", "step", "options", "parameters", "evaluations"),
    *("valid time", "lower quartile", "upper quartile", "valid to the end", "nrmse", "smape", "horizon"),
    *("ceiling float32", "ceiling float64", "initial conditions", "settings", "seeds", "failed", "reason"),
    *("device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a rung, the least informed first, for every system and protocol."""
    rows = ladder_rows(frame)
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    values = [VALID, f"{VALID}_q25", f"{VALID}_q75", f"{VALID}_censored"]
    values += ["metrics.nrmse", "metrics.smape", "metrics.initial_conditions"]
    table = best_settings(rows, values).rename(columns=_NAMES)
    known = ceilings(frame)
    for dtype in ("float32", "float64"):
        table[f"ceiling {dtype}"] = [known.get(str(s), {}).get(dtype, math.nan) for s in table["system"]]
    followed = {str(p): limits_of(frame, part).horizon for p, part in rows.groupby("protocol")}
    table["horizon"] = table["forecasts of"].map(followed)
    table["reason"] = [
        reasons(rows[(rows["protocol"] == p) & (rows["solver.cell"] == c)])
        for p, c in zip(table["forecasts of"], table["cell"], strict=True)
    ]
    return tidy(table, COLUMNS)


def _note(group: pd.DataFrame) -> str:
    known = [f"{d} {group[f'ceiling {d}'].iloc[0]:.3g}" for d in ("float32", "float64") if group[f"ceiling {d}"].any()]
    told = [
        f"horizon {group['horizon'].iloc[0]:.3g} Lyapunov times",
        *(["ceiling " + ", ".join(known)] if known else []),
    ]
    return "; ".join(told)


TABLE = Table(
    name="ladder",
    title="The information ladder",
    kinds=("ceiling", "forecast"),
    caption=(
        "Of every rung the setting with the longest median valid prediction time, of so many settings that were tried: "
        "chosen on the forecasts that are shown, so a rung of many settings is a little flattered. Valid time in "
        "Lyapunov times, median and quartiles over initial conditions, each the median over seeds; valid to the end: "
        "the fraction of forecasts that reached the horizon. nrmse, smape (0 to 200): over the first Lyapunov time. "
        "evaluations: of the field, in a Lyapunov time. ceiling: where rounding alone ends the forecast of the true "
        "field in that arithmetic. failed, reason: of all settings of the cell."
    ),
    make=build,
    heading=("forecasts of",),
    narrow=("rung", "tableau", "step", "evaluations", "parameters", "valid time", "nrmse", "smape", "failed"),
    each=24,
    note=_note,
)
