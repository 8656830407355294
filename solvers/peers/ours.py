"""Our own paths: the stage loop in torch, and a compiled engine where there is one."""

from __future__ import annotations

from copy import deepcopy

import torch

from .clock import Run
from .problem import Passed, SequenceProblem, mean_square


def general(problem: SequenceProblem) -> Run:
    return through(problem, "general")


def through(problem: SequenceProblem, engine: str) -> Run:
    """The cell on the named engine; gradients with respect to its parameters."""
    cell = deepcopy(problem.cell)
    cell.engine = engine
    parameters = list(cell.parameters())

    def run() -> Passed:
        loss = mean_square(cell(problem.x)[0])
        return Passed(loss, torch.autograd.grad(loss, parameters, allow_unused=True))

    return run
