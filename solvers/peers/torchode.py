"""torchode (Lienen, Guennemann 2022, arXiv:2210.12375): every trajectory of a batch has its own step size.

A method of ours needs a subclass, since the library finds interpolation and order in the class. Between inputs its step
method is called by hand: a solve of one step an input would start and stop its loop as often. TorchScript is not used:
1.0.1 does not compile under newer versions of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from ...suite.errors import UsageError
from ..step import active
from ..tableau import Tableau
from .clock import Run
from .problem import Passed, SequenceProblem, TrajectoryProblem, mean_square


def sequence(problem: SequenceProblem) -> Run:
    """Our tableau in its step method, once an input (or `substeps` times)."""
    library: Any = import_module("torchode")
    method, term = _method(problem.tableau), _term(library, problem)
    operands = problem.leaves()
    substeps, (*weights, V, b) = problem.cell.substeps, operands
    start, batch = problem.start(), problem.x.shape[1]
    t = torch.zeros(batch, dtype=start.dtype, device=start.device)
    running = torch.ones(batch, dtype=torch.bool, device=start.device)
    dt = torch.full_like(t, problem.h)
    initial = library.InitialValueProblem(y0=start, t_start=t, t_end=t + 1)

    def run() -> Passed:
        state = method.init(term, initial, start, stats={}, args=None)
        y, outputs = start, []
        for drive in torch.nn.functional.linear(problem.x, V, b).unbind(0):
            for _ in range(substeps):
                y = method.step(term, running, y, t, dt, state, stats={}, args=(drive, tuple(weights)))[0].y
            outputs.append(y)
        loss = mean_square(problem.field.features(torch.stack(outputs)))
        return Passed(loss, torch.autograd.grad(loss, operands))

    return run


def _term(library: Any, problem: SequenceProblem) -> Any:
    slope = problem.field.forward
    return library.ODETerm(lambda t, y, args: slope(t, y, args[0], args[1]), with_stats=False, with_args=True)


def _method(tableau: Tableau) -> Any:
    """Of the stages that the result depends on, which no slope of an earlier step replaces: the input jumps between."""
    base: Any = import_module("torchode.single_step_methods.runge_kutta")
    kept = active(tableau)
    rows = [[float(tableau.A[i][j]) for j in kept[:number]] for number, i in enumerate(kept)]
    weights = [float(tableau.b[i]) for i in kept]
    table = base.ButcherTableau.from_lists(
        c=[float(tableau.c[i]) for i in kept], a=rows, b=weights, b_err=[0.0] * len(kept)
    )
    table.fsal = False
    return base.ExplicitRungeKutta(None, table)


def trajectory(problem: TrajectoryProblem) -> Run:
    """Its own Dormand-Prince pair; adaptive alone."""
    library: Any = import_module("torchode")
    if problem.steps is not None:
        raise UsageError("torchode is measured with its own step sizes alone.")
    problem.must_be_dormand_prince()
    f = problem.equation.function("torch")
    y0 = torch.as_tensor(problem.y0).reshape(-1, problem.equation.dimension)
    term = library.ODETerm(lambda t, y: f(t, y))
    method = library.Dopri5(term=term)
    control = library.IntegralController(atol=problem.atol, rtol=problem.rtol, term=term)
    solver = library.AutoDiffAdjoint(method, control)
    start = torch.zeros(len(y0), dtype=torch.float64)
    initial = library.InitialValueProblem(y0=y0, t_start=start, t_end=start + problem.span)
    return torch.no_grad()(lambda: solver.solve(initial).ys[:, -1].reshape(problem.y0.shape).numpy())
