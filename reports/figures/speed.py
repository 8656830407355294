"""Milliseconds of every workload: ours and its peers on one axis, the floor of the matrix products as a line."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..frame import records
from ..pieces import Figure
from ..timings import FLOOR, method, sizes, timings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PANELS = 16
LINE = 0.21
"""Inches a peer."""
_LOOKS: dict[str, dict[str, Any]] = {
    "ours": {"marker": "D", "color": style.BLUE, "markersize": 5.5},
    "engine": {"marker": "D", "color": style.BLUE, "markersize": 5, "markerfacecolor": "none"},
    "peer": {"marker": "o", "color": style.INK, "markersize": 4.5},
    "faster": {"marker": "<", "color": style.VERMILION, "markersize": 5.5},
}
_FLOORS = (style.DASHES[1], style.DASHES[2], style.DASHES[3])


def paint(frame: pd.DataFrame) -> Canvas | None:
    """A panel per workload, device, dtype and thread count that was measured with a peer or failed with them."""
    lines = timings(frame)
    parts = [part for _, part in lines.groupby("setting", sort=False)] if len(lines) else []
    parts = [part for part in parts if _compares(part)]
    if not parts:
        return None
    from matplotlib.figure import Figure as Canvas

    parts.sort(key=_place)
    shown = parts[:PANELS]
    columns = min(2, len(shown))
    rows = [shown[start : start + columns] for start in range(0, len(shown), columns)]
    heights = [LINE * max(_height(part) for part in row) + 0.95 for row in rows]
    canvas = Canvas(figsize=(style.WIDTH, sum(heights)), layout="constrained")
    cells = canvas.add_gridspec(len(rows), columns, height_ratios=heights)
    floors = _floors(shown)
    for place, part in enumerate(shown):
        ax = canvas.add_subplot(cells[place // columns, place % columns])
        _panel(ax, part, floors)
    if len(parts) > PANELS:
        canvas.suptitle(f"the first {PANELS} of {len(parts)} workloads; the tables hold all", x=0.01, ha="left")
    style.legend(canvas, _legend(shown, floors))
    return canvas


def _compares(part: pd.DataFrame) -> bool:
    """Whether others were to be measured beside ours, and were, or nothing was."""
    beside = part["role"].isin(["peer", "engine"]).any() or (part["role"] == "").all()
    return bool(part["peers"].iloc[0] and beside)


def _place(part: pd.DataFrame) -> tuple[Any, ...]:
    first = part.iloc[0]
    numbers = [float(np.nan_to_num(first[name])) for name in ("threads", "hidden", "batch", "length")]
    return (numbers[0], first["work"], first["cell"], first["tableau"], *numbers[1:])


def _height(part: pd.DataFrame) -> int:
    return max(2, int((part["role"] != "floor").sum()))


def _floors(parts: Sequence[pd.DataFrame]) -> dict[str, Any]:
    """By floor its line style, the library's products first."""
    names = {str(name) for part in parts for name in part.loc[part["role"] == "floor", "peer"]}
    ordered = sorted(names, key=lambda name: (name != FLOOR, name))
    return {name: _FLOORS[place % len(_FLOORS)] for place, name in enumerate(ordered)}


def _panel(ax: Axes, part: pd.DataFrame, floors: dict[str, Any]) -> None:
    """The peers down, the fastest on top; at the right how many times as long as ours it takes."""
    peers = part[part["role"] != "floor"].sort_values("seconds", kind="stable", na_position="last")
    lines = records(peers)
    times = 1e3 * part["seconds"].dropna().to_numpy(float)
    if len(times):
        low, high = times.min(), times.max()
        span = max(np.log10(high / low), 0.6)
        ax.set_xscale("log")
        ax.set_xlim(low / 10 ** (0.08 * span), high * 10 ** (0.08 * span))
    else:
        ax.set_xticks([])
    for name, dashes in floors.items():
        floor = part[(part["peer"] == name) & (part["seconds"] > 0)]
        if len(floor):
            x, below = 1e3 * float(floor["seconds"].iloc[0]), float((peers["seconds"] > 0).sum()) - 0.5
            ax.plot([x, x], [-0.6, below], color=style.GREEN, linestyle=dashes, linewidth=1.2, zorder=1)
    for y, line in enumerate(lines):
        _mark(ax, y, line)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    names = ["\n".join(textwrap.wrap(line["peer"] or "the run", 21, max_lines=2, placeholder="…")) for line in lines]
    ax.set_yticks(range(len(lines)), ["\n".join(map(style.plain, name.split("\n"))) for name in names])
    for tick, line, name in zip(ax.get_yticklabels(), lines, names, strict=True):
        tick.set_fontweight("bold" if line["role"] == "ours" else "normal")
        tick.set_fontsize(6 if "\n" in name else 7.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("milliseconds" if len(times) else "")
    style.head(ax, method(lines[0]), sizes(lines[0], ("inputs",)), 3)
    if len(times):
        style.log_ticks(ax, "x")


def _mark(ax: Axes, y: int, line: dict[str, Any]) -> None:
    if not line["seconds"] > 0:
        why = line["reason"] or "not measured"
        why = why if line["role"] else f"{line['status']}: {why}"
        look: dict[str, Any] = {"fontsize": 7, "color": style.GREY, "fontstyle": "italic", "va": "center"}
        told = ax.text(0.02, y, style.plain(style.short(why, 42)), transform=ax.get_yaxis_transform(), **look)
        told.set_in_layout(False)  # it may run into the margin, where no other text stands in its line
        return
    faster = line["role"] in ("peer", "engine") and line["times ours"] < 1
    look = _LOOKS["faster" if faster else line["role"]]
    middle = 1e3 * line["seconds"]
    ends = (1e3 * line["lower quartile"], 1e3 * line["upper quartile"])
    if np.isfinite(ends).all():
        ax.plot(ends, [y, y], color=look["color"], linewidth=2.4, alpha=0.45, solid_capstyle="butt")
    ax.plot([middle], [y], linestyle="none", **look)
    times = line["times ours"]
    ratio = f"{times:.3g}×" if times < 1000 else f"{times:.0f}×"
    ratio = "ours" if line["role"] == "ours" else ratio + (", faster" if faster else "")
    if line["role"] != "ours" and not np.isfinite(line["times ours"]):
        ratio = ""
    weight = "bold" if line["role"] == "ours" else "normal"
    beside: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": 7}
    ax.text(1.02, y, ratio, color=look["color"], fontweight=weight, **beside)


def _legend(parts: Sequence[pd.DataFrame], floors: dict[str, Any]) -> list[Any]:
    whole = pd.concat(parts)
    others = whole[whole["role"].isin(["peer", "engine"]) & (whole["seconds"] > 0)]
    texts = {"ours": "ours", "engine": "another engine of ours", "peer": "peer", "faster": "faster than ours"}
    seen = {"faster"} if (others["times ours"] < 1).any() else set()
    seen |= set(others.loc[~(others["times ours"] < 1), "role"]) | set(whole["role"])
    found = [style.handle(texts[name], linestyle="none", **_LOOKS[name]) for name in texts if name in seen]
    return found + [
        style.handle(name, color=style.GREEN, linestyle=dashes, linewidth=1.2) for name, dashes in floors.items()
    ]


FIGURE = Figure(
    name="speed",
    title="Speed",
    kinds=("speed",),
    caption=(
        "Median milliseconds of each workload, bars from the lower to the upper quartile over rounds, all peers of a "
        "panel measured in turns in one process. At the right: how many times as long as ours; triangles to the "
        "left take less time than ours. Vertical lines: the workload's matrix products and nothing else, which no "
        "method that computes them can undercut at that rate. What could not be measured says why."
    ),
    paint=paint,
)
