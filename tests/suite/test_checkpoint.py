"""Checkpoints: a training cut off anywhere ends as if it had not been, and no file can harm it."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from odernn.suite import checkpoint as module
from odernn.suite import learn as learning
from odernn.suite.checkpoint import Checkpoints, discard
from odernn.suite.fingerprint import code_of
from odernn.suite.pool import run_all
from odernn.suite.row import encode, identity
from odernn.suite.run import run
from odernn.suite.worker import Held

LEAKY = {"cell": "leaky", "tableau": "rk4", "backend": "native", "step": 0.5, "hidden": 6}


def adding(updates: int = 12, dtype: str = "float32", length: int = 8, **solver: Any) -> dict[str, Any]:
    """A short training."""
    return {
        "task": {"name": "adding", "length": length},
        "solver": solver or LEAKY,
        "budget": {"updates": updates, "batch": 4, "learning_rate": 1e-2, "clip": 1.0, "evaluations": 4},
        "seed": 3,
        "device": "cpu",
        "dtype": dtype,
    }


VERSIONS = {"numpy": "2.4", "scipy": "1.17", "Python": "3.11"}


def kept(folder: Path | None, point: dict[str, Any], said: list[str] | None = None, every: float = 0.0) -> Checkpoints:
    tell = [].append if said is None else said.append
    return Checkpoints(folder, every, identity(point), "c" * 16, tell, VERSIONS)


class Cut(BaseException):
    """As a kill ends a run: nothing catches it."""


def cut_after(monkeypatch: pytest.MonkeyPatch, saves: int) -> None:
    """End the process, so to speak, right after so many checkpoints."""
    whole, count = module.Checkpoint.save, 0

    def save(self: module.Checkpoint, state: Mapping[str, Any]) -> None:
        nonlocal count
        whole(self, state)
        count += 1
        if count == saves:
            raise Cut

    monkeypatch.setattr(module.Checkpoint, "save", save)


def cut(monkeypatch: pytest.MonkeyPatch, saves: int, work: Callable[[], Any]) -> None:
    with monkeypatch.context() as patch:
        cut_after(patch, saves)
        with pytest.raises(Cut):
            work()


def found(row: dict[str, Any]) -> str:
    """What must be the same to the bit: all that is no time."""
    times = ("seconds", "train_seconds", "peak_memory_mib", "resumed_updates")
    cost = {key: value for key, value in row["cost"].items() if key not in times}
    return encode(
        {**{key: row[key] for key in ("id", "status", "reason", "metrics", "curves", "properties")}, "c": cost}
    )


CELLS: list[dict[str, Any]] = [
    LEAKY,
    {**LEAKY, "engine": "general"},
    {"cell": "cornn", "tableau": "heun2", "backend": "native", "step": 0.3, "hidden": 6, "gamma": 1.0, "epsilon": 1.0},
    {**LEAKY, "backend": "torchdiffeq"},
    {**LEAKY, "cell": "antisymmetric", "tableau": "gauss2", "hidden": 4},
    {"cell": "lstm", "hidden": 6, "forget_bias": "chrono"},
    {"cell": "gru", "hidden": 6},
]


@pytest.mark.parametrize("solver", CELLS, ids=lambda one: "-".join(str(v) for v in one.values() if isinstance(v, str)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_training_cut_off_and_resumed_is_the_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, solver: dict[str, Any], dtype: str
) -> None:
    point = adding(dtype=dtype, **solver)
    whole = run(point, {"version": "0"})
    assert whole["status"] == "ok", whole["reason"]
    cut(monkeypatch, 5, lambda: run(point, {"version": "0"}, kept(tmp_path, point)))
    assert [path.name for path in (tmp_path / identity(point)).iterdir()] == ["1.pt"]
    torch.manual_seed(99)
    again = run(point, {"version": "0"}, kept(tmp_path, point))
    assert found(again) == found(whole)
    assert again["cost"]["resumed_updates"] == 5
    assert "resumed_updates" not in whole["cost"]


@pytest.mark.parametrize("saves", [1, 3, 11, 12])
def test_wherever_it_is_cut_and_however_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int) -> None:
    point = adding()
    whole = run(point, {"version": "0"})
    for _ in range(2):
        with monkeypatch.context() as patch:
            cut_after(patch, saves)
            try:
                run(point, {"version": "0"}, kept(tmp_path, point))
            except Cut:
                continue
    again = run(point, {"version": "0"}, kept(tmp_path, point))
    assert found(again) == found(whole)
    assert again["cost"]["resumed_updates"] == min(12, 2 * saves)


def test_forecasts_that_read_themselves_and_decaying_rates_resume_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = adding()
    point["task"] = {"name": "chaos", "system": "lorenz63", "horizon": 2.0}
    point["budget"] = {"updates": 8, "batch": 4, "learning_rate": 1e-2, "decay": 0.1}
    whole = run(point, {"version": "0"})
    assert whole["status"] == "ok", whole["reason"]
    cut(monkeypatch, 5, lambda: run(point, {"version": "0"}, kept(tmp_path, point)))
    assert found(run(point, {"version": "0"}, kept(tmp_path, point))) == found(whole)


class Dropping(torch.nn.Module):
    """A recurrence of torch whose training draws from torch's own generator."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.readout = torch.nn.GRU(2, 5), torch.nn.Linear(5, 1)

    def forward(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        hidden, state = self.cell(x, state)
        return self.readout(torch.nn.functional.dropout(hidden, 0.5)), state


def train(checkpoint: module.Checkpoint | None, hidden: type[torch.nn.Module] = Dropping, seed: int = 0) -> Any:
    from odernn.suite.contracts import Budget
    from odernn.tasks.adding import TASK

    torch.manual_seed(seed)
    model: Any = hidden()
    cpu = torch.device("cpu")
    outcome = learning.learn(model, TASK(8), 1, Budget(updates=9, batch=4), cpu, torch.float32, checkpoint).outcome
    return model, outcome


def test_draws_from_torch_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = adding()
    model, outcome = train(None)
    cut(monkeypatch, 4, lambda: train(kept(tmp_path, point).next()))
    after, resumed = train(kept(tmp_path, point).next())
    assert resumed.metrics == outcome.metrics
    assert resumed.curves == outcome.curves
    for one, other in zip(model.parameters(), after.parameters(), strict=True):
        assert torch.equal(one, other)
    assert resumed.cost["train_seconds"] > 0


def test_a_second_training_of_a_run_has_a_file_of_its_own(tmp_path: Path) -> None:
    run_of = kept(tmp_path, adding())
    first, second = run_of.next(), run_of.next()
    assert first is not None
    assert second is not None
    assert [first.path.name, second.path.name] == ["1.pt", "2.pt"]
    assert Checkpoints(None).next() is None


def test_nothing_is_written_for_what_is_soon_done(tmp_path: Path) -> None:
    point = adding()
    row = run(point, {"version": "0"}, kept(tmp_path, point, every=30.0))
    assert row["status"] == "ok"
    assert list(tmp_path.iterdir()) == []


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


def spoiled(good: bytes, what: str, tmp_path: Path) -> bytes:
    import io

    if what == "torn":
        return good[: len(good) // 2]
    if what == "empty":
        return b""
    if what == "flipped":
        middle = len(good) // 2
        return good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    if what == "pickle":
        return summed(pickle.dumps(Bomb(tmp_path / "executed")))
    content = torch.load(io.BytesIO(good[32:]), weights_only=True)
    state = content["state"]
    if what in ("run", "code", "torch", "engine", "versions"):
        content[what] = "other"
    elif what == "object":
        content["state"]["marks"] = Bomb(tmp_path / "executed")
    elif what == "list":
        content = [1, 2]
    elif what == "shapes":
        name = next(iter(state["model"]))
        state["model"][name] = torch.zeros(2, 2)
    elif what == "moments":
        state["optimiser"]["state"][0]["exp_avg"] = torch.zeros(7)
    elif what == "generator":
        state["numpy"] = "{}"
    elif what == "torch_state":
        state["torch"] = torch.zeros(3, dtype=torch.uint8)
    elif what == "updates":
        state["update"] = 7
    else:
        del state[what]
    written = io.BytesIO()
    torch.save(content, written)
    return summed(written.getvalue())


def summed(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


@pytest.mark.parametrize(
    "what",
    [
        *("torn", "empty", "flipped", "pickle", "run", "code", "torch", "object", "list", "shapes", "moments"),
        *("engine", "versions"),
        *("generator", "torch_state", "updates", "losses", "metrics", "optimiser", "seconds"),
    ],
)
def test_a_file_that_is_not_ours_is_set_aside_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    point = adding()
    whole = run(point, {"version": "0"})
    cut(monkeypatch, 3, lambda: run(point, {"version": "0"}, kept(tmp_path, point)))
    path = tmp_path / identity(point) / "1.pt"
    path.write_bytes(spoiled(path.read_bytes(), what, tmp_path))
    said: list[str] = []
    row = run(point, {"version": "0"}, kept(tmp_path, point, said, every=1e9))
    assert found(row) == found(whole)
    assert "resumed_updates" not in row["cost"]
    assert len(said) == 1
    assert said[0].startswith(f"checkpoint 1.pt of run {identity(point)} is set aside (")
    assert "\n" not in said[0]
    assert [one.name for one in path.parent.iterdir()] == ["1.pt.aside"]
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("how", ["a file", "full", "sync"])
def test_without_a_place_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    point = adding()
    whole = run(point, {"version": "0"})
    folder = tmp_path / "checkpoints"
    if how == "a file":
        folder.write_text("no folder")
    elif how == "full":
        monkeypatch.setattr(module.os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space")))
    else:
        monkeypatch.setattr(module.os, "fsync", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
    said: list[str] = []
    row = run(point, {"version": "0"}, kept(folder, point, said))
    assert found(row) == found(whole)
    assert len(said) == 1, said
    assert said[0].endswith("; the training goes on without.")
    assert folder.is_file() or list((folder / identity(point)).iterdir()) == []


def test_a_torn_write_never_takes_the_place_of_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = adding()
    cut(monkeypatch, 3, lambda: run(point, {"version": "0"}, kept(tmp_path, point)))

    def torn(descriptor: int) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", torn)
        with pytest.raises(Cut):
            run(point, {"version": "0"}, kept(tmp_path, point))
    again = run(point, {"version": "0"}, kept(tmp_path, point))
    assert again["cost"]["resumed_updates"] == 3


def test_discard_removes_one_run_and_nothing_else(tmp_path: Path) -> None:
    folder, outside = tmp_path / "checkpoints", tmp_path / "rows"
    outside.mkdir()
    for name in ("a" * 16, "b" * 16):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.pt").write_bytes(b"x")
    for name in ("../rows", "", ".", "c" * 16, "A" * 16):
        discard(folder, name)
    assert outside.is_dir()
    discard(folder, "a" * 16)
    assert [one.name for one in folder.iterdir()] == ["b" * 16]
    discard(folder, "b" * 16)
    assert not folder.exists()
    discard(folder, "b" * 16)


def test_a_run_that_is_killed_goes_on_in_a_new_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the pool: what one process has kept, another takes up, and what it has to say is heard."""
    point = adding()
    code = {identity(point): "c" * 16}
    (whole,) = run_all([point], facts={"version": "0"})
    cut(monkeypatch, 5, lambda: run(point, {"version": "0"}, kept(tmp_path, point)))
    said: list[str] = []
    held = {identity(point): Held({}, VERSIONS)}
    (again,) = run_all([point], facts={"version": "0"}, checkpoints=tmp_path, code=code, say=said.append, held=held)
    assert found(again) == found(whole)
    assert again["cost"]["resumed_updates"] == 5
    assert again["cost"]["seconds"] > again["cost"]["train_seconds"]
    assert said == []
    (other,) = run_all([point], facts={"version": "0"}, checkpoints=tmp_path, code={}, say=said.append)
    assert found(other) == found(whole)
    assert "resumed_updates" not in other["cost"]
    (sentence,) = said
    assert "it is of another code" in sentence


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ({**VERSIONS, "scipy": "1.18"}, "it is of other versions of scipy"),
        ({**VERSIONS, "Python": "3.12"}, "it is of other versions of Python"),
        ({**VERSIONS, "llvmlite": "0.4"}, "it is of other versions of llvmlite"),
        ({"Python": "3.11"}, "it is of other versions of numpy, scipy"),
    ],
)
def test_a_training_is_not_taken_up_under_other_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], told: str
) -> None:
    point = adding()
    cut(monkeypatch, 5, lambda: run(point, {"version": "0"}, kept(tmp_path, point)))
    said: list[str] = []
    row = run(point, {"version": "0"}, replace(kept(tmp_path, point, said), versions=versions))
    assert "resumed_updates" not in row["cost"]
    assert len(said) == 1
    assert told in said[0]


def test_a_training_is_not_taken_up_by_another_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = adding()
    cut(monkeypatch, 4, lambda: train(kept(tmp_path, point).next("general")))
    said: list[str] = []
    train(kept(tmp_path, point, said, every=1e9).next("cpu"))
    assert len(said) == 1
    assert "it is of another engine" in said[0]


def test_nothing_is_kept_once_the_code_was_edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point, said = adding(), list[str]()
    whole = run(point, {"version": "0"})
    answers = iter([True, True, False])
    edited = replace(kept(tmp_path, point, said), intact=lambda: next(answers))
    assert found(run(point, {"version": "0"}, edited)) == found(whole)
    assert said == [
        f"no checkpoints are kept of run {identity(point)}: its code was edited since it was planned; "
        "the training goes on without."
    ]
    again = run(point, {"version": "0"}, kept(tmp_path, point))
    assert again["cost"]["resumed_updates"] == 2, "what came before the edit is good"
    assert found(again) == found(whole)


SLOW = """
import time
from dataclasses import dataclass
from odernn.tasks.adding import TASK as Adding

@dataclass(frozen=True)
class Slow(Adding):
    name = "slow"

    def batch(self, size, rng):
        time.sleep(0.2)
        return super().batch(size, rng)

TASK = Slow
"""


@pytest.mark.parametrize("edited", [False, True], ids=["untouched", "edited and put back"])
def test_a_process_keeps_nothing_where_it_may_have_loaded_an_edit(tmp_path: Path, edited: bool) -> None:
    """By the file's stamp: when the training is kept, the file is to the letter what it was when it was planned."""
    path, folder = tmp_path / "slow.py", tmp_path / "checkpoints"
    path.write_text(SLOW)
    point = {**adding(updates=6), "task": {"name": str(path), "length": 8}}
    code, before = code_of(point), path.stat()
    if edited:
        time.sleep(0.02)  # longer than a file system's clock stands still
        path.write_text(SLOW.replace("0.2", "0.1"))
        path.write_text(SLOW)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    said: list[str] = []
    key = identity(point)
    (row,) = run_all(
        [point],
        facts={"version": "0"},
        checkpoints=folder,
        code={key: code.digest},
        say=said.append,
        held={key: Held(code.files, VERSIONS)},
    )
    assert row["status"] == "ok", row["reason"]
    assert row["cost"]["train_seconds"] >= 1, "or nothing is worth keeping"
    assert [one.name for one in folder.glob("*/*")] == ([] if edited else ["1.pt"])
    assert len(said) == edited


def test_a_long_training_is_kept_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after a training may be killed too."""
    point = adding()
    monkeypatch.setattr(learning.time, "perf_counter", Clock().read)
    whole = run(point, {"version": "0"}, kept(tmp_path, point, every=1e9))
    again = run(point, {"version": "0"}, kept(tmp_path, point, every=1e9))
    assert again["cost"]["resumed_updates"] == 12
    assert found(again) == found(whole)


class Clock:
    """Every look takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def read(self) -> float:
        self.now += 1.0
        return self.now
