"""Parameters against memory length, with the fitted exponent; lengths that no size solved are shown as such."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import style
from ..fit import power_law
from ..ladder import parameter_ladder
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def paint(frame: pd.DataFrame) -> Canvas | None:
    """One panel per task, device and dtype; the lengths at which a solver was tried in two sizes or more."""
    table = parameter_ladder(frame)
    table = table[table["rungs"] > 1]
    if table.empty:
        return None
    panels = list(table.groupby(["task", "device", "dtype"], sort=False))
    canvas, axes = style.grid(len(panels), columns=2, height=3.0)
    handles: dict[tuple[str, str], Any] = {}
    colours = _colours(table["cell"])
    for ax, ((task, device, dtype), part) in zip(axes, panels, strict=True):
        for (cell, tableau, _, _), line in part.groupby(["cell", "tableau", "backend", "step"], sort=False):
            _line(ax, colours[str(cell)], str(tableau), line)
            look = {"color": colours[str(cell)], "linestyle": style.dashes(str(tableau))}
            name = " · ".join(style.label(n) for n in (str(cell), str(tableau)) if n)
            handles.setdefault((str(cell), str(tableau)), style.handle(name, marker="o", **look))
        ax.set(xscale="log", yscale="log", xlabel="memory length, steps", ylabel="parameters")
        style.head(ax, str(task), f"{device} · {dtype}", panels=2)
        lengths = sorted(part["memory length"].unique())
        ax.set_xticks(lengths, [f"{n:g}" for n in lengths], minor=False)
        ax.xaxis.set_minor_locator(_nothing())
        style.log_ticks(ax, "y")
    hollow = {"linestyle": "none", "markerfacecolor": "none"}
    marks = [
        style.handle("more than: no size tried solves", marker="^", **hollow),
        style.handle("at most: the smallest solves", marker="v", **hollow),
    ]
    style.legend(canvas, [*handles.values(), *marks])
    return canvas


def _nothing() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _colours(cells: Iterable[str]) -> dict[str, str]:
    """By cell its colour; the second of two that share one takes a free one: marks tell no cells apart here."""
    names = style.by_name(str(cell) for cell in cells)
    free = [c for c in (*style.PALETTE, style.INK, style.GREY) if c not in {style.colour(name) for name in names}]
    found: dict[str, str] = {}
    for name in names:
        own = style.colour(name)
        found[name] = free.pop(0) if own in found.values() and free else own
    return found


def _line(ax: Any, colour: str, tableau: str, line: pd.DataFrame) -> None:
    done, solves = line[line["state"] == "solved"], line[line["state"] != "more than"]
    ax.plot(done["memory length"], done["parameters"], "o", color=colour)
    for state, mark in (("more than", "^"), ("at most", "v")):
        part = line[line["state"] == state]
        ax.plot(part["memory length"], part["parameters"], mark, color=colour, markerfacecolor="none", markersize=6)
    ax.plot(solves["memory length"], solves["parameters"], color=colour, linestyle=style.dashes(tableau), linewidth=1)
    fit = power_law(done["memory length"], done["parameters"])
    if fit is not None:
        x = float(done["memory length"].max())
        text = f"$t^{{{fit.exponent:.2f}}}$"
        place = (x, float(done.loc[done["memory length"] == x, "parameters"].iloc[0]))
        ax.annotate(text, place, xytext=(5, -2), textcoords="offset points", color=colour, fontsize=8)


FIGURE = Figure(
    name="memory",
    title="Parameters for memory",
    kinds=("sequence",),
    caption=(
        "The smallest parameter count of those tried that solves the task, against memory length. Triangles up: none "
        "did, and the largest one tried is shown; triangles down: the smallest one tried did, and less may do. Beside "
        "a line, the fitted power of the length (over the filled marks, from three on)."
    ),
    paint=paint,
)
