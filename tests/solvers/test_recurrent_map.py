"""The NumPy view of a cell against closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from odernn.solvers.solver import build_solver
from odernn.suite.catalogue import build_task
from odernn.suite.contracts import RecurrentMap
from odernn.suite.errors import UsageError


def make(**entries: object) -> RecurrentMap:
    solver = build_solver(
        {"cell": "leaky", "tableau": "euler", "backend": "native", "step": 0.5, "hidden": 4, **entries},
        "cpu",
        "float32",
        build_task({"name": "adding", "length": 8}),
    )
    return solver.recurrence(3, seed=7)


def test_a_leaky_step_is_the_closed_form() -> None:
    cell = make()
    p, rng = cell.parameters(), np.random.default_rng(0)
    y, u = rng.normal(size=(2, 1, 4)), rng.normal(size=(5, 2, 3))
    states = cell.run(u, y)
    assert states.dtype == np.float64
    assert states.shape == (6, 2, 1, 4)
    np.testing.assert_array_equal(states[0], y)
    for i in range(5):
        target = np.tanh(states[i, :, 0] @ p["W"].T + u[i] @ p["V"].T + p["b"])
        np.testing.assert_allclose(states[i + 1, :, 0], 0.5 * states[i, :, 0] + 0.5 * target, atol=1e-15)
        np.testing.assert_allclose(cell.slope(states[i], u[i])[:, 0], target - states[i, :, 0], atol=1e-15)
    assert cell.count() == 4 * 4 + 4 * 3 + 4
    assert cell.facts["tableau"] == "euler"
    assert cell.facts["integrator"] is True


@pytest.mark.parametrize(
    "entries", [{}, {"tableau": "rk4"}, {"cell": "cornn", "tableau": "heun2"}, {"tableau": "implicit-midpoint"}]
)
def test_the_step_jacobian_is_that_of_finite_differences(entries: dict[str, object]) -> None:
    cell = make(**entries)
    rng = np.random.default_rng(1)
    D, eps = cell.blocks * cell.hidden, 1e-6
    y, u = rng.normal(size=(2, cell.blocks, cell.hidden)), rng.normal(size=(2, 3))

    def after(state: np.ndarray) -> np.ndarray:
        return cell.run(u[None], state)[1].reshape(2, D)

    columns = []
    for i in range(D):
        bump = np.zeros(D)
        bump[i] = eps
        bump = bump.reshape(1, cell.blocks, cell.hidden)
        columns.append((after(y + bump) - after(y - bump)) / (2 * eps))
    np.testing.assert_allclose(cell.jacobian(y, u), np.stack(columns, -1), atol=1e-7)


def test_another_step_keeps_the_weights() -> None:
    cell = make()
    other = cell.with_step(0.25)
    assert (cell.step, other.step) == (0.5, 0.25)
    for key, value in cell.parameters().items():
        np.testing.assert_array_equal(value, other.parameters()[key])
    y, u = cell.start(1), np.ones((1, 3))
    np.testing.assert_allclose(other.run(u[None], y)[1], y + 0.25 * cell.slope(y, u), atol=1e-15)


def test_weights_come_from_the_seed_alone() -> None:
    torch.manual_seed(3)
    first = make().parameters()["W"]
    torch.manual_seed(4)
    np.testing.assert_array_equal(first, make().parameters()["W"])


def test_a_baseline_is_no_field() -> None:
    with pytest.raises(UsageError, match="library baseline"):
        build_solver({"cell": "gru"}, "cpu", "float32", build_task({"name": "adding"})).recurrence(2, 0)


def test_weights_are_replaced_in_the_form_in_which_they_are_read() -> None:
    rng = np.random.default_rng(2)
    full = rng.normal(size=(4, 4))
    skew, hermitian, qunn = make(cell="exprnn", tableau="lie"), make(cell="schroedinger"), make(cell="qunn", qubits=1)
    u, y = np.zeros((1, 3)), rng.normal(size=(1, 1, 4))
    upper = np.triu(full, 1)
    turned = skew.with_parameters({"A": upper, "b_r": np.zeros(4)})
    np.testing.assert_array_equal(turned.parameters()["A"], upper)
    np.testing.assert_allclose(turned.slope(y, u)[0, 0], (upper - upper.T) @ y[0, 0], atol=1e-14)
    np.testing.assert_array_equal(hermitian.with_parameters({"S": np.triu(full)}).parameters()["S"], np.triu(full))
    J = rng.normal(size=3)
    np.testing.assert_array_equal(qunn.with_parameters({"J": J}).parameters()["J"], J)
    for cell, name in ((skew, "A"), (hermitian, "S")):
        before = cell.parameters()[name]
        with pytest.raises(UsageError, match="structure"):
            cell.with_parameters({name: full})
        np.testing.assert_array_equal(cell.parameters()[name], before)
    with pytest.raises(UsageError, match="weight"):
        skew.with_parameters({"B": full})


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    make().run(np.zeros((2, 1, 3)), np.zeros((1, 1, 4)))
    assert torch.equal(before, torch.get_rng_state())
