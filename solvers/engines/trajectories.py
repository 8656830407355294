"""Initial value problems as machine code: an equation under an explicit tableau.

One lane a trajectory, or for a `MatrixEquation` one lane a component (`matrix_trajectories`). Fixed steps and embedded
pairs, the same stages, step sizes and counts as the general path (`solvers.step`, `solvers.adaptive`), to rounding.
Parameters are passed at run time, so that other values need no new code. A little over the usual length, for the checks
of fixed and of chosen steps beside each other.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np
import sympy

from ...suite.contracts import Array
from ...suite.equation import TIME, Equation
from ...suite.errors import Diverged, UsageError
from ...suite.matrix_equation import MatrixEquation
from ..adaptive import check_controller
from ..backends.common import checked_grid, checked_pair
from ..step import stages
from ..tableau import Tableau
from . import machine
from .calls import Code, address, held, kept, spread
from .expressions import unsupported
from .matrix_trajectories import MatrixTrajectories
from .rollout import Problem, adaptive_code, fixed_code
from .step_control import COUNTS, LOST_AT_START, REALS, RUNNING
from .vector import Lanes

LARGEST_DIMENSION = 64
ATTEMPTS = 100_000
"""Steps tried by all trajectories in one call of compiled code, so that an interrupt is heard."""


@final
@dataclass(frozen=True)
class Trajectories:
    """States at the output times, (times, batch, dimension), and what each trajectory cost, (batch,) integers.

    status: 0 where a trajectory is complete (`step_control.DONE`); ended: the times where those that are not were lost,
    their later states being NaN.
    """

    states: Array
    f_calls: Array
    accepted: Array
    rejected: Array
    status: Array
    ended: Array

    def check(self) -> None:
        """Raises `Diverged` for the first trajectory that is not complete."""
        lost = np.flatnonzero(self.status)
        if len(lost) == 0:
            return
        t = float(self.ended[lost[0]])
        if self.status[lost[0]] == LOST_AT_START:
            raise Diverged(f"the start or its slope is not finite at t = {t:g}")
        raise Diverged(f"the step size fell below the spacing of numbers at t = {t:g}")


def compilable(equation: object, tableau: object) -> str:
    """Why `CompiledTrajectories` cannot solve an equation by a method; '' where it can."""
    if not isinstance(equation, Equation | MatrixEquation):
        return f"{type(equation).__name__} is no equation of symbols, component by component or with matrices"
    if not isinstance(tableau, Tableau) or not tableau.explicit:
        return "only explicit Runge-Kutta tableaux are compiled"
    if isinstance(equation, MatrixEquation):
        return _without_form((equation.pointwise,))
    return _reason(equation.state, equation.rhs, tuple(equation.parameters))


@lru_cache(maxsize=512)
def _without_form(expressions: tuple[Any, ...]) -> str:
    strange = unsupported(expressions)
    return f"{strange} has no compiled form" if strange else ""


@lru_cache(maxsize=512)
def _reason(state: tuple[Any, ...], rhs: tuple[Any, ...], parameters: tuple[Any, ...]) -> str:
    if not 1 <= len(state) <= LARGEST_DIMENSION:
        return f"dimension {len(state)} is not between 1 and {LARGEST_DIMENSION}"
    strange = _without_form(rhs)
    if strange:
        return strange
    free: set[Any] = set().union(*(sympy.sympify(e).free_symbols for e in rhs))
    unknown = sorted(str(s) for s in free - {TIME, *state, *parameters})
    return f"the right-hand side reads {', '.join(unknown)}" if unknown else ""


@final
class CompiledTrajectories:
    """An equation under an explicit tableau in a dtype, "float32" or "float64"; compiled at its first solution.

    Of a `MatrixEquation`, a column of zeros is skipped: where M has one, 0 g(y) counts as 0 even if g is not finite.
    Raises `UsageError` for what `compilable` gives a reason against.
    """

    def __init__(self, equation: Equation | MatrixEquation, tableau: Tableau, dtype: str) -> None:
        reason = compilable(equation, tableau)
        if reason:
            raise UsageError(f"{equation.name} under {tableau.name!r} cannot be compiled: {reason}.")
        machine.width(dtype)  # refuses other dtypes
        self.equation, self.tableau, self.dtype = equation, tableau, dtype
        self._matrices = MatrixTrajectories(equation, tableau, dtype) if isinstance(equation, MatrixEquation) else None
        self._parameters = np.array([*equation.parameters.values(), 0.0], dtype=dtype)

    def fixed(
        self, y0: Array, times: Sequence[float] | Array, every: Sequence[int] | Array | None = None, threads: int = 1
    ) -> Trajectories:
        """One step from each time to the next. y0: (batch, dimension) or (dimension,), which is a batch of one.

        every: indices of the times whose states are returned, increasing; all by default. Raises `UsageError` for
        times that do not increase, and for a y0 of another shape.
        """
        start, grid = self._start(y0), checked_grid(times)
        saved = np.concatenate([[0], np.arange(len(grid)) if every is None else np.asarray(every)]).astype(np.int64)
        if np.any(np.diff(saved) < 0) or saved[-1] >= len(grid):
            raise UsageError(f"the indices of {len(grid)} times must increase and be less than {len(grid)}.")
        batch, n = start.shape
        steps, zeros = np.full(batch, len(grid) - 1, dtype=np.int64), np.zeros(batch, dtype=np.int64)
        if self._matrices is not None:
            states, count = self._matrices.fixed(start, grid, saved[1:], ATTEMPTS, threads)
            return Trajectories(states, steps * count, steps, zeros, zeros, np.full(batch, grid[-1]))
        width = min(held(batch), machine.width(self.dtype) * _interleaved(n))
        code = self._code(width, False)
        (run,) = code.functions
        columns = _padded(start, width)
        stride, samples = columns.shape[1], len(saved) - 1
        out = np.empty((samples, n, stride), dtype=self.dtype)
        sizes = np.diff(grid)
        addresses = [address(a) for a in (saved, grid, sizes, self._parameters, columns, out)]

        def part(first: int, last: int) -> None:
            run(first, last, stride, samples, *addresses)

        spread(part, stride, width, threads)
        states = out[:, :, :batch].transpose(0, 2, 1)
        return Trajectories(states, steps * code.stages, steps, zeros, zeros, np.full(batch, grid[-1]))

    def adaptive(
        self,
        y0: Array,
        times: Sequence[float] | Array,
        rtol: float,
        atol: float,
        controller: str = "elementary",
        threads: int = 1,
    ) -> Trajectories:
        """Steps by the error estimate of the pair, for every trajectory by itself: as if solved one after another.

        y0: (batch, dimension) or (dimension,). States at all times, which are landed on. Raises `UsageError` for a
        tableau without embedded weights, tolerances that are none and times that do not increase; a lost trajectory
        has a status (`Trajectories.check`).
        """
        check_controller(controller)
        checked_pair(self.tableau, rtol, atol, "native")
        start, grid = self._start(y0), checked_grid(times)
        batch, n = start.shape
        if len(grid) < 2:
            zeros = np.zeros(batch, dtype=np.int64)
            return Trajectories(start[None], zeros, zeros, zeros, zeros, np.full(batch, grid[-1]))
        if self._matrices is not None:
            states, found, ended = self._matrices.adaptive(
                start, grid, (rtol, atol), controller == "pi", ATTEMPTS, threads
            )
            return _complete(states, found, ended)
        width = min(held(batch), 2 * machine.width("float64"))
        begin, proceed = self._code(width, True).functions
        columns = _padded(start, width)
        stride = columns.shape[1]
        out = np.full((len(grid), stride, n), np.nan, dtype=self.dtype)
        out[0] = columns.T
        reals, counts = np.zeros((len(REALS), stride)), np.zeros((len(COUNTS), stride), dtype=np.int64)
        arrays = np.concatenate([columns, np.zeros_like(columns)])
        tolerances = np.array([rtol, atol], dtype=self.dtype)
        shared = [address(a) for a in (grid, tolerances, self._parameters, reals, counts, arrays, out)]
        limit = max(1, ATTEMPTS * width // stride)
        chosen = int(controller == "pi")
        status = counts[COUNTS.index("status")]
        whole: Array = np.isfinite(columns)
        lost = None if whole.all() else np.any(~whole, axis=0)

        def part(first: int, last: int) -> None:
            begin(first, last, stride, len(grid), limit, chosen, *shared)
            if lost is not None:
                status[first:last][lost[first:last]] = LOST_AT_START
            while (status[first:last] == RUNNING).any():
                proceed(first, last, stride, len(grid), limit, chosen, *shared)

        spread(part, stride, width, threads)
        found = {name: counts[i, :batch] for i, name in enumerate(COUNTS)}
        return _complete(out[:, :batch], found, reals[0, :batch])

    def _start(self, y0: Array) -> Array:
        start = np.asarray(y0, dtype=self.dtype)
        start = start[None] if start.ndim == 1 else start
        if start.ndim != 2 or start.shape[1] != self.equation.dimension or len(start) == 0:
            expected = f"(batch, {self.equation.dimension})"
            raise UsageError(f"the start has shape {np.shape(y0)}: expected {expected} with at least one trajectory.")
        return start

    def _code(self, width: int, adaptive: bool) -> Code:
        equation, tableau = self.equation, self.tableau
        assert isinstance(equation, Equation)
        shape = (equation.state, equation.rhs, tuple(equation.parameters))
        key = ("lanes", shape, self.dtype, width, adaptive)
        return kept(tableau, key, lambda: _code(shape, tableau, self.dtype, width, adaptive))


def _complete(states: Array, counts: Mapping[str, Array], ended: Array) -> Trajectories:
    return Trajectories(states, counts["calls"], counts["accepted"], counts["rejected"], counts["status"], ended)


def _interleaved(dimension: int) -> int:
    """Groups of lanes that share instructions, so that one does not wait for its own results."""
    return 2 if dimension <= 8 else 1


def _code(shape: tuple[Any, ...], tableau: Tableau, dtype: str, width: int, adaptive: bool) -> Code:
    """What solves an equation of that state, right-hand side and parameters under a tableau."""
    state, rhs, parameters = shape
    method = stages(tableau, "numpy", embedded=adaptive)
    order = min(tableau.order, tableau.embedded_order or 0) if adaptive else 0
    problem = Problem(state, tuple(map(sympy.sympify, rhs)), parameters, method, Lanes(dtype, width), order)
    key = ("trajectories", adaptive, sympy.srepr((state, problem.rhs, parameters)), method, dtype, width, order)
    library = machine.load(key, lambda: adaptive_code(problem) if adaptive else fixed_code(problem))
    if adaptive:
        kinds = [*[ctypes.c_int64] * 6, *[ctypes.c_void_p] * 7]
        return Code((library.function("begin", kinds), library.function("proceed", kinds)), len(method))
    return Code((library.function("fixed", [*[ctypes.c_int64] * 4, *[ctypes.c_void_p] * 6]),), len(method))


def _padded(start: Array, width: int) -> Array:
    """(dimension, batch), the last trajectory repeated up to a multiple of the width."""
    batch = len(start)
    if batch % width == 0:
        return np.ascontiguousarray(start.T)
    chosen = np.minimum(np.arange(batch + -batch % width), batch - 1)
    return np.ascontiguousarray(start[chosen].T)
