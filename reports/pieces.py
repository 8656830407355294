"""What a table and a figure of a report are, and where they are found."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

GROUP = "odernn.reports"
"""Entry points of this group name a `Table` or a `Figure` of another package."""


@dataclass(frozen=True)
class Table:
    """A table as a function of the frame.

    make: frame -> data frame, empty where the frame holds nothing for it. A column whose name ends in " ±" is the
    spread of the column before it and printed beside it. lead: the page shows it before the figures. The others tell
    how a terminal shows it. narrow: the columns to print, patterns such as "error *" too; () to leave it out there.
    Lines are grouped under their `heading` columns, at most `each` of a group; note: what to say of a group beside its
    heading; brief: table -> a shorter table to print in its place. compact: the columns of all formats but CSV, which
    has every one; () for all. math: columns that hold LaTeX equations, set as such where the format can. total: table
    -> a sentence on all of it, put before the caption.
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

    def build(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The table of these rows, its index 0, 1, 2, ..."""
        return self.make(frame).reset_index(drop=True)

    def told(self, table: pd.DataFrame) -> str:
        """The caption of that table."""
        return f"{self.total(table)} {self.caption}" if self.total else self.caption


@dataclass(frozen=True)
class Figure:
    """A figure as a function of the frame; paint: frame -> matplotlib Figure, or None for nothing to draw."""

    name: str
    title: str
    caption: str
    paint: Callable[[pd.DataFrame], Canvas | None]

    def draw(self, frame: pd.DataFrame) -> Canvas | None:
        """Draw with the sizes and fonts of `style`, whatever matplotlib's settings are outside."""
        from .style import settings

        with settings():
            return self.paint(frame)


def found() -> tuple[list[Table], list[Figure], list[str]]:
    """The tables and figures of the two folders by file name, then those of other packages; and what would not load.

    Order: `ORDER` first, then by name. A plugin that fails to load is a sentence in the third list, not an exception.
    """
    tables: list[Table] = []
    figures: list[Figure] = []
    problems: list[str] = []
    for piece in (*_files("tables", "TABLE"), *_files("figures", "FIGURE")):
        (tables if isinstance(piece, Table) else figures).append(piece)
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda e: e.name):
        try:
            piece = entry.load()
        except Exception as error:  # a broken plugin must not cost the report
            problems.append(f"report {entry.name!r} could not be loaded: {error}")
            continue
        if isinstance(piece, Table):
            tables.append(piece)
        elif isinstance(piece, Figure):
            figures.append(piece)
        else:
            problems.append(f"report {entry.name!r} is neither a Table nor a Figure but a {type(piece).__name__}")
    return sorted(tables, key=_place), sorted(figures, key=_place), problems


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
