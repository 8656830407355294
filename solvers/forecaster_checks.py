"""The rules of `odernn check` for a forecaster of a series: it is judged on a short series of Lorenz-63.

The data come from the catalogue's task, by name, so that nothing of the tasks is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..suite.catalogue import build_task
from ..suite.contracts import Array, Budget, Forecaster, ForecastTask
from ..suite.verdict import BrokenRuleError
from .forecasters import rung_of
from .ladder import LadderSolver
from .spec import parse

CONTEXT, STEPS = 60, 20


def forecaster_rules(name: str) -> list[tuple[str, Callable[[], str]]]:
    """Shapes, a closed loop that is the same map as single steps, and the seed's determinism."""
    task: Any = build_task({"name": "chaos", "system": "lorenz63", "trajectories": 2, "samples": 400})
    assert isinstance(task, ForecastTask)
    series = task.series()
    context = series[:CONTEXT]

    def learned(seed: int) -> Forecaster:
        entries = {"cell": name} | ({"tableau": "rk4", "backend": "native"} if rung_of(name).is_field else {})
        budget = Budget(updates=5, batch=8)
        return LadderSolver(parse(entries), "float64").learn(task, seed, budget).forecaster

    def run(model: Forecaster) -> Array:
        """Forecasts (STEPS, batch, inputs) by single steps on the model's own output."""
        states = [context[-1] + task.increment * model.begin(context)]
        for _ in range(STEPS - 1):
            states.append(states[-1] + task.increment * model.step(states[-1]))
        return np.stack(states)

    def shapes() -> str:
        outputs = learned(0).outputs(context)
        if outputs.shape != context.shape or outputs.dtype != np.float64:
            raise BrokenRuleError(f"outputs are {outputs.dtype} {outputs.shape}, expected float64 {context.shape}")
        return f"float64 {outputs.shape}"

    def loop() -> str:
        model = learned(0)
        closed = model.closed_loop(task.increment)
        state = closed.start(context)
        found = [closed.observe(state)]
        for _ in range(STEPS - 1):
            state = closed.step(state)
            found.append(closed.observe(state))
        gap = float(np.abs(np.stack(found) - run(model)).max())
        if not gap < 1e-9:
            raise BrokenRuleError(f"closed loop and single steps differ by {gap:.3g} after {STEPS} steps")
        return f"they differ by {gap:.1g} after {STEPS} steps"

    def seeded() -> str:
        if not np.array_equal(run(learned(3)), run(learned(3))):
            raise BrokenRuleError("two trainings with the same seed forecast differently")
        return "bit for bit"

    return [
        ("outputs have the shape of the inputs", shapes),
        ("its closed loop is its own steps", loop),
        ("the same seed gives the same forecasts", seeded),
    ]
