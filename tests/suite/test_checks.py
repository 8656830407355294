"""The conformance checks: what ships passes, what has no rules is refused, and what the command says."""

from __future__ import annotations

from pathlib import Path

import pytest

from odernn.suite.catalogue import entries
from odernn.suite.checks import check, checkable
from odernn.suite.cli import main
from odernn.suite.errors import UsageError
from odernn.suite.verdict import Verdict


@pytest.mark.parametrize("name", checkable())
def test_what_ships_conforms(name: str) -> None:
    verdicts = check(name)
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert len(verdicts) >= (1 if name in ("torch", "true-field") else 2)


def test_everything_that_ships_and_has_rules_is_checked() -> None:
    known = {name for kind in ("task", "cell", "tableau", "backend") for name in entries(kind)}
    assert set(checkable()) == known


def test_names_without_rules_are_refused() -> None:
    with pytest.raises(UsageError, match="'accuracy' is of kind 'metric'"):
        check("accuracy")
    with pytest.raises(UsageError, match="did you mean 'adding'"):
        check("ading")
    assert {"adding", "leaky", "rk4", "native"} <= set(checkable())


def test_the_command_says_ok_or_fail_and_exits_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["check", "adding"]) == 0
    assert "  ok    draws finite values" in capsys.readouterr().out
    found = [("adding", [Verdict("a rule", False, "a reason")]), ("ivp", [Verdict("another", True)])]
    monkeypatch.setattr("odernn.suite.checkup.check_isolated", lambda names, timeout, jobs: iter(found))
    assert main(["check", "adding"]) == 1
    assert "  FAIL  a rule: a reason" in capsys.readouterr().out
