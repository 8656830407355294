"""The variational equation of a field: the state together with tangent vectors, as one field for any solver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...suite.contracts import VectorField
from ...suite.equation import Function
from ...suite.errors import UsageError


@dataclass(frozen=True)
class Variational:
    """(y, Q)' = (f(t, y), Df(t, y) Q), flat: the d numbers of y, then the d x vectors numbers of Q row by row.

    A Runge-Kutta method applied to it steps Q by the derivative of its own step of y, exactly (for an implicit method,
    as exactly as its equations are solved): so the exponents of Q are those of the stepped map.
    """

    equation: VectorField
    vectors: int

    @property
    def name(self) -> str:
        return f"{self.equation.name}-variational"

    @property
    def dimension(self) -> int:
        return self.equation.dimension * (1 + self.vectors)

    def function(self, library: str = "numpy") -> Function:
        """f(t, y) in "numpy", "torch" or "jax". Raises `UsageError` for another library."""
        return _function(self, library)

    def jacobian(self, library: str = "numpy") -> Function:
        """Raises `UsageError`: it would take second derivatives of the field."""
        raise UsageError(f"the variational equation of {self.equation.name} has no Jacobian: take an explicit method.")

    def latex(self) -> str:
        return rf"{self.equation.latex()}, \quad \dot Q = \frac{{\partial f}}{{\partial y}} Q"


@lru_cache(maxsize=16)
def _function(field: Variational, library: str) -> Function:
    d, k = field.equation.dimension, field.vectors
    if library == "numba":
        return _compiled(field)
    f, jacobian = field.equation.function(library), field.equation.jacobian(library)
    concatenate = _concatenate(library)

    def both(t: Any, y: Any) -> Any:
        state, lead = y[..., :d], y.shape[:-1]
        turned = jacobian(t, state) @ y[..., d:].reshape(*lead, d, k)
        return concatenate([f(t, state), turned.reshape(*lead, d * k)])

    return both


def _concatenate(library: str) -> Function:
    if library == "numpy":
        import numpy as np

        return lambda parts: np.concatenate(parts, axis=-1)
    if library == "torch":
        import torch

        return lambda parts: torch.cat(parts, dim=-1)
    if library == "jax":
        from jax import numpy as jnp

        return lambda parts: jnp.concatenate(parts, axis=-1)
    raise UsageError(f"the variational equation has no form in {library!r}: expected numpy, torch, jax or numba.")


def _compiled(field: Variational) -> Function:
    """f(t, y, out) for one state."""
    import numba
    import numpy as np

    d, k = field.equation.dimension, field.vectors
    f, jacobian = field.equation.function("numba"), field.equation.jacobian("numba")

    def both(t: Any, y: Any, out: Any) -> None:
        matrix = np.zeros((d, d))
        f(t, y[:d], out[:d])
        jacobian(t, y[:d], matrix)
        for m in range(d * k):
            out[d + m] = 0.0
        for i in range(d):
            for j in range(d):
                if matrix[i, j] != 0.0:
                    for c in range(k):
                        out[d + i * k + c] += matrix[i, j] * y[d + j * k + c]

    function: Function = numba.njit(both, error_model="numpy")
    return function
