"""Lipschitz RNN of Erichson et al. 2021: y' = A y + tanh(W y + V_W u + b_W), A and W skewed and shifted.

A = beta (M_A - M_A^T) + (1 - beta) (M_A + M_A^T) - gamma I, and W from M_W alike. Published: explicit Euler; beta 0.75,
gamma 0.001 and step 0.03 are those of the authors' examples. Weights start normal, with standard deviation 1/sqrt n,
which is ours.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Init, Map, Matrix, order_of, states


def field(ode_order: int | None = None) -> EquationField:
    order_of("lipschitz", ode_order, fixed=1)
    (y,) = states(1)
    linear, a = symbols("a_A a_W")
    beta, gamma = symbols("beta gamma")
    acting = [Matrix(name, sympy.S.One, 1 - 2 * beta, -gamma) for name in ("M_A", "M_W")]
    return EquationField(
        name="lipschitz",
        state=(y,),
        maps=(Map(linear, ((0, acting[0]),), driven=False), Map(a, ((0, acting[1]),))),
        rhs=(linear + sympy.tanh(a),),
        constants={"beta": 0.75, "gamma": 0.001},
        reference="Erichson, Azencot, Queiruga, Hodgkinson, Mahoney, Lipschitz RNNs, ICLR 2021, arXiv:2006.12070",
        published_step=0.03,
        init=Init("normal", input_gain=3.0),
    )
