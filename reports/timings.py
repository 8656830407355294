"""Rows of the task "speed": what was timed, how long each peer took, and how many times as long as ours.

Every peer of a row was measured in the same process, in turns with the others: a round is one turn of all. Seconds are
medians over rounds; a ratio is between medians of the same row. Long because what a workload is and is called, what
more cores bring and how it scales are read by every table and figure of speed, and said in one place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from . import style
from .fit import power_law
from .frame import records

WORKLOAD = (
    *("work", "system", "cell", "tableau", "step", "options", "engine", "hidden", "batch", "length", "threads"),
    *("inputs", "span", "device", "dtype"),
)
"""What tells workloads apart."""

COLUMNS = (
    *WORKLOAD,
    *("workload", "peer", "role", "seconds", "lower quartile", "upper quartile", "rounds", "first call", "times ours"),
    *("times low", "times high", "over the floor", "metric floor ratio", "warm call", "reason", "status"),
    *("runs", "failed", "peers", "setting"),
)
FLOOR = "products alone"
"""The floor that "over the floor" is told of: the workload's matrix products, by the library's own product."""

_KNOWN = ("cell", "tableau", "method", "backend", "step", "steps", "rtol", "atol", "hidden", "engine")


def timings(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a workload and peer, workloads and peers in order of appearance.

    role: ours | engine (another of our engines) | peer | floor. seconds: median over the rounds of all runs, beside its
    quartiles; times ours: its median over ours, median over runs; times low, times high: quartiles of the same ratio
    round by round. over the floor: seconds over those of `FLOOR`. A peer that was not measured has NaN and its reason.
    peers: whether others were to be
    measured at all. runs and failed count the rows of the workload; one without any result is a line without a peer.
    """
    rows = frame[frame["kind"] == "speed"] if len(frame) else frame
    lines: list[dict[str, Any]] = []
    for _, group in rows.groupby("setting", sort=False) if len(rows) else ():
        lines += _workload(records(group))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _workload(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    good = [(record, _measured(record)) for record in runs if record["status"] == "ok"]
    good = [(record, measured) for record, measured in good if measured]
    lost = [record for record in runs if record["status"] != "ok"]
    known = described(runs[0]) | {"runs": len(runs), "failed": len(runs) - len(good)}
    if not good:
        why = str(lost[0]["reason"]) if lost else "the row holds no timings"
        none = {name: math.nan for name in COLUMNS if name not in known}
        return [none | known | {"peer": "", "role": "", "reason": why, "status": str(runs[0]["status"])}]
    names = list(dict.fromkeys(name for _, measured in good for name in measured))
    ours = _ours(good[0][0], names)
    lines = [known | _peer(name, ours, [m for _, m in good]) for name in names]
    floor = next((line["seconds"] for line in lines if line["peer"] == FLOOR), math.nan)
    warm = _middle(number(record.get("metrics.first_call_warm_seconds")) for record, _ in good)
    stated = _middle(number(record.get("metrics.floor_ratio")) for record, _ in good)
    for line in lines:
        own = line["role"] == "ours"
        line |= {"status": "ok", "over the floor": line["seconds"] / floor}
        line |= {"metric floor ratio": stated if own else math.nan, "warm call": warm if own else math.nan}
    return lines


def _peer(name: str, ours: str, runs: Sequence[Mapping[str, tuple[np.ndarray, float, str]]]) -> dict[str, Any]:
    """The line of one peer; runs: of every run, by peer, the seconds of its rounds, of its first call, a reason."""
    seconds = np.concatenate([run[name][0] for run in runs if name in run])
    both = [(run[name][0], run[ours][0]) for run in runs if name in run and ours in run]
    ratios = [_median(a) / _median(b) for a, b in both]
    paired = [a[: len(b)] / b[: len(a)] for a, b in both]  # a slow one stops early: its rounds are the first
    rounds = np.concatenate(paired) if paired else np.array([])
    low, high = _quartiles(rounds)
    reasons = [run[name][2] for run in runs if name in run and run[name][2]]
    return {
        "peer": name,
        "role": role(name, ours),
        "seconds": _median(seconds),
        "lower quartile": _quartiles(seconds)[0],
        "upper quartile": _quartiles(seconds)[1],
        "rounds": int(np.isfinite(seconds).sum()),
        "first call": _middle(run[name][1] for run in runs if name in run),
        "times ours": _middle(ratios),
        "times low": low,
        "times high": high,
        "reason": (reasons or [""])[0] if not np.isfinite(seconds).any() else "",
    }


def role(name: str, ours: str) -> str:
    """What a name of the timings stands for: ours | engine | floor | peer."""
    if name == ours:
        return "ours"
    if name.startswith("products"):
        return "floor"
    return "engine" if name.startswith("odernn") else "peer"


def _measured(record: Mapping[str, Any]) -> dict[str, tuple[np.ndarray, float, str]]:
    """By peer: seconds of its rounds, of its first call, why it was not measured; empty where the row has none."""
    curve = record.get("curves.timings")
    if not isinstance(curve, Mapping):
        return {}
    columns = [_list(curve.get(name)) for name in ("seconds", "first", "reason")]
    found = {}
    for place, name in enumerate(_list(curve.get("name"))):
        seconds, first, reason = (column[place] if place < len(column) else None for column in columns)
        rounds = seconds if isinstance(seconds, list) else [seconds]
        array = np.array([number(s) for s in rounds if s is not None], float)
        found[str(name)] = (array, number(first), str(reason or ""))
    return found


def _ours(record: Mapping[str, Any], names: Sequence[str]) -> str:
    told = record.get("properties.ours")
    return told if isinstance(told, str) else next((name for name in names if name.startswith("odernn")), "")


def described(record: Mapping[str, Any], apart: Sequence[str] = ()) -> dict[str, Any]:
    """The workload of a row of the frame: the columns `WORKLOAD` and the workload in words.

    apart: solver entries that are no option there. length: none for a trajectory in steps of the solver's own choice.
    """
    whole = record.get("properties.task")
    defaults = whole if isinstance(whole, Mapping) else {}

    def task(name: str) -> Any:
        value = record.get(f"task.{name}")
        return defaults.get(name) if _absent(value) else value

    idle = (*_KNOWN, *apart)
    options = {k[7:]: v for k, v in record.items() if k.startswith("solver.") and k[7:] not in idle}
    threads = number(task("threads"))
    work = text(task("work")) or "sequence"
    solved = work == "trajectory"
    adaptive = solved and number(record.get("solver.rtol")) > 0
    known = {
        "work": work,
        "system": text(task("system")) if solved else "",
        "cell": text(record.get("solver.cell")),
        "tableau": text(record.get("solver.tableau")),
        "step": text(record.get("step_label")),
        "options": ", ".join(_option(k, v) for k, v in sorted(options.items()) if not _absent(v)),
        "engine": text(record.get("solver.engine")),
        "hidden": number(record.get("solver.hidden")),
        "batch": number(task("batch")),
        "length": math.nan if adaptive else number(task("length")),
        "inputs": math.nan if solved else number(task("inputs")) or math.nan,
        "span": number(task("span")) if solved else math.nan,
        "threads": threads if threads == threads else number(record.get("environment.threads")),
        "device": str(record["device"]),
        "dtype": str(record["dtype"]),
        "peers": task("peers") is not False,
        "setting": str(record["setting"]),
    }
    return known | {"workload": workload(known)}


def workload(known: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    """A workload in words: "leaky · RK4 · hidden 32, batch 32, T=200 · h=0.1 · 1 thread"; less the columns named."""
    name, tableau, *rest = _parts(known)
    numbers, threads = _sizes(known, without)
    return _joined(name, tableau, numbers, *rest, threads)


def method(known: Mapping[str, Any]) -> str:
    """What of it is no size: "leaky · RK4 · h=0.1"."""
    return _joined(*_parts(known))


def sizes(known: Mapping[str, Any], without: Sequence[str] = ()) -> str:
    """What of it is a size, and where it ran: "hidden 32, batch 32, T=200 · 1 thread · cpu · float32"."""
    return _joined(*_sizes(known, without), str(known["device"]), str(known["dtype"]))


def _parts(known: Mapping[str, Any]) -> list[str]:
    name = style.label(known["cell"]) if known["cell"] else ""
    if known["work"] == "trajectory" and known["system"]:
        name = known["system"]
    return [name, style.label(known["tableau"]) if known["tableau"] else "", known["options"], known["step"]]


def _sizes(known: Mapping[str, Any], without: Sequence[str]) -> tuple[str, str]:
    def size(name: str, form: str) -> str:
        value = number(known.get(name))
        return form.format(value) if name not in without and value == value else ""

    length = "{:g} steps" if known["work"] == "trajectory" else "T={:g}"
    found = [size("hidden", "hidden {:g}"), size("batch", "batch {:g}"), size("length", length)]
    found += [size("inputs", "inputs {:g}"), size("span", "to t={:g}")]
    threads = size("threads", "{:g} thread" + ("" if known.get("threads") == 1 else "s"))
    return ", ".join(s for s in found if s), threads


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


# ----------------------------------------------------------------------------------------------- cores and scaling


def cores(lines: pd.DataFrame) -> pd.DataFrame:
    """One line a workload, peer and thread count beyond the smallest; `lines` are those of `timings`.

    base threads, base seconds: the smallest count of the same workload; gain: those seconds over these.
    """
    keys = [name for name in WORKLOAD if name != "threads"]
    timed = lines[(lines["seconds"] > 0) & (lines["role"] != "") & lines["threads"].notna()]
    made = []
    for _, group in timed.groupby([*keys, "peer"], sort=False, dropna=False) if len(timed) else ():
        whole = group.sort_values("peers", ascending=False, kind="stable")  # where measured twice, that beside peers
        each = whole.drop_duplicates("threads").sort_values("threads")
        base = each.iloc[0]
        for line in records(each.iloc[1:]):
            told = {"base threads": base["threads"], "base seconds": base["seconds"]}
            failed = max(int(line["failed"]), int(base["failed"]))
            made.append(line | told | {"gain": base["seconds"] / line["seconds"], "failed": failed})
    columns = [*COLUMNS, "base threads", "base seconds", "gain"]
    return pd.DataFrame(made, columns=columns)


def slopes(lines: pd.DataFrame, along: str) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The workloads that differ by `along` ("length" or "batch") alone, for each peer that has three sizes or more.

    Of each: what it is, with slope, low and high (the power of the size, its 95 % interval by `power_law`), smallest,
    largest and decades; and its lines by size.
    """
    keys = [name for name in WORKLOAD if name != along]
    timed = lines[(lines["seconds"] > 0) & (lines["role"] != "") & (lines[along] > 0)]
    found = []
    for _, group in timed.groupby([*keys, "peer"], sort=False, dropna=False) if len(timed) else ():
        each = group.sort_values(along, kind="stable")
        fit = power_law(each[along], each["seconds"])
        if fit is None:
            continue
        low, high = float(each[along].min()), float(each[along].max())
        told = {"slope": fit.exponent, "low": fit.low, "high": fit.high, "factor": fit.factor}
        told |= {"smallest": low, "largest": high, "decades": math.log10(high / low)}
        found.append(({str(k): v for k, v in each.iloc[0].items()} | told, each))
    return found


# --------------------------------------------------------------------------------------------------------- numbers


def number(value: Any) -> float:
    """The value as a float; NaN for what is no number."""
    return float(value) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else math.nan


def text(value: Any) -> str:
    """The value where it is a text, else nothing."""
    return value if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _option(name: str, value: Any) -> str:
    return "own steps each" if (name, value) == ("per_trajectory", True) else f"{name}={_short(value)}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _median(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else math.nan


def _middle(values: Any) -> float:
    return _median(np.array(list(values), float))


def _quartiles(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return math.nan, math.nan
    low, high = np.quantile(finite, [0.25, 0.75])
    return float(low), float(high)
