"""Continuous-time RNN: y' = -y/tau + tanh(W y + V u + b) (Funahashi and Nakamura 1993).

Published as code beside Lechner and Hasani 2020 (arXiv:2006.04418): six explicit Euler steps of 0.1 an input, tau = 1.
There the tanh sees y only under an option (global feedback), which is meant here. Weights start as in torch.nn.RNN,
which is ours.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Map, dense, order_of, preactivations, states


def field(ode_order: int | None = None) -> EquationField:
    order_of("ct-rnn", ode_order, fixed=1)
    (y,) = states(1)
    (a,) = preactivations(1)
    (tau,) = symbols("tau")
    return EquationField(
        name="ct-rnn",
        state=(y,),
        maps=(Map(a, ((0, dense()),)),),
        rhs=(-y / tau + sympy.tanh(a),),
        constants={"tau": 1.0},
        positive=("tau",),
        reference="Funahashi, Nakamura, Approximation of dynamical systems by continuous time recurrent neural "
        "networks, Neural Networks 6 (1993) 801-806",
        published_step=0.6,
        published_substeps=6,
    )
