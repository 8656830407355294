"""`integrate`: one call that solves an initial value problem with any tableau on any backend."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..suite.errors import UsageError
from .backends import find_backend
from .backends.base import Backend, Field, Solution
from .tableau import Tableau
from .tableaux import Method
from .tableaux import method as named_method


def integrate(
    f: Any,
    y0: Any,
    t: Sequence[float],
    u: Sequence[Any] | None = None,
    tableau: str | Method = "dormand-prince54",
    backend: str | Backend = "native",
    rtol: float | None = None,
    atol: float | None = None,
    steps: int = 1,
    jacobian: Callable[..., Any] | None = None,
    controller: str = "elementary",
    dense: bool = False,
) -> Solution:
    """Solve y' = f(t, y), or y' = f(t, y, u) with an input held constant on each interval, from y0 at t[0].

    y0: NumPy array (or numbers) or torch tensor of any shape; f returns the same kind and shape. t: increasing times at
    which states are reported. u: one value an interval, u[i] on [t[i], t[i + 1]). With rtol the steps are chosen to
    keep the error of each under atol + rtol |y| (atol defaults to rtol / 1000); without, each interval takes `steps`
    equal ones. tableau: a Runge-Kutta method, explicit or implicit, or a partitioned one, which takes the first half of
    the last axis as position, the second as momentum. jacobian: for implicit ones, jacobian(t, y) or jacobian(t, y, u)
    with states (..., D), returning df/dy (..., D, D); without it the whole state is one vector, and its Jacobian comes
    from finite (NumPy) or automatic (torch) differences. With rtol and backend "native": controller "pi" chooses steps
    by a PI controller; dense = True lets steps pass over the times of t and interpolates there, with the order of the
    method, so that many times cost little; the input then jumps only where its value changes.

    Returns a `Solution`: states (len(t), *y0.shape), f_calls, accepted, rejected, and for implicit methods counts of
    their work. Gradients flow to y0 and u and, where f is a torch.nn.Module, to its parameters; tensors that a plain
    function closes over get theirs from "native" and "torchdiffeq" only. Raises `UsageError` for arguments that make no
    sense, `Diverged` where the solution leaves the finite numbers.
    """
    table = named_method(tableau) if isinstance(tableau, str) else tableau
    engine = find_backend(backend) if isinstance(backend, str) else backend
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise UsageError(f"steps = {steps!r}: expected an integer of at least 1.")
    if rtol is None and atol is not None:
        raise UsageError("atol was given without rtol: expected both, or neither for a fixed grid.")
    if rtol is None and (dense or controller != "elementary"):
        what = "dense = True" if dense else f"controller = {controller!r}"
        raise UsageError(f"{what} belongs to steps chosen by an error estimate: expected rtol with it.")
    if rtol is not None and steps != 1:
        raise UsageError("steps belongs to a fixed grid and rtol to an adaptive one: expected only one of them.")
    if not callable(f):
        raise UsageError(f"f is a {type(f).__name__}: expected a function f(t, y) or f(t, y, u).")
    if jacobian is not None and not callable(jacobian):
        raise UsageError(f"jacobian is a {type(jacobian).__name__}: expected a function of the arguments of f.")
    times = [float(x) for x in t]
    if u is not None and len(u) != len(times) - 1:
        raise UsageError(
            f"u holds {len(u)} values for {len(times)} times: expected one for each interval, {len(times) - 1}."
        )
    start = np.asarray(y0) if isinstance(y0, list | tuple | int | float | complex) else y0
    if isinstance(start, np.ndarray) and not np.issubdtype(start.dtype, np.inexact):
        start = start.astype(np.float64)
    field, weights = _field(f, u is not None)
    if jacobian is not None:
        field = _WithJacobian(field, jacobian, u is not None)
    if rtol is not None:
        if not isinstance(table, Tableau):
            raise UsageError(f"method {table.name!r} has no embedded weights: expected a pair, or no rtol.")
        tolerance = rtol / 1000 if atol is None else atol
        return engine.adaptive(field, start, times, table, rtol, tolerance, u, weights, controller, dense)
    if steps == 1:
        return engine.fixed(field, start, times, table, u, weights)
    fine = [a + (b - a) * k / steps for a, b in itertools.pairwise(times) for k in range(steps)] + times[-1:]
    held = None if u is None else [value for value in u for _ in range(steps)]
    found = engine.fixed(field, start, fine, table, held, weights)
    return replace(found, states=found.states[::steps])


@dataclass(frozen=True)
class _WithJacobian:
    """A field whose Jacobian the caller gave."""

    field: Field
    given: Callable[..., Any]
    driven: bool

    def __call__(self, t: Any, y: Any, drive: Any, weights: tuple[Any, ...]) -> Any:
        return self.field(t, y, drive, weights)

    def jacobian(self, y: Any, drive: Any, weights: tuple[Any, ...], t: Any = 0.0) -> Any:
        J = self.given(t, y, drive) if self.driven else self.given(t, y)
        if tuple(J.shape) != (*y.shape, y.shape[-1]):
            raise UsageError(
                f"the jacobian has shape {tuple(J.shape)}: expected {(*y.shape, y.shape[-1])}, df/dy of every state."
            )
        return J.astype(y.dtype, copy=False) if isinstance(J, np.ndarray) else J.to(y.dtype)


def _field(f: Any, driven: bool) -> tuple[Field, tuple[Any, ...]]:
    """f as a `Field`; a torch module gives up its parameters as weights, so that every backend differentiates them."""
    named = _parameters(f)

    def field(t: Any, y: Any, drive: Any, weights: tuple[Any, ...]) -> Any:
        arguments = (t, y, drive) if driven else (t, y)
        if not weights:
            return f(*arguments)
        from torch.func import functional_call

        return functional_call(f, dict(zip(named, weights, strict=True)), arguments)

    return field, tuple(named.values())


def _parameters(f: Any) -> dict[str, Any]:
    # the class's ancestry names torch without importing it for NumPy functions
    if not any(cls.__module__ == "torch.nn.modules.module" for cls in type(f).__mro__):
        return {}
    return dict(f.named_parameters())
