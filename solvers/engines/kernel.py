"""What the torch operation of a compiled sequence asks of an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class Projection:
    """Drives as products: inputs (T, batch, p) with matrix (d * n, p), which acts from the left."""

    inputs: Tensor
    matrix: Tensor


@dataclass(frozen=True)
class Gradients:
    """Cotangents of what `Kernel.forward` reads, in the same shapes; drives: of a projection, that of its matrix."""

    start: Tensor
    drives: Tensor
    row_scalars: Tensor
    matrices: list[Tensor]
    vectors: list[Tensor]


class Kernel(Protocol):
    """A step over a whole sequence and a whole batch: see `cpu.CompiledSequence` for the tensors."""

    def saved(self, projected: bool) -> int:
        """How many arrays (batch, n) a step keeps for the backward pass where it keeps any."""
        ...

    def forward(
        self,
        start: Tensor,
        drives: Tensor | Projection,
        row_scalars: Tensor,
        matrices: Sequence[Tensor],
        vectors: Sequence[Tensor],
        scalars: Sequence[float],
        sizes: Any,
        substeps: int,
        keep: bool,
    ) -> tuple[Tensor, Any]: ...

    def backward(
        self,
        states: Tensor,
        saved: Any,
        drives: Tensor | Projection,
        row_scalars: Tensor,
        matrices: Sequence[Tensor],
        vectors: Sequence[Tensor],
        scalars: Sequence[float],
        sizes: Any,
        substeps: int,
        cotangents: Tensor,
    ) -> Gradients: ...
