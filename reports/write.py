"""Rows to a folder: tables as CSV, Markdown and LaTeX, figures as SVG, PDF and PNG, and a page that holds them all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

from ..suite.commands import Command
from ..suite.errors import PLUGIN_ERRORS, UsageError
from . import style
from .drawing import KINDS, Drawing
from .frame import frame
from .page import Shown, html
from .pieces import Table, found
from .text import line, readable, to_csv, to_latex, to_markdown, to_terminal

WIDTH = 110
"""Columns of a terminal that the main tables fill at most."""


@dataclass(frozen=True)
class Report:
    """What was written. files: in order of writing, index.html last; problems: what could not be, a sentence each."""

    out: Path
    files: tuple[Path, ...]
    problems: tuple[str, ...]

    @property
    def index(self) -> Path:
        return self.out / "index.html"


def write_report(
    rows: Sequence[Mapping[str, Any]],
    out: Path,
    title: str,
    command: str,
    tell: Callable[[str], None] | None = None,
    commands: Sequence[Command] = (),
) -> Report:
    """Write tables/NAME.{csv,md,tex}, figures/NAME.{svg,pdf,png} and index.html under `out`.

    A table or a figure with nothing to show is not written, and one left there by an earlier report is removed. One
    that raises is a problem, told on the page, and costs no other. Each file is replaced whole. The same rows, title,
    command and commands give the same bytes. command: how to make the report again, as the page prints it. commands:
    those behind the rows, which the page names. tell: given the main tables for a terminal, once they are there and
    before the figures are. Raises `UsageError` where a file stands in the place of a folder.
    """
    _check_place(out)
    data = frame(rows)
    tables, figures, problems = found()
    drawing = Drawing(figures, data)
    wholes = [_built(table, data, problems) for table in tables]
    if tell is not None:
        tell(_for_terminal(zip(tables, wholes, strict=True), data, WIDTH))
    built = [_shown(table, whole, problems) for table, whole in zip(tables, wholes, strict=True)]
    files: list[Path] = []
    shown: list[Shown] = []
    for figure, drawn in zip(figures, drawing.results(), strict=True):
        if isinstance(drawn, str):
            problems.append(line(f"figure {figure.name!r} could not be drawn: {drawn}"))
        pictures = drawn if isinstance(drawn, dict) else {}
        files += _replace({out / "figures" / f"{figure.name}.{kind}": pictures.get(kind) for kind in KINDS})
        if pictures:
            told = (figure.name, figure.title, figure.caption)
            shown.append(Shown(*told, svg=pictures["svg"], pdf=pictures["pdf"], kinds=figure.kinds))
    for table, piece in zip(tables, built, strict=True):
        texts = {} if piece is None else {"csv": piece.csv, "md": piece.md, "tex": piece.tex}
        files += _replace({out / "tables" / f"{table.name}.{k}": _bytes(texts.get(k)) for k in ("csv", "md", "tex")})
        shown += [] if piece is None else [piece]
    page = html(data, shown, title, command, problems, commands)
    files += _replace({out / "index.html": page.encode()})
    return Report(out, tuple(files), tuple(problems))


def _check_place(out: Path) -> None:
    """Raises `UsageError` where the folders of a report cannot be, as something else is there."""
    for path in (*reversed(out.parents), out, out / "tables", out / "figures"):
        if not path.is_dir() and (path.exists() or path.is_symlink()):
            raise UsageError(
                f"{path} is a file, or a link to no folder: expected a folder for the report, as of --out."
            )


def _built(table: Table, data: pd.DataFrame, problems: list[str]) -> pd.DataFrame | None:
    """A table's lines; None where it has none, or raised, which is a problem."""
    try:
        whole = table.build(data.copy(deep=False)) if len(data) else data
        return whole if len(whole) else None
    except PLUGIN_ERRORS as error:  # one broken table must not cost the report
        problems.append(_broken(table, error))
        return None


def _shown(table: Table, whole: pd.DataFrame | None, problems: list[str]) -> Shown | None:
    """A table in its formats; None where it has no lines, or raised, which is a problem."""
    if whole is None:
        return None
    try:
        caption = table.told(whole)
        brief = whole[list(table.compact)] if table.compact else whole
        read = readable(brief)
        return Shown(
            *(table.name, table.title, caption),
            read=readable(brief, table.math) if table.math else read,
            marked=[str(mark) != "" for mark in brief["mark"]] if "mark" in brief else [],
            csv=to_csv(whole),
            md=to_markdown(brief, table.title, caption, table.math, read),
            tex=to_latex(brief, table.title, caption, table.math, read),
            lead=table.lead,
            kinds=table.kinds,
            reasons=[str(reason) for reason in brief["reason"]] if "reason" in brief else [],
        )
    except PLUGIN_ERRORS as error:
        problems.append(_broken(table, error))
        return None


def _broken(table: Table, error: BaseException) -> str:
    return line(f"table {table.name!r} could not be built: {type(error).__name__}: {error}")


def main_tables(rows: Sequence[Mapping[str, Any]], width: int = WIDTH) -> str:
    """The tables that a terminal shows at the end of a run, at most `width` columns wide; empty for no rows."""
    data = frame(rows)
    tables = [table for table in found()[0] if table.narrow]
    return _for_terminal(((table, _built(table, data, [])) for table in tables), data, width)


def _for_terminal(built: Iterable[tuple[Table, pd.DataFrame | None]], data: pd.DataFrame, width: int) -> str:
    if data.empty:
        return ""
    parts = []
    for table, whole in built:
        if whole is None or not table.narrow:
            continue
        try:
            brief = table.brief(whole) if table.brief else whole
            text = to_terminal(brief, table.narrow, table.heading, width, table.each, table.note)
        except PLUGIN_ERRORS:  # the report says what is wrong with it
            continue
        parts += [f"{line(table.title)}\n\n{text}"] if text else []
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
        draft = path.with_name(f".{path.name}.{uuid4().hex}")
        try:
            with draft.open("xb") as file:
                file.write(content)
            os.replace(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        written.append(path)
    return written
