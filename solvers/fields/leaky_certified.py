"""Certified leaky cell (ours): y' = -gamma y + tanh(W y + V u + b) with |W|_2 <= gamma throughout training.

W is what is trained, scaled down to the 2-norm gamma wherever it exceeds it. The field then satisfies the circle
condition with rho = (gamma + |W|_2) / 2 <= gamma, so a Runge-Kutta step contracts where h gamma is at most the
tableau's circle-contractivity radius. Not published; the step 0.1 and the normal start are this project's choices.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Init, Map, Matrix, order_of, preactivations, states


def field(ode_order: int | None = None) -> EquationField:
    order_of("leaky-certified", ode_order, fixed=1)
    (y,) = states(1)
    (a,) = preactivations(1)
    (gamma,) = symbols("gamma")
    return EquationField(
        name="leaky-certified",
        state=(y,),
        maps=(Map(a, ((0, Matrix("W", bound=gamma)),)),),
        rhs=(-gamma * y + sympy.tanh(a),),
        constants={"gamma": 1.0},
        reference="this project",
        published_step=0.1,
        init=Init("normal", input_gain=2.0),
    )
