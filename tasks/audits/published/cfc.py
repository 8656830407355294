"""Closed-form continuous-time cell (CfC, default mode): y+ = tanh(f1) (1 - s) + s tanh(f2).

e = 1.7159 tanh(0.666 (W_bb y + V_bb u + b_bb)), f_k = F_k e + b_k, s = sg((T_a e + b_a) elapsed + T_b e + b_b)
As the released code has it. At elapsed = 0 the step is not the identity: no flow has that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from ....suite.contracts import Array

PAPER = (
    "Hasani et al., Closed-form continuous-time neural networks, Nature Machine Intelligence 4 (2022) 992-1003, "
    "arXiv:2106.13898, default mode of the released code"
)
STEP: float | None = 1.0
WRONG = "a plain tanh in the backbone instead of 1.7159 tanh(0.666 x)"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The published map; its time is constant:elapsed."""
    return _blend(p, 1.7159 * np.tanh(0.666 * _backbone(p, state, u)))


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """Another activation of the backbone."""
    return _blend(p, np.tanh(_backbone(p, state, u)))


def _backbone(p: Mapping[str, Array], state: Array, u: Array) -> Array:
    a: Array = state[:, 0] @ p["W_bb"].T + u @ p["V_bb"].T + p["b_bb"]
    return a


def _blend(p: Mapping[str, Array], e: Array) -> Array:
    f1, f2 = (np.tanh(e @ p[f"F_{k}"].T + p[f"b_{k}"]) for k in "12")
    s = expit((e @ p["T_a"].T + p["b_a"]) * p["constant:elapsed"] + e @ p["T_b"].T + p["b_b"])
    return np.expand_dims(f1 * (1 - s) + s * f2, 1)
