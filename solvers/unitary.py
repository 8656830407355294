"""What the unitary cells share: complex states of two blocks, input as a kick, modReLU as a radial flow.

psi' = (G_1 + ... + G_m) psi + V u + b_r psi / |psi|, unit by unit in the last term, every G_k skew-Hermitian. The
published cells are its Lie splitting at step 1: the unitary factors exp(G_k) in turn, V u added, then modReLU,
z max(|z| + b_r, 0) / |z|. So a factor's flow over another time h is exp(h G_k), or its Cayley transform.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .custom_field import drawn, parameter, reverse_jacobian, slopes_of_whole, widened
from .part_flow import radial
from .torch_field import Flow, Linear, Memo, TorchField, Weights, positive_size


class UnitaryField(TorchField):
    """V_re, V_im (n, p) start Glorot-uniform as one matrix with 2 n rows, b_r (n,) U(-0.01, 0.01).

    Blocks: real and imaginary part of psi; a readout sees both. weights(): b_r, then those of the factors. drive(u):
    V u, real parts first. `factors` are the names of the unitary parts, in the order in which they act. One complex ODE
    of order 1; for the real part alone, the observed block, it is a real ODE of order 2.
    """

    factors: tuple[str, ...]

    def __init__(
        self,
        name: str,
        factors: tuple[str, ...],
        input_size: int,
        hidden_size: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.name, self.factors, self.parts = name, factors, (*factors, "input", "radial")
        self.input_size = positive_size("input_size", input_size)
        self.hidden_size = n = positive_size("hidden_size", hidden_size)
        self.blocks = self.ode_order = 2
        self.feature_size = 2 * n
        self.dependencies = (frozenset({0, 1}),) * 2
        bound = math.sqrt(6 / (input_size + 2 * n))
        self.V_re = parameter(drawn((n, input_size), bound), device, dtype)
        self.V_im = parameter(drawn((n, input_size), bound), device, dtype)
        self.b_r = parameter(drawn((n,), 0.01), device, dtype)

    @abstractmethod
    def generated(self, z: Tensor, weights: Weights) -> Tensor:
        """(G_1 + ... + G_m) z of complex z (batch, n)."""

    @abstractmethod
    def factor(self, index: int, h: float, weights: Weights, linear: Linear) -> Flow:
        """A factor's flow over time h."""

    def drive(self, u: Tensor) -> Tensor:
        return u @ torch.cat([self.V_re, self.V_im]).t()

    def forward(self, t: Any, y: Tensor, drive: Tensor, weights: Weights) -> Tensor:
        z = joined(y)
        squared = z.real * z.real + z.imag * z.imag
        modulus = torch.where(squared > 0, squared, torch.ones_like(squared)).sqrt()  # psi = 0 has no direction
        return parted(self.generated(z, weights) + widened(weights[0]) * z / modulus, y) + drive

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
        return reverse_jacobian(self, y, drive, weights, t)

    def flow(self, part: int, h: float, weights: Weights, linear: Linear) -> Flow:
        if part < len(self.factors):
            return self.factor(part, h, weights, linear)
        if part == len(self.factors):
            return lambda y, drive: y + h * drive

        def modulus(y: Tensor, drive: Tensor) -> Tensor:
            re, im = y.chunk(2, -1)
            return torch.cat(radial(re, im, h * weights[0]), dim=-1)

        return modulus

    def initial(self, batch: int) -> Tensor:
        return self.b_r.new_zeros(batch, 2 * self.hidden_size)

    def features(self, y: Tensor) -> Tensor:
        return y

    def parameter_count(self) -> int:
        """All that are trained, as published: of a reflection's v the modulus and a phase do not act."""
        return sum(p.numel() for p in self.parameters())


def joined(y: Tensor) -> Tensor:
    """Blocks (re, im) -> complex, in single precision at least."""
    return torch.complex(*widened(y).chunk(2, -1))


def parted(z: Tensor, like: Tensor) -> Tensor:
    """Complex -> blocks (re, im), in the dtype of `like`."""
    return torch.cat([z.real, z.imag], dim=-1).to(like.dtype)


def turned(angles: Tensor, linear: Linear) -> Tensor:
    """The angle by which exp(i angle), or its Cayley transform (1 + i angle / 2) / (1 - i angle / 2), turns."""
    return angles if linear == "exact" else 2 * torch.atan(angles / 2)


def phase(angles: Tensor) -> Tensor:
    """exp(i angle)."""
    return torch.polar(torch.ones_like(angles), angles)
