"""The limit of small steps, from a few of them: Richardson extrapolation.

L. F. Richardson, J. A. Gaunt, *The deferred approach to the limit*, Phil. Trans. R. Soc. A 226 (1927) 299-361; for
one-step methods Hairer, Norsett, Wanner, *Solving Ordinary Differential Equations I*, II.8 (eq. 8.2) and II.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ...suite.contracts import Array


def limit(values: Sequence[Array], order: int) -> tuple[Array, Array]:
    """(L, L'): the limit of values(h) = L + c_p h^p + c_(p+1) h^(p+1) + ... and what all but the coarsest say of it.

    values: at steps h, h/2, h/4, ..., coarse to fine, at least two; order: p. The difference L - L' bounds the error of
    L where the expansion holds; terms that are absent, as every odd one of a symmetric method, do no harm.
    """
    column = list(values)
    for power in range(order, order + len(values) - 1):
        before, ratio = column[-1], 2.0**power
        column = [fine + (fine - coarse) / (ratio - 1) for coarse, fine in pairwise(column)]
    return column[0], before
