"""Tables: numbers equal hand-computed ones, nothing is dropped, and no format can be attacked through a name."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from odernn.reports.frame import OUTCOMES, frame
from odernn.reports.pieces import Table, found
from odernn.reports.tables.stages import _brief
from odernn.reports.text import guarded, latex, readable, shown, to_csv, to_latex, to_markdown, to_terminal
from odernn.reports.write import main_tables, write_report

TABLES: dict[str, Table] = {table.name: table for table in found()[0]}
NAMES = sorted(TABLES)


def cell(name: str, tableau: str = "rk4", **options: Any) -> dict[str, Any]:
    return {"cell": name, "tableau": tableau, "backend": "native", "step": 0.5, "hidden": 32} | options


def test_the_tables_are_found_by_file() -> None:
    built_in = {"accuracy", "failures", "forecasting", "integrators", "memory", "orders", "overview", "stability"}
    assert built_in <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_lines_and_says_where_it_ran(name: str, rows: list[dict[str, Any]]) -> None:
    table = TABLES[name].build(frame(rows))
    assert len(table) > 0
    assert {"device", "dtype"} <= set(table.columns)
    assert {"failed", "status"} & set(table.columns)
    assert table.index.tolist() == list(range(len(table)))


@pytest.mark.parametrize("name", NAMES)
def test_a_table_without_its_rows_is_empty(name: str, synthetic: ModuleType) -> None:
    other = synthetic.row({"name": "of another kind"}, {"cell": "true-field"}, metrics={"distance": 1.0})
    lines = len(TABLES[name].build(frame([other])))
    assert lines == (1 if name == "accuracy" else 0)  # a task of unknown kind is shown with the sequences


def test_accuracy_by_hand(synthetic: ModuleType) -> None:
    rows = [synthetic.sequence("adding", cell("cornn"), seed, skill) for seed, skill in enumerate((0.9, 0.94))]
    rows += [synthetic.sequence("adding", cell("leaky"), seed, skill) for seed, skill in enumerate((-0.2, 0.2))]
    rows += [synthetic.sequence("adding", cell("gru"), 0, 0.99), synthetic.diverged("adding", cell("gru"), 1, "NaN")]
    rows += [synthetic.sequence("adding", cell("lstm"), seed, skill) for seed, skill in enumerate((0.88, 0.94))]
    table = TABLES["accuracy"].build(frame(rows)).set_index("cell")
    assert table.index.tolist() == ["gru", "cornn", "lstm", "leaky"]  # by mean squared error
    assert table.loc["cornn", "value"] == pytest.approx(0.08 / 6)
    assert table.loc["cornn", "value ±"] == pytest.approx(0.04 / 6 / math.sqrt(2))
    assert table.loc["leaky", "value"] == pytest.approx(1 / 6)
    assert table["baseline"].tolist() == [1 / 6] * 4
    assert table["seeds"].tolist() == [1, 2, 2, 2]
    assert table["failed"].tolist() == [1, 0, 0, 0]
    # gru lost a seed and is no candidate; lstm is 0.01/6 behind with spreads 0.028/6 and 0.042/6; leaky is no better
    assert table["mark"].tolist() == ["better", "best", "tied", ""]


def test_accuracy_is_better_when_higher(synthetic: ModuleType) -> None:
    rows = [synthetic.sequence("copying", cell(name), 0, skill) for name, skill in (("leaky", 0.2), ("cornn", 0.8))]
    table = TABLES["accuracy"].build(frame(rows))
    assert table["cell"].tolist() == ["cornn", "leaky"]
    assert table["value"].tolist() == pytest.approx([0.825, 0.3])
    assert table["mark"].tolist() == ["best", "better"]


def test_the_overview_names_the_cells_beyond_the_baseline(synthetic: ModuleType) -> None:
    rows = [synthetic.sequence("adding", cell("cornn"), seed, skill) for seed, skill in enumerate((0.5, 0.6))]
    rows += [synthetic.sequence("adding", cell("cornn", "euler"), 0, -0.5)]
    rows += [synthetic.sequence("adding", cell("leaky"), seed, skill) for seed, skill in enumerate((-0.2, 0.3))]
    rows += [synthetic.sequence("adding", cell("gru"), 0, 0.9), synthetic.diverged("adding", cell("gru"), 1, "NaN")]
    rows += [synthetic.sequence("adding", cell("leaky"), 0, 0.4, dtype="float64")]
    table = TABLES["overview"].build(frame(rows))
    assert table["dtype"].tolist() == ["float32", "float64"]
    first = table.iloc[0]
    assert (first["seeds"], first["failed"]) == (1, 1)
    assert first["solver"].startswith("gru · ")
    assert (first["best"], first["baseline"]) == (pytest.approx(0.1 / 6), 1 / 6)
    assert first["beyond the baseline"] == "gru, cornn"
    assert first["not beyond"] == "leaky"  # gains 0.05/6 with a spread of 0.35/6
    assert table["beyond the baseline"].iloc[1] == "leaky"


def test_a_task_of_another_package_is_in_every_table_it_belongs_to(synthetic: ModuleType) -> None:
    rows = [synthetic.invented(cell("cornn"), seed, surprise) for seed, surprise in enumerate((0.2, 0.4))]
    rows += [synthetic.invented(cell("leaky"), 0, 1.6)]
    line = TABLES["accuracy"].build(frame(rows)).iloc[0]
    assert (line["task"], line["metric"], line["mark"]) == ("gossip · rumours=7", "quaintness", "best")
    assert (line["value"], line["value ±"]) == (pytest.approx(0.85), pytest.approx(0.1 / math.sqrt(2)))
    assert (line["baseline"], line["seeds"]) == (0.25, 2)
    seen = TABLES["overview"].build(frame(rows)).iloc[0]
    assert (seen["beyond the baseline"], seen["not beyond"]) == ("cornn", "leaky")
    assert TABLES["stability"].build(frame(rows))["converged"].tolist() == [2, 0]
    assert "quaintness, 1 of 2 beat the baseline 0.25" in main_tables(rows)


def test_the_terminal_joins_backends_only_where_they_agree(synthetic: ModuleType) -> None:
    rows = [synthetic.ivp("pleiades", "rk4", backend, step=0.1) for backend in ("native", "scipy")]
    rows += [synthetic.ivp("pleiades", "rk4", "native", step=0.2)]
    text = main_tables(rows)
    assert "error native" in text
    assert [line.split() for line in text.splitlines() if "rk4" in line] == [
        ["rk4", "pleiades", "0.1", "800", *["0.0003"] * 2, "0"]
    ]
    lasting = {
        "native": {"valid_prediction_time": 7.4663, "nrmse": 0.00091},
        "scipy": {"valid_prediction_time": 7.4661, "nrmse": 0.00091},
        "torchdiffeq": {"valid_prediction_time": 6.1, "nrmse": 0.00091},
    }
    rows = [
        synthetic.row(
            {"name": "chaos", "system": "lorenz63"},
            {"cell": "true-field", "tableau": "rk4", "backend": backend},
            metrics=numbers | {"baseline_valid_prediction_time": 0.1},
        )
        for backend, numbers in lasting.items()
    ]
    lines = [line for line in main_tables(rows).splitlines() if "rk4" in line and "true-field" in line]
    assert len(lines) == 2  # beside that of the ladder, which says "true field"
    assert "native, scipy " in lines[0]
    assert "torchdiffeq" in lines[1]


def test_forecasting_puts_the_true_field_of_the_same_tableau_beside(synthetic: ModuleType) -> None:
    task = {"name": "chaos", "system": "lorenz63"}

    def made(solver: dict[str, Any], seed: int, valid: float) -> dict[str, Any]:
        names = ("valid_prediction_time", "valid_prediction_time_q25", "valid_prediction_time_q75")
        numbers = dict(zip(names, (valid, valid - 0.5, valid + 0.75), strict=True))
        known = {"baseline_valid_prediction_time": 0.2, "nrmse": 0.1, "initial_conditions": 100}
        result: dict[str, Any] = synthetic.row(task, solver, seed, metrics=numbers | known)
        return result

    true = {"cell": "true-field", "tableau": "rk4", "backend": "native"}
    rows = [made(cell("cornn"), seed, valid) for seed, valid in enumerate((2.0, 5.0, 3.0))]
    rows += [made(true | {"step": 0.02}, 0, 6.5), made(true | {"step": 0.01}, 0, 9.0)]
    rows += [made(cell("cornn", "euler"), 0, 1.0)]
    rows.append(synthetic.row(task, cell("leaky"), 0, status="memory", reason="more than 4 GiB"))
    table = TABLES["forecasting"].build(frame(rows)).set_index(["cell", "tableau"])
    line = table.loc[("cornn", "rk4")]
    assert (line["valid time"], line["lower quartile"], line["upper quartile"]) == (3.0, 2.5, 3.75)
    assert (line["true field"], line["baseline"], line["nrmse"], line["seeds"]) == (6.5, 0.2, 0.1, 3)
    assert math.isnan(table.loc[("cornn", "euler"), "true field"])
    lost = table.loc[("leaky", "rk4")]
    assert (lost["seeds"], lost["failed"], lost["true field"]) == (0, 1, 6.5)


def test_memory_takes_the_smallest_rung_that_most_seeds_solve(synthetic: ModuleType) -> None:
    rows = []
    for length, needed in ((8, 8), (16, 16), (32, 32), (64, 64)):
        for hidden in (4, 8, 16, 32):
            for seed in range(3):
                solves = hidden >= needed and seed > 0  # two of three seeds
                rows.append(
                    synthetic.sequence("adding", cell("cornn", hidden=hidden), seed, 0.95 if solves else 0.1, length)
                )
    table = TABLES["memory"].build(frame(rows))
    assert table["memory length"].tolist() == [8, 16, 32, 64]
    assert table["state"].tolist() == ["solved", "solved", "solved", "more than"]
    sizes = [n * n + 5 * n for n in (8, 16, 32)]
    assert table["parameters"].tolist() == [*sizes, sizes[-1]]
    assert table["skill"].tolist() == pytest.approx([0.95, 0.95, 0.95, 0.1])
    # least squares on equally spaced logarithms: the slope is that between the ends
    assert table["exponent"].iloc[0] == pytest.approx(math.log(sizes[2] / sizes[0]) / math.log(4))


def test_memory_keeps_copying_of_ever_more_symbols_apart_from_ever_longer_delays(synthetic: ModuleType) -> None:
    rows = []
    for length, symbols in ((1, 2), (1, 4), (5, 5), (10, 5)):
        for hidden in (4, 8):
            made = synthetic.sequence("copying", synthetic.cell("gru", hidden=hidden), 0, 0.5, length + symbols)
            made["task"] = {"name": "copying", "length": length, "symbols": symbols}
            rows.append(made | {"id": f"{length} {symbols} {hidden}"})
    table = TABLES["memory"].build(frame(rows))
    assert list(zip(table["task"], table["memory length"], strict=True)) == [
        *(("copying · length=1", 3), ("copying · length=1", 5)),
        *(("copying · symbols=5", 10), ("copying · symbols=5", 15)),
    ]


def test_parameters_by_hand(synthetic: ModuleType) -> None:
    """3 (p t)^2 for all but the shortest, which has a term of lower order."""
    counts = {(p, t): 3.0 * (p * t) ** 2 + (500 if t == 2 else 0) for p in (1, 2, 4) for t in (2, 4, 8, 16)}
    rows = [synthetic.counted("lem", p, t, count) for (p, t), count in counts.items()]
    rows.append(synthetic.counted("qunn", 4, 8, 47))
    rows.append(synthetic.counted("qunn", 4, 16, 0, status="failed", reason="lost", metrics={}, cost={}))
    table = TABLES["parameters"].build(frame(rows))
    assert table["cell"].tolist() == ["lem", "lem", "lem", "qunn"]
    assert table["data length"].tolist() == [1, 2, 4, 4]
    assert table["t=2"].tolist()[:3] == [512, 548, 692]
    assert table["t=16"].tolist()[:3] == [768, 3072, 12288]
    assert table["exponent t"].tolist()[:3] == pytest.approx([2, 2, 2])
    assert table["exponent p"].tolist()[:3] == pytest.approx([2, 2, 2])
    last = table.iloc[3]
    assert (last["t=8"], last["failed"]) == (47, 1)
    assert math.isnan(last["t=16"])
    assert math.isnan(last["exponent t"])


def test_the_default_of_a_task_is_read_from_its_properties(synthetic: ModuleType) -> None:
    row = synthetic.counted("lem", 2, 16, 100)
    row["task"] = {"name": "parameters"}
    row["properties"]["task"] = {"name": "parameters", "data_length": 2, "memory_length": 16}
    line = TABLES["parameters"].build(frame([row])).iloc[0]
    assert (line["data length"], line["t=16"]) == (2, 100)


def test_capacity_by_hand(synthetic: ModuleType) -> None:
    leaky, lru = synthetic.cell("leaky", hidden=4), synthetic.cell("lru", hidden=4)
    rows = [synthetic.remembered(leaky, 0, [1.0, 0.5, 0.1]), synthetic.remembered(leaky, 1, [0.8, 0.3, 0.1])]
    rows += [synthetic.remembered(lru, 0, [1.0, 1.0, 0.9])]
    rows += [synthetic.row({"name": "memory-capacity", "lags": 3}, lru, 1, status="diverged", reason="NaN")]
    table = TABLES["capacity"].build(frame(rows))
    assert table["cell"].tolist() == ["lru", "leaky"]
    assert table["capacity"].tolist() == pytest.approx([2.9, 1.4])
    assert table["capacity ±"].iloc[1] == pytest.approx(0.4 / math.sqrt(2))
    assert table["per number"].tolist() == pytest.approx([2.9 / 4, 1.4 / 4])
    assert table["half lag"].tolist() == [3, 1]  # the medians of leaky are 0.9, 0.4, 0.1
    assert table["state numbers"].tolist() == [4, 4]
    assert (table["runs"].tolist(), table["failed"].tolist()) == ([2, 2], [1, 0])


def test_memory_says_at_most_where_the_smallest_size_solves(synthetic: ModuleType) -> None:
    rows = [synthetic.sequence("adding", cell("cornn", hidden=h), 0, 0.99, n) for h in (8, 16) for n in (8, 16)]
    assert TABLES["memory"].build(frame(rows))["state"].tolist() == ["at most", "at most"]


def test_stability_counts_every_outcome(synthetic: ModuleType) -> None:
    solver = cell("leaky", "euler")
    rows = [synthetic.sequence("adding", solver, 0, 0.9), synthetic.sequence("adding", solver, 1, 0.1)]
    rows.append(synthetic.diverged("adding", solver, 2, "NaN loss at update 61"))
    rows.append(synthetic.diverged("adding", solver, 3, "loss 1e+05 at update 61"))
    for seed, status in enumerate(("failed", "timeout", "memory", "skipped"), start=4):
        rows.append(synthetic.row({"name": "adding", "length": 20}, solver, seed, status=status, reason="why"))
    line = TABLES["stability"].build(frame(rows)).iloc[0]
    assert line["runs"] == 8
    assert [line[name] for name in OUTCOMES] == [1] * 8
    # before: 1e-3, 1e-3 and 0.5, 0.5; after: 10^(2 skill - 2) and two infinities
    assert line["gradient ratio before"] == pytest.approx((1e-3 + 0.5) / 2)


def test_integrators_by_hand(synthetic: ModuleType) -> None:
    rows = [synthetic.ivp("pleiades", "rk4", backend, step=0.1) for backend in ("scipy", "native")]
    rows.append(synthetic.ivp("pleiades", "dormand-prince54", "native", rtol=1e-4))
    task = {"name": "ivp", "problem": "pleiades"}
    lost = {"cell": "true-field", "tableau": "rk4", "backend": "native", "step": 9.0}
    rows.append(synthetic.row(task, lost, status="failed", reason="?"))
    table = TABLES["integrators"].build(frame(rows))
    assert table["tableau"].tolist() == ["dormand-prince54", "rk4", "rk4", "rk4"]
    first = table.iloc[0]
    assert (first["error"], first["rejected"], first["step"]) == (pytest.approx(3e-4), 5, "rtol=0.0001")
    fixed = table[(table["step"] == 0.1) & (table["backend"] == "native")].iloc[0]
    assert (fixed["error"], fixed["f calls"], fixed["accepted"]) == (pytest.approx(3e-4), 800, 200)
    assert dict(zip(table["step"], table["failed"], strict=True)) == {"rtol=0.0001": 0, 0.1: 0, 9.0: 1}


def test_orders_by_hand(synthetic: ModuleType) -> None:
    def made(tableau: str, claimed: int, observed: float | str) -> dict[str, Any]:
        solver = {"cell": "true-field", "tableau": tableau, "backend": "native"}
        known = {"primary_metric": "observed_order", "claimed_order": claimed}
        result: dict[str, Any] = synthetic.row(
            {"name": "order"}, solver, metrics={"observed_order": observed}, properties=known
        )
        return result

    table = TABLES["orders"].build(frame([made("rk4", 4, 3.9), made("euler", 1, 1.4), made("heun2", 2, "NaN")]))
    assert table["tableau"].tolist() == ["euler", "heun2", "rk4"]
    assert table["verdict"].tolist() == ["higher", "", "as claimed"]
    assert table["failed"].tolist() == [0, 1, 0]
    assert table["difference"].iloc[2] == pytest.approx(-0.1)


def test_the_correspondence_says_what_holds(synthetic: ModuleType) -> None:
    table = TABLES["correspondence"].build(frame(synthetic._audits())).set_index("RNN")
    assert table["verdict"].to_dict() == {
        "lem": "NOT equal",
        "qunn": "no result",
        "elman": "equal & consistent",
        "lstm": "equal & consistent",
        "urnn": "equal & consistent",
        "cfc": "not an integrator",
    }
    elman = table.loc["elman"]
    assert (elman["runs"], elman["failed"], elman["error, 100 steps"]) == (2, 0, 2e-15)  # the larger of two seeds
    assert (elman["order"], elman["claimed"], elman["its error"], elman["t"]) == (1.02, 1, 0.2, 1)
    assert table.loc["qunn", "reason"] == "no cell 'qunn'"
    assert (table.loc["cfc", "gap at 0"], math.isnan(table.loc["cfc", "claimed"])) == (0.4, True)


@pytest.mark.parametrize(
    ("metrics", "order", "parts", "verdict"),
    [
        ({"wrong_error": 1e-9}, 1.0, {}, "NOT told apart"),
        ({}, 0.6, {}, "equal, NOT consistent"),
        ({"limit_gap": 1e-6}, 1.0, {}, "equal, NOT consistent"),
        ({"observed_order": "NaN"}, 1.0, {}, "equal, NOT consistent"),
        ({"equality_error": "NaN"}, 1.0, {}, "NOT equal"),
        ({"equality_error_one_step": 1e-11}, 1.0, {}, "NOT equal"),
        ({}, 1.0, {"status": "failed", "reason": "no memory order"}, "FAILED"),
    ],
)
def test_a_row_that_does_not_hold_is_told_so(
    synthetic: ModuleType, metrics: dict[str, Any], order: float, parts: dict[str, Any], verdict: str
) -> None:
    row = synthetic.corresponding("lem", cell("lem", "euler"), order, metrics=metrics, **parts)
    assert TABLES["correspondence"].build(frame([row]))["verdict"].tolist() == [verdict]


def test_the_correspondence_is_compact_but_in_csv(synthetic: ModuleType, tmp_path: Path) -> None:
    report = write_report(synthetic._audits()[:4], tmp_path, "t", "c")
    texts = {
        path.suffix: path.read_text()
        for path in report.files
        if path.stem == "correspondence" and path.parent.name == "tables"
    }
    assert "paper" in texts[".csv"].splitlines()[0]
    assert "paper" not in texts[".md"].splitlines()[2]
    assert r"$\dot y_{1} = - y_{1} + \tanh{\left(a_{1} \right)}$<br>$a_{1} = W y_{1} + V u + b$" in texts[".md"]
    assert r"$\begin{aligned}[t]\dot y_{1} &= - y_{1}" in texts[".tex"]
    assert "2 equal \\& consistent, 1 NOT equal." in texts[".tex"]
    page = report.index.read_text()
    assert "y₁&#39; = -y₁ + tanh(a₁); a₁ = W y₁ + V u + b" in page


def test_stages_compares_what_is_measured_with_what_is_claimed(synthetic: ModuleType) -> None:
    table = TABLES["stages"].build(frame(synthetic._audits())).set_index(["cell", "tableau"])
    assert table["verdict on n"].to_dict() == {
        ("true-field", "euler"): "as many as stages",
        ("true-field", "rk4"): "as many as stages",
        ("true-field", "ssp33"): "fewer: broken chain",
        ("true-field", "radau2a2"): "unbounded (implicit)",
        ("leaky", "euler"): "as many as stages",
        ("leaky", "rk4"): "as many as stages",
        ("leaky", "ssp33"): "fewer: broken chain",
        ("leaky", "radau2a2"): "unbounded (implicit)",
        ("antisymmetric", "euler"): "as many as stages",
        ("cornn", "gauss-seidel-euler"): "as many as stages",
    }
    assert table.loc[("true-field", "radau2a2"), "n"] == math.inf
    assert (
        table.loc[("cornn", "gauss-seidel-euler"), "t"],
        table.loc[("cornn", "gauss-seidel-euler"), "ode order"],
    ) == (2, 2)
    odd = synthetic.staged(cell("ct-rnn", "euler"), 6.0, 2, stages=1, stages_reaching=1, ode_order=1)
    lines = [odd, synthetic.staged({"cell": "true-field", "tableau": "euler"}, 1.0, None, stages=1)]
    lines.append(synthetic.staged(cell("mingru", "euler"), 0.0, 1, stages=1, stages_reaching=1, ode_order=1))
    table = TABLES["stages"].build(frame(lines)).set_index("cell")
    assert table.loc["mingru", "verdict on n"] == "fewer: affine slopes"
    line = table.loc["ct-rnn"]
    assert (line["verdict on n"], line["verdict on t"]) == ("more than stages", "more")


@pytest.mark.parametrize(
    ("depth", "stages", "reaching", "verdict", "brief"),
    [
        (6.0, 7, 6, "fewer: 1 stage does not reach the result", "fewer: 1 not reaching"),  # an FSAL pair
        (3.0, 7, 5, "fewer: 2 stages do not reach the result, broken chain", "fewer: 2 not reaching, broken chain"),
        (3.0, 4, 4, "fewer: broken chain", "fewer: broken chain"),
        (4.0, 4, 4, "as many as stages", "as many"),
        (4.0, 4, None, "as many as stages", "as many"),
    ],
)
def test_stages_says_why_a_step_nests_less_deeply(
    synthetic: ModuleType, depth: float, stages: int, reaching: int | None, verdict: str, brief: str
) -> None:
    known = {"stages": stages} | ({} if reaching is None else {"stages_reaching": reaching})
    row = synthetic.staged({"cell": "true-field", "tableau": "x"}, depth, None, **known)
    table = TABLES["stages"].build(frame([row]))
    assert table["verdict on n"].tolist() == [verdict]
    assert _brief(table)["on n"].tolist() == [brief]


def test_spectra_by_hand(synthetic: ModuleType) -> None:
    solver = cell("leaky", "euler", step=0.5)
    rows = []
    for seed, growth in enumerate((-0.1, 0.3, 0.1)):
        row = synthetic.examined(solver, seed, 0.9, (1.0, 2.0), dtype="bfloat16")
        row["metrics"] |= {"predicted_growth_before": -0.2, "measured_growth_before": growth, "inside_before": 0.5}
        rows.append(row)
    table = TABLES["spectra"].build(frame(rows))
    line = table.iloc[0]
    assert (line["predicted before"], line["measured before"], line["inside before"]) == (-0.2, 0.1, 0.5)
    assert (line["certified before"], line["spectral before"], line["certificate"]) == (1.0, 2.0, "circle")
    told = TABLES["spectra"].told(table)
    assert "before training 1 of 1" in told
    assert "that grow: 1 of 1." in told  # the certificate covers h = 0.5, and the measured growth is positive


def test_stability_has_the_limits_where_they_are_known(synthetic: ModuleType) -> None:
    made = [synthetic.examined(cell("leaky", "euler"), seed, 0.9, (1.0, "Infinity")) for seed in range(2)]
    line = TABLES["stability"].build(frame(made)).iloc[0]
    assert (line["certified step"], line["spectral step"], line["converged"]) == (1.0, math.inf, 2)
    other = TABLES["stability"].build(frame([synthetic.sequence("adding", cell("leaky"), 0, 0.9)]))
    assert "certified step" not in other


def test_certificates_are_sound_caught_or_violated(synthetic: ModuleType) -> None:
    rows = [synthetic.hunted(cell("leaky", "euler"), 0, seed=seed) for seed in range(3)]
    rows += [synthetic.hunted(cell("leaky", "euler"), 40, 1.05), synthetic.hunted(cell("gradient", "euler"), 2)]
    rows += [synthetic.hunted(cell("cornn", "euler"), None), synthetic.hunted(cell("leaky", "rk4"), 0, 1.05)]
    table = TABLES["certificates"].build(frame(rows))
    assert table["verdict"].tolist() == ["VIOLATED", "not caught", "caught", "sound", "no certificate"]
    sound = table[table["verdict"] == "sound"].iloc[0]
    assert (sound["cases"], sound["violations"], sound["tightness"], sound["runs"]) == (1500, 0, 0.97, 3)
    assert (
        TABLES["certificates"]
        .told(table)
        .startswith("2000 certified cases, 2 violations; with the step inflated, 1 of 2 caught. ")
    )
    broken = TABLES["failures"].build(frame(rows))
    assert broken["status"].tolist() == ["failed", "skipped"]


def test_audits_do_not_compete(synthetic: ModuleType) -> None:
    data = frame(synthetic._audits())
    for name in ("overview", "accuracy", "forecasting", "integrators", "orders", "memory"):
        assert TABLES[name].build(data).empty


def test_failures_lists_every_row_that_is_not_ok(rows: list[dict[str, Any]]) -> None:
    table = TABLES["failures"].build(frame(rows))
    expected = {row["id"]: row["reason"] for row in rows if row["status"] != "ok"}
    assert dict(zip(table["id"], table["reason"], strict=True)) == expected


def test_no_run_is_dropped_from_the_counts(rows: list[dict[str, Any]]) -> None:
    data = frame(rows)
    for name, kinds in (
        ("accuracy", ["sequence"]),
        ("forecasting", ["forecast"]),
        ("stability", ["sequence", "forecast", "stability"]),
    ):
        table = TABLES[name].build(data)
        counted = table["runs"].sum() if "runs" in table else table["seeds"].sum() + table["failed"].sum()
        there = data[data["kind"].isin(kinds)]
        assert counted == len(there if name != "stability" else there[there["learned"].astype(bool)])


# ----------------------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=cmd()", "'=cmd()"),
        ("+1+cmd", "'+1+cmd"),
        ("-cmd", "'-cmd"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\tx", "'\tx"),
        ("-1.5", "-1.5"),
        ("+2e-3", "+2e-3"),
        ("plain = text", "plain = text"),
        (-0.5, -0.5),
    ],
)
def test_a_csv_cell_is_no_formula(value: Any, expected: Any) -> None:
    assert guarded(value) == expected


def test_csv_keeps_full_precision_and_the_names(synthetic: ModuleType) -> None:
    table = TABLES["accuracy"].build(frame(synthetic.hostile()))
    lines = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [float(line["value"]) for line in lines] == table["value"].tolist()
    assert {line["cell"] for line in lines} == {synthetic.HOSTILE, synthetic.SPECIAL}
    assert "'=cmd()" in {line["tableau"] for line in lines}
    assert {line["value ±"] for line in lines} == {""}


def test_latex_escapes_each_special_character_once() -> None:
    assert latex("a_b&%$x#{}") == r"a\_b\&\%\$x\#\{\}"
    assert latex("~^\\<>|") == (
        r"\textasciitilde{}\textasciicircum{}\textbackslash{}\textless{}\textgreater{}\textbar{}"
    )


def test_latex_table_is_booktabs_with_as_many_cells_in_every_line(rows: list[dict[str, Any]]) -> None:
    table = TABLES["accuracy"].build(frame(rows))
    text = to_latex(table, "T_1", "50 % of it")
    assert r"\caption{T\_1. 50 \% of it}" in text
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == len(table) + 1
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    assert {line.count(" & ") for line in body} == {len(columns) - 1}


def test_markdown_cells_cannot_break_the_table(rows: list[dict[str, Any]]) -> None:
    table = TABLES["failures"].build(frame(rows))
    lines = [line for line in to_markdown(table, "T", "C").splitlines() if line.startswith("|")]
    assert len(lines) == len(table) + 2
    bare = {line.replace("\\\\", "").replace("\\|", "").count("|") for line in lines}
    assert bare == {len(table.columns) + 1}
    assert not any("<script" in line.replace("\\<", "") for line in lines)


def test_numbers_are_shown_with_four_digits_and_their_spread() -> None:
    table = pd.DataFrame({"x": [1 / 3, math.nan, 12345.678], "x ±": [0.01234, math.nan, math.nan], "n": [1, 2, 3]})
    heads, right, lines = readable(table)
    assert (heads, right) == (["x", "n"], [True, True])
    assert lines == [["0.3333 ± 0.012", "1"], ["—", "2"], ["1.235e4", "3"]]
    assert [shown(v) for v in (True, None, 0.5, 1e-7, math.inf, "a\nb\x1b[31m")] == [
        *("yes", "—", "0.5", "1e-7", "inf"),
        "a b\\x1b[31m",
    ]


def test_the_terminal_tables_are_narrow_and_complete(rows: list[dict[str, Any]]) -> None:
    text = main_tables(rows)
    assert max(len(line) for line in text.splitlines()) <= 110
    assert all(line.isprintable() for line in text.splitlines())
    assert f"{len(rows)} runs: " in text
    for title in ("Sequence tasks", "Chaotic forecasts", "Initial value problems", "Order of convergence"):
        assert title in text
    assert main_tables([]) == ""


def test_the_terminal_counts_the_lines_it_leaves_out() -> None:
    table = pd.DataFrame({"task": list("aabcc"), "word": ["x" * 200, "y", "z", "u", "v"]})
    text = to_terminal(table, ("word",), ("task",), width=40, each=1, most=2).splitlines()
    assert text[2] == "a"
    assert text[3].endswith("…")
    assert len(text[3]) == 40
    assert text[4:] == [
        *("  ... and 1 more, see the report", "b", "  z"),
        "... and 2 more in 1 groups, see the report",
    ]


def test_the_terminal_never_cuts_a_number() -> None:
    table = pd.DataFrame({"word": ["x" * 50], "value": [0.00041623], "value ±": [1.7e-5], "step": ["rtol=1e-06"]})
    line = to_terminal(table, ("word", "value", "step"), width=20).splitlines()[-1]
    assert line == "xxxxx…  0.0004162 ± 1.7e-05  rtol=1e-06"


def test_norms_stand_by_their_drift(rows: list[dict[str, Any]]) -> None:
    made = TABLES["norms"].build(frame(rows))
    assert list(made["tableau"]) == ["implicit-midpoint", "strang", "rk4"]
    assert made["drift"].is_monotonic_increasing
    assert set(made["steps"]) == {10_000}


def chaos(valid: float, solver: dict[str, Any], synthetic: ModuleType, seed: int = 0, **task: Any) -> dict[str, Any]:
    """A forecast with that median valid time."""
    row: dict[str, Any] = synthetic.row(
        {"name": "chaos", "system": "lorenz63", "horizon": 10.0} | task,
        solver,
        seed,
        dtype="float64",
        metrics={
            "valid_prediction_time": valid,
            "valid_prediction_time_q25": valid - 1,
            "valid_prediction_time_q75": valid + 1,
            "nrmse": 0.1,
            "smape": 20.0,
        },
        cost={"seconds": 1.0, "f_calls": 500, "parameters": 7},
        properties={"primary_metric": "valid_prediction_time", "learns": solver["cell"] != "true-field"},
    )
    return row


def test_the_ladder_has_the_best_setting_of_every_rung_in_order(synthetic: ModuleType) -> None:
    true = {"cell": "true-field", "tableau": "rk4", "backend": "native"}
    solvers = [
        (9.0, true | {"steps": 4}),
        (8.0, true | {"steps": 1}),
        (2.0, true | {"steps": 4, "parameter_error": 0.01}),
        (3.0, {"cell": "gru", "backend": "torch", "hidden": 8}),
        (4.0, {"cell": "leaky", "tableau": "euler", "backend": "native", "step": 1.0, "hidden": 8}),
        (5.0, {"cell": "nvar"}),
        (6.0, {"cell": "nvar", "degree": 3}),
        (0.1, {"cell": "climatology"}),
    ]
    rows = [chaos(valid, solver, synthetic) for valid, solver in solvers]
    rows += [synthetic.ceiling("float32", value) for value in (11.0, 12.0)]
    lost = chaos(0.0, {"cell": "nvar", "degree": 9}, synthetic) | {"status": "diverged", "reason": "too far out"}
    table = TABLES["ladder"].build(frame([*rows, lost | {"metrics": {}}]))
    assert table["rung"].tolist() == [
        *("climatology", "NVAR", "leaky", "GRU", "true field, parameters off by 1 %", "true field")
    ]
    assert table["valid time"].tolist() == [0.1, 6.0, 4.0, 3.0, 2.0, 9.0]
    nvar = table.iloc[1]
    assert (nvar["settings"], nvar["failed"], nvar["reason"]) == (3, 1, "diverged: too far out")
    assert (nvar["evaluations"], nvar["smape"], nvar["parameters"]) == (50.0, 20.0, 7)
    assert (nvar["horizon"], nvar["ceiling float32"]) == (10.0, 12.0)
    assert math.isnan(nvar["ceiling float64"])


def test_points_of_a_data_grid_are_no_ladder_and_training_is_no_protocol(synthetic: ModuleType) -> None:
    cells = ({"cell": "nvar"}, {"cell": "esn"}, {"cell": "persistence"}, {"cell": "parroting"}, {"cell": "climatology"})
    rows = [chaos(3.0, solver, synthetic, length=50) for solver in cells]
    rows.append(chaos(4.0, {"cell": "gru", "backend": "torch", "hidden": 8}, synthetic, length=100, forcing=0.5))
    rows += [chaos(1.0, solver, synthetic, noise=noise) for noise in (0.1, 0.2) for solver in cells[:2]]
    table = TABLES["ladder"].build(frame(rows))
    assert len(table) == 6
    assert set(table["forecasts of"]) == {"lorenz63"}
    grid = TABLES["data_grid"].build(frame(rows))
    assert grid[["rung", "noise", "valid time"]].values.tolist() == [
        *(["NVAR", 0.1, 1.0], ["NVAR", 0.2, 1.0]),
        *(["echo state network", 0.1, 1.0], ["echo state network", 0.2, 1.0]),
    ]


def test_transfer_has_the_whole_matrix_and_the_median_of_the_seeds(synthetic: ModuleType) -> None:
    solver = {"cell": "polynomial-field", "tableau": "euler", "backend": "native", "substeps": 1, "degree": 4}
    rows = [synthetic.transferred(solver, 0.1, seed=seed) for seed in range(3)]
    rows.append(synthetic.transferred({"cell": "true-field", "tableau": "rk4", "backend": "native", "steps": 1}, 0.0))
    crime = solver | {"tableau": "rk4"}
    rows.append(synthetic.transferred(crime, 1e-9, generator="rk4"))
    lost = {"status": "diverged", "reason": "NaN loss", "metrics": {}, "curves": {}}
    rows.append(synthetic.transferred(solver | {"degree": 5}, 0.1, **lost))
    table = TABLES["transfer"].build(frame(rows))
    assert table["cell"].tolist() == [*["polynomial-field"] * 3, "true-field"]
    own = table[table["seeds"] == 3].iloc[0]
    limit = -math.log(0.1 + 1e-6)
    assert (own["matched"], own["euler ×1"], own["learned a"]) == (9.0, 9.0, "map")  # the middle of 8, 9, 10
    assert own["limit"] == pytest.approx(limit)
    assert own[["euler ×2", "rk4 ×1", "rk4 ×2"]].tolist() == pytest.approx([0.5 * limit] * 3)
    assert table["flag"].tolist().count("generator = trainer") == 1
    failed = table[table["failed"] == 1].iloc[0]
    assert failed["reason"] == "diverged: NaN loss"
    assert math.isnan(failed["rk4 ×1"])


@pytest.mark.parametrize(
    ("errors", "order", "verdict"),
    [
        ((0.4, 0.2, 0.1), 1, "the tableau's order"),
        ((1.6e-1, 1e-2, 9e-3), 4, "the tableau's order, then levels off"),
        ((0.011, 0.010, 0.010), 4, "shallower: other errors prevail"),
        ((0.4, 0.1, 0.025), 1, "steeper"),
    ],
)
def test_the_order_of_the_bias(synthetic: ModuleType, errors: tuple[float, ...], order: int, verdict: str) -> None:
    tableau = {1: "euler", 4: "rk4"}[order]
    rows = [
        synthetic.transferred(
            {"cell": "polynomial-field", "tableau": tableau, "backend": "native", "substeps": 2**k, "degree": 4},
            error,
            0.02 / 2**k,
        )
        for k, error in enumerate(errors)
    ]
    crime = {"cell": "polynomial-field", "tableau": tableau, "backend": "native", "substeps": 8, "degree": 4}
    rows.append(synthetic.transferred(crime, 1e-12, 0.0025, generator=tableau))  # made for the trainer: not counted
    line = TABLES["bias_order"].build(frame(rows)).iloc[0]
    assert line["slope"] == pytest.approx(math.log2(errors[0] / errors[2]) / 2)  # least squares over three even steps
    assert line["slope of the coarsest two"] == pytest.approx(math.log2(errors[0] / errors[1]))
    assert (line["order"], line["verdict"]) == (order, verdict)


def test_long_runs_stand_beside_their_floors(synthetic: ModuleType) -> None:
    rows = [synthetic.long_run(chaos(3.0, {"cell": "esn"}, synthetic), 0.1)]
    rows.append(synthetic.exponents("rk4", 1, 0.9, synthetic.PUBLISHED))
    lost = chaos(0.0, {"cell": "nvar"}, synthetic) | {"status": "diverged", "reason": "lost", "metrics": {}}
    table = TABLES["attractors"].build(frame([*rows, lost]))
    assert table["rung"].tolist() == ["NVAR", "echo state network"]
    line = table.iloc[1]
    assert line["divergence above floor"] == pytest.approx(0.3 + 0.2 - 0.25)
    assert line["hellinger above floor"] == pytest.approx(0.1 + 0.01 - 0.08)
    assert (line["escaped"], line["true exponent"], line["true Kaplan-Yorke"]) == (0.02, 0.905, 2.0621)
    assert (table["failed"].iloc[0], table["reason"].iloc[0]) == (1, "diverged: lost")


@pytest.mark.parametrize(
    ("published", "words"),
    [
        ({"exponent": 0.9056, "exponent_error": 0.0008, "source": "a"}, "agrees, 0.5 errors apart"),
        ({"exponent": 0.915, "exponent_error": 0.0, "source": "a"}, "DIFFERS, 10.0 errors apart"),
        ({"exponent": 0.915, "source": "a"}, "DIFFERS, 10.0 errors apart"),
        ({"source": "a"}, ""),
    ],
)
def test_exponents_beside_the_published(synthetic: ModuleType, published: dict[str, Any], words: str) -> None:
    data = frame([synthetic.exponents("rk4", 1, 0.94, published)])
    line = TABLES["lyapunov"].build(data).iloc[0]
    assert line["agreement"] == words
    assert (line["exponent"], line["exponent ±"], line["source"]) == (0.905, 0.001, "a")
    assert line["sum off by"] == pytest.approx(0.905 - 14.5716667 + 41 / 3, abs=1e-6)
    stepped = TABLES["stepped_exponents"].build(data).iloc[0]
    assert stepped["map against flow"] == "DIFFERS, 3.5 errors apart"  # 0.035 / sqrt(0.01^2 + 0.001^2)


def test_a_ceiling_has_the_quartiles_of_its_step(synthetic: ModuleType) -> None:
    lost = synthetic.ceiling("float16", 1.0, status="diverged", reason="every step diverged", metrics={}, curves={})
    table = TABLES["ceilings"].build(frame([synthetic.ceiling("float32", 9.0), lost]))
    assert table["dtype"].tolist() == ["float16", "float32"]
    assert table.iloc[1][["lower quartile", "ceiling", "upper quartile"]].tolist() == pytest.approx([8.1, 9.0, 9.9])
    assert table["reason"].tolist() == ["every step diverged", ""]


def test_a_librarys_own_method_is_no_tableau_of_ours(synthetic: ModuleType) -> None:
    rows = [
        chaos(7.4, {"cell": "true-field", "backend": "scipy", "steps": 1} | way, synthetic)
        for way in ({"method": "RK45"}, {"tableau": "dormand-prince54"})
    ]
    table = TABLES["forecasting"].build(frame(rows))
    assert sorted(table["tableau"]) == ["RK45 of scipy", "dormand-prince54"]
    assert "RK45 of scipy" in main_tables(rows)
