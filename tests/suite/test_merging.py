"""Folders of several machines become one, or nothing is written."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odernn.suite import merging
from odernn.suite.cli import main
from odernn.suite.errors import UsageError
from odernn.suite.merging import CODE, merge
from odernn.suite.row import FILE, SCHEMA, encode, identity, read

Row = dict[str, Any]


def make(seed: int = 0, **changes: Any) -> Row:
    row: Row = {
        "schema": SCHEMA,
        "experiment": "made",
        "task": {"name": "adding", "length": 20},
        "solver": {"cell": "leaky", "tableau": "rk4", "backend": "native", "step": 0.5},
        "budget": {"updates": 3},
        "seed": seed,
        "device": "cpu",
        "dtype": "float32",
        "status": "ok",
        "reason": "",
        "metrics": {"mean_squared_error": 0.125, "skill": math.nan},
        "curves": {},
        "cost": {"seconds": 1.0},
        "properties": {},
        "environment": {"cpu": "one", "code": "0123456789abcdef"},
        "started": "2026-01-01T00:00:00.000+00:00",
        "finished": "2026-01-01T00:00:01.000+00:00",
    }
    row |= changes
    return {**row, "id": changes.get("id", identity(row))}


Put = Callable[[str, Sequence[Row]], Path]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "merged"


def rows_of(folder: Path) -> list[Row]:
    found = read(folder / FILE)
    assert not found.torn
    return found.rows


def test_rows_of_different_points_are_put_together_as_they_were(put: Put, out: Path) -> None:
    a, b = put("a", [make(1), make(0)]), put("b", [make(2, environment={"cpu": "two"})])
    said = merge([a, b], out)
    assert (out / FILE).read_bytes() == (a / FILE).read_bytes() + (b / FILE).read_bytes()
    assert sorted(path.name for path in out.iterdir()) == [FILE]
    assert said == f"3 rows of 2 folders are in {out / FILE}."


def test_a_merged_folder_merges_into_itself(put: Put, out: Path, tmp_path: Path) -> None:
    a = put("a", [make(1), make(0)])
    b = put("b", [make(1, environment={"cpu": "two"}), make(3)])
    merge([a, b], out)
    merge([out, out], tmp_path / "twice")
    merge([out, a, b], tmp_path / "again")
    assert (tmp_path / "twice" / FILE).read_bytes() == (out / FILE).read_bytes()
    assert (tmp_path / "again" / FILE).read_bytes() == (out / FILE).read_bytes()


def test_the_same_result_twice_is_one_row_that_names_both_environments(put: Put, out: Path, tmp_path: Path) -> None:
    early = make(environment={"cpu": "one"}, finished="2026-01-01T00:00:01.000+00:00", cost={"seconds": 1.0})
    late = make(environment={"cpu": "two"}, finished="2026-01-02T00:00:01.000+00:00", cost={"seconds": 2.0})
    said = merge([put("a", [late]), put("b", [early])], out)
    (row,) = rows_of(out)
    assert row["cost"] == {"seconds": 2.0}
    assert row["environment"] == {"cpu": "two", "also": [{"cpu": "one"}]}
    assert "1 point of them in more than one folder" in said
    assert "the row finished last stays, and names the other environments (2 rows were read)." in said
    again = merge([tmp_path / "a", tmp_path / "a"], tmp_path / "again")
    assert again.endswith("the row finished last stays (2 rows were read).")


def test_provenance_is_kept_whatever_the_order(put: Put, out: Path, tmp_path: Path) -> None:
    folders = [
        put(name, [make(environment={"cpu": name}, finished=f"2026-01-0{day}T00:00:00+00:00")])
        for day, name in ((1, "a"), (3, "b"), (2, "c"))
    ]
    merge(folders, out)
    merge(folders[:2], tmp_path / "first")
    merge([folders[2], tmp_path / "first"], tmp_path / "second")
    for folder in (out, tmp_path / "second"):
        (row,) = rows_of(folder)
        assert row["environment"]["cpu"] == "b"
        assert {one["cpu"] for one in row["environment"]["also"]} == {"a", "c"}


def test_other_metrics_are_a_conflict_and_nothing_is_written(put: Put, out: Path) -> None:
    a = put("a", [make(0), make(1)])
    other = make(1, metrics={"mean_squared_error": 0.25, "skill": math.nan}, environment={"code": "fedcba9876543210"})
    with pytest.raises(UsageError) as refusal:
        merge([a, put("b", [other])], out)
    message = str(refusal.value)
    assert message.startswith("1 point differs")
    for part in (other["id"], "adding length=20", "seed 1", "mean_squared_error is 0.125 in", "0.25 in"):
        assert part in message
    assert "by code 0123456789abcdef and by code fedcba9876543210" in message
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": {"mean_squared_error": 0.125}}, "skill is nan in"),
        ({"metrics": {"mean_squared_error": 0.125 + 2**-55, "skill": math.nan}}, "mean_squared_error is 0.125 in"),
        ({"status": "diverged"}, "ok in"),
        ({"status": "skipped"}, "skipped in"),
        ({"id": make(0)["id"], "task": {"name": "adding", "length": 30}}, "two different points under one id"),
    ],
)
def test_what_is_a_conflict(put: Put, out: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        merge([put("a", [make(0)]), put("b", [make(0, **changes)])], out)


@pytest.mark.parametrize(
    "changes",
    [
        {"cost": {"seconds": 9.0}},
        {"curves": {"learning": [1.0]}},
        {"metrics": {"skill": math.nan, "mean_squared_error": 0.125}},
        {"solver": {**make()["solver"], "engine": "cpu"}, "id": make()["id"]},
        {"experiment": "another"},
    ],
)
def test_what_is_none(put: Put, out: Path, changes: dict[str, Any]) -> None:
    merge([put("a", [make(0)]), put("b", [make(0, **changes)])], out)
    assert len(rows_of(out)) == 1


@pytest.mark.parametrize("status", ["failed", "timeout", "memory"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_failed_run_gives_way_to_one_that_ended(put: Put, out: Path, status: str, order: int) -> None:
    failed = make(0, status=status, metrics={}, reason="boom", finished="2027-01-01T00:00:00+00:00")
    folders = [put("a", [make(0)]), put("b", [failed])][::order]
    said = merge(folders, out)
    assert rows_of(out)[0]["status"] == "ok"
    assert "1 failed run gave way" in said
    assert f"{status} in" in said


def test_of_failed_runs_the_last_stays(put: Put, out: Path) -> None:
    early = make(0, status="failed", metrics={}, reason="boom")
    late = make(0, status="timeout", metrics={}, reason="slow", finished="2026-03-01T00:00:00+00:00")
    merge([put("a", [late]), put("b", [early])], out)
    assert rows_of(out)[0]["reason"] == "slow"


def test_many_conflicts_are_counted_and_some_are_named(put: Put, out: Path) -> None:
    a = put("a", [make(seed) for seed in range(30)])
    b = put("b", [make(seed, metrics={}) for seed in range(30)])
    with pytest.raises(UsageError, match=r"(?s)30 points differ.*and 10 more$"):
        merge([a, b], out)


def test_torn_lines_are_told_and_left_out(put: Put, out: Path) -> None:
    a = put("a", [make(0)])
    with (a / FILE).open("ab") as file:
        file.write(encode(make(1)).encode()[:50] + b"\n\xff\n")
    said = merge([a], out)
    assert said.count("torn after") == 2
    assert len(rows_of(out)) == 1


def test_older_rows_of_a_folder_are_counted(put: Put, out: Path) -> None:
    a = put("a", [make(0, status="failed", metrics={}), make(0)])
    assert "1 older row" in merge([a], out)
    assert [row["status"] for row in rows_of(out)] == ["ok"]


def test_empty_missing_and_foreign_files(put: Put, out: Path, tmp_path: Path) -> None:
    a, empty = put("a", [make(0)]), put("empty", [])
    assert merge([a, empty], out).startswith("1 row of 2 folders")
    with pytest.raises(UsageError, match="nothing to merge"):
        merge([empty], tmp_path / "other")
    with pytest.raises(UsageError, match="not a folder of results"):
        merge([a, tmp_path / "nowhere"], tmp_path / "other")
    with pytest.raises(UsageError, match="schema 2, expected 1"):
        merge([a, put("later", [make(0, schema=2)])], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_folder_must_be_free(put: Put, tmp_path: Path) -> None:
    a = put("a", [make(0)])
    before = (a / FILE).read_bytes()
    with pytest.raises(UsageError, match="is not empty"):
        merge([a], a)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        merge([a], tmp_path / "file")
    (tmp_path / "there").mkdir()
    merge([a], tmp_path / "there")
    assert (a / FILE).read_bytes() == (tmp_path / "there" / FILE).read_bytes() == before


def test_code_files_are_put_together(put: Put, out: Path) -> None:
    a, b, c = (put(name, [make(seed)]) for seed, name in enumerate("abc"))
    one, two = ({"digest": digest, "modules": {"odernn.suite.run": digest}} for digest in ("aa", "bb"))
    (a / CODE).write_text(json.dumps(one) + "\n")
    (b / CODE).write_text(json.dumps(one) + "\n" + json.dumps(two) + "\n" + '{"digest": "c')
    (c / CODE).write_text(json.dumps({"digest": "aa", "modules": {}}) + "\n[]\n")
    said = merge([a, b, c], out)
    assert [json.loads(line) for line in (out / CODE).read_text().splitlines()] == [one, two]
    assert f"{b / CODE}, line 3: no digest" in said
    assert "other modules for digest aa" in said
    assert f"{c / CODE}, line 2: no digest" in said


def test_hostile_text_reaches_no_terminal_and_survives_in_the_file(put: Put, out: Path, tmp_path: Path) -> None:
    line = encode(make(0, reason="half", environment={"cpu": "\x1b[31m\u202e"})).replace('"half"', '"\\ud800"')
    for name in "ab":
        put(name, [])
        (tmp_path / name / FILE).write_text(line + "\n")
    merge([tmp_path / "a", tmp_path / "b"], out)
    assert rows_of(out) == rows_of(tmp_path / "a")
    bad = make(0, task={"name": "\x1b]0;title\x07", "length": 1}, status="\x1b[2J", reason="")
    put("c", [bad])
    put("d", [{**bad, "status": "ok"}])
    with pytest.raises(UsageError) as refusal:
        merge([tmp_path / "c", tmp_path / "d"], tmp_path / "e")
    assert "\x1b" not in str(refusal.value)


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_full_disk_leaves_nothing(put: Put, out: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    a = put("a", [make(0)])
    (a / CODE).write_text('{"digest":"aa","modules":{}}\n')

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merging.os, stage, full)
    with pytest.raises(OSError, match="No space"):
        merge([a], out)
    assert not out.exists()
    monkeypatch.undo()
    merge([a], out)
    assert len(rows_of(out)) == 1


def test_two_merges_at_once_do_not_mix(put: Put, out: Path) -> None:
    a = put("a", [make(0)])
    out.mkdir()
    real = merging._check_free
    merging._check_free = lambda folder: None  # both looked before either wrote
    try:
        (out / f"{FILE}.merging").write_text("")
        with pytest.raises(UsageError, match="another merge"):
            merge([a], out)
        (out / f"{FILE}.merging").unlink()
        merge([a], out)
        with pytest.raises(UsageError, match="not empty any more"):
            merge([put("b", [make(1)])], out)
    finally:
        merging._check_free = real
    assert [row["seed"] for row in rows_of(out)] == [0]


def test_it_is_light_and_its_exit_statuses_are_right(put: Put, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = put("a", [make(0)]), put("b", [make(0, metrics={})])
    assert main(["merge", str(a), str(b), "--out", str(out)]) == 2
    assert "1 point differs" in capsys.readouterr().err
    code = "import sys; from odernn.suite.cli import main\n"
    code += f"assert main(['merge', {str(a)!r}, '--out', {str(out)!r}]) == 0\n"
    code += "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 row of 1 folder")


NUMBERS = st.dictionaries(st.sampled_from("xyz"), st.floats() | st.integers() | st.text(max_size=2), max_size=2)


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 3), NUMBERS, st.sampled_from(["ok", "failed", "diverged"]), st.text(max_size=4)),
            max_size=4,
        ),
        min_size=1,
        max_size=3,
    )
)
@settings(deadline=None, max_examples=80)
def test_all_or_nothing(tmp_path_factory: pytest.TempPathFactory, folders: list[list[Any]]) -> None:
    """Merged rows are the folders' newest, one a point, whose results nothing contradicts; else there is no folder."""
    base = tmp_path_factory.mktemp("merge")
    paths, newest = [], list[dict[str, Row]]()
    for number, content in enumerate(folders):
        rows = [make(seed, metrics=m, status=s, finished=f) for seed, m, s, f in content]
        (base / str(number)).mkdir()
        (base / str(number) / FILE).write_text("".join(encode(row) + "\n" for row in rows))
        paths.append(base / str(number))
        newest.append({row["id"]: row for row in rows})
    ids = {key for rows in newest for key in rows}

    def shown(row: Row) -> str:
        values = {k: float(v) + 0.0 if isinstance(v, int | float) else v for k, v in row["metrics"].items()}
        return repr((row["status"], sorted(values.items(), key=str)))

    results = {
        key: {shown(row) for rows in newest if (row := rows.get(key)) and row["status"] != "failed"} for key in ids
    }
    try:
        merge(paths, base / "out")
    except UsageError:
        assert not ids or any(len(several) > 1 for several in results.values())
        assert not (base / "out").exists()
        return
    assert all(len(several) <= 1 for several in results.values())
    merged = rows_of(base / "out")
    assert {row["id"] for row in merged} == ids
    assert len(merged) == len(ids)
    for row in merged:
        assert (row["status"] == "failed") == (not results[row["id"]])
