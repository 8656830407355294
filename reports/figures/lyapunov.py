"""The largest Lyapunov exponent of stepped maps against the step, with the flow's and the published one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..frame import records
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

BAND = 2.0


def paint(frame: pd.DataFrame) -> Canvas | None:
    """A panel per system; a line per tableau over the steps in dt (coarse to fine); a cross at the foot: diverged."""
    rows = frame[frame["kind"] == "lyapunov"]
    if rows.empty or not rows["metrics.flow_lyapunov_max"].notna().any():
        return None
    if "properties.of" in rows:
        rows = rows[rows["properties.of"] != "flow"]
    panels = list(rows.groupby("task.system", sort=False))
    panels = [(system, part) for system, part in panels if part["metrics.lyapunov_max"].notna().any()]
    if not panels:
        return None
    canvas, axes = style.grid(len(panels), columns=3)
    for ax, (system, part) in zip(axes, panels, strict=True):
        _panel(ax, part)
        style.head(ax, str(system))
    names = style.by_name(str(t) for _, part in panels for t in part["solver.tableau"])
    handles: list[Any] = [style.handle(style.label(t), color=style.colour(t), marker=style.marker(t)) for t in names]
    handles.append(style.handle("flow, two standard errors", color=style.GREY, linewidth=5, alpha=0.4))
    handles.append(style.handle("published", linestyle=style.DASHES[1], linewidth=1))
    if any(part["metrics.lyapunov_max"].isna().any() for _, part in panels):
        handles.append(style.handle("no result", marker="x", linestyle="none"))
    style.legend(canvas, handles)
    return canvas


def _panel(ax: Axes, part: pd.DataFrame) -> None:
    good = part[part["metrics.flow_lyapunov_max"].notna()].iloc[0]
    flow, error = float(good["metrics.flow_lyapunov_max"]), float(good["metrics.flow_lyapunov_max_error"])
    ax.axhspan(flow - BAND * error, flow + BAND * error, color=style.GREY, alpha=0.4, linewidth=0)
    ax.axhline(flow, color=style.GREY, linewidth=0.8)
    published = good.get("properties.published")
    theirs = published.get("exponent") if isinstance(published, dict) else None
    if isinstance(theirs, int | float):
        ax.axhline(theirs, color=style.INK, linestyle=style.DASHES[1], linewidth=1)
    part = part.assign(place=[_steps(row) for row in records(part)])
    ticks = sorted(part["place"].unique())
    for tableau, group in part.groupby("solver.tableau", sort=False):
        group = group.sort_values("place")
        x, y = [ticks.index(p) for p in group["place"]], group["metrics.lyapunov_max"].to_numpy(float)
        bars = BAND * np.nan_to_num(group["metrics.lyapunov_max_error"].to_numpy(float))
        look: dict[str, Any] = {"color": style.colour(str(tableau)), "marker": style.marker(str(tableau))}
        ax.errorbar(x, y, bars, capsize=2, linewidth=1.2, **look)
        lost = [place for place, value in zip(x, y, strict=True) if math.isnan(value)]
        if lost:  # an empty line has a strange extent
            ax.plot(
                lost, [0.04] * len(lost), "x", color=look["color"], transform=ax.get_xaxis_transform(), clip_on=False
            )
    ax.set_xticks(range(len(ticks)), [f"{t:g}" for t in ticks])
    ax.set_xlim(-0.4, len(ticks) - 0.6)
    ax.set(xlabel="steps in dt", ylabel="largest exponent")


def _steps(row: dict[Any, Any]) -> float:
    value = row.get("solver.steps")
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 1.0


FIGURE = Figure(
    name="lyapunov",
    title="Lyapunov exponents of stepped maps",
    kinds=("lyapunov",),
    caption=(
        "The largest exponent of the map that a method steps, with two standard errors, against the number of steps in "
        "a sampling step dt of the system; grey band: the flow's own; dashed: the published value. A coarse step has "
        "another attractor, or none."
    ),
    paint=paint,
)
