"""What became of training, by step, tableau, cell, dtype and device; and how the gradient travelled through time."""

from __future__ import annotations

import pandas as pd

from ..frame import OUTCOMES, TRAINED, describe, options, records, tidy
from ..pieces import Table

_BY = ("task", "cell", "tableau", "backend", "step", "options", "device", "dtype")
_MEDIANS = {
    "gradient ratio before": "metrics.gradient_ratio_before",
    "gradient ratio": "metrics.gradient_ratio",
    "certified step": "metrics.certified_step_before",
    "spectral step": "metrics.spectral_step_before",
}
_LIMITS = ("certified step", "spectral step")
COLUMNS = (*_BY, "runs", *OUTCOMES, "gradient ratio before", "gradient ratio", *_LIMITS)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting of a learned cell, sorted so that a tableau's steps stand below each other."""
    rows = frame[frame["learned"].astype(bool) & frame["kind"].isin(TRAINED)]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    other = options(rows)
    first = rows.drop_duplicates("setting")
    table = pd.DataFrame([describe(line) for line in records(first)])
    groups = rows.groupby("setting", sort=False)
    counts = pd.crosstab(rows["setting"], rows["outcome"]).reindex(columns=list(OUTCOMES), fill_value=0)
    table["options"] = [other.get(setting, "") for setting in table["setting"]]
    table["runs"] = table["setting"].map(groups.size())
    for name in OUTCOMES:
        table[name] = table["setting"].map(counts[name])
    for name, column in _MEDIANS.items():
        table[name] = table["setting"].map(groups[column].median())
    table["number"] = pd.to_numeric(table["step"], errors="coerce")
    table = table.sort_values(["task", "cell", "tableau", "device", "dtype", "number"], kind="stable")
    return tidy(table, [c for c in COLUMNS if c not in _LIMITS or table[c].notna().any()])


TABLE = Table(
    name="stability",
    title="Outcomes of training",
    kinds=("forecast", "sequence", "stability"),
    caption=(
        "Number of runs (seeds) by outcome. Converged: skill at least 0.5, or a valid prediction time of at least "
        "twice the baseline's; plateau: ran to the end without; NaN: a divergence through NaN. Gradient ratio: norm "
        "of dL/dy at the first step over that at the last, median over runs; far below one it vanishes, far above one"
        " it explodes. Limits, before training, where they were looked for: the largest step that the certificate "
        "promises not to let grow (0: none), and the largest that keeps the sampled eigenvalues in the region of "
        "stability."
    ),
    make=build,
)
