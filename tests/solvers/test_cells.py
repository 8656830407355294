"""The published cells as fields: hand transcriptions in NumPy, automatic derivatives, closed forms of the parts' flows.

Longer than most files: a transcription of every cell.
"""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import matplotlib.mathtext
import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import sympy
import torch
from scipy.special import expit

from odernn.solvers.cell import ODERNN
from odernn.solvers.cell_field import CellField
from odernn.solvers.field import DRAWN, EquationField, Map, Part, Start, dense, states, vector
from odernn.solvers.fields import field_of
from odernn.solvers.functions import sigmoid, sign
from odernn.solvers.part_flow import PartField
from odernn.suite.equation import symbols
from odernn.suite.errors import UsageError

F64 = torch.float64
Array = np.ndarray
Named = dict[str, Array]

NAMES: dict[str, set[str]] = {
    "leaky": {"W", "V", "b"},
    "antisymmetric": {"W", "V", "b"},
    "cornn": {"W", "W_z", "V", "b"},
    "lstm-field": {f"{kind}_{gate}" for kind in "WVb" for gate in "ifgo"},
    "gru-field": {"W_r", "V_r", "b_r", "W_z", "V_z", "b_z", "V_n", "b_n", "W_h", "b_h"},
    "mingru": {"V_z", "b_z", "V_h", "b_h"},
    "antisymmetric-gated": {"W", "V_h", "b_h", "V_z", "b_z"},
    "unicornn": {"w", "V_y", "b_y", "b_c"},
    "lem": {f"{kind}_{which}" for kind in "WVb" for which in "12zy"},
    "lipschitz": {"M_A", "M_W", "V_W", "b_W"},
    "ct-rnn": {"W", "V", "b"},
    "ode-lstm": {f"{kind}_{gate}" for kind in "WVb" for gate in "ifgo"} | {"W_1", "b_1", "W_2", "b_2"},
    "scornn": {"A", "V_u", "b_r"},
    "exprnn": {"A", "V_u", "b_r"},
    "lru": {"b_nu", "b_theta", "b_gamma", "V_re", "V_im"},
    "schroedinger": {"S", "K", "V_u", "b_u"},
    "srnn": {"W_kin", "b_kin", "b_kout", "W_pot", "V_pot", "b_pot", "b_pout"},
    "cfc": {"W_bb", "V_bb", "b_bb", "F_1", "b_1", "F_2", "b_2", "T_a", "b_a", "T_b", "b_b"},
    "gradient": {"W", "V", "b"},
    "leaky-certified": {"W", "V", "b"},
    "antisymmetric-linear": {"W", "V_u", "b_u"},
}

Facts = tuple[int, int, str, float, int, bool]
"""Blocks, order of the ODE, published method, step and substeps, whether it is an integrator."""

FACTS: dict[str, Facts] = {
    "leaky": (1, 1, "euler", 1.0, 1, True),
    "antisymmetric": (1, 1, "euler", 0.1, 1, True),
    "cornn": (2, 2, "gauss-seidel-euler", 0.06, 1, True),
    "lstm-field": (2, 2, "gauss-seidel-euler", 1.0, 1, True),
    "gru-field": (1, 1, "euler", 1.0, 1, True),
    "mingru": (1, 1, "euler", 1.0, 1, True),
    "antisymmetric-gated": (1, 1, "euler", 0.1, 1, True),
    "unicornn": (2, 2, "symplectic-euler", 0.1, 1, True),
    "lem": (2, 2, "gauss-seidel-euler", 1.0, 1, True),
    "lipschitz": (1, 1, "euler", 0.03, 1, True),
    "ct-rnn": (1, 1, "euler", 0.6, 6, True),
    "ode-lstm": (2, 2, "lie", 1.0, 1, True),
    "scornn": (1, 1, "lie-cayley", 1.0, 1, True),
    "exprnn": (1, 1, "lie", 1.0, 1, True),
    "lru": (2, 2, "lie", 1.0, 1, True),
    "schroedinger": (2, 2, "implicit-midpoint", 0.1, 1, True),
    "srnn": (2, 2, "stormer-verlet", 0.1, 1, True),
    "cfc": (1, 1, "euler", 1.0, 1, False),
    "gradient": (1, 1, "euler", 0.1, 1, True),
    "leaky-certified": (1, 1, "euler", 0.1, 1, True),
    "antisymmetric-linear": (1, 1, "implicit-midpoint", 0.2, 1, True),
}

WITH_PARTS = ("ode-lstm", "scornn", "exprnn", "lru", "schroedinger", "antisymmetric-linear")


def build(name: str, inputs: int = 3, hidden: int = 5, seed: int = 1, **constants: float) -> CellField:
    """The cell with generic weights: every vector that starts at 0 or 1 is moved."""
    torch.manual_seed(seed)
    equation = field_of(name)
    assert isinstance(equation, EquationField)
    field = CellField(equation, inputs, hidden, constants, dtype=F64)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, dtype=F64))
    return field


def point(field: CellField, batch: int = 4, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(batch, field.blocks * field.hidden_size, dtype=F64, generator=generator)
    return y, torch.randn(batch, field.input_size, dtype=F64, generator=generator)


def numbers(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy()


def named(field: CellField) -> Named:
    return {key: numbers(value) for key, value in field.named_weights().items()}


def affine(w: Named, which: str, y: Array, u: Array) -> Array:
    """W y + V u + b."""
    return y @ w[f"W_{which}"].T + u @ w[f"V_{which}"].T + w[f"b_{which}"]


def plain(w: Named, y: Array, u: Array) -> Array:
    return y @ w["W"].T + u @ w["V"].T + w["b"]


# ------------------------------------------------------------------------------------- the fields, transcribed by hand


def _leaky(w: Named, y: Array, u: Array) -> list[Array]:
    return [-y + np.tanh(plain(w, y, u))]


def _antisymmetric(w: Named, y: Array, u: Array) -> list[Array]:
    M = w["W"] - w["W"].T - 0.2 * np.eye(len(w["W"]))
    return [np.tanh(y @ M.T + u @ w["V"].T + w["b"])]


def _cornn(w: Named, y: Array, z: Array, u: Array) -> list[Array]:
    return [z, np.tanh(plain(w, y, u) + z @ w["W_z"].T) - 2.5 * y - 0.7 * z]


def _lstm(w: Named, x: Array, c: Array, u: Array) -> list[Array]:
    i, f, g, o = (affine(w, gate, x, u) for gate in "ifgo")
    return [-x + expit(o) * np.tanh(c), (expit(f) - 1) * c + expit(i) * np.tanh(g)]


def _gru(w: Named, y: Array, u: Array) -> list[Array]:
    r, z = expit(affine(w, "r", y, u)), expit(affine(w, "z", y, u))
    n = np.tanh(u @ w["V_n"].T + w["b_n"] + r * (y @ w["W_h"].T + w["b_h"]))
    return [(1 - z) * (n - y)]


def _mingru(w: Named, y: Array, u: Array) -> list[Array]:
    return [expit(u @ w["V_z"].T + w["b_z"]) * (u @ w["V_h"].T + w["b_h"] - y)]


def _antisymmetric_gated(w: Named, y: Array, u: Array) -> list[Array]:
    M = w["W"] - w["W"].T - 0.2 * np.eye(len(w["W"]))
    h, z = (y @ M.T + u @ w[f"V_{k}"].T + w[f"b_{k}"] for k in "hz")
    return [expit(z) * np.tanh(h)]


def _unicornn(w: Named, y: Array, z: Array, u: Array) -> list[Array]:
    rate = expit(w["b_c"])
    return [rate * z, -rate * (np.tanh(w["w"] * y + u @ w["V_y"].T + w["b_y"]) + 1.7 * y)]


def _lem(w: Named, y: Array, z: Array, u: Array) -> list[Array]:
    a1, a2, az, ay = (affine(w, which, read, u) for which, read in (("1", y), ("2", y), ("z", y), ("y", z)))
    return [expit(a2) * (np.tanh(ay) - y), expit(a1) * (np.tanh(az) - z)]


def _lipschitz(w: Named, y: Array, u: Array) -> list[Array]:
    def acting(M: Array) -> Array:
        return 0.6 * (M - M.T) + 0.4 * (M + M.T) - 0.05 * np.eye(len(M))

    # what is stored of beta (M - M^T) + (1 - beta)(M + M^T) is M + (1 - 2 beta) M^T
    return [y @ acting(w["M_A"]).T + np.tanh(y @ acting(w["M_W"]).T + u @ w["V_W"].T + w["b_W"])]


def _ct_rnn(w: Named, y: Array, u: Array) -> list[Array]:
    return [-y / 2.5 + np.tanh(plain(w, y, u))]


def _ode_lstm(w: Named, x: Array, c: Array, u: Array) -> list[Array]:
    slow, memory = _lstm(w, x, c, u)
    return [slow + np.tanh(x @ w["W_1"].T + w["b_1"]) @ w["W_2"].T + w["b_2"], memory]


def _scornn(w: Named, y: Array, u: Array) -> list[Array]:
    return [-2 * y @ (w["A"] - w["A"].T).T + u @ w["V_u"].T + w["b_r"] * np.sign(y)]


def _exprnn(w: Named, y: Array, u: Array) -> list[Array]:
    return [y @ (w["A"] - w["A"].T).T + u @ w["V_u"].T + w["b_r"] * np.sign(y)]


def _lru(w: Named, re: Array, im: Array, u: Array) -> list[Array]:
    rate = -np.exp(w["b_nu"]) + 1j * np.exp(w["b_theta"])
    slope = rate * (re + 1j * im) + np.exp(w["b_gamma"]) * (u @ (w["V_re"] + 1j * w["V_im"]).T)
    return [slope.real, slope.imag]


def _hamiltonian(w: Named, u: Array) -> Array:
    """(batch, n, n), complex."""
    S, K = w["S"], w["K"]
    return (S + S.T) + 1j * (K - K.T) + np.stack([np.diag(d) for d in u @ w["V_u"].T + w["b_u"]])


def _schroedinger(w: Named, re: Array, im: Array, u: Array) -> list[Array]:
    slope = np.einsum("bij,bj->bi", -1j * _hamiltonian(w, u), re + 1j * im)
    return [slope.real, slope.imag]


def _srnn(w: Named, q: Array, p: Array, u: Array) -> list[Array]:
    kinetic = w["b_kout"] / np.cosh(p @ w["W_kin"].T + w["b_kin"]) ** 2
    potential = w["b_pout"] / np.cosh(affine(w, "pot", q, u)) ** 2
    return [kinetic @ w["W_kin"], -potential @ w["W_pot"]]


def _cfc(w: Named, y: Array, u: Array) -> list[Array]:
    e = 1.7159 * np.tanh(0.666 * affine(w, "bb", y, u))
    f1, f2 = e @ w["F_1"].T + w["b_1"], e @ w["F_2"].T + w["b_2"]
    s = expit((e @ w["T_a"].T + w["b_a"]) * 1.3 + e @ w["T_b"].T + w["b_b"])
    return [np.tanh(f1) * (1 - s) + s * np.tanh(f2) - y]


def _gradient(w: Named, y: Array, u: Array) -> list[Array]:
    return [-np.tanh(plain(w, y, u)) @ w["W"]]


def _leaky_certified(w: Named, y: Array, u: Array) -> list[Array]:
    return [-0.8 * y + np.tanh(plain(w, y, u))]


def _antisymmetric_linear(w: Named, y: Array, u: Array) -> list[Array]:
    return [y @ (w["W"] - w["W"].T).T + np.tanh(u @ w["V_u"].T + w["b_u"])]


TRANSCRIBED: dict[str, tuple[Callable[..., list[Array]], dict[str, float]]] = {
    "leaky": (_leaky, {}),
    "antisymmetric": (_antisymmetric, {"gamma": 0.2}),
    "cornn": (_cornn, {"gamma": 2.5, "epsilon": 0.7}),
    "lstm-field": (_lstm, {}),
    "gru-field": (_gru, {}),
    "mingru": (_mingru, {}),
    "antisymmetric-gated": (_antisymmetric_gated, {"gamma": 0.2}),
    "unicornn": (_unicornn, {"alpha": 1.7}),
    "lem": (_lem, {}),
    "lipschitz": (_lipschitz, {"beta": 0.6, "gamma": 0.05}),
    "ct-rnn": (_ct_rnn, {"tau": 2.5}),
    "ode-lstm": (_ode_lstm, {}),
    "scornn": (_scornn, {}),
    "exprnn": (_exprnn, {}),
    "lru": (_lru, {}),
    "schroedinger": (_schroedinger, {}),
    "srnn": (_srnn, {}),
    "cfc": (_cfc, {"elapsed": 1.3}),
    "gradient": (_gradient, {}),
    "leaky-certified": (_leaky_certified, {"gamma": 0.8}),
    "antisymmetric-linear": (_antisymmetric_linear, {}),
}


def made(name: str, **sizes: int) -> CellField:
    return build(name, **sizes, **TRANSCRIBED[name][1])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_the_slope_is_the_stated_field(name: str) -> None:
    field = made(name)
    y, u = point(field)
    expected = TRANSCRIBED[name][0](named(field), *np.split(numbers(y), field.blocks, axis=1), numbers(u))
    got = numbers(field(0.0, y, field.drive(u), field.weights()))
    np.testing.assert_allclose(got, np.hstack(expected), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_names_of_weights_are_those_of_the_published_equations(name: str) -> None:
    field = made(name)
    found = field.named_weights()
    assert set(found) == NAMES[name]
    n, p = field.hidden_size, field.input_size
    for key, value in found.items():
        kind = key.partition("_")[0]
        assert value.shape == ({"V": (n, p), "b": (n,), "w": (n,)}.get(kind, (n, n)))


@pytest.mark.parametrize("name", FACTS)
def test_published_facts(name: str) -> None:
    equation = field_of(name)
    assert isinstance(equation, EquationField)
    blocks, order, method, step, substeps, integrator = FACTS[name]
    assert (equation.name, equation.blocks, equation.ode_order) == (name, blocks, order)
    assert (equation.published_method, equation.published_step) == (method, step)
    assert (equation.published_substeps, equation.integrator) == (substeps, integrator)
    with pytest.raises(UsageError, match="companion"):
        field_of(name, order + 1)


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_single_slopes_are_the_blocks_of_the_whole(name: str) -> None:
    """With a fresh memo, with one shared by both calls, and with a memo that knows other blocks."""
    field = made(name)
    y, u = point(field)
    drive, weights = field.drive(u), field.weights()
    blocks = list(y.chunk(field.blocks, -1))
    expected = field(0.0, y, drive, weights).chunk(field.blocks, -1)
    every = tuple(range(field.blocks))
    for wanted in [(j,) for j in every] + [every, every[::-1]]:
        for memo in ({}, shared := dict[object, object]()):
            for _ in range(2):
                for j, slope in zip(wanted, field.slopes(wanted, blocks, drive, weights, memo), strict=True):
                    torch.testing.assert_close(slope, expected[j], rtol=1e-13, atol=1e-14)
    other = [block + 1.0 for block in blocks]
    moved = field(0.0, torch.cat(other, -1), drive, weights).chunk(field.blocks, -1)
    for j, slope in enumerate(field.slopes(every, other, drive, weights, shared)):
        torch.testing.assert_close(slope, moved[j], rtol=1e-13, atol=1e-14)
    mixed = [other[0], *blocks[1:]]  # a partitioned method: one block moved, the other not
    partly = field(0.0, torch.cat(mixed, -1), drive, weights).chunk(field.blocks, -1)
    for j, slope in enumerate(field.slopes(every, mixed, drive, weights, shared)):
        torch.testing.assert_close(slope, partly[j], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_jacobian_is_the_automatic_one(name: str) -> None:
    field = made(name)
    y, u = point(field)
    weights, drive = field.weights(), field.drive(u)
    automatic = torch.func.jacrev(lambda y: field(0.0, y, drive, weights).sum(0))(y).transpose(0, 1)
    torch.testing.assert_close(field.jacobian(y, drive, weights), automatic, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_dependencies_are_the_blocks_of_the_jacobian(name: str) -> None:
    field = made(name)
    y, u = point(field)
    n = field.hidden_size
    J = numbers(field.jacobian(y, field.drive(u), field.weights()))
    for j, reads in enumerate(field.dependencies):
        acting = {k for k in range(field.blocks) if np.any(J[:, j * n : (j + 1) * n, k * n : (k + 1) * n])}
        assert reads == acting


@pytest.mark.parametrize("name", WITH_PARTS)
def test_parts_sum_to_the_whole(name: str) -> None:
    field = made(name)
    y, u = point(field)
    drive, weights = field.drive(u), field.weights()
    parts = [PartField(field, part) for part in field.equation.parts]
    torch.testing.assert_close(
        sum(part(0.0, y, drive, weights) for part in parts), field(0.0, y, drive, weights), rtol=1e-13, atol=1e-13
    )
    torch.testing.assert_close(
        sum(part.jacobian(y, drive, weights) for part in parts),
        field.jacobian(y, drive, weights),
        rtol=1e-13,
        atol=1e-13,
    )
    for part in parts:
        single = part.slopes(tuple(range(field.blocks)), y.chunk(field.blocks, -1), drive, weights, {})
        torch.testing.assert_close(torch.cat(single, -1), part(0.0, y, drive, weights), rtol=0, atol=0)


# ------------------------------------------------------------------------------------------------- published steps


def _library(kind: type[torch.nn.LSTMCell | torch.nn.GRUCell], w: Named, gates: str) -> torch.nn.Module:
    """torch's own cell with V_*, W_* in the library's order of gates, and one bias."""
    cell = kind(3, 5, dtype=F64)
    hidden = [w["W_h"] if (kind is torch.nn.GRUCell and g == "n") else w[f"W_{g}"] for g in gates]
    with torch.no_grad():
        cell.weight_ih.copy_(torch.tensor(np.vstack([w[f"V_{g}"] for g in gates])))
        cell.weight_hh.copy_(torch.tensor(np.vstack(hidden)))
        cell.bias_ih.copy_(torch.tensor(np.hstack([w[f"b_{g}"] for g in gates])))
        cell.bias_hh.zero_()
        if kind is torch.nn.GRUCell:
            cell.bias_hh[10:].copy_(torch.tensor(w["b_h"]))
    return cell


def test_euler_with_step_one_is_the_gru_of_torch() -> None:
    field = made("gru-field")
    y, u = point(field)
    cell = _library(torch.nn.GRUCell, named(field), "rzn")
    torch.testing.assert_close(y + field(0.0, y, field.drive(u), field.weights()), cell(u, y), rtol=1e-13, atol=1e-14)


@torch.no_grad()
def test_memory_first_and_output_second_is_the_lstm_of_torch() -> None:
    """c by its slope at the old blocks, then x by its slope at the old x and the new c."""
    field = made("lstm-field")
    y, u = point(field)
    x, c = y.chunk(2, -1)
    drive, weights, memo = field.drive(u), field.weights(), dict[object, object]()
    after = c + field.slopes((1,), (x, c), drive, weights, memo)[0]
    output = x + field.slopes((0,), (x, after), drive, weights, memo)[0]
    expected = _library(torch.nn.LSTMCell, named(field), "ifgo")(u, (x, c))
    torch.testing.assert_close((output, after), expected, rtol=1e-13, atol=1e-14)


@torch.no_grad()
def test_the_map_of_cfc_is_one_euler_step() -> None:
    """With both gates shut, s = 0: y+ = tanh(f1), whatever the old y was beside its way through the backbone."""
    field = build("cfc", elapsed=1.0)
    field.vectors["b"].fill_(-1e6)
    y, u = point(field)
    w = named(field)
    e = 1.7159 * np.tanh(0.666 * affine(w, "bb", numbers(y), numbers(u)))
    expected = np.tanh(e @ w["F_1"].T + w["b_1"])
    got = numbers(y + field(0.0, y, field.drive(u), field.weights()))
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


# ------------------------------------------------------------------------------------------------- flows of the parts


@pytest.mark.parametrize(("name", "factor"), [("exprnn", 1.0), ("scornn", -2.0)])
@pytest.mark.parametrize("h", [1.0, 0.3])
def test_a_rotation_flows_by_its_exponential_or_its_cayley_transform(name: str, factor: float, h: float) -> None:
    field = made(name)
    y, u = point(field)
    S = factor * (named(field)["A"] - named(field)["A"].T)
    part, eye = field.parts.index("rotation"), np.eye(len(S))
    exact = field.flow(part, h, field.weights(), "exact")(y, field.drive(u))
    cayley = field.flow(part, h, field.weights(), "cayley")(y, field.drive(u))
    np.testing.assert_allclose(numbers(exact), numbers(y) @ scipy.linalg.expm(h * S).T, rtol=1e-12, atol=1e-13)
    transform = np.linalg.inv(eye - h / 2 * S) @ (eye + h / 2 * S)
    np.testing.assert_allclose(numbers(cayley), numbers(y) @ transform.T, rtol=1e-12, atol=1e-13)
    for moved in (exact, cayley):  # orthogonal
        np.testing.assert_allclose(np.linalg.norm(numbers(moved), axis=1), np.linalg.norm(numbers(y), axis=1))


def _modrelu(z: Array, b: Array) -> Array:
    return np.sign(z) * np.maximum(np.abs(z) + b, 0)


def _all_flows(field: CellField, y: torch.Tensor, u: torch.Tensor, linear: str, h: float = 1.0) -> Array:
    for k in range(len(field.parts)):
        y = field.flow(k, h, field.weights(), linear)(y, field.drive(u))  # type: ignore[arg-type]
    return numbers(y)


def test_the_parts_of_exprnn_in_turn_are_the_published_step() -> None:
    field = made("exprnn")
    y, u = point(field)
    w = named(field)
    z = numbers(y) @ scipy.linalg.expm(w["A"] - w["A"].T).T + numbers(u) @ w["V_u"].T
    np.testing.assert_allclose(_all_flows(field, y, u, "exact"), _modrelu(z, w["b_r"]), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("negative", [0.0, 0.5, 0.79, 1.0])
def test_the_parts_of_scornn_in_turn_are_the_published_step(negative: float) -> None:
    field = build("scornn", negative=negative)
    y, u = point(field)
    w = named(field)
    S, eye = w["A"] - w["A"].T, np.eye(5)
    D = np.diag([-1.0 if k < math.floor(negative * 5) else 1.0 for k in range(5)])
    z = numbers(y) @ (np.linalg.solve(eye + S, eye - S) @ D).T + numbers(u) @ w["V_u"].T
    np.testing.assert_allclose(_all_flows(field, y, u, "cayley"), _modrelu(z, w["b_r"]), rtol=1e-12, atol=1e-13)


def test_the_parts_of_lru_in_turn_are_the_published_step() -> None:
    field = made("lru")
    y, u = point(field)
    w = named(field)
    re, im = np.split(numbers(y), 2, axis=1)
    rate = -np.exp(w["b_nu"]) + 1j * np.exp(w["b_theta"])
    after = np.exp(rate) * (re + 1j * im) + np.exp(w["b_gamma"]) * (numbers(u) @ (w["V_re"] + 1j * w["V_im"]).T)
    expected = np.hstack([after.real, after.imag])
    np.testing.assert_allclose(_all_flows(field, y, u, "exact"), expected, rtol=1e-12, atol=1e-13)


def test_the_parts_of_ode_lstm_in_turn_are_the_published_step() -> None:
    """torch.nn.LSTMCell, then three classical Runge-Kutta steps of a third of the second network."""
    field = made("ode-lstm")
    (x, c), u = (numbers(y) for y in point(field)[0].chunk(2, -1)), numbers(point(field)[1])
    w = named(field)
    cell = _library(torch.nn.LSTMCell, w, "ifgo")
    with torch.no_grad():
        moved, memory = (numbers(v) for v in cell(torch.tensor(u), (torch.tensor(x), torch.tensor(c))))

    def f(x: Array) -> Array:
        slope: Array = np.tanh(x @ w["W_1"].T + w["b_1"]) @ w["W_2"].T + w["b_2"]
        return slope

    h = 1 / 3
    for _ in range(3):
        k1 = f(moved)
        k2 = f(moved + h / 2 * k1)
        k3 = f(moved + h / 2 * k2)
        k4 = f(moved + h * k3)
        moved = moved + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    got = _all_flows(field, *point(field), "exact")
    np.testing.assert_allclose(got, np.hstack([moved, memory]), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("h", [0.1, 1.0])
def test_the_hamiltonian_flows_unitarily(h: float) -> None:
    field = made("schroedinger")
    y, u = point(field)
    re, im = np.split(numbers(y), 2, axis=1)
    H, eye = _hamiltonian(named(field), numbers(u)), np.eye(5)
    assert np.array_equal(H, H.conj().transpose(0, 2, 1))
    exact = np.stack([scipy.linalg.expm(-1j * h * one) for one in H])
    cayley = np.linalg.solve(eye + 0.5j * h * H, eye - 0.5j * h * H)
    for linear, operator in (("exact", exact), ("cayley", cayley)):
        after = np.einsum("bij,bj->bi", operator, re + 1j * im)
        got = _all_flows(field, y, u, linear, h)
        np.testing.assert_allclose(got, np.hstack([after.real, after.imag]), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), np.linalg.norm(numbers(y), axis=1), rtol=1e-12)


def _affine_field(driven: bool) -> EquationField:
    """y' = W y + V u + b, or with rates set by the input, y' = W y - a_d^2 y + V u + b: one linear part."""
    (y,) = states(1)
    a, d = symbols("a_y a_d")
    rhs = (a - d**2 * y if driven else a,)
    maps = (Map(a, ((0, dense()),)), *([Map(d)] if driven else []))
    return EquationField("affine", (y,), maps, rhs, "test", parts=(Part("all", rhs, "linear"),))


@pytest.mark.parametrize("driven", [False, True])
@pytest.mark.parametrize(("linear", "rule"), [("exact", "zoh"), ("cayley", "bilinear")])
def test_an_affine_part_holds_its_input(linear: str, rule: str, driven: bool) -> None:
    """SciPy's zero-order hold, and the bilinear transform, whose input is held too: x+ = Ad x + h (I - hA/2)^-1 g."""
    torch.manual_seed(0)
    field = CellField(_affine_field(driven), 2, 4, dtype=F64)
    y, u = point(field, batch=3)
    w, h = named(field), 0.7
    names = ("V_y", "b_y") if driven else ("V", "b") if "V" in w else ("V_y", "b_y")
    got = numbers(field.flow(0, h, field.weights(), linear)(y, field.drive(u)))  # type: ignore[arg-type]
    for k in range(3):
        rates = (numbers(u)[k] @ w["V_d"].T + w["b_d"]) ** 2 if driven else np.zeros(4)
        A = w["W"] - np.diag(rates)
        g = numbers(u)[k] @ w[names[0]].T + w[names[1]]
        if rule == "zoh":
            Ad, Bd, *_ = scipy.signal.cont2discrete((A, np.eye(4), np.eye(4), np.zeros((4, 4))), h, "zoh")
        else:
            Ad = np.linalg.solve(np.eye(4) - h / 2 * A, np.eye(4) + h / 2 * A)
            Bd = h * np.linalg.inv(np.eye(4) - h / 2 * A)
        np.testing.assert_allclose(got[k], Ad @ numbers(y)[k] + Bd @ g, rtol=1e-12, atol=1e-13)


def test_the_radial_flow_stops_at_zero_and_keeps_its_direction() -> None:
    field = made("exprnn", hidden=4)
    with torch.no_grad():
        field.vectors["r"].copy_(torch.tensor([0.5, -0.5, -2.0, 1.0]))
    y = torch.tensor([[1.0, 1.0, 1.0, 0.0], [-1.0, -1.0, -1.0, 0.0]], dtype=F64, requires_grad=True)
    after = field.flow(field.parts.index("radial"), 0.5, field.weights(), "exact")(
        y, field.drive(torch.zeros(2, 3, dtype=F64))
    )
    np.testing.assert_allclose(numbers(after), [[1.25, 0.75, 0.0, 0.0], [-1.25, -0.75, 0.0, 0.0]], atol=1e-15)
    (slope,) = torch.autograd.grad(after.sum(), y)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize(
    ("name", "linear"),
    [(n, how) for n in WITH_PARTS for how in ("exact", "cayley") if (n, how) != ("ode-lstm", "cayley")],
)
def test_flows_pass_gradcheck(name: str, linear: str) -> None:
    field = made(name, inputs=2, hidden=2)
    y, u = point(field, batch=2)
    stored = [p.detach().clone().requires_grad_() for p in field.parameters()]
    keys = [key for key, _ in field.named_parameters()]

    def step(y: torch.Tensor, u: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        def through(y: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
            weights, drive = field.weights(), field.drive(u)
            for k in range(len(field.parts)):
                y = field.flow(k, 0.4, weights, linear)(y, drive)  # type: ignore[arg-type]
            return y

        values = dict(zip(keys, parameters, strict=True))
        with torch.nn.utils.stateless._reparametrize_module(field, values):  # type: ignore[attr-defined]
            return through(y, u)

    assert torch.autograd.gradcheck(step, (y.requires_grad_(), u.requires_grad_(), *stored))


# ------------------------------------------------------------------------------------------------- bounds and starts


@pytest.mark.parametrize(("dtype", "close"), [(torch.bfloat16, 0.1), (torch.float32, 1e-4), (F64, 1e-6)])
@pytest.mark.parametrize("n", [1, 2, 17, 64])
@pytest.mark.parametrize("scale", [0.01, 1.0, 1e4, 1e15])
def test_the_certified_matrix_never_exceeds_gamma(dtype: torch.dtype, close: float, n: int, scale: float) -> None:
    equation = field_of("leaky-certified")
    assert isinstance(equation, EquationField)
    for gamma in (1.0, 0.3):
        torch.manual_seed(n)
        field = CellField(equation, 2, n, {"gamma": gamma}, dtype=dtype)
        rank_one = torch.outer(torch.randn(n), torch.randn(n))
        for drawn in (torch.randn(n, n), rank_one, torch.eye(n), torch.zeros(n, n)):
            with torch.no_grad():
                field.matrices["W"].copy_(scale * drawn)
            acting = numbers(field.weights()[0].double()).T  # weights() acts from the right
            assert np.linalg.norm(acting, 2) <= gamma
            wanted = scale * numbers(drawn).astype(float)
            size = np.linalg.norm(wanted, 2)
            expected = wanted * min(1.0, gamma / size) if size else wanted
            np.testing.assert_allclose(acting, expected, atol=close * gamma)
            np.testing.assert_array_equal(numbers(field.named_weights()["W"].double()), acting)


def test_the_certified_matrix_passes_gradients_in_and_out_of_the_bound() -> None:
    equation = field_of("leaky-certified")
    assert isinstance(equation, EquationField)
    torch.manual_seed(0)
    field = CellField(equation, 2, 4, {"gamma": 0.5}, dtype=F64)
    y, u = point(field)
    for scale in (0.05, 3.0):
        W = (scale * torch.randn(4, 4, dtype=F64)).requires_grad_()

        def slope(W: torch.Tensor) -> torch.Tensor:
            with torch.nn.utils.stateless._reparametrize_module(field, {"matrices.W": W}):  # type: ignore[attr-defined]
                return field(0.0, y, field.drive(u), field.weights())

        assert torch.autograd.gradcheck(slope, (W,))


def fresh(name: str, n: int = 400, p: int = 20, seed: int = 5) -> Named:
    torch.manual_seed(seed)
    equation = field_of(name)
    assert isinstance(equation, EquationField)
    return named(CellField(equation, p, n, dtype=F64))


def spread(values: Array, low: float, high: float) -> None:
    """Within [low, high], and filling it: a few hundred uniform draws miss less than 5 percent at each end."""
    assert low <= values.min() < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < values.max() <= high
    assert values.mean() == pytest.approx((low + high) / 2, abs=0.06 * (high - low))


def test_published_starts() -> None:
    for name in ("lstm-field", "ode-lstm"):
        w = fresh(name)
        np.testing.assert_array_equal(w["b_f"], 1.0)
        spread(w["b_i"], -1 / 20, 1 / 20)
        spread(w["W_o"].ravel(), -1 / 20, 1 / 20)
    w = fresh("unicornn")
    spread(w["w"], 0.0, 1.0)
    spread(w["b_c"], -0.1, 0.1)
    np.testing.assert_array_equal(w["b_y"], 0.0)
    w = fresh("lru")
    size = np.exp(-np.exp(w["b_nu"]))
    spread(size**2, 0.0, 1.0)
    spread(np.exp(w["b_theta"]), 0.0, 2 * math.pi)
    np.testing.assert_allclose(np.exp(w["b_gamma"]), np.sqrt(1 - size**2), rtol=1e-9)
    for part in ("V_re", "V_im"):
        assert w[part].std() == pytest.approx(math.sqrt(1 / 40), rel=0.05)
    assert abs(np.corrcoef(w["V_re"].ravel(), w["V_im"].ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(size**2, np.exp(w["b_theta"]))[0, 1]) < 0.2
    w = fresh("cfc")
    for matrix in ("W_bb", "F_1", "F_2", "T_a", "T_b"):
        spread(w[matrix].ravel(), -math.sqrt(6 / 800), math.sqrt(6 / 800))
    w = fresh("lem")
    spread(w["W_y"].ravel(), -1 / 20, 1 / 20)


@pytest.mark.parametrize(
    ("name", "angle"),
    [("exprnn", lambda v: v), ("scornn", lambda v: -2 * np.arctan(v))],
)
@pytest.mark.parametrize("n", [400, 401])
def test_skew_matrices_start_as_rotations_of_pairs(name: str, angle: Callable[[Array], Array], n: int) -> None:
    w = fresh(name, n=n)
    A = w["A"]
    pairs = np.arange(0, n - 1, 2)
    angles = angle(A[pairs, pairs + 1])
    spread(angles, *((-math.pi, math.pi) if name == "exprnn" else (0.0, math.pi / 2)))
    A = A.copy()
    A[pairs, pairs + 1] = 0.0
    assert not A.any()
    if name == "exprnn":
        spread(w["b_r"], -0.01, 0.01)
    else:
        assert not w["b_r"].any()


def test_states_start_where_the_cell_says_and_readouts_see_what_it_shows() -> None:
    for name in TRANSCRIBED:
        field = made(name)
        start, n = numbers(field.initial(3)), field.hidden_size
        if name == "schroedinger":
            np.testing.assert_allclose(start, np.tile([n**-0.5] * n + [0.0] * n, (3, 1)), atol=1e-16)
        else:
            np.testing.assert_array_equal(start, np.zeros((3, field.blocks * n)))
        y, _ = point(field)
        seen = numbers(field.features(y))
        blocks = np.split(numbers(y), field.blocks, axis=1)
        expected = {"lru": numbers(y), "schroedinger": sum(b**2 for b in blocks)}.get(name, blocks[0])
        np.testing.assert_allclose(seen, expected, rtol=1e-15)
        assert seen.shape[1] == field.feature_size


def test_vectors_with_one_key_share_a_draw_but_not_their_memory() -> None:
    (y,) = states(1)
    a, b, c, d = symbols("a_y b_1 b_2 b_3")
    same, other = Start(-1.0, 1.0, key="same"), Start(-1.0, 1.0, 2 * DRAWN, key="same")
    equation = EquationField(
        "shared", (y,), (Map(a), vector(b, same), vector(c, same), vector(d, other)), (a + b + c + d - y,), "test"
    )
    field = CellField(equation, 2, 6, dtype=F64)
    one, two, three = (field.vectors[key] for key in "123")
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    torch.testing.assert_close(three, 2 * one, rtol=0, atol=0)
    with torch.no_grad():
        one.zero_()
    assert two.any()


# ------------------------------------------------------------------------------------------ functions, text and copies


def test_the_logistic_function_survives_every_argument() -> None:
    (x,) = symbols("x")
    assert sympy.latex(sigmoid(x) ** 2) == r"\sigma^{2}\left(x\right)"
    assert sympy.diff(sigmoid(2 * x), x) == 2 * sigmoid(2 * x) * (1 - sigmoid(2 * x))
    assert sympy.diff(sign(x) * x, x) == sign(x)
    assert pickle.loads(pickle.dumps(sigmoid(x) + sign(x))) == sigmoid(x) + sign(x)
    field = build("mingru")
    with torch.no_grad():
        for value in (-1e4, 1e4):
            field.b.fill_(value)
            y, u = point(field)
            assert torch.isfinite(field(0.0, y, field.drive(u), field.weights())).all()


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_the_equation_renders(name: str) -> None:
    text = field_of(name).latex()
    start, end = r"\begin{aligned}", r"\end{aligned}"
    assert text.startswith(start)
    assert text.endswith(end)
    parser = matplotlib.mathtext.MathTextParser("path")
    for line in text[len(start) : -len(end)].split(r"\\"):
        left, right = line.split("&=")
        width = parser.parse(f"${left.strip()} = {right.strip()}$").width
        assert width > 0


@pytest.mark.parametrize("name", ["scornn", "srnn", "ode-lstm"])
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))], ids=["deepcopy", "pickle"])
def test_a_copy_computes_the_same(name: str, clone: Callable[[CellField], CellField]) -> None:
    field = made(name)
    y, u = point(field)
    other = clone(field)
    torch.testing.assert_close(
        other(0.0, y, other.drive(u), other.weights()), field(0.0, y, field.drive(u), field.weights()), rtol=0, atol=0
    )


def test_a_cell_without_parts_cannot_be_split() -> None:
    field = made("lem")
    with pytest.raises(UsageError, match="not given as a sum of parts"):
        field.flow(0, 0.1, field.weights(), "exact")


@pytest.mark.parametrize("method", ["strang", "strang-cayley"])
def test_a_reflection_is_not_applied_twice_a_step(method: str) -> None:
    """Twice it is the identity: Strang's splitting would step another cell under the same name."""
    cell = ODERNN(2, 4, "scornn", method, dtype=F64)
    with pytest.raises(UsageError, match=f"part 'reflection' of field 'scornn' acts once a step, .* {method!r} .* 2"):
        cell(torch.zeros(3, 1, 2, dtype=F64))


@pytest.mark.parametrize("method", ["lie", "lie-cayley"])
def test_a_reflection_acts_once_a_step_under_lie(method: str) -> None:
    """Without rotation, input and bias nothing is left but the signs."""
    cell = ODERNN(2, 4, "scornn", method, dtype=F64)
    with torch.no_grad():
        cell.field.matrices["A"].zero_()
        cell.field.V.zero_()
    y = torch.tensor([[[1.0, 2.0, -3.0, 4.0]]], dtype=F64)
    states = cell.trajectory(torch.zeros(2, 1, 2, dtype=F64), y)
    signs = torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=F64)
    torch.testing.assert_close(states[1].flatten(), y.flatten() * signs, rtol=0, atol=0)
    torch.testing.assert_close(states[2].flatten(), y.flatten(), rtol=0, atol=0)


def test_parts_that_are_not_what_they_say_are_refused() -> None:
    (y,) = states(1)
    a, b = symbols("a_y b_r")
    for part, message in ((Part("p", (a - y**2,), "linear"), "not linear"), (Part("p", (a - y,), "kick"), "no kick")):
        equation = EquationField("wrong", (y,), (Map(a), vector(b)), part.rhs, "test", parts=(part,))
        field = CellField(equation, 2, 3, dtype=F64)
        with pytest.raises(UsageError, match=message):
            field.flow(0, 0.1, field.weights(), "exact")
    with pytest.raises(UsageError, match="do not add up"):
        EquationField("wrong", (y,), (Map(a),), (a - y,), "test", parts=(Part("p", (a,), "kick"),))


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("scornn", {"negative": 1.5}),
        ("scornn", {"negative": -0.5}),
        ("leaky-certified", {"gamma": 0.0}),
        ("leaky-certified", {"gamma": -1.0}),
        ("ct-rnn", {"tau": 0.0}),
        ("ct-rnn", {"tau": -2.0}),
    ],
)
def test_constants_out_of_range_are_refused(name: str, constants: dict[str, float]) -> None:
    equation = field_of(name)
    assert isinstance(equation, EquationField)
    with pytest.raises(UsageError, match=f"cell {name!r} is {next(iter(constants.values())):g}"):
        CellField(equation, 1, 4, constants)
