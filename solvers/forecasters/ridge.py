"""Linear least squares with a ridge, by orthogonal factors: never by the normal equations.

The feature matrices of delayed series and their monomials have condition numbers near 1 / eps, and X^T X squares them:
a Cholesky factor then fails or answers with noise, and what a forecaster is worth would hang on it (arXiv:2505.00846).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import svd

from ...suite.contracts import Array


def ridge_regression(features: Array, targets: Array, ridge: float) -> Array:
    """W (features, outputs) that minimises |X W - Y|^2 + ridge |W|^2 for X (n, features), Y (n, outputs).

    X = Q R, then R = U S V^T: W = V S / (S^2 + ridge) U^T Q^T Y. Directions below the rounding of the largest singular
    value are left out, so that a ridge of zero gives the solution of least norm.
    """
    joint: Array = np.asarray(np.linalg.qr(np.concatenate([features, targets], axis=1), mode="r"))
    count = features.shape[1]
    r, projected = joint[:count, :count], joint[:count, count:]  # R of X, and Q^T Y
    u, s, vt = svd(r, full_matrices=False, check_finite=False)
    cutoff = s[0] * np.finfo(np.float64).eps * max(features.shape)
    damped = np.where(s > cutoff, s / (s**2 + ridge + (s <= cutoff)), 0.0)
    return np.asarray(vt.T @ (damped[:, None] * (u.T @ projected)))
