"""Infinite-dimensional systems made finite: the Mackey-Glass delay equation and the Kuramoto-Sivashinsky equation."""

from __future__ import annotations

import numpy as np
import sympy

from ...suite.contracts import Array
from ...suite.equation import symbols
from ...suite.matrix_equation import MatrixEquation

NODES = 32
"""Degree of the polynomial that stands for the history of the delay equation."""

POINTS = 64
"""Grid values of the Kuramoto-Sivashinsky equation."""

PERIOD = 22.0
"""Length of its periodic domain."""


def chebyshev(degree: int) -> tuple[Array, Array]:
    """The points cos(pi j / degree) from 1 to -1 and the matrix that differentiates the polynomial through values there
    (Trefethen 2000, Spectral Methods in MATLAB, theorem 7)."""
    j = np.arange(degree + 1)
    x = np.cos(np.pi * j / degree)
    c = np.where((j == 0) | (j == degree), 2.0, 1.0) * (-1.0) ** j
    # sines of half sums and differences: exact where differences of cosines cancel
    apart = 2 * np.sin(np.pi * (j + j[:, None]) / (2 * degree)) * np.sin(np.pi * (j - j[:, None]) / (2 * degree))
    matrix = np.divide(c[:, None] / c, apart, out=np.zeros_like(apart), where=~np.eye(degree + 1, dtype=bool))
    return x, matrix - np.diag(matrix.sum(axis=1))


def mackey_glass(tau: float = 17.0, degree: int = NODES) -> MatrixEquation:
    """x' = beta x(t - tau) / (1 + x(t - tau)^n) - gamma x, as an ordinary equation for the values of the history.

    Component j is x(t - tau (1 - cos(pi j / degree)) / 2), so that 0 is x(t) and the last x(t - tau). The history is
    the polynomial through them: differentiation moves it, and the delay equation drives its newest value (Breda, Maset
    and Vermiglio 2005, SIAM J. Sci. Comput. 27:482; for nonlinear equations Breda et al. 2016, SIAM J. Appl. Dyn. Syst.
    15:1). Only the parameter of the exponent stays symbolic; rates and delay are in the matrices.
    """
    beta, gamma = 0.2, 0.1
    (s,) = symbols("s")
    (n,) = symbols("n")
    linear = chebyshev(degree)[1] * 2.0 / tau
    linear[0] = 0.0
    linear[0, 0] = -gamma
    mixing = np.zeros_like(linear)
    mixing[0, -1] = beta
    return MatrixEquation("mackey-glass", linear, mixing, s / (1 + s**n), s, parameters={n: 10.0})


def kuramoto_sivashinsky(period: float = PERIOD, points: int = POINTS) -> MatrixEquation:
    """u_t = -u u_x - u_xx - u_xxxx on a periodic domain, for the values of u on an equidistant grid.

    Derivatives are those of the trigonometric interpolant (Trefethen 2000, chapter 3); the first derivative of its
    highest mode is zero on the grid. The nonlinearity is -(u^2)_x / 2, so that the mean of u is kept.
    """
    k = 2 * np.pi / period * np.fft.fftfreq(points, 1.0 / points)
    odd = np.where(np.arange(points) == points // 2, 0.0, k)
    linear, slope = (_multiplier(symbol) for symbol in (k**2 - k**4, 1j * odd))
    (u,) = symbols("u")
    return MatrixEquation("kuramoto-sivashinsky", linear, -slope / 2, sympy.Pow(u, 2), u)


def _multiplier(symbol: Array) -> Array:
    """The matrix on grid values that multiplies Fourier mode k by symbol[k]."""
    first = np.fft.ifft(symbol).real
    n = len(first)
    return np.asarray(first[(np.arange(n)[:, None] - np.arange(n)) % n])


def without_mean(y: Array) -> Array:
    """The fields (n, points) of zero mean nearest to those given: the equation keeps the mean, and is studied at 0."""
    return np.asarray(y - y.mean(axis=-1, keepdims=True))
