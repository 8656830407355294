"""How many parameters it takes to remember for how long: the smallest rung of the ladder that solves each length."""

from __future__ import annotations

import math

import pandas as pd

from ..fit import power_law
from ..frame import tidy
from ..ladder import FAMILY, LADDER, parameter_ladder
from ..pieces import Table

COLUMNS = (*LADDER, "exponent", "exponent low", "exponent high")


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """The ladder with the exponent of parameters ~ length^exponent over the solved lengths of each family."""
    table = parameter_ladder(frame)
    if table.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    for name in COLUMNS[-3:]:
        table[name] = math.nan
    for _, family in table.groupby(list(FAMILY), sort=False):
        done = family[family["state"] == "solved"]
        fit = power_law(done["memory length"], done["parameters"])
        if fit is not None:
            table.loc[family.index, list(COLUMNS[-3:])] = [fit.exponent, fit.low, fit.high]
    return tidy(table, COLUMNS)


TABLE = Table(
    name="memory",
    title="Parameters for memory",
    kinds=("sequence",),
    caption=(
        "For every memory length, the smallest parameter count of those tried that solves the task (recall accuracy "
        "at least 0.99, mean squared error at most 0.01, else skill at least 0.9) in more than half of its seeds. "
        "State tells what the count means: solved = this many do, the next smaller size tried did not; at most = "
        "already the smallest size tried solves it, and less may do; more than = no size tried solves it, and the "
        "largest one is shown. Skill: median over that size's seeds (1 is perfect, 0 the baseline without memory); "
        "failed: over all sizes. Exponent: parameters ~ length^exponent over the solved lengths, with its 95 % "
        "interval, from three lengths on."
    ),
    make=build,
    narrow=("cell", "tableau", "memory length", "parameters", "skill", "state", "seeds", "failed"),
)
