"""An experiment beside what its folder holds: each point on its device, checked; fresh, stale or missing.

Nothing is written and nothing runs here. A point that is fresh is not checked again: it was, and it ran, with the same
code and packages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from .catalogue import build_task
from .errors import PLUGIN_ERRORS, MissingPackage, UsageError
from .experiment import UNTRAINED, Experiment
from .fingerprint import Code, Fingerprints
from .freshness import CodeBook, Verdict, judge
from .printable import many
from .row import FAILURES, Point, Row, Rows, describe, identity

GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvhost-ctrl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")
"""One of them is there where a driver of NVIDIA (of Tegra, of Windows below Linux) or AMD is."""


@dataclass(frozen=True)
class Planned:
    """One point on its device: its id, its code, and whether it has to run."""

    point: Point
    id: str
    code: Code
    verdict: Verdict

    @property
    def runs(self) -> bool:
        return self.verdict.state != "fresh"


@dataclass(frozen=True)
class Plan:
    """One experiment in one folder. stored: the rows that are there; size: bytes of their file; book: codes behind
    them; left_out: what is said of points that cannot run here, as a package is missing."""

    experiment: Experiment
    folder: Path
    planned: Sequence[Planned]
    stored: Rows
    size: int
    book: CodeBook
    left_out: Sequence[str] = ()

    def points(self) -> list[Point]:
        """Those to run, in their order: the experiment's, and retried failures last."""
        return [one.point for one in self.planned if one.runs]

    def count(self, state: str) -> int:
        return sum(one.verdict.state == state for one in self.planned)


@dataclass
class Planner:
    """Plans experiments. device: "auto", "cpu", "cuda" or "mps"; facts: `environment.host()`; prints: of all runs."""

    device: str
    facts: Mapping[str, Any]
    retry_failed: bool = False
    prints: Fingerprints = field(default_factory=Fingerprints)
    _checked: set[str] = field(default_factory=set)

    def plan(self, experiment: Experiment, points: Sequence[Point], folder: Path, rows: Rows, size: int) -> Plan:
        """Raises `MissingPackage` where no point is left, `UsageError` where one cannot run at all."""
        newest, book = rows.newest(), CodeBook.read(folder)
        planned: list[Planned] = []
        lacking: dict[str, int] = {}
        for point in points:
            try:
                planned.append(self._placed(point, newest, book, experiment.name))
            except MissingPackage as error:
                sentence = str(error).rpartition(": pip ")
                told = f"pip {sentence[2]}" if sentence[1] else str(error)
                lacking[told] = lacking.get(told, 0) + 1
        if not planned:
            raise MissingPackage(f"no point of {experiment.name} can run here: {' and '.join(lacking)}")
        left_out = [
            f"{many(count, 'point')} of {experiment.name} left out for want of a package: {told}"
            for told, count in lacking.items()
        ]
        return Plan(experiment, folder, self._ordered(planned, rows), rows, size, book, left_out)

    def renewed(self, plan: Plan, rows: Rows, size: int) -> Plan:
        """The plan with what its folder holds by now; its points were checked before."""
        newest, book = rows.newest(), CodeBook.read(plan.folder)
        planned = [self._judged(one.point, newest, book) for one in plan.planned]
        return Plan(plan.experiment, plan.folder, self._ordered(planned, rows), rows, size, book)

    def _ordered(self, planned: Sequence[Planned], stored: Rows) -> Sequence[Planned]:
        """Points that failed in this code and are retried come after all others, the one that failed longest ago first:
        so a command that ends at a failure, started again and again, gets to all of them."""
        if not self.retry_failed:
            return planned
        place = {row["id"]: number for number, row in enumerate(stored.rows, 1) if row["status"] in FAILURES}
        newest = stored.newest()

        def failed(one: Planned) -> bool:
            row = newest.get(one.id)
            return row is not None and row["status"] in FAILURES and row["environment"].get("code") == one.code.digest

        return sorted(planned, key=lambda one: place[one.id] if failed(one) else 0)

    def _placed(self, point: Point, newest: Mapping[str, Row], book: CodeBook, experiment: str) -> Planned:
        """The point on its device; on the CPU where it cannot run on the GPU, as with a library of the CPU alone.

        "auto" takes the GPU for a point that learns. Raises `UsageError` for one that cannot run on the CPU either.
        """
        device = self.device
        if device == "auto":
            device = "cuda" if point["solver"]["cell"] not in UNTRAINED and has_cuda() else "cpu"
        wanted = self._judged({**point, "device": device}, newest, book)
        if not wanted.runs:
            return wanted
        if device != "cpu":
            try:
                self._check(wanted.point, experiment)
                return wanted
            except MissingPackage:
                raise
            except UsageError:  # whatever is wrong on the CPU too is said below
                wanted = self._judged({**point, "device": "cpu"}, newest, book)
        if wanted.runs:
            self._check(wanted.point, experiment)
        return wanted

    def _judged(self, point: Point, newest: Mapping[str, Row], book: CodeBook) -> Planned:
        key, code = identity(point), self.prints.of(point)
        return Planned(point, key, code, judge(newest.get(key), code, self.facts, book, self.retry_failed))

    def _check(self, point: Point, experiment: str) -> None:
        """Raises `UsageError` where the point cannot run; of points that differ by seed and budget the first counts."""
        key = json.dumps([point[one] for one in ("task", "solver", "device", "dtype")], sort_keys=True)
        if key in self._checked:
            return
        try:
            build_task(point["task"])
            import_module("odernn.solvers.solver").validate(
                point["solver"], point["task"], point["device"], point["dtype"]
            )
        except PLUGIN_ERRORS as error:  # a plugin may raise anything where it is built
            said = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            if isinstance(error, MissingPackage):
                raise MissingPackage(said) from error
            raise UsageError(f"{experiment}, point {describe(point)!r}: {said}") from error
        self._checked.add(key)


def has_cuda() -> bool:
    """Whether torch finds a GPU. Where Linux has no device file of one, torch need not be imported to know."""
    if sys.platform == "linux" and not any(Path(name).exists() for name in GPU_FILES):
        return False
    import torch

    return torch.cuda.is_available()
