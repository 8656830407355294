"""What `odernn compare` may claim: by exact arithmetic where nothing is random, by seeds where something is."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from odernn.suite.cli import main
from odernn.suite.comparison import compare
from odernn.suite.errors import UsageError
from odernn.suite.row import FILE, SCHEMA, encode, identity
from odernn.suite.seeds import stream

Row = dict[str, Any]


def make(
    metrics: Mapping[str, Any], /, seed: int = 0, primary: str | None = "accuracy", trained: bool = True, **changes: Any
) -> Row:
    """A row of a training, or of an integration; its id is that of its point."""
    row: Row = {
        "schema": SCHEMA,
        "experiment": "made",
        "task": {"name": "copying", "length": 20} if trained else {"name": "ivp", "problem": "lorenz"},
        "solver": {"cell": "leaky" if trained else "true-field", "tableau": "rk4", "backend": "native", "step": 0.5},
        "budget": {"updates": 300} if trained else {},
        "seed": seed,
        "device": "cpu",
        "dtype": "float64",
        "status": "ok",
        "reason": "",
        "metrics": dict(metrics),
        "curves": {},
        "cost": {"seconds": 1.0} | ({"updates": 300.0, "train_seconds": 0.9} if trained else {"f_calls": 400}),
        "properties": {"primary_metric": primary} if primary else {},
        "environment": {},
        "started": "2026-01-01T00:00:00.000+00:00",
        "finished": "2026-01-01T00:00:01.000+00:00",
    }
    row |= changes
    return {**row, "id": changes.get("id", identity(row))}


def ivp(error: Any, **changes: Any) -> Row:
    return make({"error": error}, primary="error", trained=False, **changes)


def trained(values: Sequence[Any], name: str = "accuracy", **changes: Any) -> list[Row]:
    return [make({name: value}, seed, primary=name, **changes) for seed, value in enumerate(values)]


Put = Callable[[str, Sequence[Row]], Path]


def found(a: Path, b: Path, **options: Any) -> tuple[dict[str, Any], bool]:
    result = compare(a, b, as_json=True, **options)
    content = json.loads(result.text)
    assert (content["regression"], content["refused"]) == (result.regression, result.refused)
    return content, result.regression


def told(a: Path, b: Path, **options: Any) -> tuple[str, bool]:
    result = compare(a, b, **options)
    return result.text, result.regression


ACCURACY = [0.91, 0.88, 0.93, 0.9, 0.87, 0.92, 0.89, 0.94]


# --------------------------------------------------------------------------------------------------- nothing is random


def test_the_same_rows_are_exactly_unchanged(put: Put) -> None:
    rows = [*trained(ACCURACY), ivp(1e-9)]
    text, regression = told(put("a", rows), put("b", rows[::-1]))
    assert not regression
    assert text.splitlines()[-1] == "2 groups compared: 2 exactly unchanged."


@pytest.mark.parametrize(
    ("after", "tolerance", "verdict"),
    [
        (1.0000001e-9, 0.0, "regression"),
        (1.01e-9, 0.02, "within tolerance"),
        (1.03e-9, 0.02, "regression"),
        (0.99e-9, 0.0, "improvement"),
    ],
)
def test_one_integration_is_compared_exactly(put: Put, after: float, tolerance: float, verdict: str) -> None:
    content, regression = found(put("a", [ivp(1e-9)]), put("b", [ivp(after)]), tolerance=tolerance)
    (group,) = content["groups"]
    assert group["verdict"] == verdict
    assert "exact" in group["reason"]
    assert regression is (verdict == "regression")


def test_a_worsening_from_zero_is_beyond_every_relative_tolerance(put: Put) -> None:
    content, regression = found(put("a", [ivp(0.0)]), put("b", [ivp(1e-300)]), tolerance=10.0)
    assert regression
    assert content["groups"][0]["relative"] == "Infinity"
    assert "from 0" in told(put("a", [ivp(0.0)]), put("b", [ivp(1e-300)]))[0]


def test_an_integration_with_equal_values_over_its_seeds_is_exact_too(put: Put) -> None:
    a, b = [[ivp(error, seed=seed) for seed in range(3)] for error in (1e-9, 2e-9)]
    assert found(put("a", a), put("b", b))[1]
    mixed = [ivp(2e-9, seed=0), ivp(2e-9, seed=1), ivp(1e-9, seed=2)]
    assert "3 seeds: 6 are needed" in compare(put("a", a), put("b", mixed)).refused


def test_a_metric_without_a_direction_changes_and_is_no_regression(put: Put) -> None:
    a, b = ([make({"observed_order": v}, primary="observed_order", trained=False)] for v in (4.0, 1.0))
    content, regression = found(put("a", a), put("b", b))
    assert not regression
    assert content["groups"][0]["verdict"] == "changed"


def test_one_measured_time_says_nothing(put: Put) -> None:
    a, b = ([make({"median_seconds": v}, primary="median_seconds", trained=False)] for v in (1.0, 2.0))
    assert "measurement, and varies" in compare(put("a", a), put("b", b)).refused
    once = compare(put("a", [ivp(1.0)]), put("b", [ivp(1.0, cost={"seconds": 9.0})]), metric="seconds")
    assert "1 seed: 6 are needed" in once.refused


# ------------------------------------------------------------------------------------------------------- over the seeds


def test_a_clear_worsening_over_seeds_is_a_regression(put: Put) -> None:
    worse = [value - 0.1 - 0.01 * (seed % 3) for seed, value in enumerate(ACCURACY)]
    content, regression = found(put("a", trained(ACCURACY)), put("b", trained(worse)))
    (group,) = content["groups"]
    differences = np.array(worse) - np.array(ACCURACY)
    assert regression
    assert group["verdict"] == "regression"
    assert group["seeds"] == list(range(8))
    assert group["difference"] == pytest.approx(differences.mean())
    assert group["relative"] == pytest.approx(differences.mean() / np.mean(ACCURACY))
    assert group["p"] == group["p_corrected"] == 2 / 2**8
    low, high = group["interval"]
    assert differences.min() <= low < differences.mean() < high <= differences.max()


def test_lower_is_worse_or_better_as_the_metric_declares(put: Put) -> None:
    a = put("a", trained(ACCURACY, "mean_squared_error"))
    b = put("b", trained([value - 0.1 for value in ACCURACY], "mean_squared_error"))
    assert found(a, b)[0]["groups"][0]["verdict"] == "improvement"
    assert found(b, a)[0]["groups"][0]["verdict"] == "regression"


def test_p_values_are_scipys_and_corrected_by_holm(put: Put) -> None:
    random = stream(5, "test/compare")
    a_rows, b_rows, expected = [], [], []
    for group in range(4):
        a, b = random.normal(0.8, 0.02, 12), random.normal(0.8 - 0.012 * group, 0.02, 12)
        a_rows += trained(a.tolist(), task={"name": "copying", "length": group})
        b_rows += trained(b.tolist(), task={"name": "copying", "length": group})
        test = scipy.stats.permutation_test(
            (b, a), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
        )
        expected.append(test.pvalue)
    groups = found(put("a", a_rows), put("b", b_rows))[0]["groups"]
    by_length = sorted(groups, key=lambda g: g["point"])
    np.testing.assert_allclose([g["p"] for g in by_length], expected, rtol=1e-12)
    ordered = sorted(expected)
    steps = np.maximum.accumulate([p * (4 - place) for place, p in enumerate(ordered)])
    np.testing.assert_allclose(sorted(g["p_corrected"] for g in groups), np.minimum(1, steps), rtol=1e-12)


def test_worse_within_the_tolerance_is_no_regression(put: Put) -> None:
    a, b = put("a", trained(ACCURACY)), put("b", trained([value * 0.97 for value in ACCURACY]))
    assert found(a, b)[1]
    assert found(a, b, tolerance=0.02)[1]
    content, regression = found(a, b, tolerance=0.05)
    assert not regression
    assert content["groups"][0]["verdict"] == "within tolerance"


def test_a_tolerance_must_be_passed_surely(put: Put) -> None:
    """Worse by 5 % on the mean, with seeds on both sides of 4 %: surely worse, not surely by more than 4 %."""
    shares = [0.01, 0.09, 0.02, 0.08, 0.03, 0.07, 0.045, 0.055]
    a, b = put("a", trained([1.0] * 8)), put("b", trained([1.0 - share for share in shares]))
    assert found(a, b)[0]["groups"][0]["verdict"] == "regression"
    assert found(a, b, tolerance=0.04)[0]["groups"][0]["verdict"] == "within tolerance"


def test_noise_is_no_evidence(put: Put) -> None:
    random = stream(2, "test/noise")
    a, b = (trained(random.normal(0.8, 0.05, 10).tolist()) for _ in range(2))
    content, regression = found(put("a", a), put("b", b))
    assert not regression
    assert content["groups"][0]["verdict"] == "unclear"


def test_too_few_seeds_are_refused_with_the_number_that_is_needed(put: Put) -> None:
    a, b = put("a", trained(ACCURACY[:5])), put("b", trained([v / 2 for v in ACCURACY[:5]]))
    result = compare(a, b)
    assert result.refused == "nothing could be judged: 1 group with 5 seeds: 6 are needed."
    assert "-50 %" in result.text  # what was seen is told all the same
    assert found(a, b, level=0.9)[1]  # 2 / 2^5 = 0.0625


def test_seeds_may_be_too_few_for_so_many_groups_alone(put: Put) -> None:
    sides = []
    for factor in (1.0, 0.5):
        rows = [trained([v * factor for v in ACCURACY], task={"name": "copying", "length": n}) for n in range(40)]
        sides.append([row for group in rows for row in group])
    assert "8 seeds: 11 are needed for all 40 groups at once" in compare(put("a", sides[0]), put("b", sides[1])).refused
    few = [side[: 6 * 8] for side in sides]  # 6 * 2 / 2^8 = 0.047
    assert [g["verdict"] for g in found(put("a", few[0]), put("b", few[1]))[0]["groups"]] == ["regression"] * 6


def test_groups_that_are_refused_do_not_weaken_the_others(put: Put) -> None:
    few = [trained([0.5, 0.6], task={"name": "copying", "length": n}) for n in range(100, 150)]
    other = [trained([0.4, 0.5], task={"name": "copying", "length": n}) for n in range(100, 150)]
    a = put("a", [*trained(ACCURACY), *[row for group in few for row in group]])
    b = put("b", [*trained([v - 0.2 for v in ACCURACY]), *[row for group in other for row in group]])
    content, regression = found(a, b)
    assert regression
    counts = {v: sum(g["verdict"] == v for g in content["groups"]) for v in ("regression", "refused")}
    assert counts == {"regression": 1, "refused": 50}


def test_seeds_that_do_not_differ_are_no_evidence(put: Put) -> None:
    after = [*ACCURACY[:6], 0.1, 0.1]
    content, regression = found(put("a", trained(ACCURACY)), put("b", trained(after)))
    (group,) = content["groups"]
    assert not regression
    assert group["verdict"] == "unclear"
    assert group["reason"] == "only 2 of 8 seeds differ"


def test_only_seeds_of_both_sides_are_paired(put: Put) -> None:
    a, b = trained(ACCURACY), trained([v - 0.1 for v in ACCURACY])
    content, _ = found(put("a", a), put("b", [*b[1:], *trained([0.1] * 10)[8:]]))
    assert content["groups"][0]["seeds"] == list(range(1, 8))
    assert (content["only_before"], content["only_after"]) == (1, 2)


def test_a_cost_can_be_compared(put: Put) -> None:
    def costly(values: Sequence[float]) -> list[Row]:
        return [make({"accuracy": 1.0}, seed, cost={"updates": 1, "seconds": v}) for seed, v in enumerate(values)]

    a, b = put("a", costly([1.0 + 0.1 * s for s in range(8)])), put("b", costly([2.0 + 0.1 * s for s in range(8)]))
    assert not found(a, b)[1]
    content, regression = found(a, b, metric="seconds")
    assert regression
    assert content["groups"][0]["metric"] == "seconds"


# ------------------------------------------------------------------------------------------------- lost, gained, absent


@pytest.mark.parametrize("status", ["failed", "timeout", "memory", "diverged", "skipped"])
def test_a_result_that_is_lost_is_a_regression(put: Put, status: str) -> None:
    bad = ivp(0.5, status=status, reason="boom\nat line 3", metrics={})
    a, b = put("a", [ivp(0.5)]), put("b", [bad])
    text, regression = told(a, b)
    assert regression
    assert f"-> {status} (boom)" in text
    content, mended = found(b, a)
    assert not mended
    assert [point["kind"] for point in content["points"]] == ["gained"]


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "small", [1.0]])
def test_a_number_that_is_lost_is_a_regression(put: Put, value: Any) -> None:
    a = put("a", [ivp(0.5)])
    b = put("b", [ivp(value) if value is not None else ivp(0.5, metrics={"other": 1.0})])
    assert found(a, b)[1]
    assert not found(b, a)[1]


def test_an_infinity_is_judged_only_where_there_is_a_direction(put: Put) -> None:
    def depth(value: float) -> list[Row]:
        return [make({"nesting_depth": value}, primary="nesting_depth", trained=False), ivp(1.0, dtype="float32")]

    content, regression = found(put("a", depth(3.0)), put("b", depth(math.inf)))
    assert not regression
    assert content["not_compared"] == {"with an infinite nesting_depth on one side": 1}
    assert found(put("a", depth(math.inf)), put("b", depth(math.inf)))[0]["not_compared"] == {"infinite in both": 1}


def test_what_fails_on_both_sides_is_counted(put: Put) -> None:
    rows = [ivp(0.5), ivp(0.0, status="failed", metrics={}, solver={"cell": "true-field", "steps": 3})]
    text, regression = told(put("a", rows), put("b", rows))
    assert not regression
    assert "1 point without a result in both (failed)" in text


def test_the_last_row_of_a_point_counts(put: Put) -> None:
    assert not found(put("a", [ivp(0.5)]), put("b", [ivp(9.0), ivp(0.5)]))[1]


def test_groups_of_one_side_alone_are_counted(put: Put) -> None:
    other = ivp(0.5, dtype="float32")
    text, regression = told(put("a", [ivp(0.5), other]), put("b", [ivp(0.5)]))
    assert not regression
    assert text.endswith("1 point only before.")
    with pytest.raises(UsageError, match="no point in common"):
        compare(put("a", [other]), put("b", [ivp(0.5)]))


def test_the_engine_that_a_run_found_does_not_part_it_from_its_pair(put: Put) -> None:
    point = ivp(0.5)
    found_one = {**point, "solver": {**point["solver"], "engine": "general"}}  # asked for none
    found_two = {**point, "solver": {**point["solver"], "engine": "cpu"}}
    assert found(put("a", [found_one]), put("b", [found_two]))[0]["groups"][0]["verdict"] == "unchanged"
    asked_one, asked_two = (
        ivp(0.5, solver={**point["solver"], "engine": engine}, id=None) for engine in ("general", "cpu")
    )
    for row in (asked_one, asked_two):
        row["id"] = identity(row)
    with pytest.raises(UsageError, match="no point in common"):
        compare(put("a", [asked_one]), put("b", [asked_two]))


def test_points_that_differ_only_in_their_budget_are_told_apart(put: Put) -> None:
    rows = [*trained(ACCURACY), *trained(ACCURACY, budget={"updates": 900})]
    lower = [row | {"metrics": {"accuracy": 0.1 + 0.01 * row["seed"]}} for row in rows]
    points = [g["point"] for g in found(put("a", rows), put("b", lower))[0]["groups"]]
    assert len(set(points)) == 2
    assert sum("updates=900" in point for point in points) == 1


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, math.nan, 95.0])
def test_a_level_is_a_probability(put: Put, level: float) -> None:
    with pytest.raises(UsageError, match="the level is"):
        compare(put("a", [ivp(0.5)]), put("b", [ivp(0.5)]), level=level)


@pytest.mark.parametrize("tolerance", [-0.1, math.nan, math.inf])
def test_a_tolerance_is_a_number_from_zero(put: Put, tolerance: float) -> None:
    with pytest.raises(UsageError, match="the tolerance is"):
        compare(put("a", [ivp(0.5)]), put("b", [ivp(0.5)]), tolerance=tolerance)


def test_names_and_folders_that_are_not_there(put: Put, tmp_path: Path) -> None:
    a = put("a", [ivp(0.5)])
    with pytest.raises(UsageError, match="did you mean 'error'"):
        compare(a, a, metric="errror")
    with pytest.raises(UsageError, match="no rows yet"):
        compare(a, put("empty", []))
    with pytest.raises(UsageError, match="not a folder of results"):
        compare(a, tmp_path / "nowhere")


def test_torn_lines_and_hostile_text_are_told_harmlessly(put: Put) -> None:
    a, b = put("a", [ivp(0.5)]), put("b", [ivp(0.5, status="failed", metrics={}, reason="\x1b[31mred\u202e")])
    with (b / FILE).open("a") as file:
        file.write('{"schema": 1, "id"')
    text, _ = told(a, b)
    assert "torn after" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


@given(
    values=st.lists(
        st.floats() | st.integers(-(10**400), 10**400) | st.booleans() | st.text(max_size=3) | st.none(),
        min_size=4,
        max_size=28,
    ),
    tolerance=st.floats(0, 1e9),
    level=st.floats(0.01, 0.99),
)
@settings(deadline=None, max_examples=80)
def test_whatever_the_numbers_are(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], tolerance: float, level: float
) -> None:
    half = len(values) // 2
    folders = [tmp_path_factory.mktemp(name) for name in "ab"]
    for folder, part in zip(folders, (values[:half], values[half:]), strict=True):
        (folder / FILE).write_text("".join(encode(row) + "\n" for row in trained(part)))
    try:
        content, regression = found(*folders, tolerance=tolerance, level=level)
    except UsageError:  # refused in words: no other error may pass
        return
    for group in content["groups"]:
        assert group["verdict"] != "regression" or (regression and group["difference"] < 0)
    text, again = told(*folders, tolerance=tolerance, level=level)
    assert again is regression
    assert text == told(*folders, tolerance=tolerance, level=level)[0]


# ----------------------------------------------------------------------------------------------- determinism, size, use


def big(groups: int, seeds: int, shift: float) -> list[Row]:
    random = stream(groups, "test/big")
    values = random.normal(0.5, 0.02, (groups, seeds)) + shift * (np.arange(groups)[:, None] % 3 == 0)
    return [row for n in range(groups) for row in trained(values[n].tolist(), task={"name": "copying", "length": n})]


def test_the_text_depends_on_the_rows_alone(put: Put, tmp_path: Path) -> None:
    rows = big(60, 12, 0.0)
    lower = big(60, 12, -0.1)
    a, b = put("a", rows), put("b", lower)
    code = "import sys; from pathlib import Path; from odernn.suite.comparison import compare\n"
    code += f"print(compare(Path({str(a)!r}), Path({str(b)!r})).text); assert 'torch' not in sys.modules"
    texts = set()
    for seed, threads in (("1", "1"), ("2", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        texts.add(done.stdout.removesuffix("\n"))
        put("a", rows[::-1])  # another order of the file is no other comparison
        put("b", [lower[i] for i in stream(0, "test/order").permutation(len(lower))])
    assert len(texts) == 1
    lines = texts.pop().splitlines()
    table = [line for line in lines if line.startswith("regression")]
    assert len(table) == 20
    assert len({line.index("copying") for line in table}) == 1  # aligned
    changes = [abs(float(line.split()[1])) for line in table]
    assert changes == sorted(changes, reverse=True)


@pytest.mark.parametrize("groups", [150, pytest.param(1250, marks=pytest.mark.slow)])
def test_thousands_of_rows_a_side_are_judged(put: Put, groups: int) -> None:
    content, _ = found(put("a", big(groups, 14, 0.0)), put("b", big(groups, 14, -0.1)), level=0.95)
    verdicts = [group["verdict"] for group in content["groups"]]
    third = -(-groups // 3)
    assert (verdicts.count("regression"), verdicts.count("unchanged")) == (third, groups - third)


def test_exit_statuses(put: Put, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = put("a", [ivp(0.5)]), put("b", [ivp(0.6)])
    assert main(["compare", str(a), str(a)]) == 0
    assert main(["compare", str(a), str(b)]) == 4
    assert "regression (exact)" in capsys.readouterr().out
    assert main(["compare", str(a), str(b), "--tolerance", "0.3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tolerance"] == 0.3
    assert main(["compare", str(a), str(b), "--metric", "nonsense"]) == 2
    one, other = put("c", trained([0.5])), put("d", trained([0.4]))
    capsys.readouterr()
    assert main(["compare", str(one), str(other)]) == 2
    said = capsys.readouterr()
    assert said.err == "odernn: nothing could be judged: 1 group with 1 seed: 6 are needed.\n"
    assert [line.split()[0] for line in said.out.splitlines()[2:4]] == ["verdict", "refused"]


def test_what_is_refused_is_no_clean_bill_beside_what_is_unchanged(
    put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors ten times as large with two seeds, and an integration that did not change."""
    few = [trained(values, "mean_squared_error") for values in ([0.01, 0.02], [0.1, 0.2])]
    a, b = put("a", [*few[0], ivp(1e-9)]), put("b", [*few[1], ivp(1e-9)])
    assert main(["compare", str(a), str(b)]) == 2
    said = capsys.readouterr()
    assert said.err == "odernn: 1 of 2 groups could not be judged: 1 group with 2 seeds: 6 are needed.\n"
    assert "+900 %" in said.out
    assert said.out.endswith("2 groups compared: 1 refused, 1 exactly unchanged.\n")
    assert main(["compare", str(a), str(b), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["refused"].startswith("1 of 2 groups could not be judged")
    worse = put("c", [*few[1], ivp(1e-8)])
    assert main(["compare", str(a), str(worse)]) == 4, "a regression wins"
    said = capsys.readouterr()
    assert "Refused: 1 group with 2 seeds: 6 are needed." in said.out
    assert said.err == ""
    assert main(["compare", "--help"]) == 0
    assert "could not be judged" in " ".join(capsys.readouterr().out.split())


def test_numbers_past_arithmetic_are_refused_in_a_sentence(put: Put) -> None:
    a, b = (put(name, trained([sign * 1e308] * 6)) for name, sign in (("a", 1.0), ("b", -1.0)))
    assert compare(a, b).refused == "nothing could be judged: 1 group with numbers too large for arithmetic."
