"""`integrate`: closed forms through the one call, and what it says to bad arguments."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from odernn.solvers.backends import find_backend
from odernn.solvers.integration import integrate
from odernn.solvers.tableaux import TABLEAUX
from odernn.suite.errors import Diverged, UsageError

NAMES = ["native", "torchdiffeq", "torchdiffeq-adjoint", "scipy"]


def decay(t, y):
    return -y


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("make", [np.array, torch.tensor, list], ids=["numpy", "torch", "list"])
def test_fixed_and_adaptive_reach_the_closed_form(backend, make):
    y0, t = make([1.0, 2.0]), [0.0, 0.5, 1.0]
    expected = np.exp(-np.array(t))[:, None] * np.array([1.0, 2.0])
    fixed = integrate(decay, y0, t, tableau="rk4", backend=backend, steps=20)
    adaptive = integrate(decay, y0, t, backend=backend, rtol=1e-5)
    assert fixed.accepted == 40
    for found in (fixed, adaptive):
        assert tuple(found.states.shape) == (3, 2)
        np.testing.assert_allclose(found.states, expected, rtol=1e-4)


def test_tolerance_decides_the_error():
    errors = [abs(integrate(decay, [1.0], [0.0, 3.0], rtol=r).states[-1, 0] - math.exp(-3)) for r in (1e-3, 1e-6, 1e-9)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("rtol", [None, 1e-8])
def test_an_input_is_held_on_each_interval(backend, rtol):
    """y' = u_i: a staircase's integral, whatever the stages."""
    u = np.array([[1.0], [-4.0], [2.5]])
    steps = 3 if rtol is None else 1
    found = integrate(lambda t, y, u: u + 0 * y, np.zeros(1), [0, 1, 3, 4], u, backend=backend, rtol=rtol, steps=steps)
    np.testing.assert_allclose(found.states[:, 0], [0, 1, -7, -4.5], atol=1e-12)


@pytest.mark.parametrize("backend", NAMES)
@pytest.mark.parametrize("rtol", [None, 1e-9])
def test_the_parameters_of_a_module_get_their_gradient(backend, rtol):
    """y' = W y: the gradient of sum exp(W) y0 through torch.linalg.matrix_exp."""

    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.W = torch.nn.Parameter(torch.tensor([[0.1, 1.0], [-1.0, 0.2]], dtype=torch.float64))

        def forward(self, t, y):
            return self.W @ y

    module, y0 = Linear(), torch.tensor([1.0, -0.5], dtype=torch.float64, requires_grad=True)
    steps = 40 if rtol is None else 1
    found = integrate(module, y0, [0.0, 1.0], backend=backend, rtol=rtol, steps=steps)
    inputs = (module.W, y0)
    expected = torch.autograd.grad((torch.linalg.matrix_exp(module.W) @ y0).sum(), inputs)
    torch.testing.assert_close(torch.autograd.grad(found.states[-1].sum(), inputs), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("tableau", ["dormand-prince54", "dop853", "esdirk43"])
def test_dense_output_and_a_pi_controller(tableau):
    """Many times cost few steps, and a held input jumps where its value changes: y' = u_i - y."""
    times = np.linspace(0, 4, 401)
    u = np.where(times[:-1] < 2, 1.0, -3.0)
    expected = np.where(times < 2, 1 - np.exp(-times), -3 + (4 - np.exp(-2)) * np.exp(2 - times))
    found = integrate(
        lambda t, y, u: u - y, [0.0], times, u, tableau, rtol=1e-7, atol=1e-7, controller="pi", dense=True
    )
    np.testing.assert_allclose(found.states[:, 0], expected, atol=3e-6)
    assert found.accepted < 100


def test_a_tableau_and_a_backend_may_be_objects():
    found = integrate(decay, [1.0], [0.0, 1.0], tableau=TABLEAUX["euler"], backend=find_backend("native"), steps=2)
    assert found.states[-1, 0] == 0.25


def test_integers_become_floats_and_complex_stays():
    assert integrate(decay, np.array([1, 2]), [0, 1]).states.dtype == np.float64
    turn = integrate(lambda t, y: 1j * y, np.array([1 + 0j]), [0.0, math.pi], steps=100).states[-1, 0]
    assert turn == pytest.approx(-1, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tableau": "dormand-prince"}, "unknown tableau 'dormand-prince': did you mean 'dormand-prince54'?"),
        ({"backend": "scypi"}, "unknown backend 'scypi': did you mean 'scipy'?"),
        ({"t": [0.0, 2.0, 1.0]}, "strictly increasing"),
        ({"t": []}, "no times were given"),
        ({"t": [0.0, math.nan]}, "not finite"),
        ({"tableau": "rk4", "rtol": 1e-3}, "'rk4' has no embedded weights"),
        ({"rtol": -1e-3, "atol": 1e-3}, "rtol = -0.001"),
        ({"rtol": 1e-3, "atol": -1.0}, "atol = -1"),
        ({"atol": 1e-3}, "atol was given without rtol"),
        ({"rtol": 1e-3, "steps": 4}, "expected only one of them"),
        ({"dense": True}, "dense = True belongs to steps chosen by an error estimate"),
        ({"controller": "pi"}, "controller = 'pi' belongs to steps"),
        ({"rtol": 1e-3, "controller": "pid"}, "unknown controller 'pid': did you mean 'pi'?"),
        ({"rtol": 1e-3, "dense": True, "backend": "scipy"}, "backend 'scipy' has no dense output"),
        ({"steps": 0}, "steps = 0"),
        ({"steps": 2.5}, "steps = 2.5"),
        ({"u": [1.0, 2.0, 3.0]}, "u holds 3 values for 2 times"),
        ({"f": 3}, "f is a int"),
        ({"y0": "one"}, "state is a str"),
    ],
)
def test_bad_arguments_are_named(arguments, sentence):
    given = {"f": decay, "y0": [1.0], "t": [0.0, 1.0]} | arguments
    with pytest.raises(UsageError) as caught:
        integrate(**given)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stiff_step_diverges():
    with pytest.raises(Diverged, match="native"):
        integrate(lambda t, y: -1e6 * y, [1.0], [0.0, 100.0], tableau="rk4", steps=100)


def test_numpy_problems_need_no_torch():
    code = (
        "import sys; from odernn.solvers.integration import integrate; "
        "s = integrate(lambda t, y: -y, [1.0], [0.0, 1.0], rtol=1e-6, backend='{}'); assert 'torch' not in sys.modules"
    )
    for backend in ("native", "scipy"):
        subprocess.run([sys.executable, "-c", code.format(backend)], check=True, timeout=120)


def test_the_public_names_stay_what_they_are_however_often_they_are_imported() -> None:
    import odernn.solvers

    for _ in range(2):
        assert callable(odernn.solvers.integrate)
        assert isinstance(odernn.solvers.ODERNN, type)
        assert "rk4" in odernn.solvers.TABLEAUX
