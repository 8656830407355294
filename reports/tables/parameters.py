"""Parameters on paper: what room for so many inputs of such a length costs each architecture, and how it grows."""

from __future__ import annotations

import math

import pandas as pd

from ..ladder import local_power, parameter_counts
from ..pieces import Table

FIXED = ("cell", "data length")
TAIL = ("exponent t", "exponent p", "formula", "counted", "failed", "device", "dtype")


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line per cell and data length p, a column "t=..." for every memory length, and the powers they grow with."""
    counts = parameter_counts(frame)
    if counts.empty:
        return pd.DataFrame(columns=[*FIXED, *TAIL])
    lengths = sorted(counts["memory length"].unique())
    lines = []
    for (device, dtype, cell), family in counts.groupby(["device", "dtype", "cell"], sort=False):
        largest = family[family["memory length"] == family["memory length"].max()]
        in_data = local_power(largest["data length"], largest["parameters"])
        for p, part in family.groupby("data length"):
            by_length = dict(zip(part["memory length"], part["parameters"], strict=True))
            in_memory = local_power(part["memory length"], part["parameters"])
            lines.append(
                {"cell": cell, "data length": p}
                | {f"t={t}": by_length.get(t, math.nan) for t in lengths}
                | {
                    "exponent t": in_memory.exponent if in_memory else math.nan,
                    "exponent p": in_data.exponent if in_data else math.nan,
                    "formula": part["formula"].max(),
                    "counted": " and ".join(sorted({c for c in part["counted"] if c})),
                    "failed": int(part["failed"].sum()),
                    "device": device,
                    "dtype": dtype,
                }
            )
    table = pd.DataFrame(lines, columns=[*FIXED, *(f"t={t}" for t in lengths), *TAIL])
    last = f"t={lengths[-1]}"
    return table.sort_values(["device", "dtype", "data length", last], kind="stable", na_position="last")


TABLE = Table(
    name="parameters",
    title="Parameters on paper",
    kinds=("parameters", "sequence"),
    caption=(
        "Trained numbers of the smallest recurrence, without readout, whose state has room for t inputs of p numbers: "
        "blocks times hidden units at least t p, complex units counting twice; the companion cell keeps one input in "
        "each of its t derivatives; QUNN has t sites and qubits enough to tell p symbols apart. Exponents: parameters "
        "~ t^exponent at this p and ~ p^exponent at the longest t, over the three largest values. Formula: p inputs, "
        "n hidden units. Counted: of the cell as built, or by the formula where it would be too large. Room is "
        "necessary, not sufficient: what training finds is in the table of parameters for memory. The input of QUNN "
        "enters by a fixed encoding, which is why p does not appear in its count."
    ),
    make=build,
    heading=("device", "dtype"),
    narrow=("cell", "data length", "t=*", "exponent t", "exponent p", "failed"),
    each=40,
)
