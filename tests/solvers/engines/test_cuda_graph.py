"""Graphs of whole sequences: their bookkeeping on the CPU, where a stand-in records, and the real ones on a GPU.

The stand-in does what a CUDA graph does to memory: recorded work runs again on the same inputs and overwrites the same
outputs. So a replay between a forward and a backward pass destroys here what it destroys there.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from odernn.solvers.cell import ODERNN
from odernn.solvers.engines.cuda_graph import (
    GRAPHS,
    Captured,
    Graphs,
    Recorder,
    Refusal,
    Replayable,
    Work,
    available,
    busy,
    capturable,
    precision_facts,
    solve_by_graph,
)
from odernn.suite.errors import Diverged
from odernn.suite.seeds import stream

NO_GPU = available()
gpu = pytest.mark.skipif(bool(NO_GPU), reason=f"needs a CUDA device: {NO_GPU}")


class Again(Replayable):
    """Work done again, into the tensors that it first wrote."""

    def __init__(self, work: Work, written: tuple[Tensor | None, ...]) -> None:
        self.work, self.written, self.replays = work, written, 0

    def replay(self) -> None:
        self.replays += 1
        with torch.enable_grad():
            new = self.work()
        with torch.no_grad():
            for old, value in zip(self.written, new, strict=True):
                if old is not None and value is not None:
                    old.copy_(value)


class Stand(Recorder):
    """A recorder without a GPU. made: what was recorded; fails: the error that recording ends with, if any."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.made: list[Again] = []

    def warm(self, work: Work) -> None:
        work()
        if self.fails:
            raise RuntimeError(self.fails)

    def record(self, work: Work) -> tuple[Replayable, tuple[Tensor | None, ...]]:
        written = tuple(None if t is None else t.detach().clone() for t in work())
        for t in written:
            if t is not None:
                t.fill_(float("nan"))  # a capture computes nothing
        self.made.append(Again(work, written))
        return self.made[-1], written


def graphs(fails: str = "", kept: int = 8) -> tuple[Graphs, list[Stand]]:
    """Graphs by stand-ins, and these."""
    stands: list[Stand] = []

    def recorder(device: torch.device) -> Recorder:
        stands.append(Stand(fails))
        return stands[-1]

    return Graphs(recorder, lambda device: "", kept), stands


def cell(name: str = "leaky", method: str = "rk4", step: float = 0.1, **more: Any) -> ODERNN:
    torch.manual_seed(int(stream(0, f"graph/{name}").integers(1 << 31)))
    return ODERNN(2, 4, name, method, step, dtype=torch.float64, engine="general", **more)


def inputs(time: int = 5, batch: int = 3, which: int = 0) -> Tensor:
    return torch.as_tensor(stream(which, "graph/inputs").standard_normal((time, batch, 2)))


def by_graph(found: Graphs, model: ODERNN, u: Tensor, y0: Tensor | None = None) -> Tensor:
    field, k = model.field, model.substeps
    start = field.initial(u.shape[1]) if y0 is None else y0
    times = [model.step * i / k for i in range(len(u) * k + 1)]
    solution = found.fixed(field, start, field.drive(u), times, model.tableau, field.weights(), k)
    assert not isinstance(solution, Refusal), solution.reason
    states: Tensor = solution.states
    return states


def eagerly(model: ODERNN, u: Tensor, y0: Tensor | None = None) -> Tensor:
    """States by the general path, flat."""
    state = None if y0 is None else y0.reshape(len(y0), model.blocks, -1)
    return model.trajectory(u, state).flatten(2)


def slopes(model: ODERNN, loss: Tensor, more: tuple[Tensor, ...] = ()) -> list[Tensor]:
    found = torch.autograd.grad(loss, [*model.field.parameters(), *more], allow_unused=True)
    return [torch.zeros(()) if g is None else g for g in found]


CASES = [
    ("leaky", "rk4", 0.1),
    ("leaky", "tsitouras54", 0.1),
    ("lstm-field", "gauss-seidel-euler", 1.0),
    ("unicornn", "symplectic-euler", 0.1),
    ("gru-field", "euler", 1.0),
    ("exprnn", "lie", 1.0),
]


@pytest.mark.parametrize(("name", "method", "step"), CASES)
def test_a_replay_is_the_general_path(name: str, method: str, step: float) -> None:
    model, (found, stands) = cell(name, method, step), graphs()
    for which in (0, 1):  # the second one replays
        u = inputs(which=which).requires_grad_()
        ours, theirs = by_graph(found, model, u), eagerly(model, u)
        assert torch.equal(ours, theirs)
        for a, b in zip(
            slopes(model, ours.square().sum(), (u,)), slopes(model, theirs.square().sum(), (u,)), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    assert len(stands) == 1


def test_substeps_and_evaluations() -> None:
    model, (found, _) = cell(substeps=3), graphs()
    u, field = inputs(), model.field
    times = [model.step * i / 3 for i in range(16)]
    solution = found.fixed(field, field.initial(3), field.drive(u), times, model.tableau, field.weights(), 3)
    assert not isinstance(solution, Refusal)
    assert torch.equal(solution.states[::3], eagerly(model, u))
    assert (solution.f_calls, solution.accepted) == (model.f_calls_of(u), 15)


def test_two_sequences_of_one_shape_before_their_gradients() -> None:
    """The second overwrites what the first saved: without the count of replays the first gradient would be wrong."""
    model, (found, stands) = cell(), graphs()
    a, b = inputs(which=1).requires_grad_(), inputs(which=2).requires_grad_()
    first, second = by_graph(found, model, a), by_graph(found, model, b)
    loss = (first * second.detach()).square().sum() + second.square().sum()
    x, y = eagerly(model, a), eagerly(model, b)
    expected = (x * y.detach()).square().sum() + y.square().sum()
    for ours, theirs in zip(slopes(model, loss, (a, b)), slopes(model, expected, (a, b)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)
    assert len(stands) == 1
    assert stands[0].made[0].replays == 3  # one of them repeats the first forward pass


def test_a_stale_graph_would_be_wrong() -> None:
    """That the stand-in can tell: the gradient of a stale replay differs."""
    model, (found, _) = cell(), graphs()
    u = [inputs(which=k).requires_grad_() for k in (1, 2)]
    field = model.field
    times = tuple(model.step * i for i in range(6))
    weights = tuple(w.detach().requires_grad_() for w in field.weights())
    packed = [(field.initial(3), field.drive(one).detach().requires_grad_(), *weights) for one in u]
    wanted = (False, *(True for _ in packed[0][1:]))
    captured = found.captured(field, packed[0], wanted, times, model.tableau, 1)
    assert isinstance(captured, Captured)
    states, first = captured.forward(packed[0])
    _, second = captured.forward(packed[1])
    assert first != second
    right = captured.backward(packed[0], first, torch.ones_like(states))[1]
    captured.forward(packed[1])
    stale = captured.backward(packed[0], captured.generation, torch.ones_like(states))[1]
    assert right is not None
    assert stale is not None
    assert not torch.allclose(right, stale)


def test_pieces_of_a_sequence() -> None:
    """As `gradient_ratio` runs them: the first and the last step have one shape."""
    model, (found, _) = cell("lstm-field", "gauss-seidel-euler", 1.0), graphs()
    u = inputs(time=6)

    def loss(run: Callable[..., Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        head = run(u[:1], model.field.initial(3))
        body = run(u[1:-1], head[-1])
        tail = run(u[-1:], body[-1])
        return torch.cat([head[1:], body[1:], tail[1:]]).square().sum(), head, body

    ours, head, body = loss(lambda u, y0: by_graph(found, model, u, y0))
    theirs, first, last = loss(lambda u, y0: eagerly(model, u, y0))
    for a, b in zip(slopes(model, ours, (head, body)), slopes(model, theirs, (first, last)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_a_second_backward_pass_over_one_graph() -> None:
    model, (found, _) = cell(), graphs()
    u = inputs().requires_grad_()
    states = by_graph(found, model, u)
    (once,) = torch.autograd.grad(states.square().sum(), u, retain_graph=True)
    by_graph(found, model, inputs(which=4).requires_grad_())
    (twice,) = torch.autograd.grad(states.square().sum(), u)
    torch.testing.assert_close(once, twice, rtol=0, atol=0)


def test_weights_are_read_anew() -> None:
    model, (found, stands) = cell(), graphs()
    u = inputs()
    before = by_graph(found, model, u)
    with torch.no_grad():
        for p in model.field.parameters():
            p.mul_(0.5)
    assert not torch.equal(by_graph(found, model, u), before)
    assert torch.equal(by_graph(found, model, u), eagerly(model, u))
    assert len(stands) == 1


def test_an_update_before_the_backward_pass_is_refused() -> None:
    """As torch refuses it of the general path; a replay with the new weights would be wrong."""
    model, (found, _) = cell(), graphs()
    u = inputs().requires_grad_()
    states = by_graph(found, model, u)
    with torch.no_grad():
        for p in model.field.parameters():
            p.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        states.sum().backward()


def test_states_outlive_the_next_replay() -> None:
    model, (found, _) = cell(), graphs()
    states = by_graph(found, model, inputs(which=1))
    copy = states.clone()
    by_graph(found, model, inputs(which=2))
    assert torch.equal(states, copy)


def test_what_has_a_graph_of_its_own() -> None:
    model, (found, stands) = cell(), graphs()
    u = inputs()
    by_graph(found, model, u)
    for changed in (inputs(time=4), inputs(batch=2), inputs().requires_grad_()):
        before = len(stands)
        by_graph(found, model, changed)
        assert len(stands) == before + (changed.requires_grad is False)  # the drive has a gradient anyway: of V
    with torch.no_grad():
        assert not by_graph(found, model, u).requires_grad
    model.step = 0.2
    by_graph(found, model, u)
    model.field.float()
    by_graph(found, model, u.float())
    assert len(stands) == 6
    other = cell()
    by_graph(found, other, u)
    assert len(stands) == 7


def test_few_are_kept() -> None:
    model, (found, stands) = cell(), graphs(kept=2)
    for time in (3, 4, 3, 5, 3, 4):  # 4 has gone when it comes again
        by_graph(found, model, inputs(time=time))
    assert len(stands) == 4


def test_graphs_go_with_their_field() -> None:
    class Forgets(Recorder):
        """Keeps no work, as a CUDA graph does not."""

        def warm(self, work: Work) -> None:
            work()

        def record(self, work: Work) -> tuple[Replayable, tuple[Tensor | None, ...]]:
            return Again(lambda: (), ()), work()

    found, model = Graphs(lambda device: Forgets(), lambda device: ""), cell()
    by_graph(found, model, inputs())
    gone = weakref.ref(model.field)
    del model
    gc.collect()
    assert gone() is None


def test_a_failed_capture_is_a_reason_and_not_tried_again() -> None:
    model, (found, stands) = cell(), graphs(fails="operation not permitted\nmore")
    for _ in range(2):
        field, u = model.field, inputs()
        times = [0.1 * i for i in range(6)]
        refused = found.fixed(field, field.initial(3), field.drive(u), times, model.tableau, field.weights())
        assert refused == Refusal("the sequence could not be captured: operation not permitted")
    assert len(stands) == 1


def test_a_lost_solution() -> None:
    model, (found, _) = cell(), graphs()
    u = inputs()
    u[2] = float("nan")
    with pytest.raises(Diverged, match="step 3"):
        by_graph(found, model, u)


def test_what_cannot_be_captured() -> None:
    assert "solves equations" in capturable(cell(method="implicit-midpoint").tableau, cell().field)
    lstm = cell("lstm-field", "gauss-seidel-euler")
    assert capturable(lstm.tableau, lstm.field) == ""

    class Own(torch.nn.Module):
        def forward(self, t: Any, y: Tensor, u: Tensor) -> Tensor:
            return -y

    assert "torch module" in capturable(cell().tableau, ODERNN(2, 4, Own(), "rk4").field)
    assert "not on a CUDA device" in busy(torch.device("cpu"))
    model = cell()
    refused = solve_by_graph(model.field, model.field.initial(3), inputs(), model.tableau, 0.1, 1)
    assert isinstance(refused, Refusal)
    assert "CUDA" in refused.reason


def test_precision_facts_follow_torch() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert precision_facts(torch.device("cpu")) == {"float32_matmul_precision": "high"}
        assert precision_facts(torch.device("cuda"))["float32_matmul_precision"] == "high"
        torch.set_float32_matmul_precision("highest")
        assert precision_facts(torch.device("cuda"))["float32_matmul_precision"] == "highest"
    finally:
        torch.set_float32_matmul_precision(before)


@gpu
@pytest.mark.parametrize(("name", "method", "step"), CASES)
def test_on_a_gpu(name: str, method: str, step: float) -> None:
    model = cell(name, method, step).cuda()
    for which in (0, 1, 2):
        u = inputs(which=which).cuda().requires_grad_()
        field = model.field
        solution = solve_by_graph(field, field.initial(3), u, model.tableau, model.step, model.substeps)
        if name == "exprnn":  # its matrix exponential is chosen by a norm that the host reads
            assert isinstance(solution, Refusal)
            return
        assert not isinstance(solution, Refusal), solution.reason
        ours, theirs = solution.states, eagerly(model, u)
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-14)
        for a, b in zip(
            slopes(model, ours.square().sum(), (u,)), slopes(model, theirs.square().sum(), (u,)), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@gpu
def test_interleaved_on_a_gpu() -> None:
    model = cell().cuda()
    a, b = (inputs(which=k).cuda().requires_grad_() for k in (1, 2))
    loss = by_graph(GRAPHS, model, a).square().sum() + by_graph(GRAPHS, model, b).pow(3).sum()
    expected = eagerly(model, a).square().sum() + eagerly(model, b).pow(3).sum()
    for ours, theirs in zip(slopes(model, loss, (a, b)), slopes(model, expected, (a, b)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)
