"""Printed control of step sizes by an embedded error estimate: that of `solvers.adaptive`, one lane a trajectory.

What a trajectory's state is, and how a step is taken, is the printer's own; here are the variables that decide, and the
formulas. Longer than most files: one loop of control, in its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from llvmlite import ir

from ..adaptive import ALPHA, BETA, LARGEST, NEGLIGIBLE, SAFETY, SMALLEST, STRETCH
from . import elementary
from .vector import I32, I64, Builder, Lanes, Value, loop, number, slot

DONE, RUNNING, LOST_AT_START, TOO_SMALL = range(4)
"""What became of a trajectory: complete; not yet; the slope at its start is not finite; the step fell."""

REALS = ("t", "h", "before", "end")
COUNTS = ("index", "status", "after", "known", "accepted", "rejected", "calls")


@dataclass(frozen=True)
class Run:
    """What a call is given beside the variables; lane: the first trajectory of the group."""

    lane: Value
    stride: Value
    n: Value
    limit: Value
    controller: Value
    times: Value
    out: Value


class Record:
    """The variables of a group of lanes, in memory between calls and in slots within one.

    control: the lanes of times and step sizes, which are float64; reals, counts: arrays (`REALS` or `COUNTS`, stride);
    more: other variables by name, each the lanes, the array and the row where it lies.
    """

    def __init__(
        self,
        b: Builder,
        control: Lanes,
        reals: Value,
        counts: Value,
        stride: Value,
        more: Mapping[str, tuple[Lanes, Value, int]] = MappingProxyType({}),
    ) -> None:
        self.control, self.stride = control, stride
        self.memory: dict[str, tuple[Lanes, Value, int]] = {
            **{name: (control, reals, i) for i, name in enumerate(REALS)},
            **{name: (control, counts, i) for i, name in enumerate(COUNTS)},
            **more,
        }
        self.slots = {
            name: slot(b, lanes.integer if name in COUNTS else lanes.type)
            for name, (lanes, _, _) in self.memory.items()
        }

    def place(self, b: Builder, name: str, lane: Value) -> Value:
        """Where a variable of one trajectory lies in memory."""
        _, pointer, row = self.memory[name]
        return b.gep(pointer, [b.add(b.mul(self.stride, number(row)), lane)])

    def _group(self, b: Builder, name: str, lane: Value) -> Any:
        lanes = self.memory[name][0]
        kind = lanes.integer if name in COUNTS else lanes.type
        return b.bitcast(self.place(b, name, lane), kind.as_pointer()), lanes.size

    def read(self, b: Builder, lane: Value, *names: str) -> None:
        """From memory; all of them where none is named."""
        for name in names or self.slots:
            place, size = self._group(b, name, lane)
            b.store(b.load(place, align=size), self.slots[name])

    def write(self, b: Builder, lane: Value, *names: str) -> None:
        """To memory; all of them where none is named."""
        for name in names or self.slots:
            place, size = self._group(b, name, lane)
            b.store(b.load(self.slots[name]), place, align=size)

    def get(self, b: Builder, name: str) -> Value:
        return b.load(self.slots[name])

    def put(self, b: Builder, name: str, value: Value, mask: Value | None = None) -> None:
        """Change a variable, in the lanes of a mask alone where one is given."""
        b.store(value if mask is None else b.select(mask, value, self.get(b, name)), self.slots[name])

    def count(self, b: Builder, name: str, mask: Value, by: int = 1) -> None:
        """Add to a count in the lanes of a mask."""
        self.put(b, name, b.add(self.get(b, name), self.control.bits(by)), mask)

    def flag(self, b: Builder, name: str) -> Value:
        """A count as a mask: whether it is not 0."""
        return b.icmp_signed("!=", self.get(b, name), self.control.bits(0))


def power(b: Builder, lanes: Lanes, x: Value, exponent: float) -> Value:
    """x^exponent for x >= 0."""
    return elementary.exp(b, lanes, b.fmul(lanes.constant(exponent), elementary.log(b, lanes, x)))


def smaller(b: Builder, lanes: Lanes, x: Value, y: Value) -> Value:
    return b.select(lanes.compare(b, "<", x, y), x, y)


def larger(b: Builder, lanes: Lanes, x: Value, y: Value) -> Value:
    return b.select(lanes.compare(b, ">", x, y), x, y)


def _limited(b: Builder, lanes: Lanes, x: Value) -> Value:
    """Between the smallest and the largest factor; the smallest for NaN."""
    return smaller(b, lanes, larger(b, lanes, x, lanes.constant(SMALLEST)), lanes.constant(LARGEST))


def first_guess(b: Builder, control: Lanes, d0: Value, d1: Value, span: Value) -> Value:
    """h0 of `solvers.adaptive.first_step`; d0, d1: the norms of the state and its slope."""
    tiny, least = control.constant(1e-5), control.constant(1e-6)
    small = b.or_(control.compare(b, "<", d0, tiny), control.compare(b, "<", d1, tiny))
    return smaller(b, control, b.select(small, least, b.fdiv(b.fmul(control.constant(0.01), d0), d1)), span)


def start(
    b: Builder, record: Record, order: int, run: Run, t: Value, d1: Value, d2: Value, h0: Value, span: Value
) -> None:
    """The first step of `solvers.adaptive.first_step`, and all variables; d2: the norm of the second derivative."""
    control = record.control
    largest, least = larger(b, control, d1, d2), control.constant(1e-6)
    h1 = b.select(
        control.compare(b, "<=", largest, control.constant(1e-15)),
        larger(b, control, least, b.fmul(h0, control.constant(1e-3))),
        power(b, control, b.fdiv(control.constant(0.01), largest), 1 / (order + 1)),
    )
    h = smaller(b, control, smaller(b, control, b.fmul(h0, control.constant(100.0)), h1), span)
    infinite = control.constant(float("inf"))
    h = b.select(control.compare(b, "<", d2, infinite), h, h0)
    started = control.compare(b, "<", d1, infinite)
    for name, value in (("t", t), ("h", h), ("before", control.constant(-1.0))):
        record.put(b, name, value)
    record.put(b, "end", control.broadcast(b, run.times, 1))
    status = b.select(started, control.bits(RUNNING), control.bits(LOST_AT_START))
    given = {"index": control.bits(1), "status": status, "known": control.bits(1), "calls": control.bits(2)}
    for name in COUNTS:
        record.put(b, name, given.get(name, control.bits(0)))


def proceed(b: Builder, record: Record, run: Run, attempt: Callable[[Builder, Value], None]) -> None:
    """Attempts until every lane is done, or the limit of this call is reached; attempt(b, the lanes that run)."""
    control = record.control
    head, body, after = (b.append_basic_block(f"attempt.{part}") for part in ("head", "body", "after"))
    tried = slot(b, I64, number(0))
    b.branch(head)
    b.position_at_end(head)
    running = b.icmp_signed("==", record.get(b, "status"), control.bits(RUNNING))
    more = b.icmp_signed("<", b.load(tried), run.limit)
    b.cbranch(b.and_(control.any(b, running), more), body, after)
    b.position_at_end(body)
    b.store(b.add(b.load(tried), number(1)), tried)
    attempt(b, running)
    b.branch(head)
    b.position_at_end(after)


@dataclass(frozen=True)
class Plan:
    """One step that is to be tried: from t, of size `step` where h was meant; in the lanes `running`.

    lands: masks the lanes that end at their next output time, `end`.
    """

    t: Value
    h: Value
    end: Value
    step: Value
    lands: Value
    running: Value


def plan(b: Builder, record: Record, running: Value) -> Plan:
    """The next step of every lane; those whose step fell below the spacing of numbers stop."""
    control = record.control
    t, h, end = (record.get(b, name) for name in ("t", "h", "end"))
    lands = control.compare(b, ">=", b.fadd(t, b.fmul(control.constant(STRETCH), h)), end)
    step = b.select(lands, b.fsub(end, t), h)
    enough = control.compare(b, ">=", step, b.fmul(control.constant(10.0), _spacing(b, control, t)))
    fell = b.and_(running, b.not_(b.or_(lands, enough)))
    record.put(b, "status", control.bits(TOO_SMALL), fell)
    return Plan(t, h, end, step, lands, b.and_(running, b.not_(fell)))


def unknown_slope(b: Builder, record: Record, tried: Plan, evaluate: Callable[[Builder], None]) -> None:
    """Evaluate the slope at t where some lane needs it; the others compute what they have."""
    control = record.control
    new = b.and_(tried.running, b.not_(record.flag(b, "known")))
    with b.if_then(control.any(b, new)):
        evaluate(b)
        record.count(b, "calls", new)
        record.put(b, "known", control.bits(1))


def settle(
    b: Builder, record: Record, order: int, run: Run, tried: Plan, error: Value, stages: int, fsal: bool
) -> Value:
    """Accept or reject by the error, and choose the next step; gives the lanes whose step is good.

    The state of those lanes, and with `fsal` their slope, is the caller's to replace.
    """
    control, step = record.control, tried.step
    good = b.and_(tried.running, control.compare(b, "<=", error, control.constant(1.0)))
    bad = b.and_(tried.running, b.not_(good))
    cut = b.and_(tried.lands, control.compare(b, "<", step, tried.h))
    plain, chosen = _factors(b, record, order, run, error)
    scaled = b.fmul(step, chosen)
    scaled = b.select(record.flag(b, "after"), smaller(b, control, scaled, step), scaled)
    record.put(b, "h", b.select(cut, larger(b, control, scaled, tried.h), scaled), good)
    reduced = smaller(b, control, b.fmul(step, plain), b.fmul(control.constant(SAFETY), step))
    record.put(b, "h", reduced, bad)
    none = control.constant(-1.0)
    record.put(b, "before", b.select(b.and_(good, b.not_(cut)), error, none), tried.running)
    record.put(b, "t", b.select(tried.lands, tried.end, b.fadd(tried.t, step)), good)
    record.put(b, "after", b.select(good, control.bits(0), control.bits(1)), tried.running)
    if not fsal:
        record.put(b, "known", control.bits(0), good)
    record.count(b, "accepted", good)
    record.count(b, "rejected", bad)
    record.count(b, "calls", tried.running, stages - 1)
    return good


def _factors(b: Builder, record: Record, order: int, run: Run, error: Value) -> tuple[Value, Value]:
    """The elementary factor, and that of an accepted step: see `solvers.adaptive.factor` and `pi_factor`."""
    control, q = record.control, order + 1
    safety = control.constant(SAFETY)
    plain = _limited(b, control, b.fmul(safety, power(b, control, error, -1 / q)))
    chosen = slot(b, control.type, plain)
    with b.if_then(b.icmp_signed("!=", run.controller, number(0))):
        before = record.get(b, "before")
        remembered = power(b, control, larger(b, control, before, control.constant(NEGLIGIBLE)), BETA / q)
        both = b.fmul(b.fmul(safety, power(b, control, error, -ALPHA / q)), remembered)
        known = control.compare(b, ">=", before, control.constant(0.0))
        b.store(b.select(known, _limited(b, control, both), plain), chosen)
    return plain, b.load(chosen)


def _spacing(b: Builder, lanes: Lanes, t: Value) -> Value:
    """math.ulp(t)."""
    size = elementary.absolute(b, lanes, t)
    above = b.bitcast(b.add(b.bitcast(size, lanes.integer), lanes.bits(1)), lanes.type)
    return b.fsub(above, size)


def bit(b: Builder, lanes: Lanes, mask: Value, lane: int) -> Value:
    """One lane of a mask."""
    return mask if lanes.width == 1 else b.extract_element(mask, ir.Constant(I32, lane))


def land(b: Builder, record: Record, run: Run, landed: Value, copy: Callable[[Builder, Value, Value], None]) -> None:
    """The next output times of the lanes that reached theirs, through memory.

    copy(b, trajectory, row) writes the trajectory's state as a row of `run.out`.
    """
    control, width = record.control, record.control.width
    names = ("end", "index", "status")
    record.write(b, run.lane, *names)
    flags = slot(b, I64, count=width)
    for i in range(width):
        b.store(b.zext(bit(b, control, landed, i), I64), b.gep(flags, [number(i)]))
    with loop(b, number(width), name="landed") as i:
        reached = b.icmp_signed("!=", b.load(b.gep(flags, [i])), number(0))
        with b.if_then(reached):
            trajectory = b.add(run.lane, i)
            places = {name: record.place(b, name, trajectory) for name in names}
            index = b.load(places["index"])
            copy(b, trajectory, b.add(b.mul(index, run.stride), trajectory))
            index = b.add(index, number(1))
            b.store(index, places["index"])
            with b.if_else(b.icmp_signed("==", index, run.n)) as (last, other):
                with last:
                    b.store(number(DONE), places["status"])
                with other:
                    b.store(control.one_lane.load(b, run.times, index), places["end"])
    record.read(b, run.lane, *names)
