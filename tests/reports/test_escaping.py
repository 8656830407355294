"""Whatever a row or a plugin is called, no format takes it for more than text, and no file leaves the output folder."""

from __future__ import annotations

import csv
import functools
import io
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odernn.reports import pieces, style
from odernn.reports.drawing import draw
from odernn.reports.frame import frame
from odernn.reports.page import Shown, html
from odernn.reports.pieces import Figure, Table, found
from odernn.reports.text import guarded, latex, readable, to_csv, to_latex, to_markdown, to_terminal
from odernn.reports.write import main_tables, write_report
from odernn.suite.commands import Command

ANY = st.text(st.characters(categories=None), max_size=40)
SHARP = st.text("<>&\"'=+-@\t\r\n\0\x1b\\{}[]()$%#_^~|`*! ab1/.:\ud800\u202e\u2028＝", max_size=40)
TEXT = st.one_of(SHARP, ANY)
few = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


class _Seen(HTMLParser):
    """The tags of a page, and the text of the cells of its tables and of its title."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.cells: list[str] = []
        self._inside = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self._inside = tag in ("td", "th")
        if self._inside:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def _page(text: str) -> str:
    table = pd.DataFrame({"name": [text], "n": [1]})
    piece = Shown("t", text, text, read=readable(table), csv=to_csv(table), tex=to_latex(table, text, text))
    row = {"id": "x", "experiment": text, "task": {"name": text}, "solver": {"cell": text}, "status": "failed"}
    row |= {"reason": text, "environment": {"version": text, "packages": {text: text}, "code": text}, "seed": 0}
    started = "2026-01-02T03:04:05Z"
    command = Command(f"odernn run {text}", text, started, (), ("x",))
    return html(frame([row | {"started": started}]), [piece], text, text, [text], [command])


PLAIN = functools.cache(lambda: _Seen(_page("plain")))


@settings(few, max_examples=30)
@given(TEXT)
def test_html_has_the_same_tags_whatever_the_names_are(text: str) -> None:
    page = _page(text)
    page.encode("utf-8")
    seen, plain = _Seen(page), PLAIN()
    if not text.strip():
        return  # what is empty is left out
    names = {tag for tag, _ in plain.tags}
    assert {tag for tag, _ in seen.tags} <= names
    assert [t for t, _ in seen.tags].count("script") == 1
    assert {a for _, attributes in seen.tags for a in attributes} <= {a for _, most in plain.tags for a in most}
    assert all(c.isprintable() or c == "\n" for c in page)
    assert seen.cells[2] == readable(pd.DataFrame({"name": [text]}))[2][0][0]


@few
@given(TEXT)
def test_csv_gives_back_one_cell_that_is_no_formula(text: str) -> None:
    made = to_csv(pd.DataFrame({"name": [text], "n": [-1.5]}))
    made.encode("utf-8")
    (line,) = list(csv.DictReader(io.StringIO(made, newline="")))
    assert line["n"] == "-1.5"
    cell = line["name"]
    if re.match(r"[=+@\-\t\r\n＝＋－＠]", cell):
        float(cell)  # raises where it is no number
    assert not any(c in cell for c in "\x1b\0")


@few
@given(TEXT)
def test_markdown_is_one_line_of_two_cells(text: str) -> None:
    lines = to_markdown(pd.DataFrame({"name": [text], "n": [1]}), text, text).splitlines()
    assert len(lines) == 7
    bare = lines[4].replace("\\\\", "").replace("\\|", "")
    assert bare.count("|") == 3
    assert re.sub(r"\\.", "", lines[4]).count("<") == 0


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("see http://a.b/c", r"see http:\//a.b/c"),
        ("HTTPS://a.b", r"HTTPS:\//a.b"),
        ("www.a.b and WWW.a.b", r"www\.a.b and WWW\.a.b"),
        ("h = 1/2: a/b", "h = 1/2: a/b"),
    ],
)
def test_markdown_makes_no_link_of_an_address(text: str, written: str) -> None:
    lines = to_markdown(pd.DataFrame({"name": [text], "n": [1]}), text, text).splitlines()
    assert (lines[0], lines[4], lines[6]) == (f"## {written}", f"| {written} | 1 |", written)


@few
@given(TEXT)
def test_latex_has_no_command_but_its_own(text: str) -> None:
    known = set(re.findall(r"\\[A-Za-z]+|\\.", latex("".join(map(chr, range(32, 127))) + "±·×—…✓✗○")))
    used = set(re.findall(r"\\[A-Za-z]+|\\.", latex(text), re.DOTALL))
    assert used <= known
    bare = re.sub(r"\\[A-Za-z]+|\\.", "", latex(text))
    assert bare.count("{") == bare.count("}")
    line = to_latex(pd.DataFrame({"name": [text], "n": [1]}), text, text).splitlines()[-4]
    assert line.endswith(r" & 1 \\")
    assert not line.lstrip().startswith(("[", "*"))


@few
@given(TEXT, TEXT)
def test_a_terminal_is_told_nothing_but_text(text: str, other: str) -> None:
    table = pd.DataFrame({"task": [other], "name": [text], "n": [1]})
    printed = to_terminal(table, ("name", "n"), ("task",))
    assert all(line.isprintable() for line in printed.split("\n"))
    assert len(printed.split("\n")) == 4


@settings(deadline=None, max_examples=40)
@given(TEXT)
def test_matplotlib_draws_any_name_and_finds_no_mathematics(text: str) -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    safe = style.plain(text)
    assert safe.isprintable()
    assert safe.count("$") == safe.count(r"\$")
    TextPath((0, 0), f"x{safe}", prop=FontProperties(size=8))


def test_formulas_are_guarded_behind_blanks_and_in_full_width() -> None:
    for text in (" =1+1", "\u00a0@SUM(1)", "＝cmd()", "\n=1", "\ufeff-cmd"):
        assert guarded(text) == f"'{text}"
    assert guarded("a = b") == "a = b"


def test_a_whole_report_of_hostile_rows_stays_in_its_folder(synthetic: ModuleType, tmp_path: Path) -> None:
    names = ("../../up", "/tmp/x", "<img src=x onerror=alert(1)>", "\x1b[2J", "\ud800", "=cmd()", "$\\frac{$", "a\nb")
    rows = []
    for name in names:
        solver = {"cell": "true-field", "tableau": name, "backend": name, "step": 0.5}
        rows.append(synthetic.row({"name": "ivp", "problem": name}, solver, metrics={"error": 0.1}, reason=name))
        rows.append(synthetic.row({"name": name}, solver, status="failed", reason=name, experiment=name))
    report = write_report(rows, tmp_path / "out", "\ud800 <t>", "odernn\x1b[2J report")
    assert report.problems == ()
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(report.files)
    assert all(line.isprintable() for line in main_tables(rows).splitlines())
    for path in report.files:
        if path.suffix in (".csv", ".md", ".tex", ".html"):
            assert "\x1b" not in path.read_text(encoding="utf-8")


class _Entry:
    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    def load(self) -> Any:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


def _install(monkeypatch: pytest.MonkeyPatch, *entries: _Entry) -> None:
    monkeypatch.setattr(pieces.metadata, "entry_points", lambda group: entries if group == "odernn.reports" else [])


def _mine(name: Any, make: Any = lambda data: pd.DataFrame({"runs": [len(data)]})) -> Table:
    return Table(name, f"Mine <{name}>", "How many rows there are.", make)


def _failing(error: BaseException) -> Any:
    def make(_: pd.DataFrame) -> pd.DataFrame:
        raise error

    return make


def test_signs_that_no_font_has_cost_no_warning(synthetic: ModuleType) -> None:
    rows = [
        synthetic.ivp("problem \U000f0000\u4e2d\u0f00", "rk4", "native", step=step, error=step) for step in (0.1, 0.2)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = [draw(figure, frame(rows)) for figure in found()[1]]
    assert any(isinstance(each, dict) for each in drawn)
    assert not [each for each in drawn if isinstance(each, str)]


def test_a_task_without_a_known_metric_is_said_to_have_none(synthetic: ModuleType) -> None:
    row = synthetic.sequence("adding", synthetic.cell("leaky", "rk4"), 0, 0.7, 30)
    row |= {"task": {"name": "own.py"}, "status": "failed", "metrics": {}, "curves": {}, "properties": {}}
    assert "own.py · cpu · float32: no metric, no baseline\n" in main_tables([row])


def test_a_table_of_another_package_is_in_the_report(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure as Canvas

    def paint(data: pd.DataFrame) -> Canvas:
        canvas = Canvas(figsize=(2, 2))
        canvas.subplots().plot(range(len(data)))
        return canvas

    figure = Figure("theirs", "Theirs", "A line.", paint, kinds=("order",))
    _install(monkeypatch, _Entry("mine", _mine("mine")), _Entry("theirs", figure))
    report = write_report(synthetic._orders()[:2], tmp_path, "t", "odernn report DIR")
    assert report.problems == ()
    assert (tmp_path / "tables" / "mine.csv").read_text() == "runs\n2\n"
    assert (tmp_path / "figures" / "theirs.svg").is_file()
    page = report.index.read_text(encoding="utf-8")
    assert "Mine &lt;mine&gt;" in page
    assert "<dt>writes</dt><dd>figures/theirs.svg, figures/theirs.pdf, figures/theirs.png</dd>" in page
    assert "2 of 2 rows" in page


def test_a_piece_that_does_not_load_or_is_badly_named_is_refused_and_told(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {
        "a": (SystemExit(3), "SystemExit: 3"),
        "b": (SyntaxError("a \x1b[2J name"), "SyntaxError: a \\x1b[2J name"),
        "c": (KeyboardInterrupt(), "KeyboardInterrupt"),
        "d": (_mine("../escaped"), "names its files"),
        "e": (_mine("/tmp/escaped"), "names its files"),
        "f": (_mine("x" * 200), "names its files"),
        "g": (_mine("a\0b"), "names its files"),
        "h": (_mine(3), "are texts"),
        "i": (_mine("accuracy"), "already"),
        "j": (_mine("Accuracy"), "already"),
        "k": ({"not": "a table"}, "neither a Table nor a Figure but a dict"),
    }
    _install(monkeypatch, _Entry("ok", _mine("ok")), *(_Entry(name, value) for name, (value, _) in bad.items()))
    tables, figures, problems = found()
    assert [t.name for t in tables if t.title.startswith("Mine")] == ["ok"]
    assert len({f.name for f in figures}) == len(figures)
    for name, (_, told) in bad.items():
        assert [told in p for p in problems if p.startswith(f"report {name!r} ")] == [True], (name, problems)
    report = write_report(synthetic._orders()[:1], tmp_path / "out", "t", "c")
    assert len(report.problems) == len(bad)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(report.files)
    assert report.index.read_text(encoding="utf-8").count("names its files") == 4


def test_a_piece_that_raises_ends_or_meddles_costs_no_other(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meddle(data: pd.DataFrame) -> pd.DataFrame:
        data["kind"] = "nothing"
        return pd.DataFrame({"x": [1]})

    class Rude:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    entries = {
        "aa": _mine("aa", meddle),
        "bb": _mine("bb", _failing(ValueError("<b>"))),
        "cc": _mine("cc", _failing(SystemExit("bye"))),
        "dd": _mine("dd", lambda _: 7),
        "ee": _mine("ee", lambda _: pd.DataFrame({"x": [Rude()]})),
        "ff": Figure("ff", "F", "f", _failing(SystemExit("bye"))),
    }
    _install(monkeypatch, *(_Entry(name, piece) for name, piece in entries.items()))
    report = write_report(synthetic._orders()[:2], tmp_path, "t", "c")
    assert sorted(p.split("'")[1] for p in report.problems) == ["bb", "cc", "dd", "ee", "ff"]
    assert {p.stem for p in report.files} == {"aa", "orders", "convergence", "index"}


def test_a_figure_whose_process_dies_costs_no_other(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    from odernn.reports import drawing

    monkeypatch.setattr(drawing, "_may_fork", lambda: True)
    monkeypatch.setattr(drawing, "_cores", lambda: 2)
    _install(monkeypatch, _Entry("zz", Figure("zz", "Z", "z", lambda _: os._exit(7))))
    report = write_report(synthetic._orders()[:2], tmp_path, "t", "c")
    assert report.problems == ("figure 'zz' could not be drawn: the process that drew it ended",)
    assert {p.stem for p in report.files} == {"orders", "convergence", "index"}


def test_figures_are_the_same_bytes_however_many_processes_draw_them(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from odernn.reports import drawing

    rows = [*synthetic._orders()[:4], synthetic.ivp("pleiades", "rk4", "native", step=0.1)]
    monkeypatch.setattr(drawing, "_may_fork", lambda: False)
    alone = write_report(rows, tmp_path / "a", "t", "c")
    monkeypatch.setattr(drawing, "_may_fork", lambda: True)
    monkeypatch.setattr(drawing, "_cores", lambda: 3)
    side = write_report(rows, tmp_path / "b", "t", "c")
    assert [p.read_bytes() for p in alone.files] == [p.read_bytes() for p in side.files]
    assert len(alone.files) > 6


def test_every_piece_takes_the_rows_that_it_says(rows: list[dict[str, Any]]) -> None:
    data = frame(rows)
    kinds = set(data["kind"])
    for table in found()[0]:
        part = data[data["kind"].isin(table.kinds)] if table.kinds else data
        assert set(table.kinds) <= kinds | {"nothing"}, table.name
        assert to_csv(table.build(part)) == to_csv(table.build(data)), table.name


def test_the_colours_of_names_can_be_seen_on_a_dark_page() -> None:
    for colour in (*style.PALETTE, *style.RUNGS.values(), *style.OUTCOME_COLOURS.values()):
        assert style.contrast(style._lighter(colour), style.DARK) >= 3
    assert style.contrast("#000000", "#ffffff") == pytest.approx(21)
    svg = f'<svg><defs></defs><path style="stroke: {style.RUNGS["nvar"]}"/></svg>'.encode()
    assert "stroke: var(--c" in style.themed(svg)
