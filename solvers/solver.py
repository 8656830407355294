"""From a point's solver entries to a solver: a learned recurrence, a baseline, or an integrator of a given field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from ..suite.catalogue import load
from ..suite.contracts import Array, Budget, Learned, LearningTask, Outcome, Solver, Task, Trajectory, finite
from ..suite.equation import Equation
from ..suite.errors import UsageError, nearest, unknown
from ..suite.seeds import stream
from .backends import find_backend
from .field import Scheme
from .fields import field_of
from .stability import imaginary_stability_interval, real_stability_interval, stability_polynomial
from .tableaux import ALIASES, TABLEAUX
from .tableaux import tableau as built_in_tableau

if TYPE_CHECKING:
    from .tableau import Tableau

BASELINES = ("lstm", "gru")
TRUE_FIELD = "true-field"
DTYPES = ("float32", "float64")
SPECTRUM_POINTS = 200
"""About so many eigenvalues are kept in a row for the figure of stability regions, in whole spectra, two at least."""


@dataclass(frozen=True)
class Spec:
    """The solver entries of a point, checked.

    cell: a name of the catalogue. tableau, backend: by name; absent for the library baselines. Learned cells: step h
    (of the cell's own time), substeps per input or rtol and atol, hidden units, ode_order, the field's constants
    (`gamma`, ...), init, gain and input_gain (how its weights start, see `solvers.field.Init`). True field: `steps` per
    reported interval, or `step` (time units, at most this long), or `rtol` with `atol`. forget_bias: of the lstm, a
    number or "chrono".
    """

    cell: str
    tableau: str | None = None
    backend: str | None = None
    engine: str = "general"
    step: float | None = None
    steps: int | None = None
    substeps: int = 1
    rtol: float | None = None
    atol: float | None = None
    hidden: int = 32
    ode_order: int | None = None
    init: str | None = None
    gain: float | None = None
    input_gain: float | None = None
    forget_bias: float | str = 1.0
    constants: Mapping[str, float] = field(default_factory=dict)


def parse(entries: Mapping[str, Any]) -> Spec:
    """Entries of an experiment file -> `Spec`. Raises `UsageError` with one sentence for anything that cannot run."""
    if "cell" not in entries:
        raise UsageError("a solver needs a 'cell': the name of a learned cell, of a baseline, or 'true-field'.")
    known = {f.name for f in fields(Spec)} - {"constants"}
    cell = entries["cell"]
    constants = _constants(cell)
    for key in entries:
        if key not in known and key not in constants:
            raise UsageError(f"unknown solver entry {key!r} for cell {cell!r}: {nearest(key, known | set(constants))}")
    for key in constants:
        value = entries.get(key, 0.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UsageError(f"constant {key!r} of cell {cell!r} is {value!r}: expected a finite number.")
    spec = Spec(
        **{key: value for key, value in entries.items() if key in known},
        constants={key: float(value) for key, value in entries.items() if key in constants},
    )
    _check_numbers(spec)
    if spec.engine != "general":
        raise UsageError(f"unknown engine {spec.engine!r}: expected 'general', the only one so far.")
    if cell in BASELINES:
        _check_baseline(spec, entries)
    else:
        _check_integrator(spec, entries)
    return spec


def _constants(cell: str) -> dict[str, float]:
    return {} if cell in BASELINES or cell == TRUE_FIELD else dict(field_of(cell).constants)


def _check_numbers(spec: Spec) -> None:
    for name in ("step", "rtol", "atol", "gain", "input_gain"):
        value = getattr(spec, name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise UsageError(f"solver entry {name!r} is {value!r}: expected a positive number.")
    for name in ("steps", "substeps", "hidden", "ode_order"):
        value = getattr(spec, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UsageError(f"solver entry {name!r} is {value!r}: expected a whole number of at least 1.")


def _check_baseline(spec: Spec, entries: Mapping[str, Any]) -> None:
    for key in entries:
        if key not in ("cell", "backend", "engine", "hidden", "forget_bias"):
            raise UsageError(f"cell {spec.cell!r} is a library baseline and has no {key!r}.")
    if spec.backend not in (None, "torch"):
        raise UsageError(f"cell {spec.cell!r} runs on backend 'torch' alone, not on {spec.backend!r}.")
    if spec.cell == "gru" and "forget_bias" in entries:
        raise UsageError("cell 'gru' has no 'forget_bias': that is an option of 'lstm'.")
    bias = spec.forget_bias
    if isinstance(bias, bool) or not (bias == "chrono" or isinstance(bias, int | float)):
        raise UsageError(f"solver entry 'forget_bias' is {bias!r}: expected a number or 'chrono'.")


def _check_integrator(spec: Spec, entries: Mapping[str, Any]) -> None:
    if spec.tableau is None or spec.backend is None:
        missing = "tableau" if spec.tableau is None else "backend"
        raise UsageError(f"cell {spec.cell!r} needs a {missing!r}.")
    tableau = find_tableau(spec.tableau)
    find_backend(spec.backend)
    if "forget_bias" in entries:
        raise UsageError(f"cell {spec.cell!r} has no 'forget_bias': that is an option of 'lstm'.")
    if spec.atol is not None and spec.rtol is None:
        raise UsageError("solver entry 'atol' goes with 'rtol'.")
    if spec.rtol is not None and tableau.b_hat is None:
        raise UsageError(
            f"tableau {tableau.name!r} has no embedded weights and cannot run adaptively: leave out 'rtol'."
        )
    if spec.cell != TRUE_FIELD:
        if "steps" in entries:
            raise UsageError(f"cell {spec.cell!r} takes one step an input and has no 'steps': expected 'substeps'.")
        if spec.rtol is not None and "substeps" in entries:
            raise UsageError("'substeps' belongs to a fixed grid and 'rtol' to an adaptive one: expected one of them.")
        if spec.step is None:
            raise UsageError(f"cell {spec.cell!r} needs a 'step'.")
        if spec.init is not None and spec.init not in get_args(Scheme):
            raise unknown("initialisation", str(spec.init), get_args(Scheme))
        field_of(spec.cell, spec.ode_order)
        return
    for key in ("hidden", "ode_order", "init", "gain", "input_gain", "substeps"):
        if key in entries:
            raise UsageError(f"cell 'true-field' learns nothing and has no {key!r}.")
    if sum(value is not None for value in (spec.step, spec.steps, spec.rtol)) > 1:
        raise UsageError("a true-field solver takes one of 'step', 'steps' and 'rtol', not several.")


def validate(entries: Mapping[str, Any], task: Mapping[str, Any], device: str = "cpu", dtype: str = "float32") -> None:
    """Check a point's solver against its task, device and dtype before anything runs. Raises `UsageError`."""
    spec = parse(entries)
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}: {nearest(dtype, DTYPES)}")
    name = task.get("name")
    if name in ("ivp", "order") and spec.cell != TRUE_FIELD:
        raise UsageError(f"task {name!r} is for cell 'true-field', not for the learned cell {spec.cell!r}.")
    if spec.cell == TRUE_FIELD and name in ("copying", "adding"):
        raise UsageError(f"task {name!r} has no field of its own: cell 'true-field' cannot run it.")
    if spec.cell == TRUE_FIELD and spec.backend == "scipy" and dtype != "float64":
        raise UsageError(f"backend 'scipy' integrates in float64 only, not in {dtype}.")
    if spec.backend == "scipy" and not device.startswith("cpu"):
        raise UsageError(f"backend 'scipy' runs on the CPU only, not on {device!r}.")
    if device.startswith("mps") and dtype == "float64":
        raise UsageError("device 'mps' has no float64: expected dtype float32.")


def build_solver(entries: Mapping[str, Any], device: str, dtype: str, task: Task) -> Solver:
    """The solver of a point. Raises `UsageError` where `validate` would."""
    validate(entries, {"name": task.name}, device, dtype)
    spec = parse(entries)
    if spec.cell == TRUE_FIELD:
        return FieldIntegrator(spec, device, dtype)
    return Recurrence(spec, device, dtype)


def find_tableau(name: str) -> Tableau:
    """The tableau of that name or alias, a third-party one included. Raises `UsageError` with the nearest name."""
    if name in TABLEAUX or name in ALIASES:
        return built_in_tableau(name)
    found: Tableau = load("tableau", name)
    return found


def engine_of(entries: Mapping[str, Any]) -> str:
    """What carries out a solver's arithmetic, as its rows say it: the entry, else the cell's own choice."""
    return str(entries.get("engine") or ("torch" if entries.get("cell") in BASELINES else "general"))


def _spec_properties(spec: Spec) -> dict[str, Any]:
    """What a row says of any solver: every entry that has a value, and the facts of its tableau."""
    entries = {key: value for key, value in asdict(spec).items() if value is not None and key != "constants"}
    if spec.cell in BASELINES:
        entries = {key: entries[key] for key in ("cell", "hidden")}
        entries |= {"forget_bias": spec.forget_bias} if spec.cell == "lstm" else {}
        return {"solver": entries}
    learned = {} if spec.cell == TRUE_FIELD else {**_constants(spec.cell), **spec.constants}
    unused = ("forget_bias", *(("hidden", "substeps") if spec.cell == TRUE_FIELD else ()))
    entries = {key: value for key, value in entries.items() if key not in unused} | learned
    return {"solver": entries, **_tableau_properties(find_tableau(spec.tableau or ""))}


@lru_cache(maxsize=64)
def _tableau_properties(tableau: Tableau) -> dict[str, Any]:
    return {
        "stages": tableau.stages,
        "order": tableau.order,
        "embedded_order": tableau.embedded_order,
        "stability_polynomial": [float(value) for value in stability_polynomial(tableau)],
        "real_stability_interval": real_stability_interval(tableau),
        "imaginary_stability_interval": imaginary_stability_interval(tableau),
    }


@dataclass(frozen=True)
class FieldIntegrator:
    """A tableau in a backend, on the field that the problem itself gives (cell "true-field")."""

    spec: Spec
    device: str
    dtype: str

    learns = False

    def properties(self) -> dict[str, Any]:
        return {"learns": False, **_spec_properties(self.spec)}

    def learn(self, task: LearningTask, seed: int, budget: Budget) -> Learned:
        raise UsageError(f"cell 'true-field' learns nothing: task {task.name!r} needs a learned cell.")

    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        spec, tableau = self.spec, find_tableau(self.spec.tableau or "")
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
        facts = {"learns": True, **_spec_properties(self.spec)}
        if self.spec.cell in BASELINES:
            return facts
        equation = field_of(self.spec.cell, self.spec.ode_order)
        return {**facts, "ode_order": equation.ode_order}

    def solve(self, equation: Equation, y0: Array, t: Array) -> Trajectory:
        raise UsageError(f"cell {self.spec.cell!r} is learned and integrates no given field: use cell 'true-field'.")

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
        )

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
        from .cell import ODERNN

        return ODERNN(
            task.inputs,
            spec.hidden,
            field_of(spec.cell, spec.ode_order),
            find_tableau(spec.tableau or ""),
            spec.step,
            output_size=task.outputs,
            constants=dict(spec.constants),
            backend=find_backend(spec.backend or ""),
            substeps=spec.substeps,
            rtol=spec.rtol,
            atol=spec.atol,
            init=cast("Scheme | None", spec.init),
            gain=spec.gain,
            input_gain=spec.input_gain,
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
