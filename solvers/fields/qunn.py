"""QUNN, the quantum-inspired cell of this project: t sites of q qubits, psi' = -i H(u) psi. See `solvers.qunn`.

hidden_size is the number of sites t. 6 t - 1 trained numbers, whatever the inputs. The order of its ODE is t: an
ode_order asked for must be the number of sites.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...suite.errors import UsageError
from ..field import CustomField, order_of

if TYPE_CHECKING:
    import torch

    from ..torch_field import TorchField


def field(ode_order: int | None = None) -> CustomField:
    """The description; its ode_order is nominal until the number of sites is known."""
    nominal = order_of("qunn", ode_order)

    def make(
        input_size: int,
        hidden_size: int,
        constants: Mapping[str, float],
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> TorchField:
        from ..qunn import QUNN

        if ode_order is not None and ode_order != hidden_size:
            raise UsageError(
                f"cell 'qunn' of {hidden_size} sites is an ODE of order {hidden_size}, not {ode_order}: expected "
                "ode_order = hidden, or none."
            )
        return QUNN(input_size, hidden_size, constants, device, dtype)

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
        make=make,
        ode_order=nominal,
        constants={"qubits": 2.0, "code": 0.0},
        published_step=1.0,
        published_method="strang",
        observed="unit",
        sites=True,
        frozen="the Hamiltonian, by the held input; each part while the others act",
    )
