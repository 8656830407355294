"""The process that stands between the driver and its runs: it watches one worker and cleans up after it.

A run may exit, hang with Python's lock held, close every descriptor, flood its output or leave processes of its own
behind. Nothing of that reaches its supervisor, which runs no code of a task: it alone holds the connection to the
driver, reads the run's output through a pipe and keeps the last of it, measures time and memory, takes in (on Linux)
every process that the run's own have abandoned, and ends them all with it, also when the driver is gone. Past 200 lines
because whatever can end a run is watched for in one loop.
"""

from __future__ import annotations

import gc
import json
import os
import re
import secrets
import shutil
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

from .worker import SUBREAPER, Order, become_worker, prctl

POLL = 0.1
"""Seconds between two looks at the clock and the memory of a run."""

GIB, MIB = 2**30, 2**20
OUTPUT_LIMIT = 64 * MIB
"""Bytes that one run may print."""

RESULT_LIMIT = 1 * GIB
"""Bytes of one row as text; more is not a row but a mistake."""

TAIL = 2**16
"""Bytes of its output that are kept of a run."""

LAST_LINES = 5
"""Lines of its output that the reason of a lost run ends with."""

PATIENCE = 10.0
"""Seconds that ended processes have to be gone."""


@dataclass(frozen=True)
class Limits:
    """What one run may take: seconds of wall time, and bytes of resident memory with its children. None: no limit."""

    seconds: float | None = None
    bytes: int | None = None


def supervise(connection: Connection, limits: Limits, warm: bool, folder: str) -> NoReturn:
    """Carry out the orders that come over the connection, one after another, and answer each; then end.

    It says "p" and the number of a new worker's process, then "a" and an answer in JSON, {"status", "reason", "cost",
    "notes"}, and where that status is "row" also "r" and the row as the run encoded it. A worker does one order and
    ends; if `warm` it is kept for the next one, unless it gave no row. folder: made here for the temporary files of
    each worker, and removed.
    """
    os.setsid()  # out of the terminal's reach: Ctrl-C is the driver's to handle
    prctl(SUBREAPER, 1)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    worker: _Worker | None = None
    try:
        gc.freeze()  # what the workers inherit is no garbage: to look through it costs each of them a second
        bell, ringer = os.pipe()  # rings when a child ends, so that waiting needs no clock
        os.set_blocking(bell, False)
        os.set_blocking(ringer, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(ringer, warn_on_full_buffer=False)
        while True:
            order: Order = connection.recv()
            if worker is None:
                with suppress(OSError):  # a full disk: the run does without
                    os.makedirs(folder, mode=0o700, exist_ok=True)
                worker = _Worker.start(connection, bell, ringer, folder)
                connection.send_bytes(b"p%d" % worker.pid)
            answer, row = worker.carry_out(order, connection, limits)
            used = worker.said(b"used")
            if not warm or answer["status"] != "row":
                worker.end()
                worker = None
                shutil.rmtree(folder, ignore_errors=True)
            connection.send_bytes(b"a" + json.dumps(answer).encode())
            if row is not None:
                connection.send_bytes(b"r" + row)
            if worker is None:
                _learn_modules(used)
    except (EOFError, OSError):
        pass  # the driver is gone, or wants no more
    except BaseException:
        traceback.print_exc()
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if worker is not None:
            worker.end()
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            os.rmdir(Path(folder).parent)  # the last one of a driver that was killed closes the door
        os._exit(0)


def _learn_modules(used: list[str]) -> None:
    """Import modules of ours that a run had to import, so that the next one finds them there."""
    for name in " ".join(used).split():
        if re.fullmatch(r"odernn(\.\w+)+", name) and name not in sys.modules:
            with suppress(Exception):
                import_module(name)
    if used:
        gc.freeze()


def _leave(number: int, frame: Any) -> NoReturn:
    raise EOFError


@dataclass
class _Worker:
    """The watched process as its supervisor sees it: pipes for orders, results, output; what has come so far."""

    pid: int
    orders: Connection
    results: int
    output: int
    bell: int
    token: bytes
    code: int | None = None
    text: bytearray = field(default_factory=bytearray)
    tail: bytes = b""
    printed: int = 0
    peak: int = 0
    open: set[int] = field(default_factory=set)
    ended: bool = False

    @classmethod
    def start(cls, connection: Connection, bell: int, ringer: int, folder: str) -> _Worker:
        results, to_results = os.pipe()
        output, to_output = os.pipe()
        orders, to_orders = os.pipe()
        token = secrets.token_hex(8).encode()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            connection.close()
            become_worker(parent, Connection(orders, writable=False), to_results, to_output, token, folder)
        for one in (to_results, to_output, orders):
            os.close(one)
        for one in (results, output):
            os.set_blocking(one, False)
        return cls(pid, Connection(to_orders, readable=False), results, output, bell, token, open={results, output})

    def carry_out(self, order: Order, connection: Connection, limits: Limits) -> tuple[dict[str, Any], bytes | None]:
        """Have one run done and watch over it; the answer to the driver. Raises `EOFError` once the driver is gone."""
        self.text.clear()
        self.tail, self.printed, self.peak = b"", 0, 0
        clock = time.monotonic()
        next_look = clock + POLL
        with suppress(OSError):  # a worker that is dead already is seen below
            self.orders.send(order)
        while True:
            deadlines = [clock + limits.seconds] if limits.seconds is not None else []
            deadlines += [next_look] if limits.bytes is not None else []
            timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
            if connection in wait([connection, self.bell, *self.open], timeout):
                raise EOFError
            ended = self._reap()
            self._listen()
            seconds = time.monotonic() - clock
            if (found := self._row()) is not None:
                return {"status": "row", "reason": "", "cost": {}, "notes": self.said(b"note")}, found
            if ended:
                return self._lost("failed", death(self.code), seconds)
            if self.printed > OUTPUT_LIMIT or len(self.text) > RESULT_LIMIT:
                what = f"it printed more than {OUTPUT_LIMIT // MIB} MiB"
                what = what if self.printed > OUTPUT_LIMIT else f"its row is longer than {RESULT_LIMIT // MIB} MiB"
                return self._lost("failed", f"ended because {what}.", seconds)
            if limits.bytes is not None and time.monotonic() >= next_look:
                before = time.monotonic()
                size = self._resident()
                # a look takes longer the more processes the machine has: at most a twentieth of a core goes into it
                next_look = time.monotonic() + max(POLL, 20 * (time.monotonic() - before))
                if size > limits.bytes:
                    allowed = f"at most {limits.bytes / GIB:.3g} GiB were allowed."
                    return self._lost("memory", f"ended at {size / GIB:.2f} GiB of memory: {allowed}", seconds)
            if limits.seconds is not None and seconds > limits.seconds:
                return self._lost("timeout", f"ended after {limits.seconds:g} s, the time allowed.", seconds)

    def end(self) -> None:
        """Kill the worker and whatever it started, wait until all are gone, and close its pipes."""
        if self.ended:
            return
        self.ended = True
        deadline = time.monotonic() + PATIENCE
        pause = 0.0005
        while time.monotonic() < deadline:
            if self.code is None:
                for kill in (os.killpg, os.kill):  # at first it does not lead its group yet
                    with suppress(OSError):
                        kill(self.pid, signal.SIGKILL)
            ended = self._reap()
            if not self._has_children():
                break
            if ended:  # what is left had been abandoned, or is a child of what had been
                for one in _descendants():
                    with suppress(Exception):
                        one.kill()
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        self.orders.close()
        for one in (self.results, self.output):
            os.close(one)

    def _reap(self) -> bool:
        """Take note of children that have ended; whether the worker is among them, now or before."""
        with suppress(OSError):
            os.read(self.bell, 4096)
        with suppress(ChildProcessError):
            while (found := os.wait4(-1, os.WNOHANG))[0]:
                self.peak = max(self.peak, found[2].ru_maxrss * (1 if sys.platform == "darwin" else 1024))
                if found[0] == self.pid:
                    self.code = os.waitstatus_to_exitcode(found[1])
        return self.code is not None

    @staticmethod
    def _has_children() -> bool:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _listen(self) -> None:
        """Read what the pipes hold, a few MiB at most, so that a flood cannot keep us here."""
        for one in list(self.open):
            for _ in range(64):
                try:
                    data = os.read(one, 2**16)
                except BlockingIOError:
                    break
                if not data:
                    self.open.discard(one)
                    break
                if one == self.results:
                    self.text += data
                else:
                    self.printed += len(data)
                    self.tail = (self.tail + data)[-TAIL:]

    def _row(self) -> bytes | None:
        """The row, once all of its line is there. Only lines that carry the token are the run's."""
        mark = self.token + b"row "
        start = self.text.find(mark)
        end = self.text.find(b"\n", start) if start >= 0 else -1
        return None if end < 0 else bytes(self.text[start + len(mark) : end])

    def said(self, kind: bytes) -> list[str]:
        """What its whole lines of a kind say."""
        mark = self.token + kind + b" "
        lines = bytes(self.text).split(b"\n")[:-1]
        return [line.removeprefix(mark).decode(errors="replace") for line in lines if line.startswith(mark)]

    def _lost(self, status: str, reason: str, seconds: float) -> tuple[dict[str, Any], None]:
        """The answer for a run without a row: end it, and say what it printed last and what it cost."""
        words = _last_words(self.tail)
        self.end()
        cost = {"seconds": seconds, "peak_memory_mib": self.peak / MIB}
        return {
            "status": status,
            "reason": "\n".join([reason, *words]),
            "cost": cost,
            "notes": self.said(b"note"),
        }, None

    def _resident(self) -> int:
        """Resident bytes of the worker and of everything that it started, what they share counted once."""
        started = _descendants()
        total = 0
        for one in started:
            with suppress(Exception):  # it may have ended since
                # to tell what is shared takes a look at every page, which one process alone is spared
                total += one.memory_info().rss if len(started) == 1 else _proportional(one)
        self.peak = max(self.peak, total)
        return total


def _descendants() -> list[Any]:
    import psutil

    try:
        return list(psutil.Process().children(recursive=True))
    except psutil.Error:
        return []


def _proportional(process: Any) -> int:
    """Resident bytes of a process, each page shared with others divided by how many have it (Linux; else whole)."""
    import psutil

    if sys.platform == "linux":
        with suppress(psutil.AccessDenied):
            return int(process.memory_full_info().pss)
    return int(process.memory_info().rss)


def death(code: int | None, what: str = "the process") -> str:
    """How a process ended that gave no row."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        reason = f"{what} was killed by {name}"
        if name == "SIGKILL":
            reason += " (the system does so when it runs out of memory)"
    else:
        reason = f"{what} ended with exit status {code} before it gave a result"
    return f"{reason}."


def _last_words(tail: bytes) -> list[str]:
    """The last lines that a run printed, at most 300 characters of each, files without their folders; of what a crash
    in compiled code leaves, the first lines, which say where."""
    lines = tail.decode(errors="replace").strip().splitlines()
    crashes = [i for i, line in enumerate(lines) if line.startswith("Fatal Python error: ")]
    if crashes and lines[-1].startswith("Extension modules: "):
        lines = [line for line in lines[crashes[-1] :] if line][:LAST_LINES]
    lines = lines[-LAST_LINES:]
    return [re.sub(r'(?<=File ")[^"]*/', "", line)[:300] for line in lines]
