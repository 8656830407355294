"""Compiled code: kept on disk, trusted only where it is ours and whole, the same from threads and processes."""

from __future__ import annotations

import ctypes
import itertools
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from llvmlite import ir

from odernn.solvers.engines import machine, vector
from odernn.suite.errors import UsageError


def _plus(constant: float) -> str:
    """out[0] = x[0] + constant."""
    lanes, module = vector.Lanes("float64", 1), ir.Module()
    made, b = vector.function(module, "plus", [lanes.pointer, lanes.pointer])
    lanes.store(b, b.fadd(lanes.load(b, made.args[0]), lanes.constant(constant)), made.args[1])
    b.ret_void()
    return str(module)


class Maker:
    """Counts how often the text is asked for."""

    def __init__(self, constant: float) -> None:
        self.constant, self.calls = constant, 0

    def __call__(self) -> str:
        self.calls += 1
        return _plus(self.constant)


def _value(library: machine.Library) -> float:
    x, out = np.array([1.0]), np.empty(1)
    library.function("plus", [ctypes.c_void_p, ctypes.c_void_p])(x.ctypes.data, out.ctypes.data)
    return float(out[0])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and nothing in memory."""
    monkeypatch.setenv("ODERNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "_loaded", {})
    return tmp_path / "cache"


def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_loaded", {})


def test_a_miss_compiles_and_a_hit_does_not(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Maker(2.0)
    assert _value(machine.load(("plus", 2.0), make)) == 3.0
    assert machine.load(("plus", 2.0), make) is machine.load(("plus", 2.0), make)
    assert make.calls == 1
    _forget(monkeypatch)
    assert _value(machine.load(("plus", 2.0), make)) == 3.0  # from disk
    assert make.calls == 1
    assert _value(machine.load(("plus", 5.0), Maker(5.0))) == 6.0
    assert len(list(folder.iterdir())) == 2


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_cache_is_the_user_s_alone(folder: Path) -> None:
    machine.load(("plus", 2.0), Maker(2.0))
    (kept,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def _torn(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    return content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]


@pytest.mark.parametrize("damage", [_torn, _flipped, lambda content: b"", lambda content: b"\0" + content])
def test_a_damaged_file_is_compiled_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    machine.load(("plus", 2.0), Maker(2.0))
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    _forget(monkeypatch)
    make = Maker(2.0)
    assert _value(machine.load(("plus", 2.0), make)) == 3.0
    assert make.calls == 1
    assert kept.read_bytes()[:16] == whole[:16]
    assert len(kept.read_bytes()) == len(whole)


def test_the_code_of_another_key_is_not_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.load(("plus", 2.0), Maker(2.0))
    (two,) = folder.iterdir()
    machine.load(("plus", 5.0), Maker(5.0))
    (five,) = set(folder.iterdir()) - {two}
    os.replace(five, two)
    _forget(monkeypatch)
    assert _value(machine.load(("plus", 2.0), Maker(2.0))) == 3.0


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_code_that_others_may_write_is_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.load(("plus", 2.0), Maker(2.0))
    (kept,) = folder.iterdir()
    kept.chmod(0o666)
    _forget(monkeypatch)
    make = Maker(2.0)
    assert _value(machine.load(("plus", 2.0), make)) == 3.0
    assert make.calls == 1
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)  # the file is somebody else's
    _forget(monkeypatch)
    machine.load(("plus", 2.0), make)
    assert make.calls == 2


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ODERNN_CACHE", str(tmp_path / "file" / "cache"))
    _forget(monkeypatch)
    make = Maker(2.0)
    assert _value(machine.load(("plus", 2.0), make)) == 3.0
    assert _value(machine.load(("plus", 2.0), make)) == 3.0
    assert make.calls == 1


@pytest.mark.skipif(os.name != "posix", reason="pipes and links of POSIX")
def test_what_is_no_file_is_neither_waited_for_nor_followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.load(("plus", 2.0), Maker(2.0))
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    kept.unlink()
    os.mkfifo(kept, 0o600)  # nobody writes to it: reading would wait for ever
    make = Maker(2.0)
    _forget(monkeypatch)
    assert _value(machine.load(("plus", 2.0), make)) == 3.0
    elsewhere = folder.parent / "elsewhere"
    elsewhere.write_bytes(whole)
    kept.unlink()
    kept.symlink_to(elsewhere)
    _forget(monkeypatch)
    assert _value(machine.load(("plus", 2.0), make)) == 3.0
    assert make.calls == 2
    assert not kept.is_symlink()
    assert elsewhere.read_bytes() == whole


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    def replace(source: str, target: str) -> None:
        raise fault

    monkeypatch.setattr(os, "replace", replace)
    if isinstance(fault, OSError):
        assert _value(machine.load(("plus", 2.0), Maker(2.0))) == 3.0
    else:
        with pytest.raises(KeyboardInterrupt):
            machine.load(("plus", 2.0), Maker(2.0))
    assert list(folder.iterdir()) == []


def test_the_oldest_files_go_and_nothing_that_is_not_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    old = [folder / f"{k:040x}.o" for k in range(4)]
    for age, path in enumerate(old):
        path.write_bytes(bytes(1000))
        os.utime(path, (1000.0 * (age + 1), 1000.0 * (age + 1)))
    others = [folder / name for name in ("notes.txt", "mine.o", "0.o", ".hidden.o")]
    for path in others:
        path.write_bytes(bytes(5000))
        os.utime(path, (1.0, 1.0))
    torn, new = folder / ".abcd_123.o", folder / ".abcd_124.o"  # of a killed process, of one that writes right now
    torn.write_bytes(b"")
    os.utime(torn, (1.0, 1.0))
    new.write_bytes(b"")
    monkeypatch.setattr(machine, "_written", itertools.count())
    sizes = len(machine._compiled(_plus(2.0))) + len(machine.MAGIC) + 32
    monkeypatch.setattr(machine, "MOST_BYTES", sizes + 2000)
    machine.load(("plus", 2.0), Maker(2.0))
    (written,) = {*folder.iterdir()} - {*old, *others, new}
    assert [path.exists() for path in old] == [False, False, True, True]
    assert all(path.exists() for path in (*others, new, written))
    assert not torn.exists()


def test_files_that_cannot_be_removed_are_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlink(path: str) -> None:
        raise PermissionError(13, "in use", path)

    monkeypatch.setattr(machine, "_written", itertools.count())
    monkeypatch.setattr(machine, "MOST_BYTES", 0)
    monkeypatch.setattr(os, "unlink", unlink)
    assert _value(machine.load(("plus", 2.0), Maker(2.0))) == 3.0
    assert len(list(folder.iterdir())) == 1


def test_threads_compile_a_key_once(folder: Path) -> None:
    make = Maker(4.0)
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: _value(machine.load(("plus", 4.0), make)), range(32)))
    assert values == [5.0] * 32
    assert make.calls == 1


def test_two_processes_at_once(folder: Path) -> None:
    program = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('cases', sys.argv[1])\n"
        "cases = importlib.util.module_from_spec(spec); spec.loader.exec_module(cases)\n"
        "print([cases._value(cases.machine.load(('plus', c), cases.Maker(c))) for c in (1.0, 2.0, 3.0)])\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, __file__], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in running] == ["[2.0, 3.0, 4.0]"] * 2
    assert sorted(path.suffix for path in folder.iterdir()) == [".o"] * 3
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_names_that_do_not_exist(folder: Path) -> None:
    with pytest.raises(UsageError, match="no function 'minus'"):
        machine.load(("plus", 2.0), Maker(2.0)).function("minus", [])
    with pytest.raises(UsageError, match="float16"):
        machine.width("float16")


def test_the_cache_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ODERNN_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert machine.cache_folder() == Path("/somewhere/odernn")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert machine.cache_folder() == Path.home() / "Library" / "Caches" / "odernn"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert machine.cache_folder() == Path.home() / ".cache" / "odernn"
    monkeypatch.setenv("ODERNN_CACHE", "/elsewhere")
    assert machine.cache_folder() == Path("/elsewhere")
    monkeypatch.setenv("ODERNN_CACHE", "~/elsewhere")
    assert machine.cache_folder() == Path.home() / "elsewhere"


def test_lanes_fill_a_register() -> None:
    assert machine.width("float32") == 2 * machine.width("float64")
    assert machine.width("float32") in (4, 8, 16)


FAR = """
import ctypes, math, mmap
from llvmlite import ir
from odernn.solvers.engines import machine, vector

lanes, module = vector.Lanes("float64", 4), ir.Module()
made, b = vector.function(module, "far", [lanes.pointer, lanes.pointer])
x = lanes.load(b, made.args[0])
total = lanes.call(b, "pow", b.fmul(x, x), x)
for i in range(40):
    total = b.fadd(total, lanes.lane_by_lane(b, "atan", b.fadd(x, lanes.constant(float(i)))))
lanes.store(b, total, made.args[1])
b.ret_void()
code = machine._compiled(str(module))

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 5]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
page, nothing, private = mmap.PAGESIZE, 0, 0x4022


def taken(size):
    return libc.mmap(None, size, nothing, private, 2**64 - 1, 0)


assert len(code) > page
wall = taken(6 * 2**30)
while taken(2 * page) > wall:  # whatever has two pages is below the wall from now on
    pass
for i in range(8):  # and what has one may be 5 GiB above
    libc.munmap(wall + 5 * 2**30 + 4 * i * page, page)
function = machine.Library("far", machine._linked(code)).function("far", [ctypes.c_void_p] * 2)
xs, out = (ctypes.c_double * 4)(0.1, 0.2, 0.3, 0.4), (ctypes.c_double * 4)()
function(ctypes.addressof(xs), ctypes.addressof(out))
for v, found in zip(xs, out):
    assert math.isclose(found, (v * v) ** v + sum(math.atan(v + i) for i in range(40)), rel_tol=1e-14)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it lays out memory with Linux's flags")
def test_code_its_constants_and_outside_functions_are_within_reach_wherever_there_is_room() -> None:
    """LLVM aborts the process otherwise, as it did beside JAX, whose mappings leave small holes far away."""
    done = subprocess.run([sys.executable, "-c", FAR], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
