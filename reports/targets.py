"""The targets of speed and memory as data, and their judgement from rows alone.

A target names the workloads it is about, what is compared, and the bound. A workload it finds is a line of its own, so
that no missed one hides behind another; a target that finds none is not measured. Of warm calls the slowest stands for
all, and of the ways to save memory the best: those targets ask no more. Long because the list of targets is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from .footprints import LIMIT, footprints
from .frame import records
from .timings import FLOOR, cores, number, slopes, text, timings, workload

MET, MISSED, UNKNOWN = "✓ met", "✗ missed", "○ not measured"
LINEAR = 0.1
"""A slope this near to 1 is linear."""
DECADES = 2.0

Quantity = Literal["times", "share", "gain", "slope", "warm", "memory"]


@dataclass(frozen=True)
class AtLeast:
    """A value of a workload from here on."""

    value: float


@dataclass(frozen=True)
class Target:
    """claim: in words. where: values of the workload's columns. quantity, with the bound `least` or `most`:

    times: the peer's time over ours; share: ours over the peer's; gain: one thread over two; slope: of log time against
    log `along`; warm: seconds of the first call from a warm cache; memory: GiB of training. peers: beginnings of the
    peers' names, less those that hold a word of `but`; of several the fastest counts.
    """

    claim: str
    quantity: Quantity
    where: Mapping[str, object] = field(default_factory=dict)
    peers: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    along: str = ""
    least: float = math.nan
    most: float = math.nan

    @property
    def required(self) -> str:
        """The bound in words."""
        if self.quantity == "slope":
            return f"1 ± {LINEAR:g}"
        return f"at least {self.least:g}" if self.least == self.least else f"at most {self.most:g}"

    def judge(self, value: float) -> str:
        """`MET`, `MISSED` with the distance, or `UNKNOWN`."""
        if math.isnan(value):
            return UNKNOWN
        if self.quantity == "slope":
            if abs(value - 1) <= LINEAR:
                return MET
            return f"{MISSED}: {'steeper' if value > 1 else 'shallower'} than linear"
        if value >= self.least or value <= self.most:
            return MET
        away = self.least / value if self.least == self.least else value / self.most
        return f"{MISSED}, by {100 * (away - 1):.3g} %" if away < 2 else f"{MISSED}, by a factor {away:.3g}"


_TANH = {"work": "sequence", "cell": "leaky", "tableau": "rk4", "dtype": "float32", "device": "cpu", "threads": 1}
_SIZES = ((32, 32, 25), (128, 64, 7), (256, 128, 5))
"""Hidden, batch, and how many times as fast as torchdiffeq."""


def _tanh(**sizes: object) -> dict[str, object]:
    return {**_TANH, **sizes}


def _trajectories() -> list[Target]:
    made = []
    for tableau in ("rk4", "dormand-prince54"):
        for batch in (1, 256):
            where = {"work": "trajectory", "system": "lorenz63", "tableau": tableau, "batch": batch, "device": "cpu"}
            made.append(Target("no slower than diffrax", "times", where, ("diffrax",), least=1))
            made.append(Target("30 times as fast as SciPy", "times", where, ("scipy",), least=30))
    return made


_LONG = {"cell": "leaky", "tableau": "rk4", "hidden": 128, "batch": 32, "length": 10_000, "device": "cpu"}
_GPU = {"work": "sequence", "tableau": "rk4", "hidden": 128, "batch": 64, "length": 1000, "device": "cuda"}
_LSTM = {"work": "sequence", "cell": "lstm-field", "tableau": "gauss-seidel-euler", "dtype": "float32", "device": "cpu"}
_QUNN = {"work": "sequence", "cell": "qunn", "hidden": 64, "options": "qubits=3", "device": "cpu"}

TARGETS: tuple[Target, ...] = (
    *(
        Target(
            f"{times} times as fast as torchdiffeq",
            "times",
            _tanh(hidden=hidden, batch=batch, length=200),
            ("torchdiffeq",),
            ("own",),
            least=times,
        )
        for hidden, batch, times in _SIZES
    ),
    *(
        Target(
            "no slower than jax.lax.scan",
            "times",
            _tanh(hidden=hidden, batch=batch, length=200),
            ("jax.lax.scan",),
            least=1,
        )
        for hidden, batch, _ in _SIZES
    ),
    *(
        Target("near the products alone", "share", _tanh(hidden=hidden), (FLOOR,), most=most)
        for hidden, most in ((32, 2), (AtLeast(128), 1.25))
    ),
    Target("as fast as torch.nn.LSTM", "share", _LSTM, ("torch.nn.lstm",), most=1),
    Target("a second core helps", "gain", {"batch": AtLeast(32), "device": "cpu"}, least=1.8),
    *_trajectories(),
    Target("10 times as fast as the torch loop", "times", _QUNN, ("odernn general", "torch loop"), least=10),
    Target("first call from a warm cache, seconds", "warm", {"device": "cpu"}, most=1),
    Target("linear in the length", "slope", {"device": "cpu"}, along="length"),
    Target("linear in the batch", "slope", {"device": "cpu"}, along="batch"),
    Target("trains within 4 GiB", "memory", _LONG, most=LIMIT / 1024),
    Target("20 times as fast as torchdiffeq", "times", _GPU, ("torchdiffeq",), ("own",), least=20),
    Target("5 times as fast as a torch loop", "times", _GPU, ("torch loop",), least=5),
)

COLUMNS = (
    *("target", "workload", "against", "required", "measured", "low", "high", "verdict", "reason", "status"),
    *("device", "dtype"),
)


def judged(frame: pd.DataFrame, targets: Sequence[Target] = TARGETS) -> pd.DataFrame:
    """One line a target and workload it is about; empty where no row is of the task "speed"."""
    lines = timings(frame)
    if lines.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    made = [line for target in targets for line in _lines(target, lines, frame)]
    return pd.DataFrame(made, columns=list(COLUMNS))


def _lines(target: Target, lines: pd.DataFrame, frame: pd.DataFrame) -> list[dict[str, Any]]:
    if target.quantity == "memory":
        return _memory(target, frame)
    if target.quantity == "slope":
        return _slopes(target, lines)
    if target.quantity == "warm":
        return _warm(target, lines)
    if target.quantity == "gain":
        return _gains(target, lines)
    return _ratios(target, lines)


def _line(target: Target, known: Mapping[str, Any] | None = None, **told: Any) -> dict[str, Any]:
    """A line of the table; without a workload, the one that the target names."""
    blank: dict[str, Any] = {
        "against": "",
        "measured": math.nan,
        "low": math.nan,
        "high": math.nan,
        "reason": "",
        "status": "",
    }
    place: dict[str, Any] = {"workload": _wanted(target), "device": "", "dtype": ""}
    if known is not None:
        place = {name: known[name] for name in ("workload", "device", "dtype", "status")}
    line = blank | {"target": target.claim, "required": target.required} | place | told
    return line | {"verdict": told.get("verdict") or target.judge(float(line["measured"]))}


def _wanted(target: Target) -> str:
    """The workload that a target names, in words."""
    blank = {
        "work": "",
        "system": "",
        "cell": "",
        "tableau": "",
        "step": "",
        "options": "",
    }
    exact = {k: v for k, v in target.where.items() if not isinstance(v, AtLeast)}
    floors = [f"{k} from {v.value:g}" for k, v in target.where.items() if isinstance(v, AtLeast)]
    return " · ".join(part for part in (workload(blank | exact), *floors) if part)


def _about(target: Target, known: Mapping[str, Any]) -> bool:
    for name, wanted in target.where.items():
        value = known[name]
        if isinstance(wanted, AtLeast):
            if not number(value) >= wanted.value:
                return False
        elif name in ("device", "options"):  # "cuda:0" is a "cuda"; of several options one is asked for
            if wanted not in str(value).replace(":", ", ").split(", "):
                return False
        elif value != wanted:
            return False
    return True


def _against(target: Target, name: str) -> bool:
    lower = name.casefold()
    words = lower.split()
    return any(lower == p or lower.startswith(f"{p} ") for p in target.peers) and not set(target.but) & set(words)


def _ratios(target: Target, lines: pd.DataFrame) -> list[dict[str, Any]]:
    """Of each workload its fastest peer, or why it has none; one measured without peers only if there is no other."""
    made: list[dict[str, Any]] = []
    alone: list[dict[str, Any]] = []
    for _, group in lines[[_about(target, known) for known in records(lines)]].groupby("setting", sort=False):
        members = records(group)
        peers = [known for known in members if _against(target, known["peer"])]
        timed = [known for known in peers if known["times ours"] > 0]
        if timed:
            best = min(timed, key=lambda known: float(known["seconds"]))
            values = [float(best[name]) for name in ("times ours", "times low", "times high")]
            if target.quantity == "share":
                values = [1 / values[0], 1 / values[2], 1 / values[1]]
            told = dict(zip(("measured", "low", "high"), values, strict=True))
            made.append(_line(target, best, against=best["peer"], **told))
            continue
        ours = next((known for known in members if known["role"] == "ours"), members[0])
        stated = float(ours["metric floor ratio"])
        if target.peers == ("products alone",) and stated == stated:
            made.append(_line(target, ours, against="products alone", measured=stated))
            continue
        why = [known["reason"] for known in (*peers, ours) if known["reason"]]
        what = peers[0]["peer"] if peers else ""
        line = _line(target, ours, against=what, reason=why[0] if why else "not among what was timed")
        (made if ours["peers"] else alone).append(line)
    return made or alone[:1] or [_line(target)]


def _gains(target: Target, lines: pd.DataFrame) -> list[dict[str, Any]]:
    table = cores(lines)
    table = table[(table["role"] == "ours") & (table["base threads"] == 1) & (table["threads"] == 2)]
    about = [known for known in records(table) if _about(target, known)]
    found = [_line(target, k | {"workload": workload(k, ("threads",))}, measured=k["gain"]) for k in about]
    return found or [_line(target, reason="no workload was measured on one thread and on two")]


def _warm(target: Target, lines: pd.DataFrame) -> list[dict[str, Any]]:
    """The slowest, of workloads that take less than half the bound by themselves: loading is what it is about."""
    timed = [known for known in records(lines) if known["warm call"] > 0 and _about(target, known)]
    timed = [known for known in timed if not known["seconds"] > target.most / 2]
    if not timed:
        return [_line(target)]
    return [_line(target, max(timed, key=lambda k: float(k["warm call"])), measured=max(k["warm call"] for k in timed))]


def _slopes(target: Target, lines: pd.DataFrame) -> list[dict[str, Any]]:
    made = []
    for known, _ in slopes(lines[lines["role"] == "ours"], target.along):
        if not _about(target, known):
            continue
        span = f"{known['smallest']:g} to {known['largest']:g}"
        told = {"measured": known["slope"], "low": known["low"], "high": known["high"], "reason": span}
        where = known | {"workload": workload(known, (target.along,))}
        short = known["decades"] < DECADES - 1e-9
        made.append(_line(target, where, verdict=f"{UNKNOWN}: less than two decades" if short else "", **told))
    return made or [_line(target, reason=f"fewer than three sizes of one workload in its {target.along}")]


def _memory(target: Target, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The smallest of the ways that were tried; missed where all that were tried ran out of memory."""
    runs = [known for known in records(footprints(frame)) if _about(target, known)]
    done = [known for known in runs if known["mebibytes"] >= 0]
    if done:
        best = min(done, key=lambda known: float(known["mebibytes"]))
        how = f"{best['engine']} {best['memory']}".strip()
        return [_line(target, best, measured=best["mebibytes"] / 1024, against=how)]
    lost = [known for known in runs if known["status"] == "memory"]
    told = {"reason": text(lost[0]["reason"]), "verdict": f"{MISSED}: out of memory"} if lost else {}
    return [_line(target, (lost or runs)[0], **told)] if runs else [_line(target)]
