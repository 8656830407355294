"""ODERNN against torch.nn.RNN, published updates transcribed here, and a Runge-Kutta loop of its own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from odernn.solvers.backends.base import Backend, Field, Solution
from odernn.solvers.backends.native import BACKENDS as NATIVE
from odernn.solvers.cell import ODERNN
from odernn.solvers.cell_field import CellField
from odernn.solvers.fields import field_of
from odernn.solvers.tableau import Tableau
from odernn.suite.errors import Diverged, UsageError

F64 = torch.float64
native = NATIVE["native"]


class Loop(Backend):
    """The textbook loop, kept apart from the project's own as an oracle."""

    name: ClassVar[str] = "loop"
    differentiable: ClassVar[bool] = True

    def fixed(
        self,
        field: Field,
        y0: Any,
        times: Sequence[float],
        tableau: Tableau,
        drives: Sequence[Any] | None = None,
        weights: tuple[Any, ...] = (),
    ) -> Solution:
        A, b, c = tableau.arrays.A, tableau.arrays.b, tableau.arrays.c
        y, states, calls = y0, [y0], 0
        assert drives is not None
        for i, drive in enumerate(drives):
            h, k = times[i + 1] - times[i], []
            for s in range(len(b)):
                stage = y
                for r in range(s):
                    stage = stage + h * float(A[s, r]) * k[r]
                k.append(field(times[i] + float(c[s]) * h, stage, drive, weights))
                calls += 1
            for s in range(len(b)):
                y = y + h * float(b[s]) * k[s]
            states.append(y)
        return Solution(torch.stack(states), calls, len(drives))

    def adaptive(self, *args: Any, **kwargs: Any) -> Solution:
        raise NotImplementedError


loop = Loop()
CELLS: list[tuple[str, int | None]] = [
    ("leaky", None),
    ("antisymmetric", None),
    ("cornn", None),
    ("companion", 1),
    ("companion", 2),
    ("companion", 3),
    ("companion", 4),
]


def make(cell: Any = "leaky", tableau: str = "rk4", step: float | None = 0.1, **options: Any) -> ODERNN:
    torch.manual_seed(5)
    settings: dict[str, Any] = {"backend": native, "dtype": F64, **options}
    return ODERNN(2, 3, cell, tableau, step, **settings)


def sequence(time: int = 6, batch: int = 4, seed: int = 7) -> torch.Tensor:
    return torch.randn(time, batch, 2, dtype=F64, generator=torch.Generator().manual_seed(seed))


def same(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-14) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def equation_of(cell: ODERNN) -> CellField:
    assert isinstance(cell.field, CellField)
    return cell.field


class Driven(torch.nn.Module):
    """A non-autonomous right-hand side that is no equation of the library; order > 1 reads all derivatives."""

    def __init__(self, order: int = 1) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(3 * order + 2, 3, dtype=F64)

    def forward(self, t: Any, y: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = torch.tanh(self.inner(torch.cat([y.flatten(1), u], dim=1))) * (1 + 0.1 * t)
        return value


def test_leaky_euler_with_step_one_is_elmans_network() -> None:
    torch.manual_seed(0)
    reference = torch.nn.RNN(2, 16, dtype=F64)
    cell = ODERNN(2, 16, "leaky", "euler", 1.0, backend=native, dtype=F64)
    field = equation_of(cell)
    with torch.no_grad():
        field.matrices["W"].copy_(reference.weight_hh_l0)
        field.V.copy_(reference.weight_ih_l0)
        field.b.copy_(reference.bias_ih_l0 + reference.bias_hh_l0)
    x = sequence(time=50)
    output, state = cell(x)
    expected, last = reference(x)
    assert (output - expected).abs().max() <= 1e-15
    assert (state[:, 0] - last[0]).abs().max() <= 1e-15


def test_leaky_step_below_one_is_the_leaky_average() -> None:
    cell = make("leaky", "euler", 0.25)
    W, V, b = (p.detach().numpy() for p in (equation_of(cell).matrices["W"], equation_of(cell).V, equation_of(cell).b))
    x = sequence()
    y = np.zeros((4, 3))
    for u, got in zip(x.numpy(), cell(x)[0].detach().numpy(), strict=True):
        y = 0.75 * y + 0.25 * np.tanh(y @ W.T + u @ V.T + b)
        np.testing.assert_allclose(got, y, rtol=1e-14, atol=1e-15)


def test_antisymmetric_euler_is_the_published_update() -> None:
    eps, gamma = 0.3, 0.2
    cell = make("antisymmetric", "euler", eps, constants={"gamma": gamma})
    field = equation_of(cell)
    W = np.zeros((3, 3))  # with W strictly upper triangular, W - W^T is the general antisymmetric matrix
    W[np.triu_indices(3, 1)] = field.matrices["W"].detach().numpy()
    V, b = field.V.detach().numpy(), field.b.detach().numpy()
    x = sequence()
    h = np.zeros((4, 3))
    for u, got in zip(x.numpy(), cell(x)[0].detach().numpy(), strict=True):
        h = h + eps * np.tanh(h @ (W - W.T - gamma * np.eye(3)).T + u @ V.T + b)
        np.testing.assert_allclose(got, h, rtol=1e-14, atol=1e-15)


def test_cornn_explicit_euler_and_where_it_leaves_the_published_cell() -> None:
    dt, gamma, epsilon = 0.06, 66.0, 15.0
    cell = make("cornn", "euler", None)
    assert cell.step == dt
    field = equation_of(cell)
    W, Wz = (field.matrices[name].detach().numpy() for name in ("W", "W_z"))
    V, b = field.V.detach().numpy(), field.b.detach().numpy()
    x = sequence()
    y = z = ys = zs = np.zeros((4, 3))
    for u, got in zip(x.numpy(), cell(x)[0].detach().numpy(), strict=True):
        kick = np.tanh(y @ W.T + z @ Wz.T + u @ V.T + b) - gamma * y - epsilon * z
        y, z = y + dt * z, z + dt * kick
        np.testing.assert_allclose(got, y, rtol=1e-12, atol=1e-14)
        zs = zs + dt * (np.tanh(ys @ W.T + zs @ Wz.T + u @ V.T + b) - gamma * ys - epsilon * zs)
        ys = ys + dt * zs
    assert np.abs(y - ys).max() > 1e-3  # symplectic Euler, the published cell, is another map


@pytest.mark.parametrize(("name", "order"), CELLS)
@pytest.mark.parametrize("tableau", ["euler", "heun2", "rk4", "dormand-prince54"])
def test_every_cell_under_every_tableau_equals_the_textbook_loop(name: str, order: int | None, tableau: str) -> None:
    ours = make(name, tableau, 0.05, ode_order=order, substeps=2, output_size=5)
    oracle = make(name, tableau, 0.05, ode_order=order, substeps=2, output_size=5, backend=loop)
    x = sequence()
    for got, expected in zip(ours(x), oracle(x), strict=True):
        same(got, expected, 1e-13)
    assert oracle.f_calls == 6 * 2 * ours.tableau.stages
    assert 0 < ours.f_calls <= oracle.f_calls


@pytest.mark.parametrize(("name", "order"), CELLS)
def test_gradients_of_the_whole_cell(name: str, order: int | None) -> None:
    cell = make(name, "heun2", 0.1, ode_order=order, output_size=2)
    x, state = sequence(3, 2).requires_grad_(), torch.randn(2, cell.blocks, 3, dtype=F64, requires_grad=True)
    parameters = dict(cell.named_parameters())

    def run(x: torch.Tensor, state: torch.Tensor, *values: torch.Tensor) -> Any:
        return torch.func.functional_call(cell, dict(zip(parameters, values, strict=True)), (x, state))

    assert torch.autograd.gradcheck(run, (x, state, *parameters.values()), atol=1e-7)


@pytest.mark.parametrize("cell", ["leaky", "cornn", "module"])
def test_sequences_of_a_batch_do_not_meet(cell: str) -> None:
    model = make(Driven() if cell == "module" else cell)
    x = sequence(batch=5)
    order = torch.tensor([3, 0, 4, 1, 2])
    output, state = model(x)
    permuted, permuted_state = model(x[:, order])
    same(permuted, output[:, order])
    same(permuted_state, state[order])
    same(model(x[:, 2:3])[0], output[:, 2:3])


@pytest.mark.parametrize(("name", "order"), CELLS)
def test_two_halves_are_the_whole(name: str, order: int | None) -> None:
    model = make(name, "rk4", 0.125, ode_order=order)  # a step that is exact in binary: equal to the last bit
    x = sequence(8)
    whole, last = model(x)
    first, between = model(x[:3])
    second, end = model(x[3:], between)
    same(torch.cat([first, second]), whole, 0.0)
    same(end, last, 0.0)
    assert between.shape == (4, model.blocks, 3)


def test_a_decimal_step_continues_to_rounding() -> None:
    model = make("leaky", "rk4", 0.1)
    x = sequence(40)
    first, between = model(x[:17])
    same(torch.cat([first, model(x[17:], between)[0]]), model(x)[0], 1e-14)


def test_batch_first_and_unbatched_are_the_same_numbers() -> None:
    plain, first = make("cornn", output_size=4), make("cornn", output_size=4, batch_first=True)
    x = sequence()
    output, state = plain(x)
    turned, turned_state = first(x.transpose(0, 1))
    same(turned, output.transpose(0, 1), 0.0)
    same(turned_state, state, 0.0)
    for model in (plain, first):
        single, single_state = model(x[:, 1])
        same(single, output[:, 1])
        same(single_state, state[1])
        assert (single.shape, single_state.shape) == ((6, 4), (2, 3))
        same(model(x[2:, 1], model(x[:2, 1])[1])[0], output[2:, 1])


@pytest.mark.parametrize("engine", ["general", "auto"])
@pytest.mark.parametrize("cell", ["leaky", "cornn"])
def test_the_returned_state_is_the_callers_to_write_to(cell: str, engine: str) -> None:
    """As with torch.nn.GRU: a state that is reset in place changes no output and no gradient."""
    x = torch.randn(4, 2, 3, dtype=F64)
    model = ODERNN(3, 5, cell=cell, tableau="euler", engine=engine, dtype=F64)
    gradients = []
    for resets in (False, True):
        output, last = model(x)
        if resets:
            last[0] = 0.0
        found = output[-1].square().sum()
        gradients.append([found.detach(), *torch.autograd.grad(found, list(model.parameters()), allow_unused=True)])
    for plain, written in zip(*gradients, strict=True):
        assert plain is written is None or torch.equal(plain, written)


def test_the_output_is_the_first_block_after_each_step() -> None:
    model = make("companion", ode_order=3, substeps=3)
    x = sequence()
    states = model.trajectory(x)
    output, last = model(x)
    assert states.shape == (7, 4, 3, 3)
    assert not states[0].any()
    same(states[1:, :, 0], output, 0.0)
    same(states[-1], last, 0.0)


def test_substeps_divide_the_step_under_one_held_input() -> None:
    coarse, fine = make("leaky", "euler", 0.5, substeps=4), make("leaky", "euler", 0.125)
    x = sequence()
    same(coarse(x)[0], fine(x.repeat_interleave(4, dim=0))[0][3::4])
    same(coarse.jacobians(x), fine.jacobians(x.repeat_interleave(4, dim=0))[::4])


def test_inputs_are_held_and_never_read_early() -> None:
    model = make("leaky", "rk4", 0.1)
    x = sequence()
    changed = x.clone()
    changed[3] += 1.0
    before, after = model(x)[0], model(changed)[0]
    same(after[:3], before[:3], 0.0)
    assert (after[3] - before[3]).abs().min() > 1e-4


def test_state_dict_round_trip_and_copies() -> None:
    one = make("cornn", output_size=2)
    torch.manual_seed(99)
    other = ODERNN(2, 3, "cornn", "rk4", 0.1, output_size=2, backend=native, dtype=F64)
    x = sequence()
    assert (one(x)[0] - other(x)[0]).abs().max() > 1e-6
    other.load_state_dict(one.state_dict())
    same(other(x)[0], one(x)[0], 0.0)
    same(copy.deepcopy(one)(x)[0], one(x)[0], 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype: torch.dtype) -> None:
    model = make("cornn", output_size=2, dtype=dtype)
    output, state = model(sequence().to(dtype))
    assert (output.dtype, state.dtype) == (dtype, dtype)
    exact = make("cornn", output_size=2)(sequence())[0]
    torch.testing.assert_close(output.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: nothing to compare the CPU with")
@pytest.mark.parametrize(("name", "order"), CELLS)
def test_cuda_computes_the_cpus_numbers(name: str, order: int | None) -> None:
    cpu, cuda = make(name, ode_order=order, output_size=2), make(name, ode_order=order, output_size=2, device="cuda")
    x = sequence()
    output, state = cuda(x.cuda())
    assert (output.device.type, state.device.type) == ("cuda", "cuda")
    same(output.cpu(), cpu(x)[0], 1e-12)
    output.sum().backward()
    cpu(x)[0].sum().backward()
    for a, b in zip(cpu.parameters(), cuda.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        same(b.grad.cpu(), a.grad, 1e-10)


@pytest.mark.parametrize(("name", "order"), CELLS)
def test_parameters_are_the_fields_and_the_readouts(name: str, order: int | None) -> None:
    n, p, out, t = 3, 2, 4, order or 1
    recurrent = {"leaky": n * n, "antisymmetric": n * (n - 1) // 2, "cornn": 2 * n * n, "companion": t * n * n}[name]
    assert make(name, ode_order=order).parameter_count() == recurrent + n * p + n
    assert make(name, ode_order=order, output_size=out).parameter_count() == recurrent + n * p + n + out * n + out


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_a_torch_module_is_a_cell_of_any_order(order: int) -> None:
    model, oracle = make(Driven(order), ode_order=order), make(Driven(order), ode_order=order, backend=loop)
    oracle.load_state_dict(model.state_dict())
    x = sequence()
    output, state = model(x)
    same(output, oracle(x)[0], 1e-13)
    assert (model.ode_order, state.shape) == (order, (4, order, 3))
    output.sum().backward()
    oracle(x)[0].sum().backward()
    for a, b in zip(model.parameters(), oracle.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        same(a.grad, b.grad, 1e-12)


def test_a_field_description_and_a_made_field_are_cells() -> None:
    x = sequence()
    by_name, by_equation = make("cornn"), make(field_of("cornn"))
    same(by_equation(x)[0], by_name(x)[0], 0.0)
    same(make(by_name.field)(x)[0], by_name(x)[0], 0.0)


@pytest.mark.parametrize("cell", ["leaky", "cornn", "module"])
def test_jacobians_and_spectrum_along_the_trajectory(cell: str) -> None:
    """Explicit Euler has dy+/dy = I + h J, and dy+/dy comes from automatic differentiation of the cell itself."""
    model = make(Driven() if cell == "module" else cell, "euler", 0.05)
    x = sequence()
    D = model.blocks * 3
    states = model.trajectory(x)
    jacobians = model.jacobians(x)
    assert jacobians.shape == (6, 4, D, D)
    if cell != "module":  # whose t restarts at every call
        for i in range(6):
            for j in range(4):
                flow = torch.autograd.functional.jacobian(
                    lambda y, i=i, j=j: model(x[i : i + 1, j], y.reshape(model.blocks, 3))[1].flatten(),
                    states[i, j].flatten().detach(),
                )
                same(torch.eye(D, dtype=F64) + 0.05 * jacobians[i, j], flow, 1e-13)
    spectrum = model.spectrum(x, at=[0, -1])
    expected = 0.05 * np.linalg.eigvals(jacobians[[0, 5]].detach().numpy())
    np.testing.assert_allclose(np.sort_complex(spectrum.numpy()), np.sort_complex(expected), atol=1e-13)
    assert make(cell if cell != "module" else Driven(), "euler", 0.05, substeps=2).spectrum(x).shape == (6, 4, D)
    assert not spectrum.requires_grad


def test_the_spectrum_of_a_linear_cell_is_known() -> None:
    """coRNN with W = W_z = 0 is a damped oscillator: lambda^2 + epsilon lambda + gamma = 0."""
    model = make("cornn", "rk4", 0.5, constants={"gamma": 5.0, "epsilon": 2.0}, gain=0.0, substeps=2)
    z = np.sort_complex(model.spectrum(sequence(), at=[2])[0, 0].numpy())
    np.testing.assert_allclose(z, np.sort_complex(np.repeat(0.25 * np.array([-1 - 2j, -1 + 2j]), 3)), atol=1e-12)


def test_backends_by_name_agree() -> None:
    x = sequence()
    expected = make("cornn", "rk4", 0.05, backend=loop)
    output = expected(x)[0]
    output.sum().backward()
    for name in ("native", "torchdiffeq", "torchdiffeq-adjoint", "scipy"):
        model = make("cornn", "rk4", 0.05, backend=name)
        with torch.no_grad():
            same(model(x)[0], output, 1e-12)
        if name in ("native", "torchdiffeq"):
            model(x)[0].sum().backward()
            for a, b in zip(model.parameters(), expected.parameters(), strict=True):
                assert a.grad is not None
                assert b.grad is not None
                same(a.grad, b.grad, 1e-12)


def test_counting_evaluations_needs_no_gradient() -> None:
    model = make("leaky", "rk4", substeps=3)
    assert model.f_calls_of(sequence(5)) == model.f_calls == 5 * 3 * 4


def test_a_lost_state_is_reported() -> None:
    x = sequence()
    x[2, 1, 0] = float("nan")
    with pytest.raises(Diverged, match="step 3"):
        make("leaky")(x)


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan"), float("inf"), True, "1"])
def test_an_impossible_step_is_refused(step: Any) -> None:
    with pytest.raises(UsageError, match="above 0"):
        make(step=step)


def test_wrong_arguments_get_one_sentence() -> None:
    cases: list[tuple[str, Any]] = [
        ("did you mean 'leaky'", lambda: make("leeky")),
        ("did you mean 'euler'", lambda: make("leaky", "eulr")),
        ("did you mean 'native'", lambda: make("leaky", backend="nativ")),
        ("at least 1", lambda: make("companion", ode_order=0)),
        ("at least 1", lambda: make("leaky", substeps=0)),
        ("output_size", lambda: make("leaky", output_size=0)),
        ("input_size", lambda: ODERNN(0, 3, backend=native)),
        ("hidden_size", lambda: ODERNN(3, -1, backend=native)),
        ("order 2, not 3", lambda: make(field_of("cornn"), ode_order=3)),
        ("expected a name", lambda: make(lambda t, y, u: y)),
        ("torch module has its own", lambda: make(Driven(), constants={"gamma": 1.0})),
        ("expected the same", lambda: ODERNN(2, 5, make("leaky").field, backend=native)),
        ("did you mean 'orthogonal'", lambda: make("leaky", init="orthogonol")),
        ("3 channels.*made for 2", lambda: make()(torch.zeros(4, 1, 3, dtype=F64))),
        ("expected a tensor", lambda: make()(torch.zeros(2, dtype=F64))),
        ("expected a tensor", lambda: make()([[0.0, 1.0]])),
        ("convert one", lambda: make()(torch.zeros(4, 1, 2))),
        ("at least one of each", lambda: make()(torch.zeros(0, 1, 2, dtype=F64))),
        (r"expected \(1, 1, 3\)", lambda: make()(torch.zeros(4, 1, 2, dtype=F64), torch.zeros(1, 3, dtype=F64))),
        ("outside the sequence", lambda: make().jacobians(sequence(), at=[6])),
    ]
    for message, call in cases:
        with pytest.raises(UsageError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
