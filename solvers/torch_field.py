"""What the cell, the backends and the certificates need of a learned field: the contract of every torch field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from ..suite.errors import UsageError

Weights: TypeAlias = tuple[Tensor, ...]
Memo: TypeAlias = dict[Any, Any]
Linear: TypeAlias = Literal["exact", "cayley"]
Flow: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(y, drive) -> y after the step it was prepared for."""


class TorchField(torch.nn.Module, ABC):
    """dy/dt = f(t, y, u), with the input held over a step; y is (batch, blocks * hidden), blocks side by side.

    ode_order: t of the ODE; name: for messages; parts: names of the summands that splitting methods step one by one, ()
    where the field is not given as a sum; feature_size: width of `features`; first_alone: these are the first block as
    it is; dependencies: for every block the blocks that its slope reads.
    """

    input_size: int
    hidden_size: int
    blocks: int
    ode_order: int
    name: str
    parts: tuple[str, ...]
    feature_size: int
    first_alone: bool = False
    dependencies: tuple[frozenset[int], ...]

    @abstractmethod
    def weights(self) -> Weights:
        """The tensors that `forward` needs, assembled once a sequence; gradients flow through them."""

    @abstractmethod
    def drive(self, u: Tensor) -> Tensor:
        """What the input (..., input) contributes to the slopes, for the whole sequence at once."""

    @abstractmethod
    def forward(self, t: Any, y: Tensor, drive: Tensor, weights: Weights) -> Tensor:
        """dy/dt (batch, blocks * hidden)."""

    @abstractmethod
    def slopes(
        self,
        wanted: tuple[int, ...],
        blocks: Sequence[Tensor],
        drive: Tensor,
        weights: Weights,
        memo: Memo,
        t: Any = 0.0,
    ) -> list[Tensor]:
        """The slopes (batch, hidden) of some blocks at y = `blocks`.

        memo: an empty dict at the start of a step; what depends on the same tensors is then computed once a step. It
        keeps the tensors that it knows alive.
        """

    @abstractmethod
    def jacobian(self, y: Tensor, drive: Tensor, weights: Weights, t: Any = 0.0) -> Tensor:
        """df/dy (batch, D, D), D = blocks * hidden; differentiable."""

    @abstractmethod
    def initial(self, batch: int) -> Tensor:
        """The state before the first input, (batch, blocks * hidden)."""

    @abstractmethod
    def features(self, y: Tensor) -> Tensor:
        """What the readout sees of the states (..., blocks * hidden): (..., feature_size)."""

    @abstractmethod
    def flow(self, part: int, h: float, weights: Weights, linear: Linear) -> Flow:
        """One part's step of size h, prepared once a sequence. linear: how the flow of a linear part is taken.

        Raises `UsageError` for a field without parts.
        """

    @abstractmethod
    def named_weights(self) -> dict[str, Tensor]:
        """The trained numbers under the names of the published equations, matrices acting from the left."""

    @abstractmethod
    def latex(self) -> str:
        """The equation."""

    @abstractmethod
    def parameter_count(self) -> int:
        """Effective trained parameters."""


def positive_size(what: str, value: object) -> int:
    """A size of at least 1; raises `UsageError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{what} is {value!r}: expected an integer of at least 1.")
    return value


def unsplittable(name: str) -> UsageError:
    """The error of a splitting method on a field without parts."""
    return UsageError(
        f"cell {name!r} is not given as a sum of parts, so a splitting method cannot step it: expected a Runge-Kutta "
        "method, or a cell with parts such as 'exprnn'."
    )


def exponential(M: Tensor) -> Tensor:
    """exp(M), M (..., D, D) real or complex.

    Taken of two copies and averaged: of one matrix alone torch (to 2.14, pytorch issue 196592) evaluates the polynomial
    of degree 8 with a wrong coefficient, an error of 1e-10 in float64 and 2e-5 in float32. Equal copies also get equal
    gradients, so the same holds for the exponentials of the backward pass.
    """
    both: Tensor = torch.matrix_exp(torch.stack([M, M]))
    return both.mean(0)


def affine_flow(J: Tensor, h: float, linear: Linear) -> tuple[Tensor, Tensor]:
    """(E, Phi) of one step h of y' = J y + g with g held: y+ = E y + Phi g. J: (..., D, D).

    exact: E = exp(h J), Phi = h phi_1(h J), the zero-order hold. cayley: E = (I - h J/2)^-1 (I + h J/2), Phi =
    h (I - h J/2)^-1, the bilinear transform, which is the implicit midpoint rule.
    """
    size = J.shape[-1]
    wide = J if J.dtype in (torch.float32, torch.float64) else J.float()
    eye = torch.eye(size, dtype=wide.dtype, device=wide.device).expand(wide.shape)
    if linear == "cayley":
        both = torch.linalg.solve(eye - (h / 2) * wide, torch.cat([eye + (h / 2) * wide, h * eye], dim=-1))
        E, Phi = both[..., :size], both[..., size:]
    else:
        # exp of [[h J, h I], [0, 0]] holds exp(h J) and h phi_1(h J) in its first row (Van Loan 1978)
        upper = torch.cat([h * wide, h * eye], dim=-1)
        whole = exponential(torch.cat([upper, torch.zeros_like(upper)], dim=-2))
        E, Phi = whole[..., :size, :size], whole[..., :size, size:]
    return E.to(J.dtype), Phi.to(J.dtype)
