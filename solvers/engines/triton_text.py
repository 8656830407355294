"""The Triton source of a step program over a whole sequence: a kernel forward and one backward. Needs no Triton.

A program instance holds a tile of R rows by N units, N the hidden size raised to a power of two, and walks through all
time steps; matrices are read once and stay on the chip. Padded units may hold anything: they are put to zero before a
product and before a sum, and are never stored. A tile's rows are sequences of their own, so padded rows reach nothing.

The cotangent of a matrix is a sum over all rows and steps. Its factors are stored step by step and multiplied
afterwards, in one product of a size that libraries are good at (`triton.TritonSequence`).

Longer than most files: the printer of expressions and the two kernels share the names of the generated source.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import sympy
from sympy.functions.elementary.piecewise import ExprCondPair
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from .adjoint import reverse
from .program import Assign, H, Operation, Outer, Product, Reverse, RowSum, Step, UnitSum

Precision: TypeAlias = Literal["ieee", "tf32x3", "tf32", "bf16"]
"""How the operands of products of float32 arrays are taken: as they are; as sums of two TF32 numbers, which keeps
nearly all of float32 and lets tensor cores multiply; rounded to TF32; rounded to bfloat16. Sums are in float32."""

RELATIONS = MappingProxyType(
    {
        sympy.StrictLessThan: "<",
        sympy.LessThan: "<=",
        sympy.StrictGreaterThan: ">",
        sympy.GreaterThan: ">=",
        sympy.Equality: "==",
        sympy.Unequality: "!=",
    }
)
FUNCTIONS = MappingProxyType(
    {
        "tanh": "_tanh",
        "sigmoid": "_sigmoid",
        "sinh": "_sinh",
        "cosh": "_cosh",
        "tan": "_tan",
        "exp": "tl.exp",
        "log": "tl.log",
        "sin": "tl.sin",
        "cos": "tl.cos",
        "Abs": "tl.abs",
    }
)
"""Functions of one argument. `sign`, `Heaviside`, `Max`, `Min` and `Piecewise` are printed as choices."""
LARGEST_POWER = 64

# tanh near zero: Lambert's continued fraction x / (1 + x^2 / (3 + x^2 / (5 + ...))), cut after eight terms, whose
# relative error below 0.625 is 6e-18; far from zero (1 - e) / (1 + e) with e = exp(-2 |x|), which cannot overflow
HELPERS = """
@triton.jit
def _tanh(x):
    a = tl.abs(x)
    z = x * x
    p = ((36.0 * z + 6930.0) * z + 270270.0) * z + 2027025.0
    q = (((z + 630.0) * z + 51975.0) * z + 945945.0) * z + 2027025.0
    e = tl.exp(-2.0 * a)
    far = (1.0 - e) / (1.0 + e)
    return tl.where(a < 0.625, x * (p / q), tl.where(x < 0.0, -far, far))


@triton.jit
def _sigmoid(x):
    e = tl.exp(-tl.abs(x))
    return tl.where(x < 0.0, e, e * 0.0 + 1.0) / (1.0 + e)


@triton.jit
def _sinh(x):
    t = _tanh(0.5 * x)
    e = tl.exp(x)
    return tl.where(tl.abs(x) < 1.0, 2.0 * t / (1.0 - t * t), 0.5 * (e - 1.0 / e))


@triton.jit
def _cosh(x):
    e = tl.exp(tl.abs(x))
    return 0.5 * (e + 1.0 / e)


@triton.jit
def _tan(x):
    return tl.sin(x) / tl.cos(x)


@triton.jit
def _operand(x, unit, n: tl.constexpr, N: tl.constexpr):
    if n < N:
        x = tl.where(unit < n, x, 0.0)
    return x
"""


@dataclass(frozen=True)
class Source:
    """text: a Python module with the functions `forward` and `backward`; numbers: what the kernels read after the
    program's scalars (h apart), since a number in Triton source may be rounded to float32; saved: arrays that a forward
    pass keeps of each step; outers: how many products give each matrix's cotangent in a step; held: matrices (n, n) on
    the chip in the kernel that holds more.
    """

    text: str
    numbers: tuple[float, ...]
    saved: int
    outers: tuple[int, ...]
    held: int


def unprintable(step: Step) -> str:
    """The first expression of a step or of its adjoint that has no Triton source; '' where all have."""
    both: list[Operation] = [*step.operations, *reverse(step, False).operations]
    for operation in both:
        if isinstance(operation, Assign | RowSum | UnitSum):
            for node in sympy.preorder_traversal(operation.value):
                if not _printable(node):
                    return str(node)
    return ""


def _printable(node: Any) -> bool:
    if isinstance(node, sympy.Symbol | sympy.Add | sympy.Mul | sympy.Number | sympy.NumberSymbol):
        return True
    if isinstance(node, sympy.Pow | sympy.Max | sympy.Min | sympy.Piecewise | sympy.Heaviside):
        return True
    if isinstance(node, ExprCondPair | And | Or | Not):
        return True
    if isinstance(node, BooleanTrue | BooleanFalse) or type(node) in RELATIONS:
        return True
    return type(node).__name__ in {*FUNCTIONS, "sign"}


@lru_cache(maxsize=256)
def source(step: Step, dtype: str, precision: Precision, keep: bool) -> Source:
    """The source of both kernels. dtype: "float32" or "float64"; keep: whether forward passes keep what backward passes
    would compute again."""
    back = reverse(step, keep)
    forward, backward = _Kernel(back.step, dtype, precision), _Kernel(back.step, dtype, precision)
    backward.numbers = forward.numbers
    texts = [_forward(forward, back), _backward(backward, back)]
    counts = [[o.matrix for o in back.operations if isinstance(o, Outer)].count(k) for k in range(len(step.widths))]
    head = '"""Generated from a step program."""\n\nimport triton\nimport triton.language as tl\n'
    return Source(
        "\n\n".join([head + HELPERS, *texts]),
        tuple(forward.numbers),
        len(back.saved),
        tuple(counts),
        max(len(forward.tiles), len(backward.tiles)),
    )


@dataclass
class _Kernel:
    """Lines of one kernel in the making, in the innermost loop, and what they need outside."""

    step: Step
    dtype: str
    precision: Precision
    lines: list[str] = field(default_factory=list)
    numbers: list[float] = field(default_factory=list)
    tiles: dict[tuple[int, int, bool], str] = field(default_factory=dict)
    whole: set[sympy.Symbol] = field(default_factory=set)
    count: int = 0

    # ----------------------------------------------------------------------------------------------------- expressions

    def temporary(self, text: str) -> str:
        self.count += 1
        self.lines.append(f"t{self.count} = {text}")
        return f"t{self.count}"

    def number(self, value: float) -> str:
        """A number of the kernel's dtype: an element of the table."""
        at = next((k for k, known in enumerate(self.numbers) if repr(known) == repr(value)), len(self.numbers))
        if at == len(self.numbers):
            self.numbers.append(value)
        return f"k{at}"

    def value(self, node: Any) -> str:
        """The text of an expression, safe as an operand."""
        if node.is_Symbol:
            return _name(node)
        if node.is_number:
            return self.number(float(node))
        if node.is_Add:
            return "(" + " + ".join(self.term(part) for part in node.args) + ")"
        if node.is_Mul:
            return self.product(node)
        if node.is_Pow:
            return self.power(node)
        if isinstance(node, sympy.Piecewise):
            text = self.number(math.nan)
            pairs: Any = reversed(node.args)
            for value, condition in pairs:
                text = self.choice(condition, self.value(value), text)
            return text
        if isinstance(node, sympy.Max | sympy.Min):
            name = "tl.maximum" if isinstance(node, sympy.Max) else "tl.minimum"
            first, *rest = (self.value(part) for part in node.args)
            for part in rest:
                first = f"{name}({first}, {part}, propagate_nan=tl.PropagateNan.ALL)"
            return first
        if isinstance(node, sympy.Heaviside):
            return f"tl.where({self.value(node.args[0])} > 0.0, {self.number(1.0)}, {self.number(0.0)})"
        if type(node).__name__ == "sign":
            x, one, less = self.temporary(self.value(node.args[0])), self.number(1.0), self.number(-1.0)
            return f"tl.where({x} > 0.0, {one}, tl.where({x} < 0.0, {less}, {x}))"
        return f"{FUNCTIONS[type(node).__name__]}({self.value(node.args[0])})"

    def term(self, node: Any) -> str:
        coefficient, rest = node.as_coeff_Mul()
        return f"(-{self.value(rest)})" if coefficient == -1 else self.value(node)

    def product(self, node: Any) -> str:
        above, below, negative = [], [], False
        for part in node.args:
            if part == -1:
                negative = not negative
            elif part.is_Pow and part.exp.is_Rational and part.exp.is_negative:
                below.append(self.value(part.base**-part.exp))
            elif part.is_number and float(part) == 1.0:
                continue
            else:
                above.append(self.value(part))
        text = " * ".join(above) or self.number(1.0)
        if below:
            text = f"({text}) / ({' * '.join(below)})"
        return f"(-({text}))" if negative else f"({text})"

    def power(self, node: Any) -> str:
        base, exponent = node.base, node.exp
        if base == sympy.E:
            return f"tl.exp({self.value(exponent)})"
        if exponent.is_Rational and exponent.is_negative:
            return f"({self.number(1.0)} / {self.value(base**-exponent)})"
        if exponent == sympy.Rational(1, 2):
            return f"tl.sqrt({self.value(base)})"
        if exponent.is_Integer and exponent <= LARGEST_POWER:
            square, left, found = self.temporary(self.value(base)), int(exponent), ""
            while left:
                if left % 2:
                    found = f"{found} * {square}" if found else square
                left //= 2
                if left:
                    square = self.temporary(f"{square} * {square}")
            return f"({found})"
        if exponent.is_Rational and exponent.q == 2:
            return f"({self.value(base ** ((exponent.p - 1) // 2))} * tl.sqrt({self.value(base)}))"
        return f"tl.exp({self.value(exponent)} * tl.log({self.value(base)}))"

    def choice(self, condition: Any, yes: str, no: str) -> str:
        if condition == sympy.true:
            return yes
        return no if condition == sympy.false else f"tl.where({self.condition(condition)}, {yes}, {no})"

    def condition(self, node: Any) -> str:
        if isinstance(node, And | Or):
            return "(" + (" & " if isinstance(node, And) else " | ").join(map(self.condition, node.args)) + ")"
        if isinstance(node, Not):
            (inner,) = node.args
            return f"({self.condition(inner)} == 0)"
        return f"({self.value(node.lhs)} {RELATIONS[type(node)]} {self.value(node.rhs)})"

    # ------------------------------------------------------------------------------------------------------ operations

    def known(self, symbols: Iterable[sympy.Symbol]) -> None:
        """These are whole arrays (R, N)."""
        self.whole |= set(symbols)

    def operation(self, one: Operation) -> None:
        match one:
            case Assign(symbol, value):
                text = self.value(value)
                # what reads no array is a number, a row or a column so far
                spread = "" if value.free_symbols & self.whole else " + zero"
                self.lines.append(f"{_name(symbol)} = {text}{spread}")
                self.known([symbol])
            case Product(outputs, inputs, matrix, transposed, plus):
                for k, (output, before) in enumerate(zip(outputs, plus, strict=True)):
                    text = "zero" if before is None else _name(before)
                    for j, x in enumerate(inputs):
                        text = self.dot(_name(x), self.tile(matrix, max(j, k), transposed), text)
                    self.lines.append(f"{_name(output)} = {text}")
                self.known(outputs)
            case RowSum(vector, value):
                at = self.step.vectors.index(vector)
                self.lines.append(f"g_vector{at} += tl.sum(tl.where(real, {self.value(value)}, 0.0), axis=0)")
            case UnitSum(scalar, value):
                at = self.step.row_scalars.index(scalar)
                self.lines.append(f"g_row{at} += tl.sum(tl.where(real, {self.value(value)}, 0.0), axis=1)")
            case Outer():
                raise AssertionError("an outer product is stored, not printed")

    def dot(self, x: str, w: str, plus: str) -> str:
        operand = f"_operand({x}, unit, n, N)"
        if self.precision == "bf16":
            return f"tl.dot({operand}.to(tl.bfloat16), {w}, acc={plus}, out_dtype=tl.{self.dtype})"
        return f'tl.dot({operand}, {w}, acc={plus}, input_precision="{self.precision}", out_dtype=tl.{self.dtype})'

    def tile(self, matrix: int, column: int, transposed: bool) -> str:
        """The name of a matrix (N, N) on the chip."""
        return self.tiles.setdefault(
            (matrix, column, transposed), f"w{matrix}_{column}{'_transposed' if transposed else ''}"
        )

    def preamble(self) -> list[str]:
        """What is read once."""
        lines = [
            "rows = tl.program_id(0) * R + tl.arange(0, R)",
            "row = rows[:, None]",
            "unit = tl.arange(0, N)[None, :]",
            "inner = tl.arange(0, N)[:, None]",
            "real = (row < batch) & (unit < n)",
            "acting = (inner < n) & (unit < n)",
            f"zero = tl.zeros((R, N), dtype=tl.{self.dtype})",
        ]
        half = ".to(tl.bfloat16)" if self.precision == "bf16" else ""
        for (matrix, column, transposed), name in self.tiles.items():
            width = self.step.widths[matrix]
            first, second = ("unit", "inner") if transposed else ("inner", "unit")
            place = f"{first} * {width} * n + {column} * n + {second}"
            lines.append(f"{name} = tl.load(matrix{matrix} + {place}, mask=acting, other=0.0){half}")
        for k, symbol in enumerate(self.step.vectors):
            lines.append(f"{_name(symbol)} = tl.load(vector{k} + unit, mask=unit < n, other=0.0)")
        scalars = self.step.scalars[1:]
        lines += [f"{_name(symbol)} = tl.load(table + {k})" for k, symbol in enumerate(scalars)]
        lines += [f"k{k} = tl.load(table + {len(scalars) + k})" for k in range(len(self.numbers))]
        return lines

    def held(self) -> list[str]:
        """The input, which is held over several steps."""
        count = len(self.step.drives)
        lines = [_load(_name(s), "drives", k, count) for k, s in enumerate(self.step.drives)]
        for k, symbol in enumerate(self.step.row_scalars):
            place = f"row * {len(self.step.row_scalars)} + {k}"
            lines.append(f"{_name(symbol)} = tl.load(row_scalars + {place}, mask=row < batch, other=0.0)")
        return lines

    def advance(self, name: str, count: int, sign: str = "+") -> list[str]:
        """Move a pointer on by one step of (batch, count, n) numbers."""
        return [f"{name} {sign}= batch * {count} * n"] if count else []


def _name(symbol: sympy.Symbol) -> str:
    return "h" if symbol == H else f"s_{symbol.name}"


def _place(index: int, count: int) -> str:
    return f"(row * {count} + {index}) * n + unit"


def _load(name: str, pointer: str, index: int, count: int) -> str:
    return f"{name} = tl.load({pointer} + {_place(index, count)}, mask=real, other=0.0)"


def _store(name: str, pointer: str, index: int, count: int) -> str:
    return f"tl.store({pointer} + {_place(index, count)}, {name}, mask=real)"


def _block(name: str, arguments: Sequence[str], body: Sequence[tuple[int, Sequence[str]]]) -> str:
    """The text of a kernel: (depth, lines) one after another."""
    sizes = ["batch", "inputs", "substeps", "n: tl.constexpr", "N: tl.constexpr", "R: tl.constexpr"]
    lines = ["@triton.jit", f"def {name}({', '.join([*arguments, *sizes])}):"]
    lines += ["    " * depth + line for depth, part in body for line in part]
    return "\n".join(lines) + "\n"


def _read(step: Step) -> list[str]:
    """Arguments that both kernels take."""
    matrices = [f"matrix{k}" for k in range(len(step.widths))]
    return ["drives", "row_scalars", *matrices, *(f"vector{k}" for k in range(len(step.vectors))), "sizes", "table"]


def _forward(kernel: _Kernel, back: Reverse) -> str:
    """states (steps + 1, batch, m, n), the start first and given; saved (steps, batch, s, n)."""
    step = kernel.step
    m, s = len(step.state), len(back.saved)
    kernel.known([*step.state, *step.drives])
    for operation in step.operations:
        kernel.operation(operation)
    lines = ["h = tl.load(sizes)", *kernel.lines]
    lines += [_store(_name(symbol), "saved", k, s) for k, symbol in enumerate(back.saved)]
    lines += [f"next{k} = {_name(symbol)}" for k, symbol in enumerate(step.result)]
    lines += [f"{_name(symbol)} = next{k}" for k, symbol in enumerate(step.state)]
    lines += kernel.advance("states", m)
    lines += [_store(_name(symbol), "states", k, m) for k, symbol in enumerate(step.state)]
    lines += [*kernel.advance("saved", s), "sizes += 1"]
    after = kernel.advance("drives", len(step.drives))
    after += [f"row_scalars += batch * {len(step.row_scalars)}"] if step.row_scalars else []
    start = [_load(_name(symbol), "states", k, m) for k, symbol in enumerate(step.state)]
    body: list[tuple[int, Sequence[str]]] = [
        (1, [*kernel.preamble(), *start, "for _ in range(inputs):"]),
        (2, [*kernel.held(), "for _ in range(substeps):"]),
        (3, lines),
        (2, after),
    ]
    return _block("forward", [*_read(step), "states", "saved"], body)


def _backward(kernel: _Kernel, back: Reverse) -> str:
    """Every pointer to a sequence is to its last step. cotangents: of the states after the steps; carry (batch, m, n):
    the cotangent of the last state beside that, and afterwards that of the first; found_drives, found_row_scalars: one
    for each step; left*, right*: the factors of the matrices' cotangents; found_vectors (tiles, vectors, n)."""
    step = kernel.step
    m, s, d, r, v = map(len, (step.state, back.saved, step.drives, step.row_scalars, step.vectors))
    kernel.known([*step.state, *step.drives, *back.saved, *back.cotangents])
    outers: list[list[Outer]] = [[] for _ in step.widths]
    for operation in back.operations:
        if isinstance(operation, Outer):
            outers[operation.matrix].append(operation)
        else:
            kernel.operation(operation)

    def text(symbol: sympy.Symbol | None) -> str:
        return "zero" if symbol is None else _name(symbol)

    lines = ["h = tl.load(sizes)"]
    lines += [_load(_name(symbol), "states", k, m) for k, symbol in enumerate(step.state)]
    lines += [_load(_name(symbol), "saved", k, s) for k, symbol in enumerate(back.saved)]
    for k, symbol in enumerate(back.cotangents):
        lines += [_load(_name(symbol), "cotangents", k, m), f"{_name(symbol)} += carried{k}"]
    lines += [f"g_row{k} = tl.zeros((R,), dtype=tl.{kernel.dtype})" for k in range(r)]
    lines += kernel.lines
    lines += [f"carried{k} = {text(symbol)}" for k, symbol in enumerate(back.state)]
    lines += [_store(text(symbol), "found_drives", k, d) for k, symbol in enumerate(back.drives)]
    lines += [f"tl.store(found_row_scalars + rows * {r} + {k}, g_row{k}, mask=rows < batch)" for k in range(r)]
    for index, (width, those) in enumerate(zip(step.widths, outers, strict=True)):
        for k, outer in enumerate(those):
            # (outer, row, column): each is a matrix of rows for the product afterwards
            lines.append(f"tl.store(left{index} + ({k} * batch + row) * n + unit, {text(outer.inputs)}, mask=real)")
            for j, symbol in enumerate(outer.outputs):
                place = f"(({k} * batch + row) * {width} + {j}) * n + unit"
                lines.append(f"tl.store(right{index} + {place}, {text(symbol)}, mask=real)")
        lines += kernel.advance(f"left{index}", len(those), "-")
        lines += kernel.advance(f"right{index}", len(those) * width, "-")
    for name, count in (("states", m), ("saved", s), ("cotangents", m), ("found_drives", d)):
        lines += kernel.advance(name, count, "-")
    lines += [f"found_row_scalars -= batch * {r}"] if r else []
    lines.append("sizes -= 1")
    after = kernel.advance("drives", d, "-")
    after += [f"row_scalars -= batch * {r}"] if r else []
    before = [_load(f"carried{k}", "carry", k, m) for k in range(m)]
    before += [f"g_vector{k} = tl.zeros((N,), dtype=tl.{kernel.dtype})" for k in range(v)]
    last = [_store(f"carried{k}", "carry", k, m) for k in range(m)]
    place = "tl.arange(0, N)"
    last += [
        f"tl.store(found_vectors + (tl.program_id(0) * {v} + {k}) * n + {place}, g_vector{k}, mask={place} < n)"
        for k in range(v)
    ]
    body: list[tuple[int, Sequence[str]]] = [
        (1, [*kernel.preamble(), *before, "for _ in range(inputs):"]),
        (2, [*kernel.held(), "for _ in range(substeps):"]),
        (3, lines),
        (2, after),
        (1, last),
    ]
    arguments = ["states", "saved", "cotangents", "carry", "found_drives", "found_row_scalars", "found_vectors"]
    arguments += [f"{side}{k}" for k in range(len(step.widths)) for side in ("left", "right")]
    return _block("backward", [*_read(step), *arguments], body)
