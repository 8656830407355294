"""SciPy's explicit Runge-Kutta machinery stepping our tableau: the one file that knows its internals.

`scipy.integrate.solve_ivp` takes a solver class, but the class to derive from and its step are private
(`scipy.integrate._ivp.rk`). SciPy works on one flat float64 (or complex128) vector and has no gradient: torch states
pass through NumPy, and their gradient is the discrete adjoint of the accepted steps, replayed with our own stage loop.

Longer than most files for what it says of each assumption about SciPy.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from ...suite.errors import Diverged, UsageError
from ..step import Stages, advance, stages
from ..tableau import Tableau
from ..tableaux import Method
from .base import Backend, Field, Solution, State
from .common import Rate, check_explicit, check_finite, check_own_control, checked_pair, checked_times, is_numpy, listed

Array = npt.NDArray[Any]


@lru_cache(maxsize=1)
def _library() -> Any:
    try:
        from scipy.integrate._ivp import rk
    except ModuleNotFoundError as error:
        if error.name == "scipy":
            raise UsageError("backend 'scipy' needs a package: pip install 'scipy>=1.11'") from None
        raise UsageError(
            "the installed SciPy has other internals than 1.11 to 1.17: pip install 'scipy>=1.11'"
        ) from error
    return rk


@lru_cache(maxsize=256)
def method(tableau: Tableau, embedded: bool = True) -> Any:
    """A subclass of SciPy's RungeKutta: for `solve_ivp(..., method=...)`; not `embedded`: no error estimate.

    A, B, C, E, P as SciPy wants them: an FSAL pair is written without its last stage, since SciPy evaluates
    f(t + h, y+) in any case; E is b - b_hat, its last entry for that slope. P is the cubic Hermite interpolant,
    whatever the method's order. `attempts` counts tried steps.
    """
    stage = stages(tableau, "exact", embedded)
    s = len(stage) - stage.fsal
    weights, error = np.zeros(s), np.zeros(s + 1)
    matrix = np.zeros((s, s))
    for i, row in enumerate(stage.rows[:s]):
        for j, a in row:
            matrix[i, j] = float(a)
    for j, b in stage.weights:
        weights[j] = float(b)
    for j, e in stage.error:
        error[j] = float(e)
    hermite = np.zeros((s + 1, 3))
    hermite[:s, 1] += 3 * weights
    hermite[:s, 2] -= 2 * weights
    hermite[0] += [1, -2, 1]
    hermite[-1] += [0, -1, 1]

    class Injected(_library().RungeKutta):  # type: ignore[misc]
        A, B, C, E, P = matrix, weights, np.array([float(c) for c in stage.nodes[:s]]), error, hermite
        order = tableau.order
        error_estimator_order = min(tableau.order, tableau.embedded_order or tableau.order)
        n_stages = s
        attempts = 0

        def _estimate_error_norm(self, K: Array, h: float, scale: Array) -> Any:
            self.attempts += 1
            return super()._estimate_error_norm(K, h, scale)

    return Injected


@dataclass
class _Record:
    """What a rollout did: flat states at the output times; of each step its time, size, start and interval."""

    outputs: list[Array]
    steps: list[tuple[float, float, Array, int]] = field(default_factory=list)
    rejected: int = 0


_Rollout = Callable[[Rate, Array, list[Any]], _Record]


@final
class SciPy(Backend):
    """Float64 inside, whatever the state's dtype; the field gets states in their own dtype.

    Evaluations, fixed: 1 + N s' for N intervals, N (s' + 1) with drives, where s' counts the stages that the result
    depends on: SciPy always evaluates the slope at the end of a step. Adaptive: 2 at each (re)start, then for each
    attempt s - 1 for an FSAL pair of s stages and s for another. The replay of the gradient is not counted.
    """

    name: ClassVar[str] = "scipy"
    differentiable: ClassVar[bool] = True

    def fixed(
        self,
        field: Field,
        y0: State,
        times: Sequence[float],
        tableau: Method,
        drives: Sequence[Any] | None = None,
        weights: tuple[Any, ...] = (),
    ) -> Solution:
        """See `Backend.fixed`."""
        table = check_explicit(tableau, self.name)
        grid = checked_times(times, drives)
        cls, rk_step = method(table, embedded=False), _library().rk_step

        def rollout(rate: Rate, y: Array, bound: list[Any]) -> _Record:
            record = _Record([y])
            slope = None
            K = np.empty((cls.n_stages + 1, y.size), dtype=y.dtype)
            for i, ((t, t_next), rate.drive) in enumerate(zip(itertools.pairwise(grid), bound, strict=True)):
                if slope is None or drives is not None:
                    slope = rate(t, y)
                record.steps.append((t, t_next - t, y, i))
                y, slope = rk_step(rate, t, y, slope, t_next - t, cls.A, cls.B, cls.C, K)
                record.outputs.append(y)
            check_finite(record.outputs, grid, self.name)
            return record

        return _solved(rollout, stages(table, "torch"), field, y0, listed(drives, len(grid) - 1), weights)

    def adaptive(
        self,
        field: Field,
        y0: State,
        times: Sequence[float],
        tableau: Method,
        rtol: float,
        atol: float,
        drives: Sequence[Any] | None = None,
        weights: tuple[Any, ...] = (),
        controller: str = "elementary",
        dense: bool = False,
    ) -> Solution:
        """See `Backend.adaptive`."""
        table, _ = checked_pair(tableau, rtol, atol, self.name)
        check_own_control(controller, dense, self.name)
        grid = checked_times(times, drives)
        cls = method(table)

        def rollout(rate: Rate, y: Array, bound: list[Any]) -> _Record:
            record = _Record([y])
            check_finite([y], grid, self.name)
            solver = None
            for i, (end, rate.drive) in enumerate(zip(grid[1:], bound, strict=True)):
                if solver is None or drives is not None:
                    last = grid[-1] if drives is None else end
                    solver = cls(rate, grid[i], record.outputs[-1], last, rtol=rtol, atol=atol)
                _advance_to(solver, end, i, record)
                record.outputs.append(solver.y)
            return record

        return _solved(rollout, stages(table, "torch"), field, y0, listed(drives, len(grid) - 1), weights)


def _advance_to(solver: Any, end: float, interval: int, record: _Record) -> None:
    """Step SciPy's solver object to exactly `end`, an output time, and leave it ready to go on."""
    solver.t_bound, solver.status = end, "running"
    planned = solver.h_abs
    before = solver.attempts
    taken = 0
    while solver.status == "running":
        planned, start = solver.h_abs, solver.y
        message = solver.step()
        if solver.status == "failed":
            raise Diverged(f"SciPy stopped at t = {solver.t:g}: {message}")
        taken += 1
        record.steps.append((solver.t_old, solver.h_previous, start, interval))
    # a step cut short by an output time says little about the one that was planned
    solver.h_abs = max(planned, solver.h_abs)
    record.rejected += solver.attempts - before - taken


def _solved(
    rollout: _Rollout, replay: Stages, f: Field, y0: State, drives: list[Any], weights: tuple[Any, ...]
) -> Solution:
    """Run a rollout on flat NumPy vectors, and give its states back in the library, dtype and shape of y0."""
    if not is_numpy(y0):
        return _solved_torch(rollout, replay, f, y0, drives, weights)
    shape, dtype = y0.shape, y0.dtype

    def flat(t: Any, y: Any, drive: Any, weights: tuple[Any, ...]) -> Any:
        value = f(t, y.reshape(shape).astype(dtype, copy=False), drive, weights)
        return np.asarray(value, dtype=y.dtype).ravel()

    rate = Rate(flat, weights)
    with np.errstate(all="ignore"):  # what overflows is reported once, as Diverged
        record = rollout(rate, y0.astype(_working(np.iscomplexobj(y0))).ravel(), drives)
    states = np.stack(record.outputs).reshape(-1, *shape).astype(dtype, copy=False)
    return Solution(states, rate.calls, len(record.steps), record.rejected)


def _working(is_complex: bool) -> type[np.generic]:
    return np.complex128 if is_complex else np.float64


def _solved_torch(
    rollout: _Rollout, replay: Stages, f: Field, y0: Any, drives: list[Any], weights: tuple[Any, ...]
) -> Solution:
    import torch

    def tensor(y: Array) -> torch.Tensor:
        return torch.from_numpy(y).reshape(-1, *y0.shape).to(device=y0.device, dtype=y0.dtype)

    def array(y: torch.Tensor) -> Array:
        flat: Array = y.detach().resolve_conj().cpu().numpy().astype(_working(y.is_complex())).ravel()
        return flat

    def flat(t: Any, y: Any, drive: Any, weights: tuple[Any, ...]) -> Any:
        return array(f(t, tensor(y)[0], drive, weights)).astype(y.dtype, copy=False)

    rate = Rate(flat, weights)
    found: list[_Record] = []

    def forward(y: torch.Tensor) -> torch.Tensor:
        with np.errstate(all="ignore"):
            found.append(rollout(rate, array(y), drives))
        return tensor(np.stack(found[-1].outputs))

    def step(t: float, h: float, y: torch.Tensor, drive: Any, weights: tuple[Any, ...]) -> torch.Tensor:
        new: torch.Tensor = advance(lambda t, y: f(t, y, drive, weights), t, y, h, replay)[0]
        return new

    plan = _Plan(forward, step, found, tensor, len(drives))
    states = _discrete_adjoint().apply(plan, y0, *drives, *weights)
    return Solution(states, rate.calls, len(found[0].steps), found[0].rejected)


@dataclass(frozen=True)
class _Plan:
    """What the autograd function needs beside tensors."""

    forward: Callable[[Any], Any]
    step: Callable[[float, float, Any, Any, tuple[Any, ...]], Any]
    found: list[_Record]
    tensor: Callable[[Array], Any]
    drives: int


@lru_cache(maxsize=1)
def _discrete_adjoint() -> Any:
    """The autograd function of a whole rollout: its backward is the vector-Jacobian product of each recorded step.

    Its tensors are y0, one drive an interval, and the weights; the gradient is that of the discrete solution with its
    steps frozen.
    """
    import torch

    class Rollout(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, plan: _Plan, y0: Any, *inputs: Any) -> Any:
            ctx.plan = plan
            ctx.save_for_backward(*(x for x in inputs if isinstance(x, torch.Tensor)))
            ctx.others = [None if isinstance(x, torch.Tensor) else (x,) for x in inputs]
            return plan.forward(y0)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, grad: Any) -> Any:
            plan: _Plan = ctx.plan
            wanted = ctx.needs_input_grad[2:]
            saved = iter(ctx.saved_tensors)
            inputs = [next(saved) if other is None else other[0] for other in ctx.others]
            leaves = [x.detach().requires_grad_() if need else x for x, need in zip(inputs, wanted, strict=True)]
            totals: list[Any] = [None] * len(leaves)
            weights = tuple(leaves[plan.drives :])
            learned = [i for i in range(plan.drives, len(leaves)) if wanted[i]]
            adjoint = grad[-1]
            steps = plan.found[0].steps
            for k in range(len(steps) - 1, -1, -1):
                t, h, start, interval = steps[k]
                y = plan.tensor(start)[0].requires_grad_()
                targets = ([interval] if wanted[interval] else []) + learned
                with torch.enable_grad():
                    new = plan.step(t, h, y, leaves[interval], weights)
                sources = [y, *(leaves[i] for i in targets)]
                adjoint, *parts = torch.autograd.grad(new, sources, adjoint, allow_unused=True, materialize_grads=True)
                for i, part in zip(targets, parts, strict=True):
                    totals[i] = part if totals[i] is None else totals[i] + part
                if k == 0 or steps[k - 1][3] != interval:
                    adjoint = adjoint + grad[interval]
            if not steps:
                adjoint = grad[0]
            return None, adjoint, *totals

    return Rollout


BACKENDS: dict[str, Backend] = {"scipy": SciPy()}
