"""Systems as data: their equations and conserved quantities against closed forms, their truth against integrators that
are written here or share no code with it."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from odernn.suite.errors import UsageError
from odernn.tasks.chaos import stiff, taylor, truth
from odernn.tasks.chaos.spatial import PERIOD, POINTS, chebyshev, kuramoto_sivashinsky, mackey_glass, without_mean
from odernn.tasks.chaos.systems import SYSTEMS, system

WIDE = pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="no extended precision on this machine")


def pendulum_energy(y):
    s1, c1, s2, c2, p1, p2 = y.T
    difference = np.arctan2(s1, c1) - np.arctan2(s2, c2)
    kinetic = (p1**2 + 2 * p2**2 - 2 * p1 * p2 * np.cos(difference)) / (2 * (1 + np.sin(difference) ** 2))
    return kinetic - 2 * c1 - c2


def oscillator_energy(y):
    x, z, px, pz = y.T
    return (px**2 + pz**2 + x**2 + z**2) / 2 + x**2 * z - z**3 / 3


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_every_vector_fits_its_equation(name):
    chaotic = SYSTEMS[name]
    d = chaotic.dimension
    assert len(chaotic.start) == len(chaotic.mean) == len(chaotic.sigma) == len(chaotic.increment) == d
    assert len(chaotic.exponents) == len(chaotic.exponent_errors) == (chaotic.leading or d)
    assert all(a >= b for a, b in zip(chaotic.exponents, chaotic.exponents[1:], strict=False))
    assert chaotic.exponent > 5 * chaotic.exponent_error > 0
    assert set(chaotic.observed) <= set(range(d))
    assert chaotic.source
    assert chaotic.published.source


def test_an_unknown_system_is_refused():
    with pytest.raises(UsageError, match="did you mean 'henon-heiles'"):
        system("henon-heile")


@pytest.mark.parametrize(
    ("name", "energy", "level"), [("henon-heiles", oscillator_energy, 0.125), ("double-pendulum", pendulum_energy, 0.0)]
)
def test_hamiltonian_systems_stay_on_one_energy(name, energy, level):
    chaotic = SYSTEMS[name]
    y0 = chaotic.on_invariants(
        np.array(chaotic.start) + 0.05 * np.random.default_rng(0).standard_normal((4, chaotic.dimension))
    )
    assert energy(y0) == pytest.approx(np.full(4, level), abs=1e-13)
    path = truth.trajectories(chaotic.equation, y0, np.linspace(0, 5 * chaotic.lyapunov_time, 4))
    assert np.array([energy(y) for y in path]) == pytest.approx(np.full((4, 4), level), abs=1e-11)
    if name == "double-pendulum":
        assert (path[..., 0:4:2] ** 2 + path[..., 1:4:2] ** 2) == pytest.approx(np.ones((4, 4, 2)), abs=1e-11)


def test_the_double_pendulum_obeys_the_equations_of_lagrange():
    """Accelerations of two equal bobs from the textbook's linear system, against those of the momenta."""
    f = SYSTEMS["double-pendulum"].equation.function()
    a1, a2, w1, w2 = 0.7, -1.9, 1.3, -0.4
    d = a1 - a2
    mass = np.array([[2.0, np.cos(d)], [np.cos(d), 1.0]])
    force = np.array([-(w2**2) * np.sin(d) - 2 * np.sin(a1), w1**2 * np.sin(d) - np.sin(a2)])
    acceleration = np.linalg.solve(mass, force)
    momenta = mass @ [w1, w2]
    y = np.array([np.sin(a1), np.cos(a1), np.sin(a2), np.cos(a2), *momenta])
    slope = f(0.0, y)
    assert slope[:4] == pytest.approx(np.array([w1 * np.cos(a1), -w1 * np.sin(a1), w2 * np.cos(a2), -w2 * np.sin(a2)]))
    turning = np.array([[0.0, -np.sin(d)], [-np.sin(d), 0.0]]) * (w1 - w2)
    assert slope[4:] == pytest.approx(mass @ acceleration + turning @ [w1, w2])


def test_chebyshev_differentiates_polynomials():
    x, matrix = chebyshev(8)
    assert matrix @ (x**7 - 3 * x**2) == pytest.approx(7 * x**6 - 6 * x, abs=1e-12)


def test_mackey_glass_against_the_method_of_steps():
    """The classical Runge-Kutta method with step tau / 2000, whose delayed values are on its own grid and between it
    by cubic Hermite interpolation of what is already known."""
    tau, parts, spans = 17.0, 2000, 4
    h = tau / parts

    def history(t):
        return 0.9 + 0.2 * np.cos(2 * np.pi * t / tau) ** 3

    x = np.concatenate([history(h * np.arange(-parts, 1)), np.zeros(spans * parts)])
    slopes = np.empty_like(x)
    slopes[: parts + 1] = np.gradient(x[: parts + 1], h, edge_order=2)
    for i in range(parts, len(x) - 1):
        j = i - parts
        middle = (
            history(h * (j + 0.5 - parts)) if j < parts else (x[j] + x[j + 1]) / 2 + h / 8 * (slopes[j] - slopes[j + 1])
        )

        def f(now, delayed):
            return 0.2 * delayed / (1 + delayed**10) - 0.1 * now

        k1 = f(x[i], x[j])
        slopes[i] = k1
        k2 = f(x[i] + h / 2 * k1, middle)
        k3 = f(x[i] + h / 2 * k2, middle)
        k4 = f(x[i] + h * k3, x[j + 1])
        x[i + 1] = x[i] + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    equation = mackey_glass()
    nodes = chebyshev(equation.dimension - 1)[0]
    y0 = history(tau * (nodes - 1) / 2)
    times = tau * np.arange(spans + 1)
    found = truth.trajectories(equation, y0[None], times)[:, 0, 0]
    assert found == pytest.approx(x[parts::parts], abs=1e-4)  # 32 nodes smooth the kink at the history's end


def test_kuramoto_sivashinsky_is_the_equation():
    x = PERIOD / POINTS * np.arange(POINTS)
    k = 2 * np.pi / PERIOD
    u, slope = np.sin(k * x) + 0.5 * np.cos(3 * k * x), k * np.cos(k * x) - 1.5 * k * np.sin(3 * k * x)
    second = -(k**2) * np.sin(k * x) - 4.5 * k**2 * np.cos(3 * k * x)
    fourth = k**4 * np.sin(k * x) + 40.5 * k**4 * np.cos(3 * k * x)
    found = kuramoto_sivashinsky().function()(0.0, u)
    assert found == pytest.approx(-u * slope - second - fourth, abs=1e-10)


def test_kuramoto_sivashinsky_against_a_spectral_integrator():
    """SciPy's Radau method in Fourier space, with a diagonal linear part and the product formed on the grid."""
    points, steps = POINTS, 20
    k = 2 * np.pi / PERIOD * np.arange(points // 2 + 1)
    odd = np.where(np.arange(points // 2 + 1) == points // 2, 0.0, k)

    def split(v):
        return v[: points // 2 + 1] + 1j * v[points // 2 + 1 :]

    def f(t, v):
        modes = split(v)
        square = np.fft.rfft(np.fft.irfft(modes, points) ** 2)
        slope = (k**2 - k**4) * modes - 0.5j * odd * square
        return np.concatenate([slope.real, slope.imag])

    u0 = without_mean(0.8 * np.random.default_rng(0).standard_normal((1, points)))
    smooth = np.fft.rfft(u0[0]) * np.exp(-(k**2))
    start = np.fft.irfft(smooth, points)
    times = 0.25 * np.arange(steps + 1)
    other = solve_ivp(
        f,
        (0, times[-1]),
        np.concatenate([smooth.real, smooth.imag]),
        method="Radau",
        t_eval=times,
        rtol=1e-9,
        atol=1e-10,
    )
    expected = np.array([np.fft.irfft(split(v), points) for v in other.y.T])
    found = truth.trajectories(kuramoto_sivashinsky(), start[None], times)[:, 0]
    assert found == pytest.approx(expected, abs=1e-6)
    assert found.mean(axis=1) == pytest.approx(0.0, abs=1e-12)


def test_collocation_and_exponential_differencing_agree():
    equation = kuramoto_sivashinsky()
    y0 = truth.on_attractor(SYSTEMS["kuramoto-sivashinsky"], 1, np.random.default_rng(0))
    one = stiff.collocation(equation, y0, 0.125, 40, 40)[-1]
    other = stiff.differencing(equation, y0, 0.005, 1000, 1000)[-1]
    assert one == pytest.approx(other, abs=1e-7)
    with_parts = stiff.collocated(equation, y0, np.array([0.0, 0.1, 0.3, 5.0]))
    assert with_parts[-1] == pytest.approx(one, abs=1e-9)


def test_radau_is_of_order_nine():
    c, A = stiff.radau()
    for k in range(1, 10):  # quadrature conditions of the weights, which are A's last row
        assert A[-1] @ c ** (k - 1) == pytest.approx(1 / k, abs=1e-14)
    for k in range(1, 6):  # and of every stage
        assert A @ c ** (k - 1) == pytest.approx(c**k / k, abs=1e-14)


@WIDE
@pytest.mark.parametrize("name", ["lorenz63", "lorenz96-5", "henon-heiles", "double-pendulum", "mackey-glass"])
def test_the_truth_follows_a_taylor_series(name):
    chaotic = SYSTEMS[name]
    y0 = chaotic.on_invariants(
        np.array(chaotic.start) + 0.01 * np.random.default_rng(0).standard_normal((2, chaotic.dimension))
    )
    times = chaotic.dt * np.arange(1 + round(0.5 * chaotic.lyapunov_time / chaotic.dt))
    found, expected = truth.trajectories(chaotic.equation, y0, times), taylor.solution(chaotic.equation, y0, times)
    assert expected.dtype == np.longdouble
    assert found == pytest.approx(expected.astype(float), abs=5e-9)


@WIDE
def test_the_taylor_series_is_exact_to_extended_precision():
    """Energy is a function of the solution that nothing in the series knows of."""
    chaotic = SYSTEMS["henon-heiles"]
    y0 = chaotic.on_invariants(np.array([chaotic.start]))
    end = taylor.solution(chaotic.equation, y0, np.array([0.0, 10.0]))[:, 0]
    assert abs(oscillator_energy(end)[1] - oscillator_energy(end)[0]) < 1e-17


def test_starts_of_hamiltonian_systems_are_on_the_energy_and_apart():
    y = truth.on_attractor(SYSTEMS["double-pendulum"], 6, np.random.default_rng(0))
    assert pendulum_energy(y) == pytest.approx(0.0, abs=1e-12)
    apart = np.linalg.norm(y[:, None] - y, axis=-1)[~np.eye(6, dtype=bool)]
    assert apart.min() > 0.05
