"""Rows to frame: labels, outcomes, aggregates. Numbers compared with hand-computed ones."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest

from odernn.reports.fit import power_law
from odernn.reports.frame import (
    OUTCOMES,
    frame,
    natural,
    options,
    outcome,
    over_seeds,
    restore,
    solver_label,
    task_label,
)

LEAKY = {"cell": "leaky", "tableau": "rk4", "backend": "native", "step": 0.5, "hidden": 32}
TRUE = {"cell": "true-field", "tableau": "rk4", "backend": "scipy"}


@pytest.mark.parametrize(
    ("solver", "label"),
    [
        (LEAKY, "leaky · rk4 · native · h=0.5"),
        ({"cell": "lstm", "backend": "torch", "hidden": 8}, "lstm · torch"),
        ({"cell": "lstm", "backend": "torch", "forget_bias": "chrono"}, "lstm · torch · forget_bias=chrono"),
        (
            {"cell": "true-field", "tableau": "rk4", "backend": "scipy", "rtol": 1e-6},
            "true-field · rk4 · scipy · rtol=1e-06",
        ),
        (
            {"cell": "true-field", "tableau": "rk4", "backend": "scipy", "steps": 40},
            "true-field · rk4 · scipy · 40 steps",
        ),
        ({}, "(no solver)"),
    ],
)
def test_a_solver_has_one_readable_label(solver: dict[str, Any], label: str) -> None:
    assert solver_label({"solver": solver}) == label


def test_a_task_is_named_with_what_tells_it_from_others() -> None:
    assert task_label({"task": {"name": "adding", "length": 20}}) == "adding · length=20"
    assert task_label({"task": {"name": "chaos", "system": "lorenz63"}}) == "chaos · lorenz63"


@pytest.mark.parametrize(
    ("status", "reason", "metrics", "expected"),
    [
        ("ok", "", {"skill": 0.5}, "converged"),
        ("ok", "", {"skill": 0.49}, "plateau"),
        ("ok", "", {"skill": "NaN"}, "NaN"),
        ("ok", "", {"error": "Infinity"}, "diverged"),
        ("ok", "", {"error": 1e-6}, "converged"),
        ("ok", "", {"error": 0.7}, "plateau"),
        ("ok", "", {"valid_prediction_time": 2.0, "baseline_valid_prediction_time": 0.5}, "converged"),
        ("ok", "", {"valid_prediction_time": 0.9, "baseline_valid_prediction_time": 0.5}, "plateau"),
        (
            "ok",
            "",
            {"valid_prediction_time": 2.0, "valid_prediction_time_q25": 0.4, "baseline_valid_prediction_time": 0.5},
            "plateau",
        ),
        ("ok", "", {"equality_error": 1e-13}, "converged"),
        ("ok", "", {"equality_error": 1e-3}, "plateau"),
        ("ok", "", {"nesting_depth": "Infinity"}, "converged"),
        ("ok", "", {"nesting_depth": "NaN"}, "NaN"),
        ("ok", "", {"violations": 12}, "converged"),
        ("diverged", "NaN loss at update 7", {}, "NaN"),
        ("diverged", "loss 1e+09 at update 7", {}, "diverged"),
        ("diverged", "the finance of it", {}, "diverged"),
        ("failed", "NaN", {}, "failed"),
        ("timeout", "", {}, "timeout"),
        ("memory", "", {}, "memory"),
        ("skipped", "", {}, "skipped"),
        ("no such status", "", {}, "failed"),
    ],
)
def test_outcome(status: str, reason: str, metrics: dict[str, Any], expected: str) -> None:
    row = {"status": status, "reason": reason, "metrics": metrics}
    assert outcome(row) == expected
    assert expected in OUTCOMES


def test_an_audit_is_judged_by_its_own_number_and_not_by_the_order_of_its_tableau() -> None:
    row = {
        "status": "ok",
        "metrics": {"nesting_depth": 1.0},
        "properties": {"order": 4, "primary_metric": "nesting_depth"},
    }
    assert outcome(row) == "converged"


def test_audits_have_kinds_of_their_own(synthetic: ModuleType) -> None:
    data = frame(synthetic._audits())
    kinds = dict(zip(data["task.name"], data["kind"], strict=True))
    assert kinds == {name: name for name in ("correspondence", "stages", "stability", "certificate")}


def test_an_order_converges_when_it_is_not_far_below_the_claim() -> None:
    row: dict[str, Any] = {"status": "ok", "metrics": {"observed_order": 3.8}, "properties": {"claimed_order": 4}}
    assert outcome(row) == "converged"
    row["metrics"]["observed_order"] = 3.7
    assert outcome(row) == "plateau"


def test_words_for_numbers_are_restored_at_any_depth() -> None:
    restored = restore({"a": ["NaN", {"b": "-Infinity"}], "c": "Infinity", "d": "nano"})
    assert math.isnan(restored["a"][0])
    assert restored["a"][1] == {"b": -math.inf}
    assert (restored["c"], restored["d"]) == (math.inf, "nano")


def test_names_are_not_restored(synthetic: ModuleType) -> None:
    made = synthetic.row({"name": "NaN"}, {"cell": "Infinity"}, metrics={"skill": "NaN"})
    line = frame([made]).iloc[0]
    assert (line["task.name"], line["solver.cell"]) == ("NaN", "Infinity")
    assert math.isnan(line["metrics.skill"])


def test_no_rows_make_an_empty_frame() -> None:
    assert len(frame([])) == 0


def test_of_two_rows_with_one_id_the_last_stands(synthetic: ModuleType) -> None:
    first = synthetic.row({"name": "adding", "length": 4}, LEAKY, status="failed", reason="torn")
    second = synthetic.row({"name": "adding", "length": 4}, LEAKY, metrics={"skill": 0.9})
    assert first["id"] == second["id"]
    assert frame([first, second])["status"].tolist() == ["ok"]
    assert frame([second, first])["status"].tolist() == ["failed"]


def test_what_a_failed_row_lacks_comes_from_its_task(synthetic: ModuleType) -> None:
    good = synthetic.sequence("adding", LEAKY, 0, 0.9)
    bad = synthetic.row({"name": "adding", "length": 20}, LEAKY, 1, status="failed", reason="lost")
    data = frame([bad, good])
    assert data["primary_metric"].tolist() == ["mean_squared_error"] * 2
    assert data["baseline"].tolist() == [1 / 6] * 2
    assert data["cost.parameters"].tolist() == [32 * 32 + 5 * 32] * 2
    assert data["properties.memory_length"].tolist() == [20, 20]


def test_over_seeds_counts_what_failed_and_averages_the_rest(synthetic: ModuleType) -> None:
    rows = [synthetic.sequence("adding", LEAKY, seed, skill) for seed, skill in enumerate((0.6, 0.7, 0.95))]
    rows.append(synthetic.diverged("adding", LEAKY, 3, "NaN loss at update 61"))
    rows.append(synthetic.row({"name": "adding", "length": 20}, LEAKY, 4, status="timeout", reason="60 s"))
    table = over_seeds(frame(rows), ["metrics.skill"])
    assert len(table) == 1
    line = table.iloc[0]
    assert (line["seeds"], line["failed"]) == (3, 2)
    assert line["metrics.skill"] == pytest.approx(0.75)
    assert line["metrics.skill median"] == pytest.approx(0.7)
    # deviations -0.15, -0.05, 0.2: squares sum to 0.065, over n - 1 = 2
    assert line["metrics.skill ±"] == pytest.approx(math.sqrt(0.0325))


def test_one_seed_has_no_spread_and_no_seed_has_no_mean(synthetic: ModuleType) -> None:
    one = over_seeds(frame([synthetic.sequence("adding", LEAKY, 0, 0.6)]), ["metrics.skill"]).iloc[0]
    assert math.isnan(one["metrics.skill ±"])
    none = over_seeds(frame([synthetic.diverged("adding", LEAKY, 0, "NaN")]), ["metrics.skill"]).iloc[0]
    assert (none["seeds"], none["failed"]) == (0, 1)
    assert math.isnan(none["metrics.skill"])


def test_devices_and_dtypes_are_never_averaged_together(synthetic: ModuleType) -> None:
    rows = [
        synthetic.sequence("adding", LEAKY, 0, 0.6, device=device, dtype=dtype)
        for device in ("cpu", "cuda")
        for dtype in ("float32", "float64")
    ]
    table = over_seeds(frame(rows), ["metrics.skill"])
    assert sorted(zip(table["device"], table["dtype"], strict=True)) == [
        ("cpu", "float32"),
        ("cpu", "float64"),
        ("cuda", "float32"),
        ("cuda", "float64"),
    ]


def test_options_name_only_what_varies(synthetic: ModuleType) -> None:
    rows = [synthetic.sequence("adding", LEAKY | {"hidden": hidden, "gamma": 1.0}, 0, 0.6) for hidden in (8, 16)]
    assert sorted(options(frame(rows)).values()) == ["hidden=16", "hidden=8"]


def test_natural_order_counts() -> None:
    assert sorted(["length=16", "length=8", "a"], key=natural) == ["a", "length=8", "length=16"]


def test_power_law_recovers_the_exponent_of_an_exact_law() -> None:
    fit = power_law([2, 4, 8, 16], [3 * n**1.5 for n in (2, 4, 8, 16)])
    assert fit is not None
    assert (fit.factor, fit.exponent) == (pytest.approx(3), pytest.approx(1.5))
    assert fit.low == pytest.approx(1.5)
    assert power_law([2, 4], [1, 2]) is None
    assert power_law([2, 2, 4], [1, 1, 2]) is None
