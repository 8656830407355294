"""Engines beside the general path: everything built in, a field of a third party, and engines that are wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sympy
import torch

from odernn.solvers import checks
from odernn.solvers.engines import operands
from odernn.solvers.engines.agreement import Gap, gaps, steppable
from odernn.solvers.engines.lowering import lowered
from odernn.solvers.engines.program import Assign
from odernn.solvers.field import EquationField, Map, dense
from odernn.solvers.fields import field_of, names
from odernn.solvers.tableaux import method
from odernn.suite.equation import symbols


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("cell", names())
def test_every_cell_under_every_method_in_both_dtypes(cell: str) -> None:
    order = 3 if cell == "companion" else None
    found = list(gaps(cell, ode_order=order))
    assert [gap for gap in found if not gap.holds] == []
    assert len(found) == 2 * len(steppable())


@pytest.mark.parametrize("name", ["gauss-seidel-euler", "heun2"])
def test_a_field_of_a_third_party(name: str) -> None:
    """Two blocks, two matrices that share a map, functions that no built-in cell has."""
    x, v = symbols("x v")
    a, b = symbols("a b")
    (k,) = symbols("k")
    field = EquationField(
        name="pendula",
        state=(x, v),
        maps=(Map(a, ((0, dense("A")), (1, dense("B")))), Map(b, ((0, dense("C")),), driven=False, biased=True)),
        rhs=(v, sympy.sin(a) - k * sympy.atan(v) * sympy.exp(-(b**2))),
        reference="a test",
        ode_order=2,
        constants={"k": 0.3},
    )
    found = list(gaps(field, methods=[method(name)]))
    assert [gap.reason for gap in found] == ["", ""]
    assert all(gap.holds for gap in found)
    assert max(found[0].value, found[0].gradient) < 1e-13


def wrong_coefficient(equation: EquationField, chosen: Any) -> Any:
    """The right program, with one of its numbers off by 1e-6."""
    program = lowered(equation, chosen)
    operations = list(program.step.operations)
    last = max(i for i, one in enumerate(operations) if isinstance(one, Assign))
    made = operations[last]
    assert isinstance(made, Assign)
    operations[last] = Assign(made.symbol, made.value + sympy.Float(1e-6) * program.step.state[0])
    return replace(program, step=replace(program.step, operations=tuple(operations)))


def test_an_engine_with_a_wrong_coefficient_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operands, "lowered", wrong_coefficient)
    assert not any(gap.holds for gap in gaps("leaky", methods=[method("rk4")]) if gap.dtype == torch.float64)
    (verdict,) = (v for v in checks.check_tableau("rk4") if "engine" in v.rule)
    assert not verdict.ok
    assert "'cpu' differs by" in verdict.detail


def test_what_no_number_is_does_not_hold() -> None:
    assert not Gap("rk4", torch.float64, value=float("nan")).holds
    assert not Gap("rk4", torch.float64, gradient=float("nan")).holds
    assert not Gap("rk4", torch.float32, gradient=float("inf")).holds


def test_what_no_engine_runs_has_a_reason() -> None:
    (verdict,) = (v for v in checks.check_cell("urnn") if "engine" in v.rule)
    assert verdict.ok
    assert verdict.detail == "the general path alone: the field is a torch module and no equation"
    assert {gap.reason for gap in gaps(field_of("leaky"), methods=[method("gauss2")])} == {
        "method 'gauss2' is no explicit one"
    }
