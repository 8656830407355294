"""Ordinary equations with attractors: Lorenz 1963, Roessler, Lorenz 1996."""

from __future__ import annotations

import sympy

from ...suite.equation import Equation, symbols


def lorenz63() -> Equation:
    x, y, z = state = symbols("x y z")
    sigma, rho, beta = symbols("sigma rho beta")
    rhs = (sigma * (y - x), x * (rho - z) - y, x * y - beta * z)
    return Equation("lorenz63", state, rhs, {sigma: 10.0, rho: 28.0, beta: 8.0 / 3.0})


def roessler() -> Equation:
    x, y, z = state = symbols("x y z")
    a, b, c = symbols("a b c")
    return Equation("roessler", state, (-y - z, x + a * y, b + z * (x - c)), {a: 0.2, b: 0.2, c: 5.7})


def lorenz96(size: int = 40, name: str = "lorenz96") -> Equation:
    x = symbols(" ".join(f"x_{i}" for i in range(size)))
    (forcing,) = symbols("F")
    rhs: list[sympy.Expr] = [(x[(i + 1) % size] - x[i - 2]) * x[i - 1] - x[i] + forcing for i in range(size)]
    return Equation(name, x, tuple(rhs), {forcing: 8.0})
