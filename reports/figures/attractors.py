"""Attractors of the ladder: where every rung's long run goes, over the true attractor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..pieces import Figure
from ..rungs import best_settings, ladder_rows, middle_row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FIRST = "lorenz63"
MOST, COLUMNS = 20, 4
ROOM = 0.12


def paint(frame: pd.DataFrame) -> Canvas | None:
    """A panel per rung of one system, Lorenz-63 where it is there; the setting of the ladder, its middle seed."""
    rows = ladder_rows(frame)
    if not len(rows) or "curves.long" not in rows:
        return None
    rows = rows[np.array([isinstance(c, dict) and len(c.get("truth", [])) > 0 for c in rows["curves.long"]])]
    if rows.empty:
        return None
    protocols = sorted(rows["protocol"].unique(), key=lambda p: not p.startswith(FIRST))
    rows = rows[rows["protocol"] == protocols[0]]
    panels = []
    for line in best_settings(rows, ()).to_dict("records"):
        row = middle_row(rows, line["setting"], "curves.long")
        if row is not None:
            panels.append((line, row))
    panels = panels[:MOST]
    canvas, axes = style.grid(len(panels), columns=COLUMNS, height=1.75)
    lost = False
    for ax, (line, row) in zip(axes, panels, strict=True):
        lost |= not _panel(ax, row["curves.long"], style.colour(line["cell"]))
        _name(ax, line, row)
    canvas.suptitle(style.plain(str(protocols[0])), x=0.01, ha="left", fontweight="bold")
    handles: list[Any] = [
        style.handle("truth", color=style.GREY, linewidth=2, alpha=0.6),
        style.handle("model, in its colour"),
    ]
    if lost:
        handles.append(style.handle("nowhere near", marker="x", linestyle="none"))
    style.legend(canvas, handles)
    return canvas


def _panel(ax: Axes, curve: dict[str, Any], colour: str) -> bool:
    """Draw one; whether any point of the model lies in the panel, which is that of the truth with some room."""
    truth, model = np.asarray(curve["truth"], float), np.asarray(curve["model"], float)
    one, other = _plane(curve, len(truth))
    if len(truth) == 1:  # one component alone is drawn against time
        truth, model = (np.array([np.linspace(0, 1, v.shape[1]), v[0]]) for v in (truth, model))
    room = [
        (v.min() - ROOM * np.ptp(v), v.max() + ROOM * np.ptp(v), 1e-3 * np.ptp(v)) for v in (truth[one], truth[other])
    ]
    ax.plot(truth[one], truth[other], color=style.GREY, linewidth=1.6, alpha=0.35)
    kept = np.isfinite(model).all(axis=0)
    x, y = (np.where(kept, model[i], np.nan) for i in (one, other))
    (left, right, small), (low, high, flat) = room
    seen = bool(((x > left) & (x < right) & (y > low) & (y < high)).any())
    if seen:
        rests = np.nanmax(x) - np.nanmin(x) < small and np.nanmax(y) - np.nanmin(y) < flat
        ax.plot(x, y, color=colour, linewidth=0.8, marker="o" if rests else "")
    else:
        ax.plot(0.5, 0.5, "x", color=colour, transform=ax.transAxes, markersize=9)
    ax.set(xlim=(left, right), ylim=(low, high), xticks=[], yticks=[])
    ax.grid(visible=False)
    return seen


def _plane(curve: dict[str, Any], count: int) -> tuple[int, int]:
    """The components to draw: the first and the last of three (Lorenz's butterfly), else the first two."""
    return (0, 2) if curve.get("projection") == "components" and count == 3 else (0, 1)


def _name(ax: Axes, line: dict[Any, Any], row: pd.Series[Any]) -> None:
    above = row["metrics.state_space_divergence"] - row["metrics.state_space_divergence_floor"]
    told = [f"divergence {above:+.2g}" if np.isfinite(above) else ""]
    if row["metrics.escaped"] > 0:
        told.append(f"escaped {100 * row['metrics.escaped']:.3g} %")
    method = f" · {style.label(line['tableau'])}" if line["tableau"] and line["cell"] != "true-field" else ""
    ax.set_title(style.plain(style.short(line["rung"].replace("parameters ", "") + method, 30)), fontsize=7.5)
    ax.set_xlabel(style.plain(", ".join(t for t in told if t)), fontsize=6.5, color=style.GREY, loc="left", labelpad=2)


FIGURE = Figure(
    name="attractors",
    title="Attractors of the ladder",
    kinds=("forecast",),
    caption=(
        "The beginning of a long run on a model's own output, over a true trajectory (grey): the first and third "
        "component (of larger systems two principal components), after a tenth of the run is left out. For every rung "
        "the setting of the ladder and of its seeds the middle one. divergence: the state space divergence less its "
        "floor, in nats, of all runs; escaped: the fraction of points outside the true attractor's box. A single "
        "point: the model has come to rest."
    ),
    paint=paint,
)
