"""Memory curves of untrained cells: the R^2 of each lag, the largest total first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..frame import options
from ..pieces import Figure
from ..tables.capacity import r2_by_lag

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

TOGETHER = 5
"""Curves in a panel."""


def paint(frame: pd.DataFrame) -> Canvas | None:
    """Panels of a few curves each, by capacity, for every task, device and dtype."""
    rows = frame[frame["kind"] == "capacity"]
    panels: list[tuple[str, str, list[dict[str, Any]]]] = []  # title, the line below, curves
    for (task, device, dtype), part in rows.groupby(["task_label", "device", "dtype"], sort=False):
        curves = _curves(part)
        for first in range(0, len(curves), TOGETHER):
            part_of = f" · {first + 1} to {min(first + TOGETHER, len(curves))} of {len(curves)}"
            title = str(task) + (part_of if len(curves) > TOGETHER else "")
            panels.append((title, f"{device} · {dtype}", curves[first : first + TOGETHER]))
    if not panels:
        return None
    canvas, axes = style.grid(len(panels), columns=2, height=2.4)
    for ax, (title, place, curves) in zip(axes, panels, strict=True):
        used: dict[str, int] = {}
        for curve in curves:
            colour = style.colour(curve["cell"].removesuffix("-field"))
            dashes = style.DASHES[used.get(colour, 0) % len(style.DASHES)]
            used[colour] = used.get(colour, 0) + 1
            r2 = np.clip(curve["r2"], 0.0, 1.0)
            ax.plot(range(len(r2)), r2, color=colour, linestyle=dashes, label=style.plain(curve["name"]))
        ax.set(xlabel="lag, steps", ylabel="$R^2$", ylim=(-0.03, 1.85), yticks=[0, 0.5, 1])  # room for the legend above
        ax.set_xlim(left=0)
        style.head(ax, title, place, panels=2)
        ax.legend(loc="upper right", handlelength=2.2, fontsize=7, labelspacing=0.25)
    return canvas


def _curves(part: pd.DataFrame) -> list[dict[str, Any]]:
    """By setting, the largest capacity first: cell, the curve, and a name that ends with the total and its bound."""
    other = options(part)
    found = []
    for setting, group in part.groupby("setting", sort=False):
        r2 = r2_by_lag(group)
        if not len(r2):
            continue
        line = group.iloc[0]
        total = float(group["metrics.memory_capacity"].median())
        bound = group["properties.state_numbers"].max()
        cell, tableau = str(line["solver.cell"]), str(line["solver.tableau"])
        name = " · ".join(style.label(n) for n in (cell.removesuffix("-field"), tableau) if n)
        name += f" ({other[str(setting)]})" if other.get(str(setting)) else ""
        share = f" of {bound:g}" if bound == bound else ""
        found.append({"cell": cell, "r2": r2, "total": total, "name": f"{style.short(name, 34)}: {total:.1f}{share}"})
    return sorted(found, key=lambda curve: -curve["total"])


FIGURE = Figure(
    name="capacity",
    title="Memory capacity of untrained cells",
    kinds=("capacity",),
    caption=(
        "R^2 on held-out data of a linear readout that recovers the input of so many steps ago from the state (median "
        "over seeds), the cells with the largest capacity first. Legend: the sum over the lags, of at most the number "
        "of state numbers. Below zero is drawn as zero."
    ),
    paint=paint,
)
