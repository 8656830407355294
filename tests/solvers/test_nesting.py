"""The measured n against polynomials written out by SymPy, and against methods whose nest is known by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st

from odernn.solvers import ODERNN
from odernn.solvers.fields import field_of
from odernn.solvers.nesting import nesting_of_cell, nesting_of_method
from odernn.solvers.quadratic import surd
from odernn.solvers.residues import PRIMES, Residues, degree, residue
from odernn.solvers.step import explicit_step
from odernn.solvers.tableau import Tableau
from odernn.solvers.tableaux import TABLEAUX, method
from odernn.suite.errors import UsageError

FRACTIONS = st.fractions(max_denominator=10**6)


@given(FRACTIONS, FRACTIONS)
def test_residues_are_a_homomorphism(a: Fraction, b: Fraction) -> None:
    for prime in PRIMES:
        x = Residues(np.array([residue(a, prime)]), prime)
        assert int((x + b).values[0]) == residue(a + b, prime)
        assert int((x * b).values[0]) == residue(a * b, prime)


@pytest.mark.parametrize("d", [2, 3, 5, 6, 7, 15, 21])
def test_roots_of_quadratic_fields_square_to_their_radicand(d: int) -> None:
    for prime in PRIMES:
        assert sympy.isprime(prime)
        root = residue(surd(d), prime)
        assert root * root % prime == d


def test_a_root_that_the_prime_has_not_is_refused() -> None:
    without = next(d for d in range(11, 100) if sympy.jacobi_symbol(d, PRIMES[0]) == -1 and sympy.isprime(d))
    with pytest.raises(UsageError, match=f"sqrt\\({without}\\)"):
        residue(surd(without), PRIMES[0])


@given(st.integers(0, 12), st.integers(1, 10**6))
def test_the_degree_is_read_off_by_differences(d: int, lead: int) -> None:
    x = np.arange(16, dtype=object)
    values = np.array((lead * x**d + 3 * x + 5) % PRIMES[0], dtype=np.int64)
    assert degree(values, PRIMES[0]) == max(d, 1)


def test_too_few_points_say_so() -> None:
    x = np.arange(4, dtype=np.int64)
    assert degree(x**3, PRIMES[0]) is None
    assert degree(np.zeros(4, dtype=np.int64), PRIMES[0]) == 0


@pytest.mark.parametrize("name", ["euler", "midpoint", "heun2", "kutta3", "rk4", "rk38", "bogacki-shampine32"])
def test_the_nest_is_the_degree_of_the_expanded_polynomial(name: str) -> None:
    s = sympy.Symbol("s")
    step = explicit_step(lambda t, y: y**2 + y + 1, sympy.S.Zero, s, sympy.S.One, TABLEAUX[name])
    assert 2 ** nesting_of_method(TABLEAUX[name]).depth == sympy.Poly(sympy.expand(step), s).degree()


def test_a_broken_chain_nests_less_than_its_stages() -> None:
    parallel = Tableau("parallel", (("0", "0", "0"), ("1/2", "0", "0"), ("1", "0", "0")), ("1/6", "2/3", "1/6"), 1, "-")
    found = nesting_of_method(parallel)
    assert (found.depth, found.reaching) == (2.0, 3)


def test_a_last_stage_that_is_the_next_first_one_does_not_count() -> None:
    found = nesting_of_method(TABLEAUX["dormand-prince54"])
    assert (found.depth, found.reaching) == (6.0, 6)


@pytest.mark.parametrize("name", [n for n, t in TABLEAUX.items() if not t.explicit])
def test_solved_stages_nest_without_end(name: str) -> None:
    found = nesting_of_method(TABLEAUX[name])
    assert found.depth == math.inf
    assert found.depths == (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("cell", "name", "depth"),
    [
        ("leaky", "rk4", 4),
        ("companion", "heun2", 2),
        ("cornn", "gauss-seidel-euler", 1),  # y' = z is linear
        ("lstm-field", "gauss-seidel-euler", 2),
        ("unicornn", "symplectic-euler", 1),
        ("srnn", "stormer-verlet", 3),  # kick, drift, kick
        ("exprnn", "lie", 1),
        ("scornn", "lie-cayley", 1),
        ("lru", "lie", 0),
        ("mingru", "rk4", 0),
        ("ode-lstm", "lie", 14),  # 2 of the LSTM, 3 x 4 of rk4
        ("schroedinger", "implicit-midpoint", 0),
        ("leaky", "implicit-midpoint", math.inf),
    ],
)
def test_the_nest_of_cells(cell: str, name: str, depth: float) -> None:
    torch.manual_seed(0)
    assert nesting_of_cell(ODERNN(2, 3, field_of(cell), method(name), 0.5)).depth == depth


@pytest.mark.parametrize("hidden", [1, 2])
@pytest.mark.parametrize(("cell", "name"), [("exprnn", "lie"), ("scornn", "lie-cayley"), ("urnn", "lie")])
def test_the_kink_of_few_units_is_found(cell: str, name: str, hidden: int) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        assert nesting_of_cell(ODERNN(2, hidden, field_of(cell), method(name), 0.5)).depth == 1


def test_substeps_nest_in_each_other() -> None:
    torch.manual_seed(0)
    assert nesting_of_cell(ODERNN(2, 3, "ct-rnn", "euler", 0.6, substeps=6)).depth == 6


def test_a_nest_too_deep_to_measure_is_not_called_unbounded() -> None:
    """15 substeps of Euler nest 15 deep: infinite depth is for stages that are solved for."""
    torch.manual_seed(0)
    with pytest.raises(UsageError, match="a step of 'euler' nests deeper than 14"):
        nesting_of_cell(ODERNN(2, 3, "ct-rnn", "euler", 0.6, substeps=15))
