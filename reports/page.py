"""One self-contained HTML page: no network, no JavaScript needed, light and dark, printable.

Longer than most files because the page tells of every table and figure, and of all runs, what they were made from.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from ..suite.commands import Command
from ..suite.printable import printable
from .frame import OUTCOMES, records
from .origins import Origins, origins
from .style import themed
from .text import Readable, line

TOLD = ("version", "revision", "python", "cpu", "gpu", "threads")
FAILURES = "failures"
"""The table that has a section of its own."""
OUTCOME_COLUMNS = ("outcome", "status", "verdict", "mark", "failed")
"""A table is filtered by the first of these that it has."""
ENVIRONMENTS = 40
COMMANDS, FEW = 200, 12
"""Commands that the page names at most, and a table or figure."""
REASON = 4000
"""Characters of a reason on the page; the CSV has all of it."""


@dataclass(frozen=True)
class Shown:
    """A table or a figure on its way to the page: a figure has `svg` and `pdf`, a table `read` and its texts.

    marked: of each line, whether it is beyond the baseline; empty where that is not said. kinds: as of `Table`.
    reasons: of each line the whole reason, of which the table's column holds one line; empty where there is none.
    """

    name: str
    title: str
    caption: str
    svg: bytes = b""
    pdf: bytes = b""
    read: Readable | None = None
    marked: Sequence[bool] = ()
    csv: str = ""
    md: str = ""
    tex: str = ""
    lead: bool = False
    kinds: tuple[str, ...] = ()
    reasons: Sequence[str] = ()


def html(
    data: pd.DataFrame,
    shown: Sequence[Shown],
    title: str,
    command: str,
    problems: Sequence[str] = (),
    commands: Sequence[Command] = (),
) -> str:
    """The page. data: the frame of all rows, for counts and provenance; every text from rows is escaped. command: what
    made the report. commands: those stored with the rows.

    The content security policy allows the page's own style and script by their hashes, images from data, nothing else.
    """
    source = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    counts = data["outcome"].value_counts() if len(data) else pd.Series(dtype=int)
    come = origins(data, commands)
    tables = [_table(s, data, come) for s in shown if s.read is not None]
    return environment.from_string(source).render(
        title=line(title),
        command=printable(command),
        policy=_policy(source),
        runs=len(data),
        outcomes=[(name, int(counts.get(name, 0))) for name in OUTCOMES],
        experiments=sorted({line(str(e)) for e in data["experiment"] if e}) if len(data) else [],
        figures=[_figure(s, data, come) for s in shown if s.svg],
        leads=[t for t in tables if t["lead"]],
        tables=[t for t in tables if not t["lead"] and t["name"] != FAILURES],
        failures=next((t for t in tables if t["name"] == FAILURES), None),
        reasons=_reasons(data),
        problems=[line(problem) for problem in problems],
        provenance=provenance(data),
        origins=_few(come.of(data), COMMANDS),
    )


def _policy(source: str) -> str:
    """Hashes of the style and the script exactly as the template holds them; both are free of template expressions."""
    hashes = {}
    for tag in ("style", "script"):
        content = re.search(f"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        assert content is not None, f"page.html has no <{tag}>"
        hashes[tag] = "'sha256-" + base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode() + "'"
    return (
        f"default-src 'none'; style-src {hashes['style']}; script-src {hashes['script']}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _data(content: bytes | str, kind: str) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def _common(piece: Shown, data: pd.DataFrame, come: Origins) -> dict[str, Any]:
    takes = data[data["kind"].isin(piece.kinds)] if piece.kinds else data
    return {
        "name": piece.name,
        "title": line(piece.title),
        "caption": line(piece.caption),
        "takes": _takes(takes, len(data), come),
    }


def _figure(piece: Shown, data: pd.DataFrame, come: Origins) -> dict[str, Any]:
    return _common(piece, data, come) | {
        "image": _data(themed(piece.svg), "image/svg+xml"),
        "width": _width(piece.svg),
        "pdf": _data(piece.pdf, "application/pdf"),
        "files": [f"figures/{piece.name}.{kind}" for kind in ("svg", "pdf", "png")],
    }


def _width(svg: bytes) -> int:
    """The figure's width in CSS pixels, a quarter wider than on paper: a screen is read from farther away."""
    found = re.search(rb'<svg[^>]* width="([\d.]+)pt"', svg)
    return round(float(found[1]) * 1.25 * 96 / 72) if found else 900


def _table(piece: Shown, data: pd.DataFrame, come: Origins) -> dict[str, Any]:
    assert piece.read is not None
    heads, right, _ = piece.read
    outcome = next((heads.index(name) for name in OUTCOME_COLUMNS if name in heads), -1)
    return _common(piece, data, come) | {
        "heads": list(zip(heads, right, strict=True)),
        "lead": piece.lead,
        "lines": _lines(piece),
        "outcome": outcome,
        "outcome_name": heads[outcome] if outcome >= 0 else "",
        "csv": _data(piece.csv, "text/csv;charset=utf-8"),
        "tex": _data(piece.tex, "text/x-tex;charset=utf-8"),
        "files": [f"tables/{piece.name}.{kind}" for kind in ("csv", "md", "tex")],
    }


def _lines(piece: Shown) -> Markup:
    """The lines of a table's body, every cell escaped; here and not in the template, which is slow for many cells."""
    assert piece.read is not None
    heads, right, lines = piece.read
    place = heads.index("reason") if "reason" in heads else -1
    opening = ['<th scope="row" class="n">' if right[0] else '<th scope="row">', *(_opening(r) for r in right[1:])]
    made = []
    for number, cells in enumerate(lines):
        parts = [f"{start}{escape(cell)}" for start, cell in zip(opening, cells, strict=True)]
        for column in range(1, len(cells)):
            if len(cells[column]) > 60 and not right[column]:
                parts[column] = f'<td class="long">{escape(cells[column])}'
        if place > 0 and piece.reasons:
            parts[place] = _unfolded(piece.reasons[number]) or parts[place]
        start = '<tr class="beyond">' if piece.marked and piece.marked[number] else "<tr>"
        made.append(f"{start}{parts[0]}</th>{''.join(f'{part}</td>' for part in parts[1:])}</tr>")
    return Markup("\n".join(made))


def _opening(right: bool) -> str:
    return '<td class="n">' if right else "<td>"


def _unfolded(reason: str) -> str:
    """The cell of a reason of several lines, which unfolds to all of it, or its end; empty for one of a single line."""
    first, _, rest = reason.strip().partition("\n")
    if not rest.strip():
        return ""
    whole = printable(reason.strip().replace("\r\n", "\n"), keep="\n\t")
    whole = whole if len(whole) <= REASON else f"… {whole[-REASON:]}"
    head, body = escape(line(first)), escape(whole)
    return f'<td class="long"><details><summary>{head}</summary><pre>{body}</pre></details>'


# ------------------------------------------------------------------------------------------- failures and provenance


def _reasons(data: pd.DataFrame) -> list[dict[str, Any]]:
    """By outcome, the runs without a result, and their reasons: alike but for numbers, the most frequent first."""
    if data.empty:
        return []
    found = []
    for name in OUTCOMES[2:]:
        said = Counter(_alike(str(reason)) for reason in data.loc[data["outcome"] == name, "reason"])
        if said:
            found.append({"outcome": name, "count": said.total(), "reasons": said.most_common(6), "kinds": len(said)})
    return found


def _alike(reason: str) -> str:
    first = line((reason.strip().splitlines() or [""])[0])
    return re.sub(r"(?<![\w-])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)", "…", first)[:300] or "no reason given"


def _takes(rows: pd.DataFrame, total: int, come: Origins) -> dict[str, Any]:
    """Which rows a table or figure is of: how many, of which experiments, made by which commands and code."""
    return {
        "runs": len(rows),
        "total": total,
        "experiments": _counted(rows["experiment"]) if len(rows) else [],
        "origins": _few(come.of(rows), FEW),
        "code": [name for name, _ in _counted(_codes(rows))] if len(rows) else [],
    }


def _few(found: list[dict[str, Any]], most: int) -> dict[str, Any]:
    """At most so many of what was found, and how many more there are."""
    return {"shown": found[:most], "more": len(found[most:])}


def _codes(rows: pd.DataFrame) -> Iterable[Any]:
    return rows.get("environment.code", [])


def _counted(values: Iterable[Any]) -> list[tuple[str, int]]:
    said = Counter(line(str(value)) for value in values if isinstance(value, str) and value)
    return sorted(said.items(), key=lambda item: (-item[1], item[0]))


def provenance(data: pd.DataFrame) -> dict[str, Any]:
    """What made these rows: seeds, devices, dtypes, first start and last end, code, and every distinct environment."""
    if data.empty:
        nothing: dict[str, Any] = {"places": [], "environments": [], "more": 0, "code": [], "experiments": []}
        return nothing | {"seeds": "", "started": "", "finished": ""}
    columns = [c for c in data.columns if c.startswith("environment.") and c != "environment.code"]
    environments: dict[str, dict[str, Any]] = {}
    encoder = json.JSONEncoder(sort_keys=True, default=str)
    for values in records(data[columns]):
        known = {name.removeprefix("environment."): value for name, value in values.items() if not _missing(value)}
        entry = environments.setdefault(encoder.encode(known), {"known": known, "runs": 0})
        entry["runs"] += 1
    most = sorted(environments.values(), key=lambda entry: -int(entry["runs"]))
    started = sorted(str(t) for t in data["started"].dropna())
    finished = sorted(str(t) for t in data["finished"].dropna())
    return {
        "seeds": ", ".join(str(s) for s in sorted({int(s) for s in data["seed"].dropna()})),
        "places": sorted({line(f"{d} {t}") for d, t in zip(data["device"], data["dtype"], strict=True)}),
        "started": line(started[0]) if started else "",
        "finished": line(finished[-1]) if finished else "",
        "experiments": _counted(data["experiment"]),
        "code": _counted(_codes(data)),
        "environments": [_environment(e["known"], e["runs"]) for e in most[:ENVIRONMENTS]],
        "more": len(most[ENVIRONMENTS:]),
    }


def _environment(known: dict[str, Any], runs: int) -> dict[str, Any]:
    facts = [(name, str(known[name])) for name in TOLD if known.get(name) not in (None, "", "None")]
    if known.get("dirty") is True:
        facts = [(n, f"{v} (with uncommitted changes)" if n == "revision" else v) for n, v in facts]
    packages = known.get("packages") or {}
    if isinstance(packages, dict):
        facts.append(("packages", ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))))
    facts += [(n, str(v)) for n, v in sorted(known.items()) if n not in (*TOLD, "dirty", "packages")]
    return {"facts": [(line(name), line(value)) for name, value in facts], "runs": runs}


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
