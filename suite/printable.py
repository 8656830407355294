"""Text that a terminal shows and does not obey; counts as words."""

from __future__ import annotations

import unicodedata


def printable(text: str, keep: str = "") -> str:
    """The text on one line with nothing in it that moves a cursor, colours, hides or reverses what is shown.

    Spaces of other widths become spaces. Every other character that Unicode calls not printable (controls, line and
    paragraph ends, marks of direction and of no width, private and unassigned ones, halves of surrogate pairs) is
    written as Python would escape it: \\x1b, \\n, \\u202e. keep: characters that stay, such as "\\n" of a text of many
    lines. The result can be encoded as UTF-8, unless `keep` holds what cannot.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _shown(c) for c in text)


def many(count: int, one: str, several: str = "") -> str:
    """A count of things, "1 point" or "2 points". several: their word, where it is not the one of one with an s."""
    return f"{count} {one if count == 1 else several or one + 's'}"


def _shown(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")
