"""AntisymmetricRNN: y+ = y + h tanh((W - W^T - gamma I) y + V u + b)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array

PAPER = "Chang, Chen, Haber, Chi, AntisymmetricRNN, ICLR 2019, arXiv:1902.09689 (with diffusion, ungated)"
STEP: float | None = None
WRONG = "no diffusion: gamma is left out"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step; W strictly upper triangular, only W - W^T acts."""
    return _step(p, h, state, u, float(p["constant:gamma"]))


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The step with the skew matrix alone, which explicit Euler makes grow."""
    return _step(p, h, state, u, 0.0)


def _step(p: Mapping[str, Array], h: float, state: Array, u: Array, gamma: float) -> Array:
    M = p["W"] - p["W"].T - gamma * np.eye(len(p["W"]))
    y = state[:, 0]
    return np.expand_dims(y + h * np.tanh(y @ M.T + u @ p["V"].T + p["b"]), 1)
