"""Does a task give its answers away? Memoryless probes that read one input and try to give the target.

A probe sees the input `back` steps before a step that is scored, and nothing else: quadratic ridge regression and
nearest neighbours, fitted on one batch, answering for another. What a task asks its solvers to remember, no such probe
can know better than the baseline that the task declares.

They find an answer that stands in one input, alone or as a smooth function of it. They do not find one that is spread
over several steps, encrypted, or told by what a sequence is beside its inputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .contracts import Array, Batch, LearningTask

POSITIONS = 16
"""Scored steps that are looked at, spread evenly over those at which the target is not always the same."""

NEIGHBOURS = (1, 16)
QUADRATIC = 10
"""Inputs up to which a ridge regression also sees their products."""


def scored(batch: Batch) -> list[int]:
    """The steps to look at: they count, and their target differs from sequence to sequence."""
    counts = (batch.weights > 0).any(axis=1)
    varies = (batch.targets != batch.targets[:, :1]).reshape(len(batch.targets), -1).any(axis=1)
    steps = np.flatnonzero(counts & varies)
    if not len(steps):
        return []
    chosen = np.unique(np.linspace(0, len(steps) - 1, POSITIONS).round().astype(int))
    return [int(step) for step in steps[chosen]]


def answers(
    task: LearningTask, train: Batch, test: Batch, constant: Array, steps: list[int], back: int
) -> Iterator[tuple[str, Array]]:
    """(what the probe is, its outputs (time, batch, outputs)): the constant answer but at `steps`.

    steps: each at least `back`.
    """
    probes = ["a quadratic regression", *(f"{k} nearest neighbour{'s' * (k > 1)}" for k in NEIGHBOURS)]
    found = [constant.copy() for _ in probes]
    for t in steps:
        x, z = _standardised(train.inputs[t - back], test.inputs[t - back])
        wanted = _wanted(task, train.targets[t])
        near = _nearest(x, z, max(NEIGHBOURS))
        guesses = [_ridge(x, wanted, z), *(wanted[near[:, :k]].mean(axis=1) for k in NEIGHBOURS)]
        for outputs, guess in zip(found, guesses, strict=True):
            outputs[t] = guess if task.loss == "mean_squared_error" else np.log(np.clip(guess, 1e-6, 1.0))
    yield from zip(probes, found, strict=True)


def _standardised(x: Array, z: Array) -> tuple[Array, Array]:
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return (x - mean) / scale, (z - mean) / scale


def _wanted(task: LearningTask, targets: Array) -> Array:
    """What is regressed on: the numbers themselves, or one column a class."""
    if task.loss == "mean_squared_error":
        return targets
    return np.asarray(targets[:, None] == np.arange(task.outputs), float)


def _features(x: Array) -> Array:
    columns = [np.ones((len(x), 1)), x]
    if x.shape[1] <= QUADRATIC:
        first, second = np.triu_indices(x.shape[1])
        columns.append(x[:, first] * x[:, second])
    return np.concatenate(columns, axis=1)


def _ridge(x: Array, y: Array, z: Array) -> Array:
    A = _features(x)
    found: Array = _features(z) @ np.linalg.solve(A.T @ A + 1e-6 * len(A) * np.eye(A.shape[1]), A.T @ y)
    return found


def _nearest(x: Array, z: Array, count: int) -> Array:
    """For each row of z the `count` nearest rows of x, nearest first: (len(z), count)."""
    squares = (z * z).sum(axis=1)[:, None] - 2 * z @ x.T + (x * x).sum(axis=1)
    count = min(count, len(x))
    some = np.argpartition(squares, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(squares, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)
