"""AntisymmetricRNN of Chang et al. 2019: y' = tanh((W - W^T - gamma I) y + V u + b).

The published cell is explicit Euler, y+ = y + eps tanh(...); both eps and the diffusion gamma are tuned there, so the
defaults, step 0.1 and gamma = 0.01, are ours. W ~ N(0, s^2/n), V ~ N(0, 1/p), b = 0, with s the gain of `Init`. Only
the strict upper triangle of W - W^T is stored: the same cells and initial distribution with n (n - 1) / 2 parameters.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Init, Map, antisymmetric, order_of, preactivations, states


def field(ode_order: int | None = None) -> EquationField:
    order_of("antisymmetric", ode_order, fixed=1)
    (y,) = states(1)
    (a,) = preactivations(1)
    (gamma,) = symbols("gamma")
    return EquationField(
        name="antisymmetric",
        state=(y,),
        maps=(Map(a, reads=((0, antisymmetric(gamma)),)),),
        rhs=(sympy.tanh(a),),
        constants={"gamma": 0.01},
        reference="Chang, Chen, Haber, Chi, AntisymmetricRNN, ICLR 2019, arXiv:1902.09689 (with diffusion, ungated)",
        published_step=0.1,
        init=Init("normal"),
    )
