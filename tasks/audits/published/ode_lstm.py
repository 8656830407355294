"""ODE-LSTM: one LSTM step, then x alone moved by x' = W_2 tanh(W_1 x + b_1) + b_2 for a time 1. Blocks x, c.

The field is integrated by three steps of the classical Runge-Kutta method; c is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array
from . import lstm

PAPER = "Lechner, Hasani, Learning Long-Term Dependencies in Irregularly-Sampled Time Series, 2020, arXiv:2006.04418"
STEP: float | None = 1.0
WRONG = "the field moves x before the LSTM reads it, instead of after"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step. Needs torch, for its LSTM."""
    return _evolved(p, lstm.update(p, h, state, u))


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The two halves of the step in the other order."""
    return lstm.update(p, h, _evolved(p, state), u)


def _evolved(p: Mapping[str, Array], state: Array) -> Array:
    def slope(x: Array) -> Array:
        moved: Array = np.tanh(x @ p["W_1"].T + p["b_1"]) @ p["W_2"].T + p["b_2"]
        return moved

    x, steps = state[:, 0], 3
    d = 1.0 / steps
    for _ in range(steps):
        k1 = slope(x)
        k2 = slope(x + d / 2 * k1)
        k3 = slope(x + d / 2 * k2)
        k4 = slope(x + d * k3)
        x = x + d / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return np.stack([x, state[:, 1]], axis=1)
