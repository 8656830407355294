"""Gradient cell (ours): y' = -W^T tanh(W y + V u + b), downhill on sum log cosh(W y + V u + b).

The slope is minus the gradient of a convex function whose curvature is at most |W|_2^2, so every frozen input gives a
contraction, whatever W: a Runge-Kutta step contracts where h |W|_2^2 / 2 is at most the tableau's circle-contractivity
radius. Not published; the step 0.1 and the normal start are this project's choices.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Init, Map, Mix, dense, order_of, preactivations, states


def field(ode_order: int | None = None) -> EquationField:
    order_of("gradient", ode_order, fixed=1)
    (y,) = states(1)
    (a,) = preactivations(1)
    (s,) = symbols("s")
    W = dense()
    return EquationField(
        name="gradient",
        state=(y,),
        maps=(Map(a, ((0, W),)),),
        rhs=(-s,),
        reference="this project",
        published_step=0.1,
        init=Init("normal", input_gain=2.0),
        mixes=(Mix(s, W, sympy.tanh(a), transposed=True),),
    )
