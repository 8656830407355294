"""What `printable` lets through is seen and not obeyed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odernn.suite.printable import printable

ANY = st.text(st.characters(categories=None), max_size=80)
"""Any code points, controls and halves of surrogate pairs too."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("copying · length=20", "copying · length=20"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\rb", "a\\rb"),
        ("one\ntwo\tthree", "one\\ntwo\\tthree"),
        ("abc\u202etxt.exe", "abc\\u202etxt.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("10\u00a0000", "10 000"),
        ("half \ud800", "half \\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("Störmer, 龍, 🙂", "Störmer, 龍, 🙂"),
    ],
)
def test_controls_are_escaped_and_letters_are_not(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_what_is_kept_stays() -> None:
    assert printable("one\ntwo\x1b[2J", keep="\n") == "one\ntwo\\x1b[2J"


@given(ANY)
def test_no_text_has_anything_left_that_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for c in shown)
    shown.encode("utf-8")
    assert printable(shown) == shown


@given(ANY, ANY)
def test_text_by_text_or_in_one_is_the_same(one: str, other: str) -> None:
    assert printable(one + other) == printable(one) + printable(other)
