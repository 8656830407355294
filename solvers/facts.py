"""What there is to say of a method, computed from its coefficients: for `odernn show`, `odernn list tableaux`, JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from . import coloured_trees, order, splitting_order, stability, structure
from .oscillator import oscillator_limit
from .partitioned_tableau import PartitionedTableau
from .quadratic import Scalar
from .splitting import Splitting
from .tableau import Tableau

_LINEAR_MAP = Tableau("cayley", ((Fraction(1, 2),),), (Fraction(1),), 2, "the implicit midpoint rule, of a linear part")


def brief(method: Tableau | PartitionedTableau | Splitting) -> dict[str, Any]:
    """Orders and stability as plain JSON, the same keys for every kind; None where a question has no meaning.

    order, embedded_order: from rooted trees, two-coloured trees for a partitioned method, words for a splitting.
    A_stable, L_stable and both intervals: of R(z), for a splitting that of the map of one linear part.
    oscillator_limit: largest h omega on the harmonic oscillator in two blocks or two parts. B_stable: for a splitting,
    whether the step contracts where every part does, in one norm. symplectic: for a splitting, of Hamiltonian parts.
    An infinite number appears as "inf".
    """
    if isinstance(method, Tableau):
        found = _of_tableau(method)
    elif isinstance(method, PartitionedTableau):
        found = _of_partitioned(method)
    else:
        found = _of_splitting(method)
    return _plain(found)


def describe(method: Tableau | PartitionedTableau | Splitting) -> dict[str, Any]:
    """Everything about one method as plain JSON: coefficients as text, then `brief`, then what takes longer.

    Intervals, radii and principal error norm belong to b, not to b_hat. An infinite number appears as "inf".
    """
    facts: dict[str, Any] = {"name": method.name, **brief(method)}
    if isinstance(method, Tableau):
        P, Q = stability.stability_function(method)
        facts |= {
            "A": [_text(row) for row in method.A],
            "b": _text(method.b),
            "b_hat": None if method.b_hat is None else _text(method.b_hat),
            "c": _text(method.c),
            "explicit": method.explicit,
            "diagonally_implicit": method.diagonally_implicit,
            "fsal": method.fsal,
            "stiffly_accurate": method.stiffly_accurate,
            "stability_function": {"P": _text(P), "Q": _text(Q)},
            "ssp_radius": stability.ssp_radius(method),
            "circle_radius": stability.circle_radius(method),
            "principal_error_norm": order.principal_error_norm(method.A, method.b, facts["order"]),
        }
    elif isinstance(method, PartitionedTableau):
        facts |= {
            "order_when_separable": coloured_trees.computed_order(method, separable=True),
            "symplectic_when_separable": structure.partitioned_symplectic(method, separable=True),
            "explicit": method.explicit,
            "explicit_when_separable": method.explicit_when_separable,
            "A": [[_text(row) for row in A] for A in method.A],
            "b": [_text(b) for b in method.b],
            "c": [_text(c) for c in method.c],
        }
    else:
        facts |= {
            "linear": method.linear,
            "pattern": method.pattern,
            "sequence": {
                f"{parts} parts": [[part, str(fraction)] for part, fraction in method.sequence(parts)]
                for parts in (2, 3)
            },
        }
    return _plain(facts | {"reference": method.reference})


def _of_tableau(method: Tableau) -> dict[str, Any]:
    family = "explicit" if method.explicit else "diagonally implicit" if method.diagonally_implicit else "implicit"
    hat = method.b_hat
    return {
        "family": family,
        "stages": method.stages,
        "order": order.computed_order(method.A, method.b, tolerance=method.tolerance),
        "embedded_order": None if hat is None else order.computed_order(method.A, hat, tolerance=method.tolerance),
        **_of_function(method),
        "algebraically_stable": structure.algebraically_stable(method),
        "B_stable": structure.b_stable(method),
        "symplectic": structure.symplectic(method),
        "symmetric": structure.symmetric(method),
        "oscillator_limit": stability.imaginary_stability_interval(method),
    }


def _of_function(method: Tableau) -> dict[str, Any]:
    return {
        "real_stability_interval": stability.real_stability_interval(method),
        "imaginary_stability_interval": stability.imaginary_stability_interval(method),
        "A_stable": stability.a_stable(method),
        "L_stable": stability.l_stable(method),
    }


def _of_partitioned(method: PartitionedTableau) -> dict[str, Any]:
    return {
        "family": "partitioned",
        "stages": method.stages,
        "order": coloured_trees.computed_order(method),
        "embedded_order": None,
        "real_stability_interval": None,
        "imaginary_stability_interval": None,
        "A_stable": None,
        "L_stable": None,
        "algebraically_stable": None,
        "B_stable": None,
        "symplectic": structure.partitioned_symplectic(method),
        "symmetric": structure.partitioned_symmetric(method),
        "oscillator_limit": oscillator_limit(method),
    }


def _of_splitting(method: Splitting) -> dict[str, Any]:
    if method.linear == "exact":
        # R(z) = exp(z): at most 1 on the left half plane, 1 on the imaginary axis, 0 at minus infinity
        part = {
            "real_stability_interval": math.inf,
            "imaginary_stability_interval": math.inf,
            "A_stable": True,
            "L_stable": True,
        }
        contracts = symplectic = symmetric = True
    else:
        part = _of_function(_LINEAR_MAP)
        contracts = structure.b_stable(_LINEAR_MAP)
        symplectic, symmetric = structure.symplectic(_LINEAR_MAP), structure.symmetric(_LINEAR_MAP)
    sequence = method.sequence(3)
    return {
        "family": "splitting",
        "stages": None,
        "order": splitting_order.computed_order(method),
        "embedded_order": None,
        **part,
        "algebraically_stable": None,
        "B_stable": contracts and all(fraction > 0 for _, fraction in sequence),
        "symplectic": symplectic,
        "symmetric": symmetric and sequence == sequence[::-1],
        "oscillator_limit": oscillator_limit(method),
    }


def _text(values: Sequence[Scalar]) -> list[str]:
    return [str(value) for value in values]


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: "inf" if value == math.inf else value for key, value in facts.items()}
