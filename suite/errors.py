"""The errors a user can cause, each one sentence, and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """The command, a file or an argument is wrong. The message is one sentence: what was wrong, what was expected."""


class Lines(UsageError):  # noqa: N818 (says how it is told)
    """A message of several lines, for which the names in it were made printable where they were put in."""


class MissingPackage(UsageError):  # noqa: N818 (says what is missing)
    """An optional package is not installed; the message ends with the pip line."""


class Diverged(ArithmeticError):  # noqa: N818 (an outcome, not a mistake)
    """A computation left the finite numbers, or its loss grew past any use; the message says which and when."""


PLUGIN_ERRORS = (Exception, SystemExit)
"""What a plugin's code may raise that must become a sentence or a row; Ctrl-C is not the plugin's."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A half sentence with the nearest valid name, or with all of them when none is near."""
    names = sorted(valid)
    if not name:
        return f"expected one of {', '.join(names)}."
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5) or [n for n in names if n.startswith(name)][:1]
    return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(names)}."


def unknown(kind: str, name: str, valid: Iterable[str]) -> UsageError:
    """The error for a name that is not in the catalogue."""
    return UsageError(f"unknown {kind} {name!r}: {nearest(name, valid)}")
