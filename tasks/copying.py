"""The copying memory problem: read some symbols, wait, and repeat them.

Hochreiter and Schmidhuber 1997, Neural Computation 9(8):1735; in today's form Arjovsky, Shah and Bengio 2016,
arXiv:1511.06464. Codes that quote one another lay it out differently, so each layout has a name here.
With K symbols of C classes, blank 0, symbols 1..C and a marker C + 1, every sequence has T + 2K steps, and the symbols
are asked for, in order, at the last K of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from ..suite.contracts import Array, Batch, LearningTask
from ..suite.errors import UsageError, unknown
from ..suite.metrics import accuracy, cross_entropy, skill


@dataclass(frozen=True)
class Variant:
    """One published layout.

    blanks: how many there are between the symbols and the marker, less T; marker: "one" step, "all" the steps from
    there to the end; scalar: the code number itself is the input, not its one-hot vector; counts: the loss counts
    "every" step or the "recall" alone; scattered: the symbols lie in order at random places among the first T + K;
    marker_class: an (unused) output class for the marker exists.
    """

    source: str
    blanks: int = -1
    marker: Literal["one", "all"] = "one"
    scalar: bool = False
    counts: Literal["every", "recall"] = "every"
    scattered: bool = False
    marker_class: bool = False


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "arjovsky": Variant(
            "Arjovsky et al. 2016, github.com/amarshah/complex_RNN, memory_problem.py; scoRNN and EUNN too"
        ),
        "exprnn": Variant(
            "Lezcano-Casado and Martinez-Rubio 2019, arXiv:1901.08428, github.com/Lezcano/expRNN, 1_copying.py: "
            "T blanks, so the first symbol is due at the marker itself",
            blanks=0,
        ),
        "nnrnn": Variant(
            "Kerg et al. 2019, arXiv:1905.12080, github.com/nnRNN/nnRNN_release, copytask.py: scalar input", scalar=True
        ),
        "tcn": Variant(
            "Bai et al. 2018, arXiv:1803.01271, github.com/locuslab/TCN, copy_memory: scalar input, the marker goes on",
            marker="all",
            scalar=True,
            marker_class=True,
        ),
        "hippo": Variant(
            "Gu et al. 2020, arXiv:2008.07669, github.com/HazyResearch/hippo-code, datasets/copying.py; also S4: "
            "T blanks, K markers, the loss counts the recall alone",
            blanks=0,
            marker="all",
            counts="recall",
            marker_class=True,
        ),
        "selective": Variant(
            "as hippo with variable=True: Gu and Dao 2023, arXiv:2312.00752, section 3.1, for the name",
            blanks=0,
            marker="all",
            counts="recall",
            scattered=True,
            marker_class=True,
        ),
    }
)
"""The layouts by name, with the source of each."""


@dataclass(frozen=True)
class Copying(LearningTask):
    """Recall `symbols` symbols of `classes` classes after a delay of `length` (the T of the papers).

    inputs: one-hot (classes + 2) or the scalar code number, as the variant says; outputs: classes + 1 logits (blank and
    symbols; one more where the variant keeps a class for the marker). Fresh sequences for every batch. Raises
    `UsageError` where length, symbols < 1, classes < 2, or the variant is unknown.
    """

    length: int = 100
    symbols: int = 10
    classes: int = 8
    variant: str = "arjovsky"

    name = "copying"
    primary_metric = "accuracy"
    loss = "cross_entropy"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise unknown("variant of copying", self.variant, VARIANTS)
        for key, value, least in [
            ("length", self.length, 1),
            ("symbols", self.symbols, 1),
            ("classes", self.classes, 2),
        ]:
            if value < least:
                raise UsageError(f"copying needs {key} of at least {least}, got {value}.")

    @property
    def layout(self) -> Variant:
        return VARIANTS[self.variant]

    @property
    def inputs(self) -> int:
        return 1 if self.layout.scalar else self.classes + 2

    @property
    def outputs(self) -> int:
        return self.classes + 2 if self.layout.marker_class else self.classes + 1

    @property
    def memory_length(self) -> int:
        """Steps from a symbol to its recall: T + K (for scattered symbols the longest case)."""
        return self.length + self.symbols

    @property
    def steps(self) -> int:
        """Steps of a sequence, T + 2K."""
        return self.length + 2 * self.symbols

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        recall = self.length + self.symbols
        symbols = rng.integers(1, self.classes + 1, (self.symbols, size))
        codes = np.zeros((self.steps, size), dtype=np.int64)
        codes[self._places(size, rng), np.arange(size)] = symbols
        marker = self.symbols + self.length + self.layout.blanks
        codes[marker : marker + 1 if self.layout.marker == "one" else self.steps] = self.classes + 1
        targets = np.zeros((self.steps, size), dtype=np.int64)
        targets[recall:] = symbols
        weights = np.ones((self.steps, size))
        if self.layout.counts == "recall":
            weights[:recall] = 0.0
        inputs = codes[..., None].astype(np.float64) if self.layout.scalar else np.eye(self.classes + 2)[codes]
        return Batch(inputs, targets, weights)

    def _places(self, size: int, rng: np.random.Generator) -> Array:
        """At which steps the symbols are shown, (symbols, size), increasing along the first axis."""
        if not self.layout.scattered:
            return np.repeat(np.arange(self.symbols)[:, None], size, axis=1)
        shuffled = np.argsort(rng.random((self.length + self.symbols, size)), axis=0)
        return np.sort(shuffled[: self.symbols], axis=0)

    def baseline(self) -> dict[str, float]:
        """Blanks where blanks are due and a uniform guess at each symbol: symbols ln(classes) / (T + 2 symbols)."""
        guess = math.log(self.classes)
        counted = self.symbols if self.layout.counts == "recall" else self.steps
        return {
            "accuracy": 1.0 / self.classes,
            "cross_entropy": self.symbols * guess / counted,
            "cross_entropy_recall": guess,
        }

    def measure(self, outputs: Array, batch: Batch) -> dict[str, float]:
        recall = np.zeros_like(batch.weights)
        recall[self.length + self.symbols :] = 1.0
        entropy = cross_entropy(outputs, batch.targets, batch.weights)
        return {
            "accuracy": accuracy(outputs, batch.targets, recall),
            "cross_entropy": entropy,
            "cross_entropy_recall": cross_entropy(outputs, batch.targets, recall),
            "skill": skill(entropy, self.baseline()["cross_entropy"]),
        }


TASK = Copying
