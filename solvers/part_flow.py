"""One part of an equation, stepped alone: exact flow, Cayley transform, kick, radial flow, reflection, or a tableau."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import sympy
import torch
from torch import Tensor

from ..suite.equation import symbols
from ..suite.errors import UsageError
from .field import EquationField, Part
from .layout import Plan, layout, plan
from .printing import Constants
from .torch_field import Flow, Linear, Memo, TorchField, Weights, affine_flow, exponential, unsplittable

if TYPE_CHECKING:
    from .cell_field import CellField


def part_flow(field: CellField, index: int, h: float, weights: Weights, linear: Linear) -> Flow:
    """y -> y after a step h of one part, the input held. Prepared once for a sequence. Raises `UsageError` for none."""
    if not field.equation.parts:
        raise unsplittable(field.name)
    part = field.equation.parts[index]
    match part.flow:
        case "linear":
            return _linear(field, part, h, weights, linear)
        case "kick":
            return _kick(field, part, h, weights)
        case "radial":
            return _radial(field, part, h, weights)
        case "reflect":
            return _reflect(field)
        case "stepped":
            return _stepped(field, part, h, weights)


def _linear(field: CellField, part: Part, h: float, weights: Weights, linear: Linear) -> Flow:
    values = plan(field.equation, field.constant_values, part.rhs)
    driven, affine = _linear_facts(field.equation, field.constant_values, part)

    def offset(y: Tensor, drive: Tensor) -> Tensor | None:
        """The slope at the state 0."""
        if not affine:
            return None
        return torch.cat(
            field.evaluate(values, torch.zeros_like(y).chunk(field.blocks, -1), drive, weights, {}), dim=-1
        )

    if driven:

        def moving(y: Tensor, drive: Tensor) -> Tensor:
            J = field.linearised(part.rhs, torch.zeros_like(y), drive, weights)
            return affine_step(J, y, offset(y, drive), h, linear)

        return moving

    size = field.blocks * field.hidden_size
    none = weights[0].new_zeros(1, field.drive_size)
    E, Phi = affine_flow(field.linearised(part.rhs, none.new_zeros(1, size), none, weights)[0], h, linear)

    def fixed(y: Tensor, drive: Tensor) -> Tensor:
        g = offset(y, drive)
        return y @ E.t() if g is None else torch.addmm(y @ E.t(), g, Phi.t())

    return fixed


def affine_step(J: Tensor, y: Tensor, g: Tensor | None, h: float, linear: Linear) -> Tensor:
    """What `affine_flow` does to one state: y (batch, D) after a step h of y' = J y + g, J (batch, D, D)."""
    wide = torch.promote_types(J.dtype, torch.float32)
    A, x = h * J.to(wide), y.to(wide)
    if linear == "cayley":
        eye = torch.eye(A.shape[-1], dtype=wide, device=A.device)
        half = x + (A @ x.unsqueeze(-1)).squeeze(-1) / 2
        moved: Tensor = torch.linalg.solve(eye - A / 2, half if g is None else half + h * g.to(wide))
    elif g is None:
        moved = (exponential(A) @ x.unsqueeze(-1)).squeeze(-1)
    else:
        # exp of [[h J, h g], [0, 0]] holds h phi_1(h J) g in its last column
        upper = torch.cat([A, h * g.to(wide).unsqueeze(-1)], dim=-1)
        E = exponential(torch.cat([upper, torch.zeros_like(upper[..., :1, :])], dim=-2))
        moved = (E[..., :-1, :-1] @ x.unsqueeze(-1)).squeeze(-1) + E[..., :-1, -1]
    return moved.to(y.dtype)


@lru_cache(maxsize=64)
def _linear_facts(equation: EquationField, constants: Constants, part: Part) -> tuple[bool, bool]:
    """Whether the matrix of a linear part depends on the input, and whether the part is affine with an offset.

    Raises `UsageError` where it is not linear.
    """
    placed = layout(equation)
    state = [*equation.state, *(m.symbol for m in placed.reading)]
    slopes = [sympy.sympify(e).diff(s) for e in part.rhs for s in state]
    free: set[Any] = set().union(*(e.free_symbols for e in slopes))
    mixed = {m.symbol for m in equation.mixes}
    if free & set(state) or mixed & set().union(*(sympy.sympify(e).free_symbols for e in part.rhs)):
        raise UsageError(f"part {part.name!r} of field {equation.name!r} is not linear in the state.")
    driven = bool(free & {m.symbol for m in placed.driven if not m.reads})
    at_zero = [sympy.sympify(e).xreplace(dict.fromkeys(equation.state, sympy.S.Zero)) for e in part.rhs]
    carriers = {m.symbol for m in placed.driven if m.driven or m.has_bias} | {m.symbol for m in placed.vectors}
    return driven, any(e != 0 and e.free_symbols & carriers for e in at_zero) or any(
        e.is_number and e != 0 for e in at_zero
    )


def _kick(field: CellField, part: Part, h: float, weights: Weights) -> Flow:
    changed = tuple(j for j, e in enumerate(part.rhs) if e != 0)
    plans = [plan(field.equation, field.constant_values, (part.rhs[j],)) for j in changed]
    if any(one.blocks & set(changed) for one in plans):
        raise UsageError(f"part {part.name!r} of field {field.name!r} reads a block that it changes, so it is no kick.")

    def flow(y: Tensor, drive: Tensor) -> Tensor:
        blocks, memo = list(y.chunk(field.blocks, -1)), dict[Any, Any]()
        for j, one in zip(changed, plans, strict=True):
            blocks[j] = blocks[j] + h * field.evaluate(one, y.chunk(field.blocks, -1), drive, weights, memo)[0]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)

    return flow


def _radial(field: CellField, part: Part, h: float, weights: Weights) -> Flow:
    """|y| -> max(|y| + h b, 0) in every unit; a unit at exactly zero, which has no direction, stays there."""
    placed = layout(field.equation)
    names = set().union(*(sympy.sympify(e).free_symbols for e in part.rhs))
    (which,) = (k for k, m in enumerate(placed.vectors) if m.symbol in names)
    bias = weights[1 + len(field.equation.mixes) + which]
    pair = field.blocks == 2 and all(e != 0 for e in part.rhs)

    def flow(y: Tensor, drive: Tensor) -> Tensor:
        if not pair:
            return torch.sign(y) * torch.relu(y.abs() + h * bias)
        re, im = y.chunk(2, -1)
        return torch.cat(radial(re, im, h * bias), dim=-1)

    return flow


def radial(re: Tensor, im: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """modReLU: the modulus of re + i im changed by `change`, not below zero, the phase kept; 0 stays 0."""
    squared = re * re + im * im
    modulus = torch.where(squared > 0, squared, torch.ones_like(squared)).sqrt()  # no infinite gradient at zero
    scale = torch.where(squared > 0, torch.relu(modulus + change) / modulus, torch.zeros_like(modulus))
    return re * scale, im * scale


def _reflect(field: CellField) -> Flow:
    share = float(field.constants[symbols("negative")[0]])
    signs = field.V.new_ones(field.blocks * field.hidden_size)
    signs[: int(share * field.hidden_size)] = -1.0
    return lambda y, drive: y * signs


def _stepped(field: CellField, part: Part, h: float, weights: Weights) -> Flow:
    from .backends.native import Native
    from .tableaux import method

    chosen, one, n = method(part.method), PartField(field, part), part.substeps
    times = [h * k / n for k in range(n + 1)]

    def flow(y: Tensor, drive: Tensor) -> Tensor:
        moved: Tensor = Native().fixed(one, y, times, chosen, [drive] * n, weights).states[-1]
        return moved

    return flow


class PartField(TorchField):
    """One part of a `CellField` as a field of its own: the same weights and drive, the part's right-hand side."""

    def __init__(self, whole: CellField, part: Part) -> None:
        super().__init__()
        self.whole = whole
        self.part = part
        self.name = f"{whole.name}/{part.name}"
        self.input_size, self.hidden_size, self.blocks = whole.input_size, whole.hidden_size, whole.blocks
        self.ode_order, self.feature_size, self.parts = whole.ode_order, whole.feature_size, ()
        self._plans: tuple[Plan, ...] = tuple(plan(whole.equation, whole.constant_values, (e,)) for e in part.rhs)
        self.dependencies = tuple(one.blocks for one in self._plans)

    def weights(self) -> Weights:
        return self.whole.weights()

    def drive(self, u: Tensor) -> Tensor:
        return self.whole.drive(u)

    def slopes(
        self,
        wanted: tuple[int, ...],
        blocks: Sequence[Tensor],
        drive: Tensor,
        weights: Weights,
        memo: Memo,
        t: Any = 0.0,
    ) -> list[Tensor]:
        return [self.whole.evaluate(self._plans[j], blocks, drive, weights, memo)[0] for j in wanted]

    def forward(self, t: Any, y: Tensor, drive: Tensor, weights: Weights) -> Tensor:
        every = self.slopes(tuple(range(self.blocks)), y.chunk(self.blocks, -1), drive, weights, {})
        return every[0] if self.blocks == 1 else torch.cat(every, dim=-1)

    def jacobian(self, y: Tensor, drive: Tensor, weights: Weights, t: Any = 0.0) -> Tensor:
        return self.whole.linearised(self.part.rhs, y, drive, weights)

    def initial(self, batch: int) -> Tensor:
        return self.whole.initial(batch)

    def features(self, y: Tensor) -> Tensor:
        return self.whole.features(y)

    def flow(self, part: int, h: float, weights: Weights, linear: Linear) -> Flow:
        raise unsplittable(self.name)

    def named_weights(self) -> dict[str, Tensor]:
        return self.whole.named_weights()

    def latex(self) -> str:
        return self.whole.latex()

    def parameter_count(self) -> int:
        return self.whole.parameter_count()
