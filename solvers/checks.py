"""Conformance of tableaux, cells and backends: the rules of `odernn check`, one verdict each.

Oracles are independent of what is examined: rooted trees for a tableau, finite differences for a cell's derivatives,
SciPy's DOP853 at tight tolerance and the native gradient for a backend.

Longer than most files because all these rules are in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.integrate import solve_ivp

from ..suite.catalogue import NAME, load
from ..suite.loading import is_file
from ..suite.verdict import BrokenRuleError, Rule, Verdict, judged, must, silent
from .backends import find_backend
from .fields import field_of
from .forecaster_checks import forecaster_rules
from .forecasters import FORECASTERS
from .partitioned_tableau import PartitionedTableau
from .spec import BASELINES, TRUE_FIELD, find_method, find_tableau
from .tableau import Tableau
from .tableaux import TABLEAUX

if TYPE_CHECKING:
    from .backends.base import Backend
    from .tableaux import Method

ROUNDING = 1e-14
"""Largest difference of a recovered coefficient from the given one that rounding explains."""

RESOLVED = 1e-12
"""The least error that the reference solution of a cell's field can tell an order from."""

EVALUATIONS = 3_000
"""Slopes that the reference solution of a cell's field may take: a smooth one needs some hundreds, more mean kinks."""

SHORTER = 6
"""How often the order rule may halve its span. Every halving is another chance for errors that are mere noise to show
the right order, so there are few, and two pairs of grids must show it."""

EXAMPLES = (
    "euler",
    "rk4",
    "dormand-prince54",
    "symplectic-euler",
    "stormer-verlet",
    "gauss-seidel-euler",
    "lie",
    "strang",
)
"""Methods under which the engines of a cell are compared, beside its published one: of every kind that it admits.
The whole product with all methods is a slow test."""


def examined(kind: str, name: str, begin: Callable[[str], None]) -> Iterator[Verdict]:
    """The verdicts on a "tableau", "cell" or "backend" as they are found. begin: told each rule before it is examined.

    name: of the catalogue, or the path of a file. Raises `UsageError` where it cannot be loaded.
    """
    if kind != "cell":
        yield from judged(_tableau_rules(name) if kind == "tableau" else _backend_rules(name), begin)
        return
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rules = _cell_rules(name)
    for rule in rules:  # the caller's random state is its own again whenever it is given a verdict
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            (verdict,) = judged([rule], begin)
        yield verdict


# ------------------------------------------------------------------------------------------------------------ tableaux


def check_tableau(name: str) -> list[Verdict]:
    """The claimed orders are the computed ones, exactly; a reference is given. Of every kind of method."""
    return list(examined("tableau", name, silent))


def _tableau_rules(name: str) -> list[Rule]:
    from . import coloured_trees, splitting_order
    from .order import verify

    method = find_method(name)

    def order() -> str:
        if isinstance(method, Tableau):
            verify(method)
            pair = "" if method.b_hat is None else f" and {method.embedded_order}"
            return f"order {method.order}{pair}, from rooted trees"
        if isinstance(method, PartitionedTableau):
            coloured_trees.verify(method)
            return f"order {method.order}, from two-coloured rooted trees"
        splitting_order.verify(method)
        return f"order {method.order}, from the words of the composed flows"

    def reference() -> str:
        must(bool(method.reference.strip()), "no reference is given")
        return method.reference

    def engines() -> str:
        if isinstance(method, Tableau):
            cell = "leaky"
        else:
            cell = "unicornn" if isinstance(method, PartitionedTableau) else "exprnn"
        return _engines(cell, [method])

    return [
        ("computed order of b and b_hat equals the claim", order),
        ("every engine here equals the general path", engines),
        ("a reference is given", reference),
    ]


def _engines(cell: str, methods: Sequence[Method]) -> str:
    """Values and gradients of a cell by every engine that this machine has, beside the general path."""
    import torch

    from .engines.agreement import gaps

    devices = {"cpu": ("cpu",), "cuda": ("cuda-graph", "triton")}
    said, reasons, largest = [], set(), dict[str, float]()
    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        for engine in devices[device]:
            found = list(gaps(cell, engine, methods, device))
            ran = [gap for gap in found if not gap.reason]
            reasons |= {gap.reason for gap in found if gap.reason}
            for gap in ran:
                must(
                    gap.holds,
                    f"under {gap.method}, {gap.dtype}, engine {engine!r} differs by {gap.value:.1e}, in gradients "
                    f"{gap.gradient:.1e}",
                )
                kind = str(gap.dtype).removeprefix("torch.")
                largest[kind] = max(largest.get(kind, 0.0), gap.value, gap.gradient)
            if ran:
                said.append(f"{engine} under {', '.join(dict.fromkeys(gap.method for gap in ran))}")
    if not said:
        return f"the general path alone: {'; '.join(sorted(reasons))}"
    return f"{'; '.join(said)}: largest difference " + ", ".join(f"{v:.1e} in {k}" for k, v in sorted(largest.items()))


# --------------------------------------------------------------------------------------------------------------- cells


def check_cell(name: str) -> list[Verdict]:
    """Shapes, dtypes, batch equivariance, continuation, gradient; of an equation also Jacobian, order, reference; of a
    forecaster see `forecaster_checks`."""
    return list(examined("cell", name, silent))


def _cell_rules(name: str) -> list[Rule]:
    if name == TRUE_FIELD:
        return [("learns nothing, so nothing to check: see the backends", lambda: "")]
    if name in FORECASTERS:
        return forecaster_rules(name)
    return _recurrence_rules(name) + ([] if name in BASELINES else _equation_rules(name))


def _recurrent(name: str, hidden: int, dtype: Any, **options: Any) -> Any:
    import torch

    from .baselines import GRU, LSTM
    from .cell import ODERNN

    if name in BASELINES:
        return {"lstm": LSTM, "gru": GRU}[name](2, hidden, 3).to(dtype)
    with torch.no_grad():
        cell = ODERNN(2, hidden, field_of(name), "rk4", 0.1, output_size=3, dtype=dtype, **options)
    cell.step = min(cell.step, 1 / _rate(cell.field))
    return cell


def _rate(field: Any) -> float:
    """The largest eigenvalue modulus of df/dy seen at random states and inputs: how fast the field is."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        like = next(field.parameters())
        y = torch.randn(16, field.blocks * field.hidden_size, generator=generator, dtype=torch.float64).to(like.dtype)
        u = torch.randn(16, field.input_size, generator=generator, dtype=torch.float64).to(like.dtype)
        J = field.jacobian(y, field.drive(u), field.weights())
        return max(1.0, float(torch.linalg.eigvals(J).abs().max()))


def _leaves(state: Any) -> tuple[Any, ...]:
    return tuple(state) if isinstance(state, tuple) else (state,)


def _recurrence_rules(name: str) -> list[Rule]:
    import torch

    def shapes() -> str:
        for dtype in (torch.float32, torch.float64):
            output, state = _recurrent(name, 5, dtype)(torch.randn(7, 4, 2, dtype=dtype))
            must(output.shape == (7, 4, 3), f"output {tuple(output.shape)} for 7 steps of 4 sequences and 3 outputs")
            must(output.dtype == dtype, f"{output.dtype} came out where {dtype} went in")
            must(all(4 in leaf.shape and leaf.shape[-1] == 5 for leaf in _leaves(state)), "the state has another shape")
        return "float32 and float64"

    def batch() -> str:
        cell, x, order = _recurrent(name, 5, torch.float64), torch.randn(7, 4, 2, dtype=torch.float64), [2, 0, 3, 1]
        gap = (cell(x[:, order])[0] - cell(x)[0][:, order]).abs().max().item()
        must(gap < 1e-12, f"permuting the batch changes outputs by {gap:.1e}")
        return f"largest difference {gap:.1e}"

    def continues() -> str:
        cell, x = _recurrent(name, 5, torch.float64), torch.randn(8, 3, 2, dtype=torch.float64)
        first, state = cell(x[:3])
        gap = (torch.cat([first, cell(x[3:], state)[0]]) - cell(x)[0]).abs().max().item()
        must(gap < 1e-12, f"two halves differ from the whole by {gap:.1e}")
        return f"largest difference {gap:.1e}"

    def gradient() -> str:
        cell, x = _recurrent(name, 3, torch.float64), torch.randn(4, 2, 2, dtype=torch.float64)
        parameters = [p for p in cell.parameters() if p.requires_grad]

        def loss(*_: Any) -> Any:
            return cell(x)[0].square().sum()

        torch.autograd.gradcheck(loss, parameters)
        return "finite differences, float64"

    return [
        ("shapes and dtypes", shapes),
        ("batch equivariance", batch),
        ("a state passed on continues the sequence", continues),
        ("gradient of the parameters", gradient),
    ]


def _equation_rules(name: str) -> list[Rule]:
    import torch

    equation = field_of(name)

    def jacobian() -> str:
        cell, x = _recurrent(name, 3, torch.float64), torch.randn(5, 2, 2, dtype=torch.float64)
        field, weights = cell.field, cell.field.weights()
        state, drive = cell.trajectory(x)[4].flatten(1).detach(), cell.field.drive(x)[4]
        derived, eps = field.jacobian(state, drive, weights), 1e-6
        columns = []
        for i in range(state.shape[1]):
            bump = torch.zeros_like(state)
            bump[:, i] = eps
            up, down = (field(0.0, state + s * bump, drive, weights) for s in (1, -1))
            columns.append((up - down) / (2 * eps))
        gap = (torch.stack(columns, -1) - derived).abs().max().item() / max(1.0, derived.abs().max().item())
        must(gap < 1e-7, f"the derived Jacobian differs from finite differences by {gap:.1e}")
        return f"largest difference from finite differences {gap:.1e}"

    def order() -> str:
        cell, x = _recurrent(name, 4, torch.float64), torch.randn(3, 2, 2, dtype=torch.float64)
        start = cell(x)[1].flatten(1).detach()[0]
        start = start + torch.where(start < 0, -1.0, 1.0).to(start)  # away from 0, where some fields have a kink
        weights, drive = cell.field.weights(), cell.field.drive(x)[0, :1]

        calls = 0

        def slope(_: float, y: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > EVALUATIONS:
                raise BrokenRuleError(f"no solution was found in {EVALUATIONS} slopes: the field is not smooth")
            return cell.field(0.0, torch.as_tensor(y)[None], drive, weights)[0].detach().numpy()

        def errors(span: float) -> list[float]:
            nonlocal calls
            calls = 0
            solved = solve_ivp(slope, (0.0, span), start.numpy(), method="DOP853", rtol=1e-13, atol=1e-13)
            must(solved.success, f"the field has no solution to compare with: {solved.message}")
            found = []
            for n in (12, 16, 24, 32):
                grid = [span * k / n for k in range(n + 1)]
                run = cell.backend.fixed(cell.field, start[None], grid, cell.tableau, [drive] * n, weights)
                found.append(float(np.abs(run.states[-1, 0].detach().numpy() - solved.y[:, -1]).max()))
            return found

        span = min(2.0, 8 / _rate(cell.field))
        said = ""
        for _ in range(SHORTER + 1):
            try:
                found = errors(span)
            except BrokenRuleError as broken:
                said = said or str(broken)
            else:
                if found[-1] <= RESOLVED:
                    break
                seen = [math.log2(coarse / fine) for coarse, fine in zip(found[:2], found[2:], strict=True)]
                if all(abs(order - 4) < 0.6 for order in seen):
                    return f"RK4 on this field converges with order {seen[-1]:.2f}"
                said = said or f"RK4 on this field converges with order {seen[-1]:.2f}"
            span /= 2  # a kink on the way: a shorter one may have none
        raise BrokenRuleError(said or f"RK4 on this field errs by less than {RESOLVED:g}: no order can be told")

    def same() -> str:
        cell, x = _recurrent(name, 4, torch.float64), torch.randn(3, 2, 2, dtype=torch.float64)
        states, weights = cell.trajectory(x).flatten(2).detach(), cell.field.weights()
        drive = cell.field.drive(x)
        seen: dict[int, Any] = {}
        for i in (0, 1, 2, 2, 0, 1, 1, 0, 2):  # each again, after another one and after itself
            value = cell.field(0.0, states[i], drive[i], weights).detach()
            gap = (value - seen.setdefault(i, value)).abs().max().item()
            must(gap == 0.0, f"at one state and input it differs by {gap:.1e} from call to call")
        return "nine calls at three states"

    def named() -> str:
        shaped = NAME.fullmatch(equation.name) is not None
        must(shaped, f"the field is called {equation.name!r}: expected letters, digits, '-', '_' and '+'")
        same = is_file(name) or equation.name == name
        must(same, f"the field of cell {name!r} is called {equation.name!r}: expected the same name")
        return equation.name

    def reference() -> str:
        must(bool(equation.reference.strip()), "no reference is given")
        return equation.reference

    def engines() -> str:
        chosen = [find_method(name) for name in dict.fromkeys((equation.published_method, *EXAMPLES))]
        return _engines(name, chosen)

    return [
        ("every engine here equals the general path", engines),
        ("the slope is a function of state and input", same),
        ("Jacobian from the equation", jacobian),
        ("converges to the exact flow with the tableau's order", order),
        ("its field goes by its name", named),
        ("a reference is given", reference),
    ]


# ------------------------------------------------------------------------------------------------------------ backends


def check_backend(name: str) -> list[Verdict]:
    """Recovered tableaux, observed order, input held over a step, gradient."""
    return list(examined("backend", name, silent))


def _backend_rules(name: str) -> list[Rule]:
    if name == "torch":
        return [("the library baselines' own code, which steps no tableau", lambda: "")]
    backend: Backend = load("backend", name)
    rules: list[Rule] = [
        ("recovered tableau equals the given one, fixed grid", lambda: _recovered(backend, adaptive=False)),
        ("recovered tableau equals the given one, adaptive", lambda: _recovered(backend, adaptive=True)),
        ("observed order on a nonlinear, non-autonomous problem", lambda: _observed(backend)),
        ("no stage reads the next step's input", lambda: _held(backend)),
    ]
    if backend.differentiable:
        rules.append(("gradient agrees with the native one", lambda: _gradient(backend)))
    return rules


def _recovered(backend: Backend, adaptive: bool) -> str:
    from .backends.probe import deviation

    chosen = [t for t in TABLEAUX.values() if t.explicit and (t.b_hat is not None or not adaptive)]
    gaps = {t.name: deviation(backend, t, adaptive) for t in chosen}
    worst = max(gaps, key=lambda key: gaps[key])
    must(gaps[worst] < ROUNDING, f"{worst} is off by {gaps[worst]:.1e}")
    return f"{len(gaps)} tableaux, largest difference {gaps[worst]:.1e} ({worst})"


def _problem(t: Any, y: Any, drive: Any = None, weights: Any = ()) -> Any:
    """y' = -y^2 (1 + t) + y / (2 + t): tells apart methods that agree on linear or autonomous problems."""
    return y * (1 / (2 + t)) - y * y * (1 + t)


def _observed(backend: Backend) -> str:
    exact = solve_ivp(_problem, (0.0, 2.0), [0.8], method="DOP853", rtol=1e-13, atol=1e-14).y[0, -1]
    seen = []
    for name in ("euler", "heun2", "kutta3", "rk4", "dormand-prince54"):
        tableau, errors = find_tableau(name), []
        for n in (16, 32):
            grid = [2.0 * k / n for k in range(n + 1)]
            last = backend.fixed(_problem, np.array([0.8]), grid, tableau).states[-1]
            errors.append(abs(float(last[0]) - exact))
        order = math.log2(errors[0] / errors[1])
        must(abs(order - tableau.order) < 0.5, f"{name} of order {tableau.order} converges with {order:.2f}")
        seen.append(f"{name} {order:.2f}")
    return ", ".join(seen)


def _held(backend: Backend) -> str:
    def driven(t: Any, y: Any, drive: Any, weights: Any) -> Any:
        return 0.0 * y + drive

    inputs = [np.array([float(v)]) for v in (1, 10, 100, 1000)]
    for name in ("heun2", "rk4", "dormand-prince54"):
        grid = [0.0, 1.0, 2.0, 3.0, 4.0]
        states = np.asarray(backend.fixed(driven, np.zeros(1), grid, find_tableau(name), inputs).states)[:, 0]
        gap = float(np.abs(states - np.array([0, 1, 11, 111, 1111])).max())
        must(gap < 1e-9, f"{name} is off by {gap:.1e} where the input jumps")
    return "heun2, rk4, dormand-prince54 across jumps"


def _gradient(backend: Backend) -> str:
    import torch

    def field(t: Any, y: Any, drive: Any, weights: Any) -> Any:
        return torch.tanh(y @ weights[0] + drive) - y

    generator = torch.Generator().manual_seed(1)
    n = 80
    start = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((2, 3), (3, 3), (n, 2, 3))]

    def gradients(engine: Backend) -> list[Any]:
        y0, w, u = (value.clone().requires_grad_() for value in start)
        grid = [2.0 * k / n for k in range(n + 1)]
        states = engine.fixed(field, y0, grid, find_tableau("rk4"), list(u.unbind(0)), (w,)).states
        return list(torch.autograd.grad(states[1:].square().sum(), (y0, w, u)))

    pairs = zip(gradients(backend), gradients(find_backend("native")), strict=True)
    gap = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    must(gap < 1e-6, f"relative difference {gap:.1e} at 80 steps of RK4")
    return f"relative difference {gap:.1e} at 80 steps of RK4"
