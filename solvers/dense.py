"""States between the steps of an adaptive pair, as accurate as the steps themselves, for any pair and any state.

Steps are not cut at output times. A value inside a step comes from the first of three sources that proves good enough:

1. the Hermite interpolant of states and slopes at the ends of neighbouring accepted steps, without any evaluation;
2. where many values are wanted in one step, the Hermite interpolant of that step alone, through states that the method
   itself finds inside it (partial steps from the step's start);
3. a partial step of the method for the value itself, which has the order of the method by definition, and whose local
   error is that of a shorter step than the one the controller accepted.

An interpolant is good enough where taking away one of its nodes changes the value by no more than the tolerance, in the
norm that accepts steps. With m nodes its error is O(h^2m) (Hairer, Norsett, Wanner, *Solving Ordinary Differential
Equations I*, 2nd ed., 1993, section II.6: Hermite interpolation over several steps); m is such that 2m exceeds the
order of the method and of the tolerance, both with the node and without it. So the interpolation adds nothing to the
order, whatever the pair, and where it is not to be trusted (the start of a transient, a kink that the field hides) the
method itself answers. Interpolants never reach over a jump of the drive.

Slopes of stiff components are far less accurate than values: an error e of the value is an error lambda e of the slope,
and it is alike at all nodes, so that no comparison of interpolants shows it. Implicit pairs therefore trust the slopes
only where their own integral over the step gives the change of the state (`BIAS`).

Values that are interpolated have the accuracy of the tolerance; where a pair is far more accurate than its own error
estimate says (order 8 with an estimate of order 5), the ends of steps are better than what lies between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .adaptive import Tolerance, Try
from .step import Slope

BIAS = 10.0
"""What slopes with one common error may be wrong by, integrated over a step, in units of the tolerance: an interpolant
of values and slopes then changes by x (1 - x) (1 - 2 x) <= 0.097 of that."""

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Node:
    """A time, the state there and its slope."""

    t: float
    y: Any
    slope: Any


def interpolation_nodes(order: int, estimate: int) -> int:
    """The fewest nodes m with 2m above the order of the method and above the order estimate + 1 of its tolerance."""
    return max(order, estimate + 1) // 2 + 1


class DenseOutput:
    """Values at given times of one smooth piece of a solution, found while its steps come in.

    times: increasing, after the start of the piece and up to its end. nodes: `interpolation_nodes`. attempt: how the
    method makes a step, slope: the field; both count their own evaluations. stiff: slopes are checked against the
    states before they are used. Only the newest nodes + 1 steps are kept.
    """

    def __init__(
        self,
        times: Sequence[float],
        nodes: int,
        attempt: Try,
        slope: Slope,
        tolerance: Tolerance,
        stiff: bool = False,
    ) -> None:
        self.stiff = stiff
        self.times, self.few, self.tolerance = list(times), nodes, tolerance
        self.attempt, self.slope = attempt, slope
        self.states: list[Any] = []
        self.window: list[Node] = []

    def accept(self, t: float, y: Any, slope: Any) -> None:
        """The start of the piece, then the end of every accepted step."""
        self.window.append(Node(t, y, slope))
        size = self.few + 1
        del self.window[:-size]
        if len(self.window) == size:
            # the step last completed here has its nodes on both sides, as evenly as may be
            self._report(self.window[size // 2].t)

    def finish(self) -> list[Any]:
        """The states at all times; call it once the last step has come in. May raise `Diverged` in a partial step."""
        self._report(self.window[-1].t)
        return self.states

    def _report(self, until: float) -> None:
        k = 0
        while len(self.states) < len(self.times) and self.times[len(self.states)] <= until:
            t = self.times[len(self.states)]
            while self.window[k + 1].t < t:
                k += 1
            inside = [s for s in self.times[len(self.states) :] if s < self.window[k + 1].t]
            self.states += self._inside(k, inside) if inside else [self.window[k + 1].y]

    def _inside(self, k: int, times: list[float]) -> list[Any]:
        """The states at times inside the step from node k to node k + 1 of the window."""
        found: dict[float, Any] = {}
        if len(self.window) > self.few and self._consistent(self.window, k):
            found |= self._interpolated(self.window, k, times)
        left = [t for t in times if t not in found]
        nodes = self._refined(self.window[k], self.window[k + 1]) if len(left) >= self.few else []
        for i, (a, b) in enumerate(itertools.pairwise(nodes)):
            part = [t for t in left if a.t <= t < b.t]
            if part and self._consistent(nodes, i):
                found |= self._interpolated(nodes, i, part)
        start = self.window[k]
        return [found[t] if t in found else self._stepped(start, t).y for t in times]

    def _stepped(self, start: Node, t: float, with_slope: bool = False) -> Node:
        """A partial step of the method itself."""
        tried = self.attempt(start.t, start.y, t - start.t, start.slope)
        slope = tried.last
        if slope is None and with_slope:
            slope = self.slope(t, tried.y)
        return Node(t, tried.y, slope)

    def _refined(self, start: Node, end: Node) -> list[Node]:
        """The ends of a step and, between them, partial steps at equal distances: few + 1 nodes."""
        h = (end.t - start.t) / self.few
        return [start, *(self._stepped(start, start.t + i * h, True) for i in range(1, self.few)), end]

    def _consistent(self, nodes: list[Node], k: int) -> bool:
        """Whether the slopes at the nodes integrate to the change of the state from node k to node k + 1."""
        if not self.stiff:
            return True
        h = nodes[-1].t - nodes[0].t
        weights = integrals(np.array([(node.t - nodes[0].t) / h for node in nodes]))[k : k + 1] * h
        change = _combined(np.zeros_like(weights), weights, nodes, nodes[0].y, graph=False)[0]
        start, end = nodes[k].y, nodes[k + 1].y
        return self.tolerance.norm(end - start - change, start, end) <= BIAS

    def _interpolated(self, nodes: list[Node], k: int, times: list[float]) -> dict[float, Any]:
        """Those of the values between node k and node k + 1 that are good enough."""
        h = nodes[k + 1].t - nodes[k].t
        places = np.array([(node.t - nodes[k].t) / h for node in nodes])
        x = np.array([(t - nodes[k].t) / h for t in times])
        values, slopes = hermite(places, x)
        # leave out the node that is farther away
        kept = slice(1, None) if -places[0] > places[-1] - 1 else slice(None, -1)
        fewer_values, fewer_slopes = np.zeros_like(values), np.zeros_like(slopes)
        fewer_values[:, kept], fewer_slopes[:, kept] = hermite(places[kept], x)
        base = nodes[k].y
        changes = _combined(values - fewer_values, (slopes - fewer_slopes) * h, nodes, base, graph=False)
        norms = [self.tolerance.norm(change, base, nodes[k + 1].y) for change in changes]
        good = [i for i, norm in enumerate(norms) if norm <= 1]  # a NaN is not good
        if not good:
            return {}
        states = _combined(values[good], slopes[good] * h, nodes, base, graph=True)
        return {times[i]: base + state for i, state in zip(good, states, strict=True)}


def hermite(nodes: Array, x: Array) -> tuple[Array, Array]:
    """Weights (len(x), len(nodes)) of the values and of the slopes in the interpolant that takes both at the nodes.

    With Lagrange's l_j: (1 - 2 (x - x_j) l_j'(x_j)) l_j(x)^2 and (x - x_j) l_j(x)^2.
    """
    gaps = nodes[:, None] - nodes[None, :]
    np.fill_diagonal(gaps, 1.0)
    distances = x[:, None] - nodes[None, :]
    lagrange = np.empty_like(distances)
    for j in range(len(nodes)):
        others = np.arange(len(nodes)) != j
        lagrange[:, j] = np.prod(distances[:, others] / gaps[j, others], axis=1)
    steepness = (1 / gaps).sum(axis=1) - 1.0
    square = lagrange**2
    return (1 - 2 * distances * steepness) * square, distances * square


def integrals(nodes: Array) -> Array:
    """Weights (len(nodes) - 1, len(nodes)) of the integral from each node to the next, of the polynomial through values
    at all of them."""
    powers = np.arange(len(nodes))
    moments = np.diff(nodes[:, None] ** (powers + 1) / (powers + 1), axis=0)
    weights = np.linalg.solve(np.vander(nodes, increasing=True).T, moments.T).T
    return np.asarray(weights, dtype=np.float64)


def _combined(values: Array, slopes: Array, nodes: list[Node], base: Any, graph: bool) -> Any:
    """sum_j values_ij (y_j - base) + slopes_ij k_j for every row i; differences, so that little is lost in rounding."""
    if isinstance(base, np.ndarray | np.generic):
        stacked = np.stack([*(node.y - base for node in nodes), *(node.slope for node in nodes)])
        return np.tensordot(np.concatenate([values, slopes], axis=1).astype(base.dtype), stacked, 1)
    import torch

    with torch.set_grad_enabled(graph and torch.is_grad_enabled()):
        stack = torch.stack([*(node.y - base for node in nodes), *(node.slope for node in nodes)])
        weights = torch.as_tensor(np.concatenate([values, slopes], axis=1)).to(device=base.device, dtype=base.dtype)
        return torch.tensordot(weights, stack, 1)
