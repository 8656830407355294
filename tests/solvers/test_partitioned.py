"""Partitioned steps: textbook recursions, orders, invariants, the LSTM's update, and only the slopes that matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from odernn.solvers.backends import find_backend
from odernn.solvers.backends.base import BlockField
from odernn.solvers.integration import integrate
from odernn.solvers.partitioned_tableau import EVERY, PARTITIONED, SEPARABLE
from odernn.solvers.schedule import schedule
from odernn.solvers.tableaux import TABLEAUX
from odernn.suite.errors import Diverged, UsageError

NATIVE = find_backend("native")
partitioned = pytest.mark.parametrize("method", PARTITIONED.values(), ids=lambda m: m.name)


def coupled(t, y, drive=None, weights=()):
    """Nonlinear, not separable, explicit in time; blocks of two."""
    lib = np if isinstance(y, np.ndarray) else torch
    q, p = y[..., :2], y[..., 2:]
    slopes = [p * math.cos(t) + lib.sin(q), lib.cos(q) * math.sin(2 * t) - p * q / 3]
    return np.concatenate(slopes, -1) if lib is np else torch.cat(slopes, -1)


START = np.array([0.5, 1.0, -0.3, 0.7])
REFERENCE = solve_ivp(coupled, (0, 2), START, method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1]


@partitioned
def test_observed_order_on_a_coupled_field_with_time(method):
    errors = []
    for steps in (40, 80):
        states = NATIVE.fixed(coupled, START, np.linspace(0, 2, steps + 1).tolist(), method).states
        errors.append(np.linalg.norm(states[-1] - REFERENCE))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(method.order, abs=0.2)


@partitioned
def test_torch_batches_and_complex_numbers_take_the_same_steps(method):
    grid = [0.0, 0.2, 0.5]
    expected = NATIVE.fixed(coupled, START, grid, method).states
    found = NATIVE.fixed(coupled, torch.from_numpy(START), grid, method).states
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    two = NATIVE.fixed(coupled, np.stack([START, START[::-1]]), grid, method).states
    np.testing.assert_allclose(two[:, 0], expected, rtol=1e-13)
    turned = NATIVE.fixed(lambda t, y, d, w: 1j * coupled(t, -1j * y), 1j * START, grid, method).states
    np.testing.assert_allclose(turned, 1j * expected, rtol=1e-13)


@partitioned
def test_gradients_of_a_coupled_field(method):
    def run(y0, w):
        return NATIVE.fixed(lambda t, y, d, w: coupled(t, y) * w[0], y0, [0.0, 0.3, 0.7], method, None, (w,)).states

    y0 = torch.from_numpy(np.stack([START, START[::-1]])).requires_grad_()
    w = torch.tensor([1.2, 0.9, 1.1, 0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (y0, w), atol=1e-7, fast_mode=True)


# ---------------------------------------------------------------------------------------------------- separable fields


class Separable:
    """q' = p, p' = -sin(q) + drive; its slopes by block, and how often each was asked for."""

    blocks = 2
    dependencies = SEPARABLE

    def __init__(self):
        self.asked = []

    def __call__(self, t, y, drive, weights):
        raise AssertionError("slopes are asked for by block")

    def slopes(self, wanted, blocks, drive, weights, memo, t=0.0):
        self.asked.append(wanted)
        kinds = {0: lambda: blocks[1], 1: lambda: (drive if drive is not None else 0.0) - np.sin(blocks[0])}
        return [kinds[k]() for k in wanted]


def test_the_textbook_recursions():
    """Kick and drift, written out (HLW I.1.2, I.1.4)."""
    q, p, h = 0.7, -0.2, 0.3

    def one(name):
        return NATIVE.fixed(Separable(), np.array([q, p]), [0.0, h], PARTITIONED[name]).states[-1]

    kicked = p - h * math.sin(q)
    np.testing.assert_allclose(one("symplectic-euler"), [q + h * kicked, kicked], rtol=1e-15)
    drifted = q + h * p
    np.testing.assert_allclose(one("symplectic-euler-position"), [drifted, p - h * math.sin(drifted)], rtol=1e-15)
    half = p - h / 2 * math.sin(q)
    moved = q + h * half
    np.testing.assert_allclose(one("stormer-verlet"), [moved, half - h / 2 * math.sin(moved)], rtol=1e-15)
    np.testing.assert_allclose(one("gauss-seidel-euler"), [q + h * kicked, kicked], rtol=1e-15)


def test_verlet_goes_back_where_it_came_from_and_keeps_energy():
    grid = (0.1 * np.arange(2001)).tolist()
    there = NATIVE.fixed(Separable(), np.array([1.0, 0.0]), grid, PARTITIONED["stormer-verlet"]).states
    energy = there[:, 1] ** 2 / 2 - np.cos(there[:, 0])
    # what is kept instead is H + h^2 (p^2 cos q / 12 - sin(q)^2 / 24) + O(h^4) (HLW IX.3): so H differs most at q = 0
    largest = 0.1**2 * ((2 - 2 * math.cos(1)) / 12 + math.sin(1) ** 2 / 24)
    assert np.abs(energy - energy[0]).max() == pytest.approx(largest, rel=0.01), "bounded: no drift over 30 periods"
    back = NATIVE.fixed(Separable(), there[-1] * [1, -1], grid, PARTITIONED["stormer-verlet"]).states
    np.testing.assert_allclose(back[-1], [1.0, 0.0], atol=1e-11)


def test_verlet_keeps_the_angular_momentum_of_kepler():
    class Kepler(Separable):
        def slopes(self, wanted, blocks, drive, weights, memo, t=0.0):
            r = np.linalg.norm(blocks[0], axis=-1, keepdims=True)
            return [blocks[1] if k == 0 else -blocks[0] / r**3 for k in wanted]

    y0 = np.array([0.7, 0.0, 0.0, math.sqrt(1.3 / 0.7)])
    y = NATIVE.fixed(Kepler(), y0, np.linspace(0, 20, 1001).tolist(), PARTITIONED["stormer-verlet"]).states
    L = y[:, 0] * y[:, 3] - y[:, 1] * y[:, 2]
    assert np.abs(L - L[0]).max() < 1e-13


def test_only_needed_slopes_are_evaluated_and_stages_counted():
    for name, asked, calls in (
        ("symplectic-euler", [(1,), (0,)], 1),
        ("stormer-verlet", [(1,), (0,), (0,), (1,)], 2),
        ("gauss-seidel-euler", [(1,), (0,)], 2),
    ):
        field = Separable()
        found = NATIVE.fixed(field, np.ones(2), [0.0, 0.1], PARTITIONED[name])
        assert field.asked == asked
        assert (found.f_calls, found.iterations, found.jacobian_calls) == (calls, 0, 0)


def test_whole_fields_count_every_call():
    calls = []
    found = NATIVE.fixed(
        lambda t, y, d, w: calls.append(t) or coupled(t, y), START, [0.0, 0.1], PARTITIONED["gauss-seidel-euler"]
    )
    assert found.f_calls == len(calls) == 2


@partitioned
def test_the_schedule_is_explicit_where_the_tableau_says_so(method):
    assert schedule(method, EVERY).explicit == method.explicit
    assert schedule(method, SEPARABLE).explicit == method.explicit_when_separable


def test_stages_are_solved_one_by_one_or_together():
    assert [len(g.unknown) for g in schedule(TABLEAUX["gauss3"]).groups] == [3]
    assert [len(g.unknown) for g in schedule(TABLEAUX["sdirk2"]).groups] == [1, 1]
    assert [len(g.unknown) for g in schedule(TABLEAUX["lobatto3a3"]).groups] == [0, 2]
    assert [len(g.unknown) for g in schedule(PARTITIONED["stormer-verlet"], EVERY).groups] == [1, 0, 1, 0]


# -------------------------------------------------------------------------------------------------------------- a LSTM


class Gates(torch.nn.Module):
    """The field whose step at h = 1 is torch.nn.LSTMCell: x' = o tanh(c) - x, c' = (f - 1) c + i g."""

    blocks = 2
    dependencies = EVERY

    def __init__(self, cell):
        super().__init__()
        self.cell, self.products = cell, 0

    def forward(self, t, y, drive, weights):
        return torch.cat(self.slopes((0, 1), list(y.chunk(2, -1)), drive, weights, {}), -1)

    def slopes(self, wanted, blocks, drive, weights, memo, t=0.0):
        x, c = blocks
        if id(x) not in memo:
            self.products += 1
            memo[id(x)] = (x @ weights[0].t() + drive, x)
        i, f, g, o = memo[id(x)][0].chunk(4, -1)
        known = {
            0: lambda: o.sigmoid() * c.tanh() - x,
            1: lambda: (f.sigmoid() - 1) * c + i.sigmoid() * g.tanh(),
        }
        return [known[k]() for k in wanted]


def test_gauss_seidel_is_the_update_of_the_lstm():
    torch.manual_seed(0)
    lstm = torch.nn.LSTMCell(3, 4, dtype=torch.float64)
    u = torch.randn(6, 2, 3, dtype=torch.float64)
    x = c = torch.zeros(2, 4, dtype=torch.float64)
    expected = []
    for one in u:
        x, c = lstm(one, (x, c))
        expected.append(torch.cat([x, c], -1))
    field = Gates(lstm)
    assert isinstance(field, BlockField)
    drives = u @ lstm.weight_ih.t() + lstm.bias_ih + lstm.bias_hh
    found = NATIVE.fixed(
        field,
        torch.zeros(2, 8, dtype=torch.float64),
        list(range(7)),
        PARTITIONED["gauss-seidel-euler"],
        drives,
        (lstm.weight_hh,),
    )
    torch.testing.assert_close(found.states[1:], torch.stack(expected), rtol=0, atol=1e-15)
    assert (field.products, found.f_calls) == (6, 12), "the gates are computed once a step"
    parameters = [lstm.weight_hh, lstm.weight_ih]
    torch.testing.assert_close(
        torch.autograd.grad(found.states[-1].sum(), parameters), torch.autograd.grad(expected[-1].sum(), parameters)
    )


# ------------------------------------------------------------------------------------------------------------ refusals


def test_what_is_refused():
    class Three(Separable):
        blocks = 3

    with pytest.raises(UsageError, match="state of two blocks, and the field has 3"):
        NATIVE.fixed(Three(), np.ones(3), [0.0, 1.0], PARTITIONED["stormer-verlet"])
    with pytest.raises(UsageError, match=r"even length there, not the shape \(3,\)"):
        integrate(lambda t, y: -y, [1.0, 2.0, 3.0], [0.0, 1.0], tableau="verlet")
    with pytest.raises(UsageError, match=r"even length there, not the shape \(\)"):
        integrate(lambda t, y: -y, np.array(1.0), [0.0, 1.0], tableau="verlet")
    with pytest.raises(UsageError, match="'stormer-verlet' has no embedded weights"):
        integrate(lambda t, y: -y, [1.0, 2.0], [0.0, 1.0], tableau="verlet", rtol=1e-3)
    with pytest.raises(UsageError, match=r"backend 'scipy' cannot step the partitioned .* backend 'native'"):
        integrate(lambda t, y: -y, [1.0, 2.0], [0.0, 1.0], tableau="verlet", backend="scipy")


def test_a_far_too_large_step_diverges():
    with pytest.raises(Diverged, match=r"step \d+, t = \d"):
        integrate(lambda t, y: 1e9 * y**3, [1.0, 2.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], tableau="gauss-seidel-euler")
