"""An equation as a torch module: one matrix product a slope, then the pointwise functions printed from SymPy.

Longer than most files: storage, assembly, slope and Jacobian of an equation's matrices only make sense side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sympy
import torch
from torch import Tensor

from ..suite.equation import symbols
from ..suite.errors import UsageError
from .field import DRAWN, EquationField, Init, Kind, Matrix, Start
from .layout import Layout, Plan, layout, plan
from .printing import torch_function
from .torch_field import Flow, Linear, Memo, TorchField, Weights, positive_size


class CellField(TorchField):
    """The torch side of an `EquationField`.

    weights(): the matrix (blocks * hidden, maps * hidden) that acts from the right on y, for the maps that read the
    state; one (hidden, hidden) matrix for each mixed quantity; the trained vectors (hidden,). drive(u): (..., maps *
    hidden) for the maps that are no vectors, in the order of `solvers.layout`.

    Parameters: `matrices[name]`, (n, n) for a dense matrix, a vector of the strict upper triangle of W - W^T for an
    antisymmetric one, of the upper triangle of W + W^T for a symmetric one, (n,) for a diagonal one; `V` (q n, input)
    for the q driven preactivations, `b` (r n,) for the r biased ones; `vectors[name]` (n,). So every stored number
    acts, and `parameter_count` is their number. They are drawn on the CPU in float64 from torch's global generator, so
    device and dtype do not change them.

    Raises `UsageError` for a size below 1 or a wrong constant: an unknown or infinite one, a bound that is not above 0,
    a share of reflected units outside 0 to 1.
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
        self.parts = tuple(part.name for part in equation.parts)
        self.once = tuple(part.name for part in equation.parts if part.flow == "reflect")
        self.feature_size = len(equation.seen) * self.hidden_size
        self.first_alone = not equation.output
        self.constants = equation.values(constants)
        self._coefficients = {m.name: equation.coefficients(m, self.constants) for m in equation.matrices}
        self._bounds = {
            m.name: float(m.bound.xreplace(dict(self.constants))) for m in equation.matrices if m.bound is not None
        }
        for name, limit in self._bounds.items():
            if limit <= 0:
                raise UsageError(f"the bound of {name} in cell {self.name!r} is {limit:g}: expected a number above 0.")
        for part in equation.parts:
            share = float(self.constants[symbols("negative")[0]]) if part.flow == "reflect" else 0.0
            if not 0 <= share <= 1:
                raise UsageError(f"constant 'negative' of cell {self.name!r} is {share:g}: expected a share, 0 to 1.")
        self.kinds: dict[str, Kind] = {m.name: equation.kind(m, self.constants) for m in equation.matrices}
        init = init or equation.init
        dtype = dtype or torch.get_default_dtype()

        def parameter(values: Tensor) -> torch.nn.Parameter:
            return torch.nn.Parameter(values.to(device=device, dtype=dtype))

        n, p = self.hidden_size, self.input_size
        draws: dict[str, Tensor] = {}
        self.matrices = torch.nn.ParameterDict()
        for matrix in equation.matrices:
            reads = max((len(m.reads) for m in equation.maps if any(w == matrix for _, w in m.reads)), default=1)
            drawn = init.gain * self._drawn(matrix, init, reads, draws)
            self.matrices[matrix.name] = parameter(self.stored(matrix.name, drawn))
        V, b = [torch.empty(0, p, dtype=torch.float64)], [torch.empty(0, dtype=torch.float64)]
        for m in equation.maps:
            if m.driven:
                both = _input(init, n, p, len(m.reads))
                V.append(both[:, :p])
                bias = both[:, p]
            elif m.has_bias and not m.vector:
                bias = _input(init, n, 1, len(m.reads))[:, 1]
            if m.has_bias and not m.vector:
                b.append(bias if m.start is None else self._started(m.start, draws))
        self.V = parameter(init.input_gain * torch.cat(V))
        self.b = parameter(torch.cat(b))
        self.vectors = torch.nn.ParameterDict()
        for m in equation.maps:
            if m.vector:
                start = self._started(m.start, draws) if m.start else torch.zeros(n, dtype=torch.float64)
                self.vectors[m.suffix] = parameter(start)
        self._compile()

    # ------------------------------------------------------------------------------------------------------- parameters

    def _drawn(self, matrix: Matrix, init: Init, reads: int, draws: dict[str, Tensor]) -> Tensor:
        """A starting (n, n) matrix W."""
        n = self.hidden_size
        if matrix.start is None:
            return _recurrent(init, n, self.input_size, reads)
        values = self._started(matrix.start, draws)
        if not matrix.turns:
            return torch.diag(values)
        W = torch.zeros(n, n, dtype=torch.float64)
        pairs = torch.arange(0, n - 1, 2)
        W[pairs, pairs + 1] = values[: len(pairs)]
        return W

    def _started(self, start: Start, draws: dict[str, Tensor]) -> Tensor:
        """Starting values (n,) of a vector."""
        drawn = draws.get(start.key)
        if drawn is None:
            drawn = torch.empty(self.hidden_size, dtype=torch.float64).uniform_(start.low, start.high)
            if start.key:
                draws[start.key] = drawn
        (values,) = torch_function([DRAWN], [start.value], tuple(self.constants.items()))(drawn)
        return self._whole(values, drawn).clone()  # not the memory of a draw that another vector shares

    def stored(self, name: str, full: Tensor) -> Tensor:
        """The acting numbers of an (n, n) matrix W, as they are kept; (n,) of a diagonal one already kept so."""
        n = self.hidden_size
        match self.kinds[name]:
            case "dense":
                return full
            case "diagonal":
                return full.clone() if full.dim() == 1 else full.diagonal().clone()
            case "antisymmetric":
                i, j = torch.triu_indices(n, n, 1)
                return (full - full.t())[i, j]
            case "symmetric":
                i, j = torch.triu_indices(n, n)
                return (full + full.t())[i, j]

    def _published(self, matrix: Matrix) -> Tensor:
        """W as the published equation has it, from what is stored; the strict upper triangle where antisymmetric."""
        stored: Tensor = self.matrices[matrix.name]
        n = self.hidden_size
        match self.kinds[matrix.name]:
            case "dense":
                if matrix.name not in self._bounds:
                    return stored
                # The norm is the acting matrix's only for W itself, which `bound` is for. The margin is what rounding
                # can add: of the product, entry by entry, and of the norm.
                wide = stored.to(torch.promote_types(stored.dtype, torch.float32))
                margin = math.sqrt(n) * torch.finfo(stored.dtype).eps + 8 * n * torch.finfo(wide.dtype).eps
                limit = self._bounds[matrix.name] / (1 + margin)
                bounded: Tensor = wide * (limit / torch.linalg.matrix_norm(wide, 2).clamp_min(limit))
                return bounded.to(stored.dtype)
            case "diagonal":
                return stored
            case "antisymmetric":
                i, j = torch.triu_indices(n, n, 1, device=stored.device)
                return stored.new_zeros(n, n).index_put((i, j), stored)
            case "symmetric":
                i, j = torch.triu_indices(n, n, device=stored.device)
                upper = stored.new_zeros(n, n).index_put((i, j), stored)
                return upper - upper.diagonal().diag() / 2

    def _assembled(self, matrix: Matrix) -> Tensor:
        """straight W + transposed W^T + identity I."""
        W = self._published(matrix)
        s, t, r = self._coefficients[matrix.name]
        if matrix.diagonal:
            acting = torch.diag((s + t) * W)
        else:
            acting = W if s == 1.0 else s * W
            acting = acting if t == 0.0 else acting + t * W.t()
        return acting if r == 0.0 else acting + r * torch.eye(len(W), dtype=W.dtype, device=W.device)

    def weights(self) -> Weights:
        n = self.hidden_size
        acting = {matrix.name: self._assembled(matrix) for matrix in self.equation.matrices}
        columns = []
        for m in self._layout.reading:
            rows: list[Tensor | None] = [None] * self.blocks
            for block, matrix in m.reads:
                before, transposed = rows[block], acting[matrix.name].t()
                rows[block] = transposed if before is None else before + transposed
            filled = [self.b.new_zeros(n, n) if row is None else row for row in rows]
            columns.append(filled[0] if self.blocks == 1 else torch.cat(filled))
        whole = torch.cat(columns, dim=1) if len(columns) > 1 else columns[0] if columns else self.b.new_zeros(0, 0)
        mixes = [acting[m.matrix.name] if m.transposed else acting[m.matrix.name].t() for m in self.equation.mixes]
        return (whole, *mixes, *(self.vectors[m.suffix] for m in self._layout.vectors))

    def named_weights(self) -> dict[str, Tensor]:
        found = {matrix.name: self._published(matrix) for matrix in self.equation.matrices}
        V, b = self.input_rows()
        for m in self.equation.maps:
            many = "_" in str(m.symbol) or len(self.equation.maps) > 1
            index = f"_{m.suffix}" if many else ""
            if m.driven:
                found[f"V{index}"] = V[m.symbol]
            if m.has_bias:
                found[f"b{index}"] = self.vectors[m.suffix] if m.vector else b[m.symbol]
        return found

    def parameter_count(self) -> int:
        """Effective trained parameters: all that are stored (an antisymmetric matrix stores n (n - 1) / 2)."""
        return sum(p.numel() for p in self.parameters())

    # ------------------------------------------------------------------------------------------------------- evaluation

    def _compile(self) -> None:
        self.constant_values = tuple(self.constants.items())
        self._layout: Layout = layout(self.equation)
        self._all: Plan = plan(self.equation, self.constant_values, self.equation.rhs)
        self._slopes: tuple[Plan, ...] = tuple(
            plan(self.equation, self.constant_values, (e,)) for e in self.equation.rhs
        )
        self._inside: tuple[Plan, ...] = tuple(
            plan(self.equation, self.constant_values, (m.of,)) for m in self.equation.mixes
        )
        self._single = (
            self.blocks == 1
            and not self.equation.mixes
            and len(self.equation.maps) == len(self._layout.reading) == 1
            and (self._all.states, self._all.maps) == ((0,), (0,))
        )
        self._joint = (
            not self.equation.mixes
            and len(self._layout.groups) == 1
            and len(self._layout.groups[0].blocks) == self.blocks
            and self._layout.driven == self._layout.reading
        )
        self.dependencies = tuple(one.blocks for one in self._slopes)

    @property
    def layout(self) -> Layout:
        """How the preactivations lie in memory."""
        return self._layout

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the printed functions, which do not pickle and are made again on loading."""
        return {k: v for k, v in self.__dict__.items() if k not in {"_all", "_slopes", "_inside", "_layout"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._compile()

    def input_rows(self) -> tuple[dict[sympy.Symbol, Tensor], dict[sympy.Symbol, Tensor]]:
        """V and b by preactivation."""
        driven = [m.symbol for m in self.equation.maps if m.driven]
        return self._by_symbol(driven, self.V), self.biases()

    def biases(self) -> dict[sympy.Symbol, Tensor]:
        """b by preactivation."""
        return self._by_symbol([m.symbol for m in self.equation.maps if m.has_bias and not m.vector], self.b)

    def _by_symbol(self, symbols: list[sympy.Symbol], rows: Tensor) -> dict[sympy.Symbol, Tensor]:
        """The rows of each; of a single one the parameter itself."""
        if len(symbols) < 2:
            return dict.fromkeys(symbols, rows)
        return dict(zip(symbols, rows.split(self.hidden_size), strict=True))

    def drive(self, u: Tensor) -> Tensor:
        return torch.nn.functional.linear(u, *self._input_map())

    @property
    def drive_size(self) -> int:
        """The width of `drive`."""
        return len(self._layout.driven) * self.hidden_size

    def _input_map(self) -> tuple[Tensor, Tensor]:
        """V and b of the preactivations in the layout's order, zero where one has none."""
        maps, n = self._layout.driven, self.hidden_size
        if maps == self.equation.maps and all(m.driven and m.has_bias for m in maps):
            return self.V, self.b
        V, b = self.input_rows()
        none = [self.V[:0]], [self.b[:0]]  # of the parameters, so that an empty one has a gradient too
        rows = [V[m.symbol] if m.driven else self.V.new_zeros(n, self.input_size) for m in maps]
        return torch.cat(none[0] + rows), torch.cat(
            none[1] + [b[m.symbol] if m.has_bias else self.b.new_zeros(n) for m in maps]
        )

    def forward(self, t: Any, y: Tensor, drive: Tensor, weights: Weights) -> Tensor:
        if self._single:
            return self._whole(self._all.function(y, torch.addmm(drive, y, weights[0]))[0], y)
        if self._joint:  # the product first: gradients then add up in the order of one block
            a = torch.addmm(drive, y, weights[0]).chunk(len(self._layout.reading), -1)
            blocks, vectors = y.chunk(self.blocks, -1), weights[1:]
            arguments = [blocks[j] for j in self._all.states] + [a[k] for k in self._all.maps]
            arguments += [vectors[k] for k in self._all.vectors]
            values = [self._whole(v, blocks[0]) for v in self._all.function(*arguments)]
        else:
            values = self.evaluate(self._all, y.chunk(self.blocks, -1), drive, weights, {})
        return values[0] if self.blocks == 1 else torch.cat(values, dim=-1)

    def slopes(
        self,
        wanted: tuple[int, ...],
        blocks: Sequence[Tensor],
        drive: Tensor,
        weights: Weights,
        memo: Memo,
        t: Any = 0.0,
    ) -> list[Tensor]:
        return [self.evaluate(self._slopes[j], blocks, drive, weights, memo)[0] for j in wanted]

    def evaluate(
        self, plan: Plan, blocks: Sequence[Tensor], drive: Tensor, weights: Weights, memo: Memo
    ) -> list[Tensor]:
        """The values of a plan's expressions, each (batch, hidden)."""
        return [self._whole(v, blocks[0]) for v in plan.function(*self._arguments(plan, blocks, drive, weights, memo))]

    def _arguments(
        self, plan: Plan, blocks: Sequence[Tensor], drive: Tensor, weights: Weights, memo: Memo
    ) -> list[Tensor]:
        vectors = weights[1 + len(self.equation.mixes) :]
        found = [blocks[j] for j in plan.states]
        found += [self._preactivation(k, blocks, drive, weights, memo) for k in plan.maps]
        found += [vectors[k] for k in plan.vectors]
        for index in plan.mixes:
            key = ("mix", index, *(id(blocks[j]) for j in sorted(self._inside[index].blocks)))
            if key not in memo:
                inside = self.evaluate(self._inside[index], blocks, drive, weights, memo)[0]
                memo[key] = (inside @ weights[1 + index], *blocks)
            found.append(memo[key][0])
        return found

    def _preactivation(self, k: int, blocks: Sequence[Tensor], drive: Tensor, weights: Weights, memo: Memo) -> Tensor:
        """The k-th one in the layout's order. Those that read the same blocks are one product."""
        n = self.hidden_size
        if k >= len(self._layout.reading):
            return drive[..., k * n : (k + 1) * n]
        group = self._layout.groups[self._layout.group_of[k]]
        key = ("maps", group.first, *(id(blocks[j]) for j in group.blocks))
        if key not in memo:
            columns = slice(group.first * n, group.last * n)
            if len(group.blocks) == self.blocks:
                y, W = blocks[0] if self.blocks == 1 else torch.cat(list(blocks), dim=-1), weights[0][:, columns]
            elif len(group.blocks) == 1:
                (j,) = group.blocks
                y, W = blocks[j], weights[0][j * n : (j + 1) * n, columns]
            else:
                y = torch.cat([blocks[j] for j in group.blocks], dim=-1)
                W = torch.cat([weights[0][j * n : (j + 1) * n, columns] for j in group.blocks])
            product = torch.addmm(drive[..., columns], y, W)
            memo[key] = (product.split(n, dim=-1), *blocks)
        chosen: Tensor = memo[key][0][k - group.first]
        return chosen

    @staticmethod
    def _whole(value: Any, like: Tensor) -> Tensor:
        """The value as a tensor of the shape of `like`: a number or a vector is spread."""
        if isinstance(value, Tensor):
            return value if value.shape == like.shape else value.expand(like.shape)
        return torch.full_like(like, float(value))

    def initial(self, batch: int) -> Tensor:
        y = self.V.new_zeros(batch, self.blocks * self.hidden_size)
        if self.equation.start == "unit":
            y[:, : self.hidden_size] = self.hidden_size**-0.5
        return y

    def features(self, y: Tensor) -> Tensor:
        if not self.equation.output:
            return y[..., : self.hidden_size]
        function = _output(self.equation)
        return torch.cat([self._whole(v, y[..., : self.hidden_size]) for v in function(*y.chunk(self.blocks, -1))], -1)

    # --------------------------------------------------------------------------------------------------------- Jacobian

    def jacobian(self, y: Tensor, drive: Tensor, weights: Weights, t: Any = 0.0) -> Tensor:
        """df/dy from the SymPy derivatives.

        diag(drhs/dy) + diag(drhs/da) W + diag(drhs/ds) M (diag(de/dy) + diag(de/da) W), block by block.
        """
        return self.linearised(self.equation.rhs, y, drive, weights)

    def linearised(self, rhs: tuple[sympy.Expr, ...], y: Tensor, drive: Tensor, weights: Weights) -> Tensor:
        """The Jacobian (batch, D, D) of any right-hand side in this equation's symbols, one expression a block."""
        n, maps, mixes = self.hidden_size, len(self._layout.reading), len(self.equation.mixes)
        derivatives = _derivatives(self.equation, self.constant_values, rhs)
        blocks = y.chunk(self.blocks, -1)
        arguments = self._arguments(derivatives, blocks, drive, weights, {})
        values = [self._whole(v, blocks[0]) for v in derivatives.function(*arguments)]
        width = self.blocks + maps + mixes
        table = [values[i : i + width] for i in range(0, len(values), width)]  # rows: right-hand sides, then mixes

        def through(row: list[Tensor], block: int) -> Tensor:
            """Derivative of a pointwise expression with respect to a block, mixed quantities held: (batch, n, n)."""
            total = torch.diag_embed(row[block])
            for k in range(maps):
                matrix = weights[0][block * n : (block + 1) * n, k * n : (k + 1) * n].t()
                total = total + row[self.blocks + k].unsqueeze(-1) * matrix
            return total

        columns = []
        for block in range(self.blocks):
            pairs = zip(weights[1 : 1 + mixes], table[self.blocks :], strict=True)
            inner = [w.t() @ through(row, block) for w, row in pairs]
            rows = []
            for row in table[: self.blocks]:
                total = through(row, block)
                for index, one in enumerate(inner):
                    total = total + row[self.blocks + maps + index].unsqueeze(-1) * one
                rows.append(total)
            columns.append(torch.cat(rows, dim=-2))
        return torch.cat(columns, dim=-1)

    def flow(self, part: int, h: float, weights: Weights, linear: Linear) -> Flow:
        from .part_flow import part_flow

        return part_flow(self, part, h, weights, linear)

    def latex(self) -> str:
        return self.equation.latex()

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


@lru_cache(maxsize=256)
def _derivatives(equation: EquationField, constants: Any, rhs: tuple[sympy.Expr, ...]) -> Plan:
    """Derivatives of each right-hand side, then of each expression that is mixed, by every y, reading a and s."""
    by = [*equation.state, *(m.symbol for m in layout(equation).reading), *(m.symbol for m in equation.mixes)]
    expressions: list[Any] = [*rhs, *(m.of for m in equation.mixes)]
    return plan(equation, constants, tuple(sympy.sympify(e).diff(s) for e in expressions for s in by))


@lru_cache(maxsize=64)
def _output(equation: EquationField) -> Callable[..., Any]:
    return torch_function(list(equation.state), list(equation.output), ())
