"""A library's own method, under the library's own name, on our equations: what it claims to be, and what it does.

torchdiffeq, SciPy and diffrax have methods built in. Here they run with their own code, coefficients and step control;
nothing about them is known in advance but what their names mean, which is in `claim`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, metadata
from types import MappingProxyType
from typing import Any

import numpy as np

from ..suite.contracts import Array, Trajectory, finite
from ..suite.errors import UsageError, unknown
from .library_request import Request
from .tableaux import ALIASES, METHODS

LIBRARIES = ("torchdiffeq", "scipy", "diffrax")
"""Whose backends have methods of their own."""

DOCUMENTED: Mapping[str, str] = MappingProxyType(
    {
        "rk45": "dormand-prince54",
        "rk23": "bogacki-shampine32",
        "radau": "radau2a3",
        "dopri8": "",
    }
)
"""Names that mean something only with the library's documentation: the first three are SciPy's. The dopri8 of
torchdiffeq and diffrax is the 8(7) pair of P. J. Prince, J. R. Dormand, J. Comput. Appl. Math. 7 (1981) 67-75, which is
not in the catalogue, and not the code DOP853."""


@dataclass(frozen=True)
class _Library:
    """A module of this package that knows one library."""

    names: Callable[[], tuple[str, ...]]
    order: Callable[[str], int | None]
    solve: Callable[[Request, str], Trajectory]
    gradient: Callable[[Request, str, Array], Array] | None


@lru_cache(maxsize=3)
def _library(backend: str) -> _Library:
    if backend not in LIBRARIES:
        raise UsageError(f"backend {backend!r} has no methods of its own: expected one of {', '.join(LIBRARIES)}.")
    module: Any = import_module(f".library_{backend}", __package__)
    return _Library(module.names, module.order, module.solve, None if backend == "scipy" else module.gradient)


def library_methods(backend: str) -> tuple[str, ...]:
    """The names of the library's own methods, read from the library.

    Raises `UsageError` for a backend that has none, and where its package is missing.
    """
    return _library(backend).names()


def check_name(backend: str, name: str) -> None:
    """Raises `UsageError` with the nearest name for a method that the library does not have. torch is not imported."""
    known = library_methods(backend)
    if name not in known:
        raise unknown(f"method of {backend}", name, known)


def claim(backend: str, name: str) -> dict[str, Any]:
    """What the library says that the method is.

    name; order: of the method's class, None where it says nothing; tableau: the method of our catalogue that the name
    means, "" for none; library, version. Raises `UsageError` as `check_name` does.
    """
    check_name(backend, name)
    return {
        "name": name,
        "order": _library(backend).order(name),
        "tableau": _meaning(name),
        "library": backend,
        "version": metadata.version(backend),
    }


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _meaning(name: str) -> str:
    """Catalogue name of a library's name, whatever its spelling; "adaptive" in front says how it is run."""
    known = {_plain(other): target for other, target in ALIASES.items()} | {_plain(n): n for n in METHODS}
    key = _plain(name).removeprefix("adaptive")
    return DOCUMENTED[key] if key in DOCUMENTED else known.get(key, "")


def solve(backend: str, name: str, request: Request) -> Trajectory:
    """Run the method. The modules of the libraries say how each is run, and where its outputs come from.

    f_calls counts every evaluation; -1 rejected steps: the library does not say. Raises `Diverged` with the library's
    words, `UsageError` for what the method cannot be asked.
    """
    check_name(backend, name)
    if len(request.t) < 2:
        return Trajectory(request.t, finite(request.y0[None].astype(np.float64), "the start"), 0, 0)
    return _library(backend).solve(request, name)


def gradient(backend: str, name: str, request: Request, cotangent: Array) -> Array:
    """d(cotangent . y(t[-1])) / d y0 by the library's own differentiation. Raises `UsageError` for SciPy's."""
    check_name(backend, name)
    found = _library(backend).gradient
    if found is None:
        raise UsageError(f"method {name!r} of {backend} has no gradient: expected a method of torchdiffeq or diffrax.")
    return found(request, name, cotangent) if len(request.t) > 1 else cotangent
