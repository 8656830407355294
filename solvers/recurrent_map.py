"""A cell as audits see it: NumPy in, NumPy out, float64 (`suite.contracts.RecurrentMap`)."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..suite.contracts import Array, RecurrentMap
from ..suite.errors import UsageError, unknown
from .cell import ODERNN
from .cell_field import CellField
from .certificate import Norm, certify, spectral_limit
from .field import CustomField
from .fields import field_of
from .spec import Spec, properties_of
from .tableau import Tableau


class CellMap:
    """An `ODERNN` without readout, in float64 on the CPU."""

    def __init__(self, cell: ODERNN, spec: Spec) -> None:
        self.cell, self.spec = cell, spec
        self.blocks, self.hidden, self.inputs, self.step = cell.blocks, cell.hidden_size, cell.input_size, cell.step

    @property
    def facts(self) -> dict[str, Any]:
        description = field_of(self.spec.cell, self.spec.ode_order)
        found = properties_of(self.spec)
        return {
            "equation": self.cell.latex(),
            "frozen": description.frozen,
            "integrator": description.integrator,
            "reference": description.reference,
            "observed": description.observed if isinstance(description, CustomField) else "block",
            "tableau": self.cell.tableau.name,
            "step": self.step,
            "substeps": self.cell.substeps,
            "stages": found.get("stages"),
            "order": found.get("order"),
            "ode_order": self.cell.ode_order,
            **{key: found[key] for key in ("stability_polynomial", "stability_denominator") if key in found},
        }

    def parameters(self) -> dict[str, Array]:
        constants = {**field_of(self.spec.cell, self.spec.ode_order).constants, **self.spec.constants}
        named = {f"constant:{key}": torch.tensor(float(value), dtype=torch.float64) for key, value in constants.items()}
        return {key: _array(value) for key, value in (self.cell.field.named_weights() | named).items()}

    @torch.no_grad()
    def with_parameters(self, parameters: Mapping[str, Array]) -> RecurrentMap:
        """The same cell with some of its weights replaced, by the names and in the form of `parameters`.

        Raises `UsageError` for an unknown name, and for values that the weight's structure does not allow: more than
        the strict upper triangle of an antisymmetric matrix, numbers that are not whole in a permutation.
        """
        cell = deepcopy(self.cell)
        named = cell.field.named_weights()
        for name, values in parameters.items():
            if name not in named:
                raise unknown("weight", name, named)
            given = torch.as_tensor(values)
            if isinstance(cell.field, CellField) and name in cell.field.matrices:
                cell.field.matrices[name].copy_(cell.field.stored(name, given))
            else:
                named[name].copy_(given)  # a view of what is stored
        after = cell.field.named_weights()
        for name, values in parameters.items():
            if not np.array_equal(_array(after[name]), values):
                raise UsageError(f"weight {name!r} of cell {self.spec.cell!r} has a structure: it cannot be set alone.")
        return CellMap(cell, self.spec)

    def count(self) -> int:
        return self.cell.parameter_count()

    def start(self, batch: int) -> Array:
        return _array(self.cell.field.initial(batch).reshape(batch, self.blocks, self.hidden))

    @torch.no_grad()
    def run(self, inputs: Array, state: Array) -> Array:
        return _array(self.cell.trajectory(torch.as_tensor(inputs), torch.as_tensor(state)))

    @torch.no_grad()
    def slope(self, state: Array, u: Array) -> Array:
        field, y = self.cell.field, torch.as_tensor(state).flatten(1)
        found: Tensor = field(0.0, y, field.drive(torch.as_tensor(u)), field.weights())
        return _array(found.reshape(state.shape))

    def jacobian(self, state: Array, u: Array) -> Array:
        x = torch.as_tensor(u).unsqueeze(0)
        y = torch.as_tensor(state).requires_grad_()
        after = self.cell(x, y)[1].flatten(1)
        # one sequence's state does not reach another's, so a sum over the batch is every sequence's own row
        rows = [torch.autograd.grad(after[:, i].sum(), y, retain_graph=True)[0] for i in range(after.shape[1])]
        return _array(torch.stack([row.flatten(1) for row in rows], dim=1))

    @torch.no_grad()
    def field_jacobian(self, state: Array, u: Array) -> Array:
        field, y = self.cell.field, torch.as_tensor(state).flatten(1)
        return _array(field.jacobian(y, field.drive(torch.as_tensor(u)), field.weights()))

    def certificate(self, norm: str | None = None) -> dict[str, Any]:
        if not isinstance(self.cell.tableau, Tableau):
            reason = f"No certificate: {self.cell.tableau.name} is no single Runge-Kutta tableau."
            return {"kind": "none", "norm": None, "step": 0.0, "reason": reason}
        found = certify(self.cell.field, self.cell.tableau, cast("Norm | None", norm))
        return {"kind": found.kind, "norm": found.norm, "step": found.step, "reason": found.reason}

    @torch.no_grad()
    def spectral_step(self, state: Array, u: Array) -> float | None:
        if not isinstance(self.cell.tableau, Tableau):
            return None
        drive = self.cell.field.drive(torch.as_tensor(u))
        return spectral_limit(self.cell.field, self.cell.tableau, torch.as_tensor(state).flatten(1), drive)

    def with_step(self, step: float) -> RecurrentMap:
        cell = deepcopy(self.cell)
        cell.step = step
        return CellMap(cell, replace(self.spec, step=step))


def _array(values: Tensor) -> Array:
    found: Array = values.detach().cpu().numpy()
    return found
