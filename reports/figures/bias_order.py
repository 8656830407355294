"""The error of learned fields against the step they were trained with: the bias has the order of the tableau."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..pieces import Figure
from ..transfers import lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

ERROR = "metrics.field_error median"


def paint(frame: pd.DataFrame) -> Canvas | None:
    """A panel per learner, a line per tableau with two training steps or more, a thin line of its order beside it."""
    table = lines(frame)
    if table.empty:
        return None
    table = table[(table["cell"] != "true-field") & (table["generator"] == "") & (table[ERROR] > 0)]
    keys = ["system", "cell", "others", "device", "dtype"]
    panels = [
        (key, part)
        for key, part in (table.groupby(keys, sort=False) if len(table) else ())
        if (part.groupby("trained with")["training step"].nunique() > 1).any()
    ]
    if not panels:
        return None
    canvas, axes = style.grid(len(panels), columns=3, height=2.5)
    drawn: list[str] = []
    for ax, (key, part) in zip(axes, panels, strict=True):
        for tableau, group in part.groupby("trained with", sort=False):
            whole = group.sort_values("training step")
            h, error = whole["training step"].to_numpy(float), whole[ERROR].to_numpy(float)
            if len(np.unique(h)) < 2:
                continue
            look: dict[str, Any] = {"color": style.colour(str(tableau)), "marker": style.marker(str(tableau))}
            ax.plot(h, error, **look)
            order = float(whole["order"].iloc[0])
            if np.isfinite(order):
                guide = error[-1] * (h / h[-1]) ** order
                ax.plot(h, guide, color=style.GREY, linewidth=0.8, linestyle=style.DASHES[2])
                ax.annotate(
                    f"{order:g}",
                    (h[0], guide[0]),
                    xytext=(-3, 0),
                    textcoords="offset points",
                    ha="right",
                    va="center",
                    fontsize=7,
                    color=style.GREY,
                )
            drawn.append(str(tableau))
        ax.set(xscale="log", yscale="log", xlabel="training step, time units", ylabel="field error")
        low, high = part["training step"].min(), part["training step"].max()
        ax.set_xlim(low / (high / low) ** 0.18, high * (high / low) ** 0.08)
        style.head(ax, f"{key[0]} · {style.label(str(key[1]))}", str(key[2]))
        style.log_ticks(ax)
    handles = [
        style.handle(style.label(t), color=style.colour(t), marker=style.marker(t)) for t in style.by_name(drawn)
    ]
    handles.append(
        style.handle("slope of the tableau's order", color=style.GREY, linestyle=style.DASHES[2], linewidth=0.8)
    )
    style.legend(canvas, handles)
    return canvas


FIGURE = Figure(
    name="bias_order",
    title="The bias of a learned field",
    kinds=("transfer",),
    caption=(
        "Relative distance of the learned from the true field on the attractor, by the step and the tableau that it "
        "was trained through, on exact data. Dotted: the slope of the tableau's order, with the order, from the "
        "coarsest step. Where a line leaves its slope, other errors prevail: of the model's form, of the data."
    ),
    paint=paint,
)
