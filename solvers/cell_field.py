"""An equation as a torch module: one matrix product a slope, then the pointwise function printed from SymPy.

Longer than most files: the contract of every torch field stands first, and storage, assembly, slope and Jacobian of an
equation's matrices only make sense side by side.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import sympy
import torch
from torch import Tensor

from ..suite.errors import UsageError
from .field import EquationField, Init, Kind, Matrix
from .printing import Constants, torch_function

Weights = tuple[Tensor, ...]


class TorchField(torch.nn.Module, ABC):
    """What the cell and the backends need of a learned field; y is (batch, blocks * hidden), blocks side by side."""

    input_size: int
    hidden_size: int
    blocks: int
    ode_order: int
    name: str

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
    def jacobian(self, y: Tensor, drive: Tensor, weights: Weights, t: Any = 0.0) -> Tensor:
        """df/dy (batch, D, D), D = blocks * hidden; differentiable."""

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


class CellField(TorchField):
    """The torch side of an `EquationField`.

    weights(): the matrix (blocks * hidden, preactivations * hidden) that acts from the right on y, then one (hidden,
    hidden) matrix for each mixed quantity. drive(u): (..., preactivations * hidden).

    Parameters: `matrices[name]`, (n, n) for a dense matrix, a vector of the strict upper triangle of W - W^T for an
    antisymmetric one, of the upper triangle of W + W^T for a symmetric one, (n,) for a diagonal one; `V` (q n, input)
    and `b` (q n,) for the q driven preactivations. So every stored number acts, and `parameter_count` is their number.
    They are drawn on the CPU in float64 from torch's global generator, so device and dtype do not change them.

    Raises `UsageError` for a size below 1 or a wrong constant.
    """

    def __init__(
        self,
        equation: EquationField,
        input_size: int,
        hidden_size: int,
        constants: Mapping[str, float] | None = None,
        init: Init | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.equation = equation
        self.input_size = positive_size("input_size", input_size)
        self.hidden_size = positive_size("hidden_size", hidden_size)
        self.blocks = equation.blocks
        self.ode_order = equation.ode_order
        self.name = equation.name
        self.constants = equation.values(constants)
        self._coefficients = {m.name: equation.coefficients(m, self.constants) for m in equation.matrices}
        self.kinds: dict[str, Kind] = {m.name: equation.kind(m, self.constants) for m in equation.matrices}
        init = init or equation.init
        dtype = dtype or torch.get_default_dtype()

        def parameter(values: Tensor) -> torch.nn.Parameter:
            return torch.nn.Parameter(values.to(device=device, dtype=dtype))

        n, p = self.hidden_size, self.input_size
        driven = [m for m in equation.maps if m.driven]
        self.matrices = torch.nn.ParameterDict()
        for matrix in equation.matrices:
            reads = max((len(m.reads) for m in equation.maps if any(w == matrix for _, w in m.reads)), default=1)
            drawn = init.gain * _recurrent(init, n, p, reads)
            self.matrices[matrix.name] = parameter(self._stored(matrix.name, drawn))
        none = torch.empty(0, p + 1, dtype=torch.float64)
        both = torch.cat([none, *(_input(init, n, p, len(m.reads)) for m in driven)])
        self.V = parameter(init.input_gain * both[:, :p])
        self.b = parameter(both[:, p].contiguous())
        self._compile()

    def _compile(self) -> None:
        values = tuple(self.constants.items())
        self._mixed, self._pointwise = _functions(self.equation, values)
        self._single = self.blocks == 1 and not self.equation.mixes
        self._sizes = (self.blocks, len(self.equation.maps))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the printed functions, which do not pickle and are made again on loading."""
        return {k: v for k, v in self.__dict__.items() if k not in {"_mixed", "_pointwise"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._compile()

    def _stored(self, name: str, full: Tensor) -> Tensor:
        """The acting numbers of a drawn (n, n) matrix W."""
        n = self.hidden_size
        match self.kinds[name]:
            case "dense":
                return full
            case "diagonal":
                return full.diagonal().clone()
            case "antisymmetric":
                i, j = torch.triu_indices(n, n, 1)
                return (full - full.t())[i, j]
            case "symmetric":
                i, j = torch.triu_indices(n, n)
                return (full + full.t())[i, j]

    def _assembled(self, matrix: Matrix) -> Tensor:
        """straight W + transposed W^T + identity I, from what is stored."""
        stored: Tensor = self.matrices[matrix.name]
        n = self.hidden_size
        s, t, r = self._coefficients[matrix.name]
        kind = self.kinds[matrix.name]
        if kind == "dense":
            acting = stored if s == 1.0 else s * stored
            acting = acting if t == 0.0 else acting + t * stored.t()
        elif kind == "diagonal":
            acting = torch.diag((s + t) * stored)
        else:
            i, j = torch.triu_indices(n, n, 1 if kind == "antisymmetric" else 0, device=stored.device)
            upper = stored.new_zeros(n, n).index_put((i, j), stored)
            lower = upper.t() if kind == "symmetric" else -upper.t()
            whole = upper + (lower.tril(-1) if kind == "symmetric" else lower)
            acting = whole if s == 1.0 else s * whole
        return acting if r == 0.0 else acting + r * torch.eye(n, dtype=stored.dtype, device=stored.device)

    def weights(self) -> Weights:
        n = self.hidden_size
        acting = {matrix.name: self._assembled(matrix) for matrix in self.equation.matrices}
        columns = []
        for m in self.equation.maps:
            rows: list[Tensor | None] = [None] * self.blocks
            for block, matrix in m.reads:
                before, transposed = rows[block], acting[matrix.name].t()
                rows[block] = transposed if before is None else before + transposed
            filled = [self.b.new_zeros(n, n) if row is None else row for row in rows]
            columns.append(filled[0] if self.blocks == 1 else torch.cat(filled))
        whole = columns[0] if len(columns) == 1 else torch.cat(columns, dim=1)
        mixes = [acting[m.matrix.name] if m.transposed else acting[m.matrix.name].t() for m in self.equation.mixes]
        return (whole, *mixes)

    def drive(self, u: Tensor) -> Tensor:
        V, b = self._input_map()
        return torch.nn.functional.linear(u, V, b)

    def _input_map(self) -> tuple[Tensor, Tensor]:
        """V and b with zero rows where a preactivation is not driven."""
        maps, n = self.equation.maps, self.hidden_size
        if all(m.driven for m in maps):
            return self.V, self.b
        V, b = iter(torch.split(self.V, n)), iter(torch.split(self.b, n))
        rows = [next(V) if m.driven else self.V.new_zeros(n, self.input_size) for m in maps]
        return torch.cat(rows), torch.cat([next(b) if m.driven else self.b.new_zeros(n) for m in maps])

    def forward(self, t: Any, y: Tensor, drive: Tensor, weights: Weights) -> Tensor:
        a = torch.addmm(drive, y, weights[0])
        if self._single and self._sizes[1] == 1:
            return self._whole(self._pointwise(y, a)[0], y)
        blocks, maps = self._sizes
        parts = (*y.chunk(blocks, -1), *a.chunk(maps, -1))
        if self.equation.mixes:
            mixed = [self._whole(e, parts[0]) for e in self._mixed(*parts)]
            parts += tuple(e @ w for e, w in zip(mixed, weights[1:], strict=True))
        values = [self._whole(v, parts[0]) for v in self._pointwise(*parts)]
        return values[0] if blocks == 1 else torch.cat(values, dim=-1)

    @staticmethod
    def _whole(value: Any, like: Tensor) -> Tensor:
        """The value itself; a number (an expression without symbols) becomes a full tensor."""
        return value if isinstance(value, Tensor) else torch.full_like(like, float(value))

    def jacobian(self, y: Tensor, drive: Tensor, weights: Weights, t: Any = 0.0) -> Tensor:
        """df/dy from the SymPy derivatives.

        diag(drhs/dy) + diag(drhs/da) W + diag(drhs/ds) M (diag(de/dy) + diag(de/da) W), block by block.
        """
        n, (blocks, maps) = self.hidden_size, self._sizes
        mixes = len(self.equation.mixes)
        derivatives = _derivatives(self.equation, tuple(self.constants.items()))
        a = torch.addmm(drive, y, weights[0])
        parts = (*y.chunk(blocks, -1), *a.chunk(maps, -1))
        mixed = [self._whole(e, parts[0]) for e in self._mixed(*parts)]
        parts += tuple(e @ w for e, w in zip(mixed, weights[1:], strict=True))
        values = [self._whole(v, parts[0]) for v in derivatives(*parts)]
        width = blocks + maps + mixes
        table = [values[i : i + width] for i in range(0, len(values), width)]  # rows: right-hand sides, then mixes

        def through(row: list[Tensor], block: int) -> Tensor:
            """Derivative of a pointwise expression with respect to a block, mixed quantities held: (batch, n, n)."""
            total = torch.diag_embed(row[block])
            for k in range(maps):
                matrix = weights[0][block * n : (block + 1) * n, k * n : (k + 1) * n].t()
                total = total + row[blocks + k].unsqueeze(-1) * matrix
            return total

        columns = []
        for block in range(blocks):
            inner = [w.t() @ through(row, block) for w, row in zip(weights[1:], table[blocks:], strict=True)]
            rows = []
            for row in table[:blocks]:
                total = through(row, block)
                for index, one in enumerate(inner):
                    total = total + row[blocks + maps + index].unsqueeze(-1) * one
                rows.append(total)
            columns.append(torch.cat(rows, dim=-2))
        return torch.cat(columns, dim=-1)

    def latex(self) -> str:
        return self.equation.latex()

    def parameter_count(self) -> int:
        """Effective trained parameters: all that are stored (an antisymmetric matrix stores n (n - 1) / 2)."""
        return sum(p.numel() for p in self.parameters())

    def extra_repr(self) -> str:
        constants = "".join(f", {s}={float(v):g}" for s, v in self.constants.items())
        sizes = f"input_size={self.input_size}, hidden_size={self.hidden_size}, blocks={self.blocks}"
        return f"{self.name}, {sizes}{constants}"


def _recurrent(init: Init, n: int, p: int, reads: int) -> Tensor:
    W = torch.empty(n, n, dtype=torch.float64)
    match init.scheme:
        case "uniform":
            return W.uniform_(-1 / math.sqrt(n), 1 / math.sqrt(n))
        case "linear":
            bound = 1 / math.sqrt(p + n * reads)
            return W.uniform_(-bound, bound)
        case "normal":
            return W.normal_(0.0, 1 / math.sqrt(n))
        case "orthogonal":
            return torch.nn.init.orthogonal_(W)


def _input(init: Init, n: int, p: int, reads: int) -> Tensor:
    """V and b side by side: (n, p + 1)."""
    V = torch.empty(n, p, dtype=torch.float64)
    b = torch.zeros(n, 1, dtype=torch.float64)
    bound = 1 / math.sqrt(p + n * reads if init.scheme == "linear" else n)
    if init.scheme == "normal":
        return torch.cat([V.normal_(0.0, 1 / math.sqrt(p)), b], dim=1)
    V.uniform_(-bound, bound)
    return torch.cat([V, b if init.scheme == "orthogonal" else b.uniform_(-bound, bound)], dim=1)


def _symbols(equation: EquationField) -> tuple[list[sympy.Symbol], list[sympy.Symbol]]:
    """States and preactivations; mixed quantities."""
    return [*equation.state, *(m.symbol for m in equation.maps)], [m.symbol for m in equation.mixes]


@lru_cache(maxsize=256)
def _functions(equation: EquationField, constants: Constants) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What enters the mixing matrices, of (y, a); the right-hand sides, of (y, a, s)."""
    first, mixed = _symbols(equation)
    inside = torch_function(first, [m.of for m in equation.mixes], constants)
    return inside, torch_function([*first, *mixed], list(equation.rhs), constants)


@lru_cache(maxsize=256)
def _derivatives(equation: EquationField, constants: Constants) -> Callable[..., Any]:
    """Derivatives of each right-hand side, then of each expression that is mixed, by every y, a and s."""
    first, mixed = _symbols(equation)
    arguments = [*first, *mixed]
    expressions: list[Any] = [*equation.rhs, *(m.of for m in equation.mixes)]
    return torch_function(arguments, [e.diff(s) for e in expressions for s in arguments], constants)
