"""What a call costs in a new process: the first one, with whatever earlier processes left on disk."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from ...suite.errors import UsageError

PATIENCE = 120.0
"""Seconds after which it is given up."""


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
