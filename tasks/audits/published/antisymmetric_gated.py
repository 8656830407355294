"""Gated AntisymmetricRNN: M = W - W^T - gamma I, z = sg(M y + V_z u + b_z), y+ = y + h z tanh(M y + V_h u + b_h)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from ....suite.contracts import Array

PAPER = "Chang, Chen, Haber, Chi, AntisymmetricRNN, ICLR 2019, arXiv:1902.09689 (with diffusion and a gate)"
STEP: float | None = None
WRONG = "the gate blends old and new as in a GRU, instead of scaling the increment"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step; gate and slope share M."""
    y, z, new = _gated(p, state, u)
    return np.expand_dims(y + h * z * new, 1)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """y+ = (1 - h z) y + h z tanh(...)."""
    y, z, new = _gated(p, state, u)
    return np.expand_dims((1 - h * z) * y + h * z * new, 1)


def _gated(p: Mapping[str, Array], state: Array, u: Array) -> tuple[Array, Array, Array]:
    M = p["W"] - p["W"].T - float(p["constant:gamma"]) * np.eye(len(p["W"]))
    y = state[:, 0]
    return y, expit(y @ M.T + u @ p["V_z"].T + p["b_z"]), np.tanh(y @ M.T + u @ p["V_h"].T + p["b_h"])
