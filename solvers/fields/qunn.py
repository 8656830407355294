"""QUNN, the quantum-inspired cell of this project: t sites of q qubits, psi' = -i H(u) psi. See `solvers.qunn`.

hidden_size is the number of sites t. 6 t - 1 trained numbers, whatever the inputs. The order of its ODE is t: an
ode_order asked for must be the number of sites.
"""

from __future__ import annotations

from ..field import CustomField, made_by, order_of


def field(ode_order: int | None = None) -> CustomField:
    """The description; its ode_order is nominal until the number of sites is known."""
    return CustomField(
        name="qunn",
        equation=(
            r"\dot\psi &= -i H(u) \psi",
            r"H(u) &= \sum_k |k\rangle\langle k| \otimes \sum_j \left[(a_k + \alpha_k e_j(u)) X_j + (b_k + \beta_k "
            r"e_j(u)) Z_j + c_k Z_j Z_{j+1}\right] + \sum_{k<t} J_k \left(|k\rangle\langle k+1| + "
            r"|k+1\rangle\langle k|\right) \otimes I",
        ),
        reference="this project's construction, after the abstract of Niu, Horesh, Chuang, Recurrent Neural Networks "
        "in the Eye of Differential Equations, arXiv:1904.12933",
        make=made_by("qunn", "QUNN"),
        ode_order=order_of("qunn", ode_order),
        constants={"qubits": 2.0, "code": 0.0},
        published_step=1.0,
        published_method="strang",
        observed="unit",
        sites=True,
        frozen="the Hamiltonian, by the held input; each part while the others act",
    )
