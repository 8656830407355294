"""Schroedinger RNN of Nebli, Saadatdoorabi and Yam 2026: psi' = -i H(u) psi, psi = y1 + i y2, with a trained H.

H = (S + S^T) + i (K - K^T) + diag(V_u u + b_u) is Hermitian, so |psi| is conserved. In real form, with S and K as they
act, y1' = K y1 + S y2 + d y2 and y2' = K y2 - S y1 - d y1. Published: the Cayley transform, one step of the implicit
midpoint rule, and a readout of |psi_k|^2 (Born's rule). Ours: the potential diag(V_u u + b_u) as the way in which the
input acts, the step 0.1, the start psi_k = 1/sqrt n, and the initial weights, which let an input turn phases by about
a radian. As a single linear part it can be split too: "lie" is then the exact unitary flow, "lie-cayley" the published
transform.

One complex ODE of order 1; for the real part alone, the observed block, it is a real ODE of order 2.
"""

from __future__ import annotations

import sympy

from ...suite.equation import symbols
from ..field import EquationField, Init, Map, Matrix, Part, order_of, states


def field(ode_order: int | None = None) -> EquationField:
    order_of("schroedinger", ode_order, fixed=2)
    y1, y2 = states(2)
    first, K2, S1, d = symbols("a_1 a_K a_S a_u")
    S = Matrix("S", sympy.S.One, sympy.S.One)
    K = Matrix("K", sympy.S.One, sympy.S.NegativeOne)
    rhs = (first + d * y2, K2 - S1 - d * y1)
    return EquationField(
        name="schroedinger",
        state=(y1, y2),
        maps=(
            Map(first, ((0, K), (1, S)), driven=False),
            Map(K2, ((1, K),), driven=False),
            Map(S1, ((0, S),), driven=False),
            Map(d),
        ),
        rhs=rhs,
        reference="Nebli, Saadatdoorabi, Yam, 2026, arXiv:2602.22255",
        ode_order=2,
        published_step=0.1,
        published_method="implicit-midpoint",
        init=Init("normal", gain=0.3, input_gain=30.0),
        parts=(Part("hamiltonian", rhs, "linear"),),
        frozen="the Hamiltonian, by the held input",
        output=(y1**2 + y2**2,),
        start="unit",
    )
