"""What a running field's slopes and flows read, and whether they are affine: found by evaluating, in float64."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

from .cell_field import CellField
from .nesting import PartPattern, Pattern
from .torch_field import Linear, TorchField

AFFINE = 1e-9
"""Second differences below this share of the values come from rounding."""

LINES = 32
"""Lines along which values are compared: about half of them cross the kink of a single unit, affine on its sides."""


@torch.no_grad()
def pattern_of_field(field: TorchField) -> tuple[Pattern, ...]:
    """One pattern a block, of the slope."""
    field, drive = _prepared(field)
    weights = field.weights()
    affine = _affine(field, lambda y: field(0.0, y, drive, weights))
    return tuple(Pattern(reads, flat) for reads, flat in zip(field.dependencies, affine, strict=True))


@torch.no_grad()
def patterns_of_parts(field: TorchField, linear: Linear) -> list[PartPattern]:
    """One pattern a part, of its flow over h = 1; a part of an equation that has a method of its own keeps it."""
    field, drive = _prepared(field)
    weights, found = field.weights(), []
    for index in range(len(field.parts)):
        part = field.equation.parts[index] if isinstance(field, CellField) else None
        if isinstance(field, CellField) and part is not None and part.flow == "stepped":
            from .part_flow import PartField

            alone = PartField(field, part)
            slopes = _affine(field, lambda y, alone=alone: alone(0.0, y, drive, weights))  # type: ignore[misc]
            patterns = tuple(Pattern(reads, flat) for reads, flat in zip(alone.dependencies, slopes, strict=True))
            found.append(PartPattern(patterns, part.method, part.substeps))
            continue
        flow = field.flow(index, 1.0, weights, linear)

        def change(y: Tensor, flow: Callable[[Tensor, Tensor], Tensor] = flow) -> Tensor:
            return flow(y, drive) - y

        affine, reads = _affine(field, change), _reads(field, change)
        found.append(PartPattern(tuple(Pattern(r, a) for r, a in zip(reads, affine, strict=True))))
    return found


def _prepared(field: TorchField) -> tuple[TorchField, Tensor]:
    """The field in float64 with generic weights (a bias that starts at zero may hide a kink), and one input's drive."""
    generator = torch.Generator().manual_seed(0)
    exact = deepcopy(field).double()
    for weight in exact.parameters():
        weight.add_(0.3 * torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    return exact, exact.drive(torch.randn(1, field.input_size, generator=generator, dtype=torch.float64))


def _points(field: TorchField, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, field.blocks * field.hidden_size, generator=generator, dtype=torch.float64)


def _affine(field: TorchField, function: Callable[[Tensor], Tensor]) -> tuple[bool, ...]:
    """Whether each block of the function's value is affine: its second differences vanish."""
    flat = [True] * field.blocks
    points = _points(field, 2 * LINES)
    for y, d in zip(points[:LINES], points[LINES:], strict=True):
        ahead, here, back = function(y + d), function(y), function(y - d)
        bent = (ahead - 2 * here + back).chunk(field.blocks, -1)
        for j, (second, value) in enumerate(zip(bent, here.chunk(field.blocks, -1), strict=True)):
            flat[j] = flat[j] and float(second.abs().max()) <= AFFINE * (1 + float(value.abs().max()))
    return tuple(flat)


def _reads(field: TorchField, function: Callable[[Tensor], Tensor]) -> tuple[frozenset[int], ...]:
    """The blocks that each block of the function's value moves with."""
    found: list[set[int]] = [set() for _ in range(field.blocks)]
    points, n = _points(field, 2 * LINES), field.hidden_size
    for y, d in zip(points[:LINES], points[LINES:], strict=True):  # a jump shows only where it lies between two points
        here = function(y).chunk(field.blocks, -1)
        for j in range(field.blocks):
            moved = y.clone()
            moved[:, j * n : (j + 1) * n] += d[:, j * n : (j + 1) * n]
            for k, (before, after) in enumerate(zip(here, function(moved).chunk(field.blocks, -1), strict=True)):
                if not torch.equal(before, after):
                    found[k].add(j)
    return tuple(frozenset(reads) for reads in found)
