"""One `odernn run`: check everything, run what is missing, write rows as they come, report.

Past 200 lines because the order of these steps is the promise: nothing is written before all of it has been checked.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from .catalogue import PUBLISHED, build_task
from .errors import PLUGIN_ERRORS, MissingPackage, UsageError, unknown
from .experiment import UNTRAINED, Experiment, load_experiment, values_of
from .pool import GIB, Limits, run_all, warm_up
from .progress import Pace, Progress, duration
from .row import FAILURES, FILE, Point, Row, Rows, describe, existing, identity, read, writer

DEVICES = ("auto", "cpu", "cuda", "mps")
ALL_RAN, SOME_FAILED, NOTHING_RUN = 0, 1, 3


@dataclass(frozen=True)
class Request:
    """What the command line asked for. out None: results/<experiment>. jobs None: one a core, or one on a GPU."""

    experiments: Sequence[str]
    out: Path | None = None
    device: str = "auto"
    jobs: int | None = None
    seeds: int | None = None
    axes: Sequence[str] = field(default_factory=tuple)
    timeout: float | None = None
    memory: float | None = None
    dry_run: bool = False
    retry_failed: bool = False
    command: str = ""


@dataclass
class _Plan:
    """One experiment in one folder: all its points, the rows that are there, the points that are missing."""

    experiment: Experiment
    folder: Path
    points: list[Point]
    stored: Rows
    missing: list[Point]


def carry_out(request: Request) -> int:
    """Run the experiments one after another. Returns the exit status: the gravest, a failure before nothing-to-run.

    Raises `UsageError` before anything is written where a name, a file, an axis or a point is wrong.
    """
    _check(request)
    experiments = [_shaped(name, request) for name in request.experiments]
    stored = [existing(_folder(request, experiment)) for experiment in experiments]
    for experiment in experiments:
        say(f"odernn: {experiment.name}, {len(experiment.points())} points: {experiment.summary}")
    if not request.dry_run:
        warm_up()  # the server imports torch while the points are checked
    device = resolve(request.device)
    plans = [_plan(e, rows, device, request) for e, rows in zip(experiments, stored, strict=True)]
    history = Pace(_history(plans))
    if request.dry_run:
        for plan in plans:
            _announce(plan, history, _jobs(request, plan))
        return ALL_RAN
    statuses = [_run(plan, history, request) for plan in plans]
    if SOME_FAILED in statuses:
        return SOME_FAILED
    return NOTHING_RUN if all(status == NOTHING_RUN for status in statuses) else ALL_RAN


def say(line: str) -> None:
    """One line to stderr, at once."""
    print(line, file=sys.stderr, flush=True)


def _check(request: Request) -> None:
    for what, value in (("--jobs", request.jobs), ("--timeout", request.timeout), ("--memory", request.memory)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{what} is {value}: expected a number above 0.")


def _shaped(name: str, request: Request) -> Experiment:
    experiment = load_experiment(name)
    for setting in request.axes:
        axis, equals, values = setting.partition("=")
        if not equals or not values:
            raise UsageError(f"--set {setting!r}: expected AXIS=VALUE,VALUE,... such as step=0.5,1.")
        experiment = experiment.with_axis(axis.strip(), values_of(values))
    return experiment if request.seeds is None else experiment.with_seeds(request.seeds)


def _folder(request: Request, experiment: Experiment) -> Path:
    return Path("results") / experiment.name if request.out is None else request.out


def resolve(device: str) -> str:
    """ "auto", or a device that is there. Raises `UsageError` where it is not."""
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device in ("auto", "cpu"):
        return device
    import torch

    there = torch.cuda.is_available() if device == "cuda" else torch.backends.mps.is_available()
    if not there:
        raise UsageError(f"device {device!r} is not available on this machine: expected cpu, or auto.")
    return device


def _plan(experiment: Experiment, rows: Rows, device: str, request: Request) -> _Plan:
    for sentence in rows.torn:
        say(f"odernn: {sentence}")
    points = _runnable(experiment, device)
    left = sum(point["device"] == "cpu" for point in points)
    if device not in ("auto", "cpu") and left:
        say(f"odernn: {left} of {len(points)} points cannot run on {device} and stay on the CPU, as their rows say.")
    newest = rows.newest()

    def missing(point: Point) -> bool:
        row = newest.get(identity(point))
        return row is None or (request.retry_failed and row["status"] in FAILURES)

    return _Plan(experiment, _folder(request, experiment), points, rows, [p for p in points if missing(p)])


def _runnable(experiment: Experiment, device: str) -> list[Point]:
    """The points on their devices, less those whose optional package is missing: they run once it is installed.

    Raises `MissingPackage` where no point is left, `UsageError` where one cannot run at all.
    """
    points: list[Point] = []
    lacking: dict[str, int] = {}
    for point in experiment.points():
        try:
            points.append(_placed(point, device, experiment.name))
        except MissingPackage as error:
            sentence = str(error).rpartition(": pip ")
            told = f"pip {sentence[2]}" if sentence[1] else str(error)
            lacking[told] = lacking.get(told, 0) + 1
    for told, count in lacking.items():
        say(f"odernn: {count} points of {experiment.name} are left out, as they need a package: {told}")
    if not points:
        raise MissingPackage(f"no point of {experiment.name} can run here: {' and '.join(lacking)}")
    return points


def _placed(point: Point, device: str, experiment: str) -> Point:
    """The point on its device, checked; on the CPU where it cannot run on the GPU, as with a library of the CPU alone.

    "auto" takes the GPU for a point that learns. Raises `UsageError` for a point that cannot run on the CPU either.
    """
    if device == "auto":
        device = "cuda" if point["solver"]["cell"] not in UNTRAINED and _has_cuda() else "cpu"
    if device != "cpu":
        try:
            return _checked(point, device, experiment)
        except MissingPackage:
            raise
        except UsageError:
            pass  # whatever is wrong on the CPU too is said below
    return _checked(point, "cpu", experiment)


def _checked(point: Point, device: str, experiment: str) -> Point:
    placed = {**point, "device": device}
    try:
        build_task(point["task"])
        import_module("odernn.solvers.solver").validate(point["solver"], point["task"], device, point["dtype"])
    except PLUGIN_ERRORS as error:  # a plugin may raise anything where it is built
        said = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        if isinstance(error, MissingPackage):
            raise MissingPackage(said) from error
        raise UsageError(f"{experiment}, point {describe(placed)!r}: {said}") from error
    return placed


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _jobs(request: Request, plan: _Plan) -> int:
    """How many runs at once: what was asked for, else one a core, or one on a GPU; never more than the experiment's own
    limit."""
    own = plan.experiment.jobs
    wanted = _wanted(request, plan.missing)
    if own is None or wanted <= own:
        return wanted
    say(f"odernn: {plan.experiment.name} runs at most {own} at once, as its runs would disturb each other.")
    return own


def _wanted(request: Request, points: Iterable[Point]) -> int:
    if request.jobs is not None:
        return request.jobs
    if any(point["device"] != "cpu" for point in points):
        return 1
    affinity = getattr(os, "sched_getaffinity", None)  # absent on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _history(plans: Sequence[_Plan]) -> list[Row]:
    """Rows that tell how long points take: those in the folders, and the published ones."""
    rows = [row for plan in plans for row in plan.stored.rows]
    published = PUBLISHED / FILE
    return rows + read(published).rows if published.is_file() else rows


def _announce(plan: _Plan, pace: Pace, jobs: int) -> None:
    done = len(plan.points) - len(plan.missing)
    seconds = pace.total(plan.missing, jobs)
    time = "no rows yet to tell how long" if seconds is None else f"about {duration(seconds)} on {jobs} processes"
    if not plan.missing:
        time = "nothing to run"
    print(f"{plan.experiment.name}: {len(plan.points)} points, {done} done, {len(plan.missing)} to run; {time}.")
    for point in plan.missing[:3]:
        print(f"  {describe(point)}")
    if len(plan.missing) > 3:
        print(f"  ... and {len(plan.missing) - 3} more")


def _run(plan: _Plan, pace: Pace, request: Request) -> int:
    ids = {identity(point) for point in plan.points}
    rows = {key: row for key, row in plan.stored.newest().items() if key in ids}
    if plan.missing:
        rows |= _gather(plan, pace, request)
    else:
        say(f"odernn: nothing to run, all {len(plan.points)} points are in {plan.folder / FILE}.")
    _report(plan, request)
    counts: dict[str, int] = {}
    for row in rows.values():
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items(), key=lambda item: -item[1]))
    retry = "; --retry-failed runs the failed ones again" if any(status in FAILURES for status in counts) else ""
    say(f"odernn: {plan.experiment.name}: {told}{retry}.")
    if any(status in FAILURES for status in counts):
        return SOME_FAILED
    return ALL_RAN if plan.missing else NOTHING_RUN


def _gather(plan: _Plan, pace: Pace, request: Request) -> dict[str, Row]:
    from .environment import host

    jobs = min(_jobs(request, plan), len(plan.missing))
    limits = Limits(request.timeout, None if request.memory is None else int(request.memory * GIB))
    done = len(plan.points) - len(plan.missing)
    note = f", {done} of {len(plan.points)} are there already" if done else ""
    say(f"odernn: {len(plan.missing)} points on {jobs} processes{note}; rows go to {plan.folder / FILE}")
    progress = Progress([{"id": identity(p), **p} for p in plan.missing], jobs, pace)
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    rows: dict[str, Row] = {}
    try:
        with writer(plan.folder) as file:
            work = run_all(plan.missing, jobs, limits, host(), progress.tick)
            try:
                for row in work:
                    row["experiment"] = plan.experiment.name
                    file.append(row)
                    rows[row["id"]] = row
                    progress.finished(row)
            finally:
                work.close()  # type: ignore[attr-defined]
                progress.close()
    except KeyboardInterrupt:
        # what is stored, not what was noted: an interrupt may fall between writing a row and the next line
        stored = {row["id"] for row in read(plan.folder / FILE).rows} if (plan.folder / FILE).exists() else set()
        finished = sum(identity(point) in stored for point in plan.missing)
        so_far = f"interrupted after {finished} of {len(plan.missing)} points"
        raise KeyboardInterrupt(f"{so_far}; the same command goes on from here.") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return rows


class _InterruptedError(KeyboardInterrupt):
    """Under `python -m`, CPython ends itself by SIGINT, not with our status, once a plain KeyboardInterrupt has passed
    through an exec of text (a namedtuple made by an import), handled or not. It does not do so for a derived class."""


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise _InterruptedError


def _report(plan: _Plan, request: Request) -> None:
    write = import_module("odernn.reports.write")
    rows = list(read(plan.folder / FILE).newest().values())
    print(write.main_tables(rows))
    report = write.write_report(rows, plan.folder / "report", plan.experiment.name, request.command)
    for sentence in report.problems:
        say(f"odernn: {sentence}")
    print(f"Report: {report.index}", flush=True)
