"""Experiment files: what they mean, and what is said of a wrong one."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odernn.suite.errors import UsageError
from odernn.suite.experiment import Experiment, load_experiment, parse, values_of
from odernn.suite.row import identity

PUBLISHED = Path(__file__).parents[2] / "reports" / "published" / "rows.jsonl"
HEAD = 'name = "t"\nsummary = "s"\n'
GRID = """
[[grid]]
task.name = "adding"
task.length = [10, 20]
solver.cell = ["leaky", "cornn"]
solver.tableau = ["euler", "rk4"]
solver.backend = "native"
solver.step = 0.5
"""


def read(text: str) -> Experiment:
    return parse(text, "t.toml")


def test_a_grid_is_the_product_of_its_axes() -> None:
    points = read(HEAD + "seeds = 3" + GRID).points("cuda")
    got = {
        (p["task"]["length"], p["solver"]["cell"], p["solver"]["tableau"], p["seed"], p["dtype"], p["device"])
        for p in points
    }
    want = itertools.product([10, 20], ["leaky", "cornn"], ["euler", "rk4"], [0, 1, 2], ["float32"], ["cuda"])
    assert got == set(want)
    assert len(points) == 24
    assert points[0]["solver"] == {"cell": "leaky", "tableau": "euler", "backend": "native", "step": 0.5}


def test_an_absent_budget_is_filled_in() -> None:
    (point,) = read(HEAD + '[[grid]]\ntask.name = "adding"\nsolver.cell = "lstm"\nbudget.updates = 7').points()
    assert point["budget"] == {"updates": 7, "batch": 32, "learning_rate": 0.01, "clip": 1.0, "evaluations": 20}


def test_a_point_without_a_decay_keeps_the_id_of_its_published_row() -> None:
    """An LSTM on Lorenz-63 of reports/published, by what it was asked for with before a learning rate could fall."""
    text = """
dtype = "float32"
seeds = [0]
[[grid]]
task.name = "chaos"
task.system = "lorenz63"
solver.cell = "lstm"
solver.hidden = 64
budget.updates = 800
budget.learning_rate = 5e-3
"""
    (point,) = read(HEAD + text).points()
    assert identity(point) == "53b60cc7941dc6f8"
    (later,) = read(HEAD + text + "budget.decay = 0.01\n").points()
    assert later["budget"] == {**point["budget"], "decay": 0.01}
    assert identity(later) != identity(point)


def test_published_rows_are_those_of_their_experiment_still() -> None:
    """Every published row's id is that of its own entries, without the engine where a row names what its point leaves
    open, and of a point of the experiment file it came from."""
    with PUBLISHED.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    asked = {name: {identity(p) for p in load_experiment(name).points()} for name in {r["experiment"] for r in rows}}
    assert len(rows) > 1000
    for row in rows:
        solver = {key: value for key, value in row["solver"].items() if key != "engine"}
        assert row["id"] in (identity({**row, "solver": solver}), identity(row))
    assert [row["id"] for row in rows if row["id"] not in asked[row["experiment"]]] == []


def test_a_limit_of_runs_at_once_is_no_part_of_a_point() -> None:
    limited, free = read(HEAD + "jobs = 1" + GRID), read(HEAD + GRID)
    assert (limited.jobs, free.jobs) == (1, None)
    assert limited.points() == free.points()
    assert limited.with_axis("step", [0.1]).jobs == 1


def test_what_learns_nothing_has_no_budget() -> None:
    text = HEAD + 'budget.updates = [7, 8]\n[[grid]]\ntask.name = "ivp"\nsolver.cell = "true-field"'
    (point,) = read(text).points()
    assert point["budget"] == {}


def test_points_of_two_grids_are_merged() -> None:
    assert len(read(HEAD + GRID + GRID.replace("[10, 20]", "[20, 30]")).points()) == 12


def test_a_grid_overrides_what_is_shared() -> None:
    text = HEAD + 'seeds = 2\ndtype = "float64"\nbudget.batch = 5\n' + GRID + "seeds = [7]\ndtype = 'float32'\n" + GRID
    points = read(text).points()
    assert {(p["dtype"], p["seed"], p["budget"]["batch"]) for p in points} == {
        ("float32", 7, 5),
        ("float64", 0, 5),
        ("float64", 1, 5),
    }


@given(
    lengths=st.lists(st.integers(1, 10**6), min_size=1, max_size=3, unique=True),
    steps=st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=3, unique=True),
    words=st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=2, unique=True),
    seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=3, unique=True),
    jobs=st.none() | st.integers(1, 9),
)
def test_an_experiment_survives_toml(
    lengths: list[int], steps: list[float], words: list[str], seeds: list[int], jobs: int | None
) -> None:
    grid = {
        "task.name": ("adding",),
        "task.length": tuple(lengths),
        "task.variant": tuple(words),
        "solver.cell": ("leaky",),
        "solver.step": tuple(steps),
        "dtype": ("float32",),
        "seed": tuple(seeds),
    }
    experiment = Experiment("t", "a \"quoted\" 'summary' \\ of two\nlines", (grid,), jobs)
    again = parse(experiment.to_toml(), "t.toml")
    assert again == experiment
    assert [identity(p) for p in again.points()] == [identity(p) for p in experiment.points()]


def test_set_replaces_an_axis_by_its_short_or_full_name() -> None:
    experiment = read(HEAD + GRID + '[[grid]]\ntask.name = "adding"\nsolver.cell = "lstm"')
    short = experiment.with_axis("step", [1, 2]).with_axis("length", [5])
    assert {(p["solver"].get("step"), p["task"].get("length")) for p in short.points()} == {
        (1, 5),
        (2, 5),
        (None, None),
    }
    full = experiment.with_axis("solver.tableau", ["rk38"]).with_axis("dtype", ["float64"])
    assert {(p["solver"].get("tableau"), p["dtype"]) for p in full.points()} == {("rk38", "float64"), (None, "float64")}
    assert {p["budget"]["updates"] for p in experiment.with_axis("updates", [9]).points()} == {9}
    assert {p["seed"] for p in experiment.with_seeds(4).points()} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1, 0.5,1e-3,true", [1, 0.5, 1e-3, True]),
        ("rk4, euler", ["rk4", "euler"]),
        ("chrono,1.0", ["chrono", 1.0]),
        ('"3","a,b"', ["3", "a,b"]),
        ("[0.5, 1]", [0.5, 1]),
        ("[[1, 2]]", [[1, 2]]),
        ("[]", []),
        ("5,", [5]),
        ("1#2", ["1#2"]),
    ],
)
def test_values_of_set_are_toml_or_bare_words(text: str, values: list[object]) -> None:
    assert values_of(text) == values


def test_seeds_of_set_are_a_number_or_a_list_as_in_a_file() -> None:
    experiment = read(HEAD + GRID)
    assert {p["seed"] for p in experiment.with_axis("seeds", [3]).points()} == {0, 1, 2}
    assert {p["seed"] for p in experiment.with_axis("seeds", [2, 4]).points()} == {2, 4}
    assert {p["seed"] for p in experiment.with_axis("seed", [3]).points()} == {3}


def test_an_error_names_the_line_of_its_own_grid() -> None:
    with pytest.raises(UsageError, match=r"^t\.toml, line 18: 'solver\.step' is an empty list"):
        read(HEAD + GRID + GRID.replace("0.5", "[]"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "seeds = = 2", "t.toml, line 3: Invalid value."),
        (HEAD + "x = [1,\n", r"t.toml, line 4: "),
        (HEAD + "seed = 2" + GRID, "t.toml, line 3: unknown key 'seed': did you mean 'seeds'?"),
        (HEAD + GRID + "solvr.step = 1", "t.toml, line 11: unknown key 'solvr' of a grid: did you mean 'solver'?"),
        (
            HEAD + GRID + "budget.update = 1",
            "t.toml, line 11: 'budget.update' is an unknown key: did you mean 'updates'?",
        ),
        (
            HEAD + GRID + "budget.updates = 0.5",
            "line 11: 'budget.updates' is 0.5: expected a whole number of at least 1.",
        ),
        (HEAD + GRID + "dtype = 'float46'", "line 11: 'dtype' is 'float46': did you mean 'float"),
        (HEAD + GRID + "seeds = [-1]", "line 11: 'seed' holds the seed -1: expected whole numbers from 0."),
        (HEAD + GRID + "seeds = 0", "line 11: 'seeds' is 0: expected a number of seeds, at least 1, or a list"),
        (HEAD + GRID + "seeds = []", "line 11: 'seed' is an empty list: expected at least one value."),
        (HEAD + GRID + "task.day = 2020-01-01", "line 11: 'task.day' is datetime.date(2020, 1, 1): expected a number"),
        (HEAD + GRID.replace('"native"', "3"), "line 9: 'solver.backend' is 3: expected a name."),
        (HEAD + GRID.replace('["euler", "rk4"]', "[[1]]"), "line 8: 'solver.tableau' is [1]: expected a name."),
        (
            HEAD + GRID + "seeds = 1.5",
            "line 11: 'seeds' is 1.5: expected a number of seeds, at least 1, or a list of them.",
        ),
        (HEAD + GRID + "task.variant = []", "line 11: 'task.variant' is an empty list"),
        (HEAD + GRID + "task.a.b = 1", "'task.a' is a table: expected a value or a list of them."),
        (HEAD, "t.toml: an experiment needs at least one [[grid]]."),
        (HEAD + "grid = 3", "t.toml: an experiment needs at least one [[grid]]."),
        ('name = "t"' + GRID, "t.toml: an experiment needs a 'summary', a string."),
        ('name = "a/b"\nsummary = "s"' + GRID, "t.toml, line 1: name 'a/b' names a folder"),
        (HEAD + "jobs = 0" + GRID, "t.toml, line 3: 'jobs' is 0: expected a whole number of at least 1."),
        (HEAD + "jobs = true" + GRID, "t.toml, line 3: 'jobs' is True: expected a whole number of at least 1."),
        (HEAD + GRID + "jobs = 1", "t.toml, line 11: unknown key 'jobs' of a grid"),
        (HEAD + "[[grid]]\nsolver.cell = 'leaky'", "t.toml, line 3: a grid needs a 'task.name'."),
        (HEAD + "task = 3" + GRID, "t.toml, line 3: 'task' is 3: expected keys, task.name say."),
    ],
)
def test_a_wrong_file_is_told_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_axis_is_told() -> None:
    experiment = read(HEAD + GRID)
    with pytest.raises(UsageError, match="unknown axis 'stepp' of experiment 't': did you mean 'step'"):
        experiment.with_axis("stepp", [1])
    with pytest.raises(UsageError, match="at least 1"):
        experiment.with_seeds(0)
    with pytest.raises(UsageError, match="whole number"):
        experiment.with_axis("budget.updates", ["many"])
    with pytest.raises(UsageError, match="at least 0"):
        experiment.with_axis("budget.clip", [math.inf])
    twice = read(HEAD + GRID + "task.step = 1")
    with pytest.raises(UsageError, match=r"ambiguous: write solver\.step or task\.step"):
        twice.with_axis("step", [1])


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_experiment(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not text in UTF-8"):
        load_experiment(tmp_path / "binary.toml")
    with pytest.raises(UsageError, match="unknown experiment 'absolutely-not'"):
        load_experiment("absolutely-not")


def test_stages_and_order_has_every_cell_and_every_method() -> None:
    """Every cell that is a field; the reflection of scornn and the deep nest of ode-lstm not under Strang's."""
    from odernn.solvers.fields import field_of, names
    from odernn.solvers.splitting import SPLITTINGS
    from odernn.solvers.tableaux import METHODS

    points = [p for p in load_experiment("stages-and-order").points() if p["task"]["name"] == "stages"]
    seen = {(p["solver"]["cell"], p["solver"]["tableau"]) for p in points}
    cells = set(names())
    assert {cell for cell, _ in seen} == {*cells, "true-field"}
    assert {tableau for _, tableau in seen} == set(METHODS)
    published = {(cell, field_of(cell).published_method) for cell in cells}
    assert published <= seen
    split = {cell for cell, tableau in seen if tableau in SPLITTINGS} - {"scornn", "ode-lstm"}
    assert {(cell, name) for cell in split for name in SPLITTINGS} <= seen


def test_an_engine_is_an_axis_of_the_native_backend_alone() -> None:
    text = """
name = "mixed"
summary = "Two backends, and a cell without any"

[[grid]]
task.name = "adding"
solver.cell = "leaky"
solver.tableau = "rk4"
solver.backend = ["native", "scipy"]
solver.step = 0.1

[[grid]]
task.name = "adding"
solver.cell = "lstm"
"""
    points = parse(text, "mixed").with_axis("engine", ["general", "cpu"]).points()
    found = {(p["solver"]["cell"], p["solver"].get("backend"), p["solver"].get("engine")) for p in points}
    assert found == {
        *(("leaky", "native", "general"), ("leaky", "native", "cpu"), ("leaky", "scipy", None), ("lstm", None, None))
    }
    without = parse(text.replace('["native", "scipy"]', '"scipy"'), "mixed")
    with pytest.raises(UsageError, match="unknown axis 'engine'"):
        without.with_axis("engine", ["general"])
