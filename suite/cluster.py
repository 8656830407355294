"""The runs of `odernn run --scheduler ADDRESS`: tasks of a Dask cluster, each a process of its own as on one machine.

The driver hands out as many points as the workers have threads, so that ten thousand of them do not sit in the
scheduler, and is the only one that writes rows. A worker carries a point out through `suite.pool`, with its limits and
its isolation; before that it says by which code and packages it would, and a driver of others refuses it. Past 200
lines because the driver's end of a task and the worker's are each the other's specification.
"""

from __future__ import annotations

import ipaddress
import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from .environment import ALWAYS
from .errors import MissingPackage, UsageError
from .printable import printable
from .row import Point, Row, decode, encode, identity
from .supervisor import POLL, Limits

if TYPE_CHECKING:
    from .fingerprint import Fingerprints
    from .source import Stamp

Client: TypeAlias = Any
Future: TypeAlias = Any
"""Those of distributed, most of whose functions have no types."""

CONNECT = 15.0
"""Seconds in which a scheduler answers."""

RETRIES = 3
"""Times that a point is given to another worker when its own is lost."""

ALONE = 60.0
"""Seconds without any worker after which the run ends."""

LOOK = 2.0
"""Seconds between two looks at how many threads the workers have."""


ADDRESS = re.compile(
    r"((tcp|tls|ws|wss)://)?(\[(?P<ipv6>[0-9A-Fa-f:.]+(%\w+)?)\]|[\w-]{1,63}(\.[\w-]{1,63})*\.?):(?P<port>[0-9]{1,5})",
    re.ASCII,
)
"""[tcp|tls|ws|wss://]HOST:PORT, an IPv6 host in brackets."""


def check_address(address: str) -> None:
    """Whether it can be the address of a scheduler; nobody is asked. A client that was given anything else would try
    for half a minute, and end in a traceback.

    Raises `UsageError`, also for an encrypted connection for which Dask's configuration names no certificates;
    `MissingPackage` without distributed.
    """
    found, shown = ADDRESS.fullmatch(address), printable(repr(address))
    if found is None or not 0 < int(found["port"]) < 2**16 or not _is_ipv6(found["ipv6"] or "::"):
        raise UsageError(f"--scheduler {shown}: expected HOST:PORT or tcp://HOST:PORT (or tls, ws, wss).")
    try:
        from distributed.security import Security
    except ImportError:
        raise MissingPackage("a cluster needs the package distributed: pip install 'odernn[cluster]'.") from None
    if address.startswith(("tls:", "wss:")):
        security: Any = Security
        try:
            context = security().get_connection_args("client").get("ssl_context")
        except (OSError, ValueError, TypeError) as error:  # files that are not there, or hold no certificate
            raise UsageError(f"--scheduler {shown}: its certificates cannot be read: {error}.") from None
        if context is None:
            where = "distributed.comm.tls in Dask's configuration"
            raise UsageError(f"--scheduler {shown}: an encrypted connection needs certificates: expected {where}.")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def run_on_cluster(
    address: str,
    points: Sequence[Point],
    limits: Limits,
    facts: Mapping[str, Any],
    tick: Callable[[int], None] = lambda running: None,
    code: Mapping[str, str] | None = None,
) -> Iterator[Row]:
    """Run every point on the cluster of a scheduler ("tcp://host:8786") and give the rows as they finish.

    facts: `environment.host()` of the driver. tick: called about ten times a second with the number of points handed
    out. code: by row id, the digest of the code that its run calls; found here where absent. A point whose worker is
    lost is given to another one, `RETRIES` times, and is a failed row after that. Closing the generator, or an
    exception in the caller such as Ctrl-C, ends every run; so does the end of the driver itself.

    Raises `UsageError` where no scheduler answers, it has no workers, a worker has other code, packages or Python than
    the driver, or the scheduler or all workers are lost later on; `MissingPackage` without distributed.
    """
    try:
        import distributed
    except ImportError:
        raise MissingPackage("a cluster needs the package distributed: pip install 'odernn[cluster]'.") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it has to say of lost workers is told in rows
    expected = _expected(points, facts, code)
    shown = printable(address)
    try:
        connect: Any = distributed.Client
        client = connect(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        said = printable(str(error).partition("\n")[0])
        raise UsageError(f"no Dask scheduler answers at {shown}: {said or type(error).__name__}.") from None
    at_work: dict[Future, Point] = {}
    try:
        _check(client, shown, expected, points)
        yield from _gather(client, shown, points, limits, expected, tick, at_work, facts)
    finally:
        with suppress(Exception):  # of a scheduler that is gone there is nothing to cancel
            client.cancel(list(at_work), force=True)
        with suppress(Exception):
            client.close(timeout=CONNECT)


def _expected(
    points: Sequence[Point], facts: Mapping[str, Any], code: Mapping[str, str] | None
) -> dict[str, dict[str, Any]]:
    """By row id, what a worker must have to run that point: digest of the code, packages, Python."""
    from .fingerprint import Fingerprints

    fingerprints, found = Fingerprints(), dict[str, dict[str, Any]]()
    for point in points:
        own, key = fingerprints.of(point), identity(point)
        there = {**facts["packages"], **own.packages}
        used = [name for name in there if name in ALWAYS or name in own.imports]
        found[key] = {
            "code": (code or {}).get(key, own.digest),
            "packages": {name: there[name] for name in used},
            "python": _minor(facts["python"]),
        }
    return found


def _check(client: Client, shown: str, expected: Mapping[str, dict[str, Any]], points: Sequence[Point]) -> None:
    """Ask every worker, with one point of each kind. Raises `UsageError` where one would not do what we would."""
    samples = {str(expected[identity(point)]): point for point in points}
    wanted = [(point, expected[identity(point)]) for point in samples.values()]
    answers: Mapping[str, Any] = client.run(_differences, wanted, on_error="return")
    if not answers:
        raise UsageError(f"the scheduler at {shown} has no workers yet: start some, and run the same command again.")
    for worker, answer in sorted(answers.items()):
        if isinstance(answer, BaseException):
            said = printable(f"{type(answer).__name__}: {answer}")[:300]
            raise UsageError(f"worker {printable(worker)} cannot run odernn: {said}.")
        if answer:
            raise UsageError(f"worker {printable(worker)} is not like the driver: {printable('; '.join(answer))}.")


def _gather(
    client: Client,
    shown: str,
    points: Sequence[Point],
    limits: Limits,
    expected: Mapping[str, dict[str, Any]],
    tick: Callable[[int], None],
    at_work: dict[Future, Point],
    facts: Mapping[str, Any],
) -> Iterator[Row]:
    done: queue.SimpleQueue[Future] = queue.SimpleQueue()
    waiting, session = iter(points), uuid4().hex
    lost: dict[str, int] = {}
    threads, looked, seen = 0, -LOOK, time.monotonic()

    def hand_out(point: Point) -> None:
        key = identity(point)
        future = client.submit(
            *(_carry_out, point, limits.seconds, limits.bytes, expected[key]),
            key=f"odernn-{session}-{key}-{lost.get(key, 0)}",
            pure=False,
        )
        at_work[future] = point
        future.add_done_callback(done.put)

    exhausted = False
    while True:
        if time.monotonic() - looked > LOOK:
            looked = time.monotonic()
            threads = _threads(client, shown)
            seen = looked if threads else seen
            if looked - seen > ALONE:
                raise UsageError(
                    f"the cluster at {shown} has had no worker for {ALONE:.0f} s: the rows so far are kept."
                )
        while not exhausted and len(at_work) < threads:
            point = next(waiting, None)
            exhausted = point is None
            if point is not None:
                hand_out(point)
        if not at_work and exhausted:
            return
        try:
            future = done.get(timeout=POLL)
        except queue.Empty:
            tick(len(at_work))
            continue
        point = at_work.pop(future)
        row, again = _received(future, point, shown, lost, {**facts, "code": expected[identity(point)]["code"]})
        future.release()
        if again:
            hand_out(point)
        if row is not None:
            yield row
        tick(len(at_work))


def _threads(client: Client, shown: str) -> int:
    try:
        if client.status == "running":
            return sum(client.nthreads().values())
    except (OSError, ValueError):
        pass
    raise UsageError(f"the scheduler at {shown} is gone: the rows so far are kept, and the same command goes on.")


def _received(
    future: Future, point: Point, shown: str, lost: dict[str, int], facts: Mapping[str, Any]
) -> tuple[Row | None, bool]:
    """The row of a task that has ended, or whether its point is to be handed out again."""
    from distributed import KilledWorker

    key = identity(point)
    if future.status == "finished":
        answer: dict[str, str] = future.result()
        if "refused" in answer:
            raise UsageError(f"a worker is not like the driver: {printable(answer['refused'])}.")
        return decode(answer["row"]), False
    if future.status == "cancelled":
        raise UsageError(f"the scheduler at {shown} is gone: the rows so far are kept, and the same command goes on.")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return _failed(point, "every worker that had it was lost on the way.", facts), False
    lost[key] = lost.get(key, 0) + 1
    if lost[key] <= RETRIES:
        return None, True
    return _failed(point, f"its worker could not carry it out: {type(error).__name__}: {error}"[:2000], facts), False


def _failed(point: Point, reason: str, facts: Mapping[str, Any]) -> Row:
    from .run import now, row_of

    return row_of(point, "failed", reason, {}, {**facts, "gpu": None, "threads": 1}, now())


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


# ---------------------------------------------------------------------------------------------------------- on a worker


class _Unwanted(Exception):  # noqa: N818 (no mistake: nobody waits for the row any more)
    """The task was cancelled, or its driver is gone."""


def _carry_out(point: Point, seconds: float | None, size: int | None, expected: Mapping[str, Any]) -> dict[str, str]:
    """One point through the pool, in a process of its own: {"row": its line}, or {"refused": why}."""
    import multiprocessing

    from distributed import get_worker

    from .environment import host
    from .pool import run_all

    # Dask marks its workers as processes without children; those of the pool end with their parent all the same
    multiprocessing.current_process().daemon = False
    prints = _fingerprints()
    different = _differences([(point, expected)], prints)
    if different:
        return {"refused": "; ".join(different)}
    worker = get_worker()
    key = worker.get_current_task()

    def look(running: int) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state not in ("executing", "long-running"):
            raise _Unwanted

    digest = expected["code"]
    rows = run_all([point], 1, Limits(seconds, size), host(), look, code={identity(point): digest})
    row = next(rows)
    if not prints.of(point).intact():  # edited here while it ran
        row["environment"]["code"] = None
    return {"row": encode(row)}


def _differences(wanted: Sequence[tuple[Point, Mapping[str, Any]]], prints: Fingerprints | None = None) -> list[str]:
    """What this process would do otherwise than the driver expects, in words."""
    from .environment import host

    facts, prints = host(), prints or _fingerprints()
    found: dict[str, None] = {}
    for point, expected in wanted:
        if expected["python"] != _minor(facts["python"]):
            found[f"Python {_minor(facts['python'])}, not {expected['python']}"] = None
        digest, packages = _digest(point, prints)
        for name, version in expected["packages"].items():
            here = {**facts["packages"], **packages}.get(name)
            if here != version:
                found[f"{name} {here or 'absent'}, not {version}"] = None
        if digest != expected["code"]:
            found[f"its code of task {point['task'].get('name')} is {digest}, not {expected['code']}"] = None
    return list(found)[:5]


_one_at_a_time = threading.Lock()


@lru_cache(maxsize=1)
def _began() -> Mapping[str, Stamp]:
    """Our files as they were when this process began to run points: so are the modules in the server of its runs."""
    from .fingerprint import first_look

    return first_look()


def _fingerprints() -> Fingerprints:
    """For one question: a plugin's files are looked at anew, as every run imports them anew."""
    from .fingerprint import Fingerprints

    with _one_at_a_time:
        return Fingerprints(_began())


def _digest(point: Point, prints: Fingerprints) -> tuple[str, Mapping[str, str]]:
    """The digest of a point's code as this process has it, or what is wrong with it; versions of its own packages."""
    try:
        code = prints.of(point)
        return code.digest if code.intact() else "changed since the worker started (start it again)", code.packages
    except (UsageError, OSError) as error:
        return f"missing ({str(error)[:200]})", {}
