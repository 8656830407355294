"""CT-RNN: six explicit Euler steps of h / 6 of y' = -y / tau + tanh(W y + V u + b), the input held."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array

PAPER = (
    "Funahashi, Nakamura, Approximation of dynamical systems by continuous time recurrent neural networks, Neural "
    "Networks 6 (1993) 801-806; six steps of 0.1 as in Hasani et al., Liquid Time-constant Networks, AAAI 2021"
)
STEP: float | None = None
WRONG = "one Euler step of h instead of six of h / 6"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step: h between inputs, h / 6 for Euler."""
    return _euler(p, h, state, u, unfolds=6)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """No unfolding."""
    return _euler(p, h, state, u, unfolds=1)


def _euler(p: Mapping[str, Array], h: float, state: Array, u: Array, unfolds: int) -> Array:
    y = state[:, 0]
    for _ in range(unfolds):
        y = y + h / unfolds * (-y / p["constant:tau"] + np.tanh(y @ p["W"].T + u @ p["V"].T + p["b"]))
    return np.expand_dims(y, 1)
