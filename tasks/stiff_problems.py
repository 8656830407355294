"""Stiff initial value problems as data, with the published reference values beside our own.

The problems, their intervals and the published values are those of F. Mazzia & C. Magherini, *Test Set for Initial
Value Problem Solvers*, release 2.4, University of Bari and INdAM, 2008 (continuing W. M. Lioen & J. J. B. de Swart,
CWI, 1998); HW is Hairer & Wanner, *Solving Ordinary Differential Equations II*, 2nd ed., Springer 1996.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import sympy

from ..suite.contracts import InitialValueProblem
from ..suite.equation import Equation, symbols

PUBLISHED: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "robertson": (0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050),
        "hires": (
            *(0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2),
            *(0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2),
        ),
        "orego": (0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3),
        "van-der-pol-stiff": (0.1706167732170469e1, -0.8928097010248125e-3),
        "pollution": (
            *(0.5646255480022769e-1, 0.1342484130422339, 0.4139734331099427e-8, 0.5523140207484359e-2),
            *(0.2018977262302196e-6, 0.1464541863493966e-6, 0.7784249118997964e-1, 0.3245075353396018),
            *(0.7494013383880406e-2, 0.1622293157301561e-7, 0.1135863833257075e-7, 0.2230505975721359e-2),
            *(0.2087162882798630e-3, 0.1396921016840158e-4, 0.8964884856898295e-2, 0.4352846369330103e-17),
            *(0.6899219696263405e-2, 0.1007803037365946e-3, 0.1772146513969984e-5, 0.5682943292316392e-4),
        ),
    }
)
"""The reference values of the test set, computed there with RADAU and RADAU5 at tolerance 1.1e-18."""

REFERENCES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "robertson": (2.083340149701294e-08, 8.333360770334784e-14, 0.9999999791665152),
        "hires": (
            *(0.0007371312573325572, 0.00014424857263161658, 5.888729740967397e-05, 0.0011756513432831315),
            *(0.0023863561988310407, 0.0062389682527418866, 0.002849998395185565, 0.002850001604814435),
        ),
        "orego": (1.0008148703185227, 1228.1785215498876, 132.0554942846505),
        "van-der-pol-stiff": (1.706167732170465, -0.0008928097010248166),
        "pollution": (
            *(0.056462554800227695, 0.13424841304223387, 4.139734331099427e-09, 0.005523140207484359),
            *(2.018977262302196e-07, 1.4645418634939657e-07, 0.07784249118997964, 0.3245075353396018),
            *(0.007494013383880406, 1.6222931573015602e-08, 1.1358638332570748e-08, 0.00223050597572136),
            *(0.00020871628827986302, 1.3969210168401579e-05, 0.008964884856898295, 4.352846369330103e-18),
            *(0.006899219696263405, 0.0001007803037365946, 1.7721465139699842e-06, 5.6829432923163926e-05),
        ),
    }
)
"""Ours, that `tasks/references.py` recomputes."""

AGREEMENT: Mapping[str, float] = MappingProxyType(
    {"robertson": 2e-14, "hires": 1.5e-13, "orego": 1.6e-13, "van-der-pol-stiff": 5e-15, "pollution": 5e-16}
)
"""How near the published values come to ours: the largest relative difference of a component, rounded up."""


def _how(name: str) -> str:
    return (
        "Radau IIA collocation with 14 stages in 34 decimal digits, every datum taken as the exact binary64 number, "
        "rounded to the nearest binary64; 12 stages agree to 1e-17 (python -m odernn.tasks.references); the published "
        f"value agrees to {AGREEMENT[name]:.1e} in every component"
    )


def _robertson() -> InitialValueProblem:
    x, y, z = symbols("x y z")
    k1, k2, k3 = symbols("k1 k2 k3")
    slow, fast, back = k1 * x, k2 * y**2, k3 * y * z
    return InitialValueProblem(
        equation=Equation(
            "robertson", (x, y, z), (-slow + back, slow - back - fast, fast), {k1: 0.04, k2: 3e7, k3: 1e4}
        ),
        y0=(1.0, 0.0, 0.0),
        t0=0.0,
        t1=1e11,
        reference=REFERENCES["robertson"],
        source="Test Set 2.4, ROBER: H. H. Robertson, in Walsh (ed.), Numerical Analysis, 1966, 178-182; HW (1.4)",
        how=_how("robertson"),
        stiff=True,
    )


def _hires() -> InitialValueProblem:
    y = symbols(" ".join(f"y{i}" for i in range(1, 9)))
    rates = symbols("k1 k2 k3 k4 k5 k6 kplus kminus kstar oks")
    k1, k2, k3, k4, k5, k6, plus, minus, star, oks = rates
    bound = plus * y[5] * y[7] - (k2 + minus + star) * y[6]
    return InitialValueProblem(
        equation=Equation(
            "hires",
            y,
            (
                -k1 * y[0] + k2 * y[1] + k6 * y[2] + oks,
                k1 * y[0] - (k2 + k3) * y[1],
                -(k1 + k6) * y[2] + k2 * y[3] + k5 * y[4],
                k3 * y[1] + k1 * y[2] - (k2 + k4) * y[3],
                -(k1 + k5) * y[4] + k2 * (y[5] + y[6]),
                -plus * y[5] * y[7] + k4 * y[3] + k1 * y[4] - k2 * y[5] + minus * y[6],
                bound,
                -bound,
            ),
            dict(zip(rates, (1.71, 0.43, 8.32, 0.69, 0.035, 8.32, 280.0, 0.69, 0.69, 0.0007), strict=True)),
        ),
        y0=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057),
        t0=0.0,
        t1=321.8122,
        reference=REFERENCES["hires"],
        source="Test Set 2.4, HIRES: E. Schaefer, J. Math. Biol. 2 (1975) 41-56; HW (10.3) in IV.10",
        how=_how("hires"),
        stiff=True,
    )


def _orego() -> InitialValueProblem:
    x, y, z = symbols("x y z")
    s, q, w = symbols("s q w")
    return InitialValueProblem(
        equation=Equation(
            "orego",
            (x, y, z),
            (s * (y + x * (1 - q * x - y)), (z - (1 + x) * y) / s, w * (x - z)),
            {s: 77.27, q: 8.375e-6, w: 0.161},
        ),
        y0=(1.0, 2.0, 3.0),
        t0=0.0,
        t1=360.0,
        reference=REFERENCES["orego"],
        source="Test Set 2.4, OREGO: R. J. Field & R. M. Noyes, J. Chem. Phys. 60 (1974) 1877-1884; HW IV.10",
        how=_how("orego"),
        stiff=True,
    )


def _van_der_pol() -> InitialValueProblem:
    x, v = symbols("x v")
    (mu,) = symbols("mu")
    return InitialValueProblem(
        equation=Equation("van-der-pol-stiff", (x, v), (v, mu * (1 - x**2) * v - x), {mu: 1000.0}),
        y0=(2.0, 0.0),
        t0=0.0,
        t1=2000.0,
        reference=REFERENCES["van-der-pol-stiff"],
        source="Test Set 2.4, VDPOLM: van der Pol's oscillator with mu = 1000, in its own time; HW IV.10",
        how=_how("van-der-pol-stiff"),
        stiff=True,
    )


RATES = (
    *(0.35, 26.6, 12300.0, 0.86e-3, 0.82e-3, 15000.0, 0.13e-3, 24000.0, 16500.0, 9000.0, 0.022, 12000.0, 1.88),
    *(16300.0, 4.8e6, 0.35e-3, 0.0175, 1e8, 4.44e11, 1240.0, 2.1, 5.78, 0.0474, 1780.0, 3.12),
)
"""k1 to k25 of the pollution problem."""

# Of each reaction: which species react (the rate is k times their product), and which are made; 1-based.
REACTIONS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    *(((1,), (2, 3)), ((2, 4), (1,)), ((5, 2), (1, 6)), ((7,), (5, 5, 8)), ((7,), (8,)), ((7, 6), (5, 8))),
    *(((9,), (5, 8, 10)), ((9, 6), (11,)), ((11, 2), (1, 10, 12)), ((11, 1), (13,)), ((13,), (11, 1))),
    *(((10, 2), (1, 14)), ((14,), (5, 7)), ((1, 6), (15,)), ((3,), (4,)), ((4,), (16,)), ((4,), (3,))),
    *(((16,), (6, 6)), ((16,), (3,)), ((17, 6), (5, 18)), ((19,), (2,)), ((19,), (1, 3)), ((1, 4), (19,))),
    *(((19, 1), (20,)), ((20,), (1, 19))),
)


def _pollution() -> InitialValueProblem:
    y = symbols(" ".join(f"y{i}" for i in range(1, 21)))
    k = symbols(" ".join(f"k{i}" for i in range(1, 26)))
    rhs: list[sympy.Expr] = [sympy.Integer(0)] * 20
    for rate, (lost, made) in zip(k, REACTIONS, strict=True):
        speed = rate * sympy.prod([y[i - 1] for i in lost])
        for i in lost:
            rhs[i - 1] -= speed
        for i in made:
            rhs[i - 1] += speed
    start = {2: 0.2, 4: 0.04, 7: 0.1, 8: 0.3, 9: 0.01, 17: 0.007}
    return InitialValueProblem(
        equation=Equation("pollution", y, tuple(rhs), dict(zip(k, RATES, strict=True))),
        y0=tuple(start.get(i, 0.0) for i in range(1, 21)),
        t0=0.0,
        t1=60.0,
        reference=REFERENCES["pollution"],
        source="Test Set 2.4, POLLU: J. G. Verwer, SIAM J. Sci. Comput. 15 (1994) 1243-1250",
        how=_how("pollution"),
        stiff=True,
    )


STIFF: tuple[InitialValueProblem, ...] = (_robertson(), _hires(), _orego(), _van_der_pol(), _pollution())
