"""Passes that keep less: the same outputs and gradients, really less kept, and steps that are undone exactly."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from odernn.solvers.cell import ODERNN
from odernn.solvers.fields import field_of, names
from odernn.solvers.partitioned_tableau import PARTITIONED, SEPARABLE, PartitionedTableau
from odernn.solvers.reversal import adjoint, inverse_plan, reads_of
from odernn.solvers.segments import default_length, segmented, with_tensors
from odernn.suite.errors import Diverged, UsageError

F64 = torch.float64
SYMPLECTIC = ("symplectic-euler", "symplectic-euler-position", "stormer-verlet", "gauss-seidel-euler")


def cell_of(cell: Any, tableau: str, memory: str = "states", segment: int | None = None, **options: Any) -> ODERNN:
    torch.manual_seed(3)
    settings: dict[str, Any] = {"output_size": 2, "dtype": F64, "engine": "general", **options}
    return ODERNN(2, 4, cell, tableau, settings.pop("step", 0.3), memory=memory, segment=segment, **settings)


def sequence(time: int, batch: int = 3, dtype: torch.dtype = F64) -> torch.Tensor:
    return torch.randn(time, batch, 2, dtype=dtype, generator=torch.Generator().manual_seed(1))


def gradients(cell: ODERNN, x: torch.Tensor, state: torch.Tensor | None) -> list[torch.Tensor]:
    """Outputs, last state, and the gradients of a loss of both with respect to parameters, inputs and start."""
    x = x.clone().requires_grad_()
    start = None if state is None else state.clone().requires_grad_()
    output, last = cell(x, start)
    weights = torch.randn(output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(2))
    loss = (output * weights).sum() + last.square().sum()
    leaves = [x, *([] if start is None else [start]), *cell.parameters()]
    return [output.detach(), last.detach(), *torch.autograd.grad(loss, leaves)]


def agree(
    cell: ODERNN, plain: ODERNN, x: torch.Tensor, state: torch.Tensor | None = None, solved: bool = False
) -> None:
    """solved: equations are, for which a pass that records gradients takes one more evaluation."""
    for found, expected in zip(gradients(cell, x, state), gradients(plain, x, state), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    assert cell.f_calls == plain.f_calls or (solved and 0 < cell.f_calls < plain.f_calls)


class Timed(torch.nn.Module):
    """A right-hand side that depends on time."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(6, 4, dtype=F64)

    def forward(self, t: Any, y: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = torch.tanh(self.inner(torch.cat([y, u], dim=1))) * (1 + 0.2 * t)
        return value


# ------------------------------------------------------------------------------------------------------------ segments


@pytest.mark.parametrize("segment", [None, 1, 3, 7, 11, 50])
def test_segments_of_any_length_change_nothing(segment: int | None) -> None:
    x, state = sequence(11), torch.randn(3, 1, 4, dtype=F64)
    agree(cell_of("leaky", "rk4", "segments", segment), cell_of("leaky", "rk4"), x, state)


@pytest.mark.parametrize(
    ("cell", "tableau", "options"),
    [
        ("lstm-field", "gauss-seidel-euler", {"step": 1.0}),
        ("gru-field", "dormand-prince54", {"substeps": 2}),
        ("cornn", "implicit-midpoint", {}),
        ("exprnn", "strang", {}),
        ("qunn", "strang", {"constants": {"qubits": 1}}),
        ("leaky", "dormand-prince54", {"rtol": 1e-6}),
        ("leaky", "heun2", {"backend": "torchdiffeq", "output_size": None}),
    ],
)
def test_segments_of_every_kind_of_step(cell: str, tableau: str, options: dict[str, Any]) -> None:
    solved = tableau == "implicit-midpoint"
    agree(
        cell_of(cell, tableau, "segments", 3, **options), cell_of(cell, tableau, **options), sequence(8), None, solved
    )


def test_time_goes_on_from_segment_to_segment() -> None:
    field = Timed()
    agree(cell_of(field, "rk4", "segments", 2, substeps=3), cell_of(field, "rk4", substeps=3), sequence(7))


@pytest.mark.parametrize("batch_first", [False, True])
def test_shapes_are_those_of_the_plain_pass(batch_first: bool) -> None:
    cell, plain = (cell_of("leaky", "rk4", memory, batch_first=batch_first) for memory in ("segments", "states"))
    x = sequence(5).transpose(0, 1) if batch_first else sequence(5)
    agree(cell, plain, x)
    torch.testing.assert_close(cell(sequence(5)[:, 0])[0], plain(sequence(5)[:, 0])[0], rtol=1e-13, atol=1e-13)


def test_frozen_weights_and_a_state_alone() -> None:
    cell, plain = cell_of("unicornn", "symplectic-euler", "segments", 2), cell_of("unicornn", "symplectic-euler")
    for one in (cell, plain):
        assert one.readout is not None
        one.readout.weight.requires_grad_(False)
        one(sequence(5))[1].sum().backward()
    for found, expected in zip(cell.parameters(), plain.parameters(), strict=True):
        assert (found.grad is None or not found.grad.any()) == (expected.grad is None or not expected.grad.any())
        if found.grad is not None and expected.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-12, atol=1e-12)
    assert cell.readout is not None
    assert cell.readout.weight.grad is None


def test_what_is_computed_again_has_the_tensors_of_the_first_time() -> None:
    cell, x = cell_of("leaky", "rk4", "segments", 2), sequence(6)
    others = {name: (1.5 * p).detach().requires_grad_() for name, p in cell.named_parameters()}
    torch.func.functional_call(cell, others, (x,))[0].square().sum().backward()
    plain = cell_of("leaky", "rk4")
    plain.load_state_dict({name: p.detach() for name, p in others.items()})
    plain(x)[0].square().sum().backward()
    for name, p in plain.named_parameters():
        torch.testing.assert_close(others[name].grad, p.grad, rtol=1e-11, atol=1e-11)
    output = cell(x)[0].sum()
    with torch.no_grad():
        cell.get_parameter("field.b").add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.backward()


def test_a_recurrence_of_ones_own() -> None:
    gru = torch.nn.GRU(2, 5).double()

    def run(u: torch.Tensor, h: torch.Tensor, first: int) -> tuple[torch.Tensor, torch.Tensor]:
        out, last = gru(u, h[None])
        return out, last[0]

    tensors, bound = with_tensors(gru, run)
    x, h = sequence(9), torch.zeros(3, 5, dtype=F64)
    assert torch.autograd.gradcheck(lambda x, h: segmented(bound, x, h, tensors, 4), (x.requires_grad_(), h))
    segmented(bound, x, h, tensors, 4)[0].sum().backward()
    found = [p.grad for p in gru.parameters()]
    gru.zero_grad()
    gru(x)[0].sum().backward()
    for a, p in zip(found, gru.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-11, atol=1e-11)


def test_a_second_derivative_is_refused() -> None:
    cell, x = cell_of("leaky", "rk4", "segments"), sequence(4).requires_grad_()
    with pytest.raises(UsageError, match="no second derivative"):
        torch.autograd.grad(cell(x)[0].sum(), x, create_graph=True)


def test_default_length_is_the_square_root() -> None:
    assert [default_length(n) for n in (1, 2, 4, 5, 9, 10, 10_000, 10_001)] == [1, 2, 2, 3, 3, 4, 100, 101]


# ----------------------------------------------------------------------------------------------------- steps backwards


@pytest.mark.parametrize("method", PARTITIONED.values(), ids=lambda m: m.name)
def test_the_adjoint_of_the_adjoint_is_the_method(method: PartitionedTableau) -> None:
    assert (adjoint(adjoint(method)).A, adjoint(adjoint(method)).b) == (method.A, method.b)


def test_adjoints_that_the_books_name() -> None:
    euler, position = PARTITIONED["symplectic-euler"], PARTITIONED["symplectic-euler-position"]
    assert (adjoint(euler).A, adjoint(euler).b) == (position.A, position.b)
    verlet, lobatto = PARTITIONED["stormer-verlet"], PARTITIONED["lobatto3ab3"]
    for symmetric in (verlet, lobatto):
        assert (adjoint(symmetric).A, adjoint(symmetric).b) == (symmetric.A, symmetric.b)


def exact_step(
    method: PartitionedTableau, p: Fraction, q: Fraction, h: Fraction, f: Callable[[Any], Any], g: Callable[[Any], Any]
) -> tuple[Fraction, Fraction]:
    """One step of p' = f(q), q' = g(p) in rational arithmetic, stage by stage from the definition."""
    order = method.schedule(SEPARABLE)
    assert order is not None
    slopes: dict[tuple[int, int], Fraction] = {}
    for block, stage in order:
        other = 1 - block
        value = (p, q)[other]
        for j, a in enumerate(method.A[other][stage]):
            if a:
                value += h * a * slopes[other, j]
        slopes[block, stage] = (f, g)[block](value)
    after = [
        value + h * sum(b * slopes[k, i] for i, b in enumerate(method.b[k]) if b) for k, value in enumerate((p, q))
    ]
    return after[0], after[1]


rationals = st.fractions(min_value=-3, max_value=3, max_denominator=7)


@pytest.mark.parametrize("name", SYMPLECTIC)
@given(p=rationals, q=rationals, h=rationals)
def test_a_step_of_the_adjoint_undoes_a_step_exactly(name: str, p: Fraction, q: Fraction, h: Fraction) -> None:
    def f(q: Fraction) -> Fraction:
        return 1 - q * q * q / 5

    def g(p: Fraction) -> Fraction:
        return p * p - p / 3

    method = PARTITIONED[name]
    there = exact_step(method, p, q, h, f, g)
    assert exact_step(adjoint(method), *there, -h, f, g) == (p, q)


@pytest.mark.parametrize("method", SYMPLECTIC)
@pytest.mark.parametrize("cell", ["unicornn", "srnn"])
def test_the_way_back_through_a_cell(cell: str, method: str) -> None:
    model, x = cell_of(cell, method, "inverse", substeps=2, step=0.1), sequence(200)
    with torch.no_grad():
        start = torch.randn(3, 8, dtype=F64)
        _, last = model._part(x, start)
        found = model._part_back(x, last, 0)
    assert (last - start).abs().max() > 0.1
    assert (found - start).abs().max() <= 1e-11 * float(last.abs().max())


@pytest.mark.parametrize(("cell", "method"), [("unicornn", m) for m in SYMPLECTIC] + [("srnn", "stormer-verlet")])
def test_gradients_by_inversion(cell: str, method: str) -> None:
    x, state = sequence(23), torch.randn(3, 2, 4, dtype=F64)
    for segment in (None, 1, 5, 40):
        agree(cell_of(cell, method, "inverse", segment), cell_of(cell, method), x, state)
    agree(cell_of(cell, method, "inverse", 4, substeps=3), cell_of(cell, method, substeps=3), x)


def test_an_implicit_step_may_have_an_explicit_inverse() -> None:
    """coRNN's damping at the end of the step: the way there solves for it, the way back has it."""
    cell, plain = (cell_of("cornn", "symplectic-euler", memory, step=0.05) for memory in ("inverse", "states"))
    agree(cell, plain, sequence(9), torch.randn(3, 2, 4, dtype=F64), solved=True)


@pytest.mark.parametrize(
    ("cell", "method", "memory"),
    [
        ("leaky", "rk4", "segments"),
        ("unicornn", "stormer-verlet", "segments"),
        ("unicornn", "stormer-verlet", "inverse"),
    ],
)
def test_a_compiled_engine_keeps_less_too(cell: str, method: str, memory: str) -> None:
    pytest.importorskip("llvmlite")
    agree(cell_of(cell, method, memory, 4, engine="cpu"), cell_of(cell, method), sequence(10))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-3), (F64, 1e-12)])
def test_unicornn_is_undone_over_ten_thousand_steps(dtype: torch.dtype, bound: float) -> None:
    torch.manual_seed(0)
    cell, x = ODERNN(2, 32, "unicornn", dtype=dtype, tableau="symplectic-euler", memory="inverse"), sequence(10_000)
    with torch.no_grad():
        start = torch.zeros(3, 64, dtype=dtype)
        _, last = cell._part(x.to(dtype), start)
        assert cell._part_back(x.to(dtype), last, 0).abs().max() < bound * last.abs().max()


def test_a_way_back_that_lost_its_digits_is_an_error() -> None:
    """Damping contracts, so that rounding grows on the way back."""
    cell = cell_of("cornn", "symplectic-euler", "inverse", constants={"epsilon": 1.0})
    cell(sequence(10))[0].sum().backward()
    with pytest.raises(Diverged, match="stepping back is off"):
        cell(sequence(200))[0].sum().backward()


def test_reads_of_an_equation_are_those_of_its_field() -> None:
    for name in names():
        equation = field_of(name, 3 if name == "companion" else None)
        if hasattr(equation, "rhs"):
            options = {"ode_order": 3} if name == "companion" else {}
            assert reads_of(equation) == tuple(ODERNN(2, 4, name, **options).field.dependencies), name


# --------------------------------------------------------------------------------------------------------- what is kept


@contextmanager
def kept() -> Iterator[dict[int, int]]:
    """Bytes that autograd keeps, by storage."""
    found: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found


def kept_by(cell: ODERNN, time: int) -> int:
    x = sequence(time)
    with kept() as found:
        output, last = cell(x)
    found.pop(x.untyped_storage().data_ptr(), None)
    assert output.requires_grad
    assert last.requires_grad
    return sum(found.values())


def test_segments_keep_the_states_between_them_and_inversion_keeps_none() -> None:
    state = 3 * 8 * 8  # bytes of a state of two blocks
    plain = cell_of("unicornn", "symplectic-euler")
    segments, inverse = (cell_of("unicornn", "symplectic-euler", memory) for memory in ("segments", "inverse"))
    parameters = sum(p.untyped_storage().nbytes() for p in plain.parameters())
    assert kept_by(plain, 400) > 400 * 3 * state
    assert kept_by(segments, 400) <= parameters + 21 * state
    assert kept_by(inverse, 400) <= parameters + 2 * state
    assert kept_by(inverse, 1600) == kept_by(inverse, 400)


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("cell", "tableau", "options", "words"),
    [
        ("leaky", "rk4", {"memory": "segment"}, "unknown memory 'segment': did you mean 'segments'"),
        ("leaky", "rk4", {"segment": 5}, "which has none"),
        ("leaky", "rk4", {"memory": "segments", "segment": 0}, "segment is 0"),
        ("leaky", "rk4", {"memory": "segments", "segment": True}, "segment is True"),
        ("leaky", "rk4", {"memory": "inverse"}, "'leaky' under 'rk4' cannot be undone: .*'unicornn', 'srnn'"),
        ("unicornn", "rk4", {"memory": "inverse"}, "cannot be undone"),
        ("unicornn", "lobatto3ab3", {"memory": "inverse"}, "cannot be undone"),
        ("cornn", "gauss-seidel-euler", {"memory": "inverse"}, "cannot be undone"),
        ("lstm-field", "gauss-seidel-euler", {"memory": "inverse"}, "cannot be undone"),
        ("leaky", "dormand-prince54", {"memory": "inverse", "rtol": 1e-3}, "fixed grid"),
    ],
)
def test_what_cannot_be_is_said(cell: str, tableau: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        cell_of(cell, tableau, **options)


def test_three_blocks_cannot_be_undone_by_two() -> None:
    with pytest.raises(UsageError, match="cannot be undone"):
        inverse_plan(PARTITIONED["symplectic-euler"], "three", (frozenset({1}), frozenset({2}), frozenset({0})))


def test_everything_is_drawn_from_the_cells_own_generator() -> None:
    """Computing a segment again leaves the generators of torch and Python where they were."""
    cell, x = cell_of("leaky", "rk4", "segments", 2), sequence(5)
    output = cell(x)[0].sum()
    before = torch.get_rng_state(), random.getstate()
    output.backward()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
