"""SciPy's own methods (`scipy.integrate.solve_ivp`), by its names, run as its users run them.

At `rtol`, `atol`: one call with `t_eval`, so that states between steps come from the method's own dense output; the
implicit methods get the analytic Jacobian where the equation has one. Held to a grid, the solver object steps to each
time of it, at an absolute tolerance under which it rejects nothing. So do the explicit methods and Radau, whose Newton
iteration is then given a tolerance of its own; BDF and LSODA choose order and step together and have no fixed step.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..suite.contracts import Array, Trajectory, finite
from ..suite.errors import Diverged, UsageError
from .library_request import Request, jacobian_of, numpy_form

LOOSE = 1e30
"""An absolute tolerance that rejects no step."""

NEWTON = 1e-10
"""What Radau's Newton iteration is asked for on a fixed grid, absolute."""


def _classes() -> dict[str, Any]:
    from scipy.integrate._ivp.ivp import METHODS

    found: dict[str, Any] = METHODS
    return found


def names() -> tuple[str, ...]:
    """The names of `solve_ivp`."""
    return tuple(_classes())


def order(name: str) -> int | None:
    """What the method's class says; the implicit ones say nothing."""
    explicit = _explicit(_classes()[name])
    return int(_classes()[name].order) if explicit else None


def _explicit(cls: Any) -> bool:
    from scipy.integrate._ivp.rk import RungeKutta

    return issubclass(cls, RungeKutta)


@dataclass
class _Count:
    calls: int = 0
    attempts: int = 0
    steps: int = 0


def _counting(cls: Any, count: _Count) -> Any:
    """The class itself, telling of its steps; of tried ones where its own error estimate is a method of its own."""
    if not _explicit(cls):

        class Steps(cls):  # type: ignore[misc]
            def _step_impl(self) -> tuple[bool, str | None]:
                done: tuple[bool, str | None] = super()._step_impl()
                count.steps += done[0]
                return done

        return Steps

    class Attempts(cls):  # type: ignore[misc]
        def _step_impl(self) -> tuple[bool, str | None]:
            done: tuple[bool, str | None] = super()._step_impl()
            count.steps += done[0]
            return done

        def _estimate_error_norm(self, K: Array, h: float, scale: Array) -> Any:
            count.attempts += 1
            return super()._estimate_error_norm(K, h, scale)

    return Attempts


def solve(request: Request, name: str) -> Trajectory:
    """Raises `Diverged` in SciPy's words, `UsageError` for a method that has no fixed step."""
    count = _Count()
    function, shape = numpy_form(request.equation), request.y0.shape

    def f(t: float, y: Array) -> Array:
        count.calls += 1
        state = y.reshape(shape)
        value = function(t, state) if request.inputs is None else function(t, state, request.input_at(t))
        return np.asarray(value, dtype=y.dtype).ravel()

    y0, cls = request.y0.astype(np.float64).ravel(), _counting(_classes()[name], count)
    options = {} if _explicit(cls) else {"jac": _flat_jacobian(request)}
    try:
        with np.errstate(all="ignore"):
            if request.grid is None:
                y, work = _adaptive(request, cls, f, y0, options)
            else:
                y, work = _on_grid(request, name, cls, f, y0, options)
    except (UsageError, Diverged):
        raise
    except (ValueError, np.linalg.LinAlgError) as error:
        raise Diverged(f"SciPy stopped: {' '.join(str(error).split())}") from None
    states = finite(y.reshape(-1, *shape), "the solution")
    rejected = count.attempts - count.steps if _explicit(cls) else 0 if request.grid is not None else -1
    return Trajectory(request.t, states, count.calls, count.steps, rejected, *work)


def _adaptive(request: Request, cls: Any, f: Any, y0: Array, options: dict[str, Any]) -> tuple[Array, tuple[int, int]]:
    from scipy.integrate import solve_ivp

    span = (float(request.t[0]), float(request.t[-1]))
    found = solve_ivp(f, span, y0, method=cls, t_eval=request.t, rtol=request.rtol, atol=request.atol, **options)
    if found.status != 0:
        raise Diverged(f"SciPy stopped: {found.message}")
    return found.y.T, (int(found.njev), int(found.nlu))


def _on_grid(
    request: Request, name: str, cls: Any, f: Any, y0: Array, options: dict[str, Any]
) -> tuple[Array, tuple[int, int]]:
    grid = [] if request.grid is None else request.grid.tolist()
    held = _explicit(cls) or name == "Radau"
    if not held:
        raise UsageError(f"method {name!r} of SciPy chooses order and step together: expected rtol, not a fixed step.")
    if not _explicit(cls) and options["jac"] is None:
        # its differences are scaled by the absolute tolerance, which a fixed grid takes away
        raise UsageError(f"method {name!r} of SciPy on a fixed grid needs the Jacobian of {request.equation.name}.")
    states = [y0]
    solver = cls(f, grid[0], y0, grid[1], first_step=grid[1] - grid[0], rtol=1e-8, atol=LOOSE, **options)
    if not _explicit(cls):
        solver.newton_tol = NEWTON / LOOSE
    for t, end in pairwise(grid):
        # SciPy cuts a step that would pass the bound: it ends on the bound exactly
        solver.t_bound, solver.status, solver.h_abs = end, "running", 2 * (end - t)
        message = solver.step()
        if solver.status != "finished":
            raise Diverged(f"SciPy stopped at t = {t:g}: {message or 'it took a shorter step than asked'}")
        states.append(solver.y)
    return np.stack(states)[list(request.every)], (int(solver.njev), int(solver.nlu))


def _flat_jacobian(request: Request) -> Any:
    """The Jacobian of the flattened state, block diagonal for a batch; None: SciPy takes differences."""
    from scipy.linalg import block_diag

    function, shape = jacobian_of(request.equation, "numpy"), request.y0.shape
    if function is None:
        return None

    def jacobian(t: float, y: Array) -> Array:
        state, n = y.reshape(shape), shape[-1]
        J = function(t, state) if request.inputs is None else function(t, state, request.input_at(t))
        found: Array = block_diag(*np.asarray(J).reshape(-1, n, n))
        return found

    return jacobian
