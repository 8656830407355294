"""Who takes part in a measurement beside us, and under which name: the rows' own words."""

from __future__ import annotations

from functools import partial

from ...suite.errors import UsageError
from ..tableau import Tableau
from . import diffrax, jax_scan, products, scipy, torch_library, torch_loop, torchdiffeq, torchode
from .clock import Peer
from .problem import SequenceProblem, TrajectoryProblem

FLOOR = "products alone"
BEST = "products at best rate"


def sequence_peers(problem: SequenceProblem) -> list[Peer]:
    """The libraries that can have the problem, then its two floors. Nothing is imported or built yet.

    Beside a cell that is no equation, or a method that a library cannot be given, the peer is left out.
    """
    peers: list[Peer] = []
    cell, method = problem.cell, problem.cell.tableau
    if problem.is_equation:
        name = cell.field.name
        explicit = isinstance(method, Tableau) and method.explicit
        if name == "leaky" and method.name == "rk4" and cell.substeps == 1:
            peers.append(Peer("torch loop", partial(torch_loop.sequence, problem)))
        if explicit:
            peers.append(Peer("torchdiffeq", partial(torchdiffeq.sequence, problem)))
            if method.name in torchdiffeq.LIKE_ITS_RK4:
                peers.append(Peer("torchdiffeq own rk4", partial(torchdiffeq.sequence, problem, "rk4")))
        if problem.x.device.type == "cpu":
            peers.append(Peer("jax.lax.scan", partial(jax_scan.sequence, problem)))
            if explicit:
                peers.append(Peer("diffrax", partial(diffrax.sequence, problem)))
        if explicit:
            peers.append(Peer("torchode", partial(torchode.sequence, problem)))
        if name == "lstm-field":
            peers.append(Peer("torch.nn.LSTM", partial(torch_library.lstm, problem)))
        if name == "leaky":
            peers.append(Peer("torch.nn.RNN (one stage, another model)", partial(torch_library.rnn, problem)))
    return peers + floors(problem)


def floors(problem: SequenceProblem) -> list[Peer]:
    """The products of a cell that is an equation, by torch.mm, and at the rate of one large product; or none."""
    if not problem.is_equation:
        return []
    try:
        operations = products.products_of(problem).operations
    except UsageError:
        return []
    return [
        Peer(FLOOR, partial(products.floor, problem), operations=operations),
        Peer(BEST, partial(products.large, problem.x), operations / (2.0 * products.LARGE**3), operations),
    ]


def trajectory_peers(problem: TrajectoryProblem) -> list[Peer]:
    """The libraries. Nothing is imported or built yet."""
    peers = [
        Peer("diffrax", partial(diffrax.trajectory, problem)),
        Peer("SciPy solve_ivp", partial(scipy.trajectory, problem)),
        Peer("torchdiffeq", partial(torchdiffeq.trajectory, problem)),
    ]
    return peers if problem.steps is not None else [*peers, Peer("torchode", partial(torchode.trajectory, problem))]
