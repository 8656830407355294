"""Is a recurrent cell one step of an integrator of its stated field? Equality with the published cell, and consistency.

Longer than most audits because one row of the table is decided here from end to end: equality, limit, claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
from scipy.integrate import solve_ivp

from ...suite.contracts import Array, Audit, Budget, Outcome, RecurrentMap, Solver
from ...suite.errors import Diverged, UsageError
from ...suite.seeds import stream
from .limit import limit
from .memory_order import memory_order
from .order import observed_order
from .published import ROWS, Published, exprnn, published, scornn, urnn

__all__ = ["ROWS", "TASK", "Correspondence", "Reweighted"]

EQUAL = 1e-12
"""The largest relative difference from the published cell that counts as rounding."""

TOLD_APART = 1e-6
"""The least difference that the deliberately wrong cell must show: else the comparison could not have failed."""

CLOSE = 0.3
"""By how much the observed order may differ from the claimed one."""

BATCH, LENGTH, DRAWS = 3, 100, 3
"""Sequences, steps, and sets of weights of the comparison."""

INTERVALS, HELD, TURN = 3, 0.5, 4.0
"""The inputs of the consistency check: so many, each held for 0.5 or, where that is less, TURN / ||df/dy||_2, so that
the finest steps are small for a fast field too; with jumps between."""

LADDER = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Steps on each of those intervals, coarse to fine."""

FLOOR = 1e-12
"""Relative error that the reference (SciPy's DOP853 at rtol 1e-13) is trusted to."""

RUNGS = 6
"""The finest steps of the ladder, of which the limit is extrapolated: they leave a remainder of order p + 5."""

LIMIT = 1e-8
"""The largest relative distance of that limit from the exact flow. What the extrapolation leaves is below `SETTLED`, a
tenth of this, and the rest of a right cell is rounding, 1e-12; a term of the field that is wrong by 1e-7 shows."""

SETTLED, SHORTER = 1e-9, 3
"""By how much the sixth rung may still move the limit, relatively; where it moves it more (parts that are faster than
their sum), the intervals are halved, at most so often."""

DISTANCE, HALVINGS = 0.1, 12
"""How far the exact solution must stay from a kink of the field; the intervals are halved until it does."""

SHRINKING = tuple(10.0**-k for k in range(9))
"""Times at which the gap of a cell that is no integrator is measured."""

_Distance: TypeAlias = Callable[[Array], Array]

KINKS: Mapping[str, _Distance] = MappingProxyType(
    {"scornn": scornn.kink, "exprnn": exprnn.kink, "urnn": urnn.kink},
)
"""Rows whose field is not smooth everywhere: the distance of a state from there."""

JUMPS: Mapping[str, Callable[[Mapping[str, Array], Array], Array]] = MappingProxyType({"scornn": scornn.reflected})
"""Rows whose step begins with an involution that is no flow: it is undone before each of the small steps."""


@runtime_checkable
class Reweighted(Protocol):
    """A cell whose weights can be replaced, for those that start in a special form and would else go unexamined."""

    def with_parameters(self, parameters: Mapping[str, Array]) -> RecurrentMap:
        """The same cell with some weights replaced, by name."""
        ...


@dataclass(frozen=True)
class Correspondence(Audit):
    """One row of the correspondence table: the cell is the published one, and tends to the flow of its field.

    row: a published cell, a key of `ROWS`; inputs: channels. Everything in float64.

    Equality: one step and 100 steps from a random state, with random inputs, against the published update written by
    itself in `published` (torch's own modules where they exist); for cells whose step is free at a second step too. The
    error is max |ours - published| / max(1, max |published|). A plausible mistake must show in the same comparison.
    Weights that start in a special form, zeros, equal numbers or blocks, are replaced by random ones if the cell allows
    it (`Reweighted`), else they are listed as unexamined.

    Consistency: with ever smaller steps the cell tends to the exact flow of the field it states, inputs held between
    jumps; the observed order (rule of the audit "order") is compared with the claim, and the limit, extrapolated from
    the finest steps, with the flow: their relative distance limit_gap is at most 1e-8. A cell that claims to be no
    integrator (CfC) must have a gap instead: its published map at time 0 is not the identity; one with such a gap must
    not claim to be an integrator (of G(y) - y, which is true of every map G). An involution that is no
    flow (the reflection of scoRNN) is undone before each small step; where a field has kinks the solution is kept away
    from them.

    The outcome is failed, with every reason, where the row is false. Raises `UsageError` for an unknown row, a solver
    without a recurrence, or a cell whose weights are not those of the row.
    """

    row: str = "elman"
    inputs: int = 3

    name: ClassVar[str] = "correspondence"
    primary_metric: ClassVar[str] = "equality_error"

    def __post_init__(self) -> None:
        published(self.row)
        if self.inputs < 1:
            raise UsageError(f"correspondence: inputs = {self.inputs}, expected at least 1.")

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: equality_error (one step and sequence), equality_error_one_step, wrong_error, memory_order, and
        observed_order and limit_gap, or gap_at_zero_step; curves: convergence {h, error}."""
        target = published(self.row)
        examined = [_generic(solver.recurrence(self.inputs, seed + k), seed + k) for k in range(DRAWS)]
        cell, unexamined = examined[0]
        facts = cell.facts
        try:
            one, sequence, wrong = _equality(target, [cell for cell, _ in examined], seed)
        except (KeyError, IndexError) as error:
            raise UsageError(f"row {self.row!r} asks for {error}, which the cell does not have.") from error
        metrics = {
            "equality_error": float(np.max([one, sequence])),
            "equality_error_one_step": one,
            "wrong_error": wrong,
        }
        reasons = _unequal(target, cell, metrics)
        steps: list[float] = []
        errors: list[float] = []
        if not facts["integrator"] or "constant:elapsed" in cell.parameters():
            steps, errors = list(SHRINKING), _gaps(target, cell, seed)
            metrics["gap_at_zero_step"] = errors[-1]
            reasons += _misfiled(errors[-1], facts["integrator"])
        if facts["integrator"]:
            try:
                found = _convergence(self.row, cell, seed)
                steps, errors = found.steps, found.errors
                reasons += _inconsistent(found.observed, facts.get("order")) + _elsewhere(found)
                metrics |= {} if found.observed is None else {"observed_order": found.observed}
                metrics["limit_gap"] = found.gap
            except Diverged as error:
                reasons.append(f"no limit of small steps was found: {error}")
        undecided = ""
        try:
            metrics["memory_order"] = float(memory_order(cell, seed))
        except Diverged as error:
            undecided = str(error)
        else:
            if metrics["memory_order"] != facts["ode_order"]:
                memory, claimed = metrics["memory_order"], facts["ode_order"]
                reasons.append(f"its memory is of {memory:g} lags, its ODE of order {claimed}")
        return Outcome(
            metrics=metrics,
            curves={"convergence": {"h": steps, "error": errors}},
            cost={"parameters": cell.count()},
            properties={
                **facts,
                "primary_metric": self.primary_metric,
                "row": self.row,
                "paper": target.PAPER,
                "wrong": target.WRONG,
                "unexamined": unexamined,
                **({"memory_order_undecided": undecided} if undecided else {}),
                "nesting_depth": _plain(solver.nesting(seed).depth),
            },
            status="failed" if reasons else "ok",
            reason="; ".join(reasons),
        )


# ----------------------------------------------------------------------------------------------------------- equality


def _generic(cell: RecurrentMap, seed: int) -> tuple[RecurrentMap, list[str]]:
    """The cell with no weight of a special form, where it can be had, and the names of those that have one.

    Zeros hide what they multiply; equal numbers, blocks on a diagonal or a sequence that reads the same backwards hide
    where each number belongs.
    """
    special = _special(cell)
    if special and isinstance(cell, Reweighted):
        rng, held = stream(seed, "correspondence/weights"), cell.parameters()
        for name in special:
            values = rng.uniform(-0.5, 0.5, held[name].shape)
            forms = [values, np.triu(values), np.triu(values, 1)] if values.ndim == 2 else [values]
            for form in forms:  # whole, as an upper triangle, as a strict one
                try:
                    cell = cell.with_parameters({name: form})
                    break
                except UsageError:  # the weight has not this structure
                    continue
        special = _special(cell)
    return cell, special


def _special(cell: RecurrentMap) -> list[str]:
    """Weights with fewer different numbers, other than zero, than entries; a square matrix may be a strict triangle."""
    found = []
    for name, value in cell.parameters().items():
        if name.startswith("constant:") or not value.size or value.dtype.kind != "f":
            continue
        square = value.ndim == 2 and value.shape[0] == value.shape[1]
        needed = max(1, len(value) * (len(value) - 1) // 2) if square else value.size
        if len(np.unique(value[value != 0])) < needed:
            found.append(name)
    return sorted(found)


def _equality(target: Published, cells: list[RecurrentMap], seed: int) -> tuple[float, float, float]:
    """Largest error of one step, of that and the sequence, and the smallest that the wrong step shows."""
    one, sequence, wrong = [], [], []
    for k, cell in enumerate(cells):
        rng, p = stream(seed, f"correspondence/inputs/{k}"), cell.parameters()
        inputs = rng.normal(size=(LENGTH, BATCH, cell.inputs))
        begin = cell.start(BATCH) + rng.normal(size=(BATCH, cell.blocks, cell.hidden))
        for stepped in [cell] if target.STEP is not None else [cell, cell.with_step(cell.step / 2)]:
            states = stepped.run(inputs, begin)
            expected = [begin]
            for u in inputs:
                expected.append(target.update(p, stepped.step, expected[-1], u))
            one.append(_difference(states[1], expected[1]))
            sequence.append(_difference(states, np.array(expected)))
            wrong.append(_difference(target.wrong(p, stepped.step, begin, inputs[0]), expected[1]))
    # a NaN must not get lost among the numbers
    return float(np.max(one)), float(np.max(one + sequence)), float(np.min(wrong))


def _difference(ours: Array, theirs: Array) -> float:
    if ours.shape != theirs.shape:
        raise UsageError(f"the cell has states of shape {ours.shape[1:]}, the published one of {theirs.shape[1:]}.")
    return float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))


def _unequal(target: Published, cell: RecurrentMap, metrics: Mapping[str, float]) -> list[str]:
    reasons = []
    if target.STEP is not None and cell.step != target.STEP:
        reasons.append(f"the published step is {target.STEP:g}, not {cell.step:g}")
    if not metrics["equality_error"] <= EQUAL:
        reasons.append(f"it differs from the published cell by {metrics['equality_error']:.1e}")
    if not metrics["wrong_error"] >= TOLD_APART:
        reasons.append(f"the comparison cannot fail: the wrong cell differs by {metrics['wrong_error']:.1e} only")
    return reasons


# -------------------------------------------------------------------------------------------------------- consistency


@dataclass(frozen=True)
class _Convergence:
    """Steps and relative errors against the exact flow; the observed order; gap: of the extrapolated limit, which its
    last rung moved by `moved`."""

    steps: list[float]
    errors: list[float]
    observed: float | None
    gap: float
    moved: float


def _convergence(row: str, cell: RecurrentMap, seed: int) -> _Convergence:
    """On intervals that keep away from kinks and are short enough for the limit to settle; the first if none is."""
    rng = stream(seed, "correspondence/flow")
    inputs = rng.normal(size=(INTERVALS, BATCH, cell.inputs))
    begin = cell.start(BATCH) + rng.normal(size=(BATCH, cell.blocks, cell.hidden))
    if row in KINKS:
        begin = np.where(begin < 0, -1.0, 1.0) + begin
    rate = max(float(np.linalg.norm(cell.field_jacobian(begin, u), 2, axis=(1, 2)).max()) for u in inputs)
    held = min(HELD, TURN / rate) if rate > 0 else HELD
    found: list[_Convergence] = []
    for _ in range(HALVINGS + 1):
        exact = _flow(row, cell, inputs, begin, held)
        if exact is not None:
            found.append(_ladder(row, cell, inputs, begin, held, exact))
            if found[-1].moved <= SETTLED:
                return found[-1]
            if len(found) > SHORTER:
                break
        held /= 2
    if not found:
        raise Diverged(f"the exact solution is within {DISTANCE:g} of a kink of the field at once")
    return found[0]


def _ladder(row: str, cell: RecurrentMap, inputs: Array, begin: Array, held: float, exact: Array) -> _Convergence:
    """Steps whose solution is lost are left out. Raises `Diverged` where all are."""
    steps, errors, ends = [], [], list[Array]()
    for count in LADDER:
        try:
            found = _stepped(row, cell, inputs, begin, held, count)
        except Diverged:  # too coarse a step for this method
            continue
        if np.isfinite(found).all():
            steps.append(held / count)
            errors.append(_difference(found, exact))
            ends.append(found)
    if not errors:
        raise Diverged(f"no step down to {held / LADDER[-1]:.1e} gave a finite solution")
    observed, claimed = observed_order(steps, errors, FLOOR), cell.facts.get("order")
    if len(ends) < RUNGS or steps[-RUNGS] > 1.01 * 2 ** (RUNGS - 1) * steps[-1]:  # one of the finest was lost
        return _Convergence(steps, errors, observed, math.nan, math.inf)
    power = 1 if claimed is None or _inconsistent(observed, claimed) else max(1, int(claimed))
    limits = limit(ends[-RUNGS:], power)
    return _Convergence(steps, errors, observed, _difference(limits[0], exact), _difference(*limits))


def _flow(row: str, cell: RecurrentMap, inputs: Array, begin: Array, held: float) -> Array | None:
    """States at the ends of the intervals; None where a kink comes near on the way."""
    shape, y, ends = begin.shape, begin, []

    def clearance(t: float, flat: Array) -> float:
        return float(KINKS[row](flat.reshape(shape)).min()) - DISTANCE

    vars(clearance)["terminal"] = True  # how SciPy is told to stop there
    for u in inputs:

        def slope(t: float, flat: Array, u: Array = u) -> Array:
            return cell.slope(flat.reshape(shape), u).ravel()

        events = clearance if row in KINKS else None
        found = solve_ivp(slope, (0.0, held), y.ravel(), "DOP853", events=events, rtol=1e-13, atol=1e-14)
        if found.status == 1:
            return None
        if not found.success:
            raise Diverged(f"the field has no solution to compare with: {found.message}")
        y = found.y[:, -1].reshape(shape)
        ends.append(y)
    return np.array(ends)


def _stepped(row: str, cell: RecurrentMap, inputs: Array, begin: Array, held: float, count: int) -> Array:
    """The same ends by `count` steps of the cell on each interval."""
    fine = cell.with_step(held / count)
    if row not in JUMPS:
        return fine.run(np.repeat(inputs, count, axis=0), begin)[count::count]
    p, y, ends = cell.parameters(), begin, []
    for u in inputs:
        for _ in range(count):
            y = fine.run(u[None], JUMPS[row](p, y))[1]
        ends.append(y)
    return np.array(ends)


def _inconsistent(observed: float | None, claimed: Any) -> list[str]:
    if observed is None:
        return ["fewer than three steps have an error above the rounding floor"]
    if claimed is None:
        return ["its method claims no order to compare with"]
    if not abs(observed - claimed) <= CLOSE:
        return [f"its order against the flow of the stated field is {observed:.2f}, not {claimed}"]
    return []


def _elsewhere(found: _Convergence) -> list[str]:
    if not found.moved <= SETTLED:
        return [f"its limit of small steps is not known: the last of {RUNGS} rungs moves it by {found.moved:.1e}"]
    if not found.gap <= LIMIT:
        return [f"its limit of small steps is {found.gap:.1e} from the flow of the stated field"]
    return []


def _misfiled(gap: float, integrator: bool) -> list[str]:
    if integrator and gap > TOLD_APART:
        return [f"it is listed as an integrator, and its own time of 0 moves the state by {gap:.1e}"]
    if not integrator and not gap > TOLD_APART:
        return [f"it is listed as no integrator, and its own time of 0 moves the state by {gap:.1e} only"]
    return []


def _gaps(target: Published, cell: RecurrentMap, seed: int) -> list[float]:
    """max |Phi(y) - y| of the published map as its time goes to 0; that ours is this map was compared before."""
    rng, p = stream(seed, "correspondence/gap"), cell.parameters()
    if "constant:elapsed" not in p:
        raise UsageError("a cell that is no integrator needs a constant 'elapsed' here, its time between inputs.")
    u = rng.normal(size=(BATCH, cell.inputs))
    y = cell.start(BATCH) + rng.normal(size=(BATCH, cell.blocks, cell.hidden))
    after = [target.update({**p, "constant:elapsed": np.array(time)}, time, y, u) for time in SHRINKING]
    return [float(np.abs(found - y).max()) for found in after]


def _plain(depth: float) -> float | str:
    return depth if math.isfinite(depth) else "Infinity"


TASK = Correspondence
