"""Compiled expressions against SymPy's own numbers and NumPy's functions."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import sympy
from llvmlite import ir
from sympy.logic.boolalg import Boolean

from odernn.solvers.engines import machine
from odernn.solvers.engines.expressions import evaluate, supported
from odernn.solvers.engines.vector import I64, Lanes, function, loop, number
from odernn.solvers.functions import sigmoid, sign
from odernn.suite.equation import symbols
from odernn.suite.errors import UsageError
from odernn.suite.seeds import stream

X, Y, Z = symbols("x y z")
KINDS = [(dtype, width) for dtype in ("float32", "float64") for width in (1, machine.width(dtype))]


def evaluated(expressions: Sequence[sympy.Expr], dtype: str, width: int, data: Any) -> Any:
    """Values of the expressions at the columns of data (3, n), as (expressions, n)."""
    lanes, module = Lanes(dtype, width), ir.Module()
    made, b = function(module, "f", [I64, lanes.pointer, lanes.pointer])
    count, x, out = made.args

    def place(i: Any, k: int) -> Any:
        return b.add(i, b.mul(count, number(k)))

    with loop(b, count, width) as i:
        values = {symbol: lanes.load(b, x, place(i, k)) for k, symbol in enumerate((X, Y, Z))}
        for k, value in enumerate(evaluate(b, lanes, expressions, values)):
            lanes.store(b, value, out, place(i, k))
    b.ret_void()
    text = str(module)
    run = machine.load((text,), lambda: text).function("f", [ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p])
    data = np.ascontiguousarray(data, dtype)
    result = np.empty((len(expressions), data.shape[1]), dtype)
    assert data.shape[1] % width == 0
    run(data.shape[1], data.ctypes.data, result.ctypes.data)
    return result


NUMBERS = (sympy.Integer(2), sympy.Integer(-3), sympy.Rational(8, 3), sympy.pi, sympy.Float(0.1, 17))
UNARY = (sympy.tanh, sympy.sin, sympy.cos, sympy.Abs, sympy.atan, lambda e: sympy.exp(-(e**2)))
BINARY = (
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: a / (1 + b**2),
    lambda a, b: sympy.sqrt(2 + sympy.sin(a)) ** -3 * b,
    lambda a, b: sympy.Max(a, b),
    lambda a, b: sympy.Piecewise((a, X < Y), (b * b, True)),
)


def _random(rng: np.random.Generator, depth: int) -> Any:
    """A random expression in X, Y, Z."""
    if depth == 0:
        return NUMBERS[rng.integers(len(NUMBERS))] if rng.random() < 0.3 else (X, Y, Z)[rng.integers(3)]
    kind = rng.integers(3 * len(BINARY))
    if kind < len(UNARY):
        return UNARY[kind](_random(rng, depth - 1))
    if kind == len(UNARY):
        return _random(rng, depth - 1) ** int(rng.integers(2, 6))
    return BINARY[kind % len(BINARY)](_random(rng, depth - 1), _random(rng, rng.integers(depth)))


def test_random_expressions() -> None:
    rng = stream(0, "expressions")
    expressions = [sympy.sympify(_random(rng, depth)) for depth in (1, 2, 3, 4) for _ in range(15)]
    data = rng.uniform(-1.5, 1.5, (3, 8))
    assert supported(expressions)
    found = evaluated(expressions, "float64", machine.width("float64"), data)
    for expression, row in zip(expressions, found, strict=True):
        for value, point in list(zip(row, data.T, strict=True))[:2]:
            # exact rational arguments, and digits to spare where terms cancel
            exact = {s: sympy.Rational(p) for s, p in zip((X, Y, Z), point.tolist(), strict=True)}
            expected = float(expression.subs(exact).evalf(40))
            size = _size(expression, dict(zip((X, Y, Z), point.tolist(), strict=True)))
            assert abs(value - expected) <= 1e-14 * size, expression


def _size(node: Any, point: dict[Any, float]) -> float:
    """How much rounding inside the expression may matter: its value with all terms positive, slopes at most 10."""
    if node.is_Symbol or node.is_number:
        return max(1.0, abs(float(point.get(node, node))))
    inner = [_size(a, point) for a in node.args if a.is_Symbol or not isinstance(a, Boolean)]
    if node.is_Mul:
        return float(np.prod(inner))
    if node.is_Pow:
        return inner[0] ** abs(float(node.exp))
    return 10.0 * sum(inner)


CASES = [
    X * Y - Z * sympy.Rational(8, 3),
    (X**2 + Y**2) ** sympy.Rational(-3, 2),
    1 / X,
    X**5 - Y**-3,
    Y / (X * Z) - X / Y,
    -X * Y * Z - 3,
    2 - X,
    -X,
    X - Y,
    -X - Y,
    sympy.Integer(3),
    sympy.sqrt(2) * sympy.pi * X,
    sympy.exp(-X) / (Y * Z),
    sympy.Abs(X) ** sympy.Rational(1, 3),
    sympy.Abs(X) ** Y,
    sympy.sqrt(sympy.Abs(X)) + sympy.log(sympy.Abs(Y)),
    sympy.atan2(X, Y),
    sympy.tan(X) + sympy.sinh(Y) * sympy.cosh(Z),
    sympy.Max(X, Y, 0) - sympy.Min(Y, Z),
    sympy.Piecewise((X, (X < Y) & (Y < Z)), (Z, sympy.Eq(X, Y) | (X > Z)), (Y, True)),
    sympy.Piecewise((X, ~(X <= Y)), (Y, True)),
    sympy.Piecewise((X, sympy.Piecewise((X, X < Y), (Y**2, True)) > X), (Z, True)),
    X**70 * sympy.Float(1e-5),
]


@pytest.mark.parametrize(("dtype", "width"), KINDS)
def test_every_kind_of_node(dtype: str, width: int) -> None:
    data = stream(1, "expressions").uniform(-1.3, 1.3, (3, 64)).astype(dtype)
    found = evaluated(CASES, dtype, width, data)
    expected = sympy.lambdify((X, Y, Z), CASES, "numpy")(*data.astype(np.float64))
    tolerance = 2e-4 if dtype == "float32" else 1e-12
    for case, value, reference in zip(CASES, found, expected, strict=True):
        bound = tolerance * (1 + np.abs(np.broadcast_to(reference, value.shape)))
        assert np.all(np.abs(value - reference) <= bound), case


@pytest.mark.parametrize(("dtype", "width"), KINDS)
def test_steps_and_slopes_at_their_edges(dtype: str, width: int) -> None:
    x = np.array([-2.0, -0.0, 0.0, 3.0] * 4, dtype)
    data = np.stack([x, np.zeros_like(x), np.ones_like(x)])
    cases = [
        sign(X),
        sympy.sign(X),
        sympy.diff(sympy.Abs(X), X),
        sympy.diff(sign(X) * X, X),
        sympy.diff(sympy.Max(X, 0), X),
        sympy.Heaviside(X),
        sympy.diff(sympy.Piecewise((X**2, X > 0), (-X, True)), X),
        sympy.Piecewise((X, X > 0)),
    ]
    found = evaluated(cases, dtype, width, data)
    signs, positive = np.sign(x), (x > 0).astype(dtype)
    expected = [signs, signs, signs, signs, positive, positive, np.where(x > 0, 2 * x, -1), np.where(x > 0, x, np.nan)]
    np.testing.assert_array_equal(found, np.stack(expected))


@pytest.mark.parametrize(("dtype", "width"), KINDS)
def test_the_logistic_function_and_its_slope(dtype: str, width: int) -> None:
    x = np.linspace(-80, 80, 64).astype(dtype)
    data = np.stack([x, x, x])
    value, slope = evaluated([sigmoid(X), sympy.diff(sigmoid(X), X)], dtype, width, data)
    wide = x.astype(np.longdouble)
    exact = 1 / (1 + np.exp(-wide))
    np.testing.assert_allclose(value, exact.astype(dtype), rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(slope, (exact * (1 - exact)).astype(dtype), atol=np.finfo(dtype).eps)


def test_common_names_do_not_clash() -> None:
    """Symbols that look like those of SymPy's own elimination."""
    x0, x1, common = symbols("x0 x1 _common0")
    expressions = [sympy.sin(x0 + x1) * common, sympy.cos(sympy.sin(x0 + x1)) + common]
    lanes, module = Lanes("float64", 1), ir.Module()
    made, b = function(module, "f", [lanes.pointer])
    given = {x0: lanes.constant(0.25), x1: lanes.constant(0.5), common: lanes.constant(3.0)}
    for i, value in enumerate(evaluate(b, lanes, expressions, given)):
        lanes.store(b, value, made.args[0], i)
    b.ret_void()
    out = np.empty(2)
    machine.load((str(module),), lambda: str(module)).function("f", [ctypes.c_void_p])(out.ctypes.data)
    np.testing.assert_allclose(out, [3 * np.sin(0.75), np.cos(np.sin(0.75)) + 3], rtol=1e-15)


def test_what_cannot_be_compiled() -> None:
    lanes = Lanes("float64", 1)
    _, b = function(ir.Module(), "f", [])
    for case in (sympy.gamma(X), sympy.I * X, sympy.Symbol("q", real=True) * sympy.zoo, sympy.Function("g")(X)):
        assert not supported([X, case])
        with pytest.raises(UsageError, match="cannot be compiled"):
            evaluate(b, lanes, [case], {X: lanes.constant(1.0)})
    with pytest.raises(UsageError, match="reads y"):
        evaluate(b, lanes, [X + Y], {X: lanes.constant(1.0)})
