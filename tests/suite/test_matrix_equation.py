"""Fields with dense matrices. Oracle: the formula written by hand, and its complex-step derivative."""

from typing import Any

import numpy as np
import pytest
import sympy
import torch

from odernn.suite.contracts import Array, VectorField
from odernn.suite.equation import symbols
from odernn.suite.errors import UsageError
from odernn.suite.matrix_equation import MatrixEquation

(S,) = symbols("s")
A, B = symbols("a b")
RNG = np.random.default_rng(5)
L, M, C = RNG.normal(size=(6, 6)), RNG.normal(size=(6, 6)), RNG.normal(size=6)
G = A * S / (1 + S**2) + sympy.sin(B * S)
FIELD = MatrixEquation("dense", L, M, G, S, C, {A: 0.2, B: 1.5})


def by_hand(y: Any) -> Any:
    g = 0.2 * y / (1 + y**2) + np.sin(1.5 * y)
    return np.einsum("ij,...j->...i", L, y) + np.einsum("ij,...j->...i", M, g) + C


def jacobian_by_hand(y: Array) -> Array:
    h = 1e-30
    return np.stack([by_hand(y + 1j * h * unit).imag / h for unit in np.eye(6)], axis=-1)


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6)])
def test_every_library_is_the_formula(shape: tuple[int, ...]) -> None:
    y = RNG.normal(size=shape)
    field: VectorField = FIELD
    np.testing.assert_allclose(field.function()(0.0, y), by_hand(y), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(field.function("torch")(0.0, torch.tensor(y)), by_hand(y), rtol=1e-12, atol=1e-13)
    expected = jacobian_by_hand(y)
    np.testing.assert_allclose(field.jacobian()(0.0, y), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(field.jacobian("torch")(0.0, torch.tensor(y)), expected, rtol=1e-12, atol=1e-13)
    f, J = field.function("numba"), field.jacobian("numba")
    out, into = np.full(6, np.nan), np.full((6, 6), np.nan)
    for row in y.reshape(-1, 6):
        f(0.0, row, out)
        J(0.0, row, into)
        np.testing.assert_allclose(out, by_hand(row), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(into, jacobian_by_hand(row), rtol=1e-12, atol=1e-13)


def test_jax_traces_the_formula() -> None:
    jax = pytest.importorskip("jax")
    y = RNG.normal(size=(3, 6))
    with jax.enable_x64(True):
        state = jax.numpy.asarray(y)
        np.testing.assert_allclose(jax.jit(FIELD.function("jax"))(0.0, state), by_hand(y), rtol=1e-12, atol=1e-13)
        found = jax.jit(FIELD.jacobian("jax"))(0.0, state)
        np.testing.assert_allclose(found, jacobian_by_hand(y), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype: Any) -> None:
    y = RNG.normal(size=(4, 6)).astype(dtype)
    assert FIELD.function()(0.0, y).dtype == FIELD.jacobian()(0.0, y).dtype == dtype
    assert FIELD.function("torch")(0.0, torch.tensor(y)).numpy().dtype == dtype
    np.testing.assert_allclose(FIELD.function()(0.0, y), by_hand(y.astype(np.float64)), rtol=2e-5, atol=2e-5)


def test_a_pointwise_constant() -> None:
    field = MatrixEquation("constant", L, M, sympy.Integer(2), S)
    y, out = RNG.normal(size=(3, 6)), np.zeros(6)
    np.testing.assert_allclose(field.function()(0.0, y), y @ L.T + 2 * M.sum(axis=1), rtol=1e-13)
    np.testing.assert_array_equal(field.jacobian()(0.0, y), np.broadcast_to(L, (3, 6, 6)))
    field.function("numba")(0.0, y[0], out)
    np.testing.assert_allclose(out, L @ y[0] + 2 * M.sum(axis=1), rtol=1e-12)


def test_a_torch_gradient_passes_through() -> None:
    y = torch.tensor(RNG.normal(size=6), requires_grad=True)
    assert torch.autograd.gradcheck(lambda state: FIELD.function("torch")(0.0, state), (y,))


def test_equal_by_content() -> None:
    same = MatrixEquation("dense", L.copy(), M.copy(), G, S, C.copy(), {A: 0.2, B: 1.5})
    assert same == FIELD
    assert hash(same) == hash(FIELD)
    assert same.function("numba") is FIELD.function("numba")
    moved = MatrixEquation("dense", L + np.eye(6), M, G, S, C, {A: 0.2, B: 1.5})
    assert moved != FIELD
    y = RNG.normal(size=6)
    np.testing.assert_allclose(moved.function()(0.0, y) - FIELD.function()(0.0, y), y, rtol=1e-12)


def test_other_parameters() -> None:
    other = FIELD.with_parameters({"a": 1.2})
    y = RNG.normal(size=6)
    np.testing.assert_allclose(other.function()(0.0, y) - by_hand(y), M @ (y / (1 + y**2)), rtol=1e-11, atol=1e-13)
    with pytest.raises(UsageError, match="unknown parameter of dense 'aa': did you mean 'a'"):
        FIELD.with_parameters({"aa": 1.0})


def test_arrays_are_fixed_copies() -> None:
    linear = L.copy()
    field = MatrixEquation("copied", linear, M, S, S)
    linear[0, 0] = 1e9
    np.testing.assert_array_equal(field.linear, L)
    with pytest.raises(ValueError, match="read-only"):
        field.linear[0, 0] = 1.0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match=r"mixing of bad must have shape \(6, 6\), got \(5, 6\)"):
        MatrixEquation("bad", L, M[:5], S, S)
    with pytest.raises(UsageError, match="the function of bad reads a: expected s and its parameters"):
        MatrixEquation("bad", L, M, A * S, S)
    with pytest.raises(UsageError, match="unknown library 'jaxx': did you mean 'jax'"):
        FIELD.function("jaxx")


def test_latex() -> None:
    assert MatrixEquation("square", L, M, S**2, S).latex() == r"\dot y = L y + M g(y), \quad g(s) = s^{2}"
    assert "+ c" in FIELD.latex()
