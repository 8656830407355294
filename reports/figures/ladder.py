"""The information ladder: valid prediction time of the best setting of every rung, from climatology to the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..limits import Limits, draw, handles, limits_of
from ..pieces import Figure
from ..rungs import VALID, best_settings, ladder_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

VALUES = (VALID, f"{VALID}_q25", f"{VALID}_q75")


def paint(frame: pd.DataFrame) -> Canvas | None:
    """A panel per system and protocol, two in a row; a line per rung, the true field last; a cross: no result."""
    rows = ladder_rows(frame)
    if rows.empty or not rows[VALID].notna().any():
        return None
    from matplotlib.figure import Figure as Canvas

    table = best_settings(rows, VALUES)
    panels = list(table.groupby("protocol", sort=False))
    columns = min(2, len(panels))
    groups = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [0.19 * max(len(part) for _, part in group) + 0.75 for group in groups]
    canvas = Canvas(figsize=(style.WIDTH, sum(heights)), layout="constrained")
    axes = canvas.subplots(len(groups), columns, squeeze=False, height_ratios=heights)
    limits: list[Limits] = []
    for line, group in zip(axes, groups, strict=True):
        for ax in line[len(group) :]:
            ax.remove()
        for ax, (protocol, part) in zip(line, group, strict=False):
            limits.append(limits_of(frame, rows[rows["protocol"] == protocol]))
            _panel(ax, part, limits[-1])
            style.head(ax, str(protocol), panels=columns)
    marks: list[Any] = [style.handle("median and quartiles", marker="o", linestyle="-")]
    if (table["seeds"] == 0).any():
        marks.append(style.handle("no result", marker="x", linestyle="none"))
    style.legend(canvas, [*marks, *handles(limits)])
    return canvas


def _panel(ax: Axes, part: pd.DataFrame, limits: Limits) -> None:
    lines = part.to_dict("records")
    for place, line in enumerate(lines):
        middle, low, high = (float(line[f"{name} median"]) for name in VALUES)
        colour, true = style.colour(line["cell"]), line["cell"] == "true-field"
        if not np.isfinite(middle):
            ax.plot(0.01, place, "x", color=colour, transform=ax.get_yaxis_transform(), clip_on=False)
            continue
        if np.isfinite(low) and np.isfinite(high):
            ax.plot([low, high], [place, place], color=colour, linewidth=1.6)
        face = "none" if true else colour
        ax.plot(middle, place, marker="D" if true else "o", color=colour, markerfacecolor=face, markersize=4.5)
    ax.set_yticks(range(len(lines)), [style.plain(_name(line)) for line in lines], fontsize=7)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.set_xlim(left=0, right=None if part[f"{VALID} median"].notna().any() else 1)
    ax.set_xlabel("valid time, Lyapunov times")
    draw(ax, limits)


def _name(line: dict[Any, Any]) -> str:
    method = style.label(line["tableau"]) if line["tableau"] else ""
    return style.short(
        " · ".join(part for part in (line["rung"].replace("parameters off by", "off by"), method) if part), 38
    )


FIGURE = Figure(
    name="ladder",
    title="The information ladder",
    kinds=("ceiling", "forecast"),
    caption=(
        "Valid prediction time of the best setting of every rung, least informed first: median (mark) and quartiles "
        "(line) over initial conditions, each the median over seeds. Hollow: the true field. A forecast that reaches "
        "the horizon counts as long as it. Ceiling: where rounding alone ends the forecast of the true field."
    ),
    paint=paint,
)
