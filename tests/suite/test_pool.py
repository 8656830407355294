"""Runs in processes of their own: whatever one does, it becomes a row and the others go on."""

from __future__ import annotations

import gc
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from odernn.suite import pool
from odernn.suite.pool import Limits, run_all
from odernn.suite.row import KEYS, encode, identity
from odernn.suite.run import run

Make = Callable[..., dict[str, Any]]


def one(point: dict[str, Any], limits: Limits | None = None) -> dict[str, Any]:
    (row,) = run_all([point], limits=limits or Limits(), facts={"version": "0"})
    assert row["id"] == identity(point)
    assert set(row) == set(KEYS)
    assert row["started"] <= row["finished"]
    return row


@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [
        ("ok", "ok", ""),
        ("kill", "failed", "killed by SIGKILL"),
        ("exit", "failed", "ended with exit status 3 before it gave a result"),
        ("sys.exit", "failed", "ended with exit status 0 before it gave a result"),
        ("raise", "failed", "RuntimeError: boom"),
        ("memory", "memory", "MemoryError: too much"),
        ("diverge", "diverged", "NaN loss at update 3"),
        ("usage", "failed", "that does not go together."),
        ("object", "failed", "TypeError: object is not a JSON value"),
        ("surrogate", "failed", "RuntimeError: half a pair: ?"),
        ("word", "failed", "metric 'error' is 'small': expected a number"),
        ("status", "failed", "the task's status is 'splendid': expected one of ok, "),
        ("nothing", "failed", "the task's outcome is a NoneType: expected an Outcome"),
        ("noise", "ok", ""),
    ],
)
def test_whatever_a_run_does_is_a_row(point: Make, what: str, status: str, reason: str) -> None:
    row = one(point(what))
    assert (row["status"], reason in row["reason"]) == (status, True)
    assert row["cost"]["seconds"] >= 0
    encode(row)


def test_what_a_run_found_comes_back_whole(point: Make) -> None:
    row = one(point("noise"))
    assert math.isnan(row["metrics"]["error"])
    assert row["curves"]["long"] == list(range(200000))
    assert row["properties"]["primary_metric"] == "error"
    assert row["properties"]["order"] == 1
    assert row["environment"] == {"version": "0", "gpu": None, "threads": 1}


def test_the_last_words_of_a_killed_process_are_kept(point: Make) -> None:
    assert one(point("kill"))["reason"].endswith("last words")


def test_a_reason_names_files_but_not_their_folders(point: Make, toy: Path) -> None:
    reason = one(point("raise"))["reason"]
    assert "toy.py:" in reason
    assert str(toy.parent) not in reason


def test_last_words_are_short_and_name_no_folder(point: Make) -> None:
    reason = one(point("chatter"))["reason"]
    assert len(reason) < 1000
    assert "/a/place" not in reason


def test_what_a_run_started_ends_with_it(point: Make) -> None:
    row = one(point("stray"))
    assert row["status"] == "ok"
    assert gone([int(row["metrics"]["error"])])


def gone(pids: list[int]) -> bool:
    """Whether these processes end within ten seconds."""
    for _ in range(100):
        if all(not psutil.pid_exists(pid) or dead(pid) for pid in pids):
            return True
        time.sleep(0.1)
    return False


def dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_time_is_enforced_on_a_sleeping_run_and_its_children(point: Make, tmp_path: Path) -> None:
    script = tmp_path / "sleep.py"
    started = time.monotonic()
    child = tmp_path / "child"
    source = Path(point("sleep")["task"]["name"]).read_text()
    script.write_text(source.replace('os.environ.get("TOY_CHILD", os.devnull)', repr(str(child))))
    sleeper = point("sleep")
    sleeper["task"]["name"] = str(script)
    row = one(sleeper, Limits(seconds=1.0))
    assert (row["status"], row["reason"]) == ("timeout", "ended after 1 s, the time allowed.")
    assert 1.0 <= row["cost"]["seconds"] < time.monotonic() - started < 60
    assert gone([int(child.read_text())])


def test_memory_is_enforced(point: Make) -> None:
    row = one(point("hog"), Limits(seconds=100, bytes=2**30))
    assert row["status"] == "memory"
    assert "at most 1 GiB were allowed" in row["reason"]
    assert row["cost"]["peak_memory_mib"] > 1024


def test_the_good_go_on_beside_the_bad(point: Make) -> None:
    points = [point(what, seed) for seed in range(2) for what in ("ok", "kill", "exit", "raise", "ok")]
    rows = list(run_all(points, jobs=3))
    assert sorted(row["status"] for row in rows) == ["failed"] * 6 + ["ok"] * 4
    assert {row["id"] for row in rows} == {identity(p) for p in points}


def test_closing_ends_what_is_at_work(point: Make) -> None:
    work = run_all([point("ok"), point("sleep"), point("sleep", 1)], jobs=3)
    assert next(work)["status"] == "ok"
    time.sleep(0.5)  # so that the sleepers have children; the test holds without, but shows less
    at_work = [p.pid for p in psutil.Process().children(recursive=True) if p.name() == "sleep"]
    parents = [psutil.Process(pid).ppid() for pid in at_work]
    work.close()  # type: ignore[attr-defined]
    assert gone(at_work + parents)


def test_a_run_does_not_outlive_a_parent_that_was_killed(point: Make, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, json, psutil\n"
        "from odernn.suite.pool import run_all\n"
        "def tick(running):\n"
        "    if running == 1:\n"
        "        found = [p.pid for p in psutil.Process().children(recursive=True)]\n"
        "        open(sys.argv[2], 'w').write(json.dumps(found))\n"
        "        os.kill(os.getpid(), 9)\n"
        "if __name__ == '__main__':\n"
        "    list(run_all(json.loads(sys.argv[1]), facts={}, tick=tick))\n"
    )
    lasting = point("ok", seconds=300.0)
    done = subprocess.run([sys.executable, str(script), json.dumps([lasting]), str(pids)], check=False)
    assert done.returncode == -signal.SIGKILL
    left = json.loads(pids.read_text())
    assert left
    assert gone(left), "the run went on without its parent"


def test_run_alone_gives_the_same_row(point: Make) -> None:
    here, there = run(point("ok", 4), {}), one(point("ok", 4))
    for key in ("id", "status", "metrics", "properties", "task", "solver", "seed"):
        assert here[key] == there[key]
    assert here["metrics"] == {"error": 4.5}


# --------------------------------------------------------------------------------------------- runs that fight back

VILLAIN = '''
"""A task that does its worst."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from odernn.suite.contracts import Outcome, Task


def note(path, pid):
    with open(path, "a") as file:
        file.write(f"{pid}\\n")


@dataclass(frozen=True)
class Villain(Task):
    what: str = "ok"
    pids: str = "/dev/null"

    name = "villain"
    primary_metric = "error"

    def evaluate(self, solver, seed, budget):
        note(self.pids, os.getpid())
        getattr(self, self.what)()
        return Outcome(metrics={"error": 1.0})

    def ok(self):
        pass

    def soft_exit(self):
        print("said before the end")  # not flushed by hand
        os._exit(3)

    def flood(self):
        print("the first line")
        while True:
            sys.stdout.write("a line of a flood, sixty-four characters or so, again and again\\n" * 1000)

    def binary_flood(self):
        block = bytes(range(256)) * 4096
        while True:
            os.write(2, block)

    def orphan(self):
        """A grandchild that keeps every descriptor, in a session of its own."""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                note(self.pids, os.getpid())
                time.sleep(600)
            os._exit(0)
        os.wait()

    def orphan_and_die(self):
        self.orphan()
        os.kill(os.getpid(), signal.SIGKILL)

    def orphan_and_hang(self):
        self.orphan()
        time.sleep(600)

    def deaf(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(600)

    def closes_all(self):
        os.closerange(0, 4096)

    def closes_all_and_hangs(self):
        os.closerange(0, 4096)
        time.sleep(600)

    def closes_and_opens(self):
        """Another file takes the number of the descriptor of the result."""
        os.closerange(3, 4096)
        for _ in range(200):
            os.open(self.pids, os.O_WRONLY | os.O_APPEND)

    def writes_everywhere(self):
        for number in range(3, 64):
            try:
                os.write(number, b"{}\\nrow {}\\n" + bytes(100))
            except OSError:
                pass

    def locks(self):
        """In compiled code, with the interpreter's lock held."""
        re.match(r"(a+)+$", "a" * 64 + "b")

    def splits(self):
        """Goes on in two processes."""
        os.fork()

    def bomb(self):
        """Children of children that never end, until there are some dozens."""
        for _ in range(5):
            os.fork()
        note(self.pids, os.getpid())
        time.sleep(600)

    def suicide_of_group(self):
        os.killpg(0, signal.SIGKILL)

    def parricide(self):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)

    def thread(self):
        """A thread that does not end with the run."""
        threading.Thread(target=time.sleep, args=(600,)).start()

    def fills(self):
        with open("/dev/full", "w") as file:
            file.write("x")

    def leaves_files(self):
        folder = tempfile.mkdtemp()
        Path(folder, "big").write_bytes(bytes(2**20))
        note(self.pids, folder)

    def leaves_files_and_dies(self):
        self.leaves_files()
        os._exit(1)

    def segfault(self):
        import ctypes

        ctypes.string_at(0)

    def aborts(self):
        os.abort()

    def interrupts(self):
        raise KeyboardInterrupt

    def stops(self):
        os.kill(os.getpid(), signal.SIGSTOP)

    def hoards(self):
        hoard = []
        while True:
            hoard.append(bytearray(b"x") * 2**24)

    def hoards_elsewhere(self):
        """The memory is a child's."""
        code = "h = []\\nwhile True: h.append(bytearray(b'x') * 2**22)"
        subprocess.run([sys.executable, "-c", code])

    def shares(self):
        """Processes that have their parent's memory, and none of their own."""
        hoard = bytearray(b"x") * (400 * 2**20)
        for _ in range(6):
            if os.fork() == 0:
                time.sleep(600)
        time.sleep(2)
        assert len(hoard) == 400 * 2**20

    def environment(self):
        os.environ["VILLAIN"] = "was here"
        os.chdir("/")

    def finds_environment(self):
        assert "VILLAIN" not in os.environ
        assert os.getcwd() != "/"


TASK = Villain
'''


@pytest.fixture
def villain(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Makes the point that has the villain do something, with the file where it notes its processes."""
    script = tmp_path / "villain.py"
    script.write_text(VILLAIN)

    def make(what: str, seed: int = 0, device: str = "cpu") -> dict[str, Any]:
        return {
            "task": {"name": str(script), "what": what, "pids": str(tmp_path / "pids")},
            "solver": {"cell": "true-field", "tableau": "euler", "backend": "native", "steps": 1},
            "budget": {},
            "seed": seed,
            "device": device,
            "dtype": "float64",
        }

    return make


def noted(tmp_path: Path) -> list[str]:
    return (tmp_path / "pids").read_text().split()


@pytest.mark.parametrize(
    ("what", "status", "reason"),
    [
        ("soft_exit", "failed", "exit status 3 before it gave a result.\nsaid before the end"),
        ("flood", "failed", "ended because it printed more than 64 MiB.\na line of a flood"),
        ("binary_flood", "failed", "ended because it printed more than 64 MiB."),
        ("orphan", "ok", ""),
        ("orphan_and_die", "failed", "killed by SIGKILL"),
        ("closes_all", "failed", "exit status 1 before it gave a result."),
        ("closes_and_opens", "failed", "the run has closed the descriptor of its result"),
        ("writes_everywhere", "ok", ""),
        ("splits", "ok", ""),
        ("suicide_of_group", "failed", "killed by SIGKILL"),
        ("parricide", "failed", "the process that watched over the run was killed by SIGKILL"),
        ("thread", "ok", ""),
        ("fills", "failed", "OSError: [Errno 28] No space left on device"),
        ("segfault", "failed", "killed by SIGSEGV"),
        ("aborts", "failed", "killed by SIGABRT"),
        ("interrupts", "failed", "KeyboardInterrupt"),
    ],
)
@pytest.mark.parametrize("warm", [False, True], ids=["forked", "warm"])
def test_a_hostile_run_is_a_row_and_disturbs_none(
    villain: Callable[..., dict[str, Any]], tmp_path: Path, what: str, status: str, reason: str, warm: bool
) -> None:
    points = [villain(what), villain("ok", 1)]
    found = run_all(points, 1, Limits(seconds=60.0), {"version": "0"}, _warm=("cpu",) if warm else ())
    rows = {row["seed"]: row for row in found}
    assert (rows[0]["status"], rows[1]["status"]) == (status, "ok"), rows[0]["reason"]
    assert reason in rows[0]["reason"]
    assert len(rows[0]["reason"]) < 3000
    assert set(rows[0]) == set(KEYS)
    assert 0 <= rows[0]["cost"]["seconds"] < 60
    assert what == "parricide" or rows[0]["cost"]["peak_memory_mib"] > 0
    encode(rows[0])
    assert gone([int(pid) for pid in noted(tmp_path)])


def test_runs_that_never_end_are_ended_with_all_they_started(
    villain: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    hang = ["orphan_and_hang", "deaf", "closes_all_and_hangs", "locks", "bomb", "stops"]
    points = [villain(what) for what in ["ok", *hang]]
    rows = {row["task"]["what"]: row for row in run_all(points, 7, Limits(seconds=4.0), {})}
    assert {what: rows[what]["status"] for what in rows} == {"ok": "ok"} | dict.fromkeys(hang, "timeout")
    assert {rows[what]["reason"] for what in hang} == {"ended after 4 s, the time allowed."}
    assert all(rows[what]["cost"]["peak_memory_mib"] > 0 for what in hang)
    assert len(noted(tmp_path)) > 30
    assert gone([int(pid) for pid in noted(tmp_path)])


def test_hostile_runs_beside_good_ones(villain: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    bad = ["orphan_and_die", "closes_all", "parricide", "suicide_of_group", "soft_exit", "interrupts", "splits"]
    points = [villain(what, seed) for seed in range(2) for what in [*bad, "ok", "ok"]]
    points = list({identity(one): one for one in points}.values())
    rows = list(run_all(points, 3, Limits(seconds=30.0), {}))
    assert {row["id"] for row in rows} == {identity(one) for one in points}
    fine = [row for row in rows if row["task"]["what"] in ("ok", "splits")]
    assert [row["status"] for row in fine] == ["ok"] * 4
    assert {row["status"] for row in rows if row not in fine} == {"failed"}
    assert gone([int(pid) for pid in noted(tmp_path)])


def test_a_crash_in_compiled_code_says_where(villain: Callable[..., dict[str, Any]]) -> None:
    lines = one(villain("segfault"))["reason"].splitlines()
    assert lines[0] == "the process was killed by SIGSEGV."
    assert any(line.lstrip().startswith('File "villain.py"') and line.endswith("in segfault") for line in lines), lines


def test_memory_that_processes_share_counts_once(villain: Callable[..., dict[str, Any]]) -> None:
    row = one(villain("shares"), Limits(seconds=60.0, bytes=3 * 2**30 // 2))
    assert row["status"] == "ok", row["reason"]
    assert row["cost"]["peak_memory_mib"] > 400


@pytest.mark.parametrize("what", ["hoards", "hoards_elsewhere"])
def test_memory_is_enforced_wherever_it_is_taken(villain: Callable[..., dict[str, Any]], what: str) -> None:
    row = one(villain(what), Limits(seconds=60.0, bytes=3 * 2**30 // 2))
    assert row["status"] == "memory", row["reason"]
    assert "at most 1.5 GiB were allowed" in row["reason"]
    assert row["cost"]["peak_memory_mib"] > 1536


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, one that no other test writes to meanwhile."""
    pool.warm_up()  # the server keeps its socket where it began
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.mark.parametrize("what", ["leaves_files", "leaves_files_and_dies"])
def test_temporary_files_go_with_the_run(
    villain: Callable[..., dict[str, Any]], tmp_path: Path, temporary: Path, what: str
) -> None:
    rows = list(run_all([villain(what), villain(what, 1)], facts={}))
    assert len(rows) == 2
    places = [Path(line) for line in noted(tmp_path) if line.startswith("/")]
    assert len(places) == 2
    assert all(place.is_relative_to(temporary) for place in places)
    assert not any(place.exists() for place in places)
    assert list(temporary.glob("odernn-*")) == []


def test_a_warm_worker_takes_one_point_after_another(villain: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    what = ["environment", "finds_environment", "soft_exit", "ok", "locks", "ok", "ok"]
    points = [villain(each, seed) for seed, each in enumerate(what)]
    rows = list(run_all(points, 4, Limits(seconds=2.0), {}, _warm=("cpu",)))
    assert [row["seed"] for row in rows] == list(range(7)), "a device has one worker, whatever jobs says"
    assert [row["status"] for row in rows] == ["ok", "ok", "failed", "ok", "timeout", "ok", "ok"], rows[1]["reason"]
    pids = noted(tmp_path)
    assert len(set(pids)) == 3, "replaced after a crash and after a time-out, and else kept"
    assert pids[0] == pids[1] == pids[2]
    assert pids[3] == pids[4]
    assert pids[5] == pids[6]


def test_a_worker_in_which_a_run_failed_is_replaced(point: Make, villain: Callable[..., dict[str, Any]]) -> None:
    rows = list(run_all([point("raise"), point("ok"), villain("ok")], 1, facts={}, _warm=("cpu",)))
    assert [row["status"] for row in rows] == ["failed", "ok", "ok"]


def test_a_killed_server_of_forks_is_replaced(villain: Callable[..., dict[str, Any]]) -> None:
    from multiprocessing import forkserver

    server = forkserver._forkserver  # type: ignore[attr-defined]
    work = run_all([villain("ok", seed) for seed in range(6)], 2, Limits(seconds=60.0), {})
    rows = [next(work)]
    os.kill(server._forkserver_pid, signal.SIGKILL)
    rows += list(work)
    assert [row["status"] for row in rows] == ["ok"] * 6
    rows = list(run_all([villain("ok"), villain("soft_exit")], 2, facts={}))
    assert sorted(row["status"] for row in rows) == ["failed", "ok"]


def test_without_a_server_a_run_is_a_row(
    monkeypatch: pytest.MonkeyPatch, villain: Callable[..., dict[str, Any]]
) -> None:
    def no(*arguments: Any) -> None:
        raise ConnectionResetError("gone")

    monkeypatch.setattr("multiprocessing.context.ForkServerProcess.start", no)
    rows = list(run_all([villain("ok"), villain("ok", 1)], 2, facts={}))
    assert [row["reason"] for row in rows] == ["no process could be started for it: gone."] * 2


def test_a_run_that_holds_the_lock_does_not_outlive_a_killed_driver(
    villain: Callable[..., dict[str, Any]], tmp_path: Path, temporary: Path
) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, json\n"
        "from pathlib import Path\n"
        "from odernn.suite.pool import run_all\n"
        "def tick(running):\n"
        "    there = Path(sys.argv[2])\n"
        "    if there.exists() and len(there.read_text().split()) >= 3:\n"
        "        os.kill(os.getpid(), 9)\n"
        "if __name__ == '__main__':\n"
        "    list(run_all(json.loads(sys.argv[1]), 2, facts={}, tick=tick))\n"
    )
    points = [villain("locks"), villain("orphan_and_hang")]
    command = [sys.executable, str(script), json.dumps(points), str(tmp_path / "pids")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert gone([int(pid) for pid in noted(tmp_path)])
    for _ in range(50):
        if not list(temporary.glob("odernn-*")):
            break
        time.sleep(0.1)
    assert list(temporary.glob("odernn-*")) == []


def test_the_server_hears_no_interrupt_and_a_long_path_of_temporary_files_is_none_of_its_socket(
    point: Make, tmp_path: Path
) -> None:
    """SigBlk of the server has the bit of SIGINT, or Ctrl-C while it imports torch would be its traceback."""
    place = tmp_path / ("long" * 30)
    place.mkdir()
    script = (
        "import json, sys\n"
        "from multiprocessing import forkserver\n"
        "from pathlib import Path\n"
        "from odernn.suite.pool import run_all\n"
        "(row,) = run_all([json.loads(sys.argv[1])], facts={})\n"
        "status = Path(f'/proc/{forkserver._forkserver._forkserver_pid}/status').read_text()\n"
        "blocked = int(next(line for line in status.splitlines() if line.startswith('SigBlk')).split()[1], 16)\n"
        "print(row['status'], blocked >> 1 & 1, row['reason'])\n"
    )
    environment = os.environ | {"TMPDIR": str(place)}
    command = [sys.executable, "-c", script, json.dumps(point("ok"))]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.stdout.split() == ["ok", "1"], done.stderr
    assert list(place.glob("odernn-*")) == []


def test_nothing_is_left_open(villain: Callable[..., dict[str, Any]]) -> None:
    list(run_all([villain("ok")], facts={}))  # what is opened once and for all
    gc.collect()
    before = psutil.Process().num_fds()
    list(run_all([villain(what) for what in ("ok", "soft_exit", "parricide", "closes_all")], 2, facts={}))
    gc.collect()
    assert psutil.Process().num_fds() <= before


def test_digests_of_code_reach_the_rows(villain: Callable[..., dict[str, Any]]) -> None:
    points = [villain("ok"), villain("soft_exit"), villain("ok", 1)]
    code = {identity(points[0]): "a" * 16, identity(points[1]): "b" * 16}
    rows = {row["id"]: row for row in run_all(points, facts={"version": "0"}, code=code)}
    assert [rows[identity(one)]["environment"].get("code") for one in points] == ["a" * 16, "b" * 16, None]


def test_devices_and_cores_are_handed_out_in_order(villain: Callable[..., dict[str, Any]]) -> None:
    """As many posts as jobs, one a device, the first point in line first."""
    queues = {
        "": pool.deque([(0, None), (3, None)]),
        "cuda": pool.deque([(1, None), (2, None)]),
    }
    busy: list[Any] = []

    def take(jobs: int) -> str | None:
        found = pool._next(queues, busy, jobs)  # type: ignore[arg-type]
        if found is None:
            return None
        order = queues[found[0]].popleft()
        busy.append(pool._Post(None, None, found[0], order=order))  # type: ignore[arg-type]
        return f"{order[0]}{found[0]}"

    assert [take(3), take(3), take(3), take(3)] == ["0", "1cuda", "3", None]
    busy[1].order = None
    assert [take(3), take(3)] == ["2cuda", None]


def test_modules_that_one_run_imports_are_there_for_the_next(tmp_path: Path) -> None:
    """They are imported by the supervisor, which stays with one thread: it goes on forking."""
    script = tmp_path / "asks.py"
    script.write_text(
        "import os, sys\n"
        "from dataclasses import dataclass\n"
        "from odernn.suite.contracts import Outcome, Task\n"
        "@dataclass(frozen=True)\n"
        "class Asks(Task):\n"
        "    name = 'asks'\n"
        "    primary_metric = 'there'\n"
        "    def evaluate(self, solver, seed, budget):\n"
        "        there = 'odernn.solvers.engines.trajectories' in sys.modules\n"
        "        import odernn.solvers.engines.trajectories\n"
        "        threads = len(os.listdir(f'/proc/{os.getppid()}/task')) if os.path.isdir('/proc/1/task') else 1\n"
        "        return Outcome(metrics={'there': float(there), 'threads': float(threads)})\n"
        "TASK = Asks\n"
    )
    solver = {"cell": "true-field", "tableau": "euler", "backend": "native", "steps": 1}
    shared = {"task": {"name": str(script)}, "solver": solver, "budget": {}, "device": "cpu", "dtype": "float64"}
    rows = list(run_all([{**shared, "seed": seed} for seed in range(3)], facts={"version": "0"}))
    assert [row["metrics"] for row in rows] == [{"there": float(seed > 0), "threads": 1.0} for seed in range(3)]
