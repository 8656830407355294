"""Elementary functions on lanes, to at most two units in the last place in float32 and float64.

Polynomials are truncated Taylor series on short intervals, whose coefficients need no fit; arguments are brought there
as in W. J. Cody and W. Waite, *Software Manual for the Elementary Functions* (Prentice-Hall, 1980), with constants cut
into parts whose products with small integers are exact. Infinities and NaN as in NumPy. Functions that cells seldom
use call the C library for one lane after another. Longer than most files: the functions share how they are reduced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

from .vector import Builder, Lanes, Value

Function: TypeAlias = Callable[[Builder, Lanes, Value], Value]
"""(builder, lanes, x) -> f(x)."""

LN2 = Fraction(6931471805599453094172321214581765680755001343602552, 10**52)
HALF_PI = Fraction(15707963267948966192313216916397514420985846996875529, 10**52)


def _part(x: Fraction, bits: int) -> Fraction:
    """The first bits of a number."""
    unit = Fraction(2) ** (math.frexp(float(x))[1] - bits)
    return (x / unit).__trunc__() * unit


def _split(x: Fraction, *bits: int) -> list[float]:
    """The number as a sum: parts of so many bits, and the rest."""
    parts = []
    for count in bits:
        parts.append(_part(x, count))
        x -= parts[-1]
    return [float(p) for p in parts] + [float(x)]


def _digits(lanes: Lanes) -> int:
    """Bits of the fraction as it is stored."""
    return 23 if lanes.dtype == "float32" else 52


def _bias(lanes: Lanes) -> int:
    return 127 if lanes.dtype == "float32" else 1023


def _to_bits(b: Builder, lanes: Lanes, x: Value) -> Value:
    return b.bitcast(x, lanes.integer)


def _magic(lanes: Lanes) -> float:
    """Added to a small number, this rounds it to an integer, which then stands in the lowest bits."""
    return 1.5 * 2.0 ** _digits(lanes)


def _nearest(b: Builder, lanes: Lanes, x: Value, scale: float) -> tuple[Value, Value]:
    """The integer nearest to x scale: as a number, and with other bits above its lowest ones."""
    shifted = lanes.fma(b, x, lanes.constant(scale), lanes.constant(_magic(lanes)))
    return b.fsub(shifted, lanes.constant(_magic(lanes))), _to_bits(b, lanes, shifted)


def _power_of_two(b: Builder, lanes: Lanes, k: Value) -> Value:
    """2^k for an integer k of a normal number; only the lowest bits of k count."""
    biased = b.add(k, lanes.bits(_bias(lanes)))
    return b.bitcast(b.shl(biased, lanes.bits(_digits(lanes))), lanes.type)


def _clamp(b: Builder, lanes: Lanes, x: Value, low: float | None, high: float | None) -> Value:
    """x between two numbers; NaN stays."""
    if low is not None:
        x = b.select(lanes.compare(b, "<", x, lanes.constant(low)), lanes.constant(low), x)
    if high is not None:
        x = b.select(lanes.compare(b, ">", x, lanes.constant(high)), lanes.constant(high), x)
    return x


def polynomial(b: Builder, lanes: Lanes, x: Value, coefficients: Sequence[float]) -> Value:
    """sum_i c_i x^i; even and odd powers apart, so that two chains run side by side."""
    values = [lanes.constant(c) for c in coefficients]

    def horner(z: Value, chain: list[Value]) -> Value:
        total = chain[-1]
        for c in reversed(chain[:-1]):
            total = lanes.fma(b, total, z, c)
        return total

    if len(values) < 5:
        return horner(x, values)
    z = b.fmul(x, x)
    return lanes.fma(b, horner(z, values[1::2]), x, horner(z, values[::2]))


def _reduced(b: Builder, lanes: Lanes, x: Value) -> tuple[Value, Value, Value]:
    """r, what its rounding lost, and k of x = k ln 2 + r, |r| <= ln 2 / 2; of k only the lowest bits count."""
    n, k = _nearest(b, lanes, x, float(1 / LN2))
    high, low = _split(LN2, 12 if lanes.dtype == "float32" else 40)
    first = lanes.fma(b, n, lanes.constant(-high), x)
    r = lanes.fma(b, n, lanes.constant(-low), first)
    return r, lanes.fma(b, n, lanes.constant(-low), b.fsub(first, r)), k


def _tail(b: Builder, lanes: Lanes, r: Value, lost: Value) -> Value:
    """exp(r) - 1 for |r| <= ln 2 / 2: r + r^2 (1/2! + r/3! + ...), with a relative error far under a rounding."""
    degree = 8 if lanes.dtype == "float32" else 14
    q = polynomial(b, lanes, r, [1 / math.factorial(i) for i in range(2, degree + 1)])
    return b.fadd(r, lanes.fma(b, b.fmul(r, r), q, lost))


def _signed_low_bits(b: Builder, lanes: Lanes, k: Value) -> Value:
    """The integer that `_nearest` left in the lowest bits."""
    magic = _to_bits(b, lanes, lanes.constant(_magic(lanes)))
    return b.sub(k, magic)


def exp(b: Builder, lanes: Lanes, x: Value) -> Value:
    """e^x, with denormal results."""
    single = lanes.dtype == "float32"
    x = _clamp(b, lanes, x, -104.0 if single else -746.0, 89.0 if single else 710.0)
    r, lost, shifted = _reduced(b, lanes, x)
    k = _signed_low_bits(b, lanes, shifted)
    half = b.ashr(k, lanes.bits(1))  # in two factors, each a normal number
    once = b.fadd(_tail(b, lanes, r, lost), lanes.constant(1.0))
    once = b.fmul(once, _power_of_two(b, lanes, half))
    return b.fmul(once, _power_of_two(b, lanes, b.sub(k, half)))


def expm1(b: Builder, lanes: Lanes, x: Value) -> Value:
    """e^x - 1, accurate near 0."""
    single = lanes.dtype == "float32"
    clamped = _clamp(b, lanes, x, -20.0 if single else -40.0, 89.0 if single else 710.0)
    r, lost, k = _reduced(b, lanes, clamped)
    # with 2^(k-1), which stays finite: 2 (2^(k-1) p + (2^(k-1) - 1/2))
    scale = _power_of_two(b, lanes, b.sub(k, lanes.bits(1)))
    value = lanes.fma(b, scale, _tail(b, lanes, r, lost), b.fsub(scale, lanes.constant(0.5)))
    value = b.fmul(value, lanes.constant(2.0))
    small = lanes.compare(b, "<", lanes.call(b, "fabs", x), lanes.constant(2.0 ** -(_digits(lanes) + 2)))
    return b.select(small, x, value)  # the sign of zero


def tanh(b: Builder, lanes: Lanes, x: Value) -> Value:
    """e / (e + 2) with e = exp(2 |x|) - 1; relatively accurate near 0."""
    end = 9.5 if lanes.dtype == "float32" else 20.0
    size = _clamp(b, lanes, lanes.call(b, "fabs", x), None, end)
    r, lost, k = _reduced(b, lanes, b.fadd(size, size))
    scale = _power_of_two(b, lanes, k)
    e = lanes.fma(b, scale, _tail(b, lanes, r, lost), b.fsub(scale, lanes.constant(1.0)))
    two, half = lanes.constant(2.0), lanes.constant(0.5)
    below = b.fadd(e, two)
    quotient = b.fdiv(e, below)
    # what the sum below lost matters while e is small; it counts quotient / below, and 1 / below = (1 - quotient) / 2
    lost = b.fmul(quotient, b.fsub(e, b.fsub(below, two)))
    lost = b.select(lanes.compare(b, "<", e, two), lost, lanes.constant(0.0))
    quotient = lanes.fma(b, lost, lanes.fma(b, quotient, half, b.fneg(half)), quotient)
    return lanes.call(b, "copysign", quotient, x)


def sigmoid(b: Builder, lanes: Lanes, x: Value) -> Value:
    """1 / (1 + exp(-x)); relatively accurate down to the smallest numbers."""
    e = exp(b, lanes, b.fneg(lanes.call(b, "fabs", x)))
    one = lanes.constant(1.0)
    positive = lanes.compare(b, ">", x, lanes.constant(0.0))
    below = b.fadd(one, e)
    quotient = b.fdiv(b.select(positive, one, e), below)
    lost = b.fmul(quotient, b.fsub(b.fsub(below, one), e))
    inverse = b.select(positive, quotient, b.fsub(one, quotient))  # 1 / below
    return lanes.fma(b, lost, inverse, quotient)


def log(b: Builder, lanes: Lanes, x: Value) -> Value:
    """The natural logarithm: x = 2^k (1 + f), log(1 + f) = 2 artanh(s) with s = f / (2 + f)."""
    single, digits = lanes.dtype == "float32", _digits(lanes)
    tiny = lanes.compare(b, "<", x, lanes.constant(2.0 ** (1 - _bias(lanes))))
    raised = b.select(tiny, b.fmul(x, lanes.constant(2.0 ** (digits + 2))), x)
    root = _to_bits(b, lanes, lanes.constant(math.sqrt(0.5)))
    bits = _to_bits(b, lanes, raised)
    k = b.ashr(b.sub(bits, root), lanes.bits(digits))
    f = b.fsub(b.bitcast(b.sub(bits, b.shl(k, lanes.bits(digits))), lanes.type), lanes.constant(1.0))
    k = b.sub(k, b.select(tiny, lanes.bits(digits + 2), lanes.bits(0)))
    magic = lanes.constant(_magic(lanes))
    n = b.fsub(b.bitcast(b.add(k, _to_bits(b, lanes, magic)), lanes.type), magic)
    s = b.fdiv(f, b.fadd(f, lanes.constant(2.0)))
    z = b.fmul(s, s)
    series = polynomial(b, lanes, z, [2 / (2 * i + 3) for i in range(5 if single else 11)])
    # 2 s = f - f^2/2 + s f^2/2: what is left of f is small, so that f itself is not rounded
    square = b.fmul(b.fmul(f, f), lanes.constant(0.5))
    inner = b.fmul(s, lanes.fma(b, z, series, square))
    high, low = _split(LN2, 12 if single else 40)
    rest = b.fsub(b.fsub(square, lanes.fma(b, n, lanes.constant(low), inner)), f)
    value = lanes.fma(b, n, lanes.constant(high), b.fneg(rest))
    value = b.select(lanes.compare(b, "<", x, lanes.constant(math.inf)), value, x)  # infinity and NaN
    value = b.select(lanes.compare(b, "==", x, lanes.constant(0.0)), lanes.constant(-math.inf), value)
    return b.select(lanes.compare(b, "<", x, lanes.constant(0.0)), lanes.constant(math.nan), value)


FAR = 2.0**20
"""Arguments of sin and cos beyond this go to the C library."""


def _quadrant(b: Builder, lanes: Lanes, x: Value) -> tuple[Value, Value]:
    """r and q of x = q pi/2 + r, |r| <= pi/4, for |x| <= FAR; of q the lowest bits count. In float64, always."""
    double = Lanes("float64", lanes.width)
    wide = b.fpext(x, double.type) if lanes.dtype == "float32" else x
    n, q = _nearest(b, double, wide, float(1 / HALF_PI))
    first, second, third = _split(HALF_PI, 33, 33)
    r = double.fma(b, n, double.constant(-first), wide)
    w = b.fmul(n, double.constant(second))
    near = b.fsub(r, w)
    lost = b.fsub(b.fsub(r, near), w)
    r = b.fadd(near, double.fma(b, n, double.constant(-third), lost))
    return (r, q) if lanes.dtype == "float64" else (b.fptrunc(r, lanes.type), b.trunc(q, lanes.integer))


def _circular(name: str, turn: int, b: Builder, lanes: Lanes, x: Value) -> Value:
    """sin, or with a quarter turn cos."""
    single = lanes.dtype == "float32"
    r, q = _quadrant(b, lanes, x)
    q = b.add(q, lanes.bits(turn))
    z = b.fmul(r, r)
    odd = [(-1) ** (i + 1) / math.factorial(2 * i + 3) for i in range(4 if single else 8)]
    even = [(-1) ** i / math.factorial(2 * i + 4) for i in range(4 if single else 7)]
    sine = lanes.fma(b, b.fmul(r, z), polynomial(b, lanes, z, odd), r)
    half = b.fmul(z, lanes.constant(0.5))
    one = lanes.constant(1.0)
    near = b.fsub(one, half)
    lost = b.fsub(b.fsub(one, near), half)
    cosine = b.fadd(near, lanes.fma(b, b.fmul(z, z), polynomial(b, lanes, z, even), lost))
    is_odd = b.icmp_signed("!=", b.and_(q, lanes.bits(1)), lanes.bits(0))
    chosen = b.select(is_odd, cosine, sine)
    sign = b.shl(b.and_(q, lanes.bits(2)), lanes.bits(8 * lanes.size - 2))
    near_value = b.bitcast(b.xor(_to_bits(b, lanes, chosen), sign), lanes.type)
    if turn == 0:  # the sign of zero
        near_value = b.select(lanes.compare(b, "==", x, lanes.constant(0.0)), x, near_value)
    far = lanes.compare(b, ">", lanes.call(b, "fabs", x), lanes.constant(FAR))
    start = b.block
    with b.if_then(lanes.any(b, far), likely=False):
        far_value = b.select(far, lanes.lane_by_lane(b, name, x), near_value)
        end = b.block
    value = b.phi(lanes.type)
    value.add_incoming(near_value, start)
    value.add_incoming(far_value, end)
    return value


def sin(b: Builder, lanes: Lanes, x: Value) -> Value:
    """The sine; NaN at infinity."""
    return _circular("sin", 0, b, lanes, x)


def cos(b: Builder, lanes: Lanes, x: Value) -> Value:
    """The cosine; NaN at infinity."""
    return _circular("cos", 1, b, lanes, x)


def _named(intrinsic: str, b: Builder, lanes: Lanes, x: Value) -> Value:
    return lanes.call(b, intrinsic, x)


def _from_libm(name: str, b: Builder, lanes: Lanes, x: Value) -> Value:
    return lanes.lane_by_lane(b, name, x)


sqrt: Function = partial(_named, "sqrt")
absolute: Function = partial(_named, "fabs")
floor: Function = partial(_named, "floor")
ceiling: Function = partial(_named, "ceil")


def sign(b: Builder, lanes: Lanes, x: Value) -> Value:
    """-1, 0 or 1; NaN for NaN."""
    zero = lanes.constant(0.0)
    one = lanes.call(b, "copysign", lanes.constant(1.0), x)
    return b.select(lanes.compare(b, "!=", b.fadd(x, zero), zero), b.select(_is_nan(b, lanes, x), x, one), zero)


def _is_nan(b: Builder, lanes: Lanes, x: Value) -> Value:
    return lanes.compare(b, "!=", x, x)


def heaviside(b: Builder, lanes: Lanes, x: Value) -> Value:
    """1 for x > 0, else 0, at 0 as well: the slope of max(x, 0) as torch has it."""
    return b.select(lanes.compare(b, ">", x, lanes.constant(0.0)), lanes.constant(1.0), lanes.constant(0.0))


FUNCTIONS: MappingProxyType[str, Function] = MappingProxyType(
    {
        "exp": exp,
        "expm1": expm1,
        "tanh": tanh,
        "sigmoid": sigmoid,
        "log": log,
        "sin": sin,
        "cos": cos,
        "sqrt": sqrt,
        "Abs": absolute,
        "floor": floor,
        "ceiling": ceiling,
        "sign": sign,
        "Heaviside": heaviside,
        **{name: partial(_from_libm, name) for name in ("tan", "sinh", "cosh", "atan", "asin", "acos")},
        **{name: partial(_from_libm, name) for name in ("asinh", "acosh", "atanh")},
    }
)
"""By SymPy's names, functions of one argument."""


def power(b: Builder, lanes: Lanes, x: Value, y: Value) -> Value:
    """x^y by the C library."""
    return lanes.lane_by_lane(b, "pow", x, y)


def arctan2(b: Builder, lanes: Lanes, y: Value, x: Value) -> Value:
    """The angle of the point (x, y), by the C library."""
    return lanes.lane_by_lane(b, "atan2", y, x)


def maximum(b: Builder, lanes: Lanes, x: Value, y: Value) -> Value:
    """The larger; NaN where one is NaN."""
    larger = b.select(lanes.compare(b, ">", x, y), x, y)
    return b.select(_is_nan(b, lanes, x), x, larger)


def minimum(b: Builder, lanes: Lanes, x: Value, y: Value) -> Value:
    """The smaller; NaN where one is NaN."""
    smaller = b.select(lanes.compare(b, "<", x, y), x, y)
    return b.select(_is_nan(b, lanes, x), x, smaller)
