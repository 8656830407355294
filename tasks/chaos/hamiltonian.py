"""Hamiltonian systems, each on one energy: Henon and Heiles' oscillators, and the double pendulum."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import sympy

from ...suite.contracts import Array
from ...suite.equation import Equation, symbols

NEWTON_STEPS = 20
"""Steps onto the energy surface; from the points that are drawn, a handful already reach rounding."""

HENON_HEILES_ENERGY = 0.125
"""Below 1/6, where orbits may escape; large chaotic sea and large islands."""

PENDULUM_ENERGY = 0.0
"""In units of m g l, zero where both arms are level; at rest they hang at -3 and stand at +3."""


def henon_heiles_energy() -> tuple[tuple[sympy.Symbol, ...], sympy.Expr]:
    """State (x, y, p_x, p_y) and the energy."""
    x, y, px, py = state = symbols("x y p_x p_y")
    return state, (px**2 + py**2 + x**2 + y**2) / 2 + x**2 * y - y**3 / 3


def henon_heiles() -> Equation:
    """Henon and Heiles 1964, Astron. J. 69:73, equation (11)."""
    state, energy = henon_heiles_energy()
    x, y, px, py = state
    rhs = (px, py, -sympy.diff(energy, x), -sympy.diff(energy, y))
    return Equation("henon-heiles", state, rhs)


def double_pendulum_energy() -> tuple[tuple[sympy.Symbol, ...], sympy.Expr]:
    """State (s_1, c_1, s_2, c_2, p_1, p_2): sines and cosines of the angles from the vertical, and their momenta; the
    energy. Equal masses and lengths; units in which mass, length and gravity are 1."""
    s1, c1, s2, c2, p1, p2 = state = symbols("s_1 c_1 s_2 c_2 p_1 p_2")
    cosine, sine = c1 * c2 + s1 * s2, s1 * c2 - c1 * s2
    kinetic = (p1**2 + 2 * p2**2 - 2 * p1 * p2 * cosine) / (2 * (1 + sine**2))
    return state, kinetic - 2 * c1 - c2


def double_pendulum() -> Equation:
    """The double pendulum without angles, which would grow without bound.

    Sines and cosines obey s' = c w and c' = -s w with the angular velocity w = dH/dp; the momenta p' = -dH/dangle.
    Momenta rather than velocities, because then the flow keeps volume exactly: the trace of the Jacobian is zero. The
    two sums s^2 + c^2 are kept as well, which adds two zero exponents to the four of the pendulum.
    """
    state = double_pendulum_energy()[0]
    s1, c1, s2, c2, p1, p2 = state
    cosine, sine = c1 * c2 + s1 * s2, s1 * c2 - c1 * s2
    below = 1 + sine**2
    w1, w2 = (p1 - p2 * cosine) / below, (2 * p2 - p1 * cosine) / below
    # dH/dangle_1 of the kinetic energy: its part through the difference of the angles
    force = p1 * p2 * sine / below - (p1**2 + 2 * p2**2 - 2 * p1 * p2 * cosine) * sine * cosine / below**2
    rhs = (c1 * w1, -s1 * w1, c2 * w2, -s2 * w2, -force - 2 * s1, force - s2)
    return Equation("double-pendulum", state, rhs)


def henon_heiles_level(y: Array) -> Array:
    """States (n, 4) moved onto the energy surface along the gradient of the energy."""
    energy, gradient = _functions(henon_heiles_energy)
    return _descend(y, lambda z: energy(z) - HENON_HEILES_ENERGY, gradient, lambda z: z)


def double_pendulum_level(y: Array) -> Array:
    """States (n, 6) moved onto unit circles and the energy surface."""
    energy, gradient = _functions(double_pendulum_energy)

    def along(z: Array) -> Array:
        """The gradient's part along the circles and the momenta."""
        g = gradient(z)
        for i in (0, 2):
            turn = g[:, i] * z[:, i + 1] - g[:, i + 1] * z[:, i]
            g[:, i], g[:, i + 1] = turn * z[:, i + 1], -turn * z[:, i]
        return g

    return _descend(y, lambda z: energy(z) - PENDULUM_ENERGY, along, _onto_circles)


def _onto_circles(y: Array) -> Array:
    y = y.copy()
    for i in (0, 2):
        y[:, i : i + 2] /= np.linalg.norm(y[:, i : i + 2], axis=1, keepdims=True)
    return y


def _descend(
    y: Array, excess: Callable[[Array], Array], gradient: Callable[[Array], Array], normalise: Callable[[Array], Array]
) -> Array:
    """Newton's method for excess(y) = 0 along the gradient, normalised after every step."""
    y = normalise(y)
    for _ in range(NEWTON_STEPS):
        g = gradient(y)
        y = normalise(y - excess(y)[:, None] * g / (g**2).sum(axis=1, keepdims=True))
    return y


@lru_cache(maxsize=4)
def _functions(
    definition: Callable[[], tuple[tuple[sympy.Symbol, ...], sympy.Expr]],
) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """The energy (n,) of states (n, dimension), and its gradient (n, dimension)."""
    state, expression = definition()
    energy: Any = sympy.lambdify(state, expression)
    slopes: Any = sympy.lambdify(state, [sympy.diff(expression, s) for s in state])

    def gradient(y: Array) -> Array:
        return np.stack([np.broadcast_to(g, len(y)) for g in slopes(*y.T)], axis=1).copy()

    return lambda y: np.asarray(energy(*y.T)), gradient
