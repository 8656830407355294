"""One `odernn run`: check everything, run what is missing or stale, write rows as they come, report.

Past 200 lines because the order of these steps is the promise: nothing is written before all of it has been checked.
"""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from .catalogue import PUBLISHED
from .commands import Command, facts_of, note_command, read_commands
from .environment import host
from .errors import UsageError, unknown
from .experiment import Experiment, load_experiment, values_of
from .fingerprint import Code, Fingerprints
from .freshness import versions, vouched
from .journal import Journal
from .planning import Plan, Planner
from .pool import GIB, Limits, run_all, warm_up
from .printable import many, printable
from .progress import Pace, Progress
from .row import FAILURES, FILE, Point, Row, Rows, existing, read, writer
from .run import now
from .telling import all_points, announce, explain, processes, say, tell
from .worker import Held

DEVICES = ("auto", "cpu", "cuda", "mps")
ALL_RAN, SOME_FAILED, NOTHING_RUN = 0, 1, 3
CHECKPOINTS = "checkpoints"
"""The folder, in a folder of results, of trainings that are under way."""


@dataclass(frozen=True)
class Request:
    """What the command line asked for. out None: results/<experiment>. jobs None: one a core, or one on a GPU.

    explain: say of every point why it would run, and run none. scheduler: of a Dask cluster that carries out the runs.
    """

    experiments: Sequence[str]
    out: Path | None = None
    device: str = "auto"
    jobs: int | None = None
    seeds: int | None = None
    axes: Sequence[str] = field(default_factory=tuple)
    timeout: float | None = None
    memory: float | None = None
    dry_run: bool = False
    explain: bool = False
    retry_failed: bool = False
    fail_fast: bool = False
    scheduler: str | None = None
    command: str = ""

    @property
    def runs(self) -> bool:
        return not (self.dry_run or self.explain)


def carry_out(request: Request) -> int:
    """Run the experiments one after another. Returns the exit status: the gravest, a failure before nothing-to-run.

    Raises `UsageError` before anything is written where a name, a file, an axis or a point is wrong, and
    `KeyboardInterrupt`, which says how to go on, at Ctrl-C and at SIGTERM.
    """
    with _interruptible():
        try:
            return _carry_out(request)
        except KeyboardInterrupt as interrupt:
            raise _InterruptedError(str(interrupt) or "interrupted; the same command goes on from here.") from None


def _carry_out(request: Request) -> int:
    _check(request)
    experiments = [_shaped(name, request) for name in request.experiments]
    stored = [_found(_folder(request, experiment)) for experiment in experiments]
    points = [experiment.points() for experiment in experiments]
    for experiment, its in zip(experiments, points, strict=True):
        say(f"{experiment.name}, {many(len(its), 'point')}: {experiment.summary}")
    fewer = any(len(found.rows) < len(its) for (found, _), its in zip(stored, points, strict=True))
    prints = Fingerprints()  # before there are processes that import what it looks at
    if request.runs and request.scheduler is None and fewer:
        warm_up()  # the server imports torch while the points are checked
    planner = Planner(resolve(request.device), host(), request.retry_failed, prints=prints)
    plans = [
        planner.plan(experiment, its, _folder(request, experiment), *found)
        for experiment, its, found in zip(experiments, points, stored, strict=True)
    ]
    for plan in plans:
        tell(plan, planner.device)
    pace = Pace(_history(plans))
    if not request.runs:
        for plan in plans:
            if request.explain:
                explain(plan)
            announce(plan, pace, _jobs(request, plan))
        return ALL_RAN
    statuses: list[int] = []
    for plan in plans:
        status, ended = _run(plan, planner, pace, request)
        statuses.append(status)
        if ended:
            break
    if SOME_FAILED in statuses:
        return SOME_FAILED
    return NOTHING_RUN if all(status == NOTHING_RUN for status in statuses) else ALL_RAN


# ------------------------------------------------------------------------------------------- before anything is written


def _check(request: Request) -> None:
    for what, value in (("--jobs", request.jobs), ("--timeout", request.timeout), ("--memory", request.memory)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{what} is {value}: expected a number above 0.")
    if request.scheduler is not None:
        from .cluster import check_address

        check_address(request.scheduler)


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


def _found(folder: Path) -> tuple[Rows, int]:
    """The rows of a folder, and the bytes that their file had before they were read."""
    size = _size(folder)
    return existing(folder), size


def _size(folder: Path) -> int:
    try:
        return (folder / FILE).stat().st_size
    except OSError:
        return 0


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


def _jobs(request: Request, plan: Plan) -> int:
    """How many runs at once: what was asked for, else one a core, or one on a GPU; never more than the experiment's own
    limit."""
    own = plan.experiment.jobs
    wanted = _wanted(request, plan.points())
    if own is None or wanted <= own:
        return wanted
    say(f"{plan.experiment.name} runs at most {own} at once, as its runs would disturb each other.")
    return own


def _wanted(request: Request, points: Iterable[Point]) -> int:
    if request.jobs is not None:
        return request.jobs
    if any(point["device"] != "cpu" for point in points):
        return 1
    affinity = getattr(os, "sched_getaffinity", None)  # absent on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _history(plans: Sequence[Plan]) -> list[Row]:
    """Rows that tell how long points take: those in the folders, and the published ones; none where nothing runs."""
    if not any(one.runs for plan in plans for one in plan.planned):
        return []
    rows = [row for plan in plans for row in plan.stored.rows]
    published = PUBLISHED / FILE
    return rows + read(published).rows if published.is_file() else rows


# ------------------------------------------------------------------------------------------------------------- running


def _run(plan: Plan, planner: Planner, pace: Pace, request: Request) -> tuple[int, bool]:
    """The experiment's exit status, and whether --fail-fast ended it."""
    ids = {one.id for one in plan.planned}
    rows = {key: row for key, row in plan.stored.newest().items() if key in ids}
    gathered = dict[str, Row]()
    if any(one.runs for one in plan.planned):
        gathered = _gather(plan, planner, pace, request)
        rows |= gathered
    else:
        say(f"nothing to run, {all_points(len(plan.planned))} in {plan.folder / FILE}.")
    if request.fail_fast and any(row["status"] in FAILURES for row in gathered.values()):
        left = sum(one.runs and one.id not in gathered for one in plan.planned)
        say(f"{plan.experiment.name}: ended at the first failure, {_left(left, request.retry_failed)}.")
        return SOME_FAILED, True
    _report(plan, request)
    counts: dict[str, int] = {}
    for row in rows.values():
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items(), key=lambda item: -item[1]))
    retry = "; --retry-failed runs the failed ones again" if any(status in FAILURES for status in counts) else ""
    say(f"{plan.experiment.name}: {told}{retry}.")
    if any(status in FAILURES for status in counts):
        return SOME_FAILED, False
    return (ALL_RAN if gathered else NOTHING_RUN), False


def _left(count: int, retry_failed: bool) -> str:
    """What --fail-fast left, and how to go on."""
    how = "the same command goes on from here, and --retry-failed runs the failed one again"
    if retry_failed:
        how = "the same command goes on from here, and runs the failed one again last"
        how = how if count else "the same command runs the failed one again"
    return f"with {many(count, 'point')} left to run; {how}"


def _gather(plan: Plan, planner: Planner, pace: Pace, request: Request) -> dict[str, Row]:
    """Run what is to run; every row is on the disk before the next is awaited. Gives the new rows by id.

    Raises `KeyboardInterrupt` and, where the disk takes no more rows, `UsageError`, both saying how to go on.
    """
    rows: dict[str, Row] = {}
    try:
        with writer(plan.folder) as file:
            if _size(plan.folder) != plan.size:  # another run wrote here since the rows were read
                found = _found(plan.folder)
                plan, newest = planner.renewed(plan, *found), found[0].newest()
                rows |= {one.id: newest[one.id] for one in plan.planned if not one.runs}
            plan.book.add(plan.folder, [one.code for one in plan.planned if one.runs])
            codes = {one.id: one.code for one in plan.planned if one.runs}
            which = facts_of(planner.facts)
            note_command(plan.folder, Command(request.command, plan.experiment.name, now(), which, tuple(codes)))
            with _working(plan, planner, codes, pace, request) as (work, watch):
                for row in work:
                    row["experiment"] = plan.experiment.name
                    row["environment"] = vouched(row["environment"], codes[row["id"]])
                    file.append(row)
                    rows[row["id"]] = row
                    watch.stored(row)
                    if row["status"] not in FAILURES:  # what was ended goes on with --retry-failed
                        _discard(plan.folder, row["id"])
                    if request.fail_fast and row["status"] in FAILURES:
                        break
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted after {_so_far(plan)}") from None
    except UsageError as error:
        raise UsageError(f"{str(error).rstrip('.')}, after {_so_far(plan)}" if rows else str(error)) from None
    return rows


def _so_far(plan: Plan) -> str:
    """How many points are done, and how to go on. What is stored counts, not what was noted: an interrupt may fall
    between writing a row and the next line."""
    try:
        stored = {row["id"] for row in read(plan.folder / FILE).rows[len(plan.stored.rows) :]}
    except UsageError:  # no row was written, or none can be read any more
        stored = set()
    finished = sum(one.runs and one.id in stored for one in plan.planned)
    return f"{finished} of {many(len(plan.points()), 'point')}; the same command goes on from here."


@dataclass(frozen=True)
class _Watch:
    """Whoever is told how far a run is: the terminal, and other shells."""

    progress: Progress
    journal: Journal

    def tick(self, running: int) -> None:
        self.progress.tick(running)
        self.journal.tick(running)

    def stored(self, row: Row) -> None:
        self.progress.finished(row)
        self.journal.stored(row)

    def close(self) -> None:
        self.progress.close()
        self.journal.close()


@contextmanager
def _working(
    plan: Plan, planner: Planner, codes: Mapping[str, Code], pace: Pace, request: Request
) -> Iterator[tuple[Iterator[Row], _Watch]]:
    """The rows of the points that run, as they finish; whatever is still at work is ended on the way out."""
    points, total = plan.points(), len(plan.planned)
    jobs = max(1, min(_jobs(request, plan), len(points)))
    done = f", {total - len(points)} of {total} are there already" if len(points) < total else ""
    where = processes(jobs) if request.scheduler is None else f"the cluster at {request.scheduler}"
    say(f"{many(len(points), 'point')} on {where}{done}; rows go to {plan.folder / FILE}")
    waiting = [{"id": one.id, **one.point} for one in plan.planned if one.runs]
    watch = _Watch(Progress(waiting, jobs, pace), Journal(plan.folder, plan.experiment.name, points, total, pace, jobs))
    limits = Limits(request.timeout, None if request.memory is None else int(request.memory * GIB))
    digests = {key: code.digest for key, code in codes.items()}
    if request.scheduler is None:
        held = {key: Held(code.files, versions(code, planner.facts)) for key, code in codes.items()}
        kept = plan.folder / CHECKPOINTS
        work = run_all(points, jobs, limits, planner.facts, watch.tick, kept, digests, say, held)
    else:
        from .cluster import run_on_cluster

        work = run_on_cluster(request.scheduler, points, limits, planner.facts, watch.tick, digests)
    try:
        yield work, watch
    finally:
        work.close()  # type: ignore[attr-defined]
        watch.close()


def _discard(folder: Path, key: str) -> None:
    """A training that has ended by itself needs no checkpoint any more."""
    from .checkpoint import discard

    discard(folder / CHECKPOINTS, key)


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does; where a thread of another program carries it out, that program decides."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _InterruptedError(KeyboardInterrupt):
    """Under `python -m`, CPython ends itself by SIGINT, not with our status, once a plain KeyboardInterrupt has passed
    through an exec of text (a namedtuple made by an import), handled or not. It does not do so for a derived class."""


def _interrupt(number: int, frame: Any) -> NoReturn:
    raise _InterruptedError


def _report(plan: Plan, request: Request) -> None:
    """The report of the folder, as `odernn report DIR` makes it, which is the command that it names."""
    write = import_module("odernn.reports.write")
    stored = plan.stored if _size(plan.folder) == plan.size else read(plan.folder / FILE)
    rows = list(stored.newest().values())
    title = ", ".join(sorted({row["experiment"] for row in rows}))
    commands = read_commands(plan.folder)
    again = shlex.join(["odernn", "report", str(plan.folder)])
    report = write.write_report(rows, plan.folder / "report", title, again, print, commands.found)
    for sentence in (*commands.torn, *report.problems):
        say(sentence)
    print(printable(f"Report: {report.index}"), flush=True)
