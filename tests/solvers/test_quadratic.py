"""Exact numbers p + q sqrt(d) against SymPy and mpmath."""

import math
from fractions import Fraction

import mpmath
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from odernn.solvers.exact_algebra import has_roots_on_the_left_only, positive_up_to, reciprocal_characteristic
from odernn.solvers.quadratic import Quadratic, magnitude, parse, surd

F = Fraction
rationals = st.fractions(-5, 5, max_denominator=40)
numbers = st.builds(lambda p, q: p + q * surd(6), rationals, rationals)


def sympy_of(x):
    return sympy.sympify(x) if isinstance(x, Quadratic) else sympy.Rational(x.numerator, x.denominator)


@settings(max_examples=20, deadline=None)
@given(numbers, numbers)
def test_arithmetic_is_that_of_sympy(x, y):
    a, b = sympy_of(x), sympy_of(y)
    for found, expected in ((x + y, a + b), (x - y, a - b), (x * y, a * b), (-x, -a), (magnitude(x), abs(a))):
        assert sympy.expand(sympy_of(found) - expected) == 0
    if y:
        assert sympy.simplify(sympy_of(x / y) - a / b) == 0
        assert (x / y) * y == x
    assert x * x * x == (x**3 if isinstance(x, Quadratic) else x * x * x)
    assert (x < y, x <= y, x == y, x > y, x >= y) == (a < b, a <= b, a == b, a > b, a >= b)
    assert parse(str(x)) == x


@given(numbers)
def test_floats_are_the_nearest(x):
    with mpmath.workdps(80):
        p, q = (x.p, x.q) if isinstance(x, Quadratic) else (x, F(0))
        exact = mpmath.mpf(p.numerator) / p.denominator + mpmath.mpf(q.numerator) / q.denominator * mpmath.sqrt(6)
        assert float(x) == float(exact)


def test_cancellation_loses_nothing():
    tiny = surd(2) - F(math.isqrt(2 * 10**120), 10**60)
    with mpmath.workdps(150):
        assert 0 < float(tiny) == float(mpmath.sqrt(2) - mpmath.mpf(math.isqrt(2 * 10**120)) / 10**60)


def test_a_rational_result_is_a_fraction():
    root = surd(12)
    assert str(root) == "2*sqrt(3)"
    assert root * root == 12
    assert isinstance(root * root, Fraction)
    assert isinstance(root - root, Fraction)
    assert surd(9) == 3
    assert root != F(2)
    assert len({root, surd(12), surd(3)}) == 2
    with pytest.raises(ArithmeticError, match="one quadratic field"):
        root + surd(2)


def test_sympy_takes_them_as_its_own():
    y = sympy.Symbol("y")
    assert surd(3) * y == y * surd(3) == sympy.sqrt(3) * y
    assert y + surd(3) / 2 == y + sympy.sqrt(3) / 2


@pytest.mark.parametrize("text", ["sqrt(2)**2", "sqrt(2) + x", "sqrt(1/2)", "abs(sqrt(2))", "sqrt(2", "sqrt(True)"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"states no number|unexpected"):
        parse(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(rationals, min_size=9, max_size=9))
def test_determinant_is_that_of_sympy(values):
    A = [values[:3], values[3:6], values[6:]]
    z = sympy.Symbol("z")
    expected = sympy.Poly((sympy.eye(3) - z * sympy.Matrix(3, 3, [sympy_of(v) for v in values])).det(), z)
    assert [sympy_of(a) for a in reciprocal_characteristic(A)] == expected.all_coeffs()[::-1]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.fractions(-3, 3, max_denominator=4), min_size=1, max_size=3), st.lists(rationals, max_size=4))
def test_half_planes_by_their_roots(real, pairs):
    """Products of (x - r) and of (x - a)^2 + 1."""
    x, p = sympy.Symbol("x"), sympy.Integer(1)
    for r in real:
        p *= x - sympy_of(r)
    for a in pairs:
        p *= (x - sympy_of(a)) ** 2 + 1
    coefficients = [F(int(c.p), int(c.q)) for c in sympy.Poly(sympy.expand(p), x).all_coeffs()[::-1]]
    assert has_roots_on_the_left_only(tuple(coefficients)) == all(r < 0 for r in (*real, *pairs))


def test_first_sign_change_at_an_irrational_number():
    """(x^2 - 2)(sqrt(3) - x)^2: touches at sqrt(3), changes sign at sqrt(2)."""
    root = surd(3)
    square = [root * root, -2 * root, F(1)]
    p = [-2 * square[0], -2 * square[1], square[0] - 2 * square[2], square[1], square[2]]
    assert positive_up_to([-a for a in p]) == math.sqrt(2)
    assert positive_up_to(square) == math.inf


@pytest.mark.parametrize(("q", "c"), [(2, F(1, 8)), (3, F(1, 8)), (5, F(1, 5)), (7, F(-1, 5))])
def test_first_sign_change_where_fractions_stand_beside_roots(q, c):
    """x^2 - 3/2 x + c sqrt(q), by the quadratic formula; and down from it where the constant is negative."""
    constant = float(c) * math.sqrt(q)
    root = (1.5 - math.sqrt(2.25 - 4 * constant)) / 2 if c > 0 else (1.5 + math.sqrt(2.25 - 4 * constant)) / 2
    sign = 1 if c > 0 else -1
    assert positive_up_to([sign * c * surd(q), F(-3, 2) * sign, F(sign)]) == pytest.approx(root, rel=1e-14)
