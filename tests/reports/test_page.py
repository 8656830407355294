"""The written report: one page that loads nothing, escapes everything and can be made again byte for byte."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from odernn.reports import pieces, write
from odernn.reports.pieces import Figure, Table, found
from odernn.reports.write import Report, write_report

VOID = {"meta", "img", "br", "hr", "link", "input"}
TITLE = "A <title> & more"
COMMAND = "odernn report 'results/<x>' && echo"


class Checker(HTMLParser):
    """Tags in balance, ids once, and everything a page could load."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.events: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.links.append(value or "")
            if name.startswith("on") or name == "style":
                self.events.append(name)
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.policy = dict(attrs)["content"] or ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Report:
    twins = [("copying", 20), ("chaos", "lorenz96"), ("ivp", "pleiades")]  # panels like others, and drawing is slow
    few = [r for r in rows if (r["task"]["name"], list(r["task"].values())[-1]) not in twins]
    assert len(few) < len(rows)
    return write_report(few, tmp_path_factory.mktemp("report"), TITLE, COMMAND)


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return report.index.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def test_everything_is_written_and_nothing_else(report: Report) -> None:
    assert report.problems == ()
    names = {table.name: ("csv", "md", "tex") for table in found()[0]}
    expected = {report.out / "tables" / f"{name}.{kind}" for name, kinds in names.items() for kind in kinds}
    kinds = ("svg", "pdf", "png")
    expected |= {report.out / "figures" / f"{figure.name}.{kind}" for figure in found()[1] for kind in kinds}
    expected.add(report.out / "index.html")
    assert set(report.files) == expected
    assert {path for path in report.out.rglob("*") if path.is_file()} == expected
    assert all(path.stat().st_size > 0 for path in expected)


def test_the_page_loads_nothing_from_outside(checked: Checker) -> None:
    assert all(link.startswith(("data:", "#")) for link in checked.links)
    assert not {"link", "iframe", "object", "embed", "form"} & set(checked.tags)
    assert checked.events == []
    images = [base64.b64decode(x.split(",", 1)[1]) for x in checked.links if x.startswith("data:image")]
    assert len(images) == len(found()[1])
    for image in images:
        tree = ElementTree.fromstring(image)
        for node in tree.iter():
            assert not node.tag.endswith("}script")
            for name, value in node.attrib.items():
                assert not name.endswith("href") or value.startswith("#")


def test_the_links_of_the_page_lead_somewhere(checked: Checker) -> None:
    assert len(checked.ids) == len(set(checked.ids))
    assert {link[1:] for link in checked.links if link.startswith("#")} <= set(checked.ids)


def test_the_policy_allows_this_style_and_this_script_and_no_other(page: str, checked: Checker) -> None:
    assert "default-src 'none'" in checked.policy
    assert "unsafe" not in checked.policy
    for tag in ("style", "script"):
        contents = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert len(contents) == 1
        digest = base64.b64encode(hashlib.sha256(contents[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in checked.policy


def test_the_page_begins_with_who_is_beyond_the_baseline(page: str) -> None:
    assert page.index('id="table-overview"') < page.index('id="figure-') < page.index('id="table-accuracy"')
    assert '<tr class="beyond">' in page


def test_names_are_escaped(page: str, checked: Checker, synthetic: ModuleType) -> None:
    assert checked.tags.count("script") == 1
    assert synthetic.HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<title>A &lt;title&gt; &amp; more</title>" in page
    assert "example.org" in page  # told as text, in the provenance ...
    assert '<img src="http' not in page  # ... and never as a tag


def test_failures_and_provenance_are_on_the_page(page: str) -> None:
    for text in ("NaN loss at update 61", "more than 4 GiB", "more than 600 s", "RuntimeError: size mismatch"):
        assert text in page
    for text in ("0123456789ab", "a processor, 2 cores", "torch 2.13.0", "0, 1, 2", "2026-01-02T03:04:05Z"):
        assert text in page
    assert "odernn report &#39;results/&lt;x&gt;&#39; &amp;&amp; echo" in page


def test_the_figures_follow_the_theme_of_the_page(checked: Checker) -> None:
    image = next(link for link in checked.links if link.startswith("data:image"))
    svg = base64.b64decode(image.split(",", 1)[1]).decode()
    assert "prefers-color-scheme: dark" in svg
    assert "currentColor" in svg


def test_the_same_rows_give_the_same_report(synthetic: ModuleType, tmp_path: Path) -> None:
    rows = synthetic._orders()[:4]
    reports = [write_report(rows, tmp_path / name, "t", "c") for name in ("a", "b")]
    contents = [[path.read_bytes() for path in report.files] for report in reports]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 7  # one figure, one table, the page


def test_a_later_report_leaves_nothing_stale(synthetic: ModuleType, tmp_path: Path) -> None:
    write_report(synthetic._orders()[:1], tmp_path, "t", "c")
    later = write_report([synthetic.ivp("pleiades", "rk4", "native", step=0.1)], tmp_path, "t", "c")
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(later.files)


def test_no_rows_still_make_a_page(tmp_path: Path) -> None:
    report = write_report([], tmp_path, "nothing", "c")
    assert report.files == (tmp_path / "index.html",)
    assert "0 runs" in report.index.read_text(encoding="utf-8")


def test_a_broken_figure_or_table_costs_no_other(
    synthetic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> Any:
        raise ValueError("no <such> thing")

    tables, figures, _ = found()
    more = ([*tables, Table("bad", "B", "b", broken)], [*figures, Figure("worse", "W", "w", broken)], ["a plugin"])
    monkeypatch.setattr(write, "found", lambda: more)
    report = write_report(synthetic._orders()[:1], tmp_path, "t", "c")
    assert len(report.problems) == 3
    assert len(report.files) == 7
    text = report.index.read_text(encoding="utf-8")
    assert "figure &#39;worse&#39; could not be drawn: ValueError: no &lt;such&gt; thing" in text
    assert "table &#39;bad&#39; could not be built" in text


def test_reports_of_other_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        def __init__(self, name: str, value: Any) -> None:
            self.name, self.value = name, value

        def load(self) -> Any:
            if isinstance(self.value, Exception):
                raise self.value
            return self.value

    mine = Table("mine", "M", "m", lambda frame: frame)
    entries = [Entry("mine", mine), Entry("broken", ImportError("no module")), Entry("odd", 3)]
    monkeypatch.setattr(pieces.metadata, "entry_points", lambda group: entries if group == "odernn.reports" else [])
    tables, _, problems = found()
    assert mine in tables
    assert len(problems) == 2


def test_reports_need_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from odernn.reports.write import main_tables, write_report\n"
        "row = {'id': 'x', 'task': {'name': 'order'}, 'solver': {'cell': 'true-field', 'tableau': 'rk4'},\n"
        "       'status': 'ok', 'metrics': {'observed_order': 4.0}, 'properties': {'claimed_order': 4}}\n"
        "report = write_report([row], Path(sys.argv[1]), 't', 'c')\n"
        "assert not report.problems, report.problems\n"
        "assert 'rk4' in main_tables([row])\n"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules), 'heavy import'\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
