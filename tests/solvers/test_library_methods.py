"""The libraries' own methods, run by name: names, claims, the same numbers as the library called directly, counts."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import solve_ivp
from torchdiffeq import odeint
from torchdiffeq._impl.odeint import SOLVERS

from odernn.solvers.backends.torchdiffeq import fixed_method
from odernn.solvers.field_integrator import FieldIntegrator
from odernn.solvers.library_methods import claim, library_methods
from odernn.solvers.spec import parse, validate
from odernn.solvers.tableaux import METHODS, TABLEAUX
from odernn.suite.equation import TIME, Equation, symbols
from odernn.suite.errors import Diverged, UsageError

Y0 = np.array([1.0, 0.5])


def driven() -> Equation:
    x, y = symbols("x y")
    (a,) = symbols("a")
    return Equation("driven", (x, y), (y - a * x**3 * sympy.cos(TIME), sympy.sin(TIME) * y / 2 - x), {a: 0.5})


def stiff() -> Equation:
    x, y = symbols("x y")
    return Equation("van-der-pol", (x, y), (y, 100 * (1 - x**2) * y - x))


def blow_up() -> Equation:
    (x,) = symbols("x")
    return Equation("square", (x,), (x**2,))


def own(backend: str, method: str, **entries: Any) -> FieldIntegrator:
    spec = parse({"cell": "true-field", "backend": backend, "method": method, **entries})
    return FieldIntegrator(spec, "cpu", "float64")


class Linear:
    """y' = u - y, which has no jax or torch form and no Jacobian."""

    name, dimension = "linear", 1

    def __init__(self) -> None:
        self.calls = 0

    def function(self, library: str = "numpy") -> Any:
        if library != "numpy":
            raise UsageError("only NumPy.")
        return self._f

    def _f(self, t: Any, y: Any, u: Any = 0.0) -> Any:
        self.calls += 1
        return u - y

    def jacobian(self, library: str = "numpy") -> Any:
        raise UsageError("none.")

    def latex(self) -> str:
        return ""


def R(name: str, z: float) -> float:
    """The stability function of a tableau of the catalogue."""
    A, b = TABLEAUX[name].arrays.A, TABLEAUX[name].arrays.b
    return float(1 + z * b @ np.linalg.solve(np.eye(len(b)) - z * A, np.ones(len(b))))


# --------------------------------------------------------------------------------------------------------------- names


def test_names_are_the_libraries() -> None:
    fixed_method(TABLEAUX["heun2"])  # puts a class of ours into torchdiffeq's registry
    expected = {n for n in SOLVERS if n != "scipy_solver" and not n.startswith("odernn-")}
    assert set(library_methods("torchdiffeq")) == expected
    assert set(library_methods("scipy")) == {"RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA"}
    with pytest.raises(UsageError, match="no methods of its own"):
        library_methods("native")


def test_names_of_diffrax_step_one_plain_term() -> None:
    pytest.importorskip("diffrax")
    names = library_methods("diffrax")
    assert {"Tsit5", "Euler", "Kvaerno5", "LeapfrogMidpoint", "ReversibleHeun"} <= set(names)
    assert not {"EulerHeun", "KenCarp4", "SemiImplicitEuler", "HalfSolver", "SEA", "AbstractERK"} & set(names)


def test_claims() -> None:
    meant = {n: claim("torchdiffeq", n)["tableau"] for n in library_methods("torchdiffeq")}
    assert meant["rk4"] == "rk4"
    assert meant["dopri5"] == "dormand-prince54"
    assert meant["bosh3"] == "bogacki-shampine32"
    assert meant["adaptive_heun"] == meant["heun2"] == "heun2"
    assert meant["fehlberg2"] == meant["implicit_adams"] == meant["dopri8"] == ""
    assert claim("scipy", "RK45") == {
        "name": "RK45",
        "order": 5,
        "tableau": "dormand-prince54",
        "library": "scipy",
        "version": sys.modules["scipy"].__version__,
    }
    assert claim("scipy", "Radau")["order"] is None
    for backend in ("torchdiffeq", "scipy"):
        for name in library_methods(backend):
            found = claim(backend, name)
            assert found["tableau"] in {"", *METHODS}
            if found["tableau"] and found["order"] is not None:
                assert found["order"] == METHODS[found["tableau"]].order


def test_claims_of_diffrax() -> None:
    pytest.importorskip("diffrax")
    meant = {n: claim("diffrax", n) for n in library_methods("diffrax")}
    assert meant["Tsit5"]["tableau"] == "tsitouras54"
    assert meant["Heun"]["tableau"] == "heun2"
    assert meant["ImplicitEuler"]["tableau"] == "backward-euler"
    assert meant["LeapfrogMidpoint"]["tableau"] == ""
    assert meant["Kvaerno5"]["order"] == 5
    assert {m["order"] for m in meant.values()} == {1, 2, 3, 4, 5, 8}


def test_what_is_refused_before_anything_runs() -> None:
    true = {"cell": "true-field"}
    for entries, words in (
        ({"backend": "torchdiffeq", "method": "rk5"}, "did you mean 'rk4'"),
        ({"backend": "scipy", "method": "RK54"}, "did you mean 'RK45'"),
        ({"backend": "native", "method": "rk4"}, "no methods of its own"),
        ({"backend": "scipy", "method": "RK45", "tableau": "rk4"}, "not both"),
        ({"backend": "scipy", "method": "RK45", "steps": 2, "rtol": 1e-3}, "not several"),
    ):
        with pytest.raises(UsageError, match=words):
            parse({**true, **entries})


def test_validation_imports_neither_torch_nor_jax() -> None:
    code = (
        "import sys; from odernn.solvers.spec import validate;"
        "entries = {'cell': 'true-field', 'backend': 'torchdiffeq', 'method': 'rk4'};"
        "validate(entries, {'name': 'ivp'}, 'cpu', 'float64');"
        "print('torch' in sys.modules, 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


# --------------------------------------------------------------------------------------------------------------- SciPy


@pytest.mark.parametrize("name", ["RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA"])
def test_scipy_adaptive_is_solve_ivp(name: str) -> None:
    t = np.linspace(0, 3, 7)
    equation = stiff()
    jac = {} if name in ("RK23", "RK45", "DOP853") else {"jac": equation.jacobian("numpy")}
    expected = solve_ivp(equation.function(), (0, 3), [2.0, 0.0], name, t, rtol=1e-6, atol=1e-8, **jac)
    found = own("scipy", name, rtol=1e-6, atol=1e-8).solve(equation, np.array([2.0, 0.0]), t)
    np.testing.assert_array_equal(found.y, expected.y.T)
    assert found.f_calls >= expected.nfev > 0
    assert (found.jacobian_calls, found.factorizations) == (expected.njev, expected.nlu)
    steps = solve_ivp(equation.function(), (0, 3), [2.0, 0.0], name, rtol=1e-6, atol=1e-8, **jac).t
    assert found.accepted == len(steps) - 1
    if name == "RK45":
        assert found.f_calls == expected.nfev == 2 + 6 * (found.accepted + found.rejected)
    assert found.rejected == -1 if jac else found.rejected >= 0


@pytest.mark.parametrize(
    ("name", "tableau"), [("RK45", "dormand-prince54"), ("RK23", "bogacki-shampine32"), ("Radau", "radau2a3")]
)
def test_scipy_on_a_grid_takes_the_steps_of_the_method(name: str, tableau: str) -> None:
    """y' = -3 y on an uneven grid: every step multiplies by the stability function, known in closed form."""
    (x,) = symbols("x")
    t = np.array([0.0, 0.5, 0.7, 1.7])
    found = own("scipy", name, steps=2).solve(Equation("decay", (x,), (-3 * x,)), np.ones(1), t)
    factors = np.concatenate([[R(tableau, -3 * h / 2) ** 2] for h in np.diff(t)])
    np.testing.assert_allclose(found.y[1:, 0], np.cumprod(factors), rtol=1e-11)
    assert (found.accepted, found.rejected) == (6, 0)


def test_radau_on_a_grid_keeps_its_order() -> None:
    exact = solve_ivp(driven().function(), (0, 2), Y0, "DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
    t = np.array([0.0, 2.0])
    errors = [np.abs(own("scipy", "Radau", steps=n).solve(driven(), Y0, t).y[-1] - exact).max() for n in (10, 20)]
    assert 4.5 < np.log2(errors[0] / errors[1]) < 5.6


def test_a_batch_is_one_system_with_a_block_diagonal_jacobian() -> None:
    t = np.array([0.0, 1.0])
    both = own("scipy", "Radau", rtol=1e-9).solve(driven(), np.stack([Y0, -Y0]), t)
    for start, found in ((Y0, both.y[-1, 0]), (-Y0, both.y[-1, 1])):
        exact = solve_ivp(driven().function(), (0, 1), start, "DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
        np.testing.assert_allclose(found, exact, rtol=1e-7)


def test_what_scipy_cannot_be_asked() -> None:
    t = np.array([0.0, 2.0])
    with pytest.raises(UsageError, match="order and step together"):
        own("scipy", "BDF", steps=3).solve(driven(), Y0, t)
    with pytest.raises(UsageError, match="needs the Jacobian"):
        own("scipy", "Radau", steps=3).solve(Linear(), np.ones(1), t)
    with pytest.raises(UsageError, match="no gradient"):
        own("scipy", "RK45").gradient(driven(), Y0, t, Y0)
    with pytest.raises(Diverged, match="Required step size is less than spacing between numbers"):
        own("scipy", "RK45", rtol=1e-6).solve(blow_up(), np.ones(1), t)


# --------------------------------------------------------------------------------------------------------- torchdiffeq


def as_torch(equation: Equation) -> Any:
    return equation.function("torch")


@pytest.mark.filterwarnings("ignore:Functional iteration did not converge")
@pytest.mark.parametrize("name", ["euler", "midpoint", "heun2", "heun3", "rk4", "implicit_adams"])
def test_torchdiffeq_on_a_grid_is_odeint(name: str) -> None:
    t = np.linspace(0, 1, 6)
    expected = odeint(as_torch(driven()), torch.tensor(Y0), torch.tensor(t), method=name).numpy()
    found = own("torchdiffeq", name).solve(driven(), Y0, t)
    np.testing.assert_array_equal(found.y, expected)
    assert (found.accepted, found.rejected) == (5, 0)


def test_the_rk4_of_torchdiffeq_is_not_the_classical_one() -> None:
    t = np.linspace(0, 1, 6)
    theirs = own("torchdiffeq", "rk4").solve(driven(), Y0, t)
    ours = {
        name: FieldIntegrator(parse({"cell": "true-field", "tableau": name, "backend": "native"}), "cpu", "float64")
        for name in ("rk4", "rk38")
    }
    assert np.abs(theirs.y - ours["rk4"].solve(driven(), Y0, t).y).max() > 1e-7
    np.testing.assert_allclose(theirs.y, ours["rk38"].solve(driven(), Y0, t).y, rtol=0, atol=1e-14)
    assert theirs.f_calls == 20


@pytest.mark.parametrize("name", ["dopri5", "bosh3"])
def test_torchdiffeq_adaptive_is_odeint(name: str) -> None:
    t = np.linspace(0, 2, 5)
    calls = [0]

    def f(t: Any, y: Any) -> Any:
        calls[0] += 1
        return as_torch(driven())(t, y)

    expected = odeint(f, torch.tensor(Y0), torch.tensor(t), rtol=1e-6, atol=1e-6, method=name).numpy()
    found = own("torchdiffeq", name, rtol=1e-6).solve(driven(), Y0, t)
    np.testing.assert_array_equal(found.y, expected)
    assert found.f_calls == calls[0] == 2 + (6 if name == "dopri5" else 3) * (found.accepted + found.rejected)


def test_an_adaptive_class_held_to_a_grid_takes_its_steps() -> None:
    """y' = -3 y on an uneven grid, dopri5: the stability function of Dormand and Prince; nothing is rejected."""
    (x,) = symbols("x")
    t = np.array([0.0, 0.5, 0.7, 1.7])
    found = own("torchdiffeq", "dopri5", steps=2).solve(Equation("decay", (x,), (-3 * x,)), np.ones(1), t)
    factors = np.concatenate([[R("dormand-prince54", -3 * h / 2) ** 2] for h in np.diff(t)])
    np.testing.assert_allclose(found.y[1:, 0], np.cumprod(factors), rtol=1e-12)
    assert (found.accepted, found.rejected, found.f_calls) == (6, 0, 1 + 6 * 6)


def test_adaptive_heun_steps_a_two_step_method() -> None:
    """Its characteristic polynomial is x^2 - (1 + 3z/2) x + z/2, as of Adams and Bashforth, and not that of Heun."""
    (x,) = symbols("x")
    h, z = 0.5, -0.5
    t = np.arange(9) * h
    y = own("torchdiffeq", "adaptive_heun").solve(Equation("decay", (x,), (-x,)), np.ones(1), t).y[:, 0]
    np.testing.assert_allclose(y[3:], (1 + 1.5 * z) * y[2:-1] - 0.5 * z * y[1:-2], rtol=1e-12)
    assert abs(y[-1] - R("heun2", z) ** 8) > 1e-3


def test_what_torchdiffeq_cannot_be_asked() -> None:
    t = np.array([0.0, 2.0])
    with pytest.raises(UsageError, match="fixed grid"):
        own("torchdiffeq", "rk4", rtol=1e-3).solve(driven(), Y0, t)
    with pytest.raises(Diverged, match="underflow in dt"):
        own("torchdiffeq", "dopri5", rtol=1e-6).solve(blow_up(), np.ones(1), t)


@pytest.mark.parametrize("entries", [{"method": "rk4", "steps": 4}, {"method": "dopri5", "rtol": 1e-9}])
def test_gradient_of_a_method_of_torchdiffeq(entries: dict[str, Any]) -> None:
    t, w = np.array([0.0, 1.0]), np.array([0.3, -2.0])
    solver = own("torchdiffeq", **entries)

    def last(y: Any) -> float:
        return float(w @ solver.solve(driven(), y, t).y[-1])

    expected = [(last(Y0 + e) - last(Y0 - e)) / 2e-5 for e in 1e-5 * np.eye(2)]
    np.testing.assert_allclose(solver.gradient(driven(), Y0, t, w), expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("backend", "method", "tableau"),
    [
        ("torchdiffeq", "rk4", "rk38"),
        ("torchdiffeq", "dopri5", "dormand-prince54"),
        ("scipy", "RK45", "dormand-prince54"),
        ("diffrax", "Euler", "euler"),
    ],
)
def test_inputs_as_a_user_would_write_them(backend: str, method: str, tableau: str) -> None:
    """y' = u(t) - y, u right-continuous: a stage at the end of a step reads the next input, as f(t, y, u(t)) does;
    but torchdiffeq's stages, which is told of the jumps."""
    pytest.importorskip("diffrax")
    t, u = np.array([0.0, 0.5, 1.5, 2.0]), np.array([[1.0], [-5.0], [30.0]])
    equation, given = Linear(), TABLEAUX[tableau].arrays
    found = own(backend, method).solve(equation, np.array([2.0]), t, u)
    y = 2.0
    for i, h in enumerate(np.diff(t)):
        k: list[float] = []
        for row, c in zip(given.A, given.c, strict=True):
            held = u[i if backend == "torchdiffeq" else min(i + (c == 1), 2), 0]
            k.append(float(held - y - h * np.dot(row[: len(k)], k)))
        y += h * float(given.b @ k)
        assert found.y[i + 1, 0] == pytest.approx(y, rel=1e-12)
    assert found.f_calls == equation.calls


def test_the_library_is_told_of_changes_of_the_input_alone() -> None:
    """Its adaptive Heun reuses its last slope, but for a jump: the repeated value is none."""
    t, u = np.array([0.0, 1.0, 2.0, 3.0]), np.array([[1.0], [1.0], [4.0]])
    found = own("torchdiffeq", "adaptive_heun").solve(Linear(), np.array([2.0]), t, u)
    y, last = 2.0, -1.0
    for i in range(3):
        first = u[2, 0] - y if i == 2 else last
        last = u[i, 0] - (y + first)
        y += (first + last) / 2
        assert found.y[i + 1, 0] == pytest.approx(y, rel=1e-12)


OWN: Any = [("torchdiffeq", "rk4", {}), ("torchdiffeq", "dopri5", {}), ("torchdiffeq", "dopri5", {"rtol": 1e-6})]
OWN += [("scipy", "RK45", {}), ("scipy", "RK45", {"rtol": 1e-6}), ("scipy", "LSODA", {"rtol": 1e-6})]


@pytest.mark.parametrize(("backend", "method", "options"), OWN)
def test_times_that_are_no_grid(backend: str, method: str, options: dict[str, float]) -> None:
    solver = own(backend, method, **options)
    for times in ([], [1.0, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, np.nan, 1.0]):
        with pytest.raises(UsageError, match="times"):
            solver.solve(driven(), Y0, np.array(times))
    alone = solver.solve(driven(), Y0, np.array([2.0]))
    assert (alone.y.tolist(), alone.f_calls, alone.accepted) == ([Y0.tolist()], 0, 0)
    for times in ([0.0], [0.0, 1.0]):
        with pytest.raises(Diverged):
            solver.solve(driven(), np.array([np.nan, 0.0]), np.array(times))


# ------------------------------------------------------------------------------------------------------------- diffrax


def test_a_method_of_diffrax_on_a_grid() -> None:
    """Ralston's coefficients against a plain loop; compiled, and counted all the same."""
    pytest.importorskip("diffrax")
    t = np.array([0.0, 0.1, 0.4, 0.5])
    found = own("diffrax", "Ralston").solve(driven(), Y0, t)
    f, y = driven().function(), Y0
    for i, h in enumerate(np.diff(t)):
        k = f(t[i], y)
        y = y + h * (k + 3 * f(t[i] + 2 * h / 3, y + 2 * h / 3 * k)) / 4
        np.testing.assert_allclose(found.y[i + 1], y, rtol=1e-13)
    assert (found.accepted, found.rejected, found.f_calls) == (3, 0, 6)


@pytest.mark.slow
def test_an_implicit_method_of_diffrax_on_a_grid() -> None:
    """Backward Euler on y' = -3 y: each step divides by 1 + 3 h."""
    pytest.importorskip("diffrax")
    (x,) = symbols("x")
    t = np.array([0.0, 0.1, 0.4])
    found = own("diffrax", "ImplicitEuler").solve(Equation("decay", (x,), (-3 * x,)), np.ones(1), t)
    np.testing.assert_allclose(found.y[1:, 0], [1 / 1.3, 1 / 1.3 / 1.9], rtol=1e-9)
    with pytest.raises(UsageError, match="jax form"):
        own("diffrax", "ImplicitEuler").solve(Linear(), np.ones(1), t)


@pytest.mark.slow
def test_diffrax_adaptive_against_scipy() -> None:
    pytest.importorskip("diffrax")
    t = np.array([0.0, 0.7, 2.0])
    exact = solve_ivp(driven().function(), (0, 2), Y0, "DOP853", t, rtol=1e-13, atol=1e-13).y.T
    for name in ("Tsit5", "Kvaerno5"):
        found = own("diffrax", name, rtol=1e-9).solve(driven(), Y0, t)
        np.testing.assert_allclose(found.y, exact, rtol=1e-6)
        assert found.rejected >= 0
    with pytest.raises(Diverged, match="does not provide error estimates"):
        own("diffrax", "Euler", rtol=1e-3).solve(driven(), Y0, t)
    w = np.array([0.3, -2.0])
    solver = own("diffrax", "Tsit5")
    last = [[w @ solver.solve(driven(), Y0 + s * e, t).y[-1] for s in (1, -1)] for e in 1e-5 * np.eye(2)]
    expected = [(up - down) / 2e-5 for up, down in last]
    np.testing.assert_allclose(solver.gradient(driven(), Y0, t, w), expected, rtol=1e-7)


# ---------------------------------------------------------------------------------------------------------- properties


def test_properties_say_what_is_claimed() -> None:
    facts = own("torchdiffeq", "rk4", steps=2).properties()
    assert facts["claimed"]["tableau"] == "rk4"
    assert facts["library"] == "torchdiffeq"
    assert facts["version"] == facts["claimed"]["version"]
    assert facts["solver"] == {
        "cell": "true-field",
        "method": "rk4",
        "backend": "torchdiffeq",
        "engine": "auto",
        "steps": 2,
    }
    with pytest.raises(UsageError, match="no tableau to read"):
        own("torchdiffeq", "rk4").nesting(0)
    with pytest.raises(UsageError, match="own"):
        own("torchdiffeq", "rk4").in_backend("scipy")
    with pytest.raises(UsageError, match="float64 only"):
        validate({"cell": "true-field", "backend": "scipy", "method": "RK45"}, {"name": "ivp"}, "cpu", "float32")
