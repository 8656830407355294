"""What a backend is: a library that steps *our* field with *our* tableau, and counts what it evaluates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from ..tableau import Tableau

State = Any
"""A NumPy array or a torch tensor; any shape, the step acts on it elementwise."""


class Field(Protocol):
    """f(t, y, drive, weights) -> dy/dt, of the shape of y.

    drive is what the input contributes, constant over a step (zero-order hold), or None where there is no input.
    weights is a tuple of tensors, assembled once a sequence, that gradients flow through; () where nothing is learned.
    A field takes both only through these arguments, so that a backend can differentiate by adjoint.
    """

    def __call__(self, t: Any, y: State, drive: Any, weights: tuple[Any, ...]) -> State: ...


@dataclass(frozen=True)
class Solution:
    """states: (len(times), *y0.shape), states[0] is y0, library and dtype of y0; f_calls: evaluations of the field."""

    states: State
    f_calls: int
    accepted: int
    rejected: int = 0


class Backend(ABC):
    """A library behind one contract. Stateless; `UsageError` for what it cannot do, `Diverged` for a lost solution."""

    name: ClassVar[str]
    differentiable: ClassVar[bool]

    @abstractmethod
    def fixed(
        self,
        field: Field,
        y0: State,
        times: Sequence[float],
        tableau: Tableau,
        drives: Sequence[Any] | None = None,
        weights: tuple[Any, ...] = (),
    ) -> Solution:
        """Exactly one step of the tableau per interval of `times`; drives[i] holds on [times[i], times[i+1])."""

    @abstractmethod
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
        """Steps chosen from the embedded error; states reported at every time of `times`; the solver restarts where
        the drive jumps. Raises `UsageError` for a tableau without embedded weights."""
