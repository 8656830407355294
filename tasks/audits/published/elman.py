"""Elman's network: `torch.nn.RNN` itself, with tanh, in float64; y+ = tanh(W y + V u + b)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....suite.contracts import Array

PAPER = "Elman, Finding structure in time, Cognitive Science 14 (1990) 179-211; torch.nn.RNN"
STEP: float | None = 1.0
WRONG = "W acts on rows instead of columns"


def update(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """One step of torch.nn.RNN. Needs torch."""
    import torch

    inputs, hidden = u.shape[-1], state.shape[-1]
    rnn = torch.nn.RNN(inputs, hidden, nonlinearity="tanh", dtype=torch.float64)
    values = {"weight_ih_l0": p["V"], "weight_hh_l0": p["W"], "bias_ih_l0": p["b"], "bias_hh_l0": np.zeros(hidden)}
    rnn.load_state_dict({key: torch.tensor(value, dtype=torch.float64) for key, value in values.items()})
    with torch.no_grad():
        output, _ = rnn(torch.tensor(u)[None], torch.tensor(state[:, 0])[None])
    after: Array = output[0].numpy()
    return np.expand_dims(after, 1)


def wrong(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
    """The row-vector convention of some libraries, taken over with a matrix of the other one."""
    after: Array = np.tanh(state @ p["W"] + (u @ p["V"].T + p["b"])[:, None])
    return after
