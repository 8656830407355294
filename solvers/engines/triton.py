"""Engine "triton": a whole sequence in one kernel forward and one backward, with the matrices held on the chip.

For small hidden sizes, where a step is too little work for a launch of its own. The source is printed from the step
program (`triton_text`), kept as a file in the cache folder, because Triton reads the source of what it compiles, and
imported from there. Triton comes with torch's CUDA wheels; without it, or without a device, `available` says so.

With TRITON_INTERPRET=1 set before Triton is first imported the same kernels run on CPU tensors, in NumPy, slowly.

Longer than most files because what launches a kernel and what writes its arguments must agree.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, final, get_args

import numpy as np
import torch
from torch import Tensor

from ...suite.errors import UsageError
from .kernel import Gradients, Projection, Reads
from .machine import cache_folder
from .program import Step
from .triton_text import Precision, Source, source, unprintable

ROWS = 16
"""Rows of a tile: the fewest that `tl.dot` takes, since a batch has to fill many processors."""

SMALLEST = 16
"""Units of a tile: the fewest that `tl.dot` takes."""

SHARED_BYTES = 99 * 1024
"""Memory on the chip that a kernel may use where the device does not say: what all since Ampere have."""

FACTORS_BYTES = 256 * 2**20
"""What the factors of matrices' cotangents may take before they are multiplied."""


def available() -> str:
    """'' where Triton kernels can run, or why not."""
    if find_spec("triton") is None:
        return "package triton is not installed (pip install triton; there are wheels for Linux)"
    if interpreted() or torch.cuda.is_available():
        return ""
    return "there is no CUDA device"


def interpreted() -> bool:
    """Whether Triton was told to interpret its kernels."""
    return os.environ.get("TRITON_INTERPRET", "") in {"1", "true", "on"}


def refusal(
    step: Step,
    hidden: int,
    dtype: str,
    precision: Precision = "ieee",
    device: torch.device | None = None,
    keep: bool = True,
) -> str:
    """Why no kernels can run a program with so many units on a device, '' where they can.

    keep: whether forward passes keep what backward passes need, which then hold fewer matrices.
    """
    if dtype not in ("float32", "float64"):
        return f"it computes in float32 and float64, not in {dtype}"
    if dtype == "float64" and precision != "ieee":
        return f"products of float64 have no precision {precision!r}"
    if strange := unprintable(step):
        return f"{strange} has no Triton source"
    size = {"bf16": 2, "tf32x3": 8}.get(precision, 8 if dtype == "float64" else 4)
    # of each product the matrix and the other factor
    need = source(step, dtype, precision, keep).held * (padded(hidden) + ROWS) * padded(hidden) * size
    room = _shared_bytes(device)
    if need > room:
        return f"its matrices take {need // 1024} KiB on the chip, which has room for {room // 1024}"
    return ""


def padded(hidden: int) -> int:
    """Units of a tile: a power of two."""
    return max(SMALLEST, 1 << (hidden - 1).bit_length())


def _shared_bytes(device: torch.device | None) -> int:
    if device is None or device.type != "cuda":
        return SHARED_BYTES
    properties: Any = torch.cuda.get_device_properties(device)
    try:
        return int(properties.shared_memory_per_block_optin)
    except AttributeError:  # older torch
        return SHARED_BYTES


@final
class TritonSequence:
    """A step in Triton, over a whole sequence and a whole batch: arguments and results as of `cpu.CompiledSequence`,
    tensors on one CUDA device.

    precision: of the products' operands (`triton_text.Precision`), for a row's properties. The cotangents of matrices
    are products in torch, under its own switches (`cuda_graph.precision_facts`). Raises `UsageError` for a program that
    has no kernel.
    """

    def __init__(self, step: Step, dtype: str, precision: Precision = "ieee") -> None:
        if reason := available():
            raise UsageError(f"engine 'triton' cannot run: {reason}.")
        if strange := unprintable(step):
            raise UsageError(f"engine 'triton' cannot run: {strange} has no Triton source.")
        if precision not in get_args(Precision) or (dtype == "float64" and precision != "ieee"):
            expected = "'ieee'" if dtype == "float64" else f"one of {', '.join(map(repr, get_args(Precision)))}"
            raise UsageError(f"products of {dtype} have no precision {precision!r}: expected {expected}.")
        self.step, self.dtype, self.precision = step, dtype, precision
        self.kind = torch.float32 if dtype == "float32" else torch.float64

    def saved(self, projected: bool) -> int:
        """How many arrays (batch, n) a step keeps for the backward pass where it keeps any."""
        return source(self.step, self.dtype, self.precision, True).saved

    def forward(self, start: Tensor, reads: Reads, keep: bool) -> tuple[Tensor, Tensor | None]:
        """See `Kernel.forward`."""
        self._check(start, keep)
        drives, sizes = _multiplied(reads.drives), reads.sizes
        printed = source(self.step, self.dtype, self.precision, keep)
        batch, m, n = start.shape
        states = start.new_empty(len(sizes) + 1, batch, m, n)
        states[0] = start
        saved = start.new_empty(len(sizes), batch, printed.saved, n)
        read = self._read(printed, start, reads)
        self._launch(printed, "forward", [*read, states, saved], batch, len(drives), reads.substeps, n, start.device)
        return states, saved if keep else None

    def backward(self, states: Tensor, saved: Tensor | None, reads: Reads, cotangents: Tensor) -> Gradients:
        """See `Kernel.backward`."""
        drives, sizes, substeps = _multiplied(reads.drives), reads.sizes, reads.substeps
        printed = source(self.step, self.dtype, self.precision, saved is not None)
        steps, batch, n = len(sizes), states.shape[1], states.shape[3]
        r, v, inputs = len(self.step.row_scalars), len(self.step.vectors), len(drives)
        whole = torch.zeros_like(states)
        whole[1:, :, : cotangents.shape[2]] = cotangents
        states, cotangents = states.contiguous(), whole
        kept = states.new_empty(steps, 0) if saved is None else saved
        carry = torch.zeros_like(states[0])
        found_drives = states.new_empty(steps, *drives.shape[1:])
        found_rows = states.new_empty(steps, batch, r)
        found_vectors = states.new_zeros(v, n)
        found = [torch.zeros_like(w) for w in reads.matrices]
        rows, numbers = (
            reads.row_scalars.contiguous(),
            sum(o * (1 + w) for o, w in zip(printed.outers, self.step.widths, strict=True)),
        )
        length = max(1, FACTORS_BYTES // max(1, numbers * batch * n * states.element_size() * substeps))
        for last in range(inputs, 0, -length):
            first = max(0, last - length)
            begin, end = first * substeps, last * substeps
            factors = [
                states.new_empty(end - begin, many, batch, wide * n)
                for many, width in zip(printed.outers, self.step.widths, strict=True)
                for wide in (1, width)
            ]
            partial = states.new_empty(-(-batch // ROWS), v, n)
            where = slice(first, last)
            part = replace(reads, drives=drives[where], row_scalars=rows[where], sizes=sizes[begin:end])
            read = self._read(printed, states, part, reverse=True)
            others = [states[begin:end], kept[begin:end], cotangents[begin + 1 : end + 1]]
            results = [carry, found_drives[begin:end], found_rows[begin:end], partial, *factors]
            pointers = [*map(_last, others), carry, *map(_last, results[1:3]), partial, *map(_last, factors)]
            self._launch(printed, "backward", [*read, *pointers], batch, last - first, substeps, n, states.device)
            found_vectors += partial.sum(0)
            for k, total in enumerate(found):
                if printed.outers[k]:
                    left, right = (factor.flatten(0, 2) for factor in factors[2 * k : 2 * k + 2])
                    total.addmm_(left.t(), right)
        return Gradients(
            carry,
            found_drives.reshape(inputs, substeps, *drives.shape[1:]).sum(1),
            found_rows.reshape(inputs, substeps, batch, r).sum(1),
            found,
            list(found_vectors),
        )

    def _check(self, start: Tensor, keep: bool) -> None:
        if start.dtype != self.kind:
            raise UsageError(f"the state is {start.dtype}: the kernel was made for {self.kind}.")
        batch, m, n = start.shape
        if reason := refusal(self.step, n, self.dtype, self.precision, start.device, keep):
            raise UsageError(f"engine 'triton' cannot run {n} units: {reason}.")
        # places within one step are 32-bit numbers
        most = max(m, len(self.step.drives), 2 * len(self.step.operations)) * batch * n
        if most >= 2**31:
            raise UsageError(f"engine 'triton' cannot run a batch of {batch} with {n} units: expected a smaller one.")

    def _read(self, printed: Source, like: Tensor, reads: Reads, reverse: bool = False) -> list[Tensor]:
        """What both kernels read. reverse: sequences by their last element."""
        table = torch.tensor([*reads.scalars, *printed.numbers, 0.0], dtype=self.kind, device=like.device)
        steps = torch.as_tensor(np.ascontiguousarray(reads.sizes), dtype=self.kind, device=like.device)
        over_time = [_multiplied(reads.drives).contiguous(), reads.row_scalars.contiguous(), steps]
        drives, row_scalars, steps = map(_last, over_time) if reverse else over_time
        still = [x.detach().contiguous() for x in (*reads.matrices, *reads.vectors)]
        return [drives, row_scalars, *still, steps, table]

    def _launch(
        self,
        printed: Source,
        name: str,
        pointers: Sequence[Tensor],
        batch: int,
        inputs: int,
        substeps: int,
        n: int,
        device: torch.device,
    ) -> None:
        text = printed.text
        if interpreted():  # which multiplies the bit patterns of bfloat16; products of such numbers fit into float32
            text = text.replace(".to(tl.bfloat16)", ".to(tl.bfloat16).to(tl.float32)")
        kernel = vars(_module(text))[name]
        wide = padded(n)
        arguments = [_pointer(x) for x in pointers]
        tiles = -(-batch // ROWS)
        settings = {} if interpreted() else {"num_warps": 4 if wide <= 32 else 8, "num_stages": 1}
        if device.type == "cuda":
            with torch.cuda.device(device):
                kernel[(tiles,)](*arguments, batch, inputs, substeps, n, wide, ROWS, **settings)
        else:
            kernel[(tiles,)](*arguments, batch, inputs, substeps, n, wide, ROWS, **settings)


def _multiplied(drives: Tensor | Projection) -> Tensor:
    """Drives as arrays: no kernel here multiplies them out."""
    if isinstance(drives, Projection):
        raise UsageError("engine 'triton' takes drives as arrays, not as a projection of the inputs.")
    return drives


def _last(x: Tensor) -> Tensor:
    """The last element of a sequence: a kernel that walks back starts there. Empty where the sequence is."""
    return x[-1:]


def _pointer(x: Tensor) -> Tensor:
    """The tensor without its graph; something to point at where it is empty."""
    return x.detach() if x.numel() else x.new_empty(1)


@lru_cache(maxsize=256)
def _module(text: str) -> Any:
    """The module of this source, whose file stays where Triton can read it."""
    name = f"odernn_triton_{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    path = _written(cache_folder() / "triton", f"{name}.py", text)
    importlib.invalidate_caches()
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _written(folder: Path, name: str, text: str) -> Path:
    """A file with this text, whole or not at all; in a folder of this process where the cache cannot be written.

    A file that is there already is written again: what is imported has to be what was printed.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        folder = _own_folder()
    try:
        return _replaced(folder, name, text)
    except OSError:
        return _replaced(_own_folder(), name, text)


def _replaced(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".py")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    return path


@lru_cache(maxsize=1)
def _own_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="odernn-"))
