"""Peak memory of training against the length of the sequence, and the 4 GiB it has to stay within."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import style
from ..footprints import LIMIT, footprints
from ..frame import panels, records
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PANELS = 12


def paint(frame: pd.DataFrame) -> Canvas | None:
    """A panel per cell, tableau and size; a line per engine and memory mode; runs without a result on the upper rim."""
    table = footprints(frame)
    table = table[table["length"] > 0]
    if table.empty:
        return None
    table["way"] = [_way(*key) for key in zip(table["engine"], table["memory"], strict=True)]
    ways = list(dict.fromkeys(table["way"]))
    shown = panels(table, ["cell", "tableau", "options", "hidden", "batch", "device", "dtype"])
    canvas, axes = style.grid(min(len(shown), PANELS), columns=2, height=2.7)
    for ax, (key, part) in zip(axes, shown, strict=False):
        _panel(ax, part, ways)
        cell, tableau, options, hidden, batch, device, dtype = key
        sizes = f"hidden {float(hidden):g}, batch {float(batch):g}"
        names = (style.label(cell), style.label(tableau) if tableau else "", options, sizes)
        style.head(ax, " · ".join(n for n in names if n), f"{device} · {dtype}", 2)
    if len(shown) > PANELS:
        canvas.suptitle(f"the first {PANELS} of {len(shown)} panels; the table holds all", x=0.01, ha="left")
    handles = [style.handle(way, **_look(place)) for place, way in enumerate(ways)]
    if (table["status"] != "ok").any():
        handles.append(style.handle("without a result", marker="x", linestyle="none", markersize=6))
    style.legend(canvas, handles)
    return canvas


def _way(engine: str, memory: str) -> str:
    return ", ".join(part for part in (engine or "engine not told", memory) if part)


def _look(place: int) -> dict[str, Any]:
    palette = (*style.PALETTE, style.INK)
    return {
        "color": palette[place % len(palette)],
        "linestyle": style.DASHES[place % len(style.DASHES)],
        **style.variant(place),
    }


def _panel(ax: Axes, part: pd.DataFrame, ways: list[str]) -> None:
    done = part[part["mebibytes"] > 0]
    for way, runs in done.groupby("way", sort=False):
        ordered = runs.sort_values("length")
        ax.plot(ordered["length"], ordered["mebibytes"], **_look(ways.index(str(way))))
    ax.axhline(LIMIT, color=style.INK, linewidth=1, linestyle=style.DASHES[1])
    ax.set(xscale="log", yscale="log", xlabel="length T, steps", ylabel="peak memory, MiB")
    low = float(min(done["mebibytes"].min(), LIMIT / 4)) if len(done) else LIMIT / 100
    high = float(max(done["mebibytes"].max(), LIMIT)) if len(done) else LIMIT
    lost = part[part["status"] != "ok"].sort_values(["length", "way"])
    deepest = int(lost.groupby("length").size().max()) if len(lost) else 0
    decades = (high / low) ** 0.09
    ax.set_ylim(low / decades, high * decades ** (1.6 + deepest))
    lengths = part["length"].astype(float)
    wide = max(lengths.max() / lengths.min(), 10.0)
    ax.set_xlim(lengths.min() / wide**0.06, lengths.max() * wide**0.06)
    ax.annotate(
        "4 GiB",
        (0, LIMIT),
        xycoords=("axes fraction", "data"),
        xytext=(3, 2),
        textcoords="offset points",
        fontsize=7,
        va="bottom",
    )
    for length, group in lost.groupby("length"):
        for depth, line in enumerate(records(group)):
            y = high * decades ** (0.9 + deepest - depth)
            look = _look(ways.index(line["way"])) | {"marker": "x", "linestyle": "none", "markersize": 6}
            ax.plot([float(str(length))], [y], **look)
            ax.annotate(
                style.plain(str(line["status"])),
                (float(str(length)), y),
                xytext=(-6, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7,
                color=look["color"],
            )
    style.log_ticks(ax)


FIGURE = Figure(
    name="footprint",
    title="Memory of training",
    kinds=("footprint",),
    caption=(
        "Peak memory of a training step against the length of the sequence, by engine and memory mode. Dashed across: "
        "4 GiB. Crosses above it: runs that ended without a result, with what became of them; their height says "
        "nothing."
    ),
    paint=paint,
)
