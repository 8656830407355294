"""Names to objects: built-in, from other packages, from a file; and what is said of wrong ones."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odernn.suite import catalogue
from odernn.suite.catalogue import GROUPS, KINDS, build_task, entries, find, kind_of, load, problems
from odernn.suite.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("task", {"adding", "chaos", "copying", "ivp", "order"}),
        ("cell", {"leaky", "antisymmetric", "cornn", "companion", "lstm", "gru", "true-field"}),
        ("tableau", {"euler", "rk4", "dormand-prince54"}),
        ("backend", {"native", "scipy", "torchdiffeq", "torchdiffeq-adjoint"}),
        ("metric", {"accuracy", "mean_squared_error"}),
        ("report", {"table-accuracy", "figure-learning"}),
    ],
)
def test_what_is_built_in_is_found_and_loads(kind: str, names: set[str]) -> None:
    found = entries(kind)
    assert names <= set(found)
    assert list(found) == sorted(found)
    assert problems(kind) == ()
    for name, entry in found.items():
        assert entry.summary
        assert "\n" not in entry.summary
        assert load(kind, name) is not None


def test_every_backend_of_the_catalogue_goes_by_its_name() -> None:
    assert {name: load("backend", name).name for name in entries("backend")} == {n: n for n in entries("backend")}


def test_listing_imports_no_plugin_and_no_torch() -> None:
    script = (
        "import sys\n"
        "from odernn.suite.catalogue import KINDS, entries\n"
        "assert all(entries(kind) for kind in KINDS if kind != 'experiment')\n"
        "heavy = {'torch', 'pandas', 'matplotlib', 'scipy', 'odernn.tasks.adding', 'odernn.reports.frame'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_kinds_go_by_singular_and_plural() -> None:
    assert [kind_of(word) for pair in KINDS.items() for word in pair] == [kind for kind in KINDS for _ in range(2)]
    with pytest.raises(UsageError, match="unknown kind 'tabelaux': did you mean 'tableaux'"):
        kind_of("tabelaux")


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown cell 'cornnn': did you mean 'cornn'"):
        load("cell", "cornnn")
    with pytest.raises(UsageError, match="unknown name 'adingg': did you mean 'adding'"):
        find("adingg")


class _Distribution:
    """As much of a distribution as an entry point shows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.metadata = {"Summary": f"{name} in one line"}


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Declares entry points of tasks: (name, module source) pairs."""

    def declare(*declared: tuple[str, str], kind: str = "task", attribute: str = "TASK") -> None:
        points = []
        for number, (name, source) in enumerate(declared):
            (tmp_path / f"plugin_{number}.py").write_text(source)
            point = metadata.EntryPoint(name, f"plugin_{number}:{attribute}", GROUPS[kind])
            points.append(point._for(_Distribution(f"package-{number}")))  # type: ignore[attr-defined]
        monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == GROUPS[kind] else [])
        catalogue._entries.cache_clear()

    monkeypatch.syspath_prepend(tmp_path)
    yield declare
    catalogue._entries.cache_clear()
    for name in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[name]


GOOD = """
from dataclasses import dataclass
from odernn.suite.contracts import Outcome, Task

@dataclass(frozen=True)
class Mine(Task):
    depth: int = 3
    name = "mine"
    primary_metric = "error"
    def evaluate(self, solver, seed, budget):
        return Outcome()

TASK = Mine
"""


def test_another_package_adds_a_task(plugins: Any) -> None:
    plugins(("mine", GOOD))
    entry = entries("task")["mine"]
    assert (entry.distribution, entry.summary) == ("package-0", "package-0 in one line")
    assert "plugin_0" not in sys.modules
    assert build_task({"name": "mine", "depth": 5}) == load("task", "mine")(depth=5)


def test_a_taken_name_is_refused_and_the_first_stays(plugins: Any) -> None:
    plugins(("adding", GOOD), ("mine", GOOD), ("mine", GOOD))
    assert entries("task")["adding"].module == "odernn.tasks.adding"
    assert problems("task") == (
        "task 'adding' of package-0 is refused: odernn itself has that name.",
        "task 'mine' of package-2 is refused: package-1 has that name.",
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "import nonesuch_package\n",
            "needs the package 'nonesuch_package', which is not installed: pip install nonesuch",
        ),
        ("1 / 0\n", "task 'mine' of package-0 does not import: ZeroDivisionError: division by zero"),
        ("TASK = 3\n", "task 'mine' is 3: expected a frozen dataclass derived from odernn's Task."),
        ("x = 1\n", "task 'mine': plugin_0 has no 'TASK'."),
        (GOOD.replace('"mine"', '"yours"'), "task 'mine' calls itself 'yours': expected the same name."),
        ("import plugin_0.sub\n", "does not import"),
        ("raise SystemExit(2)\n", "task 'mine' of package-0 does not import: SystemExit: 2"),
        ("raise KeyboardInterrupt\n", "task 'mine' of package-0 does not import: KeyboardInterrupt: KeyboardInterrupt"),
        ("class Odd(BaseException): pass\nraise Odd('x\\x1b[2J\\ny')\n", "does not import: Odd: x\\x1b[2J"),
        ("def f(:\n", "task 'mine' of package-0 does not import: SyntaxError: "),
    ],
)
def test_a_broken_plugin_is_one_sentence_and_stops_no_other(plugins: Any, source: str, said: str) -> None:
    plugins(("mine", source))
    with pytest.raises(UsageError) as caught:
        load("task", "mine")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert load("task", "adding").name == "adding"


def test_what_cannot_be_loaded_is_said_without_carrying_it_out(plugins: Any) -> None:
    plugins(("mine", GOOD), ("yours", "def f(:\n"), ("ours", "raise SystemExit\n"))
    assert problems("task") == (
        "task 'yours' of package-1 cannot be loaded: 'plugin_1' is not readable Python in line 1.",
    )
    assert {"mine", "yours", "ours"} <= set(entries("task"))
    assert not [name for name in sys.modules if name.startswith("plugin_")]


@pytest.mark.parametrize("name", ["a/b", "../up", "x\x1b[2J", "own.py", "", " ", "ä", "x" * 81, "line\nbreak"])
def test_a_name_that_is_none_is_refused(plugins: Any, name: str) -> None:
    plugins((name, GOOD), ("mine", GOOD))
    (said,) = problems("task")
    assert f"{name!r} of package-0 is refused: a name is letters, digits" in said
    assert said.isprintable()
    assert "mine" in entries("task")
    assert name not in entries("task")


@pytest.mark.parametrize("name", ["rk4", "RK4", "dopri5", "dormand_prince54"])
def test_aliases_and_other_spellings_of_a_taken_name_are_taken(plugins: Any, name: str) -> None:
    plugins((name, "TABLEAU = 3\n"), kind="tableau", attribute="TABLEAU")
    (said,) = problems("tableau")
    assert said == f"tableau {name!r} of package-0 is refused: odernn itself has that name."


@pytest.mark.parametrize(
    ("kind", "source", "said"),
    [
        ("tableau", "it = 3\n", "tableau 'mine' is a int: expected a Tableau or PartitionedTableau or Splitting."),
        ("cell", "it = 3\n", "cell 'mine' is a int: expected a function that gives its field."),
        (
            "backend",
            "from odernn.solvers.backends.native import Native as it\n",
            "is the class itself: expected a Backend",
        ),
        (
            "tableau",
            "from odernn.solvers.tableaux import tableau\nit = tableau('rk4')\n",
            "tableau 'mine' calls itself 'rk4': expected the same name.",
        ),
    ],
)
def test_what_is_not_of_its_kind_is_refused(plugins: Any, kind: str, source: str, said: str) -> None:
    plugins(("mine", source), kind=kind, attribute="it")
    with pytest.raises(UsageError) as caught:
        load(kind, "mine")
    assert said in str(caught.value)


def test_an_interrupt_that_somebody_sends_is_none_of_the_plugin(plugins: Any) -> None:
    plugins(("mine", "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)\n"))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # test processes may ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            load("task", "mine")
    finally:
        signal.signal(signal.SIGINT, before)


FILE = """
from dataclasses import field as unrelated
from odernn.solvers.backends.native import Native
from odernn.solvers.tableau import Tableau
from odernn.solvers.fields import leaky

TABLEAU = Tableau("own", ((0,),), (1,), 1, "mine")
BACKEND = Native()


def field(ode_order=None):
    return leaky.field(ode_order)
"""


def test_every_kind_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from odernn.solvers.solver import build_solver, validate

    path = tmp_path / "own.py"
    path.write_text(FILE)
    assert [entry.kind for entry in find(str(path))] == ["cell", "tableau", "backend"]
    assert load("tableau", str(path)).order == 1
    assert load("cell", str(path))().name == "leaky"
    assert load("backend", str(path)) is load("backend", str(path))
    assert not (tmp_path / "__pycache__").exists()
    with pytest.raises(UsageError, match="defines no TASK"):
        load("task", str(path))

    monkeypatch.chdir(tmp_path)
    entry = {"cell": "own.py", "tableau": "own.py", "backend": "own.py", "step": 0.5}
    validate(entry, {"name": "adding"})
    solver = build_solver(entry, "cpu", "float64", build_task({"name": "adding", "length": 5}))
    assert solver.properties()["solver"].items() >= entry.items()
    assert solver.properties()["order"] == 1

    path.write_text(FILE.replace('"mine"', '"yours"'))  # of the same size, within the same second
    assert load("tableau", str(path)).reference == "yours"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("from dataclasses import field\n", "defines none of TASK, field, TABLEAU, BACKEND."),
        ("raise KeyboardInterrupt\n", "does not import: KeyboardInterrupt"),
        ("def f(:\n", "does not import: SyntaxError"),
        ("\0\n", "does not import: "),
        ("import nonesuch_package\n", "needs the package 'nonesuch_package', which is not installed: pip install"),
    ],
)
def test_a_file_that_defines_nothing_or_breaks_is_one_sentence(source: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "breaks.py"
    path.write_text(source)
    with pytest.raises(UsageError) as caught:
        find(str(path))
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    kept = [name for name in sys.modules if name.startswith("odernn_file_breaks")]
    assert len(kept) == ("defines" in said)
    for name in kept:
        del sys.modules[name]
    with pytest.raises(UsageError, match="there is no such file"):
        find(str(tmp_path / "absent.py"))


def test_two_files_of_one_name_stay_apart(tmp_path: Path) -> None:
    for folder, depth in (("a", 3), ("b", 4)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.py").write_text(GOOD.replace("depth: int = 3", f"depth: int = {depth}"))
    tasks = [build_task({"name": str(tmp_path / folder / "own.py")}) for folder in ("a", "b", "a")]
    assert [vars(task)["depth"] for task in tasks] == [3, 4, 3]
    assert type(tasks[0]) is type(tasks[2])


def test_a_task_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(GOOD)
    assert build_task({"name": str(tmp_path / "own.py"), "depth": 1}).name == "mine"
    with pytest.raises(UsageError, match="there is no such file"):
        build_task({"name": "absent.py"})
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UsageError, match="defines no TASK"):
        build_task({"name": str(tmp_path / "empty.py")})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "a task needs a 'name'"),
        ({"name": 3}, "a task needs a 'name'"),
        ({"name": "adding", "lenght": 3}, "unknown parameter 'lenght' of task 'adding': did you mean 'length'?"),
        ({"name": "adding", "length": 2.5}, "parameter 'length' of task 'adding' is 2.5: expected a whole number."),
        ({"name": "adding", "length": True}, "is True: expected a whole number."),
        ({"name": "adding", "length": "9"}, "is '9': expected a whole number."),
        ({"name": "adding", "variant": 1}, "is 1: expected a string."),
        ({"name": "adding", "length": 1}, "at least 2"),
    ],
)
def test_wrong_parameters_are_told(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_task(entry)
    assert said in str(caught.value)


@given(length=st.integers(2, 10**6))
def test_parameters_arrive(length: int) -> None:
    assert vars(build_task({"name": "adding", "length": length}))["length"] == length


def test_a_whole_number_serves_as_a_number() -> None:
    horizon = vars(build_task({"name": "chaos", "horizon": 5}))["horizon"]
    assert (horizon, type(horizon)) == (5.0, float)
