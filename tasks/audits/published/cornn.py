"""coRNN: z+ = z + h (tanh(W y + W_z z + V u + b) - gamma y - epsilon z), y+ = y + h z+. Blocks y, z.

Rusch and Mishra 2021 with the damping at the old time, as the released code has it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array

PAPER = "Rusch, Mishra, Coupled Oscillatory Recurrent Neural Network (coRNN), ICLR 2021, arXiv:2010.00951"
STEP: float | None = None
WRONG = "the position moves with the old velocity: explicit Euler"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step: velocity first, then the position with the new velocity."""
    z = _kicked(p, h, state, u)
    return np.stack([state[:, 0] + h * z, z], axis=1)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """y+ = y + h z with the old z."""
    return np.stack([state[:, 0] + h * state[:, 1], _kicked(p, h, state, u)], axis=1)


def _kicked(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    y, z = state[:, 0], state[:, 1]
    force = np.tanh(y @ p["W"].T + z @ p["W_z"].T + u @ p["V"].T + p["b"])
    moved: Array = z + h * (force - p["constant:gamma"] * y - p["constant:epsilon"] * z)
    return moved
