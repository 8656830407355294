"""Parameters on paper against memory length, one line an architecture, with what training needed on the same axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..ladder import local_power, parameter_counts, parameter_ladder
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

SPACING = 9.0
"""Points between two names beside the lines."""

_MARKS = {"solved": "o", "more than": "^", "at most": "v"}
_CLASSES = 8
"""Of the copying problem, where its row does not say."""


def paint(frame: pd.DataFrame) -> Canvas | None:
    """One panel per data length, device and dtype."""
    counts = parameter_counts(frame)
    counts = counts[counts["parameters"].notna()]
    if counts.empty:
        return None
    panels = list(counts.groupby(["data length", "device", "dtype"], sort=True))
    canvas, axes = style.grid(len(panels), columns=2, height=3.3)
    looks = _looks(counts["cell"].unique())
    trained = _trained(frame)
    drawn = {cell.removesuffix("-field") for cell in counts["cell"]}
    trained = trained[trained["cell"].map(lambda cell: str(cell).removesuffix("-field") in drawn)]
    marked: list[pd.DataFrame] = []
    for ax, ((p, device, dtype), part) in zip(axes, panels, strict=True):
        ends = [_line(ax, str(cell), line, looks[str(cell)]) for cell, line in part.groupby("cell", sort=False)]
        points = trained[trained["data length"] == p]
        _points(ax, points)
        marked.append(points)
        ax.set(xscale="log", yscale="log", xlabel="memory length t, inputs", ylabel="parameters")
        style.head(ax, f"inputs of p = {p} numbers", f"{device} · {dtype}", panels=2)
        lengths = sorted(part["memory length"].unique())
        ax.set_xticks(lengths, [f"{n:g}" for n in lengths], minor=False)
        ax.xaxis.set_minor_locator(_nothing())
        span = max(lengths[-1] / lengths[0], 2.0)
        first = min(lengths[0], *points["memory length"], lengths[-1])
        ax.set_xlim(first / span**0.06, lengths[-1] * span**0.55)
        style.log_ticks(ax, "y")
        _names(ax, ends)
    style.legend(canvas, _legend(pd.concat(marked)))
    return canvas


def _looks(cells: Iterable[str]) -> dict[str, dict[str, Any]]:
    """By cell its colour and, where several share one, a line style of its own."""
    found: dict[str, dict[str, Any]] = {}
    used: dict[str, int] = {}
    for cell in sorted(cells):
        colour = _colour(cell)
        found[cell] = {"color": colour, "linestyle": style.DASHES[used.get(colour, 0) % len(style.DASHES)]}
        used[colour] = used.get(colour, 0) + 1
    return found


def _colour(cell: str) -> str:
    return style.colour(cell.removesuffix("-field"))


def _line(ax: Axes, cell: str, line: pd.DataFrame, look: Mapping[str, Any]) -> tuple[str, float, float, str]:
    """Draw one architecture; its name with the local power of t, and where its line ends."""
    line = line.sort_values("memory length")
    x, y = line["memory length"].to_numpy(float), line["parameters"].to_numpy(float)
    ax.plot(x, y, **look)
    fit = local_power(x, y)
    power = f"  $t^{{{fit.exponent:.1f}}}$" if fit else ""
    return style.plain(style.label(cell.removesuffix("-field"))) + power, float(x[-1]), float(y[-1]), look["color"]


def _names(ax: Axes, ends: list[tuple[str, float, float, str]]) -> None:
    """The names beside the ends of their lines, moved apart; a thin line leads from an end to its name."""
    low, high = ax.get_ylim()
    low, high = math.log(low), math.log(high)
    height = 72 * 3.3 * 0.72  # of a panel, about, in points
    ends = sorted(ends, key=lambda end: end[2])
    wanted = np.array([height * (math.log(y) - low) / (high - low) for _, _, y, _ in ends])
    placed = _apart(wanted, SPACING)
    for (name, x, y, colour), target, place in zip(ends, wanted, placed, strict=True):
        ax.annotate(
            name,
            (x, y),
            xytext=(16, place - target),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=7,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 1},
        )


def _apart(wanted: np.ndarray[Any, Any], least: float) -> np.ndarray[Any, Any]:
    """Increasing places at least so far apart, close to the wanted ones."""
    placed = wanted.astype(float).copy()
    for _ in range(200):
        gaps = np.diff(placed)
        if (gaps >= least - 1e-6).all():
            break
        for i in np.flatnonzero(gaps < least):
            missing = (least - (placed[i + 1] - placed[i])) / 2
            if missing > 0:
                placed[i] -= missing
                placed[i + 1] += missing
    return placed


def _trained(frame: pd.DataFrame) -> pd.DataFrame:
    """The ladder of trained sizes with the length p of what each task asks to remember."""
    ladder = parameter_ladder(frame)
    ladder["data length"] = [_data_length(str(task)) for task in ladder["task"]]
    return ladder


def _data_length(task: str) -> float:
    """The classes of copying; unknown for another task: adding asks for two of the numbers, however many there are."""
    name, *entries = task.split(" · ")
    stated = [float(entry.removeprefix("classes=")) for entry in entries if entry.startswith("classes=")]
    return next(iter(stated), _CLASSES) if name == "copying" else math.nan


def _points(ax: Axes, points: pd.DataFrame) -> None:
    for state, mark in _MARKS.items():
        for cell, part in points[points["state"] == state].groupby("cell", sort=False):
            face = _colour(str(cell)) if state == "solved" else "none"
            look: dict[str, Any] = {"color": _colour(str(cell)), "markerfacecolor": face, "linestyle": "none"}
            ax.plot(part["memory length"], part["parameters"], marker=mark, markersize=5, **look)


def _legend(points: pd.DataFrame) -> list[Any]:
    """What the marks are, and the colours of the cells that were trained."""
    texts = {
        "solved": "trained: smallest size that solves",
        "more than": "trained: no size tried solves",
        "at most": "trained: smallest tried solves",
    }
    hollow = {"solved": style.INK, "more than": "none", "at most": "none"}
    marks = [
        style.handle(texts[state], marker=_MARKS[state], linestyle="none", markerfacecolor=hollow[state])
        for state in texts
        if (points["state"] == state).any()
    ]
    cells = style.by_name(points["cell"])
    dots = {"marker": "o", "linestyle": "none"}
    return marks + [style.handle(style.label(c.removesuffix("-field")), color=_colour(c), **dots) for c in cells]


def _nothing() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


FIGURE = Figure(
    name="parameters",
    title="Parameters on paper, and as trained",
    kinds=("parameters", "sequence"),
    caption=(
        "Lines: trained numbers of the smallest recurrence with room for t inputs of p numbers, by architecture, with "
        "the power of t over the three longest. Marks, in the colours of their cells: the smallest trained model of "
        "those tried that solves copying of symbols of p classes, readout included, at the memory length of the task. "
        "Where most of that length is a delay, few of the inputs are asked for, and a mark can lie below its line. "
        "Hollow marks are bounds."
    ),
    paint=paint,
)
