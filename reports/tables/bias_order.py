"""The order test of a learned field's bias: does its error fall with the training step as the tableau's order says?"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from ..pieces import Table
from ..transfers import lines

NEAR = 0.35
"""A slope this near to the tableau's order is that order."""

COLUMNS = (
    *("forecasts of", "cell", "trained with", "others", "order", "slope", "slope of the coarsest two", "verdict"),
    *("training steps", "field errors", "seeds", "failed", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line for learned fields that differ by the training step alone; data of the exact flow."""
    table = lines(frame)
    if len(table):
        table = table[(table["cell"] != "true-field") & (table["generator"] == "")]
    made = []
    keys = ["system", "cell", "trained with", "others", "device", "dtype"]
    for _, group in table.groupby(keys, sort=False) if len(table) else ():
        whole = group[group["metrics.field_error median"] > 0].sort_values("training step", ascending=False)
        steps = whole["training step"].to_numpy(float)
        if len(np.unique(steps)) < 2:
            continue
        errors = whole["metrics.field_error median"].to_numpy(float)
        order, slope, first = float(whole["order"].iloc[0]), _slope(steps, errors), _slope(steps[:2], errors[:2])
        made.append(
            {
                **{key: whole[key].iloc[0] for key in keys},
                "forecasts of": whole["system"].iloc[0],
                "order": order,
                "slope": slope,
                "slope of the coarsest two": first,
                "verdict": verdict(order, slope, first),
                "training steps": ", ".join(f"{h:.3g}" for h in steps),
                "field errors": ", ".join(f"{e:.2g}" for e in errors),
                "seeds": int(whole["seeds"].min()),
                "failed": int(group["failed"].sum()),
            }
        )
    return pd.DataFrame(made, columns=list(COLUMNS))


def verdict(order: float, slope: float, first: float) -> str:
    """In words, what the slopes say of the order; nothing where it is not known."""
    if math.isnan(order):
        return ""
    if abs(slope - order) <= NEAR:
        return "the tableau's order"
    if abs(first - order) <= NEAR:
        return "the tableau's order, then levels off" if slope < order else "the tableau's order, then steeper"
    return "shallower: other errors prevail" if slope < order else "steeper"


def _slope(steps: np.ndarray, errors: np.ndarray) -> float:
    if len(np.unique(steps)) < 2:
        return math.nan
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


TABLE = Table(
    name="bias_order",
    title="Order of the learned field's bias",
    kinds=("transfer",),
    caption=(
        "slope: of log field error against log training step, least squares over all steps; beside it that between the "
        "two coarsest steps, where the bias stands out most from what the data and the model's form leave. A field "
        "trained through a method of order p on exact data differs from the true field by O(h^p). Steps in the "
        "equation's unit of time."
    ),
    make=build,
    heading=("forecasts of", "device", "dtype"),
    narrow=("cell", "trained with", "others", "order", "slope", "slope of the coarsest two", "verdict"),
)
