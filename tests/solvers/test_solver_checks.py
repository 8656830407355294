"""The conformance rules of tableaux, cells and backends pass what is built in and catch what is broken."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from odernn.solvers import checks
from odernn.solvers.backends.native import Native
from odernn.solvers.cell_field import CellField
from odernn.solvers.tableau import Tableau
from odernn.solvers.tableaux import tableau
from odernn.suite.verdict import judged


def test_a_wrong_coefficient_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    rk4 = tableau("rk4")
    b = (*rk4.b[:3], rk4.b[3] + Fraction(1, 10**9))
    wrong = Tableau("rk4", rk4.A, b, 4, "nobody")
    monkeypatch.setattr(checks, "find_method", lambda name: wrong)
    assert not checks.check_tableau("rk4")[0].ok


class Midpoint(Native.__mro__[1]):  # type: ignore[misc]
    """A backend that steps the explicit midpoint rule whatever it is given, and reads inputs one step early."""

    name = "midpoint-always"
    differentiable = False

    def fixed(self, field: Any, y0: Any, times: Any, given: Any, drives: Any = None, weights: Any = ()) -> Any:
        early = None if drives is None else [*drives[1:], drives[-1]]
        return Native().fixed(field, y0, times, tableau("midpoint"), early, weights)

    def adaptive(self, *args: Any, **kwargs: Any) -> Any:
        return Native().adaptive(*args, **kwargs)


def test_a_backend_that_steps_another_method_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "load", lambda kind, name: Midpoint())
    failed = {v.rule for v in checks.check_backend("midpoint-always") if not v.ok}
    assert failed == {
        "recovered tableau equals the given one, fixed grid",
        "observed order on a nonlinear, non-autonomous problem",
        "no stage reads the next step's input",
    }


def test_the_problem_tells_rk4_from_the_three_eighths_rule() -> None:
    grid = np.linspace(0.0, 2.0, 9).tolist()
    ends = [Native().fixed(checks._problem, np.array([0.8]), grid, tableau(n)).states[-1, 0] for n in ("rk4", "rk38")]
    assert abs(ends[0] - ends[1]) > 1e-6  # ten orders above rounding


Slope = Callable[[CellField, Any, Any, Any, Any], Any]
FUNCTION = "the slope is a function of state and input"
ENGINES = "every engine here equals the general path"
ORDER = "converges to the exact flow with the tableau's order"


def failed(name: str, monkeypatch: pytest.MonkeyPatch, slope: Slope) -> dict[str, str]:
    """The rules, with what they say, that a cell with this slope breaks."""
    monkeypatch.setattr(CellField, "forward", slope)
    torch.manual_seed(0)
    return {v.rule: v.detail for v in judged(checks._equation_rules(name)) if not v.ok}


RIGHT = CellField.forward


@pytest.mark.parametrize("size", [1e-2, 1e-9])
def test_a_noisy_slope_is_caught(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(checks, "EVALUATIONS", 500)  # a noisy field takes all that it may
    generator = torch.Generator().manual_seed(0)

    def noisy(field: CellField, t: Any, y: Any, drive: Any, weights: Any) -> Any:
        value = RIGHT(field, t, y, drive, weights)
        return value + size * torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)

    broken = failed("leaky", monkeypatch, noisy)
    assert "from call to call" in broken[FUNCTION]
    if size > 1e-3:
        assert "the field is not smooth" in broken[ORDER]


@pytest.mark.parametrize("size", [1e-2, 1e-9])
@pytest.mark.parametrize("period", [2, 3, 7])
def test_a_slope_that_counts_its_calls_is_caught(monkeypatch: pytest.MonkeyPatch, size: float, period: int) -> None:
    monkeypatch.setattr(checks, "EVALUATIONS", 500)
    calls = 0

    def stateful(field: CellField, t: Any, y: Any, drive: Any, weights: Any) -> Any:
        nonlocal calls
        calls += 1
        return RIGHT(field, t, y, drive, weights) * (1 + size * (calls % period == 0))

    assert FUNCTION in failed("leaky", monkeypatch, stateful)


@pytest.mark.parametrize("name", ["leaky", "exprnn"])
@pytest.mark.parametrize("size", [1e-1, 1e-5])
def test_a_slope_that_disagrees_with_its_jacobian_is_caught(
    monkeypatch: pytest.MonkeyPatch, name: str, size: float
) -> None:
    """Smooth, so that RK4 converges to its flow: the Jacobian of the equation is another field's."""

    def other(field: CellField, t: Any, y: Any, drive: Any, weights: Any) -> Any:
        return RIGHT(field, t, y, drive, weights) + size * torch.sin(3 * y)

    assert set(failed(name, monkeypatch, other)) == {"Jacobian from the equation", ENGINES}


@pytest.mark.parametrize("stairs", [40])
def test_a_slope_of_stairs_is_not_taken_for_one_with_a_kink(monkeypatch: pytest.MonkeyPatch, stairs: int) -> None:
    """Shorter and shorter spans leave no span without a stair: halving does not make an order of them."""

    def rough(field: CellField, t: Any, y: Any, drive: Any, weights: Any) -> Any:
        return RIGHT(field, t, y, drive, weights) + torch.floor(y * 10 * stairs) / stairs

    assert ORDER in failed("leaky", monkeypatch, rough)
