"""The order conditions against counts, identities and published values that do not come from this code."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from odernn.solvers.order import (
    computed_order,
    density,
    principal_error_norm,
    residuals,
    size,
    symmetry,
    trees,
    verify,
)
from odernn.solvers.tableau import Tableau
from odernn.solvers.tableaux import TABLEAUX
from odernn.suite.errors import UsageError

F = Fraction
COUNTS = [1, 1, 2, 4, 9, 20, 48, 115, 286, 719]  # OEIS A000081

rationals = st.fractions(min_value=-2, max_value=2, max_denominator=12)


@st.composite
def methods(draw, stages=3):
    """A random full (implicit) tableau."""
    row = st.lists(rationals, min_size=stages, max_size=stages)
    return draw(st.lists(row, min_size=stages, max_size=stages)), draw(row)


@pytest.mark.parametrize(("vertices", "count"), list(enumerate(COUNTS, start=1)))
def test_there_are_as_many_trees_as_cayley_counted(vertices, count):
    assert len(set(trees(vertices))) == len(trees(vertices)) == count
    assert all(size(tree) == vertices for tree in trees(vertices))


@pytest.mark.parametrize("n", range(1, 10))
def test_labellings_add_up(n):
    """n!/sigma counts labellings, n^(n-1) in all; n!/(sigma gamma) counts the increasing ones, (n-1)! in all."""
    assert sum(F(math.factorial(n), symmetry(t)) for t in trees(n)) == n ** (n - 1)
    assert sum(F(math.factorial(n), symmetry(t) * density(t)) for t in trees(n)) == math.factorial(n - 1)


@settings(max_examples=50, deadline=None)
@given(methods())
def test_conditions_to_order_four_are_those_of_the_textbook(method):
    """The eight conditions as HNW, section II.1 and II.2, write them out, computed here with NumPy objects."""
    A, b = np.array(method[0], dtype=object), np.array(method[1], dtype=object)
    c = A.sum(axis=1)
    expected = {
        1: [b.sum() - 1],
        2: [b @ c - F(1, 2)],
        3: [b @ c**2 - F(1, 3), b @ A @ c - F(1, 6)],
        4: [b @ c**3 - F(1, 4), b @ (c * (A @ c)) - F(1, 8), b @ A @ c**2 - F(1, 12), b @ A @ A @ c - F(1, 24)],
    }
    for p, values in expected.items():
        assert sorted(residuals(*method, p).values()) == sorted(values)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(TABLEAUX)), st.randoms(use_true_random=False), st.data())
def test_relabelling_or_splitting_stages_changes_no_condition(name, random, data):
    """The same method written with its stages in another order, or with one stage computed twice."""
    method = TABLEAUX[name]
    s, p = method.stages, min(method.order, 4) + 1
    expected = residuals(method.A, method.b, p)
    order = random.sample(range(s), s)
    shuffled = [[method.A[i][j] for j in order] for i in order]
    assert residuals(shuffled, [method.b[i] for i in order], p) == expected
    twin, share = data.draw(st.integers(0, s - 1)), data.draw(rationals)

    def split(row):
        return [*(v if j != twin else v * (1 - share) for j, v in enumerate(row)), row[twin] * share]

    rows = [*method.A, method.A[twin]]
    assert residuals([split(row) for row in rows], split(method.b), p) == expected


@pytest.mark.parametrize(
    ("A", "b", "order"),
    [
        ([["1/2"]], ["1"], 2),  # implicit midpoint
        ([["1"]], ["1"], 1),  # implicit Euler
        ([["1/4", "-1/4"], ["1/4", "5/12"]], ["1/4", "3/4"], 3),  # Radau IA
        ([["5/12", "-1/12"], ["3/4", "1/4"]], ["3/4", "1/4"], 3),  # Radau IIA
        ([["0", "0", "0"], ["5/24", "1/3", "-1/24"], ["1/6", "2/3", "1/6"]], ["1/6", "2/3", "1/6"], 4),  # Lobatto IIIA
        ([["1/6", "-1/3", "1/6"], ["1/6", "5/12", "-1/12"], ["1/6", "2/3", "1/6"]], ["1/6", "2/3", "1/6"], 4),  # IIIC
    ],
)
def test_implicit_methods_have_their_textbook_order(A, b, order):
    """Hairer, Wanner, *Solving Ordinary Differential Equations II*, section IV.5."""
    assert computed_order([[F(x) for x in row] for row in A], [F(x) for x in b]) == order


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["gauss2", "radau2a3", "tr-bdf2"]), st.integers(0, 2), st.integers(0, 2), rationals.filter(bool))
def test_conditions_of_algebraic_coefficients_with_sympy(name, i, j, change):
    """The textbook conditions again, in SymPy's arithmetic, of a method with roots and one entry changed."""
    t = TABLEAUX[name]
    rows = [list(row) for row in t.A]
    rows[i % t.stages][j % t.stages] += change
    A = sympy.Matrix([[sympy.sympify(str(a)) for a in row] for row in rows])
    b = sympy.Matrix([[sympy.sympify(str(w)) for w in t.b]])
    c = A * sympy.ones(t.stages, 1)
    half = sympy.Rational(1, 2)
    expected = {
        2: [(b * c)[0] - half],
        3: [(b * c.multiply_elementwise(c))[0] - half * 2 / 3, (b * A * c)[0] - half / 3],
    }
    for p, values in expected.items():
        found = [sympy.sympify(str(x)) for x in residuals(rows, t.b, p).values()]
        assert sorted(map(float, found)) == pytest.approx(sorted(map(float, values)), abs=1e-14)
        assert [sympy.expand(x) == 0 for x in found].count(True) == [sympy.expand(x) == 0 for x in values].count(True)


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("euler", 1 / 2),
        ("ralston2", 1 / 6),  # Ralston (1962) minimises it: only the tall tree is left
        ("dormand-prince54", 3.99e-4),
        ("bogacki-shampine54", 2.22e-5),  # Bogacki, Shampine (1996)
        ("cash-karp54", 9.48e-4),
        ("fehlberg45", 1.84e-3),
        ("rk4", 1.45e-2),
        ("rk38", 1.27e-2),
    ],
)
def test_principal_error_norm_is_the_published_one(name, norm):
    method = TABLEAUX[name]
    assert principal_error_norm(method.A, method.b, method.order) == pytest.approx(norm, rel=5e-3)


def test_principal_error_of_two_stage_methods_by_hand():
    """For b = (1 - 1/(2a), 1/(2a)): the bushy tree gives (a/2 - 1/3) / 2, the tall one -1/6."""
    for a in (F(1, 2), F(2, 3), F(1), F(3, 4)):
        A, b = [[F(0), F(0)], [a, F(0)]], [1 - 1 / (2 * a), 1 / (2 * a)]
        expected = math.hypot(float((a / 2 - F(1, 3)) / 2), 1 / 6)
        assert principal_error_norm(A, b, 2) == pytest.approx(expected, rel=1e-15)


def test_limit_and_tolerance():
    rk4 = TABLEAUX["rk4"]
    assert [computed_order(rk4.A, rk4.b, limit) for limit in (1, 3, 4, 5, 9)] == [1, 3, 4, 4, 4]
    off = [weight + F(1, 10**9) for weight in rk4.b]
    assert computed_order(rk4.A, off) == 0
    assert computed_order(rk4.A, off, tolerance=F(1, 10**8)) == 4


@pytest.mark.parametrize("claim", [1, 3, 5])
def test_a_wrong_claim_is_refused(claim):
    rk4 = TABLEAUX["rk4"]
    with pytest.raises(UsageError, match=f"claims order {claim} for b"):
        verify(Tableau("rk4", rk4.A, rk4.b, claim, "none"))


def test_all_weights_of_one_bushy_tree():
    """Phi of the tree with k leaves on the root is sum b c^k, whatever the method."""
    for method, k in itertools.product(TABLEAUX.values(), range(1, 5)):
        bushy = ((),) * k
        direct = sum(b * c**k for b, c in zip(method.b, method.c, strict=True))
        assert residuals(method.A, method.b, k + 1)[bushy] == direct - F(1, k + 1)
