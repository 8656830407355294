"""Programs run twice: step by step and pass by pass in NumPy, and as they are written in torch, for its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Any

import numpy as np
import sympy
import torch

from odernn.solvers.engines.program import Assign, Loop, Operation, Outer, Pass, Product, RowSum, Step, UnitSum
from odernn.solvers.functions import sigmoid, sign
from odernn.suite.seeds import stream

Array = np.ndarray[Any, np.dtype[np.float64]]

_MODULES = [
    {
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "sign": np.sign,
        "amax": lambda parts, axis: reduce(np.maximum, parts),
        "amin": lambda parts, axis: reduce(np.minimum, parts),
    },
    "numpy",
]


@cache
def _compiled(value: sympy.Expr) -> tuple[tuple[sympy.Symbol, ...], Callable[..., Any]]:
    symbols = tuple(sorted(value.free_symbols, key=str))
    return symbols, sympy.lambdify(symbols, value, modules=_MODULES)


def evaluated(value: sympy.Expr, values: Mapping[sympy.Symbol, Any], shape: tuple[int, ...]) -> Array:
    symbols, function = _compiled(value)
    return np.broadcast_to(np.asarray(function(*(values[s] for s in symbols)), dtype=np.float64), shape).copy()


@dataclass
class Machine:
    """Memory of one tile, and the cotangents that sums and outer products add to."""

    values: dict[sympy.Symbol, Any]
    matrices: list[Array]
    shape: tuple[int, int]
    gains: dict[Any, Array] = field(default_factory=dict)
    executed: list[type] = field(default_factory=list)

    def run(self, operations: Iterable[Operation]) -> Machine:
        for operation in operations:
            self._one(operation, self.values)
        return self

    def run_passes(self, passes: Sequence[Pass], plain: Iterable[sympy.Symbol]) -> Machine:
        """As a printer would: a loop sees what it says it reads, and leaves what it says it writes, once."""
        for made in passes:
            if isinstance(made, Loop):
                inside = {symbol: self.values[symbol] for symbol in (*plain, *made.reads)}
                for operation in made.operations:
                    self._one(operation, inside)
                assert not set(made.writes) & set(self.values), "written twice"
                self.values.update((symbol, inside[symbol]) for symbol in made.writes)
            else:
                self._one(made, self.values)
        return self

    def _one(self, operation: Operation, values: dict[sympy.Symbol, Any]) -> None:
        self.executed.append(type(operation))
        if isinstance(operation, Assign):
            values[operation.symbol] = evaluated(operation.value, values, self.shape)
        elif isinstance(operation, Product):
            W = self.matrices[operation.matrix]
            joined = np.concatenate([values[s] for s in operation.inputs], axis=1) @ (
                W.T if operation.transposed else W
            )
            parts = np.split(joined, len(operation.outputs), axis=1)
            for output, part, plus in zip(operation.outputs, parts, operation.plus, strict=True):
                values[output] = part if plus is None else part + values[plus]
        elif isinstance(operation, Outer):
            joined = np.concatenate([values[s] for s in operation.outputs], axis=1)
            self._gain(operation.matrix, values[operation.inputs].T @ joined)
        elif isinstance(operation, RowSum):
            self._gain(operation.vector, evaluated(operation.value, values, self.shape).sum(0))
        elif isinstance(operation, UnitSum):
            self._gain(operation.scalar, evaluated(operation.value, values, self.shape).sum(1, keepdims=True))

    def _gain(self, key: Any, amount: Array) -> None:
        self.gains[key] = self.gains[key] + amount if key in self.gains else amount


def inputs(step: Step, rows: int = 3, n: int = 4, seed: int = 0) -> tuple[dict[sympy.Symbol, Any], list[Array]]:
    """Random values of all that a step reads, and its matrices."""
    generator = stream(seed, "program")

    def draw(*shape: int) -> Array:
        return generator.standard_normal(shape)

    values: dict[sympy.Symbol, Any] = {symbol: draw(rows, n) for symbol in (*step.state, *step.drives)}
    values |= {symbol: draw(n) for symbol in step.vectors}
    values |= {symbol: draw(rows, 1) for symbol in step.row_scalars}
    values |= {symbol: 0.3 + 0.2 * index for index, symbol in enumerate(step.scalars)}
    return values, [draw(n, width * n) / n for width in step.widths]


_TORCH: dict[Any, Callable[..., torch.Tensor]] = {
    sympy.tanh: torch.tanh,
    sigmoid: torch.sigmoid,
    sympy.exp: torch.exp,
    sympy.log: torch.log,
    sympy.sin: torch.sin,
    sympy.cos: torch.cos,
    sympy.Abs: torch.abs,
    sign: torch.sign,
    sympy.sign: torch.sign,
    sympy.atan: torch.atan,
    sympy.sinh: torch.sinh,
    sympy.Max: lambda *parts: reduce(torch.maximum, parts),
    sympy.Min: lambda *parts: reduce(torch.minimum, parts),
    sympy.Heaviside: lambda x, _: (x > 0).to(x.dtype),
    sympy.StrictLessThan: torch.lt,
    sympy.LessThan: torch.le,
    sympy.StrictGreaterThan: torch.gt,
    sympy.GreaterThan: torch.ge,
}


def _torch(value: Any, values: Mapping[sympy.Symbol, torch.Tensor]) -> torch.Tensor:
    if isinstance(value, sympy.Symbol):
        return values[value]
    if value.is_number:
        return torch.tensor(float(value), dtype=torch.float64)
    if value.func is sympy.Piecewise:
        *branches, (final, always) = value.args
        assert always
        result = _torch(final, values)
        for expression, condition in reversed(branches):
            result = torch.where(_torch(condition, values), _torch(expression, values), result)
        return result
    parts = [_torch(part, values) for part in value.args]
    if value.func is sympy.Add:
        return reduce(torch.add, parts)
    if value.func is sympy.Mul:
        return reduce(torch.mul, parts)
    return parts[0] ** parts[1] if value.func is sympy.Pow else _TORCH[value.func](*parts)


def torch_gradients(
    step: Step, values: Mapping[sympy.Symbol, Any], matrices: Sequence[Array], cotangents: Sequence[Array]
) -> tuple[list[Array], dict[Any, Array]]:
    """The result of a step as it is written, and gradients by torch's own reverse mode, of all it reads."""
    leaves: dict[Any, torch.Tensor] = {s: torch.tensor(v, dtype=torch.float64) for s, v in values.items()}
    known = dict(leaves)
    for symbol in (*step.state, *step.drives, *step.vectors, *step.row_scalars):
        leaves[symbol].requires_grad_()
    for index, matrix in enumerate(matrices):
        leaves[index] = torch.tensor(matrix, requires_grad=True)
    shape = known[step.state[0]].shape
    for operation in step.operations:
        if isinstance(operation, Assign):
            known[operation.symbol] = _torch(operation.value, known).expand(shape)
            continue
        W = leaves[operation.matrix]
        joined = torch.cat([known[s] for s in operation.inputs], 1) @ (W.T if operation.transposed else W)
        for output, part, plus in zip(
            operation.outputs, joined.chunk(len(operation.outputs), 1), operation.plus, strict=True
        ):
            known[output] = part if plus is None else part + known[plus]
    results = [known[symbol] for symbol in step.result]
    loss = sum((r * torch.tensor(c)).sum() for r, c in zip(results, cotangents, strict=True))
    wanted = {key: leaf for key, leaf in leaves.items() if leaf.requires_grad}
    found = torch.autograd.grad(loss, list(wanted.values()), materialize_grads=True)  # type: ignore[arg-type]
    return [r.detach().numpy() for r in results], {k: g.numpy() for k, g in zip(wanted, found, strict=True)}
