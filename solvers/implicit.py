"""One step of an implicit or partitioned Runge-Kutta method, and its gradient by the implicit function theorem.

The coupled stage values Y_i = y + h sum_j a_ij f(Y_j) are solved for the increments Z = Y - y, which
keeps the rounding of stiff components small (Hairer, Wanner, *Solving Ordinary Differential Equations II*, 2nd ed.,
1996, section IV.8, eq. 8.2); slopes follow as K = A^-1 Z / h (8.3). In what order, and which together:
`solvers.schedule`.

In torch the iterations build no graph. Of Z = G(Z, theta) the gradient is dZ = (I - G_Z)^-1 G_theta dtheta: the graph
of one evaluation of each slope at the solution, and one transposed solve with the Jacobian there, taken in the backward
pass. Memory does not grow with the iterations. It is a first derivative; a second one is refused.

Longer than most files: a problem's layout, a step's equations and their adjoint share one set of names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, TypeAlias

import numpy as np

from ..suite.errors import Diverged, UsageError
from .backends.base import BlockField, JacobianField
from .backends.common import Rate
from .newton import Algebra, Count, NumpyAlgebra, Solve, System, TorchAlgebra, solve
from .schedule import FloatRow, Group, Node, Schedule

Blocks: TypeAlias = Sequence[Any]
"""The state's blocks, side by side along its last axis; or the state alone."""


class Problem:
    """A field with a state of known shape: its slopes by block, its Jacobian, and vectors (N, m) for linear algebra.

    With a `JacobianField`, N counts the batch and blocks are vectors; otherwise the whole state is one vector, N = 1,
    and the Jacobian comes from automatic (torch) or finite differences (NumPy). Complex states are vectors of real
    pairs. Linear algebra of 16-bit states is in float32. jacobian_calls: Jacobians evaluated in forward passes. rtol,
    atol: the tolerance of a step, of which stage equations may use a small part; 0: they are solved to rounding.
    """

    def __init__(self, rate: Rate, y0: Any, numpy: bool, blocks: int = 1, rtol: float = 0.0, atol: float = 0.0) -> None:
        self.rate, self.numpy, self.blocks = rate, numpy, blocks
        self.algebra: Algebra = NumpyAlgebra() if numpy else TorchAlgebra()
        self.count = Count()
        self.jacobian_calls = 0
        self.rtol, self.atol = rtol, atol
        self._start: tuple[Any, Any, float, Any] | None = None
        shape = tuple(y0.shape)
        self.shape = shape if blocks == 1 else (*shape[:-1], shape[-1] // blocks)
        self.dtype = y0.dtype
        self.complex = np.iscomplexobj(y0) if numpy else y0.is_complex()
        field = rate.field
        self._exact = field if isinstance(field, JacobianField) and shape and not self.complex else None
        self._by_block = field if blocks > 1 and isinstance(field, BlockField) else None
        self._rows = prod(shape[:-1]) if self._exact is not None else 1
        if numpy:
            self.eps = float(np.finfo(y0.dtype).eps)
        else:
            import torch

            self.eps = torch.finfo(y0.dtype).eps

    # ------------------------------------------------------------------------------------------------- blocks, vectors

    def split(self, y: Any) -> list[Any]:
        """The blocks of a state."""
        if self.blocks == 1:
            return [y]
        return list(np.split(y, self.blocks, axis=-1) if self.numpy else y.chunk(self.blocks, -1))

    def joined(self, blocks: Blocks) -> Any:
        """The state of these blocks."""
        return blocks[0] if self.blocks == 1 else self.algebra.join(list(blocks), -1)

    def vector(self, block: Any) -> Any:
        """A block as (N, m), at least in float32."""
        if self.numpy:
            real = np.stack([block.real, block.imag], -1) if self.complex else block
            flat = real.reshape(self._rows, -1)
            return flat if flat.dtype.itemsize >= 4 else flat.astype(np.float32)
        if self.complex:
            import torch

            block = torch.view_as_real(block.resolve_conj())
        flat = block.reshape(self._rows, -1)
        return flat if flat.dtype.itemsize >= 4 else flat.float()

    def block(self, vector: Any) -> Any:
        """The block of a vector (N, m)."""
        if self.numpy:
            if self.complex:
                pairs = vector.reshape(*self.shape, 2)
                return (pairs[..., 0] + 1j * pairs[..., 1]).astype(self.dtype, copy=False)
            return vector.reshape(self.shape).astype(self.dtype, copy=False)
        if self.complex:
            import torch

            return torch.view_as_complex(vector.reshape(*self.shape, 2).contiguous())
        return vector.reshape(self.shape).to(self.dtype)

    # ------------------------------------------------------------------------------------------------ slopes, Jacobian

    def slopes(self, wanted: tuple[int, ...], blocks: Blocks, t: Any, memo: dict[Any, Any], count: bool) -> list[Any]:
        """The slopes of some blocks, from a field that gives them one by one or from the whole field.

        count: whether an evaluation by blocks is to be counted; the whole field counts its own.
        """
        if self._by_block is None:
            found = self.split(self.rate(t, self.joined(blocks)))
            return [found[k] for k in wanted]
        self.rate.calls += count
        return list(self._by_block.slopes(wanted, blocks, self.rate.drive, self.rate.weights, memo, t))

    def jacobian(self, blocks: Blocks, t: Any) -> Any:
        """df/dy (N, D, D), without a graph; finite differences count as evaluations of the field."""
        self.jacobian_calls += 1
        return self.jacobian_of(self.rate, blocks, t, self.rate.drive, self.rate.weights)

    def jacobian_at_start(self, y: Any, blocks: Blocks, t: float) -> Any:
        """`jacobian` at the start of a step; where the step before was rejected, the one found for it."""
        drive = self.rate.drive
        if self._start is None or self._start[0] is not y or self._start[1] is not drive or self._start[2] != t:
            self._start = (y, drive, t, self.jacobian(blocks, t))
        return self._start[3]

    def jacobian_of(
        self, f: Callable[[Any, Any], Any], blocks: Blocks, t: Any, drive: Any, weights: tuple[Any, ...]
    ) -> Any:
        """`jacobian` with everything given, not counted."""
        if self._exact is not None:
            J = self._exact.jacobian(self.joined(blocks), drive, weights, t)
            size = self.blocks * self.shape[-1]
            J = J.reshape(self._rows, size, size)
            if not self.numpy:
                J = J.detach()
                return J if J.dtype.itemsize >= 4 else J.float()
            return J
        y = self.algebra.join([self.vector(b) for b in blocks], -1)
        width = y.shape[-1] // self.blocks

        def flat(y: Any) -> Any:
            parts = [self.block(y[..., k * width : (k + 1) * width]) for k in range(self.blocks)]
            slopes = self.split(f(t, self.joined(parts)))
            return self.algebra.join([self.vector(k) for k in slopes], -1)

        if not self.numpy:
            import torch

            J = torch.autograd.functional.jacobian(lambda v: flat(v[None])[0], y[0].detach())
            return J.detach()[None]
        # forward differences (HW IV.8): the square root of the rounding error of y, component by component
        largest = float(np.abs(y).max()) or 1.0
        delta = np.sqrt(np.finfo(y.dtype).eps) * np.maximum(np.abs(y[0]), 1e-3 * largest)
        at, columns = flat(y)[0], []
        for j in range(y.shape[-1]):
            moved = y.copy()
            moved[0, j] += delta[j]
            columns.append((flat(moved)[0] - at) / (moved[0, j] - y[0, j]))
        return np.stack(columns, -1)[None]

    # -------------------------------------------------------------------------------------------------------- gradient

    def quiet(self) -> AbstractContextManager[Any]:
        """Inside, no graph is built."""
        if self.numpy:
            return nullcontext()
        import torch

        return torch.no_grad()

    def tracked(self, values: Sequence[Any]) -> bool:
        """Whether a gradient is wanted of one of the given values, or of the drive or the weights."""
        if not self.recording:
            return False
        import torch

        given = (*values, self.rate.drive, *self.rate.weights)
        return any(isinstance(x, torch.Tensor) and x.requires_grad for x in given)

    @property
    def recording(self) -> bool:
        """Whether gradients are recorded where this is asked."""
        if self.numpy:
            return False
        import torch

        return torch.is_grad_enabled()

    def watched(self, g: Callable[[Any], Any], z: Any) -> tuple[Any, bool]:
        """g(z) without its graph, and whether it had one: of a tensor that the function itself holds."""
        import torch

        with torch.enable_grad():
            value = g(z)
        return value.detach(), value.requires_grad


@dataclass(frozen=True)
class Step:
    """A step made: the new state; of a pair the estimated error, and the slope at the new state where a stage is it.

    error: h sum_i (b_i - b_hat_i) k_i, or for a plan that is `filtered` (I - gamma h J)^-1 times it, without a graph.
    """

    y: Any
    error: Any = None
    last: Any = None


def advance_step(problem: Problem, plan: Schedule, t: float, y: Any, h: float, where: str = "") -> Step:
    """One step.

    Evaluations: every call of the whole field counts one. A field that gives slopes by block counts one for each
    stage at which some slope is evaluated, and one for each such stage in each Newton iteration: two for the LSTM's
    pair and for Stormer-Verlet. Where a gradient is wanted, the slopes of solved stages are evaluated once more at the
    solution; the backward pass is not counted. Raises `Diverged` where the stage equations are not solved; `where` ends
    the sentence.
    """
    if not plan.explicit and 0 in y.shape:
        return Step(y, y)
    return _Step(problem, plan, t, y, h, where).run()


class _Step:
    """What is known so far within one step."""

    def __init__(self, problem: Problem, plan: Schedule, t: float, y: Any, h: float, where: str) -> None:
        self.problem, self.plan, self.t, self.h, self.where = problem, plan, t, h, where
        self.y = y
        self.start = problem.split(y)
        self.slopes: dict[Node, Any] = {}
        self.values: dict[tuple[int, FloatRow], Any] = {(k, ()): b for k, b in enumerate(self.start)}
        self.memo: dict[Any, Any] = {}
        self.counted: set[int] = set()
        self.simplified: dict[Any, Solve | None] = {}
        self.at_start: Any = None

    def run(self) -> Step:
        plan, problem = self.plan, self.problem
        for group in plan.groups:
            if group.unknown:
                self.couple(group)
            else:
                ((stage, c, wanted),) = group.calls
                found = problem.slopes(
                    wanted, self.stage(stage, wanted), self.time(c), self.memo, stage not in self.counted
                )
                self.counted.add(stage)
                self.slopes.update({(stage, k): slope for k, slope in zip(wanted, found, strict=True)})
        new = problem.joined([self.value(k, row) for k, row in enumerate(plan.weights)])
        if not plan.error:
            return Step(new)
        nothing = [b * 0 for b in self.start]
        error = problem.joined([self.shifted(nothing[k], k, row) for k, row in enumerate(plan.error)])
        if plan.filtered:
            # its stages share one matrix, so one was factorised
            (damp,) = self.simplified.values()
            with problem.quiet():
                error = error if damp is None else problem.block(damp(problem.vector(error)))
        # the recovered slope: the field itself would magnify the rounding of stiff components
        return Step(new, error, None if plan.closing is None else self.slopes[(plan.closing, 0)])

    def time(self, c: float) -> float:
        return self.t + c * self.h if c else self.t

    def shifted(self, value: Any, block: int, row: FloatRow) -> Any:
        for j, a in row:
            slope = self.slopes[(j, block)]
            value = value + slope * (a * self.h) if self.problem.numpy else value.add(slope, alpha=a * self.h)
        return value

    def value(self, block: int, row: FloatRow) -> Any:
        """y + h sum_j row_j k_j of one block; equal rows give the same object, so that the last stage may be y+."""
        key = (block, row)
        if key not in self.values:
            self.values[key] = self.shifted(self.start[block], block, row)
        return self.values[key]

    def stage(self, stage: int, wanted: tuple[int, ...]) -> list[Any]:
        """The arguments of a slope; a block that it does not read stays as it was at the start of the step."""
        needed = set().union(*(self.plan.reads[k] for k in wanted))
        rows = self.plan.rows
        return [self.value(q, rows[q][stage]) if q in needed else b for q, b in enumerate(self.start)]

    # ------------------------------------------------------------------------------------------------------- equations

    def couple(self, group: Group) -> None:
        """Solve the equations of a group: its stage values and its slopes become known."""
        problem, plan, h = self.problem, self.plan, self.h
        vector, algebra = problem.vector, problem.algebra
        # increments from y itself: earlier slopes may be large and cancel (explicit first stages on stiff fields)
        bases = [self.start[q] for _, q in group.unknown]
        offsets = [
            vector(self.shifted(b * 0, q, row))
            for b, (_, q), row in zip(bases, group.unknown, group.outer, strict=True)
        ]
        fixed = {
            (i, q): self.value(q, plan.rows[q][i])
            for i, _, wanted in group.calls
            for q in set().union(*(plan.reads[k] for k in wanted))
            if (i, q) not in group.unknown
        }
        width = vector(bases[0]).shape[-1]

        def arguments(stage: int, increments: Sequence[Any]) -> list[Any]:
            values = {n: b + z for n, b, z in zip(group.unknown, bases, increments, strict=True)} | fixed
            return [values.get((stage, q), b) for q, b in enumerate(self.start)]

        def increments(z: Any) -> list[Any]:
            return [problem.block(z[..., n * width : (n + 1) * width]) for n in range(len(group.unknown))]

        def evaluated(parts: Sequence[Any]) -> dict[Node, Any]:
            found: dict[Node, Any] = {}
            for stage, c, wanted in group.calls:
                new = problem.slopes(wanted, arguments(stage, parts), self.time(c), {}, True)
                found.update({(stage, k): slope for k, slope in zip(wanted, new, strict=True)})
            return found

        def combined(found: dict[Node, Any]) -> Any:
            return algebra.join(
                [
                    sum((vector(found[(j, q)]) * (a * h) for j, a in row), offset)
                    for (_, q), row, offset in zip(group.unknown, group.inner, offsets, strict=True)
                ],
                -1,
            )

        def matrix(z: Any) -> Any:
            if z is None:
                if self.at_start is None:
                    self.at_start = problem.jacobian_at_start(self.y, self.start, self.t)
                return newton_matrix(group, plan, h, lambda node: self.at_start, algebra)
            parts = increments(z)
            found = {
                (i, k): J
                for i, c, wanted in group.calls
                for J in (problem.jacobian(arguments(i, parts), self.time(c)),)
                for k in wanted
            }
            return newton_matrix(group, plan, h, found.__getitem__, algebra)

        attached = problem.tracked([*bases, *offsets, *fixed.values()])
        watching = problem.recording and not attached

        def g(z: Any) -> Any:
            nonlocal attached, watching
            if not watching:
                return combined(evaluated(increments(z)))
            watching = False
            value, attached = problem.watched(lambda z: combined(evaluated(increments(z))), z)
            return value

        with problem.quiet():
            key = _pattern(group)
            if key not in self.simplified:
                self.simplified[key] = algebra.factor(matrix(None))
                problem.count.factorizations += 1
            system = System(
                g=g,
                matrix=matrix,
                base=algebra.join([vector(b) for b in bases], -1),
                offset=algebra.join(offsets, -1),
                near=algebra.largest(vector_of_all(problem, self.start)),
                simplified=self.simplified[key],
                rtol=problem.rtol,
                atol=problem.atol,
            )
            try:
                z = solve(system, algebra, problem.eps, problem.count)
            except Diverged as error:
                raise Diverged(f"{error}{self.where}") from None
        parts = increments(z)
        if attached:
            z = _implicit_function().apply(combined(evaluated(parts)), z, _adjoint(self, group, parts, arguments))
            parts = increments(z)
        for (i, q), base, part in zip(group.unknown, bases, parts, strict=True):
            self.values[(q, plan.rows[q][i])] = base + part
        if group.recover is None:
            self.slopes.update(evaluated(parts))
            return
        for node, row in group.recover:
            vectors = [(z[..., n * width : (n + 1) * width] - offsets[n]) * (r / h) for n, r in row]
            self.slopes[node] = problem.block(sum(vectors[1:], vectors[0]))


def vector_of_all(problem: Problem, blocks: Blocks) -> Any:
    """All blocks as one vector (N, D)."""
    return problem.algebra.join([problem.vector(b) for b in blocks], -1)


def newton_matrix(group: Group, plan: Schedule, h: float, jacobian: Callable[[Node], Any], algebra: Algebra) -> Any:
    """I - h (a_ij df/dy(Y_j)) for the unknowns of a group, (N, m, m).

    jacobian((j, q)): df/dy (N, D, D) where the slope of block q at stage j is evaluated; only rows of block q are read.
    """
    rows = []
    for (_, q), coefficients in zip(group.unknown, group.inner, strict=True):
        row: list[Any] = []
        inner = dict(coefficients)
        like = jacobian((coefficients[0][0], q))
        width = like.shape[-1] // plan.blocks
        for stage, r in group.unknown:
            if stage in inner and r in plan.reads[q]:
                J = jacobian((stage, q))
                row.append(J[..., q * width : (q + 1) * width, r * width : (r + 1) * width] * (-h * inner[stage]))
            else:
                row.append(algebra.zeros((like.shape[0], width, width), like))
        rows.append(row[0] if len(row) == 1 else algebra.join(row, -1))
    whole = rows[0] if len(rows) == 1 else algebra.join(rows, -2)
    return whole + algebra.eye(whole.shape[-1], whole)


def _pattern(group: Group) -> Any:
    """What the matrix at the start of the step depends on: equal for the stages of an SDIRK method."""
    place = {stage: n for n, stage in enumerate(sorted({i for i, _, _ in group.calls}))}
    rows = tuple(tuple((place[j], a) for j, a in row) for row in group.inner)
    return tuple((place[i], q) for i, q in group.unknown), rows


def _adjoint(
    step: _Step, group: Group, parts: Sequence[Any], arguments: Callable[[int, Sequence[Any]], list[Any]]
) -> Callable[[], Any]:
    """The matrix I - G_Z at the solution, to be taken in the backward pass; it keeps the stage values, no matrix."""
    import torch

    problem, plan, h = step.problem, step.plan, step.h
    drive, weights, field = problem.rate.drive, problem.rate.weights, problem.rate.field
    calls = [(i, step.time(c), wanted, [b.detach() for b in arguments(i, parts)]) for i, c, wanted in group.calls]

    def matrix() -> Any:
        def f(t: Any, y: Any) -> Any:
            return field(t, y, drive, weights)

        with torch.no_grad():
            found = {
                (i, k): J
                for i, t, wanted, values in calls
                for J in (problem.jacobian_of(f, values, t, drive, weights),)
                for k in wanted
            }
            return newton_matrix(group, plan, h, found.__getitem__, problem.algebra)

    return matrix


@lru_cache(maxsize=1)
def _implicit_function() -> Any:
    """(r, z, matrix) -> z, whose gradient is that of z = r(z): through r, by a transposed solve."""
    import torch

    class OnceOnly(torch.autograd.Function):
        """v, which depends on the solution in a way that has no graph; r stands for all that it depends on."""

        @staticmethod
        def forward(ctx: Any, v: Any, r: Any) -> Any:
            return v.clone()

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            raise UsageError(
                "the gradient of an implicit method has no second derivative: expected an explicit method."
            )

    class ImplicitFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, r: Any, z: Any, matrix: Callable[[], Any]) -> Any:
            ctx.save_for_backward(r)
            ctx.matrix = matrix
            return z.clone()

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (r,) = ctx.saved_tensors
            with torch.no_grad():
                v = torch.linalg.solve(ctx.matrix().mT, grad.unsqueeze(-1)).squeeze(-1)
            once: Any = OnceOnly
            return once.apply(v, r), None, None

    return ImplicitFunction
