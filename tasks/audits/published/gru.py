"""GRU as PyTorch and cuDNN have it: `torch.nn.GRU` itself in float64. The reset gate multiplies after the product.

r, z = sg(W y + V u + b), n = tanh(V_n u + b_n + r (W_h y + b_h)), y+ = (1 - z) n + z y.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from ....suite.contracts import Array

PAPER = (
    "Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014, arXiv:1406.1078 (the gates); "
    "torch.nn.GRU (the place of the reset gate)"
)
STEP: float | None = 1.0
WRONG = "the reset gate multiplies the state before the product, as in the first paper"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """One step of torch.nn.GRU. Needs torch."""
    import torch

    inputs, hidden = u.shape[-1], state.shape[-1]
    gru = torch.nn.GRU(inputs, hidden, dtype=torch.float64)
    values = {
        "weight_ih_l0": np.concatenate([p["V_r"], p["V_z"], p["V_n"]]),
        "weight_hh_l0": np.concatenate([p["W_r"], p["W_z"], p["W_h"]]),
        "bias_ih_l0": np.concatenate([p["b_r"], p["b_z"], p["b_n"]]),
        "bias_hh_l0": np.concatenate([np.zeros(2 * hidden), p["b_h"]]),
    }
    gru.load_state_dict({key: torch.tensor(value, dtype=torch.float64) for key, value in values.items()})
    with torch.no_grad():
        output, _ = gru(torch.tensor(u)[None], torch.tensor(state[:, 0])[None])
    after: Array = output[0].numpy()
    return np.expand_dims(after, 1)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """n = tanh(V_n u + b_n + W_h (r y) + b_h): the first version of the cell."""
    y = state[:, 0]
    r, z = (expit(y @ p[f"W_{k}"].T + u @ p[f"V_{k}"].T + p[f"b_{k}"]) for k in "rz")
    n = np.tanh(u @ p["V_n"].T + p["b_n"] + (r * y) @ p["W_h"].T + p["b_h"])
    return np.expand_dims((1 - z) * n + z * y, 1)
