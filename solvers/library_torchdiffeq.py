"""torchdiffeq's own methods, by the names of its registry, run as its users run them.

Fixed-grid methods: the grid is the list of times, one step an interval. Adaptive ones at `rtol`, `atol`: one call, its
outputs interpolated by the library. Adaptive ones held to a grid: `first_step`, `min_step` and `max_step` are one size
longer than any step, under which the library accepts whatever comes, and `step_t` cuts each step at the grid. Of jumps
of the input it is told as its documentation asks: by `jump_t`, fixed-grid methods by `perturb`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, final

import numpy as np

from ..suite.contracts import Array, Trajectory, finite
from ..suite.errors import Diverged, MissingPackage, UsageError
from .library_request import Request, form, numpy_form

PIP = "pip install 'torchdiffeq>=0.2.5,<0.3'"


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """The registry's names, read from its source, so that neither torch is imported nor anything added to it is seen.

    Without the wrapper of SciPy, whose methods are named there. Raises `UsageError` where the package is missing.
    """
    spec = find_spec("torchdiffeq")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackage(f"backend 'torchdiffeq' needs a package: {PIP}")
    source = Path(next(iter(spec.submodule_search_locations))) / "_impl" / "odeint.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        named = isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == ["SOLVERS"]
        if named and isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return tuple(
                str(key.value)
                for key, value in pairs
                if isinstance(key, ast.Constant) and not (isinstance(value, ast.Name) and "Scipy" in value.id)
            )
    raise UsageError(f"the installed torchdiffeq has other internals than 0.2.5: {PIP}")


def order(name: str) -> int | None:
    """What the method's class says."""
    found: int = _registry()[name].order
    return found


def _registry() -> dict[str, Any]:
    found: dict[str, Any] = import_module("torchdiffeq._impl.odeint").SOLVERS
    return found


class _Counting:
    """f(t, y) as the library calls it, counting; the library looks for callbacks by name."""

    def __init__(self, request: Request) -> None:
        self.request, self.calls, self.steps, self.accepted, self.rejected = request, 0, 0, 0, 0
        self.torch = form(request.equation, "torch")
        self.numpy = numpy_form(request.equation) if self.torch is None else None

    def __call__(self, t: Any, y: Any) -> Any:
        import torch

        self.calls += 1
        drive = None if self.request.inputs is None else self.request.input_at(float(t))
        if self.torch is not None:
            return self.torch(t, y) if drive is None else self.torch(t, y, torch.as_tensor(drive, device=y.device))
        if self.numpy is None:
            raise UsageError(f"{self.request.equation.name} has a function neither in torch nor in NumPy.")
        state = y.detach().cpu().numpy()
        value = self.numpy(float(t), state) if drive is None else self.numpy(float(t), state, drive)
        return torch.as_tensor(np.asarray(value, dtype=state.dtype), device=y.device)

    def callback_step(self, t0: Any, y0: Any, dt: Any) -> None:
        self.steps += 1


@final
class _OnGrid(_Counting):
    """For the library's fixed-grid classes, which warn about other callbacks."""


@final
class _Adaptive(_Counting):
    def callback_accept_step(self, t0: Any, y0: Any, dt: Any) -> None:
        self.accepted += 1

    def callback_reject_step(self, t0: Any, y0: Any, dt: Any) -> None:
        self.rejected += 1


@dataclass(frozen=True)
class _Run:
    states: Any
    f: _Counting
    accepted: int


def _run(request: Request, name: str, y0: Any) -> _Run:
    import torch

    odeint: Any = import_module("torchdiffeq").odeint
    base: Any = import_module("torchdiffeq._impl.solvers").FixedGridODESolver
    on_grid = issubclass(_registry()[name], base)
    f: _Counting = _OnGrid(request) if on_grid else _Adaptive(request)

    def times(values: Array) -> Any:
        return torch.as_tensor(np.asarray(values, dtype=np.float64), device=y0.device)

    try:
        with np.errstate(all="ignore"):
            held = request.inputs is not None
            jumps = request.jumps()
            told = {"jump_t": times(jumps)} if len(jumps) else {}
            if request.grid is None:
                if on_grid:
                    raise UsageError(f"method {name!r} of torchdiffeq has a fixed grid: expected 'steps' or 'step'.")
                states = odeint(
                    f, y0, times(request.t), rtol=request.rtol, atol=request.atol, method=name, options=told
                )
            elif on_grid:
                options: dict[str, Any] = {"perturb": True} if held else {}
                states = odeint(f, y0, times(request.grid), method=name, options=options)[list(request.every)]
            else:
                longer = 2 * float(np.diff(request.grid).max())
                cuts = np.setdiff1d(request.grid[1:], jumps)  # the library refuses a time told twice
                sizes = {"first_step": longer, "min_step": longer, "max_step": longer}
                states = odeint(f, y0, times(request.t), method=name, options={**sizes, **told, "step_t": times(cuts)})
    except AssertionError as error:
        raise Diverged(f"torchdiffeq stopped: {str(error).splitlines()[0]}") from None
    return _Run(states, f, f.steps if on_grid else f.accepted)


def solve(request: Request, name: str) -> Trajectory:
    """Raises `Diverged` in the library's words, `UsageError` for a fixed-grid method asked to be adaptive."""
    import torch

    with torch.no_grad():
        found = _run(request, name, torch.as_tensor(request.y0, device=request.device))
    y = finite(found.states.cpu().numpy().astype(np.float64), "the solution")
    return Trajectory(request.t, y, found.f.calls, found.accepted, found.f.rejected)


def gradient(request: Request, name: str, cotangent: Array) -> Array:
    """By autograd, through the library's own operations."""
    import torch

    y0 = torch.as_tensor(request.y0, device=request.device).requires_grad_()
    final = _run(request, name, y0).states[-1]
    (found,) = torch.autograd.grad((final * torch.as_tensor(cotangent).to(final)).sum(), y0)
    value: Array = found.cpu().numpy().astype(np.float64)
    return value
