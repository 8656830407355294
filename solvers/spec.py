"""A point's solver entries, checked: what runs, what is refused and in which words.

Longer than most files for the sentences of what is refused.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, get_args

from ..suite.catalogue import entries as catalogued
from ..suite.catalogue import load
from ..suite.errors import MissingPackage, UsageError, nearest, unknown
from .backends import find_backend
from .engines import ON_GPU, checked_engine
from .field import CustomField, EquationField, Scheme
from .fields import field_of
from .forecasters import FORECASTERS, rung_of
from .library_methods import LIBRARIES, check_name
from .memory import checked_memory
from .partitioned_tableau import PartitionedTableau
from .reversal import inverse_plan, reads_of
from .splitting import Splitting
from .stability import imaginary_stability_interval, real_stability_interval, stability_function
from .tableau import Tableau
from .tableaux import ALIASES, METHODS
from .tableaux import method as built_in_method

if TYPE_CHECKING:
    from .tableaux import Method

BASELINES = ("lstm", "gru")
TRUE_FIELD = "true-field"
DTYPES = ("float32", "float64", "bfloat16")
OUTPUTS = ("land", "dense")
CONTROLLERS = ("elementary", "pi")

SCIPY_RTOL = 100 * sys.float_info.epsilon
"""SciPy's solvers raise a smaller rtol to this with no more than a warning, and a row would say what did not run."""

EXAMINED = ("correspondence", "stages", "certificate", "norm", "memory-capacity", "parameters")
"""Audits that look at a cell in float64 on the CPU, whatever is asked: other devices are refused."""

OF_CELLS = (*EXAMINED, "stability")

FORECASTS = ("chaos", "transfer", "learned-ivp")
"""Tasks that give a series to forecast, which is what `FORECASTERS` learn from."""


@dataclass(frozen=True)
class Spec:
    """The solver entries of a point, checked.

    cell: a name of the catalogue, or the path of a file that defines `field`. tableau, backend: by name or path too;
    absent for the library baselines. Learned cells: step h (of the cell's own time), substeps per input or rtol and
    atol, hidden units, ode_order, the field's constants (`gamma`, ...), init, gain and input_gain (how its weights
    start, see `solvers.field.Init`). True field: `steps` per
    reported interval, or `step` (time units, at most this long), or `rtol` with `atol`; then controller: "elementary"
    or "pi"; output: "land" on every reported time or "dense" output between steps; per_trajectory: each trajectory of a
    batch chooses its own steps, as if solved alone (else one step is chosen for all); method: instead of a tableau, the
    library's own method of that name in its backend; parameter_error: relative error of every parameter of the
    equation, for a field that is nearly right. memory, segment: of a learned cell, what its forward pass keeps, see
    `solvers.cell.ODERNN`. forget_bias: of the lstm, a number or "chrono". options: of a forecaster
    of the ladder, every entry of its own with its value.
    """

    cell: str
    tableau: str | None = None
    method: str | None = None
    backend: str | None = None
    engine: str = "auto"
    memory: str | None = None
    segment: int | None = None
    step: float | None = None
    steps: int | None = None
    substeps: int = 1
    rtol: float | None = None
    atol: float | None = None
    controller: str | None = None
    output: str | None = None
    per_trajectory: bool = False
    parameter_error: float | None = None
    hidden: int = 32
    ode_order: int | None = None
    init: str | None = None
    gain: float | None = None
    input_gain: float | None = None
    forget_bias: float | str = 1.0
    constants: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def parse(entries: Mapping[str, Any]) -> Spec:
    """Entries of an experiment file -> `Spec`. Raises `UsageError` with one sentence for anything that cannot run."""
    if "cell" not in entries:
        raise UsageError("a solver needs a 'cell': the name of a learned cell, of a baseline, or 'true-field'.")
    known = {f.name for f in fields(Spec)} - {"constants", "options"}
    cell = entries["cell"]
    if cell in FORECASTERS:
        return _forecaster(entries)
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
    checked_engine(spec.engine)
    if cell in BASELINES:
        _check_baseline(spec, entries)
    else:
        _check_integrator(spec, entries)
    return spec


def _forecaster(entries: Mapping[str, Any]) -> Spec:
    """The spec of a rung of the ladder, which has entries of its own."""
    rung = rung_of(entries["cell"])
    options = rung.checked(entries)
    if not rung.is_field:
        return Spec(rung.name, options=options)
    for key in ("tableau", "backend"):
        if not isinstance(entries.get(key), str):
            raise UsageError(f"cell {rung.name!r} needs a {key!r}.")
    spec = Spec(rung.name, entries["tableau"], None, entries["backend"], options=options)
    spec = replace(spec, substeps=entries.get("substeps", 1))
    _check_numbers(spec)
    method = find_tableau(entries["tableau"])
    find_backend(entries["backend"])
    if entries["backend"] != "native" and not method.explicit:
        raise UsageError(
            f"tableau {method.name!r} is not explicit: backend 'native' alone steps it, {spec.backend!r} not."
        )
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
    wrong = spec.parameter_error
    if wrong is not None and (
        isinstance(wrong, bool) or not isinstance(wrong, int | float) or not math.isfinite(wrong)
    ):
        raise UsageError(f"solver entry 'parameter_error' is {wrong!r}: expected a finite number, such as 0.001.")
    for name, known in (("output", OUTPUTS), ("controller", CONTROLLERS)):
        value = getattr(spec, name)
        if value is not None and value not in known:
            raise unknown(f"solver entry {name!r}", str(value), known)
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
    if spec.method is not None:
        _check_library_method(spec, entries)
        return
    if spec.tableau is None or spec.backend is None:
        missing = "tableau" if spec.tableau is None else "backend"
        raise UsageError(f"cell {spec.cell!r} needs a {missing!r}.")
    method = find_method(spec.tableau)
    backend = find_backend(spec.backend)
    _check_package(spec.backend)
    if spec.backend == "diffrax" and spec.cell != TRUE_FIELD:
        raise UsageError(
            f"cell {spec.cell!r} is learned through gradients, and backend 'diffrax' passes none to torch: expected "
            "'native', 'torchdiffeq' or 'scipy'."
        )
    if not backend.differentiable and spec.cell != TRUE_FIELD:
        raise UsageError(
            f"cell {spec.cell!r} is learned through gradients, and backend {spec.backend!r} says that it passes none."
        )
    if spec.backend != "native" and not (isinstance(method, Tableau) and method.explicit):
        raise UsageError(
            f"tableau {method.name!r} is not explicit: backend 'native' alone steps it, {spec.backend!r} not."
        )
    if "forget_bias" in entries:
        raise UsageError(f"cell {spec.cell!r} has no 'forget_bias': that is an option of 'lstm'.")
    if spec.atol is not None and spec.rtol is None:
        raise UsageError("solver entry 'atol' goes with 'rtol'.")
    if spec.rtol is not None and (not isinstance(method, Tableau) or method.b_hat is None):
        raise UsageError(
            f"tableau {method.name!r} has no embedded weights and cannot run adaptively: leave out 'rtol'."
        )
    if not isinstance(spec.per_trajectory, bool):
        raise UsageError(f"solver entry 'per_trajectory' is {spec.per_trajectory!r}: expected true or false.")
    own = spec.output or spec.controller or spec.per_trajectory
    if spec.rtol is None and own:
        raise UsageError(
            "solver entries 'output', 'controller' and 'per_trajectory' belong to an adaptive solver: give 'rtol' too."
        )
    if own and spec.backend != "native":
        raise UsageError(
            f"'output', 'controller' and 'per_trajectory' are options of backend 'native', not of {spec.backend!r}."
        )
    if spec.cell != TRUE_FIELD:
        for key in ("output", "controller", "per_trajectory", "parameter_error"):
            if key in entries:
                raise UsageError(
                    f"cell {spec.cell!r} is learned and has no {key!r}: that is an option of 'true-field'."
                )
        if "steps" in entries:
            raise UsageError(f"cell {spec.cell!r} takes one step an input and has no 'steps': expected 'substeps'.")
        if spec.rtol is not None and "substeps" in entries:
            raise UsageError("'substeps' belongs to a fixed grid and 'rtol' to an adaptive one: expected one of them.")
        if spec.step is None:
            raise UsageError(f"cell {spec.cell!r} needs a 'step'.")
        checked_memory(spec.memory or "states", spec.segment)
        if spec.init is not None and spec.init not in get_args(Scheme):
            raise unknown("initialisation", str(spec.init), get_args(Scheme))
        _check_cell(spec, method)
        return
    if isinstance(method, Splitting):
        raise UsageError(f"cell 'true-field' is not given as a sum of parts: {method.name!r} cannot step it.")
    for key in ("hidden", "ode_order", "init", "gain", "input_gain", "substeps", "memory", "segment"):
        if key in entries:
            raise UsageError(f"cell 'true-field' learns nothing and has no {key!r}.")
    if sum(value is not None for value in (spec.step, spec.steps, spec.rtol)) > 1:
        raise UsageError("a true-field solver takes one of 'step', 'steps' and 'rtol', not several.")


def _check_package(backend: str) -> None:
    """Raises `MissingPackage` for the one backend whose library is optional, without importing it."""
    if backend == "diffrax" and find_spec("diffrax") is None:
        raise MissingPackage("backend 'diffrax' needs a package: pip install 'diffrax>=0.7,<0.8'")


def _check_library_method(spec: Spec, entries: Mapping[str, Any]) -> None:
    """A library's own method: for the true field alone, in that library's backend. The backend knows the names."""
    if spec.cell != TRUE_FIELD:
        raise UsageError(f"cell {spec.cell!r} takes a 'tableau', not a library's 'method': that is for 'true-field'.")
    if spec.tableau is not None:
        raise UsageError("a solver takes a 'tableau' of ours or a library's 'method', not both.")
    if spec.backend not in LIBRARIES:
        raise UsageError(f"backend {spec.backend!r} has no methods of its own: expected one of {', '.join(LIBRARIES)}.")
    _check_package(spec.backend)
    check_name(spec.backend, spec.method or "")
    none = ("hidden", "ode_order", "init", "gain", "input_gain", "substeps", "output", "controller", "forget_bias")
    for key in (*none, "per_trajectory", "memory", "segment"):
        if key in entries:
            raise UsageError(f"a library's own method has no {key!r}.")
    if spec.atol is not None and spec.rtol is None:
        raise UsageError("solver entry 'atol' goes with 'rtol'.")
    if sum(value is not None for value in (spec.step, spec.steps, spec.rtol)) > 1:
        raise UsageError("a true-field solver takes one of 'step', 'steps' and 'rtol', not several.")


def _check_cell(spec: Spec, method: Method) -> None:
    description = field_of(spec.cell, spec.ode_order)
    if isinstance(description, CustomField):
        for key in ("init", "gain", "input_gain"):
            if getattr(spec, key) is not None:
                raise UsageError(f"cell {spec.cell!r} starts as published and has no {key!r}.")
        if isinstance(method, PartitionedTableau) and description.sites:
            raise UsageError(
                f"tableau {method.name!r} steps two blocks by two methods: cell {spec.cell!r} has one for every "
                "component of its sites."
            )
    elif isinstance(method, PartitionedTableau) and description.blocks != 2:
        raise UsageError(
            f"tableau {method.name!r} steps two blocks by two methods: cell {spec.cell!r} has {description.blocks}."
        )
    elif isinstance(method, Splitting) and not description.parts:
        raise UsageError(f"cell {spec.cell!r} is not given as a sum of parts: {method.name!r} cannot step it.")
    if spec.memory == "inverse":
        if spec.rtol is not None:
            raise UsageError("memory 'inverse' takes the steps of a fixed grid back: leave out 'rtol'.")
        inverse_plan(method, spec.cell, reads_of(description) if isinstance(description, EquationField) else ())


def validate(entries: Mapping[str, Any], task: Mapping[str, Any], device: str = "cpu", dtype: str = "float32") -> None:
    """Check a point's solver against its task, device and dtype before anything runs. Raises `UsageError`."""
    spec = parse(entries)
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}: {nearest(dtype, DTYPES)}")
    name = task.get("name")
    if spec.cell in FORECASTERS:
        _check_forecaster(spec, name, device, dtype)
        return
    if name in ("ivp", "order", "conformance", "lyapunov", "ceiling") and spec.cell != TRUE_FIELD:
        raise UsageError(f"task {name!r} is for cell 'true-field', not for the learned cell {spec.cell!r}.")
    if name in OF_CELLS and spec.cell in BASELINES:
        raise UsageError(f"task {name!r} examines a field, and cell {spec.cell!r} is a library baseline and none.")
    if name in OF_CELLS and name != "stages" and spec.cell == TRUE_FIELD:
        raise UsageError(f"task {name!r} examines a recurrent cell: cell 'true-field' is none.")
    if name == "speed":
        _check_timed(spec, task.get("work"), device, dtype)
    if name == "conformance" and dtype != "float64":
        raise UsageError(f"task 'conformance' tells methods apart by rounding in float64, not in {dtype}.")
    if name in EXAMINED and not device.startswith("cpu"):
        raise UsageError(f"task {name!r} computes in float64 on the CPU, not on {device!r}: leave out --device.")
    if name == "footprint" and spec.cell == TRUE_FIELD:
        raise UsageError("task 'footprint' measures a step of training, and cell 'true-field' learns nothing.")
    if name == "footprint" and not device.startswith("cpu"):
        raise UsageError(f"task 'footprint' measures the memory of the process, not that of {device!r}.")
    if spec.cell == TRUE_FIELD and name in ("copying", "adding"):
        raise UsageError(f"task {name!r} has no field of its own: cell 'true-field' cannot run it.")
    if spec.engine in ON_GPU and not device.startswith("cuda"):
        raise UsageError(
            f"engine {spec.engine!r} runs on an NVIDIA GPU, not on {device}: expected 'auto' or 'general'."
        )
    if spec.backend == "scipy" and spec.rtol is not None and spec.rtol < SCIPY_RTOL:
        raise UsageError(f"rtol is {spec.rtol:g}: SciPy raises what is below {SCIPY_RTOL:.3g}, expected at least that.")
    if spec.cell == TRUE_FIELD and spec.backend == "scipy" and dtype != "float64":
        raise UsageError(f"backend 'scipy' integrates in float64 only, not in {dtype}.")
    if spec.backend == "scipy" and not device.startswith("cpu"):
        raise UsageError(f"backend 'scipy' runs on the CPU only, not on {device!r}.")
    if spec.backend == "diffrax" and not device.startswith("cpu"):
        raise UsageError(f"backend 'diffrax' runs on the CPU only here, not on {device!r}.")
    if dtype == "bfloat16" and spec.backend not in (None, "native"):
        raise UsageError(f"dtype bfloat16 runs on backend 'native' alone, not on {spec.backend!r}.")
    if dtype == "bfloat16" and spec.cell == TRUE_FIELD:
        raise UsageError("cell 'true-field' integrates in float32 or float64, not in bfloat16.")
    if device.startswith("mps") and dtype == "float64":
        raise UsageError("device 'mps' has no float64: expected dtype float32.")


def _check_timed(spec: Spec, work: Any, device: str, dtype: str) -> None:
    """Task "speed": our native backend on a fixed grid, or on the equation of a system. work: None where not given."""
    if spec.cell in BASELINES:
        raise UsageError(
            f"task 'speed' times our cells: cell {spec.cell!r} is a library baseline, and one of the peers."
        )
    wanted = "trajectory" if spec.cell == TRUE_FIELD else "sequence"
    if work not in (None, wanted):
        raise UsageError(f"cell {spec.cell!r} is timed with work = {wanted!r}, not {work!r}.")
    if spec.method is not None or spec.backend != "native":
        raise UsageError("task 'speed' times backend 'native' with a tableau of ours; other libraries are its peers.")
    if wanted == "sequence" and spec.rtol is not None:
        raise UsageError("task 'speed' times a cell on its fixed grid: leave out 'rtol'.")
    if wanted == "trajectory" and (not device.startswith("cpu") or dtype != "float64"):
        raise UsageError(f"task 'speed' times trajectories in float64 on the CPU, not in {dtype} on {device!r}.")


def _check_forecaster(spec: Spec, task: Any, device: str, dtype: str) -> None:
    rung = rung_of(spec.cell)
    if task in catalogued("task") and not catalogued("task")[task].distribution and task not in FORECASTS:
        raise UsageError(f"cell {spec.cell!r} forecasts a series and task {task!r} has none: expected 'chaos'.")
    if not device.startswith("cpu"):
        raise UsageError(f"cell {spec.cell!r} runs on the CPU only, not on {device!r}.")
    if dtype not in rung.dtypes:
        raise UsageError(f"cell {spec.cell!r} computes in {' or '.join(rung.dtypes)}, not in {dtype}.")
    if spec.backend == "scipy" and dtype != "float64":
        raise UsageError(f"backend 'scipy' integrates in float64 only, not in {dtype}.")


def find_method(name: str) -> Method:
    """The method of that name or alias, a third-party one or the path of a file that defines `TABLEAU` included.

    Raises `UsageError` with the nearest name.
    """
    if name.lower() in METHODS or name.lower() in ALIASES:
        return built_in_method(name)
    found: Method = load("tableau", name)
    return found


def find_tableau(name: str) -> Tableau:
    """`find_method` where a Runge-Kutta tableau is expected: raises `UsageError` for a partitioned or splitting one."""
    found = find_method(name)
    if not isinstance(found, Tableau):
        raise UsageError(f"{name!r} is no single Butcher tableau: expected one, such as 'rk4'.")
    return found


def engine_of(entries: Mapping[str, Any], task: Any = None) -> str:
    """What carries out a solver's arithmetic, as its rows say it where the run itself does not.

    "auto" of a cell that is trained: the run decides. Audits examine the general path.
    """
    cell = entries.get("cell")
    if cell in FORECASTERS and not rung_of(cell).updates:
        return "numpy"
    if cell in BASELINES:
        return "torch"
    if cell in FORECASTERS or task in EXAMINED:
        return "general"
    return str(entries.get("engine") or "auto")


def properties_of(spec: Spec) -> dict[str, Any]:
    """What a row says of any solver: every entry that has a value, and the facts of its tableau."""
    if spec.cell in FORECASTERS:
        stepped = {"tableau": spec.tableau, "backend": spec.backend, "substeps": spec.substeps}
        facts = {"solver": {"cell": spec.cell, **(stepped if spec.tableau else {}), **spec.options}}
        return facts | (_method_properties(find_tableau(spec.tableau)) if spec.tableau else {})
    left_out = ("constants", "options")
    entries = {key: value for key, value in asdict(spec).items() if value is not None and key not in left_out}
    if spec.cell in BASELINES:
        entries = {key: entries[key] for key in ("cell", "hidden")}
        entries |= {"forget_bias": spec.forget_bias} if spec.cell == "lstm" else {}
        return {"solver": entries}
    learned = {} if spec.cell == TRUE_FIELD else {**_constants(spec.cell), **spec.constants}
    unused = (
        "forget_bias",
        *(() if spec.per_trajectory else ("per_trajectory",)),
        *(("hidden", "substeps") if spec.cell == TRUE_FIELD else ()),
    )
    entries = {key: value for key, value in entries.items() if key not in unused} | learned
    if spec.method is not None:
        return {"solver": entries}
    return {"solver": entries, **_method_properties(find_method(spec.tableau or ""))}


@lru_cache(maxsize=64)
def _method_properties(method: Method) -> dict[str, Any]:
    if isinstance(method, Splitting):
        return {"order": method.order}
    if isinstance(method, PartitionedTableau):
        return {"stages": method.stages, "order": method.order}
    above, below = stability_function(method)
    return {
        "stages": method.stages,
        "order": method.order,
        "embedded_order": method.embedded_order,
        "stability_polynomial": [float(value) for value in above],
        **({} if method.explicit else {"stability_denominator": [float(value) for value in below]}),
        "real_stability_interval": real_stability_interval(method),
        "imaginary_stability_interval": imaginary_stability_interval(method),
    }
