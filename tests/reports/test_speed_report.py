"""Speed and memory in the report: ratios, gains, slopes and verdicts by hand, and nothing is hidden."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from odernn.reports import style
from odernn.reports.frame import frame
from odernn.reports.pieces import Figure, Table, found
from odernn.reports.tables.speed import standing
from odernn.reports.targets import MET, MISSED, UNKNOWN, Target, judged
from odernn.reports.text import to_latex
from odernn.reports.timings import cores, slopes, timings
from odernn.reports.write import main_tables

TABLES: dict[str, Table] = {table.name: table for table in found()[0]}
FIGURES: dict[str, Figure] = {figure.name: figure for figure in found()[1]}
MINE = ("speed", "cores", "speed_targets", "footprint")


def speed(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return TABLES["speed"].build(frame(rows)).set_index("peer")


def verdicts(rows: list[dict[str, Any]], claim: str) -> pd.DataFrame:
    table = TABLES["speed_targets"].build(frame(rows))
    return table[table["target"].str.startswith(claim)].reset_index(drop=True)


def test_medians_quartiles_and_ratios_by_hand(synthetic: ModuleType, speeds: ModuleType) -> None:
    rounds = {
        "odernn cpu": [0.010, 0.012, 0.008, 0.010, 0.011],
        "odernn general": [0.10] * 5,
        "torchdiffeq": [0.25, 0.24, 0.28, 0.30, 0.22],
        "torch.nn.RNN": [0.005, 0.006, 0.004],
        "products alone": [0.008] * 5,
    }
    row = speeds.timed(synthetic.row, rounds, missing={"torchode": "torchode is not installed"})
    table = speed([row])
    assert table.index.tolist() == [
        *("torch.nn.RNN", "products alone", "odernn cpu", "odernn general", "torchdiffeq", "torchode")
    ]
    ours, other, fast = table.loc["odernn cpu"], table.loc["torchdiffeq"], table.loc["torch.nn.RNN"]
    assert (ours["milliseconds"], ours["lower quartile"], ours["upper quartile"]) == pytest.approx((10, 10, 11))
    assert (ours["times ours"], ours["standing"], ours["over the floor"]) == (1, "ours", pytest.approx(1.25))
    assert (other["milliseconds"], other["times ours"], other["rounds"]) == (pytest.approx(250), pytest.approx(25), 5)
    # round by round 25, 20, 35, 30, 20
    assert (other["times low"], other["times high"]) == pytest.approx((20, 30))
    assert (fast["times ours"], fast["standing"]) == (pytest.approx(0.5), "faster than ours")
    assert (fast["times low"], fast["times high"]) == pytest.approx((0.5, 0.5))  # of the rounds that both had
    assert table["standing"].tolist()[3:5] == ["slower", "slower"]
    assert table.loc["products alone", "standing"] == "floor"
    lost = table.loc["torchode"]
    assert (lost["standing"], lost["reason"]) == ("not measured", "torchode is not installed")
    assert math.isnan(lost["milliseconds"])
    assert ours["workload"] == "leaky · RK4 · hidden 32, batch 32, T=200 · h=0.1 · 1 thread"
    assert "faster than ours" in main_tables([row])


def test_runs_of_one_workload_are_one_line_with_ratios_within_each(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [
        speeds.timed(synthetic.row, {"odernn cpu": [ours], "torch loop": [loop]}, seed=seed)
        for seed, (ours, loop) in enumerate(((1.0, 2.0), (3.0, 9.0), (2.0, 8.0)))
    ]
    rows.append(speeds.lost(synthetic.row, "failed", "out of luck") | {"id": "another", "seed": 3})
    table = speed(rows)
    assert table["milliseconds"].tolist() == pytest.approx([2000, 8000])
    assert table.loc["torch loop", "times ours"] == pytest.approx(3)  # of 2, 3 and 4, not 8 / 2
    assert table["failed"].tolist() == [1, 1]


def test_as_fast_is_neither_faster_nor_slower() -> None:
    assert [standing("peer", times, 1.0) for times in (0.99, 1.0, 1.01)] == ["faster than ours", "as fast", "slower"]
    assert standing("peer", 2.0, math.nan) == "not measured"


def test_a_workload_without_a_result_is_a_line_and_a_panel(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [speeds.lost(synthetic.row, "timeout", "more than 600 s")]
    line = TABLES["speed"].build(frame(rows)).iloc[0]
    assert (line["standing"], line["reason"], line["failed"]) == ("timeout", "more than 600 s", 1)
    canvas = FIGURES["speed"].draw(frame(rows))
    assert canvas is not None
    assert "timeout: more than 600 s" in [text.get_text() for text in canvas.axes[0].texts]
    assert set(TABLES["speed_targets"].build(frame(rows))["verdict"]) == {UNKNOWN}
    assert TABLES["cores"].build(frame(rows)).empty


def test_broken_timings_cost_no_table(synthetic: ModuleType, speeds: ModuleType) -> None:
    row = speeds.timed(synthetic.row, {"odernn cpu": 1.0, "torch loop": 2.0})
    row["curves"]["timings"] = {"name": ["odernn cpu", "torch loop"], "seconds": [["NaN", 1.0, 3.0]]}
    table = speed([row])
    assert table.loc["odernn cpu", "milliseconds"] == pytest.approx(2000)
    assert table.loc["torch loop", "standing"] == "not measured"
    empty = speeds.timed(synthetic.row, {"odernn cpu": 1.0}, parts={"curves": {}})
    assert TABLES["speed"].build(frame([empty])).iloc[0]["reason"] == "the row holds no timings"


def test_the_gain_of_a_second_core_by_hand(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [
        speeds.timed(synthetic.row, {"odernn cpu": ours, "torch loop": 0.9}, threads=threads, batch=batch)
        for batch, threads, ours in ((32, 1, 0.19), (32, 2, 0.1), (64, 1, 0.3), (64, 2, 0.2), (8, 1, 0.1), (8, 2, 0.1))
    ]
    table = TABLES["cores"].build(frame(rows))
    own = table[table["peer"] == "odernn cpu"]
    assert own["batch"].tolist() == [8, 32, 64]
    assert own["gain"].tolist() == pytest.approx([1, 1.9, 1.5])
    assert own["per thread"].tolist() == pytest.approx([0.5, 0.95, 0.75])
    assert table[table["peer"] == "torch loop"]["gain"].tolist() == pytest.approx([1, 1, 1])
    found = verdicts(rows, "a second core")
    assert found["measured"].tolist() == pytest.approx([1.9, 1.5])  # a batch of 8 is not asked for
    assert found["verdict"].tolist() == [MET, f"{MISSED}, by 20 %"]


def test_one_thread_count_has_no_gain(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [speeds.timed(synthetic.row, {"odernn cpu": 0.2}, batch=batch) for batch in (32, 64)]
    assert cores(timings(frame(rows))).empty
    found = verdicts(rows, "a second core")
    assert found["verdict"].tolist() == [UNKNOWN]
    assert found["reason"].tolist() == ["no workload was measured on one thread and on two"]


def test_a_gain_prefers_the_measurement_beside_peers(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [speeds.timed(synthetic.row, {"odernn cpu": 9.0}, peers=False)]
    rows += [speeds.timed(synthetic.row, {"odernn cpu": 2.0 / threads}, threads=threads) for threads in (1, 2)]
    assert cores(timings(frame(rows)))["gain"].tolist() == pytest.approx([2])


def test_slopes_by_hand(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [
        speeds.timed(synthetic.row, {"odernn cpu": 1e-4 * length, "torch loop": 1e-3 * length**0.5}, length=length)
        for length in (20, 200, 2000)
    ]
    rows += [
        speeds.timed(synthetic.row, {"odernn cpu": 1e-6 * batch**1.5}, length=50, batch=batch) for batch in (8, 80, 800)
    ]
    lines = timings(frame(rows))
    assert {known["peer"]: known["slope"] for known, _ in slopes(lines, "length")} == pytest.approx(
        {"odernn cpu": 1.0, "torch loop": 0.5}
    )
    assert [(known["smallest"], known["largest"]) for known, _ in slopes(lines, "batch")] == [(8, 800)]
    along = verdicts(rows, "linear in the length").iloc[0]
    assert (along["measured"], along["verdict"], along["reason"]) == (pytest.approx(1), MET, "20 to 2000")
    over = verdicts(rows, "linear in the batch").iloc[0]
    assert (over["measured"], over["verdict"]) == (pytest.approx(1.5), f"{MISSED}: steeper than linear")
    canvas = FIGURES["scaling"].draw(frame(rows))
    assert canvas is not None
    told = [text.get_text() for ax in canvas.axes for text in ax.get_legend().get_texts()]
    assert [text.split(" [")[0] for text in told] == [
        *("odernn cpu: slope 1.00", "torch loop: slope 0.50", "odernn cpu: slope 1.50")
    ]


def test_a_short_range_or_few_sizes_is_no_slope(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [speeds.timed(synthetic.row, {"odernn cpu": 1e-4 * n}, length=n) for n in (20, 200)]
    assert verdicts(rows, "linear in the length")["verdict"].tolist() == [UNKNOWN]
    assert FIGURES["scaling"].draw(frame(rows)) is None
    rows.append(speeds.timed(synthetic.row, {"odernn cpu": 1e-4 * 400}, length=400))
    assert verdicts(rows, "linear in the length")["verdict"].tolist() == [f"{UNKNOWN}: less than two decades"]


@pytest.mark.parametrize(
    ("times", "verdict"),
    [(25.0, MET), (26.0, MET), (20.0, f"{MISSED}, by 25 %"), (5.0, f"{MISSED}, by a factor 5")],
)
def test_torchdiffeq_with_the_same_tableau_alone_counts(
    synthetic: ModuleType, speeds: ModuleType, times: float, verdict: str
) -> None:
    peers = {"odernn cpu": [1.0], "torchdiffeq": [times], "torchdiffeq own rk4": [2.0]}
    first = verdicts([speeds.timed(synthetic.row, peers)], "25 times").iloc[0]
    assert (first["measured"], first["against"], first["verdict"]) == (times, "torchdiffeq", verdict)


def test_the_floor_and_the_lstm_are_shares(synthetic: ModuleType, speeds: ModuleType) -> None:
    products = {"odernn cpu": [1.2], "products alone": [1.0], "products at best rate": [0.8]}
    found = verdicts([speeds.timed(synthetic.row, products, {"hidden": 128}, batch=64)], "near the products")
    known = found[found["verdict"] != UNKNOWN].set_index("target")
    assert known["measured"].tolist() == pytest.approx([1.2])
    assert known["required"].tolist() == ["at most 1.25"]
    assert known["verdict"].tolist() == [MET]
    gates = {"cell": "lstm-field", "tableau": "gauss-seidel-euler"}
    rows = [
        speeds.timed(synthetic.row, {"odernn cpu": [ours], "torch.nn.LSTM": [1.0]}, gates, batch=batch)
        for batch, ours in ((32, 0.9), (64, 1.1))
    ]
    table = verdicts(rows, "as fast as torch.nn.LSTM")
    assert table["measured"].tolist() == pytest.approx([0.9, 1.1])
    assert table["verdict"].tolist() == [MET, f"{MISSED}, by 10 %"]


def test_trajectories_and_qunn(synthetic: ModuleType, speeds: ModuleType) -> None:
    field = {"cell": "true-field", "hidden": None, "step": None}
    place = {"work": "trajectory", "system": "lorenz63", "length": 1000, "span": 10.0}
    peers = {"odernn cpu": [0.1], "diffrax": [0.08], "SciPy solve_ivp": [4.0]}
    rows = [
        speeds.timed(synthetic.row, peers, field, batch=1, parts={"dtype": "float64"}, **place),
        speeds.timed(synthetic.row, {"odernn cpu": [0.1], "odernn general": [1.3]}, {**QUNN, "qubits": 3}),
        speeds.timed(synthetic.row, {"odernn cpu": [0.1], "odernn general": [0.2]}, {**QUNN, "qubits": 1}),
    ]
    found = verdicts(rows, "no slower than diffrax")
    assert found["verdict"].tolist() == [f"{MISSED}, by 25 %", *[UNKNOWN] * 3]
    assert found["workload"].iloc[0] == "lorenz63 · RK4 · batch 1, 1000 steps, to t=10 · 1 thread"
    scipy = verdicts(rows, "30 times as fast as SciPy")
    assert (scipy["measured"].iloc[0], scipy["verdict"].iloc[0]) == (pytest.approx(40), MET)
    chain = verdicts(rows, "10 times as fast as the torch loop")
    assert (chain["measured"].tolist(), chain["verdict"].tolist()) == ([pytest.approx(13)], [MET])


QUNN = {"cell": "qunn", "tableau": "strang", "hidden": 64}


def test_an_adaptive_trajectory_has_no_length(synthetic: ModuleType, speeds: ModuleType) -> None:
    field = {"cell": "true-field", "tableau": "dormand-prince54", "hidden": None, "step": None, "rtol": 1e-8}
    place = {"work": "trajectory", "system": "lorenz63", "length": 1, "span": 2.0, "batch": 256}
    line = timings(frame([speeds.timed(synthetic.row, {"odernn cpu": 0.1}, field, **place)])).iloc[0]
    assert math.isnan(line["length"])
    assert line["workload"] == "lorenz63 · Dormand-Prince 5(4) · batch 256, to t=2 · rtol=1e-08 · 1 thread"


def test_a_missing_peer_is_not_measured_and_says_why(synthetic: ModuleType, speeds: ModuleType) -> None:
    row = speeds.timed(synthetic.row, {"odernn cpu": 0.1}, missing={"jax.lax.scan": "package jax is not installed"})
    first = verdicts([row], "no slower than jax").iloc[0]
    assert (first["verdict"], first["reason"]) == (UNKNOWN, "package jax is not installed")
    assert first["against"] == "jax.lax.scan"
    assert math.isnan(first["measured"])


def test_a_run_on_the_general_path_is_judged_like_any(synthetic: ModuleType, speeds: ModuleType) -> None:
    peers = {"odernn general": [1.0], "torchdiffeq": [2.0]}
    row = speeds.timed(synthetic.row, peers, missing={"odernn compiled": "no engine for it"})
    table = speed([row])
    assert table["standing"].to_dict() == {
        "odernn general": "ours",
        "torchdiffeq": "slower",
        "odernn compiled": "not measured",
    }
    assert verdicts([row], "25 times")["verdict"].tolist() == [f"{MISSED}, by a factor 12.5"]


def test_a_workload_that_lacks_the_peer_does_not_hide_behind_another(synthetic: ModuleType, speeds: ModuleType) -> None:
    gates = {"cell": "lstm-field", "tableau": "gauss-seidel-euler"}
    rows = [
        speeds.timed(synthetic.row, {"odernn cpu": [1.0], "torch.nn.LSTM": [2.0]}, gates),
        speeds.timed(synthetic.row, {"odernn cpu": [1.0]}, gates, {"torch.nn.LSTM": "it broke"}, batch=64),
        speeds.timed(synthetic.row, {"odernn cpu": [1.0]}, gates, batch=128, peers=False),
        speeds.lost(synthetic.row, "timeout", "too slow", gates, batch=256),
    ]
    found = verdicts(rows, "as fast as torch.nn.LSTM")
    assert found["verdict"].tolist() == [MET, UNKNOWN, UNKNOWN]
    assert found["reason"].tolist() == ["", "it broke", "too slow"]
    assert found["status"].tolist() == ["ok", "ok", "timeout"]


def test_the_slowest_warm_call_counts(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [
        speeds.timed(synthetic.row, {"odernn cpu": 0.1}, batch=batch, metrics={"first_call_warm_seconds": warm})
        for batch, warm in ((1, 0.4), (2, 1.5), (3, 0.2))
    ]
    found = verdicts(rows, "first call from a warm cache")
    assert (found["measured"].tolist(), found["verdict"].tolist()) == ([1.5], [f"{MISSED}, by 50 %"])


def test_another_dtype_device_or_thread_count_is_another_target(synthetic: ModuleType, speeds: ModuleType) -> None:
    peers = {"odernn cpu": [1.0], "torchdiffeq": [30.0]}
    for odd in ({"parts": {"dtype": "float64"}}, {"parts": {"device": "cuda:0"}}, {"threads": 2}):
        assert verdicts([speeds.timed(synthetic.row, peers, **odd)], "25 times")["verdict"].tolist() == [UNKNOWN]
    gpu = {"parts": {"device": "cuda:0"}, "length": 1000, "batch": 64}
    found = verdicts([speeds.timed(synthetic.row, peers, {"hidden": 128}, **gpu)], "20 times")
    assert (found["verdict"].tolist(), found["device"].tolist()) == ([MET], ["cuda:0"])


def test_every_target_is_a_line_and_the_caption_counts_them(rows: list[dict[str, Any]]) -> None:
    table = TABLES["speed_targets"].build(frame(rows))
    told = TABLES["speed_targets"].told(table)
    counts = [int(table["verdict"].str.startswith(mark).sum()) for mark in (MET, MISSED, UNKNOWN)]
    assert sum(counts) == len(table)
    assert min(counts) > 0
    assert told.startswith(f"Of {len(table)} lines {counts[0]} are met, {counts[1]} missed and {counts[2]} not")
    latex = to_latex(table, "t", "c")
    assert r"$\surd$ met" in latex
    assert not {"✓", "✗", "○"} & set(latex)


def test_a_target_of_one_s_own(synthetic: ModuleType, speeds: ModuleType) -> None:
    target = Target("twice a torch loop", "times", {"hidden": 32}, ("torch loop",), least=2)
    row = speeds.timed(synthetic.row, {"odernn cpu": [1.0], "torch loop": [3.0], "torch loop in place": [1.5]})
    table = judged(frame([row]), [target])  # the fastest of those so called
    assert table["against"].tolist() == ["torch loop in place"]
    assert table["verdict"].tolist() == [f"{MISSED}, by 33.3 %"]
    assert judged(frame([]), [target]).empty


def test_memory_by_hand(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [speeds.footprint(synthetic.row, n, "general", "", 0.3 * n) for n in (100, 1000)]
    rows += [speeds.footprint(synthetic.row, 10_000, "general", "", None)]
    rows += [speeds.footprint(synthetic.row, n, "cpu", "segments", n**0.5) for n in (100, 10_000, 1_000_000)]
    rows += [speeds.footprint(synthetic.row, 10_000, "cpu", "states", 5000.0)]
    table = TABLES["footprint"].build(frame(rows)).set_index(["engine", "memory", "length"])
    assert table.loc[("general", "", 1000), "mebibytes"] == pytest.approx(300)
    lost = table.loc[("general", "", 10_000)]
    assert (lost["status"], lost["limit"], lost["failed"]) == ("memory", "beyond the memory given", 1)
    assert lost["reason"] == "more than 4 GiB of memory"
    assert table.loc[("cpu", "states", 10_000), "limit"] == "beyond 4 GiB"
    assert table.loc[("cpu", "segments", 100), "exponent"] == pytest.approx(0.5)
    assert math.isnan(table.loc[("general", "", 100), "exponent"])
    rows.append(speeds.timed(synthetic.row, {"odernn cpu": 0.1}))
    line = verdicts(rows, "trains within 4 GiB").iloc[0]
    assert (line["against"], line["verdict"]) == ("cpu segments", MET)
    assert line["measured"] == pytest.approx(100 / 1024)


def test_memory_that_did_not_rise_was_measured(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [speeds.footprint(synthetic.row, n, "cpu", "segments", m) for n, m in ((100, 0.0), (1000, 3.0))]
    table = TABLES["footprint"].build(frame(rows)).set_index("length")
    assert table["mebibytes"].tolist() == [0.0, 3.0]
    assert table["limit"].tolist() == ["within 4 GiB"] * 2
    assert table["failed"].tolist() == [0, 0]
    assert FIGURES["footprint"].draw(frame(rows)) is not None


def test_memory_missed_where_nothing_fits(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [speeds.timed(synthetic.row, {"odernn cpu": 0.1})]
    assert verdicts(rows, "trains within")["verdict"].tolist() == [UNKNOWN]
    rows.append(speeds.footprint(synthetic.row, 10_000, "general", "", None))
    line = verdicts(rows, "trains within").iloc[0]
    assert (line["verdict"], line["status"]) == (f"{MISSED}: out of memory", "memory")
    rows.append(speeds.footprint(synthetic.row, 10_000, "cpu", "states", 8192.0))
    assert verdicts(rows, "trains within")["verdict"].tolist() == [f"{MISSED}, by a factor 2"]


def test_the_figure_names_what_beats_us_and_what_is_missing(synthetic: ModuleType, speeds: ModuleType) -> None:
    peers = {"odernn cpu": [1.0], "torch_$x": [0.5], "torchdiffeq": [7.0], "products alone": [0.25]}
    row = speeds.timed(synthetic.row, peers, missing={"torchode": "it is not installed"})
    canvas = FIGURES["speed"].draw(frame([row]))
    assert canvas is not None
    ax = canvas.axes[0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [r"torch_\$x", "odernn cpu", "torchdiffeq", "torchode"]
    assert [text.get_text() for text in ax.texts if "float32" not in text.get_text()] == [
        *("0.5×, faster", "ours", "7×", "it is not installed")
    ]
    floor = next(line for line in ax.get_lines() if line.get_color() == style.GREEN)
    assert list(floor.get_xdata()) == [250, 250]
    assert "products alone" in [text.get_text() for text in canvas.legends[0].get_texts()]


def test_trajectories_with_steps_of_their_own_say_so(synthetic: ModuleType, speeds: ModuleType) -> None:
    field = {"cell": "true-field", "hidden": None, "step": None, "rtol": 1e-8, "per_trajectory": True}
    row = speeds.timed(synthetic.row, {"odernn cpu": [0.1]}, field, work="trajectory", system="lorenz63", batch=8)
    (workload,) = TABLES["speed"].build(frame([row]))["workload"]
    assert "own steps each" in workload
    assert "per_trajectory" not in workload


def test_a_workload_measured_with_and_without_peers_is_told_once(synthetic: ModuleType, speeds: ModuleType) -> None:
    ours = {"odernn cpu": [0.1], "odernn general": [1.0]}
    rows = [
        speeds.timed(synthetic.row, ours, peers=False, rounds=5),
        speeds.timed(synthetic.row, ours | {"torchdiffeq": [2.0]}),
        speeds.timed(synthetic.row, ours, peers=False, length=777),
    ]
    table = TABLES["speed"].build(frame(rows))
    assert table["peer"].tolist() == [*("odernn cpu", "odernn general", "torchdiffeq"), "odernn cpu", "odernn general"]
    assert table["length"].tolist() == [*[200] * 3, *[777] * 2]


def test_workloads_without_peers_are_no_panels(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [speeds.timed(synthetic.row, {"odernn cpu": 0.1, "odernn general": 1.0}, peers=False)]
    assert FIGURES["speed"].draw(frame(rows)) is None
    assert len(TABLES["speed"].build(frame(rows))) == 2


def test_lost_runs_of_the_footprint_stand_above_the_limit(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = speeds.every_footprint(synthetic.row)
    canvas = FIGURES["footprint"].draw(frame(rows))
    assert canvas is not None
    assert len(canvas.axes) == 2
    marks = [line for line in canvas.axes[1].get_lines() if line.get_marker() == "x"]
    assert sorted(float(line.get_xdata()[0]) for line in marks) == [10_000, 100_000, 100_000]
    assert all(line.get_ydata()[0] > 4096 for line in marks)
    assert len({(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in marks}) == 3
    assert [t.get_text() for t in canvas.axes[1].texts][1:4] == ["memory", "timeout", "memory"]
    only = [speeds.footprint(synthetic.row, 10_000, "cpu", "", None)]
    assert FIGURES["footprint"].draw(frame(only)) is not None


def test_speed_rows_are_in_no_other_competition(synthetic: ModuleType, speeds: ModuleType) -> None:
    rows = [*speeds.every_speed(synthetic.row), *speeds.every_footprint(synthetic.row)]
    lines = {name: len(table.build(frame(rows))) for name, table in TABLES.items() if name not in MINE}
    assert {name for name, count in lines.items() if count} == {"failures"}
    drawn = {name for name, figure in FIGURES.items() if figure.draw(frame(rows)) is not None}
    assert drawn == {"speed", "scaling", "footprint"}
