"""Valid prediction time against the data: noise x size x sampling step, a line per learner."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import style
from ..grids import AXES, grid_lines
from ..limits import Limits, draw, handles, limits_of
from ..pieces import Figure
from ..rungs import VALID

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_HEADS = {"noise": "noise, σ", "points": "training points", "every": "steps dt in a sample"}
MOST_COLUMNS = 4


def paint(frame: pd.DataFrame) -> Canvas | None:
    """A row per system and noise, a column per sampling step, the size of the data along x, where all three vary; what
    does not vary takes no room. Points at equal distances, moved a little apart by learner; a cross: no result."""
    table = grid_lines(frame)
    if table.empty or not table[f"{VALID} median"].notna().any():
        return None
    from matplotlib.figure import Figure as Canvas

    table = table.assign(points=table["points"].fillna(0.0))  # a failed run does not say how many it had by default
    counts = {a: max(part[a].nunique() for _, part in table.groupby("system")) for a in AXES}
    along = "points" if counts["points"] > 1 else "noise" if counts["noise"] > 1 else "every"
    down, across = [a for a in ("noise", "points", "every") if a != along]
    rows = [(s, v) for s, part in table.groupby("system", sort=False) for v in sorted(part[down].unique(), key=_key)]
    columns = sorted(table[across].unique(), key=_key)[:MOST_COLUMNS]
    canvas = Canvas(
        figsize=(style.WIDTH * min(1.0, 0.3 + 0.3 * len(columns)), 1.55 * len(rows) + 0.4), layout="constrained"
    )
    axes = canvas.subplots(len(rows), len(columns), squeeze=False, sharey=True)
    looks = _looks(table)
    limits: list[Limits] = []
    for line, (system, value) in zip(axes, rows, strict=True):
        part = table[(table["system"] == system) & _equal(table[down], value)]
        limits.append(limits_of(frame, frame[frame["setting"].isin(part["setting"])]))
        for ax, other in zip(line, columns, strict=True):
            _panel(ax, part[_equal(part[across], other)], along, looks)
            parts = [str(system), *(f"{a} {v:g}" for a, v in ((down, value), (across, other)) if counts[a] > 1)]
            ax.set_title(style.plain(" · ".join(parts)), fontsize=7.5)
        line[0].set_ylabel("valid time")
    axes[0][0].set_yscale("log")
    for line, limit in zip(axes, limits, strict=True):
        for ax in line:
            draw(ax, limit, "y")
    for ax in axes[-1]:
        ax.set_xlabel(_HEADS[along])
    _ticks(axes[0][0])
    marks = [style.handle(text, **look) for text, look in looks.values()]
    if (table["seeds"] == 0).any():
        marks.append(style.handle("no result", marker="x", linestyle="none"))
    style.legend(canvas, [*marks, *handles(limits)])
    return canvas


def _ticks(ax: Axes) -> None:
    from matplotlib.ticker import NullFormatter

    low, high = ax.get_ylim()
    ticks = [t for t in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0) if low <= t <= high]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.yaxis.set_minor_formatter(NullFormatter())


def _key(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _equal(column: pd.Series[Any], value: float) -> pd.Series[Any]:
    return column.isna() if math.isnan(value) else column == value


def _looks(table: pd.DataFrame) -> dict[str, tuple[str, dict[str, Any]]]:
    """By solver, text and look; solvers of one cell differ by line style."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    used: dict[str, int] = {}
    mixed = [c for c in ("device", "dtype") if table[c].nunique() > 1]
    for line in table.drop_duplicates("solver id").to_dict("records"):
        key = line["solver id"]
        if key in found:
            continue
        cell = line["cell"]
        place = used[cell] = used.get(cell, -1) + 1
        parts = [
            line["rung"],
            style.label(line["tableau"]) if line["tableau"] else "",
            line["options"],
            *(line[c] for c in mixed),
        ]
        look = {
            "color": style.colour(cell),
            "marker": style.marker(cell),
            "linestyle": style.DASHES[place % len(style.DASHES)],
        }
        found[key] = (" · ".join(str(p) for p in parts if p), look)
    return found


def _panel(ax: Axes, part: pd.DataFrame, along: str, looks: dict[str, tuple[str, dict[str, Any]]]) -> None:
    ticks = sorted(part[along].unique(), key=_key)
    place = {value: i for i, value in enumerate(ticks)}
    for number, (key, (_, look)) in enumerate(looks.items()):
        own = part[part["solver id"] == key].sort_values(along)
        shift = 0.09 * (number - (len(looks) - 1) / 2)
        x = [place[value] + shift for value in own[along]]
        middle, low, high = (own[f"{VALID}{end} median"].to_numpy(float) for end in ("", "_q25", "_q75"))
        ax.plot(x, middle, **look)
        ax.vlines(x, low, high, color=look["color"], linewidth=1.0, alpha=0.6)
        lost = [a for a, value in zip(x, middle, strict=True) if math.isnan(value)]
        if lost:  # an empty line has a strange extent
            ax.plot(
                lost, [0.03] * len(lost), "x", color=look["color"], transform=ax.get_xaxis_transform(), clip_on=False
            )
    ax.set_xticks(range(len(ticks)), [f"{t:g}" if t or along != "points" else "default" for t in ticks])
    ax.set_xlim(-0.5, len(ticks) - 0.5)


FIGURE = Figure(
    name="data_grid",
    title="Forecasts by noise, size of the data and sampling step",
    kinds=("ceiling", "forecast"),
    caption=(
        "Median valid prediction time in Lyapunov times (mark) with quartiles over initial conditions (line), medians "
        "over seeds. every: so many sampling steps dt of the system lie between two points that a learner sees; noise: "
        "on the training data, in standard deviations of the attractor."
    ),
    paint=paint,
)
