"""LSTM: `torch.nn.LSTM` itself in float64. Blocks x (the output), c (the memory).

i, f, o = sg(.), g = tanh(.), each of W x + V u + b; c+ = f c + i g; x+ = o tanh(c+).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from ....suite.contracts import Array

PAPER = (
    "Hochreiter, Schmidhuber, Long Short-Term Memory, Neural Computation 9 (1997) 1735-1780; Gers, Schmidhuber, "
    "Cummins 2000 (forget gate); torch.nn.LSTM"
)
STEP: float | None = 1.0
WRONG = "the output reads the old memory c instead of the new one"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """One step of torch.nn.LSTM. Needs torch."""
    import torch

    inputs, hidden = u.shape[-1], state.shape[-1]
    lstm = torch.nn.LSTM(inputs, hidden, dtype=torch.float64)
    gates = "ifgo"  # the order in which the module stacks them
    values = {
        "weight_ih_l0": np.concatenate([p[f"V_{k}"] for k in gates]),
        "weight_hh_l0": np.concatenate([p[f"W_{k}"] for k in gates]),
        "bias_ih_l0": np.concatenate([p[f"b_{k}"] for k in gates]),
        "bias_hh_l0": np.zeros(4 * hidden),
    }
    lstm.load_state_dict({key: torch.tensor(value, dtype=torch.float64) for key, value in values.items()})
    x, c = (torch.tensor(state[:, k])[None] for k in range(2))
    with torch.no_grad():
        _, (x, c) = lstm(torch.tensor(u)[None], (x, c))
    return np.stack([x[0].numpy(), c[0].numpy()], axis=1)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """x+ = o tanh(c) with the old c, as if both blocks moved at once."""
    x, c = state[:, 0], state[:, 1]
    a = {k: x @ p[f"W_{k}"].T + u @ p[f"V_{k}"].T + p[f"b_{k}"] for k in "ifgo"}
    after = expit(a["f"]) * c + expit(a["i"]) * np.tanh(a["g"])
    return np.stack([expit(a["o"]) * np.tanh(c), after], axis=1)
