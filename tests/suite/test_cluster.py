"""The same runs on a Dask cluster: a real scheduler and two worker processes on loopback, some of which are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from odernn.suite import cluster
from odernn.suite.cli import main
from odernn.suite.cluster import check_address, run_on_cluster
from odernn.suite.environment import host
from odernn.suite.errors import UsageError
from odernn.suite.pool import run_all
from odernn.suite.row import identity
from odernn.suite.supervisor import Limits

pytest.importorskip("distributed")

Point = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    "address",
    [
        *("", "foo", "tcp://[::1", "inproc://x", "ucx://1", "h:0", "h:99999", "tcp://h:1/x", "tcp://u@h:1", "a b:1"),
        *("a\nb:3", "\x1b[31m:1", "a..b:1", f"{'x' * 64}:1", "tcp://[::::]:1", "tcp://[1.2.3.4]:1", "tcp:h:1"),
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_written(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    monkeypatch.delattr(distributed, "Client")
    assert main(["run", "quick", "--out", str(tmp_path / "out"), "--scheduler", address]) == 2
    said = capsys.readouterr().err
    assert said.startswith("odernn: --scheduler '")
    assert said.endswith("': expected HOST:PORT or tcp://HOST:PORT (or tls, ws, wss).\n")
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert not (tmp_path / "out").exists()


def test_addresses_of_schedulers() -> None:
    for address in ("127.0.0.1:8786", "tcp://node-3.x:8786", "tcp://[fe80::1%eth0]:1", "ws://a_b:65535"):
        check_address(address)


@pytest.mark.parametrize("scheme", ["tls", "wss"])
def test_an_encrypted_connection_needs_certificates(scheme: str) -> None:
    import dask

    with pytest.raises(UsageError, match=r"needs certificates: expected distributed\.comm\.tls in Dask"):
        check_address(f"{scheme}://127.0.0.1:8786")
    lost = {f"distributed.comm.tls.{key}": "/no/such" for key in ("ca-file", "client.cert", "client.key")}
    with dask.config.set(lost), pytest.raises(UsageError, match="its certificates cannot be read"):
        check_address(f"{scheme}://127.0.0.1:8786")


class Cluster(NamedTuple):
    """A scheduler's address and process, and the processes of its workers."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


def dask(*arguments: str, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false"}
    with log.open("wb") as file:
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)


def waited(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(Exception):
            if found := what():
                return found
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


@pytest.fixture(scope="module")
def cluster_of_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The address of a scheduler; its workers, the first under a nanny, as is usual, which starts it again."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    started = [dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file), log=folder / "s")]
    try:
        address = waited(lambda: json.loads(file.read_text())["address"])
        for number, nanny in enumerate(("--nanny", "--no-nanny")):
            options = ("--nthreads", "1", nanny, "--local-directory", str(folder / str(number)), "--host", "127.0.0.1")
            started.append(dask("worker", address, *options, log=folder / f"w{number}"))
        from distributed import Client

        with Client(address, timeout=30, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=30)
        yield Cluster(address, started[0], started[1:])
    finally:
        for one in started:
            with suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()


NO_LIMITS = Limits()


def gathered(address: str, points: list[dict[str, Any]], limits: Limits = NO_LIMITS, **options: Any) -> list[Any]:
    return list(run_on_cluster(address, points, limits, host(), **options))


def content(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row does not depend on when it was made, and how fast."""
    varies = ("seconds", "peak_memory_mib")
    kept = {key: value for key, value in row.items() if key not in ("started", "finished", "cost")}
    return kept | {"cost": {key: value for key, value in row["cost"].items() if key not in varies}}


def test_rows_are_those_of_this_machine_and_every_death_is_one(cluster_of_two: Cluster, point: Point) -> None:
    address = cluster_of_two.address
    points = [point("ok", seed) for seed in range(4)] + [point(what) for what in ("kill", "exit", "raise", "diverge")]
    counts: list[int] = []
    remote = {row["id"]: row for row in gathered(address, points, tick=counts.append)}
    codes = {key: row["environment"]["code"] for key, row in remote.items()}
    local = {row["id"]: row for row in run_all(points, 2, facts=host(), code=codes)}
    assert set(remote) == set(map(identity, points))
    assert {key: content(row) for key, row in remote.items()} == {key: content(row) for key, row in local.items()}
    assert 1 <= max(counts) <= 2  # as many as the workers have threads, never all


def test_limits_hold_on_the_workers(cluster_of_two: Cluster, point: Point) -> None:
    (row,) = gathered(cluster_of_two.address, [point("sleep")], Limits(seconds=0.5))
    assert row["status"] == "timeout"


def test_cancelled_runs_end_on_the_workers(cluster_of_two: Cluster, point: Point) -> None:
    address, _, workers = cluster_of_two

    def sleeping() -> int:
        return sum(
            child.name() == "sleep" for one in workers for child in psutil.Process(one.pid).children(recursive=True)
        )

    work = run_on_cluster(address, [point("ok"), *(point("sleep", seed) for seed in range(5))], Limits(), host())
    assert next(work)["status"] == "ok"
    waited(lambda: sleeping() > 0)  # the other worker has its point since the start
    work.close()  # type: ignore[attr-defined]
    waited(lambda: sleeping() == 0)
    (row,) = gathered(address, [point("ok", 9)])  # and the workers are there for the next
    assert row["status"] == "ok"


def test_a_worker_of_other_code_or_packages_is_refused(cluster_of_two: Cluster, point: Point) -> None:
    address, points = cluster_of_two.address, [point("ok")]
    code = {identity(points[0]): "0" * 16}
    with pytest.raises(UsageError, match=r"is not like the driver: its code of task .* not 0{16}"):
        gathered(address, points, code=code)
    other = {**host(), "packages": {**host()["packages"], "torch": "1.0"}}
    with pytest.raises(UsageError, match=r"torch .*, not 1\.0"):
        list(run_on_cluster(address, points, Limits(), other))
    with pytest.raises(UsageError, match=r"Python 3\.\d+, not 2\.7"):
        list(run_on_cluster(address, points, Limits(), {**host(), "python": "2.7.1"}))


def test_no_scheduler_is_a_sentence(point: Point, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT", 1.0)
    for address in ("tcp://127.0.0.1:1", "nonsense://x", "\x1b[31m"):
        with pytest.raises(UsageError, match="no Dask scheduler answers at"):
            gathered(address, [point("ok")])


def test_a_killed_worker_costs_no_row(cluster_of_two: Cluster, point: Point) -> None:
    """Late, as it leaves the cluster with one worker, which goes on with the points of both."""
    address, _, workers = cluster_of_two
    points = [point("ok", seed, seconds=0.3) for seed in range(12)]
    rows = []
    for row in run_on_cluster(address, points, Limits(), host()):
        rows.append(row)
        if len(rows) == 3:
            os.kill(workers[1].pid, signal.SIGKILL)
    assert sorted(row["id"] for row in rows) == sorted(map(identity, points))
    assert {row["status"] for row in rows} == {"ok"}
    assert workers[1].wait(5) == -signal.SIGKILL


def test_a_lost_scheduler_keeps_the_rows_so_far(cluster_of_two: Cluster, point: Point) -> None:
    """Last, as there is no cluster after it."""
    rows = []
    with pytest.raises(UsageError, match="is gone: the rows so far are kept"):  # noqa: PT012 (it comes midway)
        for row in run_on_cluster(
            cluster_of_two.address, [point("ok", seed, seconds=0.1) for seed in range(200)], Limits(), host()
        ):
            rows.append(row["status"])
            if len(rows) == 2:
                os.kill(cluster_of_two.scheduler.pid, signal.SIGKILL)
    assert len(rows) >= 2
    assert set(rows) == {"ok"}
