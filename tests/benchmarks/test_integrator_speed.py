"""Seconds to integrate Lorenz-63 by our paths and by other libraries: on a fixed grid, and with steps of their own.

Run with `pytest tests/benchmarks --benchmark-enable`; without it every case runs once on a short span, as a test that
it works. The experiment `speed` measures the same peers in turns and writes rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from odernn.solvers.field_integrator import FieldIntegrator
from odernn.solvers.peers.clock import Peer, cores
from odernn.solvers.peers.problem import TrajectoryProblem
from odernn.solvers.peers.roster import trajectory_peers
from odernn.solvers.peers.timing import trajectory_problem
from odernn.solvers.spec import parse
from odernn.suite.contracts import Workload
from odernn.tasks.audits.speed import Speed
from odernn.tasks.chaos.systems import system

PEERS = ("odernn general", "odernn auto", "diffrax", "SciPy solve_ivp", "torchdiffeq")
CASES = [*((False, name) for name in PEERS), *((True, name) for name in (*PEERS, "torchode"))]
SPAN, STEPS, SHORT = 2.0, 200, 0.05


def problem(batch: int, adaptive: bool, span: float) -> TrajectoryProblem:
    tableau: dict[str, Any] = {"tableau": "dormand-prince54", "rtol": 1e-8} if adaptive else {"tableau": "rk4"}
    solver = FieldIntegrator(parse({"cell": "true-field", "backend": "native", **tableau}), "cpu", "float64")
    workload = Workload("trajectory", round(STEPS * span / SPAN), batch, span=span)
    return trajectory_problem(solver, workload, system("lorenz63").equation, Speed(batch=batch).start(0))


def solved(given: TrajectoryProblem, engine: str) -> Callable[[], Any]:
    solve = given.ours(engine)
    return lambda: solve().y[-1]


@pytest.mark.parametrize("batch", [1, 256])
@pytest.mark.parametrize(("adaptive", "name"), CASES)
def test_lorenz(benchmark: Any, adaptive: bool, batch: int, name: str) -> None:
    tiny = benchmark.disabled
    if tiny and name == "diffrax" and batch > 1:
        pytest.skip("takes a second to compile; one start is enough of a test")
    given = problem(min(batch, 3) if tiny else batch, adaptive, SHORT if tiny else SPAN)
    how = "Dormand-Prince, rtol = atol = 1e-8" if adaptive else f"RK4, {given.steps} steps"
    benchmark.group = f"Lorenz-63, t = {given.span:g}, {how}, batch {batch}, float64"
    own = [Peer(f"odernn {engine}", partial(solved, given, engine)) for engine in ("general", "auto")]
    peers = {peer.name: peer for peer in (*own, *trajectory_peers(given))}
    with cores(1):
        try:
            run = peers[name].make()
        except ImportError as error:
            pytest.skip(f"package {error.name} is not installed")
        run()  # compiles
        found = np.asarray(benchmark(run))
    assert found.shape == given.y0.shape
    assert np.isfinite(found).all()
