"""Machine code from LLVM's intermediate representation: compiled once, kept on disk, called through ctypes.

An object file is kept under a digest of everything that it depends on: the caller's key, the sources of this folder,
the versions of llvmlite and LLVM, the processor and its features. Machine code is loaded only from a file that belongs
to the user, that nobody else may write, and whose checksum is right; anything else is compiled anew. The folder holds
256 MiB at most. A little over the usual length, for what may be wrong with a file.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import itertools
import os
import platform
import re
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast, final

import llvmlite
import llvmlite.binding as llvm

from ...suite.errors import UsageError

LIBM = tuple(
    name + suffix
    for name in ("tan", "sinh", "cosh", "asin", "acos", "atan", "atan2", "asinh", "acosh", "atanh", "pow", "fmod")
    for suffix in ("", "f")
)
"""The functions of the C library that printed code may call; intrinsics such as llvm.pow end there too."""
OUTSIDE = """
!llvm.module.flags = !{!2147483647}
!2147483647 = !{i32 7, !"RtLibUseGOT", i32 1}
"""
"""Functions that the compiler itself calls are found through the table, like those that `Lanes.lane_by_lane` declares:
its room is in the block of an object's memory. Others get stubs, and their table lies elsewhere."""
MAGIC = b"odernn object 2\n"
MOST_BYTES = 256 * 2**20
"""What the cache folder may hold; above it, the oldest files go."""
LOOK_EVERY = 32
"""How many files a process writes before it looks again whether there are too many; it looks after the first."""
UNFINISHED_SECONDS = 3600.0

_OURS = re.compile(r"[0-9a-f]{40}\.o|\.[a-z0-9_]{8}\.o")  # an object, or one that is being written
_written = itertools.count()

_lock = threading.RLock()
_loaded: dict[str, Library] = {}


@final
@dataclass(frozen=True, eq=False)
class Library:
    """Compiled functions of one key."""

    name: str
    engine: Any

    def function(self, name: str, arguments: Sequence[Any]) -> Callable[..., None]:
        """The function as a ctypes function that returns nothing and runs without the interpreter's lock.

        arguments: ctypes types. Raises `UsageError` for a name that the library lacks.
        """
        address = self.engine.get_function_address(name)
        if not address:
            raise UsageError(f"compiled library {self.name} has no function {name!r}.")
        made: Any = ctypes.CFUNCTYPE(None, *arguments)(address)
        made.library = self  # the code lives as long as the function
        return cast(Callable[..., None], made)


def load(key: tuple[object, ...], make: Callable[[], str]) -> Library:
    """The library of a key, from memory, from the cache folder, or compiled from the text that `make` gives.

    key: what the text depends on beside the sources of this folder; its repr must be the same in every process.
    make: LLVM IR; called only on a miss. Threads and processes may ask for the same key at once.
    """
    digest = hashlib.sha256(repr((key, _surroundings())).encode()).hexdigest()
    with _lock:
        if digest not in _loaded:
            path = cache_folder() / f"{digest[:40]}.o"
            code = _read(path, digest)
            if code is None:
                code = _compiled(make())
                _write(path, digest, code)
            _loaded[digest] = Library(digest[:40], _linked(code))
        return _loaded[digest]


def cache_folder() -> Path:
    """Where compiled code is kept: $ODERNN_CACHE, else "odernn" in the platform's folder for caches."""
    chosen = os.environ.get("ODERNN_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join("~", "AppData", "Local")
    elif sys.platform == "darwin":
        base = os.path.join("~", "Library", "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or ""
        if not os.path.isabs(base):  # the specification of these folders has such a value ignored
            base = os.path.join("~", ".cache")
    return Path(os.path.expanduser(base)) / "odernn"


@lru_cache(maxsize=8)
def width(dtype: str) -> int:
    """SIMD lanes of "float32" or "float64" on this machine. Raises `UsageError` for another dtype."""
    size = {"float32": 4, "float64": 8}.get(dtype)
    if size is None:
        raise UsageError(f"compiled code has no dtype {dtype!r}: expected 'float32' or 'float64'.")
    features = _processor()[1].split(",")
    wide = 64 if "+avx512f" in features else 32 if "+avx" in features else 16
    return wide // size


@lru_cache(maxsize=1)
def _processor() -> tuple[str, str]:
    """Name and features of this processor, as LLVM writes them; no features where it cannot tell."""
    name = llvm.get_host_cpu_name() or ""
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:
        features = ""
    if "+avx512f" in features.split(","):
        features += ",-prefer-256-bit"  # the lanes are chosen here
    return name, features


@lru_cache(maxsize=1)
def _surroundings() -> tuple[object, ...]:
    """What every compiled library depends on beside its key."""
    here = Path(__file__).parent
    sources = hashlib.sha256()
    for path in [*sorted(here.glob("*.py")), here.parent / "functions.py"]:
        sources.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    versions = (llvmlite.__version__, llvm.llvm_version_info, llvm.get_process_triple(), platform.python_version())
    return (sources.hexdigest(), versions, _processor())


@lru_cache(maxsize=1)
def _prepare() -> None:
    """Start LLVM, and make the C library's functions known to its linker."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    for place in ("ucrtbase",) if sys.platform == "win32" else ("libm.so.6", None):
        try:
            libm = ctypes.CDLL(place)
            for name in LIBM:
                llvm.add_symbol(name, ctypes.cast(libm[name], ctypes.c_void_p).value)
        except (OSError, AttributeError):
            continue  # where none has it, the linker looks among the symbols of the process
        return


def _target() -> Any:
    """A target machine; an engine keeps the one that it is made with, so that each needs its own."""
    _prepare()
    name, features = _processor()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(cpu=name, features=features, opt=3, reloc="pic", codemodel="small")


def _compiled(text: str) -> bytes:
    """The text as an optimised object file."""
    target = _target()
    module = llvm.parse_assembly(text + OUTSIDE)
    module.triple = target.triple
    module.data_layout = str(target.target_data)
    module.verify()
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    code: bytes = target.emit_object(module)
    return code


def _linked(code: bytes) -> Any:
    """The engine that holds the object file's functions, ready to be called."""
    # LLVM's own manager of memory places code, constants and the table of outside functions apart; in a process full of
    # other mappings (JAX's, say) that is beyond the reach of 32 bits, and LLVM aborts. llvmlite's has one block for all
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target(), use_lmm=True)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def _read(path: Path, digest: str) -> bytes | None:
    """The object file at a path, or None where there is none that may be trusted."""
    try:
        with open(path, "rb", opener=_unhurried) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return None
            if os.name == "posix" and (status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
                return None
            content = file.read()
    except OSError:
        return None
    code = content[len(MAGIC) + 32 :]
    return code if content[: len(MAGIC) + 32] == MAGIC + _checksum(digest, code) else None


def _unhurried(path: str, flags: int) -> int:
    """Opens a file without following a last link, and without waiting for the other end of a pipe."""
    if sys.platform != "win32":
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK
    return os.open(path, flags)


def _write(path: Path, digest: str, code: bytes) -> None:
    """Keep an object file; the whole of it or nothing. A folder that cannot be written is no error."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".o")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(MAGIC + _checksum(digest, code) + code)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError:
        return
    if next(_written) % LOOK_EVERY == 0:
        _make_room(path.parent)


def _make_room(folder: Path) -> None:
    """Remove the files that were written first, until the rest take `MOST_BYTES` or less, and what a process that was
    killed left unfinished. Files that are not ours stay, and what cannot be removed is no error."""
    kept: list[tuple[float, int, str]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    if not entry.name.startswith("."):
                        kept.append((status.st_mtime, status.st_size, entry.path))
                    elif status.st_mtime < time.time() - UNFINISHED_SECONDS:
                        os.unlink(entry.path)
    except OSError:
        return
    total = sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept):
        if total <= MOST_BYTES:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size


def _checksum(digest: str, code: bytes) -> bytes:
    return hashlib.sha256(digest.encode() + code).digest()
