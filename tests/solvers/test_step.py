"""The stage loop, in exact, symbolic, NumPy and torch arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import factorial

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from odernn.solvers.step import active, advance, change, explicit_step, stages
from odernn.solvers.tableau import Tableau
from odernn.solvers.tableaux import TABLEAUX
from odernn.suite.errors import UsageError

EXPLICIT = [t for t in TABLEAUX.values() if t.explicit]
IMPLICIT = Tableau("one-stage Gauss", (("1/2",),), ("1",), 2, "test")


def plain_step(f, t, y, h, tableau):
    """The textbook loop over every stage and coefficient, zero or not."""
    A, b, c = tableau.arrays.A, tableau.arrays.b, tableau.arrays.c
    k = []
    for i in range(len(b)):
        k.append(f(t + c[i] * h, y + h * sum((A[i, j] * k[j] for j in range(i)), 0 * y)))
    return y + h * sum(b[i] * k[i] for i in range(len(b)))


@pytest.mark.parametrize("tableau", EXPLICIT, ids=lambda t: t.name)
@settings(max_examples=5, deadline=None)
@given(z=st.fractions(-3, 3, max_denominator=7))
def test_exact_step_is_the_stability_function(tableau, z):
    """On y' = lambda y, y+ / y = det(I - zA + z 1 b^T) (Hairer, Wanner II, IV.3, proposition 3.2), in rationals."""
    s = tableau.stages
    A = sympy.Matrix(s, s, lambda i, j: sympy.Rational(tableau.A[i][j]))
    b = sympy.Matrix(1, s, lambda _, j: sympy.Rational(tableau.b[j]))
    expected = (sympy.eye(s) - sympy.Rational(z) * A + sympy.Rational(z) * sympy.ones(s, 1) * b).det(method="bareiss")
    h = Fraction(1, 3)
    found = explicit_step(lambda t, y: (z / h) * y, Fraction(0), Fraction(1), h, tableau)
    assert isinstance(found, Fraction)
    assert sympy.Rational(found) == expected


def test_symbolic_step_is_the_exponential_series():
    z = sympy.Symbol("z")
    found = sympy.expand(explicit_step(lambda t, y: z * y, 0, sympy.Integer(1), 1, TABLEAUX["rk4"]))
    assert found == sum(z**k / factorial(k) for k in range(5))


def test_exact_quadrature_reads_the_nodes():
    """On y' = t^3 an order-4 step is Simpson's rule, exact: the integral of t^3 from 1 to 3 is 20."""
    step = explicit_step(lambda t, y: t**3, Fraction(1), Fraction(0), Fraction(2), TABLEAUX["rk4"])
    assert step == 20


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("tableau", EXPLICIT, ids=lambda t: t.name)
def test_step_equals_the_textbook_loop(tableau, library):
    y = np.random.default_rng(0).normal(size=(3, 4))

    def f(t, y):
        return np.sin(y) * np.cos(3 * t) - y

    expected = plain_step(f, 0.3, y, 0.2, tableau)
    if library == "numpy":
        found = explicit_step(f, 0.3, y, 0.2, tableau, "numpy")
    else:
        found = explicit_step(
            lambda t, y: torch.sin(y) * np.cos(3 * t) - y, 0.3, torch.from_numpy(y), 0.2, tableau, "torch"
        ).numpy()
    largest = max(1.0, np.abs(tableau.arrays.A).max(), np.abs(tableau.arrays.b).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 * largest)


@pytest.mark.parametrize("arithmetic", ["numpy", "torch"])
def test_floats_keep_the_dtype_of_the_state(arithmetic):
    y = np.ones(2, dtype=np.float32) if arithmetic == "numpy" else torch.ones(2, dtype=torch.float32)
    assert explicit_step(lambda t, y: -y, 0.0, y, 0.1, TABLEAUX["rk4"], arithmetic).dtype == y.dtype


def test_only_stages_that_matter_are_evaluated():
    pair = TABLEAUX["dormand-prince54"]
    assert active(pair) == (0, 1, 2, 3, 4, 5)
    assert active(pair, embedded=True) == (0, 1, 2, 3, 4, 5, 6)
    unused = Tableau("unused stage", (("0",) * 3, ("1/2", "0", "0"), ("1/3", "0", "0")), ("0", "1", "0"), 2, "test")
    assert active(unused) == (0, 1)
    calls = []
    found = explicit_step(lambda t, y: calls.append(t) or y, Fraction(0), Fraction(1), Fraction(1), unused)
    assert (len(calls), found) == (2, Fraction(5, 2))


def test_known_first_slope_is_not_evaluated_again():
    method = stages(TABLEAUX["dormand-prince54"], "numpy", embedded=True)
    times = []

    def f(t, y):
        times.append(t)
        return -y

    y = np.array([1.0])
    new, slopes = advance(f, 0.0, y, 0.5, method)
    assert len(times) == 7
    np.testing.assert_array_equal(slopes[-1], -new)
    again, _ = advance(f, 0.5, new, 0.5, method, first=slopes[-1])
    assert len(times) == 13
    np.testing.assert_array_equal(again, advance(f, 0.5, new, 0.5, method)[0])


def test_error_row_is_the_difference_of_both_results():
    pair = TABLEAUX["bogacki-shampine32"]
    method = stages(pair, "exact", embedded=True)
    _, slopes = advance(lambda t, y: y * y + t, Fraction(1, 7), Fraction(2, 3), Fraction(1, 5), method)
    expected = Fraction(1, 5) * sum((b - e) * k for b, e, k in zip(pair.b, pair.b_hat, slopes, strict=True))
    assert change(method.error, slopes, Fraction(1, 5), method) == expected


def test_what_the_loop_refuses():
    with pytest.raises(UsageError, match="implicit"):
        active(IMPLICIT)
    with pytest.raises(UsageError, match="'rk4' has no embedded weights"):
        stages(TABLEAUX["rk4"], "numpy", embedded=True)
