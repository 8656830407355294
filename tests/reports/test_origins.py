"""A shipped experiment is named where no command is stored, and for its own points alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
import pytest

from odernn.reports.origins import origins
from odernn.suite.catalogue import PUBLISHED
from odernn.suite.commands import Command
from odernn.suite.experiment import load_experiment
from odernn.suite.row import FILE, identity, read

STARTED = "2026-01-02T03:04:05.000+00:00"


def rows(device: str = "cpu", **changes: Any) -> pd.DataFrame:
    """Of every point of quick what `origins` reads."""
    ids = [identity(point) for point in load_experiment("quick").points(device)]
    table = pd.DataFrame({"id": ids, "experiment": "quick", "device": device, "started": STARTED})
    return table.assign(**changes)


def told(data: pd.DataFrame, *commands: Command) -> list[tuple[str, str, int]]:
    return [(one["kind"], one["text"], one["runs"]) for one in origins(data, commands).of(data)]


def test_published_rows_name_the_experiments_that_make_them() -> None:
    if not (PUBLISHED / FILE).is_file():
        pytest.skip("no published rows")
    stored = list(read(PUBLISHED / FILE).newest().values())
    data = pd.DataFrame([{key: row[key] for key in ("id", "experiment", "device", "started")} for row in stored])
    counts = Counter(row["experiment"] for row in stored)
    assert sorted(told(data)) == sorted(("shipped", f"odernn run {name}", count) for name, count in counts.items())


def test_the_points_of_a_shipped_experiment_are_known_by_their_ids() -> None:
    data = rows()
    assert told(data) == [("shipped", "odernn run quick", len(data))]
    assert told(rows("cuda")) == [("shipped", "odernn run quick --device cuda", len(data))]
    other = data.assign(id=[data["id"][0], *(f"{n:016x}" for n in range(1, len(data)))])
    assert told(other) == [("shipped", "odernn run quick", 1), ("unknown", "", len(data) - 1)]
    assert told(data.assign(experiment="standard"))[0][:2] != ("shipped", "odernn run quick")
    assert told(data.assign(experiment="own")) == [("unknown", "", len(data))]


def test_a_stored_command_goes_before_and_a_run_without_command_line_is_none() -> None:
    data = rows()
    first, rest = data["id"][0], tuple(data["id"][1:])
    typed = Command("odernn run own.toml", "quick", STARTED, (), (first,))
    silent = Command("", "quick", STARTED, (), rest)
    found = told(data, typed, silent, Command("odernn run later.toml", "quick", "2026-01-02T03:04:06Z", (), rest))
    assert found == [("stored", "odernn run own.toml", 1), ("shipped", "odernn run quick", len(rest))]
    assert told(data.assign(experiment="own"), typed, silent)[1] == ("unknown", "", len(rest))
    # an earlier command that was to run them did not, as a later one, of no command line, did
    early = Command("odernn run early.toml", "own", "2026-01-02T03:00:00Z", (), rest)
    assert told(data.assign(experiment="own"), early, typed, silent)[1] == ("unknown", "", len(rest))


def test_no_rows_have_no_origin() -> None:
    assert told(rows().iloc[:0]) == []
    nothing = pd.DataFrame({key: [None] for key in ("id", "experiment", "device", "started")})
    assert told(nothing) == [("unknown", "", 1)]
