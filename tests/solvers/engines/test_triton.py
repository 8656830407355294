"""Kernels in Triton against torch's own automatic differentiation.

They run on a GPU where there is one. Elsewhere, where the package is installed, this file runs once more in a process
of its own whose Triton interprets its kernels in NumPy. Their source is checked everywhere.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from torch import Tensor

from odernn.solvers.cell import ODERNN
from odernn.solvers.engines.kernel import Reads
from odernn.solvers.engines.operands import constants, drives_of, operands, program_of
from odernn.solvers.engines.program import Assign, H, Product, Step
from odernn.solvers.engines.triton import TritonSequence, available, interpreted, padded, refusal
from odernn.solvers.engines.triton_text import source, unprintable
from odernn.solvers.functions import sigmoid, sign
from odernn.suite.errors import UsageError
from odernn.suite.seeds import stream

kernels = pytest.mark.skipif(bool(available()), reason=f"needs Triton and a CUDA device: {available()}")
DEVICE = torch.device("cpu" if interpreted() or not torch.cuda.is_available() else "cuda")
TOLERANCE = {torch.float32: (2e-5, 2e-6), torch.float64: (1e-12, 1e-13)}


def symbols(names: str) -> tuple[sympy.Symbol, ...]:
    return tuple(sympy.Symbol(name, real=True) for name in names.split())


def drawn(name: str, *shape: int, scale: float = 1.0) -> Tensor:
    return torch.as_tensor(scale * stream(0, f"triton/{name}").standard_normal(shape), device=DEVICE)


def compare(found: Tensor, expected: Tensor) -> None:
    rtol, atol = TOLERANCE[expected.dtype]
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol * (1 + float(expected.abs().max())))


def run(
    step: Step,
    reference: Callable[..., Tensor],
    dtype: torch.dtype,
    keep: bool,
    hidden: int = 5,
    batch: int = 3,
    inputs: int = 4,
    substeps: int = 1,
    scalars: tuple[float, ...] = (),
) -> None:
    """Values and gradients of a program against torch's of `reference(y, drives, rows, matrices, vectors, h)`."""
    n = hidden
    start = drawn("start", batch, len(step.state), n)
    drives = drawn("drives", inputs, batch, len(step.drives), n)
    rows = drawn("rows", inputs, batch, len(step.row_scalars))
    matrices = [drawn(f"W{k}", n, w * n, scale=n**-0.5) for k, w in enumerate(step.widths)]
    vectors = [drawn(f"v{k}", n) for k in range(len(step.vectors))]
    sizes = 0.1 + 0.05 * stream(0, "triton/sizes").random(inputs * substeps)
    leaves = [x.to(dtype).requires_grad_() for x in (start, drives, rows, *matrices, *vectors)]
    start, drives, rows, *rest = leaves
    matrices, vectors = rest[: len(matrices)], rest[len(matrices) :]
    states = [start]
    for i, h in enumerate(sizes):
        at = i // substeps
        states.append(reference(states[-1], drives[at], rows[at], matrices, vectors, float(h)))
    expected = torch.stack(states)
    weight = drawn("cotangents", *expected.shape).to(dtype)
    weight[0] = 0.0  # the start's own cotangent is the caller's
    slopes = torch.autograd.grad((expected * weight).sum(), leaves, allow_unused=True)
    engine = TritonSequence(step, str(dtype).removeprefix("torch."))
    held = [drives, rows, matrices, vectors, list(scalars), sizes, substeps]
    with torch.no_grad():
        found, saved = engine.forward(start, Reads(*held), keep)
        gained = engine.backward(found, saved, Reads(*held), weight[1:])
    assert (saved is not None) == keep
    compare(found, expected.detach())
    gradients = [gained.start, gained.drives, gained.row_scalars, *gained.matrices, *gained.vectors]
    for ours, theirs, leaf in zip(gradients, slopes, leaves, strict=True):
        if leaf.numel():
            compare(ours, torch.zeros_like(leaf) if theirs is None else theirs)


def leaky(y: Tensor, drive: Tensor, W: Tensor) -> Tensor:
    return -y + torch.tanh(y @ W + drive)


def classical(y: Tensor, drives: Tensor, rows: Tensor, W: list[Tensor], v: list[Tensor], h: float) -> Tensor:
    """The classical Runge-Kutta method, written out."""
    drive, x = drives[:, 0] + v[0], y[:, 0]  # the bias is a vector of the program
    k1 = leaky(x, drive, W[0])
    k2 = leaky(x + h / 2 * k1, drive, W[0])
    k3 = leaky(x + h / 2 * k2, drive, W[0])
    k4 = leaky(x + h * k3, drive, W[0])
    return (x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)).unsqueeze(1)


@kernels
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_runge_kutta_of_a_leaky_network(dtype: torch.dtype, keep: bool) -> None:
    cell = ODERNN(2, 5, "leaky", "rk4")
    run(program_of(cell.field, cell.tableau).step, classical, dtype, keep)


@kernels
@pytest.mark.parametrize(("hidden", "batch", "inputs", "substeps"), [(16, 16, 3, 1), (17, 19, 2, 3), (1, 1, 1, 1)])
def test_shapes(hidden: int, batch: int, inputs: int, substeps: int) -> None:
    cell = ODERNN(2, hidden, "leaky", "rk4")
    run(program_of(cell.field, cell.tableau).step, classical, torch.float64, True, hidden, batch, inputs, substeps)


@kernels
def test_segments_of_a_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Factors of the matrices' cotangents that do not fit at once."""
    monkeypatch.setattr("odernn.solvers.engines.triton.FACTORS_BYTES", 1)
    cell = ODERNN(2, 5, "leaky", "rk4")
    run(program_of(cell.field, cell.tableau).step, classical, torch.float64, True, inputs=3, substeps=2)


@kernels
@pytest.mark.parametrize("keep", [True, False])
def test_every_kind_of_operand_and_function(keep: bool) -> None:
    """Two blocks that change places, vectors, row scalars, scalars, a wide and a transposed product, choices."""
    y, z, d, v, e, c, a, b, w, p, q = symbols("y z d v e c a b w p q")
    step = Step(
        state=(y, z),
        result=(q, y),
        operations=(
            Product((a, b), (y,), 0, plus=(d, None)),
            Product((w,), (a, z), 0, transposed=True, plus=(z,)),
            Assign(
                p,
                sigmoid(a) * sympy.tanh(b * v)
                + sympy.Piecewise((w**2, w > e), (c * sympy.sin(w), True))
                + sympy.Max(w, 0) * sign(z)
                + sympy.Abs(b) / (1 + sympy.exp(-z)) ** 2
                + sympy.sqrt(1 + w**2)
                - sympy.Rational(1, 3) * sympy.Min(a, b)
                + v * e
                + sympy.cosh(z / 3)
                + sympy.sinh(z / 3),
            ),
            Assign(q, z + H * p - sympy.log(2 + y**2) / sympy.sqrt(3 + e**2)),
        ),
        drives=(d,),
        vectors=(v,),
        row_scalars=(e,),
        scalars=(H, c),
        widths=(2,),
    )
    constant = 0.3

    def reference(
        state: Tensor, drives: Tensor, rows: Tensor, W: list[Tensor], vectors: list[Tensor], h: float
    ) -> Tensor:
        y, z = state.unbind(1)
        (v,), e, n = vectors, rows[:, :1], state.shape[-1]
        a, b = (y @ W[0]).split(n, 1)
        a = a + drives[:, 0]
        w = torch.cat([a, z], 1) @ W[0].t() + z
        p = torch.sigmoid(a) * torch.tanh(b * v) + torch.where(w > e, w**2, constant * torch.sin(w))
        p = p + torch.relu(w) * torch.sign(z) + b.abs() * torch.sigmoid(z) ** 2 + (1 + w**2).sqrt()
        p = p - torch.minimum(a, b) / 3 + v * e + torch.exp(z / 3)
        q = z + h * p - torch.log(2 + y**2) / (3 + e**2).sqrt()
        return torch.stack([q, y], 1)

    for dtype in (torch.float32, torch.float64):
        run(step, reference, dtype, keep, inputs=2, substeps=2, scalars=(constant,))


@kernels
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("lstm-field", "gauss-seidel-euler"),
        ("lem", "midpoint"),
        ("unicornn", "symplectic-euler"),
        ("gru-field", "euler"),
    ],
)
def test_cells_against_the_general_path(name: str, method: str) -> None:
    torch.manual_seed(0)
    cell = ODERNN(2, 6, name, method, 0.5, dtype=torch.float64, engine="general", device=DEVICE)
    u = drawn("inputs", 4, 3, 2)
    expected = cell.trajectory(u)
    weight = drawn("weight", *expected.shape)
    weight[0] = 0.0
    parameters = list(cell.field.parameters())
    slopes = torch.autograd.grad((expected * weight).sum(), parameters, allow_unused=True)
    program = program_of(cell.field, cell.tableau)
    matrices, vectors = operands(cell.field, program, cell.step)
    drives = drives_of(cell.field, program, u)[0]
    start = cell.field.initial(3).reshape(3, cell.blocks, 6)
    engine = TritonSequence(program.step, "float64")
    held = [drives, u.new_empty(4, 3, 0), matrices, vectors, constants(cell.field, program), np.full(4, 0.5), 1]
    with torch.no_grad():
        states, saved = engine.forward(start, Reads(*held), True)
        gained = engine.backward(states, saved, Reads(*held), weight[1:])
    compare(states, expected.detach())
    found = torch.autograd.grad(
        [drives, *matrices, *vectors], parameters, [gained.drives, *gained.matrices, *gained.vectors], allow_unused=True
    )
    for ours, theirs in zip(found, slopes, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            compare(ours, theirs)


@kernels
def test_functions_over_their_whole_range() -> None:
    """One step y+ = f(y) with y far out and near zero: no overflow, and relative accuracy around zero."""
    (y, z) = symbols("y z")
    points = torch.tensor(
        [0.0, 1e-30, -1e-5, 0.3, -0.62, 0.63, 2.0, -9.0, 30.0, -100.0, 750.0, -1e30, 1e300, torch.nan]
    )
    for function, exact in ((sympy.tanh, torch.tanh), (sigmoid, torch.sigmoid)):
        step = Step((y,), (z,), (Assign(z, function(y)),))
        for dtype in (torch.float32, torch.float64):
            x = points.to(dtype).to(DEVICE)
            start = x.reshape(1, 1, -1)
            nothing = [start.new_empty(1, 1, 0, len(x)), start.new_empty(1, 1, 0), [], [], [], np.ones(1), 1]
            states, _ = TritonSequence(step, str(dtype).removeprefix("torch.")).forward(start, Reads(*nothing), False)
            rtol = (8 if interpreted() else 32) * torch.finfo(dtype).eps  # a GPU's own exp is less exact
            torch.testing.assert_close(
                states[1, 0, 0], exact(x), rtol=rtol, atol=torch.finfo(dtype).tiny, equal_nan=True
            )


@kernels
@pytest.mark.parametrize("precision", ["tf32x3", "tf32", "bf16"])
def test_rounded_operands(precision: Any) -> None:
    """Operands keep 10 bits after the point in TF32 and 7 in bfloat16. Triton's interpreter keeps all of float32 in
    place of TF32, and cuts bfloat16 off where a GPU rounds it to nearest."""
    a, b = symbols("a b")
    step = Step((a,), (b,), (Product((b,), (a,), 0),), widths=(1,))
    n = 32
    x, W = drawn("x", 4, 1, n).float(), drawn("W", n, n).float()
    nothing = [x.new_empty(1, 4, 0, n), x.new_empty(1, 4, 0), [W], [], [], np.ones(1), 1]
    states, _ = TritonSequence(step, "float32", precision).forward(x, Reads(*nothing), False)
    unit = 2.0 ** {"tf32x3": -20, "tf32": -10, "bf16": -7}[precision]
    bound = 3 * unit * (x[:, 0].abs() @ W.abs())
    error = (states[1, :, 0].double() - x[:, 0].double() @ W.double()).abs()
    assert bool((error <= bound).all())
    if precision == "bf16":
        cut = (v.view(torch.int32).bitwise_and(-(1 << 16)).view(torch.float32) for v in (x[:, 0], W))
        left, right = cut if interpreted() else (x[:, 0].bfloat16(), W.bfloat16())
        torch.testing.assert_close(states[1, :, 0].double(), left.double() @ right.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not bool(available()) or interpreted(), reason="the kernels run in this process")
def test_the_same_by_triton_s_interpreter() -> None:
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", str(Path(__file__))]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("keep", [True, False])
def test_source_is_python(keep: bool) -> None:
    cell = ODERNN(2, 5, "lem", "rk4")
    program = program_of(cell.field, cell.tableau)
    printed = source(program.step, "float32", "tf32", keep)
    names = {node.name for node in ast.parse(printed.text).body if isinstance(node, ast.FunctionDef)}
    assert {"forward", "backward"} <= names
    assert printed.outers == (4, 4)
    assert printed.held == (4 if keep else 8)


def test_what_has_no_kernel() -> None:
    a, b = symbols("a b")
    assert unprintable(Step((a,), (b,), (Assign(b, sympy.atan(a)),))) == "atan(a)"
    cell = ODERNN(2, 5, "leaky", "rk4")
    step = program_of(cell.field, cell.tableau).step
    assert refusal(step, 64, "float32") == ""
    assert "KiB" in refusal(step, 512, "float32")
    assert "bfloat16" in refusal(step, 64, "bfloat16")
    assert "no precision" in refusal(step, 64, "float64", "tf32")
    assert [padded(n) for n in (1, 16, 17, 64, 100)] == [16, 16, 32, 64, 128]


def test_a_missing_package_or_device_is_a_reason() -> None:
    if available() == "":
        assert find_spec("triton") is not None
        return
    assert "pip install triton" in available() or "CUDA" in available()
    with pytest.raises(UsageError, match="cannot run"):
        TritonSequence(Step((H,), (H,), ()), "float32")
