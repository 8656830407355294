"""How long a solver takes for a workload, beside other libraries that do the same in the same process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import ClassVar, Literal

import numpy as np

from ...suite.contracts import Array, Audit, Budget, Outcome, Solver, Timing, Workload
from ...suite.errors import UsageError
from ...suite.seeds import stream
from ..chaos.systems import system

MOST = 1_000_000
FLOORS: Mapping[str, str] = {"products alone": "floor_ratio", "products at best rate": "floor_ratio_best"}
"""Names of timings, and the metrics that hold ours over them."""


@dataclass(frozen=True)
class Speed(Audit):
    """Seconds of one workload: one row is one workload with all its peers, measured in turn in one process.

    work: "sequence", a forward and backward pass of an untrained cell over `length` inputs; "trajectory", a solution of
    a chaotic `system` over `span` units of its time, in `length` equal steps or, of an adaptive solver, in its own.
    batch: sequences, or starts; threads: cores for everything measured; rounds: measurements of each; inputs: channels
    of a sequence (0: as many as hidden units); peers: other libraries too, and not our own paths alone. What counts as
    a workload, and what of it is timed, is `suite.contracts.Workload`.

    Measurements need a quiet machine: an experiment of them says `jobs = 1`.
    """

    work: Literal["sequence", "trajectory"] = "sequence"
    length: int = 200
    batch: int = 32
    threads: int = 1
    rounds: int = 7
    inputs: int = 0
    peers: bool = True
    system: str = "lorenz63"
    span: float = 10.0

    name: ClassVar[str] = "speed"
    primary_metric: ClassVar[str] = "median_seconds"

    def __post_init__(self) -> None:
        for what, value, least in (
            ("length", self.length, 1),
            ("batch", self.batch, 1),
            ("threads", self.threads, 1),
            ("rounds", self.rounds, 1),
            ("inputs", self.inputs, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
                raise UsageError(f"{what} of speed is {value!r}: expected a whole number from {least} to {MOST}.")
        if not 0.0 < self.span < float("inf"):
            raise UsageError(f"span of speed is {self.span!r}: expected a finite time above 0.")
        system(self.system)

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: median_seconds and first_call_seconds of ours, first_call_warm_seconds of a compiled engine, and
        floor_ratio, floor_ratio_best where the model has matrix products.

        curves: timings {name, seconds, first, warm, reason}, ours first, seconds a list of rounds for each; a peer that
        was not measured has an empty list and its reason. properties: ours, threads, products_flop.
        """
        workload = Workload(self.work, self.length, self.batch, self.threads, self.rounds, self.inputs, self.span)
        if self.work == "sequence":
            found = solver.timings(workload, seed, self.peers)
        else:
            equation = system(self.system).equation
            found = solver.timings(workload, seed, self.peers, equation, self.start(seed))
        ours = found[0]
        warm = {} if ours.warm is None else {"first_call_warm_seconds": ours.warm}
        operations = max(one.operations for one in found)
        return Outcome(
            metrics={
                "median_seconds": median(ours.seconds),
                "first_call_seconds": float(ours.first or 0.0),
                **warm,
                **floor_ratios(found),
            },
            curves={
                "timings": {
                    "name": [one.name for one in found],
                    "seconds": [list(one.seconds) for one in found],
                    "first": [one.first for one in found],
                    "warm": [one.warm for one in found],
                    "reason": [one.reason for one in found],
                }
            },
            properties={
                "primary_metric": self.primary_metric,
                "ours": ours.name,
                "threads": self.threads,
                **({"products_flop": operations} if operations else {}),
            },
        )

    def start(self, seed: int) -> Array:
        """(batch, dimension): the system's start with normal noise of its spread, so that no two are alike."""
        chaotic = system(self.system)
        noise = stream(seed, "speed/starts").normal(size=(self.batch, chaotic.dimension))
        return chaotic.on_invariants(np.array(chaotic.start) + chaotic.spread * noise)


def floor_ratios(found: list[Timing]) -> dict[str, float]:
    """The median of ours, the first, over that of each floor."""
    return {
        FLOORS[one.name]: median(found[0].seconds) / median(one.seconds)
        for one in found
        if one.name in FLOORS and one.seconds
    }


TASK = Speed
