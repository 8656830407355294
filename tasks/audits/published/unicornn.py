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
WRONG = "a full recurrent matrix: the units are coupled, a_i = sum_j w_j y_j instead of w_i y_i"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step: symplectic Euler, unit by unit."""
    return _stepped(p, h, state, u, p["w"] * state[:, 0])


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """Every unit reads every other: the matrix whose rows are all w."""
    return _stepped(p, h, state, u, state[:, 0] @ np.tile(p["w"], (len(p["w"]), 1)).T)


def _stepped(p: Mapping[str, Array], h: float, state: Array, u: Array, recurrent: Array) -> Array:
    y, z = state[:, 0], state[:, 1]
    own = h * expit(p["b_c"])
    z = z - own * (np.tanh(recurrent + u @ p["V_y"].T + p["b_y"]) + p["constant:alpha"] * y)
    return np.stack([y + own * z, z], axis=1)
