"""The conformance rules of tableaux, cells and backends pass what is built in and catch what is broken."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from odernn.solvers import checks
from odernn.solvers.backends.native import Native
from odernn.solvers.tableau import Tableau
from odernn.solvers.tableaux import METHODS, tableau
from odernn.suite.catalogue import entries


@pytest.mark.parametrize("name", sorted(METHODS))
def test_built_in_tableaux_pass(name: str) -> None:
    assert [v.rule for v in checks.check_tableau(name) if not v.ok] == []


@pytest.mark.parametrize("name", sorted(entries("cell")))
def test_built_in_cells_pass(name: str) -> None:
    assert [(v.rule, v.detail) for v in checks.check_cell(name) if not v.ok] == []


@pytest.mark.parametrize("name", sorted(entries("backend")))
def test_built_in_backends_pass(name: str) -> None:
    assert [(v.rule, v.detail) for v in checks.check_backend(name) if not v.ok] == []


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
