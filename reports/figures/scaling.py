"""Seconds against the length of the sequence and against the batch, with the power that each grows by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..pieces import Figure
from ..timings import WORKLOAD, method, sizes, slopes, timings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PANELS = 12
_AXES = {"length": "length T, steps", "batch": "batch"}
_ROLES = ("ours", "engine", "peer", "floor")


def paint(frame: pd.DataFrame) -> Canvas | None:
    """A panel per workload measured at three sizes or more, along its length or its batch; a line per peer."""
    lines = timings(frame)
    if lines.empty:
        return None
    panels: dict[tuple[Any, ...], list[tuple[dict[str, Any], pd.DataFrame]]] = {}
    for along in _AXES:
        keys = [name for name in WORKLOAD if name != along]
        for known, each in slopes(lines, along):
            panels.setdefault((along, *(str(known[key]) for key in keys)), []).append((known, each))
    if not panels:
        return None
    shown = list(panels.items())[:PANELS]
    most = max(len(found) for _, found in shown)
    canvas, axes = style.grid(len(shown), columns=2, height=2.5 + 0.14 * most)
    for ax, ((along, *_), found) in zip(axes, shown, strict=True):
        _panel(ax, str(along), found)
    if len(panels) > PANELS:
        canvas.suptitle(f"the first {PANELS} of {len(panels)} panels", x=0.01, ha="left")
    return canvas


def _panel(ax: Axes, along: str, found: list[tuple[dict[str, Any], pd.DataFrame]]) -> None:
    from matplotlib.transforms import offset_copy

    found = sorted(found, key=lambda pair: (_ROLES.index(pair[0]["role"]), pair[0]["peer"]))
    first = found[0][0]
    others = [known["peer"] for known, _ in found if known["role"] != "ours"]
    handles = []
    for known, each in found:
        look = _look(known["role"], others.index(known["peer"]) if known["role"] != "ours" else 0)
        size, seconds = each[along].to_numpy(float), each["seconds"].to_numpy(float)
        ax.plot(size, seconds, linestyle="none", **look)
        ends = np.array([size.min(), size.max()])
        ax.plot(ends, known["factor"] * ends ** known["slope"], color=look["color"], linewidth=1)
        told = f"{style.short(known['peer'], 22)}: slope {known['slope']:.2f}"
        told += f" [{known['low']:.2f}, {known['high']:.2f}]" if np.isfinite(known["low"]) else ""
        handles.append(style.handle("", **look))
        handles[-1].set_label(style.plain(told))
    ax.set(xscale="log", yscale="log", xlabel=_AXES[along], ylabel="seconds")
    style.head(ax, method(first), sizes(first, (along,)), 2)
    style.log_ticks(ax)
    below = offset_copy(ax.transAxes, ax.get_figure(root=True), y=-32, units="points")  # under the axis' label
    look = {"loc": "upper left", "bbox_to_anchor": (0, 0), "bbox_transform": below, "borderaxespad": 0}
    ax.legend(handles=handles, handlelength=1.6, **look)


def _look(role: str, place: int) -> dict[str, Any]:
    if role == "ours":
        return {"color": style.BLUE, "marker": "D", "markersize": 5}
    colours = [c for c in (*style.PALETTE, style.INK, style.GREY) if c != style.BLUE]
    marks = [m for m in style.MARKERS if m != "D"]
    return {"color": colours[place % len(colours)], "marker": marks[place % len(marks)], "markersize": 4}


FIGURE = Figure(
    name="scaling",
    title="Cost against length and batch",
    kinds=("speed",),
    caption=(
        "Median seconds of workloads that differ by the length of the sequence, or by the batch, alone. Slope: of log "
        "seconds against log size, least squares, with its 95 % interval by Student's t; the line is that fit. A slope "
        "of 1 is a cost in proportion; a smaller one shows a cost that does not grow with the size."
    ),
    paint=paint,
)
