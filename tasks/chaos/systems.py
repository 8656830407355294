"""The chaotic systems as data: equation, sampling step, and what was measured on their attractors.

Every measured number here is printed by `python -m odernn.tasks.chaos.lyapunov NAME --time T`, with T 2000 for
lorenz63, 14000 for roessler, 240 for lorenz96. `valid` is checked by tests/tasks/test_chaos.py: up to there the truth
and a Taylor series of order 30 in extended precision differ by less than 0.004 sigma, one hundredth of the threshold
at which a forecast fails, on every one of 100 trajectories.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import sympy

from ...suite.equation import Equation, symbols
from ...suite.errors import unknown


@dataclass(frozen=True)
class System:
    """A chaotic flow. Vectors have one number a component; times are in the equation's unit.

    dt: sampling step of the series; start, spread: trajectories begin at start + spread * normal noise and forget it
    within half the `transient`; exponent: the largest Lyapunov exponent, exponent_error its standard error; mean,
    sigma: mean and standard deviation of the state; increment: root mean square of (y(t + dt) - y(t)) / sigma; valid:
    for how many Lyapunov times a trajectory of `truth` is known to follow the exact solution; source: where the system
    is published.
    """

    equation: Equation
    dt: float
    start: tuple[float, ...]
    spread: float
    transient: float
    exponent: float
    exponent_error: float
    mean: tuple[float, ...]
    sigma: tuple[float, ...]
    increment: tuple[float, ...]
    valid: float
    source: str

    @property
    def dimension(self) -> int:
        return self.equation.dimension

    @property
    def lyapunov_time(self) -> float:
        """1 / exponent, in the equation's unit of time."""
        return 1.0 / self.exponent


def _lorenz63() -> Equation:
    x, y, z = state = symbols("x y z")
    sigma, rho, beta = symbols("sigma rho beta")
    rhs = (sigma * (y - x), x * (rho - z) - y, x * y - beta * z)
    return Equation("lorenz63", state, rhs, {sigma: 10.0, rho: 28.0, beta: 8.0 / 3.0})


def _roessler() -> Equation:
    x, y, z = state = symbols("x y z")
    a, b, c = symbols("a b c")
    return Equation("roessler", state, (-y - z, x + a * y, b + z * (x - c)), {a: 0.2, b: 0.2, c: 5.7})


def _lorenz96(size: int = 40) -> Equation:
    x = symbols(" ".join(f"x_{i}" for i in range(size)))
    (forcing,) = symbols("F")
    rhs: list[sympy.Expr] = [(x[(i + 1) % size] - x[i - 2]) * x[i - 1] - x[i] + forcing for i in range(size)]
    return Equation("lorenz96", x, tuple(rhs), {forcing: 8.0})


SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "lorenz63": System(
            equation=_lorenz63(),
            dt=0.02,
            start=(0.0, 0.0, 25.0),
            spread=10.0,
            transient=30.0,
            exponent=0.90496,
            exponent_error=0.00052,
            mean=(0.0, 0.0, 23.554),  # x and y average to zero by the symmetry (x, y) -> (-x, -y)
            sigma=(7.925, 9.010, 8.619),
            increment=(0.1079, 0.1451, 0.1830),
            valid=20.0,
            source="Lorenz 1963, J. Atmos. Sci. 20:130, equations (25) to (27), sigma 10, rho 28, beta 8/3",
        ),
        "roessler": System(
            equation=_roessler(),
            dt=0.1,
            start=(0.0, -5.0, 0.0),
            spread=0.5,
            transient=300.0,
            exponent=0.07153,
            exponent_error=0.00022,
            mean=(0.177, -0.886, 0.886),
            sigma=(5.155, 4.843, 2.843),
            increment=(0.1161, 0.1045, 0.2952),
            valid=15.0,
            source="Roessler 1976, Phys. Lett. A 57:397, with a 0.2, b 0.2, c 5.7",
        ),
        "lorenz96": System(
            equation=_lorenz96(),
            dt=0.02,
            start=(8.0,) * 40,
            spread=1.0,
            transient=20.0,
            exponent=1.6927,
            exponent_error=0.0092,
            mean=(2.342,) * 40,
            sigma=(3.640,) * 40,
            increment=(0.1027,) * 40,
            valid=15.0,
            source="Lorenz 1996, Predictability: a problem partly solved, Proc. ECMWF Seminar; 40 sites, forcing 8",
        ),
    }
)
"""The systems by name."""


def system(name: str) -> System:
    """The system of that name; raises `UsageError` for an unknown one."""
    if name not in SYSTEMS:
        raise unknown("chaotic system", name, SYSTEMS)
    return SYSTEMS[name]
