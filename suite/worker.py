"""The process that carries out runs: one, or one after another, under its supervisor."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from .row import Point, encode, identity
from .source import Stamp, intact

SUBREAPER, DEATH_SIGNAL = 36, 1
"""Of prctl(2): PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG."""


@dataclass(frozen=True)
class Held:
    """What checkpoints rest on: the files of the code as its digest found them, versions of all that the run uses."""

    files: Mapping[str, Stamp] = field(default_factory=dict)
    versions: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """One run: its point, facts of the host for its row, the digest of its code, where its checkpoints are kept, and
    what these rest on."""

    point: Point
    facts: Mapping[str, Any]
    code: str = ""
    checkpoints: str | None = None
    held: Held = field(default_factory=Held)


def prctl(option: int, value: int) -> None:
    """Of Linux, for the calling process; nothing elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def become_worker(parent: int, orders: Connection, results: int, output: int, token: bytes, folder: str) -> NoReturn:
    """Carry out orders until there are no more. Never returns: what follows in the caller is the supervisor's.

    parent: the supervisor. results, output: descriptors of its pipes. token: begins each line of results, which is
    "row" and a row, "note" and a sentence, or "used" and modules of ours that a run has imported. folder: for temporary
    files.
    """
    code = 1
    try:
        _settle(parent, output, folder)
        _close_all_but({orders.fileno(), results})
        where = os.fstat(results)
        me = os.getpid()

        def send(kind: bytes, text: str) -> None:
            if os.getpid() != me:
                os._exit(0)  # a copy that the run made of itself by a fork: one row is enough
            now = os.fstat(results)
            if (now.st_dev, now.st_ino) != (where.st_dev, where.st_ino):
                raise OSError("the run has closed the descriptor of its result")
            data = memoryview(token + kind + b" " + text.encode() + b"\n")
            while data:
                data = data[os.write(results, data) :]

        with suppress(EOFError):
            while True:
                _carry_out(orders.recv(), send)
        code = 0
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            with suppress(Exception):
                print(end.code, file=sys.stderr)
        code = (end.code & 255) if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _settle(parent: int, output: int, folder: str) -> None:
    """A session of its own, the end of its supervisor as its own end, its output into the pipe, a folder to itself."""
    os.setsid()
    prctl(DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the terminal's does not come here: it is the run's
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    with suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # what os._exit leaves in it is lost
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")  # where the machine runs out of memory, a run is to go and not its driver
    with suppress(OSError, ValueError):
        faulthandler.enable(2)  # a crash in compiled code says where
    if os.path.isdir(folder):
        os.environ["TMPDIR"] = folder
        tempfile.tempdir = None


def _close_all_but(kept: set[int]) -> None:
    """Close what was inherited: a run must not write into a pipe of its supervisor or of the server of forks."""
    lowest = 3
    for one in sorted(kept):
        os.closerange(lowest, one)
        lowest = one + 1
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
    # a run that uses multiprocessing itself starts a server and a tracker of its own
    server, tracker = forkserver._forkserver, resource_tracker._resource_tracker
    for name in ("_forkserver_address", "_forkserver_alive_fd", "_forkserver_pid"):
        vars(server)[name] = None
    for name in ("_fd", "_pid"):
        vars(tracker)[name] = None


def _carry_out(order: Order, send: Any) -> None:
    from .checkpoint import Checkpoints
    from .run import run

    before, place = dict(os.environ), os.getcwd()
    with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak of memory starts anew for a worker's next run
    kept = Checkpoints(
        None if order.checkpoints is None else Path(order.checkpoints),
        run=identity(order.point),
        code=order.code,
        say=lambda sentence: send(b"note", sentence.replace("\n", " ")),
        versions=order.held.versions,
        intact=lambda: intact(order.held.files),
    )
    known = set(sys.modules)
    row = run(order.point, order.facts, kept)
    if used := [name for name in sys.modules if name.startswith("odernn.") and name not in known]:
        send(b"used", " ".join(used))
    send(b"row", encode(row))
    _tidy(before, place)


def _tidy(environment: Mapping[str, str], place: str) -> None:
    """Put back what a run may have left changed, for the next one in this process."""
    if dict(os.environ) != environment:
        os.environ.clear()
        os.environ.update(environment)
    with suppress(OSError):
        os.chdir(place)
    if "torch" in sys.modules:
        import torch

        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
