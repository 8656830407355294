"""Where training breaks down: outcomes over seeds against the step, by cell and tableau."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import style
from ..frame import OUTCOMES, panels
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

PANELS = 24


def paint(frame: pd.DataFrame) -> Canvas | None:
    """One panel per task, cell, device and dtype of the tableaux that ran with two steps or more."""
    if "solver.step" not in frame:
        return None
    rows = frame[frame["learned"].astype(bool) & frame["solver.step"].notna()]
    keys = ["task_label", "solver.cell", "device", "dtype"]
    steps = rows.groupby([*keys, "solver.tableau"])["solver.step"].transform("nunique")
    rows = rows[steps > 1]
    parts = panels(rows, keys)
    if not parts:
        return None
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    many = rows[["device", "dtype"]].drop_duplicates().shape[0] > 1
    canvas, axes = style.grid(min(len(parts), PANELS), columns=3, height=2.1)
    for ax, ((task, cell, device, dtype), part) in zip(axes, parts, strict=False):
        bars = list(part.groupby(["solver.tableau", "solver.step"], sort=True))
        place, ticks = 0.0, []
        groups: dict[Any, list[float]] = {}
        for (tableau, step), group in bars:
            if groups and tableau not in groups:
                place += 0.6
            groups.setdefault(tableau, []).append(place)
            bottom = 0
            for name in OUTCOMES:
                count = int((group["outcome"] == name).sum())
                ax.bar(place, count, 0.85, bottom=bottom, color=style.OUTCOME_COLOURS[name])
                bottom += count
            ticks.append((place, f"{step:g}"))
            place += 1
        many_bars = len(ticks) > 8
        ax.set_xticks([t[0] for t in ticks], [t[1] for t in ticks], rotation=90 if many_bars else 0)
        for tableau, places in groups.items():
            middle = sum(places) / len(places)
            ax.annotate(
                style.plain(style.short(style.label(str(tableau)), 14)),
                (middle, -0.27 if many_bars else -0.2),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="top",
                fontsize=7,
            )
        ax.grid(axis="x", visible=False)
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.set(ylabel="runs")
        style.head(ax, f"{style.label(str(cell))} · {task}", f"{device} · {dtype}" if many else "", min(len(parts), 3))
    if len(parts) > PANELS:
        canvas.suptitle(f"the first {PANELS} of {len(parts)} panels; the tables hold all", x=0.01, ha="left")
    seen = [name for name in OUTCOMES if any((part["outcome"] == name).any() for _, part in parts)]
    style.legend(canvas, [Patch(color=style.OUTCOME_COLOURS[name], label=name) for name in seen])
    return canvas


FIGURE = Figure(
    name="breakdown",
    title="Outcomes against the step",
    caption="Runs by outcome, for every tableau and step h (horizontal). Every run is counted, failed ones included.",
    paint=paint,
)
