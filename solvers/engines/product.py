"""Matrix products of a tile of rows, in registers: C = plus + sum over segments of A B.

One kernel holds a block of C, up to 8 rows by 2 registers, while it runs along K: as many multiplications a loaded
number as the registers allow. Two kinds:

* "rows": C (rows, n) += A (rows, K) B (K, n), B in panels (`packed`) so that it is read one number after the other;
* "columns": C (K columns of A, n) += A^T B with A (rows, K) and B (rows, n): what the cotangent of a matrix gains.

Segments are several pairs (A, B) that are summed, such as the uses of one matrix in a step: a table of `SEGMENT`
64-bit integers each, the address of A, the distance of its rows in numbers, the same of B (for a packed B unused).
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from llvmlite import ir
from torch import Tensor

from .vector import I64, Lanes, Value, function, loop, slot

Kind: TypeAlias = Literal["rows", "columns"]
SEGMENT = 4
PANEL = 2
"""Registers side by side in a panel; the last panel has one where their number is odd."""
AVX512_BYTES = 64


def block_rows(lanes: Lanes) -> tuple[int, ...]:
    """How many rows of C the kernels hold, largest first: with 32 registers 8, with 16 registers 4."""
    return (8, 4, 2, 1) if lanes.width * lanes.size >= AVX512_BYTES else (4, 2, 1)


def padded(n: int, width: int) -> int:
    """n rounded up to a multiple of `width` lanes."""
    return -(-n // width) * width


def packed(matrix: Tensor, groups: int, width: int, transposed: bool = False) -> Tensor:
    """A matrix (k, groups * n) as `groups` blocks (k, n), each in panels of `PANEL` * width columns, one after another.

    A panel is (k, its columns), contiguous; columns beyond n are zero. transposed: each block transposed. A matrix that
    lies so already is not copied.
    """
    blocks = matrix.detach().view(matrix.shape[0], groups, -1)
    blocks = blocks.permute(1, 2, 0) if transposed else blocks.transpose(0, 1)
    _, k, n = blocks.shape
    wide, step = padded(n, width), PANEL * width
    if wide > n:
        blocks = torch.nn.functional.pad(blocks, (0, wide - n))
    full = wide // step
    if full * step == wide:
        return blocks.view(groups, k, full, step).transpose(1, 2).contiguous().view(groups, k * wide)
    result = torch.empty(groups, k * wide, dtype=matrix.dtype)
    head, rest = result.split([k * full * step, k * width], 1)
    head.view(groups, full, k, step).copy_(blocks[:, :, : full * step].view(groups, k, full, step).transpose(1, 2))
    rest.view(groups, k, width).copy_(blocks[:, :, full * step :])
    return result


def name_of(kind: Kind) -> str:
    """The name of the function that `text` prints."""
    return f"product_{kind}"


def signature(lanes: Lanes) -> Any:
    """The type of a product's function.

    Its arguments: number of segments, table, rows and columns of C (columns a multiple of the lanes), K, plus and the
    distance of its rows (plus may be null: zero), C and the distance of its rows. plus may be C itself.
    """
    table, numbers = I64.as_pointer(), lanes.pointer
    return ir.FunctionType(ir.VoidType(), [I64, table, I64, I64, I64, numbers, I64, numbers, I64])


def text(lanes: Lanes, kind: Kind) -> str:
    """LLVM IR of the function that computes a whole C: one for all programs, which call it by its address."""
    module = ir.Module(name=name_of(kind))
    kernels = {(m, r): _kernel(module, lanes, kind, m, r) for m in block_rows(lanes) for r in range(1, PANEL + 1)}
    made, b = function(module, name_of(kind), signature(lanes).args)
    segments, table, rows, columns, k, plus, plus_row, c, c_row = made.args

    def column(j: Value, registers: int) -> None:
        largest, *smaller = block_rows(lanes)

        def block(i: Value, size: int) -> None:
            b.call(kernels[size, registers], [segments, table, k, i, j, plus, plus_row, c, c_row])

        whole = b.and_(rows, ir.Constant(I64, -largest))
        with loop(b, whole, largest, name="block") as i:
            block(i, largest)
        start = whole
        for size in smaller:
            bit = b.and_(rows, ir.Constant(I64, size))
            with b.if_then(b.icmp_signed("!=", bit, ir.Constant(I64, 0))):
                block(start, size)
            start = b.add(start, bit)

    panel = PANEL * lanes.width
    whole = b.and_(columns, ir.Constant(I64, -panel))
    with loop(b, whole, panel, name="panel") as j:
        column(j, PANEL)
    with b.if_then(b.icmp_signed("<", whole, columns)):
        column(whole, 1)
    b.ret_void()
    return str(module)


def _kernel(module: Any, lanes: Lanes, kind: Kind, height: int, registers: int) -> Any:
    """The block of C at row i, column j: `height` rows by `registers` registers, which stay in registers."""
    width, pointer = lanes.width, lanes.pointer
    arguments = [I64, I64.as_pointer(), I64, I64, I64, pointer, I64, pointer, I64]
    made, b = function(module, f"kernel_{kind}_{lanes.dtype}_{height}_{registers}", arguments, internal=True)
    made.attributes.add("noinline")
    segments, table, k_count, i, j, plus, plus_row, c, c_row = made.args
    cells = [(r, v) for r in range(height) for v in range(registers)]
    sums = {cell: slot(b, lanes.type, lanes.constant(0.0)) for cell in cells}
    start = [[b.add(b.mul(b.add(i, ir.Constant(I64, r)), row), j) for r in range(height)] for row in (plus_row, c_row)]
    with b.if_then(b.icmp_unsigned("!=", b.ptrtoint(plus, I64), ir.Constant(I64, 0))):
        for r, v in cells:
            b.store(lanes.load(b, lanes.address(b, plus, start[0][r]), v * width), sums[r, v])
    with loop(b, segments, name="segment") as s:
        entry = [
            b.load(b.gep(table, [b.add(b.mul(s, ir.Constant(I64, SEGMENT)), ir.Constant(I64, e))])) for e in range(4)
        ]
        left, left_row, right, right_row = entry
        left, right = b.inttoptr(left, pointer), b.inttoptr(right, pointer)
        if kind == "rows":
            right = b.gep(right, [b.mul(j, k_count)])
            heads = [b.gep(left, [b.mul(b.add(i, ir.Constant(I64, r)), left_row)]) for r in range(height)]
        else:
            left, right = b.gep(left, [i]), b.gep(right, [j])
        with loop(b, k_count, name="k") as k:
            if kind == "rows":
                rights = b.gep(right, [b.mul(k, ir.Constant(I64, registers * width))])
                lefts = [lanes.broadcast(b, head, k) for head in heads]
            else:
                rights = b.gep(right, [b.mul(k, right_row)])
                at = b.gep(left, [b.mul(k, left_row)])
                lefts = [lanes.broadcast(b, at, r) for r in range(height)]
            values = [lanes.load(b, rights, v * width) for v in range(registers)]
            for r, v in cells:
                b.store(lanes.fma(b, lefts[r], values[v], b.load(sums[r, v])), sums[r, v])
    for r, v in cells:
        lanes.store(b, b.load(sums[r, v]), lanes.address(b, c, start[1][r]), v * width)
    b.ret_void()
    return made
