"""Splitting methods: a step composed of the flows of a field's parts.

R. I. McLachlan, G. R. W. Quispel, *Splitting methods*, Acta Numerica 11 (2002) 341-434, section 1. Here a method is
data, a pattern of (part, fraction of the step); the parts and their flows belong to the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, TypeAlias

from ..suite.errors import UsageError

Pattern: TypeAlias = Literal["lie", "strang"]
Linear: TypeAlias = Literal["exact", "cayley"]


@dataclass(frozen=True)
class Splitting:
    """A composition of flows.

    pattern: "lie" takes every part once over the whole step, in turn; "strang" goes through the parts over half the
    step and back. linear: linear and affine parts (input held) by their "exact" flow, which is the zero-order hold, or
    by "cayley", the bilinear or Tustin transform, which is one step of the implicit midpoint rule; other parts
    always by their exact flow. order is the author's claim, `solvers.splitting_order` computes it.
    """

    name: str
    order: int = field(compare=False)
    reference: str = field(compare=False)
    linear: Linear
    pattern: Pattern

    def __post_init__(self) -> None:
        if self.linear not in ("exact", "cayley"):
            raise UsageError(f"splitting {self.name!r}: linear = {self.linear!r}, expected 'exact' or 'cayley'.")
        if self.pattern not in ("lie", "strang"):
            raise UsageError(f"splitting {self.name!r}: pattern = {self.pattern!r}, expected 'lie' or 'strang'.")

    def sequence(self, parts: int) -> tuple[tuple[int, Fraction], ...]:
        """(part, fraction of the step), first flow first; neighbouring flows of one part are joined.

        Raises `UsageError` for less than one part.
        """
        if parts < 1:
            raise UsageError(f"splitting {self.name!r} of a field in {parts} parts: expected at least one part.")
        if self.pattern == "lie":
            return tuple((part, Fraction(1)) for part in range(parts))
        half = [(part, Fraction(1, 2)) for part in range(parts - 1)]
        return (*half, (parts - 1, Fraction(1)), *reversed(half))


_TROTTER = "H. F. Trotter, On the product of semi-groups of operators, Proc. Amer. Math. Soc. 10 (1959) 545-551"
_STRANG = "G. Strang, On the construction and comparison of difference schemes, SIAM J. Numer. Anal. 5 (1968) 506-517"
_CAYLEY = "linear parts by A. Tustin's bilinear transform, J. IEE 94 (1947) 130-142"

_ENTRIES = (
    Splitting("lie", 1, _TROTTER, "exact", "lie"),
    Splitting("strang", 2, _STRANG, "exact", "strang"),
    Splitting("lie-cayley", 1, f"{_TROTTER}; {_CAYLEY}", "cayley", "lie"),
    Splitting("strang-cayley", 2, f"{_STRANG}; {_CAYLEY}", "cayley", "strang"),
)

SPLITTINGS: Mapping[str, Splitting] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""Every splitting by name, read-only."""
