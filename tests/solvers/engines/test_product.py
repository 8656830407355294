"""Products in registers against NumPy's, in both kinds, at every remainder of rows, columns and K."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from odernn.solvers.engines import machine
from odernn.solvers.engines.product import Kind, block_rows, name_of, packed, padded, text
from odernn.solvers.engines.vector import Lanes

Array = npt.NDArray[np.float64]
TOLERANCE = {"float32": 2e-5, "float64": 1e-13}
DTYPES = tuple(TOLERANCE)
ROWS = (1, 2, 3, 4, 5, 7, 8, 11, 16, 23)


def call(
    dtype: str, kind: Kind, segments: list[list[int]], sizes: tuple[int, int, int], plus: object, c: object
) -> None:
    """Run a compiled product. plus, c: (address, distance of rows)."""
    import ctypes

    lanes = Lanes(dtype, machine.width(dtype))
    library = machine.load(("product", dtype, kind), lambda: text(lanes, kind))
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    types = [integer, pointer, integer, integer, integer, pointer, integer, pointer, integer]
    table = np.array(segments, np.int64)
    assert isinstance(plus, tuple)
    assert isinstance(c, tuple)
    library.function(name_of(kind), types)(len(segments), table.ctypes.data, *sizes, *plus, *c)


def numbers(dtype: str, *shape: int, seed: int = 0) -> Array:
    drawn: Array = np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)
    return drawn


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 3, 8, 16, 17, 33, 70])
def test_rows_times_packed_matrix(dtype: str, n: int) -> None:
    width = machine.width(dtype)
    wide = padded(n, width)
    W = numbers(dtype, n, n)
    panels = packed(torch.from_numpy(W), 1, width)
    for rows in ROWS:
        A = np.full((rows, wide + 3), np.nan, dtype)  # what lies beyond n is never read
        A[:, :n] = numbers(dtype, rows, n)
        added = numbers(dtype, rows, wide)
        C = np.full((rows + 1, wide + 5), 7.0, dtype)
        segments = [[A.ctypes.data, wide + 3, panels.data_ptr(), 0]]
        call(dtype, "rows", segments, (rows, wide, n), (added.ctypes.data, wide), (C.ctypes.data, wide + 5))
        expected = added[:, :n].astype(float) + A[:, :n].astype(float) @ W.astype(float)
        np.testing.assert_allclose(C[:rows, :n], expected, rtol=0, atol=TOLERANCE[dtype] * n)
        np.testing.assert_array_equal(C[:rows, n:wide], added[:, n:])  # padded columns of W are zero
        assert (C[rows:] == 7).all()
        assert (C[:, wide:] == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_blocks_of_a_packed_matrix_are_summed_as_segments(dtype: str, transposed: bool) -> None:
    n, groups, rows, width = 19, 3, 6, machine.width(dtype)
    wide = padded(n, width)
    W = numbers(dtype, n, groups * n)
    panels = packed(torch.from_numpy(W), groups, width, transposed)
    assert panels.shape == (groups, n * wide)
    parts = [numbers(dtype, rows, wide, seed=g) for g in range(groups)]
    C = np.empty((rows, wide), dtype)
    segments = [[a.ctypes.data, wide, panels[g].data_ptr(), 0] for g, a in enumerate(parts)]
    call(dtype, "rows", segments, (rows, wide, n), (None, 0), (C.ctypes.data, wide))
    blocks = [W[:, g * n : (g + 1) * n].astype(float) for g in range(groups)]
    expected = sum(a[:, :n] @ (w.T if transposed else w) for a, w in zip(parts, blocks, strict=True))
    np.testing.assert_allclose(C[:, :n], expected, rtol=0, atol=TOLERANCE[dtype] * n)


@pytest.mark.parametrize("n", [5, 16, 32, 48])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_matrix_is_packed_as_it_lies(n: int, transposed: bool) -> None:
    """A transposed view, a part of a larger matrix, and one panel, which is taken without a copy."""
    whole = torch.from_numpy(numbers("float32", n + 3, 2 * n))
    for view in (whole[:n].t().contiguous().t(), whole[3:], whole[:n, :n].t()):
        groups = view.shape[1] // n
        lying = view.contiguous().numpy()
        blocks = [lying[:, g * n : (g + 1) * n] for g in range(groups)]
        found = packed(view, groups, 16, transposed)
        for panels, block in zip(found, blocks, strict=True):
            wide = np.pad(block.T if transposed else block, ((0, 0), (0, padded(n, 16) - n)))
            expected = [wide[:, j : j + 32].ravel() for j in range(0, wide.shape[1], 32)]
            np.testing.assert_array_equal(panels.numpy(), np.concatenate(expected))
    panel = torch.from_numpy(numbers("float32", 7, 32))
    assert packed(panel, 1, 16).data_ptr() == panel.data_ptr()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 5, 16, 33])
def test_columns_gain_over_segments(dtype: str, n: int) -> None:
    wide = padded(n, machine.width(dtype))
    for rows in (1, 3, 8):
        A = [numbers(dtype, rows, wide, seed=s) for s in (1, 2)]
        B = [numbers(dtype, rows, wide + 16, seed=s) for s in (3, 4)]
        C = numbers(dtype, n, wide)
        before = C.astype(float)
        segments = [[a.ctypes.data, wide, b.ctypes.data, wide + 16] for a, b in zip(A, B, strict=True)]
        call(dtype, "columns", segments, (n, wide, rows), (C.ctypes.data, wide), (C.ctypes.data, wide))
        expected = before + sum(a[:, :n].T.astype(float) @ b[:, :wide] for a, b in zip(A, B, strict=True))
        np.testing.assert_allclose(C, expected, rtol=0, atol=TOLERANCE[dtype] * rows)


def test_nan_and_infinity_flow_through_as_in_numpy() -> None:
    n, width = 4, machine.width("float64")
    wide = padded(n, width)
    A, W = np.eye(4, wide), numbers("float64", n, n)
    A[1, 2], A[2, 0] = np.nan, np.inf
    panels = packed(torch.from_numpy(W), 1, width)
    C = np.empty((4, wide))
    call(
        "float64", "rows", [[A.ctypes.data, wide, panels.data_ptr(), 0]], (4, wide, n), (None, 0), (C.ctypes.data, wide)
    )
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(C[:, :n], A[:, :n] @ W)


def test_kernels_fit_the_registers() -> None:
    assert block_rows(Lanes("float32", 16)) == block_rows(Lanes("float64", 8)) == (8, 4, 2, 1)
    assert block_rows(Lanes("float32", 8)) == block_rows(Lanes("float64", 2)) == (4, 2, 1)
