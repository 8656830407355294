"""A compiled sequence as a torch operation: its derivatives, what torch may not do with it, threads and interrupts."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from odernn.solvers.cell import ODERNN
from odernn.solvers.engines import team
from odernn.solvers.engines.choice import Choice
from odernn.suite.errors import Diverged, UsageError

F64 = torch.float64
INPUTS, HIDDEN = 2, 3
CELLS = [
    ("leaky", "rk4"),
    ("lstm-field", "gauss-seidel-euler"),
    ("unicornn", "stormer-verlet"),
    ("exprnn", "strang"),
    ("qunn", "strang"),
    ("scornn", "lie-cayley"),
    ("lru", "lie"),
]


def model(cell: str = "leaky", method: str = "rk4", engine: str = "cpu", **options: Any) -> ODERNN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return ODERNN(INPUTS, HIDDEN, cell, method, 0.3, engine=engine, **{"dtype": F64, **options})


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(("cell", "method"), CELLS)
def test_derivatives_of_outputs_and_last_state(cell: str, method: str) -> None:
    made = model(cell, method)
    state = (0.4 * drawn(2, made.blocks, HIDDEN)).requires_grad_()
    weights = [p for p in made.parameters() if p.numel()]
    for x in (drawn(3, 2, INPUTS), drawn(3, 2, INPUTS).requires_grad_()):  # without and with a gradient of the inputs
        assert torch.autograd.gradcheck(lambda x, s, *_: made(x, s), (x, state, *weights), nondet_tol=0.0)


@pytest.mark.parametrize("part", ["first output", "last state", "second block"])
def test_derivatives_of_a_part_alone(part: str) -> None:
    made = model("unicornn", "stormer-verlet", substeps=2)
    pick: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "first output": lambda output, last: output[0],
        "last state": lambda output, last: last,
        "second block": lambda output, last: last[:, 1],
    }
    x, state = drawn(3, 2, INPUTS).requires_grad_(), (0.4 * drawn(2, 2, HIDDEN)).requires_grad_()
    weights = [p for p in made.parameters() if p.numel()]
    assert torch.autograd.gradcheck(lambda x, s, *_: pick[part](*made(x, s)), (x, state, *weights))


def test_a_graph_may_be_gone_through_twice() -> None:
    made, x = model(), drawn(5, 4, INPUTS)
    loss = made(x)[0].square().sum()
    once = torch.autograd.grad(loss, list(made.parameters()), retain_graph=True)
    for a, b in zip(once, torch.autograd.grad(loss, list(made.parameters())), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("wanted", ["weights", "inputs", "state"])
def test_a_second_derivative_is_refused(wanted: str) -> None:
    made = model()
    x, state = drawn(5, 4, INPUTS), drawn(4, 1, HIDDEN)
    leaf = {"weights": next(made.parameters()), "inputs": x, "state": state}[wanted]
    made.requires_grad_(wanted == "weights")
    leaf.requires_grad_()
    (slope,) = torch.autograd.grad(made(x, state)[0].sum(), leaf, create_graph=True)  # alone it is no error
    with pytest.raises(UsageError, match="engine 'cpu' has no second derivative: expected engine='general'"):
        torch.autograd.grad(slope.sum(), leaf)


def test_a_batch_of_derivatives_is_refused() -> None:
    x = drawn(5, 4, INPUTS).requires_grad_()
    output = model()(x)[0]
    many = torch.stack([torch.ones_like(output), output.detach()])
    with pytest.raises(UsageError, match="engine='general'"):
        torch.autograd.grad(output, x, many, is_grads_batched=True, retain_graph=True)
    with pytest.raises(UsageError, match="engine='general'"):
        torch.func.vmap(lambda c: torch.autograd.grad(output, x, c, retain_graph=True)[0])(many)


def _forward_mode(made: ODERNN, x: Tensor) -> Tensor:
    with forward_ad.dual_level():
        tangent: Tensor = forward_ad.unpack_dual(made(forward_ad.make_dual(x, torch.ones_like(x)))[0]).tangent
        return tangent.clone()


def _autocast(made: ODERNN, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return made.float()(x.float())[0].detach()


def _traced(made: ODERNN, x: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced: Tensor = torch.jit.trace(made, (x,), check_trace=False)(2 * x)[0].detach()
    return traced


FOLLOWED: dict[str, Callable[[ODERNN, Tensor], Tensor]] = {
    "torch.func": lambda made, x: torch.func.jacrev(lambda u: made(u)[0])(x).detach(),
    "forward-mode": _forward_mode,
    "autocast": _autocast,
    "trace": _traced,
}


@pytest.mark.parametrize("name", FOLLOWED)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_has_to_see_every_operation_takes_the_general_path(name: str) -> None:
    x, auto = drawn(3, 2, INPUTS), model(engine="auto")
    found = FOLLOWED[name](auto, x)
    assert torch.equal(found, FOLLOWED[name](model(engine="general"), x))
    assert auto.choice.name == "general"
    assert auto.choice.reason
    auto.double()(x)
    assert auto.choice == Choice("cpu")  # that call alone
    with pytest.raises(UsageError, match=r"engine 'cpu' cannot run .*: .*Expected 'auto' or 'general'\."):
        FOLLOWED[name](model(), x)


def test_a_refusal_does_not_last(monkeypatch: pytest.MonkeyPatch) -> None:
    auto, x = model(engine="auto"), drawn(3, 2, INPUTS)
    with monkeypatch.context() as patched:
        patched.setattr("odernn.solvers.cell.solve", lambda *_: "it is busy")
        auto(x)
        assert auto.choice == Choice("general", "it is busy")
    auto(x)
    assert auto.choice == Choice("cpu")


@pytest.mark.parametrize("memory", ["states", "segments"])
def test_a_lost_state_has_its_time(memory: str) -> None:
    x = drawn(7, 4, INPUTS)
    x[5, 1, 0] = float("nan")
    segment = 2 if memory == "segments" else None
    with pytest.raises(Diverged, match=r"t = 1\.65"):  # the first of two steps of 0.15 after five inputs
        model(substeps=2, memory=memory, segment=segment)(x)


def test_copies_of_a_used_model() -> None:
    made, x = model(), drawn(5, 4, INPUTS)
    made(x)[0].sum().backward()
    output = made(x)[0]
    copied, loaded = copy.deepcopy(made), pickle.loads(pickle.dumps(made))
    with torch.no_grad():
        for p in copied.parameters():
            p.mul_(2.0)
    assert torch.equal(made(x)[0], output)
    assert torch.equal(loaded(x)[0], output)
    assert not torch.equal(copied(x)[0], output)
    assert made.float()(x.float())[0].dtype == torch.float32
    torch.testing.assert_close(made.double()(x)[0], output, rtol=1e-5, atol=1e-5)


def test_the_tableau_of_a_live_model_may_change() -> None:
    made, x = model(), drawn(5, 4, INPUTS)
    made(x)
    for method in ("euler", "heun", "rk4"):
        made.tableau = model("leaky", method).tableau
        assert torch.equal(made(x)[0], model("leaky", method)(x)[0])


def test_threads_change_no_bit() -> None:
    def gradients(made: ODERNN) -> list[Tensor]:
        output, last = made(x)
        return [output.detach(), *torch.autograd.grad(output.square().sum() + last.sum(), list(made.parameters()))]

    made = ODERNN(INPUTS, 33, "lstm-field", "gauss-seidel-euler", engine="cpu")
    x = drawn(12, 70, INPUTS).float()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = gradients(made)
        torch.set_num_threads(2)
        with ThreadPoolExecutor(4) as pool:
            for many in [gradients(made), *pool.map(lambda _: gradients(made), range(8))]:
                assert all(torch.equal(a, b) for a, b in zip(one, many, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("own", [True, False])
def test_the_same_bits_whoever_shares_the_tiles(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread; two of torch's team; two Python threads, where torch's library offers no team."""
    if own:
        monkeypatch.setattr(team, "_parallel", lambda: None)
    cell = ODERNN(3, 20, "lstm-field", dtype=torch.float64)
    x = torch.randn(30, 50, 3, dtype=torch.float64)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            output = cell(x)[0]
            found.append([output, *torch.autograd.grad(output.square().sum(), list(cell.parameters()))])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for others in found[1:] for a, b in zip(found[0], others, strict=True))


@pytest.mark.parametrize("n", [20, 32])  # 32: a panel, which is read where it lies
def test_a_weight_changed_in_place_is_seen(n: int) -> None:
    cell = ODERNN(3, n, "leaky", "rk4", dtype=torch.float32)
    general = copy.deepcopy(cell)
    general.engine = "general"
    x = torch.randn(12, 5, 3)
    for _ in range(2):
        output = cell(x)[0]
        torch.testing.assert_close(output, general(x)[0])
        with torch.no_grad():
            for one in (cell, general):
                for parameter in one.parameters():
                    parameter.mul_(0.7).add_(0.01)
    output = cell(x)[0]
    with torch.no_grad():
        cell.field.matrices["W"].mul_(2.0)
    with pytest.raises(RuntimeError, match="inplace operation"):  # as torch has it for its own operations
        output.sum().backward()
