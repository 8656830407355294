"""Splittings: the flows are composed as stated, prepared once, and reach the matrix exponential with their order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from odernn.solvers.backends import find_backend
from odernn.solvers.integration import integrate
from odernn.solvers.splitting import SPLITTINGS
from odernn.suite.errors import Diverged, UsageError

NATIVE = find_backend("native")
RNG = np.random.default_rng(2)
PARTS = [0.7 * RNG.normal(size=(4, 4)) for _ in range(3)]
splittings = pytest.mark.parametrize("method", SPLITTINGS.values(), ids=lambda m: m.name)


class Summed:
    """y' = (A + B + C) y + drive, the drive in the last part; its parts' flows by SciPy."""

    name = "summed"
    parts = ("A", "B", "C")

    def __init__(self):
        self.prepared = []

    def __call__(self, t, y, drive, weights):
        raise AssertionError("a splitting evaluates no slopes")

    def flow(self, part, h, weights, linear):
        self.prepared.append((part, h, linear))
        M, eye, none = h * PARTS[part], np.eye(4), np.zeros((4, 4))
        if linear == "exact":
            whole = expm(np.block([[M, h * eye], [none, none]]))
            E, phi = whole[:4, :4], whole[:4, 4:]
        else:
            E, phi = np.linalg.solve(eye - M / 2, eye + M / 2), np.linalg.solve(eye - M / 2, h * eye)
        if part < 2 or weights:
            return lambda y, drive: y @ torch.from_numpy(E).t() * weights[0] if weights else y @ E.T
        return lambda y, drive: y @ E.T + (0 if drive is None else drive @ phi.T)


Y0 = RNG.normal(size=(2, 4))


@splittings
def test_one_step_is_the_composition(method):
    h = 0.3

    def factor(k, share):
        M = share * h * PARTS[k]
        if method.linear == "exact":
            return expm(M)
        return np.linalg.solve(np.eye(4) - M / 2, np.eye(4) + M / 2)

    if method.pattern == "lie":
        step = factor(2, 1) @ factor(1, 1) @ factor(0, 1)
    else:
        step = factor(0, 0.5) @ factor(1, 0.5) @ factor(2, 1) @ factor(1, 0.5) @ factor(0, 0.5)
    found = NATIVE.fixed(Summed(), Y0, [0.0, h, 2 * h], method)
    np.testing.assert_allclose(found.states[1:], [Y0 @ step.T, Y0 @ step.T @ step.T], rtol=1e-12, atol=1e-13)
    assert (found.accepted, found.f_calls) == (2, 2 if method.pattern == "lie" else 4)


@splittings
def test_observed_order(method):
    exact = Y0 @ expm(sum(PARTS)).T
    errors = []
    for steps in (64, 128):
        found = NATIVE.fixed(Summed(), Y0, np.linspace(0, 1, steps + 1).tolist(), method).states
        errors.append(np.linalg.norm(found[-1] - exact))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(method.order, abs=0.15)


@splittings
def test_flows_are_prepared_once_for_equal_steps(method):
    field = Summed()
    NATIVE.fixed(field, Y0, [0.1 * k for k in range(50)], method)  # sizes differ in the last digit
    assert len(field.prepared) == 3
    assert {linear for _, _, linear in field.prepared} == {method.linear}
    NATIVE.fixed(field, Y0, [0.0, 0.1, 0.3], method)
    assert len(field.prepared) == 9


def test_the_input_is_held_on_its_interval():
    drives = [np.ones((2, 4)), -2 * np.ones((2, 4))]
    found = NATIVE.fixed(Summed(), Y0, [0.0, 0.5, 1.0], SPLITTINGS["lie"], drives).states
    y = Y0
    for drive in drives:
        C = 0.5 * PARTS[2]
        y = y @ expm(0.5 * PARTS[0]).T @ expm(0.5 * PARTS[1]).T @ expm(C).T
        y = y + drive @ (0.5 * np.linalg.solve(C, expm(C) - np.eye(4))).T
    np.testing.assert_allclose(found[-1], y, rtol=1e-12)


def test_gradients_flow_through_the_flows():
    def run(y0, w):
        return NATIVE.fixed(Summed(), y0, [0.0, 0.3, 0.6], SPLITTINGS["strang"], None, (w,)).states

    y0 = torch.from_numpy(Y0.copy()).requires_grad_()
    assert torch.autograd.gradcheck(run, (y0, torch.tensor([0.9], dtype=torch.float64, requires_grad=True)))


def test_what_is_refused():
    class Whole(Summed):
        name = "leaky"
        parts = ()

    with pytest.raises(UsageError, match="the field is not given as a sum of parts, so the splitting 'strang'"):
        integrate(lambda t, y: -y, [1.0], [0.0, 1.0], tableau="strang")
    with pytest.raises(UsageError, match="field 'leaky' is not given as a sum of parts"):
        NATIVE.fixed(Whole(), Y0, [0.0, 1.0], SPLITTINGS["lie"])
    with pytest.raises(UsageError, match="'lie' has no embedded weights"):
        NATIVE.adaptive(Summed(), Y0, [0.0, 1.0], SPLITTINGS["lie"], 1e-3, 1e-3)
    with pytest.raises(UsageError, match="backend 'torchdiffeq' cannot step the splitting 'lie'"):
        find_backend("torchdiffeq").fixed(Summed(), Y0, [0.0, 1.0], SPLITTINGS["lie"])


def test_a_lost_state_diverges():
    with pytest.raises(Diverged, match="step 0, t = 0"):
        NATIVE.fixed(Summed(), Y0 * math.nan, [0.0, 1.0], SPLITTINGS["lie"])
