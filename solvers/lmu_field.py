"""Legendre Memory Unit of Voelker, Kajic and Eliasmith 2019 as a field of two blocks, h and m.

    m' = (A m + B s) / theta,  s = e_x . u + e_h . h + e_m . m;     h' = -h + tanh(W_x u + W_h h + W_m m)

A_ij = (2i + 1) (-1 if i < j else (-1)^(i - j + 1)) and B_i = (2i + 1) (-1)^i hold the last theta of the signal s in
Legendre polynomials; they are not trained, nor is theta. Published, at step 1: m by the zero-order hold of (A, B) /
theta with s of the step's start, then h+ = tanh(...) of the new m, which is one explicit Euler step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..suite.errors import UsageError
from .custom_field import drawn, parameter, slopes_of_whole
from .torch_field import Flow, Linear, Memo, TorchField, Weights, affine_flow, positive_size


class LMU(TorchField):
    """The order of the memory is hidden_size. constants: theta, the length of the memory in the field's own time.

    Starts: e_x LeCun-uniform, e_h = e_m = 0, W_m Glorot-uniform, W_x = W_h = 0, so that a memory of the input and a
    readout of it are there from the start and the loop through h is learned; h = m = 0. weights(): e_h, e_m, W_h,
    W_m. drive(u): (e_x . u, W_x u), (..., 1 + n). p + 2 n + n p + 2 n^2 trained numbers. Raises `UsageError` for a
    theta that is not above 0.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        constants: Mapping[str, float],
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.name, self.parts, self.blocks, self.ode_order = "lmu", ("memory", "hidden"), 2, 2
        self.input_size = positive_size("input_size", input_size)
        self.hidden_size = self.feature_size = n = positive_size("hidden_size", hidden_size)
        self.dependencies = (frozenset({0, 1}),) * 2
        self.theta = float(constants["theta"])
        if self.theta <= 0:
            raise UsageError(f"constant 'theta' of cell 'lmu' is {self.theta:g}: expected a length above 0.")

        def none(*shape: int) -> torch.nn.Parameter:
            return parameter(torch.zeros(shape, dtype=torch.float64), device, dtype)

        self.e_x = parameter(drawn((input_size,), math.sqrt(3 / input_size)), device, dtype)
        self.e_h = none(n)
        self.e_m = none(n)
        self.W_x = none(n, input_size)
        self.W_h = none(n, n)
        self.W_m = parameter(drawn((n, n), math.sqrt(3 / n)), device, dtype)
        A, B = legendre(n)
        self.A: Tensor
        self.B: Tensor
        self.register_buffer("A", A.to(device=device, dtype=self.e_x.dtype), persistent=False)
        self.register_buffer("B", B.to(device=device, dtype=self.e_x.dtype), persistent=False)

    def weights(self) -> Weights:
        return self.e_h, self.e_m, self.W_h, self.W_m

    def drive(self, u: Tensor) -> Tensor:
        return u @ torch.cat([self.e_x.unsqueeze(0), self.W_x]).t()

    def forward(self, t: Any, y: Tensor, drive: Tensor, weights: Weights) -> Tensor:
        h, m = y.chunk(2, -1)
        memory = (m @ self.A.t() + self._signal(h, m, drive, weights) * self.B) / self.theta
        return torch.cat([torch.tanh(self._preactivation(h, m, drive, weights)) - h, memory], dim=-1)

    def slopes(
        self,
        wanted: tuple[int, ...],
        blocks: Sequence[Tensor],
        drive: Tensor,
        weights: Weights,
        memo: Memo,
        t: Any = 0.0,
    ) -> list[Tensor]:
        return slopes_of_whole(self, wanted, blocks, drive, weights, memo)

    def jacobian(self, y: Tensor, drive: Tensor, weights: Weights, t: Any = 0.0) -> Tensor:
        e_h, e_m, W_h, W_m = weights
        h, m = y.chunk(2, -1)
        slope = (1 - torch.tanh(self._preactivation(h, m, drive, weights)) ** 2).unsqueeze(-1)
        eye = torch.eye(self.hidden_size, dtype=y.dtype, device=y.device)
        above = torch.cat([slope * W_h - eye, slope * W_m], dim=-1)
        below = torch.cat([torch.outer(self.B, e_h), self.A + torch.outer(self.B, e_m)], dim=-1) / self.theta
        return torch.cat([above, below.expand(len(y), -1, -1)], dim=-2)

    def flow(self, part: int, h: float, weights: Weights, linear: Linear) -> Flow:
        """memory: zero-order hold or bilinear transform of (A, B) / theta with s held. hidden: one Euler step."""
        if part == 1:

            def step(y: Tensor, drive: Tensor) -> Tensor:
                x, m = y.chunk(2, -1)
                target = torch.tanh(self._preactivation(x, m, drive, weights))
                return torch.cat([x + h * (target - x), m], dim=-1)

            return step
        Ad, Bd = (held.to(self.A) for held in hold(self.hidden_size, self.theta, h, linear))

        def flow(y: Tensor, drive: Tensor) -> Tensor:
            x, m = y.chunk(2, -1)
            return torch.cat([x, m @ Ad.t() + self._signal(x, m, drive, weights) * Bd], dim=-1)

        return flow

    @staticmethod
    def _signal(h: Tensor, m: Tensor, drive: Tensor, weights: Weights) -> Tensor:
        """s, (batch, 1)."""
        return drive[..., :1] + (h @ weights[0] + m @ weights[1]).unsqueeze(-1)

    @staticmethod
    def _preactivation(h: Tensor, m: Tensor, drive: Tensor, weights: Weights) -> Tensor:
        return drive[..., 1:] + h @ weights[2].t() + m @ weights[3].t()

    def initial(self, batch: int) -> Tensor:
        return self.e_x.new_zeros(batch, 2 * self.hidden_size)

    def features(self, y: Tensor) -> Tensor:
        return y[..., : self.hidden_size]

    def named_weights(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in ("e_x", "e_h", "e_m", "W_x", "W_h", "W_m")}

    def latex(self) -> str:
        from .fields.lmu import field

        return field().latex()

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def extra_repr(self) -> str:
        return f"{self.name}, input_size={self.input_size}, hidden_size={self.hidden_size}, theta={self.theta:g}"


def legendre(order: int) -> tuple[Tensor, Tensor]:
    """A (n, n) and B (n,), float64."""
    i = torch.arange(order, dtype=torch.float64)
    signs = torch.where(i[:, None] < i, -torch.ones(()), (-1.0) ** (i[:, None] - i + 1))
    return (2 * i[:, None] + 1) * signs, (2 * i + 1) * (-1.0) ** i


@lru_cache(maxsize=16)
def hold(order: int, theta: float, h: float, linear: Linear) -> tuple[Tensor, Tensor]:
    """(A_d, B_d) of one step h: in float64 whatever the cell's dtype, because ||A|| grows like n^2."""
    with torch.inference_mode(False):  # what is kept for later calls may be differentiated through there
        A, B = legendre(order)
        E, Phi = affine_flow(A / theta, h, linear)
        return E, Phi @ B / theta
