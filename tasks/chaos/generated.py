"""Training series made by a tableau, and not by the exact flow: the inverse crime, on purpose and flagged.

A field trained through the method that generated its data, with the same step, can be the true field exactly; its score
says nothing of other data (Colton & Kress, *Inverse Acoustic and Electromagnetic Scattering Theory*, name the crime).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...suite.catalogue import load
from ...suite.contracts import Array
from ...suite.errors import UsageError
from ..audits.plain_loop import Coefficients, of, trajectory
from .truth import training_series
from .view import View


def coefficients(tableau: str) -> Coefficients:
    """Of an explicit tableau; raises `UsageError` for a name that is none."""
    try:
        method = of(load("tableau", tableau))
        explicit = method.b.ndim == 1 and method.explicit
    except AttributeError:  # a splitting has no coefficients
        explicit = False
    if not explicit:
        raise UsageError(f"generator {tableau!r} is no explicit tableau: expected one, such as 'rk4'.")
    return method


@lru_cache(maxsize=4)
def generated_series(view: View, tableau: str, count: int, samples: int) -> Array:
    """(samples, count, components), standardised: one step a sample of the explicit tableau, from the starts of the
    true training series. Raises `UsageError` for a name that is no explicit tableau; read-only."""
    method = coefficients(tableau)
    equation = view.chaotic.equation
    f, jacobian = equation.function(), equation.jacobian()
    times = view.sampling * np.arange(samples)
    starts = training_series(view.name, count, 2)[0]
    series = np.stack([trajectory(method, f, jacobian, start, times) for start in starts], axis=1)
    found: Array = view.standard(series)
    found.setflags(write=False)
    return found
