"""A learned field as the hub's `Flow`: its slope, and its rollout by any method in any backend."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np

from ..suite.contracts import Array, Trajectory
from ..suite.errors import UsageError, unknown
from .backends.base import Solution
from .integration import integrate
from .spec import find_method

if TYPE_CHECKING:
    from torch.nn import Module

DTYPES = ("float32", "float64")


@final
@dataclass(frozen=True, eq=False)
class LearnedFlow:
    """An autonomous field on states (..., dimension).

    library "numpy": function is f(t, y), which computes in the dtype of y. "torch": a module with forward(t, y), kept
    in its own dtype and copied into another where one is asked for; weights are taken as they are at the first use.
    jacobian: df/dy(t, y) of shape (..., dimension, dimension) in NumPy, for implicit methods; a module's is its own.
    """

    dimension: int
    function: Callable[[Any, Any], Any]
    library: Literal["numpy", "torch"] = "numpy"
    jacobian: Callable[[Any, Any], Any] | None = None
    _copies: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def slope(self, y: Array) -> Array:
        """dy/dt (..., dimension) at y (..., dimension), float64."""
        states = np.asarray(y, dtype=np.float64)
        if self.library == "numpy":
            return np.asarray(self.function(0.0, states))
        import torch

        with torch.no_grad():
            found: Array = self._module("float64")(0.0, torch.as_tensor(states)).numpy()
        return found

    def rollout(
        self, y0: Array, t: Array, tableau: str, substeps: int = 1, dtype: str = "float64", backend: str = "native"
    ) -> Trajectory:
        """See `Flow.rollout`; y is float64 whatever dtype it was computed in."""
        if dtype not in DTYPES:
            raise unknown("dtype of a rollout", dtype, DTYPES)
        if backend == "scipy" and dtype != "float64":
            raise UsageError(f"backend 'scipy' integrates in float64 only, not in {dtype}.")
        start = np.asarray(y0, dtype=dtype)
        if start.ndim < 1 or start.shape[-1] != self.dimension:
            raise UsageError(f"the state has shape {start.shape}: the field was learned for (..., {self.dimension}).")
        times = np.asarray(t, dtype=np.float64)
        found = self._solved(start, times.tolist(), tableau, substeps, dtype, backend)
        states = np.asarray(found.states, dtype=np.float64)
        return Trajectory(
            times, states, found.f_calls, found.accepted, found.rejected, found.jacobian_calls, found.factorizations
        )

    def _solved(
        self, start: Array, times: list[float], tableau: str, substeps: int, dtype: str, backend: str
    ) -> Solution:
        method = find_method(tableau)
        if self.library == "numpy":
            return integrate(self.function, start, times, None, method, backend, steps=substeps, jacobian=self.jacobian)
        import torch

        module = self._module(dtype)
        with torch.no_grad():
            return integrate(
                lambda t, y: module(t, y),  # a bare module would give its weights, for gradients that nobody asks for
                torch.as_tensor(start),
                times,
                None,
                method,
                backend,
                steps=substeps,
                jacobian=_jacobian_of(module),
            )

    def _module(self, dtype: str) -> Any:
        """The module in that dtype, on the CPU."""
        if dtype not in self._copies:
            import torch

            kind = {"float32": torch.float32, "float64": torch.float64}[dtype]
            copy: Any = deepcopy(self.function)
            self._copies[dtype] = copy.to(device="cpu", dtype=kind).requires_grad_(False)
        return self._copies[dtype]


def _jacobian_of(module: Module) -> Callable[[Any, Any], Any]:
    """df/dy(t, y) of a module, for states (..., dimension) in torch."""
    from torch.func import jacrev, vmap

    def jacobian(t: Any, y: Any) -> Any:
        flat = y.reshape(-1, y.shape[-1])
        return vmap(jacrev(lambda one: module(t, one)))(flat).reshape(*y.shape, y.shape[-1])

    return jacobian
