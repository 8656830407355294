"""Convergence: error against step for every tableau, with slope guides and the observed order in the legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


MANY = 10
"""With more tableaux than this, those of each claimed order have a panel of their own."""


def paint(frame: pd.DataFrame) -> Canvas | None:
    """One panel per backend, device and dtype (and order, where there are many); one per row of the correspondence."""
    rows = frame[[isinstance(c, dict) and len(c.get("h", [])) > 0 for c in frame["curves.convergence"]]]
    cells = rows[rows["kind"] == "correspondence"]
    rows = rows[rows["kind"] != "correspondence"].copy()
    if rows.empty and cells.empty:
        return None
    rows["claimed"] = rows["properties.claimed_order"].fillna(rows["properties.order"])
    crowded = rows["solver.tableau"].nunique() > MANY
    keys = ["claimed", "solver.backend", "device", "dtype"] if crowded else ["solver.backend", "device", "dtype"]
    panels = list(rows.groupby(keys, sort=crowded, dropna=False))
    small = list(cells.groupby(["task.row", "solver.cell", "device", "dtype"], sort=False, dropna=False))
    columns = 2 if panels else 4
    canvas, axes = style.grid(len(panels) + len(small), columns, 3.2 if panels else 1.55)
    for ax, (key, part) in zip(axes, panels, strict=False):
        for name in _sorted(part):
            _curves(ax, part[part["solver.tableau"] == name], name, _told(part, name) if crowded else "")
        _guides(ax, part)
        ax.set(xlabel="step h", ylabel="error")
        order = [f"order {key[0]:g}" if key[0] == key[0] else "no order claimed"] if crowded else []
        style.head(ax, " · ".join([*order, *(str(k) for k in key[-3:])]), panels=min(len(axes), 2))
        style.log_ticks(ax)
        if crowded:
            ax.legend(loc="lower right", fontsize=6, labelspacing=0.2, handlelength=2.0, borderaxespad=0.1)
    for ax, ((row, cell, *_), part) in zip(axes[len(panels) :], small, strict=True):
        _row(ax, str(row or cell), part)
    handles = []
    if not crowded:
        handles = [style.handle(_told(rows, name), **_look(name)) for name in _sorted(rows)]
    if len(panels):
        handles.append(style.handle("slope guides", color=style.GREY, linestyle=":"))
    if small:
        handles.append(style.handle("observed", marker="o", color=style.BLUE))
        handles.append(style.handle("slope of the claimed order", color=style.GREY, linestyle=":"))
        handles.append(style.handle("gap of what is no integrator", marker="s", color=style.VERMILION))
    style.legend(canvas, handles)
    return canvas


def _sorted(rows: pd.DataFrame) -> list[str]:
    claimed = rows["claimed"].groupby(rows["solver.tableau"]).first()
    return sorted(style.by_name(rows["solver.tableau"]), key=lambda name: float(claimed.fillna(99)[name]))


def _told(rows: pd.DataFrame, name: str) -> str:
    orders = rows.loc[rows["solver.tableau"] == name, "metrics.observed_order"].dropna()
    return f"{style.label(name)}: " + (f"order {orders.median():.2f}" if len(orders) else "no order observed")


def _look(name: str) -> dict[str, Any]:
    return {"color": style.colour(name), "marker": style.marker(name), "linestyle": style.dashes(name)}


def _curves(ax: Any, part: pd.DataFrame, name: str, label: str) -> None:
    for place, (_, line) in enumerate(part.drop_duplicates("setting").iterrows()):
        h, error = _points(line["curves.convergence"])
        ax.loglog(h, error, label=style.plain(label) if label and not place else None, **_look(name))


def _row(ax: Any, name: str, part: pd.DataFrame) -> None:
    """A small panel of one row of the correspondence: its error against the exact flow, or its gap."""
    orders = part["metrics.observed_order"].dropna()
    claimed = part["properties.order"].max()
    gap = not len(orders)
    for curve in part["curves.convergence"]:
        h, error = _points(curve)
        ax.loglog(h, error, marker="s" if gap else "o", color=style.VERMILION if gap else style.BLUE, markersize=2.5)
        if len(h) > 1 and not gap and claimed == claimed:
            order = np.argsort(h)
            ends = h[order][[0, len(h) // 2]]
            guide = 0.35 * error[order][len(h) // 2] * (ends / ends[1]) ** claimed
            ax.plot(ends, guide, color=style.GREY, linestyle=":", linewidth=1.1)
    if gap:
        ax.set_yscale("linear")
        ax.set_ylim(bottom=0)
    told = "no order: not an integrator" if gap else f"order {orders.median():.2f} of {claimed:g}"
    style.head(ax, style.label(name), told, 3)
    ax.set_xlabel("step h", labelpad=1)
    ax.tick_params(labelsize=6.5)
    style.log_ticks(ax, "x" if gap else "both")


def _points(curve: dict[str, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    h, error = np.asarray(curve["h"], float), np.asarray(curve["error"], float)
    keep = np.isfinite(error) & (error > 0)
    return h[keep], error[keep]


def _guides(ax: Any, part: pd.DataFrame) -> None:
    """A dotted line of each claimed slope below the best method of that order, along its finer half of steps."""
    claimed = part["claimed"]
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
    kinds=("correspondence", "order"),
    caption=(
        "Error against step, both on logarithmic axes. Dotted: slopes of the claimed orders. Legend: the slope "
        "observed. Rows of the correspondence have a small panel each: the error of the cell against the exact flow "
        "of its field; of what is no integrator, the distance from the identity as its time goes to zero."
    ),
    paint=paint,
)
