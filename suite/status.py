"""How far a run is, for other shells: the driver notes it in the results folder, `odernn status DIR` reads it there.

A note is a sign of life, not the truth: what is done stands in the rows, and failures are told from them.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .printable import many, printable
from .progress import duration
from .row import FAILURES, Row, Rows, describe, read, rows_file

FILE = "progress.json"

SHOWN = 10
"""So many runs at work and failures are listed at most; the others are counted."""

LARGEST = 2**20
"""Bytes of a note at most; a larger file is none."""

SILENCE = 60.0
"""Seconds without a note after which a driver that is there, or may be, is said to be silent."""

_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("pid", "total", "fresh", "done", "failed"), int),
    **dict.fromkeys(("host", "started", "experiment", "updated"), str),
    "running": list,
    "finished": bool,
    "seconds_left": (int, float, type(None)),
}


def note(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replace the folder's note by these facts, plain JSON, at once. Never fatal: rows count, a note does not.

    There is one driver a folder, so one name for the next note; one that was left there by a killed driver goes.
    """
    path = folder / FILE
    fresh = path.with_name(f"{FILE}.tmp")
    try:
        text = json.dumps(dict(facts))
        with suppress(FileNotFoundError):
            fresh.unlink()
        with fresh.open("x", encoding="utf-8") as file:  # made here: no link leads it out of the folder
            file.write(text)
        os.replace(fresh, path)
    except (OSError, TypeError, ValueError):
        with suppress(OSError):
            fresh.unlink()


def status(folder: Path) -> str:
    """What runs in a folder of results: how far it is, the time left, whether its driver is alive, what failed.

    Raises `UsageError` where the folder has no rows, or where they cannot be read.
    """
    rows = read(rows_file(folder))
    facts, wrong = _noted(folder)
    if facts is None:
        lines = [f"{folder}: {wrong}."]
        live = False
    else:
        lines, live = _driver(folder, facts, rows)
    return "\n".join(printable(line) for line in [*lines, *_stored(rows, live)])


def _noted(folder: Path) -> tuple[Mapping[str, Any] | None, str]:
    """The note, or None and why."""
    path = folder / FILE
    if not path.is_file():
        return None, "no run has noted its progress here"
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        facts: Any = json.loads(data) if len(data) <= LARGEST else None
    except OSError as error:
        return None, f"{FILE} cannot be read: {error.strerror}"
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or not all(_is(facts.get(key), kind) for key, kind in _FIELDS.items()):
        return None, f"{FILE} is no note of a run and was set aside"
    if not all(isinstance(one, str) for one in facts["running"]) or None in (
        _moment(facts["started"]),
        _moment(facts["updated"]),
    ):
        return None, f"{FILE} is no note of a run and was set aside"
    return facts, ""


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int | float) and not isinstance(value, bool):
        return isinstance(value, kind) and 0 <= value < 2**53
    return isinstance(value, kind)


def _moment(text: str) -> datetime | None:
    """The moment of an ISO 8601 text with its offset from UTC; None for any other text."""
    try:
        moment = datetime.fromisoformat(text)
        return None if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# ----------------------------------------------------------------------------------------------------------- the driver


def _driver(folder: Path, facts: Mapping[str, Any], rows: Rows) -> tuple[list[str], bool]:
    """What is said of the driver and of what it does, and whether it may still write rows."""
    updated, started = _moment(facts["updated"]), _moment(facts["started"])
    assert updated is not None
    assert started is not None
    silent = max(0.0, (datetime.now(UTC) - updated).total_seconds())
    alive = None if facts["finished"] or facts["host"] != platform.node() else _alive(facts["pid"], started)
    done, lost, total = facts["done"], facts["failed"], facts["total"]
    if alive is False:  # what it did last it may not have noted
        done, lost = _since_then(rows, facts["experiment"], started, done, lost)
    there = min(facts["fresh"] + done, total)
    failed = f", {lost} of them failed" if lost else ""
    earlier = f", {facts['fresh']} of them before this run" if facts["fresh"] else ""
    of_all = many(total, "point is", "points are")
    lines = [f"{folder}: {facts['experiment']}, {there} of {of_all} done{earlier}{failed}."]
    who = f"process {facts['pid']} on {facts['host'] or 'a host without a name'}"
    heard = f"last heard of {_ago(silent)}"
    if facts["finished"]:
        lines.append(f"finished: {who} ended it {_ago(silent)}, after {duration(_between(started, updated))}.")
        return lines, False
    if alive is False:
        how = "the same `odernn run` goes on from there"
        lines.append(f"ended unfinished: {who} is not there any more, {heard}; {how}.")
        return lines, False
    state = "running" if alive else "running, as far as can be told from another host"
    if silent > SILENCE:
        state = "silent" if alive else "silent, and cannot be asked from this host"
    left, at_work = facts["seconds_left"], facts["running"]
    time = "" if left is None else f", about {duration(max(0.0, left - silent))} left"
    lines.append(f"{state}: {who}, started {_ago(_since(started))}, {heard}{time}.")
    lines += _listed([f"at work: {one}" for one in at_work], "more at work")
    return lines, True


def _since_then(rows: Rows, experiment: str, started: datetime, done: int, failed: int) -> tuple[int, int]:
    """Points of a run that have a row, and those of them that failed, by the rows; never fewer than were noted."""
    of_run = [
        row
        for row in rows.newest().values()
        if row["experiment"] == experiment and (began := _moment(row["started"])) is not None and began >= started
    ]
    return max(done, len(of_run)), max(failed, sum(row["status"] in FAILURES for row in of_run))


def _alive(pid: int, started: datetime) -> bool:
    """Whether the process that made a note then is still there: one with its number that began later is another."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= started.timestamp() + 1.0
    except psutil.AccessDenied:
        return True
    except (psutil.Error, ValueError, OverflowError):
        return False


def _since(moment: datetime) -> float:
    return _between(moment, datetime.now(UTC))


def _between(earlier: datetime, later: datetime) -> float:
    return max(0.0, (later - earlier).total_seconds())


def _ago(seconds: float) -> str:
    """ "just now", "12 s ago", "3:05:00 ago", "4 days ago"."""
    if seconds < 2:
        return "just now"
    if seconds < 100:
        return f"{seconds:.0f} s ago"
    return f"{duration(seconds)} ago" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days ago"


# ------------------------------------------------------------------------------------------------------------- the rows


def _stored(rows: Rows, live: bool) -> list[str]:
    """The rows by status, and those that failed. live: a driver may be writing, so that half a line at the end is its
    next row."""
    newest = list(rows.newest().values())
    counts: dict[str, int] = {}
    for row in newest:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    told = ", ".join(f"{count} {one}" for one, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    lines = [f"rows: {told or 'none yet'}."]
    lines += _listed([_failure(row) for row in reversed(newest) if row["status"] in FAILURES], "more failed")
    return lines + ([] if live else rows.torn)


def _failure(row: Row) -> str:
    reason = row["reason"].splitlines()[0] if row["reason"].strip() else "no reason is given"
    return f"{row['status']}: {describe(row)}: {reason}"


def _listed(lines: list[str], more: str) -> list[str]:
    shown = [f"  {line}" for line in lines[:SHOWN]]
    return [*shown, f"  and {len(lines) - SHOWN} {more}"] if len(lines) > SHOWN else shown
