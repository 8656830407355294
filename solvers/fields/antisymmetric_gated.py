"""Gated AntisymmetricRNN of Chang et al. 2019: y' = sg(M y + V_z u + b_z) tanh(M y + V_h u + b_h).

M = W - W^T - gamma I is shared by gate and candidate. Published: explicit Euler, y+ = y + eps z tanh(...), with eps and
gamma tuned; step 0.1 and gamma = 0.01 are ours. Weights start as in `antisymmetric`.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Init, Map, antisymmetric, order_of, states
from ..functions import sigmoid


def field(ode_order: int | None = None) -> EquationField:
    order_of("antisymmetric-gated", ode_order, fixed=1)
    (y,) = states(1)
    h, z = symbols("a_h a_z")
    (gamma,) = symbols("gamma")
    shared = antisymmetric(gamma)
    return EquationField(
        name="antisymmetric-gated",
        state=(y,),
        maps=(Map(h, ((0, shared),)), Map(z, ((0, shared),))),
        rhs=(sigmoid(z) * sympy.tanh(h),),
        constants={"gamma": 0.01},
        reference="Chang, Chen, Haber, Chi, AntisymmetricRNN, ICLR 2019, arXiv:1902.09689 (with diffusion and gate)",
        published_step=0.1,
        init=Init("normal"),
        frozen="the gate and the slope, at the old y",
    )
