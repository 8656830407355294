"""torch.nn.LSTM and torch.nn.GRU with a linear readout, honest biases, and the effective number of parameters.

torch adds two bias vectors to every gate; where they only enter through their sum, a second one trains nothing new and
doubles the bias's learning rate. The LSTM here keeps the second at zero and does not train it. In a GRU the candidate's
second bias sits inside the product with the reset gate and acts, so both are trained and the sums are counted once.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor

from ..suite.errors import UsageError, unknown
from .torch_field import positive_size

LSTMState: TypeAlias = tuple[Tensor, Tensor]


class LSTM(torch.nn.Module):
    """forward(x, state=None) -> output (time, batch, output_size), (h, c), as torch.nn.LSTM does.

    forget_bias: the number that the forget gate's bias starts at; or "chrono", Tallec and Ollivier 2018
    (arXiv:1804.11188): b_f = log u, u ~ U[1, t_max - 1], b_i = -b_f, with t_max the longest dependency expected; or
    None for torch's own U(+-1/sqrt n). output_size None: no readout. Raises `UsageError` for sizes below 1, an unknown
    forget_bias, or "chrono" without a t_max above 2.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        forget_bias: float | str | None = 1.0,
        t_max: float | None = None,
        *,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        n = positive_size("hidden_size", hidden_size)
        positive_size("input_size", input_size)
        self.cell = torch.nn.LSTM(input_size, n, batch_first=batch_first, device=device, dtype=dtype)
        self.readout = _readout(n, output_size, device, dtype)
        named = dict(self.cell.named_parameters())
        bias, second = named["bias_ih_l0"], named["bias_hh_l0"]  # gates in the order input, forget, candidate, output
        second.requires_grad_(False)
        with torch.no_grad():
            second.zero_()
            if isinstance(forget_bias, str):
                if forget_bias != "chrono":
                    raise unknown("forget_bias", forget_bias, ["chrono"])
                if t_max is None or not 2 < t_max < math.inf:
                    raise UsageError(f"forget_bias 'chrono' has t_max {t_max!r}: expected a finite number above 2.")
                log_u = torch.empty(n, dtype=torch.float64).uniform_(1.0, t_max - 1.0).log()
                bias[n : 2 * n] = log_u.to(bias)
                bias[:n] = -log_u.to(bias)
            elif forget_bias is not None:
                if not math.isfinite(forget_bias):
                    raise UsageError(f"forget_bias is {forget_bias!r}: expected a finite number or 'chrono'.")
                bias[n : 2 * n] = forget_bias

    def forward(self, x: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        _check_channels(x, self.cell.input_size)
        output, last = self.cell(x, state)
        return (output if self.readout is None else self.readout(output)), last

    def parameter_count(self) -> int:
        """4 n (p + n + 1) and the readout's: one bias a gate."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)


class GRU(torch.nn.Module):
    """forward(x, state=None) -> output (time, batch, output_size), h, as torch.nn.GRU does (its biases, its start)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        *,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        n = positive_size("hidden_size", hidden_size)
        positive_size("input_size", input_size)
        self.cell = torch.nn.GRU(input_size, n, batch_first=batch_first, device=device, dtype=dtype)
        self.readout = _readout(n, output_size, device, dtype)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        _check_channels(x, self.cell.input_size)
        output, last = self.cell(x, state)
        return (output if self.readout is None else self.readout(output)), last

    def parameter_count(self) -> int:
        """3 n (p + n) + 4 n and the readout's: one bias for reset and update, two for the candidate."""
        return sum(p.numel() for p in self.parameters()) - 2 * self.cell.hidden_size


def _readout(
    hidden_size: int, output_size: int | None, device: torch.device | str | None, dtype: torch.dtype | None
) -> torch.nn.Linear | None:
    if output_size is None:
        return None
    return torch.nn.Linear(hidden_size, positive_size("output_size", output_size), device=device, dtype=dtype)


def _check_channels(x: Tensor, expected: int) -> None:
    if x.shape[-1] != expected:
        raise UsageError(f"the input has {x.shape[-1]} channels: the cell was made for {expected}.")
