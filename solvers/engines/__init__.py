"""Compiled paths of the native backend, printed from the same equation and the same tableau as the general path.

* general: the stage loop in torch (`solvers.step`), the measure of all others;
* cpu: the whole sequence in one call of machine code for this processor;
* cuda-graph: the stage loop captured once on an NVIDIA GPU and replayed;
* triton: one kernel on an NVIDIA GPU for the whole sequence, small hidden sizes.
"""

from __future__ import annotations

from ...suite.errors import unknown

ENGINES = ("auto", "general", "cpu", "cuda-graph", "triton")

ON_GPU = ("cuda-graph", "triton")
"""Those of them that need a CUDA device."""


def checked_engine(name: object) -> str:
    """The name itself. Raises `UsageError` for no engine's, with the nearest."""
    if not isinstance(name, str) or name not in ENGINES:
        raise unknown("engine", str(name), ENGINES)
    return name
