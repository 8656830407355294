"""The page in a headless Chromium: sorting, filtering, keyboard, policy, dark, print. Skipped where there is none."""

from __future__ import annotations

import importlib.util
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from odernn.reports import write
from odernn.reports.page import html
from odernn.reports.pieces import Figure, found


def _driver() -> ModuleType:
    path = Path(__file__).with_name("chromium.py")
    spec = importlib.util.spec_from_file_location("odernn_chromium", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DRIVER = _driver()
pytestmark = pytest.mark.skipif(DRIVER.installed() is None, reason="there is no Chromium to look at the page with")

A4 = 703
"""CSS pixels between the margins of 12 mm of a sheet of A4."""
BROKEN = "RuntimeError: <b>lost</b>\nline two of the log\nline three of the log"


def _page(rows: list[dict[str, Any]], figures: list[Figure]) -> str:
    data = write.frame(rows)
    problems: list[str] = []
    pieces = [write._shown(table, write._built(table, data, problems), problems) for table in found()[0]]
    for figure in figures:
        drawn = write.Drawing([figure], data).results()[0]
        assert isinstance(drawn, dict)
        pieces.append(write.Shown(figure.name, figure.title, figure.caption, svg=drawn["svg"], pdf=drawn["pdf"]))
    assert problems == []
    return html(data, [p for p in pieces if p is not None], "A page", "odernn report DIR --out report", ["a problem"])


@pytest.fixture(scope="module")
def page(rows: list[dict[str, Any]], synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lost = synthetic.row({"name": "order"}, {"cell": "true-field", "tableau": "rk4"}, status="failed", reason=BROKEN)
    few = [figure for figure in found()[1] if figure.name == "convergence"]
    path = tmp_path_factory.mktemp("browser") / "index.html"
    path.write_text(_page([*rows, *synthetic.hostile(), lost], few), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with DRIVER.Chromium() as chromium:
        yield chromium


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    browser.open(page)
    return browser


SECTION = "document.querySelector('#table-accuracy')"


def _column(browser: Any, name: str) -> list[str]:
    """The cells of a column of the table of accuracies as they are shown, from the top."""
    script = f"""(() => {{
      const table = {SECTION}.querySelector('table');
      const place = [...table.tHead.rows[0].cells].findIndex(c => c.textContent === {name!r});
      return [...table.tBodies[0].rows].filter(r => r.offsetParent !== null).map(r => r.cells[place].textContent);
    }})()"""
    found: list[str] = browser.run(script)
    return found


def _focus(browser: Any, name: str) -> None:
    browser.run(f"[...{SECTION}.querySelectorAll('thead button')].find(b => b.textContent === {name!r}).focus()")


def _number(cell: str) -> float:
    return float(cell.split(" ± ")[0])


def test_the_page_asks_for_nothing_and_breaks_no_policy(opened: Any, page: Path) -> None:
    asked = [address for address in opened.requests() if not address.startswith("data:")]
    assert asked == [page.resolve().as_uri()]
    assert opened.complaints() == []
    assert opened.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    opened.run("new Image().src = 'http://127.0.0.1:9/x.png'")  # the policy is enforced, not only stated
    opened.run("new Promise(done => setTimeout(done, 200))")
    assert any("Content Security Policy" in told or "ContentSecurityPolicy" in told for told in opened.complaints())


def test_a_heading_sorts_by_keyboard_up_down_and_back(opened: Any) -> None:
    before = _column(opened, "value")
    known = [cell for cell in before if cell != "—"]
    assert len(set(known)) > 3
    _focus(opened, "value")
    opened.press("Enter")
    up = _column(opened, "value")
    assert [_number(c) for c in up[: len(known)]] == sorted(_number(c) for c in known)
    assert set(up[len(known) :]) <= {"—"}  # what has no number is last either way
    sort = f"[...{SECTION}.querySelectorAll('th[aria-sort]')].map(h => h.getAttribute('aria-sort'))"
    assert opened.run(sort) == ["ascending"]
    opened.press(" ")
    assert [_number(c) for c in _column(opened, "value")[: len(known)]] == sorted(map(_number, known), reverse=True)
    assert opened.run(sort) == ["descending"]
    opened.press("Enter")
    assert _column(opened, "value") == before
    assert opened.run(sort) == []


def test_words_are_sorted_with_their_numbers(opened: Any) -> None:
    _focus(opened, "task")
    opened.press("Enter")
    lengths = [int(t.split("length=")[1]) for t in _column(opened, "task") if t.startswith("adding · length=")]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 1


def test_a_table_is_filtered_by_words_typed_into_its_field(opened: Any) -> None:
    cells = _column(opened, "cell")
    assert "leaky" in cells
    opened.run(f"{SECTION}.querySelector('input').focus()")
    opened.press(*"LEAKY")
    assert set(_column(opened, "cell")) == {"leaky"}
    told = opened.run(f"{SECTION}.querySelector('output').textContent")
    assert told == f"{cells.count('leaky')} of {len(cells)} lines"
    opened.press(" ", *"nosuchword")
    assert _column(opened, "cell") == []
    opened.run(f"{SECTION}.querySelector('input').value = ''")


def test_failures_are_filtered_by_outcome_and_unfold(opened: Any) -> None:
    rows = "[...document.querySelectorAll('#failures tbody tr')].filter(r => r.offsetParent !== null)"
    every = opened.run(f"{rows}.length")
    choose = """(() => { const s = document.querySelector('#failures select'); s.value = '=failed';
                s.dispatchEvent(new Event('change')); })()"""
    opened.run(choose)
    assert 0 < opened.run(f"{rows}.length") < every
    unfolded = opened.run(f"{rows}.map(r => r.querySelector('details pre')?.textContent ?? '')")
    assert BROKEN in unfolded
    assert opened.run("document.querySelector('#failures b').textContent").split()[0].isdigit()


def test_the_keyboard_reaches_everything_and_the_focus_is_seen(opened: Any) -> None:
    opened.press("Tab")
    assert opened.run("document.activeElement.className") == "skip"
    assert opened.run("document.activeElement.getBoundingClientRect().left") >= 0  # seen once it has the focus
    opened.press("Enter", "Tab")
    assert opened.run("document.querySelector('main').contains(document.activeElement)")
    _focus(opened, "value")
    opened.press("Tab")
    outline = opened.run("getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "3px"
    named = """[...document.querySelectorAll('input, select, button, [role=region]')].filter(e =>
      !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length
        || document.getElementById(e.getAttribute('aria-labelledby')))).length"""
    assert opened.run(named) == 0
    assert opened.run("document.querySelectorAll('th:not([scope])').length") == 0
    assert opened.run("[...document.querySelectorAll('table')].every(t => t.caption !== null)")


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_contrast_in_light_and_dark(browser: Any, page: Path, dark: bool) -> None:
    browser.open(page, dark=dark)
    script = """(() => {
      const parse = (c) => c.match(/[\\d.]+/g).map(Number);
      const light = (c) => { const [r, g, b] = c.slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
      let least = 99, where = '';
      for (const e of document.querySelectorAll('body *')) {
        if (e.closest('script, figure img, .hide')
            || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
        const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < least) { least = ratio; where = e.outerHTML.slice(0, 120); }
      }
      return [least, where, light(ground(document.body))];
    })()"""
    least, where, ground = browser.run(script)
    assert least >= 4.5, where
    assert (ground < 0.1) == dark


def test_on_paper_all_columns_stay_and_the_ink_is_dark(browser: Any, page: Path) -> None:
    browser.open(page, dark=True)
    printed = browser.pdf()
    assert printed.startswith(b"%PDF")
    streams = re.findall(rb"stream\r?\n(.*?)endstream", printed, re.DOTALL)
    assert sum(len(zlib.decompressobj().decompress(s)) for s in streams if s[:1] == b"x") > 10_000
    assert browser.run("[...document.querySelectorAll('td details')].every(one => one.open)")
    browser.ask("Emulation.setEmulatedMedia", media="print")
    browser.size(A4, 990)
    wide = """[...document.querySelectorAll('table')].filter(t => t.getBoundingClientRect().right > innerWidth + 1)
      .map(t => t.caption.textContent)"""
    assert browser.run(wide) == []
    hidden = "[...document.querySelectorAll('.scroll')].filter(s => s.scrollHeight > s.clientHeight + 1).length"
    assert browser.run(hidden) == 0
    assert browser.run("getComputedStyle(document.querySelector('.tools')).display") == "none"
    browser.ask("Emulation.setEmulatedMedia", media="")
    browser.ask("Emulation.clearDeviceMetricsOverride")


def test_a_narrow_screen_has_no_sideways_scrolling(opened: Any) -> None:
    opened.size(360, 740)
    assert opened.run("document.documentElement.scrollWidth") <= 360
    opened.ask("Emulation.clearDeviceMetricsOverride")


def test_without_scripts_everything_is_there(browser: Any, page: Path) -> None:
    browser.open(page, scripts=False)
    root = browser.ask("DOM.getDocument")["root"]["nodeId"]
    body = browser.ask("DOM.getOuterHTML", nodeId=root)["outerHTML"]
    text = page.read_text(encoding="utf-8")
    assert body.count("<tr") == text.count("<tr")
    assert 'class="out"' not in body
    assert 'class="more"' not in body
    assert "<input" not in body
    assert "line three of the log" in body


def test_many_lines_are_shown_in_part_until_all_are_asked_for(
    browser: Any, synthetic: ModuleType, tmp_path: Path
) -> None:
    steps = [synthetic.ivp("pleiades", "rk4", "native", step=2.0 ** (-n / 40)) for n in range(450)]
    path = tmp_path / "index.html"
    path.write_text(_page(steps, []), encoding="utf-8")
    browser.open(path)
    rows = "[...document.querySelectorAll('#table-integrators tbody tr')].filter(r => r.offsetParent !== null).length"
    told = "document.querySelector('#table-integrators output').textContent"
    assert browser.run(rows) == 200
    assert browser.run(told) == "450 lines, the first 200 shown"
    browser.run("document.querySelector('#table-integrators .tools button').click()")
    assert browser.run(rows) == 450
    assert browser.run(told) == "450 lines"
