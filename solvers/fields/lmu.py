"""Legendre Memory Unit of Voelker, Kajic and Eliasmith 2019, blocks h and m; the order of the memory is hidden_size.

See `solvers.lmu_field`. Reading the map of h as an explicit Euler step is ours, and so is theta = 20.
"""

from __future__ import annotations

from ..field import CustomField, made_by, order_of


def field(ode_order: int | None = None) -> CustomField:
    order_of("lmu", ode_order, fixed=2)
    return CustomField(
        name="lmu",
        equation=(
            r"\dot h &= -h + \tanh(W_x u + W_h h + W_m m)",
            r"\dot m &= \left(A m + B s\right) / \theta, \quad s = e_x^{\top} u + e_h^{\top} h + e_m^{\top} m",
        ),
        reference="Voelker, Kajic, Eliasmith, Legendre Memory Units: Continuous-Time Representation in Recurrent "
        "Neural Networks, NeurIPS 2019",
        make=made_by("lmu_field", "LMU"),
        ode_order=2,
        constants={"theta": 20.0},
        published_step=1.0,
        published_method="lie",
        frozen="s over the whole step; the new m while h moves",
    )
