"""What a first call costs: where nothing was compiled before, and in a new process that finds on disk what was."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from typing import Any

from ...suite.errors import UsageError

CACHE = "ODERNN_CACHE"
"""The variable that names the folder of compiled code."""

PATIENCE = 120.0
"""Seconds after which it is given up."""


@contextmanager
def nothing_compiled() -> Iterator[None]:
    """An empty folder for the code that our CPU engine compiles, for this process and those it starts."""
    before = os.environ.get(CACHE)
    with TemporaryDirectory(prefix="odernn-speed-", ignore_cleanup_errors=True) as folder:
        os.environ[CACHE] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[CACHE]
            else:
                os.environ[CACHE] = before


def in_new_process(function: Callable[..., float], *arguments: Any) -> float:
    """The function's value there. It and its arguments are pickled. Raises `UsageError` where it gives none."""
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(writer, function, arguments), daemon=True)
    process.start()
    writer.close()
    try:
        if not reader.poll(PATIENCE):
            raise UsageError(f"a new process gave no value within {PATIENCE:g} s.")
        return float(reader.recv())
    except EOFError:
        raise UsageError("a new process ended without a value.") from None
    finally:
        process.kill()
        process.join()
        reader.close()


def _work(writer: Connection, function: Callable[..., float], arguments: tuple[Any, ...]) -> None:
    writer.send(function(*arguments))
    writer.close()
