"""Valid prediction time of every solver: median and quartiles, the true field with the same tableau beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..limits import draw, limits_of
from ..limits import handles as limit_handles
from ..merge import without_backends
from ..pieces import Figure
from ..rungs import ladder_rows, scored

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

VALID = "metrics.valid_prediction_time"
LINES = 40


def paint(frame: pd.DataFrame) -> Canvas | None:
    """One panel per system and protocol of the ladders, a line per setting, the longest valid time on top; a cross for
    one without a result.

    Backends that give the true field the same numbers share a line. Where there are too many, learned settings and the
    true field in single steps stay first.
    """
    rows = ladder_rows(frame)
    if rows.empty or not rows[VALID].notna().any():
        return None
    from matplotlib.figure import Figure as Canvas

    values = [VALID, f"{VALID}_q25", f"{VALID}_q75", "metrics.baseline_valid_prediction_time"]
    panels = []
    for task, part in rows.groupby("protocol", sort=False):
        table = scored(part, values).sort_values(f"{VALID} median", ascending=False, na_position="last", kind="stable")
        table = without_backends(table, tuple(f"{name} median" for name in values[:3]))
        kept = ((table["cell"] == "true-field") & (table["step"] != "")).sort_values(kind="stable").index[:LINES]
        panels.append((str(task), table.loc[sorted(kept)].reset_index(drop=True), len(table)))
    limits = [limits_of(frame, part) for _, part in rows.groupby("protocol", sort=False)]
    heights = [0.17 * len(table) + 0.55 for _, table, _ in panels]
    canvas = Canvas(figsize=(style.WIDTH, sum(heights)), layout="constrained")
    axes = canvas.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    mixed = [c for c in ("device", "dtype") if rows[c].nunique() > 1]
    for ax, (task, table, count), limit in zip(axes[:, 0], panels, limits, strict=True):
        for place, line in enumerate(table.to_dict("records")):
            _line(ax, place, line)
        ax.set_yticks(range(len(table)), [_name(line, mixed) for line in table.to_dict("records")], fontsize=7)
        ax.set_ylim(len(table) - 0.4, -0.6)
        ax.set_xlim(left=0, right=None if table[f"{VALID} median"].notna().any() else 1)
        baseline = table["metrics.baseline_valid_prediction_time median"].dropna()
        if len(baseline):
            ax.axvline(float(baseline.iloc[0]), color=style.GREY, linestyle=(0, (2, 2)), linewidth=1)
        draw(ax, limit)
        left_out = f" ({LINES} of {count})" if count > LINES else ""
        ax.set(title=style.plain(task + left_out), xlabel="valid prediction time, Lyapunov times")
    handles = [
        style.handle("learned field", marker="o", linestyle="-"),
        style.handle("true field", marker="D", linestyle="-", markerfacecolor="none"),
        style.handle("persistence", color=style.GREY, linestyle=(0, (2, 2))),
    ]
    if any((table["seeds"] == 0).any() for _, table, _ in panels):
        handles.append(style.handle("no result", marker="x", linestyle="none"))
    style.legend(canvas, [*handles, *limit_handles(limits)])
    return canvas


def _name(line: dict[Any, Any], mixed: list[str]) -> str:
    backend = f"{line['backend'].count(',') + 1} backends" if "," in line["backend"] else line["backend"]
    step = f"h={line['step']:g}" if isinstance(line["step"], float) else line["step"]
    words = [
        "true" if line["cell"] == "true-field" else line["cell"],
        line["tableau"],
        backend if backend not in ("native", "torch") else "",
        step,
    ]
    parts = [style.short(" · ".join(w for w in (*words, line["options"]) if w), 48), *(line[c] for c in mixed)]
    failed = f" ({line['failed']} failed)" if line["failed"] and line["seeds"] else ""
    return style.plain(", ".join(parts) + failed)


def _line(ax: Any, place: int, line: dict[Any, Any]) -> None:
    middle, low, high = (float(line[f"{name} median"]) for name in (VALID, f"{VALID}_q25", f"{VALID}_q75"))
    colour, true = style.colour(line["cell"]), line["cell"] == "true-field"
    if not np.isfinite(middle):
        ax.plot(0.01, place, "x", color=colour, transform=ax.get_yaxis_transform(), clip_on=False)
        return
    if np.isfinite(low) and np.isfinite(high):
        ax.plot([low, high], [place, place], color=colour, linewidth=1.2)
    face = "none" if true else colour
    ax.plot(middle, place, marker="D" if true else "o", color=colour, markerfacecolor=face, markersize=4.5)


FIGURE = Figure(
    name="valid_time",
    title="How long forecasts stay valid",
    kinds=("ceiling", "forecast"),
    caption=(
        "Median (mark) and quartiles (line) of the valid prediction time over initial conditions, each the median "
        "over seeds. Hollow: the problem's own field stepped by the tableau, the most that the same tableau can give; "
        "one line where several backends give the same numbers. No backend named: native, or a library's cell. A "
        "forecast that reaches the horizon counts as long as it; ceiling: where rounding alone ends the forecast of "
        "the true field in that arithmetic."
    ),
    paint=paint,
)
