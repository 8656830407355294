"""The README's Python runs as printed, and its commands are commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from odernn.suite.catalogue import find

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("block", BLOCKS, ids=[b.splitlines()[-1][:40] for b in BLOCKS])
def test_example_runs(block: str) -> None:
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_library_examples_are_short() -> None:
    for block in BLOCKS[:2]:
        assert len([line for line in block.splitlines() if line and not line.startswith("import")]) <= 6


@pytest.mark.parametrize("name", re.findall(r"odernn (?:show|run) ([a-z0-9]+)[ `]", README))
def test_names_in_commands_exist(name: str) -> None:
    assert find(name)


def test_every_line_of_the_results_is_of_the_published_rows() -> None:
    """The tables between the marks are lines of `odernn report --published`, to the letter."""
    from odernn.reports.frame import frame
    from odernn.reports.pieces import found
    from odernn.reports.text import to_markdown
    from odernn.suite.catalogue import PUBLISHED
    from odernn.suite.row import read, rows_file

    data = frame(read(rows_file(PUBLISHED)).rows)
    built = [(table, table.build(data)) for table in found()[0]]
    read_by = [(t, b[list(t.compact)] if t.compact else b) for t, b in built if len(b)]
    made = {line for t, b in read_by for line in to_markdown(b, t.title, t.caption, t.math).splitlines()}
    shown = re.findall(r"<!-- results -->(.*?)<!-- end of results -->", README, flags=re.DOTALL)
    lines = [line for part in shown for line in part.splitlines() if line.startswith("|")]
    lines = [line for line in lines if not set(line) <= set("|-: ")]
    assert len(shown) == README.count("<!-- results -->") > 2
    assert len(lines) > 50
    assert [line for line in lines if line not in made] == []
