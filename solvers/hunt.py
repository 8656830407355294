"""The soundness hunt: random and adversarial search for a step that breaks its contractivity certificate.

A *case* is a cell with random weights, a tableau, a step within the certificate, a start and a sequence of inputs. Its
growth is the largest of: the norm of each step's Jacobian, the norm of their product over the sequence, and the factor
by which a step separates two trajectories, all in the certified norm. A certificate promises at most 1. Half of the
cases then climb, by gradient, towards larger growth: over starts, inputs and weights, whose certificate is taken anew.

Inputs act as the drives V u + b that enter the equation, so the search is over these. Cases of one cell, tableau, norm
and size are one batch, with weights of their own; the slopes are the field's, under `torch.func.vmap`.
Longer than most files: drawing, stepping, measuring and climbing share the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from ..suite.errors import UsageError
from ..suite.seeds import stream
from .cell_field import CellField
from .certificate import Norm, arrays, radii, step_2, step_max
from .circle_condition import constants_of
from .field import EquationField, Init
from .fields import field_of
from .tableau import Tableau
from .tableaux import tableau as find_tableau

TABLEAUX = (
    "euler",
    "heun2",
    "ssp33",
    "rk4",
    "rk38",
    "ralston2",
    "trapezoid",
    "implicit-midpoint",
    "backward-euler",
    "gauss2",
    "radau2a2",
)
TOLERANCE = 1e-9
"""Growth above 1 that rounding explains; see `FLOOR` for differences."""
FLOOR = 1e-3
"""Differences of trajectories below this share of the state are not followed: their last digits are rounding."""
STEPS = 3
CLIMB = 20
SCALES = tuple(0.6**k for k in range(14))
FACTORS = (1.0, 1.01, 1.03, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True)
class Finding:
    """What the hunt saw of one (cell, tableau, norm).

    cases, certified: cases tried, those of them that had a certificate for a positive step. worst: the largest growth.
    violations: cases whose growth exceeds 1 + `TOLERANCE`. tightness: certified step over the smallest step seen at
    which growth exceeds 1, None where steps are certified without a limit or no growth was seen up to 10 times the
    certified step. unsolved: implicit cases left out because Newton's method did not converge.
    """

    cell: str
    tableau: str
    norm: Norm
    cases: int
    certified: int
    violations: int
    worst: float
    tightness: float | None
    unsolved: int

    def row(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "cell": self.cell,
            "tableau": self.tableau,
            "norm": self.norm,
            "cases": self.cases,
            "certified": self.certified,
            "violations": self.violations,
            "worst_growth": self.worst,
            "tightness": self.tightness,
            "unsolved": self.unsolved,
        }


@dataclass(frozen=True)
class HuntResult:
    """findings: one a (cell, tableau, norm) with certificates; inflate: how many times too large the steps are."""

    findings: tuple[Finding, ...]
    inflate: float

    @property
    def cases(self) -> int:
        """Cases with a certificate."""
        return sum(f.certified for f in self.findings)

    @property
    def violations(self) -> int:
        return sum(f.violations for f in self.findings)

    @property
    def worst(self) -> float:
        return max((f.worst for f in self.findings), default=0.0)

    def rows(self) -> list[dict[str, Any]]:
        """Plain JSON, one row a finding."""
        return [f.row() for f in self.findings]


def hunt(
    cases: int,
    seed: int,
    inflate: float = 1.0,
    cells: Sequence[str | EquationField] = ("leaky", "leaky-certified", "gradient", "antisymmetric"),
    tableaux: Sequence[str | Tableau] = TABLEAUX,
    norms: Sequence[str] = ("2", "max"),
) -> HuntResult:
    """Search about `cases` cases for a broken certificate.

    inflate: multiplies every finite certified step; above 1 the certificates are wrong, and where they are sharp the
    hunt must say so. Raises `UsageError` for an unknown name, or fewer cases than 1.
    """
    if cases < 1:
        raise UsageError(f"the hunt was given {cases} cases: expected at least 1.")
    equations = [_equation(cell) for cell in cells]
    methods = [find_tableau(t) if isinstance(t, str) else t for t in tableaux]
    plan = [
        (equation, method, norm)
        for equation in equations
        for method in methods
        for norm, radius in zip(("2", "max"), radii(method), strict=True)
        if norm in norms and radius > 0 and _possible(equation, method, norm, seed)
    ]
    each = max(2, math.ceil(cases / max(1, len(plan))))
    findings = []
    for equation, method, norm in plan:
        rng = stream(seed, f"hunt/{equation.name}/{method.name}/{norm}")
        small = each // 3 or 1  # one unit, where the extremes are reached most easily; then up to eight
        sizes = ((1, small), (int(rng.integers(2, 9)), each - small))
        parts = [_Chunk(equation, method, norm, n, count, rng).search(inflate) for n, count in sizes]
        findings.append(_merged(parts))
    return HuntResult(tuple(findings), inflate)


def _equation(cell: str | EquationField) -> EquationField:
    equation = field_of(cell) if isinstance(cell, str) else cell
    if not isinstance(equation, EquationField):
        raise UsageError(f"cell {cell!r} is not given as an equation, so it has no certificate to test.")
    return equation


def _possible(equation: EquationField, method: Tableau, norm: Any, seed: int) -> bool:
    """Whether some weights get a certificate in this norm."""
    chunk = _Chunk(equation, method, norm, 3, 8, stream(seed, "hunt/possible"))
    return bool((chunk.base > 0).any())


def _merged(parts: Sequence[Finding]) -> Finding:
    known = [f.tightness for f in parts if f.tightness is not None]
    first = parts[0]
    return Finding(
        first.cell,
        first.tableau,
        first.norm,
        sum(f.cases for f in parts),
        sum(f.certified for f in parts),
        sum(f.violations for f in parts),
        max(f.worst for f in parts),
        max(known) if known else None,
        sum(f.unsolved for f in parts),
    )


class _Weights(torch.nn.Module):
    """`CellField.weights` as a forward, for `functional_call`."""

    def __init__(self, field: CellField) -> None:
        super().__init__()
        self.field = field

    def forward(self) -> tuple[Tensor, ...]:
        return self.field.weights()


class _Chunk:
    """Cases of one equation, tableau, norm and size, as one batch of `count` weights."""

    def __init__(
        self, equation: EquationField, method: Tableau, norm: Any, hidden: int, count: int, rng: np.random.Generator
    ) -> None:
        self.equation, self.method, self.norm, self.n, self.count, self.rng = equation, method, norm, hidden, count, rng
        constants = {name: float(rng.uniform(0.2, 2.0)) for name in equation.constants}
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(int(rng.integers(2**62)))
            self.field = CellField(equation, 1, hidden, constants, Init(), dtype=torch.float64)
        self.holder = _Weights(self.field)
        self.width = self.field.drive(torch.zeros(1, dtype=torch.float64)).shape[-1]
        self.D = equation.blocks * hidden
        self.A, self.b = (torch.from_numpy(x.copy()) for x in (method.arrays.A, method.arrays.b))
        self.acting = {
            name: self._normal(count, *p.shape) * self._sizes(count).view(-1, *[1] * p.dim())
            for name, p in self.holder.named_parameters()
            if "matrices." in name or "vectors." in name
        }
        self.base = self._certified()

    # ----------------------------------------------------------------------------------------------------- random parts

    def _normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.rng.standard_normal(shape))

    def _sizes(self, count: int) -> Tensor:
        """Sizes over two decades."""
        return torch.from_numpy(10 ** self.rng.uniform(-1.5, 0.7, count))

    def _start(self) -> tuple[Tensor, Tensor, Tensor]:
        """States (B, D) of two trajectories, drives (T, B, k): of all sizes, and corners of flat and steep slopes."""
        y = self._normal(self.count, self.D) * self._sizes(self.count)[:, None]
        other = y + self._normal(self.count, self.D) * self._sizes(self.count)[:, None]
        d = self._normal(STEPS, self.count, self.width) * self._sizes(self.count)[:, None]
        if self.width:
            corner = torch.from_numpy(self.rng.choice([-30.0, 0.0, 0.0, 30.0], d.shape))
            chosen = torch.from_numpy(self.rng.random(self.count) < 0.5)[:, None]
            y = torch.where(chosen, 0.01 * y, y)
            d = torch.where(chosen, corner, d)
        return y, other, d

    # ------------------------------------------------------------------------------------------------------ certificate

    def weights(self, acting: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The field's weights, with a first dimension of cases."""
        if not acting:
            return tuple(w.detach().expand(self.count, *w.shape) for w in self.field.weights())
        found: tuple[Tensor, ...] = vmap(lambda own: functional_call(self.holder, own, ()))(dict(acting))
        return found

    def _steps(self, acting: Mapping[str, Tensor]) -> Any:
        """The certified steps of weights, (cases,)."""
        with torch.no_grad():
            found = constants_of(self.equation, self.field.constant_values, arrays(self.weights(acting)), self.n)
        steps = step_2(found, self.method) if self.norm == "2" else step_max(found, self.method)
        return np.broadcast_to(steps, (len(next(iter(acting.values()))) if acting else self.count,))

    def _certified(self) -> Any:
        """Scales the weights down to where they are certified, and gives the steps; 0 where they never are."""
        best, done = np.zeros(self.count), np.zeros(self.count, dtype=bool)
        scaled = self.acting
        for scale in SCALES:
            tried = {name: scale * value for name, value in self.acting.items()}
            steps = self._steps(tried)
            new = torch.from_numpy(~done & (steps > 0))
            scaled = {k: torch.where(new.view(-1, *[1] * (v.dim() - 1)), tried[k], v) for k, v in scaled.items()}
            best = np.where(new.numpy(), steps, best)
            done |= new.numpy()
            if done.all():
                break
        self.acting = scaled
        return best

    # --------------------------------------------------------------------------------------------------------- the step

    def _slopes(self, w: tuple[Tensor, ...], d: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """(f(Y), J(Y)) of states (cases, any number, D), the drive of each case held."""

        def one(Y: Tensor, drive: Tensor, own: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
            drives = drive.expand(len(Y), -1)
            return self.field(0.0, Y, drives, own), self.field.jacobian(Y, drives, own)

        batched = vmap(one)
        return lambda Y: batched(Y, d, w)

    def _explicit(self, y: Tensor, d: Tensor, h: Tensor, w: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """The next states (cases, m, D) and the Jacobians of the step (cases, m, D, D)."""
        evaluate, h1, h2 = self._slopes(w, d), h[:, None, None], h[:, None, None, None]
        eye = torch.eye(self.D, dtype=y.dtype).expand(*y.shape[:2], -1, -1)
        slopes: list[tuple[Tensor, Tensor]] = []
        for row in self.A.tolist():
            Y, Z = y, eye
            for a, (k, K) in zip(row, slopes, strict=False):
                if a:
                    Y, Z = Y + a * h1 * k, Z + a * h2 * K
            f, J = evaluate(Y)
            slopes.append((f, J @ Z))
        result, Z = y, eye
        for b, (k, K) in zip(self.b.tolist(), slopes, strict=True):
            result, Z = result + b * h1 * k, Z + b * h2 * K
        return result, Z

    def _implicit(self, y: Tensor, d: Tensor, h: Tensor, w: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """As `_explicit`, and whether each case was solved: damped Newton on all stages at once."""
        s, (B, m, D) = len(self.b), y.shape
        evaluate, hA = self._slopes(w, d), h[:, None, None] * self.A

        def system(Y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            """Residual of stages Y (B, m, s, D), its matrix, slopes and Jacobians of the field."""
            f, J = evaluate(Y.reshape(B, m * s, D))
            f, J = f.view(B, m, s, D), J.view(B, m, s, D, D)
            gap = Y - y[:, :, None] - torch.einsum("bij,bmjd->bmid", hA, f)
            blocks = torch.einsum("bij,bmjde->bmidje", hA, J).reshape(B, m, s * D, s * D)
            return gap.flatten(2), torch.eye(s * D, dtype=y.dtype) - blocks, f, J

        with torch.no_grad():
            Y = y.detach()[:, :, None].expand(B, m, s, D)
            gap, matrix, f, _ = system(Y)
            size = gap.norm(dim=-1)
            damping = torch.ones_like(size)
            for _ in range(80):
                goal = 1e-13 * (1 + Y.flatten(2).norm(dim=-1) + h[:, None] * f.flatten(2).norm(dim=-1))
                if (size <= goal).all():
                    break
                move = torch.linalg.solve(matrix, gap).view(B, m, s, D)
                tried = system(Y - damping[:, :, None, None] * move)
                length = tried[0].norm(dim=-1)
                better = (length < size) & (size > goal)
                Y = torch.where(better[:, :, None, None], Y - damping[:, :, None, None] * move, Y)
                gap, matrix, f = (
                    torch.where(better.view(B, m, *[1] * (new.dim() - 2)), new, old)
                    for new, old in zip(tried, (gap, matrix, f), strict=False)
                )
                size = torch.where(better, length, size)
                damping = torch.where(better, (2 * damping).clamp(max=1.0), damping / 2)  # where the residual grew
            solved = (size <= 100 * goal).all(1)
        # One more step of Newton from the solution carries the derivatives.
        Y = Y - torch.linalg.solve(matrix, system(Y)[0]).view(B, m, s, D)
        _, matrix, f, J = system(Y)
        eye = torch.eye(D, dtype=y.dtype)
        Z = torch.linalg.solve(matrix, eye.repeat(s, 1).expand(B, m, s * D, D)).view(B, m, s, D, D)
        result = y + h[:, None, None] * torch.einsum("i,bmid->bmd", self.b, f)
        return result, eye + h[:, None, None, None] * torch.einsum("i,bmide->bmde", self.b, J @ Z), solved

    def _step(self, y: Tensor, d: Tensor, h: Tensor, w: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        if self.method.explicit:
            return *self._explicit(y, d, h, w), torch.ones(len(y), dtype=torch.bool)
        return self._implicit(y, d, h, w)

    # ----------------------------------------------------------------------------------------------------------- growth

    def _size(self, M: Tensor) -> Tensor:
        """Operator norm of matrices (..., D, D); infinite where an entry is not finite."""
        finite = M.isfinite().all(-1).all(-1)
        whole = torch.where(finite[..., None, None], M, 0.0)  # LAPACK takes no infinite entries
        size = torch.linalg.matrix_norm(whole, 2) if self.norm == "2" else whole.abs().sum(-1).amax(-1)
        return torch.where(finite, size, math.inf)

    def _length(self, v: Tensor) -> Tensor:
        return v.norm(dim=-1) if self.norm == "2" else v.abs().amax(-1)

    def growth(
        self, y: Tensor, d: Tensor, h: Tensor, w: tuple[Tensor, ...], other: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The growth of each case, infinite where it overflowed, and whether all its stages were solved.

        Differentiable without `other`.
        """
        Z, largest = torch.eye(self.D, dtype=y.dtype), torch.zeros(len(y), dtype=y.dtype)
        solved = torch.ones(len(y), dtype=torch.bool)
        both = torch.stack([y] if other is None else [y, other], dim=1)
        for drive in d:
            moved, J, ok = self._step(both, drive, h, w)
            solved = ok & solved
            Z = J @ Z
            largest = torch.maximum(largest, torch.maximum(self._size(J), self._size(Z)).amax(1))
            if other is not None:
                scale = self._length(both).sum(1) + self._length(moved).sum(1)
                before = torch.maximum(self._length(both[:, 1] - both[:, 0]), FLOOR * scale)
                largest = torch.maximum(largest, self._length(moved[:, 1] - moved[:, 0]) / before)
            both = moved
        return torch.where(largest.isnan(), math.inf, largest), solved

    # ----------------------------------------------------------------------------------------------------------- search

    def search(self, inflate: float) -> Finding:
        """Random cases, then the climb, then the step at which growth begins."""
        tried, kept = self.count, torch.from_numpy(np.asarray(self.base) > 0)
        if not kept.any():
            return Finding(self.equation.name, self.method.name, self.norm, tried, 0, 0, 0.0, None, 0)
        self.acting = {name: value[kept] for name, value in self.acting.items()}
        self.base, self.count = np.asarray(self.base)[kept.numpy()], int(kept.sum())
        y, other, d = self._start()
        limited = torch.from_numpy(np.isfinite(self.base))
        free = torch.from_numpy(10 ** self.rng.uniform(-1.5, 1.5, self.count))  # steps where none is too large
        share = torch.from_numpy(np.where(self.rng.random(self.count) < 0.7, 1.0, self.rng.random(self.count)))

        def steps(base: Any) -> Tensor:
            return torch.where(limited, inflate * torch.from_numpy(np.where(np.isfinite(base), base, 1.0)), free)

        w = self.weights(self.acting)
        with torch.no_grad():
            first, ok = self.growth(y, d, share * steps(self.base), w, other)
            worst, solved = torch.where(ok, first, 0.0), ok
        y, d = self._climb(y, d, steps, limited)
        w, h = self.weights(self.acting), steps(self.base)
        with torch.no_grad():
            last, ok = self.growth(y, d, h, w, y + 0.1 * (other - y))
            worst, solved = torch.maximum(worst, torch.where(ok, last, 0.0)), solved & ok
            tightness = self._tightness(y, d, h / inflate, w, limited)
        return Finding(
            self.equation.name,
            self.method.name,
            self.norm,
            tried,
            self.count,
            int((worst > 1 + TOLERANCE).sum()),
            float(worst.max()),
            tightness,
            int((~solved).sum()),
        )

    def _climb(self, y: Tensor, d: Tensor, steps: Callable[[Any], Tensor], limited: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient ascent over starts, drives and, for half of the cases, weights; certificates follow the weights.

        A third climbs at 1.5 times its step: at the step itself, growth of 1 in a slow direction hides the fast ones.
        """
        factor = torch.where(limited & torch.from_numpy(self.rng.random(self.count) < 0.5), 1.5, 1.0)
        moving = torch.from_numpy(self.rng.random(self.count) < 0.5)
        rate = 0.3
        for round_ in range(CLIMB):
            y, d = y.detach().requires_grad_(), d.detach().requires_grad_()
            with_weights = round_ % 4 == 3 and bool(self.acting)
            acting = {k: v.detach().requires_grad_(with_weights) for k, v in self.acting.items()}
            value, ok = self.growth(y, d, factor * steps(self.base), self.weights(acting))
            total = torch.where(ok & value.isfinite(), value, 0.0).sum()
            if not total.requires_grad:  # a linear field: every start and every input grows alike
                continue
            sources = [y, d, *(acting.values() if with_weights else ())]
            slopes = torch.autograd.grad(total, sources, allow_unused=True)
            with torch.no_grad():
                y = self._moved(y, slopes[0], rate, 0)
                d = self._moved(d, slopes[1], rate, 1)
                if with_weights:
                    self._move_weights(acting, slopes[2:], rate, moving)
            rate *= 0.93
        return y.detach(), d.detach()

    def _moved(self, x: Tensor, slope: Tensor | None, rate: float, axis: int) -> Tensor:
        """A step uphill, of a length in proportion to the size of x, case by case (cases along `axis`)."""
        if slope is None or not x.numel():
            return x
        rest = tuple(k for k in range(x.dim()) if k != axis)
        slope = torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0)
        size = slope.square().sum(rest, keepdim=True).sqrt()
        reach = 0.1 + x.square().sum(rest, keepdim=True).sqrt()
        return x + rate * reach * slope / (size + 1e-30)

    def _move_weights(
        self, acting: Mapping[str, Tensor], slopes: Sequence[Tensor | None], rate: float, moving: Tensor
    ) -> None:
        """Weights uphill, at their own size, where they stay certified as finely as before."""
        tried = {}
        for (name, old), slope in zip(acting.items(), slopes, strict=True):
            new = self._moved(old, slope, rate, 0)
            rest = tuple(range(1, old.dim()))
            shrink = (old.square().sum(rest, keepdim=True) / (new.square().sum(rest, keepdim=True) + 1e-300)).sqrt()
            tried[name] = new * shrink
        base = np.asarray(self._steps(tried))
        good = moving & torch.from_numpy((base > 0) & (np.isfinite(base) == np.isfinite(self.base)))
        self.acting = {
            k: torch.where(good.view(-1, *[1] * (v.dim() - 1)), tried[k], v).detach() for k, v in acting.items()
        }
        self.base = np.where(good.numpy(), base, self.base)

    def _tightness(self, y: Tensor, d: Tensor, h: Tensor, w: tuple[Tensor, ...], limited: Tensor) -> float | None:
        """Certified step over the smallest step with growth, over all cases at the points that the climb reached."""

        def grows(factor: Tensor) -> Tensor:
            value, ok = self.growth(y, d, factor * h, w)
            return ok & limited & (value > 1 + TOLERANCE)

        if not limited.any():
            return None
        high, seen = torch.full((self.count,), math.inf, dtype=h.dtype), torch.zeros(self.count, dtype=torch.bool)
        low = torch.ones_like(high)
        for factor in FACTORS:
            now = grows(torch.full_like(low, factor)) & ~seen
            high = torch.where(now, factor, high)
            seen |= now
            low = torch.where(seen, low, factor)
            if seen.any():  # the smallest counts
                break
        if not seen.any():
            return None
        for _ in range(20):
            middle = torch.where(seen, (low + high) / 2, 1.0)
            good = grows(middle)
            low, high = torch.where(good, low, middle), torch.where(good, middle, high)
        return 1.0 / float(high[seen].min())
