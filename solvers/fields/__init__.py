"""Recurrent cells as equations: one file a cell, each with `field(ode_order=None) -> EquationField`. Needs no torch."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from ...suite.catalogue import load
from ...suite.errors import UsageError, unknown
from ..field import CellDescription, CustomField, EquationField


def names() -> list[str]:
    """The cells of this folder."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def field_of(name: str, ode_order: int | None = None) -> CellDescription:
    """The cell's equation, a third-party one (entry point `odernn.cells`, a function like `field`) included.

    Raises `UsageError` for an unknown name (with the nearest), or an ODE order that the cell does not have.
    """
    if name in names():
        make = import_module(f".{name.replace('-', '_')}", __name__).field
    else:
        make = load("cell", name)
        if not callable(make):  # a library baseline: a name of the catalogue, but no equation
            if f"{name}-field" in names():
                raise UsageError(f"cell {name!r} is a library baseline and no equation: did you mean '{name}-field'?")
            raise unknown("equation", name, names())
    found = make(ode_order)
    if not isinstance(found, EquationField | CustomField):
        raise UsageError(f"cell {name!r} gave a {type(found).__name__}: expected an EquationField or a CustomField.")
    return found
