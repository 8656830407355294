"""The adding problem: where the marks lie, what is asked, and what the answer without memory scores."""

import numpy as np
import pytest

from odernn.suite.errors import UsageError
from odernn.suite.seeds import stream
from odernn.tasks.adding import TASK, VARIANTS, Adding


class Oracle:
    """Adds what is marked: perfect memory."""

    def outputs(self, inputs):
        return np.cumsum(inputs[..., 0] * inputs[..., 1], axis=0)[..., None]


class Constant:
    """Answers 1 whatever it sees."""

    def outputs(self, inputs):
        return np.ones((*inputs.shape[:2], 1))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("length", [2, 3, 7, 30])
def test_shapes_marks_and_targets(variant, length):
    task = TASK(length=length, variant=variant)
    batch = task.batch(200, np.random.default_rng(0))
    assert batch.inputs.shape == (length, 200, task.inputs)
    assert batch.targets.shape == (length, 200, task.outputs)
    assert batch.inputs.dtype == batch.targets.dtype == batch.weights.dtype == np.float64
    numbers, marks = batch.inputs[..., 0], batch.inputs[..., 1]
    assert (numbers >= 0).all()
    assert (numbers < 1).all()
    assert set(np.unique(marks)) <= {0.0, 1.0}
    assert (marks.sum(axis=0) == 2).all()
    assert batch.targets[-1, :, 0] == pytest.approx((numbers * marks).sum(axis=0), rel=1e-15)
    assert batch.weights[:-1].sum() == 0
    assert (batch.weights[-1] == 1).all()


def positions(variant, length):
    marks = Adding(length=length, variant=variant).batch(4000, np.random.default_rng(1)).inputs[..., 1]
    return {tuple(np.flatnonzero(column)) for column in marks.T}


def test_where_the_marks_lie():
    assert positions("arjovsky", 5) == {(i, j) for i in (0, 1) for j in (2, 3, 4)}
    assert positions("nnrnn", 5) == {(i, j) for i in (0, 1) for j in (3, 4)}
    assert positions("arjovsky", 6) == positions("nnrnn", 6) == {(i, j) for i in (0, 1, 2) for j in (3, 4, 5)}
    assert positions("tcn", 5) == {(i, j) for i in range(5) for j in range(i + 1, 5)}


def test_tcn_pairs_are_equally_likely():
    marks = Adding(length=5, variant="tcn").batch(20_000, np.random.default_rng(2)).inputs[..., 1]
    places = np.argwhere(marks.T)[:, 1].reshape(-1, 2)
    counts = np.unique(places[:, 0] * 5 + places[:, 1], return_counts=True)[1]
    assert len(counts) == 10
    assert ((counts - 2000) ** 2 / 2000).sum() < 27.9  # chi-square, 9 degrees of freedom, 0.1 %


def test_a_seed_fixes_the_batch():
    task = Adding(length=9)
    one, same, other = (task.batch(4, stream(seed, "adding/test")) for seed in (3, 3, 4))
    assert (one.inputs == same.inputs).all()
    assert (one.targets == same.targets).all()
    assert (one.inputs != other.inputs).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_declared_baseline_is_what_the_constant_answer_scores(variant):
    task = Adding(length=20, variant=variant)
    batch = task.batch(100_000, np.random.default_rng(5))
    found = task.measure(Constant().outputs(batch.inputs), batch)
    assert task.baseline() == {"mean_squared_error": pytest.approx(1 / 6, rel=1e-15)}
    # (u1 + u2 - 1)^2 has mean 1/6 and variance 7/180; five standard errors
    assert found["mean_squared_error"] == pytest.approx(1 / 6, abs=5 * np.sqrt(7 / 180 / 100_000))
    assert found["skill"] == pytest.approx(1 - 6 * found["mean_squared_error"])


def test_perfect_memory_is_perfect():
    found = Adding(length=50).judge(Oracle(), seed=0).metrics
    assert found["mean_squared_error"] == pytest.approx(0, abs=1e-28)
    assert found["skill"] == 1.0


def test_bad_parameters():
    assert Adding(length=10).memory_length == 9
    with pytest.raises(UsageError, match="at least 2"):
        Adding(length=1)
    with pytest.raises(UsageError, match="did you mean 'tcn'"):
        Adding(variant="tnc")
