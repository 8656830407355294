"""Any torch module f(t, y, u) as a field: the general path, for right-hand sides that are no `EquationField`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, jacrev, vmap

from ..suite.errors import UsageError
from .field import order_of
from .torch_field import Flow, Linear, Memo, TorchField, Weights, positive_size, unsplittable


class ModuleField(TorchField):
    """y' = module(t, y, u), or x^(t) = module(t, y, u) for an ODE of order t > 1.

    For ode_order 1 the module maps y (batch, hidden) and u (batch, input) to dy/dt (batch, hidden). For a higher order
    it gets y (batch, ode_order, hidden), the derivatives x, x', ..., x^(t-1), and returns the highest one, x^(t)
    (batch, hidden); the companion form supplies the rest. t is a number, counted from the start of the sequence.

    weights() are the module's parameters, so that a backend can differentiate by adjoint; drive(u) is u. The module is
    tried once on zeros: raises `UsageError` where it does not take or return these shapes.
    """

    def __init__(
        self, module: torch.nn.Module, input_size: int, hidden_size: int, ode_order: int | None = None
    ) -> None:
        super().__init__()
        self.name = type(module).__name__
        self.input_size = positive_size("input_size", input_size)
        self.hidden_size = positive_size("hidden_size", hidden_size)
        self.ode_order = self.blocks = order_of(self.name, ode_order)
        self.feature_size, self.parts = self.hidden_size, ()
        self.dependencies = (frozenset(range(self.blocks)),) * self.blocks
        self.module = module
        self._try()
        self._names = [name for name, _ in module.named_parameters()]

    def _try(self) -> None:
        first = next(self.module.parameters(), torch.empty(0))
        like: dict[str, Any] = {"dtype": first.dtype, "device": first.device}
        y = torch.zeros(2, self.blocks * self.hidden_size, **like)
        u = torch.zeros(2, self.input_size, **like)
        shapes = f"t, y {tuple(self._split(y).shape)}, u {tuple(u.shape)}"
        try:
            with torch.no_grad():
                value = self.module(0.0, self._split(y), u)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise UsageError(f"the module {self.name} does not accept ({shapes}): {reason}") from error
        expected = (2, self.hidden_size)
        if not isinstance(value, Tensor) or tuple(value.shape) != expected:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise UsageError(
                f"the module {self.name} returned {got} for ({shapes}): expected a tensor of shape {expected}."
            )

    def _split(self, y: Tensor) -> Tensor:
        return y if self.blocks == 1 else y.reshape(*y.shape[:-1], self.blocks, self.hidden_size)

    def weights(self) -> Weights:
        return tuple(self.module.parameters())

    def drive(self, u: Tensor) -> Tensor:
        return u

    def forward(self, t: Any, y: Tensor, drive: Tensor, weights: Weights) -> Tensor:
        named = dict(zip(self._names, weights, strict=True))
        highest: Tensor = functional_call(self.module, named, (t, self._split(y), drive))
        return highest if self.blocks == 1 else torch.cat([y[..., self.hidden_size :], highest], dim=-1)

    def slopes(
        self,
        wanted: tuple[int, ...],
        blocks: Sequence[Tensor],
        drive: Tensor,
        weights: Weights,
        memo: Memo,
        t: Any = 0.0,
    ) -> list[Tensor]:
        """From the whole field, evaluated once for the same blocks and time."""
        key = (float(t), *map(id, blocks))
        if key not in memo:
            memo[key] = (self(t, torch.cat(list(blocks), dim=-1), drive, weights).chunk(self.blocks, -1), *blocks)
        return [memo[key][0][j] for j in wanted]

    def initial(self, batch: int) -> Tensor:
        like = next(self.parameters(), torch.empty(0))
        return like.new_zeros(batch, self.blocks * self.hidden_size)

    def features(self, y: Tensor) -> Tensor:
        return y[..., : self.hidden_size]

    def flow(self, part: int, h: float, weights: Weights, linear: Linear) -> Flow:
        raise unsplittable(self.name)

    def named_weights(self) -> dict[str, Tensor]:
        return dict(self.module.named_parameters())

    def jacobian(self, y: Tensor, drive: Tensor, weights: Weights, t: Any = 0.0) -> Tensor:
        """By reverse-mode differentiation of the module, one sequence at a time under vmap."""

        def one(state: Tensor, drive: Tensor) -> Tensor:
            return self(t, state.unsqueeze(0), drive.unsqueeze(0), weights).squeeze(0)  # type: ignore[no-any-return]

        return vmap(jacrev(one))(y, drive)  # type: ignore[no-any-return]

    def latex(self) -> str:
        derivative = r"\dot y" if self.ode_order == 1 else rf"x^{{({self.ode_order})}}"
        return rf"{derivative} = \mathrm{{{self.name}}}(t, y, u)".replace("_", r"\_")

    def parameter_count(self) -> int:
        """Every trained parameter of the module; redundancies inside it are not known here."""
        return sum(p.numel() for p in self.module.parameters() if p.requires_grad)
