"""One expression, several functions: NumPy, torch, Jacobian, LaTeX. Oracle: the same formulas written by hand."""

import math
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from odernn.suite.contracts import Array
from odernn.suite.equation import TIME, Equation, symbols
from odernn.suite.errors import UsageError

X, Y, Z = symbols("x y z")
A, B = symbols("a b")
MIXED = Equation(
    "mixed",
    (X, Y, Z),
    (
        A * sympy.sin(X) * sympy.exp(-Y) + TIME * Z,
        sympy.tanh(X * Y) + sympy.Rational(1, 3) * Z**2 + sympy.cos(TIME),
        (1 + X**2 + Z**2) ** sympy.Rational(-3, 2) - B * sympy.sqrt(2 + sympy.sin(Y)) + sympy.log(2 + Y**2),
    ),
    {A: 0.1, B: 8 / 3},
)
VALUES = arrays(np.float64, (3,), elements=st.floats(-2, 2))


def by_hand(t: float, y: Any) -> Any:
    """MIXED written without SymPy, real or complex."""
    a, b, c = np.moveaxis(y, -1, 0)
    return np.stack(
        [
            0.1 * np.sin(a) * np.exp(-b) + t * c,
            np.tanh(a * b) + c**2 / 3 + np.cos(t),
            (1 + a**2 + c**2) ** -1.5 - 8 / 3 * np.sqrt(2 + np.sin(b)) + np.log(2 + b**2),
        ],
        axis=-1,
    )


@given(st.floats(-3, 3), VALUES)
def test_numpy_function_is_the_formula(t: float, y: Array) -> None:
    np.testing.assert_allclose(MIXED.function()(t, y), by_hand(t, y), rtol=1e-14, atol=1e-14)


@given(st.floats(-3, 3), VALUES)
def test_torch_function_is_the_formula(t: float, y: Array) -> None:
    out = MIXED.function("torch")(t, torch.tensor(y))
    np.testing.assert_allclose(out.numpy(), by_hand(t, y), rtol=1e-14, atol=1e-14)


@given(st.floats(-3, 3), VALUES)
def test_jacobian_is_the_complex_step_derivative_of_the_formula(t: float, y: Array) -> None:
    """Im f(y + i h e_j) / h = df/dy_j to rounding, for an analytic f (Squire & Trapp, SIAM Rev. 40 (1998) 110)."""
    h = 1e-30
    columns = [by_hand(t, y + 1j * h * unit).imag / h for unit in np.eye(3)]
    np.testing.assert_allclose(MIXED.jacobian()(t, y), np.stack(columns, axis=-1), rtol=1e-12, atol=1e-13)


def test_torch_gradient_is_the_jacobian() -> None:
    f = MIXED.function("torch")
    y = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda state: f(0.4, state), y)
    np.testing.assert_allclose(jacobian.numpy(), MIXED.jacobian()(0.4, y.numpy()), rtol=1e-13)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3), (0, 3)])
def test_leading_axes_are_batches(shape: tuple[int, ...]) -> None:
    y = np.random.default_rng(0).normal(size=shape)
    each = np.array([by_hand(0.5, row) for row in y.reshape(-1, 3)]).reshape(shape)
    np.testing.assert_allclose(MIXED.function()(0.5, y), each, rtol=1e-13)
    np.testing.assert_allclose(MIXED.function("torch")(0.5, torch.tensor(y)).numpy(), each, rtol=1e-13)
    jacobian = MIXED.jacobian()(0.5, y)
    assert jacobian.shape == (*shape, 3)
    for index in np.ndindex(*shape[:-1]):
        np.testing.assert_allclose(jacobian[index], MIXED.jacobian()(0.5, y[index]), rtol=1e-13)


def test_float32_is_kept() -> None:
    y = np.ones((2, 3), dtype=np.float32)
    assert MIXED.function()(0.5, y).dtype == np.float32
    assert MIXED.jacobian()(0.5, y).dtype == np.float32
    out = MIXED.function("torch")(0.5, torch.ones(2, 3))
    assert out.dtype == torch.float32
    np.testing.assert_allclose(out.numpy(), by_hand(0.5, np.ones((2, 3))), rtol=1e-6)


@pytest.mark.parametrize("time", [0.5, np.float64(0.5), torch.tensor(0.5), torch.tensor(0.5, dtype=torch.float64)])
def test_time_of_any_kind_does_not_change_the_dtype(time: Any) -> None:
    out = MIXED.function("torch")(time, torch.ones(3, dtype=torch.float32))
    assert out.dtype == torch.float32
    np.testing.assert_allclose(out.numpy(), by_hand(0.5, np.ones(3)), rtol=1e-6)


def test_components_without_state_are_broadcast() -> None:
    equation = Equation("drift", (X, Y), (sympy.Integer(2), sympy.cos(TIME)))
    expected = np.broadcast_to([2.0, math.cos(1.5)], (4, 2))
    y = np.zeros((4, 2))
    np.testing.assert_array_equal(equation.function()(1.5, y), expected)
    np.testing.assert_allclose(equation.function("torch")(1.5, torch.tensor(y)).numpy(), expected, rtol=1e-15)
    np.testing.assert_array_equal(equation.jacobian()(1.5, y), np.zeros((4, 2, 2)))


@given(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_parameters_keep_every_bit(value: float) -> None:
    """A parameter reaches both functions as the float it is, not as a decimal near it."""
    equation = Equation("constant", (X,), (A * X,), {A: value})
    assert equation.function()(0.0, np.ones(1))[0] == value
    assert equation.function("torch")(0.0, torch.ones(1, dtype=torch.float64)).item() == value


def test_equations_with_other_parameters_are_other_functions() -> None:
    """The functions are cached by equation; the values of the parameters are part of it."""
    outs = [Equation("scaled", (X,), (A * X,), {A: value}).function()(0.0, np.ones(1))[0] for value in (2.0, 3.0)]
    assert outs == [2.0, 3.0]
    assert Equation("scaled", (X,), (A * X,), {A: 2.0}) != Equation("scaled", (X,), (A * X,), {A: 3.0})
    assert Equation("scaled", (X,), (A * X,), {A: 2.0}) == Equation("scaled", (X,), (A * X,), {A: 2.0})


def test_latex_shows_symbols_not_values() -> None:
    latex = Equation("decay", (X, Y), (-A * X / 2, TIME * sympy.sin(Y)), {A: 0.25}).latex()
    assert latex == (r"\begin{aligned}\dot x &= - \frac{a x}{2} \\ \dot y &= t \sin{\left(y \right)}\end{aligned}")


def hand_jacobian(t: float, y: Array) -> Array:
    """The complex-step derivative of the formula, exact to rounding."""
    h = 1e-30
    return np.stack([by_hand(t, y + 1j * h * unit).imag / h for unit in np.eye(3)], axis=-1)


@settings(deadline=None)  # the first call compiles
@given(st.floats(-3, 3), VALUES)
def test_the_compiled_forms_are_the_formula(t: float, y: Array) -> None:
    out, J = np.full(3, np.nan), np.full((3, 3), np.nan)
    MIXED.function("numba")(t, y, out)
    MIXED.jacobian("numba")(t, y, J)
    np.testing.assert_allclose(out, by_hand(t, y), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(J, hand_jacobian(t, y), rtol=1e-12, atol=1e-13)


@given(st.floats(-3, 3), VALUES)
def test_the_torch_jacobian_is_the_formulas(t: float, y: Array) -> None:
    J = MIXED.jacobian("torch")(t, torch.tensor(y)).numpy()
    np.testing.assert_allclose(J, hand_jacobian(t, y), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3)])
def test_jax_traces_the_formula(shape: tuple[int, ...]) -> None:
    jax = pytest.importorskip("jax")
    y = np.random.default_rng(1).normal(size=shape)
    with jax.enable_x64(True):
        f, jacobian = jax.jit(MIXED.function("jax")), jax.jit(MIXED.jacobian("jax"))
        np.testing.assert_allclose(f(0.5, jax.numpy.asarray(y)), by_hand(0.5, y), rtol=1e-13)
        found = np.asarray(jacobian(0.5, jax.numpy.asarray(y)))
        expected = np.array([hand_jacobian(0.5, row) for row in y.reshape(-1, 3)])
        np.testing.assert_allclose(found, expected.reshape(*shape, 3), rtol=1e-12, atol=1e-13)
        if len(shape) == 1:
            by_jax = jax.jacfwd(lambda state: f(0.5, state))(jax.numpy.asarray(y))
            np.testing.assert_allclose(by_jax, found, rtol=1e-12, atol=1e-13)
        single = f(0.5, jax.numpy.asarray(y, dtype="float32"))
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, by_hand(0.5, y), rtol=1e-4, atol=1e-6)


def test_compiled_forms_skip_and_clear_zeros() -> None:
    """Entries that are identically zero are written too, over whatever the array held."""
    equation = Equation("drift", (X, Y), (sympy.Integer(2), TIME * Y))
    out, J = np.full(2, 7.0), np.full((2, 2), 7.0)
    equation.function("numba")(1.5, np.array([1.0, 3.0]), out)
    equation.jacobian("numba")(1.5, np.array([1.0, 3.0]), J)
    np.testing.assert_array_equal(out, [2.0, 4.5])
    np.testing.assert_array_equal(J, [[0.0, 0.0], [0.0, 1.5]])


def test_compiled_forms_divide_by_zero_as_numpy_does() -> None:
    out = np.zeros(1)
    Equation("pole", (X,), (1 / X,)).function("numba")(0.0, np.zeros(1), out)
    assert np.isinf(out[0])


def test_a_state_may_have_any_name() -> None:
    """Symbols called as the arguments of the compiled function, or as a word of Python."""
    y, out, word = symbols("y out lambda")
    equation = Equation("names", (y, out, word), (out * word, y**2, y + TIME))
    found, state = np.zeros(3), np.array([2.0, 3.0, 5.0])
    equation.function("numba")(0.5, state, found)
    np.testing.assert_array_equal(found, [15.0, 4.0, 2.5])
    np.testing.assert_array_equal(equation.function()(0.5, state), [15.0, 4.0, 2.5])


def test_functions_are_made_once() -> None:
    for library in ("numpy", "torch", "numba"):
        assert MIXED.function(library) is MIXED.function(library)
        assert MIXED.jacobian(library) is MIXED.jacobian(library)


def test_compiled_float32_stays_near() -> None:
    out = np.zeros(3, dtype=np.float32)
    MIXED.function("numba")(0.5, np.ones(3, dtype=np.float32), out)
    np.testing.assert_allclose(out, by_hand(0.5, np.ones(3)), rtol=1e-6)


def test_other_parameters() -> None:
    other = MIXED.with_parameters({"b": 2.0})
    assert {s.name: v for s, v in other.parameters.items()} == {"a": 0.1, "b": 2.0}
    assert {s.name: v for s, v in MIXED.parameters.items()} == {"a": 0.1, "b": 8 / 3}
    y = np.array([0.3, -0.7, 1.1])
    change = (other.function()(0.5, y) - MIXED.function()(0.5, y))[2]
    assert change == pytest.approx((8 / 3 - 2) * math.sqrt(2 + math.sin(-0.7)), rel=1e-13)
    with pytest.raises(UsageError, match="unknown parameter of mixed 'bb': did you mean 'b'"):
        MIXED.with_parameters({"bb": 1.0})
    with pytest.raises(UsageError, match="drift has no parameters, got 'a'"):
        Equation("drift", (X,), (X,)).with_parameters({"a": 1.0})


def test_unknown_library() -> None:
    with pytest.raises(UsageError, match="unknown library 'nump': did you mean 'numpy'"):
        MIXED.function("nump")
    with pytest.raises(UsageError, match="expected one of jax, numba, numpy, torch"):
        MIXED.jacobian("zzz")


def test_symbols_is_a_tuple_of_real_symbols() -> None:
    (lone,) = symbols("q")
    assert lone.is_real
    assert symbols("x y") == (X, Y)
