"""What the spectrum promises of a trained cell, what its Jacobians do, and up to which step nothing can grow."""

from __future__ import annotations

import pandas as pd

from ..frame import EXAMINED, WHEN, describe, options, tidy
from ..pieces import Table

_NAMES = {
    "inside": "inside",
    "conditioning": "kappa",
    "predicted_growth": "predicted",
    "measured_growth": "measured",
    "certified_step": "certified",
    "spectral_step": "spectral",
}
COLUMNS = (
    *("task", "cell", "tableau", "backend", "step", "options", "device", "dtype"),
    *(f"{name} {when}" for name in _NAMES.values() for when in WHEN),
    *("certificate", "norm", "reason", "runs", "failed"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a setting: medians over the runs that have the number, diverged ones included."""
    rows = frame[frame["kind"] == "stability"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    other = options(rows)
    lines = []
    for setting, group in rows.groupby("setting", sort=False):
        lines.append(
            describe(group.iloc[0])
            | {"options": other.get(str(setting), "")}
            | {f"{_NAMES[m]} {when}": group[f"metrics.{m}_{when}"].median() for m in EXAMINED for when in WHEN}
            | {
                name: said(group, key)
                for name, key in (("certificate", "kind"), ("norm", "norm"), ("reason", "reason"))
            }
            | {"runs": len(group), "failed": int((group["status"] != "ok").sum())}
        )
    table = pd.DataFrame(lines)
    table["number"] = pd.to_numeric(table["step"], errors="coerce")
    return tidy(table.sort_values(["task", "device", "dtype", "cell", "tableau", "number"], kind="stable"), COLUMNS)


def said(group: pd.DataFrame, key: str) -> str:
    """The first text that a run of the group has of its certificate."""
    column = f"properties.certificate_{key}"
    return next((value for value in group.get(column, []) if isinstance(value, str)), "")


def _brief(table: pd.DataFrame) -> pd.DataFrame:
    """With shorter heads and numbers."""
    short = {"inside": "inside", "predicted": "pred.", "measured": "meas."}
    named = {f"{name} {when}": f"{head} {when[0]}" for name, head in short.items() for when in WHEN}
    named |= {"certified before": "certified", "spectral before": "spectral"}
    brief = table.rename(columns=named)
    for name in named.values():
        brief[name] = [float(f"{value:.2e}") for value in brief[name]]
    return brief


def _note(group: pd.DataFrame) -> str:
    return "b before, a after training; growth per step"


def summary(table: pd.DataFrame) -> str:
    """How often the spectrum promised what the product of Jacobians did not keep."""
    told = []
    for when in WHEN:
        known = table[table[f"predicted {when}"].notna() & table[f"measured {when}"].notna()]
        calm = known[known[f"predicted {when}"] <= 1e-9]  # |R| = 1 is known to rounding only
        broken = int((calm[f"measured {when}"] > 1e-9).sum())
        told.append(f"{when} training {broken} of {len(calm)}")
    steps = pd.to_numeric(table["step"], errors="coerce") if len(table) else pd.Series(dtype=float)
    within = table[(steps <= table["certified before"]) & table["measured before"].notna()]
    grown = int((within["measured before"] > 1e-9).sum())
    return (
        f"Settings that the spectrum calls stable and that grow: {', '.join(told)}; "
        f"that the certificate covers (before training) and that grow: {grown} of {len(within)}."
    )


TABLE = Table(
    name="spectra",
    title="Spectrum, growth and certificate",
    kinds=("stability",),
    caption=(
        "Before and after training, medians over seeds. Inside: share of h lambda in the region of absolute "
        "stability, lambda the eigenvalues of df/dy along test sequences; kappa: condition number of the "
        "eigenvectors, which bounds what eigenvalues leave out. Growth per step, natural logarithm: predicted = mean "
        "of log max |R(h lambda)|, measured = of the norm of the product of the step's Jacobians. Certified: the "
        "largest step at which no difference of two states can grow, whatever the inputs (0: none is promised); "
        "spectral: the largest one that keeps the sampled eigenvalues in the region."
    ),
    make=build,
    narrow=(
        *("cell", "tableau", "step", "inside a", "pred. b", "meas. b", "pred. a", "meas. a"),
        *("certified", "spectral"),
    ),
    each=24,
    note=_note,
    brief=_brief,
    total=summary,
)
