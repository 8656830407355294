"""Fields made to be asked questions of, and what their answers say of the solver that steps them.

A probe is a vector field in Python: stateful where it counts or records. It has a form for NumPy and one for torch that
goes through NumPy; other libraries refuse it and call back into NumPy. Past 200 lines because each probe stands beside
the reading of its answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from ...suite.contracts import Array, Solver, Trajectory, VectorField
from ...suite.errors import UsageError
from .plain_loop import Coefficients

CALLS = 120
"""Components of the unit-slope probe: evaluations that it can tell apart."""

SMALLEST = 1e-13
"""Of recovered coefficients, what is rounding: none of a real method is as small and not zero."""

BOUND = 20.0
"""Stability is looked for up to this |z|; beyond, the interval counts as infinite."""

STEPS = 200
MANY = 2000
"""For a method that reads old slopes: a solution of its own grows from rounding, and has to outgrow the true one."""

GROWTH = 1e-11
"""The largest |y| over the last quarter of the steps may exceed that over the second by this fraction."""

BEATS = 1e-2
"""The same for a method that reads old slopes: two solutions that do not grow beat, and their largest sum varies."""

FROZEN = 1e12
"""Past this size a component of the stability probe stands still, so that the others can go on."""

POINTS = 32
ROUNDS = 3


@dataclass(eq=False)
class Probe:
    """A field by its Python functions: call(t, y) -> slope, or call(t, y, u); slopes(t, y) -> df/dy, zero if absent.

    calls counts evaluations. y of shape (..., dimension) passes as it comes. form: jax.numpy -> the stateless function
    in jax, for methods that cannot call back; nothing is counted there.
    """

    name: str
    dimension: int
    call: Callable[..., Array]
    derivative: Callable[..., Array] | None = None
    form: Callable[[Any], Callable[..., Any]] | None = None
    calls: int = 0

    def function(self, library: str = "numpy") -> Callable[..., Any]:
        """f(t, y) or f(t, y, u) in "numpy" or "torch". Raises `UsageError` for another library."""

        def f(t: Any, y: Any, *u: Any) -> Any:
            self.calls += 1
            return self.call(float(t), y, *u)

        if library == "jax" and self.form is not None:
            return self.form(import_module("jax.numpy"))
        return self._in(library, f)

    def jacobian(self, library: str = "numpy") -> Callable[..., Any]:
        """df/dy of shape (..., dimension, dimension), likewise."""

        def J(t: Any, y: Any, *u: Any) -> Any:
            if self.derivative is None:
                return np.zeros((*y.shape, y.shape[-1]))
            return self.derivative(float(t), y, *u)

        return self._in(library, J)

    def latex(self) -> str:
        return rf"\dot y = \text{{{self.name}}}(t, y)"

    def _in(self, library: str, f: Callable[..., Any]) -> Callable[..., Any]:
        if library == "numpy":
            return f
        if library != "torch":
            raise UsageError(f"field {self.name!r} is plain Python: expected library 'numpy' or 'torch'.")
        import torch

        def g(t: Any, y: Any, *u: Any) -> Any:
            plain = [np.asarray(x.detach().cpu()) if isinstance(x, torch.Tensor) else x for x in (y, *u)]
            return torch.as_tensor(np.asarray(f(t, *plain)), dtype=y.dtype, device=y.device)

        return g


def counting(equation: VectorField, compiled: bool = False) -> Probe:
    """A given equation, its evaluations counted; compiled: with its jax form, where nothing is counted."""
    form = (lambda _: equation.function("jax")) if compiled else None
    return Probe(equation.name, equation.dimension, equation.function("numpy"), equation.jacobian("numpy"), form)


def stepped(solver: Solver, equation: VectorField, y0: Array, t: Array, inputs: Array | None = None) -> Trajectory:
    """The solution on the grid t. Raises `UsageError` unless the solver took one step an interval, or does not say."""
    found = solver.solve(equation, y0, t) if inputs is None else solver.solve(equation, y0, t, inputs)
    n = len(t) - 1
    if found.rejected > 0 or found.accepted not in (n, -1):
        raise UsageError(
            f"expected one step an interval, got {found.accepted} accepted and {found.rejected} rejected on {n} "
            "intervals: the method chooses its own steps."
        )
    return found


# --------------------------------------------------------------------------------------- the coefficients, by slopes


@dataclass(frozen=True)
class Recovered:
    """What one step is, read off its answers; second: the same of the step after; remembers: that reads old slopes.

    how: "slopes" (unit slopes) or "responses" (linear responses, for methods that iterate).
    """

    first: Coefficients
    second: Coefficients | None
    remembers: bool
    how: str


def by_slopes(solver: Solver) -> Recovered:
    """Unit slopes over two steps of size 1: the j-th evaluation returns the j-th unit vector, whatever it is asked at.

    Arguments and results are then the coefficients. The stages are the evaluations that the result depends on, be it
    through others: what a solver evaluates beside (a first step, an estimate of the error) drops out. The second step
    starts at y1; an evaluation that it depends on must be at y1 plus slopes of its own step from before, otherwise the
    method remembers.
    """
    times: list[float] = []
    arguments: list[Array] = []

    def slope(t: float, y: Array) -> Array:
        times.append(t)
        arguments.append(np.array(y, dtype=np.float64))
        unit = np.zeros_like(y)
        if len(times) <= CALLS:
            unit[..., len(times) - 1] = 1.0
        return unit

    solution = stepped(solver, Probe("unit slopes", CALLS, slope), np.zeros(CALLS), np.array([0.0, 1.0, 2.0]))
    if len(times) > CALLS:
        raise UsageError(f"expected at most {CALLS} evaluations in two steps, got {len(times)}.")
    rows = _clean(np.array(arguments))
    first, second = _clean(solution.y[1]), _clean(solution.y[2] - solution.y[1])
    if first[len(times) :].any() or second[len(times) :].any():
        raise UsageError("the state moves where every slope is zero.")
    one, honest = _read(rows, np.array(times), np.zeros(CALLS), first, 0.0)
    if not honest:
        raise UsageError("a stage of the first step depends on one that comes after it.")
    two, honest = _read(rows, np.array(times), first, second, 1.0)
    return Recovered(one, two if honest else None, not honest, "slopes")


def _clean(values: Array) -> Array:
    return np.where(np.abs(values) < SMALLEST, 0.0, values)


def _read(rows: Array, times: Array, start: Array, result: Array, t: float) -> tuple[Coefficients, bool]:
    """The stages behind a result that starts at `start`; and whether each needs earlier ones of this step alone."""
    kept = set(np.flatnonzero(result).tolist())
    honest = True
    waiting = sorted(kept)
    while waiting:
        j = waiting.pop()
        needs = set(np.flatnonzero(_clean(rows[j] - start)).tolist())
        if any(i >= j for i in needs):
            honest = False
            continue
        waiting += sorted(needs - kept)
        kept |= needs
    # a slope of the step before that is read at a state of the step before is not a stage of this one
    stages = sorted(kept)
    A = _clean(rows[stages] - start)[:, stages]
    return Coefficients(A, result[stages], times[stages] - t), honest


# ------------------------------------------------------------------------------------ the coefficients, by responses


def by_responses(solver: Solver) -> Recovered:
    """Linear responses over one step of size 1, for methods whose stages are solved by iteration.

    y' = z(t) y + g(t) from 0, g = 1 at one node and 0 elsewhere: the result is w_i = (b^T (I - Z A)^-1)_i with Z the
    diagonal of z at the nodes, so that w = b^T + w Z A: linear equations for A and b from several z. First with
    constant z, where the Jacobian is constant and Newton's method exact; where that leaves A open, with z that differs
    between the nodes. Raises `UsageError` where two stages share a node (their sum is all that shows).
    """
    nodes = _nodes(solver)
    n = len(nodes)
    turn = np.arange(2 * n + 6)[:, None]
    for pattern in (
        1.2 * np.cos(1.0 + 2.4 * turn) * np.ones((1, n)),
        np.cos(1.0 + 1.7 * (turn + 1) * np.arange(1, n + 1)),
    ):
        found = _responses(solver, nodes, pattern)
        if found is not None:
            return Recovered(found, None, False, "responses")
    raise UsageError("the responses of one step fit no tableau with distinct nodes: stages may share a node.")


def _responses(solver: Solver, nodes: Array, pattern: Array) -> Coefficients | None:
    """The tableau that fits the responses to z = pattern (trials, nodes), or None."""
    trials, n = pattern.shape
    seat = np.tile(np.arange(n), trials)

    def z(t: float) -> Array:
        return np.repeat(pattern[:, int(np.argmin(np.abs(nodes - t)))], n)

    def forced(t: float, y: Array) -> Array:
        return z(t) * y + (np.abs(nodes - t) < 1e-9)[seat]

    def jacobian(t: float, y: Array) -> Array:
        return np.broadcast_to(np.diag(z(t)), (*y.shape, trials * n))

    probe = Probe("forced at nodes", trials * n, forced, jacobian)
    w = stepped(solver, probe, np.zeros(trials * n), np.array([0.0, 1.0])).y[-1].reshape(trials, n)
    active = np.flatnonzero(np.abs(w).max(axis=0) > 1e-10)
    w = w[:, active]
    system = np.concatenate([w * pattern[:, active], np.ones((trials, 1))], axis=1)
    solved, _, rank, _ = np.linalg.lstsq(system, w, rcond=1e-10)
    if not len(active) or rank < system.shape[1] or float(np.abs(system @ solved - w).max()) > 1e-7:
        return None
    solved = np.where(np.abs(solved) < 1e-11, 0.0, solved)
    return Coefficients(solved[:-1], solved[-1], nodes[active])


def _nodes(solver: Solver) -> Array:
    """The times in [0, 1] at which a step of size 1 evaluates, distinct, ascending."""
    times: list[float] = []

    def relax(t: float, y: Array) -> Array:
        times.append(t)
        return -0.5 * y

    probe = Probe("relaxation", 1, relax, lambda t, y: np.full((*y.shape, 1), -0.5))
    stepped(solver, probe, np.ones(1), np.array([0.0, 1.0]))
    found: list[float] = []
    for time in sorted(times):
        if not found or time - found[-1] > 1e-9:
            found.append(time)
    return np.array(found)


# ---------------------------------------------------------------------------------------------------- linear systems


@dataclass(eq=False)
class Rotations:
    """y' = z y for many complex z at once, as one real system: first all real parts, then all imaginary ones."""

    z: Array
    frozen: float = np.inf
    compiled: bool = False
    probe: Probe = field(init=False)

    def __post_init__(self) -> None:
        form = self._form if self.compiled else None
        self.probe = Probe("rotations", 2 * len(self.z), self._form(np), self._jacobian, form)

    def _form(self, numpy: Any) -> Callable[..., Any]:
        def f(t: Any, y: Any) -> Any:
            a, b = self.z.real, self.z.imag
            u, v = y[..., : len(a)], y[..., len(a) :]
            slope = numpy.concatenate([a * u - b * v, b * u + a * v], axis=-1)
            return numpy.where(self._moving(numpy, y), slope, 0.0)

        return f

    def _jacobian(self, t: float, y: Array) -> Array:
        a, b = np.diag(self.z.real), np.diag(self.z.imag)
        return np.where(self._moving(np, y)[..., None], np.block([[a, -b], [b, a]]), 0.0)

    def _moving(self, numpy: Any, y: Any) -> Any:
        small = numpy.abs(y) < self.frozen
        both = small[..., : len(self.z)] & small[..., len(self.z) :]
        return numpy.concatenate([both, both], axis=-1)

    def solve(self, solver: Solver, steps: int) -> Array:
        """Complex states (steps + 1, len(z)) on the grid 0, 1, 2, ... from 1."""
        start = np.concatenate([np.ones(len(self.z)), np.zeros(len(self.z))])
        u, v = np.split(stepped(solver, self.probe, start, np.arange(steps + 1.0)).y, 2, axis=-1)
        found: Array = u + 1j * v
        return found


Z = np.array([-0.7, -2.3 + 0.4j, 0.9j, 0.4 + 1.1j, -0.2 - 1.7j, -5.0 + 3.0j])
"""Where the stability function is read."""


def stability_values(solver: Solver, compiled: bool = False) -> Array:
    """R(z) at `Z`: what one step of size 1 makes of y' = z y from 1."""
    found: Array = Rotations(Z, np.inf, compiled).solve(solver, 1)[1]
    return found


def restart_gap(solver: Solver, compiled: bool = False) -> float:
    """The largest relative difference that starting afresh half-way makes on y' = z y: rounding for one-step methods.

    Linear, so that an iteration for the stages does not show.
    """
    probe = Rotations(0.05 * Z, np.inf, compiled).probe
    start = np.concatenate([np.ones(len(Z)), np.zeros(len(Z))])
    through = stepped(solver, probe, start, np.arange(9.0)).y
    again = stepped(solver, probe, through[4], np.arange(4.0, 9.0)).y
    return float(np.abs(again - through[4:]).max() / np.abs(through).max())


def interval(grow: Callable[[Array], Sequence[bool]]) -> float:
    """The largest r up to which nothing grows, by bisection in POINTS parts; infinite where nothing grows up to BOUND.

    grow: sizes |z| -> whether each grows.
    """
    low, high = 0.0, BOUND
    for turn in range(ROUNDS):
        part = np.arange(1, POINTS + 1) / POINTS
        sizes = low + (high - low) * (part**2 if turn == 0 else part)
        grows = np.asarray(grow(sizes))
        if not grows.any():
            return float("inf") if turn == 0 else float(low)
        place = int(np.argmax(grows))
        low, high = (float(sizes[place - 1]) if place else low), float(sizes[place])
    return low


def growing(solver: Solver, direction: complex, compiled: bool = False, remembers: bool = False) -> float:
    """The stability interval of the running solver along the direction -1 or 1j, from steps of y' = z y, from 1."""
    steps, growth = rule(remembers)

    def grow(sizes: Array) -> Sequence[bool]:
        system = Rotations(direction * sizes, FROZEN, compiled)
        return _grown(np.abs(system.solve(solver, steps)), growth)

    return interval(grow)


def rule(remembers: bool) -> tuple[int, float]:
    """How many steps are taken, and what growth of them counts."""
    return (MANY, BEATS) if remembers else (STEPS, GROWTH)


def claimed_interval(method: Coefficients, direction: complex, remembers: bool = False) -> float:
    """The same of a tableau's stability function, by the same rule."""
    steps, growth = rule(remembers)

    def grow(sizes: Array) -> Sequence[bool]:
        R = np.abs(method.stability(direction * sizes))
        with np.errstate(over="ignore"):
            return _grown(np.minimum(R[None] ** np.arange(steps + 1)[:, None], FROZEN), growth)

    return interval(grow)


def _grown(sizes: Array, growth: float) -> Sequence[bool]:
    """Of |y| (steps + 1, points): which columns grow. The first quarter is left to the start of a method of several
    steps."""
    quarter = len(sizes) // 4
    before, after = sizes[quarter : 2 * quarter].max(axis=0), sizes[3 * quarter :].max(axis=0)
    grown: list[bool] = (((after > (1 + growth) * before) & (after > 1e-200)) | (sizes.max(axis=0) > 1e10)).tolist()
    return grown
