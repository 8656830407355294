"""Regions of absolute stability, with the cells' h*lambda before and after training as points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

PANELS = 12
POINTS = 100
"""At most so many conjugate pairs of one kind a panel, drawn with a fixed seed."""


def paint(frame: pd.DataFrame) -> Canvas | None:
    """One panel per tableau with a stability polynomial and points; without any points, the first tableaux."""
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
        polynomial = [float(c) for c in part["properties.stability_polynomial"].iloc[0]]
        box = _box(polynomial)
        _region(ax, polynomial, box)
        outside, total, stable = 0, 0, {}
        for when in ("before", "after"):
            z = _eigenvalues(part[f"curves.spectrum_{when}"])
            if len(z):
                stable[when] = float(np.mean(np.abs(np.polynomial.polynomial.polyval(z, polynomial)) <= 1 + 1e-9))
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


def _box(polynomial: list[float]) -> tuple[float, float, float]:
    """A window (left, right, half height) around the part of the region that touches the origin."""
    reach = np.linspace(0.02, 12, 600)
    values = np.polynomial.polynomial.polyval
    stop = np.abs(values(-reach, polynomial)) > 1 + 1e-9
    left = float(reach[np.argmax(stop)]) if stop.any() else 12.0
    x, y = np.meshgrid(np.linspace(-left - 1, 2, 120), np.linspace(0, 8, 160))
    stable = np.abs(values(x + 1j * y, polynomial)) <= 1
    height = float(y[stable].max()) if stable.any() else 2.0
    half = max(height + 0.6, left / 2 + 0.9)
    return (-left / 2 - half, -left / 2 + half, half)


def _region(ax: Any, polynomial: list[float], box: tuple[float, float, float]) -> None:
    x, y = np.meshgrid(np.linspace(box[0], box[1], 300), np.linspace(-box[2], box[2], 300))
    size = np.abs(np.polynomial.polynomial.polyval(x + 1j * y, polynomial))
    ax.contourf(x, y, size, levels=[0, 1], colors=[style.GREY], alpha=0.22)
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
        "Grey: where |R(z)| <= 1 for the tableau's stability polynomial R. Points: h times the eigenvalues of each "
        "cell's Jacobian along test sequences, hollow before training, filled after, a sample of at most 100 conjugate "
        "pairs of each kind. Above a panel, of all stored eigenvalues: the share inside the region, over all steps h "
        "that were tried, and the share beyond the window."
    ),
    paint=paint,
)
