"""Every run that did not end well, with its reason."""

from __future__ import annotations

import pandas as pd

from ..pieces import Table

COLUMNS = ("experiment", "task", "solver", "seed", "device", "dtype", "status", "outcome", "reason", "seconds", "id")


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a row whose status is not ok, or whose result is not a finite number."""
    bad = frame[(frame["status"] != "ok") | ~frame["outcome"].isin(["converged", "plateau"])]
    if bad.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    named = bad.rename(columns={"task_label": "task", "solver_label": "solver", "cost.seconds": "seconds"})
    return named.sort_values(["status", "task", "solver", "seed"], kind="stable")[list(COLUMNS)]


TABLE = Table(
    name="failures",
    title="Runs without a result",
    caption="Every run that diverged, failed, ran out of time or memory, or was skipped, with its reason.",
    make=build,
    narrow=("status", "solver", "seed", "reason"),
    each=5,
)
