"""The true field: a method in a backend, integrating the field that the problem itself gives (cell "true-field").

The method is a tableau of ours, or with the entry `method` the library's own of that name (`solvers.library_methods`).
Longer than most files: solving, differentiating and stepping the given field differ by little, and share it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from ..suite.contracts import (
    Array,
    Budget,
    Flow,
    Learned,
    LearningTask,
    Nesting,
    RecurrentMap,
    Timing,
    Trajectory,
    VectorField,
    Workload,
    finite,
)
from ..suite.equation import Equation
from ..suite.errors import UsageError
from ..suite.matrix_equation import MatrixEquation
from . import library_methods
from .backends import find_backend
from .backends.base import Field, Solution
from .backends.common import check_finite, checked_grid
from .library_request import Request, form, jacobian_of, numpy_form
from .spec import Spec, find_method, parse, properties_of, validate
from .tableau import Tableau


@runtime_checkable
class Parametric(Protocol):
    """An equation whose named parameters can be changed."""

    @property
    def parameters(self) -> Mapping[Any, float]: ...

    def with_parameters(self, values: Mapping[str, float]) -> Any: ...


@dataclass(frozen=True)
class _Given:
    """The equation's function as a `Field`; with inputs, f(t, y, u)."""

    function: Callable[..., Any] = field(compare=False)
    driven: bool

    def __call__(self, t: Any, y: Any, drive: Any, weights: Any) -> Any:
        return self.function(t, y, drive) if self.driven else self.function(t, y)


@final
@dataclass(frozen=True)
class _WithJacobian(_Given):
    """With its Jacobian, for implicit methods (`backends.base.JacobianField`)."""

    derivative: Callable[..., Any] = field(compare=False)

    def jacobian(self, y: Any, drive: Any, weights: Any, t: Any = 0.0) -> Any:
        J = self.derivative(t, y, drive) if self.driven else self.derivative(t, y)
        return J.astype(y.dtype, copy=False) if isinstance(J, np.ndarray) else J.to(y.dtype)


@final
@dataclass(frozen=True)
class _Traceable(_Given):
    """With its jax form (`backends.diffrax.TracedField`); equal for equal equations."""

    equation: VectorField
    form: Callable[..., Any] = field(compare=False)

    def traced(self, t: Any, y: Any, drive: Any) -> Any:
        return self.form(t, y, drive) if self.driven else self.form(t, y)


@dataclass(frozen=True)
class FieldIntegrator:
    """A method in a backend, on the field that the problem itself gives (cell "true-field")."""

    spec: Spec
    device: str
    dtype: str
    ran: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    learns = False

    def properties(self) -> dict[str, Any]:
        """The entries with the facts of the tableau; of a library's own method what it claims to be."""
        facts = {"learns": False, **properties_of(self.spec)}
        if self.spec.method is None:
            return facts
        claimed = library_methods.claim(self.spec.backend or "", self.spec.method)
        return {**facts, "claimed": claimed, "library": claimed["library"], "version": claimed["version"]}

    def learn(self, task: LearningTask, seed: int, budget: Budget) -> Learned:
        raise UsageError(f"cell 'true-field' learns nothing: task {task.name!r} needs a learned cell.")

    def training_step(self, length: int, batch: int, seed: int) -> Callable[[], float]:
        raise UsageError("cell 'true-field' learns nothing: expected a learned cell.")

    def nesting(self, seed: int) -> Nesting:
        from .nesting import nesting_of_method

        if self.spec.method is not None:
            raise UsageError(f"a library's own method {self.spec.method!r} has no tableau to read: expected a tableau.")
        return nesting_of_method(find_method(self.spec.tableau or ""))

    def hunt(self, cases: int, seed: int, inflate: float, norm: str) -> dict[str, Any] | None:
        raise UsageError("cell 'true-field' has no weights to hunt over: expected a cell that is given by a field.")

    def recurrence(self, inputs: int, seed: int, hidden: int | None = None) -> RecurrentMap:
        raise UsageError("cell 'true-field' is no recurrent cell: expected a cell that is given by a field.")

    def timings(
        self,
        workload: Workload,
        seed: int,
        peers: bool = True,
        equation: VectorField | None = None,
        start: Array | None = None,
    ) -> list[Timing]:
        from .peers.timing import trajectory_timings

        return trajectory_timings(self, workload, peers, equation, start)

    def engine(self, equation: VectorField, batch: bool = False, driven: bool = False) -> tuple[str, str]:
        """The engine that solves the equation, and why it is the general one where another was asked for.

        batch: for several states at once; driven: with inputs. Raises `UsageError` where the engine asked for cannot.
        """
        if self.spec.engine == "general":
            return "general", ""
        reason = self._against_compiled(equation, batch, driven)
        if reason and self.spec.engine != "auto":
            raise UsageError(
                f"engine {self.spec.engine!r} cannot solve {equation.name}: {reason}. Expected 'auto' or 'general'."
            )
        return ("general", reason) if reason else ("cpu", "")

    def engines(self) -> Mapping[str, str]:
        return self.ran

    def _against_compiled(self, equation: VectorField, batch: bool, driven: bool) -> str:
        """Why no compiled code solves the equation, '' where it does."""
        spec = self.spec
        if spec.engine not in ("auto", "cpu"):
            return "it steps recurrences alone"
        if spec.method is not None or spec.backend != "native":
            return f"backend {spec.backend!r} steps by itself"
        if not self.device.startswith("cpu"):
            return f"it runs on the CPU, not on {self.device}"
        if driven:
            return "the equation reads inputs"
        if spec.output is not None and spec.output != "land":
            return "it has no dense output"
        if batch and spec.rtol is not None and not spec.per_trajectory:
            return "the trajectories of a batch share their steps (per_trajectory = false)"
        if find_spec("llvmlite") is None:
            return "package llvmlite is not installed (pip install llvmlite)"
        from .engines.trajectories import compilable

        return compilable(equation, find_method(spec.tableau or ""))

    # ------------------------------------------------------------------------------------------------------- solutions

    def solve(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None = None) -> Trajectory:
        """See `Solver.solve`. With `parameter_error` the equation's parameters are changed first.

        Raises `UsageError` for times that are none, not finite or not increasing, of every method alike.
        """
        equation, t = self.perturbed(equation), checked_grid(t)
        start = np.asarray(y0, dtype=self.dtype)
        if isinstance(equation, Equation | MatrixEquation) and start.shape[-1:] != (equation.dimension,):
            raise UsageError(
                f"the start has shape {start.shape}: expected {(equation.dimension,)}, or several such, for "
                f"{equation.name}."
            )
        held = _checked_inputs(inputs, t, start.dtype)
        if self.spec.method is not None:
            return library_methods.solve(
                self.spec.backend or "", self.spec.method, self._request(equation, start, t, held)
            )
        name, reason = self.engine(equation, start.ndim > 1, held is not None)
        if name == "cpu" and start.size and isinstance(equation, Equation | MatrixEquation):
            self.ran["cpu"] = ""
            return self._compiled(equation, start, t)
        self.ran["general"] = reason
        if self.spec.per_trajectory and start.ndim > 1:
            return self._one_by_one(equation, start, t, held)
        return self._trajectory(equation, start, t, held)

    def gradient(self, equation: VectorField, y0: Array, t: Array, cotangent: Array) -> Array:
        """See `Solver.gradient`: autograd through the steps, or torchdiffeq's adjoint, or the discrete adjoint of our
        SciPy backend, or jax's reverse mode."""
        import torch

        equation, t = self.perturbed(equation), checked_grid(t)
        start, cotangent = np.asarray(y0, dtype=self.dtype), np.asarray(cotangent, dtype=np.float64)
        if self.spec.method is not None:
            request = self._request(equation, start, t, None)
            return library_methods.gradient(self.spec.backend or "", self.spec.method, request, cotangent)
        if self.spec.backend == "diffrax":
            return self._pullback(equation, start, t, cotangent)
        if form(equation, "torch") is None:
            raise UsageError(f"{equation.name} has no function in torch: expected one for a gradient.")
        state = torch.as_tensor(start, device=self.device).requires_grad_()
        found, every = self._solution(self._field(equation, "torch", False), state, t, None)
        final = found.states[every][-1]
        finite(final.detach().cpu().numpy(), "the solution")
        (value,) = torch.autograd.grad((final * torch.as_tensor(cotangent).to(final)).sum(), state)
        gradient: Array = value.cpu().numpy().astype(np.float64)
        return gradient

    def flow(self, equation: VectorField) -> Flow:
        """The given equation as a flow; its own method and backend do not matter to it."""
        return EquationFlow(self.perturbed(equation))

    def in_backend(self, name: str) -> FieldIntegrator:
        """The same tableau in another backend. Raises `UsageError` for what that backend cannot run."""
        if self.spec.method is not None and name != self.spec.backend:
            raise UsageError(f"method {self.spec.method!r} is {self.spec.backend}'s own: backend {name!r} has none.")
        entries = {**properties_of(self.spec)["solver"], "backend": name}
        validate(entries, {}, self.device, self.dtype)
        return replace(self, spec=parse(entries))

    def perturbed(self, equation: VectorField) -> VectorField:
        """The equation that is solved: with `parameter_error` e, every parameter times 1 + e."""
        error = self.spec.parameter_error
        if error is None:
            return equation
        return _scaled(equation, 1 + error)

    def _request(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None) -> Request:
        rtol = self.spec.rtol or 0.0
        atol = rtol if self.spec.atol is None else self.spec.atol
        if self.spec.rtol is not None:
            return Request(equation, y0, t, None, (), rtol, atol, inputs, self.device)
        times, every = self._grid(t)
        return Request(equation, y0, t, times, tuple(every.tolist()), rtol, atol, inputs, self.device)

    def _compiled(self, equation: Equation | MatrixEquation, start: Array, t: Array) -> Trajectory:
        """The same steps in machine code, on as many threads as torch has, where it is in use."""
        from .engines.trajectories import CompiledTrajectories

        spec, method = self.spec, find_method(self.spec.tableau or "")
        if not isinstance(method, Tableau):
            raise UsageError(f"method {method.name!r} has no compiled form.")
        threads = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else 1
        solver, flat = CompiledTrajectories(equation, method, self.dtype), start.reshape(-1, start.shape[-1])
        if spec.rtol is None:
            times, every = self._grid(t)
            found = solver.fixed(flat, times, every, threads)
            if not np.isfinite(found.states[-1]).all():  # every state again, for the first that is lost
                check_finite(solver.fixed(flat, times, None, threads).states, times.tolist(), "native")
        else:
            atol = spec.rtol if spec.atol is None else spec.atol
            found = solver.adaptive(flat, t, spec.rtol, atol, spec.controller or "elementary", threads)
        found.check()
        y = found.states.astype(np.float64).reshape(len(t), *start.shape)
        if spec.rtol is None:  # a batched evaluation counts once
            counts = int(found.f_calls[0]), int(found.accepted[0]), 0
        else:
            counts = int(found.f_calls.sum()), int(found.accepted.sum()), int(found.rejected.sum())
        return Trajectory(t, finite(y, "the solution"), *counts)

    def _one_by_one(self, equation: VectorField, start: Array, t: Array, inputs: Array | None) -> Trajectory:
        """Every trajectory of a batch by its own steps; the counts are sums."""
        flat = start.reshape(-1, start.shape[-1])
        found = [self._trajectory(equation, one, t, inputs) for one in flat]
        y = np.stack([one.y for one in found], axis=1).reshape(len(t), *start.shape)
        totals = [
            sum(count)
            for count in zip(
                *((one.f_calls, one.accepted, one.rejected, one.jacobian_calls, one.factorizations) for one in found),
                strict=True,
            )
        ]
        return Trajectory(t, y, *totals)

    def _trajectory(self, equation: VectorField, start: Array, t: Array, inputs: Array | None) -> Trajectory:
        spec = self.spec
        in_torch = (spec.backend or "").startswith("torchdiffeq") or not self.device.startswith("cpu")
        if in_torch and self.device.startswith("cpu") and form(equation, "torch") is None:
            in_torch = False  # the backend passes NumPy states through itself
        library = "torch" if in_torch else "numpy"
        given = self._field(equation, library, inputs is not None)
        state: Any = start
        held: Any = inputs
        if in_torch:
            import torch

            state = torch.as_tensor(start, device=self.device)
            held = None if inputs is None else torch.as_tensor(inputs, device=self.device)
        found, every = self._solution(given, state, t, held)
        states = found.states[every]
        y = states.detach().cpu().numpy() if in_torch else np.asarray(states)
        return Trajectory(
            t,
            finite(y.astype(np.float64), "the solution"),
            found.f_calls,
            found.accepted,
            found.rejected,
            found.jacobian_calls,
            found.factorizations,
        )

    def _field(self, equation: VectorField, library: str, driven: bool) -> Field:
        """The equation as a field of states of a library, with all that it offers and the method can use."""
        method = find_method(self.spec.tableau or "")
        function = numpy_form(equation) if library == "numpy" else equation.function(library)
        if isinstance(method, Tableau) and not method.explicit:
            derivative = jacobian_of(equation, library)
            return _Given(function, driven) if derivative is None else _WithJacobian(function, driven, derivative)
        if self.spec.backend == "diffrax" and library == "numpy":
            traced = form(equation, "jax")
            if traced is not None and _hashable(equation):
                return _Traceable(function, driven, equation, traced)
        return _Given(function, driven)

    def _solution(self, given: Field, state: Any, t: Array, inputs: Any) -> tuple[Solution, list[int]]:
        """The backend's solution, and which of its states are those of t."""
        spec, tableau = self.spec, find_method(self.spec.tableau or "")
        backend = find_backend(spec.backend or "")
        drives = None if inputs is None else list(inputs)
        if spec.rtol is None:
            times, every = (found.tolist() for found in self._grid(t))
            if drives is not None:
                drives = [drive for drive, (i, j) in zip(drives, pairwise(every), strict=True) for _ in range(j - i)]
            return backend.fixed(given, state, times, tableau, drives), every
        atol = spec.rtol if spec.atol is None else spec.atol
        if spec.controller or spec.output:
            controller, dense = spec.controller or "elementary", spec.output == "dense"
            found = backend.adaptive(
                given, state, t.tolist(), tableau, spec.rtol, atol, drives, controller=controller, dense=dense
            )
        else:
            found = backend.adaptive(given, state, t.tolist(), tableau, spec.rtol, atol, drives)
        return found, list(range(len(t)))

    def _pullback(self, equation: VectorField, start: Array, t: Array, cotangent: Array) -> Array:
        from .backends.diffrax import TracedField, pullback

        given, spec = self._field(equation, "numpy", False), self.spec
        if not isinstance(given, TracedField):
            raise UsageError(f"{equation.name} has no jax form: expected one for a gradient in backend 'diffrax'.")
        tableau = find_method(spec.tableau or "")
        if spec.rtol is None:
            return pullback(given, start, self._grid(t)[0].tolist(), tableau, cotangent).astype(np.float64)
        tolerances = (spec.rtol, spec.rtol if spec.atol is None else spec.atol)
        return pullback(given, start, t.tolist(), tableau, cotangent, tolerances).astype(np.float64)

    def _grid(self, t: Array) -> tuple[Array, Array]:
        """The fixed grid that refines t, and where the times of t lie in it."""
        gaps = t[1:] - t[:-1]
        if self.spec.step is None:
            parts = np.full(len(gaps), self.spec.steps or 1)
        else:
            parts = np.maximum(1, np.ceil(gaps / self.spec.step * (1 - 1e-9))).astype(np.int64)
        every = np.concatenate([[0], np.cumsum(parts)])
        if every[-1] == len(gaps):
            return t, every
        k = np.arange(every[-1]) - np.repeat(every[:-1], parts)
        inside = np.repeat(t[:-1], parts) + np.repeat(gaps, parts) * k / np.repeat(parts, parts)
        return np.append(inside, t[-1]), every


@final
@dataclass(frozen=True)
class EquationFlow:
    """A given autonomous equation that any named method can step: `suite.contracts.Flow`."""

    equation: VectorField

    def slope(self, y: Array) -> Array:
        """dy/dt at t = 0, in NumPy."""
        found: Array = np.asarray(numpy_form(self.equation)(0.0, np.asarray(y, dtype=np.float64)))
        return found

    def rollout(
        self, y0: Array, t: Array, tableau: str, substeps: int = 1, dtype: str = "float64", backend: str = "native"
    ) -> Trajectory:
        """See `Flow.rollout`."""
        entries = {"cell": "true-field", "tableau": tableau, "backend": backend, "steps": substeps}
        validate(entries, {}, "cpu", dtype)
        return FieldIntegrator(parse(entries), "cpu", dtype).solve(self.equation, y0, t)


def _hashable(equation: VectorField) -> bool:
    """Whether a compiled program can be kept by it."""
    try:
        hash(equation)
    except TypeError:
        return False
    return True


def _scaled(equation: VectorField, factor: float) -> VectorField:
    """Every parameter times a factor. Raises `UsageError` for an equation without parameters."""
    if not isinstance(equation, Parametric) or not equation.parameters:
        raise UsageError(f"{equation.name} has no parameters: expected a solver without 'parameter_error'.")
    values = {str(symbol): value * factor for symbol, value in equation.parameters.items()}
    changed: VectorField = equation.with_parameters(values)
    return changed


def _checked_inputs(inputs: Array | None, t: Array, dtype: Any) -> Array | None:
    if inputs is None:
        return None
    held = np.asarray(inputs, dtype=dtype)
    if held.ndim < 1 or len(held) != len(t) - 1:
        raise UsageError(
            f"the inputs have shape {held.shape}: expected one row for each of the {len(t) - 1} intervals."
        )
    return held
