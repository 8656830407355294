"""The published updates against oracles of their own: closed forms, FFT, SciPy, conserved quantities, reversibility."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.signal import cont2discrete

from odernn.suite.errors import UsageError
from odernn.tasks.audits.published import ROWS, lmu, published, qunn

Array = np.ndarray[Any, Any]
N, P, B = 5, 3, 4
BLOCKS = {"lstm": 2, "ode-lstm": 2, "cornn": 2, "unicornn": 2, "lem": 2, "lmu": 2, "lru": 2, "schroedinger": 2}
QUBITS, SITES = 2, 3
BLOCKS |= {"srnn": 2, "urnn": 2, "qunn": 2 * 2**QUBITS}


def sg(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def weights(row: str, seed: int = 0) -> dict[str, Array]:
    """Generic weights of a row, W (n, n), V (n, p), b (n,)."""
    rng = np.random.default_rng(seed)

    def W() -> Array:
        return rng.normal(size=(N, N)) / math.sqrt(N)

    def V() -> Array:
        return rng.normal(size=(N, P))

    def b() -> Array:
        return rng.normal(size=N) / 2

    def gates(names: str) -> dict[str, Array]:
        return {f"{kind}_{g}": make() for g in names for kind, make in (("W", W), ("V", V), ("b", b))}

    constants = {"gamma": 0.3, "epsilon": 0.7, "alpha": 0.4, "beta": 0.75, "tau": 1.3, "elapsed": 0.8, "theta": 6.0}
    constants["negative"] = 0.4
    fixed = {f"constant:{key}": np.array(value) for key, value in constants.items()}
    plain = {"W": W(), "V": V(), "b": b()}
    upper = np.triu(W(), 1)
    match row:
        case "elman" | "leaky" | "ct-rnn":
            found = plain
        case "lstm":
            found = gates("ifgo")
        case "ode-lstm":
            found = gates("ifgo") | {"W_1": W(), "b_1": b(), "W_2": W(), "b_2": b()}
        case "gru":
            found = gates("rz") | {"V_n": V(), "b_n": b(), "W_h": W(), "b_h": b()}
        case "mingru":
            found = {"V_z": V(), "b_z": b(), "V_h": V(), "b_h": b()}
        case "antisymmetric":
            found = plain | {"W": upper}
        case "antisymmetric-gated":
            found = {"W": upper, "V_h": V(), "b_h": b(), "V_z": V(), "b_z": b()}
        case "cornn":
            found = plain | {"W_z": W()}
        case "unicornn":
            found = {"w": b(), "V_y": V(), "b_y": b(), "b_c": b()}
        case "lem":
            found = gates("12zy")
        case "lipschitz":
            found = {"M_A": W(), "M_W": W(), "V_W": V(), "b_W": b()}
        case "scornn" | "exprnn":
            found = {"A": upper, "V_u": V(), "b_r": b()}
        case "urnn":
            found = {name: b() for name in ("theta_1", "theta_2", "theta_3", "v_1_re", "v_1_im", "v_2_re", "v_2_im")}
            found |= {"V_re": V(), "V_im": V(), "b_r": b(), "permutation": rng.permutation(N).astype(float)}
        case "lmu":
            found = {"e_x": rng.normal(size=P), "e_h": b(), "e_m": b(), "W_x": V(), "W_h": W(), "W_m": W()}
        case "lru":
            found = {"b_nu": b(), "b_theta": b(), "b_gamma": b(), "V_re": V(), "V_im": V()}
        case "schroedinger":
            found = {"S": W(), "K": W(), "V_u": V(), "b_u": b()}
        case "srnn":
            found = {"W_kin": W(), "b_kin": b(), "b_kout": b()}
            found |= {"W_pot": W(), "V_pot": V(), "b_pot": b(), "b_pout": b()}
        case "qunn":
            t = SITES
            found = {name: rng.normal(size=t) for name in ("a", "b", "c", "alpha", "beta")}
            found |= {"J": rng.normal(size=t - 1), "encoding": rng.normal(size=(QUBITS, P))}
        case "cfc":
            found = {name: W() for name in ("W_bb", "F_1", "F_2", "T_a", "T_b")}
            found |= {"V_bb": V()} | {name: b() for name in ("b_bb", "b_1", "b_2", "b_a", "b_b")}
        case _:
            raise AssertionError(row)
    return found | fixed


def draw(row: str, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    width = SITES if row == "qunn" else N
    return rng.normal(size=(B, BLOCKS.get(row, 1), width)), rng.normal(size=(B, P))


def matrix(row: str, p: dict[str, Array], h: float = 1.0) -> Array:
    """Of a step that is linear without input, over all blocks flattened."""
    state, _ = draw(row)
    shape = state.shape[1:]
    eye = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return published(row).update(p, h, eye, np.zeros((len(eye), P))).reshape(len(eye), -1).T


# ------------------------------------------------------------------------------------------------------- every row


@pytest.mark.parametrize("row", ROWS)
def test_the_wrong_cell_is_wrong(row: str) -> None:
    cell, p = published(row), weights(row)
    state, u = draw(row)
    kept = state.copy()
    h = 0.4 if cell.STEP is None else cell.STEP
    right, wrong = cell.update(p, h, state, u), cell.wrong(p, h, state, u)
    assert right.shape == wrong.shape == state.shape
    assert right.dtype == wrong.dtype == np.float64
    assert np.isfinite(right).all()
    assert np.isfinite(wrong).all()
    assert np.abs(right - wrong).max() > 1e-3
    assert cell.PAPER
    assert cell.WRONG
    np.testing.assert_array_equal(state, kept)


@pytest.mark.parametrize("row", ROWS)
def test_sequences_of_a_batch_do_not_mix(row: str) -> None:
    cell, p = published(row), weights(row)
    state, u = draw(row)
    whole = cell.update(p, 0.4, state, u)
    alone = np.concatenate([cell.update(p, 0.4, state[k : k + 1], u[k : k + 1]) for k in range(B)])
    np.testing.assert_allclose(whole, alone, atol=1e-13)


def test_the_transcriptions_use_no_solver() -> None:
    import odernn.tasks.audits.published as package

    files = sorted(Path(package.__file__).parent.glob("*.py"))
    assert len(files) == len(ROWS) + 1
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert "solvers" not in (node.module or "")
            if isinstance(node, ast.Import):
                assert all("odernn" not in alias.name for alias in node.names)


def test_an_unknown_row() -> None:
    with pytest.raises(UsageError, match="did you mean 'lstm'"):
        published("lsmt")


# ------------------------------------------------------------- torch's own modules, against the formulas written out


def test_elman_and_leaky() -> None:
    p, (state, u) = weights("elman"), draw("elman")
    expected = np.zeros_like(state)
    for k in range(B):
        for i in range(N):
            a = p["b"][i] + sum(p["W"][i, j] * state[k, 0, j] for j in range(N))
            expected[k, 0, i] = math.tanh(a + sum(p["V"][i, j] * u[k, j] for j in range(P)))
    np.testing.assert_allclose(published("elman").update(p, 1.0, state, u), expected, atol=1e-15)
    np.testing.assert_allclose(published("leaky").update(p, 1.0, state, u), expected, atol=1e-15)
    np.testing.assert_allclose(published("leaky").update(p, 0.3, state, u), 0.7 * state + 0.3 * expected, atol=1e-15)


def test_lstm() -> None:
    p, (state, u) = weights("lstm"), draw("lstm")
    x, c = state[:, 0], state[:, 1]
    a = {k: x @ p[f"W_{k}"].T + u @ p[f"V_{k}"].T + p[f"b_{k}"] for k in "ifgo"}
    new = sg(a["f"]) * c + sg(a["i"]) * np.tanh(a["g"])
    expected = np.stack([sg(a["o"]) * np.tanh(new), new], 1)
    np.testing.assert_allclose(published("lstm").update(p, 1.0, state, u), expected, atol=1e-15)


def test_gru_in_four_gauges() -> None:
    """One frozen field n - y, four integrators with their own steps, one map: what an unfixed gauge hides."""
    p, (state, u) = weights("gru"), draw("gru")
    y = state[:, 0]
    r, z = (sg(y @ p[f"W_{k}"].T + u @ p[f"V_{k}"].T + p[f"b_{k}"]) for k in "rz")
    n = np.tanh(u @ p["V_n"].T + p["b_n"] + r * (y @ p["W_h"].T + p["b_h"]))
    euler = y + (1 - z) * (n - y)
    step = (1 - z) / z
    backward = (y + step * n) / (1 + step)
    step = 2 * (1 - z) / (1 + z)
    trapezoid = (y * (1 - step / 2) + step * n) / (1 + step / 2)
    exact = n + (y - n) * np.exp(np.log(z))
    after = published("gru").update(p, 1.0, state, u)[:, 0]
    for gauge in (euler, backward, trapezoid, exact):
        np.testing.assert_allclose(after, gauge, atol=2e-15)


def test_mingru_is_a_linear_scan() -> None:
    """y_T in closed form: a product of the (1 - z), and each candidate weighted by what follows it."""
    p, rng = weights("mingru"), np.random.default_rng(2)
    inputs, y = rng.normal(size=(7, B, P)), rng.normal(size=(B, 1, N))
    z = sg(inputs @ p["V_z"].T + p["b_z"])
    new = inputs @ p["V_h"].T + p["b_h"]
    expected = np.prod(1 - z, axis=0) * y[:, 0]
    for i in range(7):
        expected = expected + np.prod(1 - z[i + 1 :], axis=0) * z[i] * new[i]
    for u in inputs:
        y = published("mingru").update(p, 1.0, y, u)
    np.testing.assert_allclose(y[:, 0], expected, atol=1e-14)


# ------------------------------------------------------------------- the fields that steps tend to, written unit-wise


def field(row: str, p: dict[str, Array], state: Array, u: Array) -> Array:
    """dy/dt of one sequence (blocks, n), with plain sums."""
    c = {key.partition(":")[2]: float(value) for key, value in p.items() if key.startswith("constant:")}

    def dot(M: Array, x: Array) -> Array:
        return np.array([math.fsum(M[i, j] * x[j] for j in range(len(x))) for i in range(len(M))])

    y, z = state[0], state[-1]
    match row:
        case "leaky":
            return np.array([-y + np.tanh(dot(p["W"], y) + dot(p["V"], u) + p["b"])])
        case "ct-rnn":
            return np.array([-y / c["tau"] + np.tanh(dot(p["W"], y) + dot(p["V"], u) + p["b"])])
        case "antisymmetric":
            skew = dot(p["W"], y) - dot(p["W"].T, y) - c["gamma"] * y
            return np.array([np.tanh(skew + dot(p["V"], u) + p["b"])])
        case "antisymmetric-gated":
            skew = dot(p["W"], y) - dot(p["W"].T, y) - c["gamma"] * y
            return np.array([sg(skew + dot(p["V_z"], u) + p["b_z"]) * np.tanh(skew + dot(p["V_h"], u) + p["b_h"])])
        case "cornn":
            force = np.tanh(dot(p["W"], y) + dot(p["W_z"], z) + dot(p["V"], u) + p["b"])
            return np.array([z, force - c["gamma"] * y - c["epsilon"] * z])
        case "unicornn":
            force = np.tanh(p["w"] * y + dot(p["V_y"], u) + p["b_y"]) + c["alpha"] * y
            return np.array([sg(p["b_c"]) * z, -sg(p["b_c"]) * force])
        case "lem":
            a = {k: dot(p[f"W_{k}"], z if k == "y" else y) + dot(p[f"V_{k}"], u) + p[f"b_{k}"] for k in "12zy"}
            return np.array([sg(a["2"]) * (np.tanh(a["y"]) - y), sg(a["1"]) * (np.tanh(a["z"]) - z)])
        case "lipschitz":
            # beta (M - M^T) + (1 - beta) (M + M^T) = M + (1 - 2 beta) M^T
            A, W = (dot(M, y) + (1 - 2 * c["beta"]) * dot(M.T, y) - c["gamma"] * y for M in (p["M_A"], p["M_W"]))
            return np.array([A + np.tanh(W + dot(p["V_W"], u) + p["b_W"])])
        case "schroedinger":
            d = dot(p["V_u"], u) + p["b_u"]
            real = dot(p["S"], y) + dot(p["S"].T, y) + d * y - dot(p["K"], z) + dot(p["K"].T, z)
            imag = dot(p["S"], z) + dot(p["S"].T, z) + d * z + dot(p["K"], y) - dot(p["K"].T, y)
            return np.array([imag, -real])  # -i (real + i imag)
        case _:
            raise AssertionError(row)


@pytest.mark.parametrize(
    ("row", "order"),
    [
        *((row, 1) for row in ("leaky", "antisymmetric", "antisymmetric-gated", "cornn", "unicornn", "lem")),
        *(("lipschitz", 1), ("ct-rnn", 1), ("schroedinger", 2)),
    ],
)
def test_steps_tend_to_the_field(row: str, order: int) -> None:
    p, (state, u) = weights(row), draw(row)
    shape = state.shape[1:]
    exact = solve_ivp(
        lambda t, y: field(row, p, y.reshape(shape), u[0]).ravel(), (0, 1), state[0].ravel(), rtol=1e-10, atol=1e-12
    ).y[:, -1]
    errors = []
    for count in (64, 128):
        y = state[:1]
        for _ in range(count):
            y = published(row).update(p, 1 / count, y, u[:1])
        errors.append(np.abs(y.ravel() - exact).max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)
    assert errors[1] < 0.05


def test_ct_rnn_unfolds_six_times() -> None:
    p, (state, u) = weights("ct-rnn"), draw("ct-rnn")
    y = state[0]
    for _ in range(6):
        y = y + 0.1 * field("ct-rnn", p, y, u[0])
    np.testing.assert_allclose(published("ct-rnn").update(p, 0.6, state, u)[0], y, atol=1e-15)


def test_cornn_moves_with_the_new_velocity() -> None:
    p, (state, u) = weights("cornn"), draw("cornn")
    after = published("cornn").update(p, 0.06, state, u)
    np.testing.assert_allclose((after[:, 0] - state[:, 0]) / 0.06, after[:, 1], atol=1e-13)
    np.testing.assert_allclose((after[0, 1] - state[0, 1]) / 0.06, field("cornn", p, state[0], u[0])[1], atol=1e-13)


def test_lem_reads_the_new_memory() -> None:
    """With both gates open (bias 50) and h = 1 the state is forgotten: y+ = tanh(W_y tanh(W_z y + ...) + ...)."""
    p, (state, u) = weights("lem"), draw("lem")
    p |= {"b_1": np.full(N, 50.0), "b_2": np.full(N, 50.0)}
    z = np.tanh(state[:, 0] @ p["W_z"].T + u @ p["V_z"].T + p["b_z"])
    y = np.tanh(z @ p["W_y"].T + u @ p["V_y"].T + p["b_y"])
    np.testing.assert_allclose(published("lem").update(p, 1.0, state, u), np.stack([y, z], 1), atol=1e-12)


def test_unicornn_is_reversible_and_symplectic() -> None:
    p, (state, u) = weights("unicornn"), draw("unicornn")
    d = 0.1 * sg(p["b_c"])
    y, z = np.moveaxis(published("unicornn").update(p, 0.1, state, u), 1, 0)
    old_y = y - d * z
    old_z = z + d * (np.tanh(p["w"] * old_y + u @ p["V_y"].T + p["b_y"]) + p["constant:alpha"] * old_y)
    np.testing.assert_allclose(np.stack([old_y, old_z], 1), state, atol=1e-14)
    assert_symplectic("unicornn", p, state[:1], u[:1])


def test_the_wrong_unicornn_couples_its_units() -> None:
    """w acts as a diagonal: a bump of one unit moves that unit alone; the wrong cell's recurrent matrix is full."""
    p, (state, u) = weights("unicornn"), draw("unicornn")
    cell, bumped = published("unicornn"), state.copy()
    bumped[:, 0, 2] += 0.5
    others = np.arange(N) != 2
    right = cell.update(p, 0.1, bumped, u) - cell.update(p, 0.1, state, u)
    np.testing.assert_array_equal(right[:, :, others], 0)
    wrong = cell.wrong(p, 0.1, bumped, u) - cell.wrong(p, 0.1, state, u)
    assert (np.abs(wrong[:, :, others]) > 1e-6).all()
    alone = {
        **p,
        "w": np.where(others, 0.0, p["w"]),
    }  # and only the coupling is wrong: unit 2 reads itself as it should
    np.testing.assert_allclose(
        cell.wrong(alone, 0.1, state, u)[:, :, 2], cell.update(alone, 0.1, state, u)[:, :, 2], atol=1e-15
    )


def assert_symplectic(row: str, p: dict[str, Array], state: Array, u: Array) -> None:
    eps, columns = 1e-5, []
    for bump in np.eye(2 * N).reshape(-1, 1, 2, N) * eps:
        ahead, behind = (published(row).update(p, 0.3, state + sign * bump, u) for sign in (1, -1))
        columns.append((ahead - behind).ravel() / (2 * eps))
    M, eye, zero = np.array(columns).T, np.eye(N), np.zeros((N, N))
    J = np.block([[zero, eye], [-eye, zero]])
    np.testing.assert_allclose(M.T @ J @ M, J, atol=1e-8)


# --------------------------------------------------------------------------------- orthogonal, unitary and symplectic


def test_scornn_is_the_midpoint_rule_with_step_2() -> None:
    p = weights("scornn") | {"b_r": np.zeros(N), "constant:negative": np.array(0.0)}
    W, S = matrix("scornn", p), p["A"] - p["A"].T
    np.testing.assert_allclose(W.T @ W, np.eye(N), atol=1e-14)
    np.testing.assert_allclose(W - np.eye(N), -2 * S @ (W + np.eye(N)) / 2, atol=1e-14)
    assert np.linalg.det(W) == pytest.approx(1)
    half = weights("scornn") | {"b_r": np.zeros(N), "constant:negative": np.array(0.5)}  # floor(2.5) of five
    np.testing.assert_allclose(matrix("scornn", half), W @ np.diag([-1, -1, 1, 1, 1]), atol=1e-14)


def test_exprnn_is_the_flow() -> None:
    p, (state, u) = weights("exprnn"), draw("exprnn")
    S = p["A"] - p["A"].T
    flow = solve_ivp(lambda t, y: S @ y, (0, 1), state[0, 0], "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    z = flow + p["V_u"] @ u[0]
    expected = [math.copysign(max(abs(v) + r, 0), v) for v, r in zip(z, p["b_r"], strict=True)]
    np.testing.assert_allclose(published("exprnn").update(p, 1.0, state, u)[0, 0], expected, atol=1e-10)


def test_urnn_by_fast_transforms() -> None:
    p, (state, u) = weights("urnn"), draw("urnn")
    order = p["permutation"].astype(int)
    expected = []
    for psi, value in zip(state[:, 0] + 1j * state[:, 1], u, strict=True):
        h = np.fft.fft(np.exp(1j * p["theta_1"]) * psi, norm="ortho")
        h = reflect(p["v_1_re"] + 1j * p["v_1_im"], h)[order]
        h = reflect(p["v_2_re"] + 1j * p["v_2_im"], np.fft.ifft(np.exp(1j * p["theta_2"]) * h, norm="ortho"))
        z = np.exp(1j * p["theta_3"]) * h + (p["V_re"] + 1j * p["V_im"]) @ value
        expected.append(np.maximum(np.abs(z) + p["b_r"], 0) * np.exp(1j * np.angle(z)))
    after = published("urnn").update(p, 1.0, state, u)
    np.testing.assert_allclose(after[:, 0] + 1j * after[:, 1], expected, atol=1e-14)
    free = p | {"b_r": np.zeros(N)}
    kept = published("urnn").update(free, 1.0, state, 0 * u)
    np.testing.assert_allclose((kept**2).sum((1, 2)), (state**2).sum((1, 2)), rtol=1e-14)


def reflect(v: Array, h: Array) -> Array:
    return h - 2 * v * (v.conj() @ h) / (v.conj() @ v)


def test_schroedinger_is_unitary_and_the_midpoint_rule() -> None:
    p, (state, u) = weights("schroedinger"), draw("schroedinger")
    after = published("schroedinger").update(p, 0.1, state, u)
    np.testing.assert_allclose((after**2).sum((1, 2)), (state**2).sum((1, 2)), rtol=1e-14)
    middle = (state + after) / 2
    for k in range(B):
        slope = field("schroedinger", p, middle[k], u[k])
        np.testing.assert_allclose(after[k], state[k] + 0.1 * slope, atol=1e-14)


def test_srnn_is_leapfrog_of_its_energy() -> None:
    """Forces by automatic differentiation of the Hamiltonian."""
    p, (state, u) = weights("srnn"), draw("srnn")
    w = {key: torch.tensor(value) for key, value in p.items()}

    def gradient(energy: Any, at: Array) -> Array:
        x = torch.tensor(at, requires_grad=True)
        return torch.autograd.grad(energy(x), x)[0].numpy()

    def kinetic(m: Any) -> Any:
        return (w["b_kout"] * torch.tanh(m @ w["W_kin"].T + w["b_kin"])).sum()

    def potential(q: Any) -> Any:
        return (w["b_pout"] * torch.tanh(q @ w["W_pot"].T + torch.tensor(u) @ w["V_pot"].T + w["b_pot"])).sum()

    q, m = state[:, 0], state[:, 1]
    m = m - 0.15 * gradient(potential, q)
    q = q + 0.3 * gradient(kinetic, m)
    m = m - 0.15 * gradient(potential, q)
    after = published("srnn").update(p, 0.3, state, u)
    np.testing.assert_allclose(after, np.stack([q, m], 1), atol=1e-14)
    back = published("srnn").update(p, -0.3, after, u)
    np.testing.assert_allclose(back, state, atol=1e-14)
    assert_symplectic("srnn", p, state[:1], u[:1])


# ------------------------------------------------------------------------------------------------- linear memories


def test_lmu_is_the_zero_order_hold() -> None:
    p, (state, u) = weights("lmu"), draw("lmu")
    n, theta = N, 6.0
    A = np.array([[(2 * i + 1) * (-1.0 if i < j else (-1.0) ** (i - j + 1)) for j in range(n)] for i in range(n)])
    Bc = np.array([[(2 * i + 1) * (-1.0) ** i] for i in range(n)])
    np.testing.assert_array_equal(lmu.legendre(n)[0], A)
    Ad, Bd, *_ = cont2discrete((A / theta, Bc / theta, np.eye(n), np.zeros((n, 1))), 1.0, method="zoh")
    h, m = state[:, 0], state[:, 1]
    s = u @ p["e_x"] + h @ p["e_h"] + m @ p["e_m"]
    m = m @ Ad.T + s[:, None] @ Bd.T
    h = np.tanh(u @ p["W_x"].T + h @ p["W_h"].T + m @ p["W_m"].T)
    np.testing.assert_allclose(published("lmu").update(p, 1.0, state, u), np.stack([h, m], 1), atol=1e-13)


def test_lmu_remembers_its_window() -> None:
    """After 25 of a window of theta = 50, m decodes to u(t - 25) by the shifted Legendre polynomials at 1/2."""
    n, theta = 12, 50.0
    p = {"e_x": np.ones(1), "e_h": np.zeros(n), "e_m": np.zeros(n), "W_x": np.zeros((n, 1)), "W_h": np.zeros((n, n))}
    p |= {"W_m": np.zeros((n, n)), "constant:theta": np.array(theta)}
    state, signal = np.zeros((1, 2, n)), np.sin(np.arange(400) / 15)
    for value in signal:
        state = published("lmu").update(p, 1.0, state, np.array([[value]]))
    decoder = np.polynomial.legendre.legvander(np.array([2 * 0.5 - 1]), n - 1)[0]
    late = (signal[400 - 25 - 1] + signal[400 - 25]) / 2  # held inputs lag by half a step
    assert decoder @ state[0, 1] == pytest.approx(late, abs=0.02)


def test_lru_turns_and_kicks() -> None:
    p, (state, u) = weights("lru"), draw("lru")
    decay, turn = np.exp(p["b_nu"]), np.exp(p["b_theta"])
    shrink = np.exp(-decay)
    re = shrink * (np.cos(turn) * state[:, 0] - np.sin(turn) * state[:, 1]) + np.exp(p["b_gamma"]) * (u @ p["V_re"].T)
    im = shrink * (np.sin(turn) * state[:, 0] + np.cos(turn) * state[:, 1]) + np.exp(p["b_gamma"]) * (u @ p["V_im"].T)
    np.testing.assert_allclose(published("lru").update(p, 1.0, state, u), np.stack([re, im], 1), atol=1e-14)


def test_ode_lstm_is_an_lstm_and_then_the_field() -> None:
    """Three classical steps of a third are within 1e-3 of the exact flow; without its field it is the LSTM."""
    p, (state, u) = weights("ode-lstm"), draw("ode-lstm")
    first = published("lstm").update(p, 1.0, state, u)
    still = p | {"W_2": np.zeros((N, N)), "b_2": np.zeros(N)}
    np.testing.assert_array_equal(published("ode-lstm").update(still, 1.0, state, u), first)
    after = published("ode-lstm").update(p, 1.0, state, u)
    np.testing.assert_array_equal(after[:, 1], first[:, 1])
    flow = solve_ivp(
        lambda t, x: p["W_2"] @ np.tanh(p["W_1"] @ x + p["b_1"]) + p["b_2"], (0, 1), first[0, 0], rtol=1e-10, atol=1e-10
    ).y[:, -1]
    assert 0 < np.abs(after[0, 0] - flow).max() < 1e-3
    drift = p | {"W_1": np.zeros((N, N)), "b_1": np.zeros(N)}
    np.testing.assert_allclose(
        published("ode-lstm").update(drift, 1.0, state, u)[:, 0], first[:, 0] + p["b_2"], atol=1e-14
    )


def test_ode_lstm_takes_classical_steps() -> None:
    """On x' = W x (a small argument makes tanh linear) a step is the Taylor polynomial of degree 4."""
    p, (state, u) = weights("ode-lstm"), draw("ode-lstm")
    small = 1e-6
    p |= {"W_1": small * np.eye(N), "b_1": np.zeros(N), "W_2": weights("elman")["W"] / small, "b_2": np.zeros(N)}
    Z = weights("elman")["W"] / 3
    taylor = sum((np.linalg.matrix_power(Z, k) / math.factorial(k) for k in range(1, 5)), np.eye(N))
    first = published("lstm").update(p, 1.0, state, u)[:, 0]
    expected = first @ np.linalg.matrix_power(taylor, 3).T
    np.testing.assert_allclose(published("ode-lstm").update(p, 1.0, state, u)[:, 0], expected, atol=1e-11)


# -------------------------------------------------------------------------------------------------------------- CfC


def test_cfc_blends_two_heads() -> None:
    p, (state, u) = weights("cfc"), draw("cfc")
    e = 1.7159 * np.tanh(0.666 * (state[:, 0] @ p["W_bb"].T + u @ p["V_bb"].T + p["b_bb"]))
    heads = [np.tanh(e @ p[f"F_{k}"].T + p[f"b_{k}"]) for k in (1, 2)]
    after = published("cfc").update(p, 1.0, state, u)[:, 0]
    s = (after - heads[0]) / (heads[1] - heads[0])
    logit = np.log(s / (1 - s))
    np.testing.assert_allclose(logit, (e @ p["T_a"].T + p["b_a"]) * 0.8 + e @ p["T_b"].T + p["b_b"], atol=1e-9)
    late = published("cfc").update(p | {"constant:elapsed": np.array(1e4)}, 1.0, state, u)[:, 0]
    np.testing.assert_allclose(late, np.where(e @ p["T_a"].T + p["b_a"] > 0, heads[1], heads[0]), atol=1e-12)


# ------------------------------------------------------------------------------------------------------------- QUNN


def amplitudes(state: Array) -> Array:
    """psi, site by site, of the state (2 2^q, t) of one sequence."""
    half = len(state) // 2
    return np.array([complex(state[c, k], state[half + c, k]) for k in range(state.shape[1]) for c in range(half)])


def dense(p: dict[str, Array], u: Array) -> Array:
    return sum(qunn.hamiltonian(p, u))  # type: ignore[return-value]


def test_the_hamiltonian_of_one_qubit_and_two_sites() -> None:
    p = {key: np.array(value) for key, value in {"a": [0.1, 0.2], "b": [0.3, 0.4], "c": [0.5, 0.6]}.items()}
    p |= {"alpha": np.array([0.7, 0.8]), "beta": np.array([0.9, 1.0]), "J": np.array([1.1]), "encoding": np.eye(1)}
    e = 2.0
    x, z = [0.1 + 0.7 * e, 0.2 + 0.8 * e], [0.3 + 0.9 * e, 0.4 + 1.0 * e]
    expected = [[z[0], x[0], 1.1, 0], [x[0], -z[0], 0, 1.1], [1.1, 0, z[1], x[1]], [0, 1.1, x[1], -z[1]]]
    np.testing.assert_allclose(dense(p, np.array([e])), expected, atol=1e-15)


def test_the_hamiltonian_of_two_qubits() -> None:
    """Diagonal (b + beta e_1) z_1 + (b + beta e_2) z_2 + c z_1 z_2 over the signs ++, +-, -+, --; X flips one sign."""
    p = {key: np.array([value]) for key, value in {"a": 0.1, "b": 0.3, "c": 0.5, "alpha": 0.7, "beta": 0.9}.items()}
    p |= {"J": np.zeros(0), "encoding": np.array([[1.0], [10.0]])}
    b, x = (0.3 + 0.9, 0.3 + 9.0), (0.1 + 0.7, 0.1 + 7.0)
    expected = np.diag([b[0] * s + b[1] * r + 0.5 * s * r for s in (1, -1) for r in (1, -1)])
    for one, other in ((0, 1), (2, 3)):
        expected[one, other] = expected[other, one] = x[1]
    for one, other in ((0, 2), (1, 3)):
        expected[one, other] = expected[other, one] = x[0]
    np.testing.assert_allclose(dense(p, np.ones(1)), expected, atol=1e-15)


def test_qunn_is_unitary_reversible_and_of_order_two() -> None:
    p, (state, u) = weights("qunn"), draw("qunn")
    after = published("qunn").update(p, 0.2, state, u)
    np.testing.assert_allclose((after**2).sum((1, 2)), (state**2).sum((1, 2)), rtol=1e-13)
    np.testing.assert_allclose(published("qunn").update(p, -0.2, after, u), state, atol=1e-13)
    psi = amplitudes(state[0])
    exact = expm(-0.5j * dense(p, u[0])) @ psi
    errors = []
    for count in (32, 64):
        y = state[:1]
        for _ in range(count):
            y = published("qunn").update(p, 0.5 / count, y, u[:1])
        errors.append(np.abs(amplitudes(y[0]) - exact).max())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_qunn_hands_a_state_down_the_chain() -> None:
    """J_k = sqrt(k (t - k)) transfers it perfectly in a time of pi / 2 (twice the x-component of a spin)."""
    t = 6
    p = {key: np.zeros(t) for key in ("a", "b", "c", "alpha", "beta")}
    p |= {"J": np.sqrt(np.arange(1.0, t) * (t - np.arange(1.0, t))), "encoding": np.zeros((2, P))}
    state = np.zeros((1, 8, t))
    state[0, :4, 0] = [0.1, 0.3, 0.5, 0.7]
    after = published("qunn").update(p, math.pi / 2, state, np.zeros((1, P)))
    np.testing.assert_allclose(np.abs(after[0, :, :-1]).max(), 0, atol=1e-13)
    np.testing.assert_allclose(np.hypot(after[0, :4, -1], after[0, 4:, -1]), state[0, :4, 0], atol=1e-13)


def test_the_qunn_factors_are_in_the_stated_order() -> None:
    """Hopping outermost: of two products of the same parts only the stated one agrees."""
    p, (state, u) = weights("qunn"), draw("qunn")
    hopping, flips, diagonal = qunn.hamiltonian(p, u[0])
    psi = amplitudes(state[0])
    after = published("qunn").update(p, 0.4, state, u)[0]
    found = amplitudes(after)

    def strang(outer: Array, inner: Array, centre: Array) -> Array:
        half, quarter = expm(-0.2j * outer), expm(-0.2j * inner)
        return half @ quarter @ expm(-0.4j * centre) @ quarter @ half @ psi

    np.testing.assert_allclose(found, strang(hopping, flips, diagonal), atol=1e-13)
    assert np.abs(found - strang(diagonal, flips, hopping)).max() > 1e-3
