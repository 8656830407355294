"""The primary metric of every sequence task, over seeds, beside the baseline."""

from __future__ import annotations

import pandas as pd

from ..frame import tidy
from ..marks import judged
from ..pieces import Table
from ..text import shown

COLUMNS = (
    *("task", "cell", "tableau", "backend", "step", "options", "parameters", "value", "value ±", "seeds", "failed"),
    *("baseline", "mark", "metric", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting; tasks in order of first appearance, the best mean first, settings without a result last."""
    rows = frame[frame["kind"] == "sequence"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    table = judged(rows)
    order = {task: place for place, task in enumerate(table["task"].unique())}
    table["place"] = table["task"].map(order)
    return tidy(table.sort_values(["place", "loss"], kind="stable", na_position="last"), COLUMNS)


def _note(group: pd.DataFrame) -> str:
    """What a terminal says of a task beside its name: the metric, the baseline and how many are beyond it."""
    first, beyond = group.iloc[0], int((group["mark"] != "").sum())
    metric = first["metric"] or "no metric"
    if pd.isna(first["baseline"]):
        return f"{metric}, no baseline"
    return f"{metric}, {beyond} of {len(group)} beat the baseline {shown(float(first['baseline']))}"


TABLE = Table(
    name="accuracy",
    title="Sequence tasks",
    kinds=("sequence",),
    caption=(
        "Primary metric, mean ± standard deviation over the seeds that gave a result; failed seeds are counted, not "
        "averaged. Mark, within a task, device and dtype: better = beyond the baseline by more than the spread; best "
        "= the best mean of those without a failed seed; tied = within the two spreads of the best. On the page a "
        "green edge marks all three."
    ),
    make=build,
    narrow=("cell", "tableau", "backend", "step", "options", "value", "seeds", "failed", "mark"),
    each=8,
    note=_note,
)
