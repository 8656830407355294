"""Multiple shooting: a torch field trained through the steps of a method on segments that grow."""

from __future__ import annotations

import itertools
import math
import time
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...suite.contracts import Array, Learned
from ...suite.errors import Diverged, UsageError
from ...suite.learn import HOPELESS, decayed
from ...suite.seeds import stream
from ..integration import integrate
from ..learned_flow import LearnedFlow
from ..spec import find_method
from .flow import account
from .ridge import ridge_regression
from .rung import Lesson

VALIDATION = 256
"""Segments of the learning curve."""

PAIRS_SOLVED = 3000
"""Pairs of samples that the output layer is solved on, or more for a wide one."""

ROUNDING = 0.01
"""Ridge on the weights of the output layer, in roundings a pair."""

CHORDS = 12
"""Iterations of that."""

CLOSING = ("native", "torchdiffeq")
"""Backends whose gradient reaches tensors that a plain function closes over."""

PAIRS = 0.5
"""The fraction of the updates that are made on single steps, before segments grow."""


class FieldNetwork(torch.nn.Module):
    """forward(t, z) = scale * network(z), for z (..., d); scale (d,) is of the order of dz/dt."""

    def __init__(self, scale: Array, hidden: int, depth: int, generator: torch.Generator) -> None:
        super().__init__()
        widths = [len(scale), *[hidden] * depth]
        layers: list[torch.nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.Tanh()]
        self.network = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], len(scale)))
        for layer in self.network:
            if isinstance(layer, torch.nn.Linear):  # Glorot and Bengio 2010 with their gain for tanh left at one
                torch.nn.init.xavier_uniform_(layer.weight, generator=generator)
                torch.nn.init.zeros_(layer.bias)
        self.scale: Tensor
        self.register_buffer("scale", torch.as_tensor(scale))

    def forward(self, t: Any, z: Tensor) -> Tensor:
        return self.scale * self.network(z)  # type: ignore[no-any-return]


def segment_length(progress: float, longest: int) -> int:
    """Samples of a segment at that fraction of the updates: one, then doubling in equal stretches up to the longest."""
    doublings = math.ceil(math.log2(longest))
    if progress < PAIRS or doublings == 0:
        return 1
    stage = min(doublings, 1 + int((progress - PAIRS) / (1.0 - PAIRS) * doublings))
    return min(longest, int(2**stage))


class Shooting:
    """Segments of the training series, and what a field's rollouts from their first states miss."""

    def __init__(self, lesson: Lesson, module: FieldNetwork, kind: torch.dtype) -> None:
        self.lesson = lesson
        # a bare module hands its weights over, which SciPy's gradient needs and which costs the others a third more
        self.field = module if lesson.backend not in CLOSING else lambda t, z: module(t, z)
        self.method = find_method(lesson.tableau)
        series = lesson.series
        self.samples, self.count = series.shape[:2]
        self.series = torch.tensor(series, dtype=kind)
        self.increment = torch.as_tensor(np.asarray(lesson.task.increment), dtype=kind)

    def segments(self, size: int, length: int, rng: np.random.Generator) -> Tensor:
        """(length + 1, size, inputs)."""
        starts, which = rng.integers(0, self.samples - length, size), rng.integers(0, self.count, size)
        return self.series[torch.as_tensor(starts + np.arange(length + 1)[:, None]), torch.as_tensor(which)]

    def loss(self, segments: Tensor) -> Tensor:
        lesson = self.lesson
        times = [lesson.task.sampling * i for i in range(len(segments))]
        found = integrate(
            self.field, segments[0], times, None, self.method, lesson.backend, steps=lesson.substeps
        ).states
        missed: Tensor = (found[1:] - segments[1:]) / self.increment
        return missed.square().mean()


def solve_output(shooting: Shooting, module: FieldNetwork, rng: np.random.Generator) -> FieldNetwork:
    """A copy in float64 whose output layer, in which the field is linear, is solved for on pairs of samples.

    A chord iteration: what the steps miss, over the time of a sample, is regressed on the hidden units, averaged over
    both ends; that is Newton's method with the derivative of the trapezoidal rule in place of the method's own, and
    gains a factor of about h |df/dz| each time. Of all iterates the one that misses least.
    """
    lesson, h = shooting.lesson, shooting.lesson.task.sampling
    kept = shooting.series.dtype
    exact = deepcopy(module).double()
    layers = exact.network
    output = layers[-1]
    if not isinstance(output, torch.nn.Linear):
        raise TypeError("a field network ends in a linear layer")
    count = output.in_features + 1
    before, after = shooting.segments(max(PAIRS_SOLVED, 8 * count), 1, rng).double()

    def hidden(z: Tensor) -> Tensor:
        units = layers[:-1](z)
        return torch.cat([units, torch.ones_like(units[:, :1])], dim=1)

    with torch.no_grad():
        # large weights that cancel would be lost to the rounding of the dtype that the field will be computed in
        ridge = ROUNDING * len(before) * torch.finfo(kept).eps
        features = ((hidden(before) + hidden(after)) / 2).numpy()
        best, least = deepcopy(exact), math.inf
        for _ in range(CHORDS):
            try:
                reached = integrate(
                    lambda t, z: exact(t, z), before, [0.0, h], None, shooting.method, steps=lesson.substeps
                ).states[-1]
            except Diverged:
                break
            missed = (after - reached) / (h * exact.scale)
            error = float(missed.square().mean())
            if error < least:
                best, least = deepcopy(exact), error
            now = torch.cat([output.weight, output.bias[:, None]], dim=1).T.numpy()
            found = torch.as_tensor(ridge_regression(features, missed.numpy() + features @ now, ridge))
            output.weight.copy_(found[:-1].T)
            output.bias.copy_(found[-1])
    return best


def train(lesson: Lesson) -> Learned:
    """Train a fresh network within the lesson's budget and account for it.

    Metrics: as `rung.fitted`. Curve: learning {updates, loss, test}, test on fixed
    segments of the longest kind; a last point more after the output layer was solved for, if that was kept. Cost:
    train_seconds, updates, parameters, f_calls. A loss or a gradient that is not finite, or a loss beyond `HOPELESS`
    times that of a field of zero, ends the training with status "diverged". Raises `UsageError` where a segment is
    longer than the series.
    """
    options, budget, task = lesson.options, lesson.budget, lesson.task
    longest = options["segment"]
    if longest >= len(lesson.series):
        raise UsageError(
            f"cell 'mlp-field' has segments of {longest} samples: expected fewer than the {len(lesson.series)} of a "
            "training series."
        )
    started = time.perf_counter()
    kind = {"float32": torch.float32, "float64": torch.float64}[lesson.dtype]
    generator = torch.Generator().manual_seed(int(stream(lesson.seed, "weights").integers(2**62)))
    scale = np.asarray(task.increment, dtype=np.float64) / task.sampling
    module = FieldNetwork(scale, options["hidden"], options["depth"], generator).to(kind)
    shooting = Shooting(lesson, module, kind)
    optimiser = torch.optim.Adam(module.parameters(), lr=budget.learning_rate)
    rng = stream(lesson.seed, f"{task.name}/train")
    held = shooting.segments(VALIDATION, longest, stream(lesson.seed, f"{task.name}/validation"))
    still = float((held[1:] - held[:1]).div(shooting.increment).square().mean())
    bound = HOPELESS * still
    every = max(1, budget.updates // max(1, budget.evaluations))
    losses: list[float] = []
    marks: dict[str, list[float]] = {"updates": [], "loss": [], "test": []}
    reason = ""
    try:
        for update in range(1, budget.updates + 1):
            progress = (update - 1) / budget.updates
            optimiser.param_groups[0]["lr"] = budget.learning_rate * decayed(budget.decay, progress)
            loss = shooting.loss(shooting.segments(budget.batch, segment_length(progress, longest), rng))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            size = torch.nn.utils.clip_grad_norm_(module.parameters(), budget.clip or float("inf"))
            losses.append(float(loss.detach()))
            if not (losses[-1] < bound and math.isfinite(float(size))):
                raise Diverged(f"loss {losses[-1]:.3g}, gradient {float(size):.3g} at update {update}")
            optimiser.step()
            if update % every == 0 or update == budget.updates:
                with torch.no_grad():
                    test = float(shooting.loss(held))
                for key, number in (("updates", update), ("loss", sum(losses[-every:]) / every), ("test", test)):
                    marks[key].append(number)
        if options["solve"]:
            solved = solve_output(shooting, module, stream(lesson.seed, f"{task.name}/solve")).to(kind)
            with torch.no_grad():
                after = float(Shooting(lesson, solved, kind).loss(held))
            if after < marks["test"][-1]:
                module = solved
                marks = {key: [*marks[key], number] for key, number in zip(marks, (update, after, after), strict=True)}
    except Diverged as error:
        reason = str(error)
    parameters = sum(p.numel() for p in module.parameters())
    flow = LearnedFlow(task.inputs, module, "torch")
    learned = account(lesson, flow, started, {"parameters": parameters, "updates": len(losses)})
    outcome = replace(
        learned.outcome,
        curves={"learning": marks},
        status="diverged" if reason else "ok",
        reason=reason,
    )
    return replace(learned, outcome=outcome)
