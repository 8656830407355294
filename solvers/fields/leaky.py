"""Leaky tanh network; Elman's network at an Euler step of 1: y' = -y + tanh(W y + V u + b).

Euler with step 1 gives y+ = tanh(W y + V u + b) (Elman 1990; torch.nn.RNN); with step d < 1 the leaky network
y+ = (1 - d) y + d tanh(...). Starts as torch.nn.RNN does, with one bias where that adds two.
"""

from __future__ import annotations

import sympy

from ..field import EquationField, Map, dense, order_of, preactivations, states


def field(ode_order: int | None = None) -> EquationField:
    order_of("leaky", ode_order, fixed=1)
    (y,) = states(1)
    (a,) = preactivations(1)
    return EquationField(
        name="leaky",
        state=(y,),
        maps=(Map(a, reads=((0, dense()),)),),
        rhs=(-y + sympy.tanh(a),),
        reference="Elman, Finding structure in time, Cognitive Science 14 (1990) 179-211",
        published_step=1.0,
    )
