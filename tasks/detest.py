"""A part of DETEST as data: Hull, Enright, Fellen & Sedgwick, "Comparing numerical methods for ordinary differential
equations", SIAM J. Numer. Anal. 9 (1972) 603-637, with its starts and its interval [0, 20].

Classes: A single equations, B small systems, C moderate systems, D orbits, E higher order equations. Its problems B1,
B5, D3 and E2 are lotka-volterra, rigid-body, kepler and van-der-pol in `tasks/problems.py`; D2 and D4 (orbits of
eccentricity 0.3 and 0.7) and C5 (five planets) are left out. `tasks/references.py` recomputes the reference values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import sympy

from ..suite.contracts import InitialValueProblem
from ..suite.equation import TIME, Equation, symbols

END = 20.0
HOW = (
    "Taylor method of order 43 in 48 decimal digits, every datum taken as the exact binary64 number, rounded to the "
    "nearest binary64; order 36 in 42 digits agrees to 1e-20 (python -m odernn.tasks.references)"
)


REFERENCES: Mapping[str, tuple[float, ...]] = {
    "a1": (2.061153622438558e-09,),
    "a2": (0.2182178902359924,),
    "a3": (2.4916502718504145,),
    "a4": (17.73016648131484,),
    "a5": (-0.7887826688964015,),
    "b2": (1.0000000010305767, 1.0, 0.9999999989694232),
    "b3": (2.061153622438558e-09, 0.05257228022048512, 0.9474277177183612),
    "b4": (0.982695092800653, 2.1984470816949298, 0.9129452507276277),
    "c1": (
        *(2.061153622438558e-09, 4.122307244877116e-08, 4.122307244877116e-07, 2.7482048299180773e-06),
        *(1.3741024149590386e-05, 5.496409659836154e-05, 0.0001832136553278718, 0.0005234675866510623),
        *(0.0013086689666276558, 0.997912740950865),
    ),
    "c2": (
        *(2.061153622438558e-09, 2.0611536181902037e-09, 2.061153613941849e-09, 2.061153609693495e-09),
        *(2.061153605445141e-09, 2.061153601196787e-09, 2.0611535969484323e-09, 2.061153592700078e-09),
        *(2.061153588451724e-09, 0.9999999814496175),
    ),
    "c3": (
        *(0.0029481192110226992, 0.005635380154845296, 0.007829072515927038, 0.009348257908595597),
        *(0.010079436103019805, 0.009982674171429489, 0.009088693332765333, 0.007489115195185085),
        *(0.005322964130952675, 0.0027624343790295146),
    ),
    "c4": (
        *(0.003124111453722103, 0.006015416842151323, 0.00847002183484361, 0.010336829317333924),
        *(0.011532495728739203, 0.012045495257379123, 0.011929570680152192, 0.011288832071111289),
        *(0.01025804501390988, 0.00898201758193417, 0.007597500902492728, 0.006219920556825367),
        *(0.004935916341009462, 0.003801432544256305, 0.00284421367758792, 0.0020691233942225834),
        *(0.0014646872828437804, 0.001009545263941004, 0.0006779354330226245, 0.00044378152691182426),
        *(0.00028332645429390634, 0.00017650057987970974, 0.000107334259269755, 6.374497601779555e-05),
        *(3.6986453097054486e-05, 2.097466832644101e-05, 1.1629567104123481e-05, 6.306710405778984e-06),
        *(3.3462864308642114e-06, 1.737760074181166e-06, 8.83536690425763e-07, 4.39952041112023e-07),
        *(2.1461818971516788e-07, 1.0259812116573905e-07, 4.8078640688165e-08, 2.2091751525026646e-08),
        *(9.956251263332034e-09, 4.402193653863075e-09, 1.910149382259889e-09, 8.13589292167481e-10),
        *(3.402477118567461e-10, 1.3974856174900842e-10, 5.638575302337239e-11, 2.235459707341519e-11),
        *(8.710498031903506e-12, 3.3365542723879094e-12, 1.2566795659787626e-12, 4.654359042757128e-13),
        *(1.6935591399749388e-13, 5.996593788386712e-14, 1.8913306910279898e-14),
    ),
    "d1": (0.21988353520084955, 0.9427076846341782, -0.9787659841058151, 0.3287977990962143),
    "d5": (-1.2952662509875885, 0.4003938963792291, -0.6775390924707452, -0.1270838154278723),
    "e1": (0.14567236007282466, -0.09883500195574578),
    "e3": (-0.10041788586472507, 0.2411400132095934),
    "e4": (33.95091444646556, 0.2767822659672868),
    "e5": (14.117973905426254, 2.4),
}
"""y(20) by the problem's label."""


def _problem(
    label: str,
    about: str,
    state: Sequence[sympy.Symbol],
    rhs: Sequence[sympy.Expr],
    y0: Sequence[float],
    parameters: Mapping[sympy.Symbol, float] | None = None,
) -> InitialValueProblem:
    return InitialValueProblem(
        equation=Equation(f"detest-{label}", tuple(state), tuple(rhs), parameters or {}),
        y0=tuple(y0),
        t0=0.0,
        t1=END,
        reference=REFERENCES[label],
        source=f"DETEST, problem {label.upper()} ({about})",
        how=HOW,
    )


def _single() -> list[InitialValueProblem]:
    (y,), t = symbols("y"), TIME
    return [
        _problem("a1", "the negative exponential", (y,), (-y,), (1.0,)),
        _problem("a2", "a special case of Riccati's equation", (y,), (-(y**3) / 2,), (1.0,)),
        _problem("a3", "an oscillating problem", (y,), (y * sympy.cos(t),), (1.0,)),
        _problem("a4", "a logistic curve", (y,), (y / 4 * (1 - y / 20),), (1.0,)),
        _problem("a5", "a spiral curve", (y,), ((y - t) / (y + t),), (4.0,)),
    ]


def _small() -> list[InitialValueProblem]:
    x, y, z = symbols("x y z")
    r = sympy.sqrt(x**2 + y**2)
    linear, nonlinear = (-x + y, x - 2 * y + z, y - z), (-x, x - y**2, y**2)
    torus = (-y - x * z / r, x - y * z / r, x / r)
    return [
        _problem("b2", "a linear chemical reaction", (x, y, z), linear, (2.0, 0.0, 1.0)),
        _problem("b3", "a nonlinear chemical reaction", (x, y, z), nonlinear, (1.0, 0.0, 0.0)),
        _problem("b4", "the integral surface of a torus", (x, y, z), torus, (3.0, 0.0, 0.0)),
    ]


def _moderate() -> list[InitialValueProblem]:
    many = symbols(" ".join(f"y{i}" for i in range(1, 52)))
    y = many[:10]

    def diffusion(state: Sequence[sympy.Symbol]) -> list[sympy.Expr]:
        padded = [sympy.Integer(0), *state, sympy.Integer(0)]
        return [a - 2 * b + c for a, b, c in zip(padded, padded[1:], padded[2:], strict=False)]

    def decay(rates: Sequence[int]) -> list[sympy.Expr]:
        """Of each into the next, the last stable."""
        flows = [rate * a for rate, a in zip(rates, y[:-1], strict=True)]
        return [-flows[0], *(a - b for a, b in pairwise(flows)), flows[-1]]

    def start(size: int) -> list[float]:
        return [1.0] + [0.0] * (size - 1)

    return [
        _problem("c1", "a radioactive decay chain", y, decay([1] * 9), start(10)),
        _problem("c2", "another radioactive decay chain", y, decay(range(1, 10)), start(10)),
        _problem("c3", "a parabolic equation by differences", y, diffusion(y), start(10)),
        _problem("c4", "a parabolic equation by differences, 51 of them", many, diffusion(many), start(51)),
    ]


def _orbit(label: str, eccentricity: float) -> InitialValueProblem:
    x, y, u, v = symbols("x y u v")
    cube = (x**2 + y**2) ** sympy.Rational(-3, 2)
    start = (1.0 - eccentricity, 0.0, 0.0, math.sqrt((1.0 + eccentricity) / (1.0 - eccentricity)))
    about = f"two bodies, eccentricity {eccentricity}, from the pericentre"
    return _problem(label, about, (x, y, u, v), (u, v, -x * cube, -y * cube), start)


def _higher() -> list[InitialValueProblem]:
    y, v = symbols("y v")
    omega, g, drag = symbols("omega g k")
    s = TIME + 1
    bessel = (v, -(v / s + (1 - 1 / (4 * s**2)) * y))
    duffing = (v, y**3 / 6 - y + 2 * sympy.sin(omega * TIME))
    pursuit = (v, sympy.sqrt(1 + v**2) / (25 - TIME))
    falling = (v, g - drag * v**2)
    return [
        _problem("e1", "Bessel's equation of order 1/2", (y, v), bessel, (0.6713967071418030, 0.09540051444747446)),
        _problem("e3", "Duffing's equation, forced", (y, v), duffing, (0.0, 0.0), {omega: 2.78535}),
        _problem("e4", "a falling body", (y, v), falling, (30.0, 0.0), {g: 0.032, drag: 0.4}),
        _problem("e5", "a linear pursuit", (y, v), pursuit, (0.0, 0.0)),
    ]


DETEST: tuple[InitialValueProblem, ...] = (
    *_single(),
    *_small(),
    *_moderate(),
    _orbit("d1", 0.1),
    _orbit("d5", 0.9),
    *_higher(),
)
