"""Growth of gradients per step: what the spectrum predicts against what the product of the Jacobians does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PANELS = 12
ROUNDING = 1e-9
"""Growth up to this is none: on the boundary |R| is known to rounding only."""


def paint(frame: pd.DataFrame) -> Canvas | None:
    """One panel a tableau; one point a run before training, and one after."""
    rows = frame[frame["kind"] == "stability"]
    both = [rows[f"metrics.predicted_growth_{w}"].notna() & rows[f"metrics.measured_growth_{w}"].notna() for w in _WHEN]
    rows = rows[both[0] | both[1]]
    if rows.empty:
        return None
    names = style.by_name(rows["solver.tableau"])
    shown = names[:PANELS]
    canvas, axes = style.grid(len(shown), columns=2, height=2.9)
    looks = _looks(rows["solver.cell"])
    for ax, name in zip(axes, shown, strict=True):
        part = rows[rows["solver.tableau"] == name]
        told = []
        for when, hollow in _WHEN.items():
            calm = _cloud(ax, part, when, hollow, looks)
            if len(calm):
                told.append(f"{int((calm > ROUNDING).sum())} of {len(calm)} {when}")
        style.head(ax, style.label(name), f"stable by the spectrum, yet growing: {', '.join(told)}" if told else "", 2)
        _frame(ax)
    handles = [style.handle(style.label(_name(c)), **look, linestyle="none") for c, look in looks.items()]
    round_ = {"color": style.GREY, "marker": "o", "linestyle": "none"}
    handles.append(style.handle("hollow: before training", **round_, markerfacecolor="none"))
    handles.append(style.handle("filled: after", **round_))
    handles.append(style.handle("predicted = measured", color=style.INK, linewidth=0.8))
    if len(names) > PANELS:
        canvas.suptitle(f"the first {PANELS} of {len(names)} panels; the tables hold all", x=0.01, ha="left")
    style.legend(canvas, handles)
    return canvas


_WHEN = {"before": True, "after": False}


def _name(cell: str) -> str:
    return cell.removesuffix("-field")


def _looks(cells: Iterable[str]) -> dict[str, dict[str, Any]]:
    """By cell its colour and marker, the next free marker where another cell has both."""
    found: dict[str, dict[str, Any]] = {}
    for cell in style.by_name(cells):
        colour, first = style.colour(_name(cell)), style.MARKERS.index(style.marker(_name(cell)))
        turned = [*style.MARKERS[first:], *style.MARKERS[:first]]
        free = [m for m in turned if {"color": colour, "marker": m} not in found.values()]
        found[cell] = {"color": colour, "marker": (free or turned)[0]}
    return found


def _cloud(
    ax: Axes, part: pd.DataFrame, when: str, hollow: bool, looks: Mapping[str, Mapping[str, Any]]
) -> np.ndarray[Any, Any]:
    """Draw the runs; the measured growth of those whose predicted growth is not above zero."""
    calm = []
    for cell, group in part.groupby("solver.cell", sort=False):
        x = group[f"metrics.predicted_growth_{when}"].to_numpy(float)
        y = group[f"metrics.measured_growth_{when}"].to_numpy(float)
        keep = np.isfinite(x) & np.isfinite(y)
        look = dict(looks[str(cell)])
        face = "none" if hollow else look["color"]
        ax.plot(x[keep], y[keep], **look, linestyle="none", markerfacecolor=face, markersize=3.6, markeredgewidth=0.8)
        calm.append(y[keep & (x <= ROUNDING)])
    return np.concatenate(calm) if calm else np.zeros(0)


def _frame(ax: Axes) -> None:
    """Equal scales with the diagonal, and the corner in which the spectrum promises what does not hold."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.yaxis.set_major_locator(MaxNLocator(6))
    low = min(ax.get_xlim()[0], ax.get_ylim()[0], -0.1)
    high = max(ax.get_xlim()[1], ax.get_ylim()[1], 0.1)
    ax.plot([low, high], [low, high], color=style.INK, linewidth=0.8, zorder=1)
    ax.axhline(0, color=style.INK, linewidth=0.4)
    ax.axvline(0, color=style.INK, linewidth=0.4)
    ax.fill_between([low, 0], 0, high, color=style.GREY, alpha=0.12, linewidth=0, zorder=0)
    ax.set(xlim=(low, high), ylim=(low, high), xlabel="predicted growth per step", ylabel="measured growth per step")


FIGURE = Figure(
    name="growth",
    title="Growth per step, predicted and measured",
    kinds=("stability",),
    caption=(
        "Natural logarithm of the growth per step. Predicted: mean over the steps of log max |R(h lambda)|, lambda "
        "the eigenvalues of df/dy; measured: of the 2-norm of the product of the step's Jacobians along a test "
        "sequence. Hollow before training, filled after, one point a run. Above the diagonal gradients grow faster "
        "than the spectrum says; in the grey corner it calls stable what grows, and the line above a panel counts "
        "those."
    ),
    paint=paint,
)
