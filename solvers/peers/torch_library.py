"""torch's own recurrent modules: another model beside most cells, the same one beside `lstm-field`."""

from __future__ import annotations

import torch

from .clock import Run
from .problem import Passed, SequenceProblem, mean_square


def rnn(problem: SequenceProblem) -> Run:
    """torch.nn.RNN of the same sizes."""
    return _module(torch.nn.RNN(problem.cell.input_size, problem.cell.hidden_size), problem)


def lstm(problem: SequenceProblem) -> Run:
    """torch.nn.LSTM of the same sizes."""
    return _module(torch.nn.LSTM(problem.cell.input_size, problem.cell.hidden_size), problem)


def _module(module: torch.nn.Module, problem: SequenceProblem) -> Run:
    module = module.to(problem.x)
    parameters = list(module.parameters())

    def run() -> Passed:
        loss = mean_square(module(problem.x)[0])
        return Passed(loss, torch.autograd.grad(loss, parameters))

    return run
