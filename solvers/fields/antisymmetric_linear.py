"""Linear AntisymmetricRNN, nonlinear in its input alone, which Gauss methods certify: y' = (W - W^T) y + tanh(V u + b).

The Jacobian W - W^T is skew for every state and input, so the implicit midpoint rule, as every Gauss method, keeps the
norm of every difference of two trajectories, at every step and without damping: gradients neither explode nor vanish.
AntisymmetricRNN itself, tanh((W - W^T) y + ...), has no such promise: the tanh scales the rows of its Jacobian
(`odernn show antisymmetric --tableau implicit-midpoint` says so). A field of this form, with explicit and implicit
Euler and the midpoint rule, is in SINTEF's LARNN code; initial values and step are ours.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Init, Map, Part, antisymmetric, order_of, total


def field(ode_order: int | None = None) -> EquationField:
    order_of("antisymmetric-linear", ode_order, fixed=1)
    (y,), (a_y, a_u) = symbols("y"), symbols("a_y a_u")
    parts = (Part("linear", (a_y + sympy.tanh(a_u),), "linear"),)
    return EquationField(
        name="antisymmetric-linear",
        state=(y,),
        maps=(Map(a_y, reads=((0, antisymmetric(sympy.S.Zero)),), driven=False), Map(a_u)),
        rhs=total(parts),
        parts=parts,
        reference="this project; after the AntisymmetricRNN of Chang et al. 2019, arXiv:1902.09689, the nonlinearity "
        "moved to the input",
        published_step=0.2,
        published_method="implicit-midpoint",
        init=Init("normal"),
    )
