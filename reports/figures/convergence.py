"""Convergence: error against step for every tableau, with slope guides and the observed order in the legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def paint(frame: pd.DataFrame) -> Canvas | None:
    """One panel per backend, device and dtype."""
    rows = frame[[isinstance(c, dict) and len(c.get("h", [])) > 0 for c in frame["curves.convergence"]]]
    if rows.empty:
        return None
    panels = list(rows.groupby(["solver.backend", "device", "dtype"], sort=False))
    canvas, axes = style.grid(len(panels), columns=2, height=3.6)
    for ax, ((backend, device, dtype), part) in zip(axes, panels, strict=True):
        for _, line in part.drop_duplicates("setting").iterrows():
            name = line["solver.tableau"]
            h, error = _points(line["curves.convergence"])
            look: dict[str, Any] = {"color": style.colour(name), "linestyle": style.dashes(name)}
            ax.loglog(h, error, marker=style.marker(name), **look)
        _guides(ax, part)
        ax.set(xlabel="step h", ylabel="error")
        style.head(ax, f"{backend} · {device} · {dtype}", panels=min(len(panels), 2))
        style.log_ticks(ax)
    handles = []
    claimed = rows["properties.claimed_order"].fillna(rows["properties.order"]).groupby(rows["solver.tableau"]).first()
    for name in sorted(style.by_name(rows["solver.tableau"]), key=lambda name: float(claimed.fillna(99)[name])):
        orders = rows.loc[rows["solver.tableau"] == name, "metrics.observed_order"].dropna()
        tail = f"order {orders.median():.2f}" if len(orders) else "no order observed"
        look = {"color": style.colour(name), "marker": style.marker(name), "linestyle": style.dashes(name)}
        handles.append(style.handle(f"{style.label(name)}: {tail}", **look))
    handles.append(style.handle("slope guides", color=style.GREY, linestyle=":"))
    style.legend(canvas, handles)
    return canvas


def _points(curve: dict[str, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    h, error = np.asarray(curve["h"], float), np.asarray(curve["error"], float)
    keep = np.isfinite(error) & (error > 0)
    return h[keep], error[keep]


def _guides(ax: Any, part: pd.DataFrame) -> None:
    """A dotted line of each claimed slope below the best method of that order, along its finer half of steps."""
    claimed = part["properties.claimed_order"].fillna(part["properties.order"])
    for order in sorted({int(p) for p in claimed.dropna()}):
        curves = [_points(c) for c in part.loc[claimed == order, "curves.convergence"]]
        curves = [(h[np.argsort(h)], error[np.argsort(h)]) for h, error in curves if len(h) > 2]
        if not curves:
            continue
        h, error = min(curves, key=lambda curve: float(curve[1][len(curve[1]) // 2]))
        middle = len(h) // 2
        ends = h[[0, middle]]
        guide = 0.4 * error[middle] * (ends / h[middle]) ** order
        ax.plot(ends, guide, color=style.GREY, linestyle=":", linewidth=0.9)
        place = (float(ends[0]), float(guide[0]))
        look = {"color": style.GREY, "fontsize": 7, "xytext": (-3, -2), "textcoords": "offset points"}
        ax.annotate(str(order), place, ha="right", va="center", **look)


FIGURE = Figure(
    name="convergence",
    title="Order of convergence",
    caption=(
        "Error against step, both on logarithmic axes. Dotted: slopes of the claimed orders. Legend: the slope "
        "observed."
    ),
    paint=paint,
)
