"""uRNN and EUNN against dense matrices built from the published formulas, matrix exponentials and closed counts."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from odernn.solvers.cell import ODERNN
from odernn.solvers.unitary import UnitaryField
from odernn.solvers.urnn import cycles
from odernn.suite.errors import UsageError

F64 = torch.float64
CELLS = ["urnn", "eunn"]


def cell_of(name: str, n: int = 6, p: int = 3, method: str = "lie", seed: int = 3, **options: Any) -> ODERNN:
    torch.manual_seed(seed)
    return ODERNN(p, n, name, method, dtype=F64, **options)


def field(name: str, n: int = 6, p: int = 3, seed: int = 3, **options: Any) -> UnitaryField:
    made = cell_of(name, n, p, seed=seed, **options).field
    assert isinstance(made, UnitaryField)
    return made


def arrays(cell: UnitaryField) -> dict[str, np.ndarray]:
    return {key: value.detach().numpy() for key, value in cell.named_weights().items()}


def complexes(y: torch.Tensor) -> np.ndarray:
    re, im = y.detach().chunk(2, -1)
    return (re + 1j * im).numpy()


def published_factors(cell: UnitaryField) -> list[np.ndarray]:
    """Every unitary factor as a matrix, in the order in which they act."""
    w, n = arrays(cell), cell.hidden_size
    if cell.name == "urnn":
        D = [np.diag(np.exp(1j * w[f"theta_{k}"])) for k in (1, 2, 3)]
        v = [w[f"v_{k}_re"] + 1j * w[f"v_{k}_im"] for k in (1, 2)]
        R = [np.eye(n) - 2 * np.outer(x, x.conj()) / np.vdot(x, x).real for x in v]
        F = scipy.linalg.dft(n, scale="sqrtn")
        return [D[0], F, R[0], np.eye(n)[w["permutation"]], D[1], F.conj().T, R[1], D[2]]
    factors = []
    for layer in range((len(cell.factors) - 1) // 2):
        rotation, phases = np.eye(n, dtype=complex), np.eye(n, dtype=complex)
        theta, phi = w[f"theta_{layer + 1}"], w[f"phi_{layer + 1}"]
        for k, (angle, turn) in enumerate(zip(theta, phi, strict=True)):
            j = layer % 2 + 2 * k
            rotation[j : j + 2, j : j + 2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            phases[j, j] = np.exp(1j * turn)
        factors += [rotation, phases]
    return [*factors, np.diag(np.exp(1j * w["omega"]))]


def matrix_of(cell: UnitaryField, part: int, h: float, linear: Any = "exact") -> np.ndarray:
    """A factor's flow as a complex matrix."""
    n = cell.hidden_size
    flow = cell.flow(part, h, cell.weights(), linear)
    units = torch.cat([torch.eye(n, dtype=F64), torch.zeros(n, n, dtype=F64)], dim=-1)
    return complexes(flow(units, torch.zeros(n, 2 * n, dtype=F64))).T


def generator(cell: UnitaryField, part: int) -> np.ndarray:
    """The derivative of the flow at time 0, by Richardson's extrapolation of central differences."""

    def central(e: float) -> np.ndarray:
        return (matrix_of(cell, part, e) - matrix_of(cell, part, -e)) / (2 * e)

    coarse, middle, fine = (central(e) for e in (2e-2, 1e-2, 5e-3))
    first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
    return (16 * second - first) / 15


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("n", [1, 2, 5, 6, 9])
def test_a_sequence_is_the_published_recurrence(name: str, n: int) -> None:
    cell = cell_of(name, n)
    assert isinstance(cell.field, UnitaryField)
    w = arrays(cell.field)
    W = np.linalg.multi_dot([np.eye(n), *reversed(published_factors(cell.field))])
    V = w["V_re"] + 1j * w["V_im"]
    inputs = torch.randn(12, 2, 3, dtype=F64)
    states = complexes(cell.trajectory(inputs).flatten(2))
    if name == "urnn":
        np.testing.assert_array_equal(states[0, 1], w["start_re"] + 1j * w["start_im"])
    else:
        assert not states[0].any()
    psi = states[0]
    for step, u in enumerate(inputs.numpy(), start=1):
        z = psi @ W.T + u @ V.T
        psi = z * np.maximum(np.abs(z) + w["b_r"], 0) / np.abs(z)
        np.testing.assert_allclose(states[step], psi, atol=2e-14)
    seen, last = cell(inputs)
    torch.testing.assert_close(seen[-1], last.flatten(1))
    np.testing.assert_allclose(complexes(seen[-1]), psi, atol=2e-14)


@pytest.mark.parametrize("name", CELLS)
def test_factors_are_published_and_flows_are_one_parameter_groups(name: str) -> None:
    cell = field(name, 7)
    for part, expected in enumerate(published_factors(cell)):
        np.testing.assert_allclose(matrix_of(cell, part, 1.0), expected, atol=1e-14)
        G = generator(cell, part)
        np.testing.assert_allclose(G, -G.conj().T, atol=1e-10)
        for h in (0.37, 1.6):
            U = matrix_of(cell, part, h)
            np.testing.assert_allclose(U @ U.conj().T, np.eye(7), atol=1e-14)
            np.testing.assert_allclose(U, scipy.linalg.expm(h * G), atol=1e-8)
            np.testing.assert_allclose(U @ matrix_of(cell, part, 1 - h), expected, atol=1e-14)
            cayley = np.linalg.solve(np.eye(7) - h / 2 * G, np.eye(7) + h / 2 * G)
            np.testing.assert_allclose(matrix_of(cell, part, h, "cayley"), cayley, atol=1e-8)


def test_logarithms_of_transform_and_permutation_are_principal() -> None:
    cell = field("urnn", 8)
    F, P, inverse = (generator(cell, cell.factors.index(name)) for name in ("F", "P", "F inverse"))
    for G in (F, P):
        angles = np.linalg.eigvals(G).imag
        assert angles.max() <= math.pi + 1e-7
        assert angles.min() > -math.pi + 0.1  # -1 has the logarithm + i pi
    np.testing.assert_allclose(inverse, -F, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(7)))
def test_cycles_diagonalise_the_permutation(order: list[int]) -> None:
    angles, Q = cycles(torch.tensor(order))
    P = torch.eye(7, dtype=torch.complex128)[order]
    torch.testing.assert_close(Q @ torch.diag(torch.exp(1j * angles)) @ Q.mH, P, atol=1e-14, rtol=0)
    torch.testing.assert_close(Q @ Q.mH, torch.eye(7, dtype=torch.complex128), atol=1e-14, rtol=0)


@pytest.mark.parametrize("name", CELLS)
def test_field_is_the_sum_of_generators_input_and_radial_part(name: str) -> None:
    cell = field(name, 5)
    w = arrays(cell)
    y, u = torch.randn(3, 10, dtype=F64), torch.randn(3, 3, dtype=F64)
    psi = complexes(y)
    G = sum(generator(cell, part) for part in range(len(cell.factors)))
    expected = psi @ np.asarray(G).T + u.numpy() @ (w["V_re"] + 1j * w["V_im"]).T + w["b_r"] * psi / np.abs(psi)
    slope = cell(0.0, y, cell.drive(u), cell.weights())
    np.testing.assert_allclose(complexes(slope), expected, atol=1e-9)
    parts = cell.slopes((1,), y.chunk(2, -1), cell.drive(u), cell.weights(), {})
    torch.testing.assert_close(parts[0], slope[:, 5:])
    still = cell(0.0, torch.zeros(1, 10, dtype=F64), torch.zeros(1, 10, dtype=F64), cell.weights())
    assert not still.detach().numpy().any()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("method", "order"), [("lie", 1), ("strang", 2), ("strang-cayley", 2), ("rk4", 4)])
def test_order_towards_the_flow_of_the_field(name: str, method: str, order: int) -> None:
    cell = field(name, 4)
    y = torch.cat([torch.full((1, 4), 2.0), torch.randn(1, 4)], dim=-1).to(F64)  # away from psi = 0
    u, time = torch.randn(1, 3, dtype=F64), 0.4
    drive, weights = cell.drive(u), cell.weights()

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        return cell(0.0, torch.as_tensor(y)[None], drive, weights)[0].detach().numpy()

    exact = solve_ivp(slope, (0, time), y[0].numpy(), "DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
    errors = []
    for n in (40, 80):
        run = cell_of(name, 4, method=method, step=time / n)
        last = run.trajectory(u.expand(n, 1, 3), y.reshape(1, 2, 4))[-1].flatten()
        errors.append(np.abs(last.detach().numpy() - exact).max())
    assert abs(math.log2(errors[0] / errors[1]) - order) < 0.25


@pytest.mark.parametrize("name", CELLS)
def test_norm_is_kept_to_rounding_without_input_and_bias(name: str) -> None:
    cell = cell_of(name, 8)
    with torch.no_grad():
        cell.field.named_weights()["b_r"].zero_()
        states = cell.trajectory(torch.zeros(1000, 1, 3, dtype=F64), torch.randn(1, 2, 8, dtype=F64)).flatten(2)
    norms = states.norm(dim=-1)
    assert (norms / norms[0] - 1).abs().max() < 2e-12


@pytest.mark.parametrize("name", CELLS)
def test_radial_part_stops_at_zero(name: str) -> None:
    cell = field(name, 3)
    with torch.no_grad():
        cell.b_r.copy_(torch.tensor([-10.0, 0.5, 0.5]))
    y = torch.tensor([[3.0, 3.0, 0.0, 4.0, -4.0, 0.0]], dtype=F64)
    moved = cell.flow(len(cell.parts) - 1, 0.5, cell.weights(), "exact")(y, y)
    torch.testing.assert_close(moved.detach(), torch.tensor([[0.0, 3.15, 0.0, 0.0, -4.2, 0.0]], dtype=F64))


@pytest.mark.parametrize("name", CELLS)
def test_jacobian_and_gradients(name: str) -> None:
    cell = field(name, 4)
    y, u = torch.randn(2, 8, dtype=F64), torch.randn(2, 3, dtype=F64)
    drive, weights = cell.drive(u), cell.weights()
    J, e = cell.jacobian(y, drive, weights), 1e-6
    for i in range(8):
        bump = e * torch.eye(8, dtype=F64)[i]
        column = (cell(0.0, y + bump, drive, weights) - cell(0.0, y - bump, drive, weights)) / (2 * e)
        torch.testing.assert_close(J[:, :, i], column, atol=1e-8, rtol=1e-6)
    run = cell_of(name, 3, p=2, step=0.6)
    x, start = torch.randn(2, 1, 2, dtype=F64), torch.randn(1, 2, 3, dtype=F64)

    def seen(*_: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = run(x, start)[0]
        return out[-1]

    moving = [p for p in run.parameters() if p.numel()]
    assert torch.autograd.gradcheck(seen, moving)
    run(x)[0].square().sum().backward()  # from the field's own start
    assert all(p.grad is not None and bool(p.grad.any()) for p in moving)


def test_parameter_counts() -> None:
    for n, p in ((4, 1), (7, 3), (128, 10)):
        assert field("urnn", n, p).parameter_count() == 7 * n + 2 * n * p + n + 2 * n
    for n, layers, recurrent in (
        (128, 4, 636),  # the published count of capacity 4
        (6, 6, 36),
        (6, 4, 4 * 5 + 6),
        (6, 3, 3 * 5 + 6 + 1),
        (7, 7, 49),
        (7, 3, 3 * 6 + 7),
    ):
        cell = field("eunn", n, 3, constants={"layers": layers})
        assert cell.parameter_count() == recurrent + 2 * n * 3 + n
    with pytest.raises(UsageError, match=r"'layers'.*whole number"):
        field("eunn", constants={"layers": 0})


@pytest.mark.parametrize("name", CELLS)
def test_starts_are_in_their_ranges(name: str) -> None:
    n, p = 200, 4
    w = arrays(field(name, n, p))
    assert 0.9 * math.pi < np.abs(w["theta_1"]).max() <= math.pi
    assert 0.009 < np.abs(w["b_r"]).max() <= 0.01
    assert np.abs(w["V_re"]).max() <= math.sqrt(6 / (p + 2 * n))
    if name == "urnn":
        assert 0.95 < np.abs(w["start_re"]).max() / math.sqrt(3 / (2 * n)) <= 1
        assert sorted(w["permutation"]) == list(range(n))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_follows_double(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    low, high = ODERNN(3, 6, name, "strang", dtype=dtype), cell_of(name, method="strang")
    x = torch.randn(4, 2, 3, dtype=F64)
    out = low(x.to(dtype))[0]
    assert out.dtype == dtype
    gap = (out.double() - high(x)[0]).abs().max()
    assert gap < 60 * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", CELLS)
def test_copies_pickles_and_state_dicts_behave_alike(name: str) -> None:
    cell, x = cell_of(name), torch.randn(4, 2, 3, dtype=F64)
    fresh = cell_of(name, seed=9)
    fresh.load_state_dict(cell.state_dict())
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell)), fresh):
        for method in (cell.tableau, cell_of(name, method="rk4").tableau):
            cell.tableau = other.tableau = method
            cell.step = other.step = 0.1
            assert torch.equal(other(x)[0], cell(x)[0])
