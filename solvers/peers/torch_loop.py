"""What one writes by hand: the leaky tanh field under the classical method as plain torch operations in a loop."""

from __future__ import annotations

import torch

from ...suite.errors import UsageError
from .clock import Run
from .problem import Passed, SequenceProblem, mean_square


def sequence(problem: SequenceProblem) -> Run:
    """Forward, and autograd back. Raises `UsageError` for another cell or method."""
    if problem.equation.name != "leaky" or problem.cell.tableau.name != "rk4" or problem.cell.substeps != 1:
        raise UsageError("the loop is written for cell 'leaky' under 'rk4', one step an input.")
    W, V, b = operands = problem.leaves()
    h, start = problem.h, problem.start()

    def run() -> Passed:
        y, outputs = start, []
        for u in torch.nn.functional.linear(problem.x, V, b).unbind(0):
            k1 = torch.tanh(torch.addmm(u, y, W)) - y
            z = torch.add(y, k1, alpha=h / 2)
            k2 = torch.tanh(torch.addmm(u, z, W)) - z
            z = torch.add(y, k2, alpha=h / 2)
            k3 = torch.tanh(torch.addmm(u, z, W)) - z
            z = torch.add(y, k3, alpha=h)
            k4 = torch.tanh(torch.addmm(u, z, W)) - z
            y = torch.add(y, k1 + 2 * (k2 + k3) + k4, alpha=h / 6)
            outputs.append(y)
        loss = mean_square(torch.stack(outputs))
        return Passed(loss, torch.autograd.grad(loss, operands))

    return run
