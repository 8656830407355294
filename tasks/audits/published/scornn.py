"""scoRNN: y+ = modReLU((I + S)^-1 (I - S) D y + V_u u), S = A - A^T, modReLU(z) = sign(z) max(|z| + b_r, 0).

D = diag(+-1), the first floor(negative n) entries -1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array

PAPER = (
    "Helfrich, Willmott, Ye, Orthogonal Recurrent Neural Networks with Scaled Cayley Transform, ICML 2018, "
    "arXiv:1707.09520"
)
STEP: float | None = 1.0
WRONG = "the Cayley transform of S / 2, which is step 1 of y' = -S y; published is step 2"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step."""
    return _step(p, state, u, p["A"] - p["A"].T)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The usual Cayley transform (I + S/2)^-1 (I - S/2), with the half that the paper does not have."""
    return _step(p, state, u, (p["A"] - p["A"].T) / 2)


def reflected(p: Mapping[str, Array], state: Array) -> Array:
    """D y: what the step does first. It is no flow, so that a limit of small steps exists only for the rest."""
    n = state.shape[-1]
    after: Array = state * np.where(np.arange(n) < np.floor(float(p["constant:negative"]) * n), -1.0, 1.0)
    return after


def kink(state: Array) -> Array:
    """Distance from where modReLU is not smooth, (batch,)."""
    nearest: Array = np.abs(state).min(axis=(1, 2))
    return nearest


def _step(p: Mapping[str, Array], state: Array, u: Array, S: Array) -> Array:
    eye = np.eye(len(S))
    W = np.linalg.solve(eye + S, eye - S)
    z = reflected(p, state)[:, 0] @ W.T + u @ p["V_u"].T
    return np.expand_dims(np.sign(z) * np.maximum(np.abs(z) + p["b_r"], 0), 1)
