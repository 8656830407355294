"""minGRU of Feng et al. 2024: y' = sg(V_z u + b_z) (V_h u + b_h - y); gate and candidate see the input alone.

Published: y+ = (1 - z) y + z (V_h u + b_h), explicit Euler with step 1, a linear scan. The field is linear in y for
every held input.
"""

from __future__ import annotations

from ...suite.equation import symbols
from ..field import EquationField, Map, order_of, states
from ..functions import sigmoid


def field(ode_order: int | None = None) -> EquationField:
    order_of("mingru", ode_order, fixed=1)
    (y,) = states(1)
    z, h = symbols("a_z a_h")
    return EquationField(
        name="mingru",
        state=(y,),
        maps=(Map(z), Map(h)),
        rhs=(sigmoid(z) * (h - y),),
        reference="Feng, Tung, Ahmed, Bengio, Hajimirsadeghi, Were RNNs All We Needed?, 2024, arXiv:2410.01201",
        published_step=1.0,
        frozen="nothing but the input, which alone sets the gate and the candidate",
    )
