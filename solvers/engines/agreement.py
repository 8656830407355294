"""Whether an engine changes a number beyond rounding: values and gradients beside those of the general path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from ..partitioned_tableau import PartitionedTableau
from ..splitting import Splitting
from ..tableau import Tableau
from ..tableaux import METHODS, Method

if TYPE_CHECKING:
    from ..field import CellDescription

ALLOWED = 1024
"""Largest relative gap that rounding explains over a few steps of a random cell, in units of the dtype's spacing at 1
times the tableau's largest row sum; the largest seen is half of it (schroedinger under verner65, row sum 429)."""

ALIKE = 16
"""Rounding grows alike in both dtypes: in those units a gap of float32 is at most so many times that of float64 and one
unit; the largest seen is half of it."""

HIDDEN, BATCH, LENGTH, INPUTS = 5, 3, 4, 2


@dataclass(frozen=True)
class Gap:
    """value, gradient: largest difference over the largest number, of all states, and of all gradients (parameters,
    inputs and first state); reason: why the engine cannot run this, then both are 0; limit: in units."""

    method: str
    dtype: torch.dtype
    value: float = 0.0
    gradient: float = 0.0
    reason: str = ""
    limit: float = ALLOWED

    @property
    def units(self) -> float:
        """The larger gap, in units of the dtype's spacing at 1; NaN where one of them is."""
        largest = self.value if self.value != self.value else max(self.gradient, self.value)
        return largest / torch.finfo(self.dtype).eps

    @property
    def holds(self) -> bool:
        """Within rounding; NaN is not."""
        return self.units <= self.limit


def row_sum(method: Method) -> float:
    """The largest sum of |coefficients| over the stages and the result, at least 1; 1 for what is no single tableau."""
    if not isinstance(method, Tableau):
        return 1.0
    return max(1.0, *(sum(abs(float(c)) for c in row) for row in (*method.A, method.b)))


def steppable() -> tuple[Method, ...]:
    """The methods that an engine may run: explicit, partitioned and splitting ones."""
    return tuple(m for m in METHODS.values() if isinstance(m, PartitionedTableau | Splitting) or m.explicit)


def gaps(
    cell: CellDescription | torch.nn.Module | str,
    engine: str = "cpu",
    methods: Iterable[Method] | None = None,
    device: str = "cpu",
    ode_order: int | None = None,
) -> Iterator[Gap]:
    """A cell's gaps, method by method in float64 and float32. Weights, inputs, start and cotangents are random."""
    for method in steppable() if methods is None else methods:
        limit = ALLOWED * row_sum(method)
        for dtype in (torch.float64, torch.float32):
            gap = replace(_gap(cell, engine, method, dtype, torch.device(device), ode_order), limit=limit)
            yield gap
            if not gap.reason:
                limit = min(limit, ALIKE * (gap.units + 1))


def _gap(cell: Any, engine: str, method: Method, dtype: torch.dtype, device: torch.device, order: int | None) -> Gap:
    from ..cell import ODERNN
    from .choice import reason_against

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ODERNN(INPUTS, HIDDEN, cell, method, None, ode_order=order, engine="general", dtype=torch.float64)
        model.step = min(model.step, 0.25)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))
        x = torch.randn(LENGTH, BATCH, INPUTS, dtype=torch.float64)
        state = 0.5 * torch.randn(BATCH, model.blocks, HIDDEN, dtype=torch.float64)
        weight = torch.randn(LENGTH + 1, BATCH, model.blocks, HIDDEN, dtype=torch.float64)
    model.to(device=device, dtype=dtype)
    if reason := reason_against(engine, model.field, method, device, dtype):
        return Gap(method.name, dtype, reason=reason)
    general = _run(model, x, state, weight)
    model.engine = engine
    compiled = _run(model, x, state, weight)
    if model.choice.name != engine:  # it handed the sequence back
        return Gap(method.name, dtype, reason=model.choice.reason)
    value, gradient = _distance(compiled[:1], general[:1]), _distance(compiled[1:], general[1:])
    return Gap(method.name, dtype, value, gradient)


def _run(model: Any, x: torch.Tensor, state: torch.Tensor, weight: torch.Tensor) -> list[torch.Tensor]:
    """The states, then the gradients of a random linear form of them."""
    like = next(model.parameters())
    x, state = (t.to(like).requires_grad_() for t in (x, state))
    leaves = [p for p in model.field.parameters() if p.requires_grad]
    states = model.trajectory(x, state)
    found = torch.autograd.grad((states * weight.to(like)).sum(), [*leaves, x, state], allow_unused=True)
    return [states.detach(), *(torch.zeros(()) if g is None else g for g in found)]


def _distance(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The largest over tensors of max |difference| / max |expected|; a tensor that is all zero counts as it is."""
    largest = 0.0
    for a, b in zip(found, expected, strict=True):
        if not b.numel():
            continue
        scale = float(b.abs().max()) or 1.0
        gap = float((a.to(b) - b).abs().max()) / scale if a.shape == b.shape else float("inf")
        largest = gap if gap != gap else max(largest, gap)
        if largest != largest:
            break
    return largest
