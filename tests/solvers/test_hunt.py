"""The hunt finds no broken promise, and finds the broken ones; its steps against SciPy and differences."""

import numpy as np
import pytest
import sympy
import torch
from scipy.optimize import fsolve

from odernn.solvers.field import EquationField, Map, Mix, dense
from odernn.solvers.hunt import _Chunk, hunt
from odernn.solvers.tableaux import tableau
from odernn.suite.errors import UsageError
from odernn.suite.seeds import stream

Y, A, S = (sympy.Symbol(name, real=True) for name in ("y1", "a1", "s1"))
W = dense()
LEAKY = EquationField("leaky-test", (Y,), (Map(A, ((0, W),)),), (-Y + sympy.tanh(A),), "test")
GRADIENT = EquationField(
    "gradient-test", (Y,), (Map(A, ((0, W),)),), (-S,), "test", mixes=(Mix(S, W, sympy.tanh(A), transposed=True),)
)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_no_certificate_is_broken():
    found = hunt(240, 0, 1.0, [LEAKY, GRADIENT], ["euler", "rk38", "implicit-midpoint"])
    assert found.cases >= 240
    assert found.violations == 0
    assert sum(f.unsolved for f in found.findings) == 0
    assert {(f.cell, f.tableau, f.norm) for f in found.findings} >= {
        ("leaky-test", "euler", "max"),
        ("leaky-test", "rk38", "2"),
        ("gradient-test", "implicit-midpoint", "2"),
    }
    assert found.worst == pytest.approx(1.0, abs=1e-9)  # the search comes to the very edge


@pytest.mark.parametrize("name", ["euler", "heun2"])
def test_a_radius_too_large_by_a_twentieth_is_caught_where_it_is_sharp(name):
    found = hunt(40, 0, 1.05, [LEAKY, GRADIENT], [name])
    assert all(f.violations > 0 for f in found.findings)
    assert {f.norm for f in found.findings} == {"2", "max"}
    assert found.worst > 1.05
    assert all(f.tightness > 0.99 for f in found.findings)


def test_a_hunt_is_the_same_for_the_same_seed_and_its_rows_are_plain():
    first, second = (hunt(12, 4, 1.0, [GRADIENT], ["euler"]) for _ in range(2))
    assert first == second
    (row,) = first.rows()
    assert row["cases"] == row["certified"] == 12
    assert {type(value) for value in row.values()} <= {str, int, float}


def test_one_norm_can_be_asked_for():
    assert {f.norm for f in hunt(8, 0, 1.0, [LEAKY], ["euler"], ["max"]).findings} == {"max"}


def test_no_case_is_an_error_and_an_unknown_cell_too():
    with pytest.raises(UsageError, match="at least 1"):
        hunt(0, 0)
    with pytest.raises(UsageError, match="leaky"):
        hunt(4, 0, cells=["leakyy"])


@pytest.mark.parametrize("name", ["rk4", "implicit-midpoint", "gauss2", "trapezoid"])
def test_a_step_and_its_jacobian_are_those_of_the_tableau(name):
    method = tableau(name)
    chunk = _Chunk(LEAKY, method, "2", 2, 3, stream(0, "test"))
    y, other, d = chunk._start()
    h = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)
    both = torch.stack([y, other], 1)
    found, J, solved = chunk._step(both, d[0], h, chunk.weights(chunk.acting))
    assert solved.all()
    coefficients, b = method.arrays.A, method.arrays.b

    def step(case, start):
        M, drive = chunk.acting["field.matrices.W"][case].numpy(), d[0, case].numpy()

        def f(y):
            return -y + np.tanh(y @ M.T + drive)

        def residual(K):
            K = K.reshape(len(b), 2)
            return (K - f(start + float(h[case]) * coefficients @ K)).ravel()

        K = fsolve(residual, np.tile(f(start), len(b)), xtol=1e-12).reshape(len(b), 2)
        return start + float(h[case]) * b @ K

    for case in range(3):
        for which in range(2):
            start, eps = both[case, which].numpy(), 1e-5
            assert np.abs(step(case, start) - found[case, which].numpy()).max() < 1e-9 * (1 + np.abs(start).max())
            bumps = eps * (1 + np.abs(start).max()) * np.eye(2)
            columns = [(step(case, start + e) - step(case, start - e)) / (2 * e.max()) for e in bumps]
            assert np.abs(np.stack(columns, -1) - J[case, which].numpy()).max() < 1e-5


def test_growth_that_overflows_is_growth():
    chunk = _Chunk(LEAKY, tableau("euler"), "2", 2, 3, stream(0, "test"))
    y, d = torch.ones(3, 2, dtype=torch.float64), torch.zeros(3, 3, chunk.width, dtype=torch.float64)
    value, solved = chunk.growth(y, d, torch.full((3,), 1e200, dtype=torch.float64), chunk.weights(chunk.acting))
    assert solved.all()
    assert (value == torch.inf).all()
