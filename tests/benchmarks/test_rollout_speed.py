"""Seconds of one forward and backward pass of a recurrent cell, beside peers and the floor of its matrix products.

Run with `pytest tests/benchmarks --benchmark-enable`; without it every case runs once at a tiny size, as a test that it
works. All peers of a group do the same workload in one process on the same cores; read the ratios, not the seconds. The
experiment `speed` measures the same peers in turns and writes rows.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import pytest

from odernn.solvers.peers import ours
from odernn.solvers.peers.clock import Peer, Run, allowed_cores, cores
from odernn.solvers.peers.problem import SequenceProblem
from odernn.solvers.peers.roster import sequence_peers
from odernn.solvers.peers.timing import sequence_problem
from odernn.solvers.recurrence import Recurrence
from odernn.solvers.spec import parse
from odernn.suite.contracts import Workload

METHODS = {"leaky": ("rk4", 0.1), "lstm-field": ("gauss-seidel-euler", 1.0)}
SIZES = {"leaky": [(32, 32), (128, 64), (256, 128)], "lstm-field": [(32, 32), (128, 64)]}
"""(hidden, batch)."""

EVERY = ("odernn general", "odernn auto", "jax.lax.scan", "products alone")
PEERS = {
    "leaky": (
        *EVERY,
        *("torch loop", "torchdiffeq", "torchdiffeq own rk4", "diffrax", "torchode"),
        "torch.nn.RNN (one stage, another model)",
    ),
    "lstm-field": (*EVERY, "torch.nn.LSTM"),
}
CASES = [(cell, *size, name) for cell, sizes in SIZES.items() for size in sizes for name in PEERS[cell]]
STEPS, TINY = 200, (4, 2, 3)


@lru_cache(maxsize=1)
def problem(cell: str, hidden: int, batch: int, steps: int) -> SequenceProblem:
    tableau, h = METHODS[cell]
    entries = {"cell": cell, "tableau": tableau, "backend": "native", "step": h, "hidden": hidden}
    return sequence_problem(Recurrence(parse(entries), "cpu", "float32"), Workload("sequence", steps, batch), 0)


@lru_cache(maxsize=16)
def made(name: str, cell: str, hidden: int, batch: int, steps: int) -> Run:
    """What is timed, after a first call, in which it may compile."""
    given = problem(cell, hidden, batch, steps)
    own = [Peer(f"odernn {engine}", partial(ours.through, given, engine)) for engine in ("general", "auto")]
    run = {peer.name: peer for peer in (*own, *sequence_peers(given))}[name].make()
    run()
    return run


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("cell", "hidden", "batch", "name"), CASES)
def test_forward_and_backward(benchmark: Any, cell: str, hidden: int, batch: int, name: str, threads: int) -> None:
    if threads > len(allowed_cores()):
        pytest.skip("fewer cores than threads")
    if benchmark.disabled and name == "diffrax":
        pytest.skip("takes seconds to compile; tests/solvers/test_peers.py has it")
    hidden, batch, steps = TINY if benchmark.disabled else (hidden, batch, STEPS)
    benchmark.group = f"{cell}, {METHODS[cell][0]}, {steps} steps, hidden {hidden}, batch {batch}, {threads} threads"
    with cores(threads):
        try:
            run = made(name, cell, hidden, batch, steps)
        except ImportError as error:
            pytest.skip(f"package {error.name} is not installed")
        benchmark(run)
