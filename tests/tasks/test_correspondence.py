"""The correspondence audit and the measured memory order, on cells written here: right, subtly wrong, inconsistent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import sympy
from scipy.linalg import expm

from odernn.suite.catalogue import build_task
from odernn.suite.contracts import Budget, Nesting, Outcome
from odernn.suite.errors import Diverged, UsageError
from odernn.tasks.audits.correspondence import ROWS, TASK, Correspondence
from odernn.tasks.audits.limit import limit
from odernn.tasks.audits.memory_order import memory_order

Array = np.ndarray[Any, Any]
Step = Callable[[Mapping[str, Array], float, Array, Array], Array]
Slope = Callable[[Mapping[str, Array], Array, Array], Array]
N = 4


@dataclass
class Map:
    """A `RecurrentMap` from a step and a slope; Jacobians by complex steps, exact to rounding."""

    p: dict[str, Array]
    move: Step
    exact: Slope | None = None
    blocks: int = 1
    hidden: int = N
    inputs: int = 3
    step: float = 1.0
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        plain = {"integrator": True, "order": 1, "ode_order": 1, "equation": "", "frozen": "", "step": self.step}
        return plain | self.told

    def parameters(self) -> dict[str, Array]:
        return dict(self.p)

    def count(self) -> int:
        return sum(value.size for value in self.p.values())

    def start(self, batch: int) -> Array:
        return np.zeros((batch, self.blocks, self.hidden))

    def run(self, inputs: Array, state: Array) -> Array:
        states = [state]
        for u in inputs:
            states.append(self.move(self.p, self.step, states[-1], u))
        return np.array(states)

    def slope(self, state: Array, u: Array) -> Array:
        assert self.exact is not None
        return self.exact(self.p, state, u)

    def jacobian(self, state: Array, u: Array) -> Array:
        return self._derivative(lambda y: self.move(self.p, self.step, y, u), state)

    def field_jacobian(self, state: Array, u: Array) -> Array:
        return self._derivative(lambda y: self.slope(y, u), state)

    def _derivative(self, function: Callable[[Array], Array], state: Array) -> Array:
        D = self.blocks * self.hidden
        columns = []
        for bump in np.eye(D).reshape(D, 1, self.blocks, self.hidden):
            columns.append(function(state + 1e-30j * bump).imag.reshape(len(state), D) / 1e-30)
        return np.stack(columns, axis=-1)

    def with_step(self, step: float) -> Map:
        return replace(self, step=step)


class Adjustable(Map):
    def with_parameters(self, parameters: Mapping[str, Array]) -> Adjustable:
        return replace(self, p=self.p | parameters)


class Fake:
    """A solver whose cells are drawn by `make(rng)`."""

    learns = True

    def __init__(self, make: Callable[[np.random.Generator], Map]) -> None:
        self.make = make

    def nesting(self, seed: int) -> Nesting:
        return Nesting(math.inf)

    def recurrence(self, inputs: int, seed: int, hidden: int | None = None) -> Map:
        return self.make(np.random.default_rng([seed, inputs]))


def audit(row: str, make: Callable[[np.random.Generator], Map]) -> Outcome:
    return Correspondence(row).evaluate(Fake(make), 0, Budget())  # type: ignore[arg-type]


def plain(rng: np.random.Generator) -> dict[str, Array]:
    return {"W": rng.normal(size=(N, N)) / 2, "V": rng.normal(size=(N, 3)), "b": rng.normal(size=N)}


def target(p: Mapping[str, Array], y: Array, u: Array) -> Array:
    return np.tanh(np.einsum("ij,bkj->bki", p["W"], y) + (u @ p["V"].T + p["b"])[:, None])


def leaky(p: Mapping[str, Array], h: float, y: Array, u: Array) -> Array:
    return y + h * (target(p, y, u) - y)


def leaky_field(p: Mapping[str, Array], y: Array, u: Array) -> Array:
    return target(p, y, u) - y


def leaky_map(rng: np.random.Generator) -> Map:
    return Map(plain(rng), leaky, leaky_field, step=0.4)


# ------------------------------------------------------------------------------------------------- a right row is ok


def test_a_right_cell() -> None:
    outcome = audit("leaky", leaky_map)
    assert (outcome.status, outcome.reason) == ("ok", "")
    metrics = outcome.metrics
    assert metrics["equality_error_one_step"] <= metrics["equality_error"] < 1e-13
    assert metrics["wrong_error"] > 1e-2
    assert metrics["observed_order"] == pytest.approx(1, abs=0.03)
    assert metrics["memory_order"] == 1
    assert set(metrics) == {
        "equality_error",
        "equality_error_one_step",
        "wrong_error",
        "observed_order",
        "limit_gap",
        "memory_order",
    }
    assert metrics["limit_gap"] < 1e-11
    properties = outcome.properties
    assert properties["paper"] == ROWS["leaky"].PAPER
    assert properties["wrong"] == ROWS["leaky"].WRONG
    assert properties["row"] == "leaky"
    assert properties["unexamined"] == []
    assert properties["nesting_depth"] == "Infinity"
    assert properties["integrator"] is True
    curve = outcome.curves["convergence"]
    assert len(curve["h"]) == len(curve["error"]) == 9
    assert curve["h"][0] == 0.5


def test_elman_is_the_same_cell_at_step_one() -> None:
    assert audit("elman", lambda rng: replace(leaky_map(rng), step=1.0)).status == "ok"
    outcome = audit("elman", leaky_map)
    assert outcome.status == "failed"
    assert "the published step is 1, not 0.4" in outcome.reason


# -------------------------------------------------------------------------------------------- a false row is caught


def rounded(p: Mapping[str, Array], h: float, y: Array, u: Array) -> Array:
    return leaky(p | {"b": p["b"] + 1e-10}, h, y, u)


def test_a_subtle_difference_fails_equality_alone() -> None:
    outcome = audit("leaky", lambda rng: replace(leaky_map(rng), move=rounded))
    assert outcome.status == "failed"
    assert outcome.reason == f"it differs from the published cell by {outcome.metrics['equality_error']:.1e}"
    assert 1e-12 < outcome.metrics["equality_error"] < 1e-9


def test_a_difference_at_another_step_is_seen() -> None:
    """The half step is compared too: a cell with the step typed in cannot pass."""
    outcome = audit(
        "leaky", lambda rng: replace(leaky_map(rng), move=lambda p, h, y, u: leaky(p, 0.4 if h > 0.1 else h, y, u))
    )
    assert outcome.status == "failed"
    assert outcome.metrics["equality_error_one_step"] > 1e-3


def test_a_cell_that_breaks_down_fails() -> None:
    def broken(p: Mapping[str, Array], h: float, y: Array, u: Array) -> Array:
        return leaky(p, h, np.where(np.abs(y) > 1e-3, y, np.nan), u)

    outcome = audit("leaky", lambda rng: replace(leaky_map(rng), move=broken))
    assert outcome.status == "failed"
    assert math.isnan(outcome.metrics["equality_error"])


def test_a_field_that_is_not_the_limit_is_caught() -> None:
    """The cell is the published one, its stated field is not what it integrates: order 0."""
    outcome = audit("leaky", lambda rng: replace(leaky_map(rng), exact=lambda p, y, u: 1.01 * target(p, y, u) - y))
    assert outcome.metrics["equality_error"] < 1e-13
    assert abs(outcome.metrics["observed_order"]) < 0.2
    assert outcome.status == "failed"
    assert "order against the flow of the stated field" in outcome.reason


@pytest.mark.parametrize("slip", [1e-6, 1e-7])
def test_a_term_of_the_field_that_is_wrong_in_the_seventh_digit_is_caught(slip: float) -> None:
    """The errors of order 1 hide it on every rung, the extrapolated limit does not: it is about slip times 1.5."""
    outcome = audit(
        "leaky", lambda rng: replace(leaky_map(rng), exact=lambda p, y, u: target(p, y, u) - (1 + slip) * y)
    )
    assert outcome.metrics["observed_order"] == pytest.approx(1, abs=0.03)
    assert min(outcome.curves["convergence"]["error"]) > 1e-4
    assert slip / 10 < outcome.metrics["limit_gap"] < 2 * slip
    assert outcome.status == "failed"
    gap = f"{outcome.metrics['limit_gap']:.1e}"
    assert outcome.reason == f"its limit of small steps is {gap} from the flow of the stated field"


def test_a_wrong_term_of_a_method_of_order_2_is_caught() -> None:
    """Heun's method: the limit is extrapolated in powers from h^2 on."""

    def heun(p: Mapping[str, Array], h: float, y: Array, u: Array) -> Array:
        k = leaky_field(p, y, u)
        return y + h / 2 * (k + leaky_field(p, y + h * k, u))

    right = audit("leaky", lambda rng: replace(leaky_map(rng), move=heun, told={"order": 2}))
    assert right.metrics["limit_gap"] < 1e-12
    wrong = audit(
        "leaky",
        lambda rng: replace(
            leaky_map(rng), move=heun, told={"order": 2}, exact=lambda p, y, u: leaky_field(p, y, u) + 1e-6
        ),
    )
    assert wrong.metrics["limit_gap"] > 1e-7
    assert "from the flow of the stated field" in wrong.reason


def test_parts_that_are_faster_than_their_sum_get_shorter_intervals() -> None:
    """Two rotations that cancel but for a slow one: the field's rate says nothing of what a splitting must resolve."""
    turn, other = np.zeros((N, N)), np.zeros((N, N))
    turn[0, 1], turn[1, 0] = 25.0, -25.0
    other[1, 2], other[2, 1] = 3.0, -3.0

    def split(p: Mapping[str, Array], h: float, y: Array, u: Array) -> Array:
        G = expm(h * turn) @ expm(h * other) @ expm(-h * turn)
        return leaky(p, h, y @ G.T, u)

    def whole(p: Mapping[str, Array], y: Array, u: Array) -> Array:
        return leaky_field(p, y, u) + y @ other.T

    outcome = audit("leaky", lambda rng: replace(leaky_map(rng), move=split, exact=whole))
    assert outcome.curves["convergence"]["h"][0] < 0.5
    assert outcome.metrics["limit_gap"] < 1e-8
    assert "limit" not in outcome.reason
    noisy = audit(
        "leaky",
        lambda rng: replace(
            leaky_map(rng), move=lambda p, h, y, u: leaky(p, h, y, u) + 1e-7 * np.sin(1e9 * y), exact=leaky_field
        ),
    )
    assert "its limit of small steps is not known: the last of 6 rungs moves it by" in noisy.reason
    assert noisy.curves["convergence"]["h"][0] == 0.5


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_limit_of_an_expansion(order: int) -> None:
    """e + h^p cos h, where every other power is absent, and (1 + h)^(1/h), Euler's method for y' = y."""
    steps = [0.5 / 2**k for k in range(7)]
    smooth = [math.e + h**order * math.cos(h) for h in steps]
    found, before = limit([np.array([v]) for v in smooth], order)
    assert abs(found[0] - math.e) < 1e-11
    assert abs(found[0] - math.e) <= abs(found[0] - before[0]) + 1e-15
    if order == 1:
        euler = [np.array([(1 + h) ** (1 / h)]) for h in steps]
        assert limit(euler, 1)[0][0] == pytest.approx(math.e, abs=1e-7)


def test_a_limit_is_exact_for_a_polynomial() -> None:
    """c_0 + c_2 h^2 + ... + c_5 h^5 from five values."""
    c = np.array([0.7, 0.0, 1.3, -2.0, 0.4, 5.0])
    values = [np.array([np.polyval(c[::-1], 2.0**-k)]) for k in range(5)]
    assert limit(values, 2)[0][0] == pytest.approx(0.7, abs=1e-14)


@pytest.mark.parametrize("claim", [0, 2])
def test_a_false_claim_of_order_is_caught(claim: int) -> None:
    outcome = audit("leaky", lambda rng: replace(leaky_map(rng), told={"order": claim}))
    assert outcome.status == "failed"
    assert outcome.reason.endswith(f"not {claim}")


def test_without_a_claim_there_is_nothing_to_compare_with() -> None:
    outcome = audit("leaky", lambda rng: replace(leaky_map(rng), told={"order": None}))
    assert outcome.status == "failed"
    assert outcome.reason == "its method claims no order to compare with"
    assert outcome.metrics["observed_order"] == pytest.approx(1, abs=0.03)


def test_a_false_claim_of_memory_is_caught() -> None:
    outcome = audit("leaky", lambda rng: replace(leaky_map(rng), told={"ode_order": 2}))
    assert outcome.status == "failed"
    assert outcome.reason == "its memory is of 1 lags, its ODE of order 2"


def test_a_comparison_that_cannot_fail_is_no_comparison() -> None:
    """With a symmetric W Elman's wrong cell, which transposes it, is right."""

    def make(rng: np.random.Generator) -> Map:
        p = plain(rng)
        return replace(leaky_map(rng), p=p | {"W": p["W"] + p["W"].T}, step=1.0)

    outcome = audit("elman", make)
    assert outcome.status == "failed"
    assert outcome.reason.startswith("the comparison cannot fail")


def oscillator(new: bool) -> Step:
    def step(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
        slope = oscillator_field(p, state, u)
        z = state[:, 1] + h * slope[:, 1]
        return np.stack([state[:, 0] + h * (z if new else state[:, 1]), z], axis=1)

    return step


def oscillator_field(p: Mapping[str, Array], state: Array, u: Array) -> Array:
    y, z = state[:, 0], state[:, 1]
    force = np.tanh(y @ p["W"].T + z @ p["W_z"].T + u @ p["V"].T + p["b"])
    return np.stack([z, force - p["constant:gamma"] * y - p["constant:epsilon"] * z], axis=1)


def oscillator_map(rng: np.random.Generator, new: bool = True) -> Map:
    p = plain(rng) | {"W_z": rng.normal(size=(N, N)) / 2}
    p |= {"constant:gamma": np.array(2.0), "constant:epsilon": np.array(1.5)}
    return Map(p, oscillator(new), oscillator_field, blocks=2, step=0.06, told={"ode_order": 2})


def test_two_integrators_of_one_field() -> None:
    """Explicit Euler has coRNN's field and order, and is not coRNN."""
    right = audit("cornn", oscillator_map)
    assert (right.status, right.metrics["memory_order"]) == ("ok", 2)
    wrong = audit("cornn", lambda rng: oscillator_map(rng, new=False))
    assert wrong.status == "failed"
    assert wrong.reason.startswith("it differs")
    assert wrong.metrics["observed_order"] == pytest.approx(1, abs=0.1)
    assert wrong.metrics["equality_error_one_step"] >= wrong.metrics["wrong_error"]


def test_a_fast_field_is_looked_at_on_its_own_time_scale() -> None:
    """A spring of 2500, a period of 0.13: intervals of 0.5 would be four periods, too coarse a ladder for order 1."""

    def make(rng: np.random.Generator) -> Map:
        cell = oscillator_map(rng)
        return replace(cell, p=cell.p | {"constant:gamma": np.array(2500.0)}, step=0.005)

    outcome = audit("cornn", make)
    assert (outcome.status, outcome.reason) == ("ok", "")
    assert outcome.curves["convergence"]["h"][0] == pytest.approx(4 / 2500, rel=0.01)
    assert outcome.metrics["observed_order"] == pytest.approx(1, abs=0.05)


def rotation(cayley: float) -> Callable[[np.random.Generator], Map]:
    """scoRNN with a step h: D, Cayley transform of h S (times `cayley`), kick, radial flow."""

    def step(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
        S, eye = cayley * h * (p["A"] - p["A"].T), np.eye(N)
        z = np.array([-1, -1, 1, 1]) * state @ np.linalg.solve(eye + S, eye - S).T + h * (u @ p["V_u"].T)[:, None]
        size = np.sqrt(z * z)
        return z / size * np.maximum(size.real + h * p["b_r"], 0) if state.dtype.kind != "c" else z

    def slope(p: Mapping[str, Array], state: Array, u: Array) -> Array:
        drift = -2 * state @ (p["A"] - p["A"].T).T + (u @ p["V_u"].T)[:, None]
        return drift + p["b_r"] * np.sign(state)

    def make(rng: np.random.Generator) -> Map:
        p = {"A": np.triu(rng.normal(size=(N, N)), 1), "V_u": rng.normal(size=(N, 3))}
        p |= {"b_r": rng.uniform(-0.3, 0.3, N), "constant:negative": np.array(0.5)}
        return Map(p, step, slope)

    return make


def test_a_reflection_is_undone_and_kinks_are_kept_away_from() -> None:
    outcome = audit("scornn", rotation(1.0))
    assert (outcome.status, outcome.reason) == ("ok", "")
    assert outcome.metrics["observed_order"] == pytest.approx(1, abs=0.1)
    half = audit("scornn", rotation(0.5))
    assert half.status == "failed"
    assert half.metrics["equality_error"] > 1e-2
    assert abs(half.metrics["observed_order"]) < 0.3


# ------------------------------------------------------------------------------------------- cells without a limit


def blend(p: Mapping[str, Array], h: float, y: Array, u: Array) -> Array:
    """CfC as its equations say; h is not its time."""
    e = 1.7159 * np.tanh(0.666 * (y[:, 0] @ p["W_bb"].T + u @ p["V_bb"].T + p["b_bb"]))
    f1, f2 = (np.tanh(e @ p[f"F_{k}"].T + p[f"b_{k}"]) for k in "12")
    s = 1 / (1 + np.exp(-(e @ p["T_a"].T + p["b_a"]) * p["constant:elapsed"] - e @ p["T_b"].T - p["b_b"]))
    return y + h * ((1 - s) * f1 + s * f2 - y[:, 0])[:, None]


def cfc_map(rng: np.random.Generator, integrator: bool) -> Map:
    p = {name: rng.normal(size=(N, N)) / 2 for name in ("W_bb", "F_1", "F_2", "T_a", "T_b")}
    p |= {name: rng.normal(size=N) for name in ("b_bb", "b_1", "b_2", "b_a", "b_b")}
    p |= {"V_bb": rng.normal(size=(N, 3)), "constant:elapsed": np.array(1.0)}
    return Map(p, blend, lambda p, y, u: blend(p, 1.0, y, u) - y, told={"integrator": integrator})


def test_a_cell_that_is_no_integrator_has_a_gap() -> None:
    outcome = audit("cfc", lambda rng: cfc_map(rng, integrator=False))
    assert (outcome.status, outcome.reason) == ("ok", "")
    assert outcome.metrics["gap_at_zero_step"] > 0.1
    assert "observed_order" not in outcome.metrics
    curve = outcome.curves["convergence"]
    assert curve["h"][-1] == 1e-8
    assert curve["error"][-1] == pytest.approx(curve["error"][-2], rel=1e-5)


def test_the_trivial_field_is_no_excuse() -> None:
    """G is Euler's step of G(y) - y, with order 1: consistent, and vacuous."""
    outcome = audit("cfc", lambda rng: cfc_map(rng, integrator=True))
    assert outcome.metrics["observed_order"] == pytest.approx(1, abs=0.05)
    assert outcome.status == "failed"
    assert "its own time of 0 moves the state" in outcome.reason


def test_no_integrator_needs_its_own_time() -> None:
    with pytest.raises(UsageError, match="'elapsed'"):
        audit("leaky", lambda rng: replace(leaky_map(rng), told={"integrator": False}))


# ------------------------------------------------------------------------------------------- weights that start at 0


def test_zero_weights_are_listed_or_replaced() -> None:
    def make(kind: type[Map]) -> Callable[[np.random.Generator], Map]:
        return lambda rng: kind(plain(rng) | {"b": np.zeros(N)}, leaky, leaky_field, step=0.4)

    blind = audit("leaky", make(Map))
    assert (blind.status, blind.properties["unexamined"]) == ("ok", ["b"])
    seeing = audit("leaky", make(Adjustable))
    assert (seeing.status, seeing.properties["unexamined"]) == ("ok", [])


def test_a_mistake_behind_a_zero_weight_is_found_when_it_can_be_moved() -> None:
    def signless(p: Mapping[str, Array], h: float, y: Array, u: Array) -> Array:
        return leaky(p | {"b": -p["b"]}, h, y, u)

    for kind, status in ((Map, "ok"), (Adjustable, "failed")):
        outcome = audit(
            "leaky",
            lambda rng, kind=kind: kind(plain(rng) | {"b": np.zeros(N)}, signless, leaky_field, step=0.4),
        )
        assert outcome.status == status


def test_a_mistake_behind_blocks_on_the_diagonal_is_found_when_they_can_be_filled() -> None:
    blocks = np.kron(np.eye(N // 2), np.array([[0.0, 0.7], [-0.4, 0.0]]))
    within = np.kron(np.eye(N // 2), np.ones((2, 2)))

    def blockwise(p: Mapping[str, Array], h: float, y: Array, u: Array) -> Array:
        return leaky(p | {"W": p["W"] * within}, h, y, u)

    for kind, found in ((Map, ("ok", ["W"])), (Adjustable, ("failed", []))):
        outcome = audit(
            "leaky", lambda rng, kind=kind: kind(plain(rng) | {"W": blocks}, blockwise, leaky_field, step=0.4)
        )
        assert (outcome.status, outcome.properties["unexamined"]) == found


# ------------------------------------------------------------------------------------------------------------ usage


def test_what_it_refuses() -> None:
    with pytest.raises(UsageError, match="did you mean 'lstm'"):
        Correspondence(row="lsmt")
    with pytest.raises(UsageError, match="inputs = 0"):
        Correspondence(inputs=0)
    with pytest.raises(UsageError, match=r"row 'cornn' asks for .*, which the cell does not have"):
        audit("cornn", leaky_map)
    with pytest.raises(UsageError, match=r"row 'mingru' asks for 'V_z'"):
        audit("mingru", leaky_map)


def test_it_is_a_task_of_the_catalogue() -> None:
    task = build_task({"name": "correspondence", "row": "antisymmetric-gated"})
    assert isinstance(task, TASK)
    assert task.row == "antisymmetric-gated"
    rows = "elman leaky lstm gru urnn scornn exprnn antisymmetric antisymmetric-gated cornn unicornn lem lipschitz"
    rows += " ct-rnn ode-lstm lmu lru mingru schroedinger srnn qunn cfc"
    assert list(ROWS) == rows.split()


# ------------------------------------------------------------------------------------------------------ memory order


def linear(M: Array, blocks: int, hidden: int) -> Map:
    """y+ = M y + an input on every component."""

    def step(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
        return (state.reshape(len(u), -1) @ M.T).reshape(state.shape) + u[:, :1, None]

    return Map({}, step, blocks=blocks, hidden=hidden)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_delay_lines(order: int) -> None:
    """x_(i+1) = sum_k tanh(A_k x_(i-k)), the lags kept in blocks."""
    A = np.random.default_rng(order).normal(size=(order, N, N))

    def step(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
        new = sum((np.tanh(state[:, k] @ A[k].T + u[:, :1]) for k in range(order)), np.zeros_like(state[:, 0]))
        return np.concatenate([new[:, None], state[:, :-1]], axis=1)

    assert memory_order(Map({}, step, blocks=order), 0) == order  # type: ignore[arg-type]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_companion_systems(order: int) -> None:
    """x^(t) = F(x, x', ...) by Euler steps of 0.05: the blocks behind x show in x one step after another."""
    W = np.random.default_rng(order).normal(size=(order, N, N))

    def step(p: Mapping[str, Array], h: float, state: Array, u: Array) -> Array:
        top = np.tanh(np.einsum("kij,bkj->bi", W, state) + u[:, :1])
        return state + 0.05 * np.concatenate([state[:, 1:], top[:, None]], axis=1)

    assert memory_order(Map({}, step, blocks=order), 0) == order  # type: ignore[arg-type]


def test_blocks_that_are_not_read_do_not_count() -> None:
    rng = np.random.default_rng(0)
    M = rng.normal(size=(3, N, 3, N)) / 4
    M[0, :, 2], M[1, :, 2] = 0, 0
    assert memory_order(linear(M.reshape(3 * N, 3 * N), 3, N), 0) == 2  # type: ignore[arg-type]
    M[0, :, 1] = 0
    assert memory_order(linear(M.reshape(3 * N, 3 * N), 3, N), 0) == 1  # type: ignore[arg-type]


def test_a_forgotten_block_does_not_count() -> None:
    """x+ reads z, but z is overwritten by x in every step: from the second lag on x knows it."""
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(2, N, N)) / 2
    assert memory_order(linear(np.block([[A, B], [np.eye(N), 0 * B]]), 2, N), 0) == 2  # type: ignore[arg-type]
    assert memory_order(linear(np.block([[A, 0 * B], [np.eye(N), 0 * B]]), 2, N), 0) == 1  # type: ignore[arg-type]


def test_a_narrow_view_takes_longer() -> None:
    """x sees one combination of z a step, so all four components of z take four more lags."""
    rng = np.random.default_rng(0)
    A, B, w = rng.normal(size=(N, N)) / 2, rng.normal(size=(N, N)) / 2, rng.normal(size=N)
    M = np.block([[A, np.outer(w, w)], [0 * A, B]])
    assert memory_order(linear(M, 2, N), 0) == 1 + N  # type: ignore[arg-type]


def exact_order(M: Array, hidden: int) -> int:
    """By exact ranks of the observability matrix."""
    A = sympy.Matrix(M.astype(int).tolist())
    row, stacked, ranks = sympy.eye(len(M))[:hidden, :], sympy.zeros(0, len(M)), [0]
    for _ in range(len(M) + 1):
        stacked = stacked.col_join(row)
        ranks.append(stacked.rank())
        row = row * A
    return next(m for m in range(1, len(ranks)) if ranks[m + 1] == ranks[m])


def test_one_unit_of_every_block_can_be_observed() -> None:
    """A chain of units coupled to their neighbours alone, two numbers each: N lags of the first one."""
    rng = np.random.default_rng(0)
    M = rng.normal(size=(2, N, 2, N)) * (np.abs(np.subtract.outer(np.arange(N), np.arange(N))) < 2)[None, :, None]
    chain = linear(M.reshape(2 * N, 2 * N) / 4, 2, N)
    assert memory_order(chain, 0, observed="unit") == N  # type: ignore[arg-type]
    assert memory_order(replace(chain, told={"observed": "unit"}), 0) == N  # type: ignore[arg-type]
    assert memory_order(chain, 0) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(12))
def test_sparse_integer_systems_against_exact_ranks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    M = rng.integers(-2, 3, (6, 6)) * (rng.random((6, 6)) < 0.35)
    hidden = 2 if seed % 2 else 1
    assert memory_order(linear(M / 4, 6 // hidden, hidden), 0) == exact_order(M, hidden)  # type: ignore[arg-type]


def test_a_coupling_at_rounding_is_not_decided() -> None:
    eye = np.eye(N)
    with pytest.raises(Diverged, match="no rank can be told"):
        memory_order(linear(np.block([[eye / 2, 1e-13 * eye], [0 * eye, eye / 2]]), 2, N), 0)  # type: ignore[arg-type]
    weak = linear(np.block([[eye / 2, 1e-8 * eye], [0 * eye, eye / 2]]), 2, N)
    assert memory_order(weak, 0) == 2  # type: ignore[arg-type]


def test_an_infinite_trajectory_has_no_memory_order() -> None:
    with np.errstate(all="ignore"), pytest.raises(Diverged, match="not finite"):
        memory_order(linear(1e200 * np.eye(N), 1, N), 0)  # type: ignore[arg-type]
