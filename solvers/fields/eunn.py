"""Efficient unitary RNN of Jing et al. 2017: layers of planar complex rotations, V u, modReLU.

Published: a Lie splitting at step 1. Reading the map as a field is ours. See `solvers.eunn`.
"""

from __future__ import annotations

from ..field import CustomField, made_by, order_of


def field(ode_order: int | None = None) -> CustomField:
    order_of("eunn", ode_order, fixed=2)
    return CustomField(
        name="eunn",
        equation=(
            r"\dot\psi &= \left(\sum_l \left(\Theta_l + i \Phi_l\right) + i \operatorname{diag}(\omega)\right) \psi + "
            r"V u + b_r \frac{\psi}{|\psi|}",
            r"\Theta_l &= \sum_j \theta_{lj} \left(e_{j+1} e_j^{\top} - e_j e_{j+1}^{\top}\right), \quad "
            r"\Phi_l = \sum_j \phi_{lj} e_j e_j^{\top}",
        ),
        reference="Jing et al., Tunable Efficient Unitary Neural Networks (EUNN) and their Application to RNNs, "
        "ICML 2017, arXiv:1612.05231",
        make=made_by("eunn", "EUNN"),
        ode_order=2,
        constants={"layers": 4.0},
        published_step=1.0,
        published_method="lie",
        frozen="each part while the others act",
    )
