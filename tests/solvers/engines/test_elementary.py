"""Elementary functions within two units in the last place of NumPy's extended precision, over all magnitudes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from llvmlite import ir

from odernn.solvers.engines import elementary, machine
from odernn.solvers.engines.vector import I64, Lanes, function, loop
from odernn.suite.seeds import stream

KINDS = [(dtype, width) for dtype in ("float32", "float64") for width in (1, machine.width(dtype))]
PRINTED = ("exp", "expm1", "tanh", "sigmoid", "log", "sin", "cos", "sqrt")
FROM_LIBM = ("tan", "sinh", "cosh", "atan", "asin", "acos", "asinh", "acosh", "atanh")
REFERENCES = {name: getattr(np, name) for name in PRINTED + FROM_LIBM if hasattr(np, name)} | {
    "atan": np.arctan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x > 0, 1, e) / (1 + e)


def compiled(name: str, dtype: str, width: int) -> Callable[[Any], Any]:
    """The function on arrays whose length is a multiple of the width."""
    lanes, module = Lanes(dtype, width), ir.Module()
    made, b = function(module, "f", [I64, lanes.pointer, lanes.pointer])
    count, x, out = made.args
    with loop(b, count, width) as i:
        lanes.store(b, elementary.FUNCTIONS[name](b, lanes, lanes.load(b, x, i)), out, i)
    b.ret_void()
    text = str(module)
    run = machine.load((text,), lambda: text).function("f", [ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p])

    def evaluated(x: Any) -> Any:
        x = np.ascontiguousarray(x, dtype)
        out = np.empty_like(x)
        assert len(x) % width == 0
        run(len(x), x.ctypes.data, out.ctypes.data)
        return out

    return evaluated


def _arguments(dtype: str) -> Any:
    """Numbers of every magnitude, with zeros, infinities, NaN and denormals."""
    rng, n = stream(0, f"elementary/{dtype}"), 1 << 13
    lowest, highest = (-149, 127) if dtype == "float32" else (-1074, 1023)
    pieces = [
        rng.standard_normal(n),
        rng.uniform(-3, 3, n),
        rng.uniform(0.5, 2, n),
        rng.uniform(-110, 110, n),
        rng.uniform(-760, 760, n),
        np.ldexp(rng.uniform(-1, 1, n), rng.integers(lowest, highest, n)),
        np.round(rng.uniform(-6e5, 6e5, n)) * (np.pi / 2),  # where sin and cos nearly vanish
    ]
    info = np.finfo(dtype)
    edges = [
        0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        info.tiny,
        -info.tiny,
        info.tiny / 8,
        -info.tiny / 8,
        info.max,
        -info.max,
    ]
    x = np.concatenate([*pieces, edges, np.ones(-len(edges) % 16)])
    with np.errstate(over="ignore"):
        return x.astype(dtype)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no extended precision here")
@pytest.mark.parametrize(("dtype", "width"), KINDS)
@pytest.mark.parametrize("name", PRINTED + FROM_LIBM)
def test_within_two_units_in_the_last_place(name: str, dtype: str, width: int) -> None:
    x = _arguments(dtype)
    if name in FROM_LIBM:
        x = x[::16]
        x = x[: len(x) // width * width]
    found = compiled(name, dtype, width)(x)
    with np.errstate(all="ignore"):
        exact = (_sigmoid if name == "sigmoid" else REFERENCES[name])(x.astype(np.longdouble))
        expected = exact.astype(dtype)
        unit = np.spacing(np.abs(expected)).astype(np.longdouble)
        error = np.abs(found.astype(np.longdouble) - exact) / unit
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    # a result that rounds to infinity or to the largest number may be either
    assert np.all(np.isfinite(found[finite]))
    assert error[finite].max() <= 2.0


@pytest.mark.parametrize(("dtype", "width"), KINDS)
@pytest.mark.parametrize("name", ["expm1", "tanh", "sin", "sqrt", "sinh", "atan"])
def test_odd_functions_keep_the_sign_of_zero(name: str, dtype: str, width: int) -> None:
    found = compiled(name, dtype, width)(np.full(16, -0.0))
    assert np.all(found == 0)
    assert np.all(np.signbit(found))


@pytest.mark.parametrize("name", ["exp", "expm1", "tanh", "log", "sin", "cos"])
def test_float64_against_fifty_digits(name: str) -> None:
    width = machine.width("float64")
    rng = stream(1, "elementary")
    x = np.concatenate([rng.uniform(-20, 20, 240), rng.standard_normal(240) * 1e-3, rng.uniform(0, 1e15, 32)])
    x = np.abs(x) if name == "log" else x
    x = np.minimum(x, 700) if name in ("exp", "expm1") else x
    found = compiled(name, "float64", width)(x)
    with mpmath.workdps(50):
        for value, argument in zip(found.tolist(), x.tolist(), strict=True):
            exact = getattr(mpmath, name)(mpmath.mpf(argument))
            assert abs(mpmath.mpf(value) - exact) <= 2 * np.spacing(abs(float(exact)))


@pytest.mark.parametrize(("dtype", "width"), KINDS)
def test_tanh_and_sigmoid_stay_between_their_limits_and_grow(dtype: str, width: int) -> None:
    x = np.linspace(-40, 40, 1 << 14).astype(dtype)
    tanh, sigmoid = (compiled(name, dtype, width)(x) for name in ("tanh", "sigmoid"))
    assert np.abs(tanh).max() == 1
    assert (sigmoid.min() > 0, sigmoid.max()) == (True, 1)
    unit = np.finfo(dtype).eps
    assert np.diff(tanh).min() >= -2 * unit
    assert np.diff(sigmoid).min() >= -2 * unit


@pytest.mark.parametrize(("dtype", "width"), KINDS)
def test_steps(dtype: str, width: int) -> None:
    x = np.array([-np.inf, -2.5, -0.0, 0.0, 1e-30, 2.5, np.inf, np.nan] * 2, dtype)
    np.testing.assert_array_equal(compiled("sign", dtype, width)(x), np.sign(x))
    np.testing.assert_array_equal(compiled("Abs", dtype, width)(x), np.abs(x))
    np.testing.assert_array_equal(compiled("floor", dtype, width)(x), np.floor(x))
    np.testing.assert_array_equal(compiled("ceiling", dtype, width)(x), np.ceil(x))
    np.testing.assert_array_equal(compiled("Heaviside", dtype, width)(x), (x > 0).astype(dtype))
