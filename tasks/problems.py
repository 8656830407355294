"""Classic initial value problems as data: the equation, its start, its end and the value there; all of them by name.

Those of DETEST that are not here are in `tasks/detest.py`, the stiff ones in `tasks/stiff_problems.py`.

Longer than most files because the reference values are part of the data; `tasks/references.py` recomputes them.

DETEST below is Hull, Enright, Fellen & Sedgwick, "Comparing numerical methods for ordinary differential equations",
SIAM J. Numer. Anal. 9 (1972) 603-637; HNW is Hairer, Norsett & Wanner, *Solving Ordinary Differential Equations I:
Nonstiff Problems*, 2nd ed., Springer 1993.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import sympy

from ..suite.contracts import InitialValueProblem
from ..suite.equation import TIME, Equation, symbols
from .detest import DETEST
from .stiff_problems import STIFF

HOW = (
    "Taylor method of order 43 in 48 decimal digits, every datum taken as the exact binary64 number, rounded to the "
    "nearest binary64; order 36 in 42 digits agrees to 1e-20 (python -m odernn.tasks.references)"
)


def _lotka_volterra() -> InitialValueProblem:
    x, y = symbols("x y")
    return InitialValueProblem(
        equation=Equation("lotka-volterra", (x, y), (2 * (x - x * y), -(y - x * y))),
        y0=(1.0, 3.0),
        t0=0.0,
        t1=20.0,
        reference=(0.6761876008576606, 0.18608160996400297),
        source="DETEST, problem B1 (two conflicting populations)",
        how=HOW,
    )


def _lorenz() -> InitialValueProblem:
    x, y, z = symbols("x y z")
    sigma, rho, beta = symbols("sigma rho beta")
    return InitialValueProblem(
        equation=Equation(
            "lorenz",
            (x, y, z),
            (sigma * (y - x), x * (rho - z) - y, x * y - beta * z),
            {sigma: 10.0, rho: 28.0, beta: 8 / 3},
        ),
        y0=(0.0, 1.0, 0.0),
        t0=0.0,
        t1=10.0,
        reference=(-5.91661812174325, -5.52371776957541, 24.571964902009608),
        source="E. N. Lorenz, J. Atmos. Sci. 20 (1963) 130-141, equations (25)-(27), with his start",
        how=HOW,
    )


def _arenstorf() -> InitialValueProblem:
    x, y, u, v = symbols("x y u v")
    (mu,) = symbols("mu")
    earth = ((x + mu) ** 2 + y**2) ** sympy.Rational(-3, 2)
    moon = ((x - (1 - mu)) ** 2 + y**2) ** sympy.Rational(-3, 2)
    return InitialValueProblem(
        equation=Equation(
            "arenstorf",
            (x, y, u, v),
            (
                u,
                v,
                x + 2 * v - (1 - mu) * (x + mu) * earth - mu * (x - (1 - mu)) * moon,
                y - 2 * u - (1 - mu) * y * earth - mu * y * moon,
            ),
            {mu: 0.012277471},
        ),
        y0=(0.994, 0.0, 0.0, -2.00158510637908252240537862224),
        t0=0.0,
        t1=17.0652165601579625588917206249,
        reference=(0.993999999999974, -8.855134620121083e-14, -1.4388667357318094e-11, -2.001585106383129),
        source="HNW, chapter II, equations (0.1), (0.2): Arenstorf's orbit of the restricted three-body problem",
        how=HOW,
    )


def _pleiades() -> InitialValueProblem:
    bodies = range(7)
    x, y, u, v = ([*symbols(" ".join(f"{letter}{i + 1}" for i in bodies))] for letter in "xyuv")
    masses = [i + 1 for i in bodies]

    def attraction(i: int, along: list[sympy.Symbol]) -> sympy.Expr:
        """Sum over the other bodies; each pair's distance is written in one way, so that it is computed once."""
        terms = []
        for j in bodies:
            if j != i:
                p, q = min(i, j), max(i, j)
                cube = ((x[p] - x[q]) ** 2 + (y[p] - y[q]) ** 2) ** sympy.Rational(-3, 2)
                terms.append(masses[j] * (along[j] - along[i]) * cube)
        return sympy.Add(*terms)

    return InitialValueProblem(
        equation=Equation(
            "pleiades",
            (*x, *y, *u, *v),
            (*u, *v, *(attraction(i, x) for i in bodies), *(attraction(i, y) for i in bodies)),
        ),
        y0=(
            *(3.0, 3.0, -1.0, -3.0, 2.0, -2.0, 2.0),
            *(3.0, -3.0, 2.0, 0.0, 0.0, -4.0, 4.0),
            *(0.0, 0.0, 0.0, 0.0, 0.0, 1.75, -1.5),
            *(0.0, 0.0, 0.0, -1.25, 1.0, 0.0, 0.0),
        ),
        t0=0.0,
        t1=3.0,
        reference=(
            *(0.37061391439705127, 3.237284092057233, -3.2225590324183235, 0.6597091455775308),
            *(0.342558170715658, 1.5621721014006311, -0.7003092922212495, -3.943437585517392),
            *(-3.27138097397255, 5.225081843456544, -2.5906124349774693, 1.1982136933922747),
            *(-0.24296823449358235, 1.0914492404289797, 3.4170038063143147, 1.3545845016255011),
            *(-2.5900655978107756, 2.025053734714241, -1.155815100160449, -0.8072988170223022),
            *(0.5952396354208719, -3.7412449612340084, 0.3773459685750629, 0.9386858869551079),
            *(0.36679222272005696, -0.3474046353808494, 2.344915448180937, -1.947020434263292),
        ),
        source="HNW, section II.10, PLEI; Mazzia & Magherini, Test Set for Initial Value Problem Solvers 2.4 (2008)",
        how=HOW,
    )


def _brusselator() -> InitialValueProblem:
    x, y = symbols("x y")
    a, b = symbols("a b")
    return InitialValueProblem(
        equation=Equation("brusselator", (x, y), (a + x**2 * y - (b + 1) * x, b * x - x**2 * y), {a: 1.0, b: 3.0}),
        y0=(1.5, 3.0),
        t0=0.0,
        t1=20.0,
        reference=(0.49863707126834783, 4.596780349452011),
        source="HNW, section I.16 (Lefever & Nicolis 1971); parameters, start and interval of the example in II.4",
        how=HOW,
    )


def _van_der_pol() -> InitialValueProblem:
    x, v = symbols("x v")
    (mu,) = symbols("mu")
    return InitialValueProblem(
        equation=Equation("van-der-pol", (x, v), (v, mu * (1 - x**2) * v - x), {mu: 1.0}),
        y0=(2.0, 0.0),
        t0=0.0,
        t1=20.0,
        reference=(2.0081497621749484, -0.04250887527320215),
        source="DETEST, problem E2; B. van der Pol, Philos. Mag. 2 (1926) 978-992",
        how=HOW,
    )


def _fitzhugh_nagumo() -> InitialValueProblem:
    v, r = symbols("v r")
    a, b, c = symbols("a b c")
    return InitialValueProblem(
        equation=Equation(
            "fitzhugh-nagumo",
            (v, r),
            (c * (v - v**3 / 3 + r), -(v - a + b * r) / c),
            {a: 0.2, b: 0.2, c: 3.0},
        ),
        y0=(-1.0, 1.0),
        t0=0.0,
        t1=20.0,
        reference=(1.8969418010147105, 0.3044810368949258),
        source="Ramsay, Hooker, Campbell & Cao, J. R. Stat. Soc. B 69 (2007) 741-796; FitzHugh, Biophys. J. 1 (1961)",
        how=HOW,
    )


def _rigid_body() -> InitialValueProblem:
    x, y, z = symbols("x y z")
    (m,) = symbols("m")
    return InitialValueProblem(
        equation=Equation("rigid-body", (x, y, z), (y * z, -x * z, -m * x * y), {m: 0.51}),
        y0=(0.0, 1.0, 1.0),
        t0=0.0,
        t1=20.0,
        reference=(-0.9396570798729204, -0.342117775400075, 0.7414126596199954),
        source="DETEST, problem B5 (Euler's equations of a rigid body without external forces)",
        how=HOW + "; equal to (sn, cn, dn)(t | m)",
    )


def _kepler() -> InitialValueProblem:
    x, y, u, v = symbols("x y u v")
    cube = (x**2 + y**2) ** sympy.Rational(-3, 2)
    return InitialValueProblem(
        equation=Equation("kepler", (x, y, u, v), (u, v, -x * cube, -y * cube)),
        y0=(0.5, 0.0, 0.0, math.sqrt(3.0)),
        t0=0.0,
        t1=20.0,
        reference=(-0.5780432953035456, 0.8633840009194184, -0.9595083730380676, -0.06504915126712882),
        source="DETEST, problem D3 (two bodies, eccentricity 0.5, from the pericentre)",
        how=HOW + "; equal to the closed form by Kepler's equation",
    )


def _henon_heiles() -> InitialValueProblem:
    x, y, u, v = symbols("x y u v")
    return InitialValueProblem(
        equation=Equation("henon-heiles", (x, y, u, v), (u, v, -x - 2 * x * y, -y - x**2 + y**2)),
        y0=(0.0, 0.1, 0.5, 0.0),
        t0=0.0,
        t1=100.0,
        reference=(0.22514698918543194, 0.39201065358528797, 0.18818797399243553, -0.14132567096172777),
        source=(
            "M. Henon & C. Heiles, Astron. J. 69 (1964) 73-79; energy 0.12967, between 1/8 and 1/6, where most orbits "
            "are chaotic; the start is that of SciMLBenchmarks, Henon-Heiles energy conservation"
        ),
        how=HOW,
    )


def _driven() -> InitialValueProblem:
    x, y = symbols("x y")
    return InitialValueProblem(
        equation=Equation(
            "driven",
            (x, y),
            (y * sympy.cos(TIME) + sympy.sin(x), -x * sympy.cos(y) + sympy.sin(TIME * x)),
        ),
        y0=(1.0, 0.5),
        t0=0.0,
        t1=2.0,
        reference=(2.7602000054850038, -1.6555600276085423),
        source=(
            "this project's own, for observed orders: nonlinear, non-autonomous, two components; on its solution the "
            "elementary differentials of all rooted trees of each order up to 6 are linearly independent, so that no "
            "order condition is hidden by the problem"
        ),
        how=HOW,
    )


PROBLEMS: Mapping[str, InitialValueProblem] = MappingProxyType(
    {
        problem.equation.name: problem
        for problem in (
            _lotka_volterra(),
            _lorenz(),
            _arenstorf(),
            _pleiades(),
            _brusselator(),
            _van_der_pol(),
            _fitzhugh_nagumo(),
            _rigid_body(),
            _kepler(),
            _henon_heiles(),
            _driven(),
            *DETEST,
            *STIFF,
        )
    }
)
