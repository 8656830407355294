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
    canvas, axes = style.grid(len(panels), columns=2, height=3.6, extra=1.0)
    for ax, ((backend, device, dtype), part) in zip(axes, panels, strict=True):
        for _, line in part.drop_duplicates("setting").iterrows():
            name = line["solver.tableau"]
            h, error = _points(line["curves.convergence"])
            look: dict[str, Any] = {"color": style.colour(name), "linestyle": style.dashes(name)}
            ax.loglog(h, error, marker=style.marker(name), **look)
        _guides(ax, part)
        ax.set(xlabel="step h", ylabel="error")
        style.head(ax, f"{backend} · {device} · {dtype}", panels=2)
        style.log_ticks(ax)
    handles = []
    for name in style.by_name(rows["solver.tableau"]):
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
    """A dotted line of each claimed slope through the largest step's error, from the steps that were taken."""
    claimed = part["properties.claimed_order"].fillna(part["properties.order"])
    bottom = min((min(_points(c)[1], default=1.0) for c in part["curves.convergence"]), default=1.0)
    for order in sorted({int(p) for p in claimed.dropna()}):
        h, error = _points(part.loc[claimed == order, "curves.convergence"].iloc[0])
        if len(h) < 2:
            continue
        top = int(np.argmax(h))
        ends = np.array([h.min(), h.max()])
        guide = 0.35 * error[top] * (ends / h[top]) ** order
        if guide[0] < 0.2 * bottom:  # stop where the data stop, lest the guide stretch the axis
            ends[0] = h[top] * (0.2 * bottom / (0.35 * error[top])) ** (1 / order)
            guide[0] = 0.2 * bottom
        ax.plot(ends, guide, color=style.GREY, linestyle=":", linewidth=0.9)
        middle = np.sqrt(ends.prod()), np.sqrt(guide.prod())
        ax.annotate(str(order), middle, color=style.GREY, fontsize=7, xytext=(3, -7), textcoords="offset points")


FIGURE = Figure(
    name="convergence",
    title="Order of convergence",
    caption=(
        "Error against step, both on logarithmic axes. Dotted: slopes of the claimed orders. Legend: the slope "
        "observed."
    ),
    paint=paint,
)
