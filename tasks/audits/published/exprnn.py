"""expRNN: y+ = modReLU(expm(S) y + V_u u), S = A - A^T, modReLU(z) = sign(z) max(|z| + b_r, 0)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.linalg import expm

from ....suite.contracts import Array

PAPER = "Lezcano-Casado, Martinez-Rubio, Cheap Orthogonal Constraints in Neural Networks, ICML 2019, arXiv:1901.08428"
STEP: float | None = 1.0
WRONG = "the Cayley transform at step 1 in place of the exponential: equal to second order in S"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step."""
    return _step(p, state, u, expm(p["A"] - p["A"].T))


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """(I - S/2)^-1 (I + S/2), the diagonal Pade approximant of degree 1."""
    half, eye = (p["A"] - p["A"].T) / 2, np.eye(len(p["A"]))
    return _step(p, state, u, np.linalg.solve(eye - half, eye + half))


def kink(state: Array) -> Array:
    """Distance from where modReLU is not smooth, (batch,)."""
    nearest: Array = np.abs(state).min(axis=(1, 2))
    return nearest


def _step(p: Mapping[str, Array], state: Array, u: Array, W: Array) -> Array:
    z = state[:, 0] @ W.T + u @ p["V_u"].T
    return np.expand_dims(np.sign(z) * np.maximum(np.abs(z) + p["b_r"], 0), 1)
