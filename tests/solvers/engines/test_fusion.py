"""Passes give the numbers of their operations, in few loops, through little memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from odernn.solvers.engines.adjoint import reverse, split
from odernn.solvers.engines.dataflow import cheapest_cut, expensive, live
from odernn.solvers.engines.fusion import forward_passes, passes, reverse_passes
from odernn.solvers.engines.lowering import lowered
from odernn.solvers.engines.program import Assign, Loop, Outer, Pass, Product, Step
from odernn.solvers.fields import field_of
from odernn.solvers.functions import sigmoid
from odernn.solvers.tableaux import method

from .interpreter import Machine, inputs
from .programs import CELLS, WRITTEN, gradient_flow, leaky_rk4, lstm, shared, steps, symbol


def check(step: Step, keep: bool, seed: int = 0) -> None:
    """Forward and reverse, pass by pass, against their operations in the order given."""
    backward = reverse(step, keep)
    values, matrices = inputs(step, seed=seed)
    shape = values[step.state[0]].shape
    plain = (*step.vectors, *step.row_scalars, *step.scalars)
    straight = Machine(dict(values), matrices, shape).run(backward.step.operations)
    fused = Machine(dict(values), matrices, shape).run_passes(forward_passes(step, backward.saved), plain)
    for kept in (*step.result, *backward.saved):
        np.testing.assert_allclose(fused.values[kept], straight.values[kept], rtol=1e-12, atol=1e-13)

    start = values | {kept: straight.values[kept] for kept in backward.saved}
    start |= {c: np.sin(np.arange(shape[0] * shape[1]).reshape(shape) + i) for i, c in enumerate(backward.cotangents)}
    straight = Machine(dict(start), matrices, shape).run(backward.operations)
    fused = Machine(dict(start), matrices, shape).run_passes(reverse_passes(backward), plain)
    for found in (*backward.state, *backward.drives):
        if found is not None:
            np.testing.assert_allclose(fused.values[found], straight.values[found], rtol=1e-12, atol=1e-13)
    assert fused.gains.keys() == straight.gains.keys()
    for key, gain in straight.gains.items():
        np.testing.assert_allclose(fused.gains[key], gain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", WRITTEN)
def test_passes_give_the_numbers_of_their_operations(name: str, keep: bool) -> None:
    check(WRITTEN[name](), keep)


@pytest.mark.parametrize(("cell", "tableau"), CELLS)
def test_passes_of_cells_give_the_numbers_of_their_operations(cell: str, tableau: str) -> None:
    step = lowered(field_of(cell), method(tableau)).step  # type: ignore[arg-type]
    check(step, True)
    check(step, False)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(steps(), st.booleans())
def test_passes_of_random_programs_give_the_numbers_of_their_operations(step: Step, keep: bool) -> None:
    check(step, keep, seed=2)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(steps(), st.booleans())
def test_no_product_and_no_dear_function_is_computed_twice_and_no_array_written_for_nothing(
    step: Step, keep: bool
) -> None:
    backward = reverse(step, keep)
    wanted = [symbol for symbol in (*backward.state, *backward.drives) if symbol is not None]
    for made, needed in (
        (forward_passes(step, backward.saved), [*step.result, *backward.saved]),
        (reverse_passes(backward), wanted),
    ):
        computed = [op for p in made for op in (p.operations if isinstance(p, Loop) else (p,))]
        dear = [op for op in computed if isinstance(op, Product) or (isinstance(op, Assign) and expensive(op.value))]
        assert len(dear) == len(set(dear))
        used = {symbol for p in made for symbol in inputs_of(p)} | set(needed)
        for p in made:
            if isinstance(p, Loop):
                assert used.issuperset(p.writes)
                assert p.writes or any(not isinstance(op, Assign) for op in p.operations)
                assert not set(p.reads) & set(p.writes)


def inputs_of(made: Pass) -> tuple[sympy.Symbol | None, ...]:
    if isinstance(made, Loop):
        return made.reads
    return (made.inputs, *made.outputs) if isinstance(made, Outer) else (*made.inputs, *made.plus)


def kinds(made: Sequence[Pass]) -> list[type]:
    return [type(p) for p in made]


def test_the_classical_method_is_four_products_and_four_loops() -> None:
    step = leaky_rk4()
    backward = reverse(step, True)
    forward = forward_passes(step, backward.saved)
    assert kinds(forward) == [Product, Loop] * 4
    y, following = symbol("y"), symbol("next")
    a = [symbol(f"a{stage}0") for stage in (1, 2, 3, 4)]
    s = backward.saved
    loops = [p for p in forward if isinstance(p, Loop)]
    # the slopes are not carried: the last loop has them from the tanh arrays, which are kept anyway
    assert [set(p.reads) for p in loops] == [
        {y, a[0]},
        {y, a[1], symbol("Y2")},
        {y, a[2], symbol("Y3")},
        {y, a[3], *s[:3]},
    ]
    assert [set(p.writes) for p in loops] == [{s[j], symbol(f"Y{j + 2}")} for j in range(3)] + [{s[3], following}]
    made = reverse_passes(backward)
    assert kinds(made) == [Loop, Product] * 4 + [Outer] * 4
    # each of the first three loops hands the product its cotangent and nothing else
    assert [len(p.writes) for p in made[:6] if isinstance(p, Loop)] == [1, 1, 1]


def test_two_products_of_a_stage_make_no_loop_more() -> None:
    """coRNN: both blocks through a matrix each, so the second product adds to the first one's output."""
    backward = reverse(lowered(field_of("cornn"), method("rk4")).step, True)  # type: ignore[arg-type]
    assert kinds(reverse_passes(backward)) == [Loop, Product, Product] * 4 + [Outer] * 8


def test_an_lstm_step_is_one_product_and_one_loop_each_way() -> None:
    backward = reverse(lstm(), True)
    assert kinds(forward_passes(lstm(), backward.saved)) == [Product, Loop]
    assert kinds(reverse_passes(backward)) == [Loop, Product, Outer]
    first = forward_passes(lstm())[1]
    assert isinstance(first, Loop)
    assert set(first.writes) == set(lstm().result)  # what is not kept stays in registers


def test_a_result_that_is_a_state_is_not_copied() -> None:
    step = shared()
    assert symbol("z") not in {s for p in forward_passes(step) if isinstance(p, Loop) for s in p.writes}


def test_dead_code_is_dropped() -> None:
    operations = split(shared()).operations
    computed = [op for p in forward_passes(shared()) for op in (p.operations if isinstance(p, Loop) else (p,))]
    assert len(computed) < len(operations)
    names = {op.symbol.name for op in computed if isinstance(op, Assign)}
    assert "never" not in names
    assert sum(isinstance(op, Product) for op in computed) == 2
    assert live(operations, ()) == []


def test_independent_work_moves_into_one_loop_and_a_function_to_where_it_is_used() -> None:
    """Given product, loop, product, loop without need: both products first, then everything at once."""
    y, a, b, p, q, new = (symbol(name) for name in ("y", "a", "b", "p", "q", "new"))
    operations = (
        Product((a,), (y,), 0),
        Assign(p, sympy.tanh(a)),
        Product((b,), (y,), 1),
        Assign(q, sigmoid(b)),
        Assign(new, p * q),
    )
    assert kinds(passes(operations, (new,), (y,))) == [Product, Product, Loop]
    late = (Product((a,), (y,), 0), Assign(p, sympy.tanh(a)), Assign(q, sigmoid(a)), Product((b,), (p,), 0))
    made = passes((*late, Assign(new, b * q)), (new,), (y,))
    loops = [p for p in made if isinstance(p, Loop)]
    assert [p.reads for p in loops] == [(a,), (a, b)]  # the gate waits: its argument is in memory
    assert [p.writes for p in loops] == [(p,), (new,)]


def test_vectors_and_scalars_are_no_arrays_that_a_loop_reads() -> None:
    step = gradient_flow()
    backward = reverse(step, True)
    plain = {*step.vectors, *step.row_scalars, *step.scalars}
    for made in (*forward_passes(step, backward.saved), *reverse_passes(backward)):
        assert not isinstance(made, Loop) or plain.isdisjoint(made.reads)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_the_cheapest_cut_is_the_cheapest_of_all(data: st.DataObject) -> None:
    """Against every choice of arrays, on small random graphs."""
    count = data.draw(st.integers(2, 7))
    nodes = [symbol(f"n{j}") for j in range(count)]
    links = [
        data.draw(st.lists(st.sampled_from(nodes[:j]), unique=True, max_size=3)) if j else [] for j in range(count)
    ]
    parents = dict(zip(nodes, links, strict=True))
    given = {node for node in nodes if data.draw(st.booleans())}
    may_be_taken = {node for node in nodes if node in given or data.draw(st.booleans())}
    price = {node: data.draw(st.integers(1, 4)) for node in nodes}
    work = {node: data.draw(st.integers(0, 3)) for node in nodes}
    targets = data.draw(st.lists(st.sampled_from(nodes), unique=True, min_size=1))

    def cost(taken: frozenset[sympy.Symbol]) -> int | None:
        waiting = [node for node in targets if node not in taken]
        computed: set[sympy.Symbol] = set()
        for node in waiting:
            if node in given:
                return None
            if node not in computed:
                computed.add(node)
                waiting += [parent for parent in parents[node] if parent not in taken]
        return sum(price[node] for node in taken) + sum(work[node] for node in computed)

    found = cheapest_cut(
        targets, lambda s: parents[s], lambda s: price[s] if s in may_be_taken else None, lambda s: work[s],
        given.__contains__,
    )  # fmt: skip
    every = (
        cost(frozenset(chosen))
        for size in range(count + 1)
        for chosen in itertools.combinations(sorted(may_be_taken, key=str), size)
    )
    assert cost(frozenset(found)) == min(value for value in every if value is not None)


def test_the_same_program_gives_the_same_passes_again() -> None:
    for made in WRITTEN.values():
        first = reverse_passes(reverse(made(), True))
        reverse.cache_clear()
        split.cache_clear()
        assert reverse_passes(reverse(made(), True)) == first
