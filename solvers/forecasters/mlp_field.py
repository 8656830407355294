"""A field dz/dt given by a network with tanh units, trained through the steps of its own method: an autonomous ODERNN.

Adam on the updates of the budget: the first half on pairs of successive samples, then by multiple shooting on segments
of true samples that double up to `segment`, each begun at a true state and rolled out. A budget whose learning rate
decays serves it best. The loss is the mean square of what the rollout misses, in increments of a sample. Last, the
output layer, in which the field is linear, is solved for by least squares through the steps, and kept where that lowers
the loss on segments held for it: what Adam leaves of an error is mostly in that layer, and lasts long.
Computes in float32 or float64. Entries, with their defaults:

tableau, backend    required; a method that the backend can step and differentiate
substeps = 1        steps of it a sample
hidden = 128        units of a layer
depth = 1           layers of tanh units
segment = 4         samples of the longest segments
solve = true        whether the output layer is solved for at the end

Reference: R. T. Q. Chen, Y. Rubanova, J. Bettencourt, D. Duvenaud, NeurIPS 2018, arXiv:1806.07366, for learned fields;
H. G. Bock, 1983, in Numerical Treatment of Inverse Problems in Differential and Integral Equations, page 95, for
multiple shooting; G. H. Golub, V. Pereyra, SIAM Journal on Numerical Analysis 10 (1973) 413, for solving apart what is
linear.
"""

from __future__ import annotations

from ...suite.contracts import Learned
from .rung import Lesson, Option, Rung


def learn(lesson: Lesson) -> Learned:
    """Train the network; see `shooting.train`."""
    from .shooting import train

    return train(lesson)


FORECASTER = Rung(
    "mlp-field",
    "Chen, Rubanova, Bettencourt, Duvenaud, NeurIPS 2018, arXiv:1806.07366; Bock 1983 for multiple shooting",
    learn,
    {
        "hidden": Option(128, least=1),
        "depth": Option(1, least=1, most=8),
        "segment": Option(4, least=1),
        "solve": Option(True),
    },
    is_field=True,
    updates=True,
    dtypes=("float32", "float64"),
)
