"""GRU as an ODE: y' = (1 - sg(a_z)) (tanh(a_n + sg(a_r) (W_h y + b_h)) - y), a_r, a_z of y and u, a_n = V_n u + b_n.

Published: Cho et al. 2014, in the form of torch.nn.GRU, whose reset gate acts after the matrix W_h (theirs before):
explicit Euler with step 1. With the candidate frozen the same map is backward Euler, the trapezoid or the exact flow of
y' = n - y under other step sizes; the field here is the one that needs no gauge. Weights start as in torch.nn.GRU.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Map, dense, order_of, states
from ..functions import sigmoid


def field(ode_order: int | None = None) -> EquationField:
    order_of("gru-field", ode_order, fixed=1)
    (y,) = states(1)
    r, z, n, h = symbols("a_r a_z a_n a_h")
    return EquationField(
        name="gru-field",
        state=(y,),
        maps=(
            Map(r, ((0, dense("W_r")),)),
            Map(z, ((0, dense("W_z")),)),
            Map(n),
            Map(h, ((0, dense("W_h")),), driven=False, biased=True),
        ),
        rhs=((1 - sigmoid(z)) * (sympy.tanh(n + sigmoid(r) * h) - y),),
        reference="Cho et al., Learning Phrase Representations using RNN Encoder-Decoder, 2014, arXiv:1406.1078",
        published_step=1.0,
        frozen="the gates and the candidate, at the old y",
    )
