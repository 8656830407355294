"""The audit of memory: what a step of training adds, against sizes that are known."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from odernn.solvers.solver import build_solver, validate
from odernn.suite.catalogue import build_task
from odernn.suite.contracts import Budget, Outcome
from odernn.suite.errors import UsageError
from odernn.suite.metrics import METRICS
from odernn.suite.run import run
from odernn.tasks.audits.footprint import Footprint

GENERAL = {"cell": "leaky", "tableau": "rk4", "backend": "native", "step": 0.5, "hidden": 64, "engine": "general"}
UNICORNN = {**GENERAL, "cell": "unicornn", "tableau": "symplectic-euler", "step": 0.1}


def solver(**entries: Any) -> Any:
    return build_solver({**GENERAL, **entries}, "cpu", "float32", Footprint())


def footprint(length: int, **entries: Any) -> Outcome:
    return Footprint(length=length, batch=16).evaluate(solver(**entries), 0, Budget())


def apart(code: str) -> list[float]:
    """The numbers that the code prints in a process of its own, as a row has: here, memory freed before would serve
    again."""
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=100, check=True)
    return [float(word) for word in found.stdout.split()]


MEASURED = """
import numpy as np
from odernn.tasks.audits.footprint import added_memory_mib
def call():
    np.ones(2**23)  # 64 MiB, gone afterwards
    np.ones(2**21)
"""
TRAINED = """
from odernn.solvers.solver import build_solver
from odernn.suite.contracts import Budget
from odernn.tasks.audits.footprint import Footprint
solver = build_solver({entries}, "cpu", "float32", Footprint())
print(Footprint(length=600, batch=16).evaluate(solver, 0, Budget()).metrics["training_memory_mib"])
"""


def test_what_a_call_holds_for_a_while_is_its_peak() -> None:
    memory, seconds = apart(MEASURED + "print(*added_memory_mib(call))")
    assert memory == pytest.approx(64, abs=8)
    assert seconds > 0


def test_an_earlier_peak_does_not_hide_a_later_one() -> None:
    if sys.platform != "linux" or not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("the system does not start the peak anew")
    code = "added_memory_mib(lambda: np.ones(2**24)); print(added_memory_mib(lambda: np.ones(2**22))[0])"
    assert apart(MEASURED + code) == pytest.approx([32], abs=8)


def test_the_stage_loop_keeps_every_stage_and_segments_do_not() -> None:
    """At least four stages' values and slopes a step are saved: 8 numbers of float32 a unit and sequence."""
    ((states,), (segments,)) = (apart(TRAINED.format(entries=GENERAL | e)) for e in ({}, {"memory": "segments"}))
    assert states > 8 * 600 * 16 * 64 * 4 / 2**20
    assert segments < states / 3


def test_the_step_is_one_of_training() -> None:
    """The losses of a small model on the same sequences fall; the same seed gives the same."""
    step, again = solver(hidden=8).training_step(12, 4, 3), solver(hidden=8).training_step(12, 4, 3)
    losses = [step() for _ in range(30)]
    assert losses[-1] < losses[0]
    assert [again() for _ in range(3)] == losses[:3]


def test_every_way_of_keeping_takes_the_same_step() -> None:
    losses = []
    for memory in ("states", "segments", "inverse"):
        step = build_solver({**UNICORNN, "memory": memory}, "cpu", "float64", Footprint()).training_step(30, 4, 1)
        losses.append([step() for _ in range(3)])
    np.testing.assert_allclose(losses[1:], [losses[0]] * 2, rtol=1e-9)


@pytest.mark.parametrize("entries", [{"cell": "lstm", "hidden": 8}, {**UNICORNN, "memory": "inverse", "segment": 8}])
def test_a_row(entries: dict[str, Any]) -> None:
    task = {"name": "footprint", "length": 20, "batch": 4}
    point: Any = {"task": task, "solver": entries, "seed": 0, "device": "cpu", "dtype": "float32", "budget": {}}
    row = run(point, {})
    assert row["status"] == "ok", row["reason"]
    assert set(row["metrics"]) == {"training_memory_mib", "train_step_seconds"} <= set(METRICS)
    assert row["metrics"]["train_step_seconds"] > 0
    for key in ("memory", "segment"):
        assert row["properties"]["solver"].get(key) == entries.get(key)


def test_what_is_kept_is_an_entry_only_where_it_is_given() -> None:
    assert not {"memory", "segment"} & set(solver().properties()["solver"])


@pytest.mark.parametrize("entries", [{"length": 0}, {"batch": -1}, {"batch": True}, {"length": 2.5}])
def test_sizes_it_refuses(entries: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"of at least 1|expected a whole number"):
        build_task({"name": "footprint", **entries})


@pytest.mark.parametrize(
    ("entries", "device", "words"),
    [
        ({"cell": "true-field", "tableau": "rk4", "backend": "native"}, "cpu", "learns nothing"),
        (GENERAL, "cuda", "memory of the process"),
        ({**GENERAL, "memory": "all"}, "cpu", "unknown memory"),
        ({**GENERAL, "segment": 3}, "cpu", "which has none"),
        ({**GENERAL, "memory": "inverse"}, "cpu", "cannot be undone"),
        ({**GENERAL, "cell": "eunn", "tableau": "lie", "memory": "inverse"}, "cpu", "cannot be undone"),
        ({**UNICORNN, "tableau": "dormand-prince54", "memory": "inverse", "rtol": 1e-3}, "cpu", "fixed grid"),
        ({"cell": "lstm", "memory": "segments"}, "cpu", "has no 'memory'"),
    ],
)
def test_points_it_refuses(entries: dict[str, Any], device: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        validate(entries, {"name": "footprint"}, device)


def test_the_true_field_keeps_nothing() -> None:
    given = {"cell": "true-field", "tableau": "rk4", "backend": "native", "memory": "segments"}
    with pytest.raises(UsageError, match="has no 'memory'"):
        validate(given, {"name": "ivp"})
    integrator = build_solver(
        {k: v for k, v in given.items() if k != "memory"}, "cpu", "float64", build_task({"name": "ivp"})
    )
    with pytest.raises(UsageError, match="learns nothing"):
        integrator.training_step(3, 2, 0)


@pytest.mark.slow
def test_ten_thousand_steps_of_rk4_train_within_four_gib() -> None:
    """Hidden 128, batch 32, the whole process counted, on the general path and with the step states alone."""
    code = (
        "import resource; from odernn.solvers.solver import build_solver as built;"
        "from odernn.suite.catalogue import build_task;"
        "s = built(dict(cell='leaky', tableau='rk4', backend='native', step=0.5, hidden=128, engine='general',"
        "memory='{}'), 'cpu', 'float32', build_task(dict(name='footprint')));"
        "s.training_step(10_000, 32, 0)(); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    unit = 1 if sys.platform == "darwin" else 2**10
    for memory, limit in (("states", 4.0), ("segments", 0.75)):
        command = [sys.executable, "-c", code.format(memory)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert int(done.stdout) * unit < limit * 2**30
