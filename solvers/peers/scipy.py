"""SciPy's solve_ivp: its own RK45 with its own steps; of fixed ones our tableau in its Runge-Kutta class."""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from ..backends import find_backend
from .clock import Run
from .problem import TrajectoryProblem


def trajectory(problem: TrajectoryProblem) -> Run:
    """Adaptive: a loop over the starts, as each has its own step size. Fixed: all at once, as one array."""
    f, y0, span = problem.equation.function("numpy"), problem.y0, problem.span
    if problem.steps is not None:
        times, backend = np.linspace(0.0, span, problem.steps + 1).tolist(), find_backend("scipy")
        return lambda: backend.fixed(lambda t, y, drive, weights: f(t, y), y0, times, problem.tableau).states[-1]
    problem.must_be_dormand_prince()
    starts = y0.reshape(-1, problem.equation.dimension)

    def run() -> object:
        ends = [
            solve_ivp(f, (0.0, span), one, method="RK45", rtol=problem.rtol, atol=problem.atol, t_eval=[span]).y[:, -1]
            for one in starts
        ]
        return np.array(ends).reshape(y0.shape)

    return run
