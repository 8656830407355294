"""An equation under a method as a step program: Runge-Kutta stages, partitioned methods, flows of parts.

The program reads tensors that torch assembles once a sequence from the field's weights (`operands`), so that gradients
reach the parameters through torch, whatever their storage. Matrices that are diagonal become vectors.

Longer than most files: the flows of parts and the stages read one equation in one way.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import sympy

from ..field import EquationField, Part
from ..functions import sign
from ..layout import layout
from ..partitioned_tableau import PartitionedTableau
from ..schedule import Schedule, schedule
from ..splitting import Splitting
from ..tableaux import Method
from ..tableaux import method as named_method
from .program import H
from .writer import Blocks, CannotLowerError, Lowered, Operand, Slope, Source, Writer, partitioned, runge_kutta


@lru_cache(maxsize=256)
def lowered(equation: EquationField, method: Method) -> Lowered:
    """The program of one step. Raises `CannotLowerError`."""
    writer = _EquationWriter(equation)
    y = writer.writer.state
    if isinstance(method, Splitting):
        new, calls = _composed(writer, method, y)
    else:
        new, calls = _stages(writer, equation.rhs, method, y, H)
    return writer.writer.finish(new, calls, even=isinstance(method, Splitting))


class _EquationWriter:
    """Writes the expressions of one equation."""

    def __init__(self, equation: EquationField) -> None:
        self.equation = equation
        self.layout = layout(equation)
        self.writer = Writer(equation.blocks, tuple(equation.constants))
        self.diagonal = {m.symbol: all(w.diagonal for _, w in m.reads) for m in equation.maps}

    def slope(self, rhs: Sequence[Any]) -> Slope:
        """The slopes of a sum of parts."""
        return lambda block, at, memo: self.evaluate(rhs[block], at, memo)

    def evaluate(self, expression: Any, at: Blocks, memo: dict[Any, Any], still: bool = False) -> sympy.Expr:
        """An expression of the equation at a state. still: at the state 0, where products vanish.

        memo: within one step, what reads the same symbols is written once.
        """
        expression = sympy.sympify(expression)
        free = expression.free_symbols
        values: dict[Any, Any] = {s: (sympy.S.Zero if still else at[j]) for j, s in enumerate(self.equation.state)}
        values |= self.writer.constants
        for k, m in enumerate(self.layout.driven):
            if m.symbol in free:
                values[m.symbol] = self._preactivation(k, at, memo, still)
        offset = 1 + len(self.equation.mixes)
        for k, m in enumerate(self.layout.vectors):
            if m.symbol in free:
                values[m.symbol] = self.writer.vector(Operand("vector", offset + k))
        for index, mix in enumerate(self.equation.mixes):
            if mix.symbol in free:
                inside = self.evaluate(mix.of, at, memo, still)
                key = ("mix", index, inside)
                if key not in memo:
                    memo[key] = self.writer.product(inside, Operand("mix", 1 + index))[0]
                values[mix.symbol] = memo[key]
        found: sympy.Expr = expression.xreplace(values)
        return found

    def _drive(self, k: int) -> sympy.Symbol | None:
        """What the input adds to a preactivation; None where it adds nothing."""
        return self.writer.drive(k) if self.layout.driven[k].driven else None

    def _preactivation(self, k: int, at: Blocks, memo: dict[Any, Any], still: bool) -> sympy.Expr:
        drive, m = self._drive(k), self.layout.driven[k]
        rest: sympy.Expr = self.writer.vector(Operand("bias", k)) if m.has_bias else sympy.S.Zero
        if still or k >= len(self.layout.reading):
            return rest if drive is None else drive + rest
        group = self.layout.groups[self.layout.group_of[k]]
        if self.diagonal[m.symbol]:
            whole = rest if drive is None else drive + rest
            for j in group.blocks:
                whole = whole + self.writer.vector(Operand("maps", k, k + 1, j, diagonal=True)) * at[j]
            return whole
        alone = any(self.diagonal[self.layout.reading[i].symbol] for i in range(group.first, group.last))
        first, last = (k, k + 1) if alone else (group.first, group.last)
        key = ("maps", first, *(at[j] for j in group.blocks))
        if key not in memo:
            plus = [self._drive(i) for i in range(first, last)]
            for j in group.blocks:
                if at[j] != 0:
                    plus = list(self.writer.product(at[j], Operand("maps", first, last, j), last - first, plus))
            memo[key] = tuple(sympy.S.Zero if p is None else p for p in plus)
        found: sympy.Expr = memo[key][k - first] + rest
        return found


# --------------------------------------------------------------------------------------------------------- the methods


def _stages(
    equation: _EquationWriter, rhs: Sequence[Any], method: Method, y: Blocks, h: sympy.Expr
) -> tuple[Blocks, int]:
    """A step by the stages of one tableau, or of one for each block."""
    if isinstance(method, PartitionedTableau):
        plan = _plan(equation.equation, method, rhs)
        return partitioned(equation.writer, equation.slope(rhs), plan, y, h)
    if isinstance(method, Splitting) or not method.explicit:
        raise CannotLowerError(f"method {method.name!r} is no explicit one")
    return runge_kutta(equation.writer, equation.slope(rhs), method, y, h)


def _plan(equation: EquationField, method: PartitionedTableau, rhs: Sequence[Any]) -> Schedule:
    """The order of a partitioned method's slopes."""
    if equation.blocks != 2:
        raise CannotLowerError(f"method {method.name!r} steps two blocks")
    found = schedule(method, tuple(_reads(equation, e) for e in rhs))
    if not found.explicit:
        raise CannotLowerError(f"the stages of method {method.name!r} are equations for this field")
    return found


def _reads(equation: EquationField, expression: Any) -> frozenset[int]:
    """The blocks that an expression depends on, through whatever way."""
    free = sympy.sympify(expression).free_symbols
    found = {j for j, s in enumerate(equation.state) if s in free}
    found |= {j for m in equation.maps if m.symbol in free for j, _ in m.reads}
    for mix in equation.mixes:
        if mix.symbol in free:
            found |= _reads(equation, mix.of)
    return frozenset(found)


def _composed(equation: _EquationWriter, method: Splitting, y: Blocks) -> tuple[Blocks, int]:
    parts = equation.equation.parts
    if not parts:
        raise CannotLowerError("the field is not given as a sum of parts")
    sequence = [(index, float(share)) for index, share in method.sequence(len(parts))]
    for index, share in sequence:
        y = _flow(equation, index, share, method.linear, y)
    order = [index for index, _ in sequence]
    if any(part.flow == "reflect" and order.count(k) > 1 for k, part in enumerate(parts)):
        raise CannotLowerError("a reflection acts once a step")
    return y, max(order.count(k) for k in range(len(parts)))


def _flow(equation: _EquationWriter, index: int, share: float, linear: Literal["exact", "cayley"], y: Blocks) -> Blocks:
    part = equation.equation.parts[index]
    h = H * sympy.Float(share, 17)
    match part.flow:
        case "linear":
            return _linear(equation, index, share, linear, y)
        case "kick":
            memo: dict[Any, Any] = {}
            moved = [equation.evaluate(e, y, memo) if e != 0 else sympy.S.Zero for e in part.rhs]
            return tuple(b if m == 0 else equation.writer.assign(b + h * m) for b, m in zip(y, moved, strict=True))
        case "radial":
            return _radial(equation, part, h, y)
        case "reflect":
            signs = (equation.writer.vector(Operand("signs", j)) for j in range(len(y)))
            return tuple(equation.writer.assign(s * b) for s, b in zip(signs, y, strict=True))
        case "stepped":
            return _stepped(equation, part, h, y)


def _linear(
    equation: _EquationWriter, index: int, share: float, linear: Literal["exact", "cayley"], y: Blocks
) -> Blocks:
    """y+ = E y + Phi g with g the slope at the state 0."""
    part, placed = equation.equation.parts[index], equation.layout
    slopes = [sympy.sympify(e) for e in part.rhs]
    free = set[Any]().union(*(e.free_symbols for e in slopes))
    if free & {mix.symbol for mix in equation.equation.mixes}:
        raise CannotLowerError(f"part {part.name!r} is mixed by a second matrix")
    inner = [*equation.equation.state, *(m.symbol for m in placed.reading)]
    held = {m.symbol for m in placed.driven if not m.reads}
    if any(d.free_symbols & held for e in slopes for s in inner if (d := e.diff(s)) != 0):
        raise CannotLowerError(f"the matrix of part {part.name!r} changes with the input")
    diagonal = not any(m.symbol in free and not equation.diagonal[m.symbol] for m in placed.reading)
    memo: dict[Any, Any] = {}
    offsets = [equation.writer.assign(equation.evaluate(e, y, memo, still=True)) for e in slopes]
    found: list[sympy.Expr] = []
    for i, e in enumerate(slopes):
        if e == 0:
            found.append(y[i])
            continue
        pairs: list[tuple[sympy.Expr, Source, int]] = [(b, "flow", j) for j, b in enumerate(y)]
        pairs += [(g, "drift", j) for j, g in enumerate(offsets) if g != 0]
        total: sympy.Expr = sympy.S.Zero
        before: sympy.Symbol | None = None
        for value, source, j in pairs:
            operand = Operand(source, i, row=j, part=index, share=share, linear=linear, diagonal=diagonal)
            if diagonal:
                total = total + equation.writer.vector(operand) * value
            else:
                (before,) = equation.writer.product(value, operand, 1, (before,))
        found.append(equation.writer.assign(total) if before is None else before)
    return tuple(found)


def _radial(equation: _EquationWriter, part: Part, h: sympy.Expr, y: Blocks) -> Blocks:
    """|y| -> max(|y| + h b, 0), the direction kept; what is zero stays zero."""
    names = set[Any]().union(*(sympy.sympify(e).free_symbols for e in part.rhs))
    (which,) = (k for k, m in enumerate(equation.layout.vectors) if m.symbol in names)
    change = h * equation.writer.vector(Operand("vector", 1 + len(equation.equation.mixes) + which))
    if not (len(y) == 2 and all(e != 0 for e in part.rhs)):
        return tuple(
            b if e == 0 else equation.writer.assign(sign(b) * sympy.Max(sympy.Abs(b) + change, 0))
            for b, e in zip(y, part.rhs, strict=True)
        )
    squared = equation.writer.array(y[0] ** 2 + y[1] ** 2)
    modulus = equation.writer.assign(sympy.sqrt(sympy.Piecewise((squared, squared > 0), (sympy.S.One, True))))
    scale = equation.writer.assign(
        sympy.Piecewise((sympy.Max(modulus + change, 0) / modulus, squared > 0), (sympy.S.Zero, True))
    )
    return tuple(equation.writer.assign(scale * b) for b in y)


def _stepped(equation: _EquationWriter, part: Part, h: sympy.Expr, y: Blocks) -> Blocks:
    chosen = named_method(part.method)
    for _ in range(part.substeps):
        y, _calls = _stages(equation, part.rhs, chosen, y, h / sympy.Integer(part.substeps))
    return y
