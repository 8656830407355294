"""A conformance rule as data, and the verdict on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .errors import PLUGIN_ERRORS


@dataclass(frozen=True)
class Verdict:
    """One rule applied to one plugin: the rule in words, whether it holds, and the number or the reason."""

    rule: str
    ok: bool
    detail: str = ""


class BrokenRuleError(Exception):
    """A rule does not hold; the message says how."""


def must(holds: bool, otherwise: str) -> None:
    """Raise `BrokenRuleError` with these words where something does not hold."""
    if not holds:
        raise BrokenRuleError(otherwise)


Rule: TypeAlias = tuple[str, Callable[[], str]]
"""The rule in words; what examines it gives the detail of a verdict, or raises `BrokenRuleError`."""


def silent(rule: str) -> None:
    """Tells nobody which rule is next."""


def judged(rules: Iterable[Rule], begin: Callable[[str], None] = silent) -> Iterator[Verdict]:
    """The verdict on each rule in turn. begin: told the rule before it is examined."""
    for rule, examine in rules:
        begin(rule)
        try:
            verdict = Verdict(rule, True, examine())
        except BrokenRuleError as broken:
            verdict = Verdict(rule, False, str(broken))
        except PLUGIN_ERRORS as error:  # the author's code may raise anything; that is a verdict too
            verdict = Verdict(rule, False, f"{type(error).__name__}: {error}")
        yield verdict
