"""The project's own engine: the stage loop of `solvers.step`, in NumPy or torch as the state is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np

from ..adaptive import Tolerance, integrate_adaptively
from ..step import advance, stages
from ..tableau import Tableau
from .base import Backend, Field, Solution, State
from .common import Rate, check_embedded, check_explicit, check_finite, checked_times, is_numpy, listed


@final
class Native(Backend):
    """Runs NumPy or torch states on their own device and dtype; torch gradients flow through every operation.

    Evaluations, fixed: one for each interval and stage that the result depends on (`step.active`), so an FSAL pair
    costs one less than its stages. Adaptive: see `solvers.adaptive.integrate_adaptively`, once for each restart.
    """

    name: ClassVar[str] = "native"
    differentiable: ClassVar[bool] = True

    def fixed(
        self,
        field: Field,
        y0: State,
        times: Sequence[float],
        tableau: Tableau,
        drives: Sequence[Any] | None = None,
        weights: tuple[Any, ...] = (),
    ) -> Solution:
        """See `Backend.fixed`."""
        check_explicit(tableau, self.name)
        grid = checked_times(times, drives)
        numpy = is_numpy(y0)
        method = stages(tableau, "numpy" if numpy else "torch")
        rate = Rate(field, weights)
        y, states = y0, [y0]
        with np.errstate(all="ignore"):  # what overflows is reported once, as Diverged
            for (t0, t1), rate.drive in zip(itertools.pairwise(grid), listed(drives, len(grid) - 1), strict=True):
                y = advance(rate, t0, y, t1 - t0, method)[0]
                states.append(y)
            check_finite(states, grid, self.name)
        return Solution(stacked(states, numpy), rate.calls, len(grid) - 1)

    def adaptive(
        self,
        field: Field,
        y0: State,
        times: Sequence[float],
        tableau: Tableau,
        rtol: float,
        atol: float,
        drives: Sequence[Any] | None = None,
        weights: tuple[Any, ...] = (),
    ) -> Solution:
        """See `Backend.adaptive`."""
        order = check_embedded(tableau, rtol, atol, self.name)
        grid = checked_times(times, drives)
        numpy = is_numpy(y0)
        method = stages(tableau, "numpy" if numpy else "torch", embedded=True)
        rate, tolerance = Rate(field, weights), Tolerance(rtol, atol)
        pieces = [grid] if drives is None else [list(pair) for pair in itertools.pairwise(grid)]
        states, accepted, rejected = [y0], 0, 0
        with np.errstate(all="ignore"):
            check_finite(states, grid, self.name)
            for piece, rate.drive in zip(pieces, listed(drives, len(pieces)), strict=True):
                found, good, bad = integrate_adaptively(rate, states[-1], piece, method, order, tolerance)
                states += found[1:]
                accepted, rejected = accepted + good, rejected + bad
        return Solution(stacked(states, numpy), rate.calls, accepted, rejected)


def stacked(states: list[State], numpy: bool) -> State:
    """The states along a new first axis."""
    if numpy:
        return np.stack(states)
    import torch

    return torch.stack(states)


BACKENDS: dict[str, Backend] = {"native": Native()}
