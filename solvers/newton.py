"""Newton's method for z = g(z), for a batch of systems at once, in NumPy or torch.

Hairer, Wanner, *Solving Ordinary Differential Equations II* (2nd ed., 1996), section IV.8: simplified iterations with
one matrix, stopped by the contraction that they show (8.10). Where they contract slowly or not at all, the matrix is
taken anew at every iterate.

Longer than most files: the iteration and the linear algebra of both libraries that it needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..suite.errors import Diverged

LIMIT = 60
"""Iterations, simplified and full ones together, after which a solution is given up."""
PATIENCE = 8
"""More simplified iterations than these still to come, by the contraction so far: the matrix is taken anew."""
TOLERANCE = 4.0
"""In units of the dtype's epsilon, relative to the state: the error at which iterations stop."""

SAFETY = 100.0
"""How much smaller than the tolerance the error that the contraction predicts must be."""

SHARE = 0.003
"""Of the error that a step with a tolerance may make, what the iterations may leave: kappa of (8.10), a tenth of
the usual value, so that what they leave does not reject steps."""

Solve: TypeAlias = Callable[[Any], Any]
"""Right-hand sides (N, m) -> solutions (N, m)."""


class Algebra(Protocol):
    """The few operations in which NumPy and torch differ; vectors (N, m), matrices (N, m, m)."""

    def eye(self, size: int, like: Any) -> Any: ...
    def zeros(self, shape: tuple[int, ...], like: Any) -> Any: ...
    def join(self, parts: list[Any], axis: int) -> Any: ...
    def where(self, condition: Any, x: Any, y: Any) -> Any: ...
    def largest(self, x: Any) -> Any: ...
    def maximum(self, x: Any, y: Any) -> Any: ...
    def finite(self, x: Any) -> bool: ...
    def factor(self, matrix: Any) -> Solve | None:
        """A solver with this matrix, None where it is singular."""

    def singular(self, matrix: Any) -> int:
        """The first of the matrices (N, m, m) that is singular."""


class NumpyAlgebra:
    """The inverse stands for a factorisation: NumPy has no batched one, and the iteration corrects its rounding."""

    def eye(self, size: int, like: Any) -> Any:
        return np.eye(size, dtype=like.dtype)

    def zeros(self, shape: tuple[int, ...], like: Any) -> Any:
        return np.zeros(shape, dtype=like.dtype)

    def join(self, parts: list[Any], axis: int) -> Any:
        return np.concatenate(parts, axis=axis)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        return np.where(condition, x, y)

    def largest(self, x: Any) -> Any:
        return np.abs(x).max(-1)

    def maximum(self, x: Any, y: Any) -> Any:
        return np.maximum(x, y)

    def finite(self, x: Any) -> bool:
        return bool(np.isfinite(x).all())

    def factor(self, matrix: Any) -> Solve | None:
        try:
            inverse = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            return None
        return lambda rhs: (inverse @ rhs[..., None])[..., 0]

    def singular(self, matrix: Any) -> int:
        return next((n for n in range(len(matrix)) if self.factor(matrix[n : n + 1]) is None), 0)


class TorchAlgebra:
    """Batched LU factorisation on the state's device."""

    def eye(self, size: int, like: Any) -> Any:
        import torch

        return torch.eye(size, dtype=like.dtype, device=like.device)

    def zeros(self, shape: tuple[int, ...], like: Any) -> Any:
        return like.new_zeros(shape)

    def join(self, parts: list[Any], axis: int) -> Any:
        import torch

        return torch.cat(parts, dim=axis)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        return x.where(condition, y)

    def largest(self, x: Any) -> Any:
        return x.abs().amax(-1)

    def maximum(self, x: Any, y: Any) -> Any:
        return x.maximum(y)

    def finite(self, x: Any) -> bool:
        return bool(x.isfinite().all())

    def factor(self, matrix: Any) -> Solve | None:
        import torch

        factors, pivots, info = torch.linalg.lu_factor_ex(matrix)
        if bool((info != 0).any()):
            return None
        return lambda rhs: torch.linalg.lu_solve(factors, pivots, rhs.unsqueeze(-1)).squeeze(-1)

    def singular(self, matrix: Any) -> int:
        import torch

        return int(torch.linalg.lu_factor_ex(matrix).info.ne(0).int().argmax())


@dataclass
class Count:
    """Work done so far: Newton iterations and factorisations of their matrices (a batch counts once)."""

    iterations: int = 0
    factorizations: int = 0


@dataclass(frozen=True)
class System:
    """z = g(z), (N, m), where base + z are the stage values.

    matrix(z): I - g'(z), (N, m, m). near: the size of the state, (N,). offset: the part of g that does not depend on z,
    (N, m). simplified: the factorised matrix at the start of the step, None where it is singular. rtol, atol: of a
    step whose error is allowed to be atol + rtol |base + z|; both 0: the solution is wanted to rounding.
    """

    g: Callable[[Any], Any]
    matrix: Callable[[Any], Any]
    base: Any
    offset: Any
    near: Any
    simplified: Solve | None
    rtol: float = 0.0
    atol: float = 0.0


def solve(system: System, algebra: Algebra, eps: float, count: Count) -> Any:
    """The solution z, found from z = 0.

    A system of the batch that has converged is left alone, so that it does not depend on its neighbours. Iterations end
    where the expected error falls under TOLERANCE eps of the state (with a tolerance: under SHARE of it, in every
    component), or where they stand still at the level of rounding. Raises `Diverged`, with the reason and the first
    member of the batch that it holds for, where they do not end, leave the finite numbers or meet a singular matrix.
    """
    base, near = system.base, system.near
    loose = system.rtol > 0 or system.atol > 0
    tolerance, safety = (SHARE, 1.0) if loose else (TOLERANCE * eps, SAFETY)
    noise = (4096 if eps < 1e-3 else 64) * eps
    tiny = float(np.finfo(np.float32).tiny)
    whole = algebra.largest(system.offset)
    start = abs(base)
    z = algebra.zeros(tuple(base.shape), base)
    step, fresh = system.simplified, False
    done: Any = None
    previous: Any = None
    worst, update_left, residual = math.nan, math.nan, math.nan
    for iteration in range(1, LIMIT + 1):
        if step is None:
            bad = algebra.singular(system.matrix(z if fresh else None))
            raise Diverged(
                f"the matrix of Newton's method is singular after {iteration - 1} iterations{_member(bad, base)}"
            )
        rest = system.g(z) - z
        update = step(rest)
        count.iterations += 1
        if done is not None:
            update = algebra.where(done[:, None], algebra.zeros((1, 1), base), update)
        z = z + update
        size = algebra.maximum(near, algebra.largest(base + z)) + tiny
        relative = algebra.largest(update) / size
        if not algebra.finite(relative):
            raise Diverged(
                f"Newton's method left the finite numbers in iteration {iteration}"
                f"{_member(_first(~(relative < math.inf)), base)}"
            )
        error = relative
        small = relative <= TOLERANCE * eps
        if loose:
            allowed = algebra.maximum(start, abs(base + z)) * system.rtol + (system.atol + tiny)
            error = algebra.largest(update / allowed)
            small = small | (error <= tolerance)
        if previous is not None:
            rate = error / (previous + tiny)
            small = small | ((rate < 1) & (safety * error * rate <= tolerance * (1 - rate)))
            rounding = noise * algebra.maximum(size, algebra.maximum(whole, algebra.largest(z)))
            small = small | ((rate > 0.5) & (relative * size <= rounding))
        done = small if done is None else done | small
        if bool(done.all()):
            return z
        worst = float(error[~done].max())
        update_left = float(relative[~done].max())
        residual = float((algebra.largest(rest) / size)[~done].max())
        if previous is not None and not fresh:
            slowest = float(rate[~done].max())
            if slowest >= 1:
                z = algebra.where(done[:, None], z, algebra.zeros((1, 1), base))
                fresh = True
            elif iteration > 2 and math.log(tolerance / worst) < PATIENCE * math.log(slowest):
                fresh = True
        previous = error
        if fresh:
            step = algebra.factor(system.matrix(z))
            count.factorizations += 1
    raise Diverged(
        f"Newton's method did not converge in {LIMIT} iterations: relative update {update_left:.2g}, "
        f"residual {residual:.2g}{_member(_first(~done), base)}"
    )


def _first(bad: Any) -> int:
    """Where a vector of truth values is first true."""
    return next((n for n, value in enumerate(bad.tolist()) if value), 0)


def _member(index: int, base: Any) -> str:
    """Which system of the batch, for a sentence; nothing for a single one."""
    return f" (member {index} of a batch of {base.shape[0]})" if base.shape[0] > 1 else ""
