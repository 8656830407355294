"""What a chaotic system is: its equation and the numbers that were measured on its attractor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ...suite.contracts import Array, VectorField


@dataclass(frozen=True)
class Published:
    """Published numbers to stand beside ours; None where there is none.

    exponent: the largest Lyapunov exponent, 1 over the equation's unit of time; dimension: of Kaplan and Yorke;
    *_error: the stated uncertainty, or half a unit of the last digit that is printed; source: where, and how it was
    confirmed.
    """

    exponent: float | None = None
    exponent_error: float | None = None
    dimension: float | None = None
    dimension_error: float | None = None
    source: str = ""


@dataclass(frozen=True)
class System:
    """A chaotic flow. Vectors have one number a component; times are in the equation's unit.

    dt: sampling step of the series; start, spread: trajectories begin at start + spread * normal noise and forget it
    within half the `transient`; exponents: the largest Lyapunov exponents, in descending order, all of them or as many
    as `leading` says; exponent_errors: their standard errors; kaplan_yorke, kaplan_yorke_error: the dimension; mean,
    sigma: mean and standard deviation of the state; increment: root mean square of (y(t + dt) - y(t)) / sigma; valid:
    for how many Lyapunov times a trajectory of `truth` is known to follow the exact solution; source: where the system
    is published; published: others' numbers.

    leading: how many exponents are measured, None for all (those of strongly damped modes cost much and say little);
    substeps: steps in dt of the fixed-step method that measures them; observed: the components that a learner sees,
    () for all; invariants: moves states (n, dimension) onto the surface that the flow keeps (an energy, a mean), where
    there is one.
    """

    equation: VectorField
    dt: float
    start: tuple[float, ...]
    spread: float
    transient: float
    exponents: tuple[float, ...]
    exponent_errors: tuple[float, ...]
    kaplan_yorke: float
    kaplan_yorke_error: float
    mean: tuple[float, ...]
    sigma: tuple[float, ...]
    increment: tuple[float, ...]
    valid: float
    source: str
    published: Published = Published()
    leading: int | None = None
    substeps: int = 1
    observed: tuple[int, ...] = ()
    invariants: Callable[[Array], Array] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.observed:
            object.__setattr__(self, "observed", tuple(range(self.dimension)))

    @property
    def dimension(self) -> int:
        return self.equation.dimension

    @property
    def exponent(self) -> float:
        """The largest Lyapunov exponent."""
        return self.exponents[0]

    @property
    def exponent_error(self) -> float:
        """Its standard error."""
        return self.exponent_errors[0]

    @property
    def lyapunov_time(self) -> float:
        """1 / exponent, in the equation's unit of time."""
        return 1.0 / self.exponent

    def on_invariants(self, y: Array) -> Array:
        """The states (n, dimension) themselves, or moved onto the surface that the flow keeps."""
        return y if self.invariants is None else self.invariants(y)
