"""torchdiffeq (Chen 2018, https://github.com/rtqichen/torchdiffeq) stepping our tableau.

The one file that knows its internals, and longer than most because it is two backends on one set of them. The library
has no public way to pass a tableau, so its two solver base classes are subclassed, from 0.2.5's private modules; what
it assumes and does not check is put right here:

* the last stage is taken for f(t + h, y+): a tableau that is not FSAL gets the row b appended (still s calls a step);
* output times are interpolated through a midpoint: here every output time ends a step;
* a stage at c = 1 of a step that ends on a drive's jump must not read the next drive: the drive is bound to the step.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from ...suite.errors import Diverged, MissingPackage, UsageError
from ..adaptive import STRETCH
from ..step import change, stages, sweep
from ..tableau import Tableau
from ..tableaux import Method
from .base import Backend, Field, Solution, State
from .common import Rate, check_explicit, check_finite, check_own_control, checked_pair, checked_times, is_numpy, listed

if TYPE_CHECKING:
    import torch

_numbers = itertools.count()


@dataclass(frozen=True)
class _Library:
    """The parts of torchdiffeq in use; the last four are private to it."""

    odeint: Callable[..., Any]
    odeint_adjoint: Callable[..., Any]
    SOLVERS: dict[str, Any]
    FixedGridODESolver: Any
    RKAdaptiveStepsizeODESolver: Any
    ButcherTableau: Any


@lru_cache(maxsize=1)
def _library() -> _Library:
    try:
        package: Any = import_module("torchdiffeq")
        registry: Any = import_module("torchdiffeq._impl.odeint")
        adaptive: Any = import_module("torchdiffeq._impl.rk_common")
        grid: Any = import_module("torchdiffeq._impl.solvers")
        return _Library(
            package.odeint,
            package.odeint_adjoint,
            registry.SOLVERS,
            grid.FixedGridODESolver,
            adaptive.RKAdaptiveStepsizeODESolver,
            adaptive._ButcherTableau,
        )
    except ModuleNotFoundError as error:
        if error.name == "torchdiffeq":
            raise MissingPackage(
                "backend 'torchdiffeq' needs a package: pip install 'torchdiffeq>=0.2.5,<0.3'"
            ) from None
        raise UsageError(_DIFFERS) from error
    except AttributeError as error:
        raise UsageError(_DIFFERS) from error


_DIFFERS = "the installed torchdiffeq has other internals than 0.2.5: pip install 'torchdiffeq>=0.2.5,<0.3'"


@lru_cache(maxsize=256)
def fixed_method(tableau: Tableau) -> str:
    """The name under which torchdiffeq now knows the tableau on a fixed grid, one step an interval."""
    base: Any = _library().FixedGridODESolver
    method = stages(tableau, "torch")

    class Fixed(base):  # type: ignore[misc]
        order = tableau.order

        def _step_func(self, func: Any, t0: Any, dt: Any, t1: Any, y0: Any) -> tuple[Any, Any]:
            h = float(dt)
            slopes, _ = sweep(func, t0, y0, h, method)
            return change(method.weights, slopes, h, method), slopes[0]

        @classmethod
        def valid_callbacks(cls) -> set[str]:
            return {"callback_step", "callback_accept_step", "callback_reject_step"}  # without this one, a warning

    return _registered(Fixed)


@lru_cache(maxsize=256)
def adaptive_method(tableau: Tableau) -> str:
    """The name under which torchdiffeq now knows the pair, with its own step control of exponent 1 / `order`."""
    import torch

    library = _library()
    base: Any = library.RKAdaptiveStepsizeODESolver
    pair = stages(tableau, "exact", embedded=True)
    size = len(pair)

    def dense(row: Any, length: int) -> torch.Tensor:
        values = dict(row)
        return torch.tensor([float(values.get(i, 0)) for i in range(length)], dtype=torch.float64)

    appended = () if pair.fsal else (pair.weights,)
    rows = [dense(row, i) for i, row in enumerate((*pair.rows, *appended)) if i > 0]
    nodes = [float(c) for c in pair.nodes[1:]] + [1.0 for _ in appended]
    length = size + len(appended)

    exponent = min(tableau.order, tableau.embedded_order or 0) + 1
    table = library.ButcherTableau(
        alpha=torch.tensor(nodes, dtype=torch.float64),
        beta=rows,
        c_sol=dense(pair.weights, length),
        c_error=dense(pair.error, length),
    )

    class Adaptive(base):  # type: ignore[misc]
        rk_state: Any
        order = exponent
        tableau = table
        mid = torch.zeros(length, dtype=torch.float64)  # unused: nothing is interpolated

        def _before_integrate(self, t: Any) -> None:
            super()._before_integrate(t)
            # a step size is a number, not a function of the weights; and no further than the interval
            dt = torch.as_tensor(self.rk_state.dt).detach()
            self.rk_state = self.rk_state._replace(dt=torch.minimum(dt, (t[-1] - t[0]).detach()))

        def _advance(self, next_t: Any) -> Any:
            self.step_t, self.next_step_index = next_t.reshape(1), 0
            planned = self.rk_state.dt
            while self.rk_state.t1 < next_t:
                planned = self.rk_state.dt
                if self.rk_state.t1 + STRETCH * planned >= next_t:
                    # past the output time, so that the library cuts the step to land on it exactly
                    self.rk_state = self.rk_state._replace(dt=2 * (next_t - self.rk_state.t1))
                self.rk_state = self._adaptive_step(self.rk_state)
            # a step cut short by an output time says little about the one that was planned
            self.rk_state = self.rk_state._replace(dt=torch.maximum(planned, self.rk_state.dt))
            return self.rk_state.y1

        def _adaptive_step(self, rk_state: Any) -> Any:
            try:
                return super()._adaptive_step(rk_state)
            except AssertionError as error:
                reason = str(error).splitlines()[0]
                raise Diverged(f"torchdiffeq stopped at t = {float(rk_state.t1):g}: {reason}") from None

        def _interp_fit(self, y0: Any, y1: Any, k: Any, dt: Any) -> list[Any]:
            return []

    return _registered(Adaptive)


def _registered(solver: Any) -> str:
    # one insertion under a name nobody else has: safe between threads; every process has its own registry
    name = f"odernn-{next(_numbers)}"
    _library().SOLVERS[name] = solver
    return name


@final
class _Function:
    """What torchdiffeq calls: f(t, y), and its callbacks, through which it tells of every step before and after."""

    def __init__(self, f: Callable[[Any, Any], Any], rate: Rate, drives: Sequence[Any] = ()) -> None:
        self._f, self._rate, self._drives = f, rate, iter(drives)
        self.accepted = self.rejected = 0

    def __call__(self, t: Any, y: Any) -> Any:
        return self._f(t.detach(), y)  # a time is a number, though the library's first one hangs on y0

    def callback_step(self, t0: Any, y0: Any, dt: Any) -> None:
        self._rate.drive = next(self._drives, self._rate.drive)

    def callback_accept_step(self, t0: Any, y0: Any, dt: Any) -> None:
        self.accepted += 1

    def callback_reject_step(self, t0: Any, y0: Any, dt: Any) -> None:
        self.rejected += 1


class _TorchDiffEq(Backend):
    """What the two backends share: the conversions, the pieces of the time axis, the counts.

    Evaluations, fixed: one for each interval and stage that the result depends on. Adaptive: 2 at each (re)start, then
    for each attempt s - 1 for an FSAL pair of s stages and s for another. The adjoint's backward pass is not counted.
    NumPy states run as torch tensors on the CPU, without gradient.
    """

    differentiable: ClassVar[bool] = True

    @abstractmethod
    def _solve(self, rate: Rate, y0: Any, times: list[float], drives: Sequence[Any], options: _Options) -> _Piece:
        """One call of the library; drives: one for each fixed step, or empty where `rate.drive` holds throughout."""

    @abstractmethod
    def _whole(self, adaptive: bool) -> bool:
        """Whether a sequence with drives can be solved in one call."""

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
        table = check_explicit(tableau, self.name)
        options = _Options(fixed_method(table), 1e-7, 1e-9, False)  # a fixed grid reads no tolerance
        return self._run(field, y0, times, drives, weights, options)

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
        table, _ = checked_pair(tableau, rtol, atol, self.name)
        check_own_control(controller, dense, self.name)
        return self._run(field, y0, times, drives, weights, _Options(adaptive_method(table), rtol, atol, True))

    def _run(
        self,
        field: Field,
        y0: State,
        times: Sequence[float],
        drives: Sequence[Any] | None,
        weights: tuple[Any, ...],
        options: _Options,
    ) -> Solution:
        import torch

        grid = checked_times(times, drives)
        numpy = is_numpy(y0)
        state = torch.from_numpy(np.array(y0)) if numpy else y0
        if numpy:
            field = _through_numpy(field)
        bound = listed(drives, len(grid) - 1)
        check_finite([state], grid, self.name)
        pieces: list[_Piece] = []
        states = [state.unsqueeze(0)]
        with np.errstate(all="ignore"):  # what overflows is reported once, as Diverged
            if len(grid) > 1 and (drives is None or self._whole(options.adaptive)):
                each = () if drives is None else bound
                pieces.append(self._solve(Rate(field, weights), state, grid, each, options))
                states = [pieces[-1].states]
            else:
                for pair, drive in zip(itertools.pairwise(grid), bound, strict=True):
                    pieces.append(self._solve(Rate(field, weights, drive), states[-1][-1], list(pair), (), options))
                    states.append(pieces[-1].states[1:])
        found = torch.cat(states)
        check_finite(found, grid, self.name)
        return Solution(
            states=found.numpy() if numpy else found,
            f_calls=sum(piece.f_calls for piece in pieces),
            accepted=sum(piece.accepted for piece in pieces) if options.adaptive else len(grid) - 1,
            rejected=sum(piece.rejected for piece in pieces),
        )


@dataclass(frozen=True)
class _Options:
    method: str
    rtol: float
    atol: float
    adaptive: bool

    def call(self, solver: Callable[..., Any], function: _Function, y0: Any, times: list[float]) -> Any:
        """odeint or odeint_adjoint, with times in float64 (float32 where the device has no other)."""
        import torch

        dtype = torch.float32 if y0.device.type == "mps" else torch.float64
        t = torch.tensor(times, dtype=dtype, device=y0.device)
        options = {"dtype": dtype} if self.adaptive else {}
        return solver(function, y0, t, rtol=self.rtol, atol=self.atol, method=self.method, options=options)


@dataclass(frozen=True)
class _Piece:
    states: Any
    f_calls: int
    accepted: int
    rejected: int


@final
class Direct(_TorchDiffEq):
    """`odeint`: gradients flow through the solver's own operations."""

    name: ClassVar[str] = "torchdiffeq"

    def _whole(self, adaptive: bool) -> bool:
        return not adaptive

    def _solve(self, rate: Rate, y0: Any, times: list[float], drives: Sequence[Any], options: _Options) -> _Piece:
        function = _Function(rate, rate, drives)
        states = options.call(_library().odeint, function, y0, times)
        return _Piece(states, rate.calls, function.accepted, function.rejected)


@final
class Adjoint(_TorchDiffEq):
    """`odeint_adjoint`: the gradient is that of the continuous problem, from a second ODE solved backwards.

    It differs from the gradient of the discrete solution by the order of the method; memory does not grow with the
    stages. Only y0, the drives and the weights get gradients. Real tensors alone go through the library: it flattens
    state and parameters into one vector, so complex ones pass as pairs.
    """

    name: ClassVar[str] = "torchdiffeq-adjoint"

    def _whole(self, adaptive: bool) -> bool:
        return False

    def _solve(self, rate: Rate, y0: Any, times: list[float], drives: Sequence[Any], options: _Options) -> _Piece:
        import torch

        parameters: list[torch.Tensor] = []

        def bound(value: Any) -> Any:
            # an alias, so that the gradient of one parameter does not also count its way through another made from it
            if not (isinstance(value, torch.Tensor) and value.requires_grad):
                return value
            alias = value.view_as(value)
            parameters.append(torch.view_as_real(alias.resolve_conj()) if value.is_complex() else alias)
            return torch.view_as_complex(parameters[-1]) if value.is_complex() else alias

        inner = Rate(rate.field, tuple(bound(w) for w in rate.weights), bound(rate.drive))
        paired, dtype = y0.is_complex(), y0.dtype

        def f(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            state = torch.complex(y[..., 0], y[..., 1]) if paired else y  # y is a slice of a longer vector
            slope = inner(t, state.to(dtype))
            return (torch.view_as_real(slope.resolve_conj()) if paired else slope).to(y.dtype)

        def solver(*args: Any, **settings: Any) -> Any:
            return _library().odeint_adjoint(*args, **settings, adjoint_params=tuple(parameters))

        function = _Function(f, inner)
        start = torch.view_as_real(y0.resolve_conj()).contiguous() if paired else y0
        states = options.call(solver, function, start, times)
        calls = inner.calls  # read now: the backward pass will add its own
        return _Piece(torch.view_as_complex(states) if paired else states, calls, function.accepted, function.rejected)


def _through_numpy(field: Field) -> Field:
    """A NumPy field for torch states on the CPU."""
    import torch

    def f(t: Any, y: Any, drive: Any, weights: tuple[Any, ...]) -> Any:
        return torch.from_numpy(
            np.asarray(field(float(t), y.detach().numpy(), drive, weights), dtype=y.detach().numpy().dtype)
        )

    return f


BACKENDS: dict[str, Backend] = {"torchdiffeq": Direct(), "torchdiffeq-adjoint": Adjoint()}
