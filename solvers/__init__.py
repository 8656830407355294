"""Systems under test: tableaux, fields, the cell, backends. Names load on first use: listing needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cell import ODERNN as ODERNN
    from .integration import integrate as integrate
    from .tableaux import TABLEAUX as TABLEAUX

_HOMES = {"ODERNN": ".cell", "integrate": ".integration", "TABLEAUX": ".tableaux"}

__all__ = ["ODERNN", "TABLEAUX", "integrate"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
