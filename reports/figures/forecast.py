"""A chaotic forecast beside the truth, and its error against the threshold, in Lyapunov times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..limits import draw, limits_of
from ..limits import handles as limit_handles
from ..pieces import Figure
from ..rungs import ladder_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

THRESHOLD = 0.4
SOLVERS, SYSTEMS = 4, 3


def paint(frame: pd.DataFrame) -> Canvas | None:
    """A column per system; a panel per cell (its setting with the longest median valid time), errors at the bottom."""
    rows = ladder_rows(frame)
    rows = rows[[isinstance(c, dict) and len(c.get("time", [])) > 1 for c in rows["curves.forecast"]]]
    if rows.empty:
        return None
    from matplotlib.figure import Figure as Canvas

    systems = list(rows.groupby("protocol", sort=False))[:SYSTEMS]
    limits = [limits_of(frame, part) for _, part in systems]
    chosen = [_chosen(part) for _, part in systems]
    depth = max(len(c) for c in chosen)
    width = style.WIDTH if len(systems) > 1 else 0.85 * style.WIDTH
    canvas = Canvas(figsize=(width, 1.15 * depth + 1.5), layout="constrained")
    axes = canvas.subplots(depth + 1, len(systems), squeeze=False, sharex="col", height_ratios=[1.0] * depth + [1.4])
    for column, ((task, _), lines) in enumerate(zip(systems, chosen, strict=True)):
        errors = axes[depth][column]
        first = depth - len(lines)  # the true field stands in the same row everywhere, just above the errors
        for place in range(depth):
            ax = axes[place][column]
            if place < first:
                ax.remove()
                continue
            _pair(ax, lines[place - first], {1: 84, 2: 46}.get(len(systems), 34))
            if place == first:
                ax.annotate(
                    style.plain(style.short(str(task), 28)),
                    (0, 1.28),
                    xycoords="axes fraction",
                    fontweight="bold",
                    va="bottom",
                )
        for line in lines:
            curve, cell = line["curves.forecast"], line["solver.cell"]
            error = np.asarray(curve["error"], float)
            error = np.where(error > 0, error, np.nan)  # both start at one point; no logarithm of that
            errors.semilogy(curve["time"], error, color=style.colour(cell), linewidth=1)
        errors.axhline(THRESHOLD, color=style.GREY, linestyle=(0, (2, 2)), linewidth=1)
        errors.set(xlabel="Lyapunov times", ylabel="error" if column == 0 else "")
        errors.set_xlim(0, max(_end(line) for line in lines))
        draw(errors, limits[column], stretch=False)
    present = style.by_name(line["solver.cell"] for lines in chosen for line in lines)
    handles: list[Any] = [style.handle("truth", color=style.GREY, linewidth=3, alpha=0.5)]
    handles += [style.handle(style.label(c), color=style.colour(c)) for c in present]
    handles.append(style.handle(f"threshold {THRESHOLD}", color=style.GREY, linestyle=(0, (2, 2))))
    style.legend(canvas, [*handles, *limit_handles(limits)])
    return canvas


def _chosen(part: pd.DataFrame) -> list[pd.Series[Any]]:
    """Of every cell the best setting's middle seed, best cells first; then the true field with the best's tableau."""
    learned = part[part["solver.cell"] != "true-field"]
    found = [_middle(group) for _, group in learned.groupby("solver.cell", sort=True)]
    found.sort(key=lambda line: -float(np.nan_to_num(line["metrics.valid_prediction_time"])))
    true = part[part["solver.cell"] == "true-field"]
    if not len(true):
        return found[:SOLVERS]
    same = true[true["solver.tableau"] == next((f["solver.tableau"] for f in found if f["solver.tableau"]), "")]
    plain = same[same["step_label"] == ""]  # one step a sample, as a learned field has it
    same = plain if len(plain) else same
    return [*found[: SOLVERS - 1], _middle(same if len(same) else true)]


def _middle(group: pd.DataFrame) -> pd.Series[Any]:
    """The middle seed of the setting with the longest median valid time."""
    middle = group.groupby("setting")["metrics.valid_prediction_time"].median()
    best = group[group["setting"] == (middle.idxmax() if middle.notna().any() else group["setting"].iloc[0])]
    best = best.sort_values("metrics.valid_prediction_time", kind="stable")
    return best.iloc[(len(best) - 1) // 2]


def _end(line: pd.Series[Any]) -> float:
    """The last Lyapunov time worth showing: three times past the threshold's crossing, or the end."""
    time, error = (np.asarray(line["curves.forecast"][key], float) for key in ("time", "error"))
    late = ~(error < THRESHOLD)
    crossing = float(time[np.argmax(late)]) if late.any() else float(time[-1])
    return float(min(time[-1], max(3 * crossing, 3.0)))


def _pair(ax: Any, line: pd.Series[Any], width: int) -> None:
    curve, cell = line["curves.forecast"], line["solver.cell"]
    time = np.asarray(curve["time"], float)
    truth, prediction = np.asarray(curve["truth"], float), np.asarray(curve["prediction"], float)
    ax.plot(time, truth, color=style.GREY, linewidth=2.6, alpha=0.5)
    ax.plot(time, prediction, color=style.colour(cell), linewidth=1)
    late = ~(np.asarray(curve["error"], float) < THRESHOLD)
    if late.any():
        ax.axvline(float(time[np.argmax(late)]), color=style.GREY, linestyle=(0, (2, 2)), linewidth=1)
    finite = truth[np.isfinite(truth)]
    room = 0.25 * (finite.max() - finite.min() or 1.0)
    ax.set(ylim=(finite.min() - room, finite.max() + room), ylabel="$x_1$")
    ax.set_title(style.plain(style.short(line["solver_label"], width)), fontsize=7.5)


FIGURE = Figure(
    name="forecast",
    title="Chaotic forecasts",
    kinds=("ceiling", "forecast"),
    caption=(
        "First component of the first test forecast, in Lyapunov times, for each cell the setting with the longest "
        "median valid time and of its seeds the middle one; then the problem's own field, stepped with the tableau of "
        "the best cell that has one. Dashed: where the normalised error passes 0.4. At the bottom the error."
    ),
    paint=paint,
)
