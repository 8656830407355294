"""Peers of a speed measurement: that all compute the same, that the floor counts what a closed form counts, and that
what cannot run says why."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch.utils.flop_counter import FlopCounterMode

from odernn.solvers.cell import ODERNN
from odernn.solvers.field_integrator import FieldIntegrator
from odernn.solvers.peers import (
    clock,
    diffrax,
    jax_scan,
    ours,
    products,
    scipy,
    timing,
    torch_library,
    torch_loop,
    torchdiffeq,
    torchode,
)
from odernn.solvers.peers.clock import Peer, Run, cores, measure
from odernn.solvers.peers.problem import SequenceProblem, TrajectoryProblem
from odernn.solvers.peers.roster import BEST, FLOOR, floors, sequence_peers, trajectory_peers
from odernn.solvers.peers.timing import trajectory_problem
from odernn.solvers.peers.warm import in_new_process, nothing_compiled
from odernn.solvers.spec import parse
from odernn.suite.contracts import Workload
from odernn.suite.errors import MissingPackage, UsageError
from odernn.tasks.chaos.systems import system

T, BATCH, INPUTS, HIDDEN = 9, 3, 4, 6
LEAKY = ("leaky", "rk4", 0.1)


def problem(cell: str, tableau: str, step: float, dtype: torch.dtype = torch.float64, **more: Any) -> SequenceProblem:
    torch.manual_seed(3)
    made = ODERNN(INPUTS, HIDDEN, cell, tableau, step, engine="general", dtype=dtype, **more)
    return SequenceProblem(made, torch.randn(T, BATCH, INPUTS, dtype=torch.float64).to(dtype))


def agree(peer: Callable[[SequenceProblem], Run], given: SequenceProblem, tolerance: float = 1e-10) -> None:
    """Loss and gradients, whose largest numbers are of order 0.1 to 1, as on our general path."""
    reference, found = ours.general(given)(), peer(given)()
    assert abs(float(torch.as_tensor(found.loss).detach()) - float(reference.loss.detach())) < tolerance
    pairs = zip(given.pulled_back(found.gradients), reference.gradients, given.cell.parameters(), strict=True)
    size = 0.0
    for ours_, theirs, parameter in pairs:
        if theirs is not None:
            assert ours_.shape == parameter.shape
            torch.testing.assert_close(ours_, theirs, rtol=0, atol=tolerance)
            size = max(size, float(theirs.abs().max()) if theirs.numel() else 0.0)
    assert size > 1e-4


def test_the_loop_by_hand_is_our_general_path() -> None:
    agree(torch_loop.sequence, problem(*LEAKY))


@pytest.mark.parametrize(
    ("cell", "tableau"), [("leaky", "rk4"), ("lem", "heun2"), ("gradient", "dormand-prince54"), ("cornn", "euler")]
)
def test_torchdiffeq_and_torchode_are_our_general_path(cell: str, tableau: str) -> None:
    agree(torchdiffeq.sequence, problem(cell, tableau, 0.2))
    pytest.importorskip("torchode")
    agree(torchode.sequence, problem(cell, tableau, 0.2))


def test_the_rk4_of_torchdiffeq_is_kuttas_other_method() -> None:
    agree(lambda given: torchdiffeq.sequence(given, "rk4"), problem("leaky", "rk38", 0.1))


@pytest.mark.parametrize(
    ("cell", "tableau"), [("leaky", "euler"), pytest.param("lem", "heun2", marks=pytest.mark.slow)]
)
def test_jax_and_diffrax_are_our_general_path(cell: str, tableau: str) -> None:
    pytest.importorskip("diffrax")
    agree(jax_scan.sequence, problem(cell, tableau, 0.2))
    agree(diffrax.sequence, problem(cell, tableau, 0.2))


@pytest.mark.parametrize(
    ("cell", "tableau"),
    [
        ("lstm-field", "gauss-seidel-euler"),
        pytest.param("unicornn", "symplectic-euler", marks=pytest.mark.slow),
        pytest.param("gradient", "heun2", marks=pytest.mark.slow),
    ],
)
def test_jax_has_partitioned_methods_and_mixed_fields(cell: str, tableau: str) -> None:
    pytest.importorskip("jax")
    agree(jax_scan.sequence, problem(cell, tableau, 1.0))


def test_substeps_and_single_precision() -> None:
    agree(torchdiffeq.sequence, problem("leaky", "heun2", 0.2, torch.float32, substeps=2), 2e-6)
    agree(torchdiffeq.sequence, problem("leaky", "heun2", 0.2, substeps=2))


@pytest.mark.slow
@pytest.mark.parametrize("peer", [jax_scan.sequence, diffrax.sequence])
def test_substeps_and_single_precision_in_jax(peer: Callable[[SequenceProblem], Run]) -> None:
    pytest.importorskip("diffrax")
    agree(peer, problem("leaky", "heun2", 0.2, torch.float32, substeps=2), 2e-6)


def test_single_precision_is_not_widened_in_jax() -> None:
    """Although jax is told to have double precision, no operation of a float32 workload may be in it."""
    jax = pytest.importorskip("jax")
    pytest.importorskip("diffrax")
    from odernn.solvers.peers.jax_field import JaxField, step_of

    jax.config.update("jax_enable_x64", True)
    for cell, tableau in (("leaky", "rk4"), ("lstm-field", "gauss-seidel-euler"), ("cornn", "dormand-prince54")):
        given = problem(cell, tableau, 0.1, torch.float32)
        field = JaxField(given)
        y, drive, weights = (
            jax.numpy.asarray(given.start().numpy()),
            jax.numpy.asarray(given.field.drive(given.x)[0].detach().numpy()),
            [jax.numpy.asarray(w.detach().numpy()) for w in given.field.weights()],
        )
        printed = str(jax.make_jaxpr(step_of(given, field))(y, drive, weights))
        assert "f32[" in printed
        assert "f64[" not in printed


def test_the_lstm_of_torch_is_the_lstm_field() -> None:
    """With our weights copied in: gates in the order i, f, g, o, one bias."""
    given = problem("lstm-field", "gauss-seidel-euler", 1.0)
    field, library = given.field, torch.nn.LSTM(INPUTS, HIDDEN, dtype=torch.float64)
    names = field.named_weights()
    with torch.no_grad():
        library.weight_hh_l0.copy_(torch.cat([names[f"W_{gate}"] for gate in "ifgo"]))
        library.weight_ih_l0.copy_(torch.cat([names[f"V_{gate}"] for gate in "ifgo"]))
        library.bias_ih_l0.copy_(torch.cat([names[f"b_{gate}"] for gate in "ifgo"]))
        library.bias_hh_l0.zero_()
    torch.testing.assert_close(library(given.x)[0], given.cell(given.x)[0], rtol=0, atol=1e-12)
    passed = torch_library.lstm(given)()
    assert [g.shape for g in passed.gradients] == [p.shape for p in library.parameters()]


# ------------------------------------------------------------------------------------------------------------ the floor


def test_the_floor_of_a_tanh_field_has_its_closed_form() -> None:
    """Four stages of n x n forward, twice as much backward; the inputs once forward and once backward."""
    found = products.products_of(problem(*LEAKY))
    assert found.operations == 2 * T * BATCH * (3 * 4 * HIDDEN**2 + 2 * INPUTS * HIDDEN)
    lstm = products.products_of(problem("lstm-field", "gauss-seidel-euler", 1.0))
    assert lstm.operations == 2 * T * BATCH * (3 * 4 * HIDDEN**2 + 2 * INPUTS * 4 * HIDDEN)


@pytest.mark.parametrize(("cell", "tableau"), [("leaky", "rk4"), ("lem", "heun2"), ("antisymmetric", "rk4")])
def test_the_floor_is_what_torch_counts_on_our_general_path(cell: str, tableau: str) -> None:
    """Torch's counter counts forward and backward of every product; the gradient of the zero start, which nobody asks
    for, is not computed: one product less for the first slopes."""
    given = problem(cell, tableau, 0.1)
    found = products.products_of(given)
    with FlopCounterMode(display=False) as counter:
        given.cell(given.x)[0].square().mean().backward()
    first = products.products_of(SequenceProblem(given.cell, given.x[:1]))
    unneeded = found.operations - counter.get_total_flops()
    assert 0 <= unneeded <= first.operations


def test_the_floor_runs_its_own_count() -> None:
    given = problem("lem", "heun2", 0.1)
    run = products.floor(given)
    with FlopCounterMode(display=False) as counter:
        run()
    assert counter.get_total_flops() == products.products_of(given).operations
    mm, best = floors(given)
    assert (mm.name, best.name) == (FLOOR, BEST)
    with FlopCounterMode(display=False) as counter:
        best.make()()
    assert best.factor * counter.get_total_flops() == pytest.approx(mm.operations, rel=1e-12)


def test_what_is_no_equation_has_no_peers_and_no_floor() -> None:
    qunn = ODERNN(INPUTS, HIDDEN, "qunn", "euler", 0.1, engine="general")
    given = SequenceProblem(qunn, torch.randn(T, BATCH, INPUTS))
    assert floors(given) == []
    assert sequence_peers(given) == []


# --------------------------------------------------------------------------------------------------------- trajectories


def given_equation(tableau: str, batch: int, rtol: float | None) -> TrajectoryProblem:
    entries = {"cell": "true-field", "tableau": tableau, "backend": "native", "engine": "general"}
    solver = FieldIntegrator(parse(entries | ({} if rtol is None else {"rtol": rtol})), "cpu", "float64")
    start = np.array([1.0, 1.0, 20.0]) + np.arange(3 * batch).reshape(batch, 3) / 10
    return trajectory_problem(solver, Workload("trajectory", 50, batch, span=0.5), system("lorenz63").equation, start)


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_trajectory_peers_on_a_grid_are_our_general_path(batch: int) -> None:
    given = given_equation("rk4", batch, None)
    reference = given.ours("general")().y[-1]
    assert reference.shape == ((3,) if batch == 1 else (batch, 3))
    for peer in trajectory_peers(given):
        if peer.name == "diffrax":
            pytest.importorskip("diffrax")
        found = peer.make()()
        np.testing.assert_allclose(np.asarray(found), reference, rtol=0, atol=1e-11, err_msg=peer.name)


def test_adaptive_trajectory_peers_are_right() -> None:
    given = given_equation("dormand-prince54", 2, 1e-8)
    f = given.equation.function()
    exact = [
        solve_ivp(f, (0.0, 0.5), one, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
        for one in given.y0.reshape(-1, 3)
    ]
    peers = trajectory_peers(given)
    assert [peer.name for peer in peers] == ["diffrax", "SciPy solve_ivp", "torchdiffeq", "torchode"]
    for peer in peers:
        try:
            run = peer.make()
        except ImportError:
            continue
        found = np.asarray(run())
        assert found.shape == given.y0.shape
        np.testing.assert_allclose(found.reshape(-1, 3), exact, rtol=1e-5, atol=0, err_msg=peer.name)


def test_ours_of_a_batch_is_named_by_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trajectories that share their steps are solved by the general path: no compiled engine may be told instead."""
    monkeypatch.setattr(timing, "in_new_process", lambda *_: 0.5)
    equation, start = system("lorenz63").equation, np.ones((2, 3))
    entries = {"cell": "true-field", "tableau": "dormand-prince54", "backend": "native", "rtol": 1e-4}
    for more, names in (({}, ["general", "compiled"]), ({"per_trajectory": True}, ["cpu", "general"])):
        solver = FieldIntegrator(parse(entries | more), "cpu", "float64")
        found = solver.timings(Workload("trajectory", 1, 2, rounds=1, span=0.1), 0, False, equation, start)
        assert [one.name for one in found] == [f"odernn {name}" for name in names]
        assert found[0].warm == (0.5 if more else None)
        assert ("share their steps" in found[1].reason) == (not more)


def test_what_was_measured_outlives_a_process_that_gave_no_warm_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> float:
        raise UsageError("a new process ended without a value.")

    monkeypatch.setattr(timing, "in_new_process", broken)
    solver = FieldIntegrator(parse({"cell": "true-field", "tableau": "rk4", "backend": "native"}), "cpu", "float64")
    asked = Workload("trajectory", 5, 1, rounds=2, span=0.1)
    found = solver.timings(asked, 0, False, system("lorenz63").equation, np.ones((1, 3)))
    assert (len(found[0].seconds), found[0].warm) == (2, None)
    assert found[0].reason == "no warm first call: a new process ended without a value."


def test_a_library_with_another_pair_says_so() -> None:
    given = given_equation("bogacki-shampine32", 1, 1e-6)
    with pytest.raises(UsageError, match="not 'bogacki-shampine32'"):
        scipy.trajectory(given)


# --------------------------------------------------------------------------------------------------------- measurements


def test_every_peer_is_measured_in_every_round_and_first_of_all_once() -> None:
    order: list[str] = []

    def peer(name: str) -> Peer:
        def run() -> None:
            order.append(name)
            time.sleep(0.021)  # longer than the shortest round, so that a round is one call

        return Peer(name, lambda: run)

    found = measure([peer("a"), peer("b"), peer("c")], 4)
    assert order == [*"aa", *"bb", *"cc", *"abc", *"bca", *"cab", *"abc"]
    assert [one.name for one in found] == ["a", "b", "c"]
    assert all(len(one.seconds) == 4 and min(one.seconds) >= 0.021 and one.first >= 0.021 for one in found)


def test_a_slow_peer_has_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "PATIENCE", 0.1)
    peers = [Peer(str(s), lambda s=s: lambda: time.sleep(s)) for s in (0.02, 0.04, 0.11)]  # type: ignore[misc]
    quick, slow, slowest = measure(peers, 5)
    assert len(quick.seconds) >= len(slow.seconds) == 3
    assert len(slowest.seconds) == 1


def test_first_calls_compile_and_warm_ones_find_what_they_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ODERNN_CACHE", str(tmp_path))
    with nothing_compiled():
        inside = Path(os.environ["ODERNN_CACHE"])
        assert inside != tmp_path
        assert list(inside.iterdir()) == []
    assert not inside.exists()
    assert os.environ["ODERNN_CACHE"] == str(tmp_path)


def test_a_missing_package_and_any_other_failure_are_reasons() -> None:
    def missing() -> Run:
        import package_that_nobody_has  # type: ignore[import-not-found]

        return package_that_nobody_has.run  # type: ignore[no-any-return]

    def told() -> Run:
        raise MissingPackage("peer 'x' needs a package: pip install x")

    def broken() -> Run:
        return lambda: 1 // 0

    peers = [Peer("gone", missing), Peer("told", told), Peer("broken", broken), Peer("good", lambda: lambda: None)]
    gone, said, wrong, good = measure(peers, 3)
    assert (gone.seconds, gone.first) == ((), None)
    assert gone.reason == "package package_that_nobody_has is not installed"
    assert said.reason == "peer 'x' needs a package: pip install x"
    assert wrong.reason.startswith("ZeroDivisionError")
    assert (len(good.seconds), good.reason) == (3, "")


def test_importing_the_peers_imports_no_optional_package() -> None:
    script = (
        "import sys\nimport odernn.solvers.peers.timing\n"
        "assert not {'jax', 'diffrax', 'torchode', 'torchdiffeq'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="the system cannot pin a process to cores")
def test_all_threads_are_held_to_the_cores_and_let_go() -> None:
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    torch.randn(200, 200) @ torch.randn(200, 200)
    with cores(1):
        held = {int(one): os.sched_getaffinity(int(one)) for one in os.listdir("/proc/self/task")}
        assert all(len(affinity) == 1 for affinity in held.values())
        assert torch.get_num_threads() == 1
    assert os.sched_getaffinity(0) == before
    assert torch.get_num_threads() == threads
    with pytest.raises(UsageError, match="this process may use"), cores(len(before) + 1):
        pass
    with pytest.raises(ZeroDivisionError), cores(1):
        _ = 1 // 0
    assert os.sched_getaffinity(0) == before
    assert torch.get_num_threads() == threads


def test_a_new_process_gives_its_value_or_a_sentence() -> None:
    assert in_new_process(float, "2.5") == 2.5
    with pytest.raises(UsageError, match="without a value"):
        in_new_process(float, "none")
