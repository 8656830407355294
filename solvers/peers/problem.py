"""The one problem that every peer of a kind is given: the same weights, inputs, starts and steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...suite.contracts import Array, VectorField
from ...suite.errors import UsageError
from ..cell import ODERNN
from ..cell_field import CellField
from ..field import EquationField
from ..tableau import Tableau
from ..tableaux import Method


class Passed(NamedTuple):
    """The loss, mean(output^2) over all outputs, and its gradient with respect to every operand or parameter."""

    loss: Any
    gradients: tuple[Any, ...]


def mean_square(outputs: Tensor) -> Tensor:
    """The loss, for every torch peer in torch's own one kernel a direction."""
    return torch.nn.functional.mse_loss(outputs, torch.zeros((), dtype=outputs.dtype).expand(outputs.shape))


@dataclass(frozen=True)
class SequenceProblem:
    """cell: ours, on the general path, without readout; x: inputs (time, batch, inputs), of its dtype and device."""

    cell: ODERNN
    x: Tensor

    @property
    def is_equation(self) -> bool:
        """Whether the cell's field is given by an equation, which peers can be given too."""
        return isinstance(self.cell.field, CellField)

    @property
    def field(self) -> CellField:
        """The cell's field. Raises `UsageError` where it is not given by an equation."""
        if not isinstance(self.cell.field, CellField):
            raise UsageError(f"cell {self.cell.field.name!r} is not given as an equation: no peer has it.")
        return self.cell.field

    @property
    def equation(self) -> EquationField:
        return self.field.equation

    @property
    def tableau(self) -> Tableau:
        """Raises `UsageError` for what is no explicit Runge-Kutta tableau."""
        method = self.cell.tableau
        if not isinstance(method, Tableau) or not method.explicit:
            raise UsageError(f"method {method.name!r} is no explicit tableau: the library cannot be given it.")
        return method

    @property
    def h(self) -> float:
        """The size of one step of the method."""
        return self.cell.step / self.cell.substeps

    def operands(self) -> tuple[Tensor, ...]:
        """What acts in a sequence: the field's weights, then V and b of the input map, as the field's drive shows them.

        Differentiable functions of the parameters; of a cell with dense matrices they are the parameters themselves, in
        another arrangement.
        """
        channels = torch.eye(self.field.input_size, dtype=self.x.dtype, device=self.x.device)
        b = self.field.drive(torch.zeros_like(channels[:1]))[0]
        return (*self.field.weights(), (self.field.drive(channels) - b).t(), b)

    def leaves(self) -> tuple[Tensor, ...]:
        """The operands as tensors of their own that gather gradients."""
        return tuple(one.detach().clone().contiguous().requires_grad_() for one in self.operands())

    def start(self) -> Tensor:
        """(batch, blocks * hidden)."""
        return self.field.initial(self.x.shape[1]).detach()

    def pulled_back(self, gradients: tuple[Any, ...]) -> list[Tensor]:
        """Gradients of the parameters from those of the operands."""
        operands, parameters = self.operands(), list(self.cell.parameters())
        given = [torch.as_tensor(g).to(self.x).reshape(o.shape) for g, o in zip(gradients, operands, strict=True)]
        found = torch.autograd.grad(operands, parameters, given, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


@dataclass(frozen=True)
class TrajectoryProblem:
    """y' = f(t, y) from y0 (batch, dimension), or (dimension,), at 0 to `span`, in float64.

    steps: so many equal ones of the method, every state reported; or None: adaptive with rtol and atol, y(span) alone.
    ours: of an engine, "general" or another, the function that solves it.
    """

    equation: VectorField
    y0: Array
    span: float
    method: Method
    steps: int | None
    rtol: float
    atol: float
    ours: Callable[[str], Callable[[], Any]]

    @property
    def tableau(self) -> Tableau:
        """Raises `UsageError` for what is no explicit Runge-Kutta tableau."""
        if not isinstance(self.method, Tableau) or not self.method.explicit:
            raise UsageError(f"method {self.method.name!r} is no explicit tableau: the library cannot be given it.")
        return self.method

    def must_be_dormand_prince(self) -> None:
        """Raises `UsageError` where the library's own Dormand-Prince pair would be another method."""
        if self.method.name != "dormand-prince54":
            raise UsageError(f"the library's own pair is Dormand and Prince's, not {self.method.name!r}.")
