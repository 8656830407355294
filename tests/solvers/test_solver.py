"""A point's solver entries: what runs, what is refused and in which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from odernn.solvers.cell import ODERNN
from odernn.solvers.solver import build_solver
from odernn.solvers.spec import engine_of, parse, validate
from odernn.suite.contracts import Budget
from odernn.suite.equation import Equation, symbols
from odernn.suite.errors import UsageError
from odernn.tasks.adding import Adding
from odernn.tasks.copying import Copying
from odernn.tasks.ivp import Ivp

TRUE = {"cell": "true-field", "tableau": "rk4", "backend": "native"}
LEAKY = {"cell": "leaky", "tableau": "rk4", "backend": "native", "step": 0.5, "hidden": 8}


def decay() -> Equation:
    (y,) = symbols("y")
    return Equation("decay", (y,), (-y,))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({}, "needs a 'cell'"),
        ({**LEAKY, "cell": "leeky"}, "did you mean 'leaky'"),
        ({**LEAKY, "tableau": "rk5"}, "did you mean"),
        ({**LEAKY, "backend": "nativ"}, "did you mean 'native'"),
        ({**LEAKY, "stp": 1.0}, "did you mean 'step'"),
        ({**LEAKY, "step": -0.1}, "expected a positive number"),
        ({**LEAKY, "step": float("nan")}, "expected a positive number"),
        ({**LEAKY, "hidden": 0}, "whole number of at least 1"),
        ({**LEAKY, "cell": "companion", "ode_order": 0}, "whole number of at least 1"),
        ({**LEAKY, "ode_order": 2}, "order 1"),
        ({**LEAKY, "rtol": 1e-3}, "no embedded weights"),
        ({**LEAKY, "tableau": "dopri5", "rtol": 1e-3, "substeps": 2}, "expected one of them"),
        ({**LEAKY, "steps": 3}, "expected 'substeps'"),
        ({**LEAKY, "engine": "numba"}, "unknown engine"),
        ({**LEAKY, "init": "orthogonl"}, "did you mean 'orthogonal'"),
        ({**LEAKY, "forget_bias": 1.0}, "option of 'lstm'"),
        ({k: v for k, v in LEAKY.items() if k != "step"}, "needs a 'step'"),
        ({k: v for k, v in LEAKY.items() if k != "tableau"}, "needs a 'tableau'"),
        ({**LEAKY, "cell": "cornn", "gamma": "abc"}, "expected a finite number"),
        ({**LEAKY, "cell": "cornn", "gamma": float("nan")}, "expected a finite number"),
        ({"cell": "lstm", "tableau": "rk4"}, "has no 'tableau'"),
        ({"cell": "lstm", "forget_bias": "krono"}, "'chrono'"),
        ({"cell": "gru", "forget_bias": 1.0}, "'gru'"),
        ({**TRUE, "rtol": 1e-6}, "no embedded weights"),
        ({**TRUE, "step": 0.1, "steps": 3}, "not several"),
        ({**TRUE, "atol": 0.1}, "goes with 'rtol'"),
        ({**TRUE, "hidden": 3}, "learns nothing"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence(entries: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse(entries)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entries", "task", "device", "dtype", "words"),
    [
        (LEAKY, "ivp", "cpu", "float64", "true-field"),
        (TRUE, "copying", "cpu", "float64", "no field of its own"),
        ({**TRUE, "backend": "scipy"}, "ivp", "cpu", "float32", "float64 only"),
        (
            {**TRUE, "tableau": "dormand-prince54", "backend": "scipy", "rtol": 1e-15},
            "ivp",
            "cpu",
            "float64",
            "2.22e-14",
        ),
        (
            {"cell": "true-field", "method": "RK45", "backend": "scipy", "rtol": 1e-16},
            "ivp",
            "cpu",
            "float64",
            "raises",
        ),
        ({**LEAKY, "backend": "scipy"}, "adding", "cuda", "float32", "CPU only"),
        (LEAKY, "adding", "cpu", "float16", "unknown dtype"),
        (LEAKY, "adding", "mps", "float64", "no float64"),
    ],
)
def test_combinations_that_cannot_be(
    entries: dict[str, object], task: str, device: str, dtype: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        validate(entries, {"name": task}, device, dtype)


def test_constants_of_a_field_are_entries() -> None:
    spec = parse({**LEAKY, "cell": "cornn", "gamma": 2, "epsilon": 0.5})
    assert spec.constants == {"gamma": 2.0, "epsilon": 0.5}


def test_a_learner_does_not_integrate_and_an_integrator_does_not_learn() -> None:
    with pytest.raises(UsageError, match="learned"):
        build_solver(LEAKY, "cpu", "float64", Adding(10)).solve(decay(), np.ones(1), np.array([0.0, 1.0]))
    with pytest.raises(UsageError, match="learns nothing"):
        build_solver(TRUE, "cpu", "float64", Ivp()).learn(Adding(10), 0, Budget())


def test_properties_and_parameters_of_a_learned_cell() -> None:
    solver = build_solver({**LEAKY, "cell": "companion", "ode_order": 3, "hidden": 4}, "cpu", "float64", Adding(10))
    facts = solver.properties()
    assert (facts["stages"], facts["ode_order"], facts["order"]) == (4, 3, 4)
    assert facts["stability_polynomial"] == pytest.approx([1, 1, 1 / 2, 1 / 6, 1 / 24])
    learned = solver.learn(Adding(10), 0, Budget(updates=2, batch=4))
    assert learned.outcome.cost["parameters"] == 3 * 16 + 4 * 2 + 4 + (4 + 1)
    assert learned.outcome.cost["f_calls"] == 4 * 10
    spectrum = np.array(learned.outcome.curves["spectrum_after"])
    assert spectrum.shape[1] == 2
    assert np.isfinite(spectrum).all()


def model_of(entries: dict[str, object], task: Adding | Copying, seed: int = 4) -> Any:
    torch.manual_seed(seed)
    return build_solver(entries, "cpu", "float64", task)._model(task)


def test_entries_reach_the_model() -> None:
    entries = {"cell": "cornn", "tableau": "heun2", "backend": "scipy", "step": 0.1, "hidden": 6, "substeps": 3}
    entries |= {"gamma": 2.0, "epsilon": 0.5, "init": "orthogonal", "gain": 0.5, "input_gain": 3.0}
    model = model_of(entries, Adding(10))
    assert (model.tableau.name, model.backend.name, model.step, model.substeps) == ("heun2", "scipy", 0.1, 3)
    assert {str(k): float(v) for k, v in model.field.constants.items()} == {"gamma": 2.0, "epsilon": 0.5}
    W = model.field.matrices["W"].detach().double().numpy()
    assert np.allclose(W.T @ W, 0.25 * np.eye(6), atol=1e-6)
    plain = model_of({**entries, "input_gain": 1.0}, Adding(10))
    assert torch.allclose(model.field.V, 3 * plain.field.V)


def test_the_forget_bias_reaches_the_lstm() -> None:
    """Tallec and Ollivier 2018 take three halves of the delay for t_max: of T + K = 110 on copying with T = 100."""
    n = 256

    def forget(bias: float | str) -> Any:
        cell = model_of({"cell": "lstm", "hidden": n, "forget_bias": bias}, Copying(100)).cell
        return (cell.bias_ih_l0 + cell.bias_hh_l0)[n : 2 * n].detach().double()

    assert (forget(2.5) == 2.5).all()
    u = forget("chrono").exp()
    assert 1.0 - 1e-6 <= u.min() < 10
    assert 155 < u.max() <= 164 + 1e-4


def test_a_seed_draws_the_weights() -> None:
    def drawn(seed: int) -> Any:
        budget = Budget(updates=1, batch=2, learning_rate=1e-300)
        learned = build_solver(LEAKY, "cpu", "float64", Adding(6)).learn(Adding(6), seed, budget)
        return learned.forecaster._model.field.V.detach()

    assert torch.equal(drawn(0), drawn(0))
    assert (drawn(0) != drawn(1)).all()


def test_the_spectrum_of_a_row_is_whole() -> None:
    """Real matrices: each state's eigenvalues come in conjugate pairs and add up to the trace."""
    entries = {**LEAKY, "cell": "antisymmetric", "tableau": "euler", "step": 0.1, "hidden": 16, "gamma": 0.1}
    learned = build_solver(entries, "cpu", "float64", Adding(50)).learn(Adding(50), 0, Budget(updates=3, batch=4))
    before, after = (np.array(learned.outcome.curves[f"spectrum_{when}"]) for when in ("before", "after"))
    assert before.shape == after.shape == (12 * 16, 2)
    assert np.abs(before - after).max() > 1e-3
    for spectrum in (before.reshape(12, 16, 2), after.reshape(12, 16, 2)):
        real, imaginary = spectrum[..., 0], spectrum[..., 1]
        assert np.abs(imaginary.sum(axis=1)).max() < 1e-6
        assert ((imaginary < -1e-3).sum(axis=1) >= 4).all()
        assert (real.sum(axis=1) < 0).all()  # h tr diag(1 - tanh^2) (W - W^T - gamma I), at least -16 h gamma
        assert (real.sum(axis=1) >= -16 * 0.1 * 0.1 - 1e-4).all()


@pytest.mark.parametrize("backend", ["torchdiffeq", "torchdiffeq-adjoint", "scipy"])
def test_training_through_another_backend_follows_the_native_one(backend: str) -> None:
    """The loss after five updates: equal to rounding where the gradient is, to truncation by continuous adjoint."""

    def losses(name: str) -> list[float]:
        solver = build_solver({**LEAKY, "backend": name, "step": 0.1}, "cpu", "float64", Adding(6))
        return solver.learn(Adding(6), 0, Budget(updates=5, batch=8, evaluations=5)).outcome.curves["learning"]["loss"]

    close = 1e-4 if backend.endswith("adjoint") else 1e-10
    assert losses(backend) == pytest.approx(losses("native"), rel=close)


def test_a_row_says_every_entry_defaults_included() -> None:
    cornn = {**LEAKY, "cell": "cornn", "gamma": 2.0}
    facts = build_solver(cornn, "cpu", "float32", Adding(10)).properties()
    assert (engine_of(cornn), engine_of({"cell": "gru"})) == ("auto", "torch")
    assert (engine_of(cornn, "stages"), engine_of({**cornn, "engine": "cpu"})) == ("general", "cpu")
    assert facts["solver"] == {**cornn, "engine": "auto", "substeps": 1, "epsilon": 15.0}
    assert build_solver({"cell": "lstm"}, "cpu", "float32", Adding(10)).properties()["solver"] == {
        "cell": "lstm",
        "hidden": 32,
        "forget_bias": 1.0,
    }
    assert build_solver(TRUE, "cpu", "float64", Ivp()).properties()["solver"] == {**TRUE, "engine": "auto"}


@pytest.mark.parametrize("backend", ["native", "torchdiffeq", "torchdiffeq-adjoint", "scipy"])
def test_a_learned_cell_runs_adaptively_too(backend: str) -> None:
    """At a tight tolerance the state after every input is the exact flow's: SciPy's DOP853, input by input."""
    torch.manual_seed(0)
    cell = ODERNN(2, 3, "leaky", "dormand-prince54", 0.7, backend=backend, rtol=1e-10, dtype=torch.float64)
    x = torch.randn(4, 1, 2, dtype=torch.float64)
    output, _ = cell(x)
    output.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in cell.parameters())
    weights, y = [w.detach() for w in cell.field.weights()], np.zeros(3)
    for u, found in zip(cell.field.drive(x).detach().numpy()[:, 0], output.detach().numpy()[:, 0], strict=True):
        flow = solve_ivp(
            lambda t, y, u=u: -y + np.tanh(y @ weights[0].numpy() + u), (0, 0.7), y, "DOP853", rtol=1e-12, atol=1e-12
        )
        y = flow.y[:, -1]
        assert np.abs(found - y).max() < 1e-8
    assert cell.f_calls > 4 * 7


def test_an_adaptive_cell_is_a_point_of_an_experiment() -> None:
    entries = {**LEAKY, "tableau": "bogacki-shampine32", "rtol": 1e-3}
    learned = build_solver(entries, "cpu", "float32", Adding(6)).learn(Adding(6), 0, Budget(updates=3, batch=4))
    assert learned.outcome.status == "ok"
    assert learned.outcome.cost["f_calls"] >= 6 * 4
