"""expRNN of Lezcano-Casado and Martinez-Rubio 2019: y' = (A - A^T) y + V_u u + b_r sign(y).

Published: y+ = modReLU(expm(A - A^T) y + V u), modReLU(z) = sign(z) max(|z| + b_r, 0). That is the Lie splitting at
step 1 of three parts: the linear part by its exact flow, the input as a kick, and the radial flow of b_r sign(y).
Starts as published: A - A^T of 2 x 2 blocks with angles U(-pi, pi), b_r ~ U(-0.01, 0.01). V_u is ours, and so is
reading the map as a field.
"""

from __future__ import annotations

import math

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Map, Matrix, Part, Start, order_of, states, total, vector
from ..functions import sign


def field(ode_order: int | None = None) -> EquationField:
    order_of("exprnn", ode_order, fixed=1)
    (y,) = states(1)
    turned, driven, bias = symbols("a_s a_u b_r")
    skew = Matrix("A", sympy.S.One, sympy.S.NegativeOne, start=Start(-math.pi, math.pi), turns=True)
    parts = (
        Part("rotation", (turned,), "linear"),
        Part("input", (driven,), "kick"),
        Part("radial", (bias * sign(y),), "radial"),
    )
    return EquationField(
        name="exprnn",
        state=(y,),
        maps=(Map(turned, ((0, skew),), driven=False), Map(driven, biased=False), vector(bias, Start(-0.01, 0.01))),
        rhs=total(parts),
        reference="Lezcano-Casado, Martinez-Rubio, Cheap Orthogonal Constraints in Neural Networks, ICML 2019, "
        "arXiv:1901.08428",
        published_step=1.0,
        published_method="lie",
        parts=parts,
        frozen="each part while the others act",
    )
