"""Lipschitz RNN: y+ = y + h (A y + tanh(W y + V_W u + b_W)) (explicit Euler).

A = beta (M_A - M_A^T) + (1 - beta) (M_A + M_A^T) - gamma I, and W from M_W with the same beta and gamma.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array

PAPER = "Erichson, Azencot, Queiruga, Hodgkinson, Mahoney, Lipschitz RNNs, ICLR 2021, arXiv:2006.12070"
STEP: float | None = None
WRONG = "A acts on rows instead of columns, so transposed"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step."""
    return _step(p, h, state, u, _matrix(p, "M_A"))


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The product y A of row vectors, with the matrix of the column convention."""
    return _step(p, h, state, u, _matrix(p, "M_A").T)


def _matrix(p: Mapping[str, Array], name: str) -> Array:
    M, beta = p[name], float(p["constant:beta"])
    acting: Array = beta * (M - M.T) + (1 - beta) * (M + M.T) - p["constant:gamma"] * np.eye(len(M))
    return acting


def _step(p: Mapping[str, Array], h: float, state: Array, u: Array, A: Array) -> Array:
    y = state[:, 0]
    return np.expand_dims(y + h * (y @ A.T + np.tanh(y @ _matrix(p, "M_W").T + u @ p["V_W"].T + p["b_W"])), 1)
