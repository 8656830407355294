"""What no input may bring about, whatever it is: watched by an audit hook while a command is carried out."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from odernn.suite import session
from odernn.suite.cli import main
from odernn.suite.environment import host
from odernn.suite.fingerprint import Fingerprints

CANARY = "odernn_canary"
"""A word of hostile inputs: code that holds it is never to be compiled."""

SECONDS = 60
"""No input may keep a command busy for longer."""

STATUSES = (0, 1, 2, 3, 4)

_FORBIDDEN = (
    *("pickle.find_class", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "os.forkpty"),
    *("socket.connect", "socket.bind", "socket.getaddrinfo", "webbrowser.open", "os.kill", "os.killpg"),
)
_CHANGES = (
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod", "os.chown"),
    *("os.utime", "os.setxattr", "shutil.rmtree", "shutil.move"),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass
class Watch:
    """What happened that must not, while `folder` is set: the one folder where files may change."""

    folder: Path | None = None
    found: list[str] = field(default_factory=list)
    hooked: bool = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        program = Path(arguments[0]).name if event == "subprocess.Popen" else "git"
        if event in _FORBIDDEN or program not in ("git", "nvidia-smi"):
            self.found.append(f"{event}{arguments!r}")
        elif event == "compile" and arguments[0] is not None:
            source = arguments[0]
            text = source if isinstance(source, str) else bytes(source).decode(errors="replace")
            if CANARY in text and "CANARY" not in text:
                self.found.append(f"compiled {text!r}")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            self._inside(event, arguments[0])
        elif event in _CHANGES:
            for path in arguments[:2]:
                self._inside(event, path)

    def _inside(self, event: str, path: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike) or os.fspath(path) in (os.devnull, b"/dev/null"):
            return  # a descriptor, a mode
        assert self.folder is not None
        full = os.path.realpath(os.path.abspath(os.fsdecode(path)))
        if not full.startswith(str(self.folder) + os.sep) and full != str(self.folder):
            self.found.append(f"{event}: {full}")


_WATCH = Watch()


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Fails where anything was executed, unpickled, connected to or changed outside of the folder, or took too long."""

    def late(number: int, frame: Any) -> None:
        raise AssertionError(f"still busy after {SECONDS} s")

    if not _WATCH.hooked:
        sys.addaudithook(_WATCH.hook)
        _WATCH.hooked = True
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    _WATCH.found.clear()
    _WATCH.folder = folder.resolve()
    try:
        yield
    finally:
        _WATCH.folder = None
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert not _WATCH.found


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str


@cache
def _host() -> dict[str, Any]:
    return dict(host())


@cache
def _prints() -> Fingerprints:
    return Fingerprints()


Command = Callable[[Sequence[str]], Ended]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Carries out a command line in an empty folder, with streams as a process has them; every rule is checked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    monkeypatch.setattr(session, "host", _host)  # what no input changes is found out once
    monkeypatch.setattr(session, "Fingerprints", _prints)
    monkeypatch.setattr(session, "PUBLISHED", tmp_path / "none")  # megabytes of rows that only tell a pace

    def carry_out(arguments: Sequence[str]) -> Ended:
        out, err = io.BytesIO(), io.BytesIO()
        streams = (
            io.TextIOWrapper(out, encoding="utf-8"),
            io.TextIOWrapper(err, encoding="utf-8", errors="backslashreplace"),
        )
        with watched(tmp_path), redirect_stdout(streams[0]), redirect_stderr(streams[1]):
            status = main(arguments)
        for stream in streams:
            stream.flush()
        ended = Ended(status, out.getvalue().decode(), err.getvalue().decode())
        assert status in STATUSES
        assert "Traceback" not in ended.err
        assert ended.err or status in (0, 1, 4), "a refusal says why"
        wild = [c for c in ended.out + ended.err if not c.isprintable() and c not in "\n"]
        assert not wild, f"control characters {wild} in {ended.out + ended.err!r}"
        return ended

    return carry_out
