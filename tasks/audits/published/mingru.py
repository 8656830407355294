"""minGRU: z = sg(V_z u + b_z), y+ = (1 - z) y + z (V_h u + b_h); neither gate nor candidate reads the state."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from ....suite.contracts import Array

PAPER = "Feng, Tung, Ahmed, Bengio, Hajimirsadeghi, Were RNNs All We Needed?, 2024, arXiv:2410.01201"
STEP: float | None = 1.0
WRONG = "the candidate goes through the positive function of the logarithmic variant"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step, the plain variant (not the one in logarithms)."""
    z = expit(u @ p["V_z"].T + p["b_z"])
    return np.expand_dims((1 - z) * state[:, 0] + z * (u @ p["V_h"].T + p["b_h"]), 1)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """g(a) = a + 1/2 for a >= 0, else sg(a), which keeps the state positive."""
    z, a = expit(u @ p["V_z"].T + p["b_z"]), u @ p["V_h"].T + p["b_h"]
    return np.expand_dims((1 - z) * state[:, 0] + z * np.where(a >= 0, a + 0.5, expit(a)), 1)
