"""Name to colour, marker, line style and label; sizes and fonts; how a figure is begun and saved. All of it once, here.

A name looks the same in every figure, whatever else is drawn: known names have a fixed place, others one computed from
the name. Colours: Okabe & Ito, "Color Universal Design" (2008), without its yellow (faint on
white), with a brown. Long because the tables of names and settings are, not the code.
"""

from __future__ import annotations

import io
import re
import textwrap
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D

INK, GREY = "#1a1a1a", "#7a7a7a"
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
ORANGE, SKY, BROWN = "#e69f00", "#56b4e9", "#8c564b"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BROWN)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2, 1, 2, 1, 2)))

RUNGS: Mapping[str, str] = MappingProxyType(
    {
        "climatology": "#b3a369",
        "persistence": GREY,
        "parroting": "#8c564b",
        "nvar": "#332288",
        "esn": "#aa4499",
        "polynomial-field": "#117733",
        "mlp-field": "#44aa99",
    }
)
"""The forecasters that are no cell of the catalogue, from the least informed on, and their colours (in part of P. Tol,
"Colour Schemes", SRON/EPS/TN/09-002, 2021, scheme "muted")."""

_CELLS = ("leaky", "cornn", "antisymmetric", "companion", "lstm", "gru")
_TABLEAUX = (
    *("rk4", "euler", "midpoint", "heun2", "bogacki-shampine32", "dormand-prince54"),
    *("ssp33", "kutta3", "ralston2", "heun3", "rk38", "ssp43", "ssp54", "ssp104", "fehlberg45", "cash-karp54"),
    *("tsitouras54", "bogacki-shampine54", "verner65", "verner76", "dop853"),
)
_TABLEAU_DASHES = {"rk4": 0, "euler": 2, "midpoint": 3, "heun2": 1, "bogacki-shampine32": 4, "dormand-prince54": 4}
_LABELS = {
    "leaky": "leaky",
    "cornn": "coRNN",
    "lstm": "LSTM",
    "gru": "GRU",
    "elman": "Elman",
    "mingru": "minGRU",
    "urnn": "URNN",
    "eunn": "EUNN",
    "scornn": "scoRNN",
    "exprnn": "expRNN",
    "antisymmetric-gated": "antisymmetric, gated",
    "unicornn": "UnICORNN",
    "lem": "LEM",
    "lipschitz": "Lipschitz",
    "ct-rnn": "CT-RNN",
    "ode-lstm": "ODE-LSTM",
    "lmu": "LMU",
    "lru": "LRU",
    "schroedinger": "Schrödinger",
    "srnn": "SRNN",
    "qunn": "QUNN",
    "cfc": "CfC",
    "true-field": "true field",
    "parroting": "context parroting",
    "nvar": "NVAR",
    "esn": "echo state network",
    "polynomial-field": "polynomial field",
    "mlp-field": "MLP field",
    "euler": "Euler",
    "rk4": "RK4",
    "rk38": "RK4 (3/8)",
    "heun2": "Heun 2",
    "heun3": "Heun 3",
    "kutta3": "Kutta 3",
    "midpoint": "midpoint",
    "ssp33": "SSP(3,3)",
    "ralston2": "Ralston 2",
    "bogacki-shampine32": "Bogacki-Shampine 3(2)",
    "dormand-prince54": "Dormand-Prince 5(4)",
    "bogacki-shampine54": "Bogacki-Shampine 5(4)",
    "fehlberg45": "Fehlberg 4(5)",
    "cash-karp54": "Cash-Karp 5(4)",
    "tsitouras54": "Tsitouras 5(4)",
    "ssp43": "SSP(4,3)",
    "ssp54": "SSP(5,4)",
    "ssp104": "SSP(10,4)",
    "verner65": "Verner 6(5)",
    "verner76": "Verner 7(6)",
    "dop853": "DOP853",
    "backward-euler": "backward Euler",
    "implicit-midpoint": "implicit midpoint",
    "gauss-seidel-euler": "Gauss-Seidel Euler",
    "symplectic-euler": "symplectic Euler",
    "stormer-verlet": "Störmer-Verlet",
    "lie": "Lie splitting",
    "strang": "Strang splitting",
    "lie-cayley": "Lie-Cayley splitting",
    "strang-cayley": "Strang-Cayley splitting",
    "": "no tableau",
}
OUTCOME_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "converged": GREEN,
        "plateau": SKY,
        "diverged": VERMILION,
        "NaN": PURPLE,
        "failed": BROWN,
        "timeout": ORANGE,
        "memory": INK,
        "skipped": "#c4c4c4",
    }
)

WIDTH = 7.2
"""Inches; the page shows a figure at about this width, so that 8 point text is 8 point text."""


def _number(name: str) -> int:
    return zlib.crc32(name.encode())


def colour(name: str) -> str:
    """The colour of a cell or a tableau; the true field is ink."""
    if name in ("true-field", ""):
        return INK
    if name in RUNGS:
        return RUNGS[name]
    for known in (_CELLS, _TABLEAUX):
        if name in known:
            return PALETTE[known.index(name) % len(PALETTE)]
    return PALETTE[_number(name) % len(PALETTE)]


def marker(name: str) -> str:
    """The marker of a cell, a tableau or a variant."""
    if name == "true-field":
        return "D"
    for known in (tuple(RUNGS), _CELLS, _TABLEAUX):
        if name in known:
            return MARKERS[known.index(name) % len(MARKERS)]
    return MARKERS[_number(name) // 7 % len(MARKERS)]


def dashes(name: str) -> Any:
    """The line style of a tableau, solid where there is none."""
    if name in ("", "true-field"):
        return DASHES[0]
    return DASHES[_TABLEAU_DASHES.get(name, _number(name) % len(DASHES))]


def label(name: str) -> str:
    """The name as a reader knows it; `plain` makes it safe for matplotlib."""
    return _LABELS.get(name, name)


def plain(text: str) -> str:
    """Any text, safe in matplotlib: no mathematics from dollar signs, no legend entry hidden by an underscore."""
    clean = "".join(c if c.isprintable() else " " for c in text).replace("$", r"\$")
    return f" {clean}" if clean.startswith("_") else clean


def short(text: str, width: int = 44) -> str:
    """The text cut to a width in characters, with an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + "…"


def by_name(names: Iterable[str], known: Sequence[str] = (*RUNGS, *_CELLS, *_TABLEAUX)) -> list[str]:
    """The distinct names in the order of the tables above, unknown ones after them by name, the true field last."""

    def place(name: str) -> tuple[int, str]:
        if name == "true-field":
            return (len(known) + 1, name)
        return (known.index(name) if name in known else len(known), name)

    return sorted(set(names), key=place)


_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "axes.titlesize": 8.5,
        "axes.labelsize": 8,
        "legend.fontsize": 7.5,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "figure.titlesize": 9,
        "lines.linewidth": 1.4,
        "lines.markersize": 4,
        "axes.linewidth": 0.7,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.linewidth": 0.5,
        "grid.color": INK,
        "grid.alpha": 0.13,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.facecolor": "none",
        "figure.facecolor": "#ffffff",
        "svg.hashsalt": "odernn",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
        "savefig.dpi": 150,
        "figure.dpi": 150,
        "text.hinting": "none",
        "axes.formatter.useoffset": False,
        "figure.constrained_layout.h_pad": 0.06,
        "figure.constrained_layout.w_pad": 0.06,
        "text.usetex": False,
    }
)


@contextmanager
def settings() -> Iterator[None]:
    """matplotlib's defaults with the settings above, and nothing from the user's matplotlibrc."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(dict(_SETTINGS))  # type: ignore[arg-type]
        yield


def grid(count: int, columns: int = 3, height: float = 2.3) -> tuple[Canvas, list[Axes]]:
    """A figure of `count` panels in at most that many columns, each `height` inches; `legend` adds its own height."""
    from matplotlib.figure import Figure as Canvas

    columns = max(1, min(columns, count))
    lines = -(-count // columns)
    canvas = Canvas(figsize=(WIDTH, height * lines), layout="constrained")
    axes = canvas.subplots(lines, columns, squeeze=False)
    flat = [ax for line in axes for ax in line]
    for ax in flat[count:]:
        ax.remove()
    return canvas, flat[:count]


def head(ax: Axes, text: str, small: str = "", panels: int = 3) -> None:
    """A panel's title, wrapped to the width of a panel in a row of so many, with a smaller line below."""
    width = {1: 70, 2: 46}.get(panels, 27)
    lines = textwrap.wrap(text, width, max_lines=3, placeholder="…") or [""]
    under = textwrap.wrap(small, width + 4, max_lines=2, placeholder="…") if small else []
    ax.set_title("\n".join(plain(line) for line in lines), pad=4 + 9 * len(under))
    if under:
        look: dict[str, Any] = {
            "xycoords": "axes fraction",
            "textcoords": "offset points",
            "color": GREY,
            "fontsize": 7,
        }
        ax.annotate("\n".join(plain(line) for line in under), (0, 1), xytext=(0, 4), va="bottom", **look)


def log_ticks(ax: Axes, which: str = "both") -> None:
    """Logarithmic axes whose labels do not collide: powers of ten, or 1, 2, 5 where there are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    for name, axis, limits in (("x", ax.xaxis, ax.get_xlim()), ("y", ax.yaxis, ax.get_ylim())):
        if which not in (name, "both"):
            continue
        axis.set_minor_formatter(NullFormatter())
        if limits[1] < (30 if name == "x" else 100) * limits[0]:
            few = limits[1] < 3 * limits[0]
            axis.set_major_locator(MaxNLocator(3) if few else LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            axis.set_major_locator(LogLocator(numticks=6))


def handle(text: str, **look: Any) -> Line2D:
    """A legend entry."""
    from matplotlib.lines import Line2D

    look.setdefault("color", INK)
    return Line2D([], [], label=plain(short(text, 34)), **look)


def variant(place: int) -> dict[str, Any]:
    """The marker of the place-th of several variants: filled ones first, then the same hollow."""
    hollow = place // len(MARKERS) % 2 == 1
    return {"marker": MARKERS[place % len(MARKERS)], "fillstyle": "none" if hollow else "full"}


def legend(canvas: Canvas, handles: Sequence[Any]) -> None:
    """One legend below all panels, in as many columns as its longest entry leaves room for; the figure grows by it."""
    if not handles:
        return
    longest = max(len(str(h.get_label())) for h in handles)
    columns = int((canvas.get_figwidth() - 0.1) / (0.55 + 0.065 * longest))
    columns = max(1, min(6, columns, len(handles)))
    lines = -(-len(handles) // columns)
    canvas.set_figheight(canvas.get_figheight() + 0.165 * lines + 0.15)
    canvas.legend(handles=list(handles), loc="outside lower left", ncols=columns, handlelength=2.6)


_METADATA: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "svg": {"Date": None, "Creator": "odernn"},
        "pdf": {"CreationDate": None, "Creator": "odernn", "Producer": "odernn"},
        "png": {"Software": None},
    }
)


_PLACES = re.compile(rb' (?:d|x|y)="[^"]*"')


def render(canvas: Canvas, kind: str) -> bytes:
    """The figure as "svg", "pdf" or "png"; the same bytes for the same figure, today or next year.

    The formats' own canvases are called, not `savefig`, which draws everything twice. Places in an SVG keep two
    decimals: a hundredth of a point.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    with settings():
        engine = canvas.get_layout_engine()
        if engine is not None:  # place everything once, not once per format
            FigureCanvasAgg(canvas)
            engine.execute(canvas)
            if any(ax.get_aspect() != "auto" for ax in canvas.axes):  # these change their margins when first placed
                engine.execute(canvas)
            canvas.set_layout_engine("none")
            for ax in canvas.axes:  # the last digits of a layout depend on what was drawn before
                left, bottom, width, height = (round(number, 6) for number in ax.get_position(original=True).bounds)
                ax.set_position((left, bottom, width, height))
        dpi = canvas.get_dpi()  # the vector formats leave theirs behind
        if kind == "svg":
            FigureCanvasSVG(canvas).print_svg(buffer, metadata=_METADATA[kind])
        elif kind == "pdf":
            FigureCanvasPdf(canvas).print_pdf(buffer, metadata=_METADATA[kind])
        else:
            FigureCanvasAgg(canvas).print_png(buffer, metadata=_METADATA[kind])
        canvas.set_dpi(dpi)
    if kind != "svg":
        return buffer.getvalue()
    return _PLACES.sub(lambda found: re.sub(rb"(\.\d\d)\d+", rb"\1", found[0]), buffer.getvalue())


def themed(svg: bytes) -> str:
    """The SVG without its white ground, for a reader who may prefer a dark page: there its ink and greys are light, and
    colours of names that would drown in the dark are mixed with white; on paper it is as it was."""
    text = re.sub(r"\s*<!--.*?-->", "", svg.decode(), flags=re.DOTALL)
    text = text.replace("fill: #ffffff", "fill: none", 1).replace(INK, "currentColor")
    sheet = f":root{{color:{INK}}}"
    dark = ":root{color:#e8e6e3}"
    for place, colour in enumerate(_NAMED):
        text = re.sub(rf"(fill|stroke): {colour}", rf"\1: var(--c{place})", text)
        if f"var(--c{place})" in text:
            sheet += f":root{{--c{place}:{'#666666' if colour == GREY else colour}}}"
            dark += f":root{{--c{place}:{_lighter(colour)}}}"
    sheet += f"@media (prefers-color-scheme: dark){{{dark}}}"
    return text.replace("<defs>", f"<style>{sheet}</style>\n <defs>", 1)


_NAMED = tuple(dict.fromkeys((GREY, *PALETTE, *RUNGS.values(), *OUTCOME_COLOURS.values())))
DARK = "#16181b"
"""The page's ground where the reader prefers a dark one."""


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours "#rrggbb" (W3C, Web Content Accessibility Guidelines 2.1)."""
    first, second = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (first + 0.05) / (second + 0.05)


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))


def _luminance(colour: str) -> float:
    parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in _channels(colour)]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def _lighter(colour: str) -> str:
    """The colour mixed with as little white as gives it contrast on a dark page."""
    least = 4.5 if colour == GREY else 3.0
    for share in range(0, 100, 5):
        mixed = "#" + "".join(f"{round(c + (255 - c) * share / 100):02x}" for c in _channels(colour))
        if contrast(mixed, DARK) >= least:
            return mixed
    return "#ffffff"
