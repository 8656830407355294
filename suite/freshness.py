"""Whether a stored row still is what its point would give now: fresh, stale or missing, and why in words.

A row is reused only where its code and the versions of the packages that its point uses are those of now; what it does
not say cannot be compared, so an older row without a code is stale. A folder of results keeps, in `code.jsonl`, the
modules behind every code, so that a reason can name those that changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .environment import ALWAYS
from .fingerprint import Code
from .row import FAILURES, Row, append_line

FILE = "code.jsonl"

State = Literal["fresh", "stale", "missing"]
NAMED = 3
"""So many changed modules are named, the others counted."""


@dataclass(frozen=True)
class Verdict:
    """Of one point: its state, and why."""

    state: State
    reason: str


@dataclass
class CodeBook:
    """What a folder knows of codes: by digest, the modules with their digests. torn: one sentence a line set aside."""

    known: dict[str, Mapping[str, str]] = field(default_factory=dict)
    torn: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> CodeBook:
        """The book of a folder; empty where there is none, or where it cannot be read."""
        book, path = cls(), folder / FILE
        try:
            data = path.read_bytes()
        except OSError:
            return book
        for number, line in enumerate(data.split(b"\n"), 1):
            if not line.strip():
                continue
            entry = _entry(line)
            if entry is None:
                book.torn.append(f"{path}, line {number}: torn after {len(line)} bytes, set aside.")
            else:
                book.known[entry[0]] = entry[1]
        return book

    def add(self, folder: Path, codes: Iterable[Code]) -> None:
        """Write down the codes that are not there yet. The book only helps to word reasons: a failure is ignored."""
        new = {code.digest: code.modules for code in codes if code.digest not in self.known}
        if not new:
            return
        try:
            descriptor = os.open(folder / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            return
        try:
            for digest, modules in new.items():
                line = json.dumps({"digest": digest, "modules": dict(modules)}, separators=(",", ":"))
                append_line(descriptor, line.encode())
                self.known[digest] = modules
        except OSError:
            return
        finally:
            os.close(descriptor)


def _entry(line: bytes) -> tuple[str, Mapping[str, str]] | None:
    """(digest, modules) of a whole line, None for any other."""
    try:
        found: Any = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    digest, modules = found.get("digest"), found.get("modules")
    if not isinstance(digest, str) or not isinstance(modules, dict):
        return None
    whole = all(isinstance(value, str) for value in modules.values())
    return (digest, modules) if whole else None


def judge(row: Row | None, code: Code, facts: Mapping[str, Any], book: CodeBook, retry_failed: bool = False) -> Verdict:
    """The state of a point whose newest row is `row`. facts: `environment.host()` of now."""
    if row is None:
        return Verdict("missing", "it has no row.")
    environment: Mapping[str, Any] = row["environment"]
    reasons = [*_code_reasons(environment.get("code"), code, book), *_version_reasons(environment, code, facts)]
    if reasons:
        return Verdict("stale", f"{'; '.join(reasons)}.")
    if row["status"] not in FAILURES:
        return Verdict("fresh", f"its row, {row['status']}, is of this code and these packages.")
    if retry_failed:
        return Verdict("stale", f"its run ended as {row['status']!r}, and failed ones are to run again.")
    return Verdict("fresh", f"its run ended as {row['status']!r}; --retry-failed runs it again.")


def _code_reasons(digest: Any, code: Code, book: CodeBook) -> list[str]:
    if digest == code.digest:
        return []
    if not isinstance(digest, str):
        return ["its row does not say which code made it"]
    before = book.known.get(digest)
    if before is None:
        return [f"its code changed since ({FILE} does not say where)"]
    changed = [name for name, value in code.modules.items() if name in before and before[name] != value]
    return [
        sentence
        for names, verb in (
            (changed, "changed since"),
            ([name for name in code.modules if name not in before], "came in since"),
            ([name for name in before if name not in code.modules], "went out since"),
        )
        if (sentence := _listed(names, verb))
    ] or [f"its code is {digest}, and {code.digest} now"]


def _listed(names: list[str], verb: str) -> str:
    if not names:
        return ""
    shown = names[:NAMED]
    if len(names) > NAMED:
        return f"{', '.join(shown)} and {len(names) - NAMED} more {verb}"
    return f"{' and '.join([', '.join(shown[:-1])] * (len(shown) > 1) + shown[-1:])} {verb}"


def versions(code: Code, facts: Mapping[str, Any]) -> dict[str, str | None]:
    """What a point's numbers depend on beside its code: the packages that it uses and Python, each with its version.
    facts: `environment.host()`."""
    there: Mapping[str, str] = {**facts["packages"], **code.packages}
    used = [*ALWAYS, *sorted(name for name in there if name in code.imports and name not in ALWAYS)]
    return {**{name: there.get(name) for name in used}, "Python": _minor(facts.get("python"))}


def vouched(environment: Mapping[str, Any], code: Code) -> dict[str, Any]:
    """The environment of a row that has just come in, with what `judge` compares: versions of what only a plugin
    imports; the digest of its code, None where another code may have made it, by the files or by the row itself."""
    sure = environment.get("code") == code.digest and code.intact()
    packages = {**environment["packages"], **code.packages}
    return {**environment, "packages": packages, "code": code.digest if sure else None}


def _version_reasons(environment: Mapping[str, Any], code: Code, facts: Mapping[str, Any]) -> list[str]:
    packages = environment.get("packages")
    then: Mapping[str, Any] = packages if isinstance(packages, dict) else {}
    now: Mapping[str, Any] = facts["packages"]
    now = {**now, **code.packages} if code.packages else now
    used = [*ALWAYS, *sorted(name for name in {*now, *then} if name in code.imports and name not in ALWAYS)]
    pairs = [(name, then.get(name), now.get(name)) for name in used]
    pairs.append(("Python", _minor(environment.get("python")), _minor(facts.get("python"))))
    return [
        f"{name} {'unsaid' if old is None else old} then, {'absent' if new is None else new} now"
        for name, old, new in pairs
        if old != new
    ]


def _minor(version: Any) -> str | None:
    """ "3.11" of "3.11.7"."""
    return ".".join(version.split(".")[:2]) if isinstance(version, str) else None
