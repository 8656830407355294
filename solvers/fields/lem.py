"""Long expressive memory of Rusch et al. 2022: z' = sg(a_1) (tanh(a_z) - z), y' = sg(a_2) (tanh(a_y) - y).

a_1, a_2, a_z = W y + V u + b; a_y = W_y z + V_y u + b_y. Published: Gauss-Seidel Euler, z first, then y with the new z
and both gates at the old y; the published dt, which multiplies both gates, is the step. Weights start as published,
U(+-1/sqrt n).
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Map, dense, order_of
from ..functions import sigmoid


def field(ode_order: int | None = None) -> EquationField:
    order_of("lem", ode_order, fixed=2)
    y, z = symbols("y z")
    a1, a2, az, ay = symbols("a_1 a_2 a_z a_y")
    return EquationField(
        name="lem",
        state=(y, z),
        maps=(
            Map(a1, ((0, dense("W_1")),)),
            Map(a2, ((0, dense("W_2")),)),
            Map(az, ((0, dense("W_z")),)),
            Map(ay, ((1, dense("W_y")),)),
        ),
        rhs=(sigmoid(a2) * (sympy.tanh(ay) - y), sigmoid(a1) * (sympy.tanh(az) - z)),
        reference="Rusch, Mishra, Erichson, Mahoney, Long Expressive Memory, ICLR 2022, arXiv:2110.04744",
        ode_order=2,
        published_step=1.0,
        published_method="gauss-seidel-euler",
        frozen="the gates, at the old y",
    )
