"""The same points of two folders of results, paired up to the seed: what `suite.comparison` judges.

Groups are points up to the seed. Past 200 lines because what counts as a result, on which side, is said once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .errors import UsageError, unknown
from .metrics import METRICS, Metric
from .printable import printable
from .row import Row, describe, identity, read, rows_file

Array = npt.NDArray[Any]
Verdict = Literal["regression", "improvement", "within tolerance", "changed", "unclear", "refused", "unchanged"]

COSTS: Mapping[str, Metric] = {
    name: Metric(name, unit, "lower", "")
    for name, unit in (
        *(("seconds", "s"), ("train_seconds", "s"), ("solve_seconds", "s"), ("peak_memory_mib", "MiB")),
        *(("f_calls", "1"), ("parameters", "1"), ("jacobian_calls", "1"), ("factorizations", "1")),
    )
}
"""The costs of a row that have a better direction."""
TRAINED = ("updates", "train_seconds")
"""Costs that only a run that was trained has: it depends on its seed, however few seeds there are."""


@dataclass(frozen=True)
class Finding:
    """One group: the mean over paired seeds before and after, how sure the difference is, and the verdict.

    difference: after - before; relative: that over |before|; interval: of the difference; p: of the sign-flip test,
    corrected over the groups that were tested. None: not computed, `reason` says why.
    """

    point: str
    metric: str
    direction: str
    seeds: tuple[int, ...]
    before: float
    after: float
    difference: float
    relative: float
    interval: tuple[float, float] | None = None
    p: float | None = None
    p_corrected: float | None = None
    verdict: Verdict = "unclear"
    reason: str = ""


@dataclass(frozen=True)
class Event:
    """A point with a result on one side and none on the other: what it is, and what became of it."""

    point: str
    kind: Literal["lost", "gained"]
    reason: str


@dataclass(frozen=True)
class Side:
    """A folder's rows by group and seed; what could not be read."""

    groups: dict[str, dict[int, Row]]
    torn: list[str]


@dataclass
class Pairs:
    """The pairs of one group, while it is judged."""

    finding: Finding
    before: Array
    after: Array
    exact: bool
    noisy: bool
    beyond: float | None = None  # the corrected p-value of being worse by more than the tolerance

    @property
    def differences(self) -> Array:
        with np.errstate(over="ignore"):  # what is past arithmetic is not judged
            return np.subtract(self.after, self.before)

    @property
    def rounding(self) -> float:
        """Of sums of the differences, from the rounding of what they are differences of."""
        return float(2.0**-50 * (np.abs(self.before).sum() + np.abs(self.after).sum()))


def load(folder: Path) -> Side:
    """The newest rows of a folder. Raises `UsageError` where there are none."""
    found = read(rows_file(folder))
    groups: dict[str, dict[int, Row]] = {}
    for row in found.newest().values():
        groups.setdefault(_group(row), {})[row["seed"]] = row
    if not groups:
        raise UsageError(f"{printable(str(folder))} holds no rows yet.")
    return Side(groups, found.torn)


def _group(row: Row) -> str:
    """What identifies a row's point up to its seed."""
    return identity(_asked(row) | {"seed": 0})


def _asked(row: Row) -> Row:
    """The row with its solver as the point gave it: without the engine, where the run found that for itself."""
    if "engine" not in row["solver"]:
        return row
    solver = {key: value for key, value in row["solver"].items() if key != "engine"}
    asked = row | {"solver": solver}
    if identity(asked) == row["id"]:
        return asked
    automatic = row | {"solver": {**solver, "engine": "auto"}}
    return automatic if identity(automatic) == row["id"] else row


def known(metric: str, sides: Sequence[Side]) -> None:
    """Raises `UsageError` where no row of the sides has such a metric or cost."""
    rows = [row for side in sides for group in side.groups.values() for row in group.values()]
    names = {name for row in rows for section in ("metrics", "cost") for name in row[section]}
    if metric not in names:
        raise unknown("metric or cost of these rows", metric, names)


def labels_of(groups: Mapping[str, Mapping[int, Row]]) -> dict[str, str]:
    """A short name of each group; the budget is named where it tells two of them apart."""
    points = {key: rows[min(rows)] for key, rows in groups.items()}
    short = {key: printable(describe(_asked(row)).rpartition(" | ")[0]) for key, row in points.items()}
    counts = Counter(short.values())
    return {
        key: name if counts[name] == 1 else f"{name} | {_budget(points[key])} | {key[:6]}"
        for key, name in short.items()
    }


def _budget(row: Row) -> str:
    return printable(" ".join(f"{name}={value}" for name, value in row["budget"].items()))


def _number(row: Row, metric: str) -> float | None:
    """The metric or cost of a row; None where it has no such number."""
    value = row["metrics"].get(metric, row["cost"].get(metric))
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _primary(rows: Sequence[Row]) -> str | None:
    for row in sorted(rows, key=lambda row: row["status"] != "ok"):
        name = row["properties"].get("primary_metric")
        if isinstance(name, str):
            return name
    return None


def _facts(metric: str) -> Metric:
    return METRICS.get(metric) or COSTS.get(metric) or Metric(metric, "1", "none", "")


def gain(direction: str) -> int:
    """+1 where a larger value is better, -1 where a smaller one is, 0 where neither is."""
    return {"higher": 1, "lower": -1}.get(direction, 0)


def pair(
    label: str, before: Mapping[int, Row], after: Mapping[int, Row], metric: str | None
) -> tuple[Pairs | None, list[Event], Counter[str]]:
    """The pairs of a group that has some; its points with a result on one side alone; how many have no pair and why."""
    name = metric or _primary([*before.values(), *after.values()]) or ""
    facts, events, unmeasured = _facts(name), list[Event](), Counter[str]()
    seeds, old, new, used = list[int](), list[float](), list[float](), list[Row]()
    for seed in sorted(before.keys() & after.keys()):
        rows = (before[seed], after[seed])
        values = [_number(row, name) if row["status"] == "ok" else None for row in rows]
        a, b = (None if value is None or math.isnan(value) else value for value in values)
        kind = _event(rows, a, b, facts.direction)
        if kind is not None:
            events.append(Event(f"{label} | seed {seed}", kind, _became(rows, values, printable(name))))
        elif a is None or b is None:
            bad = next((row["status"] for row in rows if row["status"] != "ok"), None)
            why = f"without a result in both ({bad})" if bad else f"without a value of {printable(name) or 'a metric'}"
            unmeasured[why] += 1
        elif math.isfinite(a) and math.isfinite(b):
            seeds.append(seed)
            old.append(a)
            new.append(b)
            used += rows
        else:
            unmeasured["infinite in both" if a == b else f"with an infinite {printable(name)} on one side"] += 1
    if not seeds:
        return None, events, unmeasured
    x, y = np.array(old), np.array(new)
    with np.errstate(over="ignore", invalid="ignore"):
        mean_x, mean_y = float(np.mean(x)), float(np.mean(y))
        difference = float(np.mean(y - x))
    finding = Finding(
        *(label, name, facts.direction, tuple(seeds), mean_x, mean_y, difference),
        relative=_relative(difference, mean_x),
    )
    alike = len(seeds) == 1 or bool((x == x[0]).all() and (y == y[0]).all())
    exact = alike and not any(key in row["cost"] for row in used for key in TRAINED)
    noisy = facts.unit in ("s", "MiB") or name.startswith("floor_ratio")
    return Pairs(finding, x, y, exact and not noisy, noisy), events, unmeasured


def _event(rows: tuple[Row, Row], a: float | None, b: float | None, direction: str) -> Literal["lost", "gained"] | None:
    """Whether a point lost its result, or gained one: its status, its number, or that the number is finite."""
    ok_before, ok_after = (row["status"] == "ok" for row in rows)
    if ok_before and ok_after:
        if a is not None and b is not None:
            if math.isfinite(a) == math.isfinite(b) or not gain(direction):
                return None
            return "lost" if gain(direction) * b < gain(direction) * a else "gained"
        return "lost" if a is not None else "gained" if b is not None else None
    if ok_before == ok_after:
        return None
    return "lost" if ok_before else "gained"


def _became(rows: tuple[Row, Row], values: Sequence[float | None], metric: str) -> str:
    def state(row: Row, value: float | None) -> str:
        if row["status"] != "ok":
            reason = printable(row["reason"].partition("\n")[0])[:120]
            return printable(row["status"]) + (f" ({reason})" if reason else "")
        return f"ok, {metric} {'absent' if value is None else f'{value:.4g}'}" if metric else "ok"

    return f"{state(rows[0], values[0])} -> {state(rows[1], values[1])}"


def _relative(difference: float, before: float) -> float:
    if difference == 0:
        return 0.0
    return difference / abs(before) if before else math.copysign(math.inf, difference)
