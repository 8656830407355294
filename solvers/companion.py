"""A t-th order ODE as a first-order system in the blocks y = (x, x', ..., x^(t-1)): y_j' = y_{j+1}, y_t' = F(y, a)."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from .field import EquationField, Init, Map, Mix, order_of, states


def companion(
    name: str,
    F: sympy.Expr,
    ode_order: int,
    maps: tuple[Map, ...],
    reference: str,
    constants: Mapping[str, float] | None = None,
    *,
    mixes: tuple[Mix, ...] = (),
    published_step: float | None = None,
    init: Init | None = None,
) -> EquationField:
    """The field of x^(t) = F(x, x', ..., x^(t-1), u).

    F is an expression in `states(ode_order)` (y1 = x, y2 = x', ...), in the preactivations of `maps` (whose blocks
    count from 0: block j is the j-th derivative) and in the constants. Raises `UsageError` for an order below 1 or
    an F that uses anything else.
    """
    y = states(order_of(name, ode_order))
    return EquationField(
        name=name,
        state=y,
        maps=maps,
        rhs=(*y[1:], F),
        reference=reference,
        ode_order=ode_order,
        constants=constants or {},
        mixes=mixes,
        published_step=published_step,
        init=init or Init(),
    )
