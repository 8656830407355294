"""Rows to a data frame: flat columns, readable labels, outcomes, and aggregates over seeds.

Every table and figure starts here, so that all of them count failures, name solvers and group seeds in one way. Longer
than most files for that reason: what a row means to a report is said in one place.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from ..suite.metrics import METRICS

Row = Mapping[str, Any]
_Key = TypeVar("_Key", bound=Hashable)

OUTCOMES = ("converged", "plateau", "diverged", "NaN", "failed", "timeout", "memory", "skipped")
"""What became of a run; the first two are the runs that were carried out."""

SECTIONS = ("task", "solver", "budget", "metrics", "curves", "cost", "properties", "environment")
SCALARS = ("schema", "id", "experiment", "seed", "device", "dtype", "status", "reason", "started", "finished")
WHEN = ("before", "after")
EXAMINED = (
    *("inside", "conditioning", "predicted_growth", "measured_growth"),
    *("certified_step", "spectral_step"),
)
"""What a stability audit measures `WHEN`: before and after training."""
LYAPUNOV = ("lyapunov_max", "kaplan_yorke")
PROTOCOL = ("system", "every", "noise", "trajectories", "samples", "horizon", "initial_conditions", "warmup")
"""The parameters of a forecast's task that say what is shown and scored, and not how a model is trained on it."""
_TEXT = (
    *("solver.cell", "solver.tableau", "solver.backend"),
    *("task.name", "task.problem", "task.system", "task.row", "task.generator"),
)
_NUMBERS = (
    *("metrics.skill", "metrics.nrmse", "metrics.baseline_nrmse", "metrics.initial_conditions", "metrics.error"),
    *("metrics.valid_prediction_time", "metrics.valid_prediction_time_q25", "metrics.valid_prediction_time_q75"),
    *("metrics.valid_prediction_time_censored", "metrics.baseline_valid_prediction_time", "metrics.observed_order"),
    *("metrics.gradient_ratio", "metrics.gradient_ratio_before", "cost.seconds", "cost.f_calls", "cost.parameters"),
    *("cost.accepted", "cost.rejected", "properties.memory_length", "properties.order", "properties.claimed_order"),
    *("metrics.parameters", "metrics.hidden", "metrics.memory_capacity", "metrics.memory_capacity_per_unit"),
    *("properties.state_numbers", "properties.ode_order", "properties.stages", "properties.stages_reaching"),
    *("metrics.equality_error", "metrics.equality_error_one_step", "metrics.wrong_error", "metrics.nesting_depth"),
    *("metrics.memory_order", "metrics.gap_at_zero_step", "metrics.limit_gap", "metrics.cases", "metrics.violations"),
    *(
        "metrics.norm_drift",
        "task.steps",
        "metrics.worst_growth",
        "metrics.tightness",
        "metrics.mean_squared_error",
        "metrics.skill",
    ),
    *(f"metrics.{name}_{when}" for name in EXAMINED for when in WHEN),
    *("solver.parameter_error", "solver.substeps", "properties.training_step", "metrics.smape", "metrics.field_error"),
    *("metrics.valid_prediction_time_limit", "metrics.refinement_gap", "metrics.escaped"),
    *(f"metrics.{name}{end}" for name in ("state_space_divergence", "hellinger") for end in ("", "_floor")),
    *("metrics.correlation_dimension", "metrics.correlation_dimension_true", "metrics.lyapunov_sum"),
    *(f"metrics.{flow}{name}{end}" for flow in ("", "flow_") for name in LYAPUNOV for end in ("", "_error")),
    *("metrics.lyapunov_sum_exact", "metrics.ceiling", "metrics.ceiling_step", "metrics.agreement"),
    *(f"task.{name}" for name in PROTOCOL[1:]),
)
_CURVES = (
    *("learning", "spectrum_before", "spectrum_after", "forecast", "convergence", "capacity"),
    *("transfer", "refinement", "long", "lyapunov", "ceiling"),
)
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_PRIMARY = {
    "copying": "accuracy",
    "adding": "mean_squared_error",
    "chaos": "valid_prediction_time",
    "ivp": "error",
    "order": "observed_order",
    "parameters": "parameters",
    "memory-capacity": "memory_capacity",
    "correspondence": "equality_error",
    "stages": "nesting_depth",
    "certificate": "violations",
    "norm": "norm_drift",
    "conformance": "observed_order",
    "lyapunov": "lyapunov_max",
    "ceiling": "ceiling",
    "transfer": "valid_prediction_time_limit",
    "learned-ivp": "error",
}
_AUDITS = {
    "parameters": "parameters",
    "memory-capacity": "capacity",
    "correspondence": "correspondence",
    "stages": "stages",
    "stability": "stability",
    "certificate": "certificate",
    "norm": "norm",
    "conformance": "conformance",
    "lyapunov": "lyapunov",
    "ceiling": "ceiling",
    "transfer": "transfer",
    "speed": "speed",
    "footprint": "footprint",
}
TRAINED = ("sequence", "forecast", "stability")
"""The kinds whose runs train a cell; of these the last is an audit and no competition."""
EQUAL = 1e-12
"""Two computations of one update in float64 that differ by no more than this, relatively, are equal to rounding."""
_SOLVED = {"accuracy": 0.99, "mean_squared_error": 0.01}


def restore(value: Any) -> Any:
    """The strings "NaN", "Infinity" and "-Infinity" of a row as numbers, at any depth; all else unchanged."""
    if value is None or isinstance(value, float | int):  # nearly all of them
        return value
    if isinstance(value, str):
        return _WORDS.get(value, value)
    if isinstance(value, Mapping):
        return {key: restore(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [restore(item) for item in value]
    return value


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _section(row: Row, name: str) -> Mapping[str, Any]:
    section = row.get(name) or {}
    if not isinstance(section, Mapping):
        return {}
    return restore(section) if name in ("metrics", "curves", "cost", "properties") else section


# ------------------------------------------------------------------------------------------------------------ labels


def step_label(solver: Mapping[str, Any]) -> str:
    """How the solver steps: "h=0.5", "100 steps", "rtol=1e-06"; empty where it has no step."""
    if solver.get("step") is not None:
        return f"h={_short(solver['step'])}"
    if solver.get("steps") is not None:
        return f"{_short(solver['steps'])} steps"
    if solver.get("rtol") is not None:
        return f"rtol={_short(solver['rtol'])}"
    return ""


def solver_label(row: Row) -> str:
    """One readable name of a row's solver: "leaky · rk4 · native · h=0.5". The size is told by `parameters`."""
    solver = _section(row, "solver")
    parts = [str(solver[key]) for key in ("cell", "tableau", "method", "backend") if solver.get(key) is not None]
    known = ("cell", "tableau", "method", "backend", "step", "steps", "rtol", "atol", "hidden", "engine")
    options = [f"{key}={_short(value)}" for key, value in sorted(solver.items()) if key not in known]
    return " · ".join(part for part in (*parts, step_label(solver), *options) if part) or "(no solver)"


def task_label(row: Row) -> str:
    """One readable name of a row's task: "adding · length=20", "chaos · lorenz63"."""
    task = _section(row, "task")
    name = str(task.get("name", "(no task)"))
    special = [str(task[key]) for key in ("system", "problem") if task.get(key) is not None]
    rest = [f"{k}={_short(v)}" for k, v in sorted(task.items()) if k not in ("name", "system", "problem")]
    return " · ".join([name, *special, *rest])


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# ---------------------------------------------------------------------------------------------------------- outcomes


def outcome(row: Row) -> str:
    """What became of a run, one of `OUTCOMES`.

    A row that is not ok keeps its status, except that a divergence whose reason names NaN is "NaN". A row that is ok
    converged when its skill is at least 0.5; for a forecast, when its valid prediction time is at least twice the
    baseline's and its lower quartile is beyond the baseline; for an initial value problem, when its error is below
    0.5; for an order, when it is at most 0.25 below the claim; for a correspondence, when the two cells are equal to
    rounding; and reached a plateau otherwise. An ok row whose number is not finite is counted as NaN or diverged: a run
    without a result is no success (of a nesting depth, infinity is one).
    """
    return _outcome(row, _section(row, "metrics"), _section(row, "properties"))


def _outcome(row: Row, metrics: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    status = row.get("status", "failed")
    if status == "diverged":
        return "NaN" if re.search(r"\bnan\b|not a number", str(row.get("reason", "")), re.IGNORECASE) else "diverged"
    if status != "ok":
        return str(status) if status in OUTCOMES else "failed"
    candidates = (properties.get("primary_metric"), "skill", *_PRIMARY.values())
    name = next((key for key in candidates if key in metrics), None)
    value = _number(metrics.get(name)) if name is not None else 0.0
    if not math.isfinite(value) and not (name == "nesting_depth" and value > 0):
        return "NaN" if math.isnan(value) else "diverged"
    return "converged" if _converged(metrics, properties, name, value) else "plateau"


def _converged(metrics: Mapping[str, Any], properties: Mapping[str, Any], name: Any, value: float) -> bool:
    if "skill" in metrics:
        return _number(metrics["skill"]) >= 0.5
    if "valid_prediction_time" in metrics:
        baseline = _number(metrics.get("baseline_valid_prediction_time", 0.0))
        lower = _number(metrics.get("valid_prediction_time_q25", metrics["valid_prediction_time"]))
        return _number(metrics["valid_prediction_time"]) >= 2 * baseline and lower > baseline
    if name == "error":
        return value < 0.5
    if name == "equality_error":
        return value <= EQUAL
    if name == "observed_order":
        claimed = _number(properties.get("claimed_order", properties.get("order")))
        return not value < claimed - 0.25
    return True


def sign(metric: str) -> int:
    """+1 where a larger value of the metric is better, -1 where a smaller one is; of unknown metrics, larger."""
    known = METRICS.get(metric)
    lower = known.direction == "lower" if known else bool(re.search("error|loss|entropy|distance", metric))
    return -1 if lower else 1


def solved(metric: str, value: float, skill: float) -> bool:
    """Whether a run solved a memory task: accuracy >= 0.99, mean squared error <= 0.01, else skill >= 0.9."""
    if metric in _SOLVED:
        return sign(metric) * value >= sign(metric) * _SOLVED[metric]
    return skill >= 0.9


# ------------------------------------------------------------------------------------------------------------- frame


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """One line a row; flat columns "task.name", "metrics.skill", "curves.learning", ..., and derived ones.

    Derived: task_label, solver_label, step_label, task_id, setting (everything but the seed), outcome, kind (sequence |
    forecast | integration | order | transfer | ceiling | lyapunov | conformance | parameters | capacity |
    correspondence | stages | stability | certificate | speed | footprint), learned, primary_metric, primary, baseline.
    A library's own method stands in the column solver.tableau, with its library. What a failed row lacks (the primary
    metric, the baseline, the memory length, the parameters) is taken from other rows of the same task or setting. Of
    rows with the same id (a run that was tried again) the last stands. Columns that every report needs always exist.
    """
    kept: dict[Any, Row] = {}
    for index, row in enumerate(rows):
        key = row.get("id") or f"row {index}"
        kept.pop(key, None)
        kept[key] = row
    data = pd.DataFrame([_flat({**row, **{name: _section(row, name) for name in SECTIONS}}) for row in kept.values()])
    curves = (f"curves.{c}" for c in _CURVES)
    data = data.reindex(columns=list(dict.fromkeys([*data.columns, *SCALARS, *_TEXT, *_NUMBERS, *_DERIVED, *curves])))
    for column in data.columns:
        if column.startswith(("metrics.", "cost.")) or column in _NUMBERS:
            data[column] = pd.to_numeric(data[column], errors="coerce").astype(float)
        elif column in _TEXT or column in ("device", "dtype", "reason", "experiment"):
            data[column] = data[column].astype(object).where(data[column].notna(), "").map(str)
    return _complete(data) if len(data) else data


_DERIVED = (
    *("task_label", "solver_label", "step_label", "task_id", "setting", "outcome", "kind", "learned"),
    *("primary_metric", "primary", "baseline", "properties.primary_metric", "properties.stability_polynomial"),
)


def _flat(row: Row) -> dict[str, Any]:
    """The line of a row whose sections are mappings, all of them there."""
    flat: dict[str, Any] = {name: row.get(name) for name in SCALARS}
    for section in SECTIONS:
        flat |= {f"{section}.{key}": value for key, value in row[section].items()}
    solver, task = row["solver"], row["task"]
    if solver.get("method") is not None:  # tables and figures name what steps by one column
        flat["solver.tableau"] = f"{solver['method']} of {solver.get('backend')}"
    whole = row["properties"].get("task")  # the parameters that the experiment left to their defaults, too
    if isinstance(whole, Mapping):
        flat |= {f"task.{key}": whole[key] for key in PROTOCOL if key in whole}
    place = (str(row.get("device", "")), str(row.get("dtype", "")))
    flat |= {
        "task_label": task_label(row),
        "solver_label": solver_label(row),
        "step_label": step_label(solver),
        "task_id": _canonical(task),
        "setting": _canonical([task, solver, row.get("budget"), *place]),
        "outcome": _outcome(row, row["metrics"], row["properties"]),
        "learned": bool(row["properties"].get("learns", solver.get("cell") != "true-field")),
    }
    return flat


_ENCODER = json.JSONEncoder(sort_keys=True, default=str)  # `json.dumps` would make one for every value


def _canonical(value: Any) -> str:
    return _ENCODER.encode(value)


def _complete(data: pd.DataFrame) -> pd.DataFrame:
    kinds, primaries = {}, {}
    for name, group in data.groupby("task.name", sort=False):
        named = [p for p in group["properties.primary_metric"] if isinstance(p, str)]
        primaries[name] = named[0] if named else _PRIMARY.get(str(name), "")
        kinds[name] = _kind(str(name), group, primaries[name])
    data["kind"] = data["task.name"].map(kinds)
    data["primary_metric"] = data["task.name"].map(primaries)
    for column, start in (("primary", "metrics."), ("baseline", "metrics.baseline_")):
        data[column] = np.nan
        for metric in sorted(set(primaries.values())):
            if start + metric in data:
                there = data["primary_metric"] == metric
                data.loc[there, column] = data.loc[there, start + metric]
    for column, by in (
        ("baseline", "task_id"),
        ("properties.memory_length", "task_id"),
        ("cost.parameters", "setting"),
        ("properties.order", "setting"),
        *((f"task.{key}", "task_id") for key in PROTOCOL[1:]),
    ):
        data[column] = data[column].fillna(data.groupby(by)[column].transform("first"))
    return data.copy()  # in one piece: so many columns one by one are slow to work with


def _kind(name: str, group: pd.DataFrame, primary: str) -> str:
    def measured(metric: str) -> bool:
        return bool(group[f"metrics.{metric}"].notna().any())

    if name in _AUDITS:
        return _AUDITS[name]
    if name == "chaos" or measured("valid_prediction_time"):
        return "forecast"
    if name == "order" or measured("observed_order"):
        return "order"
    if name in ("ivp", "learned-ivp") or (primary == "error" and measured("error")):
        return "integration"
    return "sequence"


# -------------------------------------------------------------------------------------------------------- aggregates


def over_seeds(data: pd.DataFrame, values: Sequence[str]) -> pd.DataFrame:
    """One line a setting, in order of first appearance: mean, standard deviation and median of `values` over seeds.

    Columns: those of `describe`, then seeds (runs with a result), failed (runs without), and for every value its mean
    under its own name, "<value> ±" (standard deviation with n - 1; NaN for one seed) and "<value> median". Only
    converged and plateau runs enter the numbers; the others are counted, never dropped: a setting with none is a line.
    """
    other = options(data)
    settings = data["setting"].tolist()
    carried = data["outcome"].isin(OUTCOMES[:2]).tolist()
    numbers = {value: data[value].to_numpy(float) for value in values}
    first = data.drop_duplicates("setting")
    described = dict(
        zip(
            first["setting"],
            (describe(line) for line in records(first[[c for c in _DESCRIBED if c in first]])),
            strict=True,
        )
    )
    lines = []
    for setting, places in positions(settings).items():
        good = [place for place in places if carried[place]]
        line = described[setting] | {"options": other.get(str(setting), "")}
        line |= {"seeds": len(good), "failed": len(places) - len(good)}
        for value in values:
            told = numbers[value][good]
            told = told[~np.isnan(told)]
            many = len(told) > 1
            line[value] = float(np.mean(told)) if many else float(told[0]) if len(told) else math.nan
            line[f"{value} ±"] = spread(told) if many else math.nan
            line[f"{value} median"] = float(np.median(told)) if many else line[value]
        lines.append(line)
    return pd.DataFrame(lines)


def positions(names: Sequence[_Key]) -> dict[_Key, list[int]]:
    """By name, in order of first appearance, the places at which it stands."""
    found: dict[_Key, list[int]] = {}
    for place, name in enumerate(names):
        found.setdefault(name, []).append(place)
    return found


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The lines of a table as mappings; as `to_dict("records")`, which takes long where there are many columns."""
    names = [str(c) for c in table.columns]
    return [dict(zip(names, line, strict=True)) for line in table.to_numpy(dtype=object).tolist()]


def spread(numbers: Sequence[float] | np.ndarray[Any, Any]) -> float:
    """Standard deviation with n - 1 in the denominator; NaN below two numbers, or where one is not finite."""
    array = np.asarray(numbers, float)
    return float(np.std(array, ddof=1)) if len(array) > 1 and np.isfinite(array).all() else math.nan


_DESCRIBED = (
    *("task_label", "solver.cell", "solver.tableau", "solver.backend", "solver.step", "step_label", "cost.parameters"),
    *("device", "dtype", "setting", "solver_label"),
)
"""What `describe` reads."""


def describe(line: pd.Series[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """The columns that say which setting a table's line is about; "step" is h, or how else the solver steps."""
    step = line.get("solver.step")
    return {
        "task": line["task_label"],
        "cell": line["solver.cell"],
        "tableau": line["solver.tableau"],
        "backend": line["solver.backend"],
        "step": float(step) if isinstance(step, int | float) and not pd.isna(step) else line["step_label"],
        "parameters": line["cost.parameters"],
        "device": line["device"],
        "dtype": line["dtype"],
        "setting": line["setting"],
        "solver": line["solver_label"],
    }


def options(data: pd.DataFrame) -> dict[str, str]:
    """By setting, the options that tell it from others of the same task and cell: "hidden=32, updates=300"."""
    shown = tuple(f"solver.{key}" for key in ("cell", "tableau", "method", "backend", "step", "steps", "rtol"))
    named = [c for c in data.columns if c.startswith(("solver.", "budget.")) and c not in shown]
    columns = {c: data[c].tolist() for c in named}
    texts = {c: [str(value) for value in column] for c, column in columns.items()}
    named = [c for c in named if len(set(texts[c])) > 1]
    settings = data["setting"].tolist()
    found: dict[str, str] = {}
    groups = positions(list(zip(data["task_label"], data["solver.cell"], strict=True)))
    for places in groups.values():
        varied = [c for c in named if len({texts[c][place] for place in places}) > 1]
        for place in places:
            if settings[place] not in found:
                values = ((c, columns[c][place]) for c in varied)
                parts = [f"{c.split('.', 1)[1]}={_short(value)}" for c, value in values if not _absent(value)]
                found[settings[place]] = ", ".join(parts)
    return found


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def tidy(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The named columns in that order, less those of tableau, backend, step and options that say nothing."""
    if table.empty:
        return pd.DataFrame(columns=list(columns))
    idle = ("tableau", "backend", "step", "options")
    return table[[c for c in columns if not (c in idle and (table[c].map(str) == "").all())]]


def natural(text: str) -> list[tuple[int, float, str]]:
    """A sorting key that puts length=8 before length=16."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(0, float(part), "") if place % 2 else (1, 0.0, part) for place, part in enumerate(parts)]


def panels(data: pd.DataFrame, keys: Sequence[str]) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """The rows by the values of the key columns, in natural order: a figure's panels."""
    groups = [(tuple(str(k) for k in key), part) for key, part in data.groupby(list(keys))]
    return sorted(groups, key=lambda group: [natural(k) for k in group[0]])
