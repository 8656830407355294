"""Seconds of one forward and backward pass on a GPU: both engines, the general loop, torchdiffeq and cuDNN's LSTM.

Run with `pytest tests/benchmarks/test_cuda_speed.py --benchmark-enable` on a machine with a CUDA device; skipped, with
the reason, on any other. The device's clock is waited for in every round; captures and compilations happen before the
first. Products of float32 are in full precision except where a peer's name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torchdiffeq import odeint

from odernn.solvers.cell import ODERNN
from odernn.solvers.engines import cuda_graph, triton
from odernn.solvers.engines.kernel import Reads
from odernn.solvers.engines.operands import constants, drives_of, operands, program_of
from odernn.solvers.engines.triton_text import Precision

HIDDEN, BATCH, STEPS = 128, 64, 1000
STEP = 0.1

pytestmark = pytest.mark.skipif(bool(cuda_graph.available()), reason=f"needs a GPU: {cuda_graph.available()}")

Run = Callable[[], Any]


def _cell() -> ODERNN:
    return ODERNN(HIDDEN, HIDDEN, "leaky", "rk4", STEP, engine="general", device="cuda")


def _input() -> torch.Tensor:
    return torch.randn(STEPS, BATCH, HIDDEN, device="cuda")


def _general() -> Run:
    cell, x = _cell(), _input()
    return lambda: cell(x)[0].square().mean().backward()


def _graph() -> Run:
    cell, x = _cell(), _input()

    def run() -> None:
        field = cell.field
        found = cuda_graph.solve_by_graph(field, field.initial(BATCH), x, cell.tableau, STEP, 1)
        assert not isinstance(found, cuda_graph.Refusal), found.reason
        found.states[1:].square().mean().backward()

    return run


def _triton(precision: Precision) -> Run:
    """The kernels with what torch does around them, without the check that the states are finite."""
    if reason := triton.available():
        pytest.skip(reason)
    cell, x = _cell(), _input()
    field, program = cell.field, program_of(cell.field, cell.tableau)
    reason = triton.refusal(program.step, HIDDEN, "float32", precision, x.device)
    if reason:
        pytest.skip(reason)
    engine = triton.TritonSequence(program.step, "float32", precision)
    sizes = np.full(STEPS, STEP)

    def run() -> None:
        drives, rows = drives_of(field, program, x)
        matrices, vectors = operands(field, program, STEP)
        start = field.initial(BATCH).reshape(BATCH, 1, HIDDEN)
        held = (drives.detach(), rows, matrices, vectors, constants(field, program), sizes, 1)
        with torch.no_grad():
            states, saved = engine.forward(start, Reads(*held), True)
        leaf = states.requires_grad_()
        (cotangents,) = torch.autograd.grad(leaf[1:].square().mean(), leaf)
        with torch.no_grad():
            gained = engine.backward(states.detach(), saved, Reads(*held), cotangents[1:])
        torch.autograd.backward([drives, *matrices, *vectors], [gained.drives, *gained.matrices, *gained.vectors])

    return run


def _torchdiffeq() -> Run:
    """The library used as its manual shows, with its own "rk4" (the 3/8 rule, the same cost) and no input."""
    W = torch.nn.Parameter(torch.randn(HIDDEN, HIDDEN, device="cuda") / HIDDEN**0.5)
    y0, t = torch.randn(BATCH, HIDDEN, device="cuda"), STEP * torch.arange(STEPS + 1, device="cuda")

    def f(t: Any, y: Any) -> Any:
        return torch.tanh(y @ W) - y

    return lambda: odeint(f, y0, t, method="rk4").square().mean().backward()


def _lstm() -> Run:
    """cuDNN's network: one stage a step, four gates."""
    peer, x = torch.nn.LSTM(HIDDEN, HIDDEN, device="cuda"), _input()
    return lambda: peer(x)[0].square().mean().backward()


PEERS: dict[str, Callable[[], Run]] = {
    "odernn cuda-graph": _graph,
    "odernn triton (ieee)": lambda: _triton("ieee"),
    "odernn triton (tf32x3)": lambda: _triton("tf32x3"),
    "odernn triton (tf32)": lambda: _triton("tf32"),
    "odernn triton (bf16)": lambda: _triton("bf16"),
    "odernn general loop": _general,
    "torchdiffeq alone": _torchdiffeq,
    "torch.nn.LSTM (cuDNN, one stage)": _lstm,
}


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    """TF32 off in every library, cuDNN's networks included."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize("peer", PEERS)
def test_forward_and_backward(benchmark: Any, peer: str) -> None:
    benchmark.group = f"RK4, {STEPS} steps, hidden {HIDDEN}, batch {BATCH}, float32, GPU, forward and backward"
    benchmark.extra_info.update(cuda_graph.precision_facts(torch.device("cuda")), gpu=torch.cuda.get_device_name())
    torch.manual_seed(0)
    run = PEERS[peer]()

    def timed() -> None:
        run()
        torch.cuda.synchronize()

    for _ in range(3):
        timed()
    benchmark(timed)
