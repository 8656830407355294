"""uRNN: z = D3 R2 F^-1 D2 P R1 F D1 psi + V u, psi+ = z max(|z| + b_r, 0) / |z|. Blocks re, im.

D_k = diag(exp(i theta_k)), R_k = I - 2 v_k v_k^* / |v_k|^2, F the unitary DFT (negative exponent, over sqrt n),
(P psi)_k = psi[permutation[k]]. As in the paper; the released code adds 1e-5 to |z| in the denominator.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array

PAPER = "Arjovsky, Shah, Bengio, Unitary Evolution Recurrent Neural Networks, ICML 2016, arXiv:1511.06464"
STEP: float | None = 1.0
WRONG = "the transform F and its inverse exchanged"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published step."""
    return _step(p, state, u, _transform(state.shape[-1]))


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The other sign in the exponent of the transform."""
    return _step(p, state, u, _transform(state.shape[-1]).conj())


def kink(state: Array) -> Array:
    """Distance from where modReLU is not smooth, psi_k = 0: (batch,)."""
    nearest: Array = np.hypot(state[:, 0], state[:, 1]).min(axis=1)
    return nearest


def _transform(n: int) -> Array:
    k = np.arange(n)
    F: Array = np.exp(-2j * np.pi * np.outer(k, k) / n) / np.sqrt(n)
    return F


def _step(p: Mapping[str, Array], state: Array, u: Array, F: Array) -> Array:
    n = state.shape[-1]
    D1, D2, D3 = (np.diag(np.exp(1j * p[f"theta_{k}"])) for k in (1, 2, 3))
    R1, R2 = (_reflection(p[f"v_{k}_re"] + 1j * p[f"v_{k}_im"]) for k in (1, 2))
    P = np.eye(n)[p["permutation"].astype(int)]
    W = D3 @ R2 @ F.conj().T @ D2 @ P @ R1 @ F @ D1
    z = (state[:, 0] + 1j * state[:, 1]) @ W.T + u @ (p["V_re"] + 1j * p["V_im"]).T
    after = z * np.maximum(np.abs(z) + p["b_r"], 0) / np.abs(z)
    return np.stack([after.real, after.imag], axis=1)


def _reflection(v: Array) -> Array:
    R: Array = np.eye(len(v)) - 2 * np.outer(v, v.conj()) / np.vdot(v, v).real
    return R
