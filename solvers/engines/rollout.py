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
from ..step import Row, Stages
from . import elementary
from .expressions import evaluate
from .step_control import Record, Run, first_guess, land, plan, proceed, settle, start, unknown_slope
from .vector import I64, Builder, Lanes, Value, function, loop, number, slot

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


def _record(b: Builder, problem: Problem, reals: Value, counts: Value, arrays: Value, stride: Value) -> Record:
    """The variables of control, the state y0, y1, ... and its slope k0, k1, ..."""
    n = len(problem.state)
    state = {f"{letter}{i}": (problem.lanes, arrays, j * n + i) for j, letter in enumerate("yk") for i in range(n)}
    return Record(b, problem.control, reals, counts, stride, state)


def _vector(b: Builder, problem: Problem, record: Record, letter: str) -> list[Value]:
    return [record.get(b, f"{letter}{i}") for i in range(len(problem.state))]


def _put_vector(b: Builder, record: Record, letter: str, values: Sequence[Value], mask: Value | None = None) -> None:
    for i, value in enumerate(values):
        record.put(b, f"{letter}{i}", value, mask)


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
        record = _record(b, problem, reals, counts, arrays, stride)
        with loop(b, last, lanes.width, first, "lanes") as lane:
            record.read(b, lane)
            body(b, problem, slope, record, pair, Run(lane, stride, n, limit, controller, times, out))
            record.write(b, lane)
        b.ret_void()
    return str(module)


def _again(problem: Problem, printed: Any, constants: list[Value]) -> Slopes:
    def slopes(b: Builder, t: Value, y: Sequence[Value]) -> list[Value]:
        found = b.call(printed, [_narrow(b, problem.lanes, t), *y, *constants])
        return [b.extract_value(found, i) for i in range(len(problem.rhs))]

    return slopes


def _begin(
    b: Builder, problem: Problem, slope: Slopes, record: Record, tolerances: tuple[Value, Value], run: Run
) -> None:
    """The slope at the start and the first step: see `solvers.adaptive.first_step`."""
    lanes, control, times = problem.lanes, problem.control, run.times
    t = control.broadcast(b, times)
    span = b.fsub(control.broadcast(b, times, b.sub(run.n, number(1))), t)
    y = _vector(b, problem, record, "y")
    k = slope(b, t, y)
    sizes = [elementary.absolute(b, lanes, v) for v in y]
    d0, d1 = _norm(b, problem, tolerances, y, sizes), _norm(b, problem, tolerances, k, sizes)
    h0 = first_guess(b, control, d0, d1, span)
    short = _narrow(b, lanes, h0)
    moved = slope(b, b.fadd(t, h0), [b.fadd(u, b.fmul(v, short)) for u, v in zip(y, k, strict=True)])
    d2 = b.fdiv(_norm(b, problem, tolerances, [b.fsub(u, v) for u, v in zip(moved, k, strict=True)], sizes), h0)
    _put_vector(b, record, "k", k)
    start(b, record, problem.order, run, t, d1, d2, h0, span)


def _proceed(
    b: Builder, problem: Problem, slope: Slopes, record: Record, tolerances: tuple[Value, Value], run: Run
) -> None:
    """Steps until every lane is done, or the limit of this call is reached."""
    proceed(b, record, run, lambda b, running: _attempt(b, problem, slope, record, tolerances, run, running))


def _attempt(
    b: Builder,
    problem: Problem,
    slope: Slopes,
    record: Record,
    tolerances: tuple[Value, Value],
    run: Run,
    running: Value,
) -> None:
    """One pass of the loop of `solvers.adaptive.integrate_adaptively`, in the lanes that run."""
    lanes, method = problem.lanes, problem.stages
    tried = plan(b, record, running)
    if not method.fsal:
        unknown_slope(
            b,
            record,
            tried,
            lambda b: _put_vector(b, record, "k", slope(b, tried.t, _vector(b, problem, record, "y"))),
        )
    y, first = _vector(b, problem, record, "y"), _vector(b, problem, record, "k")
    found, slopes = _step(b, problem, slope, tried.t, y, tried.step, first)
    sizes = [
        elementary.maximum(b, lanes, elementary.absolute(b, lanes, u), elementary.absolute(b, lanes, v))
        for u, v in zip(y, found, strict=True)
    ]
    error = _norm(b, problem, tolerances, _change(b, problem, method.error, slopes, tried.step), sizes)
    good = settle(b, record, problem.order, run, tried, error, len(method), method.fsal)
    _put_vector(b, record, "y", found, good)
    if method.fsal:
        _put_vector(b, record, "k", slopes[-1], good)
    landed = b.and_(good, tried.lands)
    with b.if_then(problem.control.any(b, landed), likely=False):
        _land(b, problem, record, run, landed)


def _land(b: Builder, problem: Problem, record: Record, run: Run, landed: Value) -> None:
    """Write the states of the lanes that reached their output times, and give them the next ones; through memory."""
    n, one = len(problem.state), problem.lanes.one_lane
    names = [f"y{i}" for i in range(n)]
    record.write(b, run.lane, *names)

    def copy(b: Builder, trajectory: Value, row: Value) -> None:
        at = b.mul(row, number(n))
        for j, name in enumerate(names):
            one.store(b, b.load(record.place(b, name, trajectory)), run.out, b.add(at, number(j)))

    land(b, record, run, landed, copy)
