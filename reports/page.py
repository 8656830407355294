"""One self-contained HTML page: no network, no JavaScript needed, light and dark, printable."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import pandas as pd

from .frame import OUTCOMES
from .style import themed
from .text import readable

TOLD = ("version", "revision", "python", "cpu", "gpu", "threads")


@dataclass(frozen=True)
class Shown:
    """A table or a figure on its way to the page: a figure has `svg` and `pdf`, a table `table` and its texts."""

    name: str
    title: str
    caption: str
    svg: bytes = b""
    pdf: bytes = b""
    table: pd.DataFrame | None = None
    csv: str = ""
    tex: str = ""
    lead: bool = False
    math: tuple[str, ...] = ()


def html(data: pd.DataFrame, shown: Sequence[Shown], title: str, command: str, problems: Sequence[str] = ()) -> str:
    """The page. data: the frame of all rows, for counts and provenance; the template escapes every text from rows.

    The content security policy allows the page's own style and script by their hashes, images from data, nothing else.
    """
    source = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    counts = data["outcome"].value_counts() if len(data) else pd.Series(dtype=int)
    return environment.from_string(source).render(
        title=title,
        command=command,
        policy=_policy(source),
        runs=len(data),
        outcomes=[(name, int(counts.get(name, 0))) for name in OUTCOMES],
        experiments=sorted({str(e) for e in data["experiment"] if e}) if len(data) else [],
        figures=[_figure(s) for s in shown if s.svg],
        tables=[_table(s) for s in sorted(shown, key=lambda s: not s.lead) if s.table is not None],
        problems=list(problems),
        provenance=provenance(data),
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


def _figure(piece: Shown) -> dict[str, Any]:
    return {
        "name": piece.name,
        "title": piece.title,
        "caption": piece.caption,
        "image": _data(themed(piece.svg), "image/svg+xml"),
        "width": _width(piece.svg),
        "pdf": _data(piece.pdf, "application/pdf"),
    }


def _width(svg: bytes) -> int:
    """The figure's width in CSS pixels, a quarter wider than on paper: a screen is read from farther away."""
    found = re.search(rb'<svg[^>]* width="([\d.]+)pt"', svg)
    return round(float(found[1]) * 1.25 * 96 / 72) if found else 900


def _table(piece: Shown) -> dict[str, Any]:
    assert piece.table is not None
    heads, right, lines = readable(piece.table, piece.math)
    return {
        "name": piece.name,
        "title": piece.title,
        "caption": piece.caption,
        "heads": list(zip(heads, right, strict=True)),
        "lead": piece.lead,
        "lines": [list(zip(line, right, strict=True)) for line in lines],
        "beyond": [str(mark) != "" for mark in piece.table["mark"]] if "mark" in piece.table else [False] * len(lines),
        "csv": _data(piece.csv, "text/csv;charset=utf-8"),
        "tex": _data(piece.tex, "text/x-tex;charset=utf-8"),
    }


def provenance(data: pd.DataFrame) -> dict[str, Any]:
    """What made these rows: seeds, devices, dtypes, first start and last end, and every distinct environment."""
    if data.empty:
        return {"seeds": "", "places": [], "started": "", "finished": "", "environments": []}
    columns = [c for c in data.columns if c.startswith("environment.")]
    environments: dict[str, dict[str, Any]] = {}
    for line in data[columns].to_dict("records"):
        known = {str(c).removeprefix("environment."): v for c, v in line.items() if not _missing(v)}
        entry = environments.setdefault(json.dumps(known, sort_keys=True, default=str), {"known": known, "runs": 0})
        entry["runs"] += 1
    started = sorted(str(t) for t in data["started"].dropna())
    finished = sorted(str(t) for t in data["finished"].dropna())
    return {
        "seeds": ", ".join(str(s) for s in sorted({int(s) for s in data["seed"].dropna()})),
        "places": sorted({f"{d} {t}" for d, t in zip(data["device"], data["dtype"], strict=True)}),
        "started": started[0] if started else "",
        "finished": finished[-1] if finished else "",
        "environments": [_environment(e["known"], e["runs"]) for e in environments.values()],
    }


def _environment(known: dict[str, Any], runs: int) -> dict[str, Any]:
    facts = [(name, str(known[name])) for name in TOLD if known.get(name) not in (None, "", "None")]
    if known.get("dirty") is True:
        facts = [(n, f"{v} (with uncommitted changes)" if n == "revision" else v) for n, v in facts]
    packages = known.get("packages") or {}
    if isinstance(packages, dict):
        facts.append(("packages", ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))))
    facts += [(n, str(v)) for n, v in sorted(known.items()) if n not in (*TOLD, "dirty", "packages")]
    return {"facts": facts, "runs": runs}


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
