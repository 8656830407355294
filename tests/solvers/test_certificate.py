"""Certificates against closed forms, brute force over corner slopes, mpmath's singular values and the definitions."""

import itertools
import json
import math

import mpmath
import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from odernn.solvers.cell_field import CellField
from odernn.solvers.certificate import certificates, certified_step, certify, spectral_limit
from odernn.solvers.circle_condition import constants_of, spectral_norm
from odernn.solvers.field import EquationField, Map, Matrix, Mix, antisymmetric, dense, diagonal, vector
from odernn.solvers.functions import sigmoid, sign
from odernn.solvers.sector import bound, differentiable
from odernn.solvers.tableaux import tableau
from odernn.suite.errors import UsageError

Y, Y2, A, S, GAMMA, B = (sympy.Symbol(name, real=True) for name in ("y1", "y2", "a1", "s1", "gamma", "b1"))
W = dense()
LEAKY = EquationField(
    "leaky-test", (Y,), (Map(A, ((0, W),)),), (-GAMMA * Y + sympy.tanh(A),), "test", constants={"gamma": 1.0}
)
GRADIENT = EquationField(
    "gradient-test", (Y,), (Map(A, ((0, W),)),), (-S,), "test", mixes=(Mix(S, W, sympy.tanh(A), transposed=True),)
)
BARE = EquationField(
    "bare-test", (Y,), (Map(A, ((0, antisymmetric(GAMMA)),)),), (sympy.tanh(A),), "test", constants={"gamma": 0.5}
)
SKEW = EquationField("skew-test", (Y,), (Map(A, ((0, antisymmetric(sympy.S.Zero)),)),), (A,), "test")
EXPLICIT = ("euler", "heun2", "ssp33", "rk4", "rk38", "ralston2")


def with_matrix(equation, values, **constants):
    """A field whose stored W is the given matrix (the upper triangle of it, where the field stores that)."""
    values = torch.as_tensor(values, dtype=torch.float64)
    field = CellField(equation, 1, len(values), constants, dtype=torch.float64)
    with torch.no_grad():
        stored = field.matrices["W"]
        i, j = torch.triu_indices(len(values), len(values), 1)
        stored.copy_(values if stored.dim() == 2 else values[i, j])
    return field


def constants(field):
    weights = [w.detach().numpy() for w in field.weights()]
    return constants_of(field.equation, field.constant_values, weights, field.hidden_size)


def matrices(largest=4):
    """Square matrices with entries of all sizes up to 2."""
    return st.integers(1, largest).flatmap(
        lambda n: st.lists(st.floats(-2, 2), min_size=n * n, max_size=n * n).map(
            lambda values: np.array(values).reshape(n, n)
        )
    )


# ------------------------------------------------------------------------------------------------------------- sectors


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (sympy.tanh(A).diff(A), (0.0, 1.0)),
        ((1 / (1 + sympy.exp(-A))).diff(A), (0.0, 0.25)),
        (differentiable(sigmoid(A)).diff(A), (0.0, 0.25)),
        (sympy.log(1 + sympy.exp(A)).diff(A), (0.0, 1.0)),
        ((3 * sympy.tanh(2 * A)).diff(A), (0.0, 6.0)),
        (sympy.sin(A).diff(A), (-1.0, 1.0)),
        (sympy.exp(A), (0.0, math.inf)),
        (-3 * Y + sympy.tanh(A), (-math.inf, math.inf)),
        (sympy.Rational(-3, 4), (-0.75, -0.75)),
        (sympy.Max(A, 0).diff(A), (0.0, 1.0)),
        (differentiable(sigmoid(A) * sympy.tanh(B)).diff(B), (0.0, 1.0)),
        (differentiable(sign(A)).diff(A), (-math.inf, math.inf)),
        (differentiable(sympy.Function("foreign")(A)).diff(A), (-math.inf, math.inf)),
    ],
)
def test_the_range_of_a_slope_is_exact(expression, expected):
    assert bound(expression) == expected


def test_the_logistic_functions_third_power_has_the_range_of_calculus():
    low, high = bound(((1 / (1 + sympy.exp(-A))) ** 3).diff(A))  # 3 s^3 (1 - s) is largest at s = 3/4
    assert low == 0
    assert 81 / 256 <= high <= 81 / 256 * (1 + 1e-15)


@given(st.floats(-3, 3), st.floats(0, 3), st.floats(0, 1))
def test_a_trained_vector_counts_with_its_range(low, width, share):
    interval = bound(sympy.exp(B) * sympy.tanh(A) - B**2, {B: (low, low + width)})
    b = low + share * width
    for a in (-30.0, -0.3, 0.0, 2.0):
        assert interval[0] <= math.exp(b) * math.tanh(a) - b * b <= interval[1]


# ----------------------------------------------------------------------------------------------------------- constants


@given(matrices(6))
@settings(max_examples=30, deadline=None)
def test_the_spectral_norm_is_never_below_that_of_high_precision(M):
    exact = max(mpmath.svd_r(mpmath.matrix(M.tolist()), compute_uv=False)) if M.any() else 0
    found = float(spectral_norm(M))
    assert found >= exact
    assert found <= exact * (1 + 1e-13)


@given(st.floats(0.05, 3), st.floats(-4, 4))
@settings(deadline=None)
def test_one_leaky_unit_has_the_exact_step(gamma, w):
    # J = -gamma + s w with s in (0, 1]: Euler contracts for h <= 2 / max(gamma, gamma - w), while w < gamma.
    if abs(w - gamma) < 1e-9:
        return
    step = certify(with_matrix(LEAKY, [[w]], gamma=gamma), tableau("euler")).step
    exact = 0.0 if w > gamma else 2 / max(gamma, gamma - w)
    assert step <= exact
    assert step == pytest.approx(exact, rel=1e-8)


@given(matrices(), st.floats(0.1, 2))
@settings(max_examples=40, deadline=None)
def test_the_closed_form_bounds_the_constant(M, gamma):
    norm = np.linalg.norm(M, 2)
    M = M * (0.999 * gamma / max(norm, gamma))
    rho = float(constants(with_matrix(LEAKY, M, gamma=gamma)).rho_2)
    assert rho <= (gamma + np.linalg.norm(M, 2)) / 2 * (1 + 1e-12)


@pytest.mark.parametrize("equation", [LEAKY, GRADIENT], ids=["leaky", "gradient"])
@given(M=matrices(), seed=st.integers(0, 10**6), scale=st.sampled_from([0.05, 0.4, 1.0, 20.0]))
@settings(max_examples=40, deadline=None)
def test_the_circle_condition_holds_as_defined(equation, M, seed, scale):
    rho = float(constants(with_matrix(equation, M)).rho_2)
    if not math.isfinite(rho) or rho == 0:
        return
    rng = np.random.default_rng(seed)
    n = len(M)
    y, z, d = scale * rng.standard_normal((3, 200, n))

    def f(y):
        inside = np.tanh(y @ M.T + d)
        return -y + inside if equation is LEAKY else -inside @ M

    dy, df = y - z, f(y) - f(z)
    left, right = (df * dy).sum(-1), (df * df).sum(-1) / (2 * rho)
    assert (left <= -right + 1e-12 * (1 + np.abs(left) + right)).all()


def corners(n):
    return [np.diag(s) for s in itertools.product([0.0, 1.0], repeat=n)]


@given(matrices(), st.floats(0.1, 2))
@settings(max_examples=40, deadline=None)
def test_both_norms_contract_at_every_corner_of_the_slopes(M, gamma):
    found = constants(with_matrix(LEAKY, M, gamma=gamma))
    jacobians = [D @ M - gamma * np.eye(len(M)) for D in corners(len(M))]
    for rho, kind in ((float(found.rho_2), 2), (float(found.rho_max), np.inf)):
        if math.isfinite(rho):
            assert all(np.linalg.norm(J + rho * np.eye(len(M)), kind) <= rho * (1 + 1e-13) for J in jacobians)
    largest = max(np.linalg.eigvalsh((J + J.T) / 2)[-1] for J in jacobians)
    assert largest <= float(found.mu_2) + 1e-13


@given(matrices(), st.floats(0.1, 2))
@settings(max_examples=40, deadline=None)
def test_the_maximum_norm_step_of_euler_is_that_of_brute_force(M, gamma):
    M = M * (0.99 * gamma / max(np.abs(M).sum(1).max(), gamma))  # certified, then
    field = with_matrix(LEAKY, M, gamma=gamma)
    step = certify(field, tableau("euler"), norm="max").step

    def norm(h):
        eye = np.eye(len(M))
        return max(np.linalg.norm(eye + h * (D @ M - gamma * eye), np.inf) for D in corners(len(M)))

    assert norm(step) <= 1 + 1e-13
    assert norm(step * (1 + 1e-9)) > 1


def test_a_linear_summand_and_a_second_matrix_are_counted():
    field = EquationField(
        "two-maps", (Y,), (Map(A, ((0, dense("A")),), driven=False), Map(B, ((0, W),))), (A + sympy.tanh(B),), "test"
    )
    rng = np.random.default_rng(0)
    cell = CellField(field, 1, 4, dtype=torch.float64)
    for _ in range(20):
        linear = -np.diag(rng.uniform(1, 2, 4)) + 0.2 * rng.standard_normal((4, 4))
        M = 0.5 * rng.standard_normal((4, 4))
        with torch.no_grad():
            cell.matrices["A"].copy_(torch.from_numpy(linear))
            cell.matrices["W"].copy_(torch.from_numpy(M))
        found = constants(cell)
        eye = np.eye(4)
        for rho, kind in ((float(found.rho_2), 2), (float(found.rho_max), np.inf)):
            if math.isfinite(rho):
                assert all(np.linalg.norm(linear + D @ M + rho * eye, kind) <= rho * (1 + 1e-13) for D in corners(4))
        sizes = [np.linalg.eigvalsh(linear + D @ M + (linear + D @ M).T)[-1] / 2 for D in corners(4)]
        assert max(sizes) <= float(found.mu_2) + 1e-13
    assert math.isfinite(float(found.rho_2))


def test_a_linear_field_has_its_own_constant():
    field = EquationField("linear-test", (Y,), (Map(A, ((0, W),)),), (A,), "test")
    M = np.array([[-1.0, 2.0], [-2.0, -1.0]])  # normal with eigenvalues -1 +- 2i: |lambda + rho| = rho at rho = 5/2
    assert float(constants(with_matrix(field, M)).rho_2) == pytest.approx(2.5, rel=1e-7)


def test_a_batch_of_weights_gives_what_each_gives_alone():
    rng = np.random.default_rng(1)
    batch = 0.4 * rng.standard_normal((5, 3, 3))
    weights = np.swapaxes(batch, -1, -2)
    field = with_matrix(LEAKY, batch[0])
    together = constants_of(LEAKY, field.constant_values, [weights], 3)
    for k in range(5):
        alone = constants(with_matrix(LEAKY, batch[k]))
        assert together.rho_2[k] == pytest.approx(float(alone.rho_2), rel=1e-8)
        assert together.rho_max[k] == alone.rho_max
        assert together.mu_2[k] == pytest.approx(float(alone.mu_2), abs=1e-14)


# --------------------------------------------------------------------------------------------------------- certificates


@pytest.mark.parametrize(
    ("name", "radius"), [("euler", 1), ("rk4", 1), ("rk38", 2 * math.sqrt(3) - 3), ("trapezoid", 2)]
)
def test_the_step_is_the_radius_over_the_constant(name, radius):
    field = with_matrix(GRADIENT, [[1.5, 0.0], [0.0, 0.5]])
    found = certify(field, tableau(name))
    assert (found.kind, found.norm) == ("circle", "2")
    assert found.constant == pytest.approx(1.5**2 / 2, rel=1e-14)
    assert found.step <= radius / (1.5**2 / 2)
    assert found.step == pytest.approx(radius / (1.5**2 / 2), rel=1e-12)


def test_an_algebraically_stable_tableau_contracts_at_every_step():
    field = with_matrix(GRADIENT, [[5.0, 1.0], [-3.0, 2.0]])
    for name in ("backward-euler", "gauss2", "radau2a2"):
        found = certify(field, tableau(name))
        assert (found.kind, found.step, found.radius) == ("one-sided", math.inf, math.inf)
        assert found.constant == 0


def test_a_skew_field_keeps_norms_under_gauss_and_has_no_certificate_under_euler():
    field = with_matrix(SKEW, [[0.0, 1.3], [0.0, 0.0]])
    assert certify(field, tableau("implicit-midpoint")).kind == "conserved"
    assert certify(field, tableau("gauss2")).kind == "conserved"
    assert certify(field, tableau("radau2a2")).kind == "one-sided"
    assert certify(field, tableau("rk4")).kind == "none"
    # what "conserved" says, on the closed form of the midpoint rule: the Cayley transform of h J
    half = 0.5 * 7.0 * np.array([[0.0, 1.3], [-1.3, 0.0]])
    step = np.linalg.solve(np.eye(2) - half, np.eye(2) + half)
    assert np.abs(step.T @ step - np.eye(2)).max() < 1e-14


def test_the_antisymmetric_cell_is_refused_in_the_2_norm_with_the_reason_and_rightly():
    field = with_matrix(BARE, np.triu(np.full((3, 3), 2.0), 1))
    found = certify(field, tableau("euler"))
    assert (found.kind, found.step, found.norm) == ("none", 0.0, None)
    assert "diag(phi') M" in found.reason
    assert "maximum norm" in found.reason
    M = field.weights()[0].detach().numpy().T
    assert any(np.linalg.eigvalsh(D @ M + (D @ M).T)[-1] > 0.1 for D in corners(3))


def test_the_antisymmetric_cell_is_certified_in_the_maximum_norm_where_its_diagonal_dominates():
    field = with_matrix(BARE, np.triu(np.full((3, 3), 0.2), 1))
    (found,) = certificates(field, tableau("euler"))
    assert (found.kind, found.norm) == ("maximum-norm", "max")
    assert found.step == pytest.approx(2 / (0.5 + 0.4), rel=1e-12)  # 2 / (gamma + the largest row sum)
    assert certify(field, tableau("euler"), norm="2").kind == "none"


def test_a_jump_is_no_bounded_slope():
    bias = sympy.Symbol("b_r", real=True)
    equation = EquationField(
        "jump-test",
        (Y,),
        (Map(A, ((0, antisymmetric(sympy.S.Zero)),)), vector(bias)),
        (A + bias * sign(Y),),
        "test",
    )
    field = with_matrix(equation, [[0.0, 1.0], [0.0, 0.0]])
    assert certify(field, tableau("implicit-midpoint")).kind == "conserved"  # while the jump is 0
    with torch.no_grad():
        field.vectors["r"].fill_(0.1)
    found = certify(field, tableau("implicit-midpoint"))
    assert found.kind == "none"
    assert "sign" in found.reason


def test_two_blocks_are_skew_where_their_unbounded_slopes_cancel():
    # re' = a im, im' = -a re with a of the input alone: a harmonic oscillator of any frequency
    equation = EquationField("oscillator", (Y, Y2), (Map(A),), (A * Y2, -A * Y), "test")
    field = CellField(equation, 1, 3, dtype=torch.float64)
    assert certify(field, tableau("implicit-midpoint")).kind == "conserved"
    assert certify(field, tableau("euler")).kind == "none"
    tilted = EquationField("tilted", (Y, Y2), (Map(A),), (A * Y2, A * Y), "test")
    assert certify(CellField(tilted, 1, 3, dtype=torch.float64), tableau("implicit-midpoint")).kind == "none"


def test_a_diagonal_matrix_has_one_constant_in_both_norms():
    equation = EquationField("diagonal-test", (Y,), (Map(A, ((0, diagonal()),)),), (-Y + sympy.tanh(A),), "test")
    field = CellField(equation, 1, 3, dtype=torch.float64)
    with torch.no_grad():
        field.matrices["W"].copy_(torch.tensor([-3.0, 0.5, 0.9]))
    found = constants(field)
    assert float(found.rho_2) == pytest.approx(2.0, rel=1e-12)  # J in [-4, -1], [-1, -0.5], [-1, -0.1]
    assert float(found.rho_max) == pytest.approx(2.0, rel=1e-12)


def test_a_matrix_is_used_as_it_acts():
    symmetric = Matrix("W", sympy.S.One, sympy.S.One)
    equation = EquationField("symmetric-test", (Y,), (Map(A, ((0, symmetric),)),), (A - 3 * Y,), "test")
    field = CellField(equation, 1, 2, dtype=torch.float64)
    M = field.weights()[0].detach().numpy()
    exact = -np.linalg.eigvalsh(M - 3 * np.eye(2))[0] / 2
    assert float(constants(field).rho_2) == pytest.approx(exact, rel=1e-7)


def test_a_method_without_radius_says_so():
    found = certify(with_matrix(GRADIENT, [[1.0]]), tableau("midpoint"))
    assert (found.kind, found.step) == ("none", 0.0)
    assert "circle-contractivity radius 0" in found.reason


def test_a_torch_module_has_no_certificate():
    class Plain(torch.nn.Module):
        name = "plain"

    assert "not given as an equation" in certify(Plain(), tableau("euler")).reason


def test_a_cell_by_name_gives_a_plain_json_row():
    row = certified_step("leaky", "backward-euler", 8, 0).row()
    assert row["step"] == "inf"
    assert json.loads(json.dumps(row)) == row
    assert certified_step("leaky", "euler", 8, 0) == certified_step("leaky", "euler", 8, 0)
    with pytest.raises(UsageError, match="leaky"):
        certified_step("leakyy", "euler", 8, 0)
    with pytest.raises(UsageError, match="hidden_size"):
        certified_step("leaky", "euler", 0, 0)


# ----------------------------------------------------------------------------------------------------- spectral picture


@pytest.mark.parametrize(
    ("name", "real", "imaginary"),
    [
        ("euler", 2.0, 0.0),
        ("rk4", 2.785293563405282, 2 * math.sqrt(2)),
        ("kutta3", 2.512745326618329, math.sqrt(3)),
        ("backward-euler", math.inf, math.inf),
        ("trapezoid", math.inf, math.inf),
    ],
)
def test_the_spectral_limit_is_where_the_eigenvalues_leave_the_region(name, real, imaginary):
    linear = EquationField("linear-test", (Y,), (Map(A, ((0, W),)),), (A,), "test")
    y, d = torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    decay = with_matrix(linear, [[-3.0, 0.0], [0.0, -1.0]])
    turn = with_matrix(linear, [[0.0, 2.0], [-2.0, 0.0]])
    assert spectral_limit(decay, tableau(name), y, d) == pytest.approx(real / 3, rel=1e-9)
    assert spectral_limit(turn, tableau(name), y, d) == pytest.approx(imaginary / 2, rel=1e-9)


@pytest.mark.parametrize("name", EXPLICIT)
def test_the_certified_step_is_within_the_spectral_limit(name):
    rng = np.random.default_rng(3)
    for _ in range(10):
        M = rng.standard_normal((3, 3))
        for field in (with_matrix(GRADIENT, M), with_matrix(LEAKY, 0.9 * M / np.linalg.norm(M, 2))):
            states, drives = torch.from_numpy(rng.standard_normal((2, 20, 3)))
            limit = spectral_limit(field, tableau(name), states, drives)
            assert 0 < certify(field, tableau(name), norm="2").step <= limit * (1 + 1e-9)


@pytest.mark.parametrize(("hidden", "seed", "words"), [(0, 0, "hidden_size is 0"), (2, -1, "seed is -1")])
@pytest.mark.parametrize("cell", ["leaky", "eunn"])
def test_what_a_certified_step_refuses(cell, hidden, seed, words):
    with pytest.raises(UsageError, match=words):
        certified_step(cell, "euler", hidden, seed)
