"""The synthetic rows, loaded by path: under importmode=importlib test folders are no packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _loaded(name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"odernn_{name}_rows", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """The module synthetic.py: `row(...)`, `every_task()`, `hostile()`."""
    return _loaded("synthetic")


@pytest.fixture(scope="session")
def speeds() -> ModuleType:
    """The module synthetic_speed.py: `timed(...)`, `footprint(...)`, `every_speed(row)`, `every_footprint(row)`."""
    return _loaded("synthetic_speed")


@pytest.fixture(scope="session")
def rows(synthetic: ModuleType, speeds: ModuleType) -> list[dict[str, Any]]:
    """Rows of every task, with every status."""
    made: list[dict[str, Any]] = synthetic.every_task()
    return [*made, *speeds.every_speed(synthetic.row), *speeds.every_footprint(synthetic.row)]
