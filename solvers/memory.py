"""What a pass of a cell keeps for its backward pass. The ways themselves: `solvers.segments`. Needs no torch."""

from __future__ import annotations

from ..suite.errors import UsageError, unknown

MEMORIES = ("states", "segments", "inverse")
"""What a pass keeps for its backward pass: what it computed at every step (a compiled engine its states alone), the
states between segments of the sequence, or the last state alone."""


def checked_memory(memory: object, segment: int | None) -> None:
    """Raises `UsageError` for an unknown way, and for a segment that is none or has no use."""
    if memory not in MEMORIES:
        raise unknown("memory", str(memory), MEMORIES)
    if segment is None:
        return
    if isinstance(segment, bool) or not isinstance(segment, int) or segment < 1:
        raise UsageError(f"segment is {segment!r}: expected a whole number of inputs of at least 1.")
    if memory == "states":
        raise UsageError("segment was given with memory 'states', which has none: expected 'segments' or 'inverse'.")
