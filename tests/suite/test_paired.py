"""Statistics of paired differences against enumeration, SciPy, textbooks, and what they promise about chance."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from odernn.suite import paired
from odernn.suite.paired import holm, intervals, needed, sign_flip, smallest
from odernn.suite.paired import testable as chosen  # pytest would collect it under its own name
from odernn.suite.seeds import stream


def counted(differences: list[int]) -> Fraction:
    """The share of all sign flips whose sum is at least as far from zero, in whole numbers."""
    flips = list(itertools.product((-1, 1), repeat=len(differences)))
    edge = abs(sum(differences))
    hits = sum(abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= edge for signs in flips)
    return Fraction(hits, len(flips))


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=10))
@settings(deadline=None)
def test_sign_flips_are_all_counted_with_zeros_and_ties(differences: list[int]) -> None:
    assert sign_flip(differences) == float(counted(differences))


def test_sign_flips_equal_those_of_scipy() -> None:
    differences = stream(3, "test/differences").normal(0.4, 1.0, 11)
    expected = scipy.stats.permutation_test(
        (differences, np.zeros(11)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert sign_flip(differences) == pytest.approx(expected.pvalue, abs=1e-15)


def test_differences_that_tie_but_for_rounding_count_as_tied() -> None:
    before, after = np.array([0.1, 0.7, 1.1, 0.3]), np.array([0.4, 1.0, 1.4, 0.0])  # 0.3 three times, then -0.3
    rounding = 2.0**-50 * float(np.abs(before).sum() + np.abs(after).sum())
    assert sign_flip(after - before, rounding) == float(counted([3, 3, 3, -3]))


def test_one_sign_throughout_reaches_the_smallest_p_value() -> None:
    for count in (1, 2, 6, 13, paired.EXACT):
        assert sign_flip(np.linspace(1, 2, count)) == smallest(count) == 2.0 ** (1 - count)
    assert sign_flip([]) == sign_flip([0.0, 0.0]) == sign_flip([1.0, -1.0]) == 1.0


def test_many_differences_are_flipped_at_random_and_always_alike() -> None:
    differences = stream(1, "test/many").normal(0.25, 1.0, 60)
    first = sign_flip(differences)
    assert first == sign_flip(differences) == sign_flip(-differences)
    t = scipy.stats.ttest_1samp(differences, 0.0).pvalue  # of normal differences the same to a few parts in a hundred
    assert first == pytest.approx(t, rel=0.1)
    assert sign_flip(np.ones(40)) == smallest(40) == 1 / (1 + paired.DRAWS)


def test_how_many_seeds_are_needed() -> None:
    assert needed(0.05) == 6  # 2 / 2^6 = 0.031
    assert needed(0.01) == 8
    assert needed(0.05, 40) == 11  # 40 * 2 / 2^11 = 0.039
    assert needed(0.5) == 2
    for alpha, groups in itertools.product((0.2, 0.05, 1e-3), (1, 2, 7, 1000)):
        count = needed(alpha, groups)
        assert groups * Fraction(2, 2**count) <= Fraction(alpha) < groups * Fraction(4, 2**count)


def test_holm_of_a_textbook() -> None:
    # Holm's steps by hand: 0.005 * 4, 0.01 * 3, 0.03 * 2, then 0.04 * 1 raised to the one before
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-15)
    np.testing.assert_array_equal(holm([]), [])
    np.testing.assert_array_equal(holm([0.7, 0.6]), [1.0, 1.0])


@given(st.lists(st.integers(0, 100), min_size=1, max_size=8), st.integers(1, 99))
def test_holm_rejects_what_its_steps_reject(percent: list[int], level: int) -> None:
    """Holm as he states it: reject from the smallest on while p <= alpha / (hypotheses left)."""
    order, rejected = sorted(range(len(percent)), key=lambda i: percent[i]), set[int]()
    for place, index in enumerate(order):
        if Fraction(percent[index]) > Fraction(level, len(percent) - place):
            break
        rejected.add(index)
    corrected = holm([p / 100 for p in percent])
    assert {i for i, p in enumerate(corrected) if p <= level / 100 * (1 + 1e-12)} == rejected


def test_hypotheses_that_cannot_be_rejected_cost_the_others_nothing() -> None:
    kept, number = chosen([2.0**-9] * 3 + [0.25] * 1000, 0.05)
    assert number == 3
    assert kept.tolist() == [True] * 3 + [False] * 1000
    kept, _ = chosen([2.0**-5] * 2, 0.05)  # 0.031 passes alone, never as one of two
    assert not kept.any()
    assert chosen([2.0**-5], 0.05)[0].all()
    assert chosen([], 0.05)[0].tolist() == []


@given(st.lists(st.integers(0, 12), max_size=30))
def test_the_number_corrected_for_is_the_smallest_that_will_do(exponents: list[int]) -> None:
    low = [2.0**-e for e in exponents]
    fits = [k for k in range(1, len(low) + 1) if sum(p <= 0.05 / k for p in low) <= k]
    kept, number = chosen(low, 0.05)
    if low:
        assert number == fits[0]
        assert kept.tolist() == [p <= 0.05 / number for p in low]


@pytest.mark.parametrize("count", [6, 10, 25])
def test_intervals_are_scipys_percentile_intervals_at_the_raised_level(count: int) -> None:
    differences = stream(count, "test/intervals").normal(0.3, 1.0, count)
    tail = scipy.stats.norm.cdf(scipy.stats.t.ppf(0.025, count - 1) * math.sqrt(count / (count - 1)))
    expected = scipy.stats.bootstrap(
        (differences,),
        np.mean,
        confidence_level=1 - 2 * tail,
        n_resamples=200_000,
        method="percentile",
        rng=stream(0, "test/scipy"),
    ).confidence_interval
    width = expected.high - expected.low
    np.testing.assert_allclose(intervals(differences[None], 0.95)[0], expected, rtol=0, atol=0.04 * width)


def test_intervals_of_a_group_do_not_depend_on_the_others() -> None:
    differences = stream(0, "test/groups").normal(0.0, 1.0, (2500, 7))
    together = intervals(differences, 0.9)
    assert (together[1234] == intervals(differences[1234:1235], 0.9)[0]).all()
    assert (together[:, 0] < together[:, 1]).all()
    np.testing.assert_array_equal(intervals(np.full((1, 8), 0.1), 0.95), [[0.1, 0.1]])


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12), st.floats(0.5, 0.999))
@settings(deadline=None, max_examples=30)
def test_intervals_stay_within_the_differences(differences: list[float], level: float) -> None:
    low, high = intervals(np.array([differences]), level)[0]
    assert min(differences) <= low <= high <= max(differences)


def test_no_false_finding_more_often_than_promised() -> None:
    """Of symmetric differences around zero, 8 groups of 10 seeds: the family-wise error is at most alpha."""
    random, families = stream(0, "test/family"), 400
    differences = random.standard_t(3, (families, 8, 10))
    false = sum(bool((holm([sign_flip(group) for group in family]) <= 0.05).any()) for family in differences)
    assert false <= scipy.stats.binom.ppf(0.999, families, 0.05)


CASES: list[tuple[int, str, float]] = [(6, "normal", 0.925), (10, "normal", 0.935), (20, "normal", 0.935)]
CASES += [(6, "uniform", 0.92), (10, "uniform", 0.935), (6, "lognormal", 0.79), (20, "lognormal", 0.85)]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "kind", "least"), CASES)
def test_intervals_cover_the_mean_as_often_as_their_docstring_says(count: int, kind: str, least: float) -> None:
    random = stream(0, f"test/coverage/{kind}/{count}")
    draws: dict[str, tuple[Any, float]] = {
        "normal": (random.normal, 0.0),
        "uniform": (random.uniform, 0.5),
        "lognormal": (random.lognormal, math.exp(0.5)),
    }
    draw, mean = draws[kind]
    bounds = intervals(draw(size=(4000, count)), 0.95)
    covered = float(np.mean((bounds[:, 0] <= mean) & (mean <= bounds[:, 1])))
    assert least <= covered <= 0.97
