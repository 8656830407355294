"""Checks in processes of their own: whatever a plugin does to its process is a verdict, and the next name is checked.

A process comes from the fork server of the runs, works offline in an empty folder, sends each verdict as it is found,
and is ended with all its children when it is done, dies, or outlives its time. What an audit hook of Python does not
see (a child process that is another program, compiled code that calls the system itself) is not seen here either.
Past 200 lines because the two ends of one pipe are best read together.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checks import examined, kinds_of
from .errors import PLUGIN_ERRORS, UsageError
from .loading import is_file
from .pool import warm_up
from .printable import printable
from .verdict import Verdict

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

DETAIL = 600
"""Characters of a verdict's detail."""

OUTPUT = 64 * 2**20
"""Bytes that a check may write to one file, what it prints included."""

STARTUP = 60.0
"""Seconds more that a process may take to begin."""

POLL = 0.05
"""Seconds between two looks at the clocks."""

STARTING = "can be examined"
"""The rule that a plugin breaks which ends its process before any other rule is examined."""

OFFLINE, TIDY = "needs no network", "leaves the working folder as it was"

NETWORK = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
ADDRESSED = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg")
"""Audit events of use of a network; the second are so where the address is one, and no local path."""


@dataclass
class _Running:
    """A process at work on one name: what it has said so far, and the rule that it is at."""

    name: str
    process: ForkServerProcess
    connection: Connection
    log: Path
    clock: float = field(default_factory=time.monotonic)
    verdicts: list[Verdict] = field(default_factory=list)
    rule: str = STARTING
    begun: bool = False
    done: bool = False


def check_isolated(names: Sequence[str], timeout: float = 300.0, jobs: int = 1) -> Iterator[tuple[str, list[Verdict]]]:
    """Each name with its verdicts, in the order given; `jobs` at a time, each in a process of its own.

    names: of the catalogue, or paths of files. timeout: seconds a name. Closing the generator ends every process.
    Raises `UsageError` before anything is examined: for a name that is unknown or has no rules, a file that is not
    there, a time-out or a number of jobs that is none.
    """
    if not timeout > 0:
        raise UsageError(f"--timeout is {timeout:g}: expected a number above 0.")
    if jobs < 1:
        raise UsageError(f"--jobs is {jobs}: expected a number above 0.")
    for name in names:
        _examinable(name)
    warm_up()
    waiting = list(enumerate(names))
    at_work: dict[int, _Running] = {}
    finished: dict[int, _Running] = {}
    given = 0
    with tempfile.TemporaryDirectory(prefix="odernn-", ignore_cleanup_errors=True) as folder:
        try:
            while given < len(names):
                while waiting and len(at_work) < jobs:
                    number, name = waiting.pop(0)
                    at_work[number] = _start(name, Path(folder) / str(number))
                wait([one.connection for one in at_work.values() if not one.connection.closed], timeout=POLL)
                for number, one in list(at_work.items()):
                    if _look(one, timeout):
                        finished[number] = at_work.pop(number)
                while given in finished:
                    one = finished.pop(given)
                    given += 1
                    yield one.name, one.verdicts
        finally:
            for one in at_work.values():
                _end(one)


def _examinable(name: str) -> None:
    """Raises `UsageError` where a name cannot be examined, without carrying anything of it out."""
    if is_file(name):
        if not Path(name).is_file():
            raise UsageError(f"file {name!r}: there is no such file.")
    else:
        kinds_of(name)


def _start(name: str, folder: Path) -> _Running:
    context = multiprocessing.get_context("forkserver")
    reader, writer = context.Pipe(duplex=False)
    empty = folder / "here"
    empty.mkdir(parents=True)
    log = folder / "log"
    place = os.path.abspath(name) if is_file(name) else name
    process = context.Process(target=_work, args=(place, writer, str(empty), str(log)), daemon=False)
    process.start()
    writer.close()  # so that the end of the process is the end of the pipe
    return _Running(name, process, reader, log)


def _look(one: _Running, timeout: float) -> bool:
    """Hear what the process has said; whether it has ended, or is ended here because its time is over."""
    ended = not one.process.is_alive()  # asked first: what it said before it died is still in the pipe
    with suppress(EOFError, OSError):
        while one.connection.poll():
            _hear(one, one.connection.recv_bytes())
    if one.done or ended:
        if not one.done:
            one.verdicts.append(Verdict(one.rule, False, _death(one)))
    elif time.monotonic() - one.clock > timeout + (0 if one.begun else STARTUP):
        one.verdicts.append(Verdict(one.rule, False, f"not done after {timeout:g} s, the time allowed"))
    else:
        return False
    _end(one)
    return True


def _hear(one: _Running, message: bytes) -> None:
    said: dict[str, Any] = json.loads(message)
    if not one.begun:  # its time begins here: what the fork server has to import first is not its own
        one.begun, one.clock = True, time.monotonic()
    if "rule" not in said:
        one.done = True
    elif "ok" in said:
        one.verdicts.append(Verdict(said["rule"], said["ok"], said["detail"]))
    else:
        one.rule = said["rule"]


def _death(one: _Running) -> str:
    code = one.process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        reason = f"its process was killed by {name}"
    else:
        reason = f"it ended its process with exit status {code}"
    try:
        lines = one.log.read_bytes()[-2000:].decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return _short(reason + (f", and last said: {lines[-1]}" if lines else ""))


def _end(one: _Running) -> None:
    """Kill what is left of a check and of the processes that it started, and free what it held."""
    assert one.process.pid is not None
    with suppress(OSError):  # it may be gone
        os.killpg(one.process.pid, signal.SIGKILL)
    if one.process.is_alive():  # it had not come to lead its group
        one.process.kill()
    one.process.join(5)
    one.connection.close()


def _short(text: str) -> str:
    """One line that a terminal can show."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= DETAIL else f"{line[: DETAIL - 3]}..."


# -------------------------------------------------------------------------------------------------- in the new process


def _work(name: str, connection: Connection, folder: str, log: str) -> None:
    os.setsid()  # a group of its own, which ends with it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(target, 1)
    os.dup2(target, 2)
    _bound_files()
    os.chdir(folder)

    def say(**said: Any) -> None:
        connection.send_bytes(json.dumps(said).encode(errors="replace"))

    say(rule=STARTING)
    network = _go_offline()
    found: list[Verdict] = []
    try:
        for verdict in examined(name, lambda rule: say(rule=rule)):
            found.append(verdict)
            say(rule=verdict.rule, ok=verdict.ok, detail=_short(verdict.detail))
    except PLUGIN_ERRORS as error:  # what is not examined in a rule: the plugin's own metaclass, say
        said = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        say(rule="imports", ok=False, detail=_short(said))
    say(rule=OFFLINE, ok=not network, detail=_short(f"it asked for {', '.join(network)}" if network else ""))
    left = sorted(os.listdir(folder))
    say(rule=TIDY, ok=not left, detail=_short(f"it left {', '.join(map(repr, left))}" if left else ""))
    say(end=True)
    connection.close()
    sys.stdout.flush()
    os._exit(0)  # whatever the plugin still has to do at the end of the process is not of interest


def _bound_files() -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT if hard < 0 else min(OUTPUT, hard), hard))


def _go_offline() -> list[str]:
    """Refuse the network from now on; the list gets what was asked for. It cannot be undone in this process."""
    asked: list[str] = []

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if not event.startswith("socket."):
            return
        target = arguments[0] if event in NETWORK else arguments[1] if event in ADDRESSED else None
        if event in NETWORK or isinstance(target, tuple):
            asked.append(f"{event.removeprefix('socket.')} {target!r}")
            raise PermissionError("the network is refused during a check")

    sys.addaudithook(refuse)
    return asked


def _end_with_parent() -> None:
    """A check must not outlive the command that asked for it, even one killed outright."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)
