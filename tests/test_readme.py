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
