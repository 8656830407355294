"""Calls of the compiled code of a `MatrixEquation`: its matrices packed, its trajectories in groups of a few rows."""

from __future__ import annotations

import ctypes
from typing import Any, final

import numpy as np
import sympy

from ...suite.contracts import Array
from ...suite.matrix_equation import MatrixEquation
from ..step import stages
from ..tableau import Tableau
from . import calls, machine
from .calls import Code, address, held, spread, zeros
from .matrix_rollout import FIELD, MOST_ROWS, MatrixProblem, adaptive_code, fixed_code
from .step_control import COUNTS, LOST_AT_START, REALS, RUNNING
from .vector import Lanes


@final
class MatrixTrajectories:
    """The equation under an explicit tableau in a dtype, for starts (batch, dimension) that fit it.

    Columns of zeros in a matrix are skipped, and g where M has them.
    """

    def __init__(self, equation: MatrixEquation, tableau: Tableau, dtype: str) -> None:
        self.equation, self.tableau, self.dtype = equation, tableau, dtype
        self._parameters = np.array([*equation.parameters.values(), 0.0], dtype=dtype)

    def fixed(self, start: Array, grid: Array, kept: Array, limit: int, threads: int) -> tuple[Array, int]:
        """States (kept, batch, dimension) after so many steps each, from one time to the next, and stages of a step.

        kept: increasing int64; limit: of steps that all trajectories take in one call of compiled code.
        """
        batch, n = start.shape
        rows = min(held(batch), MOST_ROWS)
        problem, code = self._code(rows, False)
        (run,) = code.functions
        states = self._states(problem, start)
        stride, samples = len(states), len(kept)
        out = np.empty((samples, stride, n), dtype=self.dtype)
        begun = int(np.searchsorted(kept, 0, "right"))
        out[:begun] = states[:, :n]
        sizes, table = np.diff(grid), self._table(problem)
        steps = int(kept[-1]) if samples else 0
        most = max(1, limit * rows // (stride * n))

        def part(first: int, last: int) -> None:
            work = zeros((problem.scratch,), self.dtype)
            shared = [address(a) for a in (kept, sizes, table.fields, states, out, work)]
            for begin in range(0, steps, most):
                sample = int(np.searchsorted(kept, begin, "right"))
                run(first, last, stride, begin, min(begin + most, steps), sample, samples, *shared)

        spread(part, stride, rows, threads)
        return out[:, :batch], code.stages

    def adaptive(
        self, start: Array, grid: Array, tolerances: tuple[float, float], pi: bool, limit: int, threads: int
    ) -> tuple[Array, dict[str, Array], Array]:
        """States (times, batch, dimension), counts by name and last times of all trajectories, for two times or more.

        limit: of steps that all trajectories try in one call of compiled code.
        """
        batch, n = start.shape
        rows = min(held(batch), MOST_ROWS)
        problem, code = self._code(rows, True)
        begin, proceed = code.functions
        states = self._states(problem, start)
        stride = len(states)
        slopes = zeros((stride, problem.padded), self.dtype)
        out = np.full((len(grid), stride, n), np.nan, dtype=self.dtype)
        out[0] = states[:, :n]
        reals, counts = np.zeros((len(REALS), stride)), np.zeros((len(COUNTS), stride), dtype=np.int64)
        pair, table = np.array(tolerances, dtype=self.dtype), self._table(problem)
        most = max(1, limit * rows // (stride * n))
        status = counts[COUNTS.index("status")]
        lost: Array = np.any(~np.isfinite(states[:, :n]), axis=1)

        def part(first: int, last: int) -> None:
            work = zeros((problem.scratch,), self.dtype)
            arrays = (grid, pair, reals, counts, table.fields, states, slopes, out, work)
            shared = [address(a) for a in arrays]
            begin(first, last, stride, len(grid), most, int(pi), *shared)
            status[first:last][lost[first:last]] = LOST_AT_START
            while (status[first:last] == RUNNING).any():
                proceed(first, last, stride, len(grid), most, int(pi), *shared)

        spread(part, stride, rows, threads)
        return out[:, :batch], {name: counts[i, :batch] for i, name in enumerate(COUNTS)}, reals[0, :batch]

    def _states(self, problem: MatrixProblem, start: Array) -> Array:
        """Room for [y, g(y)] of every trajectory, the last repeated up to a multiple of the rows."""
        batch, n = start.shape
        states = zeros((batch + -batch % problem.rows, 2 * problem.padded), self.dtype)
        states[:batch, :n] = start
        states[batch:, :n] = start[-1]
        return states

    def _code(self, rows: int, adaptive: bool) -> tuple[MatrixProblem, Code]:
        equation, tableau = self.equation, self.tableau
        n, g, symbol = equation.dimension, sympy.sympify(equation.pointwise), equation.symbol
        names = tuple(equation.parameters)

        def make() -> tuple[MatrixProblem, Code]:
            lanes = Lanes(self.dtype, min(machine.width(self.dtype), held(n)))
            order = min(tableau.order, tableau.embedded_order or 0) if adaptive else 0
            method = stages(tableau, "numpy", embedded=adaptive)
            problem = MatrixProblem(g, symbol, names, n, method, lanes, rows, order)
            return problem, _compiled(problem, adaptive)

        return calls.kept(tableau, ("matrices", g, symbol, names, n, self.dtype, rows, adaptive), make)

    def _table(self, problem: MatrixProblem) -> _Table:
        equation, n, width = self.equation, problem.dimension, problem.lanes.width
        both = (equation.linear, equation.mixing)
        linear, mixing = (np.flatnonzero(a.any(axis=0)) for a in both)
        inner = len(linear) + len(mixing)
        inner += -inner % problem.ways
        matrix = np.zeros((inner, problem.padded), dtype=self.dtype)
        matrix[: len(linear), :n] = equation.linear.T[linear]
        matrix[len(linear) : len(linear) + len(mixing), :n] = equation.mixing.T[mixing]
        sources = np.zeros(inner, dtype=np.int64)
        sources[: len(linear)] = linear
        sources[len(linear) : len(linear) + len(mixing)] = problem.padded + mixing
        packed, first = zeros((inner * problem.padded,), self.dtype), 0
        for size in problem.panels:
            columns = slice(first * width, (first + size) * width)
            packed[inner * columns.start : inner * columns.stop].reshape(inner, size * width)[:] = matrix[:, columns]
            first += size
        constant = zeros((problem.padded,), self.dtype)
        constant[:n] = equation.constant
        places = np.unique(mixing // width) * width
        return _Table(inner, packed, sources, constant, len(places), places, self._parameters)


class _Table:
    """`matrix_rollout.FIELD`, and the arrays whose addresses stand in it."""

    def __init__(self, *values: Any) -> None:
        self.values = values
        numbers = [v if isinstance(v, int) else address(v) for v in values]
        self.fields = np.array(numbers, dtype=np.int64)
        assert len(numbers) == len(FIELD)


def _compiled(problem: MatrixProblem, adaptive: bool) -> Code:
    names = sympy.srepr((problem.pointwise, problem.symbol, problem.parameters))
    key = ("matrix trajectories", adaptive, names, problem.dimension, problem.stages, problem.lanes, problem.rows,
           problem.order)  # fmt: skip
    library = machine.load(key, lambda: adaptive_code(problem) if adaptive else fixed_code(problem))
    if adaptive:
        kinds = [*[ctypes.c_int64] * 6, *[ctypes.c_void_p] * 9]
        functions = tuple(library.function(name, kinds) for name in ("begin", "proceed"))
    else:
        functions = (library.function("fixed", [*[ctypes.c_int64] * 7, *[ctypes.c_void_p] * 6]),)
    return Code(functions, len(problem.stages))
