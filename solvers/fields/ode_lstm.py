"""ODE-LSTM of Lechner and Hasani 2020: the field of `lstm-field`, and x' += W_2 tanh(W_1 x + b_1) + b_2.

Published: an LSTM step, then x alone moved by its own field in three Runge-Kutta steps of a third; with classical rk4
(an option there) that is the Lie splitting of the two parts at step 1. Ours: to call the sum of both parts the cell's
field. Weights start as in `lstm-field`, the second part's too, with b_2 = 0.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Map, Mix, Part, Start, dense, order_of, total, vector
from ..functions import sigmoid


def field(ode_order: int | None = None) -> EquationField:
    order_of("ode-lstm", ode_order, fixed=2)
    x, c = symbols("x c")
    i, f, g, o, inner = symbols("a_i a_f a_g a_o a_1")
    moved, shift = symbols("s_2 b_2")
    gates = tuple(
        Map(a, ((0, dense(f"W_{str(a)[2:]}")),), start=Start(value=sympy.S.One) if a == f else None)
        for a in (i, f, g, o)
    )
    parts = (
        Part(
            "lstm",
            (-x + sigmoid(o) * sympy.tanh(c), (sigmoid(f) - 1) * c + sigmoid(i) * sympy.tanh(g)),
            "stepped",
            method="gauss-seidel-euler",
        ),
        Part("ode", (moved + shift, sympy.S.Zero), "stepped", method="rk4", substeps=3),
    )
    return EquationField(
        name="ode-lstm",
        state=(x, c),
        maps=(*gates, Map(inner, ((0, dense("W_1")),), driven=False, biased=True), vector(shift)),
        rhs=total(parts),
        reference="Lechner, Hasani, Learning Long-Term Dependencies in Irregularly-Sampled Time Series, 2020, "
        "arXiv:2006.04418",
        ode_order=2,
        mixes=(Mix(moved, dense("W_2"), sympy.tanh(inner)),),
        published_step=1.0,
        published_method="lie",
        parts=parts,
        frozen="each part while the other moves; the gates, at the old x",
    )
