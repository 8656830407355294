"""A loop over the elements of a tile's arrays as LLVM IR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from .expressions import evaluate
from .program import Assign, Loop, RowSum, Step, UnitSum
from .vector import I32, I64, Builder, Lanes, Value, declared, function, loop, slot


def loop_function(module: Any, lanes: Lanes, step: Step, made: Loop, fetched: Sequence[bool], name: str) -> Any:
    """The function of a loop over the rows, and in each over the units.

    fetched: for each array to bring into the cache, whether it will be written.
    """
    reads, pointer = made.reads, lanes.pointer
    arguments = [I64, I64, I64, lanes.scalar, pointer, pointer, pointer, pointer]
    arguments += [pointer] * len(step.vectors) + [pointer, I64] * (len(reads) + len(made.writes) + len(fetched))
    printed, b = function(module, name, arguments, internal=True)
    printed.attributes.add("noinline")
    rows, n, wide, size, scalars, row_scalars, row_scalar_sums, vector_sums, *rest = printed.args
    vectors = dict(zip(step.vectors, rest, strict=False))
    pairs = rest[len(vectors) :]
    arrays = list(zip(pairs[::2], pairs[1::2], strict=True))
    used = {s for o in made.operations for s in o.value.free_symbols}
    known = {step.scalars[0]: lanes.splat(b, size)}
    known |= {s: lanes.broadcast(b, scalars, k) for k, s in enumerate(step.scalars[1:]) if s in used}
    one, stride = lanes.one_lane, len(step.row_scalars)
    sums = {k: slot(b, lanes.type) for k, o in enumerate(made.operations) if isinstance(o, UnitSum)}
    with loop(b, rows, name="row") as r:
        at = b.mul(r, ir.Constant(I64, stride))
        known |= {s: lanes.broadcast(b, row_scalars, b.add(at, ir.Constant(I64, k)))
                  for k, s in enumerate(step.row_scalars) if s in used}  # fmt: skip
        heads = [b.gep(first, [b.mul(r, row)]) for first, row in arrays]
        for place in sums.values():
            b.store(lanes.constant(0.0), place)
        with loop(b, wide, lanes.width, name="unit") as j:
            values = dict(known)
            values |= {s: lanes.load(b, head, j) for s, head in zip(reads, heads, strict=False)}
            values |= {s: lanes.load(b, first, j) for s, first in vectors.items() if s in used}
            for k, operation in enumerate(made.operations):
                (value,) = evaluate(b, lanes, [operation.value], values)
                match operation:
                    case Assign():
                        values[operation.symbol] = value
                    case RowSum():
                        place = b.add(j, b.mul(ir.Constant(I64, step.vectors.index(operation.vector)), wide))
                        lanes.store(b, b.fadd(lanes.load(b, vector_sums, place), value), vector_sums, place)
                    case UnitSum():
                        true = lanes.select(b, _before(b, lanes, b.sub(n, j)), value, lanes.constant(0.0))
                        b.store(b.fadd(b.load(sums[k]), true), sums[k])
            for symbol, head in zip(made.writes, heads[len(reads) :], strict=False):
                lanes.store(b, values[symbol], head, j)
            for written, head in zip(fetched, heads[len(heads) - len(fetched) :], strict=True):
                fetch(b, b.gep(head, [j]), written)
        for k, place in sums.items():
            operation = made.operations[k]
            assert isinstance(operation, UnitSum)
            target = b.add(at, ir.Constant(I64, step.row_scalars.index(operation.scalar)))
            total = b.fadd(one.load(b, row_scalar_sums, target), lanes.sum(b, b.load(place)))
            one.store(b, total, row_scalar_sums, target)
    b.ret_void()
    return printed


def fetch(b: Builder, pointer: Value, written: bool) -> None:
    """Bring the line of an address into the cache, which may be any address."""
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
    near, data = (3 if written else 2), 1
    b.call(declared(b, "llvm.prefetch.p0", kind), [pointer, *(ir.Constant(I32, x) for x in (int(written), near, data))])


def _before(b: Builder, lanes: Lanes, count: Value) -> Value:
    """A mask of the first `count` lanes."""
    count = b.trunc(count, I32)
    if lanes.width == 1:
        return b.icmp_signed(">", count, ir.Constant(I32, 0))
    kind = ir.VectorType(I32, lanes.width)
    empty = ir.Constant(kind, ir.Undefined)
    spread = b.insert_element(empty, count, ir.Constant(I32, 0))
    spread = b.shuffle_vector(spread, empty, ir.Constant(kind, [0] * lanes.width))
    return b.icmp_signed("<", ir.Constant(kind, list(range(lanes.width))), spread)
