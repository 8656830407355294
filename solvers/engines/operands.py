"""The tensors that a step program reads, assembled once a sequence from a field's weights; gradients flow through."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import sympy
import torch
from torch import Tensor

from ...suite.equation import symbols
from ..cell_field import CellField
from ..tableaux import Method
from ..torch_field import TorchField, Weights, affine_flow
from .kernel import Projection
from .lowering import lowered
from .writer import CannotLowerError, Lowered, Operand


@runtime_checkable
class Programmed(Protocol):
    """A field that is no equation and knows its own step programs."""

    def lowered(self, method: Method) -> Lowered:
        """The program of one step. Raises `CannotLowerError`."""
        ...

    def operand(self, operand: Operand, h: float, weights: Weights) -> Tensor:
        """A matrix (n, width * n) or a vector (n,) of the program, for steps of size h."""
        ...

    def shown(self, observed: Tensor) -> Tensor:
        """The features (..., feature_size) of the arrays (..., `Lowered.shown`, n) that the program shows, if any."""
        ...


_PROGRAMS: WeakKeyDictionary[TorchField, dict[int, tuple[Method, Lowered]]] = WeakKeyDictionary()
"""By field and the identity of a method, which is kept: hashing an equation at every call costs more than a step."""


def program_of(field: TorchField, method: Method) -> Lowered:
    """The step program of any field. Raises `CannotLowerError` for one given as a torch module."""
    known = _PROGRAMS.setdefault(field, {})
    if id(method) not in known:
        if isinstance(field, CellField):
            found = lowered(field.equation, method)
        elif isinstance(field, Programmed):
            found = field.lowered(method)
        else:
            raise CannotLowerError("the field is a torch module and no equation")
        known[id(method)] = (method, found)
    return known[id(method)][1]


def operands(field: TorchField, program: Lowered, h: float) -> tuple[list[Tensor], list[Tensor]]:
    """The program's matrices and vectors."""
    weights = field.weights()
    if isinstance(field, CellField):
        equation = _Equation(field, h, weights)
        found = [equation.tensor(one) for one in (*program.matrices, *program.vectors)]
    elif isinstance(field, Programmed):
        found = [field.operand(one, h, weights) for one in (*program.matrices, *program.vectors)]
    else:
        raise CannotLowerError("the field is a torch module and no equation")
    return found[: len(program.matrices)], found[len(program.matrices) :]


def constants(field: TorchField, program: Lowered) -> list[float]:
    """The numbers of the program's scalars after h."""
    if not isinstance(field, CellField):
        return []
    known = dict(field.constant_values)  # as the general path was printed with them
    return [float(known[symbol]) for symbol in program.constants]


class _Equation:
    """Reads an equation's weights."""

    def __init__(self, field: CellField, h: float, weights: Weights) -> None:
        self.field, self.h, self.weights = field, h, weights
        self.flow = lru_cache(maxsize=None)(self._flow)

    @cached_property
    def biases(self) -> dict[sympy.Symbol, Tensor]:
        return self.field.biases()

    def tensor(self, operand: Operand) -> Tensor:
        n = self.field.hidden_size
        match operand.source:
            case "maps":
                rows = slice(operand.row * n, (operand.row + 1) * n)
                found = self.weights[0][rows, operand.first * n : operand.last * n]
            case "bias":
                found = self.biases[self.field.layout.driven[operand.first].symbol]
            case "mix" | "vector":
                found = self.weights[operand.first]
            case "flow" | "drift":
                whole = self.flow(operand.part, operand.share, operand.linear)[operand.source == "drift"]
                i, j = operand.first, operand.row
                found = whole[i * n : (i + 1) * n, j * n : (j + 1) * n].t()
            case "signs":
                found = self.field.V.new_ones(n)
                if operand.first == 0:
                    found[: int(float(self.field.constants[symbols("negative")[0]]) * n)] = -1.0
            case "chain":
                raise AssertionError("no equation has a chain")
        return found.diagonal() if operand.diagonal else found

    def _flow(self, part: int, share: float, linear: str) -> tuple[Tensor, Tensor]:
        """(E, Phi) of a linear part, as `part_flow` takes them."""
        field = self.field
        size = field.blocks * field.hidden_size
        driven = field.b.new_zeros(1, field.drive_size)
        rhs = field.equation.parts[part].rhs
        J = field.linearised(rhs, driven.new_zeros(1, size), driven, self.weights)[0]
        return affine_flow(J, share * self.h, "cayley" if linear == "cayley" else "exact")


MOST_CHANNELS = 256
"""Of inputs whose products a tile computes for itself; the matrix of more would not stay in the cache."""


def drives_of(
    field: TorchField, program: Lowered, u: Tensor, projected: bool = False
) -> tuple[Tensor | Projection, Tensor]:
    """What the inputs u (time, batch, input) add: the program's drives (time, batch, d, n), and its row scalars
    (time, batch, r).

    projected: as a projection where that is possible, which it is not where u needs a gradient.
    """
    time, batch, channels = u.shape
    none = u.new_empty(time, batch, 0)
    if program.step.row_scalars:
        return none.unsqueeze(-1).expand(time, batch, 0, field.hidden_size), field.drive(u).contiguous()
    if not program.drives or not isinstance(field, CellField):
        return none.unsqueeze(-1).expand(time, batch, 0, field.hidden_size), none
    symbols = [field.layout.driven[k].symbol for k in program.drives]
    if symbols == [m.symbol for m in field.equation.maps if m.driven]:
        V: Tensor = field.V  # the parameter itself where its order is the program's, so that nothing is copied
    else:
        rows = field.input_rows()[0]
        V = torch.cat([rows[s] for s in symbols])
    if projected and channels <= MOST_CHANNELS and not (u.requires_grad and torch.is_grad_enabled()):
        return Projection(u, V), none
    return torch.nn.functional.linear(u, V).view(time, batch, len(symbols), field.hidden_size), none
