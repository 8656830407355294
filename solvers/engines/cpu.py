"""A step program over a whole sequence on the CPU: tiles of the batch in threads, each one call of machine code.

The numbers do not depend on the number of threads: a tile's rows follow from the batch and the hidden size, and sums
over tiles are taken in a fixed order.

Longer than most files: the two directions share the block of addresses that the machine code reads.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import sympy
import torch
from torch import Tensor

from ...suite.errors import UsageError
from . import machine, product, sequence
from .kernel import Gradients, Projection, Reads
from .plan import Direction, Needs
from .product import packed, padded
from .program import Assign, Step
from .team import share
from .vector import Lanes

SUMS_BYTES = 256 * 2**20
"""What the tiles' own cotangents of the matrices may take together; above it, tiles share them one after another."""
FIELD = {name: index for index, name in enumerate(sequence.FIELDS)}
NUMBERS = FIELD["scratch"]
POOL_BYTES = 1 << 30
"""What buffers that wait for the next call may take together."""


class Saved:
    """What a forward pass keeps for its backward pass. Its memory serves again once nobody holds it."""

    def __init__(self, numbers: int, dtype: torch.dtype) -> None:
        self.buffer = _pool.take(numbers, dtype)
        weakref.finalize(self, _pool.give, self.buffer).atexit = False


class _Pool:
    """Buffers between calls: fresh memory costs the system a fault a page."""

    def __init__(self) -> None:
        self.free: list[Tensor] = []
        self.lock = threading.RLock()

    def take(self, numbers: int, dtype: torch.dtype) -> Tensor:
        """A buffer of so many numbers, or somewhat more, with anything in it."""
        with self.lock:
            for index in range(len(self.free) - 1, -1, -1):
                found = self.free[index]
                if found.dtype == dtype and numbers <= found.numel() <= 2 * numbers:
                    return self.free.pop(index)
        return torch.empty(numbers, dtype=dtype)

    def give(self, buffer: Tensor) -> None:
        """Take a buffer back; the oldest go where there are too many."""
        with self.lock:
            self.free.append(buffer)
            while sum(b.nbytes for b in self.free) > POOL_BYTES:
                self.free.pop(0)


_pool = _Pool()


@dataclass(frozen=True)
class _Function:
    """A compiled direction of a step."""

    library: machine.Library
    address: int
    needs: Needs
    products: tuple[int, int]


class CompiledSequence:
    """A step in machine code: a `Kernel` on CPU tensors of one dtype, "float32" or "float64".

    Drives that are products of the inputs are quicker. Raises `UsageError` for another dtype, for a step that changes
    how many blocks there are, and where shapes do not fit.
    """

    def __init__(self, step: Step, dtype: str) -> None:
        if len(step.state) != len(step.result):
            raise UsageError(
                f"a step has {len(step.state)} blocks before and {len(step.result)} after: expected as many."
            )
        self.step, self.dtype = step, dtype
        self.width = machine.width(dtype)
        self.torch_dtype = torch.float32 if dtype == "float32" else torch.float64

        self._functions: dict[tuple[str, bool, bool], _Function] = {}

    def function(self, direction: Direction, keep: bool, projected: bool) -> _Function:
        """Compiled or loaded when it is first needed."""
        key = (direction, keep, projected)
        if key not in self._functions:
            self._functions[key] = _compiled(self.step, self.dtype, *key)
        return self._functions[key]

    def saved(self, projected: bool) -> int:
        """How many arrays (batch, n) a step keeps for the backward pass where it keeps any."""
        return self.function("forward", True, projected).needs.saved

    def forward(self, start: Tensor, reads: Reads, keep: bool) -> tuple[Tensor, Saved | None]:
        """The states, and with keep what `backward` then need not compute again.

        Raises `UsageError` where shapes do not fit.
        """
        run = _Run(self, "forward", keep, start, reads)
        batch, m, n = start.shape
        states = torch.empty(len(reads.sizes) + 1, batch, m, run.wide, dtype=self.torch_dtype)
        if run.wide > n:
            states[0, ..., n:] = 0.0
        states[0, ..., :n].copy_(start)
        run.address("states", states)
        saved = None
        if keep:
            saved = Saved(len(reads.sizes) * run.function.needs.saved * batch * run.wide, self.torch_dtype)
            run.address("saved", saved.buffer)
        run.tiles(None)
        return states[..., :n], saved

    def backward(self, states: Tensor, saved: Saved | None, reads: Reads, cotangents: Tensor) -> Gradients:
        """The discrete adjoint, from the states that `forward` gave and what it kept (None: computed again)."""
        seen = cotangents.shape[2]
        run = _Run(self, "backward", saved is not None, states[0], reads, seen)
        n, wide, kind = run.n, run.wide, self.torch_dtype
        if tuple(cotangents.shape) != (len(reads.sizes), run.batch, seen, n) or seen > states.shape[2]:
            raise UsageError(
                f"cotangents of a compiled sequence have shape {tuple(cotangents.shape)}: expected "
                f"{(len(reads.sizes), run.batch, states.shape[2], n)}, or fewer blocks."
            )
        start = torch.zeros(*states.shape[1:3], wide, dtype=kind)  # written over, unless there is no step
        row_scalar_cotangents = torch.zeros(reads.row_scalars.shape, dtype=kind)
        run.address("states", run.widened(states))
        run.address("cotangents", run.widened(cotangents))
        run.address("start", start)
        run.address("row_scalar_cotangents", row_scalar_cotangents)
        run.address("zeros", torch.zeros(wide, dtype=kind))
        if isinstance(reads.drives, Projection):
            count, channels, drive_cotangents = len(self.step.drives), reads.drives.inputs.shape[2], None
        else:
            count, channels = 0, 0
            drive_cotangents = torch.empty(*reads.drives.shape[:-1], wide, dtype=kind)
            run.address("drive_cotangents", drive_cotangents)
        if saved is not None:
            run.address("saved", saved.buffer)
        size = (sum(self.step.widths) * n + len(reads.vectors) + channels * count) * wide
        jobs = max(1, min(run.count, SUMS_BYTES // max(1, size * start.element_size())))
        sums = torch.zeros(jobs, size, dtype=kind)
        run.tiles(sums)
        total, found, at = _total(sums), [], 0
        for width in self.step.widths:
            block = total[at : at + n * width * wide].view(n, width, wide)[..., :n]
            found.append(block.reshape(n, width * n))
            at += n * width * wide
        gained = [total[at + k * wide : at + k * wide + n] for k in range(len(reads.vectors))]
        if drive_cotangents is None:
            whole = total[at + len(reads.vectors) * wide :].view(channels, count, wide)[..., :n]
            driven = whole.reshape(channels, count * n).t()
        else:
            driven = drive_cotangents[..., :n].contiguous()
        return Gradients(start[..., :n].contiguous(), driven, row_scalar_cotangents, found, gained)


class _Run:
    """One call of a direction: its block of integers for every tile, and what keeps the addresses in it alive."""

    def __init__(
        self, kernel: CompiledSequence, direction: Direction, keep: bool, start: Tensor, reads: Reads, seen: int = 0
    ) -> None:
        step, drives = kernel.step, reads.drives
        _check(step, kernel.torch_dtype, start, reads)
        self.batch, _, self.n = start.shape
        self.kind, self.wide = kernel.torch_dtype, padded(self.n, kernel.width)
        projected = isinstance(drives, Projection)
        self.function = kernel.function(direction, keep, projected)
        needs = self.function.needs
        self.rows = tile_rows(self.batch, self.n)
        self.count = -(-self.batch // self.rows)
        self.scratch = needs.scratch * (self.rows * self.wide + sequence.APART * kernel.width)
        self.held: list[object] = []
        inputs = drives.inputs if isinstance(drives, Projection) else drives
        channels = inputs.shape[2] if projected else 0
        sizes = [self.n, self.wide, self.batch, len(inputs), reads.substeps, seen, channels, *self.function.products]
        self.block = [0, 0, *sizes, *([0] * (len(sequence.FIELDS) - NUMBERS))]
        if not isinstance(drives, Projection):
            self.address("drives", self.widened(drives))
        else:
            self.address("input", inputs.contiguous())
            if needs.projection:
                self.address("projection", packed(drives.matrix.t(), len(step.drives), kernel.width))
        self.address("row_scalars", reads.row_scalars.contiguous())
        for name, numbers in (("sizes", reads.sizes), ("scalars", (*reads.scalars, 0.0))):
            array = np.ascontiguousarray(numbers, kernel.dtype)
            self.held.append(array)
            self.block[FIELD[name]] = array.ctypes.data
        for vector in reads.vectors:
            self.more(self.widened(vector))
        for wanted, transposed in ((needs.matrices, False), (needs.transposed, True)):
            for matrix, width in zip(reads.matrices, step.widths, strict=True):
                self.more(packed(matrix, width, kernel.width, transposed) if wanted else None)

    def address(self, name: str, tensor: Tensor) -> None:
        """Put a tensor's address in the block."""
        self.held.append(tensor)
        self.block[FIELD[name]] = tensor.data_ptr()

    def more(self, tensor: Tensor | None) -> None:
        """Put one after the named fields."""
        self.held.append(tensor)
        self.block.append(0 if tensor is None else tensor.data_ptr())

    def widened(self, tensor: Tensor) -> Tensor:
        """With rows of `wide` numbers; a tensor that is already a part of such rows is taken as it is."""
        if self.wide == self.n:
            return tensor.contiguous()
        tensor = tensor.detach()
        lead = tensor.shape[:-1]
        numbers = lead.numel() * self.wide
        strides = torch.empty(*lead, self.wide, device="meta").stride()
        inside = tensor.storage_offset() + numbers <= tensor.untyped_storage().nbytes() // tensor.element_size()
        if tensor.stride() == strides and inside:
            return tensor
        return torch.nn.functional.pad(tensor, (0, self.wide - self.n)).contiguous()

    def tiles(self, sums: Tensor | None) -> None:
        """Carry out every tile. sums: one row a job, which takes neighbouring tiles one after another."""
        if not self.count:
            return
        jobs = self.count if sums is None else len(sums)
        bounds, own = _tiles(self.batch, self.rows, jobs)
        blocks = np.empty((self.count, len(self.block)), np.int64)
        blocks[:] = self.block
        blocks[:, :2] = own[:, :2]
        if sums is not None:
            blocks[:, FIELD["sums"]] = sums.data_ptr() + own[:, 2] * (sums.shape[1] * sums.element_size())
        threads = min(torch.get_num_threads(), jobs)
        scratch = _pool.take(threads * self.scratch, self.kind)
        rows = scratch[: threads * self.scratch].view(threads, self.scratch)
        share(self.function.address, blocks, bounds, rows, FIELD["scratch"], threads)
        _pool.give(scratch)


def tile_rows(batch: int, n: int) -> int:
    """Rows of a tile: few enough for the cache, enough for the registers."""
    most = 16 if n <= 256 else 32 if n <= 512 else 64
    tiles = max(1, -(-batch // most))
    if tiles > 1:
        tiles += tiles % 2  # two threads then have the same to do
    rows = max(1, -(-batch // tiles))
    return rows + rows % 2 if tiles > 1 else rows


@lru_cache(maxsize=256)
def _tiles(batch: int, rows: int, jobs: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first tile of every job, and the end; of each tile the first row, how many, and the job."""
    count = -(-batch // rows)
    first = np.arange(count) * rows
    bounds = np.array([job * count // jobs for job in range(jobs + 1)], np.int64)
    job = np.repeat(np.arange(jobs), np.diff(bounds))
    return bounds, np.stack([first, np.minimum(rows, batch - first), job], 1)


@lru_cache(maxsize=1024)
def _compiled(step: Step, dtype: str, direction: Direction, keep: bool, projected: bool) -> _Function:
    lanes = Lanes(dtype, machine.width(dtype))
    key = ("sequence", direction, keep, projected, dtype, _written(step))
    library = machine.load(key, lambda: sequence.text(step, lanes, direction, keep, projected))
    found = (ctypes.c_int64 * 5)()
    library.function("needs", [ctypes.c_void_p])(ctypes.addressof(found))
    address: int = library.engine.get_function_address(direction)
    needs = Needs(found[0], found[1], *map(bool, found[2:]))
    rows = _product(dtype, "rows") if needs.matrices or needs.transposed or needs.projection else 0
    columns = _product(dtype, "columns") if direction == "backward" and (step.widths or projected) else 0
    return _Function(library, address, needs, (rows, columns))


@lru_cache(maxsize=4)
def _product(dtype: str, kind: product.Kind) -> int:
    """The address of a compiled product."""
    lanes = Lanes(dtype, machine.width(dtype))
    library = machine.load(("product", dtype, kind), lambda: product.text(lanes, kind))
    address: int = library.engine.get_function_address(product.name_of(kind))
    return address


@lru_cache(maxsize=256)
def _written(step: Step) -> str:
    """A step as text, the same in every process, every number in full."""

    def names(symbols: Sequence[sympy.Symbol | None]) -> str:
        return ",".join("-" if s is None else s.name for s in symbols)

    lines = [names(s) for s in (step.state, step.result, step.drives, step.vectors, step.row_scalars, step.scalars)]
    lines += [repr(step.widths), names(step.fixed)]
    for one in step.operations:
        if isinstance(one, Assign):
            lines.append(f"{one.symbol.name}={sympy.srepr(one.value)}")
        else:
            lines.append(f"{names(one.outputs)}={names(one.inputs)}@{one.matrix}{one.transposed}+{names(one.plus)}")
    return "\n".join(lines)


def _total(sums: Tensor) -> Tensor:
    """The sum of the rows, halves onto halves: always in the same order."""
    left = len(sums)
    while left > 1:
        half = left // 2
        sums[:half] += sums[left - half : left]
        left -= half
    return sums[0]


def _check(step: Step, kind: torch.dtype, start: Tensor, reads: Reads) -> None:
    """Raise `UsageError` for what would read or write outside of the tensors."""

    def fits(name: str, tensor: Tensor, *shape: int) -> None:
        if tensor.shape != shape or tensor.dtype != kind or not tensor.is_cpu:
            raise UsageError(
                f"{name} of a compiled sequence has shape {tuple(tensor.shape)}, dtype {tensor.dtype} on "
                f"{tensor.device}: expected {shape}, {kind} on cpu."
            )

    batch, _, n = start.shape
    fits("start", start, batch, len(step.state), n)
    if isinstance(reads.drives, Projection):
        inputs, channels = len(reads.drives.inputs), reads.drives.inputs.shape[-1]
        fits("inputs", reads.drives.inputs, inputs, batch, channels)
        fits("projection", reads.drives.matrix, len(step.drives) * n, channels)
    else:
        inputs = len(reads.drives)
        fits("drives", reads.drives, inputs, batch, len(step.drives), n)
    fits("row scalars", reads.row_scalars, inputs, batch, len(step.row_scalars))
    for k, (matrix, width) in enumerate(zip(reads.matrices, step.widths, strict=False)):
        fits(f"matrix {k}", matrix, n, width * n)
    for k, vector in enumerate(reads.vectors):
        fits(f"vector {k}", vector, n)
    given = (len(reads.matrices), len(reads.vectors), len(reads.scalars), len(reads.sizes))
    wanted = (len(step.widths), len(step.vectors), len(step.scalars) - 1, inputs * reads.substeps)
    if given != wanted:
        raise UsageError(f"(matrices, vectors, scalars, sizes) of a compiled sequence are {given}: expected {wanted}.")
