"""What every backend does alike: the checks of its arguments, the counting of evaluations, the check of its result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ...suite.errors import Diverged, UsageError
from ..adaptive import check_controller
from ..partitioned_tableau import PartitionedTableau
from ..splitting import Splitting
from ..tableau import Tableau
from ..tableaux import TABLEAUX, Method
from .base import Field, State


@final
class Rate:
    """f(t, y) with the drive and the weights bound, counting its calls: the one place where evaluations are counted."""

    def __init__(self, field: Field, weights: tuple[Any, ...], drive: Any = None) -> None:
        self.field, self.weights, self.drive, self.calls = field, weights, drive, 0

    def __call__(self, t: Any, y: State) -> State:
        self.calls += 1
        return self.field(t, y, self.drive, self.weights)


def is_numpy(y: State) -> bool:
    """True for NumPy states, False for torch tensors. Raises `UsageError` for anything else."""
    if isinstance(y, np.ndarray | np.generic):
        return True
    import torch

    if not isinstance(y, torch.Tensor):
        raise UsageError(f"the state is a {type(y).__name__}: expected a NumPy array or a torch tensor.")
    return False


def checked_times(times: Sequence[float], drives: Sequence[Any] | None) -> list[float]:
    """The times as Python floats. Raises `UsageError` unless they increase strictly and each interval has its drive."""
    grid = [float(t) for t in times]
    if not grid:
        raise UsageError("no times were given: expected at least one.")
    array = np.array(grid)  # a compiled solution may take no longer than a loop over its times
    if not np.isfinite(array).all():
        raise UsageError("the times hold a value that is not finite: expected finite, strictly increasing times.")
    stuck = np.flatnonzero(array[1:] <= array[:-1])
    if len(stuck):
        i = int(stuck[0])
        raise UsageError(
            f"times[{i + 1}] = {grid[i + 1]:g} does not follow times[{i}] = {grid[i]:g}: "
            "expected strictly increasing times."
        )
    if drives is not None and len(drives) != len(grid) - 1:
        raise UsageError(
            f"{len(drives)} drives for {len(grid)} times: expected one for each interval, {len(grid) - 1}."
        )
    return grid


def checked_grid(times: Any) -> npt.NDArray[np.float64]:
    """`checked_times` of an array or a sequence, as a new float64 array; no loop over times that are right."""
    grid = np.array(times, dtype=np.float64)
    if grid.ndim != 1:
        raise UsageError(f"the times have shape {grid.shape}: expected one time after another, (times,).")
    right = len(grid) > 0 and math.isfinite(grid[0]) and math.isfinite(grid[-1])
    if not right or not (grid[1:] > grid[:-1]).all():
        checked_times(grid.tolist(), None)
    return grid


def listed(drives: Any, count: int) -> list[Any]:
    """One drive an interval. A tensor is unbound at once: indexing would cost its size again in each backward step."""
    if drives is None:
        return [None] * count
    if isinstance(drives, list | tuple | np.ndarray):
        return list(drives)
    import torch

    return list(drives.unbind(0)) if isinstance(drives, torch.Tensor) else list(drives)


def check_explicit(tableau: Method, backend: str) -> Tableau:
    """The tableau itself. Raises `UsageError` for anything but an explicit `Tableau`."""
    if isinstance(tableau, Tableau) and tableau.explicit:
        return tableau
    kind = {PartitionedTableau: "partitioned tableau", Splitting: "splitting"}.get(type(tableau), "implicit tableau")
    raise UsageError(
        f"backend {backend!r} cannot step the {kind} {tableau.name!r}: "
        "expected an explicit tableau, such as 'rk4', or backend 'native'."
    )


def check_embedded(tableau: Method, rtol: float, atol: float, backend: str) -> int:
    """The order of `checked_pair`."""
    return checked_pair(tableau, rtol, atol, backend)[1]


def checked_pair(tableau: Method, rtol: float, atol: float, backend: str) -> tuple[Tableau, int]:
    """The pair, and the order q of its error estimate, the smaller of both: the error of a step is O(h^(q + 1)).

    Raises `UsageError` for anything but a tableau with embedded weights, an explicit one where the backend is not
    "native", or for tolerances that are no tolerances.
    """
    native = backend == "native"
    if not native:
        check_explicit(tableau, backend)
    if not isinstance(tableau, Tableau) or tableau.b_hat is None or tableau.embedded_order is None:
        pairs = ", ".join(
            sorted(name for name, t in TABLEAUX.items() if (t.explicit or native) and t.b_hat is not None)
        )
        kind = "tableau" if isinstance(tableau, Tableau) else "method"
        raise UsageError(
            f"{kind} {tableau.name!r} has no embedded weights to choose steps by: expected one of {pairs}."
        )
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{name} = {value} is not a tolerance: expected a finite number of at least 0.")
    if rtol == 0 and atol == 0:
        raise UsageError("rtol and atol are both 0: expected at least one of them positive.")
    return tableau, min(tableau.order, tableau.embedded_order)


def check_own_control(controller: str, dense: bool, backend: str) -> None:
    """For a library that controls its steps itself. Raises `UsageError` for another controller and for dense output."""
    check_controller(controller)
    if controller != "elementary":
        raise UsageError(
            f"backend {backend!r} has no controller {controller!r}: expected 'elementary', or backend 'native'."
        )
    if dense:
        raise UsageError(
            f"backend {backend!r} has no dense output of the method's order: expected dense = False, or backend "
            "'native'."
        )


def same_drive(a: Any, b: Any) -> bool:
    """Whether nothing jumps from one drive to the next: one object, or equal values that no gradient tells apart."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic | float | int):
        return bool(np.array_equal(a, b))
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same_drive(x, y) for x, y in zip(a, b, strict=True))
    import torch

    if isinstance(a, torch.Tensor):
        return not (a.requires_grad or b.requires_grad) and a.shape == b.shape and torch.equal(a, b)
    return False


def all_finite(y: State) -> bool:
    """No NaN and no infinity in y."""
    if isinstance(y, np.ndarray | np.generic):
        return bool(np.isfinite(y).all())
    import torch

    return bool(torch.isfinite(y).all())


def check_finite(states: Any, times: Sequence[float], backend: str) -> None:
    """Raises `Diverged` with the first step and time where one of the states (a list, or stacked) is not finite.

    One test of the last state is enough to pass: y + dy never turns an infinity or a NaN back into a number.
    """
    if all_finite(states[-1]):
        return
    bad = next(i for i, y in enumerate(states) if not all_finite(y))
    raise Diverged(f"the state left the finite numbers at step {bad}, t = {times[bad]:g} (backend {backend!r})")
