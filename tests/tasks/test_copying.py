"""Copying memory: every layout against a hand-written sequence, and the score of predictors whose score is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odernn.suite.errors import UsageError
from odernn.suite.seeds import stream
from odernn.tasks.copying import TASK, VARIANTS, Copying


def codes(task, batch):
    """The code number at each step, from one-hot or scalar inputs."""
    return batch.inputs[..., 0].astype(int) if task.inputs == 1 else np.argmax(batch.inputs, axis=-1)


# T = 4 with the three symbols a b c, written out from the sources' descriptions; 0 blank, 9 marker, "." not counted
LAYOUTS = {
    "arjovsky": ("abc0009000", "0000000abc"),
    "exprnn": ("abc0000900", "0000000abc"),
    "nnrnn": ("abc0009000", "0000000abc"),
    "tcn": ("abc0009999", "0000000abc"),
    "hippo": ("abc0000999", ".......abc"),
}


@pytest.mark.parametrize("variant", LAYOUTS)
def test_layouts(variant):
    task = TASK(length=4, symbols=3, variant=variant)
    batch = task.batch(50, np.random.default_rng(0))
    shown = codes(task, batch)
    for sequence in range(50):
        letters = {letter: str(code) for letter, code in zip("abc", shown[:3, sequence], strict=True)}
        expected, answer = ("".join(letters.get(c, c) for c in text) for text in LAYOUTS[variant])
        assert "".join(map(str, shown[:, sequence])) == expected
        counted = batch.weights[:, sequence] > 0
        targets = batch.targets[:, sequence]
        assert "".join(str(t) if w else "." for t, w in zip(targets, counted, strict=True)) == answer
    assert set(np.unique(shown[:3])) == set(range(1, 9))


def test_one_hot_and_scalar_inputs_and_classes():
    sizes = {variant: (Copying(variant=variant).inputs, Copying(variant=variant).outputs) for variant in VARIANTS}
    assert sizes == {
        "arjovsky": (10, 9),
        "exprnn": (10, 9),
        "nnrnn": (1, 9),
        "tcn": (1, 10),
        "hippo": (10, 10),
        "selective": (10, 10),
    }
    batch = Copying(length=3).batch(4, np.random.default_rng(0))
    assert (batch.inputs.sum(axis=-1) == 1).all()
    assert set(np.unique(batch.inputs)) == {0.0, 1.0}
    assert batch.targets.dtype == np.int64
    assert batch.inputs.dtype == batch.weights.dtype == np.float64


@given(length=st.integers(1, 12), symbols=st.integers(1, 5), classes=st.integers(2, 9), seed=st.integers(0, 99))
def test_selective_scatters_the_symbols_in_order(length, symbols, classes, seed):
    task = Copying(length, symbols, classes, "selective")
    batch = task.batch(6, np.random.default_rng(seed))
    shown = codes(task, batch)
    assert (shown[length + symbols :] == classes + 1).all()
    for sequence in range(6):
        head = shown[: length + symbols, sequence]
        assert head[head > 0].tolist() == batch.targets[length + symbols :, sequence].tolist()


def test_selective_places_are_uniform():
    task = Copying(3, 2, 8, "selective")
    head = codes(task, task.batch(20_000, np.random.default_rng(3)))[:5]
    places = np.argwhere(head.T > 0)[:, 1].reshape(-1, 2)
    counts = np.unique(places[:, 0] * 5 + places[:, 1], return_counts=True)[1]
    assert len(counts) == 10
    assert ((counts - 2000) ** 2 / 2000).sum() < 27.9  # chi-square, 9 degrees of freedom, 0.1 %


@pytest.mark.parametrize(
    ("length", "published"),
    # ten symbols of eight classes: 10 ln 8 / (T + 20)
    [
        (100, 0.17329),
        (200, 0.09452),
        (300, 0.06498),
        (500, 0.03999),
        (750, 0.02701),
        (1000, 0.020387),
        (2000, 0.010294),
    ],
)
def test_baseline_values(length, published):
    assert Copying(length).baseline()["cross_entropy"] == pytest.approx(published, abs=6e-6)
    assert Copying(length).baseline()["cross_entropy_recall"] == pytest.approx(2.0794, abs=5e-5)
    assert Copying(length, variant="hippo").baseline()["cross_entropy"] == pytest.approx(2.0794, abs=5e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_declared_baseline_is_what_the_memoryless_predictor_scores(variant):
    task = Copying(20, variant=variant)
    batch = task.batch(4000, np.random.default_rng(7))
    outputs = np.full((*batch.targets.shape, task.outputs), -1e3)
    outputs[: 20 + 10, :, 0] = 0.0
    outputs[20 + 10 :, :, 1:9] = 0.0  # each of the eight symbols alike
    found, declared = task.measure(outputs, batch), task.baseline()
    assert found["cross_entropy"] == pytest.approx(declared["cross_entropy"], rel=1e-12)
    assert found["cross_entropy_recall"] == pytest.approx(declared["cross_entropy_recall"], rel=1e-12)
    assert found["skill"] == pytest.approx(0, abs=1e-12)
    assert declared["accuracy"] == 1 / 8
    # one symbol named always is right one time in eight; five standard errors
    assert found["accuracy"] == pytest.approx(1 / 8, abs=5 * math.sqrt(1 / 8 * 7 / 8 / 40_000))


class Oracle:
    """Remembers every symbol and gives them back over the last steps."""

    def __init__(self, task):
        self.task = task

    def outputs(self, inputs):
        codes = inputs[..., 0].astype(int) if self.task.inputs == 1 else np.argmax(inputs, axis=-1)
        steps, size = codes.shape
        answer = np.zeros((steps, size), dtype=int)
        for sequence in range(size):
            seen = [code for code in codes[:, sequence] if 0 < code <= self.task.classes]
            answer[steps - len(seen) :, sequence] = seen
        return 1e3 * np.eye(self.task.outputs)[answer]


@pytest.mark.parametrize("variant", VARIANTS)
def test_perfect_memory_is_perfect(variant):
    task = Copying(8, symbols=4, variant=variant)
    found = task.judge(Oracle(task), seed=1).metrics
    assert found == {"accuracy": 1.0, "cross_entropy": 0.0, "cross_entropy_recall": 0.0, "skill": 1.0}


def test_a_seed_fixes_the_batch_and_the_test_is_not_the_training():
    task = Copying(5)
    one, same = (task.batch(8, stream(2, "copying/test")) for _ in range(2))
    assert (one.inputs == same.inputs).all()
    assert (one.targets == same.targets).all()
    for seed, name in [(3, "copying/test"), (2, "copying/train")]:
        assert (one.inputs != task.batch(8, stream(seed, name)).inputs).any()


def test_memory_length_is_the_distance_from_a_symbol_to_its_recall():
    task = Copying(7, symbols=3)
    batch = task.batch(30, np.random.default_rng(0))
    assert task.memory_length == 10
    for k in range(3):
        assert (codes(task, batch)[k] == batch.targets[k + task.memory_length]).all()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"length": 0}, "length of at least 1, got 0"),
        ({"symbols": 0}, "symbols of at least 1"),
        ({"classes": 1}, "classes of at least 2"),
        ({"variant": "arjovski"}, "did you mean 'arjovsky'"),
    ],
)
def test_bad_parameters(bad, message):
    with pytest.raises(UsageError, match=message):
        Copying(**bad)
