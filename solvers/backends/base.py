"""What a backend is: a library that steps *our* field with *our* tableau, and counts what it evaluates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from ..tableaux import Method

State = Any
"""A NumPy array or a torch tensor; any shape, the step acts on it elementwise."""


class Field(Protocol):
    """f(t, y, drive, weights) -> dy/dt, of the shape of y.

    drive is what the input contributes, constant over a step (zero-order hold), or None where there is no input.
    weights is a tuple of tensors, assembled once a sequence, that gradients flow through; () where nothing is learned.
    A field takes both only through these arguments, so that a backend can differentiate by adjoint.
    """

    def __call__(self, t: Any, y: State, drive: Any, weights: tuple[Any, ...]) -> State: ...


@runtime_checkable
class JacobianField(Protocol):
    """A `Field` on states (..., D) that knows its Jacobian: df/dy (..., D, D), for implicit methods."""

    def __call__(self, t: Any, y: State, drive: Any, weights: tuple[Any, ...]) -> State: ...

    def jacobian(self, y: State, drive: Any, weights: tuple[Any, ...], t: Any = 0.0) -> State: ...


@runtime_checkable
class BlockField(Protocol):
    """A `Field` that gives the slopes of its blocks one by one, for partitioned methods.

    dependencies: for each block, the blocks that its slope reads. slopes: of the blocks `wanted`, at the state of these
    `blocks`; memo is an empty dict at the start of a step.
    """

    blocks: int
    dependencies: tuple[frozenset[int], ...]

    def slopes(
        self,
        wanted: tuple[int, ...],
        blocks: Sequence[Any],
        drive: Any,
        weights: tuple[Any, ...],
        memo: dict[Any, Any],
        t: Any = 0.0,
    ) -> Sequence[Any]: ...


@runtime_checkable
class SplitField(Protocol):
    """A field given as a sum of parts, each with a flow: (y, drive) -> y after a step h, prepared once a rollout."""

    name: str
    parts: tuple[str, ...]

    def flow(
        self, part: int, h: float, weights: tuple[Any, ...], linear: Literal["exact", "cayley"]
    ) -> Callable[[Any, Any], Any]: ...


@dataclass(frozen=True)
class Solution:
    """states: (len(times), *y0.shape), states[0] is y0, library and dtype of y0; f_calls: evaluations of the field.

    Of implicit methods: jacobian_calls, iterations of Newton's method, factorizations of its matrices; a batch counts
    once.
    """

    states: State
    f_calls: int
    accepted: int
    rejected: int = 0
    jacobian_calls: int = 0
    iterations: int = 0
    factorizations: int = 0


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
        tableau: Method,
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
        tableau: Method,
        rtol: float,
        atol: float,
        drives: Sequence[Any] | None = None,
        weights: tuple[Any, ...] = (),
        controller: str = "elementary",
        dense: bool = False,
    ) -> Solution:
        """Steps chosen from the embedded error; states reported at every time of `times`; the solver restarts where
        the drive jumps.

        controller: "elementary", or "pi" for a PI controller of step sizes. dense: steps are cut at jumps of the drive
        and at the end alone, states between them are interpolated with the order of the method; intervals whose drives
        are the same are then one. Without it every time of `times` ends a step, and every drive starts anew.
        Raises `UsageError` for a tableau without embedded weights, and for a controller or dense output that the
        backend does not have.
        """
