"""`odernn merge`: the rows of several machines in one folder.

A point that several folders hold with the same metrics is one row; with other metrics it is a conflict, and nothing is
written. What a row says about where it was made stays as it is.

Longer than most files for the sentences that say what conflicts and why.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .commands import FILE as COMMANDS
from .commands import merged, moment, read_commands
from .errors import Lines, UsageError
from .printable import many, printable
from .row import FAILURES, FILE, Row, describe, encode, identity, read, rows_file

CODE = "code.jsonl"
"""The file of a results folder that says which modules a code digest stands for."""
ALSO = "also"
"""The key under `environment` of a merged row: the other environments that gave the same metrics."""
SHOWN = 20
"""Conflicts, or failures that gave way, that are named one by one."""


@dataclass(frozen=True)
class _Found:
    """A row and the folder that holds it."""

    folder: Path
    row: Row


def merge(folders: Sequence[Path], out: Path) -> str:
    """Write the rows of all folders to out/rows.jsonl, and their code and commands; what was done, in sentences.

    Of the same point (id) with the same metrics, the row finished last stays, its environment with the others' under
    `ALSO`. A failed run gives way to one that ended. Of a point that a folder holds several times, the last row counts.

    Raises `UsageError` where a folder has no rows file, out is not empty, or rows of the same point differ: nothing is
    written then.
    """
    _check_free(out)
    found: dict[str, list[_Found]] = {}
    torn: list[str] = []
    total = older = 0
    for folder in folders:
        rows = read(rows_file(folder))
        newest = rows.newest()
        torn += rows.torn
        total += len(newest)
        older += len(rows.rows) - len(newest)
        for key, row in newest.items():
            found.setdefault(key, []).append(_Found(folder, row))
    if not found:
        raise UsageError(f"no row is in {_list(folders)}: nothing to merge.")
    conflicts = [line for each in found.values() if (line := _conflict(each)) is not None]
    if conflicts:
        count = f"{len(conflicts)} points differ" if len(conflicts) > 1 else "1 point differs"
        raise Lines(f"{count} between the folders, so nothing was written:\n{_some(conflicts)}")
    codes, told = _codes(folders)
    kept = [_kept(each) for each in found.values()]
    lines = [encode(row) for row in kept]
    _write(
        out,
        {
            CODE: [json.dumps(entry, separators=(",", ":")) for entry in codes.values()],
            COMMANDS: _commands(folders, found.values(), told),
            FILE: lines,
        },
    )
    several = sum(len(each) > 1 for each in found.values())
    beaten = [line for each in found.values() if (line := _gave_way(each)) is not None]
    said = [f"{many(len(lines), 'row')} of {many(len(folders), 'folder')} are in {printable(str(out / FILE))}."]
    if several:
        others = ", and names the other environments" if any(ALSO in row["environment"] for row in kept) else ""
        said.append(
            f"{many(several, 'point')} of them in more than one folder, with nothing that contradicts: the row "
            f"finished last stays{others} ({many(total, 'row was', 'rows were')} read)."
        )
    if beaten:
        said.append(f"{many(len(beaten), 'failed run')} gave way to one that ended:\n{_some(beaten)}")
    if older:
        said.append(f"{many(older, 'older row')} of points that were run again are left out.")
    return "\n".join([*said, *(printable(sentence) for sentence in (*torn, *told))])


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{printable(str(out))} is a file: expected a new or an empty folder.")
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{printable(str(out))} is not empty: expected a new or an empty folder.")


# ---------------------------------------------------------------------------------------------------------- one point


def _results(found: Sequence[_Found]) -> list[_Found]:
    """The rows of runs that ended, or all where none did."""
    return [each for each in found if each.row["status"] not in FAILURES] or list(found)


def _ended(row: Row) -> bool:
    return row["status"] not in FAILURES


def _conflict(found: Sequence[_Found]) -> str | None:
    """What rows of one id contradict each other in, as a line; None where they agree."""
    first = found[0]
    for other in found[1:]:
        if _point(first.row) != _point(other.row):
            both = f"{_place(first)} and {_place(other)}"
            return f"{_name(first)}: two different points under one id, in {both}"
    results = _results(found)
    for other in results[1:] if _ended(results[0].row) else []:
        difference = _difference(results[0], other)
        if difference:
            return f"{_name(results[0])}: {difference}; {_origins(results[0], other)}"
    return None


def _difference(one: _Found, other: _Found) -> str:
    a, b = one.row, other.row
    if a["status"] != b["status"]:
        return f"{printable(a['status'])} in {_place(one)}, {printable(b['status'])} in {_place(other)}"
    names = sorted(name for name in {**a["metrics"], **b["metrics"]} if not _same(a["metrics"], b["metrics"], name))
    if not names:
        return ""
    more = f" (and {many(len(names) - 1, 'metric')} more)" if len(names) > 1 else ""
    values = [f"{_value(each.row, names[0])} in {_place(each)}" for each in (one, other)]
    return f"{printable(names[0])} is {', '.join(values)}{more}"


def _same(a: Mapping[str, Any], b: Mapping[str, Any], name: str) -> bool:
    """Whether both have the same value, a NaN being a NaN."""
    if (name in a) != (name in b):
        return False
    return bool(a[name] == b[name]) or (a[name] != a[name] and b[name] != b[name])


def _value(row: Row, name: str) -> str:
    return printable(repr(row["metrics"][name])) if name in row["metrics"] else "absent"


def _point(row: Row) -> str:
    """The point of a row; its engine is what a run found, or is told apart by the id."""
    return identity(row | {"solver": {key: value for key, value in row["solver"].items() if key != "engine"}})


def _origins(one: _Found, other: _Found) -> str:
    """Which code made two rows, in words."""
    codes = [_code(each.row) for each in (one, other)]
    return f"both by {codes[0]}" if codes[0] == codes[1] else f"by {codes[0]} and by {codes[1]}"


def _code(row: Row) -> str:
    for key in ("code", "revision"):
        value = row["environment"].get(key)
        if isinstance(value, str):
            return f"{key} {printable(value)}"
    return "code that its row does not name"


def _gave_way(found: Sequence[_Found]) -> str | None:
    lost = [each for each in found if not _ended(each.row)]
    kept = [each for each in found if _ended(each.row)]
    if not lost or not kept:
        return None
    ends = [f"{printable(each.row['status'])} in {_place(each)}" for each in (*lost, *kept)]
    return f"{_name(found[0])}: {', '.join(ends)}"


def _last(results: Sequence[_Found]) -> int:
    """The place of the row that stays."""
    return max(range(len(results)), key=lambda place: (moment(results[place].row["finished"]), place))


def _kept(found: Sequence[_Found]) -> Row:
    """The row that stays, with the environments of the others that differ from its own."""
    results = _results(found)
    last = _last(results)
    row = results[last].row
    own = {key: value for key, value in row["environment"].items() if key != ALSO}
    others: list[Any] = []
    for each in (results[last], *results):
        environment = each.row["environment"]
        earlier = environment.get(ALSO)
        for one in (
            {key: value for key, value in environment.items() if key != ALSO},
            *(earlier if isinstance(earlier, list) else []),
        ):
            if one != own and one not in others:
                others.append(one)
    return row | {"environment": own | {ALSO: others}} if others else row


# ------------------------------------------------------------------------------------------------------------- on disk


def _codes(folders: Sequence[Path]) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The entries of every code.jsonl by digest, and what is to be told of lines that hold none."""
    codes: dict[str, Mapping[str, Any]] = {}
    told: list[str] = []
    for folder in folders:
        path = folder / CODE
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                entry = None
            if not (isinstance(entry, dict) and isinstance(entry.get("digest"), str) and "modules" in entry):
                told.append(f"{path}, line {number}: no digest with its modules, left out.")
            elif codes.setdefault(entry["digest"], entry)["modules"] != entry["modules"]:
                told.append(f"{path}, line {number}: other modules for digest {entry['digest']}, left out.")
    return codes, told


def _commands(folders: Sequence[Path], found: Iterable[Sequence[_Found]], told: list[str]) -> list[str]:
    """The lines of the commands behind the rows that stay; lines that hold none are told."""
    stay: dict[Path, list[Row]] = {}
    for each in found:
        results = _results(each)
        one = results[_last(results)]
        stay.setdefault(one.folder, []).append(one.row)
    sides = []
    for folder in dict.fromkeys(folders):
        commands = read_commands(folder)
        told += commands.torn
        sides.append((commands.found, stay.get(folder, [])))
    return [command.encode() for command in merged(sides)]


def _write(out: Path, files: Mapping[str, Sequence[str]]) -> None:
    """The files that have lines, all or none; the rows come last, and with them the folder is one of results."""
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    taken = out / f"{FILE}.merging"
    try:
        descriptor = os.open(taken, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise UsageError(f"another merge is writing to {printable(str(out))}.") from None
    done: list[Path] = []
    try:
        with os.fdopen(descriptor, "wb") as file:
            _put(file, files[FILE])
        if any((out / name).exists() for name in files):
            raise UsageError(f"{printable(str(out))} is not empty any more: expected a new or an empty folder.")
        for name, lines in files.items():
            if lines and name != FILE:
                with (out / f"{name}.merging").open("wb") as file:
                    _put(file, lines)
                os.replace(out / f"{name}.merging", out / name)
                done.append(out / name)
        os.replace(taken, out / FILE)
    except BaseException:
        for path in (*(out / f"{name}.merging" for name in files), *done):
            path.unlink(missing_ok=True)
        if made:
            with suppress(OSError):
                out.rmdir()
        raise
    _sync(out)


def _put(file: Any, lines: Sequence[str]) -> None:
    # half a surrogate pair is no UTF-8: it stays the escape that it was
    file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
    file.flush()
    os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -------------------------------------------------------------------------------------------------------------- words


def _place(found: _Found) -> str:
    return printable(str(found.folder))


def _name(found: _Found) -> str:
    return printable(f"{found.row['id']} ({describe(found.row)})")


def _some(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(f"  {line}" for line in (*lines[:SHOWN], *more))


def _list(folders: Sequence[Path]) -> str:
    return ", ".join(printable(str(folder)) for folder in folders)
