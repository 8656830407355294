"""Seconds to integrate Lorenz-63 with one tableau in every backend, beside SciPy's own RK45 on the same problem.

Run with `pytest tests/benchmarks --benchmark-enable`; without it every case runs once, as a test that it works.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from odernn.solvers import integrate
from odernn.tasks.chaos.systems import system

LORENZ = system("lorenz63").equation
START = np.array([1.0, 1.0, 20.0])


def _field(backend: str) -> Any:
    return LORENZ.function("torch" if backend == "torchdiffeq" else "numpy")


@pytest.mark.parametrize("backend", ["native", "scipy", "torchdiffeq"])
def test_rk4_fixed_grid(benchmark: Any, backend: str) -> None:
    benchmark.group = "Lorenz-63, RK4, 200 steps of 0.01"
    y0: Any = START
    if backend == "torchdiffeq":
        import torch

        y0 = torch.tensor(START)
    t = np.linspace(0.0, 2.0, 201)
    found = benchmark(lambda: integrate(_field(backend), y0, t, tableau="rk4", backend=backend))
    assert found.accepted == 200


@pytest.mark.parametrize("backend", ["native", "scipy", "scipy's own RK45"])
def test_dormand_prince_adaptive(benchmark: Any, backend: str) -> None:
    benchmark.group = "Lorenz-63, Dormand-Prince 5(4), t = 2, rtol = atol = 1e-8"
    f = LORENZ.function()
    if backend == "scipy's own RK45":
        found = benchmark(lambda: solve_ivp(f, (0.0, 2.0), START, rtol=1e-8, atol=1e-8))
        assert found.success
        return
    found = benchmark(lambda: integrate(f, START, [0.0, 2.0], backend=backend, rtol=1e-8, atol=1e-8))
    assert found.accepted > 10
