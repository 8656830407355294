"""Parameter counts against published totals, against torch.nn, and against cells that are built."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from odernn.suite.contracts import Budget, Outcome
from odernn.suite.errors import UsageError
from odernn.tasks.audits import parameters as audit
from odernn.tasks.audits.parameters import ARCHITECTURES, TASK, Parameters, hidden_size, qubits


def count(cell: str, p: int, n: int, t: int = 1, layers: int = 4) -> int:
    return ARCHITECTURES[cell].count(p, n, t, layers)


def readout(features: int, outputs: int) -> int:
    return features * outputs + outputs


@pytest.mark.parametrize(
    ("cell", "p", "n", "features", "outputs", "published"),
    [
        # Lezcano-Casado and Martinez-Rubio 2019, table of sizes: copying, 190 units
        ("exprnn", 10, 190, 190, 9, 21764),
        # Arjovsky, Shah, Bengio 2016, copying, 128 complex units ("about 6500"); github.com/amarshah/complex_RNN
        ("urnn", 10, 128, 256, 9, 6153),
        # Rusch and Mishra 2021, adding, 128 units; github.com/tk-rusch/coRNN
        ("cornn", 2, 128, 128, 1, 33281),
        # Rusch et al. 2022, adding, 128 units, one set of biases as in their CUDA code; github.com/tk-rusch/LEM
        ("lem", 2, 128, 128, 1, 67201),
        # Tallec and Ollivier 2018, copying, 128 units, one bias a gate
        ("lstm-field", 10, 128, 128, 9, 72329),
    ],
)
def test_published_totals(cell: str, p: int, n: int, features: int, outputs: int, published: int) -> None:
    assert count(cell, p, n) + readout(features, outputs) == published


@pytest.mark.parametrize(("n", "layers", "published"), [(128, 4, 636), (8, 8, 64), (5, 4, 21), (6, 1, 12)])
def test_the_angles_of_an_eunn(n: int, layers: int, published: int) -> None:
    """Jing et al. 2017: L (N - 1) + N for an even number L of layers (636 for 128 units and 4), N^2 with L = N."""
    assert count("eunn", 3, n, layers=layers) - n * (2 * 3 + 1) == published


def numel(module: torch.nn.Module) -> int:
    return sum(part.numel() for part in module.parameters())


@pytest.mark.parametrize(("p", "n"), [(1, 1), (2, 5), (7, 3)])
def test_the_gated_cells_count_as_those_of_torch(p: int, n: int) -> None:
    """torch.nn has two biases a gate; they act as one but for the candidate of the GRU."""
    assert count("lstm-field", p, n) == numel(torch.nn.LSTM(p, n)) - 4 * n
    assert count("gru-field", p, n) == numel(torch.nn.GRU(p, n)) - 2 * n


@pytest.mark.parametrize(("p", "n", "t"), [(3, 3, 1), (2, 2, 5), (4, 6, 3)])
def test_the_companion_cell_counts_as_one_linear_map_of_all_blocks_and_the_input(p: int, n: int, t: int) -> None:
    assert count("companion", p, n, t) == numel(torch.nn.Linear(n * t + p, n))


@pytest.mark.parametrize(
    ("cell", "blocks", "p", "t", "hidden"),
    [
        ("gru-field", 1, 3, 5, 15),
        ("cornn", 2, 3, 5, 8),  # 16 numbers, the least even number for 15
        ("lstm-field", 2, 1, 1, 1),
        ("companion", 5, 3, 5, 3),
        ("qunn", 1, 3, 5, 5),
        ("unheard-of", 3, 2, 5, 4),
    ],
)
def test_the_smallest_size_with_room(cell: str, blocks: int, p: int, t: int, hidden: int) -> None:
    assert hidden_size(cell, blocks, p, t) == hidden
    if cell != "qunn":
        assert hidden * blocks >= p * t
        assert cell == "companion" or (hidden - 1) * blocks < p * t


@pytest.mark.parametrize(("symbols", "expected"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (256, 8)])
def test_qubits_that_tell_symbols_apart(symbols: int, expected: int) -> None:
    assert qubits(symbols) == expected
    assert 2**expected >= symbols


def solver(cell: str, **entries: Any) -> Any:
    from odernn.solvers.fields import field_of
    from odernn.solvers.solver import build_solver

    method = field_of(cell, entries.get("ode_order", 2 if cell == "companion" else None)).published_method or "euler"
    given = {"cell": cell, "tableau": method, "backend": "native", "step": 1.0} | entries
    return build_solver(given, "cpu", "float32", Parameters())


def asked(cell: str, p: int, t: int, **entries: Any) -> Outcome:
    return Parameters(data_length=p, memory_length=t).evaluate(solver(cell, **entries), 0, Budget())


@pytest.mark.parametrize("cell", sorted(ARCHITECTURES))
@pytest.mark.parametrize(("p", "t"), [(2, 3), (3, 4), (5, 2)])
def test_a_cell_as_built_counts_as_its_formula_says(cell: str, p: int, t: int) -> None:
    entries = {"companion": {"ode_order": t}, "qunn": {"qubits": 3}}.get(cell, {})
    found = asked(cell, p, t, **entries)
    assert found.properties["counted"] == "built"
    hidden = int(found.metrics["hidden"])
    assert found.metrics["parameters"] == count(cell, p, hidden, t)
    assert found.properties["state_numbers"] >= p * t


def test_a_large_cell_is_counted_by_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    built = asked("lem", 2, 8)
    monkeypatch.setattr(audit, "LARGEST", 100)
    by_formula = asked("lem", 2, 8)
    assert (built.properties["counted"], by_formula.properties["counted"]) == ("built", "formula")
    assert built.metrics == by_formula.metrics
    assert built.properties["state_numbers"] == by_formula.properties["state_numbers"]


def test_a_companion_of_high_order_is_counted_by_the_formula() -> None:
    found = asked("companion", 2, 64, ode_order=64)
    assert found.properties["counted"] == "formula"
    assert found.metrics == {"parameters": 2 * (64 * 2 + 2 + 1), "hidden": 2}
    assert found.properties["state_numbers"] == 128


def test_a_cell_without_a_formula_is_built() -> None:
    found = asked("leaky", 2, 5)
    assert found.metrics == {"parameters": 10 * 10 + 10 * 2 + 10, "hidden": 10}
    assert "formula" not in found.properties


def test_what_it_refuses() -> None:
    with pytest.raises(UsageError, match="order 3 does not hold 5 inputs"):
        asked("companion", 2, 5, ode_order=3)
    with pytest.raises(UsageError, match="qubits of at least 3"):
        asked("qunn", 5, 4, qubits=2)
    with pytest.raises(UsageError, match="too many to build"):
        asked("leaky", 2, 5000)
    with pytest.raises(UsageError, match="data_length of at least 1"):
        TASK(data_length=0)
    with pytest.raises(UsageError, match="memory_length of at least 1"):
        TASK(memory_length=0)
