"""`odernn list` and `odernn show`: the catalogue, for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from importlib import import_module
from typing import Any

from .catalogue import KINDS, Entry, entries, find, kind_of, load, problems
from .row import plain


def listing(kind: str | None, as_json: bool) -> tuple[str, list[str]]:
    """What `list` prints, and one sentence for every plugin that was refused."""
    kinds = list(KINDS) if kind is None else [kind_of(kind)]
    refused = [sentence for one in kinds for sentence in problems(one)]
    if as_json:
        return json.dumps([_facts(e) for one in kinds for e in entries(one).values()], indent=1), refused
    blocks = []
    for one in kinds:
        known = entries(one)
        width = max((len(name) for name in known), default=0)
        lines = [f"  {e.name:{width}}  {e.summary}{_owner(e)}".rstrip() for e in known.values()]
        blocks.append("\n".join([f"{KINDS[one]} ({len(known)})", *lines]))
    return "\n\n".join(blocks), refused


def shown(name: str, as_json: bool) -> str:
    """What `show` prints of a name, or of a tableau's alias: every entry of that name in full. Raises `UsageError`."""
    aliases = import_module("odernn.solvers.tableaux").ALIASES
    details = [_detail(entry) for entry in find(aliases.get(name, name))]
    if as_json:
        return json.dumps([plain(detail) for detail in details] if len(details) > 1 else plain(details[0]), indent=1)
    return "\n\n".join(_text(detail) for detail in details)


def _owner(entry: Entry) -> str:
    return f"  [{entry.distribution}]" if entry.distribution else ""


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "summary": entry.summary,
        "distribution": entry.distribution or "odernn",
    }


def _detail(entry: Entry) -> dict[str, Any]:
    facts = _facts(entry)
    if entry.kind == "tableau":
        return facts | dict(import_module("odernn.solvers.tableaux").describe(load("tableau", entry.name)))
    found = load(entry.kind, entry.name)
    if entry.kind == "task":
        parameters = {f.name: f.default for f in fields(found) if f.init}
        return facts | {
            "about": found.__doc__ or "",
            "parameters": {
                key: value if isinstance(value, int | float | str) else None for key, value in parameters.items()
            },
            "primary_metric": found.primary_metric,
        }
    if entry.kind == "cell" and not isinstance(found, str) and "field" in vars(found):
        return facts | {"about": found.__doc__ or "", **_field(found.field())}
    if entry.kind == "metric":
        return facts | {"unit": found.unit, "direction": found.direction}
    if entry.kind == "experiment":
        return facts | {"points": len(found.points()), "file": found.to_toml()}
    return facts | {"about": str(found.__doc__ or "") if not isinstance(found, str) else entry.summary}


def _field(field: Any) -> dict[str, Any]:
    """What a cell's equation says of itself: its right-hand side, constants and reference."""
    facts = {"equation": [str(e) for e in field.rhs], "constants": dict(field.constants), "reference": field.reference}
    return facts | {"ode_order": field.ode_order}


def _text(detail: dict[str, Any]) -> str:
    head = f"{detail['name']} ({detail['kind']}, {detail['distribution']})"
    lines = [head, "-" * len(head), detail["summary"]]
    rest = {key: value for key, value in detail.items() if key not in ("kind", "name", "summary", "distribution")}
    if detail["kind"] == "tableau" and {"A", "b", "c"} <= set(rest):
        lines += ["", butcher(rest.pop("c"), rest.pop("A"), rest.pop("b"), rest.pop("b_hat", None)), ""]
    width = max((len(key) for key in rest), default=0)
    for key, value in rest.items():
        if isinstance(value, str) and "\n" in value:
            lines += ["", value.strip()]
        elif isinstance(value, dict):
            told = ", ".join(f"{k} = {v}" for k, v in value.items()) or "none"
            lines.append(f"{key.replace('_', ' '):{width}}  {told}")
        elif isinstance(value, list | tuple):
            lines.append(f"{key.replace('_', ' '):{width}}  {', '.join(map(str, value))}")
        else:
            lines.append(f"{key.replace('_', ' '):{width}}  {'none' if value is None else value}")
    return "\n".join(lines)


def butcher(c: list[Any], A: list[list[Any]], b: list[Any], b_hat: list[Any] | None = None) -> str:
    """A Butcher array as text: nodes left of the bar, weights under the line; an explicit one without its zeros."""
    explicit = all(str(value) == "0" for i, row in enumerate(A) for value in row[i:])
    rows = [
        [str(node), *(str(v) if not explicit or j < i else "" for j, v in enumerate(row))]
        for i, (node, row) in enumerate(zip(c, A, strict=True))
    ]
    below = [["", *map(str, weights)] for weights in (b, b_hat) if weights is not None]
    widths = [max(len(row[k]) for row in rows + below) for k in range(len(b) + 1)]

    def line(row: list[str]) -> str:
        cells = "  ".join(f"{value:>{width}}" for value, width in zip(row[1:], widths[1:], strict=True))
        return f"{row[0]:>{widths[0]}} | {cells}".rstrip()

    bar = "-" * (widths[0] + 1) + "+" + "-" * (sum(widths[1:]) + 2 * len(b) - 1)
    return "\n".join([*map(line, rows), bar, *map(line, below)])
