"""diffrax (Kidger 2021, https://github.com/patrick-kidger/diffrax) stepping our explicit tableau, compiled by jax.

The one file that knows how diffrax is told a method. What it assumes, and what is done about it here:

* a tableau has at least two stages: Euler's method is given f(t + h, y+) as a second one of weight zero, which diffrax
  recognises as first-same-as-last, so that it costs one evaluation a rollout and not one a step;
* outputs between steps are interpolated: here every output time ends a step, which in adaptive runs needs a controller
  around diffrax's own;
* the first step that diffrax 0.7.2 chooses is 0.01 whatever the problem, since its rule (HNW II.4) asks for a plain
  ODETerm and gets it wrapped: here `adaptive.first_step` applies that rule;
* a state of float32 is promoted by times of float64: so the times of a float32 rollout are float32 as well.

A field that has a jax form is traced and compiled with the method, once for each length of the grid; any other Python
function, stateful ones too, is called back out of the compiled program, in order. jax is imported at the first use, and
its 64-bit mode switched on then and for good: callbacks run in threads of jax's own, which do not see a context's
setting and would silently pass float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar, Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt

from ...suite.errors import Diverged, MissingPackage, UsageError
from ..adaptive import STRETCH, Tolerance, first_step
from ..step import stages
from ..tableau import Tableau
from ..tableaux import Method
from .base import Backend, Field, Solution, State
from .common import Rate, check_explicit, check_finite, check_own_control, checked_pair, checked_times, is_numpy, listed

Array = npt.NDArray[Any]

MOST_STEPS = 1_000_000
"""An adaptive run that has taken so many is given up."""


@runtime_checkable
class TracedField(Protocol):
    """A `Field` with a jax form. Hashable: equal fields share one compiled program."""

    def __call__(self, t: Any, y: State, drive: Any, weights: tuple[Any, ...]) -> State: ...

    def traced(self, t: Any, y: Any, drive: Any) -> Any: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class Library:
    """The modules in use."""

    diffrax: Any
    jax: Any
    io_callback: Callable[..., Any]


@lru_cache(maxsize=1)
def library() -> Library:
    """diffrax and jax, imported. Raises `UsageError` with the pip line where they are missing."""
    try:
        package: Any = import_module("diffrax")
        jax: Any = import_module("jax")
        experimental: Any = import_module("jax.experimental")
    except ModuleNotFoundError as error:
        raise MissingPackage("backend 'diffrax' needs a package: pip install 'diffrax>=0.7,<0.8'") from error
    jax.config.update("jax_enable_x64", True)
    return Library(package, jax, experimental.io_callback)


# ------------------------------------------------------------------------------------------------------------- methods


@dataclass(frozen=True)
class _Injected:
    """A tableau as diffrax holds it: its solver class, and what a step of it evaluates."""

    solver: Any
    stages: int
    fsal: bool

    def evaluations(self, attempts: int) -> int:
        """Of one rollout; the library counts none, these are what its steps of such a tableau are made of."""
        return attempts * (self.stages - 1) + 1 if self.fsal else attempts * self.stages


@lru_cache(maxsize=256)
def _method(tableau: Tableau, embedded: bool) -> _Injected:
    """Of the stages that the result (with `embedded`: and the error) depends on."""
    diffrax: Any = library().diffrax
    base: Any = diffrax.AbstractERK
    stage = stages(tableau, "exact", embedded)
    size = len(stage)

    def dense(row: Any, length: int) -> Array:
        values = dict(row)
        return np.array([float(values.get(i, 0)) for i in range(length)])

    rows = [dense(row, i) for i, row in enumerate(stage.rows) if i > 0]
    nodes = [float(c) for c in stage.nodes[1:]]
    if size == 1:
        rows, nodes, size = [np.ones(1)], [1.0], 2
    table = diffrax.ButcherTableau(
        c=np.array(nodes), a_lower=tuple(rows), b_sol=dense(stage.weights, size), b_error=dense(stage.error, size)
    )
    claimed = tableau.order

    def straight(*, t0: Any, t1: Any, y0: Any, y1: Any, k: Any) -> Any:
        # outputs lie at the ends of steps: nothing is interpolated
        return diffrax.LocalLinearInterpolation(t0=t0, t1=t1, y0=y0, y1=y1)

    class Injected(base):  # type: ignore[misc]
        tableau = table
        interpolation_cls = staticmethod(straight)

        def order(self, terms: Any) -> int:
            return claimed

    return _Injected(Injected, size, bool(table.fsal))


@lru_cache(maxsize=1)
def _landing() -> Any:
    """A controller class around another: every time of `ends` ends a step, as in `adaptive.integrate_adaptively`."""
    found = library()
    base: Any = found.diffrax.AbstractStepSizeController
    jnp: Any = found.jax.numpy

    class Landing(base):  # type: ignore[misc]
        inner: Any
        ends: Any

        def wrap(self, direction: Any) -> Any:
            return self

        def _land(self, t: Any, planned: Any) -> Any:
            following = jnp.minimum(jnp.searchsorted(self.ends, t, side="right"), len(self.ends) - 1)
            end = self.ends[following]
            return jnp.where(t + STRETCH * planned >= end, end, t + planned)

        def init(
            self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any
        ) -> tuple[Any, Any]:
            end, state = self.inner.init(terms, t0, t1, y0, dt0, args, func, error_order)
            return self._land(t0, end - t0), (end - t0, state)

        def adapt_step_size(
            self, t0: Any, t1: Any, y0: Any, y1: Any, args: Any, error: Any, error_order: Any, state: Any
        ) -> tuple[Any, ...]:
            planned, inner = state
            keep, start, end, jump, inner, result = self.inner.adapt_step_size(
                t0, t1, y0, y1, args, error, error_order, inner
            )
            # a step cut short by an output time says little about the one that was planned
            planned = jnp.where(keep, jnp.maximum(planned, end - start), end - start)
            planned = jnp.where(keep & (t1 - t0 >= state[0]), end - start, planned)
            return keep, start, self._land(start, planned), jump, (planned, inner), result

    return Landing


# ------------------------------------------------------------------------------------------------------------ programs


_keys = itertools.count()
_callbacks: dict[int, Callback] = {}
"""The functions that running programs call, by the number that is handed to the program."""


@final
class Callback:
    """A Python function behind a number, for the length of a `with`; what it raises is raised again at its end."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function, self.calls = function, 0
        self.key = next(_keys) % 2**31
        self.error: Exception | None = None

    def __enter__(self) -> Callback:
        _callbacks[self.key] = self
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        del _callbacks[self.key]
        if self.error is not None:
            raise self.error


def _call(key: Any, t: Any, y: Any) -> Array:
    state = np.array(y)
    callback = _callbacks[int(key)]
    if callback.error is not None:
        return np.zeros_like(state)
    callback.calls += 1
    try:
        with np.errstate(all="ignore"):  # what overflows is reported once, as Diverged
            return np.asarray(callback.function(float(t), state), dtype=state.dtype)
    except Exception as error:  # no exception passes through compiled code: it is kept and raised behind it
        callback.error = error
        return np.zeros_like(state)


def tick(key: Any) -> None:
    """Count an evaluation of a compiled field, as the callback of `jax.debug`."""
    _callbacks[int(key)].calls += 1


def called_back(key: Any, t: Any, y: Any) -> Any:
    """The callback's value at (t, y), inside a traced function."""
    found = library()
    return found.io_callback(_call, found.jax.ShapeDtypeStruct(y.shape, y.dtype), key, t, y, ordered=True)


@dataclass(frozen=True)
class Found:
    """What a program gives back: states (len(ts), ...), steps accepted and rejected, diffrax's own result."""

    states: Any
    accepted: Any
    rejected: Any
    result: Any


@lru_cache(maxsize=256)
def _program(tableau: Tableau, adaptive: bool, traced: TracedField | None) -> Callable[..., Any]:
    """(y0, ts, key, drive, steps) -> what `Found` holds, of the traced field, or of the callback `key`.

    steps: in adaptive mode rtol, atol and the first step, else None.
    """
    found = library()
    diffrax, jax = found.diffrax, found.jax
    method = _method(tableau, adaptive)
    order = min(tableau.order, tableau.embedded_order or tableau.order) + 1

    def field(t: Any, y: Any, args: Any) -> Any:
        key, drive = args
        if traced is None:
            return called_back(key, t, y)
        return jax.numpy.asarray(traced.traced(t, y, drive), dtype=y.dtype)

    def run(y0: Any, ts: Any, key: Any, drive: Any, steps: Any) -> tuple[Any, ...]:
        first = None
        if adaptive:
            rtol, atol, first = steps
            smallest = 10 * jax.numpy.finfo(ts.dtype).eps * jax.numpy.abs(ts).max()
            inner = diffrax.PIDController(rtol, atol, error_order=order, dtmin=smallest, force_dtmin=False)
            controller, saved, most = _landing()(inner, ts[1:]), diffrax.SaveAt(ts=ts), MOST_STEPS
        else:
            controller, saved, most = diffrax.StepTo(ts), diffrax.SaveAt(t0=True, steps=True), len(ts) - 1
        return solved(field, method.solver(), ts, first, y0, (key, drive), controller, saved, most)

    compiled: Callable[..., Any] = jax.jit(run)
    return compiled


def solved(
    field: Any, solver: Any, ts: Any, first: Any, y0: Any, args: Any, controller: Any, saved: Any, most: int
) -> tuple[Any, ...]:
    """One `diffeqsolve` from ts[0] to ts[-1], inside a compiled program: what `Found` holds. first: step, or None."""
    diffrax = library().diffrax
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        ts[0],
        ts[-1],
        first,
        y0,
        args=args,
        stepsize_controller=controller,
        saveat=saved,
        max_steps=most,
        throw=False,
    )
    stats = solution.stats
    return solution.ys, stats["num_accepted_steps"], stats["num_rejected_steps"], solution.result


@final
class Diffrax(Backend):
    """Explicit tableaux, float32 or float64, on the CPU.

    Evaluations of a field that is called back are its calls; of a compiled one they follow from diffrax's numbers of
    steps. Fixed: s' for each interval, the stages that the result depends on, and one more a rollout for one-stage
    methods. Adaptive: 2 at each (re)start, then for each attempt s, or for an FSAL pair s - 1 and one more a (re)start.
    Torch states pass through NumPy, without gradient; `pullback` differentiates fields with a jax form.
    """

    name: ClassVar[str] = "diffrax"
    differentiable: ClassVar[bool] = False

    def fixed(
        self,
        field: Field,
        y0: State,
        times: Sequence[float],
        tableau: Method,
        drives: Sequence[Any] | None = None,
        weights: tuple[Any, ...] = (),
    ) -> Solution:
        """See `Backend.fixed`."""
        return _solved(field, y0, times, check_explicit(tableau, self.name), None, drives, weights)

    def adaptive(
        self,
        field: Field,
        y0: State,
        times: Sequence[float],
        tableau: Method,
        rtol: float,
        atol: float,
        drives: Sequence[Any] | None = None,
        weights: tuple[Any, ...] = (),
        controller: str = "elementary",
        dense: bool = False,
    ) -> Solution:
        """See `Backend.adaptive`."""
        pair, _ = checked_pair(tableau, rtol, atol, self.name)
        check_own_control(controller, dense, self.name)
        return _solved(field, y0, times, pair, (rtol, atol), drives, weights)


def _solved(
    field: Field,
    y0: State,
    times: Sequence[float],
    tableau: Tableau,
    tolerances: tuple[float, float] | None,
    drives: Sequence[Any] | None,
    weights: tuple[Any, ...],
) -> Solution:
    grid = checked_times(times, drives)
    numpy = is_numpy(y0)
    start = np.asarray(y0) if numpy else y0.detach().cpu().numpy()
    if start.dtype not in (np.float32, np.float64):
        raise UsageError(f"backend 'diffrax' steps float32 or float64, not {start.dtype}.")
    check_finite([start], grid, "diffrax")
    rate = Rate(field if numpy else _through_torch(field), weights)
    traced = field if isinstance(field, TracedField) and numpy else None
    pieces = [grid] if drives is None else [list(pair) for pair in itertools.pairwise(grid)]
    states, accepted, rejected, calls = [start[None]], 0, 0, 0
    for piece, drive in zip(pieces, listed(drives, len(pieces)), strict=True):
        if len(piece) < 2:
            continue
        rate.drive = drive
        found = _piece(rate, traced, states[-1][-1], piece, tableau, tolerances)
        states.append(found.states)
        accepted, rejected = accepted + found.accepted, rejected + found.rejected
        calls += _method(tableau, tolerances is not None).evaluations(found.accepted + found.rejected)
        calls += 2 * (tolerances is not None)
    every: Any = np.concatenate(states)
    check_finite(every, grid, "diffrax")
    if not numpy:
        import torch

        every = torch.from_numpy(every).to(y0.device)
    return Solution(every, calls if traced is not None else rate.calls, accepted, rejected)


def _piece(
    rate: Rate,
    traced: TracedField | None,
    y0: Array,
    times: list[float],
    tableau: Tableau,
    tolerances: tuple[float, float] | None,
) -> Found:
    """One run of a program; its states are those after the first."""
    program = _program(tableau, tolerances is not None, traced)
    ts, drive = np.array(times, y0.dtype), rate.drive if traced is not None else None
    function: Callable[[Any, Any], Any] = rate
    steps = None
    if tolerances is not None:
        function, steps = _started(rate, y0, ts, tableau, tolerances)
    with Callback(function) as callback:
        raw = program(y0, ts, np.int32(callback.key), drive, steps)
        found = Found(np.asarray(raw[0])[1:], int(raw[1]), int(raw[2]), raw[3])
    if tolerances is not None:
        check_result(found.result)
    return found


def _started(
    rate: Callable[[Any, Any], Any], y0: Array, ts: Array, tableau: Tableau, tolerances: tuple[float, float]
) -> tuple[Callable[[Any, Any], Any], Array]:
    """rtol, atol and the first step; and the field, which remembers its slope at the start: the first stage's."""
    order = min(tableau.order, tableau.embedded_order or tableau.order)
    start, span = float(ts[0]), float(ts[-1] - ts[0])
    with np.errstate(all="ignore"):
        known = np.asarray(rate(start, y0))
        first = first_step(rate, start, y0, known, span, order, Tolerance(*tolerances))

    def function(t: float, y: Array) -> Any:
        return known if t == start and np.array_equal(y, y0) else rate(t, y)

    return function, np.array([*tolerances, first], y0.dtype)


def check_result(result: Any) -> None:
    """Raises `Diverged` with diffrax's words where it gave up."""
    results = library().diffrax.RESULTS
    if not bool(result == results.successful):
        raise Diverged(f"diffrax stopped: {' '.join(str(results[result]).split())}")


def pullback(
    field: TracedField,
    y0: Array,
    times: Sequence[float],
    tableau: Method,
    cotangent: Array,
    tolerances: tuple[float, float] | None = None,
) -> Array:
    """d(cotangent . y(times[-1])) / d y0 by jax's reverse mode through the solver's own steps, of one free rollout."""
    table = check_explicit(tableau, "diffrax")
    ts = np.array(checked_times(times, None), y0.dtype)
    jax = library().jax
    program, steps = _program(table, tolerances is not None, field), None
    if tolerances is not None:
        steps = _started(lambda t, y: field(t, y, None, ()), y0, ts, table, tolerances)[1]
    final, back = jax.vjp(lambda y: program(y, ts, np.int32(0), None, steps)[0][-1], y0)
    check_finite([np.asarray(final)], [float(ts[-1])], "diffrax")
    gradient: Array = np.asarray(back(jax.numpy.asarray(cotangent, dtype=y0.dtype))[0])
    return gradient


def _through_torch(field: Field) -> Field:
    """A torch field for NumPy states."""
    import torch

    def f(t: Any, y: Any, drive: Any, weights: tuple[Any, ...]) -> Any:
        with torch.no_grad():
            return field(t, torch.from_numpy(y), drive, weights).numpy()

    return f


BACKENDS: dict[str, Backend] = {"diffrax": Diffrax()}
