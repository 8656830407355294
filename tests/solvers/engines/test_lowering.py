"""Step programs, read in NumPy operation by operation, against the general path; and what has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
import torch

from odernn.solvers.cell import ODERNN
from odernn.solvers.engines.lowering import lowered
from odernn.solvers.engines.operands import Programmed, constants, drives_of, operands, program_of
from odernn.solvers.engines.program import Assign
from odernn.solvers.engines.writer import CannotLowerError
from odernn.solvers.fields import field_of, names
from odernn.solvers.tableaux import method

LIBRARY = ["numpy", {"sigmoid": lambda x: 1 / (1 + np.exp(-x)), "sign": np.sign}]

PROGRAMS = [
    *((cell, tableau) for cell in names() for tableau in ("euler", "rk4", "dormand-prince54")),
    *((cell, "gauss-seidel-euler") for cell in ("lstm-field", "lem", "cornn", "companion", "schroedinger")),
    *((cell, "symplectic-euler") for cell in ("unicornn", "srnn")),
    *((cell, "stormer-verlet") for cell in ("unicornn", "srnn")),
    *((cell, "lie") for cell in ("exprnn", "lru", "ode-lstm", "qunn", "antisymmetric-linear")),
    *((cell, "strang") for cell in ("exprnn", "lru", "ode-lstm", "qunn")),
    ("scornn", "lie-cayley"),
    ("qunn", "strang-cayley"),
]
TORCH_MODULES = ("eunn", "lmu", "urnn")


def step_of(program: Any, values: dict[Any, Any], matrices: list[Any]) -> dict[Any, Any]:
    """Carries out a program's operations: matrices and arrays in NumPy, scalars and vectors by broadcasting."""
    for one in program.operations:
        if isinstance(one, Assign):
            free = sorted(one.value.free_symbols, key=str)
            found = sympy.lambdify(free, one.value, LIBRARY)(*(values[s] for s in free))
            values[one.symbol] = np.broadcast_to(found, values[program.state[0]].shape)
            continue
        W = matrices[one.matrix].T if one.transposed else matrices[one.matrix]
        wide = np.concatenate([values[s] for s in one.inputs], axis=1) @ W
        for k, (out, plus) in enumerate(zip(one.outputs, one.plus, strict=True)):
            n = wide.shape[1] // len(one.outputs)
            values[out] = wide[:, k * n : (k + 1) * n] + (0 if plus is None else values[plus])
    return values


@pytest.mark.parametrize(("cell", "tableau"), [p for p in PROGRAMS if p[0] not in TORCH_MODULES])
def test_a_program_is_the_step_of_the_general_path(cell: str, tableau: str) -> None:
    order = 3 if cell == "companion" and tableau != "gauss-seidel-euler" else 2 if cell == "companion" else None
    torch.manual_seed(3)
    chosen = method(tableau)
    h = 0.3
    model = ODERNN(2, 4, cell, chosen, h, ode_order=order, dtype=torch.float64, engine="general")
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
        x, y0 = torch.randn(3, 5, 2, dtype=torch.float64), torch.randn(5, model.blocks, 4, dtype=torch.float64)
        expected = model.trajectory(x, y0).numpy()
        program = program_of(model.field, chosen)
        matrices, vectors = (tuple(t.numpy() for t in found) for found in operands(model.field, program, h))
        drives, rows = (t.numpy() for t in drives_of(model.field, program, x))
        features = model.field.features(model.trajectory(x, y0).flatten(2)).numpy()
    step, shown, states = program.step, program.shown, [np.concatenate([np.zeros((5, program.shown, 4)), y0], axis=1)]
    for i in range(3):
        values: dict[Any, Any] = {s: states[-1][:, j] for j, s in enumerate(step.state)}
        values |= dict(zip(step.scalars, [h, *constants(model.field, program)], strict=True))
        values |= dict(zip(step.vectors, vectors, strict=True))
        values |= {s: rows[i, :, k : k + 1] for k, s in enumerate(step.row_scalars)}
        values |= {s: drives[i, :, k] for k, s in enumerate(step.drives)}
        values = step_of(step, values, list(matrices))
        states.append(np.stack([values[s] for s in step.result], axis=1))
    np.testing.assert_allclose(np.stack(states)[:, :, shown:], expected, rtol=1e-12, atol=1e-13)
    if shown:
        assert isinstance(model.field, Programmed)
        found = model.field.shown(torch.from_numpy(np.stack(states[1:])[:, :, :shown]))
        np.testing.assert_allclose(found, features[1:], rtol=1e-12, atol=1e-13)
    assert program.calls * 3 == model.f_calls


def test_every_symbol_is_assigned_once_before_it_is_read() -> None:
    for cell in names():
        if cell in (*TORCH_MODULES, "qunn"):
            continue
        step = lowered(field_of(cell, 2 if cell == "companion" else None), method("rk4")).step  # type: ignore[arg-type]
        known = {*step.state, *step.drives, *step.vectors, *step.scalars}
        for one in step.operations:
            reads = one.value.free_symbols if isinstance(one, Assign) else {*one.inputs, *filter(None, one.plus)}
            made = {one.symbol} if isinstance(one, Assign) else set(one.outputs)
            assert reads <= known
            assert not made & known
            known |= made
        assert set(step.result) <= known


@pytest.mark.parametrize(
    ("cell", "tableau", "why"),
    [
        ("leaky", "implicit-midpoint", "no explicit one"),
        ("cornn", "stormer-verlet", "equations for this field"),
        ("leaky", "stormer-verlet", "two blocks"),
        ("leaky", "strang", "not given as a sum"),
        ("schroedinger", "lie", "changes with the input"),
        ("scornn", "strang", "acts once a step"),
    ],
)
def test_what_has_no_program_says_why(cell: str, tableau: str, why: str) -> None:
    with pytest.raises(CannotLowerError, match=why):
        lowered(field_of(cell), method(tableau))  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", TORCH_MODULES)
def test_a_field_that_is_a_torch_module_has_no_program(cell: str) -> None:
    with pytest.raises(CannotLowerError, match="torch module"):
        program_of(ODERNN(2, 4, cell, "rk4").field, method("rk4"))
