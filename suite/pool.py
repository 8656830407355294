"""Many runs, one process each, so that none can take another or its result with it.

The processes are forked from a server that has imported torch once and never touches a GPU: 20 to 30 ms a run instead
of 2 to 4 s. The parent alone gathers rows; a process that outlives its time, outgrows its memory or dies gets a row.
Past 200 lines because the two ends of one pipe, parent and process, are best read together.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .row import Point, Row, decode, encode

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

PRELOAD = [
    "torch",
    "torch._dynamo",  # the first optimiser imports it, which takes most of a short run
    "torchdiffeq",
    "scipy.integrate",
    "odernn.suite.run",
    "odernn.suite.learn",
    "odernn.solvers.solver",
    "odernn.solvers.cell",
]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
POLL = 0.1
"""Seconds between two looks at the clocks and the memory of the runs."""

GIB = 2**30


@dataclass(frozen=True)
class Limits:
    """What one run may take: seconds of wall time, and bytes of resident memory with its children. None: no limit."""

    seconds: float | None = None
    bytes: int | None = None


@dataclass
class _Running:
    """A process at work: its point, its clock, where its output goes, the most memory seen."""

    point: Point
    process: ForkServerProcess
    connection: Connection
    log: Path
    started: str
    clock: float = field(default_factory=time.monotonic)
    peak: int = 0

    def seconds(self) -> float:
        return time.monotonic() - self.clock


def warm_up() -> None:
    """Start the server and return at once; it imports torch meanwhile. A second call does nothing."""
    from multiprocessing import forkserver

    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)  # the server's libraries read them when they are imported
    # Ctrl-C is the parent's to handle: the server inherits that it is ignored. Only the main thread may say so.
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        forkserver.ensure_running()
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run_all(
    points: Iterable[Point],
    jobs: int = 1,
    limits: Limits = Limits(),
    facts: Mapping[str, Any] | None = None,
    tick: Callable[[int], None] = lambda running: None,
) -> Iterator[Row]:
    """Run every point, at most `jobs` at a time, and give the rows as they finish. Never raises for what a run does.

    facts: `environment.host()`. tick: called about ten times a second with the number of processes at work. Closing the
    generator, or an exception in the caller such as Ctrl-C, ends every process that is still at work.
    """
    if facts is None:
        from .environment import host

        facts = host()
    warm_up()
    waiting = iter(points)
    at_work: list[_Running] = []
    with tempfile.TemporaryDirectory(prefix="odernn-") as folder:
        try:
            number = 0
            while True:
                while len(at_work) < jobs and (point := next(waiting, None)) is not None:
                    number += 1
                    at_work.append(_start(point, facts, Path(folder) / str(number)))
                if not at_work:
                    return
                wait([one.connection for one in at_work], timeout=POLL)
                for one in list(at_work):
                    row = _look(one, limits, facts)
                    if row is not None:
                        at_work.remove(one)
                        yield row
                tick(len(at_work))
        finally:
            for one in at_work:
                _end(one)


def _start(point: Point, facts: Mapping[str, Any], log: Path) -> _Running:
    from .run import now

    context = multiprocessing.get_context("forkserver")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(point, facts, writer, str(log)), daemon=False)
    started = now()
    process.start()
    writer.close()  # so that the end of the process is the end of the pipe
    return _Running(point, process, reader, log, started)


def _look(one: _Running, limits: Limits, facts: Mapping[str, Any]) -> Row | None:
    """The row of a run that has ended, or is ended here because it passed a limit; None while it may go on."""
    if one.connection.poll():
        try:
            row = decode(one.connection.recv_bytes().decode())
        except (EOFError, OSError):
            one.process.join(5)
            return _lost(one, "failed", _death(one), facts)
        one.process.join(5)
        _end(one)
        return row
    size = _resident(one)
    one.peak = max(one.peak, size)
    if limits.bytes is not None and size > limits.bytes:
        reason = f"ended at {size / GIB:.2f} GiB of memory: at most {limits.bytes / GIB:.3g} GiB were allowed."
        return _lost(one, "memory", reason, facts)
    if limits.seconds is not None and one.seconds() > limits.seconds:
        return _lost(one, "timeout", f"ended after {limits.seconds:g} s, the time allowed.", facts)
    return None


def _lost(one: _Running, status: str, reason: str, facts: Mapping[str, Any]) -> Row:
    from .run import row_of

    _end(one)
    cost = {"seconds": one.seconds(), "peak_memory_mib": one.peak / 2**20}
    facts = {**facts, "gpu": None, "threads": 1}
    return row_of(one.point, status, reason, {"cost": cost}, facts, one.started)


def _death(one: _Running) -> str:
    """How a process ended that gave no row, with the last lines it printed."""
    code = one.process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        reason = f"the process was killed by {name}"
        if name == "SIGKILL":
            reason += " (the system does so when it runs out of memory)"
    else:
        reason = f"the process ended with exit status {code} before it gave a result"
    return "\n".join([f"{reason}.", *_last_words(one.log)])


def _last_words(log: Path) -> list[str]:
    """The last five lines that a run printed, at most 300 characters of each, files without their folders."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [re.sub(r'(?<=File ")[^"]*/', "", line)[:300] for line in text.strip().splitlines()[-5:]]


def _resident(one: _Running) -> int:
    """Resident bytes of a run's process and of its children."""
    import psutil

    try:
        process = psutil.Process(one.process.pid)
        total = 0
        for each in [process, *process.children(recursive=True)]:
            try:
                total += each.memory_info().rss
            except psutil.Error:
                continue
        return total
    except psutil.Error:
        return 0


def _end(one: _Running) -> None:
    """Kill what is left of a run and of the processes it started, and free what it held."""
    assert one.process.pid is not None
    with suppress(OSError):  # it may be gone
        os.killpg(one.process.pid, signal.SIGKILL)
    if one.process.is_alive():  # it had not come to lead its group
        one.process.kill()
        one.process.join(5)
    one.connection.close()


# -------------------------------------------------------------------------------------------------- in the new process


def _work(point: Point, facts: Mapping[str, Any], connection: Connection, log: str) -> None:
    os.setsid()  # a group of its own, which ends with it: Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(target, 1)  # what a run prints must not cross the parent's progress; it is kept for a reason of death
    os.dup2(target, 2)
    from .run import run

    connection.send_bytes(encode(run(point, facts)).encode())
    connection.close()


def _end_with_parent() -> None:
    """A run must not outlive the command that asked for it, even one killed outright."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)
