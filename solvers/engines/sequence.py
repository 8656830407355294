"""A step program as LLVM IR: one function that carries a tile of rows through all time steps, and one for the reverse.

Sizes, strides and addresses are read from a block of 64-bit integers at run time (`FIELDS`), so that one compiled
function serves every number of rows, units and steps. Arrays of a tile lie in scratch memory, row after row, small
enough to stay in the cache; the states, drives, kept arrays and their cotangents are addressed where they are.

Past 200 lines: a pass of every kind, and a place of every kind, is one case each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy
from llvmlite import ir

from .loops import fetch, loop_function
from .plan import Direction, Plan, backward_plan, forward_plan
from .product import SEGMENT, signature
from .program import Loop, Outer, Product, Step
from .vector import I64, Builder, Lanes, Value, function, loop, slot

FIELDS = (
    "first",  # the tile's first row in the batch
    "rows",  # of the tile
    "n",  # hidden units
    "wide",  # the same with padding, a multiple of the lanes
    "batch",
    "inputs",  # time steps of the input, T
    "substeps",  # steps of the method for each
    "seen",  # leading blocks of the state whose cotangents the caller gives; those of the others are zero
    "channels",  # of the inputs, where drives are projected from them
    "rows_product",  # address of the compiled `product` of that kind
    "columns_product",
    "scratch",  # from here on addresses of numbers: memory of the tile
    "states",  # (T substeps + 1, batch, blocks, wide)
    "drives",  # (T, batch, drives, wide)
    "input",  # (T, batch, channels)
    "projection",  # packed (channels, drives * n)
    "row_scalars",  # (T, batch, row scalars)
    "sizes",  # (T substeps,)
    "scalars",  # those after h
    "saved",  # tile after tile (T substeps, saved arrays, rows, wide)
    "cotangents",  # of the states after each step, (T substeps, batch, seen, wide)
    "start",  # cotangent of the first state, (batch, blocks, wide), written
    "drive_cotangents",  # like drives, written
    "row_scalar_cotangents",  # like row_scalars, gains
    "zeros",  # (wide,)
    "sums",  # of the tile: of each matrix (n, width, wide), each vector (wide,), projection (channels, drives, wide)
)
"""The block's first integers; then come the addresses of the vectors, the matrices packed, and those transposed."""
LINE_BYTES = 64
APART = 5
"""Registers between arrays in scratch: arrays a power of two apart would fall on the same lines of the cache."""


@dataclass(frozen=True)
class Place:
    """An array of the tile in memory: the address of its first row, and how many numbers further the next one is."""

    pointer: Value
    row: Value


def text(step: Step, lanes: Lanes, direction: Direction, keep: bool, projected: bool = False) -> str:
    """LLVM IR of the function named after the direction, and of "needs", which writes its `Needs` as integers.

    keep: whether the forward pass keeps what the reverse needs (else the reverse computes it again). projected: the
    drives are products of the inputs with one matrix, computed a tile and an input at a time, so that they and their
    cotangents never leave the cache.
    """
    plan = (forward_plan if direction == "forward" else backward_plan)(step, keep, projected)
    module = ir.Module(name=direction)
    _Printer(module, lanes, plan).print()
    made, b = function(module, "needs", [I64.as_pointer()])
    needs = plan.needs
    for i, count in enumerate((needs.scratch, needs.saved, needs.matrices, needs.transposed, needs.projection)):
        b.store(ir.Constant(I64, int(count)), b.gep(made.args[0], [ir.Constant(I64, i)]))
    b.ret_void()
    return str(module)


@dataclass
class _Printer:
    """Prints the function of a plan."""

    module: Any
    lanes: Lanes
    plan: Plan
    fields: dict[str, Value] = field(default_factory=dict)

    def print(self) -> None:
        """The function, and those that it calls."""
        plan, lanes = self.plan, self.lanes
        made, b = function(self.module, plan.direction, [I64.as_pointer()])
        block = made.args[0]
        counts = {
            "vector": len(plan.step.vectors),
            "matrix": len(plan.step.widths),
            "transposed": len(plan.step.widths),
        }
        names = [*FIELDS, *(f"{kind}{k}" for kind, count in counts.items() for k in range(count))]
        for index, name in enumerate(names):
            value = b.load(b.gep(block, [ir.Constant(I64, index)]))
            self.fields[name] = value if index < FIELDS.index("scratch") else b.inttoptr(value, lanes.pointer)
        get = self.fields
        longest = max((len(plan.passes), *plan.step.widths))
        table = slot(b, I64, count=SEGMENT * longest)
        one, zero = ir.Constant(I64, 1), ir.Constant(I64, 0)
        backward = plan.direction == "backward"
        with loop(b, get["inputs"], name="input") as t:
            t = b.sub(b.sub(get["inputs"], one), t) if backward else t
            around = _Body(self, b, table, t, zero, zero)
            if plan.projected:
                _Body(self, b, table, t if backward else b.add(t, one), zero, zero).fetch_input()
            if plan.needs.projection:
                around.project()
            with loop(b, get["substeps"], name="substep") as s:
                s = b.sub(b.sub(get["substeps"], one), s) if backward else s
                _Body(self, b, table, t, s, b.add(b.mul(t, get["substeps"]), s)).print()
            if plan.projected and backward:
                around.projected_gain()
        b.ret_void()


@dataclass
class _Body:
    """Prints one step inside the loops over inputs and substeps."""

    printer: _Printer
    b: Builder
    table: Value
    t: Value
    s: Value
    i: Value

    def print(self) -> None:
        """All passes; the outer products of one matrix that follow each other as one product."""
        passes, index = self.printer.plan.passes, 0
        while index < len(passes):
            made = passes[index]
            index += 1
            match made:
                case Loop():
                    self.loop(made, index)
                case Product():
                    self.product(made)
                case Outer():
                    joined = [made]
                    while index < len(passes):
                        following = passes[index]
                        if not isinstance(following, Outer) or following.matrix != made.matrix:
                            break
                        joined.append(following)
                        index += 1
                    self.outer(joined)

    def place(self, symbol: sympy.Symbol) -> Place:
        """Where an array lies in this step."""
        plan, b, get = self.printer.plan, self.b, self.printer.fields
        if symbol in plan.slots:
            return self.scratch(plan.slots[symbol])
        where, index = plan.given[symbol]
        last = b.sub(b.mul(get["inputs"], get["substeps"]), ir.Constant(I64, 1))
        match where:
            case "states":
                return self.blocks("states", self.i, index)
            case "next":
                return self.blocks("states", b.add(self.i, ir.Constant(I64, 1)), index)
            case "cotangents":  # of the state that this step starts from; the first one's has none
                first = b.icmp_signed("==", self.i, ir.Constant(I64, 0))
                return self.choose(first, self.nothing(), self.given(b.sub(self.i, ir.Constant(I64, 1)), index))
            case "saved":
                rows = b.add(b.mul(get["first"], b.add(last, ir.Constant(I64, 1))), b.mul(self.i, get["rows"]))
                at = b.add(b.mul(rows, ir.Constant(I64, len(plan.saved))), b.mul(get["rows"], ir.Constant(I64, index)))
                return Place(b.gep(get["saved"], [b.mul(at, get["wide"])]), get["wide"])
            case "drives":
                return self.drive("drives", index)
            case "drive":
                return self.drive("drive_cotangents", index)
            case "drive_before":  # nothing at the last substep, which the reverse comes to first
                first = b.icmp_signed("==", b.add(self.s, ir.Constant(I64, 1)), get["substeps"])
                return self.choose(first, self.nothing(), self.drive("drive_cotangents", index))
            case "later":  # the caller's cotangent at the last step, then what the step after has left
                first = b.icmp_signed("==", self.i, last)
                return self.choose(first, self.given(self.i, index), self.carry(0, index))
            case "earlier":
                first = b.icmp_signed("==", self.i, ir.Constant(I64, 0))
                return self.choose(first, self.blocks("start", ir.Constant(I64, 0), index), self.carry(1, index))
        raise AssertionError(where)

    def choose(self, mask: Value, yes: Place, no: Place) -> Place:
        b = self.b
        return Place(b.select(mask, yes.pointer, no.pointer), b.select(mask, yes.row, no.row))

    def nothing(self) -> Place:
        """An array of zeros."""
        return Place(self.printer.fields["zeros"], ir.Constant(I64, 0))

    def given(self, step: Value, index: int) -> Place:
        """The caller's cotangent of a block after a step."""
        b, get = self.b, self.printer.fields
        row = b.mul(get["seen"], get["wide"])
        at = b.mul(b.add(b.mul(step, get["batch"]), get["first"]), row)
        block = ir.Constant(I64, index)
        found = Place(b.gep(get["cotangents"], [b.add(at, b.mul(block, get["wide"]))]), row)
        return self.choose(b.icmp_signed("<", block, get["seen"]), found, self.nothing())

    def scratch(self, slot_index: Value | int) -> Place:
        b, get = self.b, self.printer.fields
        index = ir.Constant(I64, slot_index) if isinstance(slot_index, int) else slot_index
        size = b.add(b.mul(get["rows"], get["wide"]), ir.Constant(I64, APART * self.printer.lanes.width))
        return Place(b.gep(get["scratch"], [b.mul(index, size)]), get["wide"])

    def carry(self, ahead: int, index: int) -> Place:
        """One of the two sets of arrays for the cotangent of the state, which take turns from step to step."""
        b, blocks = self.b, len(self.printer.plan.step.state)
        first = self.printer.plan.carried
        turn = b.and_(b.add(self.i, ir.Constant(I64, ahead)), ir.Constant(I64, 1))
        return self.scratch(b.add(b.mul(turn, ir.Constant(I64, blocks)), ir.Constant(I64, first + index)))

    def blocks(self, name: str, step: Value, index: int) -> Place:
        """A block of the state in an array over steps."""
        return self.over_batch(name, step, len(self.printer.plan.step.state), index)

    def drive(self, name: str, index: int) -> Place:
        plan, b, wide = self.printer.plan, self.b, self.printer.fields["wide"]
        if plan.projected:
            count = len(plan.step.drives)
            start = self.scratch(plan.driven + (count if name == "drive_cotangents" else 0)).pointer
            return Place(b.gep(start, [b.mul(ir.Constant(I64, index), wide)]), b.mul(ir.Constant(I64, count), wide))
        return self.over_batch(name, self.t, len(self.printer.plan.step.drives), index)

    def over_batch(self, name: str, step: Value, count: int, index: int) -> Place:
        b, get = self.b, self.printer.fields
        row = b.mul(ir.Constant(I64, count), get["wide"])
        at = b.mul(b.add(b.mul(step, get["batch"]), get["first"]), row)
        return Place(b.gep(get[name], [b.add(at, b.mul(ir.Constant(I64, index), get["wide"]))]), row)

    def entries(self, segments: Sequence[tuple[Value, Value, Value, Value]]) -> None:
        """Fill the table of segments."""
        b = self.b
        for s, entry in enumerate(segments):
            for e, value in enumerate(entry):
                value = b.ptrtoint(value, I64) if value.type.is_pointer else value
                b.store(value, b.gep(self.table, [ir.Constant(I64, SEGMENT * s + e)]))

    def product(self, made: Product) -> None:
        """One call for each output; a transposed product sums over its inputs."""
        b, get, printer = self.b, self.printer.fields, self.printer
        zero = ir.Constant(I64, 0)
        size = b.mul(get["n"], get["wide"])
        matrix = get[f"{'transposed' if made.transposed else 'matrix'}{made.matrix}"]
        inputs = [self.place(s) for s in made.inputs]
        called = b.inttoptr(get["rows_product"], signature(printer.lanes).as_pointer())
        for o, (output, plus) in enumerate(zip(made.outputs, made.plus, strict=True)):
            blocks = range(len(inputs)) if made.transposed else [o]
            rights = [b.gep(matrix, [b.mul(ir.Constant(I64, k), size)]) for k in blocks]
            self.entries([(x.pointer, x.row, right, zero) for x, right in zip(inputs, rights, strict=True)])
            added = self.place(plus) if plus is not None else Place(ir.Constant(printer.lanes.pointer, None), zero)
            c = self.place(output)
            count = ir.Constant(I64, len(inputs))
            sizes = [count, self.table, get["rows"], get["wide"], get["n"]]
            b.call(called, [*sizes, added.pointer, added.row, c.pointer, c.row])

    def input(self) -> Place:
        """The tile's rows of the input."""
        b, get = self.b, self.printer.fields
        row = b.add(b.mul(self.t, get["batch"]), get["first"])
        return Place(b.gep(get["input"], [b.mul(row, get["channels"])]), get["channels"])

    def fetch_input(self) -> None:
        """Bring the tile's rows of the input into the cache before they are needed."""
        b, get, lanes = self.b, self.printer.fields, self.printer.lanes
        x = self.input()
        with (
            loop(b, get["rows"], name="row") as r,
            loop(b, get["channels"], LINE_BYTES // lanes.size, name="line") as k,
        ):
            fetch(b, b.gep(x.pointer, [b.add(b.mul(r, x.row), k)]), False)

    def project(self) -> None:
        """The drives of an input, one product each."""
        b, get, printer = self.b, self.printer.fields, self.printer
        one, zero = ir.Constant(I64, 1), ir.Constant(I64, 0)
        called = b.inttoptr(get["rows_product"], signature(printer.lanes).as_pointer())
        size, x = b.mul(get["channels"], get["wide"]), self.input()
        for k in range(len(printer.plan.step.drives)):
            right, c = b.gep(get["projection"], [b.mul(ir.Constant(I64, k), size)]), self.drive("drives", k)
            self.entries([(x.pointer, x.row, right, zero)])
            nothing = ir.Constant(printer.lanes.pointer, None)
            b.call(
                called, [one, self.table, get["rows"], get["wide"], get["channels"], nothing, zero, c.pointer, c.row]
            )

    def projected_gain(self) -> None:
        """The cotangent of the projection gains from the drives of an input."""
        b, get, printer = self.b, self.printer.fields, self.printer
        step = printer.plan.step
        called = b.inttoptr(get["columns_product"], signature(printer.lanes).as_pointer())
        x, y = self.input(), self.drive("drive_cotangents", 0)
        before = b.mul(ir.Constant(I64, sum(step.widths)), b.mul(get["n"], get["wide"]))
        c = b.gep(get["sums"], [b.add(before, b.mul(ir.Constant(I64, len(step.vectors)), get["wide"]))])
        self.entries([(x.pointer, x.row, y.pointer, y.row)])
        one = ir.Constant(I64, 1)
        b.call(called, [one, self.table, get["channels"], y.row, get["rows"], c, y.row, c, y.row])

    def outer(self, joined: Sequence[Outer]) -> None:
        """The cotangent of a matrix gains from all its uses in one product a block."""
        b, get, printer = self.b, self.printer.fields, self.printer
        widths = printer.plan.step.widths
        matrix = joined[0].matrix
        before = ir.Constant(I64, sum(widths[:matrix]))
        size = b.mul(get["n"], get["wide"])
        row = b.mul(ir.Constant(I64, widths[matrix]), get["wide"])
        called = b.inttoptr(get["columns_product"], signature(printer.lanes).as_pointer())
        for o in range(widths[matrix]):
            pairs = [(self.place(use.inputs), self.place(use.outputs[o])) for use in joined]
            self.entries([(x.pointer, x.row, y.pointer, y.row) for x, y in pairs])
            c = b.gep(get["sums"], [b.add(b.mul(before, size), b.mul(ir.Constant(I64, o), get["wide"]))])
            count = ir.Constant(I64, len(joined))
            b.call(called, [count, self.table, get["n"], get["wide"], get["rows"], c, row, c, row])

    def loop(self, made: Loop, index: int) -> None:
        """Call the function of a loop, which is printed on the way."""
        b, get, printer = self.b, self.printer.fields, self.printer
        step, lanes = printer.plan.step, printer.lanes
        fetched = printer.plan.fetched[made]
        ahead = ir.Constant(I64, 1 if printer.plan.direction == "forward" else -1)
        after = _Body(printer, b, self.table, b.add(self.t, ahead), self.s, b.add(self.i, ahead))
        called = loop_function(printer.module, lanes, step, made, [s in made.writes for s in fetched], f"loop{index}")
        offset = b.mul(ir.Constant(I64, len(step.row_scalars)), b.add(b.mul(self.t, get["batch"]), get["first"]))
        before = b.mul(ir.Constant(I64, sum(step.widths)), b.mul(get["n"], get["wide"]))
        values: list[Value] = [get["rows"], get["n"], get["wide"], lanes.one_lane.load(b, get["sizes"], self.i)]
        values += [get["scalars"], b.gep(get["row_scalars"], [offset]), b.gep(get["row_scalar_cotangents"], [offset])]
        values += [b.gep(get["sums"], [before])]
        values += [get[f"vector{k}"] for k in range(len(step.vectors))]
        for place in [self.place(s) for s in (*made.reads, *made.writes)] + [after.place(s) for s in fetched]:
            values += [place.pointer, place.row]
        b.call(called, values)
