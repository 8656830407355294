"""The reverse of a step against torch's gradients of the step as written; what it keeps; how functions are split."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from hypothesis import given, settings

from odernn.solvers.engines.adjoint import kept_results, reverse, split
from odernn.solvers.engines.dataflow import expensive, reads
from odernn.solvers.engines.fusion import passes
from odernn.solvers.engines.lowering import lowered
from odernn.solvers.engines.program import Assign, H, Loop, Outer, Product, Reverse, RowSum, Step, UnitSum
from odernn.solvers.fields import field_of
from odernn.solvers.functions import sigmoid
from odernn.solvers.tableaux import method

from .interpreter import Array, Machine, inputs, torch_gradients
from .programs import CELLS, HALF, WRITTEN, leaky_rk4, lstm, rk4, shared, steps, symbol


def gradients(step: Step, keep: bool, seed: int = 0) -> tuple[list[Array], dict[object, Array], Machine]:
    """The results and every gradient by the reverse, in NumPy, from what it says it needs and nothing else."""
    backward = reverse(step, keep)
    values, matrices = inputs(step, seed=seed)
    shape = values[step.state[0]].shape
    forward = Machine(dict(values), matrices, shape).run(backward.step.operations)
    start = values | {s: forward.values[s] for s in backward.saved}
    start |= dict(zip(backward.cotangents, cotangents(step, shape), strict=True))
    machine = Machine(start, matrices, shape).run(backward.operations)
    zero = np.zeros(shape)
    found: dict[object, Array] = {}
    for symbols, names in ((step.state, backward.state), (step.drives, backward.drives)):
        for read, name in zip(symbols, names, strict=True):
            found[read] = zero if name is None else machine.values[name]
    for key in (*step.vectors, *step.row_scalars, *range(len(matrices))):
        like = matrices[key] if isinstance(key, int) else values[key]
        found[key] = machine.gains.get(key, np.zeros_like(like))
    return [forward.values[s] for s in step.result], found, machine


def cotangents(step: Step, shape: tuple[int, ...]) -> list[Array]:
    return [np.cos(np.arange(shape[0] * shape[1]).reshape(shape) + 7.0 * index) for index in range(len(step.result))]


def check(step: Step, seed: int = 0) -> None:
    values, matrices = inputs(step, seed=seed)
    shape = values[step.state[0]].shape
    results, expected = torch_gradients(step, values, matrices, cotangents(step, shape))
    for keep in (True, False):
        mine, found, _ = gradients(step, keep, seed)
        for result, other in zip(mine, results, strict=True):
            np.testing.assert_allclose(result, other, rtol=1e-12, atol=1e-12)
        assert found.keys() == expected.keys()
        for key, gradient in found.items():
            scale = max(1.0, float(np.abs(expected[key]).max()))
            np.testing.assert_allclose(gradient / scale, expected[key] / scale, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", WRITTEN)
def test_gradients_equal_torch(name: str) -> None:
    check(WRITTEN[name]())


@pytest.mark.parametrize(("cell", "tableau"), CELLS)
def test_gradients_of_cells_equal_torch(cell: str, tableau: str) -> None:
    check(lowered(field_of(cell), method(tableau)).step)  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(steps())
def test_gradients_of_random_programs_equal_torch(step: Step) -> None:
    check(step, seed=1)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(steps())
def test_a_reverse_with_saved_arrays_computes_nothing_dear_twice(step: Step) -> None:
    """Of the forward pass it computes again arithmetic and functions of vectors or of row scalars, no more."""
    backward = reverse(step, True)
    loose = {*step.vectors, *step.row_scalars}
    for op in backward.step.operations:
        if isinstance(op, Assign) and loose.issuperset(op.value.free_symbols):
            loose.add(op.symbol)
    for op in [op for op in backward.operations if op in backward.step.operations]:
        assert isinstance(op, Assign)
        assert not expensive(op.value) or loose.issuperset(op.value.free_symbols)
    assert reverse(step, False).saved == ()


def test_kept_and_recomputed_are_the_same_numbers() -> None:
    for made in WRITTEN.values():
        _, kept, _ = gradients(made(), True)
        _, recomputed, _ = gradients(made(), False)
        for key, gradient in kept.items():
            np.testing.assert_array_equal(gradient, recomputed[key])


def saved_values(backward: Reverse) -> list[sympy.Expr]:
    made = {op.symbol: op.value for op in backward.step.operations if isinstance(op, Assign)}
    return [made[s] for s in backward.saved]


def test_the_classical_method_on_a_tanh_field_keeps_its_four_tanh_and_nothing_else() -> None:
    a = [symbol(f"a{stage}0") for stage in (1, 2, 3, 4)]
    assert saved_values(reverse(leaky_rk4(), True)) == [sympy.tanh(x) for x in a]


def test_a_linear_field_keeps_one_array_a_stage_that_a_product_reads() -> None:
    """The gradient of W needs the stage values Y2, Y3, Y4; y is there; the slope of the last stage is not needed."""
    assert len(reverse(rk4(lambda y, a: a[0]), True).saved) == 3


def test_relu_keeps_its_value_and_not_its_argument() -> None:
    y, a, new = symbol("y"), symbol("a"), symbol("new")
    step = Step((y,), (new,), (Product((a,), (y,), 0), Assign(new, sympy.Max(a, 0) * y)), widths=(1,))
    backward = reverse(step, True)
    assert saved_values(backward) == [sympy.Max(a, 0)]


def test_a_function_that_does_not_know_its_derivative_keeps_its_argument() -> None:
    y, a, new = symbol("y"), symbol("a"), symbol("new")
    step = Step((y,), (new,), (Product((a,), (y,), 0), Assign(new, y + sympy.sin(a))), widths=(1,))
    assert reverse(step, True).saved == (a,)


def test_an_lstm_keeps_its_gates_and_two_tanh() -> None:
    backward = reverse(lstm(), True)
    assert len(backward.saved) == 5
    assert {value.func for value in saved_values(backward)} == {sigmoid, sympy.tanh}
    assert not [op for op in backward.operations if isinstance(op, Product) and not op.transposed]


def test_functions_of_vectors_are_not_kept() -> None:
    y, b, new = symbol("y"), symbol("b"), symbol("new")
    step = Step((y,), (new,), (Assign(new, y * sigmoid(b)),), vectors=(b,))
    backward = reverse(step, True)
    assert backward.saved == ()
    assert [op for op in backward.operations if isinstance(op, RowSum)]


def test_one_sum_for_a_vector_or_row_scalar_that_enters_in_several_places() -> None:
    y, b, u, a, new = (symbol(name) for name in ("y", "b", "u", "a", "new"))
    operations = (Assign(a, sympy.tanh(y + b) * u), Assign(new, a * b + sympy.sin(u) * y))
    step = Step((y,), (new,), operations, vectors=(b,), row_scalars=(u,))
    backward = reverse(step, True)
    assert [type(op) for op in backward.operations if isinstance(op, RowSum | UnitSum)] == [RowSum, UnitSum]
    check(step)


def test_every_function_stands_alone_once_and_a_split_step_stays_as_it_is() -> None:
    y, z, new = symbol("y"), symbol("z"), symbol("new")
    step = Step(
        (y,), (new,), (Assign(z, sympy.tanh(y)), Assign(new, sympy.exp(H * sympy.tanh(y) + 1 / y) + sympy.exp(-H)))
    )
    values = [op.value for op in split(step).operations if isinstance(op, Assign)]
    assert values[0] == sympy.tanh(y)
    assert values[1] == 1 / y
    reciprocal, exponential = (op.symbol for op in split(step).operations[1:3] if isinstance(op, Assign))
    assert values[2:] == [sympy.exp(H * z + reciprocal), exponential + sympy.exp(-H)]
    for made in WRITTEN.values():
        assert split(split(made())) == split(made())


def test_new_symbols_never_take_the_name_of_another() -> None:
    y, f, c, new = symbol("y"), symbol("f__1"), symbol("c__2"), symbol("new")
    step = Step((y, f), (new, c), (Assign(c, sympy.tanh(y) * f), Assign(new, sympy.sin(c) + 1)))
    backward = reverse(step, False)
    named = [s for op in backward.operations if isinstance(op, Assign) for s in (op.symbol,)]
    assert len({*named, *backward.cotangents, y, f}) == len(named) + 4
    check(step)


def test_what_nothing_needs_has_no_cotangent() -> None:
    y, z, d, new = symbol("y"), symbol("z"), symbol("d"), symbol("new")
    step = Step((y, z), (new, new), (Assign(new, y + HALF),), (d,))
    backward = reverse(step, True)
    assert backward.state[1] is None
    assert backward.drives == (None,)
    check(step)


def test_outer_products_come_last_and_those_of_a_matrix_side_by_side() -> None:
    for made in (shared, *WRITTEN.values()):
        operations = reverse(made(), True).operations
        tail = [op.matrix for op in operations if isinstance(op, Outer)]
        assert all(isinstance(op, Outer) for op in operations[len(operations) - len(tail) :])
        assert tail == sorted(tail)


def test_every_symbol_is_assigned_before_it_is_read_and_once() -> None:
    for made in WRITTEN.values():
        for keep in (True, False):
            backward = reverse(made(), keep)
            step = backward.step
            known = {*step.state, *step.drives, *step.vectors, *step.row_scalars, *step.scalars}
            known |= {*backward.saved, *backward.cotangents}
            for op in backward.operations:
                assert known.issuperset(reads(op))
                new = op.outputs if isinstance(op, Product) else (op.symbol,) if isinstance(op, Assign) else ()
                assert known.isdisjoint(new)
                known.update(new)


def test_what_a_cotangent_begins_with_goes_through_the_last_product_and_makes_no_loop() -> None:
    step, before, drive_before = leaky_rk4(), symbol("before"), symbol("drive_before")
    gains = ((step.state[0], before), (step.drives[0], drive_before))
    backward = reverse(step, True, gains)
    values, matrices = inputs(step)
    shape = values[step.state[0]].shape
    forward = Machine(dict(values), matrices, shape).run(backward.step.operations)
    start = values | {s: forward.values[s] for s in backward.saved}
    start |= dict(zip(backward.cotangents, cotangents(step, shape), strict=True))
    machine = Machine(start | {before: np.full(shape, 2.0), drive_before: np.full(shape, 3.0)}, matrices, shape)
    machine.run(backward.operations)
    _, expected, _ = gradients(step, True)
    for found, of, more in ((backward.state[0], step.state[0], 2.0), (backward.drives[0], step.drives[0], 3.0)):
        assert found is not None
        np.testing.assert_allclose(machine.values[found], expected[of] + more, rtol=1e-12)
    given = (*step.state, *step.drives, *backward.saved, *backward.cotangents, before, drive_before)
    found = tuple(s for s in (*backward.state, *backward.drives) if s is not None)
    made = passes(backward.operations, found, given)
    assert [type(p) for p in made] == [Loop, Product] * 4 + [Outer] * 4


def test_a_state_in_memory_after_the_step_is_neither_saved_nor_computed_again() -> None:
    y, v, w, new = (symbol(name) for name in ("y", "v", "w", "new"))
    step = Step((y,), (new,), (Assign(new, sympy.tanh(v * y + w)),), vectors=(v, w))
    assert reverse(step, True).saved == (new,)
    for keep in (True, False):
        found = reverse(step, keep, results=True)
        assert found.saved == ()
        assert all(expensive(op.value) is False for op in found.operations if isinstance(op, Assign))
        start, scale = np.array([[0.3, -0.7]]), np.array([[1.5, 0.4]])
        after, given = np.tanh(scale * start + 0.2), np.array([[2.0, -1.0]])
        values = {y: start, v: scale, w: np.full((1, 2), 0.2), new: after, found.cotangents[0]: given}
        machine = Machine(values, [], (1, 2)).run(found.operations)
        assert found.state[0] is not None
        np.testing.assert_allclose(machine.values[found.state[0]], given * (1 - after**2) * scale, rtol=1e-14)


def test_a_product_with_outputs_beside_the_state_is_carried_out_again_as_a_whole() -> None:
    y, first, second, new = (symbol(name) for name in ("y", "first", "second", "new"))
    step = Step((y,), (first,), (Product((first, second), (y,), 0), Assign(new, first * second)), widths=(2,))
    assert kept_results(step) == {}
    assert kept_results(Step((y,), (first,), (Product((first,), (y,), 0),), widths=(1,))) == {first: 0}


def test_fixed_vectors_have_no_cotangent() -> None:
    y, v, w, new = (symbol(name) for name in ("y", "v", "w", "new"))
    step = Step((y,), (new,), (Assign(new, v * w * y),), vectors=(v, w), fixed=(w,))
    sums = [op.vector for op in reverse(step, True).operations if isinstance(op, RowSum)]
    assert sums == [v]
    assert split(step).fixed == (w,)
