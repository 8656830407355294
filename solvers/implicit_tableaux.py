"""The table of implicit Runge-Kutta methods: one entry, one method, its exact coefficients and its reference.

All rows of A in full, then b and the order claimed for b. Names: gauss2 has 2 stages; radau2a3 is Radau IIA with 3;
lobatto3c2 is Lobatto IIIC with 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from .coefficients import exact_row
from .tableau import Tableau


def _implicit(
    name: str,
    rows: Sequence[str],
    b: str,
    order: int,
    reference: str,
    b_hat: str | None = None,
    embedded_order: int | None = None,
) -> Tableau:
    A = tuple(exact_row(row.split()) for row in rows)
    hat = None if b_hat is None else exact_row(b_hat.split())
    return Tableau(name, A, exact_row(b.split()), order, reference, hat, embedded_order)


_HW = "E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd ed., Springer (1996)"

_GAMMA = "1-sqrt(2)/2"  # of sdirk2, and half the gamma of tr-bdf2

IMPLICIT = (
    _implicit(
        "backward-euler",
        ("1",),
        "1",
        1,
        f"A.-L. Cauchy (1824); {_HW}, section IV.1; the one-stage Radau IIA method",
    ),
    _implicit(
        "implicit-midpoint",
        ("1/2",),
        "1",
        2,
        f"{_HW}, section IV.5; the one-stage Gauss method",
    ),
    _implicit(
        "trapezoid",
        ("0 0", "1/2 1/2"),
        "1/2 1/2",
        2,
        "J. Crank, P. Nicolson, A practical method for numerical evaluation of solutions of partial differential "
        "equations of the heat-conduction type, Proc. Camb. Phil. Soc. 43 (1947) 50-67; two-stage Lobatto IIIA",
    ),
    _implicit(
        "gauss2",
        ("1/4 1/4-sqrt(3)/6", "1/4+sqrt(3)/6 1/4"),
        "1/2 1/2",
        4,
        "P. C. Hammer, J. W. Hollingsworth, Trapezoidal methods of approximating solutions of differential equations, "
        f"MTAC 9 (1955) 92-96; {_HW}, table 5.1",
    ),
    _implicit(
        "gauss3",
        (
            "5/36 2/9-sqrt(15)/15 5/36-sqrt(15)/30",
            "5/36+sqrt(15)/24 2/9 5/36-sqrt(15)/24",
            "5/36+sqrt(15)/30 2/9+sqrt(15)/15 5/36",
        ),
        "5/18 4/9 5/18",
        6,
        f"J. C. Butcher, Implicit Runge-Kutta processes, Math. Comp. 18 (1964) 50-64; {_HW}, table 5.2",
    ),
    _implicit(
        "radau2a2",
        ("5/12 -1/12", "3/4 1/4"),
        "3/4 1/4",
        3,
        "B. L. Ehle, High order A-stable methods for the numerical solution of systems of D.E.'s, BIT 8 (1968) "
        f"276-278; {_HW}, table 5.5",
    ),
    _implicit(
        "radau2a3",
        (
            "(88-7*sqrt(6))/360 (296-169*sqrt(6))/1800 (-2+3*sqrt(6))/225",
            "(296+169*sqrt(6))/1800 (88+7*sqrt(6))/360 (-2-3*sqrt(6))/225",
            "(16-sqrt(6))/36 (16+sqrt(6))/36 1/9",
        ),
        "(16-sqrt(6))/36 (16+sqrt(6))/36 1/9",
        5,
        "B. L. Ehle, High order A-stable methods for the numerical solution of systems of D.E.'s, BIT 8 (1968) "
        f"276-278; {_HW}, table 5.6; the method of the code RADAU5",
    ),
    _implicit(
        "lobatto3a3",
        ("0 0 0", "5/24 1/3 -1/24", "1/6 2/3 1/6"),
        "1/6 2/3 1/6",
        4,
        f"B. L. Ehle (1969); {_HW}, table 5.7",
    ),
    _implicit(
        "lobatto3b2",
        ("1/2 0", "1/2 0"),
        "1/2 1/2",
        2,
        f"B. L. Ehle (1969); {_HW}, table 5.9, with the row sums of A as nodes: its two stages are then equal, and the "
        "method is the implicit midpoint rule",
    ),
    _implicit(
        "lobatto3b3",
        ("1/6 -1/6 0", "1/6 1/3 0", "1/6 5/6 0"),
        "1/6 2/3 1/6",
        4,
        f"B. L. Ehle (1969); {_HW}, table 5.9",
    ),
    _implicit(
        "lobatto3c2",
        ("1/2 -1/2", "1/2 1/2"),
        "1/2 1/2",
        2,
        f"B. L. Ehle (1969), F. H. Chipman (1971); {_HW}, table 5.11",
    ),
    _implicit(
        "lobatto3c3",
        ("1/6 -1/3 1/6", "1/6 5/12 -1/12", "1/6 2/3 1/6"),
        "1/6 2/3 1/6",
        4,
        f"B. L. Ehle (1969), F. H. Chipman (1971); {_HW}, table 5.11",
    ),
    _implicit(
        "sdirk2",
        (f"{_GAMMA} 0", f"sqrt(2)/2 {_GAMMA}"),
        f"sqrt(2)/2 {_GAMMA}",
        2,
        "R. Alexander, Diagonally implicit Runge-Kutta methods for stiff O.D.E.'s, SIAM J. Numer. Anal. 14 (1977) "
        "1006-1021; gamma = 1 - 1/sqrt(2)",
    ),
    _implicit(
        "tr-bdf2",
        ("0 0 0", f"{_GAMMA} {_GAMMA} 0", f"sqrt(2)/4 sqrt(2)/4 {_GAMMA}"),
        f"sqrt(2)/4 sqrt(2)/4 {_GAMMA}",
        2,
        "M. E. Hosea, L. F. Shampine, Analysis and implementation of TR-BDF2, Appl. Numer. Math. 20 (1996) 21-37; "
        "gamma = 2 - sqrt(2)",
        b_hat="1/3-sqrt(2)/12 1/3+sqrt(2)/4 1/3-sqrt(2)/6",
        embedded_order=3,
    ),
    _implicit(
        "esdirk43",
        (
            "0 0 0 0 0 0",
            "1/4 1/4 0 0 0 0",
            "8611/62500 -1743/31250 1/4 0 0 0",
            "5012029/34652500 -654441/2922500 174375/388108 1/4 0 0",
            "15267082809/155376265600 -71443401/120774400 730878875/902184768 2285395/8070912 1/4 0",
            "82889/524892 0 15625/83664 69875/102672 -2260/8211 1/4",
        ),
        "82889/524892 0 15625/83664 69875/102672 -2260/8211 1/4",
        4,
        "C. A. Kennedy, M. H. Carpenter, Additive Runge-Kutta schemes for convection-diffusion-reaction equations, "
        "Appl. Numer. Math. 44 (2003) 139-181, ESDIRK of ARK4(3)6L[2]SA; gamma = 1/4",
        b_hat="4586570599/29645900160 0 178811875/945068544 814220225/1159782912 -3700637/11593932 61727/225920",
        embedded_order=3,
    ),
)
"""Every implicit tableau, simplest first."""
