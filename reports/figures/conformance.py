"""Conformance at a glance: the worst gap of every tableau in every backend, and the libraries' own methods' stability.

Both panels take their verdicts from the tables, so that a mark here and a word there cannot disagree.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import style
from ..frame import records
from ..pieces import Figure
from ..tables import conformance as tableaux
from ..tables import library_methods as methods

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

CLASSES = (
    (1e-14, "#c6dbef", "gap up to 1e-14"),
    (1e-11, style.SKY, "up to 1e-11"),
    (1e-6, style.ORANGE, "up to 1e-6"),
    (math.inf, style.VERMILION, "beyond"),
)
"""Of the worst of coefficients, trajectory and gradient: the bound, its colour, its words."""

CLIP = 22.0
"""Where an infinite interval is drawn."""


def paint(frame: pd.DataFrame) -> Canvas | None:
    """Above, backends by tableaux; below, a line a library's method with a claimed and a measured interval."""
    grid, own = tableaux.build(frame), methods.build(frame)
    if grid.empty and own.empty:
        return None
    from matplotlib.figure import Figure as Canvas

    backends, names = sorted(grid["backend"].unique()), _names(grid)
    heights = [0.3 + 0.24 * len(backends) + 1.35] * (not grid.empty) + [0.6 + 0.145 * len(own)] * (not own.empty)
    canvas = Canvas(figsize=(style.WIDTH, sum(heights)), layout="constrained")
    parts = canvas.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    axes = [part.subplots() for part in parts]  # so that the verdicts beside one panel do not narrow the other
    handles: list[Any] = []
    if not grid.empty:
        handles += _matrix(axes[0], grid, backends, names)
    if not own.empty:
        handles += _intervals(axes[-1], own)
    style.legend(canvas, handles)
    return canvas


def _names(grid: pd.DataFrame) -> list[str]:
    """By claimed order, those in several backends before those in one."""
    spread = grid.groupby("tableau")["backend"].nunique()
    order = grid.groupby("tableau")["claimed order"].first().fillna(99)
    return sorted(spread.index, key=lambda name: (int(spread[name]) == 1, float(order[name]), str(name)))


def _matrix(ax: Axes, grid: pd.DataFrame, backends: list[str], names: list[str]) -> list[Any]:
    for line in records(grid):
        place = (names.index(line["tableau"]), backends.index(line["backend"]))
        gap = max((line[k] for k in ("coefficients", "trajectory", "gradient") if line[k] == line[k]), default=math.nan)
        if line["status"] != "ok" or math.isnan(gap):
            ax.plot(*place, marker="X", color=style.INK, markersize=6, linestyle="none")
            continue
        colour = next(colour for bound, colour, _ in CLASSES if gap <= bound)
        ax.plot(*place, marker="s", color=colour, markersize=min(10, 400 / len(names)), linestyle="none")
        if line["verdict"] != "conforms":
            ax.plot(*place, marker="x", color=style.INK, markersize=5, markeredgewidth=1.2, linestyle="none")
    ax.set_xticks(range(len(names)), [style.plain(n) for n in names], rotation=60, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="x", labelsize=6.5)
    ax.set_yticks(range(len(backends)), [style.plain(b) for b in backends])
    ax.set(xlim=(-0.7, len(names) - 0.3), ylim=(len(backends) - 0.4, -0.6))
    ax.grid(False)
    right = int((grid["verdict"] == "conforms").sum())
    style.head(ax, "Our tableaux in every backend: the worst gap", f"{right} of {len(grid)} conform", 1)
    squares = [
        style.handle(words, marker="s", color=colour, markersize=8, linestyle="none") for _, colour, words in CLASSES
    ]
    return [
        *squares,
        style.handle("a number does not conform", marker="x", linestyle="none"),
        style.handle("no result", marker="X", linestyle="none"),
    ]


def _intervals(ax: Axes, own: pd.DataFrame) -> list[Any]:
    looks = (("real", style.BLUE, "o", -0.16), ("imaginary", style.PURPLE, "^", 0.16))
    for place, line in enumerate(records(own)):
        for axis, colour, shape, shift in looks:
            measured, claimed = line[axis], line[f"claimed {axis}"]
            y = place + shift
            wrong = tableaux.differs(claimed, measured)
            if not math.isnan(claimed):
                look: dict[str, Any] = {"fillstyle": "none", "linestyle": "none", "markersize": 6}
                ax.plot(min(claimed, CLIP), y, marker=shape, color=colour, **look)
            if not math.isnan(measured):
                ax.plot(min(measured, CLIP), y, marker=shape, color=colour, linestyle="none", markersize=3)
            if wrong:
                ends = [min(claimed, CLIP), min(measured, CLIP)]
                ax.plot(ends, [y, y], color=style.VERMILION, linewidth=2, solid_capstyle="butt", zorder=1)
        if line["status"] != "ok":
            ax.plot(0, place, marker="X", color=style.INK, linestyle="none")
        text = style.short(line["verdict"] if line["status"] == "ok" else line["status"], 66)
        odd = methods.is_odd(line["verdict"])
        ax.annotate(
            style.plain(text),
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=5.8,
            color=style.VERMILION if odd else style.INK,
            annotation_clip=False,
        )
    labels = [style.plain(f"{line['library']} {line['method']}") for line in records(own)]
    ax.set_yticks(range(len(own)), labels)
    ax.tick_params(axis="y", labelsize=6.5)
    ax.set_xscale("symlog", linthresh=1.0)
    ticks = [0, 0.5, 1, 2, 3, 5, 10, CLIP]
    ax.set_xticks(ticks, ["0", "0.5", "1", "2", "3", "5", "10", "∞"])
    ax.minorticks_off()
    ax.set(xlim=(-0.08, CLIP * 1.1), ylim=(len(own) - 0.4, -0.6), xlabel="|z| up to which 200 steps do not grow")
    style.head(ax, "The libraries' own methods: stability and verdict", "", 1)
    return [
        style.handle("real axis, measured", marker="o", color=style.BLUE, markersize=3, linestyle="none"),
        style.handle("real axis, of the claim", marker="o", color=style.BLUE, fillstyle="none", linestyle="none"),
        style.handle("imaginary axis, measured", marker="^", color=style.PURPLE, markersize=3, linestyle="none"),
        style.handle("imaginary, of the claim", marker="^", color=style.PURPLE, fillstyle="none", linestyle="none"),
        style.handle("the two differ", color=style.VERMILION, linewidth=2),
    ]


FIGURE = Figure(
    name="conformance",
    title="Conformance of integrators",
    kinds=("conformance",),
    caption=(
        "Above: colour is the worst of three gaps, of the recovered coefficients, of the trajectory against a plain "
        "loop, of the gradient; a cross marks a tableau of which some number does not conform. Below: the stability "
        "intervals of the libraries' own methods as measured, beside those of the tableau that the name claims, and "
        "what each turned out to be."
    ),
    paint=paint,
)
