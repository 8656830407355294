"""Which command every row of a report is of, as the page tells it.

That is the command stored with the rows. Where none is, a row that a shipped experiment holds can be made again by that
experiment's name, and of any other nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..suite.catalogue import entries
from ..suite.commands import Command, made_by, moment, told
from ..suite.errors import UsageError
from ..suite.experiment import load_experiment
from ..suite.row import identity

Kind = Literal["stored", "shipped", "unknown"]


@dataclass(frozen=True)
class Origin:
    """Where rows come from. text: the command as it is shown; empty where none is known."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Origins:
    """Of a frame's rows, by its index, the place of each one's origin in `known`: the oldest first, what is not known
    last. since: when a stored command was first started."""

    each: pd.Series[int]
    known: Sequence[Origin]
    since: Mapping[Origin, str]

    def of(self, rows: pd.DataFrame) -> list[dict[str, Any]]:
        """The origins of some of the rows, and how many are of each."""
        counts = np.bincount(self.each.loc[rows.index], minlength=len(self.known)).tolist()
        return [
            {"kind": one.kind, "text": one.text, "runs": count, "since": self.since.get(one, "")}
            for one, count in zip(self.known, counts, strict=True)
            if count
        ]


def origins(data: pd.DataFrame, commands: Sequence[Command]) -> Origins:
    """The origins of a frame's rows. commands: those stored with them."""
    if data.empty:
        return Origins(pd.Series(dtype=int), (), {})
    rows = [{"id": key, "started": begun} for key, begun in zip(data["id"], data["started"], strict=True)]
    by = {key: command for key, command in made_by(rows, commands).items() if command.line}
    shipped = _shipped(data, by)
    found = [_origin(row["id"], by, shipped) for row in rows]
    since: dict[Origin, str] = {}
    for command in sorted({id(c): c for c in by.values()}.values(), key=lambda c: moment(c.started)):
        since.setdefault(Origin("stored", told(command.line)), command.started)
    first: dict[Origin, tuple[bool, float]] = {}
    for origin, row in zip(found, rows, strict=True):
        begun = moment(since.get(origin, row["started"]))
        first[origin] = min(first.get(origin, (True, begun)), (origin.kind == "unknown", begun))
    known = sorted(first, key=lambda one: (*first[one], one.text))
    place = {origin: number for number, origin in enumerate(known)}
    return Origins(pd.Series([place[origin] for origin in found], index=data.index), known, since)


def _origin(key: Any, by: Mapping[str, Command], shipped: Mapping[str, str]) -> Origin:
    if key in by:
        return Origin("stored", told(by[key].line))
    return Origin("shipped", shipped[key]) if key in shipped else Origin("unknown", "")


def _shipped(data: pd.DataFrame, by: Mapping[str, Command]) -> dict[str, str]:
    """By id the command of the shipped experiment that a row without a stored command says it is of, and is."""
    known, found = entries("experiment"), dict[str, str]()
    named: dict[tuple[str, str], list[str]] = {}
    for key, name, device in zip(data["id"], data["experiment"], data["device"], strict=True):
        if isinstance(key, str) and key not in by and isinstance(name, str) and name in known:
            named.setdefault((name, str(device)), []).append(key)
    for (name, device), keys in named.items():
        try:
            own = {identity(point) for point in load_experiment(name).points(device)}
        except UsageError:  # a file of the installation that cannot be read costs no report
            continue
        command = f"odernn run {name}" + ("" if device == "cpu" else f" --device {told(device)}")
        found |= {key: command for key in keys if key in own}
    return found
