"""diffrax's own solver classes, by their names, run as its users run them.

Which: the concrete classes that step one plain term and need nothing beside it; those of noise, of several terms, and
the wrappers of others are told by the structure that the class states. On a grid: `StepTo`, the states after each step.
At `rtol`, `atol`: `PIDController` with its defaults and `SaveAt(ts=...)`, so that states between steps come from the
solver's own interpolation; its first step is the library's. An implicit solver on a grid has no tolerance to take for
its root finder, and is given Newton's method at 1e-10.

A compiled field is not counted by the library: the evaluations are those of one further run in which each tells of
itself, taken once for each problem. A Jacobian taken in a root finder counts as one evaluation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from ..suite.contracts import Array, Trajectory, finite
from ..suite.errors import Diverged, UsageError
from .backends.diffrax import MOST_STEPS, Callback, called_back, check_result, library, solved, tick
from .library_request import Request, form, numpy_form

NEWTON = 1e-10


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    diffrax = library().diffrax
    found = {}
    for name, cls in inspect.getmembers(diffrax, inspect.isclass):
        if not issubclass(cls, diffrax.AbstractSolver) or inspect.isabstract(cls):
            continue
        structure = next((vars(base)["term_structure"] for base in cls.__mro__ if "term_structure" in vars(base)), None)
        if structure is diffrax.AbstractTerm:
            found[name] = cls
    return found


def names() -> tuple[str, ...]:
    """Raises `UsageError` where the package is missing."""
    return tuple(_classes())


def order(name: str) -> int | None:
    """What the method's class says."""
    diffrax = library().diffrax
    found: int | None = _classes()[name]().order(diffrax.ODETerm(lambda t, y, args: y))
    return found


@lru_cache(maxsize=256)
def _program(name: str, equation: Any, adaptive: bool, counted: bool) -> Callable[..., Any]:
    """(y0, ts, key, inputs, tolerances) -> states, accepted, rejected, result. equation: None calls `key` back."""
    found = library()
    diffrax, jax, jnp = found.diffrax, found.jax, found.jax.numpy
    traced = None if equation is None else equation.function("jax")

    def field(t: Any, y: Any, args: Any) -> Any:
        key, inputs = args
        if counted:
            jax.debug.callback(tick, key)
        if traced is None:
            return called_back(key, t, y)
        if inputs is None:
            return jnp.asarray(traced(t, y), y.dtype)
        edges, values = inputs
        held = jnp.clip(jnp.searchsorted(edges, t, side="right") - 1, 0, len(values) - 1)
        return jnp.asarray(traced(t, y, values[held]), y.dtype)

    def solver() -> Any:
        cls = _classes()[name]
        if adaptive or not issubclass(cls, diffrax.AbstractImplicitSolver):
            return cls()
        return cls(root_finder=import_module("optimistix").Newton(rtol=NEWTON, atol=NEWTON))

    def run(y0: Any, ts: Any, key: Any, inputs: Any, tolerances: Any) -> tuple[Any, ...]:
        if adaptive:
            controller = diffrax.PIDController(rtol=tolerances[0], atol=tolerances[1])
            saved, most = diffrax.SaveAt(ts=ts), MOST_STEPS
        else:
            controller, saved, most = diffrax.StepTo(ts), diffrax.SaveAt(t0=True, steps=True), len(ts) - 1
        return solved(field, solver(), ts, None, y0, (key, inputs), controller, saved, most)

    compiled: Callable[..., Any] = jax.jit(run)
    return compiled


_counts: dict[tuple[Any, ...], int] = {}


def _traced(request: Request) -> Any:
    """The equation where it can be compiled: it has a jax form and a hash to keep the program by."""
    if form(request.equation, "jax") is None:
        return None
    try:
        hash(request.equation)
    except TypeError:
        return None
    return request.equation


def _arguments(request: Request, key: int) -> tuple[Any, ...]:
    dtype = request.y0.dtype
    times = request.t if request.grid is None else request.grid
    tolerances = None if request.grid is not None else np.array([request.rtol, request.atol], dtype)
    inputs = None if request.inputs is None else (request.t.astype(dtype), request.inputs.astype(dtype))
    return request.y0, times.astype(dtype), np.int32(key), inputs, tolerances


def _refused(name: str, error: Exception) -> Exception:
    """The library's own words where it does not run a method so."""
    return Diverged(f"diffrax does not run {name!r} so: {' '.join(str(error).split())[:300]}")


def solve(request: Request, name: str) -> Trajectory:
    """Raises `Diverged` in the library's words."""
    equation, adaptive = _traced(request), request.grid is None
    if equation is None and issubclass(_classes()[name], library().diffrax.AbstractImplicitSolver):
        raise UsageError(f"method {name!r} of diffrax needs the jax form of {request.equation.name}, which has none.")
    with Callback(_numpy_field(request) if equation is None else _nothing) as callback:
        try:
            raw = _program(name, equation, adaptive, False)(*_arguments(request, callback.key))
            y = np.asarray(raw[0])
        except (RuntimeError, ValueError) as error:
            raise _refused(name, error) from None
    check_result(raw[3])
    calls = callback.calls if equation is None else _counted(request, name, equation)
    if not adaptive:
        y = y[list(request.every)]
    y = finite(y.astype(np.float64), "the solution")
    return Trajectory(request.t, y, calls, int(raw[1]), int(raw[2]))


def _nothing(t: Any, y: Any) -> Any:
    return y


def _numpy_field(request: Request) -> Callable[[Any, Any], Any]:
    function = numpy_form(request.equation)
    if request.inputs is None:
        return function
    return lambda t, y: function(t, y, request.input_at(t))


def _counted(request: Request, name: str, equation: Any) -> int:
    """Evaluations of the problem, from a run that counts them, kept for the next time."""
    arguments = _arguments(request, 0)
    arrays = [a for a in (request.y0, arguments[1], request.inputs, arguments[4]) if a is not None]
    problem = (name, equation, *(array.tobytes() for array in arrays))
    if problem not in _counts:
        with Callback(_nothing) as callback:
            raw = _program(name, equation, request.grid is None, True)(*_arguments(request, callback.key))
            np.asarray(raw[0])
            library().jax.effects_barrier()
        if len(_counts) > 4096:
            _counts.clear()
        _counts[problem] = callback.calls
    return _counts[problem]


def gradient(request: Request, name: str, cotangent: Array) -> Array:
    """By jax's reverse mode, through the library's own operations."""
    equation = _traced(request)
    if equation is None:
        raise UsageError(f"diffrax differentiates compiled fields alone: {request.equation.name} has no jax form.")
    program, jax = _program(name, equation, request.grid is None, False), library().jax
    rest = _arguments(request, 0)[1:]
    try:
        final, back = jax.vjp(lambda y: program(y, *rest)[0][-1], request.y0)
    except (RuntimeError, ValueError) as error:
        raise _refused(name, error) from None
    finite(np.asarray(final), "the solution")
    value: Array = np.asarray(back(jax.numpy.asarray(cotangent, request.y0.dtype))[0]).astype(np.float64)
    return value
