"""Numbers side by side in a register: thin helpers over llvmlite's builder, so that printers read like loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, final

from llvmlite import ir

Builder: TypeAlias = Any
"""llvmlite.ir.IRBuilder."""
Value: TypeAlias = Any
"""llvmlite.ir.Value."""

I32, I64 = ir.IntType(32), ir.IntType(64)


@final
@dataclass(frozen=True)
class Lanes:
    """`width` numbers of a dtype, "float32" or "float64", as one value; with width 1 a scalar.

    The builder's own fadd, fsub, fmul, fdiv and fneg work on the values.
    """

    dtype: str
    width: int

    @property
    def scalar(self) -> Any:
        """The type of one number."""
        return ir.FloatType() if self.dtype == "float32" else ir.DoubleType()

    @property
    def type(self) -> Any:
        """The type of a value."""
        return self._wide(self.scalar)

    @property
    def pointer(self) -> Any:
        """The type of a pointer to numbers."""
        return self.scalar.as_pointer()

    @property
    def integer(self) -> Any:
        """The type of a value's bits: one integer of the same size a lane."""
        return self._wide(I32 if self.dtype == "float32" else I64)

    @property
    def mask(self) -> Any:
        """The type of a comparison: one bit a lane."""
        return self._wide(ir.IntType(1))

    @property
    def size(self) -> int:
        """Bytes of one number."""
        return 4 if self.dtype == "float32" else 8

    @property
    def one_lane(self) -> Lanes:
        """The same numbers one at a time."""
        return Lanes(self.dtype, 1)

    def _wide(self, scalar: Any) -> Any:
        return scalar if self.width == 1 else ir.VectorType(scalar, self.width)

    def constant(self, x: float) -> Value:
        """The same number in every lane, rounded to the dtype."""
        return ir.Constant(self.type, float(x) if self.width == 1 else [float(x)] * self.width)

    def bits(self, x: int) -> Value:
        """The same integer in every lane."""
        return ir.Constant(self.integer, x if self.width == 1 else [x] * self.width)

    def splat(self, b: Builder, value: Value) -> Value:
        """A scalar in every lane."""
        if self.width == 1:
            return value
        empty = ir.Constant(self._wide(value.type), ir.Undefined)
        first = b.insert_element(empty, value, ir.Constant(I32, 0))
        return b.shuffle_vector(first, empty, ir.Constant(ir.VectorType(I32, self.width), [0] * self.width))

    def address(self, b: Builder, pointer: Value, index: Value | int = 0) -> Value:
        """The pointer `index` numbers further."""
        return pointer if isinstance(index, int) and index == 0 else b.gep(pointer, [number(index)])

    def load(self, b: Builder, pointer: Value, index: Value | int = 0) -> Value:
        """The `width` numbers from `index` on (counted in numbers), which need no alignment beyond that of one."""
        place = self.address(b, pointer, index)
        if self.width > 1:
            place = b.bitcast(place, self.type.as_pointer())
        return b.load(place, align=self.size)

    def store(self, b: Builder, value: Value, pointer: Value, index: Value | int = 0) -> None:
        """Write `width` numbers from `index` on, as `load` reads them."""
        place = self.address(b, pointer, index)
        if self.width > 1:
            place = b.bitcast(place, self.type.as_pointer())
        b.store(value, place, align=self.size)

    def broadcast(self, b: Builder, pointer: Value, index: Value | int = 0) -> Value:
        """The one number at `index` in every lane."""
        return self.splat(b, self.one_lane.load(b, pointer, index))

    def fma(self, b: Builder, x: Value, y: Value, z: Value) -> Value:
        """x y + z, rounded once where the machine does so in one instruction."""
        return self.call(b, "fmuladd", x, y, z)

    def call(self, b: Builder, name: str, *values: Value) -> Value:
        """LLVM's intrinsic of that name for these lanes: "sqrt", "fabs", "floor", "copysign", "minnum", ..."""
        code = ("f32" if self.dtype == "float32" else "f64") if self.width == 1 else f"v{self.width}f{8 * self.size}"
        kind = ir.FunctionType(self.type, [self.type] * len(values))
        return b.call(declared(b, f"llvm.{name}.{code}", kind), values)

    def lane_by_lane(self, b: Builder, name: str, *values: Value) -> Value:
        """A function of the C library, given by its name for float64, on one lane after another."""
        name = name if self.dtype == "float64" else f"{name}f"
        function = declared(b, name, ir.FunctionType(self.scalar, [self.scalar] * len(values)))
        function.attributes.add("nounwind")
        function.attributes.add("nonlazybind")  # see `machine.OUTSIDE`
        if self.width == 1:
            return b.call(function, values)
        result = ir.Constant(self.type, ir.Undefined)
        for i in range(self.width):
            lane = ir.Constant(I32, i)
            one = b.call(function, [b.extract_element(v, lane) for v in values])
            result = b.insert_element(result, one, lane)
        return result

    def compare(self, b: Builder, operator: str, x: Value, y: Value) -> Value:
        """A mask; operator: "<", "<=", ">", ">=", "==" (false for NaN), "!=" (true for NaN)."""
        return b.fcmp_unordered(operator, x, y) if operator == "!=" else b.fcmp_ordered(operator, x, y)

    def select(self, b: Builder, mask: Value, yes: Value, no: Value) -> Value:
        """yes where the mask is set, else no."""
        return b.select(mask, yes, no)

    def any(self, b: Builder, mask: Value) -> Value:
        """Whether the mask is set in some lane, as one bit."""
        if self.width == 1:
            return mask
        packed = ir.IntType(self.width)
        return b.icmp_unsigned("!=", b.bitcast(mask, packed), ir.Constant(packed, 0))

    def sum(self, b: Builder, value: Value) -> Value:
        """The sum over the lanes, halves first, as a scalar."""
        width = self.width
        while width > 1:
            width //= 2
            indices = [[*range(width)], [*range(width, 2 * width)]]
            low, high = (
                b.shuffle_vector(value, value, ir.Constant(ir.VectorType(I32, width), chosen)) for chosen in indices
            )
            value = b.fadd(low, high)
        return value if self.width == 1 else b.extract_element(value, ir.Constant(I32, 0))


def number(index: Value | int) -> Value:
    """An index as an i64 value."""
    return ir.Constant(I64, index) if isinstance(index, int) else index


def declared(b: Builder, name: str, kind: Any) -> Any:
    """The function of that name in the builder's module, declared where it is not yet."""
    module = b.module
    return module.globals[name] if name in module.globals else ir.Function(module, kind, name)


def function(module: Any, name: str, arguments: Sequence[Any], internal: bool = False) -> tuple[Any, Builder]:
    """A new function that returns nothing, and a builder at its entry. internal: only called from the module."""
    made = ir.Function(module, ir.FunctionType(ir.VoidType(), list(arguments)), name)
    made.attributes.add("nounwind")
    if internal:
        made.linkage = "internal"
    return made, ir.IRBuilder(made.append_basic_block("entry"))


def slot(b: Builder, kind: Any, initial: Value | None = None, count: int = 1) -> Value:
    """Memory for `count` values of a type, in the function's frame: a variable that a loop may change.

    LLVM keeps it in a register where count is 1 and its address is not passed on.
    """
    with b.goto_entry_block():
        place = b.alloca(kind, size=ir.Constant(I64, count) if count > 1 else None)
    if initial is not None:
        b.store(initial, place)
    return place


@contextmanager
def loop(
    b: Builder, count: Value | int, step: Value | int = 1, start: Value | int = 0, name: str = "loop"
) -> Iterator[Value]:
    """for index in range(start, count, step): the block; gives the index, an i64. b goes on after the loop."""
    before, head = b.block, b.append_basic_block(f"{name}.head")
    body, after = b.append_basic_block(f"{name}.body"), b.append_basic_block(f"{name}.after")
    b.branch(head)
    b.position_at_end(head)
    index = b.phi(I64, name)
    index.add_incoming(number(start), before)
    b.cbranch(b.icmp_signed("<", index, number(count)), body, after)
    b.position_at_end(body)
    yield index
    index.add_incoming(b.add(index, number(step), flags=["nsw"]), b.block)
    b.branch(head)
    b.position_at_end(after)
