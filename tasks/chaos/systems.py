"""The chaotic systems as data: equation, sampling step, and what was measured on their attractors.

Every measured number here is printed by `python -m odernn.tasks.chaos.lyapunov NAME --time T`, with T 2000 for
lorenz63, 7000 for roessler, 240 for lorenz96, 800 for lorenz96-5, 18000 for mackey-glass, 1500 for double-pendulum,
20000 for henon-heiles, and with `--trajectories 16` T 4000 for kuramoto-sivashinsky (16 of them for the moments of
lorenz96 too, with T 40). Means and deviations that a symmetry makes equal, or zero, are stated so; those of the first
three systems are from longer series. Sources of published numbers say "read there" where the page was seen, and "not
confirmed" where it was not.

The dimension is of the whole state space: an energy or a mean that the flow keeps has its zero exponent in it, and the
attractor of kuramoto-sivashinsky at zero mean has a dimension less by 1, that of a Hamiltonian flow's energy surface
likewise.

`valid`: up to there the truth and an independent solution (a Taylor series in extended precision, exponential time
differencing for kuramoto-sivashinsky) differ by less than 0.004 sigma, one hundredth of the threshold at which a
forecast fails. The metric `agreement` of the task "ceiling" measures it; for the first three systems it was checked on
100 trajectories, for the others on a few, and stated with a margin. Past 200 lines because it is a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...suite.errors import unknown
from .definition import Published
from .definition import System as System
from .dissipative import lorenz63, lorenz96, roessler
from .hamiltonian import double_pendulum, double_pendulum_level, henon_heiles, henon_heiles_level
from .spatial import NODES, POINTS, kuramoto_sivashinsky, mackey_glass, without_mean

# fmt: off
_LORENZ96_EXPONENTS = (
    1.6874, 1.4858, 1.3069, 1.1489, 1.0068, 0.8755, 0.7399, 0.6111, 0.4931, 0.3765,
    0.2579, 0.1543, 0.0363, -0.0015, -0.0935, -0.2025, -0.3116, -0.4314, -0.5532, -0.6560,
    -0.7764, -0.8866, -0.9966, -1.1144, -1.2243, -1.3432, -1.4759, -1.6168, -1.7567, -1.9296,
    -2.1118, -2.3312, -2.5826, -2.8771, -3.2468, -3.6616, -4.0622, -4.3845, -4.6441, -4.9081,
)
_LORENZ96_EXPONENT_ERRORS = (
    0.0069, 0.0055, 0.0065, 0.0047, 0.0046, 0.0053, 0.0054, 0.0048, 0.0053, 0.0045,
    0.0042, 0.0030, 0.0043, 0.0015, 0.0038, 0.0033, 0.0052, 0.0036, 0.0042, 0.0040,
    0.0049, 0.0043, 0.0046, 0.0035, 0.0039, 0.0042, 0.0062, 0.0055, 0.0046, 0.0047,
    0.0059, 0.0054, 0.0082, 0.0073, 0.0069, 0.0093, 0.0114, 0.0096, 0.0082, 0.0101,
)
# fmt: on

SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "lorenz63": System(
            equation=lorenz63(),
            dt=0.02,
            start=(0.0, 0.0, 25.0),
            spread=10.0,
            transient=30.0,
            exponents=(0.90599, 0.00005, -14.57271),
            exponent_errors=(0.00062, 0.00005, 0.00061),
            kaplan_yorke=2.0622,
            kaplan_yorke_error=0.0001,
            mean=(0.0, 0.0, 23.554),  # x and y average to zero by the symmetry (x, y) -> (-x, -y)
            sigma=(7.925, 9.010, 8.619),
            increment=(0.1079, 0.1451, 0.1830),
            valid=20.0,
            source="Lorenz 1963, J. Atmos. Sci. 20:130, equations (25) to (27), sigma 10, rho 28, beta 8/3",
            published=Published(
                0.9056,
                0.00005,
                2.06215,
                0.000005,
                "Sprott, Common Chaotic Systems, sprott.physics.wisc.edu/chaos/comchaos.htm (read there)",
            ),
        ),
        "roessler": System(
            equation=roessler(),
            dt=0.1,
            start=(0.0, -5.0, 0.0),
            spread=0.5,
            transient=300.0,
            exponents=(0.07103, 0.0, -5.39416),
            exponent_errors=(0.00027, 0.00002, 0.00023),
            kaplan_yorke=2.0132,
            kaplan_yorke_error=0.0001,
            mean=(0.177, -0.886, 0.886),
            sigma=(5.155, 4.843, 2.843),
            increment=(0.1161, 0.1045, 0.2952),
            valid=15.0,
            substeps=2,
            source="Roessler 1976, Phys. Lett. A 57:397, with a 0.2, b 0.2, c 5.7",
            published=Published(
                0.0714, 0.00005, 2.0132, 0.00005, "Sprott, Common Chaotic Systems, as for lorenz63 (read there)"
            ),
        ),
        "lorenz96": System(
            equation=lorenz96(),
            dt=0.02,
            start=(8.0,) * 40,
            spread=1.0,
            transient=20.0,
            exponents=_LORENZ96_EXPONENTS,
            exponent_errors=_LORENZ96_EXPONENT_ERRORS,
            kaplan_yorke=27.070,
            kaplan_yorke_error=0.023,
            mean=(2.342,) * 40,
            sigma=(3.640,) * 40,
            increment=(0.1027,) * 40,
            valid=15.0,
            source="Lorenz 1996, Predictability: a problem partly solved, Proc. ECMWF Seminar; 40 sites, forcing 8",
            published=Published(
                1.68, 0.01, 27.1, 0.05, "Karimi and Paul 2010, Chaos 20:043105, arXiv:0906.3496 (numbers not confirmed)"
            ),
        ),
        "lorenz96-5": System(
            equation=lorenz96(5, "lorenz96-5"),
            dt=0.05,
            start=(8.0,) * 5,
            spread=1.0,
            transient=200.0,
            exponents=(0.46389, 0.00001, -0.51533, -1.30586, -3.64271),
            exponent_errors=(0.00482, 0.00033, 0.0044, 0.00418, 0.00476),
            kaplan_yorke=2.9002,
            kaplan_yorke_error=0.0096,
            mean=(2.303,) * 5,
            sigma=(3.622,) * 5,
            increment=(0.2649,) * 5,
            valid=15.0,
            substeps=2,
            source="Lorenz 1996, Predictability: a problem partly solved, Proc. ECMWF Seminar; 5 sites, forcing 8",
            published=Published(source="none found for five sites"),
        ),
        "mackey-glass": System(
            equation=mackey_glass(),
            dt=1.0,
            start=(0.9,) * (NODES + 1),
            spread=0.1,
            transient=4000.0,
            exponents=(0.00513, 0.0, -0.03871, -0.05271, -0.06972, -0.08579),
            exponent_errors=(0.00004, 0.00001, 0.00009, 0.00008, 0.0001, 0.00009),
            kaplan_yorke=2.1325,
            kaplan_yorke_error=0.0008,
            mean=(0.9303,) * (NODES + 1),
            sigma=(0.2261,) * (NODES + 1),
            increment=(0.1459,) * (NODES + 1),
            valid=9.0,
            leading=6,
            substeps=2,
            observed=(0,),
            source="Mackey and Glass 1977, Science 197:287, with beta 0.2, gamma 0.1, n 10, delay 17",
            published=Published(
                None,
                None,
                2.13,
                0.03,
                "Farmer 1982, Physica D 4:366, table of Lyapunov dimensions (not confirmed); sites.google.com/view/"
                "lyapunov-spectrum has 2.1374 and 0.0056 from a hundred delay steps (read there)",
            ),
        ),
        "double-pendulum": System(
            equation=double_pendulum(),
            dt=0.1,
            start=(0.0, 1.0, 0.0, 1.0, 2.2, -0.2),
            spread=0.001,
            transient=300.0,
            exponents=(0.30173, 0.00176, 0.00008, -0.00013, -0.0015, -0.30193),
            exponent_errors=(0.00256, 0.00015, 0.00008, 0.00014, 0.00013, 0.00257),
            kaplan_yorke=6.0,
            kaplan_yorke_error=0.0,
            mean=(0.0, 0.591, 0.0, 0.176, 0.0, 0.0),
            sigma=(0.7075, 0.3875, 0.7067, 0.6853, 1.6419, 1.16),
            increment=(0.1082, 0.1508, 0.1397, 0.1365, 0.0982, 0.0906),
            valid=10.0,
            substeps=2,
            invariants=double_pendulum_level,
            source=("equal masses and lengths, units of mass, length and gravity, energy 0: both arms level, at rest"),
            published=Published(source="none found for equal arms at this energy"),
        ),
        "henon-heiles": System(
            equation=henon_heiles(),
            dt=0.2,
            start=(0.0, -0.25, 0.42081, 0.0),
            spread=0.001,
            transient=2000.0,
            exponents=(0.04706, 0.00012, -0.00012, -0.04706),
            exponent_errors=(0.00169, 0.00001, 0.00001, 0.00169),
            kaplan_yorke=4.0,
            kaplan_yorke_error=0.0,
            mean=(0.0,) * 4,
            sigma=(0.2829, 0.2829, 0.2429, 0.2429),
            increment=(0.1715, 0.1715, 0.1956, 0.1956),
            valid=10.0,
            substeps=1,
            invariants=henon_heiles_level,
            source="Henon and Heiles 1964, Astron. J. 69:73, energy 1/8, the chaotic sea around (0, -0.25, 0.42081, 0)",
            published=Published(
                0.047,
                0.0005,
                None,
                None,
                "Skokos 2010, Lecture Notes in Physics 790:63, orbit at energy 0.125 (not confirmed); first in "
                " Benettin, Galgani and Strelcyn 1976, Phys. Rev. A 14:2338",
            ),
        ),
        "kuramoto-sivashinsky": System(
            equation=kuramoto_sivashinsky(),
            dt=0.25,
            start=(0.0,) * POINTS,
            spread=0.1,
            transient=400.0,
            exponents=(
                0.0495,
                0.00132,
                0.00042,
                -0.0012,
                -0.00476,
                -0.18785,
                -0.25539,
                -0.2896,
                -0.31034,
                -1.96349,
                -1.96767,
                -5.60564,
            ),
            exponent_errors=(
                0.00063,
                0.00029,
                0.00013,
                0.00015,
                0.00069,
                0.00106,
                0.00119,
                0.00068,
                0.00087,
                0.00032,
                0.00039,
                0.00012,
            ),
            kaplan_yorke=5.241,
            kaplan_yorke_error=0.006,
            mean=(0.0,) * POINTS,
            sigma=(1.183,) * POINTS,
            increment=(0.0526,) * POINTS,
            valid=10.0,
            leading=12,
            substeps=2,
            invariants=without_mean,
            source="length 22 as Cvitanovic, Davidchack and Siminos 2010, SIAM J. Appl. Dyn. Syst. 9:1",
            # An independent code (Fourier modes without the mean, so one zero exponent fewer) over 120000 time units:
            # 0.0486 +- 0.0006 and dimension 4.239 without the modes beyond 2/3, 0.0484 +- 0.0006 and 4.240 with them.
            published=Published(
                0.048,
                0.0005,
                5.198,
                0.0005,
                "exponent: Cvitanovic, Davidchack and Siminos 2010, SIAM J. Appl. Dyn. Syst. 9:1; dimension, and an "
                "exponent of 0.043: Edson et al. 2019, ANZIAM J. 61:270, arXiv:1902.09651 (neither confirmed)",
            ),
        ),
    }
)
"""The systems by name."""


def system(name: str) -> System:
    """The system of that name, or "dysts:NAME" of the optional package; raises `UsageError` for an unknown one."""
    if name.startswith("dysts:"):
        from .dysts import dysts_system

        return dysts_system(name)
    if name not in SYSTEMS:
        raise unknown("chaotic system", name, SYSTEMS)
    return SYSTEMS[name]
