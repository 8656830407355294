"""Legendre Memory Unit, blocks h, m: s = e_x.u + e_h.h + e_m.m, m+ = A_d m + B_d s, h+ = tanh(W_x u + W_h h + W_m m+).

A_ij = (2i+1) (-1 if i < j else (-1)^(i-j+1)), B_i = (2i+1) (-1)^i; A_d = exp(A/theta), B_d = A^-1 (A_d - I) B, the
zero-order hold at step 1. The order of the memory is the width of h.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.linalg import expm

from ....suite.contracts import Array

PAPER = "Voelker, Kajic, Eliasmith, Legendre Memory Units, NeurIPS 2019"
STEP: float | None = 1.0
WRONG = "explicit Euler for the memory instead of the zero-order hold"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step."""
    A, B = legendre(state.shape[-1])
    Ad = expm(A / p["constant:theta"])
    return _step(p, state, u, Ad, np.linalg.solve(A, (Ad - np.eye(len(A))) @ B))


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """m+ = m + (A m + B s) / theta."""
    A, B = legendre(state.shape[-1])
    theta = p["constant:theta"]
    return _step(p, state, u, np.eye(len(A)) + A / theta, B / theta)


def legendre(n: int) -> tuple[Array, Array]:
    """A (n, n) and B (n,): the delay of theta in Legendre polynomials, for theta = 1."""
    A, B = np.zeros((n, n)), np.zeros(n)
    for i in range(n):
        B[i] = (2 * i + 1) * (-1) ** i
        for j in range(n):
            A[i, j] = (2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1))
    return A, B


def _step(p: Mapping[str, Array], state: Array, u: Array, Ad: Array, Bd: Array) -> Array:
    h, m = state[:, 0], state[:, 1]
    s = u @ p["e_x"] + h @ p["e_h"] + m @ p["e_m"]
    m = m @ Ad.T + s[:, None] * Bd
    return np.stack([np.tanh(u @ p["W_x"].T + h @ p["W_h"].T + m @ p["W_m"].T), m], axis=1)
