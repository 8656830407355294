"""SRNN: leapfrog (kick, drift, kick) of a separable Hamiltonian K(p) + U(q, u). Blocks q, p.

K = sum b_kout tanh(W_kin p + b_kin), U = sum b_pout tanh(W_pot q + V_pot u + b_pot), the input held over the step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array

PAPER = "Chen, Zhang, Arjovsky, Bottou, Symplectic Recurrent Neural Networks, ICLR 2020, arXiv:1909.13334"
STEP: float | None = None
WRONG = "the second half of the kick takes the force at the old position"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step."""
    q, momentum = state[:, 0], state[:, 1]
    momentum = momentum - h / 2 * _force(p, q, u)
    q = q + h * _velocity(p, momentum)
    return np.stack([q, momentum - h / 2 * _force(p, q, u)], axis=1)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """p+ = p - h dU/dq(q), q+ = q + h dK/dp at p - h/2 dU/dq(q): the force evaluated once a step, at its start."""
    q, momentum = state[:, 0], state[:, 1]
    force = _force(p, q, u)
    return np.stack([q + h * _velocity(p, momentum - h / 2 * force), momentum - h * force], axis=1)


def _velocity(p: Mapping[str, Array], momentum: Array) -> Array:
    a = momentum @ p["W_kin"].T + p["b_kin"]
    velocity: Array = (p["b_kout"] / np.cosh(a) ** 2) @ p["W_kin"]
    return velocity


def _force(p: Mapping[str, Array], q: Array, u: Array) -> Array:
    """dU/dq."""
    a = q @ p["W_pot"].T + u @ p["V_pot"].T + p["b_pot"]
    gradient: Array = (p["b_pout"] / np.cosh(a) ** 2) @ p["W_pot"]
    return gradient
