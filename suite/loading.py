"""Running a plugin's code: a module by name, or a file by path. Whatever it raises becomes one sentence."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType, FunctionType, MappingProxyType, ModuleType
from typing import NoReturn

from .errors import MissingPackage, UsageError
from .printable import printable

DEFINED: Mapping[str, str] = MappingProxyType(
    {"task": "TASK", "cell": "field", "tableau": "TABLEAU", "backend": "BACKEND"}
)
"""By kind, what a file calls the one thing of that kind that it defines."""


def is_file(name: str) -> bool:
    """Whether a name in an experiment or on the command line is the path of a Python file."""
    return name.endswith(".py")


def load_module(name: str, who: str) -> ModuleType:
    """The imported module. who: what messages call the plugin. Raises `UsageError` where it does not import."""
    with _guarded(who, name.partition(".")[0]):
        return import_module(name)


def load_file(path: Path, who: str) -> ModuleType:
    """The file as a module, carried out once for each content that it has had.

    Compiled from what was read, so that no older bytecode is taken for it and none is left beside it. Raises
    `UsageError` where it is no file or does not import.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        there = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(f"{who}: {there}.") from None
    place = str(path.resolve())
    digest = hashlib.sha256(place.encode(errors="surrogateescape") + b"\0" + source).hexdigest()[:16]
    name = f"odernn_file_{path.stem}_{digest}"
    known = sys.modules.get(name)
    if known is not None:
        return known
    module = ModuleType(name)
    module.__file__ = place
    sys.modules[name] = module  # a dataclass looks its own module up
    try:
        with _guarded(who, name):
            exec(compile(source, place, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def defined(module: ModuleType, kind: str) -> bool:
    """Whether a file's module defines something of that kind."""
    found = vars(module).get(DEFINED[kind])
    if kind == "cell":  # `field` may as well be what the standard library calls so
        return isinstance(found, FunctionType) and found.__module__ == module.__name__
    return found is not None


class _LeftError(BaseException):
    """A plugin asks for the end of the process while it is imported, past every `except Exception`."""


@contextmanager
def _guarded(who: str, package: str) -> Iterator[None]:
    """Turn what the plugin raises meanwhile into a `UsageError`, `KeyboardInterrupt` and `SystemExit` too.

    A signal that somebody really sends stays what it is: its handler notes that it was called.
    """
    pressed: list[int] = []

    def noting(handler: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], None]:
        def note(number: int, frame: FrameType | None) -> None:
            pressed.append(number)
            handler(number, frame)

        return note

    here, leave = os.getpid(), os._exit

    def left(status: int) -> NoReturn:
        if os.getpid() == here:
            raise _LeftError(f"it ends its process with exit status {status}")
        leave(status)  # a process that the plugin has forked

    os._exit = left
    before: dict[int, Callable[[int, FrameType | None], object]] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                before[number] = handler
                signal.signal(number, noting(handler))
    try:
        yield
    except UsageError:
        raise
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "odernn", package):
            raise UsageError(f"{who} does not import: {_said(error)}.") from error
        raise MissingPackage(
            f"{who} needs the package {missing!r}, which is not installed: pip install {missing}"
        ) from error
    except _LeftError as error:
        raise UsageError(f"{who} does not import: {error}") from error
    except BaseException as error:  # a plugin may raise anything while it is imported; the others must go on
        if pressed or isinstance(error, GeneratorExit):
            raise
        raise UsageError(f"{who} does not import: {type(error).__name__}: {_said(error)}") from error
    finally:
        os._exit = leave
        for asked, handler in before.items():
            signal.signal(asked, handler)


def _said(error: BaseException) -> str:
    """The first line of an error's message; what a message does when it is asked for is the plugin's too."""
    try:
        return printable((str(error).strip() or type(error).__name__).splitlines()[0])
    except Exception:
        return type(error).__name__
