"""The n-t plane: every cell at its nested nonlinearity and its memory order, both measured."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import style
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

SIZE, LINE, CHARACTER = 6.8, 0.118, 0.051
"""Points; inches of a line, and of a character."""
MARGIN, ROOM, PAD = 0.55, 6.6, 0.2
Place = tuple[float, float]


def paint(frame: pd.DataFrame) -> Canvas | None:
    """Columns are the values of n that occur, rows those of t, each as wide and as high as its names ask for."""
    found = places(frame)
    if not found:
        return None
    from matplotlib.figure import Figure as Canvas

    columns, rows = sorted({n for n, _ in found}), sorted({t for _, t in found})
    wrapped, widths = _wrapped(found, columns)
    heights = [max(len(wrapped.get((n, t), [])) for n in columns) * LINE + 0.34 for t in rows]
    left = {n: sum(widths[:i]) for i, n in enumerate(columns)}
    base = {t: sum(heights[:i]) for i, t in enumerate(rows)}
    width, height = max(sum(widths), 3.0), sum(heights)
    canvas = Canvas(figsize=(max(width + MARGIN + 0.05, style.WIDTH), height + 0.6))
    full = canvas.get_figwidth(), canvas.get_figheight()
    ax = canvas.add_axes((MARGIN / full[0], 0.45 / full[1], (full[0] - MARGIN - 0.05) / full[0], height / full[1]))
    ax.set(xlim=(0, full[0] - MARGIN - 0.05), ylim=(0, height))
    for (n, t), names in wrapped.items():
        _point(ax, left[n] + 0.1, base[t] + 0.12, names)
    ax.set_xticks([left[n] + 0.1 for n in columns], [_count(n) for n in columns])
    ax.set_yticks([base[t] + 0.12 for t in rows], [_count(t) for t in rows])
    if math.inf in left and len(columns) > 1:
        ax.axvline(left[math.inf] - 0.03, color=style.GREY, linewidth=0.8, linestyle=(0, (2, 2)))
    ax.set_xlabel("n: nested evaluations of the nonlinearity in one step (∞: the stages are solved for)")
    ax.set_ylabel("t: memory order")
    return canvas


def places(frame: pd.DataFrame) -> dict[Place, list[str]]:
    """By (n, t) the names of the cells there, with the method where a cell was measured with several."""
    rows = frame[(frame["kind"] == "stages") & (frame["solver.cell"] != "true-field")]
    rows = rows[rows["metrics.nesting_depth"].notna() & rows["metrics.memory_order"].notna()]
    several = rows.groupby("solver.cell")["solver.tableau"].nunique()
    found: dict[Place, list[str]] = {}
    for line in rows.drop_duplicates("setting").to_dict("records"):
        cell, tableau = str(line["solver.cell"]), str(line["solver.tableau"])
        name = style.label(cell.removesuffix("-field"))
        if several[cell] > 1:
            name += f" ·\N{NO-BREAK SPACE}{style.label(tableau)}"
        held = found.setdefault((float(line["metrics.nesting_depth"]), float(line["metrics.memory_order"])), [])
        if name not in held:
            held.append(name)
    return {place: sorted(names, key=str.lower) for place, names in found.items()}


def _wrapped(found: Mapping[Place, list[str]], columns: list[float]) -> tuple[dict[Place, list[str]], list[float]]:
    """The names as lines that keep all columns together within the page, and the columns' widths in inches."""
    for most in (26, 22, 18, 15, 12, 10):
        lines = {place: [part for name in names for part in _lines(name, most)] for place, names in found.items()}
        widths = [
            max(len(line) for (n, _), names in lines.items() if n == column for line in names) * CHARACTER + PAD
            for column in columns
        ]
        if sum(widths) <= ROOM:
            break
    return lines, widths


def _lines(name: str, most: int) -> list[str]:
    parts = textwrap.wrap(name, most, break_long_words=False) or [""]
    return [parts[0], *(f"  {part}" for part in parts[1:])]


def _point(ax: Axes, x: float, y: float, names: list[str]) -> None:
    ax.plot([x], [y], "o", color=style.BLUE, markersize=5, zorder=3)
    for place, name in enumerate(reversed(names)):
        look: dict[str, Any] = {"va": "baseline", "fontsize": SIZE, "parse_math": False}
        ax.text(x - 0.04, y + 0.085 + place * LINE, name.replace("\n", " "), **look)


def _count(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:g}"


FIGURE = Figure(
    name="plane",
    title="The n-t plane",
    kinds=("stages",),
    caption=(
        "Every cell at its measured nesting depth n (to the right: more nested nonlinearity) and memory order t "
        "(upwards: more of the past). Names above a point share its place; where a cell was measured with several "
        "methods, the method is named, which shows a family of tableaux along one row. Only values that occur have a "
        "column or a row."
    ),
    paint=paint,
)
