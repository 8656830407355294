"""A learned recurrence: an ODERNN, or a library baseline.

Longer than most files because audits, timings and training all start from here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..suite.checkpoint import Checkpoints
from ..suite.contracts import (
    Array,
    Budget,
    Flow,
    Learned,
    LearningTask,
    Nesting,
    Outcome,
    RecurrentMap,
    Timing,
    Trajectory,
    VectorField,
    Workload,
)
from ..suite.errors import UsageError
from ..suite.seeds import stream
from .backends import find_backend
from .field import CustomField, EquationField, Scheme
from .fields import field_of
from .refusals import no_given_field
from .spec import BASELINES, Spec, find_method, find_tableau, properties_of
from .stability import circle_radius, ssp_radius

if TYPE_CHECKING:
    from .cell import ODERNN

SPECTRUM_POINTS = 200
"""About so many eigenvalues are kept in a row for the figure of stability regions, in whole spectra, two at least."""


@dataclass(frozen=True)
class Recurrence:
    """A recurrent network to be trained: an ODERNN, or a library baseline. checkpoints: of its trainings."""

    spec: Spec
    device: str
    dtype: str
    ran: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    checkpoints: Checkpoints | None = field(default=None, compare=False, repr=False)

    learns = True

    def properties(self) -> dict[str, Any]:
        facts = {"learns": True, **properties_of(self.spec)}
        if self.spec.cell in BASELINES:
            return facts
        found = field_of(self.spec.cell, self.spec.ode_order)
        sites = isinstance(found, CustomField) and found.sites
        return {**facts, "ode_order": self.spec.hidden if sites else found.ode_order}

    def solve(self, equation: VectorField, y0: Array, t: Array, inputs: Array | None = None) -> Trajectory:
        raise no_given_field(self.spec.cell)

    def flow(self, equation: VectorField) -> Flow:
        raise no_given_field(self.spec.cell)

    def gradient(self, equation: VectorField, y0: Array, t: Array, cotangent: Array) -> Array:
        raise no_given_field(self.spec.cell)

    def in_backend(self, name: str) -> Recurrence:
        return replace(self, spec=replace(self.spec, backend=name))

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

        general = replace(
            self, spec=replace(self.spec, engine="general")
        )  # audits examine the path that all others follow
        return CellMap(general._fresh(inputs, seed, hidden or self.spec.hidden), self.spec)

    def timings(
        self,
        workload: Workload,
        seed: int,
        peers: bool = True,
        equation: VectorField | None = None,
        start: Array | None = None,
    ) -> list[Timing]:
        from .peers.timing import sequence_timings

        return sequence_timings(self, workload, seed, peers)

    def engines(self) -> Mapping[str, str]:
        return self.ran

    def timed_cell(self, inputs: int, seed: int) -> ODERNN:
        """The cell without readout as it is timed, in the point's dtype on its device."""
        import torch

        cell = self._fresh(inputs, seed, self.spec.hidden)
        return cell.to(device=torch.device(self.device), dtype=getattr(torch, self.dtype))

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
        engine = "" if self.spec.cell in BASELINES else model.choice.name
        checkpoint = None if self.checkpoints is None else self.checkpoints.next(engine)
        learned = learn(model, task, seed, budget, device, dtype, checkpoint)
        if learned.outcome.status == "ok":
            curves["spectrum_after"] = self._spectrum(model, x)
        cost = {"parameters": model.parameter_count(), "sequence_steps": len(probe)}
        if self.spec.cell not in BASELINES:
            cost["f_calls"] = model.f_calls_of(x)
            self.ran[model.choice.name] = model.choice.reason
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

    def training_step(self, length: int, batch: int, seed: int) -> Callable[[], float]:
        import torch

        device, dtype = torch.device(self.device), getattr(torch, self.dtype)
        torch.manual_seed(int(stream(seed, "weights").integers(2**62)))
        model = self._built(2, 1, length).to(device=device, dtype=dtype)
        if self.spec.cell not in BASELINES:
            self.ran[model.choice.name] = model.choice.reason
        rng = stream(seed, "training-step")
        x = torch.as_tensor(rng.standard_normal((length, batch, 2)), dtype=dtype, device=device)
        targets = torch.as_tensor(rng.standard_normal((length, batch, 1)), dtype=dtype, device=device)
        optimiser = torch.optim.Adam(model.parameters())

        def step() -> float:
            optimiser.zero_grad(set_to_none=True)
            loss = (model(x)[0] - targets).square().mean()
            loss.backward()
            optimiser.step()
            return float(loss.detach())

        return step

    def _trained(self, model: Any) -> RecurrentMap | None:
        """The trained cell in float64 on the CPU, without its readout."""
        if self.spec.cell in BASELINES:
            return None
        from copy import deepcopy

        from .recurrent_map import CellMap

        cell = deepcopy(model).to(device="cpu").double()
        cell.readout = cell.output_size = None
        cell.engine = "general"
        return CellMap(cell, self.spec)

    def _model(self, task: LearningTask) -> Any:
        return self._built(task.inputs, task.outputs, task.memory_length)

    def _built(self, inputs: int, outputs: int, memory_length: int) -> Any:
        spec = self.spec
        if spec.cell in BASELINES:
            from .baselines import GRU, LSTM

            if spec.cell == "gru":
                return GRU(inputs, spec.hidden, outputs)
            # Tallec and Ollivier 2018 take the longest dependency for t_max; 3T/2 is their choice on copying.
            return LSTM(inputs, spec.hidden, outputs, spec.forget_bias, t_max=max(3.0, 1.5 * memory_length))
        return self._cell(inputs, spec.hidden, outputs)

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
            engine=spec.engine,
            memory=spec.memory or "states",
            segment=spec.segment,
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
