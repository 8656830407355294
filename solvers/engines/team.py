"""Jobs shared by the threads that torch has already: its OpenMP team.

Threads of our own would compete with that team, whose workers go on spinning for milliseconds after every operation of
torch. Where torch's OpenMP library offers no entry that can be called (`GOMP_parallel`, which those of GCC, Intel and,
on Linux, LLVM have), Python threads do it.
"""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llvmlite import ir

from . import machine
from .vector import I64, function, loop

FIELDS = ("threads", "next", "jobs", "bounds", "function", "blocks", "size", "scratch", "apart", "place")
"""What `share` reads: tickets drawn by threads; the next job; how many there are; addresses of the first tiles of all
jobs, and of the tiles' function; address and bytes of the tiles' blocks; address of the scratch memory, and bytes from
one thread's to the next; where in a block that address belongs."""


def text() -> str:
    """LLVM IR of `share`: until none is left, take a job and carry out its tiles."""
    module = ir.Module(name="share")
    made, b = function(module, "share", [I64.as_pointer()])
    get = {name: b.gep(made.args[0], [ir.Constant(I64, k)]) for k, name in enumerate(FIELDS)}
    one = ir.Constant(I64, 1)
    ticket = b.atomic_rmw("add", get["threads"], one, "monotonic")
    scratch = b.add(b.load(get["scratch"]), b.mul(ticket, b.load(get["apart"])))
    called = b.inttoptr(b.load(get["function"]), ir.FunctionType(ir.VoidType(), [I64]).as_pointer())
    bounds = b.inttoptr(b.load(get["bounds"]), I64.as_pointer())
    head, body, end = (b.append_basic_block(name) for name in ("head", "body", "end"))
    b.branch(head)
    b.position_at_end(head)
    job = b.atomic_rmw("add", get["next"], one, "monotonic")
    b.cbranch(b.icmp_signed("<", job, b.load(get["jobs"])), body, end)
    b.position_at_end(body)
    first, last = b.load(b.gep(bounds, [job])), b.load(b.gep(bounds, [b.add(job, one)]))
    with loop(b, b.sub(last, first), name="tile") as tile:
        block = b.add(b.load(get["blocks"]), b.mul(b.add(first, tile), b.load(get["size"])))
        b.store(scratch, b.inttoptr(b.add(block, b.load(get["place"])), I64.as_pointer()))
        b.call(called, [block])
    b.branch(head)
    b.position_at_end(end)
    b.ret_void()
    return str(module)


def share(address: int, blocks: Any, bounds: Any, scratch: torch.Tensor, place: int, threads: int) -> None:
    """Carry out job after job: `address` is called with every block (a row of int64) from bounds[job] to
    bounds[job + 1], after the thread's part of `scratch` (a row) is put at index `place` of the block."""
    apart = scratch.stride(0) * scratch.element_size()
    given = (0, 0, len(bounds) - 1, bounds.ctypes.data, address, blocks.ctypes.data, blocks.strides[0])
    fields = np.array([*given, scratch.data_ptr(), apart, 8 * place], np.int64)
    library = _library()
    if threads == 1:
        library.call(fields.ctypes.data)
    elif (parallel := _parallel()) is not None:
        parallel(library.address, fields.ctypes.data, threads, 0)
    else:
        helpers = [_executor(os.getpid()).submit(library.call, fields.ctypes.data) for _ in range(threads - 1)]
        try:
            library.call(fields.ctypes.data)
        finally:  # the memory stays until nobody writes to it
            for helper in helpers:
                if not helper.cancel():
                    helper.result()


class _Library:
    def __init__(self) -> None:
        made = machine.load(("share",), text)
        self.call: Any = made.function("share", [ctypes.c_void_p])
        self.address: int = made.engine.get_function_address("share")


@lru_cache(maxsize=1)
def _library() -> _Library:
    return _Library()


@lru_cache(maxsize=1)
def _parallel() -> Any:
    """GOMP_parallel(function, argument, threads, flags) of the OpenMP library that torch runs on; None without one."""
    folder = Path(torch.__file__).parent / "lib"
    for path in sorted(folder.glob("lib*omp*.so*")):
        try:
            found = ctypes.CDLL(str(path)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        found.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        found.restype = None
        return found
    return None


@lru_cache(maxsize=4)
def _executor(process: int) -> ThreadPoolExecutor:
    """The threads of a process; after a fork, others."""
    return ThreadPoolExecutor(max_workers=max(1, 2 * (os.cpu_count() or 1)), thread_name_prefix="odernn")
