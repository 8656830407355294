"""coRNN of Rusch and Mishra 2021, damped oscillators: y'' = tanh(W y + W_z y' + V u + b) - gamma y - epsilon y'.

The published cell is symplectic Euler with damping at the old time: z+ = z + h (tanh(W y + W_z z + V u + b) - gamma y
- epsilon z), y+ = y + h z+; as a method for every field that is Gauss-Seidel Euler. A tableau for both blocks is ours,
not the paper's: plain Euler uses the old z in the second line. Constants and step are those of the authors' adding
problem (coRNN, adding/: gamma 66, epsilon 15, dt 0.06); the weights start as one torch.nn.Linear on (u, z, y).
"""

from __future__ import annotations

from dataclasses import replace

import sympy

from ...suite.equation import symbols
from ..companion import companion
from ..field import EquationField, Init, Map, dense, order_of, preactivations, states


def field(ode_order: int | None = None) -> EquationField:
    order_of("cornn", ode_order, fixed=2)
    y, z = states(2)
    (a,) = preactivations(1)
    gamma, epsilon = symbols("gamma epsilon")
    oscillators = companion(
        name="cornn",
        F=sympy.tanh(a) - gamma * y - epsilon * z,
        ode_order=2,
        maps=(Map(a, reads=((0, dense("W")), (1, dense("W_z")))),),
        constants={"gamma": 66.0, "epsilon": 15.0},
        reference="Rusch, Mishra, Coupled Oscillatory Recurrent Neural Network (coRNN), ICLR 2021, arXiv:2010.00951",
        published_step=0.06,
        init=Init("linear"),
    )
    return replace(
        oscillators, published_method="gauss-seidel-euler", frozen="the force and the damping, at the old y and z"
    )
