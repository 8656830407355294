"""ODERNN: a recurrent network that is a field stepped by a tableau, with the calling convention of torch.nn.LSTM.

A little over the usual length, for the one-sentence errors of its arguments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..suite.errors import UsageError
from .backends.base import Backend, Solution
from .backends.common import check_embedded
from .cell_field import CellField
from .engines import checked_engine
from .engines.autograd import Rolled
from .engines.choice import Choice, cannot_run, choose, solve, traced
from .field import CustomField, EquationField, Init, Scheme, order_of
from .fields import field_of as field_of
from .memory import checked_memory
from .module_field import ModuleField
from .reversal import inverse_plan, walk_back
from .segments import inverted, segmented, with_tensors
from .tableau import Tableau
from .tableaux import Method
from .tableaux import method as find_method
from .torch_field import TorchField, positive_size


class ODERNN(torch.nn.Module):
    """y_{i+1} = Phi_h(y_i, u_i): one step (or `substeps` steps) of the tableau on the cell's field for every input.

    input_size, hidden_size: channels of the input, units of a state block. cell: a name (see `solvers.fields`), an
    `EquationField`, a `CustomField`, a torch module f(t, y, u) (see `ModuleField`), or a `TorchField` of these sizes.
    tableau: a name or a `Method`: a Runge-Kutta tableau, a partitioned one, or a splitting. step: h, the time that
    passes between two inputs; None takes the cell's published one, or 1 where its paper tunes it. The input is held
    constant over it. substeps: equal steps of the method within h. rtol, atol: instead, the embedded pair chooses its
    steps within h, restarting where the input jumps (atol None: rtol). ode_order: of a cell that leaves it open
    ("companion", a torch module). output_size: with it, a linear readout of what the field shows. constants: the
    field's numbers by name ({"gamma": 0.1}). backend: a name or a `Backend`. engine: what carries out the steps of the
    native backend (see `solvers.engines`): "auto" takes a compiled one where there is one, "general" the stage loop in
    torch; `choice` says which and why. memory: what `forward` keeps for the backward pass (see `solvers.segments`): the
    "states" of all steps, those between "segments" of so many inputs (None: about the square root of the sequence's
    length), or with "inverse" the last state alone, where steps can be undone (see `solvers.reversal`). init, gain,
    input_gain: see `solvers.field.Init`; None takes the cell's own.

    forward(x, state=None) -> output, state. x (time, batch, input), (batch, time, input) with batch_first, or (time,
    input) unbatched; output likewise, read after each step, with output_size channels, or else what the field shows
    (its `features`: for most the hidden units of the first block); state (batch, blocks, hidden), or (blocks, hidden)
    unbatched, the field's own start (for most zeros) when None. Passing the state on continues a sequence to rounding;
    the time t that a torch module sees counts from the start of each call.

    `f_calls`: evaluations of the field in the last call. Raises `UsageError`, one sentence, for anything out of range;
    the backend raises `Diverged` where the state leaves the finite numbers, as it does after a NaN in the input.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        cell: str | EquationField | CustomField | torch.nn.Module = "leaky",
        tableau: str | Method = "euler",
        step: float | None = None,
        *,
        ode_order: int | None = None,
        output_size: int | None = None,
        constants: Mapping[str, float] | None = None,
        backend: str | Backend = "native",
        engine: str = "auto",
        memory: str = "states",
        segment: int | None = None,
        batch_first: bool = False,
        substeps: int = 1,
        rtol: float | None = None,
        atol: float | None = None,
        init: Scheme | None = None,
        gain: float | None = None,
        input_gain: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = positive_size("input_size", input_size)
        self.hidden_size = positive_size("hidden_size", hidden_size)
        self.output_size = None if output_size is None else positive_size("output_size", output_size)
        self.substeps = positive_size("substeps", substeps)
        self.tableau: Method = find_method(tableau) if isinstance(tableau, str) else tableau
        self.backend = _backend(backend)
        self.engine = checked_engine(engine)
        checked_memory(memory, segment)
        self.memory, self.segment = memory, segment
        if rtol is None and atol is not None:
            raise UsageError("atol was given without rtol: expected both, or neither for the cell's own grid.")
        if rtol is not None and self.substeps != 1:
            raise UsageError("substeps belongs to a fixed grid and rtol to an adaptive one: expected one of them.")
        self.rtol, self.atol = rtol, rtol if atol is None else atol
        if rtol is not None:
            if not isinstance(self.tableau, Tableau):
                raise UsageError(f"method {self.tableau.name!r} has no embedded weights: leave out rtol.")
            check_embedded(self.tableau, rtol, float(self.atol or 0.0), self.backend.name)
        self.batch_first = batch_first
        equation = field_of(cell, ode_order) if isinstance(cell, str) else cell
        if isinstance(equation, EquationField):
            if ode_order is not None:
                order_of(equation.name, ode_order, fixed=equation.ode_order)
            own = equation.init
            start = Init(
                init or own.scheme,
                own.gain if gain is None else gain,
                own.input_gain if input_gain is None else input_gain,
            )
            self.field: TorchField = CellField(
                equation, input_size, hidden_size, constants, start, device=device, dtype=dtype
            )
            self.step = _step(step, equation.published_step)
        elif isinstance(equation, CustomField):
            if ode_order is not None:
                order_of(equation.name, ode_order, fixed=equation.ode_order)
                if equation.sites and ode_order != hidden_size:
                    raise UsageError(
                        f"cell {equation.name!r} of {hidden_size} sites is an ODE of order {hidden_size}, not "
                        f"{ode_order}: expected ode_order = hidden, or none."
                    )
            if (init, gain, input_gain) != (None, None, None):
                raise UsageError(f"cell {equation.name!r} starts as published and has no init and gains.")
            values = equation.values(constants)
            self.field = equation.make(input_size, hidden_size, values, device, dtype)
            self.step = _step(step, equation.published_step)
        else:
            if constants or (init, gain, input_gain) != (None, None, None):
                raise UsageError(
                    "constants, init and gains are for cells that are equations: a torch module has its own."
                )
            self.field = _module_field(equation, input_size, hidden_size, ode_order).to(device=device, dtype=dtype)
            self.step = _step(step, None)
        self.ode_order, self.blocks = self.field.ode_order, self.field.blocks
        if memory == "inverse":
            if rtol is not None:
                raise UsageError("memory 'inverse' takes the steps of a fixed grid back: leave out rtol.")
            inverse_plan(self.tableau, self.field.name, self.field.dependencies)
        like = next(self.field.parameters(), None)
        where = (device, dtype or torch.get_default_dtype()) if like is None else (like.device, like.dtype)
        self.readout = None
        if self.output_size is not None:
            drawn = torch.nn.Linear(
                self.field.feature_size, self.output_size, dtype=torch.float64
            )  # the same in every dtype
            self.readout = drawn.to(device=where[0], dtype=where[1])
        self.f_calls = 0
        self._refused = ""  # why the engine handed its last sequence back

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        u, y0 = self._inputs(x, state)
        output, last = self._part(u, y0) if self.memory == "states" else self._in_segments(u, y0)
        last = self._split(last).clone()  # the caller's to write to, as that of torch.nn.GRU is
        if x.dim() == 2:
            return output.squeeze(1), last.squeeze(0)
        return (output.transpose(0, 1) if self.batch_first else output), last

    def trajectory(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """Every state, the first included: (time + 1, batch, blocks, hidden), time first even with `batch_first`."""
        u, y0 = self._inputs(x, state)
        states: Tensor = self._solve(u, y0).states[:: self.substeps]
        return self._split(states)

    def jacobians(self, x: Tensor, at: Sequence[int] | None = None, state: Tensor | None = None) -> Tensor:
        """df/dy at the state before step i, with the input of step i, for i in `at` (None: all).

        (len(at), batch, D, D), D = blocks * hidden. Differentiable, also with respect to the weights.
        """
        u, y0 = self._inputs(x, state)
        chosen = range(len(u)) if at is None else at
        if any(not -len(u) <= i < len(u) for i in chosen):
            raise UsageError(f"`at` holds a step outside the sequence: expected steps from 0 to {len(u) - 1}.")
        states = self._solve(u, y0).states[:: self.substeps]
        weights, drive = self.field.weights(), self.field.drive(u)
        steps = [i % len(u) for i in chosen]
        found = [self.field.jacobian(states[i], drive[i], weights, i * self.step) for i in steps]
        return torch.stack(found)

    @torch.no_grad()
    def spectrum(self, x: Tensor, at: Sequence[int] | None = None, state: Tensor | None = None) -> Tensor:
        """z = h lambda for the eigenvalues of `jacobians`, complex (len(at), batch, D).

        h is one Runge-Kutta step, so each z is to be compared with the tableau's region of stability.
        """
        J = self.jacobians(x, at, state)
        eigenvalues: Tensor = torch.linalg.eigvals(J if J.dtype.itemsize >= 4 else J.float())
        return eigenvalues * (self.step / self.substeps)

    @torch.no_grad()
    def f_calls_of(self, x: Tensor) -> int:
        """Evaluations of the field in one pass over x."""
        self(x)
        return self.f_calls

    def parameter_count(self) -> int:
        """Effective trained parameters: those of the field and of the readout."""
        readout = 0 if self.readout is None else sum(p.numel() for p in self.readout.parameters())
        return self.field.parameter_count() + readout

    def latex(self) -> str:
        """The field's equation."""
        return self.field.latex()

    def extra_repr(self) -> str:
        return (
            f"tableau={self.tableau.name}, step={self.step:g}, substeps={self.substeps}, ode_order={self.ode_order}, "
            f"backend={self.backend.name}, engine={self.engine}, batch_first={self.batch_first}"
        )

    @property
    def choice(self) -> Choice:
        """The engine that runs here, and why it is not a compiled one. Raises `UsageError` where the one asked for
        cannot."""
        found = self._choice()
        return Choice("general", self._refused) if self._refused and found.name != "general" else found

    def _choice(self) -> Choice:
        """`choice`, whatever an engine said of the last sequence."""
        like = next(self.field.parameters(), None)
        where = (torch.device("cpu"), torch.get_default_dtype()) if like is None else (like.device, like.dtype)
        return choose(self.engine, self.field, self.tableau, self.backend, self.rtol is not None, *where)

    def _split(self, y: Tensor) -> Tensor:
        return y.reshape(*y.shape[:-1], self.blocks, self.hidden_size)

    def _part(self, u: Tensor, y0: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
        """Outputs and last flat state of the inputs u, of which the first is the sequence's `first`."""
        found = self._solve(u, y0, first)
        if isinstance(found, Rolled):
            made = self.field.first_alone or found.shown is not None
            shown = found.after if not made else found.first if found.shown is None else found.shown
            shown = shown if self.substeps == 1 else shown[self.substeps - 1 :: self.substeps]
            output, last = shown if made else self.field.features(shown), found.last
        else:
            output, last = self.field.features(found.states[self.substeps :: self.substeps]), found.states[-1]
        return (output if self.readout is None else self.readout(output)), last

    def _part_back(self, u: Tensor, after: Tensor, first: int) -> Tensor:
        """The flat state before the inputs u, from the one after them."""
        plan = inverse_plan(self.tableau, self.field.name, self.field.dependencies)
        times, drives, weights = self._times(len(u), first), self._drives(u), self.field.weights()
        before: Tensor = walk_back(plan, self.field, after, times, drives, weights)
        return before

    def _in_segments(self, u: Tensor, y0: Tensor) -> tuple[Tensor, Tensor]:
        """`_part`, keeping less for the backward pass."""
        tensors, part = with_tensors(self, self._part)
        calls: list[int] = []

        def counted(tensors: Sequence[Tensor], u: Tensor, y: Tensor, first: int) -> tuple[Tensor, Tensor]:
            before = self.f_calls
            found: tuple[Tensor, Tensor] = part(tensors, u, y, first)
            calls.append(self.f_calls)
            self.f_calls = before  # a backward pass is not counted
            return found

        if self.memory == "segments":
            found = segmented(counted, u, y0, tensors, self.segment)
        else:
            found = inverted(counted, with_tensors(self, self._part_back)[1], u, y0, tensors, self.segment)
        self.f_calls = sum(calls)
        return found

    def _times(self, inputs: int, first: int) -> list[float]:
        """The ends of the steps over so many inputs, from the sequence's `first` on."""
        start = first * self.substeps
        return [self.step * i / self.substeps for i in range(start, start + inputs * self.substeps + 1)]

    def _drives(self, u: Tensor) -> tuple[Tensor, ...]:
        """What every step reads of the inputs."""
        drives = self.field.drive(u).unbind(0)  # views whose gradients are stacked once, not a padded sum at every step
        return drives if self.substeps == 1 else tuple(d for d in drives for _ in range(self.substeps))

    def _solve(self, u: Tensor, y0: Tensor, first: int = 0) -> Solution | Rolled:
        engine = self._choice().name
        if engine != "general":
            found: Solution | Rolled | str = traced(u.device)
            if found and self.engine != "auto":
                raise cannot_run(engine, self.field, self.tableau, traced(u.device))
            found = found or solve(engine, self.field, y0, u, self.tableau, self.step, self.substeps, first)
            self._refused = found if isinstance(found, str) else ""
            if not isinstance(found, str):
                self.f_calls = found.f_calls
                return found
        times, drives, weights = self._times(len(u), first), self._drives(u), self.field.weights()
        if self.rtol is None:
            solution = self.backend.fixed(self.field, y0, times, self.tableau, drives, weights)
        else:
            tolerances = (self.rtol, float(self.atol or 0.0))
            solution = self.backend.adaptive(self.field, y0, times, self.tableau, *tolerances, drives, weights)
        self.f_calls = solution.f_calls
        return solution

    def _inputs(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Input (time, batch, input) and flat start (batch, blocks * hidden), checked."""
        if not isinstance(x, Tensor) or x.dim() not in (2, 3):
            shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise UsageError(
                f"the input is {shape}: expected a tensor (time, batch, input), or (time, input) unbatched."
            )
        if x.shape[-1] != self.input_size:
            raise UsageError(f"the input has {x.shape[-1]} channels: the cell was made for {self.input_size}.")
        like = next(self.field.parameters(), x)
        if (x.dtype, x.device) != (like.dtype, like.device):
            raise UsageError(
                f"the input is {x.dtype} on {x.device}, the cell {like.dtype} on {like.device}: convert one."
            )
        u = x.unsqueeze(1) if x.dim() == 2 else x.transpose(0, 1) if self.batch_first else x
        time, batch, _ = u.shape
        if time < 1 or batch < 1:
            raise UsageError(f"the input has {time} steps of {batch} sequences: expected at least one of each.")
        if state is None:
            return u, self.field.initial(batch)
        expected = (self.blocks, self.hidden_size) if x.dim() == 2 else (batch, self.blocks, self.hidden_size)
        if tuple(state.shape) != expected:
            raise UsageError(
                f"the state has shape {tuple(state.shape)}: expected {expected} (blocks of {self.field.name})."
            )
        return u, state.reshape(batch, self.blocks * self.hidden_size)


def _step(step: float | None, published: float | None) -> float:
    chosen = (published or 1.0) if step is None else step
    if isinstance(chosen, bool) or not isinstance(chosen, int | float) or not math.isfinite(chosen) or chosen <= 0:
        raise UsageError(f"the step is {chosen!r}: expected a finite number above 0.")
    return float(chosen)


def _backend(backend: str | Backend) -> Backend:
    if isinstance(backend, str):
        from .backends import find_backend

        return find_backend(backend)
    return backend


def _module_field(cell: object, input_size: int, hidden_size: int, ode_order: int | None) -> TorchField:
    if isinstance(cell, TorchField):
        if (cell.input_size, cell.hidden_size) != (input_size, hidden_size):
            raise UsageError(
                f"the field takes {cell.input_size} inputs and {cell.hidden_size} hidden units, "
                f"the cell {input_size} and {hidden_size}: expected the same."
            )
        if ode_order is not None:
            order_of(cell.name, ode_order, fixed=cell.ode_order)
        return cell
    if isinstance(cell, torch.nn.Module):
        return ModuleField(cell, input_size, hidden_size, ode_order)
    raise UsageError(f"the cell is a {type(cell).__name__}: expected a name, an EquationField or a torch module.")
