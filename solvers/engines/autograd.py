"""A compiled sequence as one torch operation, differentiated by its own discrete adjoint."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backends.common import check_finite
from ..backends.native import step_sizes
from ..tableaux import Method
from ..torch_field import TorchField
from .cpu import CompiledSequence
from .kernel import Kernel
from .operands import constants, drives_of, operands, program_of
from .program import Step
from .writer import Lowered

KEPT_MIB = 256
"""What the forward pass may keep of its stages for the backward pass; above it, they are computed again."""


@dataclass(frozen=True)
class Rolled:
    """A sequence's states, block by block: first (steps, batch, n) and rest (steps, batch, blocks - 1, n) after every
    step, start (batch, blocks * n) before them; f_calls: evaluations of the field."""

    start: Tensor
    first: Tensor
    rest: Tensor | None
    f_calls: int

    @property
    def after(self) -> Tensor:
        """(steps, batch, blocks * n)."""
        return self.first if self.rest is None else torch.cat([self.first.unsqueeze(2), self.rest], 2).flatten(2)

    @property
    def last(self) -> Tensor:
        """(batch, blocks * n)."""
        if self.rest is None:
            return self.first[-1]
        return torch.cat([self.first[-1].unsqueeze(1), self.rest[-1]], 1).flatten(1)

    @property
    def states(self) -> Tensor:
        """(steps + 1, batch, blocks * n)."""
        return torch.cat([self.start.unsqueeze(0), self.after])


def solve_compiled(
    engine: str, field: TorchField, y0: Tensor, u: Tensor, method: Method, step: float, substeps: int
) -> Rolled:
    """One step of size step / substeps after another from y0 (batch, blocks * hidden), the input u (time, batch, input)
    held over each `substeps` of them. engine: "cpu" or "triton". Raises `Diverged` where the state leaves the finite
    numbers."""
    program = program_of(field, method)
    n, blocks = field.hidden_size, field.blocks
    steps = len(u) * substeps
    times = [step * i / substeps for i in range(steps + 1)]  # as the general path has them, rounding included
    sizes = np.array(step_sizes(times) if program.even else [b - a for a, b in pairwise(times)])
    if program.even:
        sizes[:] = sizes[0]
    drives, rows = drives_of(field, program, u)
    matrices, vectors = operands(field, program, float(sizes[0]))
    start = y0.reshape(len(y0), blocks, n).contiguous()
    tensors = (start, drives, rows, *matrices, *vectors)
    recorded = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    kernel = _kernel(engine, program, start.dtype)
    array = steps * start[:, 0].numel() * start.element_size()
    keep = recorded and kernel.saved * array <= KEPT_MIB * 2**20
    call = _Call(
        kernel,
        len(matrices),
        constants(field, program),
        sizes,
        substeps,
        keep,
    )
    first, rest = _Sequence.apply(call, *tensors)  # type: ignore[no-untyped-call]
    rolled = Rolled(y0, first, rest if blocks > 1 else None, program.calls * steps)
    if not torch.isfinite(rolled.last).all():
        check_finite(rolled.states, times, "native")
    return rolled


_KERNELS: dict[tuple[Any, ...], tuple[Lowered, Kernel]] = {}
"""By the identity of a program, which is kept, engine, dtype and precision."""


def _kernel(engine: str, program: Lowered, dtype: torch.dtype) -> Kernel:
    """The kernel of a program, one for as long as the program lives."""
    key = (id(program), engine, dtype, torch.get_float32_matmul_precision())
    if key not in _KERNELS:
        _KERNELS[key] = (program, _made(engine, program.step, str(dtype).removeprefix("torch.")))
    return _KERNELS[key][1]


def _made(engine: str, step: Step, dtype: str) -> Kernel:
    if engine == "cpu":
        return CompiledSequence(step, dtype)
    from .choice import precision
    from .triton import TritonSequence

    return TritonSequence(step, dtype, precision(dtype))


class _Call:
    """What a sequence is computed from beside tensors."""

    def __init__(
        self, kernel: Kernel, matrices: int, scalars: list[float], sizes: Any, substeps: int, keep: bool
    ) -> None:
        self.kernel, self.matrices, self.scalars = kernel, matrices, scalars
        self.sizes, self.substeps, self.keep = sizes, substeps, keep


class _Sequence(torch.autograd.Function):
    """The first block after every step (steps, batch, n), which most readouts see alone, and the other blocks
    (steps, batch, blocks - 1, n): what is not read costs nothing in the backward pass."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        start, drives, rows, *others = tensors
        matrices, vectors = others[: call.matrices], others[call.matrices :]
        states, saved = call.kernel.forward(
            start, drives, rows, matrices, vectors, call.scalars, call.sizes, call.substeps, call.keep
        )
        ctx.call, ctx.kept = call, saved
        ctx.set_materialize_grads(False)
        first, rest = states[1:, :, 0], states[1:, :, 1:]
        ctx.save_for_backward(states, drives, rows, *others)
        return first, rest

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, first: Tensor | None, rest: Tensor | None) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        states, drives, rows, *others = ctx.saved_tensors
        matrices, vectors = others[: call.matrices], others[call.matrices :]
        if rest is None or rest.shape[2] == 0:
            cotangents = states.new_zeros(states[1:, :, 0].shape) if first is None else first
            cotangents = cotangents.unsqueeze(2).contiguous()
        else:
            cotangents = states.new_zeros(states[1:].shape)
            cotangents[:, :, 1:] = rest
            if first is not None:
                cotangents[:, :, 0] = first
        given = (drives, rows, matrices, vectors, call.scalars, call.sizes, call.substeps)
        found = call.kernel.backward(states, ctx.kept, *given, cotangents)
        return (None, found.start, found.drives, found.row_scalars, *found.matrices, *found.vectors)
