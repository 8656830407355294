"""The adding problem: remember two marked numbers among many, and give their sum at the end.

Hochreiter and Schmidhuber 1997, Neural Computation 9(8):1735, section 5.4 (there with other scaling); in today's form
Arjovsky, Shah and Bengio 2016, arXiv:1511.06464. Where the two marks may lie differs between codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..suite.contracts import Array, Batch, LearningTask
from ..suite.errors import UsageError, unknown
from ..suite.metrics import mean_squared_error, skill

VARIANTS: Mapping[str, str] = MappingProxyType(
    {
        "arjovsky": "one mark in [0, T // 2), one in [T // 2, T): github.com/amarshah/complex_RNN, adding_problem.py; "
        "also coRNN, LEM and S4",
        "nnrnn": "one mark in [0, T // 2), one in [(T + 1) // 2, T), so an odd T never marks its middle: "
        "github.com/nnRNN/nnRNN_release",
        "tcn": "two distinct marks anywhere: Bai, Kolter and Koltun 2018, arXiv:1803.01271, github.com/locuslab/TCN",
    }
)
"""Where the marks lie, by name, with the source of each."""


@dataclass(frozen=True)
class Adding(LearningTask):
    """Sequences (u_i, m_i), u uniform on [0, 1], m one at two places and zero elsewhere; the target is the sum of the
    two marked u, after the last step; squared error there.

    length: T >= 2; variant: one of `VARIANTS`. The best answer without memory is 1, the mean of the sum, with squared
    error 1/6, its variance. Raises `UsageError` for a shorter length or an unknown variant.
    """

    length: int = 100
    variant: str = "arjovsky"

    name = "adding"
    primary_metric = "mean_squared_error"
    loss = "mean_squared_error"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise unknown("variant of adding", self.variant, VARIANTS)
        if self.length < 2:
            raise UsageError(f"adding needs a length of at least 2, one step for each mark, got {self.length}.")

    @property
    def inputs(self) -> int:
        return 2

    @property
    def outputs(self) -> int:
        return 1

    @property
    def memory_length(self) -> int:
        """Steps from the first number, which may be marked, to the last, where the sum is due."""
        return self.length - 1

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        numbers = rng.random((self.length, size))
        first, second = self._marks(size, rng)
        sequence = np.arange(size)
        marks = np.zeros_like(numbers)
        marks[first, sequence] = 1.0
        marks[second, sequence] = 1.0
        targets = np.zeros((self.length, size, 1))
        targets[-1, :, 0] = numbers[first, sequence] + numbers[second, sequence]
        weights = np.zeros((self.length, size))
        weights[-1] = 1.0
        return Batch(np.stack([numbers, marks], axis=-1), targets, weights)

    def _marks(self, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Two places a sequence, each (size,)."""
        if self.variant == "tcn":
            first = rng.integers(0, self.length, size)
            return first, (first + rng.integers(1, self.length, size)) % self.length  # distinct, uniform over pairs
        second_half = self.length // 2 if self.variant == "arjovsky" else (self.length + 1) // 2
        return rng.integers(0, self.length // 2, size), rng.integers(second_half, self.length, size)

    def baseline(self) -> dict[str, float]:
        """The constant answer 1: the variance of a sum of two uniform numbers, 2/12."""
        return {"mean_squared_error": 1.0 / 6.0}

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        error = mean_squared_error(outputs, batch.targets, batch.weights)
        return {"mean_squared_error": error, "skill": skill(error, 1.0 / 6.0)}


TASK = Adding
