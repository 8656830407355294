"""UnICORNN of Rusch and Mishra 2021: y' = sg(b_c) z, z' = -sg(b_c) (tanh(w y + V_y u + b_y) + alpha y).

The units are uncoupled. Published: symplectic Euler, z first with the old y, then y with the new z, in stacked layers;
here one layer. Each unit is a Hamiltonian oscillator with its own rate sg(b_c). w ~ U(0, 1), b_c ~ U(-0.1, 0.1) and
b_y = 0 start as published; V_y, alpha = 1 and step 0.1 are ours (the paper tunes alpha and the step).
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Init, Map, Matrix, Start, order_of, vector
from ..functions import sigmoid


def field(ode_order: int | None = None) -> EquationField:
    order_of("unicornn", ode_order, fixed=2)
    y, z = symbols("y z")
    a, c = symbols("a_y b_c")
    (alpha,) = symbols("alpha")
    own = Matrix("w", diagonal=True, start=Start(0.0, 1.0))
    return EquationField(
        name="unicornn",
        state=(y, z),
        maps=(Map(a, ((0, own),), start=Start(value=sympy.S.Zero)), vector(c, Start(-0.1, 0.1))),
        rhs=(sigmoid(c) * z, -sigmoid(c) * (sympy.tanh(a) + alpha * y)),
        ode_order=2,
        constants={"alpha": 1.0},
        reference="Rusch, Mishra, UnICORNN, ICML 2021, arXiv:2103.05487",
        published_step=0.1,
        published_method="symplectic-euler",
        init=Init("normal", input_gain=3.0),
        frozen="the force, at the old y",
    )
