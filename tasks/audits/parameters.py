"""How many trained numbers a cell needs, to be able to hold so many inputs of such a length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from ...suite.contracts import Audit, Budget, Outcome, Solver
from ...suite.errors import UsageError

LARGEST = 20_000_000
"""Cells of more trained numbers than this are counted by their formula; so are companion cells beyond `DEEPEST`."""

DEEPEST = 16
"""The ODE order up to which a companion cell is built: beyond, its equation has more terms than a count is worth."""

WIDEST = 2048
"""Hidden units up to which a cell without a formula is built."""


@dataclass(frozen=True)
class Architecture:
    """blocks: of the state; count: trained numbers of the recurrence without readout; formula: the same in words.

    count takes the data length p, hidden units n, the ODE order t of a companion and the layers L of an EUNN.
    """

    blocks: int
    count: Callable[[int, int, int, int], int]
    formula: str


def _eunn(p: int, n: int, t: int, layers: int) -> int:
    """Two angles a rotation, of n // 2 pairs in odd layers and (n - 1) // 2 in even ones; n phases, input, bias."""
    angles = 2 * (n // 2) * ((layers + 1) // 2) + 2 * ((n - 1) // 2) * (layers // 2)
    return angles + n * (2 * p + 2)


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "lstm-field": Architecture(2, lambda p, n, t, L: 4 * n * (n + p + 1), "4 n (n + p + 1)"),
        "gru-field": Architecture(1, lambda p, n, t, L: 3 * n * (n + p) + 4 * n, "3 n (n + p) + 4 n"),
        "urnn": Architecture(2, lambda p, n, t, L: 2 * n * (p + 5), "7 n + 2 n p + n + 2 n"),
        "eunn": Architecture(2, _eunn, "L (n - 1) + n + 2 n p + n, L layers"),
        "exprnn": Architecture(1, lambda p, n, t, L: n * (n - 1) // 2 + n * (p + 1), "n (n - 1) / 2 + n (p + 1)"),
        "companion": Architecture(1, lambda p, n, t, L: n * (t * n + p + 1), "n (t n + p + 1)"),
        "cornn": Architecture(2, lambda p, n, t, L: n * (2 * n + p + 1), "n (2 n + p + 1)"),
        "lem": Architecture(2, lambda p, n, t, L: 4 * n * (n + p + 1), "4 n (n + p + 1)"),
        "qunn": Architecture(1, lambda p, n, t, L: 6 * n - 1, "6 n - 1"),
    }
)
"""By cell, how its trained numbers are counted; a bias that acts as one is counted once."""


@dataclass(frozen=True)
class Parameters(Audit):
    """The trained numbers of the smallest cell with room for `memory_length` inputs of `data_length` numbers.

    Room: an encoding of t p independent real numbers that is continuous and can be undone needs a state of at least t p
    real numbers (invariance of dimension), so blocks * hidden >= t p. By kind of cell:

    * a cell of b blocks: hidden = ceil(t p / b), complex ones counting both their parts (an EUNN by the solver's
      `layers`: its transition is linear in the units for a fixed number of them and square for as many as units);
    * "companion", a dense ODE of order t: one input in every derivative, hidden = p; the solver's ode_order must be t;
    * "qunn": one site for every input, hidden = t sites, of q >= max(1, ceil(log2 p)) qubits, which tell p symbols
      apart; the solver's qubits must be enough. Its t 2^q complex amplitudes are at least t p too; that they need no
      trained numbers of their own is because its encoding of the input is fixed.

    The condition is necessary and not sufficient: whether training finds such a memory is for copying and adding to
    tell. A cell is built and counted, without a readout; where it would be larger than `LARGEST`, or a companion of
    order beyond `DEEPEST`, the formula counts (the row's `counted` says which).

    data_length p, memory_length t: at least 1. Raises `UsageError` otherwise, for what is no cell given by a field, for
    a companion of another order than t, a qunn of too few qubits, and a cell of unknown formula that is too large to be
    built.
    """

    data_length: int = 2
    memory_length: int = 16

    name: ClassVar[str] = "parameters"
    primary_metric: ClassVar[str] = "parameters"

    def __post_init__(self) -> None:
        for key, value in (("data_length", self.data_length), ("memory_length", self.memory_length)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"parameters needs {key} of at least 1, got {value!r}.")

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: parameters, hidden; properties: counted, blocks, state_numbers, formula. The budget is unused."""
        facts = solver.properties()
        cell = str(facts.get("solver", {}).get("cell", ""))
        p, t = self.data_length, self.memory_length
        known = ARCHITECTURES.get(cell)
        if cell == "companion" and facts.get("ode_order") != t:
            order = facts.get("ode_order")
            raise UsageError(f"a companion cell of order {order} does not hold {t} inputs: expected ode_order = {t}.")
        if cell == "qunn" and facts["solver"].get("qubits", 0) < qubits(p):
            raise UsageError(f"qunn needs qubits of at least {qubits(p)} to tell {p} symbols apart: set solver.qubits.")
        blocks = known.blocks if known else solver.recurrence(p, seed, hidden=2).blocks
        hidden = hidden_size(cell, blocks, p, t)
        count = known.count(p, hidden, t, int(facts["solver"].get("layers", 0))) if known else None
        if count is None and hidden > WIDEST:
            raise UsageError(
                f"cell {cell!r} has no formula here and {hidden} units are too many to build: expected {WIDEST}."
            )
        built = count is None or (count <= LARGEST and not (cell == "companion" and t > DEEPEST))
        details: dict[str, Any] = {"counted": "formula"}
        if built:
            recurrence = solver.recurrence(p, seed, hidden=hidden)
            count, blocks = recurrence.count(), recurrence.blocks
            details = {"counted": "built"}
        elif cell == "companion":
            blocks = t
        if known:
            details["formula"] = known.formula
        return Outcome(
            metrics={"parameters": float(count or 0), "hidden": float(hidden)},
            cost={"parameters": float(count or 0)},
            properties={**details, "blocks": blocks, "state_numbers": blocks * hidden},
        )


def hidden_size(cell: str, blocks: int, data_length: int, memory_length: int) -> int:
    """The smallest hidden size with room for that many inputs of that many numbers, by the rule of `Parameters`."""
    if cell == "companion":
        return data_length
    if cell == "qunn":
        return memory_length
    return -(-data_length * memory_length // blocks)


def qubits(symbols: int) -> int:
    """How many qubits tell so many symbols apart: ceil(log2 symbols), at least 1."""
    return max(1, (symbols - 1).bit_length())


TASK = Parameters
