"""Lines of the true field that differ only by backend, as one: the same tableau gives the same numbers everywhere."""

from __future__ import annotations

import pandas as pd

_BY = ("task", "cell", "tableau", "step", "options", "device", "dtype")


def without_backends(table: pd.DataFrame, values: tuple[str, ...]) -> pd.DataFrame:
    """The lines of an aggregate with the backends joined ("native, scipy") where the values agree in three digits.

    Learned settings stay apart: there a backend may train differently. Failed runs are added up. The order stays.
    """
    keys = pd.DataFrame({name: table[name].map(str) for name in _BY if name in table}, index=table.index)
    for value in values:
        keys[value] = table[value].map(lambda number: f"{number:.3g}")
    keys["apart"] = [str(i) if cell != "true-field" else "" for i, cell in zip(table.index, table["cell"], strict=True)]
    lines = []
    for _, group in table.groupby([keys[name] for name in keys], sort=False):
        line = group.iloc[0].copy()
        if "backend" in table:
            line["backend"] = ", ".join(sorted({str(b) for b in group["backend"] if b}))
        line["failed"] = group["failed"].sum()
        lines.append(line)
    return pd.DataFrame(lines).infer_objects().reset_index(drop=True)
