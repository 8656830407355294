"""What no forecast can pass, drawn on an axis of valid prediction time: the arithmetic's ceilings and the horizon."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from . import style
from .frame import records
from .rungs import horizon

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES: Mapping[str, Any] = {"float64": (0, (6, 1.5, 1, 1.5)), "float32": (0, (1, 1.2)), "": (0, (3, 1, 1, 1, 1, 1))}
ROOM = 6.0
"""An axis is made longer, by this factor at most, to hold the lines; what lies farther out is told in words."""


@dataclass(frozen=True)
class Limits:
    """In Lyapunov times. ceilings: by dtype; horizon: how far forecasts were followed, NaN if unknown."""

    ceilings: Mapping[str, float]
    horizon: float

    def lines(self) -> list[tuple[str, float, dict[str, Any]]]:
        """What to draw: text, place, look."""
        found = [
            (f"ceiling of {dtype}", value, {"color": style.INK, "linestyle": dashes(dtype), "linewidth": 1.1})
            for dtype, value in sorted(self.ceilings.items())
        ]
        if math.isfinite(self.horizon):
            look = {"color": style.GREY, "linestyle": "-", "linewidth": 3, "alpha": 0.35}
            found.append(("horizon of the forecasts", self.horizon, look))
        return found


def ceilings(frame: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By system and dtype, the largest ceiling that a row of the task "ceiling" found."""
    found: dict[str, dict[str, float]] = {}
    for row in records(frame[(frame["kind"] == "ceiling") & frame["metrics.ceiling"].notna()]):
        known = found.setdefault(str(row["task.system"]), {})
        known[row["dtype"]] = max(known.get(row["dtype"], 0.0), float(row["metrics.ceiling"]))
    return found


def limits_of(frame: pd.DataFrame, rows: pd.DataFrame) -> Limits:
    """The limits of rows of one system: its ceilings, and the longest of the rows' horizons."""
    followed = [horizon(row) for row in records(rows)]
    known = [h for h in followed if math.isfinite(h)]
    return Limits(ceilings(frame).get(str(rows["task.system"].iloc[0]), {}), max(known, default=math.nan))


def dashes(dtype: str) -> Any:
    """The line style of a dtype's ceiling."""
    return _DASHES.get(dtype, _DASHES[""])


def draw(ax: Axes, limits: Limits, axis: str = "x", stretch: bool = True) -> None:
    """The lines across an axis that is set; with `stretch` it grows for them, otherwise what is beyond is told."""
    low, high = ax.get_xlim() if axis == "x" else ax.get_ylim()
    lines = limits.lines()
    if stretch:
        inside = [value for _, value, _ in lines if value <= ROOM * high]
        high = max([high, *(1.03 * value for value in inside)])
        if axis == "x":
            ax.set_xlim(low, high)
        else:
            ax.set_ylim(low, high)
    beyond = []
    for text, value, look in lines:
        if value <= high:
            (ax.axvline if axis == "x" else ax.axhline)(value, zorder=1, **look)
        elif text.startswith("ceiling"):
            beyond.append(f"{text.removeprefix('ceiling of ')} {value:.3g}")
    if beyond:
        arrow = "→" if axis == "x" else "↑"
        ax.annotate(
            f"ceiling: {', '.join(beyond)} {arrow}",
            (1, 1),
            xytext=(0, 2),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=6.5,
            color=style.GREY,
        )


def handles(drawn: Iterable[Limits]) -> list[Any]:
    """Legend entries, each once."""
    looks = {text: look for limits in drawn for text, _, look in limits.lines()}
    return [style.handle(text, **look) for text, look in sorted(looks.items())]
