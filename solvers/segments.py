"""Training long sequences in little memory: a pass in segments that are computed again in the backward pass.

Two ways for any recurrence, whatever carries it out; both keep inputs and outputs, and T is the number of inputs:

* `segmented`, for every one: the states between segments of L inputs are kept, and each segment is computed again from
  the state before it (A. Griewank, A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM 2008, chapter 12). That is T / L
  states and the graph of L inputs, which for L = sqrt(T) grows like sqrt(T).
* `inverted`, for steps that can be undone: the last state alone is kept, and the start of each segment is found by
  stepping back from its end (D. Maclaurin, D. Duvenaud, R. P. Adams, ICML 2015, arXiv:1502.03492; A. N. Gomez et al.,
  NeurIPS 2017, arXiv:1707.04585). That is the graph of L inputs, whatever T is.

The first costs one more forward pass, the second two. Neither builds a graph in the forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..suite.errors import Diverged, UsageError

Run: TypeAlias = Callable[[Sequence[Tensor], Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""(trained tensors, inputs (time, ...), state, index of the first input) -> outputs (time, ...), state after them."""

Back: TypeAlias = Callable[[Sequence[Tensor], Tensor, Tensor, int], Tensor]
"""(trained tensors, inputs of a segment, state after them, index of the first) -> state before, without a graph."""


def default_length(inputs: int) -> int:
    """ceil(sqrt(inputs)): as many inputs in a segment as there are segments."""
    return math.isqrt(max(0, inputs - 1)) + 1


def segmented(
    run: Run, x: Tensor, state: Tensor, tensors: Sequence[Tensor], length: int | None = None
) -> tuple[Tensor, Tensor]:
    """run(tensors, x, state, 0), in segments of `length` inputs (None: `default_length`) that are computed again.

    x: (time, ...), time of at least 1. tensors: all that a gradient is wanted of besides x and the state. Outputs and
    gradients are those of the whole pass to rounding. A second derivative raises `UsageError`.
    """
    found: tuple[Tensor, Tensor] = _InSegments.apply(run, None, length, x, state, *tensors)  # type: ignore[no-untyped-call]
    return found


def inverted(
    run: Run, back: Back, x: Tensor, state: Tensor, tensors: Sequence[Tensor], length: int | None = None
) -> tuple[Tensor, Tensor]:
    """`segmented` without the states between the segments: `back` finds them, from the last segment to the first.

    Rounding grows on the way back as far as the steps contract: over 10,000 steps of UnICORNN to less than 1e-3 of the
    state's size in float32 and 1e-12 in float64. The start is kept too, and the one that was found is
    compared with it: the backward pass raises `Diverged` where they differ by more than the cube root of the dtype's
    precision (5e-3 in float32, 6e-6 in float64), relative to the largest component of start and end: two thirds of the
    digits are lost then. Gradients are as good as the digits left.
    """
    found: tuple[Tensor, Tensor] = _InSegments.apply(run, back, length, x, state, *tensors)  # type: ignore[no-untyped-call]
    return found


class _InSegments(torch.autograd.Function):
    """See `segmented` and `inverted`: with `back` it keeps the first and the last state, without it those between."""

    @staticmethod
    def forward(
        ctx: Any, run: Run, back: Back | None, length: int | None, x: Tensor, state: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.run, ctx.back, ctx.length = run, back, length
        segments = list(_segments(x, length))
        # one place for all that stays: copies, for views would hold every state of their segment, and not strewn among
        # what goes, where they would keep the allocator from using its place again
        states = state.new_empty(len(segments) if back is None else 1, *state.shape)
        outputs = None
        for index, (first, part) in enumerate(segments):
            if back is None or index == 0:
                states[index] = state
            out, state = run(tensors, part, state, first)
            if outputs is None:
                outputs = out.new_empty(len(x), *out.shape[1:])
            outputs[first : first + len(part)] = out
            state = state.clone()
            del out
        assert outputs is not None  # there is at least one segment
        ctx.save_for_backward(x, states, state, *tensors)
        return outputs, state

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor, d_state: Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():  # torch's own refusal lets a second derivative lack its part in silence
            raise UsageError("a pass in segments has no second derivative: expected memory 'states'.")
        x, states, after, *tensors = ctx.saved_tensors
        start, end = states[0], after
        wants_x, wants_state, *wants = ctx.needs_input_grad[3:]
        d_x = torch.zeros_like(x) if wants_x else None
        totals: list[Tensor | None] = [None] * len(tensors)
        for index, (first, part) in reversed(list(enumerate(_segments(x, ctx.length)))):
            if ctx.back is None:
                before = states[index]
            else:
                after = before = ctx.back(tensors, part, after, first)
                if index == 0:
                    _compare(before, start, end)
                    before = start
            entry, u = before.detach().requires_grad_(), part.detach().requires_grad_(wants_x)
            leaves = [v.detach().requires_grad_(wanted) for v, wanted in zip(tensors, wants, strict=True)]
            with torch.enable_grad():
                results = ctx.run(leaves, u, entry, first)
            given = (d_outputs[first : first + len(part)], d_state)
            pairs = [(r, d) for r, d in zip(results, given, strict=True) if r.requires_grad]
            asked = [v for v in (entry, u, *leaves) if v.requires_grad]
            slopes = torch.autograd.grad([r for r, _ in pairs], asked, [d for _, d in pairs], allow_unused=True)
            del results, pairs  # before the next segment's take their place
            by_leaf = {id(v): slope for v, slope in zip(asked, slopes, strict=True) if slope is not None}
            d_state = by_leaf.get(id(entry), torch.zeros_like(entry))
            if d_x is not None and id(u) in by_leaf:
                d_x[first : first + len(part)] = by_leaf[id(u)]
            for k, leaf in enumerate(leaves):
                slope, total = by_leaf.get(id(leaf)), totals[k]
                if slope is not None:
                    totals[k] = slope if total is None else total + slope
        return None, None, None, d_x, d_state if wants_state else None, *totals


def with_tensors(
    module: torch.nn.Module, function: Callable[..., Any]
) -> tuple[tuple[Tensor, ...], Callable[..., Any]]:
    """The trained tensors of a module, and `function`, which finds them in it, as a function of them: g(tensors, ...).

    What is computed again then has the tensors of the first time, whatever the module holds by then.
    """
    holder = _Holder(module, function)
    names, tensors = [], []
    for name, tensor in holder.named_parameters():
        names.append(name)
        tensors.append(tensor)

    def bound(tensors: Sequence[Tensor], *arguments: Any) -> Any:
        return torch.func.functional_call(holder, dict(zip(names, tensors, strict=True)), arguments)

    return tuple(tensors), bound


class _Holder(torch.nn.Module):
    """A module and a function that reads it."""

    def __init__(self, module: torch.nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def _segments(x: Tensor, length: int | None) -> Iterator[tuple[int, Tensor]]:
    """The index of the first input of each segment, and its inputs."""
    size = length or default_length(len(x))
    for first in range(0, len(x), size):
        yield first, x[first : first + size]


def _compare(found: Tensor, start: Tensor, end: Tensor) -> None:
    """Raises `Diverged` where stepping back has lost two thirds of the digits."""
    size = float(torch.maximum(start.abs().max(), end.abs().max())) or 1.0
    gap, allowed = float((found - start).abs().max()) / size, torch.finfo(start.dtype).eps ** (1 / 3)
    if not gap <= allowed:
        raise Diverged(
            f"the start that was found by stepping back is off by {gap:.2g} of the state's size, more than "
            f"{allowed:.1g}: memory 'segments' takes no steps back"
        )
