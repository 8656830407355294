"""A vector field with dense matrices around one pointwise function: discretised partial and delay equations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import sympy

from .contracts import Array
from .equation import Function, compiled, known, lambdified, replaced, with_values
from .errors import UsageError


@dataclass(frozen=True, eq=False)
class MatrixEquation:
    """y' = L y + M g(y) + c, with g one expression of one symbol, applied to every component.

    linear L, mixing M: (dimension, dimension) float64; constant c: (dimension,), zero by default; pointwise: g, an
    expression in `symbol` and the parameters. The arrays are copied and cannot be written to. Two are equal when their
    names, matrices, expressions and parameters are. Raises `UsageError` for shapes that do not fit.
    """

    name: str
    linear: Array
    mixing: Array
    pointwise: sympy.Expr
    symbol: sympy.Symbol
    constant: Array | None = None
    parameters: Mapping[sympy.Symbol, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.linear)
        c = np.zeros(n) if self.constant is None else self.constant
        arrays = {"linear": (self.linear, (n, n)), "mixing": (self.mixing, (n, n)), "constant": (c, (n,))}
        for what, (array, shape) in arrays.items():
            fixed = np.array(array, dtype=np.float64)
            if fixed.shape != shape:
                raise UsageError(f"{what} of {self.name} must have shape {shape}, got {fixed.shape}.")
            fixed.setflags(write=False)
            object.__setattr__(self, what, fixed)
        strange = self.pointwise.free_symbols - {self.symbol, *self.parameters}
        if strange:
            names = ", ".join(sorted(str(s) for s in strange))
            raise UsageError(f"the function of {self.name} reads {names}: expected {self.symbol} and its parameters.")

    @property
    def dimension(self) -> int:
        return len(self.linear)

    def _key(self) -> tuple[Any, ...]:
        arrays = (a.tobytes() for a in (self.linear, self.mixing, self.constant) if a is not None)
        return (self.name, self.pointwise, self.symbol, tuple(self.parameters.items()), *arrays)

    def __hash__(self) -> int:
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MatrixEquation) and self._key() == other._key()

    def function(self, library: str = "numpy") -> Function:
        """f(t, y) for y (..., dimension), in "numpy", "torch" or "jax"; dtype and device are those of y.

        In "numba" a compiled f(t, y, out) for y and out of shape (dimension,). Raises `UsageError` for another library.
        """
        return _function(self, known(library))

    def jacobian(self, library: str = "numpy") -> Function:
        """L + M diag(g'(y)) of shape (..., dimension, dimension), in the same libraries; "numba": J(t, y, out)."""
        return _jacobian(self, known(library))

    def with_parameters(self, values: Mapping[str, float]) -> Self:
        """The same equation with other values of some parameters, by name. Raises `UsageError` for an unknown name."""
        return replace(self, parameters=replaced(self.parameters, values, self.name))

    def latex(self) -> str:
        """The equation in matrix form, with its pointwise function."""
        constant = "" if self.constant is None or not self.constant.any() else " + c"
        g = sympy.latex(self.pointwise)
        return rf"\dot y = L y + M g(y){constant}, \quad g({sympy.latex(self.symbol)}) = {g}"


@lru_cache(maxsize=64)
def _function(equation: MatrixEquation, library: str) -> Function:
    if library == "numba":
        return _compiled_function(equation)
    g, arrays = _pointwise(equation, equation.pointwise, library), _arrays(equation, library)

    def f(t: Any, y: Any) -> Any:
        linear, mixing, constant = arrays(y)
        return y @ linear.T + g(y) @ mixing.T + constant

    return f


@lru_cache(maxsize=64)
def _jacobian(equation: MatrixEquation, library: str) -> Function:
    if library == "numba":
        return _compiled_jacobian(equation)
    slope = sympy.diff(equation.pointwise, equation.symbol)
    g, arrays = _pointwise(equation, slope, library), _arrays(equation, library)

    def jacobian(t: Any, y: Any) -> Any:
        linear, mixing, _ = arrays(y)
        return linear + mixing * g(y)[..., None, :]

    return jacobian


def _pointwise(equation: MatrixEquation, expression: sympy.Expr, library: str) -> Function:
    """The expression for y of any shape, of y's dtype."""
    raw = lambdified([equation.symbol], with_values([expression], equation.parameters), library)
    # a constant comes without y's shape
    return lambda y: raw(y)[0] + 0 * y if not expression.has(equation.symbol) else raw(y)[0]


def _arrays(equation: MatrixEquation, library: str) -> Function:
    """L, M, c in the library, dtype and device of y, each converted once."""
    source = (equation.linear, equation.mixing, np.asarray(equation.constant))
    found: dict[Any, tuple[Any, ...]] = {}
    if library == "jax":
        from jax import numpy as jnp

        return lambda y: tuple(jnp.asarray(a, y.dtype) for a in source)  # under a trace: constants must not be kept
    if library == "torch":
        import torch

        def tensors(y: Any) -> tuple[Any, ...]:
            key = (y.dtype, y.device)
            if key not in found:
                found[key] = tuple(torch.tensor(a, dtype=y.dtype, device=y.device) for a in source)
            return found[key]

        return tensors

    def arrays(y: Any) -> tuple[Any, ...]:
        if y.dtype not in found:
            found[y.dtype] = tuple(a.astype(y.dtype) for a in source)
        return found[y.dtype]

    return arrays


def _compiled_pointwise(equation: MatrixEquation, expression: sympy.Expr) -> Function:
    (value,) = with_values([expression], equation.parameters)
    printed = sympy.pycode(value.xreplace({equation.symbol: sympy.Symbol("s")}))
    return compiled(f"def g(s):\n    return {printed}", "g")


def _compiled_function(equation: MatrixEquation) -> Function:
    import numba

    g = _compiled_pointwise(equation, equation.pointwise)
    linear, mixing, constant = equation.linear, equation.mixing, np.asarray(equation.constant)
    n = equation.dimension

    def f(t: Any, y: Any, out: Any) -> None:
        values = np.empty(n)
        for j in range(n):
            values[j] = g(y[j])
        for i in range(n):
            total = constant[i]
            for j in range(n):
                total += linear[i, j] * y[j] + mixing[i, j] * values[j]
            out[i] = total

    function: Function = numba.njit(f, error_model="numpy")
    return function


def _compiled_jacobian(equation: MatrixEquation) -> Function:
    import numba

    g = _compiled_pointwise(equation, sympy.diff(equation.pointwise, equation.symbol))
    linear, mixing, n = equation.linear, equation.mixing, equation.dimension

    def jacobian(t: Any, y: Any, out: Any) -> None:
        for j in range(n):
            slope = g(y[j])
            for i in range(n):
                out[i, j] = linear[i, j] + mixing[i, j] * slope

    function: Function = numba.njit(jacobian, error_model="numpy")
    return function
