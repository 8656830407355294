"""Work and precision: error against evaluations of the field, classic integrators and learned fields marked apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..frame import OUTCOMES, panels
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

PANELS = 18
_STAR: dict[str, Any] = {
    "marker": "*",
    "markersize": 9,
    "linestyle": "none",
    "markeredgecolor": style.INK,
    "markeredgewidth": 0.5,
}


def paint(frame: pd.DataFrame) -> Canvas | None:
    """One panel per problem: end error of initial value problems, nrmse over one Lyapunov time of chaotic systems."""
    rows = frame[frame["kind"].isin(["integration", "forecast"])].copy()
    rows["shown"] = rows["metrics.error"].where(rows["kind"] == "integration", rows["metrics.nrmse"])
    rows["good"] = rows["outcome"].isin(OUTCOMES[:2]) & np.isfinite(rows["shown"]) & (rows["shown"] > 0)
    rows["bad"] = ~rows["outcome"].isin(OUTCOMES[:2]) | ~np.isfinite(rows["shown"].astype(float))
    rows["good"] &= rows["cost.f_calls"].notna()  # a library cell has no field to evaluate: neither good nor bad
    parts = [(key, part) for key, part in panels(rows, ["kind", "task_label"]) if part["good"].any()]
    parts.sort(key=lambda part: part[0][0] == "forecast")
    if not parts:
        return None
    canvas, axes = style.grid(min(len(parts), PANELS), columns=3, height=2.5)
    for ax, ((kind, task), part) in zip(axes, parts, strict=False):
        good = part[part["good"]]
        lines = ["solver.tableau", "solver.backend", "device", "dtype"]
        for (tableau, backend, _, _), line in good[~good["learned"]].groupby(lines):
            line = _middle(line)
            look: dict[str, Any] = {"color": style.colour(str(tableau)), "marker": style.marker(str(tableau))}
            look |= {"linestyle": _dash(backend), "linewidth": 1, "markersize": 3.5, "zorder": 3}
            ax.plot(line["cost.f_calls"], line["shown"], **look)
        for cell, points in good[good["learned"]].groupby("solver.cell", sort=False):
            points = _middle(points)
            ax.plot(points["cost.f_calls"], points["shown"], **_STAR, color=style.colour(str(cell)))
        ax.set(xscale="log", yscale="log")
        style.log_ticks(ax)
        lost = _failures(ax, part[part["bad"]])
        style.head(ax, task, _places(part) + (f" · {lost} failed" if lost else ""), min(len(parts), 3))
        ylabel = "error at the end" if kind == "integration" else "nrmse, 1 Lyapunov time"
        ax.set(xlabel="field evaluations", ylabel=ylabel)
    if len(parts) > PANELS:
        canvas.suptitle(f"the first {PANELS} of {len(parts)} panels; the tables hold all", x=0.01, ha="left")
    style.legend(canvas, _handles(rows))
    return canvas


def _places(part: pd.DataFrame) -> str:
    """Where and how precisely: "cpu float64", or apart for the learned and the classic where they differ."""

    def told(rows: pd.DataFrame) -> str:
        return ", ".join(sorted({f"{d} {t}" for d, t in zip(rows["device"], rows["dtype"], strict=True)}))

    learned, classic = told(part[part["learned"]]), told(part[~part["learned"]])
    if learned and classic and learned != classic:
        return f"learned {learned}; classic {classic}"
    return learned or classic


def _middle(part: pd.DataFrame) -> pd.DataFrame:
    """Median cost and error of every setting, the cheapest first."""
    return part.groupby("setting")[["cost.f_calls", "shown"]].median().sort_values("cost.f_calls")


def _dash(backend: object) -> Any:
    return "-" if backend == "native" else style.DASHES[2] if backend == "scipy" else style.DASHES[1]


def _failures(ax: Any, bad: pd.DataFrame) -> int:
    """Crosses along the top: over their cost where that is known, at the left edge where it is not; how many."""
    limits = ax.get_xlim()
    for _, line in bad.iterrows():
        name = line["solver.cell"] if line["learned"] else line["solver.tableau"]
        cost = line["cost.f_calls"] if line["cost.f_calls"] > 0 else limits[0]
        where = min(max(cost, limits[0]), limits[1])
        ax.plot(
            where, 1, "x", color=style.colour(name), transform=ax.get_xaxis_transform(), markersize=5, clip_on=False
        )
    ax.set_xlim(limits)
    return len(bad)


def _handles(rows: pd.DataFrame) -> list[Any]:
    good = rows[rows["good"]]
    classic, learned = good[~good["learned"]], good[good["learned"]]
    handles = [
        style.handle(style.label(name), color=style.colour(name), marker=style.marker(name))
        for name in style.by_name(classic["solver.tableau"])
    ]
    kinds = {"native": "native", "scipy": "scipy"}
    backends = sorted({kinds.get(b, "torchdiffeq" if "torchdiffeq" in b else b) for b in classic["solver.backend"]})
    if len(backends) > 1:
        handles += [style.handle(f"in {name}", linestyle=_dash(name)) for name in backends]
    for cell in style.by_name(learned["solver.cell"]):
        handles.append(style.handle(f"{style.label(cell)} (learned)", color=style.colour(cell), **_STAR))
    if rows["bad"].any():
        handles.append(style.handle("failed", marker="x", linestyle="none", markersize=5))
    return handles


FIGURE = Figure(
    name="work_precision",
    title="Work and precision",
    caption=(
        "Error against evaluations of the field, lower left is better. Lines: classic integrators of the problem's "
        "own field, one point a step or tolerance. Stars: learned fields. Crosses at the top: runs without a result, "
        "at their cost."
    ),
    paint=paint,
)
