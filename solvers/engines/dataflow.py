"""What operations read and give, which of them are live, and the cheapest arrays to hand from one place to another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

import sympy

from ..functions import sign
from .program import Assign, Operation, Outer, Product, RowSum, UnitSum

CHEAP = (sympy.Abs, sympy.Max, sympy.Min, sympy.Heaviside, sympy.sign, sign, sympy.Piecewise)
"""Functions that cost about as much as a sum: one or two instructions."""


def ordered(symbols: Iterable[sympy.Basic]) -> tuple[sympy.Symbol, ...]:
    """By name: sets of symbols have no order of their own that lasts from one process to the next."""
    return tuple(sorted((s for s in symbols if isinstance(s, sympy.Symbol)), key=lambda symbol: symbol.name))


def reads(operation: Operation) -> tuple[sympy.Symbol, ...]:
    """The symbols whose values an operation needs, each once."""
    if isinstance(operation, Product):
        return tuple(dict.fromkeys((*operation.inputs, *(plus for plus in operation.plus if plus is not None))))
    if isinstance(operation, Outer):
        return tuple(dict.fromkeys((operation.inputs, *operation.outputs)))
    return ordered(operation.value.free_symbols)


def gives(operation: Operation) -> tuple[sympy.Symbol, ...]:
    """The arrays an operation assigns; sums and outer products add to a cotangent and assign none."""
    if isinstance(operation, Assign):
        return (operation.symbol,)
    return operation.outputs if isinstance(operation, Product) else ()


def live(operations: Sequence[Operation], wanted: Collection[sympy.Symbol]) -> list[Operation]:
    """The operations that `wanted`, the sums and the outer products need, in their order."""
    needed = set(wanted)
    kept: list[Operation] = []
    for operation in reversed(operations):
        if isinstance(operation, Outer | RowSum | UnitSum) or needed.intersection(gives(operation)):
            needed.update(reads(operation))
            kept.append(operation)
    return kept[::-1]


def expensive(value: sympy.Expr) -> bool:
    """Whether an assignment, split so that functions stand alone, is a function worth keeping, such as tanh or 1/x."""
    if isinstance(value, sympy.Pow):
        return not (value.exp.is_Integer and value.exp.is_positive)
    return isinstance(value, sympy.Function) and not isinstance(value, CHEAP)


def cheapest_cut(
    targets: Iterable[sympy.Symbol],
    parents: Callable[[sympy.Symbol], Sequence[sympy.Symbol]],
    price: Callable[[sympy.Symbol], int | None],
    work: Callable[[sympy.Symbol], int],
    given: Callable[[sympy.Symbol], bool],
) -> tuple[sympy.Symbol, ...]:
    """The arrays to take ready-made so that all `targets` follow from them, at the least total cost.

    parents: what a symbol is computed from. price: of taking it ready-made; None: it must be computed. work: of
    computing it. given: it cannot be computed here, so it must be taken, or something computed from it. A minimum cut
    by augmenting paths (Ford and Fulkerson 1956, doi:10.4153/CJM-1956-045-5; shortest ones first), each symbol two
    nodes with an edge of its price between them; of several minimal cuts the one that leaves least to compute.
    """
    edges: dict[object, dict[object, int]] = {"source": {}, "sink": {}}
    unlimited = 1 << 40

    def connect(start: object, end: object, capacity: int) -> None:
        edges.setdefault(start, {})
        edges[start][end] = edges[start].get(end, 0) + capacity
        edges.setdefault(end, {}).setdefault(start, 0)

    first = list(dict.fromkeys(targets))
    waiting = list(first)
    met = set(first)
    order: list[sympy.Symbol] = []
    for symbol in waiting:  # grows while it is walked
        order.append(symbol)
        cost = price(symbol)
        connect((symbol, 0), (symbol, 1), unlimited if cost is None else cost)
        if given(symbol):
            connect("source", (symbol, 0), unlimited)
            continue
        connect("source", (symbol, 0), work(symbol))
        for parent in parents(symbol):
            connect((parent, 1), (symbol, 0), unlimited)
            if parent not in met:
                met.add(parent)
                waiting.append(parent)
    for symbol in first:
        connect((symbol, 1), "sink", unlimited)

    while path := _path(edges):
        room = min(edges[start][end] for start, end in path)
        assert room < unlimited  # else a target needs what can neither be taken nor computed
        for start, end in path:
            edges[start][end] -= room
            edges[end][start] += room
    ahead = {"sink"} | _ancestors(edges)
    return tuple(symbol for symbol in order if (symbol, 1) in ahead and (symbol, 0) not in ahead)


def _path(edges: dict[object, dict[object, int]]) -> list[tuple[object, object]]:
    """A shortest path from source to sink with room left; empty where there is none."""
    came: dict[object, object] = {"source": "source"}
    queue: deque[object] = deque(["source"])
    while queue:
        node = queue.popleft()
        if node == "sink":
            break
        for other, room in edges[node].items():
            if room > 0 and other not in came:
                came[other] = node
                queue.append(other)
    if "sink" not in came:
        return []
    path: list[tuple[object, object]] = []
    node = "sink"
    while node != "source":
        path.append((came[node], node))
        node = came[node]
    return path


def _ancestors(edges: dict[object, dict[object, int]]) -> set[object]:
    """The nodes from which the sink can still be reached: every other node lies on the source's side."""
    found: set[object] = {"sink"}
    queue: deque[object] = deque(["sink"])
    while queue:
        node = queue.popleft()
        for other in edges[node]:
            if other not in found and edges[other].get(node, 0) > 0:
                found.add(other)
                queue.append(other)
    return found
