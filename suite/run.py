"""One run: a point in, a row out, whatever happens on the way."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, cast, get_args

from .catalogue import build_task
from .checkpoint import Checkpoints
from .contracts import Budget, Outcome, Solver, Status, Task
from .cost import measured
from .environment import environment
from .errors import Diverged, UsageError
from .row import SCHEMA, Point, Row, encode, identity, plain


def run(point: Point, facts: Mapping[str, Any] | None = None, checkpoints: Checkpoints | None = None) -> Row:
    """Put one task to one solver with one seed. Every exception becomes a status and a reason; none is raised but
    `SystemExit`, which the process of the run turns into its end.

    facts: `environment.host()` of the process that asks; taken here when absent. checkpoints: where trainings are kept
    and taken up again; the row's cost then has "resumed_updates", those that an earlier process had done, and its
    seconds count theirs.
    """
    started = now()
    outcome, properties = Outcome(), dict[str, Any]()
    with measured() as cost:
        try:
            task, solver = build(point, checkpoints)
            properties = {"primary_metric": task.primary_metric, "task": _entries(task), **solver.properties()}
            outcome = _checked(task.evaluate(solver, point["seed"], Budget(**point["budget"])))
            properties |= _engines(solver)
        except Diverged as error:
            outcome = Outcome(status="diverged", reason=str(error))
        except UsageError as error:
            outcome = Outcome(status="failed", reason=str(error))
        except MemoryError as error:
            outcome = Outcome(status="memory", reason=f"MemoryError: {error}")
        except Exception as error:  # a plugin may raise anything; its row says what, and the other runs go on
            out = "out of memory" in str(error)
            outcome = Outcome(status="memory" if out else "failed", reason=_reason(error))
    reason = outcome.reason.encode(errors="replace").decode()  # half a surrogate pair is no UTF-8
    parts = {
        "metrics": outcome.metrics,
        "curves": outcome.curves,
        "cost": {**_with_earlier(cost.row(), checkpoints), **outcome.cost},
        "properties": {**properties, **outcome.properties},
    }
    return row_of(point, outcome.status, reason, parts, environment(facts), started)


def build(point: Point, checkpoints: Checkpoints | None = None) -> tuple[Task, Solver]:
    """The task and the solver of a point, with torch quiet, on one thread, and seeded. Raises `UsageError`."""
    task = build_task(point["task"])
    solvers = import_module("odernn.solvers.solver")  # by name: the hub imports no sibling
    solver: Solver = solvers.build_solver(point["solver"], point["device"], point["dtype"], task, checkpoints)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(point["seed"])
    return task, solver


def row_of(
    point: Point, status: str, reason: str, parts: Mapping[str, Any], facts: Mapping[str, Any], started: str
) -> Row:
    """A row from its pieces. parts: metrics, curves, cost, properties, each optional; finished is now.

    The row's solver says its engine also where the point leaves it to the solver ("auto" where that run was killed):
    what the run found it to be (property "engine"), else what follows from the point.
    """
    found = parts.get("properties", {}).get("engine")
    engine = found or import_module("odernn.solvers.solver").engine_of(point["solver"], point["task"].get("name"))
    return {
        "schema": SCHEMA,
        "id": identity(point),
        "experiment": "",
        **point,
        "solver": {**point["solver"], "engine": engine},
        "status": status,
        "reason": reason,
        "metrics": {},
        "curves": {},
        "cost": {},
        "properties": {},
        **parts,
        "environment": dict(facts),
        "started": started,
        "finished": now(),
    }


def now() -> str:
    """This moment, ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _with_earlier(cost: Mapping[str, float], checkpoints: Checkpoints | None) -> dict[str, float]:
    """The cost of this process and of what it took over from an earlier one."""
    if checkpoints is None or not checkpoints.resumed_updates:
        return dict(cost)
    seconds = cost["seconds"] + checkpoints.resumed_seconds
    return {**cost, "seconds": seconds, "resumed_updates": checkpoints.resumed_updates}


def _engines(solver: Solver) -> dict[str, str]:
    """What carried out the solver's arithmetic, where it says so, and why not a compiled engine."""
    ran = solver.engines()
    if not ran:
        return {}
    reasons = {"engine_reason": "; ".join(reason for reason in ran.values() if reason)}
    return {"engine": ", ".join(sorted(ran)), **(reasons if any(ran.values()) else {})}


def _entries(task: Task) -> dict[str, Any]:
    """Every parameter of the task with its value: a later default must not change what a row says."""
    return {"name": task.name, **asdict(cast(Any, task))}


def _checked(outcome: Any) -> Outcome:
    """The outcome itself. Raises `TypeError` or `ValueError` where a task gives what no row can hold."""
    if not isinstance(outcome, Outcome):
        raise TypeError(f"the task's outcome is a {type(outcome).__name__}: expected an Outcome")
    if outcome.status not in get_args(Status):
        raise ValueError(f"the task's status is {outcome.status!r}: expected one of {', '.join(get_args(Status))}")
    metrics: Mapping[str, Any] = outcome.metrics
    for name, value in metrics.items():
        if isinstance(value, str) or not isinstance(plain(value), int | float | str):  # NaN is plain as a string
            raise TypeError(f"metric {name!r} is {value!r}: expected a number")
    encode({"all": [outcome.metrics, outcome.curves, outcome.cost, outcome.properties]}).encode()
    return outcome


def _reason(error: Exception) -> str:
    """The type, the message and the innermost calls, by file name alone: rows are published, a machine's paths not."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    calls = [f"  {Path(one.filename).name}:{one.lineno} in {one.name}: {one.line}" for one in frames]
    return "\n".join([f"{type(error).__name__}: {str(error)[:2000]}", *calls])
