"""Files of experiments, and values of --set: an experiment, or one sentence on what is wrong; nothing is executed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from odernn.suite.errors import UsageError
from odernn.suite.experiment import Experiment, parse, values_of
from odernn.suite.row import decode, describe, encode, identity

from .conftest import Command, watched
from .inputs import ARGUMENTS, EXPERIMENTS, GOOD, KEYS, VALUES, built, counted, fuzz, toml


def refusal(of: Callable[[], object]) -> str:
    """What is said where it is refused, one sentence on one line; '' where it is not."""
    try:
        of()
    except UsageError as error:
        said = str(error)
    else:
        return ""
    assert said
    assert said.isprintable()
    return said


def used(experiment: Experiment) -> None:
    """What a run asks of an experiment; a large one is not unfolded."""
    again = parse(experiment.to_toml(), "again.toml")
    assert sorted(again.to_toml().splitlines()) == sorted(experiment.to_toml().splitlines())
    if said := refusal(experiment.points):
        assert "points: expected at most" in said
        return
    for point in experiment.points()[:50]:
        describe(point).encode()
        assert identity(decode(encode(point))) == identity(point)


@counted(1000, 20_000)
def test_any_file_is_read_or_refused(tries: int, tmp_path: Path) -> None:
    good = 0

    def target(text: str) -> None:
        nonlocal good
        with watched(tmp_path):
            if said := refusal(lambda: parse(text, "t.toml")):
                assert said.startswith("t.toml")
            else:
                good += 1
                used(parse(text, "t.toml"))

    fuzz(target, EXPERIMENTS, tries)
    assert good > tries / 50, "too few are near enough to a good file to go deep"


@counted(1000, 20_000)
def test_any_value_of_set_is_taken_or_refused(tries: int, tmp_path: Path) -> None:
    experiment = parse(GOOD, "t.toml")

    def target(given: tuple[str, str]) -> None:
        axis, text = given
        with watched(tmp_path):
            if not refusal(lambda: experiment.with_axis(axis, values_of(text))):
                used(experiment.with_axis(axis, values_of(text)))

    fuzz(target, st.tuples(KEYS | ARGUMENTS, ARGUMENTS | VALUES.map(toml) | st.text()), tries)


@counted(100, 1000)
def test_any_file_can_be_given_to_a_run(tries: int, command: Command, tmp_path: Path) -> None:
    def target(text: str) -> None:
        (tmp_path / "t.toml").write_text(text, encoding="utf-8", newline="", errors="replace")
        before = sorted(tmp_path.iterdir())
        ended = command(["run", "t.toml", "--dry-run", "--out", "results"])
        assert sorted(tmp_path.iterdir()) == before
        assert ended.status in (0, 2)

    fuzz(target, built(), tries)


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "seeds = 1_000_000_000_000",
        GOOD + "task.a = 0x" + "f" * 6000,
        GOOD + "task.a = " + "9" * 5000,
        GOOD + "task.a = [[[0x" + "f" * 6000 + "]]]",
        GOOD + "task.a = " + "[" * 5000,
        GOOD + '"' + " " * 50000 + '" = 1',
        GOOD + 'task."\\u001b[2J\\n".b = 1',
        "x = 1\n" + GOOD + " " * 100000,
        GOOD + "".join(f"task.a{n} = [0, 1]\n" for n in range(40)),
        GOOD + "".join(f"task.a{n} = 0\n" for n in range(3000)) + "budget.updates = -1",
    ],
    ids=range(10),
)
def test_what_was_found(text: str, tmp_path: Path) -> None:
    """Files that filled the memory, never ended, raised, or drew on the terminal before they were found."""
    with watched(tmp_path):
        assert refusal(lambda: parse(text, "t.toml").points())


def test_bytes_that_are_no_text_are_no_value() -> None:
    with pytest.raises(UsageError, match="expected a number, a string"):
        parse(GOOD, "t.toml").with_axis("tableau", values_of("a\udcff"))
