"""Splittings: order against matrix exponentials and hand-worked commutators; what their steps keep."""

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from odernn.solvers.oscillator import oscillator_limit
from odernn.solvers.splitting import SPLITTINGS, Splitting
from odernn.solvers.splitting_order import computed_order, series, verify
from odernn.solvers.tableaux import describe
from odernn.suite.errors import UsageError

F = Fraction
NAMES = list(SPLITTINGS)


def step(splitting, parts, h):
    """The step matrix for y' = (sum of the parts) y; the first flow stands on the right."""
    identity = result = np.eye(len(parts[0]))
    for part, fraction in splitting.sequence(len(parts)):
        X = float(fraction) * h * parts[part]
        flow = expm(X) if splitting.linear == "exact" else np.linalg.solve(identity - X / 2, identity + X / 2)
        result = flow @ result
    return result


def test_sequences():
    assert SPLITTINGS["lie"].sequence(3) == ((0, 1), (1, 1), (2, 1))
    half = F(1, 2)
    assert SPLITTINGS["strang"].sequence(3) == ((0, half), (1, half), (2, 1), (1, half), (0, half))
    assert SPLITTINGS["strang"].sequence(1) == SPLITTINGS["lie"].sequence(1) == ((0, 1),)
    with pytest.raises(UsageError, match="at least one part"):
        SPLITTINGS["lie"].sequence(0)


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_computed_order_is_the_claim_and_what_matrices_show(name, parts):
    splitting = SPLITTINGS[name]
    assert computed_order(splitting, parts) == splitting.order
    generator = np.random.default_rng(parts)
    matrices = [generator.normal(size=(4, 4)) / 4 for _ in range(parts)]

    def error(h):
        return np.abs(step(splitting, matrices, h) - expm(h * sum(matrices))).max()

    assert math.log2(error(2e-3) / error(1e-3)) == pytest.approx(splitting.order + 1, abs=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_claim_is_refused(name):
    verify(SPLITTINGS[name])
    for claim in (SPLITTINGS[name].order - 1, SPLITTINGS[name].order + 1):
        with pytest.raises(UsageError, match=f"claims order {claim}"):
            verify(replace(SPLITTINGS[name], order=claim))


def test_one_part_leaves_the_order_of_its_map():
    """exp is exact; Cayley's map is the implicit midpoint rule, of order 2."""
    assert computed_order(SPLITTINGS["lie"], 1, limit=7) == 7
    assert computed_order(SPLITTINGS["lie-cayley"], 1, limit=7) == 2


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(NAMES), st.integers(1, 3))
def test_words_are_the_taylor_series_of_the_step(name, parts):
    """The series, with matrices for letters, against the step itself: strictly upper triangular 5 x 5, so it ends."""
    generator = np.random.default_rng(parts)
    matrices = [np.triu(generator.normal(size=(5, 5)), 1) for _ in range(parts)]
    total = np.zeros((5, 5))
    for word, value in series(SPLITTINGS[name], parts, 4).items():
        product = np.eye(5)
        for letter in word:
            product = matrices[letter] @ product
        total += float(value) * product
    np.testing.assert_allclose(total, step(SPLITTINGS[name], matrices, 1.0), atol=1e-10)


def test_first_error_terms_by_hand():
    """Of Lie: the words 01 and 10 have 1 and 0 instead of 1/2, that is half a commutator."""
    found = series(SPLITTINGS["lie"], 2, 2)
    assert (found[0, 1], found.get((1, 0), 0), found[0, 0]) == (1, 0, F(1, 2))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(NAMES), st.floats(0.01, 20.0), st.integers(0, 10**6))
def test_skew_parts_keep_the_norm(name, h, seed):
    """symplectic: with skew parts the step is orthogonal, whatever the step."""
    matrices = [X - X.T for X in np.random.default_rng(seed).normal(size=(3, 4, 4))]
    S = step(SPLITTINGS[name], matrices, h)
    np.testing.assert_allclose(S.T @ S, np.eye(4), atol=1e-10)
    assert describe(SPLITTINGS[name])["symplectic"]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(NAMES), st.floats(0.01, 20.0), st.integers(0, 10**6))
def test_parts_that_contract_make_a_step_that_contracts(name, h, seed):
    matrices = [X - X.T - Y @ Y.T for X, Y in np.random.default_rng(seed).normal(size=(3, 2, 4, 4))]
    assert np.linalg.norm(step(SPLITTINGS[name], matrices, h), 2) <= 1 + 1e-10
    assert describe(SPLITTINGS[name])["B_stable"]


@pytest.mark.parametrize("name", NAMES)
def test_symmetric_and_l_stable_as_seen(name):
    matrices = list(np.random.default_rng(2).normal(size=(3, 4, 4)) / 3)
    there_and_back = step(SPLITTINGS[name], matrices, -0.3) @ step(SPLITTINGS[name], matrices, 0.3)
    facts = describe(SPLITTINGS[name])
    assert (np.abs(there_and_back - np.eye(4)).max() < 1e-12) == facts["symmetric"]
    stiff = abs(step(SPLITTINGS[name], [np.array([[-1e8]])], 1.0)[0, 0])
    assert facts["A_stable"]
    assert (stiff < 1e-6) == facts["L_stable"]


@pytest.mark.parametrize("name", NAMES)
def test_kicks_and_drifts_are_stable_up_to_two(name):
    drift, kick = np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [-1.0, 0.0]])
    assert oscillator_limit(SPLITTINGS[name]) == 2.0
    for h in (0.5, 1.0, 1.99):
        assert max(abs(np.linalg.eigvals(step(SPLITTINGS[name], [drift, kick], h)))) < 1 + 1e-12
    assert max(abs(np.linalg.eigvals(step(SPLITTINGS[name], [drift, kick], 2.01)))) > 1.05


@pytest.mark.parametrize("name", NAMES)
def test_description_is_json(name):
    seen = json.loads(json.dumps(describe(SPLITTINGS[name]), allow_nan=False))
    assert (seen["name"], seen["order"], seen["family"]) == (name, SPLITTINGS[name].order, "splitting")
    assert [[k, F(x)] for k, x in seen["sequence"]["3 parts"]] == [list(v) for v in SPLITTINGS[name].sequence(3)]


def test_impossible_ones_are_refused():
    with pytest.raises(UsageError, match="'euler', expected 'exact' or 'cayley'"):
        Splitting("wrong", 1, "none", "euler", "lie")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'yoshida', expected 'lie' or 'strang'"):
        Splitting("wrong", 1, "none", "exact", "yoshida")  # type: ignore[arg-type]
