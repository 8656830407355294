"""Learning curves: test loss against updates, one panel a task, the baseline drawn, the spread over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import style
from ..frame import natural, options, panels, sign
from ..pieces import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

PANELS = 18
CROWD = 16
"""A panel of more settings is drawn as one panel a cell."""


def paint(frame: pd.DataFrame) -> Canvas | None:
    """Median over seeds with the range as a band; a run that diverged ends in a cross."""
    trained = frame[frame["kind"] != "stability"]  # that task has figures of its own
    rows = trained[[_usable(curve) for curve in trained["curves.learning"]]]
    if rows.empty:
        return None
    many = rows[["device", "dtype"]].drop_duplicates().shape[0] > 1
    rows = rows.assign(budget=_budgets(rows))
    parts = []
    for (*key, budget), part in panels(rows, ["task_label", "device", "dtype", "budget"]):
        crowded = part["setting"].nunique() > CROWD
        own = panels(part, ["solver.cell"]) if crowded else [(("",), part)]
        parts += [((*key, " · ".join(s for s in (style.label(c) if c else "", budget) if s)), p) for (c,), p in own]
    canvas, axes = style.grid(min(len(parts), PANELS))
    variants: dict[str, str] = {}
    for _, part in parts:
        variants |= _variants(part)
    marked = sorted({v for v in variants.values() if v}, key=natural)
    markers: dict[str, dict[str, Any]] = {v: style.variant(place) for place, v in enumerate(marked)} | {"": {}}
    for ax, ((task, device, dtype, budget), part) in zip(axes, parts, strict=False):
        baseline = _baseline(part)
        top = _top(part, baseline)
        for setting, group in part.groupby("setting", sort=False):
            _curve(ax, group, markers[variants[str(setting)]], top)
        if baseline is not None:
            ax.axhline(baseline, color=style.GREY, linewidth=1, linestyle=(0, (2, 2)))
        ax.set_yscale("log")
        if baseline is not None and ax.get_ylim()[1] > CEILING * baseline:
            ax.set_ylim(top=CEILING * baseline)
        ax.set(xlabel="updates", ylabel="test loss")
        small = [f"{device} · {dtype}" if many else "", budget]
        style.head(ax, task, " · ".join(s for s in small if s))
        style.log_ticks(ax, "y")
    if len(parts) > PANELS:
        canvas.suptitle(f"the first {PANELS} of {len(parts)} panels; the tables hold all", x=0.01, ha="left")
    handles: list[Any] = [
        style.handle(style.label(cell), color=style.colour(cell)) for cell in style.by_name(rows["solver.cell"])
    ]
    names = style.by_name(t for t in rows["solver.tableau"] if t)
    handles += [style.handle(style.label(t), linestyle=style.dashes(t)) for t in names]
    handles += [style.handle(v, **markers[v], linestyle="none", markersize=3.5) for v in marked]
    handles.append(style.handle("baseline", color=style.GREY, linestyle=(0, (2, 2))))
    if (rows["status"] != "ok").any():
        handles.append(style.handle("diverged", marker="x", linestyle="none", markersize=5))
    style.legend(canvas, handles)
    return canvas


CEILING = 30


def _usable(curve: object) -> bool:
    return isinstance(curve, dict) and len(curve.get("updates", [])) > 0


def _values(curve: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(curve.get("test") or curve.get("loss"), float)


def _curve(ax: Any, group: pd.DataFrame, marker: dict[str, Any], top: float) -> None:
    first = group.iloc[0]
    look = {"color": style.colour(first["solver.cell"]), "linestyle": style.dashes(first["solver.tableau"])}
    whole = [c for c, s in zip(group["curves.learning"], group["status"], strict=True) if s == "ok"]
    updates = np.unique(np.concatenate([np.asarray(c["updates"], float) for c in whole])) if whole else np.zeros(0)
    if len(updates):
        curves = np.array([np.interp(updates, c["updates"], _values(c)) for c in whole])
        middle = np.median(curves, axis=0)
        every = max(1, len(updates) // 4)
        marks = {**marker, "markevery": every, "markersize": 3} if marker else {}
        ax.plot(updates, middle, **look, **marks)
        if len(curves) > 1:
            ax.fill_between(updates, curves.min(0), curves.max(0), color=look["color"], alpha=0.18, linewidth=0)
    for curve in group.loc[group["status"] != "ok", "curves.learning"]:
        values = np.asarray(_values(curve), float)
        last = np.flatnonzero(np.isfinite(values))[-1:]
        ax.plot(curve["updates"], np.minimum(values, top), **look, linewidth=0.8)
        for end in last:
            place = (curve["updates"][end], min(values[end], top))
            ax.plot(*place, marker="x", markersize=5, color=look["color"], clip_on=False)


def _top(part: pd.DataFrame, baseline: float | None) -> float:
    """Where diverging curves are cut off: three times the highest loss of the others, or of the baseline."""
    whole = [_values(c) for c in part.loc[part["status"] == "ok", "curves.learning"]]
    known = [float(v) for values in whole for v in values] + ([] if baseline is None else [baseline])
    finite = [v for v in known if np.isfinite(v)]
    return 3 * max(finite) if finite else float("inf")


def _baseline(part: pd.DataFrame) -> float | None:
    """The baseline of the loss: of the metrics that are better lower and have one, the nearest to the curves' ends.

    Rows do not name the metric that their loss is, and a task of another package has its own. None for a forecast,
    whose baseline is of whole forecasts and not of one step.
    """
    if (part["kind"] != "sequence").any():
        return None
    ends = np.array([_values(curve)[-1] for curve in part["curves.learning"]])
    found: dict[float, float] = {}
    for column in (c for c in part.columns if c.startswith("metrics.baseline_")):
        name = column.removeprefix("metrics.baseline_")
        if sign(name) > 0 or f"metrics.{name}" not in part or not part[column].notna().any():
            continue
        with np.errstate(all="ignore"):
            away = np.abs(np.log(part[f"metrics.{name}"].to_numpy(float) / ends))
        away = away[np.isfinite(away)]
        found[float(np.median(away)) if len(away) else np.inf] = float(part[column].dropna().iloc[0])
    return found[min(found)] if found else None


def _budgets(rows: pd.DataFrame) -> pd.Series[str]:
    """What of the budget varies within a task, as text: curves of different budgets do not belong on one panel."""
    columns = [c for c in rows.columns if c.startswith("budget.")]
    found = pd.Series([""] * len(rows), index=rows.index, dtype=object)
    for _, part in rows.groupby("task_label", sort=False):
        varied = [c for c in columns if part[c].map(str).nunique() > 1]
        for c in varied:
            found[part.index] += [f", {c.removeprefix('budget.')}={v:g}" if pd.notna(v) else "" for v in part[c]]
    return found.str.removeprefix(", ")


def _variants(part: pd.DataFrame) -> dict[str, str]:
    """By setting, what tells it from others of the same cell and tableau on its panel: backend, step, options."""
    found: dict[str, str] = {}
    for _, group in part.groupby(["solver.cell", "solver.tableau"], sort=False):
        other = options(group)
        steps, backends = group["step_label"].nunique() > 1, group["solver.backend"].nunique() > 1
        for _, line in group.drop_duplicates("setting").iterrows():
            parts = [line["solver.backend"] if backends else "", line["step_label"] if steps else ""]
            setting = str(line["setting"])
            found[setting] = ", ".join(p for p in (*parts, other.get(setting, "")) if p)
    return found


FIGURE = Figure(
    name="learning",
    title="Learning curves",
    kinds=("forecast", "integration", "sequence"),
    caption=(
        "Test loss against optimiser updates: median over seeds, band from the lowest to the highest seed. Dashed "
        "grey: the loss of the best predictor without memory. A run that diverged is a thin line that ends in a "
        "cross. What lies above thirty times the baseline is left out of sight."
    ),
    paint=paint,
)
