"""Leaky network: y+ = (1 - h) y + h tanh(W y + V u + b), 0 < h < 1 (Jaeger et al. 2007, with a gain of 1)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array

PAPER = (
    "Jaeger, Lukosevicius, Popovici, Siewert, Optimization and applications of echo state networks with leaky-"
    "integrator neurons, Neural Networks 20 (2007) 335-352"
)
STEP: float | None = None
WRONG = "only the old state leaks: the new value enters without the factor h"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step; h is the leaking rate."""
    y = state[:, 0]
    return np.expand_dims((1 - h) * y + h * np.tanh(y @ p["W"].T + u @ p["V"].T + p["b"]), 1)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The form y+ = (1 - h) y + tanh(...), another published one; equal at h = 1 alone."""
    y = state[:, 0]
    return np.expand_dims((1 - h) * y + np.tanh(y @ p["W"].T + u @ p["V"].T + p["b"]), 1)
