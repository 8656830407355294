"""A row is reused only where its identity holds, and the reason is in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from odernn.suite.fingerprint import Code
from odernn.suite.freshness import FILE, CodeBook, judge, versions, vouched
from odernn.suite.source import stamp_of

FACTS = {"python": "3.11.7", "packages": {"numpy": "2.4", "scipy": "1.17", "sympy": "1.14", "torch": "2.13"}}
MODULES = {"a.one": "11111111", "a.two": "22222222", "tableau rk4": "33333333"}
CODE = Code("c" * 16, MODULES, frozenset({"numpy", "diffrax", "os"}))
OLD = "0" * 16


def row(status: str = "ok", code: Any = CODE.digest, python: str = "3.11.2", **packages: str) -> dict[str, Any]:
    environment = {"code": code, "python": python, "packages": {**FACTS["packages"], **packages}}  # type: ignore[dict-item]
    return {"id": "1", "status": status, "environment": environment}


def reason(found: dict[str, Any], code: Code = CODE, book: CodeBook | None = None, **packages: str) -> str:
    facts = {**FACTS, "packages": {**FACTS["packages"], **packages}}  # type: ignore[dict-item]
    verdict = judge(found, code, facts, book or CodeBook())
    assert (verdict.state == "stale") is not verdict.reason.startswith("its row, ok")
    return verdict.reason


def test_the_same_code_and_packages_are_fresh() -> None:
    assert judge(row(), CODE, FACTS, CodeBook()).state == "fresh"
    assert judge(row("diverged"), CODE, FACTS, CodeBook()).state == "fresh"
    assert judge(None, CODE, FACTS, CodeBook()).state == "missing"


def test_a_failure_is_kept_unless_it_is_to_run_again() -> None:
    kept = judge(row("timeout"), CODE, FACTS, CodeBook())
    assert kept.state == "fresh"
    assert "--retry-failed" in kept.reason
    assert judge(row("timeout"), CODE, FACTS, CodeBook(), retry_failed=True).state == "stale"
    assert judge(row("diverged"), CODE, FACTS, CodeBook(), retry_failed=True).state == "fresh"


def test_an_older_row_does_not_say_its_code() -> None:
    without = row()
    del without["environment"]["code"]
    for one in (without, row(code=None), row(code=5), {**row(), "environment": {}}):
        assert reason(one).startswith("its row does not say which code made it")


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ({**MODULES, "a.one": "9"}, "a.one changed since."),
        ({**MODULES, "a.one": "9", "tableau rk4": "9"}, "a.one and tableau rk4 changed since."),
        ({"a.one": "11111111", "a.two": "22222222"}, "tableau rk4 came in since."),
        ({**MODULES, "a.old": "9"}, "a.old went out since."),
        ({**MODULES, "a.one": "9", "a.old": "9"}, "a.one changed since; a.old went out since."),
    ],
)
def test_the_modules_that_changed_are_named(before: dict[str, str], said: str) -> None:
    assert reason(row(code=OLD), book=CodeBook({OLD: before})) == said


def test_many_modules_are_counted_and_unknown_ones_are_not_guessed() -> None:
    many = Code("d" * 16, {f"m{k}": "1" for k in range(9)}, frozenset())
    book = CodeBook({OLD: {f"m{k}": "2" for k in range(9)}})
    assert reason(row(code=OLD), many, book) == "m0, m1, m2 and 6 more changed since."
    assert reason(row(code=OLD)) == "its code changed since (code.jsonl does not say where)."


def test_versions_count_where_the_point_uses_the_package() -> None:
    assert reason(row(), torch="2.14") == "torch 2.13 then, 2.14 now."
    assert reason(row(), diffrax="0.8") == "diffrax unsaid then, 0.8 now."
    assert reason(row(diffrax="0.7")) == "diffrax 0.7 then, absent now."
    assert judge(row(jax="0.9"), CODE, FACTS, CodeBook()).state == "fresh", "the point does not use it"
    assert reason(row(python="3.12.1")) == "Python 3.12 then, 3.11 now."
    assert reason(row(python="3.12.1", code=None), torch="3").count(";") == 2


def test_what_only_a_plugin_imports_is_compared_too() -> None:
    code = Code("c" * 16, MODULES, frozenset({"trees"}), {"trees": "3.1"})
    assert judge(row(trees="3.1"), code, FACTS, CodeBook()).state == "fresh"
    assert reason(row(trees="3.0"), code) == "trees 3.0 then, 3.1 now."
    assert reason(row(), code) == "trees unsaid then, 3.1 now."
    assert reason(row(trees="3.1"), replace(code, packages={})) == "trees 3.1 then, absent now."


def test_a_row_that_comes_in_says_what_it_will_be_judged_by(tmp_path: Path) -> None:
    path = tmp_path / "task.py"
    path.write_text("X = 1\n")
    code = Code("c" * 16, MODULES, frozenset({"trees"}), {"trees": "3.1"}, {str(path): stamp_of(path)})
    environment = {**FACTS, "code": "c" * 16, "cpu": "one"}
    signed = vouched(environment, code)
    assert signed == {**environment, "packages": {**FACTS["packages"], "trees": "3.1"}}  # type: ignore[dict-item]
    assert judge({**row(), "environment": signed}, code, FACTS, CodeBook()).state == "fresh"
    assert vouched({**environment, "code": None}, code)["code"] is None, "its worker does not vouch for it"
    path.write_text("X = 22\n")
    assert vouched(environment, code)["code"] is None, "its code was edited meanwhile"


def test_the_versions_that_count_are_those_of_packages_that_the_point_uses() -> None:
    facts = {"python": "3.11.7", "packages": {**FACTS["packages"], "diffrax": "0.7", "jax": "0.9"}}  # type: ignore[dict-item]
    used = {"numpy": "2.4", "scipy": "1.17", "sympy": "1.14", "torch": "2.13", "Python": "3.11"}
    assert versions(CODE, FACTS) == used
    assert versions(CODE, facts) == {**used, "diffrax": "0.7"}


def test_the_book_is_appended_to_and_a_torn_line_is_set_aside(tmp_path: Path) -> None:
    assert CodeBook.read(tmp_path / "absent") == CodeBook()
    CodeBook().add(tmp_path, [CODE, CODE])
    path = tmp_path / FILE
    assert json.loads(path.read_text()) == {"digest": CODE.digest, "modules": MODULES}
    with path.open("a") as file:
        file.write('{"digest":"torn')
    book = CodeBook.read(tmp_path)
    assert book.known == {CODE.digest: MODULES}
    assert book.torn == [f"{path}, line 2: torn after 15 bytes, set aside."]
    book.add(tmp_path, [CODE, Code("e" * 16, {}, frozenset())])
    assert set(CodeBook.read(tmp_path).known) == {CODE.digest, "e" * 16}


@pytest.mark.parametrize(
    "line", ["[]", "5", '{"digest":1,"modules":{}}', '{"digest":"a","modules":{"b":1}}', "[" * 9999]
)
def test_a_line_that_is_no_code_is_set_aside(tmp_path: Path, line: str) -> None:
    (tmp_path / FILE).write_text(line + "\n")
    book = CodeBook.read(tmp_path)
    assert (book.known, len(book.torn)) == ({}, 1)


def test_a_book_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    book = CodeBook.read(tmp_path)
    book.add(tmp_path, [CODE])
    assert book.known == {}
