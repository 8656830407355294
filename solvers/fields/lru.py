"""Linear recurrent unit of Orvieto et al. 2023: y' = lambda y + exp(b_gamma) V u, lambda = -exp(b_nu) + i exp(b_theta).

y = y1 + i y2, unit by unit. Published: y+ = exp(lambda) y + exp(b_gamma) V u, the Lie splitting at step 1 of the exact
flow and the input as a kick; exp(b_gamma) is not the gain of a zero-order hold. Starts as published: |exp(lambda)|^2 ~
U(0, 1), phase ~ U(0, 2 pi), exp(b_gamma) = sqrt(1 - |exp(lambda)|^2), V complex normal. A readout sees both parts. Not
here: the paper's own readout and its stack of blocks; without them the cell is linear in the inputs, so that a task
which multiplies them, as adding does, is out of its reach.

One complex ODE of order 1; for the real part alone, the observed block, it is a real ODE of order 2.
"""

from __future__ import annotations

import math

import sympy

from ...suite.equation import symbols
from ..field import DRAWN, EquationField, Init, Map, Part, Start, order_of, states, total, vector


def field(ode_order: int | None = None) -> EquationField:
    order_of("lru", ode_order, fixed=2)
    y1, y2 = states(2)
    re, im, nu, theta, gamma = symbols("a_re a_im b_nu b_theta b_gamma")
    decay, turn, gain = sympy.exp(nu), sympy.exp(theta), sympy.exp(gamma)
    tiny = 1e-9  # no logarithm of 0
    squared = Start(tiny, 1.0, sympy.log(-sympy.log(DRAWN) / 2), key="radius")
    parts = (
        Part("spiral", (-decay * y1 - turn * y2, turn * y1 - decay * y2), "linear"),
        Part("input", (gain * re, gain * im), "kick"),
    )
    return EquationField(
        name="lru",
        state=(y1, y2),
        maps=(
            Map(re, biased=False),
            Map(im, biased=False),
            vector(nu, squared),
            vector(theta, Start(tiny, 2 * math.pi, sympy.log(DRAWN))),
            vector(gamma, Start(tiny, 1.0, sympy.log(1 - DRAWN) / 2, key="radius")),
        ),
        rhs=total(parts),
        reference="Orvieto et al., Resurrecting Recurrent Neural Networks for Long Sequences, ICML 2023, "
        "arXiv:2303.06349",
        ode_order=2,
        published_step=1.0,
        init=Init("normal", input_gain=math.sqrt(0.5)),
        parts=parts,
        published_method="lie",
        frozen="the state during the input's kick",
        output=(y1, y2),
    )
