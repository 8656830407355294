"""Which command made which row: `commands.jsonl` of a results folder, a line for every experiment that a command ran.

A line is written before the first row, and lists the points that were to run. Writers of a folder come one after
another, so a row is of the last command that was to run its point and began before it did. What is on such a line is
told, and never carried out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import UsageError
from .printable import printable
from .row import append_line

FILE = "commands.jsonl"

FACTS = ("version", "revision", "dirty")
"""What a line says of the odernn that ran, of `environment.host()`."""


@dataclass(frozen=True)
class Command:
    """One experiment of one `odernn run`. line: as it was typed, empty where there was no command line. started: ISO
    8601 with its offset from UTC. facts: `FACTS` by name. ids: of the points that it was to run."""

    line: str
    experiment: str
    started: str
    facts: tuple[tuple[str, str | bool | None], ...]
    ids: tuple[str, ...]

    def encode(self) -> str:
        """The line of the file, without its end."""
        told = {"command": self.line, "experiment": self.experiment, "started": self.started}
        return json.dumps(told | dict(self.facts) | {"ids": list(self.ids)}, separators=(",", ":"))


@dataclass(frozen=True)
class Commands:
    """The commands of a folder in order of writing, and one sentence for every line that was set aside."""

    found: tuple[Command, ...]
    torn: tuple[str, ...]


def read_commands(folder: Path) -> Commands:
    """What a folder's file holds; nothing where there is none. A line that is no command is set aside, never fatal.

    Raises `UsageError` where the file is there and cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return Commands((), ())
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    found, torn = [], []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        command = _decoded(line)
        if command is None:
            torn.append(f"{path}, line {number}: no command with its points in {len(line)} bytes, set aside.")
        else:
            found.append(command)
    return Commands(tuple(found), tuple(torn))


def _decoded(line: bytes) -> Command | None:
    try:
        entry: Any = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    typed, experiment, started, ids = (entry.get(key) for key in ("command", "experiment", "started", "ids"))
    if not (isinstance(typed, str) and isinstance(experiment, str) and isinstance(started, str)):
        return None
    if moment(started) == float("-inf") or not isinstance(ids, list) or not all(isinstance(key, str) for key in ids):
        return None
    return Command(typed, experiment, started, facts_of(entry), tuple(ids))


def facts_of(known: Mapping[str, Any]) -> tuple[tuple[str, str | bool | None], ...]:
    """`FACTS` of `environment.host()`, or of a line."""
    return tuple((key, value if isinstance(value := known.get(key), str | bool) else None) for key in FACTS)


def note_command(folder: Path, command: Command) -> None:
    """Append a command, whole and on the disk. Only whoever holds the folder's rows open for writing may.

    Raises `UsageError` where it cannot be: rows that come after it would be taken for an earlier command's.
    """
    path = folder / FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            append_line(descriptor, command.encode().encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(f"{path} cannot be written to: {error.strerror}.") from None


def made_by(rows: Iterable[Mapping[str, Any]], commands: Sequence[Command]) -> dict[str, Command]:
    """By id the command that made a row, of those rows (with "id" and "started") whose command is known."""
    known: dict[str, list[tuple[float, Command]]] = {}
    for command in sorted(commands, key=lambda one: moment(one.started)):
        began = moment(command.started)
        for key in command.ids:
            known.setdefault(key, []).append((began, command))
    found: dict[str, Command] = {}
    for row in rows:
        started = moment(row["started"])
        earlier = [command for began, command in known.get(row["id"], ()) if began <= started]
        if earlier:
            found[row["id"]] = earlier[-1]
    return found


def merged(folders: Iterable[tuple[Sequence[Command], Iterable[Mapping[str, Any]]]]) -> list[Command]:
    """The commands of several folders as those of one. folders: the commands of each, and those of its rows that stay.

    Each command keeps the points whose row stays and is its own, so that none is taken for another folder's; one that
    made no such row is left out, and one that several folders tell of is told once.
    """
    kept: dict[Command, dict[str, None]] = {}
    for commands, rows in folders:
        by = made_by(rows, commands)
        own: dict[int, dict[str, None]] = {id(command): {} for command in commands}
        for key, command in by.items():
            own[id(command)][key] = None
        for command in commands:
            if own[id(command)]:
                kept.setdefault(replace(command, ids=()), {}).update(own[id(command)])
    return [replace(bare, ids=tuple(ids)) for bare, ids in kept.items()]


def moment(text: Any) -> float:
    """Seconds since 1970 of an ISO time, UTC where it names no zone; what is no time is before all others."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError):
        return float("-inf")


def told(line: str, most: int = 4000) -> str:
    """A command line as it may be shown: printable, and its beginning where it is endless."""
    text = printable(line)
    return text if len(text) <= most else f"{text[:most]}…"
