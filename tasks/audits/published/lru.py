"""Linear Recurrent Unit: y+ = exp(lambda) y + exp(b_gamma) V u, lambda = -exp(b_nu) + i exp(b_theta). Blocks re, im."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array

PAPER = "Orvieto et al., Resurrecting Recurrent Neural Networks for Long Sequences, ICML 2023, arXiv:2303.06349"
STEP: float | None = 1.0
WRONG = "the gain of a zero-order hold, (exp(lambda) - 1) / lambda, multiplies the input"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step: the input's gain exp(b_gamma) is free."""
    return _step(p, state, u, np.exp(p["b_gamma"]).astype(complex))


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """What discretising y' = lambda y + exp(b_gamma) V u exactly would give."""
    rate = _rate(p)
    return _step(p, state, u, np.exp(p["b_gamma"]) * np.expm1(rate) / rate)


def _rate(p: Mapping[str, Array]) -> Array:
    rate: Array = -np.exp(p["b_nu"]) + 1j * np.exp(p["b_theta"])
    return rate


def _step(p: Mapping[str, Array], state: Array, u: Array, gain: Array) -> Array:
    y = state[:, 0] + 1j * state[:, 1]
    after = np.exp(_rate(p)) * y + gain * (u @ (p["V_re"] + 1j * p["V_im"]).T)
    return np.stack([after.real, after.imag], axis=1)
