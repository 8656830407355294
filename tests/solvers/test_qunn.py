"""QUNN against dense Kronecker products, matrix exponentials, closed laws of norm drift, and its t-th order ODE."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
from functools import reduce
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from odernn.solvers.cell import ODERNN
from odernn.solvers.fields import field_of
from odernn.solvers.qunn import QUNN
from odernn.solvers.spec import parse
from odernn.suite.errors import UsageError

F64 = torch.float64
X, Z = np.array([[0.0, 1.0], [1.0, 0.0]]), np.diag([1.0, -1.0])


def qunn(sites: int, qubits: int = 2, inputs: int = 3, method: str = "strang", **options: Any) -> ODERNN:
    torch.manual_seed(5)
    return ODERNN(inputs, sites, "qunn", method, constants={"qubits": qubits}, dtype=F64, **options)


def field(sites: int, qubits: int = 2, inputs: int = 3) -> QUNN:
    made = qunn(sites, qubits, inputs).field
    assert isinstance(made, QUNN)
    return made


def on(operator: np.ndarray, j: int, qubits: int) -> np.ndarray:
    return reduce(np.kron, [operator if k == j else np.eye(2) for k in range(qubits)])


def dense(cell: QUNN, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hopping, X, and Z with ZZ as matrices on (component, site), the site being the fast index."""
    w = {name: value.detach().numpy() for name, value in cell.named_weights().items()}
    e, q = w["encoding"] @ u, cell.qubits
    hopping = np.kron(np.eye(2**q), np.diag(w["J"], 1) + np.diag(w["J"], -1))
    turns = sum(np.kron(on(X, j, q), np.diag(w["a"] + w["alpha"] * e[j])) for j in range(q))
    energy = sum(np.kron(on(Z, j, q), np.diag(w["b"] + w["beta"] * e[j])) for j in range(q))
    for j in range(q - 1):
        energy = energy + np.kron(on(Z, j, q) @ on(Z, j + 1, q), np.diag(w["c"]))
    return hopping, np.asarray(turns), np.asarray(energy)


def complexes(y: torch.Tensor) -> np.ndarray:
    re, im = y.detach().chunk(2, -1)
    return (re + 1j * im).numpy()


def reals(psi: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.concatenate([psi.real, psi.imag], axis=-1))


def random_state(cell: QUNN, batch: int = 2) -> torch.Tensor:
    y = torch.randn(batch, cell.blocks * cell.hidden_size, dtype=F64)
    return y / y.norm(dim=-1, keepdim=True)


# ---------------------------------------------------------------------------------------------------- the field


@settings(max_examples=15, deadline=None)
@given(sites=st.integers(1, 5), qubits=st.integers(1, 3), inputs=st.integers(1, 5), seed=st.integers(0, 99))
def test_field_and_jacobian_are_those_of_the_dense_hamiltonian(sites: int, qubits: int, inputs: int, seed: int) -> None:
    cell = field(sites, qubits, inputs)
    torch.manual_seed(seed)
    y, u = random_state(cell), torch.randn(2, inputs, dtype=F64)
    slope = cell(0.0, y, cell.drive(u), cell.weights())
    jacobian = cell.jacobian(y, cell.drive(u), cell.weights()).detach().numpy()
    for i in range(2):
        H = sum(dense(cell, u[i].numpy()))
        np.testing.assert_allclose(complexes(slope)[i], -1j * H @ complexes(y)[i], atol=1e-14)
        none = np.zeros_like(H)
        np.testing.assert_allclose(jacobian[i], np.block([[none, H], [-H, none]]), atol=1e-15)


@pytest.mark.parametrize("qubits", [1, 2, 3])
def test_slopes_read_their_dependencies_alone(qubits: int) -> None:
    cell = field(4, qubits)
    y, drive, weights = random_state(cell), cell.drive(torch.randn(2, 3, dtype=F64)), cell.weights()
    whole = cell(0.0, y, drive, weights).chunk(cell.blocks, -1)
    for block in range(cell.blocks):
        lost = [v if j in cell.dependencies[block] else v * math.nan for j, v in enumerate(y.chunk(cell.blocks, -1))]
        torch.testing.assert_close(cell.slopes((block,), lost, drive, weights, {})[0], whole[block])
        assert len(cell.dependencies[block]) == qubits + 1


def test_features_are_expectations_and_occupations() -> None:
    cell = field(3, 3)
    y = random_state(cell)
    psi = complexes(y)
    for i in range(2):
        Zs = [np.kron(on(Z, j, 3), np.eye(3)) for j in range(3)]
        sites = [np.kron(np.eye(8), np.diag(np.eye(3)[k])) for k in range(3)]
        expected = [np.vdot(psi[i], operator @ psi[i]).real for operator in (*Zs, *sites)]
        np.testing.assert_allclose(cell.features(y)[i].numpy(), expected, atol=1e-15)
    assert cell.feature_size == 6


def test_starts_normalised_on_all_sites_with_every_qubit_up() -> None:
    cell = field(5, 2)
    seen = cell.features(cell.initial(2))[1].detach()
    torch.testing.assert_close(seen, torch.tensor([1.0, 1.0, *[0.2] * 5], dtype=F64))


# ----------------------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("sites", [1, 2, 7])
@pytest.mark.parametrize("inputs", [1, 3, 40])
@pytest.mark.parametrize("qubits", [1, 2, 4])
def test_six_t_minus_one_parameters_whatever_the_input(sites: int, inputs: int, qubits: int) -> None:
    cell = qunn(sites, qubits, inputs)
    assert cell.parameter_count() == sum(p.numel() for p in cell.parameters()) == 6 * sites - 1
    sizes = {name: value.numel() for name, value in cell.field.named_weights().items() if name != "encoding"}
    assert sizes == {**dict.fromkeys(("a", "b", "c", "alpha", "beta"), sites), "J": sites - 1}


def test_encoding_is_fixed_and_orthonormal() -> None:
    for qubits, inputs in ((2, 5), (4, 2), (3, 3)):
        E = field(2, qubits, inputs).encoding.numpy()
        gram = E @ E.T if qubits <= inputs else E.T @ E
        np.testing.assert_allclose(gram, np.eye(min(qubits, inputs)), atol=1e-15)
        torch.manual_seed(77)
        again = ODERNN(inputs, 2, "qunn", "strang", constants={"qubits": qubits}, dtype=F64).field
        assert np.array_equal(again.named_weights()["encoding"].numpy(), E)
        assert not again.named_weights()["encoding"].requires_grad


def test_binary_code_holds_digits() -> None:
    E = ODERNN(6, 2, "qunn", "strang", constants={"qubits": 3, "code": 1}).field.named_weights()["encoding"]
    assert ["".join(str(int(v)) for v in column) for column in E.t()] == ["000", "001", "010", "011", "100", "101"]


@pytest.mark.parametrize(
    ("constants", "words"),
    [
        ({"qubits": 2.5}, "'qubits'.*2.5: expected a whole number from 1 to 10"),
        ({"qubits": 0}, "'qubits'.*whole number"),
        ({"qubits": 11}, "'qubits'.*11"),
        ({"code": 2}, "'code'.*from 0 to 1"),
        ({"qubits": 2, "code": 1}, "4 binary codes for 5 symbols: expected qubits of at least 3"),
        ({"qubit": 2}, "qubits"),
    ],
)
def test_constants_out_of_range_are_refused(constants: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ODERNN(5, 3, "qunn", "strang", constants=constants)


def test_ode_order_is_the_number_of_sites() -> None:
    assert qunn(7).ode_order == ODERNN(3, 7, "qunn", "strang", ode_order=7).ode_order == 7
    with pytest.raises(UsageError, match="of order 7, not 2"):
        ODERNN(3, 7, "qunn", "strang", ode_order=2)


# ---------------------------------------------------------------------------------------------------- stepping


@pytest.mark.parametrize(("sites", "qubits"), [(1, 1), (4, 2), (3, 3)])
def test_flows_are_exponentials_of_the_dense_parts(sites: int, qubits: int) -> None:
    cell = field(sites, qubits)
    y, u, h = random_state(cell), torch.randn(2, 3, dtype=F64), 0.7
    for i, u_i in enumerate(u.numpy()):
        for part, matrix in enumerate(dense(cell, u_i)):
            moved = cell.flow(part, h, cell.weights(), "exact")(y, cell.drive(u))
            np.testing.assert_allclose(
                complexes(moved)[i], scipy.linalg.expm(-1j * h * matrix) @ complexes(y)[i], atol=1e-14
            )
        hopping = 0.5j * h * dense(cell, u_i)[0]
        moved = cell.flow(0, h, cell.weights(), "cayley")(y, cell.drive(u))
        eye = np.eye(len(hopping))
        expected = np.linalg.solve(eye + hopping, (eye - hopping) @ complexes(y)[i])
        np.testing.assert_allclose(complexes(moved)[i], expected, atol=1e-14)


def test_a_sequence_is_dense_strang_steps() -> None:
    cell = qunn(4, 2)
    assert isinstance(cell.field, QUNN)
    inputs = torch.randn(20, 2, 3, dtype=F64)
    states = complexes(cell.trajectory(inputs).flatten(2))
    for i in range(2):
        psi = states[0, i]
        for step, u in enumerate(inputs[:, i].numpy(), start=1):
            hop, turn, phase = dense(cell.field, u)
            outer, inner = scipy.linalg.expm(-0.5j * hop), scipy.linalg.expm(-0.5j * turn)
            psi = outer @ inner @ scipy.linalg.expm(-1j * phase) @ inner @ outer @ psi
            np.testing.assert_allclose(states[step, i], psi, atol=1e-13)


@pytest.mark.parametrize(("method", "order"), [("strang", 2), ("strang-cayley", 2), ("lie", 1), ("rk4", 4)])
def test_order_towards_the_dense_exponential(method: str, order: int) -> None:
    cell = field(4, 2)
    y, u = random_state(cell, 1), torch.randn(1, 3, dtype=F64)
    exact = scipy.linalg.expm(-2j * sum(dense(cell, u[0].numpy()))) @ complexes(y)[0]
    errors = []
    for n in (20, 40):
        steps = qunn(4, 2, method=method, step=2.0 / n)
        last = steps.trajectory(u.expand(n, 1, 3), y.reshape(1, cell.blocks, 4))[-1].flatten(1)
        errors.append(np.abs(complexes(last)[0] - exact).max())
    assert abs(math.log2(errors[0] / errors[1]) - order) < 0.1


def test_strang_keeps_the_norm_to_rounding_for_10000_steps() -> None:
    with torch.no_grad():
        states = qunn(5, 1).trajectory(torch.randn(10_000, 1, 3, dtype=F64)).flatten(2)
    assert (states.norm(dim=-1) - 1).abs().max() < 1e-12


def test_implicit_midpoint_keeps_the_norm_and_rk4_loses_it_by_its_stability_function() -> None:
    n, h = 300, 0.5
    cell = field(3, 2)
    u = torch.randn(1, 3, dtype=F64)
    inputs = u.expand(n, 1, 3)
    with torch.no_grad():
        kept = qunn(3, 2, method="implicit-midpoint", step=h).trajectory(inputs).flatten(2).norm(dim=-1)
        lost = qunn(3, 2, method="rk4", step=h).trajectory(inputs).flatten(2).norm(dim=-1)
    assert (kept - 1).abs().max() < 1e-12
    # of every eigenvector of H, RK4 multiplies the amplitude by R(-i h lambda)
    energies, modes = np.linalg.eigh(sum(dense(cell, u[0].numpy())))
    z = -1j * h * energies
    R = 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24
    expected = np.linalg.norm(np.abs(R) ** n * np.abs(modes.T @ complexes(cell.initial(1))[0]))
    assert abs(lost[-1].item() - expected) < 1e-11
    assert 1 - expected > 1e-3


def test_chain_transfers_a_state_perfectly_in_t_steps() -> None:
    for sites in (2, 5, 9):
        cell = qunn(sites, 2)
        with torch.no_grad():
            for name in ("a", "b", "c", "alpha", "beta"):
                getattr(cell.field, name).zero_()
            packet = torch.zeros(1, cell.blocks, sites, dtype=F64)
            packet[0, :, 0] = torch.randn(cell.blocks, dtype=F64)
            out, last = cell(torch.randn(sites, 1, 3, dtype=F64), packet)
        occupied = out[-1, 0, 2:] / packet.square().sum()
        torch.testing.assert_close(occupied, torch.eye(sites, dtype=F64)[-1], atol=1e-13, rtol=0)
        # up to one phase (-i)^(t - 1), the qubits arrive as they left
        sent, arrived = complexes(packet[:, :, 0])[0], complexes(last[:, :, -1])[0]
        np.testing.assert_allclose(arrived, (-1j) ** (sites - 1) * sent, atol=1e-13)


def test_gradients() -> None:
    cell = qunn(3, 2)
    inputs, start = torch.randn(3, 1, 3, dtype=F64), random_state(field(3, 2), 1).reshape(1, 8, 3)

    def seen(*_: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = cell(inputs, start)[0]
        return out[-1]

    assert torch.autograd.gradcheck(seen, tuple(cell.parameters()))
    cell(inputs)[0][-1, 0, 0].backward()
    assert all(p.grad is not None and p.grad.abs().min() > 0 for p in cell.parameters())


# ------------------------------------------------------------------------------------------------- the t-th order ODE


def observability(H: np.ndarray, seen: np.ndarray, rows: int) -> int:
    """Rank of (C, C M, ..., C M^(rows - 1)), M = -i H."""
    stack, block = [], seen.astype(complex)
    for _ in range(rows):
        stack.append(block)
        block = block @ (-1j * H)
    return int(np.linalg.matrix_rank(np.concatenate(stack), tol=1e-9))


@pytest.mark.parametrize(("sites", "qubits"), [(2, 2), (4, 1), (5, 2)])
def test_the_end_of_the_chain_obeys_an_ode_of_order_t_and_none_lower(sites: int, qubits: int) -> None:
    cell = field(sites, qubits)
    H = sum(dense(cell, np.array([0.3, -1.1, 0.7])))  # with every local term
    width = 2**qubits
    first = np.kron(np.eye(width), np.eye(sites)[:1])  # the components at site 1
    assert observability(H, first, sites) == sites * width
    assert observability(H, first, sites - 1) == (sites - 1) * width


def test_a_scalar_ode_of_order_t_reproduces_the_amplitude_at_the_end() -> None:
    sites, time, n = 4, 6.0, 600
    cell = qunn(sites, 2, method="rk4", step=time / n)
    made = cell.field
    assert isinstance(made, QUNN)
    with torch.no_grad():
        made.a.zero_()
        made.alpha.zero_()  # without X the components do not mix: each has a Jacobi matrix of its own
        y, u = random_state(made, 1), torch.randn(1, 3, dtype=F64)
        run = complexes(cell.trajectory(u.expand(n, 1, 3), y.reshape(1, 8, sites)).flatten(2))[:, 0].reshape(
            -1, 4, sites
        )
    H = sum(dense(made, u[0].numpy())).reshape(4, sites, 4, sites)
    for c in range(4):
        M = -1j * H[c, :, c, :]
        falling = np.poly(M)  # M^t + falling[1] M^(t-1) + ... = 0 (Cayley and Hamilton)
        coefficients = -falling[:0:-1]
        derivatives = [(np.linalg.matrix_power(M, j) @ run[0, c])[0] for j in range(sites)]

        def slope(_: float, x: np.ndarray, coefficients: np.ndarray = coefficients) -> np.ndarray:
            return np.append(x[1:], coefficients @ x)

        found = solve_ivp(
            slope, (0.0, time), np.array(derivatives), "DOP853", np.linspace(0, time, n + 1), rtol=1e-12, atol=1e-12
        )
        assert np.abs(found.y[0] - run[:, c, 0]).max() < 1e-8
        companion = np.eye(sites, k=1, dtype=complex)
        companion[-1] = coefficients
        np.testing.assert_allclose(
            np.sort(np.linalg.eigvals(companion).imag), np.sort(np.linalg.eigvals(M).imag), atol=1e-10
        )


# ---------------------------------------------------------------------------------------------------- the rest


@pytest.mark.parametrize(("dtype", "drift"), [(torch.float32, 1e-4), (torch.bfloat16, 0.5)])
def test_lower_precision_starts_from_the_same_draws(dtype: torch.dtype, drift: float) -> None:
    torch.manual_seed(5)
    cell = ODERNN(3, 4, "qunn", "strang", dtype=dtype)
    torch.testing.assert_close(cell.field.named_weights()["a"], field(4).a.to(dtype))
    with torch.no_grad():
        states = cell.trajectory(torch.randn(50, 2, 3).to(dtype)).flatten(2)
    assert states.dtype == dtype
    assert (states.double().norm(dim=-1) - 1).abs().max() < drift


def test_copies_and_pickles_behave_alike() -> None:
    cell, x = qunn(3, 2), torch.randn(4, 2, 3, dtype=F64)
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert torch.equal(other(x)[0], cell(x)[0])
    fresh = ODERNN(3, 3, "qunn", "strang", dtype=F64)
    fresh.load_state_dict(cell.state_dict())
    assert torch.equal(fresh(x)[0], cell(x)[0])


def test_describing_the_written_fields_imports_no_torch() -> None:
    code = (
        "import sys; from odernn.solvers.fields import field_of\n"
        "assert all(field_of(name).latex() for name in ('qunn', 'urnn', 'eunn', 'lmu'))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "otimes" in field_of("qunn").latex()
    assert field(2).latex() == field_of("qunn").latex()


@pytest.mark.parametrize("name", ["gauss-seidel-euler", "stormer-verlet"])
def test_a_method_for_two_blocks_is_refused_before_anything_runs(name: str) -> None:
    with pytest.raises(UsageError, match="two blocks"):
        parse({"cell": "qunn", "tableau": name, "backend": "native", "step": 1.0, "hidden": 4})
