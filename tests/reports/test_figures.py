"""Figures: each is drawn from synthetic rows, the same way every time, and a name keeps its look."""

from __future__ import annotations

import hashlib
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
def test_every_figure_is_drawn_and_saved_as_vectors(name: str, rows: list[dict[str, Any]]) -> None:
    canvas = FIGURES[name].draw(frame(rows))
    assert canvas is not None
    assert style.render(canvas, "svg").startswith(b"<?xml")


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_with_nothing_to_show_is_none(name: str, synthetic: ModuleType) -> None:
    bad = synthetic.row({"name": "adding", "length": 20}, {"cell": "leaky"}, status="failed", reason="lost")
    assert FIGURES[name].draw(frame([bad])) is None


def test_the_same_rows_give_the_same_bytes(synthetic: ModuleType) -> None:
    data = frame(synthetic._orders())
    for kind, head in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")):
        digests = set()
        for _ in range(2):
            canvas = FIGURES["convergence"].draw(data)
            assert canvas is not None
            content = style.render(canvas, kind)
            assert content.startswith(head)
            digests.add(hashlib.sha256(content).hexdigest())
        assert len(digests) == 1


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
