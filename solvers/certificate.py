"""Contractivity certificates: the largest step with which a tableau provably stretches no difference of two states.

A field satisfies the *circle condition* with constant rho in a norm if, for every input, J = df/dy has
||J + rho I|| <= rho everywhere (by the mean value theorem, ||f(y) - f(z) + rho (y - z)|| <= rho ||y - z||). Then one
step contracts

* in the 2-norm for h rho <= r, r the circle-contractivity radius of the tableau (G. Dahlquist, R. Jeltsch, KTH report
  TRITA-NA-7906, 1979: ||dy+||^2 <= ||dy||^2 - h^2 sum_ij (M + diag(b) / (h rho))_ij <df_i, df_j>);
* in the maximum norm for h rho <= R, R the radius of absolute monotonicity (J. F. B. M. Kraaijevanger, BIT 31 (1991)
  482-528: a step is a convex combination of Euler steps of at most 1/rho, each of which contracts);
* in the 2-norm for every h, if the tableau is algebraically stable and mu_2(J) <= 0 everywhere (K. Burrage, J. C.
  Butcher, SIAM J. Numer. Anal. 16 (1979) 46-57). Where J is always skew and the tableau's matrix M = 0 too, every
  difference keeps its norm (G. J. Cooper, IMA J. Numer. Anal. 7 (1987) 1-13).

So every product of step Jacobians has norm at most 1, and gradients through time cannot explode.

The field's constants are those of `solvers.circle_condition`. Steps are rounded downwards.
Longer than most files, for the reasons in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from .circle_condition import Array, Constants, constants_of
from .field import EquationField
from .stability import circle_radius, ssp_radius, stability_function, stability_polynomial
from .structure import symplectic
from .tableau import Tableau

Norm = Literal["2", "max"]
Kind = Literal["conserved", "one-sided", "circle", "maximum-norm", "none"]


@dataclass(frozen=True)
class Certificate:
    """A promise about one step of a tableau on one field, for all states and inputs.

    kind: "circle" and "maximum-norm" hold for steps up to `step`; "one-sided" for every step; "conserved" says that
    every difference keeps its 2-norm, for every step; "none" promises nothing. step: 0, finite or infinite. constant:
    rho of a circle condition, mu_2 of a one-sided one. radius: the tableau's. reason: one sentence.
    """

    kind: Kind
    norm: Norm | None
    step: float
    constant: float
    radius: float
    reason: str

    def row(self) -> dict[str, Any]:
        """As plain JSON; an infinite number is "inf"."""
        return {key: "inf" if value == math.inf else value for key, value in asdict(self).items()}


# ------------------------------------------------------------------------------------------------------- certificates


@lru_cache(maxsize=64)
def radii(tableau: Tableau) -> tuple[float, float]:
    """The circle-contractivity radius and the radius of absolute monotonicity."""
    return circle_radius(tableau), ssp_radius(tableau)


def step_2(constants: Constants, tableau: Tableau) -> Array:
    """The largest step certified in the 2-norm for each of a batch of weights: 0, finite, or infinite."""
    radius = radii(tableau)[0]
    if radius == math.inf:
        return np.where(constants.mu_2 <= 0, math.inf, 0.0)
    return _largest_step(radius, constants.rho_2)


def step_max(constants: Constants, tableau: Tableau) -> Array:
    """The largest step certified in the maximum norm for each of a batch of weights: 0, finite, or infinite."""
    return _largest_step(radii(tableau)[1], constants.rho_max)


def _largest_step(radius: float, rho: Array) -> Array:
    if radius == 0:
        return np.zeros_like(rho)
    if radius == math.inf:
        return np.where(np.isfinite(rho), math.inf, 0.0)
    with np.errstate(divide="ignore"):
        return np.where(rho == 0, math.inf, np.nextafter(radius / rho, 0.0))


def certificates(field: Any, tableau: Tableau) -> tuple[Certificate, ...]:
    """Every certificate of a field with its current weights: one a norm, none of kind "none"."""
    return _certificates(field, tableau)[0]


def certify(field: Any, tableau: Tableau, norm: Norm | None = None) -> Certificate:
    """The certificate with the largest step of a field with its current weights, in one norm or in the better one.

    field: a `TorchField`; one that is no equation gets no certificate. Weights below float64 are taken as the exact
    numbers they are, so the promise is about their arithmetic in float64.
    """
    found, refusals = _certificates(field, tableau)
    fitting = [c for c in found if norm in (None, c.norm)]
    if fitting:
        return max(fitting, key=lambda c: (c.step, c.kind == "conserved", c.norm == "2"))
    told = [text for name, text in refusals.items() if norm in (None, name)]
    return Certificate("none", norm, 0.0, math.inf, 0.0, f"No certificate: {'; '.join(dict.fromkeys(told))}.")


def _certificates(field: Any, tableau: Tableau) -> tuple[tuple[Certificate, ...], dict[Norm, str]]:
    from .cell_field import CellField

    if not isinstance(field, CellField):
        text = f"{field.name!r} is not given as an equation, so nothing is known of its slopes"
        return (), {"2": text, "max": text}
    equation = field.equation
    constants = constants_of(equation, field.constant_values, arrays(field.weights()), field.hidden_size)
    found: list[Certificate] = []
    refusals: dict[Norm, str] = {}
    (r, ssp), mu = radii(tableau), float(constants.mu_2)
    both: tuple[tuple[Norm, Array, float], ...] = (("2", constants.rho_2, r), ("max", constants.rho_max, ssp))
    for norm, rho, radius in both:
        step = float((step_2 if norm == "2" else step_max)(constants, tableau))
        if step > 0:
            found.append(_promise(norm, step, float(rho), mu, radius, bool(constants.skew), tableau))
        else:
            refusals[norm] = _refusal(norm, radius, mu, constants, tableau, equation.name)
    return tuple(found), refusals


def _promise(
    norm: Norm, step: float, rho: float, mu: float, radius: float, skew: bool, tableau: Tableau
) -> Certificate:
    if norm == "2" and radius == math.inf:
        if skew and symplectic(tableau):
            reason = (
                f"The Jacobian is skew for every state and {tableau.name} keeps quadratic invariants, so every "
                "difference keeps its 2-norm at every step size."
            )
            return Certificate("conserved", "2", step, mu, radius, reason)
        reason = (
            f"The one-sided Lipschitz constant is at most {mu:.4g} <= 0 and {tableau.name} is algebraically stable, so "
            "it contracts in the 2-norm at every step size."
        )
        return Certificate("one-sided", "2", step, mu, radius, reason)
    told = "2-norm" if norm == "2" else "maximum norm"
    radius_name = "circle-contractivity radius" if norm == "2" else "radius of absolute monotonicity"
    size = "at every step size" if step == math.inf else f"for steps up to {step:.4g}"
    reason = (
        f"The field satisfies the circle condition in the {told} with rho = {rho:.4g} and {tableau.name} has the "
        f"{radius_name} {radius:.4g}, so it contracts {size}."
    )
    return Certificate("circle" if norm == "2" else "maximum-norm", norm, step, rho, radius, reason)


def _refusal(norm: Norm, radius: float, mu: float, constants: Constants, tableau: Tableau, name: str) -> str:
    """Why there is no certificate, as half a sentence."""
    told = "2-norm" if norm == "2" else "maximum norm"
    if radius == 0:
        what = "circle-contractivity radius" if norm == "2" else "radius of absolute monotonicity"
        return f"{tableau.name} has the {what} 0"
    if constants.sectors.unbounded:
        return f"{constants.sectors.unbounded} has no bound that holds for all states and inputs of {name!r}"
    if norm == "max":
        return "in the maximum norm some row of the Jacobian may stretch: its off-diagonal entries can exceed its decay"
    if mu > 0 and constants.sectors.bare:
        return (
            "in the 2-norm diag(phi') M need not be dissipative where M is (the one-sided Lipschitz constant may reach "
            f"{mu:.3g} > 0), nor in another inner-product norm unless M is a negative diagonal times a positive "
            "definite matrix"
        )
    if mu > 0:
        return (
            f"in the 2-norm the slopes, free in their intervals, allow a one-sided Lipschitz constant of {mu:.3g} > 0, "
            "so differences may grow even along exact solutions"
        )
    return (
        f"{tableau.name} has the finite radius {radius:.4g} and the field satisfies no circle condition in the {told}"
    )


def arrays(weights: Sequence[Any]) -> list[Array]:
    """A field's weights as float64 arrays."""
    return [np.asarray(w.detach().cpu().double().numpy()) for w in weights]


def certified_step(
    cell: str,
    tableau: str,
    hidden: int,
    seed: int,
    constants: Mapping[str, float] | None = None,
    inputs: int = 1,
) -> Certificate:
    """The certificate of a cell of the catalogue with the weights that a run with this seed starts from, in float64.

    Raises `UsageError` for an unknown name or constant, a size below 1, or a seed below 0.
    """
    import torch

    from ..suite.errors import UsageError
    from ..suite.seeds import stream
    from .cell_field import CellField
    from .fields import field_of
    from .spec import find_tableau
    from .torch_field import positive_size

    positive_size("hidden_size", hidden)
    if seed < 0:
        raise UsageError(f"the seed is {seed}: expected a whole number of at least 0.")
    method = find_tableau(tableau)
    if not isinstance(method, Tableau):
        raise UsageError(f"method {tableau!r} is no Runge-Kutta tableau: certificates are for tableaux.")
    equation = field_of(cell)
    if not isinstance(equation, EquationField):
        text = f"No certificate: {cell!r} is not given as an equation, so nothing is known of its slopes."
        return Certificate("none", None, 0.0, math.inf, 0.0, text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(stream(seed, "weights").integers(2**62)))
        field = CellField(equation, inputs, hidden, constants, dtype=torch.float64)
    return certify(field, method)


# ---------------------------------------------------------------------------------------------------- spectral picture


def spectral_limit(field: Any, tableau: Tableau, states: Any, drives: Any) -> float:
    """The largest h such that h' lambda lies in the region |R(z)| <= 1 for all h' <= h and all eigenvalues lambda of
    the field's Jacobians at the given (states, drives), both (batch, ...): necessary for stability, not sufficient.
    """
    eigenvalues = np.linalg.eigvals(arrays([field.jacobian(states, drives, field.weights())])[0]).ravel()
    return min((_exit(tableau, complex(value)) for value in eigenvalues), default=math.inf)


def _exit(tableau: Tableau, eigenvalue: complex) -> float:
    """The h at which h times the eigenvalue first leaves the region of stability."""
    size = abs(eigenvalue)
    if size < 1e-14:
        return math.inf
    direction = eigenvalue / size
    if abs(direction.real) < 1e-12:  # rounding of an eigenvalue on the imaginary axis
        direction = complex(0.0, math.copysign(1.0, direction.imag))

    def modulus(coefficients: Sequence[Any]) -> Array:
        ray = np.array([float(c) * direction**k for k, c in enumerate(coefficients)])
        found: Array = np.convolve(ray, ray.conj()).real
        return found

    P, Q = (stability_polynomial(tableau), (1,)) if tableau.explicit else stability_function(tableau)
    excess = np.polynomial.polynomial.polysub(modulus(P), modulus(Q))
    excess[np.abs(excess) < 1e-13 * np.abs(excess).max(initial=0.0)] = 0.0
    if not excess.any():
        return math.inf
    roots = np.polynomial.polynomial.polyroots(excess)
    near = [float(z.real) for z in roots if z.real > 1e-9 and abs(z.imag) < 1e-7 * abs(z)]
    edges = [0.0, *sorted(near)]
    probes = [(a + b) / 2 for a, b in pairwise(edges)] + [edges[-1] + 1.0]
    for start, probe in zip(edges, probes, strict=True):
        if np.polynomial.polynomial.polyval(probe, excess) > 0:
            return start / size
    return math.inf
