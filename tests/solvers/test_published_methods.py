"""Every cell runs under its published method: shapes, dtypes, gradients; on a GPU as on the CPU, where there is one."""

from __future__ import annotations

import pytest
import torch

from odernn.solvers import ODERNN
from odernn.solvers.fields import field_of, names


def published(name: str, dtype: torch.dtype = torch.float64) -> ODERNN:
    torch.manual_seed(0)
    found = field_of(name)
    return ODERNN(
        3,
        6,
        name,
        found.published_method,
        found.published_step or 0.5,
        substeps=found.published_substeps,
        output_size=2,
        dtype=dtype,
    )


def gradients(cell: ODERNN, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    output, _ = cell(x)
    found = torch.autograd.grad(output.square().sum(), list(cell.parameters()), allow_unused=True)
    return output, [g for g in found if g is not None]


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_it_runs_in_every_dtype_and_passes_gradients(name: str, dtype: torch.dtype) -> None:
    cell = published(name, dtype)
    x = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    output, found = gradients(cell, x)
    assert output.shape == (5, 2, 2)
    assert output.dtype == dtype
    assert found
    assert all(bool(torch.isfinite(g).all()) for g in found)


@pytest.mark.parametrize("name", names())
def test_a_state_passed_on_continues_the_sequence(name: str) -> None:
    cell = published(name)
    x = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    first, state = cell(x[:3])
    whole = torch.cat([first, cell(x[3:], state)[0]])
    torch.testing.assert_close(whole, cell(x)[0], rtol=1e-11, atol=1e-11)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the GPU path is not tested here")
@pytest.mark.parametrize("name", names())
def test_a_gpu_gives_what_the_cpu_gives(name: str) -> None:
    cell = published(name)
    x = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    output, found = gradients(cell, x)
    there, moved = gradients(cell.to("cuda"), x.to("cuda"))
    torch.testing.assert_close(there.cpu(), output, rtol=1e-9, atol=1e-9)
    for one, other in zip(moved, found, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-7, atol=1e-9)
