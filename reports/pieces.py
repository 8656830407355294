"""What a table and a figure of a report are, and where they are found."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ..suite.errors import PLUGIN_ERRORS
from .text import line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

GROUP = "odernn.reports"
"""Entry points of this group name a `Table` or a `Figure` of another package."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a piece may be called: its name is that of its files, and a part of addresses within the page."""


@dataclass(frozen=True)
class Table:
    """A table as a function of the frame.

    make: frame -> data frame, empty where the frame holds nothing for it. A column whose name ends in " ±" is the
    spread of the column before it and printed beside it. lead: the page shows it before the figures. The others tell
    how a terminal shows it. narrow: the columns to print, patterns such as "error *" too; () to leave it out there.
    Lines are grouped under their `heading` columns, at most `each` of a group; note: what to say of a group beside its
    heading; brief: table -> a shorter table to print in its place. compact: the columns of all formats but CSV, which
    has every one; () for all. math: columns that hold LaTeX equations, set as such where the format can. total: table
    -> a sentence on all of it, put before the caption. kinds: the kinds of rows (`frame`) that it is of, as the page
    says; () for all.
    """

    name: str
    title: str
    caption: str
    make: Callable[[pd.DataFrame], pd.DataFrame]
    narrow: tuple[str, ...] = ()
    heading: tuple[str, ...] = ("task", "device", "dtype")
    each: int = 12
    note: Callable[[pd.DataFrame], str] | None = None
    brief: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    lead: bool = False
    compact: tuple[str, ...] = ()
    math: tuple[str, ...] = ()
    total: Callable[[pd.DataFrame], str] | None = None
    kinds: tuple[str, ...] = ()

    def build(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The table of these rows, its index 0, 1, 2, ..."""
        return self.make(frame).reset_index(drop=True)

    def told(self, table: pd.DataFrame) -> str:
        """The caption of that table."""
        return f"{self.total(table)} {self.caption}" if self.total else self.caption


@dataclass(frozen=True)
class Figure:
    """A figure as a function of the frame; paint: frame -> matplotlib Figure, or None for nothing to draw.

    kinds: the kinds of rows (`frame`) that it is of, as the page says; () for all.
    """

    name: str
    title: str
    caption: str
    paint: Callable[[pd.DataFrame], Canvas | None]
    kinds: tuple[str, ...] = ()

    def draw(self, frame: pd.DataFrame) -> Canvas | None:
        """Draw with the sizes and fonts of `style`, whatever matplotlib's settings are outside."""
        from .style import settings

        with settings():
            return self.paint(frame)


def found() -> tuple[list[Table], list[Figure], list[str]]:
    """The tables and figures of the two folders by file name, then those of other packages; and what would not load.

    Order: `ORDER` first, then by name. What a plugin may do wrong is a sentence in the third list, not an exception: it
    does not load, is neither of the two, has a name that is no file name, or one that is taken.
    """
    tables: list[Table] = []
    figures: list[Figure] = []
    problems: list[str] = []
    for piece in (*_files("tables", "TABLE"), *_files("figures", "FIGURE")):
        (tables if isinstance(piece, Table) else figures).append(piece)
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda e: e.name):
        try:
            piece = entry.load()
        except (*PLUGIN_ERRORS, KeyboardInterrupt) as error:  # whatever it raises must not cost the report
            problems.append(f"report {entry.name!r} could not be loaded: {type(error).__name__}: {error}")
            continue
        problem = _refused(piece, tables if isinstance(piece, Table) else figures)
        if problem:
            problems.append(f"report {entry.name!r} {problem}")
        else:
            (tables if isinstance(piece, Table) else figures).append(piece)
    return sorted(tables, key=_place), sorted(figures, key=_place), [line(problem) for problem in problems]


def _refused(piece: Any, others: Sequence[Table | Figure]) -> str:
    """Why what a plugin brought cannot be shown; empty where it can."""
    if not isinstance(piece, Table | Figure):
        return f"is neither a Table nor a Figure but a {type(piece).__name__}"
    what, texts = type(piece).__name__.lower(), (piece.name, piece.title, piece.caption)
    if not all(isinstance(text, str) for text in texts):
        return f"is refused: name, title and caption of a {what} are texts"
    if NAME.fullmatch(piece.name) is None:
        return f"is refused: {piece.name!r} names its files, expected up to 64 letters, digits, - and _"
    if piece.name.lower() in {other.name.lower() for other in others}:  # some file systems know no capitals
        return f"is refused: there is a {what} {piece.name!r} already"
    return ""


ORDER = (
    *("correspondence", "plane", "learning", "breakdown", "growth", "memory", "parameters", "capacity"),
    *("ladder", "valid_time", "forecast", "attractors", "transfer", "refinement", "bias_order", "data_grid"),
    "lyapunov",
    *("work_precision", "work_precision_time", "work_precision_trajectory", "conformance", "convergence"),
    "stability_regions",
    *("overview", "stages", "accuracy", "forecasting", "ceilings", "stepped_exponents"),
    *("library_methods", "conformance", "stability", "spectra", "certificates", "norms"),
    *("integrators", "orders", "speed_targets", "speed", "scaling", "cores", "footprint", "failures"),
)


def _place(piece: Table | Figure) -> tuple[int, str]:
    return (ORDER.index(piece.name) if piece.name in ORDER else len(ORDER), piece.name)


def _files(folder: str, attribute: str) -> Iterator[Any]:
    package = importlib.import_module(f"{__package__}.{folder}")
    for info in pkgutil.iter_modules(package.__path__):
        yield getattr(importlib.import_module(f"{package.__name__}.{info.name}"), attribute)
