"""The circle condition of a field: its constants in the 2-norm and the maximum norm, from its equation and weights.

The constants follow from the equation. Its slopes x_k(y, a) lie in intervals (`solvers.sector`), so J = C + E with C at
the intervals' centres and ||E||_2 <= r. Hence mu_2(J) <= lambda_max((C + C^T) / 2) + r, and every rho with
||C + rho I||_2 + r <= rho will do; the left side minus rho does not grow with rho, so bisection finds the smallest. For
y' = -gamma y + tanh(W y + d) it is at most (gamma + ||W||_2) / 2 once ||W||_2 <= gamma, and exact for one unit. A
summand -W^T phi(W y + d) with phi' in [0, L] has -L ||W||^2 <= J = J^T <= 0, so rho = L ||W||_2^2 / 2; the constants of
summands add up, by the triangle inequality.

In the maximum norm, row i asks for |1 + J_ii / rho| + sum_(j != i) |J_ij| / rho <= 1, which is convex in the row's
slopes: their corners decide, with p = J_ii and q = sum_(j != i) |J_ij| by p + q <= 0 and rho >= (q - p) / 2.

Of y' = phi(M y + d), such as the antisymmetric cell, no inner-product norm contracts unless M = -diag(c) P with c >= 0
and P positive definite: slopes that are all 0 but one, phi'_i = 1, ask for P e_i m_i^T + m_i e_i^T P <= 0, so row m_i
of M is -c_i P e_i; M = A - gamma I with A skew is not of this form unless A = 0. The maximum norm contracts where each
row of M has M_ii <= -sum_(j != i) |M_ij|.

Norms and constants are rounded upwards. Longer than most files: the two norms read the same sums of terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import sympy

from .field import EquationField
from .layout import layout
from .sector import Interval, bound, differentiable, multiply

Array: TypeAlias = npt.NDArray[np.float64]
Table: TypeAlias = tuple[tuple[Interval, ...], ...]

EPS = float(np.finfo(np.float64).eps)
LIMIT = 2.0**20
"""A constant so many times larger than the field's own norm certifies no useful step, and is not looked for."""

# -------------------------------------------------------------------------------------------------- slopes of a field


@dataclass(frozen=True)
class Gradient:
    """A summand M^T phi(M y_block + d) times a number, where phi' times the number lies in [-steepest, 0]."""

    mix: int
    block: int
    steepest: float


@dataclass(frozen=True)
class Sectors:
    """Where the slopes of an equation lie. Rows: right-hand sides.

    point, symmetric: by state block, as they are and for (P + P^T) / 2; maps: by preactivation of the layout that reads
    the state; outer: by mixed quantity; inner_point, inner_maps: rows are the expressions that are mixed. gradients:
    mixed quantities that are gradients, which `outer` leaves out. unbounded: the first slope without a bound, as text.
    bare: the field is phi(M y + V u + b) and nothing else.
    """

    point: Table
    symmetric: Table
    maps: Table
    outer: Table
    inner_point: Table
    inner_maps: Table
    gradients: tuple[Gradient, ...]
    unbounded: str
    bare: bool


@lru_cache(maxsize=256)
def sectors(
    equation: EquationField,
    constants: tuple[tuple[sympy.Symbol, sympy.Number], ...],
    vectors: tuple[tuple[sympy.Symbol, Interval], ...] = (),
) -> Sectors:
    """The slopes' intervals, derived by SymPy. vectors: the range of each trained vector's entries."""
    values, ranges = dict(constants), dict(vectors)
    library: Any = sympy
    reading = [m.symbol for m in layout(equation).reading]
    mixed = [m.symbol for m in equation.mixes]
    rhs: list[Any] = [differentiable(e).xreplace(values) for e in equation.rhs]
    inside: list[Any] = [differentiable(m.of).xreplace(values) for m in equation.mixes]
    unbounded: list[str] = []

    def interval(slope: Any, what: str) -> Interval:
        found = bound(slope, ranges)
        if not all(math.isfinite(end) for end in found):
            unbounded.append(what)
        return found

    def table(rows: Sequence[Any], symbols: Sequence[sympy.Symbol], told: Sequence[Any]) -> Table:
        pairs = zip(rows, told, strict=True)
        return tuple(tuple(interval(e.diff(s), f"the slope of {text} in {s}") for s in symbols) for e, text in pairs)

    of = [m.of for m in equation.mixes]
    point, maps, outer = (table(rhs, symbols, equation.rhs) for symbols in (equation.state, reading, mixed))
    inner_point, inner_maps = (table(inside, symbols, of) for symbols in (equation.state, reading))
    P = [[e.diff(s) for s in equation.state] for e in rhs]
    halves = tuple(
        tuple(bound(library.expand(P[i][j] + P[j][i]) / 2, ranges) for j in range(equation.blocks))
        for i in range(equation.blocks)
    )
    gradients = []
    for index in range(len(mixed)):
        found = _gradient(equation, index, outer, inner_point, inner_maps)
        if found is not None:
            gradients.append(found)
    gone = {g.mix for g in gradients}
    outer = tuple(tuple((0.0, 0.0) if k in gone else x for k, x in enumerate(row)) for row in outer)
    bare = len(reading) == equation.blocks == 1 and not mixed and point == (((0.0, 0.0),),)
    return Sectors(point, halves, maps, outer, inner_point, inner_maps, tuple(gradients), (unbounded or [""])[0], bare)


def _gradient(
    equation: EquationField,
    index: int,
    outer: Sequence[Sequence[Interval]],
    inner_point: Sequence[Sequence[Interval]],
    inner_maps: Sequence[Sequence[Interval]],
) -> Gradient | None:
    """The mixed quantity as a gradient summand, where it is one."""
    mix = equation.mixes[index]
    rows = [k for k, row in enumerate(outer) if row[index] != (0.0, 0.0)]
    columns = [k for k, x in enumerate(inner_maps[index]) if x != (0.0, 0.0)]
    if not mix.transposed or len(rows) != 1 or len(columns) != 1 or any(x != (0.0, 0.0) for x in inner_point[index]):
        return None
    (block,), (column,) = rows, columns
    low, high = outer[block][index]
    slope = multiply((low, high), inner_maps[index][column])
    if layout(equation).reading[column].reads != ((block, mix.matrix),) or low != high or slope[1] > 0:
        return None
    return Gradient(index, block, -slope[0]) if math.isfinite(slope[0]) else None


# ------------------------------------------------------------------------------------------------- constants of a field


@dataclass(frozen=True)
class Constants:
    """What the certificates need of a field; arrays over a batch of weights. Infinite where a condition does not hold.

    rho_2, rho_max: of the circle condition; mu_2: the one-sided Lipschitz constant in the 2-norm (an upper bound);
    skew: J is skew for every state and input. sectors: the slopes.
    """

    rho_2: Array
    rho_max: Array
    mu_2: Array
    skew: npt.NDArray[np.bool_]
    sectors: Sectors


def constants_of(
    equation: EquationField,
    values: tuple[tuple[sympy.Symbol, sympy.Number], ...],
    weights: Sequence[Array],
    hidden: int,
) -> Constants:
    """The constants of an equation with weights as `CellField.weights` gives them, in float64, (..., rows, columns).

    The leading dimensions are a batch. A trained vector counts with the range of its entries over the batch.
    """
    n, blocks = hidden, equation.blocks
    placed, mixes = layout(equation), len(equation.mixes)
    trained = weights[1 + mixes :]
    ranges = tuple((m.symbol, (float(v.min()), float(v.max()))) for m, v in zip(placed.vectors, trained, strict=True))
    found = sectors(equation, values, ranges)
    # M_k acts from the left on the whole state: (..., n, blocks n)
    acting = [np.swapaxes(weights[0][..., k * n : (k + 1) * n], -1, -2) for k in range(len(placed.reading))]
    mixing = [np.swapaxes(weights[1 + k], -1, -2) for k in range(mixes)]
    batch = np.broadcast_shapes(*(w.shape[:-2] for w in weights[: 1 + mixes])) if acting or mixing else ()
    shape = (*batch, blocks * n, blocks * n)
    eye = [np.eye(blocks * n)[j * n : (j + 1) * n] for j in range(blocks)]
    terms = _Terms(shape, n)
    for k, M in enumerate(acting):
        terms.add([row[k] for row in found.maps], M)
    for k, N in enumerate(mixing):
        if any(g.mix == k for g in found.gradients):
            continue
        for x, inner in [*zip(found.inner_maps[k], acting, strict=True), *zip(found.inner_point[k], eye, strict=True)]:
            terms.add_product([row[k] for row in found.outer], N, x, inner)
    general, symmetric = terms.copy(), terms.copy()
    for j in range(blocks):
        general.add([row[j] for row in found.point], eye[j])
        symmetric.add([row[j] for row in found.symmetric], eye[j])
    points = _Terms(shape, n)
    for j in range(blocks):
        points.add([row[j] for row in found.point], eye[j])
    points.radius = points.radius + terms.radius + terms.centre_norm

    rho_2 = np.minimum(_circle(general.C, general.radius), _circle(points.C, points.radius))
    S = (symmetric.C + np.swapaxes(symmetric.C, -1, -2)) / 2
    only = (points.C + np.swapaxes(points.C, -1, -2)) / 2
    mu_2 = np.minimum(_largest_eigenvalue(S) + symmetric.radius, _largest_eigenvalue(only) + points.radius)
    skew = ~S.any((-1, -2)) & (symmetric.radius == 0)
    rows = _Rows(general, found, acting, mixing, eye)
    rho_max = rows.constant(found.gradients)
    for g in found.gradients:
        norm = spectral_norm(mixing[g.mix])
        rho_2 = rho_2 + _up(g.steepest * _up(norm * norm) / 2)
        skew = skew & ~mixing[g.mix].any((-1, -2))
    if rows.diagonal:  # all norms are one then
        rho_2 = np.minimum(rho_2, rho_max)
    mu_2 = np.where(np.isfinite(rho_2), np.minimum(mu_2, 0.0), mu_2)
    return Constants(rho_2, rho_max, mu_2, skew, found)


class _Terms:
    """A sum of terms diag(x) M, x within intervals: centre C, radius in the 2-norm, and an upper bound of the norm of
    the centre's terms. parts: what the rows need, block by block: constant (n, D) matrices and uncertain (interval,
    matrix) pairs; products: summands diag(x) N diag(z) M with an interval for x z."""

    def __init__(self, shape: tuple[int, ...], n: int) -> None:
        self.n, self.blocks = n, shape[-1] // n
        self.C = np.zeros(shape)
        self.radius = np.zeros(shape[:-2])
        self.centre_norm = np.zeros(shape[:-2])
        self.uncertain: list[list[tuple[Interval, Array]]] = [[] for _ in range(self.blocks)]
        self.constant = [np.zeros((*shape[:-2], n, shape[-1])) for _ in range(self.blocks)]
        self.products: list[list[tuple[Interval, Array, Array]]] = [[] for _ in range(self.blocks)]

    def copy(self) -> _Terms:
        new = _Terms(self.C.shape, self.n)
        new.C, new.radius, new.centre_norm = self.C.copy(), self.radius.copy(), self.centre_norm.copy()
        new.uncertain = [list(row) for row in self.uncertain]
        new.constant = [row.copy() for row in self.constant]
        new.products = [list(row) for row in self.products]
        return new

    def add(self, intervals: Sequence[Interval], M: Array) -> None:
        """One term for each block: the rows of diag(x_l) M, x_l in intervals[l]."""
        self._widen([_halves(x) for x in intervals], [x != (0.0, 0.0) for x in intervals], spectral_norm(M))
        for block, x in enumerate(intervals):
            centre = _halves(x)[0]
            if x == (0.0, 0.0):
                continue
            self.C[..., block * self.n : (block + 1) * self.n, :] += centre * M
            if x[0] == x[1]:
                self.constant[block] = self.constant[block] + x[0] * M
            else:
                self.uncertain[block].append((x, M))

    def add_product(self, outer: Sequence[Interval], N: Array, inner: Interval, M: Array) -> None:
        """One term for each block: diag(x_l) N diag(z) M, x_l in outer[l], z in inner."""
        size = spectral_norm(N) * spectral_norm(M)
        (z, dz), pairs = _halves(inner), [_halves(x) for x in outer]
        used = [x != (0.0, 0.0) and inner != (0.0, 0.0) for x in outer]
        spread = [
            (x * z, abs(x) * dz + dx * (abs(z) + dz)) if u else (0.0, 0.0)
            for (x, dx), u in zip(pairs, used, strict=True)
        ]
        self._widen(spread, used, size)
        for block, x in enumerate(outer):
            if used[block]:
                self.C[..., block * self.n : (block + 1) * self.n, :] += spread[block][0] * (N @ M)
                self.products[block].append((multiply(x, inner), N, M))

    def _widen(self, pairs: Sequence[tuple[float, float]], used: Sequence[bool], norm: Array) -> None:
        """Stacked over the blocks, diag(x_l) M has a norm of at most sqrt(sum_l max|x_l|^2) ||M||."""
        if not any(used):
            return
        radius = _above(math.hypot(*(r for (_, r), u in zip(pairs, used, strict=True) if u)))
        centre = _above(math.hypot(*(c for (c, _), u in zip(pairs, used, strict=True) if u)))
        self.radius = _up(self.radius + (_up(radius * norm) if math.isfinite(radius) else radius))
        self.centre_norm = _up(self.centre_norm + _up(centre * norm))


class _Rows:
    """The rows of J as functions of their slopes, for the maximum norm."""

    def __init__(
        self, terms: _Terms, found: Sectors, acting: Sequence[Array], mixing: Sequence[Array], eye: Sequence[Array]
    ) -> None:
        self.terms, self.found, self.acting, self.mixing, self.eye = terms, found, acting, mixing, eye
        matrices = [*acting, *mixing]
        self.diagonal = terms.blocks == 1 and all(not _off_diagonal(M).any() for M in matrices)

    def constant(self, gradients: Sequence[Gradient]) -> Array:
        """rho_max; infinite where some row's p + q can be positive."""
        terms, n = self.terms, self.terms.n
        batch = terms.C.shape[:-2]
        worst = np.zeros(batch)
        for block in range(terms.blocks):
            above, below = np.zeros((*batch, n)), np.zeros((*batch, n))  # of the products, by the triangle inequality
            products = list(terms.products[block])
            for g in gradients:
                if g.block == block:
                    N = self.mixing[g.mix]
                    M = np.zeros((*N.shape[:-1], terms.C.shape[-1]))
                    M[..., block * n : (block + 1) * n] = np.swapaxes(N, -1, -2)
                    products.append(((-g.steepest, 0.0), N, M))
            for (low, high), N, M in products:
                if not (math.isfinite(low) and math.isfinite(high)):
                    return np.full(batch, math.inf)
                slopes, steepest = (np.float64(low), np.float64(high)), max(abs(low), abs(high))
                for i in range(n):
                    each = N[..., i, :, None] * M  # (l, j): N_il M_lj, times one slope for each l
                    own = each[..., block * n + i]
                    rest = np.abs(each).sum(-1) - np.abs(own)
                    pad = 4 * M.shape[-1] * EPS * steepest * np.abs(each).sum((-1, -2))
                    above[..., i] += np.maximum(*(x * own + abs(x) * rest for x in slopes)).sum(-1) + pad
                    below[..., i] += np.maximum(*(-x * own + abs(x) * rest for x in slopes)).sum(-1) + pad
            if any(not math.isfinite(end) for x, _ in terms.uncertain[block] for end in x):
                return np.full(batch, math.inf)
            for corner in product(*(x for x, _ in terms.uncertain[block])):
                J = terms.constant[block]
                size = np.abs(J)
                for slope, (_, M) in zip(corner, terms.uncertain[block], strict=True):
                    J = J + slope * M
                    size = size + abs(slope) * np.abs(M)
                pad = 4 * J.shape[-1] * EPS * size.sum(-1)
                p = np.diagonal(J, block * n, -2, -1)
                q = np.abs(J).sum(-1) - np.abs(p)
                fits = (p + q + pad + above <= 0).all(-1)
                rho = _up((q - p + pad + below) / 2).max(-1)
                worst = np.where(fits, np.maximum(worst, rho), math.inf)
        return worst


def spectral_norm(M: Array) -> Array:
    """||M||_2 rounded upwards: LAPACK's largest singular value is off by a few n eps ||M||_2 at most."""
    if M.shape[-1] == M.shape[-2] and not _off_diagonal(M).any():
        return np.asarray(np.abs(np.diagonal(M, axis1=-2, axis2=-1)).max(-1))
    values = np.linalg.svd(M, compute_uv=False)[..., 0]
    return np.asarray(values * (1 + 4 * max(M.shape[-2:]) * EPS))


def _largest_eigenvalue(S: Array) -> Array:
    """The largest eigenvalue of a symmetric matrix, rounded upwards; exact for a diagonal one."""
    if not _off_diagonal(S).any():
        return np.asarray(np.diagonal(S, axis1=-2, axis2=-1).max(-1))
    values = np.linalg.eigvalsh(S)[..., -1]
    return np.asarray(values + 8 * S.shape[-1] * EPS * np.linalg.norm(S, axis=(-2, -1)))


def _circle(C: Array, radius: Array) -> Array:
    """The smallest rho with ||C + rho I||_2 + radius <= rho, rounded upwards; infinite where there is none."""
    if not _off_diagonal(C).any():
        c = np.diagonal(C, axis1=-2, axis2=-1)
        return np.where(c.max(-1) + radius <= 0, _up((radius - c.min(-1)) / 2), math.inf)
    n = C.shape[-1]
    size = np.linalg.norm(C, axis=(-2, -1))
    possible = np.isfinite(radius)
    r = np.where(possible, radius, 0.0)
    square, twice = np.swapaxes(C, -1, -2) @ C, C + np.swapaxes(C, -1, -2)

    def holds(rho: Array) -> npt.NDArray[np.bool_]:
        # ||C + rho I|| <= rho - r, squared and without rho^2, which would drown the rest in rounding
        largest = np.linalg.eigvalsh(square + rho[..., None, None] * twice)[..., -1]
        pad = 8 * n * EPS * (size * size + 2 * rho * (size + r))
        return np.asarray(possible & (rho >= r) & (largest + pad <= r * r - 2 * rho * r))

    high = np.maximum((size + r) / 2, np.finfo(np.float64).tiny)
    for _ in range(int(math.log2(LIMIT)) // 2):
        fits = holds(high)
        if (fits | ~possible).all():
            break
        high = np.where(fits, high, 4 * high)
    fits = holds(high)
    low = np.zeros_like(high)
    for _ in range(30):
        middle = (low + high) / 2
        good = holds(middle)
        low, high = np.where(good, low, middle), np.where(good, middle, high)
    return np.where(fits, high, math.inf)


def _off_diagonal(M: Array) -> Array:
    return M * ~np.eye(M.shape[-2], M.shape[-1], dtype=bool)


def _halves(x: Interval) -> tuple[float, float]:
    """Centre and radius; nothing is known of an infinite interval but its radius."""
    low, high = x
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, math.inf
    centre = low / 2 + high / 2
    return centre, 0.0 if low == high else max(_above(high - centre), _above(centre - low))


def _above(value: float) -> float:
    """Rounded upwards, where halves and small integers are exact already."""
    return value if (value * 4).is_integer() and abs(value) < 2**40 else math.nextafter(value, math.inf)


def _up(value: Any) -> Array:
    """Rounded upwards by one place; zero stays."""
    array = np.asarray(value, dtype=np.float64)
    return np.where(array == 0, array, np.nextafter(array, math.inf))
