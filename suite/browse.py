"""`odernn list` and `odernn show`: the catalogue, for people and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from importlib import import_module
from types import ModuleType
from typing import Any

from .catalogue import KINDS, Entry, entries, find, kind_of, load, problems
from .errors import PLUGIN_ERRORS, UsageError
from .printable import printable
from .row import plain


def listing(kind: str | None, as_json: bool) -> tuple[str, list[str]]:
    """What `list` prints, and one sentence for every plugin that was refused or cannot be loaded."""
    kinds = list(KINDS) if kind is None else [kind_of(kind)]
    refused = [sentence for one in kinds for sentence in problems(one)]
    if kinds == ["tableau"]:  # only where they are asked for: what is computed takes a second
        return printable(_methods(as_json), keep="\n"), refused
    if as_json:
        return json.dumps([_facts(e) for one in kinds for e in entries(one).values()], indent=1), refused
    blocks = []
    for one in kinds:
        known = entries(one)
        width = max((len(name) for name in known), default=0)
        lines = [f"  {e.name:{width}}  {e.summary}{_owner(e)}".rstrip() for e in known.values()]
        blocks.append("\n".join([f"{KINDS[one]} ({len(known)})", *lines]))
    return printable("\n\n".join(blocks), keep="\n"), refused


def _methods(as_json: bool) -> str:
    """Every tableau with what its coefficients say of order, stability and structure, and its other names."""
    known = list(entries("tableau").values())
    brief, aliases = import_module("odernn.solvers.facts").brief, import_module("odernn.solvers.tableaux").ALIASES
    also = {entry.name: [name for name, meant in aliases.items() if meant == entry.name] for entry in known}
    found: list[tuple[Entry, dict[str, Any] | str]] = []
    for entry in known:
        try:
            found.append((entry, brief(load("tableau", entry.name))))
        except PLUGIN_ERRORS as error:  # a plugin that does not import, or is none
            reason = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            found.append((entry, printable(reason)))
    if as_json:
        said = [
            _facts(e) | {"aliases": also[e.name]} | (facts if isinstance(facts, dict) else {"error": facts})
            for e, facts in found
        ]
        return json.dumps(said, indent=1)
    lines = [("name", "kind", "stages", "order", "stable", "structure", "real", "imaginary", "oscillator", "also")]
    for entry, facts in found:
        if isinstance(facts, str):
            continue
        pair = "" if facts["embedded_order"] is None else f"({facts['embedded_order']})"
        stable = "".join(letter for letter in "ALB" if facts[f"{letter}_stable"])
        structure = ", ".join(word for word in ("symplectic", "symmetric") if facts[word])
        ends = (facts[f"{axis}_stability_interval"] for axis in ("real", "imaginary"))
        numbers = (_short(value) for value in (*ends, facts["oscillator_limit"]))
        stages = str(facts["stages"] or "")
        order, names = f"{facts['order']}{pair}", ", ".join(also[entry.name])
        lines.append((entry.name, facts["family"], stages, order, stable, structure, *numbers, names))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ["  " + "  ".join(f"{v:{w}}" for v, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    rows += [f"  {entry.name}: {facts}" for entry, facts in found if isinstance(facts, str)]
    head = f"{KINDS['tableau']} ({len(found)}), computed from the coefficients"
    return "\n".join(
        [
            head,
            *rows,
            "",
            "stable: A, L, B; real, imaginary: |R(z)| <= 1 on [-r, 0] and on i[-r, r]; oscillator: h omega up to which",
            "q' = p, p' = -q stays bounded. Splittings: A, L and the intervals are of one linear part, B is of parts",
            "that contract, symplectic of Hamiltonian parts.",
        ]
    )


def _short(value: float | str | None) -> str:
    """Five digits, rounded down: within the interval that it stands for."""
    if value is None or isinstance(value, str):
        return value or ""
    return f"{math.floor(value * 1e4 + 1e-6) / 1e4:g}"


def shown(name: str, as_json: bool) -> str:
    """What `show` prints of a name, or of a tableau's alias: every entry of that name in full. Raises `UsageError`."""
    aliases = import_module("odernn.solvers.tableaux").ALIASES
    details = [_detail(entry) for entry in find(aliases.get(name, name))]
    if as_json:
        return json.dumps([plain(detail) for detail in details] if len(details) > 1 else plain(details[0]), indent=1)
    return printable("\n\n".join(_text(detail) for detail in details), keep="\n")


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
    make = found if callable(found) else vars(found).get("field") if isinstance(found, ModuleType) else None
    if entry.kind == "task":
        parameters = {f.name: f.default for f in fields(found) if f.init}
        return facts | {
            "about": found.__doc__ or "",
            "parameters": {
                key: value if isinstance(value, int | float | str) else None for key, value in parameters.items()
            },
            "primary_metric": found.primary_metric,
        }
    if entry.kind == "cell" and make is not None:
        return facts | {"about": found.__doc__ or "", **_field(make(None))}
    if entry.kind == "metric":
        return facts | {"unit": found.unit, "direction": found.direction}
    if entry.kind == "experiment":
        return facts | {"points": len(found.points()), "file": found.to_toml()}
    return facts | {"about": str(found.__doc__ or "") if not isinstance(found, str) else entry.summary}


def _field(field: Any) -> dict[str, Any]:
    """What a cell's description says of itself: its equation, constants, published method and reference."""
    lines = field.latex().removeprefix(r"\begin{aligned}").removesuffix(r"\end{aligned}").split(r" \\ ")
    facts = {"equation": [line.replace("&", "") for line in lines], "constants": dict(field.constants)}
    step = "tuned" if field.published_step is None else f"h = {field.published_step:g}"
    substeps = f" in {field.published_substeps} substeps" if field.published_substeps > 1 else ""
    return facts | {
        "ode_order": "the number of hidden units" if field.sites else field.ode_order,
        "published_method": f"{field.published_method}, {step}{substeps}",
        "frozen": field.frozen,
        "integrator": field.integrator,
        "reference": field.reference,
    }


def _text(detail: dict[str, Any]) -> str:
    head = f"{detail['name']} ({detail['kind']}, {detail['distribution']})"
    lines = [head, "-" * len(head), detail["summary"]]
    rest = {key: value for key, value in detail.items() if key not in ("kind", "name", "summary", "distribution")}
    if detail["kind"] == "tableau":
        lines += _arrays(rest)
    width = max((len(key) for key in rest), default=0)
    for key, value in rest.items():
        if isinstance(value, str) and "\n" in value:
            lines += ["", value.strip()]
        elif key == "stability_function":
            P, Q = (polynomial(value[part]) for part in ("P", "Q"))
            lines.append(f"{'R(z)':{width}}  {P if Q == '1' else f'({P}) / ({Q})'}")
        elif isinstance(value, dict):
            told = ", ".join(f"{k} = {v}" for k, v in value.items()) or "none"
            lines.append(f"{key.replace('_', ' '):{width}}  {told}")
        elif key == "equation":
            lines += [f"{key if i == 0 else '':{width}}  {line}" for i, line in enumerate(value)]
        elif isinstance(value, list | tuple):
            lines.append(f"{key.replace('_', ' '):{width}}  {', '.join(map(str, value))}")
        else:
            told = {None: "none", True: "yes", False: "no"}[value] if isinstance(value, bool | None) else value
            lines.append(f"{key.replace('_', ' '):{width}}  {told}")
    return "\n".join(lines)


def _arrays(rest: dict[str, Any]) -> list[str]:
    """The Butcher arrays among a method's facts, as text; a splitting's sequences. They are taken out of the facts."""
    if rest.get("family") == "splitting":
        sequences = rest.pop("sequence").items()
        told = (f"{parts}: {', '.join(f'part {k} over {h} h' for k, h in steps)}" for parts, steps in sequences)
        return ["", *told, ""]
    if rest.get("family") == "partitioned":
        blocks = zip(("position", "momentum"), rest.pop("c"), rest.pop("A"), rest.pop("b"), strict=True)
        return [
            line
            for block, (what, c, A, b) in enumerate(blocks)
            for line in ("", f"block {block}, {what}", butcher(c, A, b), "")
        ]
    return ["", butcher(rest.pop("c"), rest.pop("A"), rest.pop("b"), rest.pop("b_hat", None)), ""]


def polynomial(coefficients: list[str]) -> str:
    """Coefficients from the constant term up, as 1 + 1/2 z + (1 - sqrt(2)) z^2."""
    terms = []
    for k, text in enumerate(coefficients):
        if text == "0":
            continue
        bare = text.lstrip("-")
        bracketed = f"({text})" if " " in bare else bare
        sign = "-" if text.startswith("-") and " " not in bare else "+"
        power = "" if k == 0 else "z" if k == 1 else f"z^{k}"
        factor = "" if bracketed == "1" and power else bracketed
        terms.append(f"{sign} {' '.join(filter(None, (factor, power)))}")
    return " ".join(terms).removeprefix("+ ") or "0"


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
