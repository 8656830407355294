"""The field contract: a recurrent cell's right-hand side, written once as SymPy expressions. Needs no torch.

    a_k = sum_j M_kj y_j + V_k u + b_k          one linear map of the state blocks y_1..y_m, plus the drive of the input
    s_l = M_l e_l(y, a)                         only where a second matrix mixes, as in -W^T tanh(W y + V u + b)
    y_j' = rhs_j(y, a, s)                       pointwise; the sum of the `parts` where a splitting method may step them

The torch function, the Jacobian, the typeset equation and the compiled kernels are derived from this description.
Longer than most files because the description checks itself and typesets itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import sympy

from ..suite.equation import symbols
from ..suite.errors import UsageError, unknown

if TYPE_CHECKING:
    import torch

    from .cell_field import CellField as CellField
    from .module_field import ModuleField as ModuleField
    from .torch_field import TorchField

Scheme = Literal["uniform", "linear", "normal", "orthogonal"]
Kind = Literal["dense", "antisymmetric", "symmetric", "diagonal"]
FlowKind = Literal["linear", "kick", "radial", "reflect", "stepped"]


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


DRAWN = sympy.Symbol("drawn", real=True)
"""The uniform number that a `Start` turns into a starting value."""


@dataclass(frozen=True)
class Start:
    """How a trained vector starts where the field's `Init` is not meant: `value` of a number drawn from U(low, high).

    value: an expression in `DRAWN` and the field's constants. Vectors whose starts have the same non-empty `key` use
    the same draws.
    """

    low: float = 0.0
    high: float = 1.0
    value: sympy.Expr = DRAWN
    key: str = ""


@dataclass(frozen=True)
class Matrix:
    """A trained (hidden, hidden) matrix and the combination of it that acts: straight W + transposed W^T + identity I.

    The coefficients are expressions in the field's constants. Two maps that hold an equal Matrix share its parameters;
    `diagonal` trains a vector, W = diag(w), which starts as `start` says. bound: an expression in the constants that
    the acting matrix's 2-norm never exceeds: W is scaled down to it. turns: an antisymmetric matrix that starts as
    2 x 2 blocks on the diagonal, whose angles `start` draws.
    """

    name: str
    straight: sympy.Expr = sympy.S.One
    transposed: sympy.Expr = sympy.S.Zero
    identity: sympy.Expr = sympy.S.Zero
    diagonal: bool = False
    bound: sympy.Expr | None = None
    start: Start | None = None
    turns: bool = False

    def latex(self) -> str:
        w = rf"\operatorname{{diag}}({self.name.lower()})" if self.diagonal else self.name
        acting = [(self.straight, w), (self.transposed, rf"{w}^{{\top}}"), (self.identity, "I")]
        plain = {sympy.Integer(1): "", sympy.Integer(-1): "- "}
        parts = [plain.get(c, f"{_factor(c)} ") + what for c, what in acting if c != 0]
        text = " + ".join(parts).replace("+ -", "-")
        return text if len(parts) == 1 else rf"\left({text}\right)"


def _factor(coefficient: sympy.Expr) -> str:
    """A coefficient as LaTeX before a product, a sum in parentheses."""
    text = str(sympy.latex(coefficient))
    return rf"\left({text}\right)" if isinstance(coefficient, sympy.Add) else text


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
    """A preactivation: symbol = sum of matrix @ block over `reads` (+ V u where driven, + b where biased).

    Blocks count from 0. biased: None is as `driven`. Without reads and input it is a trained vector. start: of b.
    """

    symbol: sympy.Symbol
    reads: tuple[tuple[int, Matrix], ...] = ()
    driven: bool = True
    biased: bool | None = None
    start: Start | None = None

    @property
    def has_bias(self) -> bool:
        return self.driven if self.biased is None else self.biased

    @property
    def vector(self) -> bool:
        """A trained vector: nothing but a bias."""
        return not self.reads and not self.driven

    @property
    def suffix(self) -> str:
        """What follows V_ and b_ in the names of its parameters: the index of a symbol such as a_i."""
        return str(self.symbol).partition("_")[2] or str(self.symbol)


def vector(symbol: sympy.Symbol, start: Start | None = None) -> Map:
    """A trained vector, one number a unit, in pointwise expressions."""
    return Map(symbol, driven=False, biased=True, start=start)


@dataclass(frozen=True)
class Mix:
    """A mixed quantity: symbol = matrix @ of, or its transpose @ of; `of` is pointwise in states and preactivations."""

    symbol: sympy.Symbol
    matrix: Matrix
    of: sympy.Expr
    transposed: bool = False


@dataclass(frozen=True)
class Part:
    """A summand of the right-hand sides, with the flow by which splitting methods step it.

    rhs: one expression a block, 0 where the part leaves it alone. flow: "linear", affine in the state with coefficients
    that do not depend on it: exact or Cayley flow, the input held; "kick", reads only what it does not change: the
    exact flow is one Euler step; "radial", b y / |y| with a trained vector b: |y| becomes max(|y| + h b, 0), the
    direction stays (over one block, or over two as a complex number); "reflect", no slope: the first units, a share
    `negative` of them, change sign once a step, whatever its size; "stepped": `substeps` steps of the `method`.
    """

    name: str
    rhs: tuple[sympy.Expr, ...]
    flow: FlowKind
    method: str = ""
    substeps: int = 1


def total(parts: tuple[Part, ...]) -> tuple[sympy.Expr, ...]:
    """The right-hand sides of the sum."""
    return tuple(sympy.Add(*terms) for terms in zip(*(part.rhs for part in parts), strict=True))


@dataclass(frozen=True)
class EquationField:
    """A cell's field as data.

    state: one symbol a block (the first block is the output); rhs: one pointwise expression a block; constants: names
    (real SymPy symbols in the expressions) with their default values, fixed and not trained; ode_order: the order of
    the ODE (the paper's t), equal to the number of blocks for a companion form; reference: paper and equation;
    published_step: the step h of the published cell, None where the paper tunes it; published_method, _substeps: the
    method of the published cell; frozen: what the published step holds constant, for the correspondence table;
    integrator: False for a map that is no step of any field; output: pointwise expressions of the state that the
    readout sees; start: "zeros", or "unit" for 1/sqrt(hidden) in the first block; positive: constants that
    must be above 0, such as time constants. Raises `UsageError` for a description
    that does not fit together.
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
    parts: tuple[Part, ...] = ()
    published_method: str = "euler"
    published_substeps: int = 1
    frozen: str = "nothing"
    integrator: bool = True
    output: tuple[sympy.Expr, ...] = ()
    start: Literal["zeros", "unit"] = "zeros"
    positive: tuple[str, ...] = ()

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
        loose += [(e, set(self.state)) for e in self.output]
        combined = [e for matrix in self.matrices for e in (matrix.straight, matrix.transposed, matrix.identity)]
        combined += [matrix.bound for matrix in self.matrices if matrix.bound is not None]
        for expression, allowed in loose + [(e, constants) for e in combined]:
            if stray := sorted(str(s) for s in sympy.sympify(expression).free_symbols - allowed):
                raise UsageError(
                    f"field {self.name!r} uses {stray[0]!r} in {expression}: expected states, preactivations or "
                    "constants (only constants in a Matrix; no mixed quantity inside another)."
                )
        if len({matrix.name for matrix in self.matrices}) != len(self.matrices):
            raise UsageError(f"field {self.name!r} gives one name to two different matrices.")
        if self.parts and any(
            sympy.expand(whole - summed) != 0 for whole, summed in zip(self.rhs, total(self.parts), strict=True)
        ):
            raise UsageError(f"the parts of field {self.name!r} do not add up to its right-hand side.")

    @property
    def sites(self) -> bool:
        """Whether the order is the number of units, as of a `CustomField` it can be; of an equation it never is."""
        return False

    @property
    def seen(self) -> tuple[sympy.Expr, ...]:
        """What the readout sees: `output`, or the first block."""
        return self.output or (self.state[0],)

    @property
    def blocks(self) -> int:
        return len(self.state)

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """The distinct trained matrices, in order of appearance."""
        found = [matrix for m in self.maps for _, matrix in m.reads] + [m.matrix for m in self.mixes]
        return tuple(dict.fromkeys(found))

    def values(self, constants: Mapping[str, float] | None = None) -> dict[sympy.Symbol, sympy.Number]:
        """Every constant's number, defaults overridden by name.

        Raises `UsageError` for an unknown or infinite one, and one of `positive` that is not above 0.
        """
        held = checked_constants(self.name, self.constants, constants)
        for key in self.positive:
            if held[key] <= 0:
                raise UsageError(f"constant {key!r} of cell {self.name!r} is {held[key]:g}: expected a number above 0.")
        return {symbols(key)[0]: number(value) for key, value in held.items()}

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
            if m.vector:  # a trained vector stands for itself
                continue
            index = f"_{{{m.suffix if '_' in str(m.symbol) else k}}}" if many else ""
            terms = [f"{matrix.latex()} {sympy.latex(self.state[block])}" for block, matrix in m.reads]
            terms += ([f"V{index} u"] if m.driven else []) + ([f"b{index}"] if m.has_bias else [])
            lines.append(f"{sympy.latex(m.symbol)} &= {' + '.join(terms)}")
        for mix in self.mixes:
            top = r"^{\top}" if mix.transposed else ""
            lines.append(rf"{sympy.latex(mix.symbol)} &= {mix.matrix.latex()}{top} \left({sympy.latex(mix.of)}\right)")
        return aligned(lines)


Maker = Callable[[int, int, "Mapping[str, float]", "torch.device | str | None", "torch.dtype | None"], "TorchField"]
"""(input_size, hidden_size, constants, device, dtype) -> the field."""


def made_by(module: str, name: str) -> Maker:
    """The `Maker` of a class in a module of this folder, imported on first use: describing a cell needs no torch."""

    def make(
        input_size: int,
        hidden_size: int,
        constants: Mapping[str, float],
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> TorchField:
        made: TorchField = vars(import_module(f".{module}", __package__))[name](
            input_size, hidden_size, constants, device, dtype
        )
        return made

    return make


@dataclass(frozen=True)
class CustomField:
    """A cell whose field is written in torch, because its matrices have a structure that `EquationField` has no word
    for. equation: LaTeX lines with &=; make: builds the `TorchField`; observed: whose memory the ODE's order counts,
    block 0 of the state, or "unit" for the first unit of every block; sites: the order is the number of units (a chain
    of as many sites), and `ode_order` nominal; the other fields as in `EquationField`.
    """

    name: str
    equation: tuple[str, ...]
    reference: str
    make: Maker
    ode_order: int = 1
    constants: Mapping[str, float] = field(default_factory=dict, hash=False)
    published_step: float | None = None
    published_method: str = "lie"
    published_substeps: int = 1
    frozen: str = "nothing"
    integrator: bool = True
    observed: Literal["block", "unit"] = "block"
    sites: bool = False

    def values(self, constants: Mapping[str, float] | None = None) -> dict[str, float]:
        """Every constant, defaults overridden by name. Raises `UsageError` for an unknown or infinite one."""
        return checked_constants(self.name, self.constants, constants)

    def latex(self) -> str:
        return aligned(self.equation)


CellDescription: TypeAlias = EquationField | CustomField


def aligned(lines: Sequence[str]) -> str:
    """Aligned LaTeX lines."""
    return r"\begin{aligned}" + r" \\ ".join(lines) + r"\end{aligned}"


def checked_constants(
    name: str, defaults: Mapping[str, float], constants: Mapping[str, float] | None
) -> dict[str, float]:
    """Every constant of a cell, defaults overridden by name. Raises `UsageError` for an unknown or infinite one."""
    given = dict(constants or {})
    for key, value in given.items():
        if key not in defaults:
            if not defaults:
                raise UsageError(f"cell {name!r} has no constants, so {key!r} cannot be set.")
            raise unknown(f"constant of cell {name!r}", key, list(defaults))
        if not math.isfinite(value):
            raise UsageError(f"constant {key!r} of cell {name!r} is {value}: expected a finite number.")
    return {**defaults, **given}


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
