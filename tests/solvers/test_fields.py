"""Fields against hand transcriptions, automatic differentiation, matrix exponentials and closed parameter counts."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from odernn.solvers.cell_field import CellField
from odernn.solvers.companion import companion
from odernn.solvers.field import (
    EquationField,
    Init,
    Map,
    Matrix,
    Mix,
    antisymmetric,
    dense,
    diagonal,
    preactivations,
    states,
)
from odernn.solvers.fields import field_of, names
from odernn.solvers.module_field import ModuleField
from odernn.solvers.tableaux import tableau
from odernn.solvers.torch_field import exponential
from odernn.suite.errors import UsageError

F64 = torch.float64
SHIPPED = [
    ("leaky", None),
    ("antisymmetric", None),
    ("cornn", None),
    ("companion", 1),
    ("companion", 2),
    ("companion", 3),
    ("companion", 4),
]


def everything() -> EquationField:
    """Two blocks, three preactivations, one shared matrix, one undriven, a diagonal, a symmetric and a mixing one."""
    y, z = states(2)
    a, b, c = preactivations(3)
    s1, s2, beta = (sympy.Symbol(name, real=True) for name in ("s1", "s2", "beta"))
    shared = antisymmetric(beta, "S")
    second = Matrix("R", sympy.Integer(1), 1 - 2 * beta, -beta)
    return EquationField(
        name="everything",
        state=(y, z),
        maps=(
            Map(a, reads=((0, dense("A")), (1, shared))),
            Map(b, reads=((1, diagonal("D")),), driven=False),
            Map(c, reads=((1, second), (1, dense("B")))),
        ),
        rhs=(-s1 + sympy.sin(b) * z - sympy.sqrt(2) * y, sympy.exp(-(y**2)) * s2 - beta * z + sympy.Integer(3)),
        constants={"beta": 0.3},
        mixes=(Mix(s1, dense("A"), sympy.tanh(a) * y, transposed=True), Mix(s2, shared, sympy.tanh(c + y))),
        reference="test",
    )


def constant_rhs() -> EquationField:
    (y,), (a,) = states(1), preactivations(1)
    return EquationField("constant", (y,), (Map(a, ((0, dense()),)),), (sympy.Integer(2),), "test")


def build(equation: EquationField, inputs: int = 2, hidden: int = 4, **constants: float) -> CellField:
    torch.manual_seed(1)
    return CellField(equation, inputs, hidden, constants, dtype=F64)


def point(field: CellField, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    y = torch.randn(batch, field.blocks * field.hidden_size, dtype=F64, generator=generator)
    return y, torch.randn(batch, field.input_size, dtype=F64, generator=generator)


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def test_the_folder_lists_its_cells() -> None:
    assert {"leaky", "antisymmetric", "cornn", "companion"} <= set(names())


def test_describing_fields_loads_no_torch() -> None:
    code = "import sys, odernn.solvers.fields as f; [f.field_of(n).latex() for n in f.names()]"
    code += "; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "False"


def test_printed_sums_are_the_expression() -> None:
    """Numbers first, last or alone, negative leading terms, and coefficients of every kind."""
    (y,), (a,) = states(1), preactivations(1)
    for rhs in (
        1 - 3 * y,
        -2 - y,
        5 - sympy.tanh(a) ** 2,
        -3 * y - sympy.Rational(1, 3) * a,
        sympy.pi - y / 7 + 2 * a * y,
        (1 - 2 * y) * (3 - a) - (y - 4) ** 2,
        -(1 + y) / (2 + a**2),
    ):
        field = build(EquationField("sum", (y,), (Map(a, ((0, dense()),)),), (sympy.sympify(rhs),), "test"))
        state, u = point(field)
        drive, weights = field.drive(u), field.weights()
        pre = numbers(drive + state @ weights[0])
        expected = [
            [float(rhs.subs({y: v, a: w})) for v, w in zip(*rows, strict=True)]
            for rows in zip(numbers(state), pre, strict=True)
        ]
        np.testing.assert_allclose(numbers(field(0.0, state, drive, weights)), expected, rtol=1e-13, atol=1e-14)


def test_leaky_rhs_is_its_equation() -> None:
    field = build(field_of("leaky"))
    y, u = point(field)
    W, V, b = numbers(field.matrices["W"]), numbers(field.V), numbers(field.b)
    expected = -numbers(y) + np.tanh(numbers(y) @ W.T + numbers(u) @ V.T + b)
    np.testing.assert_allclose(
        numbers(field(0.0, y, field.drive(u), field.weights())), expected, rtol=1e-14, atol=1e-15
    )


def test_antisymmetric_rhs_is_its_equation() -> None:
    field = build(field_of("antisymmetric"), hidden=5, gamma=0.25)
    y, u = point(field)
    upper = np.zeros((5, 5))
    upper[np.triu_indices(5, 1)] = numbers(field.matrices["W"])
    W = upper - upper.T - 0.25 * np.eye(5)
    expected = np.tanh(numbers(y) @ W.T + numbers(u) @ numbers(field.V).T + numbers(field.b))
    np.testing.assert_allclose(
        numbers(field(0.0, y, field.drive(u), field.weights())), expected, rtol=1e-14, atol=1e-15
    )


def test_cornn_rhs_is_its_equation() -> None:
    field = build(field_of("cornn"), gamma=2.7, epsilon=4.7)
    state, u = point(field)
    y, z = np.split(numbers(state), 2, axis=1)
    W, Wz = numbers(field.matrices["W"]), numbers(field.matrices["W_z"])
    kick = np.tanh(y @ W.T + z @ Wz.T + numbers(u) @ numbers(field.V).T + numbers(field.b)) - 2.7 * y - 4.7 * z
    got = numbers(field(0.0, state, field.drive(u), field.weights()))
    np.testing.assert_allclose(got, np.hstack([z, kick]), rtol=1e-13, atol=1e-14)


@given(order=st.integers(1, 6), kappa=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_companion_damping_is_the_power_of_one_first_order_lag(order: int, kappa: int) -> None:
    equation = field_of("companion", order)
    a, k = sympy.Symbol("a1", real=True), sympy.Symbol("kappa", real=True)
    linear = equation.rhs[-1].subs({a: 0, k: kappa})
    coefficients = [-linear.coeff(y) for y in reversed(equation.state)]
    s = sympy.Symbol("s")
    assert [1, *coefficients] == sympy.Poly((s + kappa) ** order, s).all_coeffs()
    assert equation.rhs[:-1] == equation.state[1:]


def test_companion_of_order_one_is_leaky() -> None:
    one, leaky = build(field_of("companion", 1)), build(field_of("leaky"))
    y, u = point(leaky)
    with torch.no_grad():
        leaky.matrices["W"].copy_(one.matrices["W_0"])
        leaky.V.copy_(one.V)
        leaky.b.copy_(one.b)
    torch.testing.assert_close(
        one(0.0, y, one.drive(u), one.weights()), leaky(0.0, y, leaky.drive(u), leaky.weights()), rtol=0, atol=0
    )


def test_mixes_sharing_and_structures_act_as_written() -> None:
    field = build(everything(), beta=0.4)
    n, beta = field.hidden_size, 0.4
    state, u = point(field)
    y, z = np.split(numbers(state), 2, axis=1)
    A, B, R = (numbers(field.matrices[name]) for name in "ABR")
    S = np.zeros((n, n))
    S[np.triu_indices(n, 1)] = numbers(field.matrices["S"])
    S = S - S.T - beta * np.eye(n)
    R = R + (1 - 2 * beta) * R.T - beta * np.eye(n)
    driven = numbers(u) @ numbers(field.V).T + numbers(field.b)
    a = y @ A.T + z @ S.T + driven[:, :n]
    b = z * numbers(field.matrices["D"])
    c = z @ R.T + z @ B.T + driven[:, n:]
    s1, s2 = (np.tanh(a) * y) @ A, np.tanh(c + y) @ S.T
    expected = np.hstack([-s1 + np.sin(b) * z - np.sqrt(2) * y, np.exp(-(y**2)) * s2 - beta * z + 3])
    got = numbers(field(0.0, state, field.drive(u), field.weights()))
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-14)
    assert field.parameter_count() == 3 * n * n + n * (n - 1) // 2 + n + 2 * n * (2 + 1)


@pytest.mark.parametrize(
    "equation", [*(field_of(*s) for s in SHIPPED), everything(), constant_rhs()], ids=lambda e: e.name
)
def test_jacobian_is_the_automatic_one(equation: EquationField) -> None:
    field = build(equation)
    y, u = point(field)
    weights, drive = field.weights(), field.drive(u)
    automatic = torch.func.jacrev(lambda y: field(0.0, y, drive, weights))(y)
    expected = torch.stack([automatic[i, :, i] for i in range(len(y))])
    torch.testing.assert_close(field.jacobian(y, drive, weights), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_lipschitz_matrix_is_stored_by_what_acts(beta: float) -> None:
    """beta (B - B^T) + (1 - beta)(B + B^T) - gamma I: symmetric at beta = 0, antisymmetric at 1, dense between."""
    (y,), (a,) = states(1), preactivations(1)
    b = sympy.Symbol("beta", real=True)
    matrix = Matrix("B", sympy.Integer(1), 1 - 2 * b, sympy.Rational(-1, 10))
    equation = EquationField(
        "lipschitz", (y,), (Map(a, ((0, matrix),)),), (sympy.tanh(a),), "test", constants={"beta": 1}
    )
    field, n = build(equation, hidden=4, beta=beta), 4
    acting = numbers(field.weights()[0]).T
    skew, symmetric = (acting - acting.T) / 2, (acting + acting.T) / 2 + 0.1 * np.eye(n)
    stored = field.matrices["B"].numel()
    if beta == 0.0:
        assert stored == n * (n + 1) // 2
        np.testing.assert_array_equal(skew, 0)
        assert np.abs(np.linalg.eigvalsh(symmetric)).min() > 1e-3
    elif beta == 1.0:
        assert stored == n * (n - 1) // 2
        np.testing.assert_allclose(symmetric, 0, atol=1e-16)
    else:
        assert stored == n * n
        np.testing.assert_allclose(acting + 0.1 * np.eye(n), numbers(field.matrices["B"]), atol=1e-16)


@pytest.mark.parametrize(("inputs", "hidden"), [(1, 1), (3, 7)])
def test_parameter_counts_are_closed_formulas(inputs: int, hidden: int) -> None:
    p, n = inputs, hidden
    expected = {
        ("leaky", None): n * n + n * p + n,
        ("antisymmetric", None): n * (n - 1) // 2 + n * p + n,
        ("cornn", None): 2 * n * n + n * p + n,
        **{("companion", t): t * n * n + n * p + n for t in range(1, 5)},
    }
    for (name, order), count in expected.items():
        field = CellField(field_of(name, order), p, n)
        assert field.parameter_count() == count
        assert sum(v.numel() for v in field.state_dict().values()) == count


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun2", 2), ("rk4", 4)])
@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_linear_companion_converges_to_its_matrix_exponential(t: int, method: str, order: int) -> None:
    """x^(t) = sum_j W_j x^(j) + d with d constant has the closed form expm; the slope is the method's order."""
    (a,) = preactivations(1)
    maps = (Map(a, tuple((j, dense(f"W_{j}")) for j in range(t))),)
    field = build(companion("linear", a, t, maps, "test", init=Init("linear")), hidden=2)
    y0, u = point(field, batch=1)
    D = 2 * t
    weights, drive = field.weights(), field.drive(u)
    top = np.eye(D, k=2)[: D - 2]
    matrix = np.vstack([top, numbers(weights[0]).T])
    affine = np.zeros((D + 1, D + 1))
    affine[:D, :D] = matrix
    affine[D - 2 : D, D] = numbers(drive)[0]
    exact = (scipy.linalg.expm(affine) @ np.append(numbers(y0), 1.0))[:D]
    arrays = tableau(method).arrays
    errors = []
    for steps in (32, 64):
        y, h = y0, 1.0 / steps
        for _ in range(steps):
            slopes: list[torch.Tensor] = []
            for row in arrays.A:
                stage = y + h * sum((float(c) * k for c, k in zip(row, slopes, strict=False)), torch.zeros_like(y))
                slopes.append(field(0.0, stage, drive, weights))
            y = y + h * sum((float(c) * k for c, k in zip(arrays.b, slopes, strict=True)), torch.zeros_like(y))
        errors.append(np.abs(numbers(y)[0] - exact).max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.12)


def test_initial_weights_follow_their_scheme_and_do_not_depend_on_the_dtype() -> None:
    n, p = 200, 50

    def drawn(name: str, scheme: str | None = None, gain: float = 1.0, dtype: torch.dtype = F64) -> CellField:
        torch.manual_seed(3)
        init = None if scheme is None else Init(scheme, gain)
        return CellField(field_of(name), p, n, init=init, dtype=dtype)

    uniform, linear, orthogonal = drawn("leaky"), drawn("cornn"), drawn("leaky", "orthogonal", 0.9)
    for bound, tensors in (
        (1 / math.sqrt(n), (uniform.matrices["W"], uniform.V, uniform.b)),
        (1 / math.sqrt(p + 2 * n), (linear.matrices["W"], linear.matrices["W_z"], linear.V, linear.b)),
    ):
        for tensor in tensors:
            assert 0.97 * bound < tensor.abs().max() <= bound
    W = numbers(orthogonal.matrices["W"])
    np.testing.assert_allclose(W.T @ W, 0.81 * np.eye(n), atol=1e-12)
    normal = drawn("antisymmetric")
    assert normal.matrices["W"].std().item() == pytest.approx(math.sqrt(2 / n), rel=0.03)
    assert normal.V.std().item() == pytest.approx(1 / math.sqrt(p), rel=0.03)
    assert not normal.b.any()
    gained = drawn("leaky", "uniform", 3.0)
    torch.testing.assert_close(gained.matrices["W"], 3 * uniform.matrices["W"])
    torch.testing.assert_close(gained.V, uniform.V, rtol=0, atol=0)
    torch.manual_seed(7)
    driven = CellField(field_of("leaky"), 3, 5, init=Init("uniform", input_gain=4.0), dtype=F64)
    torch.manual_seed(7)
    plain = CellField(field_of("leaky"), 3, 5, init=Init("uniform"), dtype=F64)
    torch.testing.assert_close(driven.V, 4 * plain.V, rtol=0, atol=0)
    torch.testing.assert_close(driven.b, plain.b, rtol=0, atol=0)
    torch.testing.assert_close(driven.matrices["W"], plain.matrices["W"], rtol=0, atol=0)
    single = drawn("leaky", dtype=torch.float32)
    assert single.V.dtype is torch.float32
    torch.testing.assert_close(single.matrices["W"], uniform.matrices["W"].float(), rtol=0, atol=0)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))], ids=["deepcopy", "pickle"])
def test_a_copy_computes_the_same_and_shares_nothing(clone) -> None:  # type: ignore[no-untyped-def]
    field = build(everything())
    y, u = point(field)
    before = field(0.0, y, field.drive(u), field.weights())
    other = clone(field)
    with torch.no_grad():
        field.V.zero_()
    torch.testing.assert_close(other(0.0, y, other.drive(u), other.weights()), before, rtol=0, atol=0)


def test_latex_shows_every_line() -> None:
    text = field_of("antisymmetric").latex()
    assert r"\tanh" in text
    assert r"W - W^{\top} - \gamma I" in text
    assert "V u + b" in text
    mixed = everything().latex()
    assert r"A^{\top}" in mixed
    assert r"\operatorname{diag}(d) y_{2}" in mixed


@pytest.mark.parametrize("name", ["leaky", "antisymmetric", "cornn", "companion"])
@pytest.mark.parametrize("order", [0, -1, 1.5, True])
def test_an_impossible_order_is_refused(name: str, order: object) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        field_of(name, order)  # type: ignore[arg-type]


def test_an_order_that_the_cell_does_not_have_is_refused() -> None:
    for name, order in (("leaky", 2), ("antisymmetric", 3), ("cornn", 1)):
        with pytest.raises(UsageError, match=f"not {order}.*companion"):
            field_of(name, order)


def test_unknown_names_get_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="did you mean 'cornn'"):
        field_of("corn")
    with pytest.raises(UsageError, match="library baseline and no equation: did you mean 'lstm-field'"):
        field_of("lstm")
    with pytest.raises(UsageError, match="did you mean 'gamma'"):
        build(field_of("cornn"), gama=1.0)
    with pytest.raises(UsageError, match="has no constants"):
        build(field_of("leaky"), gamma=1.0)
    with pytest.raises(UsageError, match="finite"):
        build(field_of("cornn"), gamma=math.nan)
    with pytest.raises(UsageError, match="did you mean 'orthogonal'"):
        Init("orthogonl")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="gain"):
        Init(gain=math.inf)


def test_descriptions_that_do_not_fit_are_refused() -> None:
    (y,), (a,) = states(1), preactivations(1)
    read = (Map(a, ((0, dense()),)),)
    cases: list[tuple[str, dict[str, object]]] = [
        ("right-hand sides", {"rhs": (a, a)}),
        ("no preactivation", {"maps": ()}),
        ("block", {"maps": (Map(a, ((1, dense()),)),)}),
        ("'q'", {"rhs": (a + sympy.Symbol("q", real=True),)}),
        ("one symbol for two", {"maps": (Map(y, ((0, dense()),)),)}),
        ("one name", {"maps": (Map(a, ((0, dense()), (0, diagonal()))),)}),
        ("'y1'", {"maps": (Map(a, ((0, Matrix("W", straight=y)),)),)}),
    ]
    for message, change in cases:
        parts = {"state": (y,), "maps": read, "rhs": (sympy.tanh(a),), **change}
        with pytest.raises(UsageError, match=message):
            EquationField(name="wrong", reference="test", **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, -3, 2.0, True])
def test_sizes_below_one_are_refused(size: object) -> None:
    with pytest.raises(UsageError, match="input_size"):
        CellField(field_of("leaky"), size, 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="hidden_size"):
        CellField(field_of("leaky"), 3, size)  # type: ignore[arg-type]


class Affine(torch.nn.Module):
    """x^(t) = M y + N u, with M read from all derivatives: its Jacobian is known."""

    def __init__(self, inputs: int, hidden: int, order: int) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(order * hidden, hidden, dtype=F64)
        self.outer = torch.nn.Linear(inputs, hidden, dtype=F64)

    def forward(self, t: float, y: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return self.inner(y.flatten(1)) + self.outer(u) * (1 + t)  # type: ignore[no-any-return]


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_module_becomes_a_companion_system(order: int) -> None:
    module = Affine(2, 3, order)
    field = ModuleField(module, 2, 3, order)
    y, u = torch.randn(4, 3 * order, dtype=F64), torch.randn(4, 2, dtype=F64)
    got = field(0.5, y, field.drive(u), field.weights())
    torch.testing.assert_close(got[:, : 3 * (order - 1)], y[:, 3:], rtol=0, atol=0)
    torch.testing.assert_close(got[:, -3:], module.inner(y) + module.outer(u) * 1.5, rtol=1e-14, atol=1e-15)
    J = np.vstack([np.eye(3 * order, k=3)[:-3], numbers(module.inner.weight)])
    np.testing.assert_allclose(numbers(field.jacobian(y, u, field.weights(), 0.5)), np.stack([J] * 4), atol=1e-15)
    assert field.parameter_count() == 3 * (3 * order + 1) + 3 * (2 + 1)


def test_a_module_takes_its_weights_as_arguments() -> None:
    field = ModuleField(Affine(2, 3, 1), 2, 3)
    y, u = torch.randn(4, 3, dtype=F64), torch.randn(4, 2, dtype=F64)
    zeros = tuple(torch.zeros_like(w, requires_grad=True) for w in field.weights())
    value = field(0.0, y, u, zeros)
    assert not value.any()
    gradients = torch.autograd.grad(value.sum(), zeros)
    assert gradients[0].abs().sum() > 0


def test_a_module_of_wrong_shapes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"returned \(2, 4\).*expected a tensor of shape \(2, 3\)"):
        ModuleField(_Widens(), 2, 3)
    with pytest.raises(UsageError, match="does not accept"):
        ModuleField(Affine(2, 4, 1), 2, 3)
    with pytest.raises(UsageError, match="does not accept"):
        ModuleField(torch.nn.Linear(3, 3), 2, 3)
    with pytest.raises(UsageError, match="at least 1"):
        ModuleField(Affine(2, 3, 1), 2, 3, 0)


class _Widens(torch.nn.Module):
    def forward(self, t: float, y: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        return torch.cat([y, u[:, :1]], dim=1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-15), (torch.float32, 4e-7)])
@pytest.mark.parametrize("angle", [1e-3, 0.02, 0.04, 0.3, 0.5, 2.0])
def test_the_exponential_of_a_single_matrix_is_the_rotation(dtype: torch.dtype, tolerance: float, angle: float) -> None:
    """torch's own is wrong by up to 1e-10 (float64) and 2e-5 (float32) where a single matrix takes degree 8."""
    t = torch.tensor(angle, dtype=dtype, requires_grad=True)
    R = exponential(t * torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=dtype))
    exact = t.item()
    expected = torch.tensor([[math.cos(exact), -math.sin(exact)], [math.sin(exact), math.cos(exact)]], dtype=dtype)
    torch.testing.assert_close(R.detach(), expected, rtol=0, atol=2 * tolerance)
    for (row, column), slope in (((0, 0), -math.sin(exact)), ((1, 0), math.cos(exact))):
        (found,) = torch.autograd.grad(R[row, column], t, retain_graph=True)
        assert found.item() == pytest.approx(slope, abs=8 * tolerance)
