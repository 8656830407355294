"""Long trainings kept on the disk, so that a killed run goes on where it was.

A file holds tensors and plain values alone and is read with `weights_only`: nothing in it is ever executed. What is
unreadable, torn, or of another run, code, package, Python or engine is set aside and the training starts anew; nothing
is kept of a training whose code was edited meanwhile, as nobody knows which of it ran. A folder that takes no files
costs the checkpoints, not the run.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 2
_SUM = 32
"""Bytes of SHA-256 that come before the content: torch itself takes a file for whole in which bytes have changed."""


def say(sentence: str) -> None:
    """One line to stderr."""
    print(f"odernn: {sentence}", file=sys.stderr, flush=True)


@dataclass
class Checkpoints:
    """The checkpoints of one run: `<folder>/<run>/<n>.pt` for its n-th training, from 1.

    folder: of all runs; None: none are kept. every: seconds of training between two. run: the row's id. code: digest
    of the code that the run calls. versions: of the packages that it uses, and of Python. intact: whether the files of
    that code are still those of the digest. say: told once why there are no checkpoints, or what was set aside.
    resumed_updates, resumed_seconds: of trainings, taken over from checkpoints so far.
    """

    folder: Path | None
    every: float = 30.0
    run: str = ""
    code: str = ""
    say: Callable[[str], None] = say
    versions: Mapping[str, str | None] = field(default_factory=dict)
    intact: Callable[[], bool] = lambda: True
    resumed_updates: int = 0
    resumed_seconds: float = 0.0
    _trainings: int = field(default=0, repr=False)

    def next(self, engine: str = "") -> Checkpoint | None:
        """The file of the training that begins now; None where none are kept. engine: what carries its steps out."""
        if self.folder is None:
            return None
        self._trainings += 1
        return Checkpoint(self, self.folder / self.run / f"{self._trainings}.pt", self._trainings, engine)


@dataclass
class Checkpoint:
    """One training's file. A state is a mapping of tensors and plain values with "update" and "seconds" among them."""

    owner: Checkpoints
    path: Path
    number: int
    engine: str = ""
    _saved: float = field(default_factory=time.monotonic, repr=False)
    _closed: bool = field(default=False, repr=False)

    def resume(self, restore: Callable[[Mapping[str, Any]], None]) -> bool:
        """Restore what the file holds; whether there was anything to restore. A state that `restore` refuses (by any
        exception) is set aside like an unreadable one: `restore` must then leave all as it was."""
        import torch

        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            self._stop(f"{self.path.name} cannot be read: {error.strerror}")
            return False
        try:
            content = data[_SUM:]
            if hashlib.sha256(content).digest() != data[:_SUM]:
                raise ValueError("it is not whole")
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            for key, value in self._header().items():
                if found.get(key) != value:
                    raise ValueError(f"it is of {_other(key, found.get(key), value)}")
            update, seconds = int(found["state"]["update"]), float(found["state"]["seconds"])
            restore(found["state"])
        except Exception as error:  # whatever a file of unknown content may cause
            self._set_aside(error)
            return False
        self.owner.resumed_updates += update
        self.owner.resumed_seconds += seconds
        return True

    def due(self) -> bool:
        """Whether it is time to save again."""
        return not self._closed and time.monotonic() - self._saved >= self.owner.every

    def worth(self, seconds: float) -> bool:
        """Whether a training of this length is kept when it ends: a shorter one is sooner done again."""
        return not self._closed and seconds >= min(1.0, self.owner.every)

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state in the place of the one before, whole or not at all. Where that fails, or where the code is
        no longer that of the digest, it is said once, and nothing is kept from then on."""
        import torch

        if not self.owner.intact():
            self._stop(f"no checkpoints are kept of run {self.owner.run}: its code was edited since it was planned")
            return
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        # into memory first: torch's own writer of files answers a full disk with an error that cannot be caught
        data = io.BytesIO(bytes(_SUM))
        data.seek(_SUM)
        torch.save({**self._header(), "state": dict(state)}, data)
        content = data.getbuffer()
        content[:_SUM] = hashlib.sha256(content[_SUM:]).digest()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _write(draft, content)
            os.replace(draft, self.path)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            self._stop(f"no checkpoints are kept of run {self.owner.run}: {error.strerror}")
        self._saved = time.monotonic()

    def _header(self) -> dict[str, Any]:
        import torch

        return {
            "format": FORMAT,
            "run": self.owner.run,
            "code": self.owner.code,
            "number": self.number,
            "engine": self.engine,
            "torch": str(torch.__version__),
            "versions": dict(self.owner.versions),
        }

    def _set_aside(self, error: Exception) -> None:
        first = (str(error).strip().splitlines() or [""])[0][:200]
        told = f"checkpoint {self.path.name} of run {self.owner.run} is set aside ({type(error).__name__}: {first})"
        try:
            os.replace(self.path, self.path.with_name(f"{self.path.name}.aside"))
        except OSError as trouble:
            self._stop(f"{told}, but stays where it is: {trouble.strerror}")
        else:
            self.owner.say(f"{told}; the training starts anew.")

    def _stop(self, reason: str) -> None:
        self._closed = True
        self.owner.say(f"{reason}; the training goes on without.")


def _other(key: str, then: Any, now: Any) -> str:
    """What a checkpoint is of, in words: "another code", "other versions of scipy and Python"."""
    if key != "versions" or not isinstance(then, dict):
        return f"another {key}"
    changed = [name for name in {**now, **then} if then.get(name) != now.get(name)]
    return f"other versions of {', '.join(map(str, changed))}"


def _write(path: Path, data: memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(folder: Path, run: str) -> None:
    """Remove the checkpoints of a run, and their folder with the last of them. Never raises for what the disk does."""
    if re.fullmatch(r"[0-9a-f]{16}", run):
        shutil.rmtree(folder / run, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()
