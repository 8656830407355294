"""A vector field written once, as SymPy expressions; from it come its functions and Jacobians in four libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import sympy

from .errors import UsageError, unknown

TIME = sympy.Symbol("t", real=True)

LIBRARIES = ("numpy", "torch", "jax", "numba")
"""Where a field has functions."""

Function = Callable[..., Any]


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

    def function(self, library: str = "numpy") -> Function:
        """f(t, y) for y of shape (..., dimension), in "numpy", "torch" or "jax"; dtype and device are those of y.

        In "numba" a compiled f(t, y, out) for y and out of shape (dimension,), which divides by zero as NumPy does.
        Raises `UsageError` for another library, or jax where it is not installed.
        """
        return _function(self, known(library))

    def jacobian(self, library: str = "numpy") -> Function:
        """df/dy(t, y) of shape (..., dimension, dimension), in the same libraries; "numba": J(t, y, out)."""
        return _jacobian(self, known(library))

    def with_parameters(self, values: Mapping[str, float]) -> Self:
        """The same equation with other values of some parameters, by name. Raises `UsageError` for an unknown name."""
        return replace(self, parameters=replaced(self.parameters, values, self.name))

    def latex(self) -> str:
        """The system as aligned LaTeX lines."""
        lines = [rf"\dot {sympy.latex(s)} &= {sympy.latex(e)}" for s, e in zip(self.state, self.rhs, strict=True)]
        return r"\begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}"


def known(library: str) -> str:
    """The library itself. Raises `UsageError` for one without functions of a field."""
    if library not in LIBRARIES:
        raise unknown("library", library, LIBRARIES)
    return library


def replaced(
    parameters: Mapping[sympy.Symbol, float], values: Mapping[str, float], name: str
) -> dict[sympy.Symbol, float]:
    """The parameters with other values, in the same order. Raises `UsageError` for one that the equation lacks."""
    names = {symbol.name for symbol in parameters}
    for key in values:
        if not names:
            raise UsageError(f"{name} has no parameters, got {key!r}.")
        if key not in names:
            raise unknown(f"parameter of {name}", key, names)
    return {symbol: float(values.get(symbol.name, value)) for symbol, value in parameters.items()}


def with_values(expressions: Sequence[sympy.Expr], parameters: Mapping[sympy.Symbol, float]) -> list[sympy.Expr]:
    """The expressions with every parameter as the binary64 number it is."""
    values = {symbol: sympy.Float(value, 17) for symbol, value in parameters.items()}
    return [sympy.sympify(e).xreplace(values) for e in expressions]


def lambdified(arguments: Sequence[sympy.Symbol], expressions: Sequence[sympy.Expr], library: str) -> Function:
    """The expressions as one function of the arguments that gives their list; library "numpy", "torch" or "jax"."""
    modules: Any = "numpy"
    if library == "torch":
        modules = [torch_namespace()]
    elif library == "jax":
        modules = [_jax_namespace()]
    function: Function = sympy.lambdify(list(arguments), list(expressions), modules, cse=True)
    return function


@lru_cache(maxsize=512)
def _function(equation: Equation, library: str) -> Function:
    n = equation.dimension
    expressions = with_values(equation.rhs, equation.parameters)
    if library == "numba":
        return _compiled(equation.state, expressions, [f"[{i}]" for i in range(n)])
    return _stacked(lambdified((TIME, *equation.state), expressions, library), (n,), library)


@lru_cache(maxsize=256)
def _jacobian(equation: Equation, library: str) -> Function:
    n = equation.dimension
    entries = [sympy.diff(e, s) for e in equation.rhs for s in equation.state]
    expressions = with_values(entries, equation.parameters)
    if library == "numba":
        return _compiled(equation.state, expressions, [f"[{i}, {j}]" for i in range(n) for j in range(n)])
    return _stacked(lambdified((TIME, *equation.state), expressions, library), (n, n), library)


def _stacked(raw: Function, shape: tuple[int, ...], library: str) -> Function:
    """raw(t, *components) -> list of values, as a function of y (..., components) with the values in the shape."""
    if library == "torch":
        return _in_torch(raw, shape)
    return _in_jax(raw, shape) if library == "jax" else _in_numpy(raw, shape)


def _in_numpy(raw: Function, shape: tuple[int, ...]) -> Function:
    size = int(np.prod(shape))

    def f(t: Any, y: Any) -> Any:
        out = np.empty((*y.shape[:-1], size), dtype=y.dtype)
        for i, value in enumerate(raw(t, *(y.T if y.ndim <= 2 else np.moveaxis(y, -1, 0)))):
            out[..., i] = value
        return out if len(shape) == 1 else out.reshape(*y.shape[:-1], *shape)

    return f


def _in_torch(raw: Function, shape: tuple[int, ...]) -> Function:
    import torch

    def f(t: Any, y: Any) -> Any:
        t = torch.as_tensor(t, dtype=y.dtype, device=y.device)
        values = [torch.as_tensor(v, dtype=y.dtype, device=y.device) for v in raw(t, *y.unbind(-1))]
        out = torch.stack([v.expand(y.shape[:-1]) for v in values], dim=-1)
        return out if len(shape) == 1 else out.reshape(*y.shape[:-1], *shape)

    return f


def _in_jax(raw: Function, shape: tuple[int, ...]) -> Function:
    from jax import numpy as jnp

    def f(t: Any, y: Any) -> Any:
        values = raw(jnp.asarray(t, y.dtype), *(y[..., i] for i in range(y.shape[-1])))
        out = jnp.stack([jnp.broadcast_to(jnp.asarray(v, y.dtype), y.shape[:-1]) for v in values], axis=-1)
        return out if len(shape) == 1 else out.reshape(*y.shape[:-1], *shape)

    return f


def _compiled(state: Sequence[sympy.Symbol], expressions: Sequence[sympy.Expr], places: Sequence[str]) -> Function:
    """f(t, y, out) that writes expression i to out[places[i]], compiled by numba at its first call."""
    safe = [sympy.Symbol(f"y{i}") for i in range(len(state))]  # a state may be called y, out or lambda
    named = [e.xreplace(dict(zip(state, safe, strict=True))) for e in expressions]
    shared, values = sympy.cse(named, symbols=(sympy.Symbol(f"c{i}") for i in range(1 << 30)))
    printed: Function = sympy.pycode
    lines = ["def f(t, y, out):", "    out[:] = 0"]
    lines += [f"    {name} = y[{i}]" for i, name in enumerate(safe)]
    lines += [f"    {name} = {printed(value)}" for name, value in shared]
    lines += [f"    out{place} = {printed(value)}" for place, value in zip(places, values, strict=True) if value != 0]
    return compiled("\n".join(lines), "f")


def compiled(source: str, name: str) -> Function:
    """A function written as Python source over `math`, compiled by numba at its first call for each dtype."""
    import math

    import numba

    namespace: dict[str, Any] = {"math": math}
    exec(source, namespace)  # printed from SymPy expressions, as lambdify does
    function: Function = numba.njit(namespace[name], error_model="numpy")
    return function


_NAMES = ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "sqrt", "sign", "atan", "sigmoid")


def torch_namespace() -> dict[str, Any]:
    """SymPy's function names as torch functions."""
    import torch

    return {name: getattr(torch, name) for name in _NAMES} | {"Abs": torch.abs, "Max": torch.maximum}


def _jax_namespace() -> dict[str, Any]:
    """SymPy's function names as jax functions. Raises `UsageError` where jax is not installed."""
    try:
        import jax
        from jax import numpy as jnp
    except ImportError:
        raise UsageError(
            "a field in jax needs the package jax, which is not installed: pip install 'odernn[diffrax]'."
        ) from None
    names = {name: getattr(jnp, name) for name in _NAMES if name not in ("sigmoid", "atan")}
    return names | {"atan": jnp.arctan, "sigmoid": jax.nn.sigmoid, "Abs": jnp.abs, "Max": jnp.maximum}
