"""The correspondence as a page of a paper: every network's equation, typeset, with its method and what was measured."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import style
from ..pieces import Figure
from ..tables.correspondence import HOLDS, NO_INTEGRATOR, build
from ..text import shown
from ..typeset import fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

SIZE, SMALL = 8.0, 6.8
LINE, GAP = 0.135, 0.09
"""Inches: a line of small text, and the room above and below a row."""
LEFT, MIDDLE, RIGHT = 0.05, 1.55, 4.95
_COLOURS = {HOLDS: style.GREEN, NO_INTEGRATOR: style.GREY}
_SIGNS = {HOLDS: "✓", NO_INTEGRATOR: "○"}


@dataclass(frozen=True)
class Block:
    """One row: text on the left, (line, inches, points) of the equation, text on the right, the verdict."""

    name: str
    left: tuple[str, ...]
    equation: tuple[tuple[str, float, float], ...]
    right: tuple[str, ...]
    verdict: str

    @property
    def height(self) -> float:
        sides = (LINE * (1.15 + len(self.left)), LINE * (1.15 + len(self.right)))
        return max(*sides, sum(inches for _, inches, _ in self.equation)) + 2 * GAP


def paint(frame: pd.DataFrame) -> Canvas | None:
    """One block a row of the theory, in the order of the table."""
    table = build(frame)
    if table.empty:
        return None
    from matplotlib.figure import Figure as Canvas

    many = table[["device", "dtype"]].drop_duplicates().shape[0] > 1
    blocks = [_block(line, many) for line in table.to_dict("records")]
    height = 0.3 + sum(block.height for block in blocks) + 0.05
    canvas = Canvas(figsize=(style.WIDTH, height))
    ax = canvas.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, style.WIDTH), ylim=(height, 0))
    ax.axis("off")
    for x, text in ((LEFT, "network, method"), (MIDDLE, "field"), (RIGHT, "measured")):
        ax.text(x, 0.2, text, fontsize=SMALL, color=style.GREY, va="baseline")
    top = 0.3
    for block in blocks:
        _draw(ax, block, top)
        top += block.height
    return canvas


def _block(line: Mapping[Any, Any], many: bool) -> Block:
    method = style.label(str(line["method"])) if line["method"] else "no method"
    step = f"h = {shown(line['step'])}" if line["step"] == line["step"] else ""
    if line["substeps"] > 1:
        step += f" in {shown(line['substeps'])} steps"
    frozen = _wrapped(f"frozen: {line['frozen']}", 27, 3) if line["frozen"] else []
    place = [f"{line['device']} · {line['dtype']}"] if many else []
    left = [method, *([step] if step else []), *place, *frozen]
    facts = [f"(n, t) = ({_count(line['n'])}, {_count(line['t'])})"]
    if line["order"] == line["order"]:
        facts.append(f"order {line['order']:.2f} of {shown(line['claimed'])}")
    elif line["gap at 0"] == line["gap at 0"]:
        facts.append(f"gap at time 0: {line['gap at 0']:.2g}")
    right = ["; ".join(facts)]
    if line["error, 100 steps"] == line["error, 100 steps"]:
        right.append(f"differs by {_power(line['error, 1 step'])}, 100 steps {_power(line['error, 100 steps'])}")
    if line["its error"] == line["its error"]:
        right += _wrapped(f"wrong by {line['its error']:.1g}: {line['wrong variant']}", 43, 2)
    if line["failed"]:
        right += _wrapped(f"failed: {line['reason']}", 43, 3)
    equation = fitted(str(line["equation"]), RIGHT - MIDDLE - 0.15, SIZE) if line["equation"] else []
    return Block(style.label(str(line["RNN"])), tuple(left), tuple(equation), tuple(right), str(line["verdict"]))


def _wrapped(text: str, width: int, most: int) -> list[str]:
    return textwrap.wrap(text, width, max_lines=most, placeholder="…")


def _count(value: float) -> str:
    return "∞" if math.isinf(value) else shown(float(value))


def _power(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}".replace("e-0", "e-")


def _draw(ax: Axes, block: Block, top: float) -> None:
    ax.plot([LEFT, style.WIDTH - LEFT], [top, top], color=style.INK, linewidth=0.4)
    look: dict[str, Any] = {"va": "baseline", "parse_math": False}
    first = top + GAP + 0.1
    ax.text(LEFT, first, style.short(block.name, 22), fontsize=SIZE, weight="bold", **look)
    for place, text in enumerate(block.left, start=1):
        ax.text(LEFT, first + place * LINE, style.plain(text), fontsize=SMALL, **look)
    y = top + GAP
    for text, inches, points in block.equation:
        ax.text(MIDDLE, y + inches / 2, text, fontsize=points, va="center_baseline")
        y += inches
    sign, colour = _SIGNS.get(block.verdict, "✗"), _COLOURS.get(block.verdict, style.VERMILION)
    ax.text(RIGHT, first, f"{sign} {block.verdict}", fontsize=SIZE, color=colour, weight="bold", **look)
    for place, text in enumerate(block.right, start=1):
        ax.text(RIGHT, first + place * LINE, style.plain(text), fontsize=SMALL, **look)


FIGURE = Figure(
    name="correspondence",
    title="Known recurrent networks as methods for an ODE",
    kinds=("correspondence",),
    caption=(
        "Each network as (field, method, step), checked in float64 against an independent transcription of the "
        "published update and against the exact flow of the field. sigma is the logistic function; u the input, held "
        "over the step. A tick: equal to rounding, and of the claimed order; a ring: equal, but with no field as its "
        "time goes to zero; a cross: not so. n: nested evaluations of the nonlinearity in a step; t: lags of the "
        "output that determine the next. Wrong by: how far a plausible mistake is from the published update."
    ),
    paint=paint,
)
