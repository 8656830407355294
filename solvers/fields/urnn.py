"""Unitary evolution RNN of Arjovsky, Shah and Bengio 2016: psi' = (eight generators) psi + V u + b_r psi / |psi|.

Published: the Lie splitting of it at step 1. Reading the map as a field is ours. See `solvers.urnn`.
"""

from __future__ import annotations

from ..field import CustomField, made_by, order_of


def field(ode_order: int | None = None) -> CustomField:
    order_of("urnn", ode_order, fixed=2)
    return CustomField(
        name="urnn",
        equation=(
            r"\dot\psi &= \left(\log D_1 + \log F + \log R_1 + \log P + \log D_2 + \log F^{-1} + \log R_2 + \log D_3"
            r"\right) \psi + V u + b_r \frac{\psi}{|\psi|}",
            r"D_k &= \operatorname{diag}(e^{i \theta_k}), \quad R_k = I - 2 \frac{v_k v_k^*}{|v_k|^2}",
        ),
        reference="Arjovsky, Shah, Bengio, Unitary Evolution Recurrent Neural Networks, ICML 2016, arXiv:1511.06464",
        make=made_by("urnn", "URNN"),
        ode_order=2,
        published_step=1.0,
        published_method="lie",
        frozen="each part while the others act",
    )
