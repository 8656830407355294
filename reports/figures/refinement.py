"""The refinement test: error over one sample as a learned field's own method takes finer steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..pieces import Figure
from ..transfers import lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MOST = 9


def paint(frame: pd.DataFrame) -> Canvas | None:
    """A panel per learner and training step, a line per tableau; filled: the step of training; grey: the true field."""
    table = lines(frame)
    if table.empty:
        return None
    table = table[[len(curve.get("step", [])) > 1 for curve in table["refinement"]]]
    if table.empty:
        return None
    true = table[table["cell"] == "true-field"]
    learned = table[table["cell"] != "true-field"]
    keys = ["protocol", "cell", "others", "device", "dtype", "training step"]
    shown = learned if len(learned) else true
    panels = list(shown.sort_values("training step", ascending=False, kind="stable").groupby(keys, sort=False))[:MOST]
    canvas, axes = style.grid(len(panels), columns=3)
    for ax, (key, part) in zip(axes, panels, strict=True):
        step = float(part["training step"].iloc[0])
        beside = true[(true["protocol"] == key[0]) & np.isclose(true["training step"].to_numpy(float), step)]
        for line in beside.to_dict("records") if len(learned) else ():
            _line(ax, line, true=True)
        for line in part.to_dict("records"):
            _line(ax, line, true=False)
        ax.set(xscale="log", yscale="log", xlabel="steps in a step of training", ylabel="error over a sample")
        ticks = sorted({round(t, 3) for line in part["refinement"] for t in _finer(line).tolist()})
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.xaxis.set_minor_locator(_nothing())
        small = " · ".join(p for p in (str(key[2]), f"trained with h = {step:.3g}") if p)
        style.head(ax, f"{key[0]} · {style.label(str(key[1]))}", small)
        style.log_ticks(ax, "y")
    handles: list[Any] = [
        style.handle(style.label(t), color=style.colour(t), marker=style.marker(t))
        for t in style.by_name(str(t) for t in table["trained with"])
    ]
    handles += [style.handle("step of training", marker="o", linestyle="none")]
    handles += [style.handle("finer: learned a flow", marker="o", linestyle="none", markerfacecolor="#ffffff")]
    handles += [style.handle("finer: learned a map", marker="x", linestyle="none")]
    if len(true) and len(learned):
        handles.append(style.handle("true field", color=style.GREY, linestyle=style.DASHES[1]))
    if table["crime"].any():
        handles.append(style.handle("the trainer made the data", linestyle=style.DASHES[2]))
    style.legend(canvas, handles)
    return canvas


def _line(ax: Axes, line: dict[Any, Any], true: bool) -> None:
    step = _finer(line["refinement"])
    error = np.asarray(line["refinement"]["error"], float)
    tableau = str(line["trained with"])
    colour = style.GREY if true else style.colour(tableau)
    dashed = style.DASHES[1] if true else style.DASHES[2] if line["crime"] else "-"
    ax.plot(step, error, color=colour, linestyle=dashed, linewidth=1.0 if true else 1.4)
    if true:
        return
    mark = style.marker(tableau)
    ax.plot(step[:1], error[:1], marker=mark, color=colour, linestyle="none", markersize=5)
    finer = "x" if line["learned a"] == "map" else mark
    ax.plot(step[1:], error[1:], marker=finer, color=colour, linestyle="none", markerfacecolor="#ffffff", markersize=4)


def _finer(curve: dict[str, Any]) -> np.ndarray[Any, Any]:
    """How many steps of each size make one of training, the first."""
    step = np.asarray(curve["step"], float)
    return np.asarray(step[0] / step)


def _nothing() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


FIGURE = Figure(
    name="refinement",
    title="Is a flow learned, or a map?",
    kinds=("transfer",),
    caption=(
        "Error after one sample, in units of the change over a sample, as the method that trained a field takes finer "
        "steps than in training (to the right). A learned flow keeps its error or lowers it; a learned map was right "
        "at the step of training alone, and jumps up. Grey: the true field by the same tableaux at the same steps."
    ),
    paint=paint,
)
