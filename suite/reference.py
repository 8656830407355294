"""SciPy's DOP853 as a solver: the answer from outside that the rules of integration tasks ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .contracts import (
    Array,
    Budget,
    Flow,
    Learned,
    LearningTask,
    Nesting,
    RecurrentMap,
    Solver,
    Timing,
    Trajectory,
    VectorField,
    Workload,
)
from .errors import UsageError


class Reference:
    """DOP853 at a tolerance of 1e-12. All else that a solver can do it refuses with `UsageError`."""

    learns = False

    def properties(self) -> dict[str, Any]:
        return {"learns": False, "stages": 12, "order": 8}

    def learn(self, task: LearningTask, seed: int, budget: Budget) -> Learned:
        raise UsageError("the reference integrator learns nothing.")

    def nesting(self, seed: int) -> Nesting:
        raise UsageError("the reference integrator is no recurrent cell.")

    def hunt(self, cases: int, seed: int, inflate: float, norm: str) -> dict[str, Any] | None:
        raise UsageError("the reference integrator is no recurrent cell.")

    def recurrence(self, inputs: int, seed: int, hidden: int | None = None) -> RecurrentMap:
        raise UsageError("the reference integrator is no recurrent cell.")

    def flow(self, equation: VectorField) -> Flow:
        raise UsageError("the reference integrator steps by no other method.")

    def gradient(self, equation: VectorField, y0: Array, t: Array, cotangent: Array) -> Array:
        raise UsageError("the reference integrator has no gradient.")

    def in_backend(self, name: str) -> Solver:
        raise UsageError("the reference integrator runs in SciPy alone.")

    def training_step(self, length: int, batch: int, seed: int) -> Callable[[], float]:
        raise UsageError("the reference integrator learns nothing.")

    def engines(self) -> Mapping[str, str]:
        return {}

    def timings(
        self,
        workload: Workload,
        seed: int,
        peers: bool = True,
        equation: VectorField | None = None,
        start: Array | None = None,
    ) -> list[Timing]:
        raise UsageError("the reference integrator is not timed.")

    def solve(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None = None) -> Trajectory:
        if inputs is not None:
            raise UsageError("the reference integrator takes no inputs.")
        from scipy.integrate import solve_ivp

        f = equation.function()
        y = np.asarray(y0, float)
        found = solve_ivp(
            lambda time, flat: f(time, flat.reshape(y.shape)).ravel(),
            (float(t[0]), float(t[-1])),
            y.ravel(),
            method="DOP853",
            t_eval=np.asarray(t, float),
            rtol=1e-12,
            atol=1e-12,
        )
        return Trajectory(np.asarray(t), found.y.T.reshape(len(t), *y.shape), int(found.nfev), len(found.t))
