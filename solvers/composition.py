"""Steps of splitting methods: the flows of a field's parts, prepared once a rollout and composed step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from ..suite.errors import UsageError
from .backends.base import SplitField
from .splitting import Splitting

Flow = Callable[[Any, Any], Any]


@runtime_checkable
class Discrete(Protocol):
    """A field with parts that are no flows: the maps named in `once` act once a step, whatever its size."""

    once: tuple[str, ...]


class Composition:
    """One step after another of a splitting: y -> y+, with the input held.

    flows: prepared flows by (part, step); equal parts of equal steps are prepared once. Each step is complete at its
    own end: half steps of neighbouring steps are not joined. f_calls: flows applied, in units of passes through all
    parts, so that a Lie step and a Strang step count 1 and 2. Raises `UsageError` for a field without parts, and where
    a part that acts once a step (`Discrete`) would act several times.
    """

    def __init__(self, method: Splitting, field: Any, weights: tuple[Any, ...]) -> None:
        if not isinstance(field, SplitField) or not field.parts:
            name = f"field {field.name!r}" if isinstance(field, SplitField) else "the field"
            raise UsageError(
                f"{name} is not given as a sum of parts, so the splitting {method.name!r} cannot step it: "
                "expected a Runge-Kutta method, or a cell with parts such as 'exprnn'."
            )
        self.method, self.field, self.weights = method, field, weights
        self.sequence = [(part, float(share)) for part, share in method.sequence(len(field.parts))]
        for index, name in enumerate(field.parts):
            times = [part for part, _ in self.sequence].count(index)
            if isinstance(field, Discrete) and name in field.once and times > 1:  # twice a reflection is none
                raise UsageError(
                    f"part {name!r} of field {field.name!r} acts once a step, and the splitting {method.name!r} goes "
                    f"through it {times} times: expected one that takes every part once, such as 'lie'."
                )
        self.flows: dict[tuple[int, float], Flow] = {}
        passes = max([part for part, _ in self.sequence].count(k) for k in range(len(field.parts)))
        self.calls_a_step = passes

    def step(self, y: Any, drive: Any, h: float) -> Any:
        """The state after a step of size h."""
        for part, share in self.sequence:
            key = (part, share * h)
            if key not in self.flows:
                self.flows[key] = self.field.flow(part, share * h, self.weights, self.method.linear)
            y = self.flows[key](y, drive)
        return y
