"""The coefficients of a method: exact numbers from text, their shapes, and float64 arrays of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..suite.errors import UsageError
from .quadratic import Quadratic, Scalar, from_sympy, parse

Number: TypeAlias = Scalar | int | str | Any
"""What a coefficient may be written as: 1, "1/2", "0.161", "1/4 - sqrt(3)/6", a Fraction, or an exact SymPy number of
a real quadratic field. A float is not exact, and refused."""

Matrix: TypeAlias = tuple[tuple[Scalar, ...], ...]
Row: TypeAlias = tuple[Scalar, ...]


def exact(value: Number) -> Scalar:
    """The coefficient as a Fraction, or as a `Quadratic` where it has a root. Raises `UsageError` for anything else."""
    if isinstance(value, Fraction | Quadratic):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    try:
        found = parse(value) if isinstance(value, str) else from_sympy(value)
    except (ValueError, ZeroDivisionError):
        found = None
    if found is None:
        raise UsageError(
            f"tableau coefficient {value!r} is not exact: expected an integer, a Fraction, "
            "or text such as '1/2' or '1/4 - sqrt(3)/6'."
        )
    return found


def exact_row(values: Sequence[Number]) -> Row:
    """A row of coefficients, each `exact`."""
    return tuple(exact(value) for value in values)


def check_shape(name: str, A: Matrix, b: Row) -> None:
    """Raises `UsageError` unless A is square of the length of b."""
    s = len(b)
    if s == 0:
        raise UsageError(f"tableau {name!r} has no weights: expected at least one stage.")
    if [len(values) for values in A] != [s] * s:
        shape = ", ".join(str(len(values)) for values in A)
        raise UsageError(f"tableau {name!r} has {s} weights but rows of A of length {shape}: expected {s} x {s}.")


def check_root(name: str, rows: Iterable[Row]) -> None:
    """Raises `UsageError` where roots of two quadratic fields meet."""
    roots = sorted({entry.d for row in rows for entry in row if isinstance(entry, Quadratic)})
    if len(roots) > 1:
        told = " and ".join(f"sqrt({d})" for d in roots)
        raise UsageError(f"tableau {name!r} has entries with {told}: expected one root for all of them.")


def read_only(values: object) -> npt.NDArray[np.float64]:
    """Exact numbers as a float64 array, each rounded once."""
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Arrays:
    """A tableau in float64, each entry the exact one rounded once. A (s, s); b, c, b_hat (s,); all read-only."""

    A: npt.NDArray[np.float64]
    b: npt.NDArray[np.float64]
    c: npt.NDArray[np.float64]
    b_hat: npt.NDArray[np.float64] | None


def row_sums(A: Matrix) -> Row:
    """A 1, exact."""
    return tuple(sum(row, Fraction(0)) for row in A)
