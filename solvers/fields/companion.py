"""Companion tanh cell of any ODE order t (ours): (d/dtau + kappa)^t x = tanh(sum_j W_j x^(j) + V u + b).

Solved for the highest derivative, x^(t) = tanh(...) - sum_{j<t} binomial(t, j) kappa^(t-j) x^(j): without the tanh all
eigenvalues are -kappa, so the linear part is stable for every kappa > 0. Order 1 with kappa = 1 is the leaky cell. The
family is this project's own; the paper (arXiv:1904.12933) only names the order t. Starts as one torch.nn.Linear on the
input and all blocks.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..companion import companion
from ..field import EquationField, Init, Map, dense, order_of, preactivations, states


def field(ode_order: int | None = None) -> EquationField:
    t = order_of("companion", ode_order)
    y = states(t)
    (a,) = preactivations(1)
    (kappa,) = symbols("kappa")
    damping = [sympy.binomial(t, j) * kappa ** (t - j) * y[j] for j in range(t)]
    return companion(
        name="companion",
        F=sympy.tanh(a) - sympy.Add(*damping),
        ode_order=t,
        maps=(Map(a, reads=tuple((j, dense(f"W_{j}")) for j in range(t))),),
        constants={"kappa": 1.0},
        reference="this project; the order t is that of Niu, Horesh, Chuang, arXiv:1904.12933 (2019)",
        init=Init("linear"),
    )
