"""LMU against SciPy's zero-order hold, delayed signals decoded from Legendre polynomials, and finite differences."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from scipy.integrate import solve_ivp
from scipy.special import eval_sh_legendre

from odernn.solvers.cell import ODERNN
from odernn.solvers.fields import field_of
from odernn.solvers.lmu_field import LMU, hold, legendre
from odernn.suite.errors import UsageError

F64 = torch.float64


def lmu(n: int = 4, p: int = 3, method: str = "lie", spread: float = 0.0, **options: Any) -> ODERNN:
    """spread: every weight moved by N(0, spread^2), so that those which start at 0 act too."""
    torch.manual_seed(4)
    cell = ODERNN(p, n, "lmu", method, dtype=F64, **options)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return cell


def field(cell: ODERNN) -> LMU:
    assert isinstance(cell.field, LMU)
    return cell.field


def continuous(n: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """(A, B) / theta, entry by entry."""
    A = np.array([[(2 * i + 1) * (-1 if i < j else (-1) ** (i - j + 1)) for j in range(n)] for i in range(n)])
    return A / theta, np.array([[(2 * i + 1) * (-1) ** i] for i in range(n)]) / theta


def test_first_matrices() -> None:
    A, B = legendre(3)
    assert A.tolist() == [[-1, -1, -1], [3, -3, -3], [-5, 5, -5]]
    assert B.tolist() == [1, -3, 5]


@pytest.mark.parametrize(("linear", "method"), [("exact", "zoh"), ("cayley", "bilinear")])
def test_hold_is_scipys(linear: Any, method: str) -> None:
    for n, theta, h in ((1, 5.0, 1.0), (6, 20.0, 1.0), (12, 50.0, 0.3)):
        A, B = continuous(n, theta)
        expected = scipy.signal.cont2discrete((A, B, np.eye(n), np.zeros((n, 1))), h, method)
        Ad, Bd = hold(n, theta, h, linear)
        np.testing.assert_allclose(Ad.numpy(), expected[0], atol=1e-12)
        np.testing.assert_allclose(Bd.numpy(), expected[1][:, 0], atol=1e-12)


def test_a_sequence_is_the_published_recurrence() -> None:
    cell = lmu(5, spread=0.3, constants={"theta": 7.0})
    w = {name: value.detach().numpy() for name, value in cell.field.named_weights().items()}
    A, B = continuous(5, 7.0)
    Ad, Bd, *_ = scipy.signal.cont2discrete((A, B, np.eye(5), np.zeros((5, 1))), 1.0, "zoh")
    inputs = torch.randn(15, 2, 3, dtype=F64)
    states = cell.trajectory(inputs).detach().numpy()
    h, m = states[0].transpose(1, 0, 2)
    assert not states[0].any()
    for step, u in enumerate(inputs.numpy(), start=1):
        s = u @ w["e_x"] + h @ w["e_h"] + m @ w["e_m"]
        m = m @ Ad.T + s[:, None] * Bd[:, 0]
        h = np.tanh(u @ w["W_x"].T + h @ w["W_h"].T + m @ w["W_m"].T)
        np.testing.assert_allclose(states[step], np.stack([h, m], axis=1), atol=1e-13)
    np.testing.assert_array_equal(cell(inputs)[0][-1].detach().numpy(), states[-1, :, 0])


def test_memory_holds_the_last_theta_of_a_signal() -> None:
    theta, n, h = 10.0, 10, 0.05
    cell = lmu(n, p=1, constants={"theta": theta}, step=h)
    with torch.no_grad():
        field(cell).e_x.fill_(1.0)
        time = h * torch.arange(600, dtype=F64)

        def signal(t: torch.Tensor) -> torch.Tensor:
            return torch.sin(0.5 * t) + 0.5 * torch.cos(0.9 * t)

        memory = cell.trajectory(signal(time + h / 2)[:, None, None])[-1, 0, 1].numpy()
    now = float(time[-1]) + h
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        decoded = sum(m * eval_sh_legendre(i, share) for i, m in enumerate(memory))
        assert abs(decoded - float(signal(torch.tensor(now - share * theta)))) < 0.02


def test_field_slopes_and_jacobian() -> None:
    cell = field(lmu(4, spread=0.3))
    y, u = torch.randn(2, 8, dtype=F64), torch.randn(2, 3, dtype=F64)
    drive, weights = cell.drive(u), cell.weights()
    w = {name: value.detach() for name, value in cell.named_weights().items()}
    A, B = continuous(4, 20.0)
    h, m = y.chunk(2, -1)
    s = u @ w["e_x"] + h @ w["e_h"] + m @ w["e_m"]
    memory = m @ torch.as_tensor(A).t() + s[:, None] * torch.as_tensor(B[:, 0])
    expected = torch.cat([torch.tanh(u @ w["W_x"].t() + h @ w["W_h"].t() + m @ w["W_m"].t()) - h, memory], dim=-1)
    slope = cell(0.0, y, drive, weights)
    torch.testing.assert_close(slope.detach(), expected, atol=1e-14, rtol=0)
    torch.testing.assert_close(cell.slopes((1, 0), [h, m], drive, weights, {})[0], slope[:, 4:])
    J, e = cell.jacobian(y, drive, weights), 1e-6
    for i in range(8):
        bump = e * torch.eye(8, dtype=F64)[i]
        column = (cell(0.0, y + bump, drive, weights) - cell(0.0, y - bump, drive, weights)) / (2 * e)
        torch.testing.assert_close(J[:, :, i], column, atol=1e-8, rtol=0)


@pytest.mark.parametrize("method", ["lie", "lie-cayley", "gauss-seidel-euler"])
def test_published_order_of_updates_converges_with_order_1(method: str) -> None:
    cell = lmu(4, spread=0.3)
    y, u, time = torch.randn(1, 8, dtype=F64), torch.randn(1, 3, dtype=F64), 2.0
    drive, weights = cell.field.drive(u), cell.field.weights()

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        return cell.field(0.0, torch.as_tensor(y)[None], drive, weights)[0].detach().numpy()

    exact = solve_ivp(slope, (0, time), y[0].numpy(), "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    errors = []
    for n in (80, 160):
        run = lmu(4, method=method, spread=0.3, step=time / n)
        last = run.trajectory(u.expand(n, 1, 3), y.reshape(1, 2, 4))[-1].flatten()
        errors.append(np.abs(last.detach().numpy() - exact).max())
    assert abs(math.log2(errors[0] / errors[1]) - 1) < 0.15


def test_starts_and_counts() -> None:
    cell = field(lmu(50, 6))
    w = cell.named_weights()
    assert cell.parameter_count() == 6 + 2 * 50 + 50 * 6 + 2 * 50 * 50
    assert not any(w[name].detach().any() for name in ("e_h", "e_m", "W_x", "W_h"))
    assert 0.4 < w["e_x"].detach().abs().max() <= math.sqrt(3 / 6)
    assert 0.95 < w["W_m"].detach().abs().max() / math.sqrt(3 / 50) <= 1
    with pytest.raises(UsageError, match=r"'theta'.*above 0"):
        lmu(constants={"theta": 0.0})
    assert "theta" in field_of("lmu").latex()


def test_gradients_reach_every_weight_from_the_start() -> None:
    cell = lmu(3)
    x = torch.randn(4, 2, 3, dtype=F64)
    cell(x)[0].square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).all()) for p in cell.parameters())
    moved = lmu(3, spread=0.3)

    def seen(*_: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = moved(x)[0]
        return out[-1]

    assert torch.autograd.gradcheck(seen, tuple(moved.parameters()))


def test_single_precision_keeps_a_large_memory_accurate() -> None:
    torch.manual_seed(4)
    low, high = ODERNN(3, 128, "lmu", "lie", constants={"theta": 200.0}), lmu(128, constants={"theta": 200.0})
    x = torch.randn(50, 2, 3, dtype=F64)
    with torch.no_grad():
        assert (low(x.float())[0].double() - high(x)[0]).abs().max() < 1e-4


def test_copies_and_pickles_behave_alike() -> None:
    cell, x = lmu(spread=0.3), torch.randn(4, 2, 3, dtype=F64)
    fresh = lmu()
    fresh.load_state_dict(cell.state_dict())
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell)), fresh):
        assert torch.equal(other(x)[0], cell(x)[0])
    with torch.inference_mode():
        ODERNN(3, 5, "lmu", "lie", dtype=F64, step=0.77)(x)
    again = ODERNN(3, 5, "lmu", "lie", dtype=F64, step=0.77)
    again(x)[0].sum().backward()  # what was kept of the first run serves the second
    assert all(p.grad is not None for p in again.parameters())
