"""Seconds of one forward and backward pass of an RK4 tanh field, beside peers and the floor of its matrix products.

Run with `pytest tests/benchmarks --benchmark-enable`; without it every case runs once, as a test that it works. All
peers of a group are measured in the same process on one thread; read the ratios, not the seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torchdiffeq import odeint

from odernn.solvers.cell import ODERNN

STEPS = 50
SIZES = [(32, 32), (128, 64)]
"""(hidden, batch)."""


def _odernn(hidden: int, batch: int, backend: str) -> Callable[[], Any]:
    cell = ODERNN(hidden, hidden, "leaky", "rk4", 0.1, backend=backend)
    x = torch.randn(STEPS, batch, hidden)
    return lambda: cell(x)[0].square().mean().backward()


def _torchdiffeq_alone(hidden: int, batch: int) -> Callable[[], Any]:
    """The library used as its manual shows, with its own "rk4" (the 3/8 rule, the same cost) and no input."""
    W = torch.nn.Parameter(torch.randn(hidden, hidden) / hidden**0.5)
    y0, t = torch.randn(batch, hidden), 0.1 * torch.arange(STEPS + 1)

    def f(t: Any, y: Any) -> Any:
        return torch.tanh(y @ W) - y

    return lambda: odeint(f, y0, t, method="rk4").square().mean().backward()


def _library(cell: torch.nn.Module, hidden: int, batch: int) -> Callable[[], Any]:
    x = torch.randn(STEPS, batch, hidden)
    return lambda: cell(x)[0].square().mean().backward()


def _products(hidden: int, batch: int) -> Callable[[], Any]:
    """The matrix products alone: four stages forward, twice as many backward."""
    W = torch.nn.init.orthogonal_(torch.empty(hidden, hidden))  # keeps the numbers in range, however often applied
    y, out = torch.randn(batch, hidden), torch.empty(batch, hidden)
    grad = torch.empty(hidden, hidden)

    def run() -> None:
        with torch.no_grad():
            for _ in range(4 * STEPS):
                torch.mm(y, W, out=out)
                torch.mm(out, W.t(), out=y)
                torch.mm(y.t(), out, out=grad)

    return run


PEERS: dict[str, Callable[[int, int], Callable[[], Any]]] = {
    "odernn-native": lambda n, b: _odernn(n, b, "native"),
    "odernn-torchdiffeq": lambda n, b: _odernn(n, b, "torchdiffeq"),
    "torchdiffeq-alone": _torchdiffeq_alone,
    "torch.nn.RNN (one stage)": lambda n, b: _library(torch.nn.RNN(n, n), n, b),
    "torch.nn.LSTM": lambda n, b: _library(torch.nn.LSTM(n, n), n, b),
    "matrix products alone": _products,
}


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize(("hidden", "batch"), SIZES)
def test_forward_and_backward(benchmark: Any, peer: str, hidden: int, batch: int) -> None:
    benchmark.group = f"RK4, {STEPS} steps, hidden {hidden}, batch {batch}, float32, forward and backward"
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        benchmark(PEERS[peer](hidden, batch))
    finally:
        torch.set_num_threads(threads)
