"""Schroedinger RNN: psi+ = (I + i h/2 H)^-1 (I - i h/2 H) psi, the Cayley transform. Blocks re, im.

H(u) = (S + S^T) + i (K - K^T) + diag(V_u u + b_u), Hermitian.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array

PAPER = "Nebli, Saadatdoorabi, Yam, 2026, arXiv:2602.22255 (Cayley discretisation)"
STEP: float | None = None
WRONG = "the Cayley transform without the half: (I + i h H)^-1 (I - i h H), unitary and twice too fast"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step; the Hamiltonian is held over it."""
    return _cayley(p, h / 2, state, u)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The step 2 h."""
    return _cayley(p, h, state, u)


def _cayley(p: Mapping[str, Array], half: float, state: Array, u: Array) -> Array:
    psi, eye = state[:, 0] + 1j * state[:, 1], np.eye(state.shape[-1])
    fixed = p["S"] + p["S"].T + 1j * (p["K"] - p["K"].T)
    H = fixed + (u @ p["V_u"].T + p["b_u"])[:, :, None] * eye
    after = np.linalg.solve(eye + 1j * half * H, ((eye - 1j * half * H) @ psi[:, :, None]))[:, :, 0]
    return np.stack([after.real, after.imag], axis=1)
