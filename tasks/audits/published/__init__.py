"""Published updates of recurrent cells in NumPy: what a row of the correspondence table must equal. One file a cell.

Each file holds `PAPER` (the reference), `STEP` (the published cell's fixed step, None where the step h is an argument),
`update(p, h, state, u)`, `WRONG` (a mistake that is easily made) and `wrong`, the update with that mistake. p: weights
by the names of the published equations, constants as "constant:gamma"; state (batch, blocks, n) and the result float64,
u (batch, p). Written from the equations alone, with nothing that the solvers use.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from ....suite.contracts import Array
from ....suite.errors import unknown
from . import (
    antisymmetric,
    antisymmetric_gated,
    cfc,
    cornn,
    ct_rnn,
    elman,
    exprnn,
    gru,
    leaky,
    lem,
    lipschitz,
    lmu,
    lru,
    lstm,
    mingru,
    ode_lstm,
    qunn,
    schroedinger,
    scornn,
    srnn,
    unicornn,
    urnn,
)


class Published(Protocol):
    """What a file of this folder holds."""

    PAPER: str
    STEP: float | None
    WRONG: str

    def update(self, p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
        """The published step."""
        ...

    def wrong(self, p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
        """The step with the mistake named in WRONG."""
        ...


ROWS: Mapping[str, Published] = MappingProxyType(
    {
        "elman": elman,
        "leaky": leaky,
        "lstm": lstm,
        "gru": gru,
        "urnn": urnn,
        "scornn": scornn,
        "exprnn": exprnn,
        "antisymmetric": antisymmetric,
        "antisymmetric-gated": antisymmetric_gated,
        "cornn": cornn,
        "unicornn": unicornn,
        "lem": lem,
        "lipschitz": lipschitz,
        "ct-rnn": ct_rnn,
        "ode-lstm": ode_lstm,
        "lmu": lmu,
        "lru": lru,
        "mingru": mingru,
        "schroedinger": schroedinger,
        "srnn": srnn,
        "qunn": qunn,
        "cfc": cfc,
    }
)
"""By row of the correspondence table, the published cell."""


def published(row: str) -> Published:
    """The published cell of a row. Raises `UsageError` with the nearest name for an unknown one."""
    if row not in ROWS:
        raise unknown("row of the correspondence table", row, ROWS)
    return ROWS[row]
