"""The code of a point: what counts, what does not, and that nothing which runs is left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from odernn.suite import fingerprint
from odernn.suite.experiment import load_experiment
from odernn.suite.fingerprint import Code, Fingerprints, code_of
from odernn.suite.row import describe
from odernn.suite.run import run
from odernn.suite.source import read_source, stamp_of

Make = Callable[..., dict[str, Any]]


def point(cell: str = "true-field", tableau: str | None = "rk4", task: str = "ivp", **solver: Any) -> dict[str, Any]:
    method = {} if tableau is None else {"tableau": tableau, "backend": "native"}
    learned = {"updates": 1, "batch": 2, "learning_rate": 0.01, "clip": 1.0, "evaluations": 1}
    return {
        "task": {"name": task, **({"problem": "lotka-volterra"} if task == "ivp" else {"length": 10})},
        "solver": {"cell": cell, **method, **solver},
        "budget": {} if cell == "true-field" else learned,
        "seed": 0,
        "device": "cpu",
        "dtype": "float64",
    }


LEARNED = point("leaky", "rk4", "adding", step=0.5, hidden=4)
INTEGRATED = point(steps=2)


def modules(one: dict[str, Any]) -> set[str]:
    return set(code_of(one).modules)


def test_it_is_sixteen_digits_and_the_modules_behind_it() -> None:
    code = code_of(LEARNED)
    assert len(code.digest) == 16
    assert all(len(value) == 8 for value in code.modules.values())
    assert {"odernn.suite.run", "odernn.suite.learn", "odernn.tasks.adding", "odernn.solvers.fields.leaky"} <= set(
        code.modules
    )
    assert {"odernn.solvers.backends.native", "odernn.solvers.step", "tableau rk4"} <= set(code.modules)
    assert code == code_of(LEARNED)


def test_only_what_the_point_names_counts_of_a_registry() -> None:
    named = modules(LEARNED)
    assert not {name for name in named if ".fields." in name} - {"odernn.solvers.fields.leaky"}
    assert not {name for name in named if name.startswith("odernn.tasks.")} - {"odernn.tasks.adding"}
    assert "odernn.solvers.tableaux" not in named
    assert "tableau kutta3" not in named
    assert "tableau kutta3" in modules(point("leaky", "kutta3", "adding", step=0.5, hidden=4))
    assert {"odernn.solvers.fields.eunn", "odernn.solvers.eunn"} <= modules(point("eunn", "lie", "adding", step=1.0))
    assert "odernn.solvers.forecasters.esn" in modules({**LEARNED, "solver": {"cell": "esn"}})
    assert "odernn.solvers.library_scipy" in modules(
        {**INTEGRATED, "solver": {"cell": "true-field", "method": "RK45", "backend": "scipy"}}
    )


def test_an_integration_calls_no_training_and_only_speed_calls_the_peers() -> None:
    assert "odernn.suite.learn" not in modules(INTEGRATED)
    assert "odernn.solvers.cell" not in modules(INTEGRATED)
    assert "odernn.solvers.peers.timing" not in modules(LEARNED)
    assert "odernn.solvers.peers.timing" in modules({**LEARNED, "task": {"name": "speed"}})


def test_packages_are_those_that_the_point_uses() -> None:
    assert "torchdiffeq" not in code_of(INTEGRATED).imports
    other = {**INTEGRATED, "solver": {**INTEGRATED["solver"], "backend": "torchdiffeq"}}
    assert "torchdiffeq" in code_of(other).imports
    assert not {"jax", "diffrax", "dysts"} & code_of(LEARNED).imports
    jax = {**INTEGRATED, "solver": {**INTEGRATED["solver"], "backend": "diffrax"}}
    assert {"jax", "diffrax"} <= code_of(jax).imports
    chaotic = {**INTEGRATED, "task": {"name": "chaos", "system": "lorenz63"}}
    assert "dysts" not in code_of(chaotic).imports
    assert "dysts" in code_of({**chaotic, "task": {"name": "chaos", "system": "dysts:Lorenz"}}).imports


def test_a_method_counts_by_its_coefficients(monkeypatch: pytest.MonkeyPatch) -> None:
    one = point("leaky", "kutta3", "adding", step=0.5, hidden=4)
    before, other = code_of(one), code_of(LEARNED)
    methods = dict(fingerprint._methods())

    def with_method(changed: Any) -> Code:
        fingerprint._method_digest.cache_clear()
        monkeypatch.setattr(fingerprint, "_methods", lambda: {**methods, "kutta3": changed})
        return code_of(one)

    kutta = methods["kutta3"]
    assert with_method(replace(kutta, reference="another book")) == before

    changed = with_method(replace(kutta, b=(kutta.b[1], kutta.b[0], kutta.b[2])))
    assert [name for name in before.modules if changed.modules[name] != before.modules[name]] == ["tableau kutta3"]
    assert changed.digest != before.digest
    assert code_of(LEARNED) == other
    fingerprint._method_digest.cache_clear()


def digest(path: Path, text: str) -> str:
    path.write_text(text)
    return read_source("plain", path, stamp_of(path)).digest


def test_comments_and_docstrings_do_not_count_and_everything_else_does(tmp_path: Path) -> None:
    path = tmp_path / "plain.py"
    text = '"""Says."""\n\nX = 1\n"""Of X."""\n\n\ndef f(x: int) -> str:\n    """Does."""\n    return "a" * x  # why\n'
    first = digest(path, text)
    for same in (
        text.replace("Says", "Tells").replace("Does", "Will").replace("Of X", "X").replace("# why", "# because"),
        text.replace('    """Does."""\n', ""),
        text.replace("\n\n", "\n\n\n\n").replace('"a" * x', "('a'   * (x))"),
    ):
        assert digest(path, same) == first
    for other in (("X = 1", "X = 1.0"), ("X = 1", "X = True"), ('"a"', '"b"'), ('"a"', 'b"a"'), ("int", "float")):
        assert digest(path, text.replace(*other)) != first


def test_a_file_that_does_not_parse_has_a_digest_of_its_bytes(tmp_path: Path) -> None:
    assert digest(tmp_path / "a.py", "def") != digest(tmp_path / "a.py", "deff(")


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "plain.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nfrom importlib import import_module\nimport importlib\n"
        "if TYPE_CHECKING:\n    import never\n"
        "def f():\n    from .beside import a\n    from ..above import b\n    import_module('odernn.suite.learn')\n"
        "    return importlib.import_module('.near', __package__)\n"
        "from odernn.solvers import integrate\n"
    )
    imports = read_source("top.middle.plain", path, stamp_of(path)).imports
    assert {"top.middle.beside", "top.middle.beside.a", "top.above.b", "odernn.suite.learn"} <= imports
    assert {"top.middle.near", "odernn.solvers.integration", "top", "top.middle"} <= imports
    assert "never" not in imports


def test_a_file_of_ones_own_counts_with_what_it_imports(point: Make, toy: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(toy.read_text().replace("import os\n", "import os\n\nfrom odernn.suite.seeds import stream\n"))
    (tmp_path / "helper.py").write_text("X = 1\n")
    one = point("ok")
    one["task"]["name"] = str(own)
    first = code_of(one)
    assert {str(own), "odernn.suite.seeds"} <= set(first.modules)
    assert str(tmp_path / "helper.py") not in first.modules
    own.write_text(own.read_text() + "# a comment\n")
    assert code_of(one) == first
    own.write_text(own.read_text() + "import helper\n")
    second = code_of(one)
    assert str(tmp_path / "helper.py") in second.modules
    (tmp_path / "helper.py").write_text("X = 2\n")
    assert code_of(one).digest != second.digest


PLUGIN = """
import pathlib, sys, json
from odernn.suite.fingerprint import code_of
one = json.loads(sys.argv[1])
print(json.dumps(dict(code_of(one).modules)))
print(json.dumps([name for name in sys.modules if name.startswith(("torch", "my_plugin"))]))
"""


def test_a_plugin_counts_with_its_own_package_and_version_and_nothing_is_imported(tmp_path: Path) -> None:
    package = tmp_path / "my_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "task.py").write_text("import os\nfrom . import helper\nfrom odernn.suite.metrics import METRICS\n")
    (package / "helper.py").write_text("X = 1\n")
    (package / "unused.py").write_text("X = 1\n")
    info = tmp_path / "my_plugin-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugin\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[odernn.tasks]\nmine = my_plugin.task:TASK\n")
    one = {**LEARNED, "task": {"name": "mine"}}

    def found() -> tuple[dict[str, str], list[str]]:
        done = subprocess.run(
            [sys.executable, "-c", PLUGIN, json.dumps(one)],
            env={"PYTHONPATH": str(tmp_path), "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        first, second = done.stdout.splitlines()
        return json.loads(first), json.loads(second)

    before, imported = found()
    assert imported == []
    assert {"my_plugin", "my_plugin.task", "my_plugin.helper", "package my-plugin"} <= set(before)
    assert "my_plugin.unused" not in before
    (package / "helper.py").write_text("X = 2\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-plugin\nVersion: 1.3\n")
    after = found()[0]
    assert {name for name in before if before[name] != after[name]} == {"my_plugin.helper", "package my-plugin"}


INSTALLED = """
import json, sys
from odernn.suite.fingerprint import code_of
code = code_of(json.loads(sys.argv[1]))
print(json.dumps([dict(code.modules), dict(code.packages), sorted(code.imports)]))
"""


def distribution(home: Path, name: str, version: str, *packages: str, **more: str) -> None:
    """Installs one, each of its packages as a module of one line."""
    info = home / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{package}/__init__.py,,\n" for package in packages))
    for file, text in more.items():
        (info / f"{file}.txt").write_text(text)
    for package in packages:
        (home / package).mkdir()
        (home / package / "__init__.py").write_text("X = 1\n")


def test_packages_of_a_plugin_count_by_their_files_and_those_of_others_by_their_versions(tmp_path: Path) -> None:
    site, checkout = tmp_path / "site-packages", tmp_path / "checkout"
    distribution(site, "mine", "1", "my_plugin", "my_core", entry_points="[odernn.tasks]\nmine = my_plugin:TASK\n")
    distribution(site, "tables", "2.0", "tables")
    distribution(site, "the-trees", "3.1", "trees")
    (site / "loose.py").write_text("X = 1\n")
    (checkout / "workshop").mkdir(parents=True)
    (checkout / "workshop" / "__init__.py").write_text("from . import bench\nimport trees.leaf\n")
    (checkout / "workshop" / "bench.py").write_text("X = 1\n")
    imports = "import my_core, tables, workshop, loose, absent, os, numpy, jax\n"
    (site / "my_plugin" / "__init__.py").write_text(imports)
    own = tmp_path / "own.py"
    own.write_text(imports)

    def found(task: str) -> tuple[dict[str, str], dict[str, str], list[str]]:
        done = subprocess.run(
            [sys.executable, "-c", INSTALLED, json.dumps({**LEARNED, "task": {"name": task}})],
            env={"PYTHONPATH": f"{site}:{checkout}", "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        modules, packages, imports = json.loads(done.stdout)
        return modules, packages, imports

    modules, packages, used = found("mine")
    assert {"my_plugin", "my_core", "loose", "workshop", "workshop.bench"} <= set(modules)
    assert not {"tables", "trees", "os", "numpy"} & set(modules)
    assert packages == {"tables": "2.0", "trees": "3.1"}
    assert {"tables", "trees", "numpy", "jax", "absent"} <= set(used)
    assert found(str(own))[1] == {"tables": "2.0", "trees": "3.1", "my_core": "1"}
    for file in (site / "my_core" / "__init__.py", checkout / "workshop" / "bench.py", site / "loose.py"):
        file.write_text("X = 2\n")
    after = found("mine")[0]
    assert {name for name in modules if modules[name] != after[name]} == {"my_core", "workshop.bench", "loose"}


def called(one: dict[str, Any]) -> set[str]:
    """The modules of ours whose functions the run of a point calls, as the interpreter itself sees it."""
    found: set[str] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            found.add(frame.f_globals.get("__name__", ""))

    before = sys.getprofile()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        row = run(one, {})
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    assert row["status"] in ("ok", "diverged"), row["reason"]
    return {name for name in found if name.startswith("odernn.")}


BY_DESIGN = {"odernn.suite.environment", "odernn.solvers.tableaux"}
"""The facts that a row is given, and the table of methods, which count by their coefficients."""

LEARN = {"updates": 1, "batch": 2, "learning_rate": 0.01, "clip": 1.0, "evaluations": 1}


@pytest.mark.parametrize(
    "one",
    [
        INTEGRATED,
        point("true-field", "dormand-prince54", rtol=1e-3),
        {**INTEGRATED, "solver": {"cell": "true-field", "method": "RK45", "backend": "scipy", "rtol": 1e-3}},
        {**INTEGRATED, "solver": {**INTEGRATED["solver"], "backend": "torchdiffeq"}},
        LEARNED,
        {**LEARNED, "solver": {"cell": "lstm", "hidden": 4}},
        {**LEARNED, "solver": {**LEARNED["solver"], "cell": "eunn", "tableau": "lie"}},
        {**INTEGRATED, "task": {"name": "order"}, "solver": {**point()["solver"]}},
        {**INTEGRATED, "task": {"name": "stages"}, "solver": {**LEARNED["solver"]}, "budget": LEARN},
    ],
    ids=describe,
)
def test_every_module_that_a_run_calls_is_counted(one: dict[str, Any]) -> None:
    run(one, {})  # what is imported is carried out now, and is no call of the run's
    assert called(one) - BY_DESIGN <= modules(one)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quick", "correspondence", "stages-and-order", "stability"])
def test_every_module_that_a_whole_experiment_calls_is_counted(name: str) -> None:
    seen: set[tuple[Any, ...]] = set()
    for one in load_experiment(name).points():
        kind = (one["task"]["name"], one["solver"].get("cell"), one["solver"].get("backend"))
        if kind in seen:
            continue
        seen.add(kind)
        short = {**one, "budget": {**one["budget"], "updates": 1, "evaluations": 1} if one["budget"] else {}}
        run(short, {})
        assert called(short) - BY_DESIGN <= modules(short), describe(short)
    assert seen


def test_many_points_share_few_codes_and_an_edit_is_noticed(point: Make, toy: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(toy.read_text())
    one = point("ok")
    one["task"]["name"] = str(own)
    prints = Fingerprints()
    codes = {id(prints.of({**one, "seed": seed})) for seed in range(1000)}
    assert len(codes) == 1
    assert prints.of(one).intact()
    own.write_text(toy.read_text() + "X = 1\n")
    assert not prints.of(one).intact()


def test_an_edit_that_was_taken_back_is_noticed(point: Make, toy: Path, tmp_path: Path) -> None:
    """What ran in between is not known, although the file is what it was, its time of writing too."""
    own = tmp_path / "own.py"
    own.write_text(toy.read_text())
    one = point("ok")
    one["task"]["name"] = str(own)
    code, before = code_of(one), own.stat()
    time.sleep(0.02)  # longer than a file system's clock stands still
    own.write_text(toy.read_text().replace("0.5", "0.7"))
    own.write_text(toy.read_text())
    os.utime(own, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert own.stat().st_mtime_ns == before.st_mtime_ns
    assert code_of(one).digest == code.digest
    assert not code.intact()


def test_a_new_name_of_a_shared_file_is_no_edit(tmp_path: Path) -> None:
    """As installers make them, that keep one copy for all environments."""
    path = tmp_path / "a.py"
    path.write_text("X = 1\n")
    os.link(path, tmp_path / "b.py")
    before = stamp_of(path)
    time.sleep(0.02)
    os.link(path, tmp_path / "c.py")
    assert stamp_of(path) == before


def test_a_file_that_comes_in_beside_is_noticed(point: Make, toy: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(toy.read_text() + "try:\n    import helper\nexcept ImportError:\n    pass\n")
    one = point("ok")
    one["task"]["name"] = str(own)
    code = code_of(one)
    assert code.intact()
    (tmp_path / "helper.py").write_text("X = 1\n")
    assert not code.intact()


BESIDE = {
    "a package": ("import helpers", "helpers/__init__.py"),
    "a module of a package": ("from helpers.maths import SHIFT", "helpers/maths.py"),
    "a module without a package": ("import folder.maths as m", "folder/maths.py"),
    "by way of a package": ("import helpers", "helpers/near.py"),
    "from above": ("import helpers", "helpers/far.py"),
    "named like us": ("import odernn_helper", "odernn_helper.py"),
    "the function behind import": ("h = __import__('helper')", "helper.py"),
    "by its path": ("spec_from_file_location('h', dirname(__file__) + '/helper.py')", "helper.py"),
    "carried out": ("runpy.run_path(str(Path(__file__).with_name('helper.py')))", "helper.py"),
}


@pytest.mark.parametrize("linked", [False, True], ids=["", "linked"])
@pytest.mark.parametrize("what", BESIDE)
def test_whatever_a_file_loads_from_beside_it_counts(point: Make, tmp_path: Path, what: str, linked: bool) -> None:
    statement, name = BESIDE[what]
    home = tmp_path / "home"
    (home / "helpers").mkdir(parents=True)
    (home / "helpers" / "__init__.py").write_text("from . import near\n")
    (home / "helpers" / "near.py").write_text("import helpers.far\n")
    own, file = home / "own.py", home / name
    own.write_text(statement + "\n")
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        file.write_text("")
    one = point("ok")
    one["task"]["name"] = str(own)
    if linked:
        (tmp_path / "link.py").symlink_to(own)
        one["task"]["name"] = str(tmp_path / "link.py")
    before = code_of(one)
    file.write_text(file.read_text() + "SHIFT = 1\n")
    after = code_of(one)
    assert {key for key in after.modules if after.modules[key] != before.modules.get(key)} == {str(file)}
