"""The stage loop of explicit Runge-Kutta methods: the only one in Python, for any arithmetic.

    Y_i = y + h sum_j a_ij k_j,   k_i = f(t + c_i h, Y_i),   y+ = y + h sum_i b_i k_i        (HNW II.1, eq. 1.8)

Hairer, Norsett, Wanner, *Solving Ordinary Differential Equations I* (2nd ed., 1993). Zero coefficients cost nothing,
and a stage that neither y+ nor the error estimate depends on is not evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ..suite.errors import UsageError
from .tableau import Tableau

Slope: TypeAlias = Callable[[Any, Any], Any]
"""k = f(t, y), whatever y is."""
Row: TypeAlias = tuple[tuple[int, Any], ...]
"""The non-zero coefficients of a linear combination of slopes: (stage, coefficient)."""
Arithmetic: TypeAlias = Literal["exact", "numpy", "torch"]


@dataclass(frozen=True)
class Stages:
    """A tableau made ready for the loop: its active stages, renumbered from 0, in one arithmetic.

    rows, nodes: one entry a stage; weights: of the result; error: b - b_hat, empty where no error is asked for;
    fsal: the last stage is f(t + h, y+), the first slope of the next step; fused: slopes are torch tensors.
    """

    rows: tuple[Row, ...]
    nodes: tuple[Any, ...]
    weights: Row
    error: Row
    fsal: bool
    fused: bool

    def __len__(self) -> int:
        return len(self.rows)


def active(tableau: Tableau, embedded: bool = False) -> tuple[int, ...]:
    """The stages that y+ depends on, or with `embedded` y+ and the error estimate, in order.

    Without the error, the last stage of an FSAL pair is not among them. Raises `UsageError` for an implicit tableau.
    """
    if not tableau.explicit:
        raise UsageError(f"tableau {tableau.name!r} is implicit: expected an explicit one.")
    needed: set[int] = set()
    hat = tableau.b_hat if embedded and tableau.b_hat is not None else tableau.b
    waiting = [i for i, (b, b_hat) in enumerate(zip(tableau.b, hat, strict=True)) if b or b_hat]
    while waiting:
        i = waiting.pop()
        if i not in needed:
            needed.add(i)
            waiting += [j for j, a in enumerate(tableau.A[i]) if a]
    return tuple(sorted(needed))


def stages(tableau: Tableau, arithmetic: Arithmetic, embedded: bool = False) -> Stages:
    """Prepare an explicit tableau, once a rollout. embedded: with the error estimate, which needs b_hat.

    "exact" keeps Fractions, for Fraction and SymPy states; "numpy" and "torch" use Python floats, which take the dtype
    of the state. Raises `UsageError` for an implicit tableau, and for `embedded` without embedded weights.
    """
    kept = active(tableau, embedded)
    if embedded and tableau.b_hat is None:
        raise UsageError(f"tableau {tableau.name!r} has no embedded weights: expected a pair.")
    number: Callable[[Any], Any] = (lambda x: x) if arithmetic == "exact" else float

    def row(values: tuple[Any, ...]) -> Row:
        return tuple((new, number(values[old])) for new, old in enumerate(kept) if values[old])

    # b - b_hat is subtracted exactly and rounded once
    difference = tuple(b - e for b, e in zip(tableau.b, tableau.b_hat, strict=True)) if tableau.b_hat else ()
    return Stages(
        rows=tuple(row(tableau.A[i]) for i in kept),
        nodes=tuple(number(tableau.c[i]) for i in kept),
        weights=row(tableau.b),
        error=row(difference) if embedded else (),
        fsal=tableau.fsal and kept[-1] == tableau.stages - 1,
        fused=arithmetic == "torch",
    )


def change(row: Row, slopes: list[Any], h: Any, method: Stages) -> Any:
    """h times the row's combination of slopes; the row is not empty."""
    (first, coefficient), *rest = row
    total = slopes[first] * (coefficient * h)
    for stage, coefficient in rest:
        if method.fused:
            total = total.add(slopes[stage], alpha=coefficient * h)
        else:
            total = total + slopes[stage] * (coefficient * h)
    return total


def shift(y: Any, row: Row, slopes: list[Any], h: Any, method: Stages) -> Any:
    """y plus `change`, in the fewest operations; y itself for an empty row."""
    if not row:
        return y
    if method.fused and len(row) == 1:
        return y.add(slopes[row[0][0]], alpha=row[0][1] * h)
    return y + change(row, slopes, h, method)


def sweep(slope: Slope, t: Any, y: Any, h: Any, method: Stages, first: Any = None) -> tuple[list[Any], Any]:
    """All slopes of one step, and the argument of the last stage (which is y+ where `method.fsal`).

    first: the slope at (t, y) where it is known already. Only stage 0 may use it: the first active stage of an explicit
    method has an empty row, so c = 0.
    """
    slopes = [slope(t, y) if first is None else first]
    argument = y
    for row, node in zip(method.rows[1:], method.nodes[1:], strict=True):
        argument = shift(y, row, slopes, h, method)
        slopes.append(slope(t + node * h if node else t, argument))
    return slopes, argument


def advance(slope: Slope, t: Any, y: Any, h: Any, method: Stages, first: Any = None) -> tuple[Any, list[Any]]:
    """One step: the new state, and the slopes (`slopes[-1]` starts the next step where `method.fsal`)."""
    slopes, argument = sweep(slope, t, y, h, method, first)
    return (argument if method.fsal else shift(y, method.weights, slopes, h, method)), slopes


def explicit_step(slope: Slope, t: Any, y: Any, h: Any, tableau: Tableau, arithmetic: Arithmetic = "exact") -> Any:
    """One step y -> y+ of an explicit tableau: `advance` for a single step, where speed does not matter."""
    return advance(slope, t, y, h, stages(tableau, arithmetic))[0]
