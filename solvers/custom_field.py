"""What torch fields that are no `EquationField` share: drawn parameters, constants that count, slopes, Jacobians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from ..suite.errors import UsageError
from .torch_field import Memo, TorchField, Weights

WIDE = (torch.float32, torch.float64)
"""The dtypes in which torch has linear algebra and complex numbers."""


def whole_number(cell: str, name: str, value: float, low: int, high: int) -> int:
    """A constant that counts something. Raises `UsageError` outside low..high."""
    if value != int(value) or not low <= value <= high:
        raise UsageError(
            f"constant {name!r} of cell {cell!r} is {value:g}: expected a whole number from {low} to {high}."
        )
    return int(value)


def drawn(shape: tuple[int, ...], bound: float) -> Tensor:
    """U(-bound, bound) from torch's global generator, float64 on the CPU, so that device and dtype do not change it."""
    return torch.empty(shape, dtype=torch.float64).uniform_(-bound, bound)


def parameter(values: Tensor, device: torch.device | str | None, dtype: torch.dtype | None) -> torch.nn.Parameter:
    """A trained tensor that starts at these values."""
    return torch.nn.Parameter(values.to(device=device, dtype=dtype or torch.get_default_dtype()))


def widened(values: Tensor) -> Tensor:
    """The values in a dtype of `WIDE`."""
    return values if values.dtype in WIDE else values.float()


def slopes_of_whole(
    field: TorchField,
    wanted: tuple[int, ...],
    blocks: Sequence[Tensor],
    drive: Tensor,
    weights: Weights,
    memo: Memo,
) -> list[Tensor]:
    """`TorchField.slopes` of a field without time, from all its slopes, evaluated once for the same blocks."""
    key = tuple(map(id, blocks))
    if key not in memo:
        every = field(0.0, torch.cat(list(blocks), dim=-1), drive, weights)
        memo[key] = (every.chunk(field.blocks, -1), *blocks)  # keeping the blocks keeps their ids their own
    return [memo[key][0][j] for j in wanted]


def reverse_jacobian(field: TorchField, y: Tensor, drive: Tensor, weights: Weights, t: Any) -> Tensor:
    """`TorchField.jacobian` by reverse-mode differentiation, one sequence at a time under vmap."""

    def one(state: Tensor, drive: Tensor) -> Tensor:
        return field(t, state.unsqueeze(0), drive.unsqueeze(0), weights).squeeze(0)  # type: ignore[no-any-return]

    return vmap(jacrev(one))(y, drive)  # type: ignore[no-any-return]
