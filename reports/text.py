"""A table as text: CSV, Markdown, LaTeX and a terminal's lines, every cell harmless for the format it goes to."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

NOTHING = "—"


def shown(value: Any) -> str:
    """A cell as a reader sees it: four significant digits, yes and no, a dash for nothing, no control characters."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):
        return "yes" if value else "no"
    if isinstance(value, float):
        if math.isfinite(value) and value == round(value) and abs(value) < 1e7:
            return str(int(value))
        return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return text if text.strip() else NOTHING


def is_number(column: pd.Series[Any]) -> bool:
    """Whether a column is to be set flush right."""
    return bool(pd.api.types.is_numeric_dtype(column)) and not pd.api.types.is_bool_dtype(column)


def readable(table: pd.DataFrame) -> tuple[list[str], list[bool], list[list[str]]]:
    """Heads, whether each column is numeric, and cells; a column "x ±" is printed within x, as "x ± spread"."""
    names = [str(c) for c in table.columns]
    heads = [n for n in names if not n.endswith(" ±")]
    right = [is_number(table[n]) for n in heads]
    lines = []
    for record in table.to_dict("records"):
        cells = []
        for name in heads:
            text, spread = shown(record[name]), record.get(f"{name} ±")
            if isinstance(spread, float) and math.isfinite(spread) and text != NOTHING:
                text += f" ± {spread:.2g}"
            cells.append(text)
        lines.append(cells)
    return heads, right, lines


# --------------------------------------------------------------------------------------------------------------- CSV


def guarded(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins with = + - @ tab or return gets an apostrophe.

    Numbers stay as they are, negative ones too (OWASP, "CSV Injection").
    """
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def to_csv(table: pd.DataFrame) -> str:
    """Full precision; what is missing is an empty cell; lines end in a line feed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([guarded(str(c)) for c in table.columns])
    for line in table.itertuples(index=False, name=None):
        writer.writerow(["" if v is None or (isinstance(v, float) and math.isnan(v)) else guarded(v) for v in line])
    return buffer.getvalue()


# ---------------------------------------------------------------------------------------------------------- Markdown


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", text)


def to_markdown(table: pd.DataFrame, title: str, caption: str) -> str:
    """A heading, a pipe table and the caption."""
    heads, right, lines = readable(table)
    rule = ["---:" if r else "---" for r in right]
    body = [[_markdown(h) for h in heads], rule, *([_markdown(c) for c in line] for line in lines)]
    pipes = "\n".join(f"| {' | '.join(line)} |" for line in body)
    return f"## {_markdown(title)}\n\n{pipes}\n\n{_markdown(caption)}\n"


# ------------------------------------------------------------------------------------------------------------- LaTeX

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "—": "---",
    "…": r"\dots{}",
}


def latex(text: str) -> str:
    """Text with LaTeX's special characters escaped, one pass, so that no escape is escaped again."""
    return "".join(_LATEX.get(c, c) for c in text)


def to_latex(table: pd.DataFrame, title: str, caption: str) -> str:
    """A booktabs table; needs \\usepackage{booktabs} and, for quotation marks, [T1]{fontenc}."""
    heads, right, lines = readable(table)
    columns = "".join("r" if r else "l" for r in right)
    body = [rf"  {' & '.join(latex(c) for c in line)} \\" for line in lines]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(title)}. {latex(caption)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"  \toprule",
            rf"  {' & '.join(latex(h) for h in heads)} \\",
            r"  \midrule",
            *body,
            r"  \bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


# ---------------------------------------------------------------------------------------------------------- terminal


def to_terminal(
    table: pd.DataFrame, columns: Sequence[str], heading: Sequence[str] = (), width: int = 110, lines: int = 60
) -> str:
    """The named columns as aligned text no wider than `width`, under one line for each value of the heading columns.

    Long cells are cut; lines beyond `lines` are counted, not printed.
    """
    above = [c for c in heading if c in table.columns]
    wanted = [c for c in table.columns if c in columns or (c.endswith(" ±") and c[:-2] in columns)]
    left_out, part = len(table) - lines, table.head(lines)
    heads, right, cells = readable(part[wanted])
    titles = [" · ".join(shown(v) for v in values) for values in part[above].itertuples(index=False, name=None)]
    margin = "  " if above else ""
    sizes = [max(len(h), *(len(line[i]) for line in cells)) for i, h in enumerate(heads)]
    for spare in ([not r for r in right], [True] * len(right)):  # words give way before numbers do
        while sum(sizes) + 2 * (len(sizes) - 1) + len(margin) > width:
            widest = max((size for size, may in zip(sizes, spare, strict=True) if may), default=0)
            if widest <= 6:
                break
            sizes[next(i for i, may in enumerate(spare) if may and sizes[i] == widest)] -= 1

    def aligned(line: Sequence[str]) -> str:
        cut = [_cut(cell, size) for cell, size in zip(line, sizes, strict=True)]
        both = zip(cut, sizes, right, strict=True)
        return (margin + "  ".join(c.rjust(n) if r else c.ljust(n) for c, n, r in both)).rstrip()

    text = [aligned(heads), aligned(["-" * size for size in sizes])]
    for title in dict.fromkeys(titles):
        if above:
            text.append(_cut(title, width))
        text += [aligned(line) for line, own in zip(cells, titles, strict=True) if own == title]
    if left_out > 0:
        text.append(f"... and {left_out} more")
    return "\n".join(text)


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"
