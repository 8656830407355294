"""Printed code of y' = L y + M g(y) + c: lanes run over components, rows are trajectories stepped side by side.

A slope is one product, [y, g(y)] (rows, K) times the columns of L and M that are not zero, (K, dimension): one pass
over the matrix serves all rows. It is packed in panels of a few registers, which a kernel sums for all rows at once.
The number of a matrix's columns that count, and which, are known at run time alone, as all its numbers are.
Stages are those of `solvers.step`, step sizes those of `step_control`. Each trajectory's numbers are the same however
many rows there are. Longer than most files: both printers share a slope and a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import sympy
from llvmlite import ir

from ..step import Row, Stages
from . import elementary
from .expressions import evaluate
from .step_control import Record, Run, bit, first_guess, land, plan, proceed, settle, start, unknown_slope
from .vector import I64, Builder, Lanes, Value, function, loop, number, slot

FIELD = ("inner", "matrix", "sources", "constant", "blocks", "places", "parameters")
"""The table of int64 that a slope reads: numbers and addresses.

inner K, a multiple of `ways`; matrix: panels, each (K, its columns); sources (K,): where in [y, g(y)] the factor of a
row of the matrix stands; constant (padded,); blocks: how many registers of y need g, places (blocks,): where those
start; parameters of g.
"""
AVX512_BYTES = 64
MOST_ROWS = 4

Element: TypeAlias = Callable[[Builder, Value, Value], Value]
"""(builder, row, index of the first component) -> values."""


@dataclass(frozen=True)
class MatrixProblem:
    """y' = L y + M g(y) + c with g one expression of a symbol, stepped for `rows` trajectories at once.

    lanes: side by side in a register; order: of the error estimate of a pair, 0 where steps are fixed.
    """

    pointwise: sympy.Expr
    symbol: sympy.Symbol
    parameters: tuple[sympy.Symbol, ...]
    dimension: int
    stages: Stages
    lanes: Lanes
    rows: int
    order: int = 0

    @property
    def control(self) -> Lanes:
        """The lanes of times and step sizes, one a row."""
        return Lanes("float64", self.rows)

    @property
    def padded(self) -> int:
        """The dimension as whole registers; components beyond it are no part of an error."""
        return -(-self.dimension // self.lanes.width) * self.lanes.width

    @property
    def held(self) -> int:
        """Registers that a block of sums may fill, so that it and what it multiplies stay in registers."""
        return 24 if self.lanes.width * self.lanes.size >= AVX512_BYTES else 12

    @property
    def panels(self) -> tuple[int, ...]:
        """Registers side by side in each panel of the matrix, as even as can be."""
        total = self.padded // self.lanes.width
        count = -(-total // min(8, self.held // self.rows))
        return tuple(total * (i + 1) // count - total * i // count for i in range(count))

    @property
    def ways(self) -> int:
        """Sums over every so manyth column, so that a narrow product does not wait for its own results.

        The same for all numbers of rows, as the sums are.
        """
        total = self.padded // self.lanes.width
        return max((ways for ways in (1, 2, 4) if ways * total * MOST_ROWS <= self.held), default=1)

    @property
    def scratch(self) -> int:
        """Numbers of working memory: the argument of a stage with room for g of it, and all slopes."""
        return self.rows * self.padded * (2 + max(2, len(self.stages)))


@dataclass(frozen=True)
class _Group:
    """What a step of a group of rows works on.

    state, argument: (rows, 2 padded), y and g(y); slopes: (rows, padded) each; sizes: the step of every row.
    """

    problem: MatrixProblem
    slope: Any
    table: Value
    state: Value
    argument: Value
    slopes: list[Value]
    sizes: Value

    def evaluate(self, b: Builder, argument: Value, result: Value) -> None:
        b.call(self.slope, [self.table, argument, result])


def _constant(x: int) -> Value:
    return ir.Constant(I64, x)


def _slope(problem: MatrixProblem, module: Any) -> Any:
    """slope(table, [y, g(y)], result): fills in g(y) and computes all components of all rows."""
    lanes, width, padded = problem.lanes, problem.lanes.width, problem.padded
    made, b = function(module, "slope", [I64.as_pointer(), lanes.pointer, lanes.pointer], internal=True)
    made.attributes.add("noinline")
    table, arguments, result = made.args
    arguments.add_attribute("noalias")
    result.add_attribute("noalias")
    field = {name: b.load(b.gep(table, [_constant(i)])) for i, name in enumerate(FIELD)}
    matrix, constant, parameters = (
        b.inttoptr(field[name], lanes.pointer) for name in ("matrix", "constant", "parameters")
    )
    sources, places = (b.inttoptr(field[name], I64.as_pointer()) for name in ("sources", "places"))
    known = {symbol: lanes.broadcast(b, parameters, i) for i, symbol in enumerate(problem.parameters)}
    with loop(b, problem.rows, name="row") as r, loop(b, field["blocks"], name="block") as j:
        place = b.gep(arguments, [b.add(b.mul(r, _constant(2 * padded)), b.load(b.gep(places, [j])))])
        (g,) = evaluate(b, lanes, [problem.pointwise], {**known, problem.symbol: lanes.load(b, place)})
        lanes.store(b, g, place, padded)
    first = 0
    for size in problem.panels:
        panel = b.gep(matrix, [b.mul(field["inner"], _constant(first * width))])
        cells = [(r, v) for r in range(problem.rows) for v in range(size)]
        sums = {(way, *cell): slot(b, lanes.type) for way in range(problem.ways) for cell in cells}
        for (way, _, v), place in sums.items():
            begin = lanes.constant(0.0) if way else lanes.load(b, constant, (first + v) * width)
            b.store(begin, place)
        with loop(b, field["inner"], problem.ways, name="k") as k:
            for way in range(problem.ways):
                at = b.add(k, _constant(way))
                source = b.gep(arguments, [b.load(b.gep(sources, [at]))])
                line = b.gep(panel, [b.mul(at, _constant(size * width))])
                factors = [lanes.broadcast(b, source, r * 2 * padded) for r in range(problem.rows)]
                columns = [lanes.load(b, line, v * width) for v in range(size)]
                for r, v in cells:
                    place = sums[way, r, v]
                    b.store(lanes.fma(b, factors[r], columns[v], b.load(place)), place)
        for r, v in cells:
            total = b.load(sums[0, r, v])
            for way in range(1, problem.ways):
                total = b.fadd(total, b.load(sums[way, r, v]))
            lanes.store(b, total, result, r * padded + (first + v) * width)
        first += size
    b.ret_void()
    return made


def _weights(b: Builder, group: _Group, row: Row, r: Value) -> list[Value]:
    """The coefficients times the step of a row, in float64, rounded once to the dtype."""
    lanes, control = group.problem.lanes, group.problem.control.one_lane
    h = b.load(b.gep(group.sizes, [r]))
    products = [b.fmul(control.constant(c), h) for _, c in row]
    return [lanes.splat(b, x if lanes.dtype == "float64" else b.fptrunc(x, lanes.scalar)) for x in products]


def _change(b: Builder, group: _Group, row: Row, weights: Sequence[Value], r: Value, i: Value) -> Value:
    """See `solvers.step.change`, of one register."""
    lanes = group.problem.lanes
    at = b.add(b.mul(r, _constant(group.problem.padded)), i)
    (first, *rest) = [lanes.load(b, group.slopes[stage], at) for stage, _ in row]
    total = b.fmul(first, weights[0])
    for slope, weight in zip(rest, weights[1:], strict=True):
        total = lanes.fma(b, slope, weight, total)
    return total


def _shift(b: Builder, group: _Group, row: Row, target: Value) -> None:
    """target = y + h times the row's combination of slopes."""
    problem, lanes = group.problem, group.problem.lanes
    with loop(b, problem.rows, name="row") as r:
        weights = _weights(b, group, row, r)
        start = b.mul(r, _constant(2 * problem.padded))
        with loop(b, problem.padded, lanes.width, name="unit") as i:
            at = b.add(start, i)
            y = lanes.load(b, group.state, at)
            if len(row) == 1:
                slope = lanes.load(b, group.slopes[row[0][0]], b.add(b.mul(r, _constant(problem.padded)), i))
                y = lanes.fma(b, slope, weights[0], y)
            elif row:
                y = b.fadd(y, _change(b, group, row, weights, r, i))
            lanes.store(b, y, target, at)


def _step(b: Builder, group: _Group, target: Value) -> None:
    """See `solvers.step.advance`: from the state and the first slope, the new state into target."""
    method = group.problem.stages
    for stage, row in enumerate(method.rows[1:], start=1):
        _shift(b, group, row, group.argument)
        group.evaluate(b, group.argument, group.slopes[stage])
    if not method.fsal:
        _shift(b, group, method.weights, target)
    elif target is not group.argument:
        _shift(b, group, method.rows[-1], target)


def _copy(b: Builder, problem: MatrixProblem, source: Value, target: Value, count: int) -> None:
    """`count` numbers from one place to another."""
    lanes = problem.lanes
    whole = count - count % lanes.width
    with loop(b, whole, lanes.width, name="copy") as i:
        lanes.store(b, lanes.load(b, source, i), target, i)
    one = lanes.one_lane
    for i in range(whole, count):
        one.store(b, one.load(b, source, i), target, i)


def _group(
    b: Builder, problem: MatrixProblem, slope: Any, table: Value, state: Value, work: Value, sizes: Value, first: Value
) -> _Group:
    """first: where the slope at the state stands."""
    size = problem.rows * problem.padded
    slopes = [first, *(b.gep(work, [_constant((2 + i) * size)]) for i in range(1, max(2, len(problem.stages))))]
    return _Group(problem, slope, table, state, work, slopes, sizes)


def fixed_code(problem: MatrixProblem) -> str:
    """LLVM IR of fixed(first, last, stride, begin, end, sample, samples, kept, sizes, table, states, out, work).

    The steps from begin to end of the trajectories first, first + rows, ... below last. states: (stride, 2 padded), y
    first, changed in place; kept: (samples,), sample s being the state after kept[s] steps, `sample` the first of them
    that is still to be written; sizes: of every step; out: (samples, stride, dimension).
    """
    lanes, n, padded = problem.lanes, problem.dimension, problem.padded
    module, whole = ir.Module(), I64.as_pointer()
    real = ir.DoubleType().as_pointer()
    slope = _slope(problem, module)
    kinds = [*[I64] * 7, whole, real, whole, lanes.pointer, lanes.pointer, lanes.pointer]
    made, b = function(module, "fixed", kinds)
    first, last, stride, begin, end, sample, samples, kept, given, table, states, out, work = made.args
    sizes, cursor = slot(b, ir.DoubleType(), count=problem.rows), slot(b, I64)
    with loop(b, last, problem.rows, first, "lanes") as lane:
        state = b.gep(states, [b.mul(lane, _constant(2 * padded))])
        slopes = b.gep(work, [_constant(2 * problem.rows * padded)])
        group = _group(b, problem, slope, table, state, work, sizes, slopes)
        b.store(sample, cursor)
        with loop(b, end, start=begin, name="step") as step:
            h = b.load(b.gep(given, [step]))
            for r in range(problem.rows):
                b.store(h, b.gep(sizes, [_constant(r)]))
            group.evaluate(b, state, group.slopes[0])
            _step(b, group, state)
            head, check, body, after = (
                b.append_basic_block(f"sample.{part}") for part in ("head", "check", "body", "after")
            )
            b.branch(head)
            b.position_at_end(head)
            s = b.load(cursor)
            b.cbranch(b.icmp_signed("<", s, samples), check, after)
            b.position_at_end(check)
            b.cbranch(b.icmp_signed("==", b.load(b.gep(kept, [s])), b.add(step, number(1))), body, after)
            b.position_at_end(body)
            with loop(b, problem.rows, name="row") as r:
                row = b.add(b.add(b.mul(s, stride), lane), r)
                source = b.gep(state, [b.mul(r, _constant(2 * padded))])
                _copy(b, problem, source, b.gep(out, [b.mul(row, _constant(n))]), n)
            b.store(b.add(s, number(1)), cursor)
            b.branch(head)
            b.position_at_end(after)
    b.ret_void()
    return str(module)


def _norm(b: Builder, group: _Group, pair: tuple[Value, Value], prepare: Callable[[Builder, Value], Element],
          size: Element) -> Value:  # fmt: skip
    """See `solvers.adaptive.Tolerance.norm`, of every row, as float64.

    pair: rtol and atol; prepare(b, row): the error's values; size: max(|y|, |y_new|).
    """
    problem, lanes = group.problem, group.problem.lanes
    rtol, atol = pair
    total, found = slot(b, lanes.type), slot(b, ir.DoubleType(), count=problem.rows)
    with loop(b, problem.rows, name="row") as r:
        error = prepare(b, r)

        def add(i: Value, mask: Value | None, r: Value = r, error: Element = error) -> None:
            share = b.fdiv(error(b, r, i), lanes.fma(b, rtol, size(b, r, i), atol))
            share = share if mask is None else b.select(mask, share, lanes.constant(0.0))
            b.store(lanes.fma(b, share, share, b.load(total)), total)

        b.store(lanes.constant(0.0), total)
        rest = problem.dimension % lanes.width
        with loop(b, problem.dimension - rest, lanes.width, name="unit") as i:
            add(i, None)
        if rest:
            mask = ir.Constant(lanes.mask, [int(j < rest) for j in range(lanes.width)])
            add(_constant(problem.dimension - rest), mask)
        one = lanes.one_lane
        mean = elementary.sqrt(b, one, b.fdiv(lanes.sum(b, b.load(total)), one.constant(problem.dimension)))
        b.store(mean if lanes.dtype == "float64" else b.fpext(mean, ir.DoubleType()), b.gep(found, [r]))
    return problem.control.load(b, found)


def _at(group: _Group, pointer: Value, wide: bool) -> Element:
    """The numbers of an array (rows, padded), or with `wide` (rows, 2 padded)."""
    lanes, padded = group.problem.lanes, group.problem.padded
    distance = 2 * padded if wide else padded
    return lambda b, r, i: lanes.load(b, pointer, b.add(b.mul(r, _constant(distance)), i))


def adaptive_code(problem: MatrixProblem) -> str:
    """LLVM IR of begin and proceed(first, last, stride, n, limit, controller, times, tolerances, reals, counts, table,
    states, slopes, out, work).

    As `rollout.adaptive_code`, a group of lanes being one of rows; states: (stride, 2 padded), y first; slopes:
    (stride, padded), those at the states; out: (n, stride, dimension); work: `scratch` numbers.
    """
    module, lanes, whole = ir.Module(), problem.lanes, I64.as_pointer()
    real = ir.DoubleType().as_pointer()
    slope = _slope(problem, module)
    kinds = [*[I64] * 6, real, lanes.pointer, real, whole, whole, *[lanes.pointer] * 4]
    for name, body in (("begin", _begin), ("proceed", _proceed)):
        made, b = function(module, name, kinds)
        first, last, stride, n, limit, controller, times, tolerances, reals, counts, table, *rest = made.args
        states, slopes, out, work = rest
        pair = (lanes.broadcast(b, tolerances, 0), lanes.broadcast(b, tolerances, 1))
        sizes = slot(b, ir.DoubleType(), count=problem.rows)
        record = Record(b, problem.control, reals, counts, stride)
        with loop(b, last, problem.rows, first, "lanes") as lane:
            record.read(b, lane)
            state = b.gep(states, [b.mul(lane, _constant(2 * problem.padded))])
            known = b.gep(slopes, [b.mul(lane, _constant(problem.padded))])
            group = _group(b, problem, slope, table, state, work, sizes, known)
            body(b, group, record, pair, Run(lane, stride, n, limit, controller, times, out))
            record.write(b, lane)
        b.ret_void()
    return str(module)


def _begin(b: Builder, group: _Group, record: Record, pair: tuple[Value, Value], run: Run) -> None:
    """The slope at the start and the first step: see `solvers.adaptive.first_step`."""
    problem, lanes, control, times = group.problem, group.problem.lanes, group.problem.control, run.times
    t = control.broadcast(b, times)
    span = b.fsub(control.broadcast(b, times, b.sub(run.n, number(1))), t)
    y, k, moved = _at(group, group.state, True), _at(group, group.slopes[0], False), _at(group, group.slopes[1], False)

    def norm(error: Element) -> Value:
        def size(b: Builder, r: Value, i: Value) -> Value:
            return elementary.absolute(b, lanes, y(b, r, i))

        return _norm(b, group, pair, lambda b, r: error, size)

    group.evaluate(b, group.state, group.slopes[0])
    d0, d1 = norm(y), norm(k)
    h0 = first_guess(b, control, d0, d1, span)
    control.store(b, h0, group.sizes)
    _shift(b, group, ((0, 1.0),), group.argument)
    group.evaluate(b, group.argument, group.slopes[1])
    d2 = b.fdiv(norm(lambda b, r, i: b.fsub(moved(b, r, i), k(b, r, i))), h0)
    start(b, record, problem.order, run, t, d1, d2, h0, span)


def _proceed(b: Builder, group: _Group, record: Record, pair: tuple[Value, Value], run: Run) -> None:
    """Steps until every row is done, or the limit of this call is reached."""
    proceed(b, record, run, lambda b, running: _attempt(b, group, record, pair, run, running))


def _attempt(b: Builder, group: _Group, record: Record, pair: tuple[Value, Value], run: Run, running: Value) -> None:
    """One pass of the loop of `solvers.adaptive.integrate_adaptively`, in the rows that run."""
    problem, method = group.problem, group.problem.stages
    padded, control = problem.padded, problem.control
    tried = plan(b, record, running)
    if not method.fsal:
        unknown_slope(b, record, tried, lambda b: group.evaluate(b, group.state, group.slopes[0]))
    control.store(b, tried.step, group.sizes)
    _step(b, group, group.argument)
    error = _error(b, group, pair)
    good = settle(b, record, problem.order, run, tried, error, len(method), method.fsal)
    landed = b.and_(good, tried.lands)
    for r in range(problem.rows):
        with b.if_then(bit(b, control, good, r)):
            start = _constant(2 * r * padded)
            _copy(b, problem, b.gep(group.argument, [start]), b.gep(group.state, [start]), padded)
            if method.fsal:
                start = _constant(r * padded)
                _copy(b, problem, b.gep(group.slopes[-1], [start]), b.gep(group.slopes[0], [start]), padded)

    def write(b: Builder, trajectory: Value, row: Value) -> None:
        source = b.gep(group.state, [b.mul(b.sub(trajectory, run.lane), _constant(2 * padded))])
        _copy(b, problem, source, b.gep(run.out, [b.mul(row, _constant(problem.dimension))]), problem.dimension)

    with b.if_then(control.any(b, landed), likely=False):
        land(b, record, run, landed, write)


def _error(b: Builder, group: _Group, pair: tuple[Value, Value]) -> Value:
    """The norm of the estimated error; the new state is the argument."""
    lanes, row = group.problem.lanes, group.problem.stages.error
    y, found = _at(group, group.state, True), _at(group, group.argument, True)

    def prepare(b: Builder, r: Value) -> Element:
        weights = _weights(b, group, row, r)
        return lambda b, r, i: _change(b, group, row, weights, r, i)

    def size(b: Builder, r: Value, i: Value) -> Value:
        u, v = y(b, r, i), found(b, r, i)
        return elementary.maximum(b, lanes, elementary.absolute(b, lanes, u), elementary.absolute(b, lanes, v))

    return _norm(b, group, pair, prepare, size)
