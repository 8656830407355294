"""Many runs, one process each, so that none can take another or its result with it.

As many supervisors as runs at once (`suite.supervisor`) are forked from a server that has imported torch once and never
touches a GPU, and each forks one process after another for its runs: tens of milliseconds a run instead of 2 to 4 s. A
GPU has one warm process for all its runs, as each new one would wait seconds for it. Supervisors enforce the limits and
leave nothing behind; the driver here hands out points, gathers rows, and makes the row of a run that gave none.
Past 200 lines because starting, hearing and ending a supervisor are best read together.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .row import FAILURES, Point, Row, decode, identity
from .supervisor import GIB, POLL, Limits, death, supervise
from .worker import Held, Order

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

__all__ = ["GIB", "Limits", "run_all", "warm_up"]

PRELOAD = [
    "torch",
    "torch._dynamo",  # the first optimiser imports it, which takes most of a short run
    "torchdiffeq",
    "scipy.integrate",
    "psutil",
    "odernn.suite.run",
    "odernn.suite.learn",
    "odernn.suite.supervisor",
    "odernn.solvers.solver",
    "odernn.solvers.cell",
]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
WARM = ("cuda", "mps")
"""Devices with one worker for all their points."""

SOCKET_FOLDER = 70
"""Bytes that the path of a folder may have for a socket in it; the system allows 108 for the whole."""

ATTEMPTS = 3
"""To start a process; its server may be killed at that moment."""

NO_LIMITS = Limits()

GRACE = 15.0
"""Seconds after which a supervisor that has not enforced a limit is ended itself."""

_starting = threading.Lock()


@dataclass
class _Post:
    """A supervisor as its driver sees it, and the run that it has in hand, if any."""

    process: ForkServerProcess
    connection: Connection
    device: str
    worker: int | None = None
    order: Order | None = None
    started: str = ""
    clock: float = field(default_factory=time.monotonic)
    lost: bool = False

    def seconds(self) -> float:
        return time.monotonic() - self.clock


def warm_up() -> None:
    """Start the server and return at once; it imports torch meanwhile. Where it is there already, nothing happens."""
    from multiprocessing import forkserver, resource_tracker

    with _starting:
        multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        place = tempfile.tempdir
        if len(os.fsencode(_temporary())) > SOCKET_FOLDER and os.path.isdir("/tmp"):
            tempfile.tempdir = "/tmp"  # the server's socket cannot have a longer path
        resource_tracker.ensure_running()  # the server would start it, and it lets SIGINT through again
        # Ctrl-C is the driver's to handle: the server and its children never see it, and the driver after this
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            os.environ.update(ONE_THREAD)  # the server's libraries read them when they are imported
            forkserver.ensure_running()
        finally:
            tempfile.tempdir = place
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            signal.pthread_sigmask(signal.SIG_SETMASK, held)


def run_all(
    points: Iterable[Point],
    jobs: int = 1,
    limits: Limits = NO_LIMITS,
    facts: Mapping[str, Any] | None = None,
    tick: Callable[[int], None] = lambda running: None,
    checkpoints: Path | None = None,
    code: Mapping[str, str] | None = None,
    say: Callable[[str], None] | None = None,
    held: Mapping[str, Held] | None = None,
    _warm: Collection[str] = WARM,
) -> Iterator[Row]:
    """Run every point, at most `jobs` at a time, one a GPU, and give the rows as they finish. Never raises for what a
    run does.

    facts: `environment.host()`. tick: called about ten times a second with the number of runs at work. checkpoints:
    the folder where long trainings are kept and taken up again, a folder a row id, for the caller to discard. code: by
    row id, the digest of the code that its run calls; a row has it as environment.code. say: is given what runs have to
    say of their checkpoints, one sentence each; a line to stderr where absent. held: by row id, what checkpoints rest
    on beside that digest. Closing the generator, or an exception
    in the caller such as Ctrl-C, ends every process that is still at work.
    """
    if facts is None:
        from .environment import host

        facts = host()
    kept = None if checkpoints is None else str(checkpoints.absolute())
    speak = say or (lambda sentence: print(f"odernn: {sentence}", file=sys.stderr, flush=True))
    waiting: dict[str, deque[tuple[int, Order]]] = {}
    for number, point in enumerate(points):
        digest = (code or {}).get(identity(point)) if code else None
        own = facts if digest is None else {**facts, "code": digest}
        device = point["device"] if point["device"] in _warm else ""
        basis = held.get(identity(point), Held()) if held else Held()
        waiting.setdefault(device, deque()).append((number, Order(point, own, digest or "", kept, basis)))
    posts: list[_Post] = []
    folder = _folder()
    try:
        count = 0
        while True:
            while device := _next(waiting, posts, jobs):
                order = waiting[device[0]].popleft()[1]
                count += 1
                post = next((one for one in posts if one.order is None and one.device == device[0]), None)
                try:
                    if post is None:
                        post = _start(device[0], limits, folder / str(count))
                        posts.append(post)
                    _hand(post, order)
                except OSError as error:
                    if post is not None:
                        _end([post])
                        posts.remove(post)
                    yield _row(order, "failed", f"no process could be started for it: {error}.", {}, "")
            busy = [one for one in posts if one.order is not None]
            if not busy:
                return
            wait([one.connection for one in busy], timeout=POLL)
            for post in busy:
                row = _hear(post, limits, speak)
                if row is not None:
                    # what harmed a run may harm the next one in its worker
                    if post.lost or (post.device and row["status"] in FAILURES):
                        _end([post])
                        posts.remove(post)
                    yield row
            tick(sum(one.order is not None for one in posts))
    finally:
        _end(posts)
        shutil.rmtree(folder, ignore_errors=True)


def _next(waiting: Mapping[str, deque[tuple[int, Order]]], posts: list[_Post], jobs: int) -> tuple[str] | None:
    """The device ('': none of its own) whose next point is first in line and can start now."""
    busy = [one.device for one in posts if one.order is not None]
    if len(busy) >= jobs:
        return None
    free = [(queue[0][0], device) for device, queue in waiting.items() if queue and not (device and device in busy)]
    return (min(free)[1],) if free else None


def _temporary() -> str:
    """The folder for temporary files; where there is none at all, the null device, in which none can be made."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return os.devnull


def _folder() -> Path:
    """Where the temporary files of the runs are to be; made by their supervisors."""
    return Path(_temporary()) / f"odernn-{secrets.token_hex(8)}"


def _start(device: str, limits: Limits, folder: Path) -> _Post:
    """Raises `OSError` where no process can be started."""
    context = multiprocessing.get_context("forkserver")
    for attempt in range(ATTEMPTS):
        warm_up()
        ours, theirs = context.Pipe()
        try:
            process = context.Process(target=supervise, args=(theirs, limits, bool(device), str(folder)))
            process.start()
            return _Post(process, ours, device)
        except (OSError, EOFError) as error:  # the server was killed
            ours.close()
            if attempt == ATTEMPTS - 1:
                raise OSError(str(error) or type(error).__name__) from error
        finally:
            theirs.close()  # so that the end of the process is the end of the connection
    raise AssertionError


def _hand(post: _Post, order: Order) -> None:
    from .run import now

    post.order, post.started, post.clock = order, now(), time.monotonic()
    with suppress(BrokenPipeError, ConnectionResetError):  # it is gone: then it is heard to be
        post.connection.send(order)


def _hear(post: _Post, limits: Limits, say: Callable[[str], None]) -> Row | None:
    """The row of a run that has ended; None while it goes on."""
    order = post.order
    assert order is not None
    try:
        while post.connection.poll():
            message = post.connection.recv_bytes()
            if message[:1] == b"p":
                post.worker = int(message[1:])
                continue
            answer = json.loads(message[1:])
            for sentence in answer["notes"]:
                say(sentence)
            post.order = None
            if answer["status"] != "row":
                return _row(order, answer["status"], answer["reason"], answer["cost"], post.started)
            return _received(order, post.connection.recv_bytes()[1:], post)
    except (EOFError, OSError):
        post.order, post.lost = None, True
        post.process.join(1)
        reason = death(post.process.exitcode, "the process that watched over the run")
        return _row(order, "failed", reason, {"seconds": post.seconds()}, post.started)
    if limits.seconds is not None and post.seconds() > limits.seconds + GRACE:
        post.order, post.lost = None, True
        reason = f"ended after {post.seconds():.0f} s: {limits.seconds:g} s were allowed."
        return _row(order, "timeout", reason, {"seconds": post.seconds()}, post.started)
    return None


def _received(order: Order, text: bytes, post: _Post) -> Row:
    try:
        row = decode(text.decode())
        if row["id"] == identity(order.point):
            return row
        reason = f"the run gave the row of another point, {row['id']!r}."
    except (ValueError, KeyError) as error:
        reason = f"the run gave no row, but {len(text)} bytes: {error}."
    return _row(order, "failed", reason, {"seconds": post.seconds()}, post.started)


def _row(order: Order, status: str, reason: str, cost: Mapping[str, float], started: str) -> Row:
    """The row of a run that gave none."""
    from .run import now, row_of

    facts = {**order.facts, "gpu": None, "threads": 1}
    cost = {"seconds": 0.0, "peak_memory_mib": 0.0, **cost}
    return row_of(order.point, status, reason, {"cost": cost}, facts, started or now())


def _end(posts: Iterable[_Post]) -> None:
    """Have the supervisors end their runs and themselves; what does not is killed."""
    for post in posts:
        post.connection.close()  # that is what tells them
    for post in posts:
        post.process.join(GRACE)
        if post.process.is_alive():
            post.process.kill()
            post.process.join(1)
        if post.worker is not None and post.process.exitcode != 0:  # its supervisor did not end it
            with suppress(OSError):
                os.killpg(post.worker, signal.SIGKILL)
