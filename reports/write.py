"""Rows to a folder: tables as CSV, Markdown and LaTeX, figures as SVG, PDF and PNG, and a page that holds them all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import style
from .frame import frame
from .page import Shown, html
from .pieces import found
from .text import to_csv, to_latex, to_markdown, to_terminal


@dataclass(frozen=True)
class Report:
    """What was written. files: in order of writing, index.html last; problems: what could not be, a sentence each."""

    out: Path
    files: tuple[Path, ...]
    problems: tuple[str, ...]

    @property
    def index(self) -> Path:
        return self.out / "index.html"


def write_report(rows: Sequence[Mapping[str, Any]], out: Path, title: str, command: str) -> Report:
    """Write tables/NAME.{csv,md,tex}, figures/NAME.{svg,pdf,png} and index.html under `out`.

    A table or a figure with nothing to show is not written, and one left there by an earlier report is removed. One
    that raises is a problem, told on the page, and costs no other. Each file is replaced whole. The same rows, title
    and command give the same bytes. command: how to make the report again, as the page prints it.
    """
    data = frame(rows)
    tables, figures, problems = found()
    files: list[Path] = []
    shown: list[Shown] = []
    for figure in figures:
        paths = {kind: out / "figures" / f"{figure.name}.{kind}" for kind in ("svg", "pdf", "png")}
        try:
            canvas = figure.draw(data) if len(data) else None
            drawn = {kind: style.render(canvas, kind) for kind in paths} if canvas is not None else {}
        except Exception as error:  # one broken figure must not cost the report
            problems.append(f"figure {figure.name!r} could not be drawn: {type(error).__name__}: {error}")
            drawn = {}
        files += _replace({paths[kind]: drawn.get(kind) for kind in paths})
        if drawn:
            shown.append(Shown(figure.name, figure.title, figure.caption, svg=drawn["svg"], pdf=drawn["pdf"]))
    for table in tables:
        texts: dict[str, str] = {}
        try:
            built = table.build(data) if len(data) else None
            if built is not None and len(built):
                caption = table.told(built)
                read = built[list(table.compact)] if table.compact else built
                texts = {
                    "csv": to_csv(built),
                    "md": to_markdown(read, table.title, caption, table.math),
                    "tex": to_latex(read, table.title, caption, table.math),
                }
                shown.append(
                    Shown(
                        *(table.name, table.title, caption),
                        table=read,
                        csv=texts["csv"],
                        tex=texts["tex"],
                        lead=table.lead,
                        math=table.math,
                    )
                )
        except Exception as error:  # as above
            problems.append(f"table {table.name!r} could not be built: {type(error).__name__}: {error}")
        files += _replace({out / "tables" / f"{table.name}.{k}": _bytes(texts.get(k)) for k in ("csv", "md", "tex")})
    page = html(data, shown, title, command, problems)
    files += _replace({out / "index.html": page.encode()})
    return Report(out, tuple(files), tuple(problems))


def main_tables(rows: Sequence[Mapping[str, Any]], width: int = 110) -> str:
    """The tables that a terminal shows at the end of a run, at most `width` columns wide; empty for no rows."""
    data = frame(rows)
    if data.empty:
        return ""
    parts = []
    for table in found()[0]:
        built = table.build(data) if table.narrow else data[:0]
        if len(built):
            brief = table.brief(built) if table.brief else built
            text = to_terminal(brief, table.narrow, table.heading, width, table.each, table.note)
            parts.append(f"{table.title}\n\n{text}")
    counts = data["outcome"].value_counts()
    total = ", ".join(f"{counts[name]} {name}" for name in style.OUTCOME_COLOURS if name in counts)
    return "\n\n".join([*parts, f"{len(data)} runs: {total}"]) + "\n"


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _replace(contents: Mapping[Path, bytes | None]) -> list[Path]:
    """Put each content in place whole, remove where there is none; the files that now stand."""
    written = []
    for path, content in contents.items():
        if content is None:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(draft, 0o644)
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        written.append(path)
    return written
