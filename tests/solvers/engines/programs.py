"""Steps written by hand, and random ones."""

from __future__ import annotations

from collections.abc import Callable

import sympy
from hypothesis import strategies as st

from odernn.solvers.engines.program import Assign, H, Product, Step
from odernn.solvers.functions import sigmoid, sign

HALF = sympy.Rational(1, 2)


def symbol(name: str) -> sympy.Symbol:
    return sympy.Symbol(name, real=True)


def rk4(rhs: Callable[[sympy.Symbol, tuple[sympy.Symbol, ...]], sympy.Expr], width: int = 1) -> Step:
    """The classical method on y' = rhs(y, [y W + d]), the drives d held."""
    y, drives = symbol("y"), tuple(symbol(f"d{j}") for j in range(width))
    operations: list[Assign | Product] = []
    slopes: list[sympy.Symbol] = []
    for stage, size in enumerate((0, HALF, HALF, 1), 1):
        point = y
        if stage > 1:
            point = symbol(f"Y{stage}")
            operations.append(Assign(point, y + size * H * slopes[-1]))
        outputs = tuple(symbol(f"a{stage}{j}") for j in range(width))
        operations.append(Product(outputs, (point,), 0, plus=drives))
        slopes.append(symbol(f"k{stage}"))
        operations.append(Assign(slopes[-1], rhs(point, outputs)))
    k = slopes
    operations.append(Assign(symbol("next"), y + H / 6 * (k[0] + 2 * k[1] + 2 * k[2] + k[3])))
    return Step((y,), (symbol("next"),), tuple(operations), drives, widths=(width,))


def leaky_rk4() -> Step:
    return rk4(lambda y, a: -y + sympy.tanh(a[0]))


def lstm() -> Step:
    """Gauss-Seidel: c first, with the gates at the old x; x' = -x + tanh(c) o with the new c."""
    x, c, new_c, new_x = symbol("x"), symbol("c"), symbol("new_c"), symbol("new_x")
    gates = tuple(symbol(f"a_{name}") for name in "ifgo")
    drives = tuple(symbol(f"d_{name}") for name in "ifgo")
    i, f, o = (sigmoid(gates[j]) for j in (0, 1, 3))
    operations = (
        Product(gates, (x,), 0, plus=drives),
        Assign(new_c, c + H * (c * (f - 1) + i * sympy.tanh(gates[2]))),
        Assign(new_x, x + H * (-x + sympy.tanh(new_c) * o)),
    )
    return Step((x, c), (new_x, new_c), operations, drives, widths=(4,))


def oscillator() -> Step:
    """Two blocks, two products, the second block with the new first one; a trained bias; a product not driven."""
    y, z, a, b, new_y, new_z = (symbol(name) for name in ("y", "z", "a", "b", "new_y", "new_z"))
    drive, bias, gamma = symbol("d"), symbol("bias"), symbol("gamma")
    operations = (
        Assign(new_y, y + H * z),
        Product((a,), (new_y,), 0, plus=(drive,)),
        Product((b,), (z,), 1, plus=(a,)),
        Assign(new_z, z + H * (sympy.tanh(b + bias) - sympy.exp(-gamma) * new_y - z)),
    )
    return Step((y, z), (new_y, new_z), operations, (drive,), (bias,), (), (H, gamma), (1, 1))


def gradient_flow() -> Step:
    """-W^T tanh(W y + b) with W of width 2, and a number a row that turns the state."""
    y, a0, a1, s0, s1, g, new = (symbol(name) for name in ("y", "a0", "a1", "s0", "s1", "g", "new"))
    bias, u, drive = symbol("bias"), symbol("u"), symbol("d")
    operations = (
        Product((a0, a1), (y,), 0, plus=(drive, None)),
        Assign(s0, sympy.tanh(a0 * sigmoid(bias))),
        Assign(s1, sympy.sin(a1 + bias)),
        Product((g,), (s0, s1), 0, transposed=True, plus=(drive,)),
        Assign(new, y - H * g * sympy.cos(u) + u * bias * y),
    )
    return Step((y,), (new,), operations, (drive,), (bias,), (u,), (H,), (2,))


def kinks() -> Step:
    """Everything that bends, jumps or is defined piece by piece."""
    y, z, a, b, new = (symbol(name) for name in ("y", "z", "a", "b", "new"))
    operations = (
        Product((a, b), (y,), 0),
        Assign(
            new,
            sympy.Max(a, 0)
            + sympy.Min(a, b, z)
            + sympy.Abs(a) * sign(z)
            + sympy.Heaviside(b) * y
            + sympy.Piecewise((a**2 * b, sympy.Abs(a) < HALF), (sympy.exp(b), z > a), (y * z, True))
            + sympy.Max(y, z) * sympy.sign(b),
        ),
    )
    return Step((y, z), (new, z), operations, widths=(2,))


def powers() -> Step:
    """Roots, quotients, powers that are not integers."""
    y, a, b, new, k = (symbol(name) for name in ("y", "a", "b", "new", "k"))
    base = 1 + a**2
    operations = (
        Product((a,), (y,), 0, plus=(y,)),
        Assign(b, 1 / base),
        Assign(k, base ** sympy.Rational(3, 2) / (2 + sympy.cos(y)) ** 2 + base ** sympy.Rational(1, 3)),
        Assign(new, sympy.sqrt(base) * y + base**-HALF + base**H + 2**b + sympy.log(base) * sympy.sinh(b) + k / 5),
    )
    return Step((y,), (new,), operations, widths=(1,))


def shared() -> Step:
    """One matrix twice, one drive twice, one result twice, an unused output, dead code, a state that passes through."""
    y, z, a, b, c, dead, gone, k, new = (symbol(s) for s in ("y", "z", "a", "b", "c", "dead", "gone", "k", "new"))
    drive, w = symbol("d"), symbol("w")
    operations = (
        Product((a, b), (y,), 0, plus=(drive, drive)),
        Assign(k, sympy.tanh(a) * w + drive),
        Product((dead, c), (k,), 0, plus=(None, a)),
        Product((gone, symbol("gone2")), (z,), 0),
        Assign(symbol("never"), sympy.exp(gone) + b),
        Assign(new, y + H * sympy.tanh(a) * c),
    )
    return Step((y, z, w), (new, z, new), operations, (drive,), widths=(2,))


def repeated() -> Step:
    """A product that reads a state twice and one that reads an assigned array twice; a drive among the results."""
    y, z, a, b, k, new = (symbol(name) for name in ("y", "z", "a", "b", "k", "new"))
    drive = symbol("d")
    operations = (
        Product((a,), (y, y), 0, transposed=True),
        Assign(k, y * a + z),
        Product((b,), (k, k), 0, transposed=True, plus=(k,)),
        Assign(new, y - H * sympy.tanh(b) * k),
    )
    return Step((y, z), (new, drive), operations, (drive,), widths=(2,))


WRITTEN = {
    made.__name__: made for made in (leaky_rk4, lstm, oscillator, gradient_flow, kinks, powers, repeated, shared)
}


CELLS = [
    ("lstm-field", "gauss-seidel-euler"),
    ("gru-field", "rk4"),
    ("lem", "rk4"),
    ("cornn", "rk4"),
    ("gradient", "rk4"),
    ("mingru", "heun2"),
    ("unicornn", "symplectic-euler"),
    ("srnn", "stormer-verlet"),
    ("schroedinger", "gauss-seidel-euler"),
    ("exprnn", "lie"),
    ("lru", "euler"),
]
"""Cells under methods, as they are lowered."""


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """A random program of products, functions and arithmetic, in which all kinds of symbols meet."""
    state, drives = (symbol("y"), symbol("z")), (symbol("d"), symbol("e"))
    bias, u = symbol("bias"), symbol("u")
    widths = (1, 2)
    arrays = [*state, *drives]
    operations: list[Assign | Product] = []
    for number in range(draw(st.integers(1, 7))):
        pick = st.sampled_from(arrays)
        new = symbol(f"t{number}")
        if draw(st.booleans()):
            matrix = draw(st.sampled_from((0, 1)))
            if draw(st.booleans()):
                parts = tuple(draw(pick) for _ in range(widths[matrix]))
                outputs: tuple[sympy.Symbol, ...] = (new,)
                plus: tuple[sympy.Symbol | None, ...] = (draw(st.none() | pick),)
                operations.append(Product(outputs, parts, matrix, transposed=True, plus=plus))
            else:
                outputs = (new, symbol(f"w{number}"))[: widths[matrix]]
                plus = tuple(draw(st.none() | pick) for _ in outputs)
                operations.append(Product(outputs, (draw(pick),), matrix, plus=plus))
            arrays += outputs
        else:
            p, q, r = draw(pick), draw(st.sampled_from([*arrays, bias, u])), draw(pick)
            values = (
                p + H * q,
                p - q * r / 3,
                sympy.tanh(p + q) * r,
                sigmoid(p),
                sympy.tanh(p) * sigmoid(bias) - q,
                sympy.exp(sympy.tanh(q)) * sympy.cos(u) + p,
                sympy.Max(p, 0) + q,
                sympy.sqrt(1 + p**2) + r,
                q / (2 + sympy.sin(p)),
                sympy.Piecewise((p * r, p < q), (r, True)) + p,
                H * (p + q) ** 2 / 10,
            )
            operations.append(Assign(new, draw(st.sampled_from(values))))
            arrays.append(new)
    result = tuple(draw(st.sampled_from(arrays[2:])) for _ in state)
    return Step(state, result, tuple(operations), drives, (bias,), (u,), (H,), widths)
