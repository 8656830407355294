"""Regions of absolute stability, with the cells' h*lambda before and after training as points."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

PANELS = 12
ROUNDED = 1e-5
"""How far |R| may pass 1 and count as inside: rows hold six digits of eigenvalues, often of float32 Jacobians."""
MODERATE = 6.0
"""Half the width of the window on a region without end."""
POINTS = 100
"""At most so many conjugate pairs of one kind a panel, drawn with a fixed seed."""


def paint(frame: pd.DataFrame) -> Canvas | None:
    """One panel per tableau with a stability function and points; without any points, the first tableaux."""
    known = [isinstance(p, list | tuple) and len(p) > 1 for p in frame["properties.stability_polynomial"]]
    rows = frame[known]
    if rows.empty:
        return None
    drawn = rows[[isinstance(z, list) and len(z) > 0 for z in rows["curves.spectrum_before"]]]
    names = style.by_name(drawn["solver.tableau"] if len(drawn) else rows["solver.tableau"])[:PANELS]
    canvas, axes = style.grid(len(names), columns=3, height=2.5)
    cells: set[str] = set()
    for ax, name in zip(axes, names, strict=True):
        part = rows[rows["solver.tableau"] == name]
        R = _function(part)
        box = _box(R)
        _region(ax, R, box)
        outside, total, stable = 0, 0, {}
        for when in ("before", "after"):
            z = _eigenvalues(part[f"curves.spectrum_{when}"])
            if len(z):
                stable[when] = float(np.mean(R(z) <= 1 + ROUNDED))
        for cell, group in part.groupby("solver.cell", sort=False):
            for when, face in (("before", "none"), ("after", style.colour(str(cell)))):
                z = _eigenvalues(group[f"curves.spectrum_{when}"])
                if not len(z):
                    continue
                cells.add(str(cell))
                inside = (z.real > box[0]) & (z.real < box[1]) & (np.abs(z.imag) < box[2])
                outside, total = outside + int((~inside).sum()), total + len(z)
                z = np.random.default_rng(0).permutation(z[inside])[:POINTS]
                x, y = np.concatenate([z.real, z.real]), np.concatenate([z.imag, -z.imag])
                look: dict[str, Any] = {"color": style.colour(str(cell)), "markerfacecolor": face}
                ax.plot(x, y, "o", **look, markersize=2.6, markeredgewidth=0.7, zorder=3)
        told = ", ".join(f"{share:.0%} {when}" for when, share in stable.items())
        away = f"{max(outside / total, 0.01):.0%} beyond the window" if outside else ""
        small = [f"inside: {told}" if told else "", away]
        style.head(ax, style.label(name), "; ".join(s for s in small if s))
        ax.set(xlim=box[:2], ylim=(-box[2], box[2]), aspect="equal")
        ax.set(xlabel=r"Re $h\lambda$", ylabel=r"Im $h\lambda$")
    handles: list[Any] = []
    for cell in style.by_name(cells):
        look = {"color": style.colour(cell), "marker": "o", "linestyle": "none"}
        handles.append(style.handle(f"{style.label(cell)} before", **look, markerfacecolor="none"))
        handles.append(style.handle(f"{style.label(cell)} after", **look))
    style.legend(canvas, handles)
    return canvas


def _function(part: pd.DataFrame) -> Callable[[Any], Any]:
    """|R(z)| of the tableau: a polynomial, or for an implicit one a quotient of two (constant terms first)."""
    above = [float(c) for c in part["properties.stability_polynomial"].iloc[0]]
    known = part.get("properties.stability_denominator", pd.Series(dtype=object))
    below = next(([float(c) for c in q] for q in known if isinstance(q, list | tuple) and len(q)), [1.0])
    value = np.polynomial.polynomial.polyval

    def size(z: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.abs(value(z, above) / value(z, below))

    return size


def _box(R: Callable[[Any], Any]) -> tuple[float, float, float]:
    """A window (left, right, half height) around the part of the region that touches the origin.

    A region without end to the left (an A-stable method, say) gets a window of moderate size about the origin.
    """
    reach = np.linspace(0.02, 12, 600)
    stop = ~(R(-reach) <= 1 + 1e-9)
    if not stop.any():
        return (-MODERATE, MODERATE, MODERATE)
    left = float(reach[np.argmax(stop)])
    x, y = np.meshgrid(np.linspace(-left - 1, 2, 120), np.linspace(0, 8, 160))
    stable = R(x + 1j * y) <= 1
    height = float(y[stable].max()) if stable.any() else 2.0
    half = max(height + 0.6, left / 2 + 0.9)
    return (-left / 2 - half, -left / 2 + half, half)


def _region(ax: Any, R: Callable[[Any], Any], box: tuple[float, float, float]) -> None:
    x, y = np.meshgrid(np.linspace(box[0], box[1], 300), np.linspace(-box[2], box[2], 300))
    size = np.minimum(np.nan_to_num(R(x + 1j * y), nan=1e6), 1e6)  # a pole is no part of the region
    ax.contourf(x, y, size, levels=[0, 1 + 1e-9], colors=[style.GREY], alpha=0.22)
    ax.contour(x, y, size, levels=[1], colors=[style.INK], linewidths=0.9)
    ax.axhline(0, color=style.INK, linewidth=0.4)
    ax.axvline(0, color=style.INK, linewidth=0.4)


def _eigenvalues(curves: pd.Series[Any]) -> np.ndarray[Any, Any]:
    """Every [re, im] of the rows' spectra in the upper half plane, those that are not finite left out.

    The Jacobians are real, so a conjugate lies below each; a row may hold either one of a pair or both.
    """
    pairs = [pair for curve in curves if isinstance(curve, list) for pair in curve]
    z = np.array([complex(float(a), abs(float(b))) for a, b in pairs], complex)
    return z[np.isfinite(z.real) & np.isfinite(z.imag)] if len(z) else z


FIGURE = Figure(
    name="stability_regions",
    title="Stability regions and spectra",
    caption=(
        "Grey: where |R(z)| <= 1 for the tableau's stability function R. Points: h times the eigenvalues of each "
        "cell's Jacobian along test sequences, hollow before training, filled after, a sample of at most 100 conjugate "
        "pairs of each kind. Above a panel, of all stored eigenvalues: the share inside the region (to 1e-5: rows hold "
        "six digits), over all steps h that were tried, and the share beyond the window."
    ),
    paint=paint,
)
