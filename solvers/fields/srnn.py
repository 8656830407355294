"""Symplectic RNN of Chen et al. 2020: q' = dK/dp, p' = -dU/dq for a separable Hamiltonian K(p) + U(q, u).

K = sum b_kout tanh(W_kin p + b_kin), U = sum b_pout tanh(W_pot q + V_pot u + b_pot): each energy is a network with one
hidden layer as wide as a block. Published: Stormer-Verlet (kick, drift, kick), for trajectories without input. Ours:
the input inside U, the widths, the step 0.1, and the start (matrices normal, output weights U(-1, 1)).
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Init, Map, Mix, Start, dense, order_of, vector


def field(ode_order: int | None = None) -> EquationField:
    order_of("srnn", ode_order, fixed=2)
    q, p = symbols("q p")
    kin, pot, kout, pout = symbols("a_kin a_pot b_kout b_pout")
    velocity, gradient = symbols("s_1 s_2")
    W_kin, W_pot = dense("W_kin"), dense("W_pot")
    return EquationField(
        name="srnn",
        state=(q, p),
        maps=(
            Map(kin, ((1, W_kin),), driven=False, biased=True),
            Map(pot, ((0, W_pot),)),
            vector(kout, Start(-1.0, 1.0)),
            vector(pout, Start(-1.0, 1.0)),
        ),
        rhs=(velocity, -gradient),
        reference="Chen, Zhang, Arjovsky, Bottou, Symplectic Recurrent Neural Networks, ICLR 2020, arXiv:1909.13334",
        ode_order=2,
        mixes=(
            Mix(velocity, W_kin, kout * (1 - sympy.tanh(kin) ** 2), transposed=True),
            Mix(gradient, W_pot, pout * (1 - sympy.tanh(pot) ** 2), transposed=True),
        ),
        published_step=0.1,
        published_method="stormer-verlet",
        init=Init("normal", input_gain=3.0),
        frozen="p while q moves, and q while p moves",
    )
