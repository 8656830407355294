"""Loops, loads, sums and selections on lanes, against NumPy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llvmlite import ir

from odernn.solvers.engines import machine
from odernn.solvers.engines.vector import I64, Lanes, function, loop, slot
from odernn.suite.seeds import stream

KINDS = [(dtype, width) for dtype in ("float32", "float64") for width in (1, machine.width(dtype))]


def _run(lanes: Lanes, body: Callable[..., None], x: Any, out: Any, count: int) -> None:
    """body(builder, count, x, out) as a compiled function."""
    module = ir.Module()
    made, b = function(module, "f", [I64, lanes.pointer, lanes.pointer])
    body(b, *made.args)
    b.ret_void()
    text = str(module)
    library = machine.load((text,), lambda: text)
    kinds = [ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p]
    library.function("f", kinds)(count, x.ctypes.data, out.ctypes.data)


@pytest.mark.parametrize(("dtype", "width"), KINDS)
def test_a_loop_with_a_variable_sums_an_array(dtype: str, width: int) -> None:
    lanes = Lanes(dtype, width)
    x = stream(0, "vector").integers(-9, 9, size=4 * width).astype(dtype)  # sums of small integers are exact
    out = np.zeros(1 + 4 * width, dtype)

    def body(b: Any, count: Any, x: Any, out: Any) -> None:
        total = slot(b, lanes.type, lanes.constant(0.0))
        with loop(b, count, width) as i:
            value = lanes.load(b, x, i)
            b.store(lanes.fma(b, value, value, b.load(total)), total)
            with loop(b, 2):
                lanes.store(b, b.fadd(value, lanes.broadcast(b, x, 1)), out, b.add(i, ir.Constant(I64, 1)))
        lanes.one_lane.store(b, lanes.sum(b, b.load(total)), out)

    _run(lanes, body, x, out, len(x))
    assert out[0] == (x * x).sum()
    np.testing.assert_array_equal(out[1:], x + x[1])


@pytest.mark.parametrize("count", [0, -3, 1, 7])
def test_a_loop_runs_as_range_does(count: int) -> None:
    lanes = Lanes("float64", 1)
    out = np.zeros(8)

    def body(b: Any, count: Any, x: Any, out: Any) -> None:
        with loop(b, count, 3, start=1) as i:
            lanes.store(b, lanes.constant(1.0), out, i)

    _run(lanes, body, np.zeros(1), out, count)
    assert np.flatnonzero(out).tolist() == list(range(1, count, 3))


@pytest.mark.parametrize(("dtype", "width"), KINDS)
@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "==", "!="])
def test_comparisons_with_nan(dtype: str, width: int, operator: str) -> None:
    lanes = Lanes(dtype, width)
    edges = np.array([-np.inf, -1, -0.0, 0, 1, np.inf, np.nan], dtype)
    pairs = np.array(np.meshgrid(edges, edges)).reshape(2, -1)
    padded = np.concatenate([pairs, np.zeros((2, -len(pairs[0]) % width), dtype)], axis=1).astype(dtype)
    count = len(padded[0])
    out = np.empty(count, dtype)

    def body(b: Any, count: Any, x: Any, out: Any) -> None:
        with loop(b, count, width) as i:
            mask = lanes.compare(b, operator, lanes.load(b, x, i), lanes.load(b, x, b.add(i, count)))
            lanes.store(b, lanes.select(b, mask, lanes.constant(1.0), lanes.constant(0.0)), out, i)

    _run(lanes, body, padded, out, count)
    compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
    expected = compare.get(operator, np.equal if operator == "==" else np.not_equal)(*padded)
    np.testing.assert_array_equal(out, expected.astype(dtype))
