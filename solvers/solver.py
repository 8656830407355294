"""The solver of a point: a learned recurrence, a library baseline, or an integrator of a given field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..suite.contracts import (
    Array,
    Budget,
    Learned,
    LearningTask,
    Nesting,
    Outcome,
    RecurrentMap,
    Solver,
    Task,
    Trajectory,
    finite,
)
from ..suite.equation import Equation
from ..suite.errors import UsageError
from ..suite.seeds import stream
from .backends import find_backend
from .field import CustomField, EquationField, Scheme
from .fields import field_of
from .spec import BASELINES, TRUE_FIELD, Spec, find_method, find_tableau, parse, properties_of
from .spec import engine_of as engine_of
from .spec import validate as validate
from .stability import circle_radius, ssp_radius

if TYPE_CHECKING:
    from .cell import ODERNN

SPECTRUM_POINTS = 200
"""About so many eigenvalues are kept in a row for the figure of stability regions, in whole spectra, two at least."""


def build_solver(entries: Mapping[str, Any], device: str, dtype: str, task: Task) -> Solver:
    """The solver of a point. Raises `UsageError` where `validate` would."""
    validate(entries, {"name": task.name}, device, dtype)
    spec = parse(entries)
    if spec.cell == TRUE_FIELD:
        return FieldIntegrator(spec, device, dtype)
    return Recurrence(spec, device, dtype)


@dataclass(frozen=True)
class FieldIntegrator:
    """A tableau in a backend, on the field that the problem itself gives (cell "true-field")."""

    spec: Spec
    device: str
    dtype: str

    learns = False

    def properties(self) -> dict[str, Any]:
        return {"learns": False, **properties_of(self.spec)}

    def learn(self, task: LearningTask, seed: int, budget: Budget) -> Learned:
        raise UsageError(f"cell 'true-field' learns nothing: task {task.name!r} needs a learned cell.")

    def nesting(self, seed: int) -> Nesting:
        from .nesting import nesting_of_method

        return nesting_of_method(find_method(self.spec.tableau or ""))

    def hunt(self, cases: int, seed: int, inflate: float, norm: str) -> dict[str, Any] | None:
        raise UsageError("cell 'true-field' has no weights to hunt over: expected a cell that is given by a field.")

    def recurrence(self, inputs: int, seed: int, hidden: int | None = None) -> RecurrentMap:
        raise UsageError("cell 'true-field' is no recurrent cell: expected a cell that is given by a field.")

    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        spec, tableau = self.spec, find_method(self.spec.tableau or "")
        backend = find_backend(spec.backend or "")
        torch_state = backend.name.startswith("torchdiffeq") or not self.device.startswith("cpu")
        function = equation.function("torch" if torch_state else "numpy")
        start: Any = np.asarray(y0, dtype=self.dtype)
        if torch_state:
            import torch

            start = torch.as_tensor(start, device=self.device)

        def f(t: Any, y: Any, drive: Any, weights: Any) -> Any:
            return function(t, y)

        if spec.rtol is not None:
            atol = spec.rtol if spec.atol is None else spec.atol
            found = backend.adaptive(f, start, t.tolist(), tableau, spec.rtol, atol)
            states = found.states
        else:
            times, every = self._grid(t)
            found = backend.fixed(f, start, times, tableau)
            states = found.states[every]
        y = states.detach().cpu().numpy() if torch_state else np.asarray(states)
        return Trajectory(
            t, finite(y.astype(np.float64), "the solution"), found.f_calls, found.accepted, found.rejected
        )

    def _grid(self, t: Array) -> tuple[list[float], list[int]]:
        """The fixed grid that refines t, and where the times of t lie in it."""
        times, every = [float(t[0])], [0]
        for left, right in pairwise(t.tolist()):
            n = self.spec.steps or 1
            if self.spec.step is not None:
                n = max(1, math.ceil((right - left) / self.spec.step * (1 - 1e-9)))
            times += [float(left + (right - left) * k / n) for k in range(1, n)] + [float(right)]
            every.append(len(times) - 1)
        return times, every


@dataclass(frozen=True)
class Recurrence:
    """A recurrent network to be trained: an ODERNN, or a library baseline."""

    spec: Spec
    device: str
    dtype: str

    learns = True

    def properties(self) -> dict[str, Any]:
        facts = {"learns": True, **properties_of(self.spec)}
        if self.spec.cell in BASELINES:
            return facts
        found = field_of(self.spec.cell, self.spec.ode_order)
        sites = isinstance(found, CustomField) and found.sites
        return {**facts, "ode_order": self.spec.hidden if sites else found.ode_order}

    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        raise UsageError(f"cell {self.spec.cell!r} is learned and integrates no given field: use cell 'true-field'.")

    def nesting(self, seed: int) -> Nesting:
        from .nesting import nesting_of_cell

        return nesting_of_cell(self._fresh(2, seed, self.spec.hidden))

    def hunt(self, cases: int, seed: int, inflate: float, norm: str) -> dict[str, Any] | None:
        from .hunt import hunt

        if self.spec.cell in BASELINES:
            raise self._no_field()
        chosen = find_tableau(self.spec.tableau or "")
        equation = field_of(self.spec.cell, self.spec.ode_order)
        if not isinstance(equation, EquationField):
            raise UsageError(f"cell {self.spec.cell!r} is not given as an equation: nothing is certified.")
        found = hunt(cases, seed, inflate, [equation], [chosen], [norm]).findings
        if not found or not found[0].certified:
            return None
        row = found[0].row()
        circle, monotone = circle_radius(chosen), ssp_radius(chosen)
        if norm == "max":
            kind, radius = "maximum-norm", f"radius of absolute monotonicity {monotone:.4g}"
        else:
            kind, radius = "one-sided" if circle == math.inf else "circle", f"circle-contractivity radius {circle:.4g}"
        reason = f"Weights, starts and inputs are the hunt's own; {chosen.name} has the {radius}."
        return {**row, "cases": row["certified"] - row["unsolved"], "kind": kind, "reason": reason}

    def recurrence(self, inputs: int, seed: int, hidden: int | None = None) -> RecurrentMap:
        from .recurrent_map import CellMap

        return CellMap(self._fresh(inputs, seed, hidden or self.spec.hidden), self.spec)

    def _fresh(self, inputs: int, seed: int, hidden: int) -> ODERNN:
        """The cell without readout, in float64 on the CPU. Raises `UsageError` for a library baseline."""
        if self.spec.cell in BASELINES:
            raise self._no_field()
        import torch

        with torch.random.fork_rng(devices=[]):  # all is drawn on the CPU; the caller's generator is left as it was
            torch.manual_seed(int(stream(seed, "weights").integers(2**62)))
            return self._cell(inputs, hidden, None, torch.float64)

    def _no_field(self) -> UsageError:
        return UsageError(f"cell {self.spec.cell!r} is a library baseline and no field: see '{self.spec.cell}-field'.")

    def learn(self, task: LearningTask, seed: int, budget: Budget) -> Learned:
        import torch

        from ..suite.learn import learn

        device, dtype = torch.device(self.device), getattr(torch, self.dtype)
        torch.manual_seed(int(stream(seed, "weights").integers(2**62)))
        model = self._model(task).to(device=device, dtype=dtype)
        probe = task.batch(4, stream(seed, f"{task.name}/spectrum")).inputs
        x = torch.as_tensor(probe, device=device, dtype=dtype)
        curves = {"spectrum_before": self._spectrum(model, x)}
        learned = learn(model, task, seed, budget, device, dtype)
        if learned.outcome.status == "ok":
            curves["spectrum_after"] = self._spectrum(model, x)
        cost = {"parameters": model.parameter_count(), "sequence_steps": len(probe)}
        if self.spec.cell not in BASELINES:
            cost["f_calls"] = model.f_calls_of(x)
        outcome = learned.outcome
        return Learned(
            learned.forecaster,
            Outcome(
                metrics=outcome.metrics,
                curves={**outcome.curves, **{key: value for key, value in curves.items() if value}},
                cost={**outcome.cost, **cost},
                status=outcome.status,
                reason=outcome.reason,
            ),
            self._trained(model) if outcome.status == "ok" else None,
        )

    def _trained(self, model: Any) -> RecurrentMap | None:
        """The trained cell in float64 on the CPU, without its readout."""
        if self.spec.cell in BASELINES:
            return None
        from copy import deepcopy

        from .recurrent_map import CellMap

        cell = deepcopy(model).to(device="cpu").double()
        cell.readout = cell.output_size = None
        return CellMap(cell, self.spec)

    def _model(self, task: LearningTask) -> Any:
        spec = self.spec
        if spec.cell in BASELINES:
            from .baselines import GRU, LSTM

            if spec.cell == "gru":
                return GRU(task.inputs, spec.hidden, task.outputs)
            # Tallec and Ollivier 2018 take the longest dependency for t_max; 3T/2 is their choice on copying.
            return LSTM(
                task.inputs, spec.hidden, task.outputs, spec.forget_bias, t_max=max(3.0, 1.5 * task.memory_length)
            )
        return self._cell(task.inputs, spec.hidden, task.outputs)

    def _cell(self, inputs: int, hidden: int, outputs: int | None, dtype: Any = None) -> ODERNN:
        from .cell import ODERNN

        spec = self.spec
        return ODERNN(
            inputs,
            hidden,
            field_of(spec.cell, spec.ode_order),
            find_method(spec.tableau or ""),
            spec.step,
            output_size=outputs,
            constants=dict(spec.constants),
            backend=find_backend(spec.backend or ""),
            substeps=spec.substeps,
            rtol=spec.rtol,
            atol=spec.atol,
            init=cast("Scheme | None", spec.init),
            gain=spec.gain,
            input_gain=spec.input_gain,
            dtype=dtype,
        )

    def _spectrum(self, model: Any, x: Any) -> list[list[float]]:
        """All eigenvalues of h J at a few states along the first sequence of x, as [real, imaginary].

        States are evenly spaced in time; six digits; none for a library baseline. Every n-th of all eigenvalues would
        not do: LAPACK orders them, and where n shares a factor with a state's number of them, some are never seen.
        """
        if self.spec.cell in BASELINES:
            return []
        count = min(len(x), max(2, SPECTRUM_POINTS // (model.blocks * model.hidden_size)))
        at = [(2 * i + 1) * len(x) // (2 * count) for i in range(count)]
        values = model.spectrum(x[:, :1], at).cpu().numpy().ravel()
        # significant digits, not decimals: a small step makes small z, whose sign is what stability hangs on
        return [[float(f"{v.real:.6g}"), float(f"{v.imag:.6g}")] for v in values if np.isfinite(v)]
