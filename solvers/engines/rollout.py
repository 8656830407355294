"""Printed code of initial value problems: one lane a trajectory, all stages of a step in registers.

The stages are those of `solvers.step`, in its order of operations. The step sizes of `adaptive_code` are those of
`solvers.adaptive`, chosen for every trajectory by itself: the lanes share instructions, never a step size. Longer than
most files: the two printers share the problem, its slope and its step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import sympy
from llvmlite import ir

from ...suite.equation import TIME
from ..adaptive import ALPHA, BETA, LARGEST, NEGLIGIBLE, SAFETY, SMALLEST, STRETCH
from ..step import Row, Stages
from . import elementary
from .expressions import evaluate
from .vector import I64, Builder, Lanes, Value, function, loop, number, slot

DONE, RUNNING, LOST_AT_START, TOO_SMALL = range(4)
"""What became of a trajectory: complete; not yet; the slope at its start is not finite; the step fell."""

REALS = ("t", "h", "before", "end")
COUNTS = ("index", "status", "after", "known", "accepted", "rejected", "calls")

Slopes: TypeAlias = Callable[[Builder, Value, Sequence[Value]], list[Value]]
"""(builder, t in float64, y) -> f(t, y)."""


@dataclass(frozen=True)
class Problem:
    """y' = rhs with named symbols, stepped by the stages in lanes of a dtype.

    order: of the error estimate of a pair; 0 where steps are fixed.
    """

    state: tuple[sympy.Symbol, ...]
    rhs: tuple[sympy.Expr, ...]
    parameters: tuple[sympy.Symbol, ...]
    stages: Stages
    lanes: Lanes
    order: int = 0

    @property
    def control(self) -> Lanes:
        """The lanes of times and step sizes, which are float64."""
        return Lanes("float64", self.lanes.width)


def _slopes(problem: Problem, module: Any, parameters: Value, b: Builder) -> Slopes:
    """The right-hand side as a function of the module, printed once; the parameters are loaded here."""
    lanes, symbols = problem.lanes, (TIME, *problem.state, *problem.parameters)
    result = ir.LiteralStructType([lanes.type] * len(problem.rhs))
    made = ir.Function(module, ir.FunctionType(result, [lanes.type] * len(symbols)), "slope")
    made.linkage = "internal"
    made.attributes.add("alwaysinline")
    inner = ir.IRBuilder(made.append_basic_block("entry"))
    total = ir.Constant(result, ir.Undefined)
    for i, value in enumerate(evaluate(inner, lanes, problem.rhs, dict(zip(symbols, made.args, strict=True)))):
        total = inner.insert_value(total, value, i)
    inner.ret(total)
    constants = [lanes.broadcast(b, parameters, i) for i in range(len(problem.parameters))]

    def slopes(b: Builder, t: Value, y: Sequence[Value]) -> list[Value]:
        found = b.call(made, [_narrow(b, lanes, t), *y, *constants])
        return [b.extract_value(found, i) for i in range(len(problem.rhs))]

    return slopes


def _narrow(b: Builder, lanes: Lanes, x: Value) -> Value:
    """A float64 value in the dtype of the state."""
    return x if lanes.dtype == "float64" else b.fptrunc(x, lanes.type)


def _change(b: Builder, problem: Problem, row: Row, slopes: list[list[Value]], h: Value) -> list[Value]:
    """See `solvers.step.change`: h is float64, the product with a coefficient is rounded once to the dtype."""
    lanes, control = problem.lanes, problem.control
    weights = [_narrow(b, lanes, b.fmul(control.constant(c), h)) for _, c in row]
    totals = []
    for component in range(len(problem.state)):
        (first, *rest) = [slopes[stage][component] for stage, _ in row]
        total = b.fmul(first, weights[0])
        for slope, weight in zip(rest, weights[1:], strict=True):
            total = lanes.fma(b, slope, weight, total)
        totals.append(total)
    return totals


def _shift(
    b: Builder, problem: Problem, y: Sequence[Value], row: Row, slopes: list[list[Value]], h: Value
) -> list[Value]:
    if not row:
        return list(y)
    if len(row) == 1:  # in one operation, as torch has it
        ((stage, coefficient),) = row
        weight = _narrow(b, problem.lanes, b.fmul(problem.control.constant(coefficient), h))
        return [problem.lanes.fma(b, k, weight, u) for k, u in zip(slopes[stage], y, strict=True)]
    return [b.fadd(u, v) for u, v in zip(y, _change(b, problem, row, slopes, h), strict=True)]


def _step(
    b: Builder, problem: Problem, slope: Slopes, t: Value, y: Sequence[Value], h: Value, first: list[Value]
) -> tuple[list[Value], list[list[Value]]]:
    """See `solvers.step.advance`."""
    method, control = problem.stages, problem.control
    slopes, argument = [first], list(y)
    for row, node in zip(method.rows[1:], method.nodes[1:], strict=True):
        argument = _shift(b, problem, y, row, slopes, h)
        slopes.append(slope(b, b.fadd(t, b.fmul(control.constant(node), h)) if node else t, argument))
    return (argument if method.fsal else _shift(b, problem, y, method.weights, slopes, h)), slopes


def fixed_code(problem: Problem) -> str:
    """LLVM IR of fixed(first, last, stride, samples, kept, times, sizes, parameters, start, out).

    Trajectories first, first + width, ... below last. start: (dimension, stride); out: (samples, dimension, stride);
    kept: (samples + 1,), sample s being the state after kept[s + 1] steps; times, sizes: of every step.
    """
    lanes, control, n = problem.lanes, problem.control, len(problem.state)
    module, real = ir.Module(), ir.DoubleType().as_pointer()
    kinds = [I64, I64, I64, I64, I64.as_pointer(), real, real, lanes.pointer, lanes.pointer, lanes.pointer]
    made, b = function(module, "fixed", kinds)
    first, last, stride, samples, kept, times, sizes, parameters, start, out = made.args
    out.add_attribute("noalias")
    slope = _slopes(problem, module, parameters, b)
    state = [slot(b, lanes.type) for _ in range(n)]
    with loop(b, last, lanes.width, first, "lanes") as lane:
        for i, place in enumerate(state):
            b.store(lanes.load(b, start, b.add(b.mul(stride, number(i)), lane)), place)
        with loop(b, samples, name="sample") as sample:
            begin, end = (b.load(b.gep(kept, [b.add(sample, number(i))])) for i in range(2))
            with loop(b, end, start=begin, name="step") as step:
                t, h = (control.broadcast(b, pointer, step) for pointer in (times, sizes))
                y = [b.load(place) for place in state]
                for value, place in zip(_step(b, problem, slope, t, y, h, slope(b, t, y))[0], state, strict=True):
                    b.store(value, place)
            for i, place in enumerate(state):
                row = b.add(b.mul(sample, number(n)), number(i))
                lanes.store(b, b.load(place), out, b.add(b.mul(row, stride), lane))
    b.ret_void()
    return str(module)


def _norm(
    b: Builder, problem: Problem, tolerances: tuple[Value, Value], error: Sequence[Value], sizes: Sequence[Value]
) -> Value:
    """See `solvers.adaptive.Tolerance.norm`; sizes: max(|y|, |y_new|). As float64."""
    lanes, total = problem.lanes, problem.lanes.constant(0.0)
    rtol, atol = tolerances
    for value, size in zip(error, sizes, strict=True):
        share = b.fdiv(value, lanes.fma(b, rtol, size, atol))
        total = lanes.fma(b, share, share, total)
    mean = elementary.sqrt(b, lanes, b.fdiv(total, lanes.constant(len(error))))
    return mean if lanes.dtype == "float64" else b.fpext(mean, problem.control.type)


def _power(b: Builder, lanes: Lanes, x: Value, exponent: float) -> Value:
    """x^exponent for x >= 0."""
    return elementary.exp(b, lanes, b.fmul(lanes.constant(exponent), elementary.log(b, lanes, x)))


def _smaller(b: Builder, lanes: Lanes, x: Value, y: Value) -> Value:
    return b.select(lanes.compare(b, "<", x, y), x, y)


def _larger(b: Builder, lanes: Lanes, x: Value, y: Value) -> Value:
    return b.select(lanes.compare(b, ">", x, y), x, y)


def _limited(b: Builder, lanes: Lanes, x: Value) -> Value:
    """Between the smallest and the largest factor; the smallest for NaN."""
    return _smaller(b, lanes, _larger(b, lanes, x, lanes.constant(SMALLEST)), lanes.constant(LARGEST))


class _Record:
    """The variables of a group of lanes, in memory between calls and in slots within one."""

    def __init__(self, b: Builder, problem: Problem, reals: Value, counts: Value, arrays: Value, stride: Value) -> None:
        self.problem, self.stride = problem, stride
        self.memory = {
            **{name: (problem.control, reals, i) for i, name in enumerate(REALS)},
            **{name: (problem.control, counts, i) for i, name in enumerate(COUNTS)},
            **{f"y{i}": (problem.lanes, arrays, i) for i in range(len(problem.state))},
            **{f"k{i}": (problem.lanes, arrays, len(problem.state) + i) for i in range(len(problem.state))},
        }
        self.slots = {
            name: slot(b, lanes.integer if name in COUNTS else lanes.type)
            for name, (lanes, _, _) in self.memory.items()
        }

    def _place(self, b: Builder, name: str, lane: Value) -> Any:
        lanes, pointer, row = self.memory[name]
        place = b.gep(pointer, [b.add(b.mul(self.stride, number(row)), lane)])
        kind = lanes.integer if name in COUNTS else lanes.type
        return b.bitcast(place, kind.as_pointer()), lanes.size

    def read(self, b: Builder, lane: Value, *names: str) -> None:
        """From memory; all of them where none is named."""
        for name in names or self.slots:
            place, size = self._place(b, name, lane)
            b.store(b.load(place, align=size), self.slots[name])

    def write(self, b: Builder, lane: Value, *names: str) -> None:
        """To memory; all of them where none is named."""
        for name in names or self.slots:
            place, size = self._place(b, name, lane)
            b.store(b.load(self.slots[name]), place, align=size)

    def get(self, b: Builder, name: str) -> Value:
        return b.load(self.slots[name])

    def vector(self, b: Builder, letter: str) -> list[Value]:
        return [b.load(self.slots[f"{letter}{i}"]) for i in range(len(self.problem.state))]

    def put(self, b: Builder, name: str, value: Value, mask: Value | None = None) -> None:
        """Change a variable, in the lanes of a mask alone where one is given."""
        b.store(value if mask is None else b.select(mask, value, self.get(b, name)), self.slots[name])

    def put_vector(self, b: Builder, letter: str, values: Sequence[Value], mask: Value | None = None) -> None:
        for i, value in enumerate(values):
            self.put(b, f"{letter}{i}", value, mask)

    def count(self, b: Builder, name: str, mask: Value, by: int = 1) -> None:
        """Add to a count in the lanes of a mask."""
        lanes = self.problem.control
        self.put(b, name, b.add(self.get(b, name), lanes.bits(by)), mask)

    def flag(self, b: Builder, name: str) -> Value:
        """A count as a mask: whether it is not 0."""
        return b.icmp_signed("!=", self.get(b, name), self.problem.control.bits(0))


def adaptive_code(problem: Problem) -> str:
    """LLVM IR of begin and proceed(first, last, stride, n, limit, controller, times, tolerances, parameters, reals,
    counts, arrays, out).

    Trajectories first, first + width, ... below last. n, times: the output times; limit: of steps tried in this call by
    a group of lanes; controller: 0 elementary, 1 PI; tolerances: rtol and atol in the dtype of the state; reals,
    counts, arrays: the variables (rows, stride), where arrays hold y and its slope; out: (n, stride, dimension).
    """
    module = ir.Module()
    lanes = problem.lanes
    real, whole = ir.DoubleType().as_pointer(), I64.as_pointer()
    kinds = [*[I64] * 6, real, lanes.pointer, lanes.pointer, real, whole, lanes.pointer, lanes.pointer]
    for name, body in (("begin", _begin), ("proceed", _proceed)):
        made, b = function(module, name, kinds)
        first, last, stride, n, limit, controller, times, tolerances, parameters, reals, counts, arrays, out = made.args
        if name == "begin":
            slope = _slopes(problem, module, parameters, b)
            printed = module.globals["slope"]
        else:
            constants = [lanes.broadcast(b, parameters, i) for i in range(len(problem.parameters))]
            slope = _again(problem, printed, constants)
        pair = (lanes.broadcast(b, tolerances, 0), lanes.broadcast(b, tolerances, 1))
        record = _Record(b, problem, reals, counts, arrays, stride)
        with loop(b, last, lanes.width, first, "lanes") as lane:
            record.read(b, lane)
            body(b, problem, slope, record, pair, _Run(lane, stride, n, limit, controller, times, out))
            record.write(b, lane)
        b.ret_void()
    return str(module)


def _again(problem: Problem, printed: Any, constants: list[Value]) -> Slopes:
    def slopes(b: Builder, t: Value, y: Sequence[Value]) -> list[Value]:
        found = b.call(printed, [_narrow(b, problem.lanes, t), *y, *constants])
        return [b.extract_value(found, i) for i in range(len(problem.rhs))]

    return slopes


@dataclass(frozen=True)
class _Run:
    """What a call is given beside the variables; lane: the first trajectory of the group."""

    lane: Value
    stride: Value
    n: Value
    limit: Value
    controller: Value
    times: Value
    out: Value


def _begin(
    b: Builder, problem: Problem, slope: Slopes, record: _Record, tolerances: tuple[Value, Value], run: _Run
) -> None:
    """The slope at the start and the first step: see `solvers.adaptive.first_step`."""
    lanes, control, times = problem.lanes, problem.control, run.times
    t = control.broadcast(b, times)
    span = b.fsub(control.broadcast(b, times, b.sub(run.n, number(1))), t)
    y = record.vector(b, "y")
    k = slope(b, t, y)
    sizes = [elementary.absolute(b, lanes, v) for v in y]
    d0, d1 = _norm(b, problem, tolerances, y, sizes), _norm(b, problem, tolerances, k, sizes)
    tiny, least = control.constant(1e-5), control.constant(1e-6)
    small = b.or_(control.compare(b, "<", d0, tiny), control.compare(b, "<", d1, tiny))
    h0 = _smaller(b, control, b.select(small, least, b.fdiv(b.fmul(control.constant(0.01), d0), d1)), span)
    short = _narrow(b, lanes, h0)
    moved = slope(b, b.fadd(t, h0), [b.fadd(u, b.fmul(v, short)) for u, v in zip(y, k, strict=True)])
    d2 = b.fdiv(_norm(b, problem, tolerances, [b.fsub(u, v) for u, v in zip(moved, k, strict=True)], sizes), h0)
    largest = _larger(b, control, d1, d2)
    h1 = b.select(
        control.compare(b, "<=", largest, control.constant(1e-15)),
        _larger(b, control, least, b.fmul(h0, control.constant(1e-3))),
        _power(b, control, b.fdiv(control.constant(0.01), largest), 1 / (problem.order + 1)),
    )
    h = _smaller(b, control, _smaller(b, control, b.fmul(h0, control.constant(100.0)), h1), span)
    infinite = control.constant(float("inf"))
    h = b.select(control.compare(b, "<", d2, infinite), h, h0)
    started = control.compare(b, "<", d1, infinite)
    record.put_vector(b, "k", k)
    for name, value in (("t", t), ("h", h), ("before", control.constant(-1.0))):
        record.put(b, name, value)
    record.put(b, "end", control.broadcast(b, times, 1))
    status = b.select(started, control.bits(RUNNING), control.bits(LOST_AT_START))
    given = {"index": control.bits(1), "status": status, "known": control.bits(1), "calls": control.bits(2)}
    for name in COUNTS:
        record.put(b, name, given.get(name, control.bits(0)))


def _proceed(
    b: Builder, problem: Problem, slope: Slopes, record: _Record, tolerances: tuple[Value, Value], run: _Run
) -> None:
    """Steps until every lane is done, or the limit of this call is reached."""
    control = problem.control
    head, body, after = (b.append_basic_block(f"attempt.{part}") for part in ("head", "body", "after"))
    tried = slot(b, I64, number(0))
    b.branch(head)
    b.position_at_end(head)
    running = b.icmp_signed("==", record.get(b, "status"), control.bits(RUNNING))
    more = b.icmp_signed("<", b.load(tried), run.limit)
    b.cbranch(b.and_(control.any(b, running), more), body, after)
    b.position_at_end(body)
    b.store(b.add(b.load(tried), number(1)), tried)
    _attempt(b, problem, slope, record, tolerances, run, running)
    b.branch(head)
    b.position_at_end(after)


def _attempt(
    b: Builder,
    problem: Problem,
    slope: Slopes,
    record: _Record,
    tolerances: tuple[Value, Value],
    run: _Run,
    running: Value,
) -> None:
    """One pass of the loop of `solvers.adaptive.integrate_adaptively`, in the lanes that run."""
    lanes, control, method = problem.lanes, problem.control, problem.stages
    t, h, end = (record.get(b, name) for name in ("t", "h", "end"))
    lands = control.compare(b, ">=", b.fadd(t, b.fmul(control.constant(STRETCH), h)), end)
    step = b.select(lands, b.fsub(end, t), h)
    enough = control.compare(b, ">=", step, b.fmul(control.constant(10.0), _spacing(b, control, t)))
    fell = b.and_(running, b.not_(b.or_(lands, enough)))
    record.put(b, "status", control.bits(TOO_SMALL), fell)
    running = b.and_(running, b.not_(fell))
    if not method.fsal:
        new = b.and_(running, b.not_(record.flag(b, "known")))
        with b.if_then(control.any(b, new)):  # the other lanes compute what they have
            record.put_vector(b, "k", slope(b, t, record.vector(b, "y")))
            record.count(b, "calls", new)
            record.put(b, "known", control.bits(1))
    y, first = record.vector(b, "y"), record.vector(b, "k")
    found, slopes = _step(b, problem, slope, t, y, step, first)
    sizes = [
        elementary.maximum(b, lanes, elementary.absolute(b, lanes, u), elementary.absolute(b, lanes, v))
        for u, v in zip(y, found, strict=True)
    ]
    error = _norm(b, problem, tolerances, _change(b, problem, method.error, slopes, step), sizes)
    good = b.and_(running, control.compare(b, "<=", error, control.constant(1.0)))
    bad = b.and_(running, b.not_(good))
    cut = b.and_(lands, control.compare(b, "<", step, h))
    plain, chosen = _factors(b, problem, record, run, error)
    scaled = b.fmul(step, chosen)
    scaled = b.select(record.flag(b, "after"), _smaller(b, control, scaled, step), scaled)
    record.put(b, "h", b.select(cut, _larger(b, control, scaled, h), scaled), good)
    reduced = _smaller(b, control, b.fmul(step, plain), b.fmul(control.constant(SAFETY), step))
    record.put(b, "h", reduced, bad)
    none = control.constant(-1.0)
    record.put(b, "before", b.select(b.and_(good, b.not_(cut)), error, none), running)
    record.put(b, "t", b.select(lands, end, b.fadd(t, step)), good)
    record.put(b, "after", b.select(good, control.bits(0), control.bits(1)), running)
    record.put_vector(b, "y", found, good)
    if method.fsal:
        record.put_vector(b, "k", slopes[-1], good)
    else:
        record.put(b, "known", control.bits(0), good)
    record.count(b, "accepted", good)
    record.count(b, "rejected", bad)
    record.count(b, "calls", running, len(method) - 1)
    landed = b.and_(good, lands)
    with b.if_then(control.any(b, landed), likely=False):
        _land(b, problem, record, run, landed)


def _factors(b: Builder, problem: Problem, record: _Record, run: _Run, error: Value) -> tuple[Value, Value]:
    """The elementary factor, and that of an accepted step: see `solvers.adaptive.factor` and `pi_factor`."""
    control, q = problem.control, problem.order + 1
    safety = control.constant(SAFETY)
    plain = _limited(b, control, b.fmul(safety, _power(b, control, error, -1 / q)))
    chosen = slot(b, control.type, plain)
    with b.if_then(b.icmp_signed("!=", run.controller, number(0))):
        before = record.get(b, "before")
        remembered = _power(b, control, _larger(b, control, before, control.constant(NEGLIGIBLE)), BETA / q)
        both = b.fmul(b.fmul(safety, _power(b, control, error, -ALPHA / q)), remembered)
        known = control.compare(b, ">=", before, control.constant(0.0))
        b.store(b.select(known, _limited(b, control, both), plain), chosen)
    return plain, b.load(chosen)


def _spacing(b: Builder, lanes: Lanes, t: Value) -> Value:
    """math.ulp(t)."""
    size = elementary.absolute(b, lanes, t)
    above = b.bitcast(b.add(b.bitcast(size, lanes.integer), lanes.bits(1)), lanes.type)
    return b.fsub(above, size)


def _land(b: Builder, problem: Problem, record: _Record, run: _Run, landed: Value) -> None:
    """Write the states of the lanes that reached their output times, and give them the next ones; through memory."""
    control, lanes = problem.control.one_lane, problem.lanes.one_lane
    width, n = problem.lanes.width, len(problem.state)
    names = ("end", "index", "status", *(f"y{i}" for i in range(n)))
    record.write(b, run.lane, *names)
    flags = slot(b, I64, count=width)
    for i in range(width):
        bit = landed if width == 1 else b.extract_element(landed, ir.Constant(ir.IntType(32), i))
        b.store(b.zext(bit, I64), b.gep(flags, [number(i)]))
    with loop(b, number(width), name="landed") as i:
        reached = b.icmp_signed("!=", b.load(b.gep(flags, [i])), number(0))
        with b.if_then(reached):
            trajectory = b.add(run.lane, i)
            places = {
                name: b.gep(
                    record.memory[name][1], [b.add(b.mul(run.stride, number(record.memory[name][2])), trajectory)]
                )
                for name in names
            }
            index = b.load(places["index"])
            row = b.mul(b.add(b.mul(index, run.stride), trajectory), number(n))
            for j in range(n):
                lanes.store(b, b.load(places[f"y{j}"]), run.out, b.add(row, number(j)))
            index = b.add(index, number(1))
            b.store(index, places["index"])
            with b.if_else(b.icmp_signed("==", index, run.n)) as (last, other):
                with last:
                    b.store(number(DONE), places["status"])
                with other:
                    b.store(control.load(b, run.times, index), places["end"])
    record.read(b, run.lane, *names)
