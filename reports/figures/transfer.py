"""Train tableau x evaluate tableau as a heat map: the whole matrix and the limit of fine steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..frame import records
from ..limits import ceilings, dashes
from ..pieces import Figure
from ..transfers import LIMIT, all_cases, lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MOST = 12
KEYS = ["protocol", "cell", "others", "device", "dtype", "steps"]


def paint(frame: pd.DataFrame) -> Canvas | None:
    """A panel per learner, training step, evaluation step, dtype and backend, two in a row."""
    table = lines(frame)
    if table.empty or not table[f"{LIMIT} median"].notna().any():
        return None
    learned = table[table["cell"] != "true-field"]
    true = table[(table["cell"] == "true-field") & (table["seeds"] > 0)]
    panels = []
    for key, part in (learned if len(learned) else true).groupby(KEYS, sort=False):
        same = [c for c in all_cases(table) if c.substeps == key[5]]  # where none has a result, crosses stand there
        found = {(c.substeps, c.dtype, c.backend) for c in all_cases(part) or same}
        beside = true[true["protocol"] == key[0]] if len(learned) else true.iloc[:0]
        panels += [(key, part, beside, how) for how in sorted(found, key=lambda how: (how[0] != key[5], how))]
    panels.sort(key=lambda panel: (panel[3][0] != panel[0][5], panel[0][5]))
    panels = panels[:MOST]  # with the steps of training first
    if not panels:
        return None
    rows = max(part["trained with"].nunique() for _, part, _, _ in panels) + 1
    canvas, axes = style.grid(len(panels), columns=2, height=0.8 + 0.26 * (rows + 1))
    known = ceilings(frame)
    top = float(np.nanmax([v for m in table["matrix"] for v in m.values()] + table[f"{LIMIT} median"].tolist()))
    arithmetic = {
        dtype: max(known.get(str(s), {}).get(dtype, 0.0) for s in table["system"].unique())
        for dtype in sorted({d for s in table["system"].unique() for d in known.get(str(s), {})})
    }
    top = max([top, *(1.04 * value for value in arithmetic.values() if value <= 3 * top)])
    varied: list[set[str]] = [{str(key[3]) for key, _, _, _ in panels}]
    varied += [{how[1] for _, _, _, how in panels}, {how[2] for _, _, _, how in panels}]
    for ax, (key, part, beside, how) in zip(axes, panels, strict=True):
        image = _panel(ax, part, beside, how, top)
        names = (str(key[3]), how[1], how[2])
        told = [name for name, others in zip(names, varied, strict=True) if len(others) > 1]
        style.head(ax, *_head(key, how[0], told), panels=2)
    bar = canvas.colorbar(image, ax=axes, fraction=0.03, aspect=30)
    bar.set_label("valid prediction time, Lyapunov times")
    if bar.solids is not None:
        bar.solids.set(rasterized=False, edgecolor="face")
    followed = table["horizon"].max()
    if math.isfinite(followed) and followed <= top:
        bar.ax.axhline(followed, color=style.GREY, linewidth=3)
    for dtype, value in arithmetic.items():
        if value <= top:
            bar.ax.axhline(value, color=style.INK, linestyle=dashes(dtype), linewidth=1.6)
            bar.ax.axhline(value, color="#ffffff", linestyle=dashes(dtype), linewidth=0.6)
    frames = [style.handle("stepped as trained", marker="s", linestyle="none", markerfacecolor="none", markersize=7)]
    if any(c for c in table["crime"]):
        frames.append(style.handle("the trainer made the data", marker="$*$", linestyle="none"))
    if any(math.isnan(v) for m in table["matrix"] for v in m.values()) or table[f"{LIMIT} median"].isna().any():
        frames.append(style.handle("no result", marker="x", linestyle="none"))
    look = {"color": style.INK, "linewidth": 1.3}
    frames += [style.handle(f"ceiling of {d} {v:.3g}", linestyle=dashes(d), **look) for d, v in arithmetic.items()]
    if math.isfinite(followed):
        frames.append(style.handle("horizon of the forecasts", color=style.GREY, linewidth=3))
    style.legend(canvas, frames)
    return canvas


def _head(key: tuple[Any, ...], stepped: int, told: list[str]) -> tuple[str, str]:
    """A panel's title and what is below; told: of device, dtype and backend of the rollouts, those that vary."""
    protocol, cell, others, _, _, steps = key
    how = f"trained with {_count(int(steps))}, stepped with {stepped}"
    return f"{protocol} · {style.label(cell)}", " · ".join(part for part in (how, others, *told) if part)


def _count(steps: int) -> str:
    return f"{steps} step a sample" if steps == 1 else f"{steps} steps a sample"


def _panel(ax: Axes, part: pd.DataFrame, true: pd.DataFrame, how: tuple[int, str, str], top: float) -> Any:
    shown = pd.concat([part, true.head(1)])
    cases = [c for c in all_cases(shown) if (c.substeps, c.dtype, c.backend) == how]
    rows = records(shown)
    values = np.array([[line["matrix"].get(c, math.nan) for c in cases] + [line[f"{LIMIT} median"]] for line in rows])
    corners = [np.arange(size + 1) - 0.5 for size in values.shape]
    image = ax.pcolormesh(corners[1], corners[0], values, cmap="cividis", vmin=0, vmax=top)  # no picture inside an SVG
    ax.invert_yaxis()
    for i, line in enumerate(rows):
        for j, value in enumerate(values[i]):
            text = f"{value:.1f}" if value >= 1 else f"{value:.2f}"
            if not math.isfinite(value):
                text = "×"
            ax.text(
                j, i, text, ha="center", va="center", fontsize=7, color="#ffffff" if value < 0.55 * top else style.INK
            )
        matched = [j for j, c in enumerate(cases) if c.tableau == line["trained with"] and line["steps"] == how[0]]
        for j in matched if line["cell"] != "true-field" else ():
            from matplotlib.patches import Rectangle

            ax.add_patch(Rectangle((j - 0.46, i - 0.44), 0.92, 0.88, fill=False, edgecolor="#ffffff", linewidth=3))
            ax.add_patch(Rectangle((j - 0.46, i - 0.44), 0.92, 0.88, fill=False, edgecolor=style.INK, linewidth=1.3))
    names = [_row_name(line) for line in rows]
    ax.set_yticks(range(len(rows)), [style.plain(n) for n in names], fontsize=7)
    heads = [style.plain(style.short(_brief(c.tableau), 14)) for c in cases] + ["limit"]
    ax.set_xticks(range(len(heads)), heads, fontsize=7, rotation=25, ha="right", rotation_mode="anchor")
    ax.axvline(len(cases) - 0.5, color="#ffffff", linewidth=2.5)
    if len(true):
        ax.axhline(len(rows) - 1.5, color="#ffffff", linewidth=2.5)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return image


def _row_name(line: dict[Any, Any]) -> str:
    if line["cell"] == "true-field":
        return "true field"
    return (
        _brief(line["trained with"])
        + (" *" if line["crime"] else "")
        + (f" ({line['generator']} data)" if line["generator"] and not line["crime"] else "")
    )


def _brief(tableau: str) -> str:
    """A short name for an axis: "Dormand-Prince 5(4)" -> "Dormand-P. 5"."""
    name = style.label(tableau)
    return name.replace("Dormand-Prince 5(4)", "DOPRI 5(4)").replace("Bogacki-Shampine", "Bogacki-S.")


FIGURE = Figure(
    name="transfer",
    title="Trained through one tableau, stepped by another",
    kinds=("ceiling", "transfer"),
    caption=(
        "Valid prediction time; rows: the tableau that the field was trained through; columns: the method that steps "
        "it, and the limit of fine steps, where the field alone is left. Framed: stepped as trained. Below the line, "
        "the true field. A framed value that stands out of its row is a map that was learned: the method's error, "
        "absorbed by the field, cancels in that one entry."
    ),
    paint=paint,
)
