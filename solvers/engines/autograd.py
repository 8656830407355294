"""A compiled sequence as one torch operation, differentiated by its own discrete adjoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...suite.errors import UsageError
from ..backends.common import check_finite
from ..backends.native import step_sizes
from ..tableaux import Method
from ..torch_field import TorchField
from .cpu import CompiledSequence
from .kernel import Kernel, Projection, Reads
from .operands import Programmed, constants, drives_of, operands, program_of
from .program import Step
from .writer import Lowered

KEPT_MIB = 256
"""What the forward pass may keep of its stages for the backward pass; above it, they are computed again."""


@dataclass(frozen=True)
class Rolled:
    """A sequence's states, block by block: first (steps, batch, n) and rest (steps, batch, blocks - 1, n) after every
    step (no rest: all are in first), start (batch, blocks * n) before them; f_calls: evaluations of the field; shown:
    the features (steps, batch, feature_size) where the program makes them, None where they are to be made of the
    states."""

    start: Tensor
    first: Tensor
    rest: Tensor | None
    f_calls: int
    shown: Tensor | None = None

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
    engine: str, field: TorchField, y0: Tensor, u: Tensor, method: Method, step: float, substeps: int, first: int = 0
) -> Rolled:
    """One step of size step / substeps after another from y0 (batch, blocks * hidden), the input u (time, batch, input)
    held over each `substeps` of them. engine: "cpu" or "triton". Raises `Diverged` where the state leaves the finite
    numbers, at a time that counts from `first` inputs before u."""
    program = program_of(field, method)
    n, blocks = field.hidden_size, field.blocks
    steps = len(u) * substeps
    sizes = _sizes(step, substeps, steps, program.even)
    drives, rows = drives_of(field, program, u, projected=engine == "cpu")
    projected = isinstance(drives, Projection)
    matrices, vectors = operands(field, program, float(sizes[0]))
    start = y0.reshape(len(y0), blocks, n).contiguous()
    if program.shown:
        start = torch.cat([start.new_zeros(len(y0), program.shown, n), start], 1)
    driving = (drives.inputs, drives.matrix) if isinstance(drives, Projection) else (drives,)
    tensors = (start, rows, *matrices, *vectors, *driving)
    recorded = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    kernel = _kernel(engine, program, start.dtype)
    array = steps * start[:, 0].numel() * start.element_size()
    keep = recorded and kernel.saved(projected) * array <= KEPT_MIB * 2**20
    apart = program.shown or int(field.first_alone)
    counts, scalars = (len(matrices), len(vectors)), constants(field, program)
    call = _Call(engine, apart, kernel, *counts, scalars, sizes, substeps, keep)
    block, rest = _Sequence.apply(call, *tensors)  # type: ignore[no-untyped-call]
    calls = program.calls * steps
    if program.shown:
        assert isinstance(field, Programmed)
        rolled = Rolled(y0, rest.flatten(2), None, calls, field.shown(block))
    else:
        rolled = Rolled(y0, block if apart else block.flatten(2), rest if apart and blocks > 1 else None, calls)
    if not math.isfinite(rolled.last.detach().sum()):  # the sum may overflow where no state has
        check_finite(rolled.states, [step * first + t for t in _times(step, substeps, steps)], "native")
    return rolled


def _times(step: float, substeps: int, steps: int) -> list[float]:
    """Ends of the steps, as the general path has them, rounding included."""
    return [step * i / substeps for i in range(steps + 1)]


@lru_cache(maxsize=64)
def _sizes(step: float, substeps: int, steps: int, even: bool) -> npt.NDArray[np.float64]:
    """h of every step, for everybody to read."""
    times = _times(step, substeps, steps)
    sizes = np.array(step_sizes(times) if even else [b - a for a, b in pairwise(times)])
    if even:
        sizes[:] = sizes[0]
    sizes.setflags(write=False)
    return sizes


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


@dataclass(frozen=True)
class _Call:
    """What a sequence is computed from beside tensors: so many matrices and vectors among these.

    apart: so many leading blocks are read without the others (see `_Sequence`).
    """

    engine: str
    apart: int
    kernel: Kernel
    matrices: int
    vectors: int
    scalars: list[float]
    sizes: Any
    substeps: int
    keep: bool

    def reads(self, rows: Tensor, others: Sequence[Tensor]) -> Reads:
        """others: matrices, vectors, then the drives, or the inputs and the matrix that they are products of."""
        m, v = self.matrices, self.matrices + self.vectors
        driving = others[v:]
        drives = driving[0] if len(driving) == 1 else Projection(*driving)
        return Reads(drives, rows, others[:m], others[m:v], self.scalars, self.sizes, self.substeps)


class _Sequence(torch.autograd.Function):
    """The first block after every step (steps, batch, n), which most readouts see alone, and the other blocks
    (steps, batch, blocks - 1, n): what is not read costs nothing in the backward pass. Not apart: all blocks, and none.
    Several blocks apart: (steps, batch, apart, n), and the others.
    """

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        start, rows, *others = tensors
        states, saved = call.kernel.forward(start, call.reads(rows, others), call.keep)
        ctx.call, ctx.kept = call, saved
        ctx.set_materialize_grads(False)
        first, rest = _divided(states[1:], call.apart)
        ctx.save_for_backward(states, start, rows, *others)
        return first, rest

    @staticmethod
    def backward(ctx: Any, first: Tensor | None, rest: Tensor | None) -> tuple[Tensor | None, ...]:
        call: _Call = ctx.call
        if torch._C._are_functorch_transforms_active() or any(
            c is not None and torch._C._functorch.is_legacy_batchedtensor(c) for c in (first, rest)
        ):
            raise UsageError(
                f"engine {call.engine!r} takes derivatives one after another, no batch of them: expected "
                "engine='general', or no vmap and no is_grads_batched."
            )
        # an operation for torch to see only where somebody may want a derivative of it
        reverse: Any = _Reverse.apply if torch.is_grad_enabled() else _reversed
        return None, *reverse(call, ctx.kept, first, rest, *ctx.saved_tensors)


class _Reverse(torch.autograd.Function):
    """`_reversed` as an operation, so that a second derivative is refused and not taken for zero."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *arguments: Any) -> tuple[Tensor | None, ...]:
        ctx.engine = call.engine
        return _reversed(call, *arguments)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        raise UsageError(f"engine {ctx.engine!r} has no second derivative: expected engine='general'.")


def _divided(after: Tensor, apart: int) -> tuple[Tensor, Tensor]:
    """See `_Sequence`."""
    if apart == 1:
        return after[:, :, 0], after[:, :, 1:]
    return (after[:, :, :apart], after[:, :, apart:]) if apart else (after, after[:, :, :0])


def _reversed(
    call: _Call,
    kept: object,
    first: Tensor | None,
    rest: Tensor | None,
    states: Tensor,
    start: Tensor,
    rows: Tensor,
    *others: Tensor,
) -> tuple[Tensor | None, ...]:
    """Cotangents of the start, the row scalars, and the others. The start is not read: it stands for what the states
    depend on."""
    if not call.apart:
        cotangents = states.new_zeros(states[1:].shape) if first is None else first.contiguous()
    elif rest is None or rest.shape[2] == 0:
        cotangents = states.new_zeros(_divided(states[1:], call.apart)[0].shape) if first is None else first
        cotangents = (cotangents.unsqueeze(2) if call.apart == 1 else cotangents).contiguous()
    else:
        cotangents = states.new_zeros(states[1:].shape)
        into, behind = _divided(cotangents, call.apart)
        behind.copy_(rest)
        if first is not None:
            into.copy_(first)
    found = call.kernel.backward(states, kept, call.reads(rows, others), cotangents)
    driving = (found.drives,) if len(others) == call.matrices + call.vectors + 1 else (None, found.drives)
    return found.start, found.row_scalars, *found.matrices, *found.vectors, *driving
