"""QUNN with dense matrices: psi' = -i H(u) psi for t sites of q qubits, one Strang step with exact factors.

H(u) = sum_k |k><k| (x) sum_j [(a_k + alpha_k e_j) X_j + (b_k + beta_k e_j) Z_j + c_k Z_j Z_(j+1)]
     + sum_(k<t) J_k (|k><k+1| + |k+1><k|) (x) I, with e = encoding u and an open row of qubits, j < q in Z_j Z_(j+1).
Order of the factors: half of the hopping (J), half of all X, the whole diagonal (Z and ZZ), half of X, half of hopping.

Blocks: the real parts of the 2^q components, then their imaginary parts, each over the t sites; qubit 1 is the leftmost
(most significant) factor. Here H and its parts are built as full matrices by Kronecker products.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np
from scipy.linalg import expm

from ....suite.contracts import Array

PAPER = "a construction of this project after the abstract of Niu, Horesh, Chuang, 2019, arXiv:1904.12933"
STEP: float | None = None
WRONG = "the half-angle convention of rotation gates: exp(-i theta X / 2) where exp(-i theta X) is meant"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """One Strang step from the dense parts of H(u)."""
    return _strang(p, h, state, u, turn=1.0)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """Unitary, with half of every X."""
    return _strang(p, h, state, u, turn=0.5)


def hamiltonian(p: Mapping[str, Array], u: Array) -> tuple[Array, Array, Array]:
    """Hopping, X and diagonal part of H(u) for one input u (p,); each (t 2^q, t 2^q), the site being the slow index."""
    e = p["encoding"] @ u
    q = len(e)
    X, Z = np.array([[0.0, 1.0], [1.0, 0.0]]), np.diag([1.0, -1.0])
    hopping = np.kron(np.diag(p["J"], 1) + np.diag(p["J"], -1), np.eye(2**q))
    flips, diagonal = np.zeros_like(hopping), np.zeros_like(hopping)
    for j in range(q):
        flips += np.kron(np.diag(p["a"] + p["alpha"] * e[j]), _on(X, j, q))
        diagonal += np.kron(np.diag(p["b"] + p["beta"] * e[j]), _on(Z, j, q))
        if j + 1 < q:
            diagonal += np.kron(np.diag(p["c"]), _on(Z, j, q) @ _on(Z, j + 1, q))
    return hopping, flips, diagonal


def _on(operator: Array, j: int, q: int) -> Array:
    """The operator on qubit j of q, the identity on the others."""
    product: Array = reduce(np.kron, [operator if k == j else np.eye(2) for k in range(q)])
    return product


def _strang(p: Mapping[str, Array], h: float, state: Array, u: Array, turn: float) -> Array:
    components = state.shape[1] // 2
    psi = state[:, :components] + 1j * state[:, components:]
    after = []
    for one, value in zip(psi, u, strict=True):
        hopping, flips, diagonal = hamiltonian(p, value)
        hop, flip, phase = expm(-0.5j * h * hopping), expm(-0.5j * h * turn * flips), expm(-1j * h * diagonal)
        # the site is the slow index of the Kronecker products, and the fast one of the state
        after.append((hop @ flip @ phase @ flip @ hop @ one.T.ravel()).reshape(-1, components).T)
    moved = np.array(after)
    return np.concatenate([moved.real, moved.imag], axis=1)
