"""The figures of work and precision on their three pairs of axes, from rows made by hand."""

from types import ModuleType
from typing import Any

import pytest
from matplotlib.colors import to_hex

from odernn.reports.figures import work_precision, work_precision_time, work_precision_trajectory
from odernn.reports.frame import frame
from odernn.reports.tables.integrators import build


def point(synthetic: ModuleType, error: float, calls: int, **solver: Any) -> dict[str, Any]:
    """One run of Kepler's problem: a second takes 1e5 evaluations; the trajectory's error is twice that of the end."""
    dtype = solver.pop("dtype", "float64")
    row: dict[str, Any] = synthetic.row(
        {"name": "ivp", "problem": "kepler", "trajectory": 50, "repeats": 3},
        {"cell": "true-field"} | solver,
        dtype=dtype,
        metrics={"error": error, "error_scaled": 3 * error, "trajectory_error": 2 * error, "reference_error": 1e-13},
        cost={"seconds": 1.0, "f_calls": calls, "accepted": calls // 4, "rejected": -1, "solve_seconds": calls / 1e5},
        properties={"primary_metric": "error", "learns": False},
    )
    return row


def rows(synthetic: ModuleType) -> list[dict[str, Any]]:
    made = [point(synthetic, 1e-3, 400, tableau="rk4", backend="native", steps=2)]
    made.append(point(synthetic, 1e-7, 4000, tableau="rk4", backend="native", steps=20))
    made.append(point(synthetic, 1e-4, 300, method="RK45", backend="scipy", rtol=1e-4))
    made.append(point(synthetic, 1e-6, 900, method="RK45", backend="scipy", rtol=1e-6))
    lost = {"cell": "true-field", "tableau": "heun2", "backend": "native", "steps": 1}
    task = {"name": "ivp", "problem": "kepler", "trajectory": 50, "repeats": 3}
    cost = {"seconds": 1.0, "f_calls": 500, "solve_seconds": 0.01}
    made.append(synthetic.row(task, lost, dtype="float64", status="diverged", reason="not finite\nat t = 3", cost=cost))
    return made


def lines(canvas: Any, panel: int = 0) -> dict[str, tuple[list[float], list[float]]]:
    """Lines of a panel by marker: x and y."""
    return {
        str(line.get_marker()): ([float(x) for x in line.get_xdata()], [float(y) for y in line.get_ydata()])
        for line in canvas.axes[panel].get_lines()
    }


def test_evaluations_seconds_and_the_trajectory(synthetic: ModuleType) -> None:
    data = frame(rows(synthetic))
    found = lines(work_precision.FIGURE.draw(data))
    assert ([400, 4000], [1e-3, 1e-7]) in found.values()
    assert found["x"][0] == [500]
    found = lines(work_precision_time.FIGURE.draw(data))
    assert ([0.004, 0.04], [1e-3, 1e-7]) in found.values()
    assert found["x"][0] == [0.01]
    found = lines(work_precision_trajectory.FIGURE.draw(data))
    assert ([400, 4000], [2e-3, 2e-7]) in found.values()


def test_a_librarys_method_is_hollow_and_named(synthetic: ModuleType) -> None:
    canvas = work_precision.FIGURE.draw(frame(rows(synthetic)))
    assert canvas is not None
    (own,) = [line for line in canvas.axes[0].get_lines() if list(line.get_ydata()) == [1e-4, 1e-6]]
    assert own.get_fillstyle() == "none"
    assert own.get_linestyle() == "--"
    names = [text.get_text() for text in canvas.legends[0].get_texts()]
    assert names == ["RK4", "Heun 2", "RK45 of scipy", "failed"]


def test_dtypes_have_panels_of_their_own(synthetic: ModuleType) -> None:
    single = [point(synthetic, 1e-2, 100, tableau="rk4", backend="native", steps=2, dtype="float32")]
    canvas = work_precision.FIGURE.draw(frame(rows(synthetic) + single))
    assert canvas is not None
    assert [ax.get_title(loc="left").split("\n")[0] for ax in canvas.axes] == ["kepler · float64", "kepler · float32"]
    assert list(lines(canvas, 1).values()) == [([100], [1e-2])]


def test_no_two_tableaux_look_alike(synthetic: ModuleType) -> None:
    names = ["rk4", "heun2", "dormand-prince54", "tr-bdf2", "esdirk43", "sdirk2", "verner76", "radau2a3", "gauss2"]
    made = [point(synthetic, 1e-3, 100 + i, tableau=name, backend="native") for i, name in enumerate(names)]
    canvas = work_precision.FIGURE.draw(frame(made))
    assert canvas is not None
    looks = [(to_hex(line.get_color()), line.get_marker()) for line in canvas.axes[0].get_lines()]
    assert len(looks) == len(set(looks)) == len(names)


def test_a_learned_field_has_stars_and_its_ladder(synthetic: ModuleType) -> None:
    learned = synthetic.row(
        {"name": "learned-ivp", "problem": "kepler"},
        {"cell": "mlp-field", "tableau": "rk4", "backend": "native"},
        dtype="float32",
        metrics={"error": 0.05},
        cost={"seconds": 9.0, "f_calls": 80},
        curves={
            "work_precision": {
                "tableau": ["rk4", "rk4", "euler"],
                "substeps": [1, 2, 1],
                "f_calls": [80, 160, 20],
                "error": [0.05, 0.04, "Infinity"],
            }
        },
        properties={"primary_metric": "error", "learns": True, "learned": True},
    )
    canvas = work_precision.FIGURE.draw(frame([*rows(synthetic), learned]))
    assert canvas is not None
    assert len(canvas.axes) == 1  # on the same plane as the classic ones
    stars = [line for line in canvas.axes[0].get_lines() if line.get_marker() == "*"]
    assert [(list(s.get_xdata()), list(s.get_ydata())) for s in stars] == [([80], [0.05]), ([80, 160], [0.05, 0.04])]


def test_the_table_tells_errors_seconds_and_reasons(synthetic: ModuleType) -> None:
    table = build(frame(rows(synthetic)))
    line = table[(table["tableau"] == "rk4") & (table["step"] == "2 steps")].iloc[0]
    assert line["error along"] == pytest.approx(2e-3)
    assert line["scaled error"] == pytest.approx(3e-3)
    assert line["solve seconds"] == pytest.approx(0.004)
    lost = table[table["tableau"] == "heun2"].iloc[0]
    assert (lost["failed"], lost["reason"]) == (1, "not finite")
    assert table["rejected"].isna().all()  # -1: the library does not say
    assert "Jacobians" not in table  # no row counts any
