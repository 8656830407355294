"""The synthetic rows, loaded by path: under importmode=importlib test folders are no packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """The module synthetic.py: `row(...)`, `every_task()`, `hostile()`."""
    path = Path(__file__).with_name("synthetic.py")
    spec = importlib.util.spec_from_file_location("odernn_synthetic_rows", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def rows(synthetic: ModuleType) -> list[dict[str, Any]]:
    """Rows of every task, with every status."""
    made: list[dict[str, Any]] = synthetic.every_task()
    return made
