"""The field contract: a recurrent cell's right-hand side, written once as SymPy expressions. Needs no torch.

    a_k = sum_j M_kj y_j + V_k u + b_k          one linear map of the state blocks y_1..y_m, plus the drive of the input
    s_l = M_l e_l(y, a)                         only where a second matrix mixes, as in -W^T tanh(W y + V u + b)
    y_j' = rhs_j(y, a, s)                       pointwise

The torch function, the Jacobian, the typeset equation and the compiled kernels are derived from this description.
Longer than most files because the description checks itself and typesets itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import sympy

from ..suite.equation import symbols
from ..suite.errors import UsageError, unknown

if TYPE_CHECKING:
    from .cell_field import CellField as CellField
    from .module_field import ModuleField as ModuleField

Scheme = Literal["uniform", "linear", "normal", "orthogonal"]
Kind = Literal["dense", "antisymmetric", "symmetric", "diagonal"]


@dataclass(frozen=True)
class Init:
    """How a field's parameters start; n = hidden size, p = input size. gain multiplies the recurrent matrices only,
    input_gain the input matrices V only: an input held for a small step h moves the state by h V u.

    uniform: all U(+-1/sqrt n) (torch.nn.RNN, which adds a second such bias). linear: all U(+-1/sqrt fan_in), fan_in =
    p + n for each block read (one torch.nn.Linear on the concatenated input and blocks). normal: W ~ N(0, 1/n),
    V ~ N(0, 1/p), b = 0.
    orthogonal: W orthogonal (Saxe et al. 2014), V uniform, b = 0.
    """

    scheme: Scheme = "uniform"
    gain: float = 1.0
    input_gain: float = 1.0

    def __post_init__(self) -> None:
        if self.scheme not in get_args(Scheme):
            raise unknown("initialisation", self.scheme, get_args(Scheme))
        for what, value in (("recurrent gain", self.gain), ("input gain", self.input_gain)):
            if not math.isfinite(value):
                raise UsageError(f"the {what} is {value}: expected a finite number.")


@dataclass(frozen=True)
class Matrix:
    """A trained (hidden, hidden) matrix and the combination of it that acts: straight W + transposed W^T + identity I.

    The coefficients are expressions in the field's constants. Two maps that hold an equal Matrix share its parameters;
    `diagonal` trains a vector, W = diag(w).
    """

    name: str
    straight: sympy.Expr = sympy.S.One
    transposed: sympy.Expr = sympy.S.Zero
    identity: sympy.Expr = sympy.S.Zero
    diagonal: bool = False

    def latex(self) -> str:
        w = rf"\operatorname{{diag}}({self.name.lower()})" if self.diagonal else self.name
        acting = [(self.straight, w), (self.transposed, rf"{w}^{{\top}}"), (self.identity, "I")]
        plain = {sympy.Integer(1): "", sympy.Integer(-1): "- "}
        parts = [plain.get(c, f"{sympy.latex(c)} ") + what for c, what in acting if c != 0]
        text = " + ".join(parts).replace("+ -", "-")
        return text if len(parts) == 1 else rf"\left({text}\right)"


def dense(name: str = "W") -> Matrix:
    """W itself: n^2 parameters."""
    return Matrix(name)


def antisymmetric(gamma: sympy.Expr, name: str = "W") -> Matrix:
    """W - W^T - gamma I: n (n - 1) / 2 parameters."""
    return Matrix(name, sympy.Integer(1), sympy.Integer(-1), -gamma)


def diagonal(name: str = "W") -> Matrix:
    """diag(w): n parameters."""
    return Matrix(name, diagonal=True)


@dataclass(frozen=True)
class Map:
    """A preactivation: symbol = sum of matrix @ block over `reads` (+ V u + b where driven). Blocks count from 0."""

    symbol: sympy.Symbol
    reads: tuple[tuple[int, Matrix], ...]
    driven: bool = True


@dataclass(frozen=True)
class Mix:
    """A mixed quantity: symbol = matrix @ of, or its transpose @ of; `of` is pointwise in states and preactivations."""

    symbol: sympy.Symbol
    matrix: Matrix
    of: sympy.Expr
    transposed: bool = False


@dataclass(frozen=True)
class EquationField:
    """A cell's field as data.

    state: one symbol a block (the first block is the output); rhs: one pointwise expression a block; constants: names
    (real SymPy symbols in the expressions) with their default values, fixed and not trained; ode_order: the order of
    the ODE (the paper's t), equal to the number of blocks for a companion form; reference: paper and equation;
    published_step: the step h of the published cell, None where the paper tunes it. Raises `UsageError` for a
    description that does not fit together.
    """

    name: str
    state: tuple[sympy.Symbol, ...]
    maps: tuple[Map, ...]
    rhs: tuple[sympy.Expr, ...]
    reference: str
    ode_order: int = 1
    constants: Mapping[str, float] = field(default_factory=dict, hash=False)
    mixes: tuple[Mix, ...] = ()
    published_step: float | None = None
    init: Init = Init()

    def __post_init__(self) -> None:
        order_of(self.name, self.ode_order)
        if not self.state or len(self.rhs) != len(self.state):
            raise UsageError(
                f"field {self.name!r} has {len(self.state)} blocks and {len(self.rhs)} right-hand sides: "
                "expected one for each, and at least one."
            )
        if not self.maps:
            raise UsageError(f"field {self.name!r} has no preactivation: expected at least one Map.")
        if any(not 0 <= block < self.blocks for m in self.maps for block, _ in m.reads):
            raise UsageError(f"field {self.name!r} reads a block that is not one of its {self.blocks}.")
        constants = {s for name in self.constants for s in symbols(name)}
        pointwise = {*self.state, *(m.symbol for m in self.maps), *constants}
        mixed = {m.symbol for m in self.mixes}
        if len(pointwise) + len(mixed) != self.blocks + len(self.maps) + len(self.constants) + len(self.mixes):
            raise UsageError(f"field {self.name!r} uses one symbol for two things: expected distinct symbols.")
        loose = [(e, pointwise | mixed) for e in self.rhs] + [(m.of, pointwise) for m in self.mixes]
        combined = [e for matrix in self.matrices for e in (matrix.straight, matrix.transposed, matrix.identity)]
        for expression, allowed in loose + [(e, constants) for e in combined]:
            if stray := sorted(str(s) for s in sympy.sympify(expression).free_symbols - allowed):
                raise UsageError(
                    f"field {self.name!r} uses {stray[0]!r} in {expression}: expected states, preactivations or "
                    "constants (only constants in a Matrix; no mixed quantity inside another)."
                )
        if len({matrix.name for matrix in self.matrices}) != len(self.matrices):
            raise UsageError(f"field {self.name!r} gives one name to two different matrices.")

    @property
    def blocks(self) -> int:
        return len(self.state)

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """The distinct trained matrices, in order of appearance."""
        found = [matrix for m in self.maps for _, matrix in m.reads] + [m.matrix for m in self.mixes]
        return tuple(dict.fromkeys(found))

    def values(self, constants: Mapping[str, float] | None = None) -> dict[sympy.Symbol, sympy.Number]:
        """Every constant's number, defaults overridden by name. Raises `UsageError` for an unknown or infinite one."""
        given, names = dict(constants or {}), list(self.constants)
        for name, value in given.items():
            if name not in names:
                if not names:
                    raise UsageError(f"cell {self.name!r} has no constants, so {name!r} cannot be set.")
                raise unknown(f"constant of cell {self.name!r}", name, names)
            if not math.isfinite(value):
                raise UsageError(f"constant {name!r} of cell {self.name!r} is {value}: expected a finite number.")
        return {symbols(k)[0]: number(given.get(k, default)) for k, default in self.constants.items()}

    def coefficients(self, matrix: Matrix, values: Mapping[sympy.Symbol, sympy.Number]) -> tuple[float, float, float]:
        """The matrix's straight, transposed and identity coefficients as numbers."""
        expressions: list[Any] = [matrix.straight, matrix.transposed, matrix.identity]
        straight, transposed, identity = (float(e.xreplace(dict(values))) for e in expressions)
        return straight, transposed, identity

    def kind(self, matrix: Matrix, values: Mapping[sympy.Symbol, sympy.Number]) -> Kind:
        """Which numbers of the matrix act: decides what is stored and counted."""
        straight, transposed, _ = self.coefficients(matrix, values)
        if matrix.diagonal:
            return "diagonal"
        if straight == -transposed:
            return "antisymmetric"
        return "symmetric" if straight == transposed else "dense"

    def latex(self) -> str:
        """Right-hand sides, then preactivations and mixed quantities, as aligned LaTeX lines."""
        lines = [rf"\dot {sympy.latex(s)} &= {sympy.latex(e)}" for s, e in zip(self.state, self.rhs, strict=True)]
        many = len(self.maps) > 1
        for k, m in enumerate(self.maps, start=1):
            index = f"_{{{k}}}" if many else ""
            terms = [f"{matrix.latex()} {sympy.latex(self.state[block])}" for block, matrix in m.reads]
            terms += [f"V{index} u + b{index}"] if m.driven else []
            lines.append(f"{sympy.latex(m.symbol)} &= {' + '.join(terms)}")
        for mix in self.mixes:
            top = r"^{\top}" if mix.transposed else ""
            lines.append(rf"{sympy.latex(mix.symbol)} &= {mix.matrix.latex()}{top} \left({sympy.latex(mix.of)}\right)")
        return r"\begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}"


def states(blocks: int) -> tuple[sympy.Symbol, ...]:
    """y1..ym."""
    return symbols(" ".join(f"y{j}" for j in range(1, blocks + 1)))


def preactivations(count: int) -> tuple[sympy.Symbol, ...]:
    """a1..aq."""
    return symbols(" ".join(f"a{k}" for k in range(1, count + 1)))


def number(value: float) -> Any:
    """The float as an exact integer where it is one (so that 1.0 * y costs nothing), else with all its digits."""
    exact: Any = sympy
    return exact.Integer(int(value)) if float(value).is_integer() else exact.Float(value, 17)


def order_of(name: str, ode_order: int | None, fixed: int | None = None) -> int:
    """A field's ODE order: the one asked for; 1, or `fixed`, for None. Raises `UsageError` where it cannot have it."""
    chosen = (fixed or 1) if ode_order is None else ode_order
    if isinstance(chosen, bool) or not isinstance(chosen, int) or chosen < 1:
        raise UsageError(f"the ODE order of {name!r} is {chosen!r}: expected an integer of at least 1.")
    if fixed is not None and chosen != fixed:
        raise UsageError(
            f"cell {name!r} is an ODE of order {fixed}, not {chosen}: use cell 'companion' for other orders."
        )
    return chosen


def __getattr__(name: str) -> Any:
    """The torch sides of a field, loaded on first use so that describing fields needs no torch."""
    if name == "CellField":
        from .cell_field import CellField

        return CellField
    if name == "ModuleField":
        from .module_field import ModuleField

        return ModuleField
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
