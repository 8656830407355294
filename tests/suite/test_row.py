"""Rows survive the disk: special numbers, torn lines, other schemas, other writers."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odernn.suite.errors import UsageError
from odernn.suite.row import FILE, KEYS, decode, describe, encode, existing, identity, plain, read, rows_file, writer

POINT: dict[str, Any] = {
    "task": {"name": "adding", "length": 20},
    "solver": {"cell": "leaky", "tableau": "rk4", "backend": "native", "step": 0.5},
    "budget": {"updates": 3},
    "seed": 1,
    "device": "cpu",
    "dtype": "float32",
}


def make(number: int = 0, **changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(KEYS, "") | {"schema": 1, "id": f"{number:016x}", "metrics": {}, "curves": {}, "cost": {}}
    return row | {"properties": {}, "environment": {}} | POINT | {"seed": number} | changes


def same(a: Any, b: Any) -> bool:
    """Equality that takes a NaN for a NaN and tells 1 from 1.0 and from True."""
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and bool(a == b)


WORDS = st.text().filter(lambda text: text not in ("NaN", "Infinity", "-Infinity"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(metrics=st.dictionaries(st.text(), st.floats()), curves=st.dictionaries(st.text(), VALUES), reason=st.text())
def test_a_row_comes_back_as_it_was(metrics: dict[str, float], curves: dict[str, Any], reason: str) -> None:
    row = make(metrics=metrics, curves=curves, reason=reason)
    line = encode(row)
    assert "\n" not in line
    assert same(decode(line), row)


def test_special_numbers_are_strings_in_strict_json() -> None:
    line = encode(make(metrics={"a": math.nan, "b": math.inf, "c": -math.inf}))

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(line, parse_constant=refuse)["metrics"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}


def test_numpy_becomes_plain_and_objects_are_refused() -> None:
    assert same(plain({"a": np.float64(1.5), "b": np.arange(2), "c": (1, np.bool_(True))}), {
        "a": 1.5, "b": [0, 1], "c": [1, True],
    })  # fmt: skip
    with pytest.raises(TypeError, match="object is not a JSON value"):
        plain([object()])


def test_identity_is_the_stated_hash() -> None:
    text = json.dumps({"schema": 1, "point": POINT}, sort_keys=True, separators=(",", ":"))
    assert identity(POINT) == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_identity_ignores_order_and_spelling_but_no_value() -> None:
    assert identity(dict(reversed(POINT.items()))) == identity(POINT)
    whole, real = ({**POINT, "solver": {**POINT["solver"], "step": h}} for h in (1, 1.0))
    assert identity(whole) == identity(real)
    for key, other in (("seed", 2), ("device", "cuda"), ("dtype", "float64"), ("budget", {"updates": 4})):
        assert identity({**POINT, key: other}) != identity(POINT)


def test_describe_is_one_short_line() -> None:
    assert describe(POINT) == "adding length=20 | leaky rk4 native step=0.5 | seed 1"
    assert describe({**POINT, "dtype": "float64"}).endswith("step=0.5 float64 | seed 1")


def test_rows_are_appended_and_the_newest_wins(tmp_path: Path) -> None:
    for status in ("failed", "ok"):
        with writer(tmp_path / "new") as file:
            file.append(make(3, status=status))
    found = existing(tmp_path / "new")
    assert [row["status"] for row in found.rows] == ["failed", "ok"]
    assert {key: row["status"] for key, row in found.newest().items()} == {f"{3:016x}": "ok"}
    assert (tmp_path / "new" / FILE).read_bytes().endswith(b"\n")


@pytest.mark.parametrize("cut", [1, 20, -2])
def test_a_torn_last_line_costs_no_good_row(tmp_path: Path, cut: int) -> None:
    whole = encode(make(0)).encode() + b"\n"
    torn = encode(make(1, reason="ä" * 9)).encode()[:cut]
    path = tmp_path / FILE
    path.write_bytes(whole + torn)
    found = read(path)
    assert [row["seed"] for row in found.rows] == [0]
    assert found.torn == [f"{path}, line 2: torn after {len(torn)} bytes, set aside."]
    with writer(tmp_path) as file:
        file.append(make(2))
    assert path.read_bytes() == whole + torn + b"\n" + encode(make(2)).encode() + b"\n"
    assert [row["seed"] for row in read(path).rows] == [0, 2]


def test_a_line_torn_within_a_character_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes('{"reason":"ä'.encode()[:-1])
    assert len(read(tmp_path / FILE).torn) == 1


def test_a_whole_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(encode(make(0)))
    with writer(tmp_path) as file:
        file.append(make(1))
    found = read(tmp_path / FILE)
    assert [row["seed"] for row in found.rows] == [0, 1]
    assert found.torn == []


def test_another_schema_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(encode(make(0)) + "\n" + encode(make(1, schema=2)) + "\n")
    with pytest.raises(UsageError, match="line 2: schema 2, expected 1"):
        read(tmp_path / FILE)


def test_a_line_that_is_no_row_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"schema": 1}\n')
    with pytest.raises(UsageError, match="line 1: not a row, 'id' is missing"):
        read(tmp_path / FILE)
    (tmp_path / FILE).write_text(encode({**make(0), "cost": 5}) + "\n")
    with pytest.raises(UsageError, match="line 1: not a row, 'cost' is no dict"):
        read(tmp_path / FILE)


def test_only_a_folder_of_results_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not a folder of results"):
        existing(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        existing(tmp_path / "thesis.tex")
    with pytest.raises(UsageError, match="not a folder of results"):
        rows_file(tmp_path)
    assert existing(tmp_path / "absent").rows == []
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_runs_cannot_write_to_one_folder(tmp_path: Path) -> None:
    with writer(tmp_path), pytest.raises(UsageError, match="another run is writing"), writer(tmp_path):
        pass


def test_rows_of_a_killed_writer_are_all_there(tmp_path: Path) -> None:
    script = (
        "import os, sys, pathlib, json\n"
        "from odernn.suite.row import writer\n"
        "rows = json.loads(sys.argv[2])\n"
        "with writer(pathlib.Path(sys.argv[1])) as file:\n"
        "    for row in rows: file.append(row)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    rows = [make(number) for number in range(5)]
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path), json.dumps(rows)], check=False)
    assert done.returncode == -9
    assert [row["seed"] for row in read(tmp_path / FILE).rows] == list(range(5))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_was_written_in_part_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    whole = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 100:
            raise error
        return whole(descriptor, bytes(data)[: len(data) // 2])

    with writer(tmp_path) as file:
        file.append(make(0))
        monkeypatch.setattr(os, "write", half)
        with pytest.raises((UsageError, KeyboardInterrupt)) as raised:
            file.append(make(1))
        assert "No space left on device" in str(raised.value) or isinstance(error, KeyboardInterrupt)
        assert (tmp_path / FILE).read_bytes() == encode(make(0)).encode() + b"\n"
        monkeypatch.setattr(os, "write", whole)
        file.append(make(2))
    assert [row["seed"] for row in read(tmp_path / FILE).rows] == [0, 2]
    assert read(tmp_path / FILE).torn == []


def test_a_whole_row_outlasts_an_interrupt_of_its_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    with writer(tmp_path) as file:
        monkeypatch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            file.append(make(1))
    assert [row["seed"] for row in read(tmp_path / FILE).rows] == [1]


def test_a_short_write_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, bytes(data)[:7]))
    with writer(tmp_path) as file:
        file.append(make(1))
    assert [row["seed"] for row in read(tmp_path / FILE).rows] == [1]


def test_a_file_that_was_replaced_takes_no_row(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with writer(folder) as file:
        file.append(make(0))
        (folder / FILE).rename(tmp_path / "moved")
        with pytest.raises(UsageError, match="cannot be written to: No such file or directory"):
            file.append(make(1))
        shutil.copy(tmp_path / "moved", folder / FILE)
        with pytest.raises(UsageError, match="was replaced by another file"):
            file.append(make(1))
    assert len(read(folder / FILE).rows) == len(read(tmp_path / "moved").rows) == 1


@pytest.mark.parametrize("line", ["[" * 99999, "\0" * 50, "1" * 5000, '"' + "\\ud800" * 3])
def test_what_no_run_wrote_is_set_aside(tmp_path: Path, line: str) -> None:
    (tmp_path / FILE).write_text(encode(make(0)) + "\n" + line + "\n" + encode(make(1)) + "\n")
    found = read(tmp_path / FILE)
    assert ([row["seed"] for row in found.rows], len(found.torn)) == ([0, 1], 1)
