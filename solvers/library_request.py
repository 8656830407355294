"""What is asked of a library's own method: an equation, its start, the times to report, and how steps are chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..suite.contracts import Array, VectorField
from ..suite.errors import UsageError


@dataclass(frozen=True)
class Request:
    """y0: (..., dimension), float32 or float64. t: (n,), where states are reported. inputs: (n - 1, k) or None.

    grid: a refinement of t, each interval of which is one step, and every: where the times of t lie in it; or grid is
    None, and the library chooses its steps by rtol and atol.
    """

    equation: VectorField
    y0: Array
    t: Array
    grid: Array | None
    every: tuple[int, ...]
    rtol: float
    atol: float
    inputs: Array | None = None
    device: str = "cpu"

    def jumps(self) -> Array:
        """The times at which the input changes its value."""
        if self.inputs is None or len(self.inputs) < 2:
            return self.t[:0]
        changes = (self.inputs[1:] != self.inputs[:-1]).reshape(len(self.inputs) - 1, -1).any(axis=1)
        found: Array = self.t[1:-1][changes]
        return found

    def input_at(self, t: float) -> Array:
        """What the user of a library writes: the input of the interval that holds t, the later one where two meet."""
        if self.inputs is None:
            raise ValueError("a request without inputs")
        found: Array = self.inputs[interval(self.t, t)]
        return found


def interval(t: Array, time: float) -> int:
    """The index i of the interval [t[i], t[i + 1]) that holds the time; outside, that of the nearest."""
    return int(np.clip(np.searchsorted(t, time, side="right") - 1, 0, len(t) - 2))


def form(equation: VectorField, library: str) -> Callable[..., Any] | None:
    """The equation's function in a library, or None where it has none."""
    try:
        function: Callable[..., Any] = equation.function(library)
    except ValueError:  # of which UsageError is one
        return None
    return function


def jacobian_of(equation: VectorField, library: str) -> Callable[..., Any] | None:
    """The equation's Jacobian in a library, or None where it has none."""
    try:
        function: Callable[..., Any] = equation.jacobian(library)
    except (ValueError, NotImplementedError):
        return None
    return function


def numpy_form(equation: VectorField) -> Callable[..., Any]:
    """The equation's NumPy function. Raises `UsageError` where it has none."""
    found = form(equation, "numpy")
    if found is None:
        raise UsageError(f"{equation.name} has no function in NumPy: expected function('numpy').")
    return found
