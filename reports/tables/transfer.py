"""Train tableau x evaluate tableau: what a learned field is worth when other methods step it."""

from __future__ import annotations

import math

import pandas as pd

from ..pieces import Table
from ..rungs import VALID
from ..text import shown
from ..transfers import LIMIT, Case, all_cases, lines

FIRST = (
    *("forecasts of", "cell", "trained with", "order", "training step", "steps a sample", "others", "data made by"),
    *("flag", "matched", "limit", "field error", "refinement gap", "learned a"),
)
LAST = ("parameters", "seeds", "failed", "reason", "device", "dtype")


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a trained field, then the true field; a column for every method that stepped it."""
    table = lines(frame)
    if table.empty:
        return pd.DataFrame(columns=[*FIRST, *LAST])
    cases = all_cases(table)
    columns = {case: _column(case, cases) for case in cases}
    for case, name in columns.items():
        table[name] = [matrix.get(case, math.nan) for matrix in table["matrix"]]
    table = table.drop(columns="parameters").rename(
        columns={
            "protocol": "forecasts of",
            f"{VALID} median": "matched",
            f"{LIMIT} median": "limit",
            "metrics.field_error median": "field error",
            "metrics.refinement_gap median": "refinement gap",
            "cost.parameters median": "parameters",
            "steps": "steps a sample",
        }
    )
    table["data made by"] = [name or "the exact flow" for name in table["generator"]]
    table["flag"] = ["generator = trainer" if crime else "" for crime in table["crime"]]
    idle = [c for c in ("others", "flag") if (table[c] == "").all()]
    return table[[c for c in (*FIRST, *columns.values(), *LAST) if c not in idle]]


def _column(case: Case, cases: list[Case]) -> str:
    """ "rk4", or "rk4 x4 float32 scipy" with as much as differs between the cases."""
    parts = [case.tableau]
    if len({c.substeps for c in cases}) > 1:
        parts.append(f"×{case.substeps}")
    if len({c.dtype for c in cases}) > 1:
        parts.append(case.dtype)
    if len({c.backend for c in cases}) > 1:
        parts.append(case.backend)
    return " ".join(parts)


def _note(group: pd.DataFrame) -> str:
    true = group[group["cell"] == "true-field"]
    return (
        f"valid time in Lyapunov times; the true field itself {shown(float(true['limit'].max()))}" if len(true) else ""
    )


TABLE = Table(
    name="transfer",
    title="Fields trained through one tableau, stepped by another",
    kinds=("transfer",),
    caption=(
        "Median valid prediction time in Lyapunov times, the median over seeds. matched: stepped as trained (the true "
        "field: with its own tableau). A column per method, with so many steps (×) in a sample; limit: steps so fine "
        "that only the field is left. field error: rms distance of the learned field from the true one on the "
        "attractor, relative. refinement gap: the error over one sample with eight times finer steps of the training "
        "method over that with its own step: a learned flow keeps near 1 or falls, a learned map grows beyond 2. A "
        "matched value far above the limit is the method's error absorbed by the field, not a better field. generator "
        "= trainer: the data were made by the method that trained, which can then be right for the wrong reason."
    ),
    make=build,
    heading=("forecasts of", "device", "dtype"),
    narrow=("cell", "trained with", "steps a sample", "flag", "matched", "limit", "field error", "learned a"),
    each=30,
    note=_note,
)
