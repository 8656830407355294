"""A table as text: CSV, Markdown, LaTeX and a terminal's lines, every cell harmless for the format it goes to.

Longer than most files because the formats share their reading of a table.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import pandas as pd

from ..suite.printable import printable
from . import typeset

NOTHING = "—"
Readable: TypeAlias = tuple[list[str], list[bool], list[list[str]]]
"""Heads, whether each column is numeric, and the cells of every line."""


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
    text = line(str(value))
    return text if text.strip() else NOTHING


def line(text: str) -> str:
    """The text on one line, its line ends as spaces, harmless where it is shown."""
    return text if text.isprintable() else printable(re.sub(r"\r\n|[\n\r\t\v\f\x85\u2028\u2029]", " ", text))


def is_number(column: pd.Series[Any]) -> bool:
    """Whether a column is to be set flush right."""
    return bool(pd.api.types.is_numeric_dtype(column)) and not pd.api.types.is_bool_dtype(column)


def readable(table: pd.DataFrame, equations: Sequence[str] = ()) -> Readable:
    """Heads, whether each column is numeric, and cells; a column "x ±" is printed within x, as "x ± spread".

    equations: columns of LaTeX equations, which become ordinary characters.
    """
    heads = [c for c in table.columns if not str(c).endswith(" ±")]
    right = [is_number(table[c]) for c in heads]
    columns = []
    for head in heads:
        values: list[Any] = table[head].tolist()
        if head in equations:
            values = [typeset.to_plain(value) if isinstance(value, str) else value for value in values]
        cells = [shown(value) for value in values]
        if f"{head} ±" in table:
            both = zip(cells, table[f"{head} ±"].tolist(), strict=True)
            cells = [f"{cell} ± {spread:.2g}" if _told(cell, spread) else cell for cell, spread in both]
        columns.append(cells)
    return [line(str(c)) for c in heads], right, [list(cells) for cells in zip(*columns, strict=True)]


def _told(cell: str, spread: Any) -> bool:
    return isinstance(spread, float) and math.isfinite(spread) and cell != NOTHING


# --------------------------------------------------------------------------------------------------------------- CSV


def guarded(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins with = + - @ tab or return gets an apostrophe.

    So does text with one of these signs after blanks, and their forms of full width. Numbers stay as they are, negative
    ones too (OWASP, "CSV Injection").
    """
    if not isinstance(value, str):
        return value
    if not value.startswith(("\t", "\r", "\n")) and not value.lstrip(_BLANK).startswith(_FORMULA):
        return value
    return value if _NUMBER.fullmatch(value) else f"'{value}"


_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[-+](?:\d+(?:\.\d*)?|\.\d+|inf|nan)(?:e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
_BLANK = " \u00a0\u3000\u200b\ufeff\0"


def to_csv(table: pd.DataFrame) -> str:
    """Full precision; what is missing is an empty cell; lines end in a line feed; controls are written as escapes."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_csv(str(c)) for c in table.columns])
    writer.writerows(map(_csv, values) for values in table.itertuples(index=False, name=None))
    return buffer.getvalue()


def _csv(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, int | float):
        return value
    text = guarded(str(value)).replace("\r\n", "\n")
    return printable(text, keep="\n\t")  # the csv module leaves a bare return bare, and some take it for a line's end


# ---------------------------------------------------------------------------------------------------------- Markdown


_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_{}[]<>#|~&$"})


_ADDRESS = re.compile(r"(?i)(?<=:)(?=//)|(?<=www)(?=\.)")
"""Where a backslash keeps an address, which some readers of Markdown make a link, plain text."""


def _markdown(text: str) -> str:
    return _ADDRESS.sub(r"\\", text.translate(_MARKDOWN))


def to_markdown(
    table: pd.DataFrame, title: str, caption: str, equations: Sequence[str] = (), read: Readable | None = None
) -> str:
    """A heading, a pipe table and the caption; equations: columns of LaTeX equations, put between dollar signs.

    read: `readable` of the table, where it is known.
    """
    heads, right, lines = read or readable(table)
    rule = ["---:" if r else "---" for r in right]
    body = [[_markdown(h) for h in heads], rule, *_cells(heads, lines, _markdown, equations, typeset.to_markdown)]
    pipes = "\n".join(f"| {' | '.join(cells)} |" for cells in body)
    return f"## {_markdown(line(title))}\n\n{pipes}\n\n{_markdown(line(caption))}\n"


def _cells(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    text: Callable[[str], str],
    equations: Sequence[str],
    typeset_as: Callable[[str, Callable[[str], str]], str],
) -> list[list[str]]:
    """The cells as a format writes them: `typeset_as` for equations, `text` for all others."""
    return [
        [typeset_as(c, text) if h in equations and c != NOTHING else text(c) for h, c in zip(heads, cells, strict=True)]
        for cells in lines
    ]


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
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
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
    "✓": r"$\surd$",
    "✗": r"$\times$",
    "○": r"$\circ$",
}


_LATEX_SIGNS = str.maketrans(_LATEX)


def latex(text: str) -> str:
    """Text with LaTeX's special characters escaped, one pass, so that no escape is escaped again.

    Brackets and stars are in braces: at the start of a line the end of the line before would take them for its options.
    """
    return text.translate(_LATEX_SIGNS)


def to_latex(
    table: pd.DataFrame, title: str, caption: str, equations: Sequence[str] = (), read: Readable | None = None
) -> str:
    """A booktabs table; needs \\usepackage{booktabs} and, for quotation marks, [T1]{fontenc}.

    equations: columns of LaTeX equations, which need \\usepackage{amsmath}. read: `readable` of the table.
    """
    heads, right, lines = read or readable(table)
    columns = "".join("r" if r else "l" for r in right)
    body = [rf"  {' & '.join(cells)} \\" for cells in _cells(heads, lines, latex, equations, typeset.to_latex)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(line(title))}. {latex(line(caption))}}}",
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
    table: pd.DataFrame,
    columns: Sequence[str],
    heading: Sequence[str] = (),
    width: int = 110,
    each: int = 60,
    note: Callable[[pd.DataFrame], str] | None = None,
    most: int = 40,
) -> str:
    """The columns as aligned text, under one line for each value of the heading columns, with its `note`.

    columns: names, or patterns as of a shell ("error *"). Words are cut to keep the lines within `width`; numbers never
    are. Lines beyond `each` of a group, and groups beyond `most` lines altogether, are counted, not printed.
    """
    above = [c for c in heading if c in table.columns]
    wanted = [c for c in table.columns if any(fnmatchcase(c.removesuffix(" ±"), name) for name in columns)]
    titles = [" · ".join(shown(v) for v in values) for values in table[above].itertuples(index=False, name=None)]
    groups = {title: table[[t == title for t in titles]] for title in dict.fromkeys(titles)} if above else {"": table}
    printed = 0
    for title in list(groups):
        if printed >= most:
            groups.pop(title)
        else:
            printed += min(each, len(groups[title]))
    heads, right, cells = readable(pd.concat([group.head(each)[wanted] for group in groups.values()]))
    margin = "  " if above else ""
    sizes = [max(len(h), *(len(line[i]) for line in cells)) for i, h in enumerate(heads)]
    firm = [r or h == "step" for h, r in zip(heads, right, strict=True)]
    least = [max((len(line[i]) for line in cells), default=0) if f else 6 for i, f in enumerate(firm)]
    while sum(sizes) + 2 * (len(sizes) - 1) + len(margin) > width:
        room = [size if size > floor else 0 for size, floor in zip(sizes, least, strict=True)]
        if not any(room):
            break
        sizes[room.index(max(room))] -= 1

    def aligned(line: Sequence[str]) -> str:
        cut = [_cut(cell, size) for cell, size in zip(line, sizes, strict=True)]
        both = zip(cut, sizes, right, strict=True)
        return (margin + "  ".join(c.rjust(n) if r else c.ljust(n) for c, n, r in both)).rstrip()

    text, place = [aligned(heads), aligned(["-" * size for size in sizes])], 0
    for title, group in groups.items():
        if above:
            text.append(_cut(f"{title}: {note(group)}" if note else title, width))
        count = min(each, len(group))
        text += [aligned(line) for line in cells[place : place + count]]
        place += count
        if len(group) > count:
            text.append(f"{margin}... and {len(group) - count} more, see the report")
    rest = len(table) - sum(len(group) for group in groups.values())
    if rest:
        text.append(f"... and {rest} more in {len(set(titles)) - len(groups)} groups, see the report")
    return "\n".join(text)


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"
