"""The information ladder: forecasters of a series, from its mean state up to a learned field. One file a rung.

A file that defines `FORECASTER`, a `rung.Rung`, is a cell of the catalogue; its docstring is what `odernn show` says.
"""

from __future__ import annotations

from importlib import import_module

from .rung import Rung

FORECASTERS = ("climatology", "persistence", "parroting", "nvar", "esn", "polynomial-field", "mlp-field")
"""The cells of this folder, from the one that knows least upwards."""


def rung_of(name: str) -> Rung:
    """The rung of that name, one of `FORECASTERS`."""
    found: Rung = import_module(f".{name.replace('-', '_')}", __name__).FORECASTER
    return found
