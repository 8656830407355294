r"""LSTM as an ODE: c' = (sg(a_f) - 1) c + sg(a_i) tanh(a_g), x' = -x + sg(a_o) tanh(c), a_* = W_* x + V_* u + b_*.

Published: Hochreiter, Schmidhuber 1997 with the forget gate of Gers, Schmidhuber, Cummins 2000, in the form of
torch.nn.LSTM, c+ = f c + i g, x+ = o tanh(c+). That is a step of 1 of the Gauss-Seidel Euler method: c first with the
gates at the old x, then x with the new c. Ours: to read it as a field, which other methods can step. Weights start as
in torch.nn.LSTM, where two biases add up to one of ours; forget bias 1 (Jozefowicz et al. 2015).

Blocks: x, the output, and c. The gates make every x depend on the last two, so the ODE of x is of order 2.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Map, Start, dense, order_of
from ..functions import sigmoid


def field(ode_order: int | None = None) -> EquationField:
    order_of("lstm-field", ode_order, fixed=2)
    x, c = symbols("x c")
    i, f, g, o = symbols("a_i a_f a_g a_o")
    starts = {f: Start(value=sympy.S.One)}
    return EquationField(
        name="lstm-field",
        state=(x, c),
        maps=tuple(Map(a, ((0, dense(f"W_{str(a)[2:]}")),), start=starts.get(a)) for a in (i, f, g, o)),
        rhs=(-x + sigmoid(o) * sympy.tanh(c), (sigmoid(f) - 1) * c + sigmoid(i) * sympy.tanh(g)),
        reference="Hochreiter, Schmidhuber, Long Short-Term Memory, Neural Computation 9 (1997) 1735-1780",
        ode_order=2,
        published_step=1.0,
        published_method="gauss-seidel-euler",
        frozen="the gates, at the old x",
    )
