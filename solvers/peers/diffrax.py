"""diffrax: our tableau in its Runge-Kutta class for sequences, its own pairs for trajectories; compiled by jax.

An input that is held from step to step is no function of time that a stage at the end of a step could read, so the
solver is stepped by hand inside `jax.lax.scan`, which also spares it the search for the interval.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from ..step import stages
from ..tableau import Tableau
from .clock import Run
from .problem import SequenceProblem, TrajectoryProblem

MOST_STEPS = 100_000


def sequence(problem: SequenceProblem) -> Run:
    """`solver.step` of our tableau, differentiated by jax."""
    diffrax: Any = import_module("diffrax")
    from .jax_field import JaxField
    from .jax_scan import compiled

    field, solver, h = JaxField(problem), solver_of(problem.tableau), problem.h
    term = diffrax.ODETerm(lambda t, y, args: field.whole(y, *args))

    def step(y: Any, drive: Any, weights: Any) -> Any:
        args, (t0, t1) = (drive, weights), np.array([0.0, h], y.dtype)  # a wider time would widen a float32 state
        state = solver.init(term, t0, t1, y, args)  # the input has jumped: no slope of an earlier step is known
        return solver.step(term, t0, t1, y, args, state, False)[0]

    return compiled(problem, field, step)


def solver_of(tableau: Tableau) -> Any:
    """The tableau as a diffrax solver, of the stages that the result depends on; without interpolation."""
    diffrax: Any = import_module("diffrax")
    method = stages(tableau, "exact")
    size = max(2, len(method))  # the library's least: a second stage of weight zero beside a single one

    def dense(row: Any, length: int) -> Any:
        values = dict(row)
        return np.array([float(values.get(i, 0)) for i in range(length)])

    rows = [dense(row, i) for i, row in enumerate(method.rows) if i > 0] or [np.ones(1)]
    nodes = [float(c) for c in method.nodes[1:]] or [1.0]
    table = diffrax.ButcherTableau(
        c=np.array(nodes), a_lower=tuple(rows), b_sol=dense(method.weights, size), b_error=np.zeros(size)
    )
    base: Any = diffrax.AbstractERK

    class Given(base):  # type: ignore[misc]
        tableau = table
        interpolation_cls = staticmethod(
            lambda *, t0, t1, y0, y1, k: diffrax.LocalLinearInterpolation(t0=t0, t1=t1, y0=y0, y1=y1)
        )

        def order(self, terms: Any) -> int:
            return 1

    return Given()


def trajectory(problem: TrajectoryProblem) -> Run:
    """Compiled; the starts of a batch by vmap, each with its own steps. Adaptive: its own Dopri5 and PID controller."""
    diffrax: Any = import_module("diffrax")
    jax: Any = import_module("jax")
    jnp: Any = jax.numpy

    jax.config.update("jax_enable_x64", True)
    f, span, steps = problem.equation.function("jax"), problem.span, problem.steps
    term = diffrax.ODETerm(lambda t, y, args: f(t, y))
    if steps is None:
        problem.must_be_dormand_prince()
        solver, first, saved, most = diffrax.Dopri5(), None, diffrax.SaveAt(t1=True), MOST_STEPS
        control = diffrax.PIDController(rtol=problem.rtol, atol=problem.atol)
    else:
        solver, first, saved, most = solver_of(problem.tableau), None, diffrax.SaveAt(t0=True, steps=True), steps
        control = diffrax.StepTo(jnp.linspace(0.0, span, steps + 1))

    def one(y0: Any) -> Any:
        found = diffrax.diffeqsolve(
            term, solver, 0.0, span, first, y0, stepsize_controller=control, saveat=saved, max_steps=most, throw=False
        )
        return found.ys[-1]

    y0 = jnp.asarray(problem.y0)
    solve = jax.jit(one if y0.ndim == 1 else jax.vmap(one))
    return lambda: jax.block_until_ready(solve(y0))
