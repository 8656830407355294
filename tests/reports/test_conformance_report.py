"""The tables and the figure of the conformance audit, from made-up rows: every word of a verdict is from a number."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from odernn.reports.figures.conformance import FIGURE
from odernn.reports.frame import frame
from odernn.reports.style import render
from odernn.reports.tables.conformance import TABLE as TABLEAUX
from odernn.reports.tables.conformance import differs
from odernn.reports.tables.library_methods import TABLE as METHODS
from odernn.reports.tables.library_methods import is_odd

RIGHT = {
    "coefficient_error": 1e-16,
    "trajectory_gap": 2e-15,
    "gradient_gap": 1e-15,
    "observed_order": 4.01,
    "real_interval": 2.785,
    "imaginary_interval": 2.828,
    "calls_per_step": 4.0,
    "jump_error": 1e-9,
    "jump_order": 4.1,
    "restart_gap": 0.0,
}
STABLE = {"claimed_real": 2.785, "claimed_imaginary": 2.828, "real": 2.785, "imaginary": 2.828}


def conforming(synthetic: ModuleType, solver: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A row of rk4, or of what calls itself so; metrics, properties and stability take other values."""
    metrics = {k: v for k, v in (RIGHT | changed.pop("metrics", {})).items() if v is not None}
    known = {
        "primary_metric": "observed_order",
        "claimed": {"name": "rk4", "tableau": "rk4", "order": 4},
        "identified": ["rk4"],
        "identified_by": "coefficients",
        "compared": True,
        "remembers": False,
        "library": solver["backend"],
        "version": "0.0",
        "gradient_reference": "the same tableau in native",
        "refused": {},
    } | changed.pop("properties", {})
    curves = {"stability": STABLE | changed.pop("stability", {})}
    parts = {"dtype": "float64", "metrics": metrics, "properties": known, "curves": curves} | changed
    made: dict[str, Any] = synthetic.row({"name": "conformance"}, {"cell": "true-field", "steps": 1} | solver, **parts)
    return made


def ours(backend: str = "native", tableau: str = "rk4") -> dict[str, Any]:
    return {"backend": backend, "tableau": tableau}


def own(method: str) -> dict[str, Any]:
    return {"backend": "torchdiffeq", "method": method}


WRONG = {
    "coefficients off by 1.0e-09": {"metrics": {"coefficient_error": 1e-9}},
    "trajectory off by 2.0e-08": {"metrics": {"trajectory_gap": 2e-8}},
    "gradient off by 1.0e-03": {"metrics": {"gradient_gap": 1e-3}},
    "order 3.00 of 4": {"metrics": {"observed_order": 3.0}},
    "order 1.02 at jumps of the input": {"metrics": {"jump_order": 1.02}},
    "stable on the real axis up to 1 instead of 2.79": {"metrics": {"real_interval": 1.0}},
    "reads slopes of the step before": {"properties": {"remembers": True}},
}


@pytest.mark.parametrize("words", WRONG)
def test_a_tableau_that_does_not_conform(synthetic: ModuleType, words: str) -> None:
    table = TABLEAUX.build(frame([conforming(synthetic, ours(), **WRONG[words])]))
    assert table["verdict"].tolist() == [words]


def test_right_ones_conform_and_failures_stay(synthetic: ModuleType) -> None:
    rows = [
        conforming(synthetic, ours("native")),
        conforming(synthetic, ours("scipy"), metrics={"gradient_gap": None}),
        conforming(synthetic, ours("diffrax"), status="failed", reason="no diffrax", metrics=dict.fromkeys(RIGHT)),
        conforming(synthetic, own("rk4")),
    ]
    table = TABLEAUX.build(frame(rows)).set_index("backend")
    assert table["verdict"].to_dict() == {"native": "conforms", "scipy": "conforms", "diffrax": ""}
    assert table.loc["diffrax", "refused"] == "no diffrax"
    assert table.loc["diffrax", "status"] == "failed"


def single(synthetic: ModuleType, method: str, **changed: Any) -> dict[str, Any]:
    (line,) = METHODS.build(frame([conforming(synthetic, own(method), **changed)])).to_dict("records")
    return {str(key): value for key, value in line.items()}


def test_a_method_that_is_another_one(synthetic: ModuleType) -> None:
    line = single(synthetic, "rk4", properties={"identified": ["rk38"]})
    assert (line["library"], line["method"], line["claims"], line["is"]) == ("torchdiffeq", "rk4", "rk4", "rk38")
    assert line["verdict"] == "is rk38, not rk4"
    assert single(synthetic, "rk4")["verdict"] == "is rk4"


def test_a_method_that_remembers(synthetic: ModuleType) -> None:
    line = single(
        synthetic,
        "adaptive_heun",
        metrics={"real_interval": 1.0, "observed_order": 2.0, "jump_order": 2.0, "coefficient_error": None},
        stability={"claimed_real": 2.0},
        properties={
            "claimed": {"name": "adaptive_heun", "tableau": "heun2", "order": 2},
            "identified": [],
            "remembers": True,
            "starts_as": ["heun2"],
        },
    )
    assert line["verdict"] == (
        "reads slopes of the step before, not heun2, starts as heun2; stable on the real axis up to 1 instead of 2"
    )


def test_methods_without_a_tableau(synthetic: ModuleType) -> None:
    nothing = {"claimed": {"name": "x", "tableau": "", "order": None}, "identified": []}
    assert single(synthetic, "dopri8", properties=nothing)["verdict"] == "no tableau of the catalogue"
    own_steps = nothing | {"refused": {"fixed steps": "the method chooses its own steps"}}
    adaptive = single(synthetic, "LSODA", properties=own_steps, metrics=dict.fromkeys(RIGHT) | {"calls_per_step": 2.0})
    assert adaptive["verdict"] == "chooses its own steps"
    assert single(synthetic, "rk4", properties={"identified": []})["verdict"] == "is not rk4"


def test_nothing_is_said_against_a_method_that_nothing_was_learnt_of(synthetic: ModuleType) -> None:
    line = single(synthetic, "rk4", properties={"identified": [], "compared": False})
    assert line["verdict"] == "rk4 unconfirmed"
    assert not is_odd(str(line["verdict"]))
    unknown = conforming(synthetic, ours(), metrics={"coefficient_error": None, "trajectory_gap": None})
    assert TABLEAUX.build(frame([unknown]))["verdict"].tolist() == ["neither coefficients nor trajectory known"]


@pytest.mark.parametrize(
    ("nodes", "words"), [([0.0, 0.5, 1.0], ": a stage at the end of a step reads the next"), ([0.0, 0.5], "")]
)
def test_an_order_lost_at_jumps_is_that_of_a_looked_up_input(
    synthetic: ModuleType, nodes: list[float], words: str
) -> None:
    row = conforming(synthetic, own("rk4"), metrics={"jump_order": 1.02})
    row["curves"]["recovered"] = {"A": [], "b": [], "c": nodes}
    verdict = METHODS.build(frame([row]))["verdict"].item()
    assert verdict == f"is rk4; order 1.02 at jumps of an input looked up by time{words}"
    assert not is_odd(verdict)


def test_what_counts_as_odd() -> None:
    assert [is_odd(v) for v in ("is rk4", "is rk38, not rk4", "is rk4; order 3.00 of 4")] == [False, True, True]


@pytest.mark.parametrize(
    ("claimed", "measured", "different"),
    [(2.0, 2.01, False), (2.0, 1.0, True), (float("inf"), float("inf"), False), (float("inf"), 3.0, True),
     (float("nan"), 1.0, False), (0.0, 0.01, False)],
)  # fmt: skip
def test_intervals_that_differ(claimed: float, measured: float, different: bool) -> None:
    assert differs(claimed, measured) is different


def test_the_figure_draws_all_of_it(synthetic: ModuleType) -> None:
    rows = [conforming(synthetic, ours(b, t)) for b in ("native", "scipy") for t in ("rk4", "euler")]
    rows += [conforming(synthetic, ours("diffrax"), status="failed", metrics=dict.fromkeys(RIGHT))]
    rows += [conforming(synthetic, own("rk4"), metrics={"real_interval": 1.0})]
    canvas = FIGURE.draw(frame(rows))
    assert canvas is not None
    assert [ax.get_title(loc="left") for ax in canvas.axes] == [
        "Our tableaux in every backend: the worst gap",
        "The libraries' own methods: stability and verdict",
    ]
    texts = [text.get_text() for text in canvas.axes[1].texts]
    assert "is rk4; stable on the real axis up to 1 instead of 2.79" in texts
    assert render(canvas, "png").startswith(b"\x89PNG")


def test_nothing_to_draw(synthetic: ModuleType) -> None:
    other = synthetic.row({"name": "ivp"}, {"cell": "true-field"}, metrics={"error": 1.0})
    assert FIGURE.draw(frame([other])) is None
    assert TABLEAUX.build(frame([other])).empty
    assert METHODS.build(frame([other])).empty
