"""Lyapunov exponents: of a system, by a method of our own, and of the map that a solver under test steps.

`python -m odernn.tasks.chaos.lyapunov NAME` prints what `systems` states of an attractor. The task "lyapunov" computes
the exponents of the stepped map, whose tangent is the same method applied to the variational equation, and puts those
of the flow beside them: at large steps they differ, and a zero exponent can be lost.

Exponents after Benettin et al. 1980, Meccanica 15:9, as in Wolf et al. 1985, Physica D 16:285. Several independent
trajectories run together; the spread of their averages gives the standard error. One file for command and task, which
share all that is measured and longer than most for it.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import sympy

from ...suite.contracts import Array, Audit, Budget, Outcome, Solver, VectorField
from ...suite.equation import Equation
from ...suite.errors import Diverged, UsageError
from ...suite.matrix_equation import MatrixEquation
from ...suite.seeds import stream
from .kaplan_yorke import kaplan_yorke
from .systems import SYSTEMS, System, system
from .tangent import advance
from .truth import on_attractor, trajectories
from .variational import Variational

STEP = 0.02
"""Step of the reference method where no system states one."""

ALIGNMENT = 0.1
"""This fraction of the time first goes by unrecorded, for the frame to align itself."""

MOMENTS_TOLERANCE = 1e-9

MOMENTS_SAMPLES = 4_000_000
"""At most so many numbers in the series that the moments are taken from."""


@dataclass(frozen=True)
class Spectrum:
    """exponents, errors: the leading exponents, largest first, and their standard errors; total: their sum;
    kaplan_yorke, kaplan_yorke_error: the dimension, with the jackknife's error over trajectories."""

    exponents: Array
    errors: Array
    total: float
    kaplan_yorke: float
    kaplan_yorke_error: float


def summary(found: Array) -> Spectrum:
    """Of the averages (trajectories, exponents) of independent trajectories, at least two."""
    n, mean = len(found), found.mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    left_out = np.array([kaplan_yorke(((mean * n - one) / (n - 1)).tolist()) for one in found])
    return Spectrum(
        exponents=mean[order],
        errors=(found.std(axis=0, ddof=1) / math.sqrt(n))[order],
        total=float(mean.sum()),
        kaplan_yorke=kaplan_yorke(mean.tolist()),
        kaplan_yorke_error=float(math.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum())),
    )


def exponents(
    equation: VectorField,
    starts: Array,
    time: float,
    rng: np.random.Generator,
    step: float = STEP,
    count: int | None = None,
) -> Array:
    """The `count` largest Lyapunov exponents (all by default) over `time` from each start (n, dimension), in the order
    of the frame, which is largest first but for exponents that are equal: (n, count).

    A tenth of the time more goes by unrecorded first. step: of the method. Raises `Diverged` where a number is lost.
    """
    n, d = starts.shape
    frame = np.linalg.qr(rng.standard_normal((n, d, count or d)))[0]
    run = advance(equation, step)
    steps = max(10, round(time / step))
    state, frame, _ = run(starts, frame, round(ALIGNMENT * steps))
    logs = run(state, frame, steps)[2]
    if not np.isfinite(logs).all():
        raise Diverged(f"the tangent vectors of {equation.name} are not finite with the step {step:g}")
    return logs / (steps * step)


@lru_cache(maxsize=16)
def reference(name: str, count: int, times: float) -> Spectrum:
    """The spectrum of a system's flow over `count` trajectories of so many Lyapunov times each."""
    chaotic = system(name)
    rng = stream(0, f"chaos/{name}/lyapunov")
    starts = on_attractor(chaotic, count, rng)
    step = chaotic.dt / chaotic.substeps
    return summary(exponents(chaotic.equation, starts, times * chaotic.lyapunov_time, rng, step, chaotic.leading))


def exact_sum(equation: VectorField) -> float | None:
    """The sum of all exponents where the trace of the Jacobian is constant, which it then is; None where it is not."""
    if isinstance(equation, MatrixEquation):
        return None if np.diag(equation.mixing).any() else float(np.trace(equation.linear))
    if not isinstance(equation, Equation):
        return None
    return _constant_trace(equation)


@lru_cache(maxsize=32)
def _constant_trace(equation: Equation) -> float | None:
    trace = sum(sympy.diff(e, s) for e, s in zip(equation.rhs, equation.state, strict=True))
    trace = sympy.simplify(sympy.sympify(trace))
    if trace.free_symbols - set(equation.parameters):
        return None
    return float(trace.xreplace({symbol: sympy.Float(value, 17) for symbol, value in equation.parameters.items()}))


def moments(chaotic: System, starts: Array, time: float, axes: tuple[int, ...] = (0, 1)) -> tuple[Array, Array, Array]:
    """Mean, standard deviation, and root mean square of the standardised increments over dt.

    Averages run over time and trajectories; with axes (0, 1, 2) over the components too, for a system in which all are
    alike.
    """
    series = trajectories(chaotic.equation, starts, np.arange(0.0, time, chaotic.dt), MOMENTS_TOLERANCE)
    sigma = series.std(axis=axes)
    return series.mean(axis=axes), sigma, np.sqrt(np.mean(np.diff(series, axis=0) ** 2, axis=axes)) / sigma


def main(arguments: list[str] | None = None) -> None:
    """Print exponents with standard errors, their sum, the dimension, and the moments."""
    parser = argparse.ArgumentParser(
        prog="python -m odernn.tasks.chaos.lyapunov", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(SYSTEMS)}, or dysts:NAME")
    parser.add_argument("--trajectories", type=int, default=32, help="independent trajectories (default 32)")
    parser.add_argument("--time", type=float, default=None, help="length of each (default 500 Lyapunov times)")
    options = parser.parse_args(arguments)
    chaotic = system(options.name)
    time = options.time or 500.0 * chaotic.lyapunov_time
    found = reference(options.name, options.trajectories, time / chaotic.lyapunov_time)
    for index, (value, error) in enumerate(zip(found.exponents, found.errors, strict=True), start=1):
        print(f"exponent {index}: {value:.5f} +- {error:.5f}")
    complete = len(found.exponents) == chaotic.dimension
    print(f"sum: {found.total:.5f}" if complete else f"sum of these: {found.total:.5f}")
    print(f"Kaplan-Yorke dimension: {found.kaplan_yorke:.4f} +- {found.kaplan_yorke_error:.4f}")
    starts = on_attractor(chaotic, options.trajectories, stream(0, f"chaos/{options.name}/moments"))
    samples = MOMENTS_SAMPLES // starts.size
    for title, axes in (("by component", (0, 1)), ("over all components", (0, 1, 2))):
        moment = moments(chaotic, starts, min(time, samples * chaotic.dt), axes)
        for label, values in zip(("mean", "sigma", "increment"), moment, strict=True):
            print(f"{label} {title}: {np.array2string(np.asarray(values), precision=5, separator=', ')}")


# --------------------------------------------------------------------------------------------------- the stepped map


def map_exponents(
    solver: Solver, chaotic: System, starts: Array, intervals: tuple[int, int], frame: Array, interval: float
) -> tuple[Array, int]:
    """Exponents (n, count) of the map that the solver steps over `interval`, and evaluations of the variational field.

    intervals: how many align the frame (n, d, count) and how many are recorded. Raises `Diverged`.
    """
    n, d, k = frame.shape
    field = Variational(chaotic.equation, k)
    state, logs, calls = starts, np.zeros((n, k)), 0
    for i in range(sum(intervals)):
        both = np.concatenate([state, frame.reshape(n, d * k)], axis=1)
        found = solver.solve(field, both, np.array([0.0, interval]))
        calls += found.f_calls
        state, frame = found.y[-1, :, :d], found.y[-1, :, d:].reshape(n, d, k)
        frame, factors = np.linalg.qr(frame)
        if i >= intervals[0]:
            with np.errstate(divide="ignore"):  # a direction can be lost, its exponent is minus infinity
                logs += np.log(np.abs(np.diagonal(factors, axis1=1, axis2=2)))
    return logs / (intervals[1] * interval), calls


@dataclass(frozen=True)
class Lyapunov(Audit):
    """The Lyapunov exponents of the map that an integrator steps, beside those of the flow and the published ones.

    system: a name of `SYSTEMS`; trajectories, time: how many, and for how many Lyapunov times each is recorded, after
    a tenth of that for alignment. The solver is asked for intervals of the system's dt, between which the frame is made
    orthonormal again: `steps` is per dt. `time` 0 leaves the map out and states the flow alone, for which any solver
    will do. flow_time: Lyapunov times of each trajectory for the flow. Raises `UsageError` for an unknown system, a
    count below 2, or a solver that learns; `Diverged` where the map leaves the finite numbers.
    """

    system: str = "lorenz63"
    trajectories: int = 16
    time: float = 50.0
    flow_time: float = 100.0

    name: ClassVar[str] = "lyapunov"
    primary_metric: ClassVar[str] = "lyapunov_max"

    def __post_init__(self) -> None:
        _ = self.chaotic
        if self.trajectories < 2:
            raise UsageError(
                f"lyapunov needs trajectories of at least 2, for a standard error, got {self.trajectories}."
            )
        if not 0.0 <= self.time < math.inf:
            raise UsageError(f"lyapunov needs a time of at least 0, got {self.time:g}.")
        if not 0.0 < self.flow_time < math.inf:
            raise UsageError(f"lyapunov needs a flow_time above 0, got {self.flow_time:g}.")

    @property
    def chaotic(self) -> System:
        return system(self.system)

    def evaluate(self, solver: Solver, seed: int, budget: Budget) -> Outcome:
        """metrics: of the stepped map (of the flow where `time` is 0), and with a prefix flow_ of the flow; curves:
        lyapunov, all exponents with errors; cost: f_calls, of the variational equation. The budget is unused."""
        if solver.learns:
            raise UsageError("lyapunov asks for a true-field solver, got a cell that learns.")
        chaotic = self.chaotic
        flow = reference(self.system, self.trajectories, self.flow_time)
        stepped, calls = (flow, 0) if self.time == 0.0 else self._stepped(solver, seed)
        metrics = {
            "lyapunov_max": float(stepped.exponents[0]),
            "lyapunov_max_error": float(stepped.errors[0]),
            "kaplan_yorke": stepped.kaplan_yorke,
            "kaplan_yorke_error": stepped.kaplan_yorke_error,
            "flow_lyapunov_max": float(flow.exponents[0]),
            "flow_lyapunov_max_error": float(flow.errors[0]),
            "flow_kaplan_yorke": flow.kaplan_yorke,
            "flow_kaplan_yorke_error": flow.kaplan_yorke_error,
        }
        if len(stepped.exponents) == chaotic.dimension:  # a sum of some says nothing
            metrics["lyapunov_sum"] = stepped.total
            exact = exact_sum(chaotic.equation)
            if exact is not None:
                metrics["lyapunov_sum_exact"] = exact
        both = {"lyapunov": stepped, "flow": flow}
        return Outcome(
            metrics=metrics,
            curves={k: {"exponents": s.exponents.tolist(), "errors": s.errors.tolist()} for k, s in both.items()},
            cost={"f_calls": calls},
            properties={
                "primary_metric": self.primary_metric,
                "published": _published(chaotic),
                "stated": {"exponent": chaotic.exponent, "exponent_error": chaotic.exponent_error},
                "of": "flow" if self.time == 0.0 else "stepped map",
            },
        )

    def _stepped(self, solver: Solver, seed: int) -> tuple[Spectrum, int]:
        chaotic = self.chaotic
        rng = stream(seed, f"chaos/{self.system}/stepped")
        starts = on_attractor(chaotic, self.trajectories, rng)
        d = chaotic.dimension
        frame = np.linalg.qr(rng.standard_normal((self.trajectories, d, chaotic.leading or d)))[0]
        recorded = max(10, round(self.time * chaotic.lyapunov_time / chaotic.dt))
        intervals = (round(ALIGNMENT * recorded), recorded)
        found, calls = map_exponents(solver, chaotic, starts, intervals, frame, chaotic.dt)
        return summary(found), calls


def _published(chaotic: System) -> dict[str, Any]:
    p = chaotic.published
    numbers = {
        "exponent": p.exponent,
        "exponent_error": p.exponent_error,
        "dimension": p.dimension,
        "dimension_error": p.dimension_error,
    }
    return {key: value for key, value in numbers.items() if value is not None} | {"source": p.source}


TASK = Lyapunov

if __name__ == "__main__":
    main()
