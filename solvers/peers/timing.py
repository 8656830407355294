"""The timings of a solver: its own ways first, then the peers, all in one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...suite.contracts import Array, Timing, VectorField, Workload
from ...suite.errors import UsageError
from ...suite.seeds import stream
from ..spec import find_method
from . import ours
from .clock import Peer, Run, cores, first_call, measure
from .problem import SequenceProblem, TrajectoryProblem
from .roster import sequence_peers, trajectory_peers
from .warm import in_new_process, nothing_compiled

if TYPE_CHECKING:
    from ..field_integrator import FieldIntegrator
    from ..recurrence import Recurrence

GENERAL = "general"


def sequence_timings(solver: Recurrence, workload: Workload, seed: int, peers: bool) -> list[Timing]:
    """See `Solver.timings`."""
    if workload.kind != "sequence":
        raise UsageError(f"cell {solver.spec.cell!r} is timed with work = 'sequence', not {workload.kind!r}.")
    if solver.spec.rtol is not None:
        raise UsageError("speed is measured on a fixed grid: leave out 'rtol'.")
    with nothing_compiled():
        with cores(workload.threads):
            problem = sequence_problem(solver, workload, seed)
            choice = problem.cell.choice
            solver.ran[choice.name] = choice.reason
            own = _own(choice.name, lambda engine: partial(ours.through, problem, engine))
            others = sequence_peers(problem) if peers else []
            found = measure([*own, *others], workload.rounds, _settle(problem.x))
        warm = partial(in_new_process, sequence_first_call, solver, workload, seed)
        return _finished(found, choice.name, choice.reason, warm)


def sequence_first_call(solver: Recurrence, workload: Workload, seed: int) -> float:
    """Seconds of the first call of the solver's own engine, which is chosen in it."""
    with cores(workload.threads):
        problem = sequence_problem(solver, workload, seed)
        return first_call(ours.through(problem, solver.spec.engine), _settle(problem.x))


def sequence_problem(solver: Recurrence, workload: Workload, seed: int) -> SequenceProblem:
    """Fresh weights and normal inputs, drawn in float64, in the solver's dtype on its device."""
    inputs = workload.inputs or solver.spec.hidden
    cell = solver.timed_cell(inputs, seed)
    drawn = stream(seed, "speed/inputs").normal(size=(workload.length, workload.batch, inputs))
    return SequenceProblem(cell, torch.as_tensor(drawn).to(next(cell.parameters())))


def trajectory_timings(
    solver: FieldIntegrator, workload: Workload, peers: bool, equation: VectorField | None, start: Array | None
) -> list[Timing]:
    """See `Solver.timings`."""
    if workload.kind != "trajectory" or equation is None or start is None:
        raise UsageError(f"cell 'true-field' is timed with work = 'trajectory', not {workload.kind!r}.")
    if solver.spec.method is not None:
        raise UsageError(f"method {solver.spec.method!r} is a library's own: expected a tableau of ours.")
    with nothing_compiled():
        with cores(workload.threads):
            problem = trajectory_problem(solver, workload, equation, start)
            engine, reason = solver.engine(equation, problem.y0.ndim > 1)
            solver.ran[engine] = reason
            own = _own(engine, lambda name: partial(_solve_by, problem, name))
            others = trajectory_peers(problem) if peers else []
            found = measure([*own, *others], workload.rounds)
        warm = partial(in_new_process, trajectory_first_call, solver, workload, equation, start)
        return _finished(found, engine, reason, warm)


def trajectory_first_call(solver: FieldIntegrator, workload: Workload, equation: VectorField, start: Array) -> float:
    """Seconds of the first solution by the solver's own engine."""
    with cores(workload.threads):
        problem = trajectory_problem(solver, workload, equation, start)
        return first_call(_solve_by(problem, solver.spec.engine))


def trajectory_problem(
    solver: FieldIntegrator, workload: Workload, equation: VectorField, start: Array
) -> TrajectoryProblem:
    """A batch of one is a single state."""
    spec = solver.spec
    fixed = spec.rtol is None
    y0 = start[0] if len(start) == 1 else start
    grid = np.linspace(0.0, workload.span, workload.length + 1 if fixed else 2)
    rtol = spec.rtol or 0.0

    def ours(engine: str) -> Callable[[], Any]:
        own = replace(solver, spec=replace(spec, engine=engine), ran={})  # the row tells of the first alone
        return lambda: own.solve(equation, y0, grid)

    return TrajectoryProblem(
        equation=equation,
        y0=y0,
        span=workload.span,
        method=find_method(spec.tableau or ""),
        steps=workload.length if fixed else None,
        rtol=rtol,
        atol=rtol if spec.atol is None else spec.atol,
        ours=ours,
    )


def _solve_by(problem: TrajectoryProblem, engine: str) -> Run:
    solve = problem.ours(engine)
    return lambda: solve().y[-1]


def _own(engine: str, make: Callable[[str], Callable[[], Run]]) -> list[Peer]:
    """The engine that runs, and the general path beside it."""
    return [Peer(f"odernn {name}", make(name)) for name in dict.fromkeys((engine, GENERAL))]


def _finished(found: list[Timing], engine: str, reason: str, warm: Callable[[], float]) -> list[Timing]:
    """With the first call in a new process; and why no engine runs, where one was asked for."""
    if found[0].reason:
        raise UsageError(f"{found[0].name} cannot be timed: {found[0].reason}")
    if engine == GENERAL:
        return [*found, Timing("odernn compiled", reason=reason)] if reason else found
    try:
        return [replace(found[0], warm=warm()), *found[1:]]
    except UsageError as error:  # what was measured is kept
        return [replace(found[0], reason=f"no warm first call: {error}"), *found[1:]]


def _settle(x: torch.Tensor) -> Run:
    """Waits for what a GPU still does."""
    return (lambda: torch.cuda.synchronize(x.device)) if x.is_cuda else (lambda: None)
