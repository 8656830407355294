"""A vector field written once, as SymPy expressions; from it come its NumPy and torch functions, Jacobian and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

TIME = sympy.Symbol("t", real=True)


def symbols(names: str) -> tuple[sympy.Symbol, ...]:
    """Real symbols from a blank-separated list; always a tuple."""
    return tuple(sympy.Symbol(name, real=True) for name in names.split())


@dataclass(frozen=True)
class Equation:
    """y' = rhs(t, y) with named parameters that have numeric values.

    state: one symbol a component; rhs: one expression a component in the state, the parameters and `TIME`.
    """

    name: str
    state: tuple[sympy.Symbol, ...]
    rhs: tuple[sympy.Expr, ...]
    parameters: Mapping[sympy.Symbol, float] = field(default_factory=dict, hash=False)

    @property
    def dimension(self) -> int:
        return len(self.state)

    def __hash__(self) -> int:
        return hash((self.name, self.state, self.rhs, tuple(self.parameters.items())))

    def function(self, library: str = "numpy") -> Callable[[Any, Any], Any]:
        """f(t, y) for y of shape (..., dimension), in "numpy" or "torch"; dtype and device are those of y."""
        if library == "numpy":
            return _numpy_function(self)
        if library == "torch":
            return _torch_function(self)
        raise ValueError(f"library must be 'numpy' or 'torch', got {library!r}")

    def jacobian(self) -> Callable[[Any, Any], Any]:
        """df/dy(t, y) of shape (..., dimension, dimension), in NumPy."""
        return _numpy_jacobian(self)

    def latex(self) -> str:
        """The system as aligned LaTeX lines."""
        lines = [rf"\dot {sympy.latex(s)} &= {sympy.latex(e)}" for s, e in zip(self.state, self.rhs, strict=True)]
        return r"\begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}"


def _values(equation: Equation, expressions: list[sympy.Expr]) -> list[sympy.Expr]:
    values = {symbol: sympy.Float(value, 17) for symbol, value in equation.parameters.items()}
    return [sympy.sympify(e).xreplace(values) for e in expressions]


@lru_cache(maxsize=256)
def _numpy_function(equation: Equation) -> Callable[[Any, Any], Any]:
    raw = sympy.lambdify([TIME, *equation.state], _values(equation, list(equation.rhs)), "numpy", cse=True)

    def f(t: Any, y: Any) -> Any:
        out = np.empty_like(y)
        for i, value in enumerate(raw(t, *np.moveaxis(y, -1, 0))):
            out[..., i] = value
        return out

    return f


@lru_cache(maxsize=64)
def _numpy_jacobian(equation: Equation) -> Callable[[Any, Any], Any]:
    n = equation.dimension
    entries = [sympy.diff(e, s) for e in equation.rhs for s in equation.state]
    raw = sympy.lambdify([TIME, *equation.state], _values(equation, entries), "numpy", cse=True)

    def jacobian(t: Any, y: Any) -> Any:
        out = np.empty((*y.shape[:-1], n * n), dtype=y.dtype)
        for i, value in enumerate(raw(t, *np.moveaxis(y, -1, 0))):
            out[..., i] = value
        return out.reshape(*y.shape[:-1], n, n)

    return jacobian


def torch_namespace() -> dict[str, Any]:
    """SymPy's function names as torch functions."""
    import torch

    names = ["sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "sqrt", "sign", "atan", "sigmoid"]
    return {name: getattr(torch, name) for name in names} | {"Abs": torch.abs, "Max": torch.maximum}


@lru_cache(maxsize=256)
def _torch_function(equation: Equation) -> Callable[[Any, Any], Any]:
    import torch

    expressions = _values(equation, list(equation.rhs))
    raw = sympy.lambdify([TIME, *equation.state], expressions, [torch_namespace()], cse=True)

    def f(t: Any, y: Any) -> Any:
        t = torch.as_tensor(t, dtype=y.dtype, device=y.device)
        values = [torch.as_tensor(v, dtype=y.dtype, device=y.device) for v in raw(t, *y.unbind(-1))]
        return torch.stack([v.expand(y.shape[:-1]) for v in values], dim=-1)

    return f
