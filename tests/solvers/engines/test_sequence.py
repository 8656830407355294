"""Compiled sequences against torch: the step as written, in float64, differentiated by torch's own reverse mode."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import sympy
import torch
from hypothesis import HealthCheck, Phase, given, settings
from torch import Tensor

from odernn.solvers.engines import cpu, machine
from odernn.solvers.engines.cpu import CompiledSequence, Gradients, tile_rows
from odernn.solvers.engines.kernel import Projection, Reads
from odernn.solvers.engines.program import Assign, H, Product, Step
from odernn.solvers.engines.vector import Lanes
from odernn.suite.errors import UsageError

from .interpreter import _torch as value_of
from .programs import WRITTEN, leaky_rk4, lstm, oscillator, steps, symbol

TOLERANCE = {"float32": 1e-4, "float64": 1e-11}


@dataclass
class Case:
    """Inputs of a sequence, in float64."""

    step: Step
    start: Tensor
    drives: Tensor
    row_scalars: Tensor
    matrices: list[Tensor]
    vectors: list[Tensor]
    scalars: list[float]
    sizes: np.ndarray
    substeps: int
    cotangents: Tensor
    seen: int

    @property
    def leaves(self) -> list[Tensor]:
        return [self.start, self.drives, self.row_scalars, *self.matrices, *self.vectors]

    def compiled(self, dtype: str, keep: bool = True) -> tuple[Tensor, Gradients]:
        kind = getattr(torch, dtype)
        start, drives, rows, *others = (t.detach().to(kind) for t in self.leaves)
        common = (drives, rows, others[: len(self.matrices)], others[len(self.matrices) :])
        common += (self.scalars, self.sizes, self.substeps)  # type: ignore[assignment]
        sequence = CompiledSequence(self.step, dtype)
        states, saved = sequence.forward(start, Reads(*common), keep)
        assert (saved is not None) == keep
        return states, sequence.backward(states, saved, Reads(*common), self.cotangents[1:, :, : self.seen].to(kind))

    def reference(self, run: Callable[[Case], Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        for leaf in self.leaves:
            leaf.requires_grad_()
        states = (run or as_written)(self)
        loss = (states * self.cotangents).sum()
        found = torch.autograd.grad(loss, self.leaves, materialize_grads=True)  # type: ignore[arg-type]
        return states.detach(), list(found)


def case(step: Step, n: int, batch: int, inputs: int = 4, substeps: int = 1, seed: int = 0) -> Case:
    torch.manual_seed(seed)
    m, d, r = len(step.state), len(step.drives), len(step.row_scalars)
    count = inputs * substeps

    def draw(*shape: int, scale: float = 0.5) -> Tensor:
        return scale * torch.randn(*shape, dtype=torch.float64)

    seen = m if seed % 2 == 0 else 1  # of odd seeds, the first block's alone
    cotangents = draw(count + 1, batch, m, n)
    cotangents[0] = 0.0
    cotangents[:, :, seen:] = 0.0
    return Case(
        step,
        draw(batch, m, n),
        draw(inputs, batch, d, n),
        draw(inputs, batch, r),
        [draw(n, w * n, scale=0.5 / n**0.5) for w in step.widths],
        [draw(n) for _ in step.vectors],
        [0.3 + 0.1 * k for k in range(len(step.scalars) - 1)],
        np.linspace(0.05, 0.15, count),
        substeps,
        cotangents,
        seen,
    )


def as_written(one: Case) -> Tensor:
    """All states, by the operations of the step in their order."""
    step, blocks = one.step, list(one.start.unbind(1))
    states = [one.start]
    for i, h in enumerate(one.sizes):
        t = i // one.substeps
        known = dict(zip(step.state, blocks, strict=True))
        known |= dict(zip(step.drives, one.drives[t].unbind(1), strict=True))
        known |= dict(zip(step.row_scalars, one.row_scalars[t].unsqueeze(2).unbind(1), strict=True))
        known |= dict(zip(step.vectors, one.vectors, strict=True))
        numbers = (h, *one.scalars)
        known |= {s: torch.tensor(float(x), dtype=torch.float64) for s, x in zip(step.scalars, numbers, strict=True)}
        for operation in step.operations:
            if isinstance(operation, Assign):
                known[operation.symbol] = value_of(operation.value, known).expand(blocks[0].shape)
                continue
            W = one.matrices[operation.matrix]
            joined = torch.cat([known[s] for s in operation.inputs], 1) @ (W.T if operation.transposed else W)
            parts = joined.chunk(len(operation.outputs), 1)
            for output, part, plus in zip(operation.outputs, parts, operation.plus, strict=True):
                known[output] = part if plus is None else part + known[plus]
        blocks = [known[s] for s in step.result]
        states.append(torch.stack(blocks, 1))
    return torch.stack(states)


def leaky_by_hand(one: Case) -> Tensor:
    (W,), y, states = one.matrices, one.start[:, 0], [one.start]
    for i, h in enumerate(one.sizes):
        d = one.drives[i // one.substeps][:, 0]

        def slope(y: Tensor, d: Tensor = d) -> Tensor:
            return torch.tanh(y @ W + d) - y

        k1 = slope(y)
        k2 = slope(y + h / 2 * k1)
        k3 = slope(y + h / 2 * k2)
        k4 = slope(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        states.append(y[:, None])
    return torch.stack(states)


def lstm_by_hand(one: Case) -> Tensor:
    x, c = one.start.unbind(1)
    states = [one.start]
    for i, h in enumerate(one.sizes):
        gates = (x @ one.matrices[0]).unflatten(1, (4, -1)) + one.drives[i // one.substeps]
        i_, f, o = (torch.sigmoid(gates[:, k]) for k in (0, 1, 3))
        c = c + h * (c * (f - 1) + i_ * torch.tanh(gates[:, 2]))
        x = x + h * (torch.tanh(c) * o - x)
        states.append(torch.stack([x, c], 1))
    return torch.stack(states)


def check(one: Case, dtype: str, keep: bool, run: Callable[[Case], Tensor] | None = None) -> None:
    states, found = one.compiled(dtype, keep)
    expected, gradients = one.reference(run)
    got = [states, found.start, found.drives, found.row_scalars, *found.matrices, *found.vectors]
    for ours, theirs in zip(got, [expected, *gradients], strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == getattr(torch, dtype)
        scale = 1 + theirs.abs().max() if theirs.numel() else 1
        torch.testing.assert_close(ours.double() / scale, theirs / scale, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("n", "batch"), [(1, 1), (3, 2), (5, 40), (17, 7), (32, 3), (33, 33), (64, 16)])
def test_runge_kutta_of_a_tanh_field(n: int, batch: int, keep: bool, dtype: str) -> None:
    check(case(leaky_rk4(), n, batch, substeps=1 + n % 2), dtype, keep, leaky_by_hand)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("keep", [True, False])
def test_gates_of_one_matrix_and_two_blocks(keep: bool, dtype: str) -> None:
    check(case(lstm(), 18, 19, substeps=2), dtype, keep, lstm_by_hand)


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "kinks"])
@pytest.mark.parametrize("keep", [True, False])
def test_programs_of_every_kind(name: str, keep: bool) -> None:
    """Vectors, row scalars, constants, two matrices, transposed products, results that are shared or passed on."""
    check(case(WRITTEN[name](), 9, 18, inputs=1, substeps=2), "float64", keep)


@pytest.mark.slow
@given(step=steps())
@settings(max_examples=40, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
def test_random_programs(step: Step) -> None:
    check(case(step, 3, 5, inputs=2, substeps=2), "float64", keep=True)
    check(case(step, 3, 5, inputs=2, substeps=2), "float64", keep=False)


def test_large_tiles_and_more_than_one_panel() -> None:
    check(case(leaky_rk4(), 300, 50, inputs=2), "float64", True, leaky_by_hand)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_same_bits_with_any_number_of_threads(threads: Callable[[int], None]) -> None:
    one = case(oscillator(), 20, 70, substeps=2)
    found = []
    for number in (1, 2, 3):
        threads(number)
        states, gradients = one.compiled("float32")
        found.append([states, gradients.start, gradients.drives, *gradients.matrices, *gradients.vectors])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_tiles_that_share_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every tile's own cotangents of the matrices would take too much, tiles gain into the same ones."""
    monkeypatch.setattr(cpu, "SUMS_BYTES", 3 * (20 * 20 * 8 + 20 * 32))
    check(case(leaky_rk4(), 20, 70), "float64", True, leaky_by_hand)


def test_nan_in_padding_never_reaches_a_number() -> None:
    """1 / y and log y of the zeros beside the true units are infinite; two of them make NaN."""
    y, a, b, new, bias, u = (symbol(name) for name in ("y", "a", "b", "new", "bias", "u"))
    step = Step(
        (y,),
        (new,),
        (
            Assign(a, 1 / y - 1 / bias + sympy.log(y) + u),
            Product((b,), (a,), 0, plus=(y,)),
            Assign(new, y + H * sympy.tanh(b) / y * u**2),
        ),
        vectors=(bias,),
        row_scalars=(u,),
        widths=(1,),
    )
    one = case(step, 5, 6)
    one.start, one.vectors[0] = one.start.abs() + 1, one.vectors[0].abs() + 1
    for keep in (True, False):
        check(one, "float64", keep)


def test_a_nan_stays_in_its_row() -> None:
    one = case(leaky_rk4(), 6, 10)
    one.start[3, 0, 2] = float("nan")
    states, _ = one.compiled("float32")
    lost = states[1:].isnan().flatten(2).any(2)
    assert lost[:, 3].all()
    assert not lost[:, [r for r in range(10) if r != 3]].any()


def test_a_backward_pass_may_be_repeated_and_memory_serves_again() -> None:
    one = case(leaky_rk4(), 16, 4)
    sequence = CompiledSequence(one.step, "float64")
    common = (one.drives, one.row_scalars, one.matrices, one.vectors, one.scalars, one.sizes, 1)
    states, saved = sequence.forward(one.start, Reads(*common), True)
    first = sequence.backward(states, saved, Reads(*common), one.cotangents[1:])
    sequence.forward(one.start + 1, Reads(*common), True)
    second = sequence.backward(states, saved, Reads(*common), one.cotangents[1:])
    assert torch.equal(first.start, second.start)
    assert torch.equal(first.matrices[0], second.matrices[0])


def test_no_time_steps_and_no_rows() -> None:
    one = case(leaky_rk4(), 5, 3, inputs=0)
    states, found = one.compiled("float64")
    assert torch.equal(states, one.start[None])
    assert not found.start.any()
    states, found = case(leaky_rk4(), 5, 0).compiled("float64")
    assert states.shape == (5, 0, 1, 5)
    assert not found.matrices[0].any()


def test_what_does_not_fit_is_an_error() -> None:
    one = case(leaky_rk4(), 5, 3)
    sequence = CompiledSequence(one.step, "float64")
    with pytest.raises(UsageError, match=r"matrix 0 .* \(4, 4\).*expected \(5, 5\)"):
        sequence.forward(
            one.start, Reads(one.drives, one.row_scalars, [torch.zeros(4, 4).double()], [], [], one.sizes, 1), True
        )
    with pytest.raises(UsageError, match="float32"):
        sequence.forward(
            one.start.float(), Reads(one.drives, one.row_scalars, one.matrices, [], [], one.sizes, 1), True
        )
    with pytest.raises(UsageError, match="sizes"):
        sequence.forward(one.start, Reads(one.drives, one.row_scalars, one.matrices, [], [], one.sizes, 2), True)
    with pytest.raises(UsageError, match="1 blocks before and 2 after"):
        CompiledSequence(replace(one.step, result=2 * one.step.result), "float64")
    with pytest.raises(UsageError, match="float16"):
        CompiledSequence(one.step, "float16")


def test_tiles_follow_from_batch_and_hidden_size() -> None:
    for batch in (1, 2, 7, 16, 17, 32, 33, 40, 64, 100, 1000):
        rows = tile_rows(batch, 128)
        assert 1 <= rows <= 16
        assert batch <= 16 or -(-batch // rows) % 2 == 0 or -(-batch // rows) > 8
    assert tile_rows(500, 1000) > tile_rows(500, 100)


@pytest.mark.parametrize("lanes", [Lanes("float32", 8), Lanes("float64", 2)])
def test_other_registers(lanes: Lanes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code that a machine with narrower registers would get, run on this one."""
    monkeypatch.setenv("ODERNN_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "width", lambda dtype: lanes.width)
    monkeypatch.setattr(machine, "_loaded", {})
    monkeypatch.setattr(machine, "_surroundings", lambda: ("narrow", lanes.width))
    caches = (cpu._compiled, cpu._product)
    for cache in caches:
        cache.cache_clear()
    try:
        check(case(leaky_rk4(), 21, 7), lanes.dtype, True, leaky_by_hand)
    finally:
        for cache in caches:
            cache.cache_clear()


def test_a_warm_start_prints_and_derives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process finds the same key, and so never comes to the adjoint."""
    code = (
        "import torch, numpy as np, sympy\n"
        "from odernn.solvers.engines import cpu, sequence\n"
        "from odernn.solvers.engines.program import Assign, H, Product, Step\n"
        "s = lambda name: sympy.Symbol(name, real=True)\n"
        "step = Step((s('y'),), (s('r'),), (Product((s('a'),), (s('y'),), 0),\n"
        "    Assign(s('r'), s('y') + H * (s('b') * sympy.tanh(s('a') * s('b') + s('c')) - s('c') * s('y') / 3))),\n"
        "    vectors=(s('b'), s('c')), widths=(1,))\n"
        "if {refuse}:\n"
        "    def text(*arguments): raise SystemExit('printed again')\n"
        "    sequence.text = text\n"
        "for direction, keep in (('forward', True), ('backward', True), ('backward', False)):\n"
        "    cpu._compiled(step, 'float64', direction, keep, False)\n"
    )
    monkeypatch.setenv("ODERNN_CACHE", str(tmp_path))
    for refuse, seed in ((False, "1"), (True, "2")):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        subprocess.run([sys.executable, "-c", code.format(refuse=refuse)], check=True, timeout=100)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("n", "batch", "channels"), [(1, 1, 1), (5, 7, 3), (16, 33, 40), (33, 16, 17)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_drives_as_products_of_the_inputs(n: int, batch: int, channels: int, keep: bool, dtype: str) -> None:
    """The same states and cotangents as with drives that torch multiplies out, one input for two substeps; the matrix
    gains inputs^T cotangent."""
    kind = getattr(torch, dtype)
    for step in (leaky_rk4(), lstm(), oscillator()):
        one = case(step, n, batch, inputs=5, substeps=2)
        torch.manual_seed(1)
        x = torch.randn(5, batch, channels, dtype=torch.float64)
        V = torch.randn(len(step.drives) * n, channels, dtype=torch.float64)
        one.drives = (x @ V.t()).view(5, batch, len(step.drives), n)
        expected, gradients = one.reference()
        start, rows, *others = (t.detach().to(kind) for t in [one.start, one.row_scalars, *one.matrices, *one.vectors])
        m = len(one.matrices)
        common = (Projection(x.to(kind), V.to(kind)), rows, others[:m], others[m:], one.scalars, one.sizes, 2)
        kernel = CompiledSequence(step, dtype)
        states, saved = kernel.forward(start, Reads(*common), keep)
        found = kernel.backward(states, saved, Reads(*common), one.cotangents[1:].to(kind))
        gained = torch.einsum("tbdn,tbp->dnp", gradients[1], x).reshape(V.shape)
        whole = [found.start, found.drives, *found.matrices, *found.vectors]
        against = [gradients[0], gained, *gradients[3:]]
        for a, b in zip([states, *whole], [expected, *against], strict=True):
            assert torch.allclose(a.double(), b.detach(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * 10)
