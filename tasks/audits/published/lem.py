"""Long Expressive Memory. Blocks y (the output), z; both steps are learned, and read the old y.

d1 = h sg(W_1 y + V_1 u + b_1), d2 = h sg(W_2 y + V_2 u + b_2), z+ = (1 - d1) z + d1 tanh(W_z y + V_z u + b_z),
y+ = (1 - d2) y + d2 tanh(W_y z+ + V_y u + b_y).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from ....suite.contracts import Array

PAPER = "Rusch, Mishra, Erichson, Mahoney, Long Expressive Memory, ICLR 2022, arXiv:2110.04744"
STEP: float | None = None
WRONG = "the output reads the old z instead of the new one"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step."""
    z = _memory(p, h, state, u)
    return _output(p, h, state, u, read=z, z=z)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """tanh(W_y z + ...) with the old z: another map, found in a public re-implementation."""
    return _output(p, h, state, u, read=state[:, 1], z=_memory(p, h, state, u))


def _memory(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    y, z = state[:, 0], state[:, 1]
    d = h * expit(y @ p["W_1"].T + u @ p["V_1"].T + p["b_1"])
    moved: Array = (1 - d) * z + d * np.tanh(y @ p["W_z"].T + u @ p["V_z"].T + p["b_z"])
    return moved


def _output(p: Mapping[str, Array], h: float, state: Array, u: Array, read: Array, z: Array) -> Array:
    y = state[:, 0]
    d = h * expit(y @ p["W_2"].T + u @ p["V_2"].T + p["b_2"])
    return np.stack([(1 - d) * y + d * np.tanh(read @ p["W_y"].T + u @ p["V_y"].T + p["b_y"]), z], axis=1)
