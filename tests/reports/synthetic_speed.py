"""Made-up rows of the tasks "speed" and "footprint", as rows.jsonl would hold them. No number here was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Maker = Callable[..., dict[str, Any]]
"""`row` of synthetic.py."""

SPREAD = (1.0, 0.9, 1.2, 1.0, 1.1)
"""Of the rounds about the number given, whose median is 1."""

PEERS: Mapping[str, float] = {
    "odernn cpu": 1.0,
    "odernn general": 11.0,
    "torch loop": 9.0,
    "torchdiffeq": 28.0,
    "torchdiffeq own rk4": 21.0,
    "jax.lax.scan": 1.5,
    "torch.nn.RNN (one stage, another model)": 0.4,
    "products alone": 0.8,
    "products at best rate": 0.5,
}
"""Times ours."""


def timed(
    row: Maker,
    seconds: Mapping[str, float | Sequence[float] | None],
    solver: Mapping[str, Any] | None = None,
    missing: Mapping[str, str] | None = None,
    seed: int = 0,
    metrics: Mapping[str, float] | None = None,
    parts: Mapping[str, Any] | None = None,
    **task: Any,
) -> dict[str, Any]:
    """A row of the task "speed": by peer its median, or the seconds of its rounds; and why others are missing."""
    whole = {"name": "speed", "work": "sequence", "length": 200, "batch": 32, "threads": 1, "peers": True} | task
    absent = dict(missing or {})
    rounds = [list(s) if isinstance(s, Sequence) else [float(s or 0) * f for f in SPREAD] for s in seconds.values()]
    names = list(seconds)
    curve = {
        "name": [*names, *absent],
        "seconds": [*rounds, *([] for _ in absent)],
        "first": [*(2.5 if "jax" in n or n == "diffrax" else 0.4 for n in names), *(None for _ in absent)],
        "reason": [*("" for _ in names), *absent.values()],
    }
    made: dict[str, Any] = {
        "metrics": {"median_seconds": sorted(rounds[0])[len(rounds[0]) // 2], "first_call_seconds": 0.4},
        "curves": {"timings": curve},
        "properties": {"primary_metric": "median_seconds", "ours": names[0], "products_flop": 1.57e8, "learns": False},
        "dtype": "float32",
    }
    made["metrics"] |= dict(metrics or {})
    known = {"cell": "leaky", "tableau": "rk4", "backend": "native", "step": 0.1, "hidden": 32, "engine": "cpu"}
    known |= dict(solver or {})
    return row(whole, {k: v for k, v in known.items() if v is not None}, seed, **(made | dict(parts or {})))


def lost(row: Maker, status: str, reason: str, solver: Mapping[str, Any] | None = None, **task: Any) -> dict[str, Any]:
    """A row of the task "speed" without a result."""
    none = {"status": status, "reason": reason, "metrics": {}, "curves": {}, "properties": {}}
    return timed(row, {"odernn cpu": 1.0}, solver, parts=none, **task)


def footprint(
    row: Maker, length: int, engine: str, memory: str, mebibytes: float | None, hidden: int = 128, **parts: Any
) -> dict[str, Any]:
    """A row of the task "footprint"; None for a run that ran out of memory."""
    solver = {"cell": "leaky", "tableau": "rk4", "backend": "native", "hidden": hidden, "engine": engine}
    made: dict[str, Any] = {"properties": {"learns": False}, "dtype": "float32"}
    if mebibytes is None:
        made |= {"status": "memory", "reason": "more than 4 GiB of memory"}
    else:
        made["metrics"] = {"training_memory_mib": mebibytes, "train_step_seconds": length / 1000}
    task = {"name": "footprint", "length": length, "batch": 32}
    return row(task, solver | ({"memory": memory} if memory else {}), **(made | parts))


def every_speed(row: Maker) -> list[dict[str, Any]]:
    """Workloads of every kind on one thread and on two, both scalings, missing peers, and runs without a result."""
    gone = {"torchode": "package torchode is not installed"}
    made = []
    for hidden, batch, seconds in ((32, 32, 0.02), (128, 64, 0.15), (256, 128, 1.1)):
        for threads in (1, 2) if hidden < 256 else (1,):
            ours = seconds if threads == 1 else seconds / 1.7
            faster = {"torchdiffeq": 0.3} if hidden > 32 else {}
            slowed = {"jax.lax.scan": 0.9} if hidden > 128 else {}
            times = {name: ours * PEERS[name] * (faster | slowed).get(name, 1.0) for name in PEERS}
            sizes = {"hidden": hidden}
            made.append(timed(row, times, sizes, gone, metrics={"floor_ratio": 1.25}, batch=batch, threads=threads))
    gates = {"cell": "lstm-field", "tableau": "gauss-seidel-euler", "step": 1.0, "hidden": 128}
    made.append(timed(row, {"odernn cpu": 0.05, "torch.nn.LSTM": 0.048, "odernn general": 0.4}, gates, batch=64))
    chain = {"cell": "qunn", "tableau": "strang", "hidden": 64, "qubits": 3}
    made.append(timed(row, {"odernn cpu": 0.1, "odernn general": 1.3}, chain, inputs=3))
    for tableau, how in (("rk4", {"step": 0.01}), ("dormand-prince54", {"step": None, "rtol": 1e-6})):
        for batch in (1, 256):
            field = {"cell": "true-field", "tableau": tableau, "hidden": None, **how}
            times = {"odernn cpu": 0.001 * batch**0.5, "diffrax": 0.003 * batch**0.5, "SciPy solve_ivp": 0.05 * batch}
            place = {"work": "trajectory", "system": "lorenz63", "span": 10.0, "batch": batch}
            place |= {"length": 1000 if tableau == "rk4" else 1}
            made.append(timed(row, times, field, gone, parts={"dtype": "float64"}, **place))
    for length in (20, 200, 2000):
        times = {"odernn cpu": 1e-4 * length, "torch loop": 9e-4 * length}
        made.append(timed(row, times, length=length, batch=64, peers=False))
    for batch in (4, 32, 128, 400):
        times = {"odernn cpu": 4e-4 * batch + 1e-3, "torch loop": 1e-4 * batch + 0.2}
        made.append(timed(row, times, length=201, batch=batch, peers=False))
    made.append(lost(row, "timeout", "more than 600 s", {"hidden": 512}, batch=128))
    return made


def every_footprint(row: Maker) -> list[dict[str, Any]]:
    """Two sizes, two engines, three memory modes; the longest run out of memory on the general path."""
    made = []
    for hidden in (32, 128):
        for length in (100, 1000, 10_000):
            whole = 0.12 * length * hidden / 32
            made.append(footprint(row, length, "general", "", None if whole > 4096 else 3 * whole, hidden))
            made.append(footprint(row, length, "cpu", "states", 40 + whole / 3, hidden))
            made.append(footprint(row, length, "cpu", "segments", 40 + whole**0.5, hidden))
    slow = {"status": "timeout", "reason": "more than 600 s", "metrics": {}}
    made.append(footprint(row, 100_000, "cpu", "segments", 1.0, 128, **slow))
    made.append(footprint(row, 100_000, "cpu", "states", None, 128))
    return made
