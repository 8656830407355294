"""Read a tableau back out of a running backend: what it really steps, whatever it was told.

The field returns the j-th unit vector at its j-th call. From y0 = 0 with h = 1, the argument of stage i is then row i
of A, its time is c_i, and the result is b.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...suite.errors import UsageError
from ..step import active
from ..tableau import Tableau
from .base import Backend

Array = npt.NDArray[np.float64]


def recover(
    backend: Backend, tableau: Tableau, adaptive: bool = False, torch_state: bool = False
) -> tuple[Array, Array, Array]:
    """(A, b, c) in float64 of the stages that the mode evaluates: `step.active(tableau, embedded=adaptive)`, in order.

    adaptive: a problem on which every controller that starts as HNW II.4 does takes a single step of size 1; its second
    call belongs to the choice of that step, not to the method. Raises `UsageError` where the backend took other steps
    or made fewer calls than the tableau has stages.
    """
    kept = active(tableau, embedded=adaptive)
    size = len(kept) + 4
    arguments: list[Array] = []
    times: list[float] = []

    def field(t: Any, y: Any, drive: Any, weights: tuple[Any, ...]) -> Any:
        times.append(float(t))
        arguments.append(np.array(y[:size].tolist()))
        slope = y * 0
        slope[min(len(times) - 1, size - 1)] = 1.0
        return slope

    # one component more, large and at rest: it sets the scale of the first step and belongs to no stage
    y0: Any = np.append(np.zeros(size), 1e4)
    if torch_state:
        import torch

        y0 = torch.from_numpy(y0)
    if adaptive:
        solution = backend.adaptive(field, y0, [0.0, 1.0], tableau, rtol=1e-12, atol=1e3)
    else:
        solution = backend.fixed(field, y0, [0.0, 1.0], tableau)
    calls = [i for i in range(len(times)) if not (adaptive and i == 1)][: len(kept)]
    if (solution.accepted, solution.rejected) != (1, 0) or len(calls) < len(kept):
        raise UsageError(
            f"backend {backend.name!r} made {len(times)} calls in {solution.accepted} steps for one step of "
            f"{tableau.name!r}: expected one step and at least {len(kept)} calls."
        )
    A = np.stack([arguments[i][calls] for i in calls])
    return A, np.array(solution.states[-1][calls].tolist()), np.array([times[i] for i in calls])


def deviation(backend: Backend, tableau: Tableau, adaptive: bool = False, torch_state: bool = False) -> float:
    """The largest difference between a coefficient recovered and the one given, in units of max(1, |coefficient|)."""
    kept = list(active(tableau, embedded=adaptive))
    given = tableau.arrays
    pairs = zip(
        recover(backend, tableau, adaptive, torch_state),
        (given.A[kept][:, kept], given.b[kept], given.c[kept]),
        strict=True,
    )
    return max(float(np.max(np.abs(found - exact) / np.maximum(1, np.abs(exact)))) for found, exact in pairs)
