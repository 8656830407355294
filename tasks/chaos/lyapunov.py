"""Measure what `systems` states of an attractor: `python -m odernn.tasks.chaos.lyapunov NAME`.

Lyapunov exponents by the method of Benettin et al. 1980, Meccanica 15:9, as in Wolf et al. 1985, Physica D 16:285: the
state and a frame of tangent vectors are integrated together (SciPy's DOP853), the frame is made orthonormal again by a
QR factorisation at regular intervals, and the logarithms of the stretching factors are averaged. Several independent
trajectories run together; the spread of their averages gives the standard error.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from ...suite.contracts import Array
from ...suite.equation import Equation
from ...suite.seeds import stream
from .systems import SYSTEMS, System, system
from .truth import on_attractor, trajectories

INTERVAL = 0.5
"""Time between two factorisations, short enough that the contracting directions stay resolved."""

TOLERANCE = 1e-9


def exponents(equation: Equation, starts: Array, time: float, rng: np.random.Generator) -> Array:
    """All Lyapunov exponents over `time` from each start (n, dimension), largest first: (n, dimension).

    A first tenth of the time goes by unrecorded, for the frame to align itself.
    """
    n, d = starts.shape
    f, jacobian = equation.function(), equation.jacobian()

    def flow(t: float, flat: Any) -> Any:
        both = flat.reshape(n, d, d + 1)
        state = np.ascontiguousarray(both[:, :, 0])
        return np.concatenate([f(t, state)[:, :, None], jacobian(t, state) @ both[:, :, 1:]], axis=2).ravel()

    state, frame = starts, np.linalg.qr(rng.standard_normal((n, d, d)))[0]
    intervals = max(10, round(time / INTERVAL))
    total, counted = np.zeros((n, d)), 0
    for i in range(intervals + intervals // 10):
        y0 = np.concatenate([state[:, :, None], frame], axis=2).ravel()
        found = solve_ivp(flow, (0.0, INTERVAL), y0, method="DOP853", rtol=TOLERANCE, atol=TOLERANCE)
        both = found.y[:, -1].reshape(n, d, d + 1)
        state = both[:, :, 0]
        frame, stretched = np.linalg.qr(both[:, :, 1:])
        if i >= intervals // 10:
            total += np.log(np.abs(np.diagonal(stretched, axis1=1, axis2=2)))
            counted += 1
    return total / (counted * INTERVAL)


def moments(chaotic: System, starts: Array, time: float, axes: tuple[int, ...] = (0, 1)) -> tuple[Array, Array, Array]:
    """Mean, standard deviation, and root mean square of the standardised increments over dt.

    Averages run over time and trajectories; with axes (0, 1, 2) over the components too, for a system in which all are
    alike.
    """
    series = trajectories(chaotic.equation, starts, np.arange(0.0, time, chaotic.dt), TOLERANCE)
    sigma = series.std(axis=axes)
    return series.mean(axis=axes), sigma, np.sqrt(np.mean(np.diff(series, axis=0) ** 2, axis=axes)) / sigma


def main(arguments: list[str] | None = None) -> None:
    """Print exponents with standard errors, their sum, and the moments."""
    parser = argparse.ArgumentParser(prog="python -m odernn.tasks.chaos.lyapunov", description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=sorted(SYSTEMS))
    parser.add_argument("--trajectories", type=int, default=32, help="independent trajectories (default 32)")
    parser.add_argument("--time", type=float, default=None, help="length of each (default 500 Lyapunov times)")
    options = parser.parse_args(arguments)
    chaotic = system(options.name)
    time = options.time or 500.0 * chaotic.lyapunov_time
    rng = stream(0, f"chaos/{options.name}/lyapunov")
    starts = on_attractor(chaotic, options.trajectories, rng)
    found = exponents(chaotic.equation, starts, time, rng)
    for index, (value, error) in enumerate(zip(found.mean(axis=0), _standard_error(found), strict=True), start=1):
        print(f"exponent {index}: {value:.5f} +- {error:.5f}")
    print(f"sum: {found.sum(axis=1).mean():.5f}")
    for title, axes in (("by component", (0, 1)), ("over all components", (0, 1, 2))):
        for label, values in zip(("mean", "sigma", "increment"), moments(chaotic, starts, time, axes), strict=True):
            print(f"{label} {title}: {np.array2string(values, precision=5)}")


def _standard_error(found: Array) -> Array:
    return np.asarray(found.std(axis=0, ddof=1) / np.sqrt(len(found)))


if __name__ == "__main__":
    main()
