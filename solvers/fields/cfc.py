"""Closed-form continuous-time cell of Hasani et al. 2022 (CfC): a map that is no step of any field.

Published: y+ = G(y) = tanh(f1) (1 - s) + s tanh(f2), s = sg((T_a e + b_a) elapsed + T_b e + b_b), f1 = F_1 e + b_1, f2
= F_2 e + b_2, e = 1.7159 tanh(0.666 (W_bb y + V_bb u + b_bb)). At elapsed = 0 the new state is not the old one, so
there is no field whose flow it could be; y' = G(y) - y below is the trivial one whose explicit Euler step of 1 is G,
listed as such. Matrices start as published, Glorot-uniform; vectors start at 0, and the backbone is one layer as wide
as y: ours.
"""

from __future__ import annotations

import math

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Init, Map, Mix, dense, order_of, states, vector
from ..functions import sigmoid


def field(ode_order: int | None = None) -> EquationField:
    order_of("cfc", ode_order, fixed=1)
    (y,) = states(1)
    (a,) = symbols("a_bb")
    b1, b2, ba, bb = symbols("b_1 b_2 b_a b_b")
    f1, f2, ta, tb = symbols("s_1 s_2 s_a s_b")
    (elapsed,) = symbols("elapsed")
    e = sympy.Float("1.7159") * sympy.tanh(sympy.Float("0.666") * a)
    s = sigmoid((ta + ba) * elapsed + tb + bb)
    first, second = sympy.tanh(f1 + b1), sympy.tanh(f2 + b2)
    return EquationField(
        name="cfc",
        state=(y,),
        maps=(Map(a, ((0, dense("W_bb")),)), *(vector(b) for b in (b1, b2, ba, bb))),
        rhs=(first * (1 - s) + s * second - y,),
        constants={"elapsed": 1.0},
        reference="Hasani et al., Closed-form continuous-time neural networks, Nature Machine Intelligence 4 (2022) "
        "992-1003, arXiv:2106.13898",
        mixes=tuple(Mix(f, dense(name), e) for f, name in ((f1, "F_1"), (f2, "F_2"), (ta, "T_a"), (tb, "T_b"))),
        published_step=1.0,
        init=Init("uniform", gain=math.sqrt(3.0)),
        frozen="everything: the map is its own definition",
        integrator=False,
    )
