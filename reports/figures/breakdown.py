"""Where training breaks down: outcome and gradient over step, tableau and dtype, with the steps that theory allows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..frame import OUTCOMES, TRAINED, options, panels
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PANELS = 12
ROW = 0.17
"""Inches a line of tiles."""
EXTREME = 6.0
"""Powers of ten at which the colour of a gradient ratio is full."""
LETTERS: Mapping[str, str] = {name: name[0].upper() for name in OUTCOMES}
_DTYPES = ("float64", "float32", "bfloat16", "float16")
_LIMITS = {"certified": "-", "spectral": (0, (1.2, 1.2))}
_DARK = ("converged", "diverged", "failed", "memory")
BLACK, WHITE = "#000000", "#fefefe"
"""Of what stands on a tile, whose colour does not follow the page's theme."""


@dataclass(frozen=True)
class Line:
    """A line of tiles: a tableau and a dtype, and its runs."""

    tableau: str
    dtype: str
    runs: pd.DataFrame


def paint(frame: pd.DataFrame) -> Canvas | None:
    """Two panels (outcomes, gradients) per task, cell, options and device; of the tableaux with two steps or more."""
    if "solver.step" not in frame:
        return None
    rows = frame[frame["learned"].astype(bool) & frame["kind"].isin(TRAINED) & frame["solver.step"].notna()]
    rows = rows.assign(options=rows["setting"].map(options(rows)))
    keys = ["task_label", "solver.cell", "options", "device"]
    steps = rows.groupby([*keys, "solver.tableau"])["solver.step"].transform("nunique")
    parts = panels(rows[steps > 1], keys)
    if not parts:
        return None
    from matplotlib.figure import Figure as Canvas

    many = rows["device"].nunique() > 1
    drawn = [(key, _lines(part)) for key, part in parts[:PANELS]]
    heights = [ROW * len(lines) + (0.78 if key[2] or many else 0.62) for key, lines in drawn]
    canvas = Canvas(figsize=(style.WIDTH, sum(heights)), layout="constrained")
    axes = canvas.subplots(len(drawn), 2, squeeze=False, height_ratios=heights)
    limits: set[str] = set()
    for (left, right), ((task, cell, other, device), lines) in zip(axes, drawn, strict=True):
        grid = sorted({float(s) for line in lines for s in line.runs["solver.step"]})
        for ax, tile in ((left, _outcome), (right, _gradient)):
            for place, line in enumerate(lines):
                for step, runs in line.runs.groupby("solver.step"):
                    tile(ax, grid.index(float(str(step))), place, runs)
                limits |= _limits(ax, place, line.runs, grid)
            _axes(ax, lines, grid)
        small = " · ".join(text for text in (other, device if many else "") if text)
        style.head(left, f"{style.label(cell)} · {task}", small, 2)
        style.head(right, "gradient ratio before training, log10", small, 2)
        _names(left, lines)
        right.set_yticklabels([])
    if len(parts) > PANELS:
        canvas.suptitle(f"the first {PANELS} of {len(parts)} panels; the tables hold all", x=0.01, ha="left")
    style.legend(canvas, _legend([line for _, lines in drawn for line in lines], limits))
    return canvas


def _lines(part: pd.DataFrame) -> list[Line]:
    def precision(dtype: str) -> tuple[int, str]:
        return (_DTYPES.index(dtype) if dtype in _DTYPES else len(_DTYPES), dtype)

    return [
        Line(tableau, dtype, part[(part["solver.tableau"] == tableau) & (part["dtype"] == dtype)])
        for tableau in style.by_name(part["solver.tableau"])
        for dtype in sorted(part.loc[part["solver.tableau"] == tableau, "dtype"].unique(), key=precision)
    ]


def _outcome(ax: Axes, x: int, y: int, runs: pd.DataFrame) -> None:
    """A tile divided by outcome, with the first letter of each and its number of runs."""
    counts = [(name, int((runs["outcome"] == name).sum())) for name in OUTCOMES]
    counts = [(name, count) for name, count in counts if count]
    place = x - 0.5
    for name, count in counts:
        share = count / len(runs)
        _tile(ax, place, y, share, style.OUTCOME_COLOURS[name])
        text = LETTERS[name] + (str(count) if len(counts) > 1 else "")
        _write(ax, place + share / 2, y, text, WHITE if name in _DARK else BLACK)
        place += share


def _gradient(ax: Axes, x: int, y: int, runs: pd.DataFrame) -> None:
    """The median of log10 of the gradient ratio before training, as a colour and as a number."""
    ratios = runs["metrics.gradient_ratio_before"].dropna().to_numpy(float)
    if not len(ratios):
        return
    with np.errstate(divide="ignore"):
        power = float(np.median(np.log10(ratios)))
    if math.isnan(power):
        return
    share = max(-1.0, min(1.0, power / EXTREME))
    ends = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in ("#f4f2ee", _end(share))]) / 255
    colour = tuple(ends[0] + abs(share) * (ends[1] - ends[0]))
    _tile(ax, x - 0.5, y, 1.0, colour)
    text = f"{power:+.0f}" if math.isfinite(power) else "+∞" if power > 0 else "−∞"
    _write(ax, x, y, "0" if text in ("+0", "-0") else text.replace("-", "−"), WHITE if abs(share) > 0.7 else BLACK)


def _end(share: float) -> str:
    return style.VERMILION if share > 0 else style.BLUE


def _tile(ax: Axes, left: float, y: int, width: float, colour: Any) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((left, y - 0.5), width, 1.0, facecolor=colour, edgecolor=WHITE, linewidth=0.5))


def _write(ax: Axes, x: float, y: float, text: str, colour: str) -> None:
    ax.text(x, y, text, color=colour, fontsize=6, ha="center", va="center_baseline", parse_math=False)


def _limits(ax: Axes, y: int, runs: pd.DataFrame, grid: Sequence[float]) -> set[str]:
    """Mark the certified and the spectral step in a line of tiles; what was marked."""
    marked = set()
    steps = {name: float(runs[f"metrics.{name}_step_before"].median()) for name in _LIMITS}
    allowed = {name: sum(s <= step * (1 + 1e-12) for s in grid) for name, step in steps.items() if step > 0}
    apart = 1.5 if len(allowed) == len(_LIMITS) and len(set(allowed.values())) == 1 else 0.0
    for name, within in allowed.items():
        dashes = _LIMITS[name]
        edge = "<" if within == 0 else ">" if within == len(grid) else ""
        if edge:
            marked.add(f"{name} {edge}")
            away = 7.0 if name == "certified" else 15.0
            x, points = (len(grid) - 0.5, away) if edge == ">" else (-0.5, -away)
            face = style.INK if name == "certified" else "none"
            look: dict[str, Any] = {"color": style.INK, "markerfacecolor": face, "markersize": 3.8, "clip_on": False}
            ax.plot([x], [y], edge, **look, zorder=5, transform=_shifted(ax, points))
            continue
        marked.add(name)
        place = _shifted(ax, -apart if name == "certified" else apart)
        ends = ([within - 0.5, within - 0.5], [y - 0.5, y + 0.5])
        ax.plot(*ends, color=WHITE, linewidth=2.6, zorder=4, solid_capstyle="butt", transform=place)
        ax.plot(*ends, color=BLACK, linewidth=1.3, zorder=5, solid_capstyle="butt", linestyle=dashes, transform=place)
    return marked


def _shifted(ax: Axes, points: float) -> Any:
    """The axes' coordinates, so many points to the right."""
    from matplotlib.transforms import offset_copy

    return offset_copy(ax.transData, ax.get_figure(root=True), x=points, units="points")


def _axes(ax: Axes, lines: Sequence[Line], grid: Sequence[float]) -> None:
    ax.set(xlim=(-0.5, len(grid) - 0.5), ylim=(len(lines) - 0.5, -0.5), xlabel="step h")
    ax.set_xticks(range(len(grid)), [f"{step:g}" for step in grid], rotation=90 if len(grid) > 9 else 0)
    ax.set_yticks(range(len(lines)), [line.dtype for line in lines], fontsize=6.5)
    ax.tick_params(length=0)
    ax.tick_params(axis="y", pad=20)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    for place in range(1, len(lines)):
        if lines[place].tableau != lines[place - 1].tableau:
            ax.axhline(place - 0.5, color=style.INK, linewidth=0.8, xmin=-0.02, clip_on=False, zorder=6)


def _names(ax: Axes, lines: Sequence[Line]) -> None:
    """The tableaux left of the dtypes, each at the middle of its lines."""
    for name in dict.fromkeys(line.tableau for line in lines):
        places = [place for place, line in enumerate(lines) if line.tableau == name]
        look: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        text = style.plain(style.short(style.label(name), 18))
        ax.annotate(text, (0, sum(places) / len(places)), xytext=(-60, 0), ha="right", va="center", fontsize=7, **look)


def _legend(lines: Sequence[Line], limits: set[str]) -> list[Any]:
    from matplotlib.patches import Patch

    seen = [name for name in OUTCOMES if any((line.runs["outcome"] == name).any() for line in lines)]
    handles: list[Any] = [Patch(color=style.OUTCOME_COLOURS[n], label=f"{LETTERS[n]}: {n}") for n in seen]
    handles += [style.handle(f"{n} step", linestyle=_LIMITS[n], linewidth=1.5) for n in _LIMITS if n in limits]
    for edge, text in ((">", "every step tried"), ("<", "below all tried")):
        for name, face in (("certified", style.INK), ("spectral", "none")):
            if f"{name} {edge}" in limits:
                look = {"marker": edge, "linestyle": "none", "markersize": 3.8, "markerfacecolor": face}
                handles.append(style.handle(f"{name}: {text}", **look))
    return handles


FIGURE = Figure(
    name="breakdown",
    title="Outcomes and gradients against the step",
    kinds=("sequence", "stability"),
    caption=(
        "Left: runs by outcome for every step h (across), tableau and dtype (down), each tile divided by the outcomes"
        " of its runs with the first letter of each; every run is counted, failed ones included. Right: norm of dL/dy"
        " at the first step over that at the last, before training, median, in powers of ten: below zero gradients "
        "vanish, above it they explode. Lines part the steps that a limit allows (left of it) from the others: "
        "certified = nothing can grow, whatever the inputs; spectral = the sampled eigenvalues stay in the region of "
        "stability; both before training. A full arrow to the right: every step tried, or every step at all; no line:"
        " nothing is certified, or it was not asked."
    ),
    paint=paint,
)
