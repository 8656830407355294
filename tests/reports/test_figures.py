"""Figures: each is drawn from synthetic rows, the same way every time, and a name keeps its look."""

from __future__ import annotations

import re
import struct
from types import ModuleType
from typing import Any

import matplotlib as mpl
import pytest

from odernn.reports import style
from odernn.reports.frame import frame
from odernn.reports.pieces import Figure, found

FIGURES: dict[str, Figure] = {figure.name: figure for figure in found()[1]}
NAMES = sorted(FIGURES)


def lines(canvas: Any) -> list[Any]:
    return [line for ax in canvas.axes for line in ax.get_lines()]


def test_the_figures_are_found_by_file() -> None:
    built_in = {"breakdown", "convergence", "forecast", "learning", "memory"}
    assert built_in | {"stability_regions", "valid_time", "work_precision"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_drawn(name: str, rows: list[dict[str, Any]]) -> None:
    canvas = FIGURES[name].draw(frame(rows))  # test_page.py saves each in every format
    assert canvas is not None
    assert any(ax.has_data() for ax in canvas.axes)


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_with_nothing_to_show_is_none(name: str, synthetic: ModuleType) -> None:
    bad = synthetic.row({"name": "adding", "length": 20}, {"cell": "leaky"}, status="failed", reason="lost")
    assert FIGURES[name].draw(frame([bad])) is None


def test_a_figure_is_as_large_in_every_format_and_in_any_order(synthetic: ModuleType) -> None:
    canvas = FIGURES["convergence"].draw(frame(synthetic._orders()[:2]))
    assert canvas is not None
    inches = tuple(canvas.get_size_inches())
    first, pdf, vector, png = (style.render(canvas, kind) for kind in ("png", "pdf", "svg", "png"))
    assert first == png
    assert pdf.startswith(b"%PDF")
    assert struct.unpack(">II", png[16:24]) == tuple(int(150 * size) for size in inches)
    size = re.search(rb'width="([\d.]+)pt" height="([\d.]+)pt"', vector)
    assert size is not None
    assert [float(part) for part in size.groups()] == pytest.approx([72 * size for size in inches], abs=0.1)


def test_drawing_leaves_the_settings_of_others_alone(synthetic: ModuleType) -> None:
    before = dict(mpl.rcParams)
    FIGURES["convergence"].draw(frame(synthetic._orders()))
    assert dict(mpl.rcParams) == before


def test_learning_draws_the_median_of_the_seeds_and_the_baseline(synthetic: ModuleType) -> None:
    solver = synthetic.cell("cornn")
    made = []
    for seed, test in enumerate(([0.3, 0.2], [0.1, 0.05], [0.2, 0.01])):
        row = synthetic.sequence("adding", solver, seed, 0.9)
        row["curves"] = {"learning": {"updates": [10, 20], "loss": test, "test": test}}
        made.append(row)
    canvas = FIGURES["learning"].draw(frame(made))
    curves = [(list(line.get_xdata()), list(line.get_ydata())) for line in lines(canvas)]
    assert ([10.0, 20.0], [0.2, 0.05]) in curves
    assert any(set(y) == {1 / 6} for _, y in curves)


def test_learning_draws_the_baseline_of_a_loss_it_does_not_know(synthetic: ModuleType) -> None:
    canvas = FIGURES["learning"].draw(frame([synthetic.invented(synthetic.cell("cornn"), 0, 0.4)]))
    curves = [(list(line.get_xdata()), list(line.get_ydata())) for line in lines(canvas)]
    assert ([75.0, 150.0, 225.0, 300.0], pytest.approx([1.6, 1.2, 0.8, 0.4])) in curves
    assert any(set(y) == {1.5} for _, y in curves)  # of the error, and not 0.25, that of the primary metric


def test_a_crowded_learning_panel_is_drawn_by_cell(synthetic: ModuleType) -> None:
    steps = [0.1 * place for place in range(1, 10)]
    made = [synthetic.sequence("adding", synthetic.cell(c, step=s), 0, 0.5) for c in ("leaky", "cornn") for s in steps]
    canvas = FIGURES["learning"].draw(frame(made))
    assert canvas is not None
    assert len(canvas.axes) == 2
    assert len({line.get_marker() for line in canvas.axes[0].get_lines()}) >= len(steps)


def test_spectra_are_drawn_with_their_conjugates_and_counted(synthetic: ModuleType) -> None:
    row = synthetic.sequence("adding", synthetic.cell("leaky", "euler"), 0, 0.5)
    # Euler: |1 + z| <= 1 holds for the first and third; the last is beyond the window
    row["curves"] |= {"spectrum_before": [[-1.0, 0.5], [-1.0, -1.2], [-0.5, 0.0], [-90.0, 0.0]], "spectrum_after": []}
    canvas = FIGURES["stability_regions"].draw(frame([row]))
    assert canvas is not None
    points = [line for line in lines(canvas) if line.get_marker() == "o"]
    assert sorted(zip(*(points[0].get_data()), strict=True)) == [
        *((-1.0, -1.2), (-1.0, -0.5), (-1.0, 0.5), (-1.0, 1.2)),
        *((-0.5, 0.0), (-0.5, 0.0)),
    ]
    told = " ".join(text.get_text().replace("\n", " ") for text in canvas.axes[0].texts)
    assert told == "inside: 50% before; 25% beyond the window"


def test_parameters_are_drawn_by_data_length_with_the_trained_sizes(synthetic: ModuleType) -> None:
    made = [synthetic.counted(c, p, t, k * t**2) for c, k in (("lem", 4), ("qunn", 1)) for p in (2, 8) for t in (4, 8)]
    for length in (4, 8):
        for hidden in (4, 8):
            skill = 1.0 if length == 4 else 0.5
            row = synthetic.sequence("copying", synthetic.cell("lem", hidden=hidden), 0, skill, length)
            row["task"] = {"name": "copying", "length": 1, "symbols": length, "classes": 2}
            made.append(row | {"id": f"{length} {hidden}"})
    canvas = FIGURES["parameters"].draw(frame(made + synthetic._ladder()))
    assert canvas is not None
    first, second = canvas.axes
    curves = [(list(line.get_xdata()), list(line.get_ydata())) for line in first.get_lines()]
    assert ([4.0, 8.0], [64.0, 256.0]) in curves
    hollow = [line for line in first.get_lines() if line.get_marker() == "^"]
    assert [list(line.get_xdata()) for line in hollow] == [[8.0]]  # no size tried solves 8
    assert {line.get_marker() for line in second.get_lines()} == {"None"}  # two classes, not eight


def test_the_largest_capacity_is_drawn_first_and_named_with_its_total(synthetic: ModuleType) -> None:
    made = [
        synthetic.remembered(synthetic.cell(name, "euler", hidden=8), seed, [level, level, -0.1])
        for name, level in (("leaky", 0.5), ("lru", 1.0))
        for seed in range(2)
    ]
    canvas = FIGURES["capacity"].draw(frame(made))
    assert canvas is not None
    (ax,) = canvas.axes
    assert [list(line.get_ydata()) for line in ax.get_lines()] == [[1.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        *(f"{style.label('lru')} · Euler: 1.9 of 8", "leaky · Euler: 0.9 of 8")
    ]


def test_valid_times_keep_the_learned_cells_however_many_true_fields(synthetic: ModuleType) -> None:
    def made(solver: dict[str, Any], valid: float) -> dict[str, Any]:
        found: dict[str, Any] = synthetic.row(
            {"name": "chaos", "system": "lorenz63"}, solver, metrics={"valid_prediction_time": valid, "nrmse": 0.1}
        )
        return found

    true = [made({"cell": "true-field", "tableau": "rk4", "steps": n}, 10 + n) for n in range(1, 60)]
    canvas = FIGURES["valid_time"].draw(frame([*true, made(synthetic.cell("leaky"), 1.0)]))
    assert canvas is not None
    names = [text.get_text() for text in canvas.axes[0].get_yticklabels()]
    assert names[-1] == "leaky · rk4 · h=0.5"
    assert len(names) == 40


def test_a_diverged_run_is_marked_where_it_was_last_finite(synthetic: ModuleType) -> None:
    made = [synthetic.sequence("adding", synthetic.cell("leaky"), 0, 0.5)]
    made.append(synthetic.diverged("adding", synthetic.cell("leaky"), 1, "NaN loss at update 61"))
    canvas = FIGURES["learning"].draw(frame(made))
    crosses = [line for line in lines(canvas) if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[45]]


def test_failed_integrations_are_crosses_at_their_cost(synthetic: ModuleType) -> None:
    made = [synthetic.ivp("pleiades", "rk4", "native", step=step) for step in (0.1, 0.01)]
    lost = {"cell": "true-field", "tableau": "heun2", "backend": "native", "step": 3.0}
    task = {"name": "ivp", "problem": "pleiades"}
    made.append(synthetic.row(task, lost, dtype="float64", status="timeout", cost={"seconds": 60, "f_calls": 900}))
    canvas = FIGURES["work_precision"].draw(frame(made))
    assert [list(line.get_xdata()) for line in lines(canvas) if line.get_marker() == "x"] == [[900.0]]
    path = next(line for line in lines(canvas) if len(line.get_xdata()) == 2)
    assert list(path.get_xdata()) == [800, 8000]
    assert list(path.get_ydata()) == pytest.approx([3e-4, 3e-8])


def test_the_plane_has_every_cell_once_at_its_place(synthetic: ModuleType) -> None:
    canvas = FIGURES["plane"].draw(frame(synthetic._audits()))
    assert canvas is not None
    ax = canvas.axes[0]
    columns = dict(zip(ax.get_xticks(), [t.get_text() for t in ax.get_xticklabels()], strict=True))
    rows = dict(zip(ax.get_yticks(), [t.get_text() for t in ax.get_yticklabels()], strict=True))
    points = [
        (columns[float(p.get_xdata()[0])], rows[float(p.get_ydata()[0])])
        for p in ax.get_lines()
        if p.get_marker() == "o"
    ]
    # leaky under Euler with antisymmetric, SSP(3,3) of measured depth 2, RK4, Radau; coRNN above
    assert sorted(points) == [("1", "1"), ("2", "1"), ("2", "2"), ("4", "1"), ("∞", "1")]
    names = " ".join(text.get_text() for text in ax.texts).replace("\N{NO-BREAK SPACE}", " ")
    assert all(name in names for name in ("leaky · Euler", "leaky · RK4", "coRNN", "antisymmetric"))


def test_no_names_overlap_in_the_plane(synthetic: ModuleType) -> None:
    cells = (
        "gru-field",
        "antisymmetric-gated",
        "mingru",
        "lipschitz",
        "srnn",
        "lem",
        "urnn",
        "a-cell-with-a-long-name",
    )
    made = [
        synthetic.staged(synthetic.cell(name, "euler"), float(1 + k % 5), 1 + k % 3, stages=1, ode_order=1)
        for k, name in enumerate(cells)
    ]
    canvas = FIGURES["plane"].draw(frame(made))
    assert canvas is not None
    style.render(canvas, "png")
    boxes = [text.get_window_extent() for text in canvas.axes[0].texts]
    pairs = [(a, b) for place, a in enumerate(boxes) for b in boxes[place + 1 :]]
    shared = [min(a.x1, b.x1) - max(a.x0, b.x0) for a, b in pairs if min(a.y1, b.y1) - max(a.y0, b.y0) > 2]
    assert max(shared, default=0) <= 0


def test_growth_counts_what_the_spectrum_calls_stable_and_grows(synthetic: ModuleType) -> None:
    row = synthetic.examined(synthetic.cell("leaky", "euler"), 0, 0.9, (1.0, 2.0))
    row["metrics"] |= {"predicted_growth_before": -0.1, "measured_growth_before": 0.2}
    row["metrics"] |= {"predicted_growth_after": -0.1, "measured_growth_after": -0.05}
    canvas = FIGURES["growth"].draw(frame([row]))
    told = " ".join(text.get_text().replace("\n", " ") for text in canvas.axes[0].texts)
    assert told == "stable by the spectrum, yet growing: 1 of 1 before, 0 of 1 after"
    points = [line for line in lines(canvas) if line.get_marker() == style.marker("leaky")]
    assert [(p.get_xdata()[0], p.get_ydata()[0]) for p in points] == [(-0.1, 0.2), (-0.1, -0.05)]
    assert [p.get_markerfacecolor() for p in points] == ["none", style.colour("leaky")]


def test_breakdown_counts_outcomes_and_parts_the_steps_at_the_limits(synthetic: ModuleType) -> None:
    made = []
    for step in (0.5, 1.0, 2.0):
        for seed in range(2):
            lost = {"status": "diverged", "reason": "NaN loss"} if step == 2.0 and seed else {}
            solver = synthetic.cell("leaky", "euler", step)
            made.append(synthetic.examined(solver, seed, 0.9, (1.0, "Infinity"), dtype="bfloat16", **lost))
    canvas = FIGURES["breakdown"].draw(frame(made))
    assert canvas is not None
    left, right = canvas.axes
    assert [t.get_text() for t in left.texts if len(t.get_text()) < 3] == ["C", "C", "C1", "N1"]
    assert [t.get_text() for t in right.texts if t.get_text()] == ["\N{MINUS SIGN}3"] * 3  # the ratio before is 1e-3
    assert [t.get_text() for t in left.get_xticklabels()] == ["0.5", "1", "2"]
    upright = {
        float(x.get_xdata()[0])
        for x in left.get_lines()
        if len(x.get_xdata()) == 2 and x.get_xdata()[0] == x.get_xdata()[1]
    }
    assert upright == {1.5}  # certified up to 1, the second of three steps
    assert [x.get_marker() for x in left.get_lines() if x.get_marker() in "<>"] == [">"]  # no spectral limit


def test_the_region_of_an_implicit_method_is_the_left_half_plane(synthetic: ModuleType) -> None:
    row = synthetic.sequence("adding", synthetic.cell("leaky", "implicit-midpoint"), 0, 0.5)
    row["properties"] |= {"stability_polynomial": [1.0, 0.5], "stability_denominator": [1.0, -0.5]}
    row["curves"] |= {"spectrum_before": [[-3.0, 0.5], [-1.0, 4.0], [0.5, 0.0]], "spectrum_after": []}
    canvas = FIGURES["stability_regions"].draw(frame([row]))
    assert canvas is not None
    ax = canvas.axes[0]
    assert ax.texts[0].get_text() == "inside: 67% before"
    region = ax.collections[0].get_paths()[0].vertices
    assert region[:, 0].min() == pytest.approx(ax.get_xlim()[0])
    assert region[:, 0].max() == pytest.approx(0, abs=0.05)


def test_the_correspondence_is_typeset_row_by_row(synthetic: ModuleType) -> None:
    canvas = FIGURES["correspondence"].draw(frame(synthetic._audits()))
    assert canvas is not None
    texts = [text.get_text() for text in canvas.axes[0].texts]
    assert r"$\dot y_{1} = - y_{1} + \tanh{\left(a_{1} \right)}$" in texts
    assert "Elman" in texts
    assert sum(text.startswith("✓") for text in texts) == 3
    assert [text for text in texts if text.startswith("✗")] == ["✗ NOT equal", "✗ no result"]
    assert "○ not an integrator" in texts


def test_each_row_of_the_correspondence_converges_in_a_panel_of_its_own(synthetic: ModuleType) -> None:
    canvas = FIGURES["convergence"].draw(frame(synthetic._audits()))
    assert canvas is not None
    heads = [" ".join(text.get_text() for text in ax.texts) for ax in canvas.axes]
    assert heads == [*["order 1.02 of 1"] * 4, "no order: not an integrator"]


def test_many_tableaux_converge_by_order(synthetic: ModuleType) -> None:
    made = synthetic._orders()[:2]
    for order in (1, 2):
        for k in range(6):
            row = synthetic.row(
                {"name": "order"},
                {"cell": "true-field", "tableau": f"method-{order}{k}", "backend": "native"},
                metrics={"observed_order": order},
                curves={"convergence": {"h": [0.4, 0.2, 0.1], "error": [h**order for h in (0.4, 0.2, 0.1)]}},
                properties={"claimed_order": order, "learns": False},
            )
            made.append(row)
    canvas = FIGURES["convergence"].draw(frame(made))
    assert canvas is not None
    assert {ax.get_title(loc="left").split(" · ")[0] for ax in canvas.axes} == {"order 1", "order 2"}


def test_convergence_has_the_observed_order_in_its_legend(synthetic: ModuleType) -> None:
    canvas = FIGURES["convergence"].draw(frame(synthetic._orders()))
    assert canvas is not None
    texts = [text.get_text() for text in canvas.legends[0].get_texts()]
    assert "RK4: order 4.01" in texts
    assert "Euler: order 1.01" in texts


def test_a_stability_region_is_where_the_polynomial_is_at_most_one(synthetic: ModuleType) -> None:
    canvas = FIGURES["stability_regions"].draw(
        frame([synthetic.sequence("adding", synthetic.cell("leaky", "euler"), 0, 0.5)])
    )
    assert canvas is not None
    boundary = canvas.axes[0].collections[1].get_paths()[0].vertices
    radius = ((boundary[:, 0] + 1) ** 2 + boundary[:, 1] ** 2) ** 0.5  # Euler: |1 + z| = 1, the disc about -1
    assert radius == pytest.approx(1, abs=0.01)


def test_a_name_keeps_its_look() -> None:
    assert style.colour("leaky") == "#0072b2"
    assert style.colour("true-field") == style.INK
    cells = ("leaky", "cornn", "antisymmetric", "companion", "lstm", "gru")
    assert len({style.colour(name) for name in cells}) == len(cells)
    # from the name alone: CRC-32 of "qunn" is 4052334632
    assert style.colour("qunn") == style.PALETTE[4052334632 % len(style.PALETTE)]


def test_any_text_is_safe_in_a_figure() -> None:
    assert style.plain("$\\bad{") == "\\$\\bad{"
    assert style.plain("_hidden") == " _hidden"
    assert style.plain("a\nb") == "a b"


VALID_TIME_AXES = {"ladder": "x", "valid_time": "x", "data_grid": "y"}


@pytest.mark.parametrize("name", VALID_TIME_AXES)
def test_ceilings_and_horizon_are_on_every_axis_of_valid_time(name: str, synthetic: ModuleType) -> None:
    rows = [row for row in synthetic._data() if "nvar" in row["id"]]
    for row in rows:
        row["task"]["horizon"] = 2.0
    canvas = FIGURES[name].draw(frame([*rows, synthetic.ceiling("float32", 3.0), synthetic.ceiling("float64", 4.0)]))
    assert canvas is not None
    for ax in canvas.axes:
        places = {tuple(line.get_data()["xy".index(VALID_TIME_AXES[name])]) for line in ax.get_lines()}
        assert {(2.0, 2.0), (3.0, 3.0), (4.0, 4.0)} <= places


def test_what_is_beyond_a_forecasts_axis_is_told(synthetic: ModuleType) -> None:
    rows = [synthetic.forecast("lorenz63", {"cell": "esn"}, 0, 0.01)]
    rows += [synthetic.ceiling("float32", 1.5), synthetic.ceiling("float64", 30.0)]
    canvas = FIGURES["forecast"].draw(frame(rows))
    assert canvas is not None
    assert [text.get_text() for text in canvas.axes[-1].texts] == ["ceiling: float64 30 →"]
    assert any(list(line.get_xdata()) == [1.5, 1.5] for line in canvas.axes[-1].get_lines())


def test_the_transfer_matrix_has_its_limit_and_its_diagonal_framed(synthetic: ModuleType) -> None:
    solvers = [
        {"cell": "polynomial-field", "tableau": tableau, "backend": "native", "substeps": 1}
        for tableau in ("euler", "rk4")
    ]
    rows = [synthetic.transferred(solver, 0.1) for solver in solvers]
    rows.append(synthetic.transferred(solvers[0] | {"tableau": "heun2"}, 0.1, status="diverged", metrics={}, curves={}))
    rows.append(synthetic.transferred({"cell": "true-field", "tableau": "rk4", "backend": "native", "steps": 1}, 0.0))
    canvas = FIGURES["transfer"].draw(frame(rows))
    assert canvas is not None
    ax = canvas.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["Euler", "RK4", "limit"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Euler", "Heun 2", "RK4", "true field"]
    # -ln 0.1 = 2.3 in the limit, half of it where stepped otherwise; as trained 8; the lost one is crossed out
    assert [t.get_text() for t in ax.texts][:12] == [
        *("8.0", "1.2", "2.3"),
        *("×", "×", "×"),
        *("1.2", "8.0", "2.3"),
        *("6.0", "6.0", "12.0"),
    ]
    frames = {(round(p.get_x() + 0.46), round(p.get_y() + 0.44)) for p in ax.patches}
    assert frames == {(0, 0), (1, 2)}


def test_a_learned_map_jumps_where_its_step_is_refined(synthetic: ModuleType) -> None:
    solver = {"cell": "polynomial-field", "tableau": "rk4", "backend": "native", "substeps": 1}
    canvas = FIGURES["refinement"].draw(frame([synthetic.transferred(solver, 0.1)]))
    path = next(line for line in lines(canvas) if len(line.get_xdata()) == 4)
    assert list(path.get_xdata()) == pytest.approx([1, 2, 4, 8])
    assert list(path.get_ydata()) == pytest.approx([1e-5, 5e-4, 5e-4, 5e-4])
    assert [list(line.get_xdata()) for line in lines(canvas) if line.get_marker() == "x"] == [[2, 4, 8]]


def test_attractors_cross_out_what_is_nowhere_near(synthetic: ModuleType) -> None:
    canvas = FIGURES["attractors"].draw(frame(synthetic.laddered()))
    assert canvas is not None
    crossed = [ax.get_title(loc="left") for ax in canvas.axes for line in ax.get_lines() if line.get_marker() == "x"]
    assert crossed == ["climatology", "persistence"]
    assert [ax.get_title(loc="left") for ax in canvas.axes][-2:] == ["true field, off by 1 %", "true field"]


def test_a_map_without_exponents_is_a_cross_at_its_step(synthetic: ModuleType) -> None:
    rows = [synthetic.exponents("rk4", steps, 0.9, synthetic.PUBLISHED) for steps in (1, 4)]
    rows.append(synthetic.exponents("euler", 1, 0.9, {}, status="diverged", reason="lost", metrics={}))
    canvas = FIGURES["lyapunov"].draw(frame(rows))
    assert [list(line.get_xdata()) for line in lines(canvas) if line.get_marker() == "x"] == [[0]]
    assert any(list(line.get_ydata()) == [0.9056, 0.9056] for line in lines(canvas))


def test_the_rungs_have_looks_of_their_own() -> None:
    rungs = ("climatology", "persistence", "parroting", "nvar", "esn", "polynomial-field", "mlp-field")
    assert len({style.colour(name) for name in rungs}) == len({style.marker(name) for name in rungs}) == len(rungs)
    assert style.by_name(["true-field", "gru", "esn", "nvar", "rk4"]) == ["nvar", "esn", "gru", "rk4", "true-field"]
