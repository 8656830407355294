"""A compiled sequence as one torch operation, differentiated by its own discrete adjoint."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backends.base import Solution
from ..backends.common import check_finite
from ..backends.native import step_sizes
from ..tableaux import Method
from ..torch_field import TorchField
from .cpu import CompiledSequence
from .kernel import Kernel
from .operands import constants, contiguous_columns, operands, program_of
from .program import Step

KEPT_MIB = 256
"""What the forward pass may keep of its stages for the backward pass; above it, they are computed again."""


def solve_compiled(
    engine: str, field: TorchField, y0: Tensor, u: Tensor, method: Method, step: float, substeps: int
) -> Solution:
    """One step of size step / substeps after another from y0 (batch, blocks * hidden), the input u (time, batch, input)
    held over each `substeps` of them. engine: "cpu" or "triton". Raises `Diverged` where the state leaves the finite numbers."""
    program = program_of(field, method)
    n, blocks = field.hidden_size, field.blocks
    steps = len(u) * substeps
    times = [step * i / substeps for i in range(steps + 1)]  # as the general path has them, rounding included
    sizes = np.array(step_sizes(times) if program.even else [b - a for a, b in pairwise(times)])
    if program.even:
        sizes[:] = sizes[0]
    drive = field.drive(u)
    if program.step.row_scalars:
        drives, rows = drive.new_empty(len(u), len(y0), 0, n), drive.contiguous()
    else:
        drives, rows = contiguous_columns(drive, program.drives, n), drive.new_empty(len(u), len(y0), 0)
    matrices, vectors = operands(field, program, float(sizes[0]))
    start = y0.reshape(len(y0), blocks, n).contiguous()
    tensors = (start, drives, rows, *matrices, *vectors)
    recorded = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    kernel = _kernel(engine, program.step, str(start.dtype).removeprefix("torch."))
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
    flowing: Tensor = _Sequence.apply(call, *tensors)  # type: ignore[no-untyped-call]
    states = flowing.reshape(steps + 1, len(y0), blocks * n)
    check_finite(states, times, "native")
    return Solution(states, program.calls * steps, steps)


def _kernel(engine: str, step: Step, dtype: str) -> Kernel:
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
    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor) -> Tensor:
        start, drives, rows, *others = tensors
        matrices, vectors = others[: call.matrices], others[call.matrices :]
        states, saved = call.kernel.forward(
            start, drives, rows, matrices, vectors, call.scalars, call.sizes, call.substeps, call.keep
        )
        ctx.call, ctx.saved = call, saved
        ctx.save_for_backward(states, drives, rows, *others)
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangents: Tensor) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        states, drives, rows, *others = ctx.saved_tensors
        matrices, vectors = others[: call.matrices], others[call.matrices :]
        found = call.kernel.backward(
            states,
            ctx.saved,
            drives,
            rows,
            matrices,
            vectors,
            call.scalars,
            call.sizes,
            call.substeps,
            cotangents.contiguous(),
        )
        return (None, found.start, found.drives, found.row_scalars, *found.matrices, *found.vectors)
