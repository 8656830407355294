"""The rules for learning tasks: what its batches, its measures and its baseline must be."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator
from datetime import date
from types import FrameType
from typing import Any, get_args

import numpy as np

from .contracts import Array, Batch, LearningTask, Loss
from .errors import nearest
from .leak import answers, scored
from .metrics import METRICS, mean_squared_error
from .metrics import cross_entropy as mean_cross_entropy
from .seeds import stream
from .verdict import must

SIZE = 200
"""Sequences in a batch that is only looked at."""

LARGE = 2000
"""Sequences in the batch that a baseline is compared on."""

WINDOW = 16
"""Steps that a training and a test sequence must not have in common at different places."""

BACK = 4
"""How many of the latest inputs are probed for an answer that should have to be remembered."""

_OPTIMUM = {"accuracy": 1.0, "skill": 1.0, "cross_entropy": 0.0, "mean_squared_error": 0.0, "nrmse": 0.0, "error": 0.0}
_SURE = 50.0
"""A logit so far above the others that float64 cannot see the difference from certainty."""


def _draw(task: LearningTask, size: int = SIZE, seed: int = 0, purpose: str = "check") -> Batch:
    return task.batch(size, stream(seed, f"{task.name}/{purpose}"))


def _arrays(batch: Batch) -> Iterator[tuple[str, Array]]:
    yield "inputs", batch.inputs
    yield "targets", batch.targets
    yield "weights", batch.weights


def _metric(task: LearningTask) -> str:
    name = task.primary_metric
    must(name in METRICS, f"no report can say which {name!r} is better: {nearest(name, METRICS)}")
    return f"{name}, {METRICS[name].direction} is better"


def _loss(task: LearningTask) -> str:
    loss = getattr(task, "loss", None)
    must(loss in get_args(Loss), f"loss is {loss!r}: expected one of {', '.join(get_args(Loss))}")
    return str(loss)


def _shapes(task: LearningTask) -> str:
    batch = _draw(task, 7)
    for name, array in _arrays(batch):
        must(isinstance(array, np.ndarray), f"{name} is a {type(array).__name__}: expected a NumPy array")
    steps = len(batch.inputs)
    wanted = {"inputs": (steps, 7, task.inputs), "targets": (steps, 7), "weights": (steps, 7)}
    if task.loss == "mean_squared_error":
        wanted["targets"] = (steps, 7, task.outputs)
    for name, array in _arrays(batch):
        must(array.shape == wanted[name], f"{name} has shape {array.shape}: expected {wanted[name]}")
        whole = name == "targets" and task.loss == "cross_entropy"
        dtype = np.dtype(np.int64 if whole else np.float64)
        must(array.dtype == dtype, f"{name} has dtype {array.dtype}: expected {dtype}")
    must(0 <= task.memory_length <= steps, f"memory_length is {task.memory_length} in sequences of {steps} steps")
    return f"{steps} steps, {task.inputs} inputs, {task.outputs} outputs"


def _values(task: LearningTask) -> str:
    batch = _draw(task)
    for name, array in _arrays(batch):
        must(bool(np.isfinite(array).all()), f"{name} holds NaN or infinity")
    must(bool((batch.weights >= 0).all()), "a weight is negative")
    must(bool((batch.weights.sum(axis=0) > 0).all()), "a sequence has no position that counts")
    if task.loss == "cross_entropy":
        low, high = int(batch.targets.min()), int(batch.targets.max())
        must(low >= 0 and high < task.outputs, f"classes {low} .. {high} for {task.outputs} outputs")
    return ""


def _deterministic(task: LearningTask) -> str:
    first, other, again = _draw(task), _draw(task, seed=1), _draw(task)
    for (name, a), (_, b) in zip(_arrays(first), _arrays(again), strict=True):
        must(bool(np.array_equal(a, b)), f"the same seed gave other {name}")
    must(not np.array_equal(first.inputs, other.inputs), "another seed gave the same inputs")
    return ""


def _disjoint(task: LearningTask) -> str:
    if type(task).judge is not LearningTask.judge:
        return "it judges on test data of its own"

    train, test = (_draw(task, task.test_size, 0, purpose).inputs for purpose in ("train", "test"))
    shared = _pieces(train, len(train)).keys() & _pieces(test, len(test)).keys()
    must(not shared, f"{len(shared)} sequences are in both")
    if len(train) > WINDOW:
        some = min(100, 1 + 20_000 // len(train))  # sequences: every stretch of each is looked at
        before, after = (_pieces(inputs[:, :some], WINDOW) for inputs in (train, test))
        moved = sum(before[piece] != after[piece] for piece in before.keys() & after.keys())
        must(not moved, f"{moved} stretches of {WINDOW} steps are in both, at different places")
    return ""


def _pieces(inputs: Array, length: int) -> dict[bytes, int]:
    """Where each stretch of so many steps begins, to six digits; of parts of sequences, those of many values alone, as
    a stretch of blanks or of a few symbols that appears twice is no overlap."""
    found: dict[bytes, int] = {}
    rounded = np.round(inputs, 6) + 0.0  # no negative zero
    for i in range(inputs.shape[1]):
        for start in range(len(inputs) - length + 1):
            piece = np.ascontiguousarray(rounded[start : start + length, i])
            if length == len(inputs) or len(np.unique(piece)) >= length // 2:
                found.setdefault(piece.tobytes(), start)
    return found


def _untouched(task: LearningTask) -> str:
    def states() -> list[str]:
        found = [repr(np.random.get_state()), repr(random.getstate())]  # noqa: NPY002 (looked at, not drawn from)
        if "torch" in sys.modules:
            import torch

            found.append(repr(torch.get_rng_state().tolist()))
        return found

    before = states()
    _draw(task)
    must(states() == before, "a draw moved NumPy's, Python's or torch's global random state")
    return ""


def _kept(task: LearningTask) -> str:
    batch = _draw(task)
    outputs = _constant(task, batch)
    before = [(name, array.copy()) for name, array in (*_arrays(batch), ("outputs", outputs))]
    _draw(task, seed=1)
    task.measure(outputs, batch)
    for (name, old), new in zip(before, (batch.inputs, batch.targets, batch.weights, outputs), strict=True):
        must(bool(np.array_equal(old, new)), f"the {name} of a batch changed after it had been given")
    return ""


def _timeless(task: LearningTask) -> str:
    package = type(task).__module__.partition(".")[0]
    seen: set[str] = set()

    def watch(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
            owner, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
            if getattr(called, "__module__", None) == "time" and name != "sleep":
                seen.add(f"time.{name}")
            elif isinstance(owner, type) and issubclass(owner, date) and name in ("now", "today", "utcnow"):
                seen.add(f"{owner.__name__}.{name}")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        batch = _draw(task, 7)
        task.baseline()
        task.measure(_constant(task, batch), batch)
    finally:
        sys.setprofile(before)
    must(not seen, f"it calls {', '.join(sorted(seen))}")
    return ""


def _constant(task: LearningTask, batch: Batch) -> Array:
    """The best outputs that look at no input: each step's mean target, or the logarithms of its class frequencies."""
    if task.loss == "mean_squared_error":
        return np.broadcast_to(batch.targets.mean(axis=1, keepdims=True), batch.targets.shape).copy()
    counts = (batch.targets[..., None] == np.arange(task.outputs)).mean(axis=1, keepdims=True)
    return np.broadcast_to(np.log(np.maximum(counts, 1e-12)), (*batch.targets.shape, task.outputs)).copy()


def _perfect(task: LearningTask, batch: Batch) -> Array:
    if task.loss == "mean_squared_error":
        return batch.targets.copy()
    return np.where(batch.targets[..., None] == np.arange(task.outputs), _SURE, 0.0)


def _better(metric: str) -> int:
    """+1 where larger is better, -1 where smaller is, 0 where odernn does not know the metric."""
    known = METRICS.get(metric)
    return 0 if known is None else {"higher": 1, "lower": -1, "none": 0}[known.direction]


def _optimal(task: LearningTask) -> str:
    batch = _draw(task)
    answer = _perfect(task, batch)
    perfect = task.measure(answer, batch)
    for name, value in perfect.items():
        if name in _OPTIMUM:
            far = abs(value - _OPTIMUM[name])
            must(far < 1e-9, f"a perfect answer has {name} {value:.6g}: expected {_OPTIMUM[name]:g}")
    primary = task.primary_metric
    if primary not in perfect:
        return f"{primary} is judged on a trained model, not measured on a batch"
    rng = stream(0, "check/noise")
    scale = float(np.std(answer)) or 1.0
    noise = scale * rng.normal(size=answer.shape)
    worse = {
        "noise": noise,
        "a noisy answer": answer + 0.1 * noise,
        "a shifted answer": answer + scale,
    }
    for what, outputs in worse.items():
        measured = task.measure(outputs, batch)
        for name, value in perfect.items():
            other = measured.get(name, math.nan)
            told = f"{what} has {name} {other:.6g}, a perfect one {value:.6g}"
            must(not _better(name) * (other - value) > 1e-9 * max(1.0, abs(value)), f"{told}: it is no better")
            if what == "noise" and name == primary:
                must(_better(name) * (value - other) > 0, f"{told}: it is worse")
    return f"{primary} = {perfect[primary]:.6g}"


def _baseline(task: LearningTask) -> str:
    baseline, primary = task.baseline(), task.primary_metric
    must(primary in baseline, f"the primary metric {primary!r} is not in it: {', '.join(baseline) or 'it is empty'}")
    value = baseline[primary]
    must(isinstance(value, float | int) and math.isfinite(value), f"{primary} is {value!r}")
    batch = _draw(task, LARGE)
    reached = task.measure(_constant(task, batch), batch)
    if primary not in reached:
        return f"{primary} = {value:.6g}, judged on a trained model and not reproduced here"
    detail = f"{primary} = {value:.6g}, the best constant answer of each step reaches {reached[primary]:.6g}"
    sign, perfect = _better(primary), task.measure(_perfect(task, batch), batch)[primary]
    scale = abs(perfect - reached[primary]) or 1.0
    # 10 %: what 2000 sequences leave of sampling error, and the odd step where a constant wins by luck.
    must(sign * (value - reached[primary]) >= -0.1 * scale, f"{detail}: it must be at least as good")
    must(sign * (value - perfect) <= 0, f"{detail}, a perfect one {perfect:.6g}: no baseline is better than that")
    return detail


def _remembered(task: LearningTask) -> str:
    if task.memory_length == 0:
        return "nothing has to be remembered: memory_length is 0"
    train, test = _draw(task, LARGE, 0, "check/probe"), _draw(task, LARGE // 2, 1, "check/probe")
    steps = scored(train)
    weights = np.zeros_like(test.weights)
    weights[steps] = test.weights[steps]
    part = Batch(test.inputs, test.targets, weights)
    constant, name, measure = _constant(task, test), task.primary_metric, task.measure
    declared: float | None = None
    if name in (whole := measure(constant, test)):
        # What a constant answer reaches, and what the task says that the present input adds to it.
        declared = task.baseline()[name] - whole[name]
    else:
        name = task.loss
        loss = mean_squared_error if name == "mean_squared_error" else mean_cross_entropy

        def measure(outputs: Array, batch: Batch) -> dict[str, float]:
            return {name: float(loss(outputs, batch.targets, batch.weights))}

    sign, reached = _better(name), measure(constant, part)[name]
    perfect = measure(_perfect(task, test), part)[name]
    span, largest = sign * (perfect - reached), 0.0
    if not steps or not span > 0:
        return "every answer is always the same"
    for back in range(min(task.memory_length, BACK)):
        # The present input has the baseline to beat, by a tenth of what is to be had. Nearer inputs than the one that
        # matters may say something of it; that they say nearly all would make memory_length untrue.
        allowed = 0.1 + max(0.0, sign * declared / span) if back == 0 and declared is not None else 0.9
        there = [t for t in steps if t >= back]
        for probe, outputs in answers(task, train, test, constant, there, back):
            share = sign * (measure(outputs, part)[name] - reached) / span
            largest = max(largest, share)
            where = "the present input" if back == 0 else f"the input {back} step{'s' * (back > 1)} before"
            must(share <= allowed, f"{probe} on {where} gains {share:.0%} of what a perfect answer gains in {name}")
    return (
        f"no probe of one of the latest inputs gains more than {max(largest, 0.0):.0%} of what a perfect answer gains"
    )


LEARNING: list[tuple[str, Callable[[Any], str]]] = [
    ("declares a primary metric that odernn knows", _metric),
    ("declares a loss that odernn has", _loss),
    ("draws batches of the declared shapes and dtypes", _shapes),
    ("draws finite values, weights that count, classes in range", _values),
    ("draws the same for a seed, and other for another", _deterministic),
    ("draws disjoint training and test sequences", _disjoint),
    ("leaves every global random state alone", _untouched),
    ("leaves batches that it gave alone", _kept),
    ("asks no clock", _timeless),
    ("gives a perfect answer the optimum", _optimal),
    ("has a baseline that a constant answer reproduces or falls short of", _baseline),
    ("does not show in its latest inputs what is to be remembered", _remembered),
]
