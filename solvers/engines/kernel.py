"""What the torch operation of a compiled sequence asks of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor


@dataclass(frozen=True)
class Projection:
    """Drives as products: inputs (T, batch, p) with matrix (d * n, p), which acts from the left."""

    inputs: Tensor
    matrix: Tensor


@dataclass(frozen=True)
class Reads:
    """What a sequence reads beside its first state, n hidden units, tensors contiguous but for matrices and vectors:

    * drives (T, batch, d, n), or what they are products of; row_scalars (T, batch, r);
    * matrices (n, width * n) and vectors (n,), in the program's order; scalars: those of the program after h;
    * sizes (T * substeps,): h of every step, float64; step i reads the drive i // substeps.
    """

    drives: Tensor | Projection
    row_scalars: Tensor
    matrices: Sequence[Tensor]
    vectors: Sequence[Tensor]
    scalars: Sequence[float]
    sizes: npt.NDArray[np.float64]
    substeps: int


@dataclass(frozen=True)
class Gradients:
    """Cotangents of the start and of `Reads`, in the same shapes; drives: of a projection, that of its matrix."""

    start: Tensor
    drives: Tensor
    row_scalars: Tensor
    matrices: list[Tensor]
    vectors: list[Tensor]


class Kernel(Protocol):
    """A step over a whole sequence and a whole batch, of m blocks.

    start (batch, m, n); states (T * substeps + 1, batch, m, n), the start first; cotangents (T * substeps, batch, seen,
    n), of the leading `seen` blocks of the states after the start, those of the other blocks being zero.
    """

    def saved(self, projected: bool) -> int:
        """How many arrays (batch, n) a step keeps for the backward pass where it keeps any."""
        ...

    def forward(self, start: Tensor, reads: Reads, keep: bool) -> tuple[Tensor, Any]:
        """The states, and with keep what `backward` then need not compute again."""
        ...

    def backward(self, states: Tensor, saved: Any, reads: Reads, cotangents: Tensor) -> Gradients:
        """The discrete adjoint, from the states that `forward` gave and what it kept (None: computed again)."""
        ...
