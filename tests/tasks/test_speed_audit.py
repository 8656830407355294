"""The task "speed": its rows and its refusals, with a solver whose times are known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from odernn.suite.contracts import Budget, Timing, Workload
from odernn.suite.errors import UsageError
from odernn.suite.experiment import load_experiment
from odernn.suite.metrics import METRICS
from odernn.suite.run import run
from odernn.tasks.audits.speed import Speed

LEAKY = {"cell": "leaky", "tableau": "rk4", "backend": "native", "step": 0.1, "hidden": 4, "engine": "general"}
LORENZ = {"cell": "true-field", "tableau": "rk4", "backend": "native", "engine": "general"}


def row(solver: Mapping[str, Any], dtype: str = "float32", **task: Any) -> Any:
    """A row of a small workload, made in this process."""
    small = {"name": "speed", "length": 5, "batch": 2, "rounds": 2, "peers": False} | task
    return run({"task": small, "solver": dict(solver), "budget": {}, "seed": 0, "device": "cpu", "dtype": dtype})


class Known:
    """Timings as written here."""

    learns = True

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def timings(self, *asked: Any) -> list[Timing]:
        self.asked.append(asked)
        return [
            Timing("odernn cpu", (1.0, 9.0, 3.0), 7.0, warm=0.5),
            Timing("peer", (4.0,), 8.0),
            Timing("gone", reason="package gone is not installed"),
            Timing("products alone", (2.0, 1.0, 1.5), 0.1, operations=6e9),
            Timing("products at best rate", (1.0, 1.0, 1.0), 0.1, operations=6e9),
        ]


def test_a_row_holds_every_round_of_every_peer() -> None:
    solver = Known()
    found = Speed(length=20, batch=3, threads=2, rounds=3, inputs=5).evaluate(solver, 4, Budget())  # type: ignore[arg-type]
    assert solver.asked == [(Workload("sequence", 20, 3, 2, 3, 5, 10.0), 4, True)]
    assert found.metrics == {
        "median_seconds": 3.0,
        "first_call_seconds": 7.0,
        "first_call_warm_seconds": 0.5,
        "floor_ratio": 2.0,
        "floor_ratio_best": 3.0,
    }
    assert set(found.metrics) <= set(METRICS)
    timings = found.curves["timings"]
    assert timings["name"][:3] == ["odernn cpu", "peer", "gone"]
    assert timings["seconds"][:3] == [[1.0, 9.0, 3.0], [4.0], []]
    assert timings["first"][:3] == [7.0, 8.0, None]
    assert timings["reason"][:3] == ["", "", "package gone is not installed"]
    assert found.properties["ours"] == "odernn cpu"
    assert found.properties["products_flop"] == 6e9
    assert found.properties["threads"] == 2


def test_starts_of_a_trajectory_differ_and_follow_the_seed() -> None:
    task = Speed(work="trajectory", batch=5)
    start = task.start(1)
    assert start.shape == (5, 3)
    assert len(np.unique(start[:, 0])) == 5
    assert np.array_equal(start, task.start(1))
    assert not np.array_equal(start, task.start(2))


def test_a_cell_and_an_equation_give_rows() -> None:
    for found in (row(LEAKY), row(LORENZ, "float64", work="trajectory", span=0.1)):
        assert (found["status"], found["reason"]) == ("ok", "")
        assert found["properties"]["ours"] == found["curves"]["timings"]["name"][0] == "odernn general"
        assert found["properties"]["solver"]["engine"] == "general"
        assert len(found["curves"]["timings"]["seconds"][0]) == 2
        assert found["metrics"]["median_seconds"] > 0
        assert math.isfinite(found["metrics"]["first_call_seconds"])


@pytest.mark.slow
def test_the_peers_of_a_row_are_named() -> None:
    found = row(LEAKY, peers=True)
    timings = dict(zip(found["curves"]["timings"]["name"], found["curves"]["timings"]["seconds"], strict=True))
    floor = sorted(timings["products alone"])
    assert found["metrics"]["floor_ratio"] == pytest.approx(found["metrics"]["median_seconds"] / np.median(floor))
    assert found["properties"]["products_flop"] == 2 * 5 * 2 * (3 * 4 * 16 + 2 * 16)
    assert {"torch loop", "torchdiffeq", "torchdiffeq own rk4", "jax.lax.scan", "diffrax", "torchode"} < set(timings)


@pytest.mark.parametrize(
    ("solver", "dtype", "task", "said"),
    [
        (LEAKY, "float32", {"work": "trajectory"}, "cell 'leaky' is timed with work = 'sequence', not 'trajectory'"),
        (LORENZ, "float64", {}, "cell 'true-field' is timed with work = 'trajectory', not 'sequence'"),
        (LORENZ, "float32", {"work": "trajectory"}, "in float64 on the CPU, not in float32"),
        ({"cell": "lstm"}, "float32", {}, "cell 'lstm' is a library baseline"),
        ({"cell": "esn"}, "float64", {}, "cell 'esn' forecasts a series and task 'speed' has none"),
        (LEAKY | {"backend": "torchdiffeq"}, "float32", {}, "task 'speed' times backend 'native'"),
        (LEAKY | {"tableau": "dormand-prince54", "rtol": 1e-3}, "float32", {}, "leave out 'rtol'"),
        (LEAKY | {"engine": "triton"}, "float32", {}, "engine 'triton' runs on an NVIDIA GPU, not on cpu"),
        (LEAKY, "float32", {"threads": 10_000}, "10000 threads were asked for: this process may use"),
    ],
)
def test_what_cannot_be_timed_is_told(solver: dict[str, Any], dtype: str, task: dict[str, Any], said: str) -> None:
    found = row(solver, dtype, **task)
    assert found["status"] == "failed"
    assert said in found["reason"]


def test_wrong_parameters_are_told() -> None:
    for wrong, said in (
        ({"length": 0}, "length of speed is 0: expected a whole number from 1"),
        ({"rounds": 0}, "rounds of speed is 0"),
        ({"threads": True}, "threads of speed is True"),
        ({"span": math.inf}, "span of speed is inf: expected a finite time above 0"),
        ({"system": "lorenz36"}, "unknown chaotic system 'lorenz36'"),
    ):
        with pytest.raises(UsageError, match=said):
            Speed(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["speed", "speed-long"])
def test_the_experiments_of_speed_run_one_at_a_time(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.jobs == 1
    assert {point["task"]["name"] for point in experiment.points()} == {"speed"}
    batches = [p["solver"] for p in experiment.points() if p["solver"].get("rtol") and p["task"].get("batch", 1) > 1]
    assert batches
    assert all(solver["per_trajectory"] for solver in batches)  # as the peers' loops and vmaps have it
