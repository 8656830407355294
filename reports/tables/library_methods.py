"""The libraries' own methods: what each is called, what it claims, and what it turned out to be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..frame import records
from ..pieces import Table
from .conformance import is_library_method, line, misbehaviour

GRADIENT = 1e-5
"""Relative; central differences and stages solved by iteration know a gradient no better."""

COLUMNS = (
    *("library", "version", "method", "claims", "claimed order", "is", "known by", "order"),
    *("claimed real", "real", "claimed imaginary", "imaginary", "remembers", "calls", "gradient", "gradient against"),
    *("jump error", "jump order", "verdict", "refused", "status", "device", "dtype"),
)


def build(frame: pd.DataFrame) -> pd.DataFrame:
    """One line a method. is: tableaux of the catalogue equal to what runs. verdict: from the row's data alone."""
    rows = frame[frame["kind"] == "conformance"]
    lines = [_line(row) for row in records(rows) if is_library_method(row)]
    if not lines:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.DataFrame(lines).sort_values(["library", "claimed order", "method"], kind="stable")[list(COLUMNS)]


def _line(row: Mapping[Any, Any]) -> dict[str, Any]:
    claimed = row.get("properties.claimed")
    claims = str(claimed.get("tableau") or "") if isinstance(claimed, dict) else ""
    starts = row.get("properties.starts_as")
    known = line(row) | {
        "library": row["solver.backend"],
        "version": _text(row.get("properties.version")),
        "method": row["solver.method"],
        "claims": claims,
        "known by": _text(row.get("properties.identified_by")),
        "gradient against": _text(row.get("properties.gradient_reference")),
        "input": _input(row),
        "compared": row.get("properties.compared") is True,
        "own steps": "fixed steps" in _mapping(row, "properties.refused"),
        "starts as": [str(name) for name in starts] if isinstance(starts, list) else [],
    }
    known["is"] = known["identified"]
    return known | {"verdict": verdict(known)}


def verdict(known: dict[str, Any]) -> str:
    """In words, what the numbers of a line say; nothing for a run without a result."""
    if known["status"] != "ok":
        return ""
    parts = [*_what(known), *misbehaviour(known)]
    if known["gradient"] > GRADIENT:
        parts.append(f"gradient off by {known['gradient']:.1e}")
    return "; ".join(parts)


def _what(known: dict[str, Any]) -> list[str]:
    claims, names = known["claims"], known["is"].split(", ") if known["is"] else []
    if known["remembers"]:
        begins = f", starts as {' or '.join(known['starts as'])}" if known["starts as"] else ""
        instead = f", not {claims}" if claims else ""
        return [f"reads slopes of the step before{instead}{begins}"]
    if names:
        if not claims or claims in names:
            return [f"is {claims or ' or '.join(names)}"]
        return [f"is {' or '.join(names)}, not {claims}"]
    if known["own steps"]:
        return ["chooses its own steps"]
    if not known["compared"]:
        return [f"{claims or 'what it is'} unconfirmed"]
    return [f"is not {claims}"] if claims else ["no tableau of the catalogue"]


def _input(row: Mapping[Any, Any]) -> str:
    """How the input reaches the method: by the time of a stage, which at the end of a step is that of the next one."""
    nodes = _mapping(row, "curves.recovered").get("c")
    ends = isinstance(nodes, list) and 1.0 in nodes
    return "an input looked up by time" + (": a stage at the end of a step reads the next" if ends else "")


def _mapping(row: Mapping[Any, Any], key: str) -> Mapping[str, Any]:
    value = row.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def is_odd(verdict: str) -> bool:
    """Whether a verdict says that a method is not what it claims. Inputs are no part of a library's claim."""
    return re.search(r"\bnot\b|instead|order [\d.]+ of|gradient off", verdict) is not None


def _brief(table: pd.DataFrame) -> pd.DataFrame:
    """What is not what it claims first."""
    return table.sort_values("verdict", key=lambda verdicts: ~verdicts.map(is_odd), kind="stable")


def _note(group: pd.DataFrame) -> str:
    return f"{sum(is_odd(v) for v in group['verdict'])} of {len(group)} are not what they claim"


TABLE = Table(
    name="library_methods",
    title="The libraries' own methods",
    kinds=("conformance",),
    caption=(
        "claims: the tableau of the catalogue that the name means, and the order that the library states. is: the "
        "tableaux of the catalogue equal to what runs, recovered from the running method. remembers: a step reads "
        "slopes of the step before. real, imaginary: stability measured over 200 steps, over 2000 of a method that "
        "remembers, beside that of the tableau claimed. jump: of an input that jumps at grid times, looked up by the "
        "stages at their own times as a user writes it; torchdiffeq is told of the jumps by its options."
    ),
    make=build,
    heading=("library", "device", "dtype"),
    narrow=("method", "claims", "is", "order", "real", "remembers", "verdict"),
    each=30,
    note=_note,
    brief=_brief,
    compact=tuple(c for c in COLUMNS if c not in ("refused", "gradient against", "jump error", "known by")),
)
