"""The floor: the matrix products that a model's forward and backward pass cannot do without, and nothing else.

Forward, every product of a slope evaluation and one product for all inputs; backward, the product with the transposed
matrix for each of them; and the gradients of the matrices as one late product each, all steps side by side. Pointwise
functions, sums and memory of states cost nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ...suite.errors import UsageError
from .clock import Run
from .problem import SequenceProblem

LARGE = 1024
"""Rows and columns of the product that shows the machine's best rate."""


@dataclass(frozen=True)
class Shape:
    """(batch, rows) @ (rows, columns), `count` times a step with the same matrix."""

    rows: int
    columns: int
    count: int


@dataclass(frozen=True)
class Products:
    """steps: of the whole sequence; inputs: channels; driven: columns of the input map."""

    steps: int
    length: int
    batch: int
    inputs: int
    driven: int
    shapes: tuple[Shape, ...]

    @property
    def operations(self) -> float:
        """Floating-point operations, a multiplication and an addition each counted."""
        states = 3 * self.steps * self.batch * sum(s.rows * s.columns * s.count for s in self.shapes)
        return float(2 * (states + 2 * self.length * self.batch * self.inputs * self.driven))


class _Recorder(TorchDispatchMode):
    """Notes the factors of every matrix product, as (rows, columns, which matrix)."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[int, int, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm"):
            matrix = args[-1]
            if matrix.is_complex():
                raise UsageError("the model's products are complex: their floor is not measured.")
            self.seen.append((matrix.shape[0], matrix.shape[1], matrix.data_ptr()))
        elif name in ("bmm", "baddbmm"):
            raise UsageError("the model multiplies batches of matrices: their floor is not measured.")
        return func(*args, **(kwargs or {}))


def products_of(problem: SequenceProblem) -> Products:
    """What one step of the general path multiplies, seen by running it: what a second step adds to a first.

    Raises `UsageError` for a model without matrix products of states, or with such of another kind.
    """
    cell, field = problem.cell, problem.cell.field
    weights, batch, h = field.weights(), problem.x.shape[1], cell.step / cell.substeps
    drive = field.drive(problem.x[:1])[0]
    y0, seen = field.initial(batch), []
    with torch.no_grad():
        for steps in (1, 2):
            with _Recorder() as recorder:
                times = [h * i for i in range(steps + 1)]
                cell.backend.fixed(field, y0, times, cell.tableau, [drive] * steps, weights)
            seen.append(recorder.seen)
    step = seen[1][len(seen[0]) :]
    if not step:
        raise UsageError(f"cell {field.name!r} multiplies its state by no matrix.")
    counted = {key: step.count(key) for key in dict.fromkeys(step)}
    shapes = tuple(Shape(rows, columns, count) for (rows, columns, _), count in counted.items())
    length = len(problem.x)
    return Products(length * cell.substeps, length, batch, cell.input_size, drive.shape[-1], shapes)


def floor(problem: SequenceProblem) -> Run:
    """The products by torch.mm into memory that is there, one call each."""
    return run_of(products_of(problem), problem.x)


def run_of(products: Products, like: Tensor) -> Run:
    """like: dtype and device."""
    many, batch = products.length * products.batch, products.batch
    x, drive = like.new_ones(many, products.inputs), like.new_ones(many, products.driven)
    V, dV = like.new_zeros(products.inputs, products.driven), like.new_zeros(products.inputs, products.driven)
    each = []
    for shape in products.shapes:
        left, right = like.new_ones(batch, shape.rows), like.new_ones(batch, shape.columns)
        W, dW = like.new_zeros(shape.rows, shape.columns), like.new_zeros(shape.rows, shape.columns)
        late = products.steps * shape.count * batch
        before, after = like.new_ones(late, shape.rows), like.new_ones(late, shape.columns)
        each.append((shape.count, left, right, W, W.t(), dW, before.t(), after))
    calls = [(left, W, right, Wt) for count, left, right, W, Wt, *_ in each for _ in range(count)]
    transposed = x.t()

    def run() -> None:
        mm = torch.mm
        with torch.no_grad():
            mm(x, V, out=drive)
            for _ in range(products.steps):
                for left, W, right, _ in calls:
                    mm(left, W, out=right)
            for _ in range(products.steps):
                for left, _, right, Wt in calls:
                    mm(right, Wt, out=left)
            for *_, dW, before, after in each:
                mm(before, after, out=dW)
            mm(transposed, drive, out=dV)

    return run


def large(like: Tensor) -> Run:
    """One product of `LARGE` x `LARGE` matrices: 2 LARGE^3 operations."""
    A, B, C = (like.new_ones(LARGE, LARGE) for _ in range(3))

    def run() -> None:
        torch.mm(A, B, out=C)

    return run
