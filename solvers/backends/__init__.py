"""Engines that step a given field with a given tableau. One file is one library; each defines `BACKENDS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...suite.catalogue import load

if TYPE_CHECKING:
    from .base import Backend


def find_backend(name: str) -> Backend:
    """The backend of that name, a third-party one included. Raises `UsageError` with the nearest name."""
    found: Backend = load("backend", name)
    return found
