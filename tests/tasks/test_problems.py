"""The reference values: against SciPy, closed forms, first integrals and published numbers."""

import math
from itertools import product
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from odernn.suite.contracts import Array, InitialValueProblem
from odernn.suite.equation import TIME, Equation, symbols
from odernn.suite.errors import UsageError
from odernn.tasks.collocation import collocation, radau
from odernn.tasks.problems import PROBLEMS
from odernn.tasks.references import main, taylor
from odernn.tasks.stiff_problems import AGREEMENT
from odernn.tasks.stiff_problems import PUBLISHED as PUBLISHED_STIFF

CHEAP = ["driven", "rigid-body", "brusselator", *(f"detest-{x}" for x in ("a1", "a2", "a4", "b2", "b3", "e4", "e5"))]
NONSTIFF = sorted(name for name, problem in PROBLEMS.items() if not problem.stiff)

EXPECTED = {
    "lotka-volterra",
    "lorenz",
    "arenstorf",
    "pleiades",
    "brusselator",
    "van-der-pol",
    "fitzhugh-nagumo",
    "rigid-body",
    "kepler",
    "driven",
    "henon-heiles",
    *(f"detest-a{i}" for i in (1, 2, 3, 4, 5)),
    *(f"detest-b{i}" for i in (2, 3, 4)),
    *(f"detest-c{i}" for i in (1, 2, 3, 4)),
    *("detest-d1", "detest-d5", "detest-e1", "detest-e3", "detest-e4", "detest-e5"),
    *("robertson", "hires", "orego", "van-der-pol-stiff", "pollution"),
}


def difference(name: str, values: Any) -> float:
    """Largest difference from the reference, relative to its largest component."""
    reference = np.array(PROBLEMS[name].reference)
    return float(np.abs(np.array(values, dtype=float) - reference).max() / np.abs(reference).max())


def test_the_catalogue() -> None:
    assert set(PROBLEMS) == EXPECTED
    with pytest.raises(TypeError):
        PROBLEMS["new"] = PROBLEMS["kepler"]  # type: ignore[index]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_data_are_complete(name: str) -> None:
    problem = PROBLEMS[name]
    assert problem.equation.name == name
    assert len(problem.y0) == len(problem.reference) == problem.equation.dimension
    assert problem.t0 < problem.t1
    assert problem.source
    assert problem.how
    assert np.isfinite(problem.equation.function()(problem.t0, np.array(problem.y0))).all()


# SciPy's own rounding errors grow with the problem: arenstorf starts 0.006 from the moon, lorenz is chaotic.
REACH = {"arenstorf": 1e-9, "lorenz": 1e-11, "pleiades": 1e-11, "henon-heiles": 1e-11, "detest-d5": 1e-11}


@pytest.mark.parametrize("name", NONSTIFF)
def test_scipy_comes_to_the_reference(name: str) -> None:
    problem = PROBLEMS[name]
    atol = 1e-15 * min(1.0, max(abs(value) for value in problem.reference))
    out = solve_ivp(
        problem.equation.function(), (problem.t0, problem.t1), problem.y0, method="DOP853", rtol=2.3e-14, atol=atol
    )
    assert out.success
    assert difference(name, out.y[:, -1]) < REACH.get(name, 2e-12)


@pytest.mark.parametrize("name", ["brusselator", "driven", "fitzhugh-nagumo", "rigid-body"])
def test_an_implicit_scipy_method_with_our_jacobian_comes_to_the_reference(name: str) -> None:
    problem = PROBLEMS[name]
    out = solve_ivp(
        problem.equation.function(),
        (problem.t0, problem.t1),
        problem.y0,
        method="Radau",
        jac=problem.equation.jacobian(),
        rtol=1e-10,
        atol=1e-12,
    )
    assert out.success
    assert difference(name, out.y[:, -1]) < 1e-7


# Published values at t1. DETEST problems: Enright & Pryce, "Two FORTRAN packages for assessing initial value methods",
# ACM Trans. Math. Softw. 13 (1987) 1-27 (computed in double precision: good to about 1e-14).
# pleiades: Mazzia & Magherini, Test Set for Initial Value Problem Solvers 2.4 (2008), positions and velocities.
PUBLISHED = {
    "lotka-volterra": ((6.761876008576667e-01, 1.860816099640036e-01), 2e-14),
    "kepler": ((-5.780432953035361e-01, 8.633840009194193e-01, -9.595083730380727e-01, -6.504915126712089e-02), 1e-13),
    "van-der-pol": ((2.008149762174948, -4.250887527320057e-02), 1e-14),
    "detest-a5": ((-0.7887826688964196,), 3e-14),
    "detest-b2": ((1.000000001030576, 1.0, 0.9999999989694235), 1e-15),
    "detest-b3": ((2.061153488557776e-09, 5.257228022048349e-02, 9.474277177183630e-01), 3e-15),
    "detest-b4": ((0.9826950928005993, 2.198447081694832, 0.9129452507276399), 1e-13),
    "detest-c3": (
        (
            *(2.948119211022058e-03, 5.635380154844266e-03, 7.829072515926013e-03, 9.348257908594937e-03),
            *(1.007943610301970e-02, 9.982674171429909e-03, 9.088693332766085e-03, 7.489115195185912e-03),
            *(5.322964130953349e-03, 2.762434379029886e-03),
        ),
        3e-13,
    ),
    "detest-d1": ((2.198835352008397e-01, 9.427076846341813e-01, -9.787659841058176e-01, 3.287977990962036e-01), 2e-14),
    "detest-d5": ((-1.295266250987574, 4.003938963792321e-01, -6.775390924707566e-01, -1.270838154278686e-01), 2e-13),
    "detest-e1": ((1.456723600728308e-01, -9.883500195574063e-02), 1e-13),
    "detest-e3": ((-1.004178858647128e-01, 2.411400132095954e-01), 1e-13),
    "detest-e4": ((3.395091444646555e01, 2.767822659672869e-01), 1e-15),
    "detest-e5": ((1.411797390542629e01, 2.400000000000002), 5e-15),
    "rigid-body": ((-9.396570798729192e-01, -3.421177754000779e-01, 7.414126596199957e-01), 5e-15),
    "pleiades": (
        (
            *(0.3706139143970502, 0.3237284092057233e1, -0.3222559032418324e1, 0.6597091455775310),
            *(0.3425581707156584, 0.1562172101400631e1, -0.7003092922212495, -0.3943437585517392e1),
            *(-0.3271380973972550e1, 0.5225081843456543e1, -0.2590612434977470e1, 0.1198213693392275e1),
            *(-0.2429682344935824, 0.1091449240428980e1, 0.3417003806314313e1, 0.1354584501625501e1),
            *(-0.2590065597810775e1, 0.2025053734714242e1, -0.1155815100160448e1, -0.8072988170223021),
            *(0.5952396354208710, -0.3741244961234010e1, 0.3773459685750630, 0.9386858869551073),
            *(0.3667922227200571, -0.3474046353808490, 0.2344915448180937e1, -0.1947020434263292e1),
        ),
        1e-15,
    ),
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_values(name: str) -> None:
    values, tolerance = PUBLISHED[name]
    assert difference(name, values) < tolerance


def closed_forms() -> dict[str, list[Any]]:
    """Solutions at t = 20 in formulas, in 40 digits."""
    with mpmath.workdps(40):
        e, t = mpmath.exp, mpmath.mpf(20)
        besselj, s = mpmath.besselj, mpmath.mpf(21)
        a2 = 1 / mpmath.sqrt(21)
        chain = [e(-t) * t**k / mpmath.factorial(k) for k in range(9)]
        # Bateman's formula for the rates 1..9: y_i = exp(-t) (1 - exp(-t))^(i-1)
        faster = [e(-t) * (1 - e(-t)) ** k for k in range(9)]
        speed = mpmath.sqrt(mpmath.mpf(0.032) / 0.4)
        # v = c tanh(a t), a = sqrt(g k); y = 30 + log cosh(a t) / k
        rate = mpmath.sqrt(mpmath.mpf(0.032) * mpmath.mpf(0.4))
        half = mpmath.mpf(1) / 2
        return {
            "detest-a1": [e(-t)],
            "detest-a2": [a2],
            "detest-a3": [e(mpmath.sin(t))],
            "detest-a4": [20 / (1 + 19 * e(-t / 4))],
            "detest-b2": [1 + e(-t) / 2 + e(-3 * t) / 2, 1 - e(-3 * t), 1 - e(-t) / 2 + e(-3 * t) / 2],
            "detest-c1": [*chain, 1 - sum(chain)],
            "detest-c2": [*faster, 1 - sum(faster)],
            "detest-e1": [besselj(half, s), besselj(half, s, derivative=1)],
            "detest-e4": [30 + mpmath.log(mpmath.cosh(rate * t)) / mpmath.mpf(0.4), speed * mpmath.tanh(rate * t)],
            # v = sinh(log(25 / (25 - t)))
            "detest-e5": [None, (5 - mpmath.mpf(1) / 5) / 2],
        }


@pytest.mark.parametrize("name", sorted(closed_forms()))
def test_closed_forms(name: str) -> None:
    for value, truth in zip(PROBLEMS[name].reference, closed_forms()[name], strict=True):
        if truth is not None:
            assert value == pytest.approx(float(truth), rel=2e-15)


@pytest.mark.parametrize("name", ["detest-c3", "detest-c4"])
def test_linear_chains_are_the_matrix_exponential(name: str) -> None:
    """By the eigenvectors of the second difference: sines."""
    n = PROBLEMS[name].equation.dimension
    j = np.arange(1, n + 1)
    vectors = np.sqrt(2 / (n + 1)) * np.sin(np.outer(j, j) * np.pi / (n + 1))
    decay = np.exp(-20 * (2 - 2 * np.cos(j * np.pi / (n + 1))))
    assert difference(name, vectors @ (decay * vectors[0])) < 1e-12


def test_the_pursuit_from_a_quadrature() -> None:
    with mpmath.workdps(30):
        end = mpmath.quad(lambda t: (25 / (25 - t) - (25 - t) / 25) / 2, [0, 20])
    assert PROBLEMS["detest-e5"].reference[0] == pytest.approx(float(end), rel=1e-15)


STIFF = sorted(name for name, problem in PROBLEMS.items() if problem.stiff)


@pytest.mark.parametrize("name", STIFF)
def test_stiff_references_agree_with_the_published_values(name: str) -> None:
    """As nearly as the data say, in every component; and not more nearly by chance of a loose number."""
    ours, published = np.array(PROBLEMS[name].reference), np.array(PUBLISHED_STIFF[name])
    worst = (np.abs(ours - published) / np.abs(published)).max()
    assert worst < AGREEMENT[name] < 1e-12
    assert AGREEMENT[name] < 1.5 * worst


# SciPy at tight tolerance: Radau, in each component; LSODA where Radau's first step fails.
TIGHT = {"robertson": ("Radau", 1e-20), "hires": ("Radau", 1e-20), "van-der-pol-stiff": ("Radau", 1e-16)}


@pytest.mark.parametrize("name", STIFF)
def test_scipy_comes_to_the_stiff_references(name: str) -> None:
    problem = PROBLEMS[name]
    method, atol = TIGHT.get(name, ("LSODA", 1e-17))
    out = solve_ivp(
        problem.equation.function(),
        (problem.t0, problem.t1),
        problem.y0,
        method=method,
        jac=problem.equation.jacobian(),
        rtol=1e-9 if method == "Radau" else 1e-13,
        atol=atol,
    )
    assert out.success
    reference = np.array(problem.reference)
    assert (np.abs(out.y[:, -1] - reference) / np.abs(reference)).max() < 2e-10


def test_stiff_invariants() -> None:
    """Robertson conserves mass; of HIRES the bound phytochrome and its partner; the pollution problem nitrogen."""
    assert math.fsum(PROBLEMS["robertson"].reference) == pytest.approx(1.0, abs=2e-16)
    y = PROBLEMS["hires"].reference
    assert y[6] + y[7] == pytest.approx(0.0057, rel=1e-15)
    # nitrogen of NO2, NO, PAN, HNO3, NO3 and twice in N2O5: y1, y2, y13, y15, y19, y20
    atoms = np.zeros(20)
    atoms[[0, 1, 12, 14, 18]] = 1
    atoms[19] = 2
    assert atoms @ np.array(PROBLEMS["pollution"].reference) == pytest.approx(0.2, rel=1e-15)


def test_the_collocation_is_right_on_closed_forms() -> None:
    """A stiff pair whose fast component follows the square of the slow one, and a logistic curve, in 20 digits."""
    x, y = symbols("x y")
    rate, slow = symbols("a b")
    fast = Equation("pair", (x, y), (-rate * (x - y**2), -slow * y), {rate: 1e6, slow: 1.0})
    with mpmath.workdps(34):
        # y = exp(-t); x = c exp(-2t) + (1 - c) exp(-at), c = a / (a - 2)
        t, a = mpmath.mpf(3), mpmath.mpf(10) ** 6
        c = a / (a - 2)
        truth = [c * mpmath.exp(-2 * t) + (1 - c) * mpmath.exp(-a * t), mpmath.exp(-t)]
        end = collocation(fast, [1.0, 1.0], 0.0, 3.0, 10, 1e-15)
        assert max(abs(p / q - 1) for p, q in zip(end, truth, strict=True)) < mpmath.mpf(10) ** -20
        logistic = Equation("logistic", (x,), (x * (1 - x),))
        (end,) = collocation(logistic, [0.25], 0.0, 5.0, 8, 1e-13)
        assert abs(end - 1 / (1 + 3 * mpmath.exp(-5))) < mpmath.mpf(10) ** -20


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_radau_points_are_the_published_ones(stages: int) -> None:
    """Hairer & Wanner II, tables IV.5.5 and IV.5.6."""
    c, A, _ = radau(stages)
    r = math.sqrt(6)
    points = {1: [1], 2: [1 / 3, 1], 3: [(4 - r) / 10, (4 + r) / 10, 1]}[stages]
    last = {1: [1], 2: [3 / 4, 1 / 4], 3: [(16 - r) / 36, (16 + r) / 36, 1 / 9]}[stages]
    np.testing.assert_allclose([float(x) for x in c], points, rtol=1e-15)
    np.testing.assert_allclose(A[-1].astype(float), last, rtol=1e-14)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_hires_with_decimal_data_is_the_published_value() -> None:
    """The difference of 1.5e-13 from the published value is that of the binary64 data from the decimal ones."""
    problem = PROBLEMS["hires"]
    equation = problem.equation
    assert isinstance(equation, Equation)
    exact = [e.xreplace({s: sympy.Rational(repr(v)) for s, v in equation.parameters.items()}) for e in equation.rhs]
    raw = sympy.lambdify([TIME, *equation.state], exact, "mpmath", cse=True)

    class Decimal:
        name, dimension = "decimal", 8

        def function(self, library: str = "numpy") -> Any:
            return lambda t, y: np.array([mpmath.mpf(v) for v in raw(t, *y)], dtype=object)

        def jacobian(self, library: str = "numpy") -> Any:
            return equation.jacobian()

        def latex(self) -> str:
            return ""

    with mpmath.workdps(34):
        start = [mpmath.mpf(repr(value)) for value in problem.y0]
        end = collocation(Decimal(), start, 0.0, mpmath.mpf("321.8122"), 12, 1e-16)
    assert max(abs(float(p / q) - 1) for p, q in zip(end, PUBLISHED_STIFF["hires"], strict=True)) < 1e-15


def henon_heiles(y: Any) -> list[float]:
    x, z, u, v = y
    return [(u**2 + v**2 + x**2 + z**2) / 2 + x**2 * z - z**3 / 3]


def test_henon_heiles_keeps_its_energy() -> None:
    problem = PROBLEMS["henon-heiles"]
    assert henon_heiles(problem.y0)[0] == pytest.approx(0.12966667, rel=1e-7)
    np.testing.assert_allclose(henon_heiles(problem.reference), henon_heiles(problem.y0), rtol=1e-15)


def test_rigid_body_is_jacobis_elliptic_functions() -> None:
    """(sn, cn, dn)(t | m) solves y' = (y2 y3, -y1 y3, -m y1 y2), y(0) = (0, 1, 1)."""
    problem = PROBLEMS["rigid-body"]
    (m,) = problem.equation.parameters.values()
    with mpmath.workdps(40):
        values = [float(mpmath.ellipfun(kind, mpmath.mpf(problem.t1), m=mpmath.mpf(m))) for kind in ("sn", "cn", "dn")]
    assert tuple(values) == problem.reference


def test_kepler_is_the_closed_form() -> None:
    """From the pericentre q with speed v: 1/a = 2/q - v^2, e = q v^2 - 1; Kepler: E - e sin E = t / a^(3/2)."""
    problem = PROBLEMS["kepler"]
    with mpmath.workdps(40):
        q, v = mpmath.mpf(problem.y0[0]), mpmath.mpf(problem.y0[3])
        a, e = 1 / (2 / q - v**2), q * v**2 - 1
        mean = mpmath.mpf(problem.t1) / a ** mpmath.mpf("1.5")
        anomaly = mpmath.findroot(lambda x: x - e * mpmath.sin(x) - mean, float(mean))
        s, c, root = mpmath.sin(anomaly), mpmath.cos(anomaly), mpmath.sqrt(1 - e**2)
        rate = 1 / (a ** mpmath.mpf("1.5") * (1 - e * c))
        values = [a * (c - e), a * root * s, -a * s * rate, a * root * c * rate]
        assert tuple(float(value) for value in values) == problem.reference


def lotka_volterra(y: Any) -> list[float]:
    """y1 - log y1 + 2 (y2 - log y2)."""
    return [y[0] - math.log(y[0]) + 2 * (y[1] - math.log(y[1]))]


def rigid_body(y: Any) -> list[float]:
    """y1^2 + y2^2 and m y1^2 + y3^2: the energy and the angular momentum in these units."""
    return [y[0] ** 2 + y[1] ** 2, 0.51 * y[0] ** 2 + y[2] ** 2]


def kepler(y: Any) -> list[float]:
    """Energy and angular momentum."""
    return [(y[2] ** 2 + y[3] ** 2) / 2 - 1 / math.hypot(y[0], y[1]), y[0] * y[3] - y[1] * y[2]]


def arenstorf(y: Any) -> list[float]:
    """Jacobi's constant."""
    mu = 0.012277471
    earth, moon = math.hypot(y[0] + mu, y[1]), math.hypot(y[0] - (1 - mu), y[1])
    return [y[0] ** 2 + y[1] ** 2 + 2 * (1 - mu) / earth + 2 * mu / moon - y[2] ** 2 - y[3] ** 2]


def pleiades(y: Any) -> list[float]:
    """Energy, the two momenta and the angular momentum of seven bodies with masses 1..7."""
    x, z, u, v = np.reshape(y, (4, 7))
    m = np.arange(1, 8)
    potential = sum(m[i] * m[j] / math.hypot(x[i] - x[j], z[i] - z[j]) for i, j in product(range(7), repeat=2) if i < j)
    return [float(q) for q in (m @ (u**2 + v**2) / 2 - potential, m @ u, m @ v, m @ (x * v - z * u))]


@pytest.mark.parametrize("invariants", [lotka_volterra, rigid_body, kepler, arenstorf, pleiades])
def test_first_integrals_are_kept(invariants: Any) -> None:
    problem = PROBLEMS[invariants.__name__.replace("_", "-")]
    start, end = invariants(problem.y0), invariants(problem.reference)
    # Jacobi's constant is a sum of terms of size 300 with y0's 16 digits: 0.994 is 0.006 from the moon
    np.testing.assert_allclose(end, start, rtol=1e-12, atol=1e-12)


def test_arenstorf_closes_with_the_published_digits() -> None:
    """With all published digits of speed and period the orbit closes; with binary64 data it misses by 1e-11."""
    equation = PROBLEMS["arenstorf"].equation
    mu, x, y, u, v = (*symbols("mu"), *equation.state)
    exact = Equation(
        "exact", (x, y, u, v), tuple(e.xreplace({mu: sympy.Rational("0.012277471")}) for e in equation.rhs)
    )
    with mpmath.workdps(40):
        start = [mpmath.mpf(s) for s in ("0.994", "0", "0", "-2.00158510637908252240537862224")]
        end = taylor(exact, start, mpmath.mpf(0), mpmath.mpf("17.0652165601579625588917206249"), 28)
        closure = max(abs(a - b) for a, b in zip(start, end, strict=True))
    assert closure < 1e-20
    assert difference("arenstorf", PROBLEMS["arenstorf"].y0) < 2e-11


def test_the_taylor_method_on_closed_forms() -> None:
    """Every recurrence once: log, exp, sin, cos, powers, quotients; to 30 digits."""
    x, y = symbols("x y")
    t = TIME
    cases = [
        ((2 * t * x * sympy.log(y), -2 * t * y * sympy.log(x)), (1, mpmath.e)),
        ((sympy.exp(-x), 2 * sympy.sin(t) * sympy.cos(t)), (0, 0)),
        ((y**-2 / 3, sympy.Rational(1, 2)), (0, 1)),
        ((x**3 * y**4, -(y ** sympy.Rational(5, 2))), (1, 1)),
    ]
    with mpmath.workdps(40):
        one = mpmath.mpf(1)
        truths = [
            (mpmath.exp(mpmath.sin(one)), mpmath.exp(mpmath.cos(one))),
            (mpmath.log(2), mpmath.sin(one) ** 2),
            # y = 1 + t/2, x' = 1 / (3 y^2): x = (2/3) (1 - 1/y)
            (mpmath.mpf(2) / 9, mpmath.mpf(3) / 2),
            # y = s^(-2/3) with s = 1 + 3t/2, and 1 - x^-2 = 2 int y^4 = (4/5) (1 - s^(-5/3))
            (
                (1 - (1 - mpmath.mpf("2.5") ** (-5 * one / 3)) * 4 / 5) ** (-one / 2),
                mpmath.mpf("2.5") ** (-2 * one / 3),
            ),
        ]
        for (rhs, start), truth in zip(cases, truths, strict=True):
            end = taylor(Equation("closed", (x, y), rhs), [mpmath.mpf(s) for s in start], 0.0, 1.0, 30)
            assert max(abs(a - b) for a, b in zip(end, truth, strict=True)) < mpmath.mpf(10) ** -29


def test_the_taylor_method_names_what_it_cannot_do() -> None:
    x, _ = symbols("x y")
    with pytest.raises(UsageError, match="no Taylor recurrence is known for atan"):
        taylor(Equation("arc", (x,), (sympy.atan(x),)), [0.0], 0.0, 1.0, 20)


def test_cheap_references_are_recomputed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(CHEAP) == 0
    assert capsys.readouterr().out.count("as stored") == len(CHEAP)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_references_are_recomputed() -> None:
    assert main([]) == 0


def test_the_command_catches_a_wrong_reference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from odernn.tasks import references

    wrong = replace(PROBLEMS["driven"], reference=tuple(np.nextafter(PROBLEMS["driven"].reference, 9.0).tolist()))
    monkeypatch.setattr(references, "PROBLEMS", {"driven": wrong})
    assert main(["driven"]) == 1
    assert "NOT as stored" in capsys.readouterr().out
    assert main(["drivn"]) == 2
    assert "'driven'" in capsys.readouterr().err


def rooted_trees(order: int) -> list[tuple[Any, ...]]:
    """All rooted trees with that many nodes, each the sorted tuple of its subtrees."""

    def partitions(n: int, most: int) -> list[tuple[int, ...]]:
        if n == 0:
            return [()]
        return [(k, *rest) for k in range(min(n, most), 0, -1) for rest in partitions(n - k, k)]

    if order == 1:
        return [()]
    found = {
        tuple(sorted(children, key=repr))
        for parts in partitions(order - 1, order - 1)
        for children in product(*(rooted_trees(part) for part in parts))
    }
    return sorted(found, key=repr)


def elementary_differentials(problem: InitialValueProblem, order: int) -> Array:
    """Rows F(tree)(y(t)) over many t, for the trees of that order, with time as a component (HNW II.2)."""
    equation = problem.equation
    z = (TIME, *equation.state)
    f = (sympy.Integer(1), *(e.xreplace(dict(equation.parameters)) for e in equation.rhs))
    t = np.linspace(problem.t0, problem.t1, 60)
    out = solve_ivp(equation.function(), (problem.t0, problem.t1), problem.y0, t_eval=t, rtol=1e-10, atol=1e-12)
    states = np.vstack([t, out.y])
    derivatives: dict[Any, Array] = {}

    def partial(i: int, wrt: tuple[int, ...]) -> Array:
        key = (i, *sorted(wrt))
        if key not in derivatives:
            e = sympy.diff(f[i], *(z[j] for j in wrt)) if wrt else f[i]
            derivatives[key] = np.broadcast_to(sympy.lambdify(z, e, "numpy")(*states), t.shape)
        return derivatives[key]

    def differential(tree: tuple[Any, ...]) -> Array:
        children = [differential(child) for child in tree]
        total = np.zeros_like(states)
        for i, wrt in product(range(len(z)), product(range(len(z)), repeat=len(children))):
            term = partial(i, wrt)
            for j, child in zip(wrt, children, strict=True):
                term = term * child[j]
            total[i] += term
        return total

    rows = np.array([differential(tree)[1:].ravel() for tree in rooted_trees(order)])
    unit: Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize(("order", "trees"), [(1, 1), (2, 1), (3, 2), (4, 4), (5, 9), (6, 20)])
def test_the_convergence_problem_hides_no_order_condition(order: int, trees: int) -> None:
    """One order condition per tree; their errors add up with independent functions, so none can vanish or cancel."""
    rows = elementary_differentials(PROBLEMS["driven"], order)
    assert len(rows) == trees
    assert np.linalg.svd(rows, compute_uv=False).min() > 1e-4
