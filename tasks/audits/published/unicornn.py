"""UnICORNN, one layer. Blocks y, z; w is a vector, each unit its own oscillator with its own step h sg(b_c).

z+ = z - h sg(b_c) (tanh(w y + V_y u + b_y) + alpha y), y+ = y + h sg(b_c) z+.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from ....suite.contracts import Array

PAPER = "Rusch, Mishra, UnICORNN, ICML 2021, arXiv:2103.05487"
STEP: float | None = None
WRONG = "the position moves by the plain step h: its factor sg(b_c) is missing"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step: symplectic Euler, unit by unit."""
    z = _kicked(p, h, state, u)
    return np.stack([state[:, 0] + h * expit(p["b_c"]) * z, z], axis=1)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The learned step in the momentum's update alone."""
    z = _kicked(p, h, state, u)
    return np.stack([state[:, 0] + h * z, z], axis=1)


def _kicked(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    y, z = state[:, 0], state[:, 1]
    force = np.tanh(p["w"] * y + u @ p["V_y"].T + p["b_y"]) + p["constant:alpha"] * y
    moved: Array = z - h * expit(p["b_c"]) * force
    return moved
