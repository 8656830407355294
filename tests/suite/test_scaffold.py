"""`odernn new`: what it writes installs, passes its own checks and tests, runs, and is in the report."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from odernn.suite import catalogue
from odernn.suite.checks import check
from odernn.suite.cli import main
from odernn.suite.errors import UsageError
from odernn.suite.scaffold import EXAMPLES, new_plugin

Out = pytest.CaptureFixture[str]

YOURS = """
    @property
    def memory_length(self) -> int:
        return self.delay

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        numbers = rng.random((self.delay + 1, size, 1))
        targets = np.zeros_like(numbers)
        targets[-1] = numbers[0] - numbers[1]
        weights = np.zeros((self.delay + 1, size))
        weights[-1] = 1.0
        return Batch(numbers, targets, weights)

    def baseline(self) -> dict[str, float]:
        return {"mean_squared_error": 1.0 / 6.0}

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        error = mean_squared_error(outputs, batch.targets, batch.weights)
        return {"mean_squared_error": error, "skill": skill(error, 1.0 / 6.0)}


"""
"""The tutorial's ten lines, within the given signatures: how much larger the first number was than the second."""

PARTS = ["README.md", "experiment.toml", "pyproject.toml"]


@pytest.mark.parametrize(
    ("kind", "point"),
    [("task", "odernn_mine_own:MineOwn"), ("cell", "odernn_mine_own:field"), ("tableau", "odernn_mine_own:TABLEAU")],
)
def test_a_package_is_written_and_what_it_defines_conforms(kind: str, point: str, tmp_path: Path) -> None:
    out = tmp_path / "made"
    assert main(["new", kind, "mine-own", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*PARTS, "odernn_mine_own.py", "test_odernn_mine_own.py"]
    )
    project = tomllib.loads((out / "pyproject.toml").read_text())
    assert project["project"]["entry-points"] == {catalogue.GROUPS[kind]: {"mine-own": point}}
    assert tomllib.loads((out / "experiment.toml").read_text())["name"] == "mine-own"
    assert [verdict for verdict in check(str(out / "odernn_mine_own.py")) if not verdict.ok] == []


def environment_of(folder: Path) -> Path:
    """The `bin` of a fresh environment that sees the packages of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", vars=paths))
    # Processed as its own .pth files are: an editable installation of odernn among them is one.
    (site / "dependencies.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder / "bin"


def installed(folder: Path, python: Path, work: Path) -> None:
    """Build the package's wheel without a network and unpack it into the environment of that Python."""
    wheels = work / "wheels"
    build = "import sys, setuptools.build_meta as build; print(build.build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(wheels)], cwd=folder, check=True, capture_output=True)
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
    for wheel in wheels.glob("*.whl"):
        shutil.unpack_archive(wheel, site, "zip")
    shutil.rmtree(wheels)


def start_to_end(kind: str, name: str, tmp_path: Path, axes: list[str], yours: str = "") -> Path:
    """From an empty folder to the report of a generated package; the folder of results."""
    package, module = tmp_path / f"odernn-{name}", f"odernn_{name.replace('-', '_')}"
    assert main(["new", kind, name, "--out", str(package)]) == 0
    if yours:
        path = package / f"{module}.py"
        head, _, rest = path.read_text().partition("    # Yours from here")
        path.write_text(head + yours.lstrip("\n") + rest[rest.index("TASK = ") :])
    bin = environment_of(tmp_path / "environment")
    installed(package, bin / "python", tmp_path)

    def run(*command: str, status: int = 0) -> str:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [str(bin / "python"), *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    assert f"  {name} " in run("-m", "odernn.suite", "list", catalogue.KINDS[kind])
    said = run("-m", "odernn.suite", "check", name)
    assert said.startswith(f"{name}\n  ok    ")
    assert "FAIL" not in said
    assert " passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(package))
    settings = [part for axis in axes for part in ("--set", axis)]
    run("-m", "odernn.suite", "run", str(package / "experiment.toml"), "--out", "results", "--jobs", "2", *settings)
    return tmp_path / "results"


def table(results: Path, name: str) -> list[dict[str, str]]:
    with (results / "report" / "tables" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_from_nothing_to_a_new_task_in_a_report(tmp_path: Path) -> None:
    axes = ["delay=3", "tableau=rk4", "updates=20", "seeds=1"]
    results = start_to_end("task", "first-two", tmp_path, axes, YOURS)
    lines = [line for line in YOURS.splitlines() if line.startswith("        ")]
    assert len(lines) == 10
    cells = {row["cell"] for row in table(results, "accuracy") if row["task"].startswith("first-two ")}
    assert cells == {"leaky", "antisymmetric", "gru"}
    assert "first-two" in (results / "report" / "index.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "axes", "shown"),
    [("cell", ["length=10", "updates=20", "seeds=1"], "accuracy"), ("tableau", ["steps=200"], "orders")],
)
def test_from_nothing_to_a_new_cell_or_tableau_in_a_report(
    kind: str, axes: list[str], shown: str, tmp_path: Path
) -> None:
    results = start_to_end(kind, "mine-own", tmp_path, axes)
    assert any(row[kind] == "mine-own" for row in table(results, shown))


@pytest.mark.parametrize("kind", ["task", "cell", "tableau"])
@pytest.mark.parametrize("name", ["Echo", "two words", "class", "../up", "a--b", "", "1st", "a_", "é", "\x1b[2J"])
def test_bad_names_are_refused(kind: str, name: str, tmp_path: Path, capsys: Out) -> None:
    assert main(["new", kind, "--out", str(tmp_path / "made"), "--", name]) == 2
    said = capsys.readouterr().err
    assert f"{kind} name {name!r}: expected lower-case words" in said
    assert said.strip().isprintable()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kind", ["task", "cell", "tableau"])
def test_a_name_that_is_too_long_is_refused_with_the_limit(kind: str, tmp_path: Path, capsys: Out) -> None:
    assert main(["new", kind, "x" * 61, "--out", str(tmp_path / "made")]) == 2
    said = capsys.readouterr().err
    assert said == f"odernn: {kind} name '{'x' * 60}'... has 61 characters: expected at most 60.\n"
    assert not (tmp_path / "made").exists()
    assert main(["new", "tableau", "x" * 60, "--out", str(tmp_path / "made")]) == 0


@pytest.mark.parametrize(
    ("kind", "name"),
    [("task", "adding"), ("cell", "leaky"), ("tableau", "rk4"), ("tableau", "dopri5"), ("cell", "ct_rnn")],
)
def test_taken_names_are_refused(kind: str, name: str, tmp_path: Path, capsys: Out) -> None:
    assert main(["new", kind, name, "--out", str(tmp_path / "made")]) == 2
    assert f"{kind} name {name!r} is taken: 'odernn list {catalogue.KINDS[kind]}' shows" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_the_names_that_messages_suggest_are_good_ones(tmp_path: Path) -> None:
    for kind, name in EXAMPLES.items():
        assert len(new_plugin(kind, name, tmp_path / kind)) == 5  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unknown kind of package 'tsk': did you mean 'task'"):
        new_plugin("tsk", "mine-own", tmp_path / "no")  # type: ignore[arg-type]


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    for kind in EXAMPLES:
        assert main(["new", kind, "far-echo", "--out", str(tmp_path)]) == 2
    assert main(["new", "task", "far-echo", "--out", str(tmp_path / "README.md")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"
