"""Work and precision: error against evaluations of the field, classic integrators and learned fields marked apart.

`work_precision_time.py` and `work_precision_trajectory.py` draw the same rows on other axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..frame import OUTCOMES, panels, positions
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

PANELS = 18
STAR: dict[str, Any] = {
    "marker": "*",
    "markersize": 9,
    "linestyle": "none",
    "markeredgecolor": style.INK,
    "markeredgewidth": 0.5,
}
HOLLOW: dict[str, Any] = {"fillstyle": "none", "linestyle": "--"}
"""How a library's own method looks."""


@dataclass(frozen=True)
class View:
    """What the axes show: the columns of the frame and their labels. forecasts: chaotic systems have panels too."""

    work: str = "cost.f_calls"
    work_label: str = "field evaluations"
    error: str = "metrics.error"
    error_label: str = "error at the end"
    forecasts: bool = False


def paint(frame: pd.DataFrame, view: View | None = None) -> Canvas | None:
    """One panel per problem and dtype, and per chaotic system; the default view is error against evaluations."""
    view = View(forecasts=True) if view is None else view
    rows = _shown(frame, view)
    parts = [part for part in _panels(rows) if part[1]["good"].any()]
    if not parts:
        return None
    looks = _looks(rows)
    columns = 2 if len(parts) < 5 else 3
    canvas, axes = style.grid(min(len(parts), PANELS), columns=columns, height=3.0 if columns == 2 else 2.5)
    for ax, (title, part) in zip(axes, parts, strict=False):
        _panel(ax, part, view, looks)
        lost = _failures(ax, part[part["bad"]], looks)
        style.head(ax, title, _places(part) + (f" · {lost} failed" if lost else ""), min(len(parts), columns))
        forecast = part["kind"].iloc[0] == "forecast"
        ax.set(xlabel=view.work_label, ylabel="nrmse, 1 Lyapunov time" if forecast else view.error_label)
    if len(parts) > PANELS:
        canvas.suptitle(f"the first {PANELS} of {len(parts)} panels; the tables hold all", x=0.01, ha="left")
    style.legend(canvas, _handles(rows, looks))
    return canvas


def _shown(frame: pd.DataFrame, view: View) -> pd.DataFrame:
    """The rows that have a place on these axes, with `work`, `shown`, good and bad."""
    kinds = ["integration", "forecast"] if view.forecasts else ["integration"]
    rows = frame[frame["kind"].isin(kinds)].copy()
    for name in (view.work, view.error):
        if name not in rows:
            rows[name] = np.nan
    rows["work"] = rows[view.work].astype(float)
    rows["shown"] = rows[view.error].where(rows["kind"] == "integration", rows["metrics.nrmse"]).astype(float)
    carried = rows["outcome"].isin(OUTCOMES[:2])
    if view != View(forecasts=True):  # a row that was never asked for this is no failure
        rows = rows[~carried | rows[[view.work, view.error]].notna().all(axis=1)]
        carried = carried[rows.index]
    rows["good"] = carried & np.isfinite(rows["shown"]) & (rows["shown"] > 0)
    rows["bad"] = ~carried | ~np.isfinite(rows["shown"])
    rows["good"] &= rows["work"].notna()  # a library cell has no field to evaluate: neither good nor bad
    return rows


def _panels(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """By problem, and by dtype where its classic integrators ran in several; learned fields are with their own dtype,
    or where the classic ones are."""
    problem = rows["task.problem"].where(rows["task.problem"] != "", rows["task_label"])
    rows["panel"] = problem.where(rows["kind"] == "integration", rows["task_label"])
    found: list[tuple[str, pd.DataFrame]] = []
    for (kind, name), part in sorted(panels(rows, ["kind", "panel"]), key=lambda part: part[0][0] == "forecast"):
        classic = part[~part["learned"]]
        dtypes = sorted(classic.loc[classic["good"], "dtype"].unique(), reverse=True)
        if kind == "forecast" or len(dtypes) < 2:
            found.append((name, part))
            continue
        for dtype in dtypes:
            away = part["learned"] & ~part["dtype"].isin(dtypes) & (dtype == dtypes[0])
            found.append((f"{name} · {dtype}", part[(part["dtype"] == dtype) | away]))
    return found


def _looks(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour and marker of every tableau; of the libraries' own methods hollow and dashed, by place in a list."""
    names = style.by_name(rows["solver.tableau"])
    own = [name for name in names if " of " in name]
    looks: dict[str, dict[str, Any]] = {}
    for name in names:
        if name not in own:
            look = {"color": style.colour(name), "marker": style.marker(name)}
            if look in looks.values():  # two names drew the same lot: the later takes a free one
                free = ({"color": c, "marker": m} for m in style.MARKERS for c in style.PALETTE)
                look = next((pair for pair in free if pair not in looks.values()), look)
            looks[name] = look
    for place, name in enumerate(own):
        colour = style.PALETTE[place % len(style.PALETTE)]
        looks[name] = {"color": colour, "marker": style.MARKERS[place % len(style.MARKERS)], **HOLLOW}
    return looks


def _panel(ax: Any, part: pd.DataFrame, view: View, looks: dict[str, dict[str, Any]]) -> None:
    good = part[part["good"]]
    lines = ["solver.tableau", "solver.backend", "device", "dtype"]
    classic = good.loc[~good["learned"], [*lines, "setting", "work", "shown"]]  # few columns are quick to take apart
    for (tableau, backend, _, _), line in classic.groupby(lines):
        line = _middle(line)
        look = {"linestyle": _dash(backend), "linewidth": 1, "markersize": 3.5, "zorder": 3} | looks[str(tableau)]
        ax.plot(line["work"], line["shown"], **look)
    for cell, points in good[good["learned"]].groupby("solver.cell", sort=False):
        points = _middle(points)
        ax.plot(points["work"], points["shown"], **STAR, color=style.colour(str(cell)))
    if view.work == "cost.f_calls" and view.error == "metrics.error":
        _ladders(ax, good[good["learned"]])
    ax.set(xscale="log", yscale="log")
    style.log_ticks(ax)


def _ladders(ax: Any, learned: pd.DataFrame) -> None:
    """A learned field stepped by other methods and steps: a thin line of small stars a method."""
    if "curves.work_precision" not in learned:
        return
    for _, row in learned.iterrows():
        ladder = row["curves.work_precision"]
        if not isinstance(ladder, dict):
            continue
        points = pd.DataFrame({name: ladder[name] for name in ("tableau", "f_calls", "error")})
        points["error"] = pd.to_numeric(points["error"], errors="coerce")
        points = points[np.isfinite(points["error"]) & (points["error"] > 0) & (points["f_calls"] > 0)]
        for _, line in points.groupby("tableau", sort=False):
            line = line.sort_values("f_calls")
            look = STAR | {"linestyle": ":", "linewidth": 0.8, "markersize": 5, "markeredgewidth": 0.3}
            ax.plot(line["f_calls"], line["error"], **look, color=style.colour(str(row["solver.cell"])), zorder=2)


def _places(part: pd.DataFrame) -> str:
    """Where and how precisely: "cpu float64", or apart for the learned and the classic where they differ."""

    def told(rows: pd.DataFrame) -> str:
        return ", ".join(sorted({f"{d} {t}" for d, t in zip(rows["device"], rows["dtype"], strict=True)}))

    learned, classic = told(part[part["learned"]]), told(part[~part["learned"]])
    if learned and classic and learned != classic:
        return f"learned {learned}; classic {classic}"
    return learned or classic


def _middle(part: pd.DataFrame) -> pd.DataFrame:
    """Median work and error of every setting, the cheapest first."""
    if part["setting"].is_unique:
        return part.iloc[np.lexsort((part["setting"], part["work"]))]
    return part.groupby("setting")[["work", "shown"]].median().sort_values("work")


def _dash(backend: object) -> Any:
    name = str(backend)
    if "torchdiffeq" in name:
        return style.DASHES[1]
    return {"native": "-", "scipy": style.DASHES[2]}.get(name, style.DASHES[3])


def _failures(ax: Any, bad: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> int:
    """Crosses along the top: over their work where that is known, at the left edge where it is not; how many."""
    limits = ax.get_xlim()
    where = np.clip(bad["work"].where(bad["work"] > 0, limits[0]), *limits)
    names = zip(bad["solver.cell"], bad["solver.tableau"], bad["learned"], strict=True)
    colours = [style.colour(cell) if learned else looks[tableau]["color"] for cell, tableau, learned in names]
    for colour, places in positions(colours).items():
        crosses = {"marker": "x", "linestyle": "none", "markersize": 5, "clip_on": False}
        there = where.iloc[places]
        ax.plot(there, np.ones(len(there)), color=colour, transform=ax.get_xaxis_transform(), **crosses)
    ax.set_xlim(limits)
    return len(bad)


def _handles(rows: pd.DataFrame, looks: dict[str, dict[str, Any]]) -> list[Any]:
    good = rows[rows["good"]]
    classic, learned = good[~good["learned"]], good[good["learned"]]
    lost = rows[rows["bad"] & ~rows["learned"]]
    names = style.by_name([*classic["solver.tableau"], *lost["solver.tableau"]])
    handles = [style.handle(style.label(name), **looks[name]) for name in sorted(names, key=lambda n: " of " in n)]
    ours = classic[~classic["solver.tableau"].str.contains(" of ")]
    backends = {"torchdiffeq" if "torchdiffeq" in b else b for b in ours["solver.backend"]}
    if len(backends) > 1:
        handles += [style.handle(f"in {name}", linestyle=_dash(name)) for name in sorted(backends)]
    for cell in style.by_name(learned["solver.cell"]):
        handles.append(style.handle(f"{style.label(cell)} (learned)", color=style.colour(cell), **STAR))
    if rows["bad"].any():
        handles.append(style.handle("failed", marker="x", linestyle="none", markersize=5))
    return handles


FIGURE = Figure(
    name="work_precision",
    title="Work and precision",
    kinds=("forecast", "integration"),
    caption=(
        "Error against evaluations of the field, lower left is better. Lines: classic integrators of the problem's "
        "own field, one point a step or tolerance; hollow and dashed: a library's own method. Stars: learned fields, "
        "dotted where one is stepped by several methods and steps. Crosses at the top: runs without a result, at their "
        "cost."
    ),
    paint=paint,
)
