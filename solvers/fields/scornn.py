"""scoRNN of Helfrich, Willmott and Ye 2018: y' = -2 (A - A^T) y + V_u u + b_r sign(y), and a reflection D.

Published: y+ = modReLU((I + S)^-1 (I - S) D y + V u), S = A - A^T, modReLU(z) = sign(z) max(|z| + b_r, 0). That is the
Lie splitting at step 1 of four parts: the reflection D, the linear part by its Cayley transform, the input as a kick,
and the radial flow of b_r sign(y). D changes the sign of the first floor(negative n) units once a step, so the cell
tends to a flow as the step shrinks only for negative = 0. Starts as published: S of 2 x 2 blocks tan(s/2), s ~ U(0,
pi/2), b_r = 0. V_u is ours. Ours too: to read the map as a field. The share `negative` is tuned there, and 1/2 here.
"""

from __future__ import annotations

import math

import sympy

from ...suite.equation import symbols
from ..field import DRAWN, EquationField, Map, Matrix, Part, Start, order_of, states, total, vector
from ..functions import sign


def field(ode_order: int | None = None) -> EquationField:
    order_of("scornn", ode_order, fixed=1)
    (y,) = states(1)
    turned, driven, bias = symbols("a_s a_u b_r")
    angles = Start(0.0, math.pi / 2, -sympy.tan(DRAWN / 2))
    skew = Matrix("A", sympy.Integer(-2), sympy.Integer(2), start=angles, turns=True)
    parts = (
        Part("reflection", (sympy.S.Zero,), "reflect"),
        Part("rotation", (turned,), "linear"),
        Part("input", (driven,), "kick"),
        Part("radial", (bias * sign(y),), "radial"),
    )
    return EquationField(
        name="scornn",
        state=(y,),
        maps=(
            Map(turned, ((0, skew),), driven=False),
            Map(driven, biased=False),
            vector(bias, Start(value=sympy.S.Zero)),
        ),
        rhs=total(parts),
        constants={"negative": 0.5},
        reference="Helfrich, Willmott, Ye, Orthogonal Recurrent Neural Networks with Scaled Cayley Transform, ICML "
        "2018, arXiv:1707.09520",
        published_step=1.0,
        published_method="lie-cayley",
        parts=parts,
        frozen="each part while the others act",
    )
