"""The row: one run as one line of plain JSON, its identity, and the append-only file of them.

A row is a `dict` with the keys of `KEYS`. NaN and the infinities are written as the strings "NaN", "Infinity" and
"-Infinity", which are therefore reserved inside the sections of `NUMERIC`. Past 200 lines because writing and
reading are each the other's specification.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from .errors import UsageError

SCHEMA = 1
FILE = "rows.jsonl"

Point: TypeAlias = dict[str, Any]
"""What identifies a run: task, solver, budget (mappings), seed, device, dtype."""

Row: TypeAlias = dict[str, Any]
"""A finished run: `KEYS`, every value plain JSON, floats as floats."""

POINT_KEYS = ("task", "solver", "budget", "seed", "device", "dtype")
KEYS = (
    "schema",
    "id",
    "experiment",
    *POINT_KEYS,
    "status",
    "reason",
    "metrics",
    "curves",
    "cost",
    "properties",
    "environment",
    "started",
    "finished",
)
NUMERIC = ("task", "solver", "budget", "metrics", "curves", "cost", "properties")
_TYPES: Mapping[str, type] = (
    dict.fromkeys((*NUMERIC, "environment"), dict)
    | dict.fromkeys(("schema", "seed"), int)
    | dict.fromkeys(("id", "experiment", "device", "dtype", "status", "reason", "started", "finished"), str)
)
FAILURES = ("failed", "timeout", "memory")
"""The statuses of a run that went wrong. "diverged" is a result, and so is "skipped"."""

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def plain(value: Any) -> Any:
    """The value as plain JSON types, with NaN and infinities as strings. Raises `TypeError` for anything else."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return float(value) if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"key {key!r} is not a string")
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    import numpy as np

    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _restore(value: Any) -> Any:
    if isinstance(value, str):
        return _SPECIAL.get(value, value)
    if isinstance(value, dict):
        return {key: _restore(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore(item) for item in value]
    return value


def encode(row: Mapping[str, Any]) -> str:
    """A row as one line of JSON without its line end. Raises `TypeError` for what JSON cannot hold."""
    return json.dumps(plain(row), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def decode(line: str) -> Row:
    """The row of one line. Raises `ValueError` where the line is no JSON object."""
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("a row is a JSON object")
    if not any(mark in line for mark in ("NaN", "Infinity", "\\")):  # most rows: nothing to walk through
        return row
    return {key: _restore(value) if key in NUMERIC else value for key, value in row.items()}


def _canonical(value: Any) -> Any:
    """1.0 and 1 are one step size: whole floats count as integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


def identity(point: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of a point: SHA-256 of the canonical JSON of {schema, point}. A row keeps its point's."""
    content = {"schema": SCHEMA, "point": _canonical(plain({key: point[key] for key in POINT_KEYS}))}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def describe(point: Mapping[str, Any]) -> str:
    """A point in one short line: "adding length=20 | leaky rk4 native step=0.5 | seed 1"."""

    def part(values: Mapping[str, Any], bare: Sequence[str]) -> str:
        heads = [str(values[key]) for key in bare if key in values]
        return " ".join(heads + [f"{key}={value}" for key, value in values.items() if key not in bare])

    task, solver = part(point["task"], ["name"]), part(point["solver"], ["cell", "tableau", "backend"])
    kind = "".join(f" {point[k]}" for k, usual in (("dtype", "float32"), ("device", "cpu")) if point[k] != usual)
    return f"{task} | {solver}{kind} | seed {point['seed']}"


@dataclass(frozen=True)
class Rows:
    """What a file holds: its rows in order of writing, and one sentence for every line that was set aside."""

    rows: list[Row]
    torn: list[str]

    def newest(self) -> dict[str, Row]:
        """By id, the row written last."""
        return {row["id"]: row for row in self.rows}


def read(path: Path) -> Rows:
    """The rows of a file; a line that is not whole (a run was killed while writing) is set aside, never fatal.

    Raises `UsageError` where the file cannot be read or holds a row of another schema.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    rows, torn = [], []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = decode(line.decode())
        except (ValueError, RecursionError):
            torn.append(f"{path}, line {number}: torn after {len(line)} bytes, set aside.")
            continue
        if row.get("schema") != SCHEMA:
            raise UsageError(f"{path}, line {number}: schema {row.get('schema')!r}, expected {SCHEMA}.")
        for key in KEYS:
            if not isinstance(row.get(key), _TYPES[key]):
                wrong = f"is no {_TYPES[key].__name__}" if key in row else "is missing"
                raise UsageError(f"{path}, line {number}: not a row, {key!r} {wrong}.")
        rows.append(row)
    return Rows(rows, torn)


def rows_file(folder: Path) -> Path:
    """The file of a folder of results. Raises `UsageError` where there is none."""
    path = folder / FILE
    if not path.is_file():
        raise UsageError(f"{folder} is not a folder of results: it has no {FILE}.")
    return path


def existing(folder: Path) -> Rows:
    """What a folder already holds, for a run that will add to it; nothing is created.

    Raises `UsageError` where it is no folder, or holds other things and no rows.
    """
    if (folder / FILE).is_file():
        return read(folder / FILE)
    if (folder / FILE).exists():
        raise UsageError(f"{folder / FILE} is no file: expected one of rows, or none.")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: expected a folder for results.")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not a folder of results: it is not empty and has no {FILE}.")
    return Rows([], [])


def append_line(descriptor: int, line: bytes) -> None:
    """Write one line to the end of a file, all of it and on the disk, or take back what was written of it.

    The descriptor is opened for reading and appending, by one writer at a time. Raises `OSError`.
    """
    size = os.fstat(descriptor).st_size
    torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
    data = memoryview(b"\n" * torn + line + b"\n")  # what a killed writer left stays alone on its line
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    except BaseException as error:
        if data or isinstance(error, OSError):  # half a row is no row; a whole one outlasts an interrupt
            with suppress(OSError):  # what cannot be taken back is set aside when it is read
                os.ftruncate(descriptor, size)
        raise


class Writer:
    """Appends rows to a folder's file, each whole and on the disk before `append` returns."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self._path = descriptor, path

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row. Raises `UsageError`, and leaves the file as it was, where the disk does not take all of it, or
        where the file is no longer the one in the folder."""
        line = encode(row).encode()
        try:
            there, ours = os.stat(self._path), os.fstat(self._descriptor)
            if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
                raise UsageError(f"{self._path} was replaced by another file while the run went on.")
            append_line(self._descriptor, line)
        except OSError as error:
            raise UsageError(f"{self._path} cannot be written to: {error.strerror}.") from None


@contextmanager
def writer(folder: Path) -> Iterator[Writer]:
    """Open a folder's file for appending, creating both. Raises `UsageError` while another run writes there."""
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to: {error.strerror}.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another run is writing to {folder}: wait for it, or give another --out.") from None
        except OSError as error:  # a file system without locks
            raise UsageError(f"{folder / FILE} cannot be locked: {error.strerror}.") from None
        yield Writer(descriptor, folder / FILE)
    finally:
        os.close(descriptor)
