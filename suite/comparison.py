"""`odernn compare`: what changed from one folder of results to another, point by point, seed by seed.

A trained group is judged over its paired seeds: a regression is worse by more than the tolerance, by its interval and
by its corrected test (`suite.paired`); too few seeds are refused with the number that is needed, and a comparison that
refused anything is no clean bill. A run without training
or spread over seeds is compared exactly. A result that is lost is a regression. Past 200 lines because judging and
telling are one account of what a comparison may claim.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from .errors import UsageError
from .paired import EXACT, holm, intervals, needed, sign_flips, smallest, testable
from .pairs import Event, Finding, Pairs, Side, Verdict, gain, known, labels_of, load, pair
from .printable import many, printable
from .row import plain

EXACTLY = "exact: no training, no spread over seeds"
"""The reason of a verdict that needs no statistics."""


@dataclass(frozen=True)
class Comparison:
    """What changed, as text or JSON; whether something became worse; and what could not be judged and why, in a
    sentence, empty where everything was."""

    text: str
    regression: bool
    refused: str


def compare(
    a: Path, b: Path, metric: str | None = None, tolerance: float = 0.0, level: float = 0.95, as_json: bool = False
) -> Comparison:
    """What changed from folder a to folder b.

    metric: a metric or a cost of the rows (default: each task's primary metric). tolerance: the relative worsening that
    is allowed. level: of the intervals; 1 - level is the chance of any false finding among all groups.

    Raises `UsageError` for a folder without rows, folders without a common point, an unknown metric, numbers out of
    range, and where no point has a number on both sides.
    """
    if not 0 < level < 1:
        raise UsageError(f"the level is {level:g}: expected a probability between 0 and 1, such as 0.95.")
    if not (tolerance >= 0 and math.isfinite(tolerance)):
        raise UsageError(f"the tolerance is {tolerance:g}: expected a number from 0, such as 0.02 for 2 %.")
    before, after = load(a), load(b)
    common = sorted(before.groups.keys() & after.groups.keys())
    if not common:
        raise UsageError(f"{printable(str(a))} and {printable(str(b))} have no point in common, whatever the seed.")
    if metric is not None:
        known(metric, [before, after])
    labels = labels_of({key: before.groups[key] for key in common})
    pairs: list[Pairs] = []
    events: list[Event] = []
    unmeasured: Counter[str] = Counter()
    for key in common:
        found, odd, without = pair(labels[key], before.groups[key], after.groups[key], metric)
        events += odd
        unmeasured += without
        if found is not None:
            pairs.append(found)
    tested = [each for each in pairs if _tested(each)]
    _test(tested, tolerance, level)
    findings = [_judged(each, tolerance, 1 - level, len(tested)) for each in pairs]
    findings.sort(key=lambda f: (-abs(f.relative), f.point, f.metric))
    said = _Said(a, b, before, after, findings, events, unmeasured, level, tolerance)
    regression = any(f.verdict == "regression" for f in findings) or any(e.kind == "lost" for e in events)
    if not findings and not events:
        raise UsageError(f"nothing could be judged: {said.why_not()}")
    text = said.as_json(regression) if as_json else said.as_text(regression)
    return Comparison(text, regression, said.refused())


# ------------------------------------------------------------------------------------------------------------- judging


def _tested(pairs: Pairs) -> bool:
    """Whether a group is judged over its seeds: not what is compared exactly, did not change, or is past arithmetic."""
    size = float(np.abs(pairs.before).max()) + float(np.abs(pairs.after).max())
    return not pairs.exact and bool((pairs.differences != 0).any()) and size < 1e300 / len(pairs.before)


def _test(groups: Sequence[Pairs], tolerance: float, level: float) -> None:
    """Fill in intervals and p-values, those corrected over all groups that could reach the level."""
    by_count: dict[int, list[Pairs]] = {}
    p_values = sign_flips([each.differences for each in groups], [each.rounding for each in groups])
    for each, p in zip(groups, p_values, strict=True):
        each.finding = replace(each.finding, p=p)
        by_count.setdefault(len(each.before), []).append(each)
    for count, several in by_count.items():
        if count >= needed(1 - level):
            bounds = intervals(np.array([each.differences for each in several]), level)
            for each, (low, high) in zip(several, bounds.tolist(), strict=True):
                each.finding = replace(each.finding, interval=(low, high))
    chosen, _ = testable([smallest(int(np.count_nonzero(each.differences))) for each in groups], 1 - level)
    family = [each for each, reachable in zip(groups, chosen, strict=True) if reachable]
    for each, p in zip(family, holm([each.finding.p or 0.0 for each in family]).tolist(), strict=True):
        each.finding = replace(each.finding, p_corrected=p)
    # once more, of the differences less the worsening that is allowed
    beyond = sign_flips([each.differences - _allowed(each, tolerance) for each in family], [e.rounding for e in family])
    for each, p in zip(family, holm(beyond).tolist(), strict=True):
        each.beyond = p


def _allowed(pairs: Pairs, tolerance: float) -> float:
    """The difference that is worse by just the tolerance."""
    return -gain(pairs.finding.direction) * tolerance * abs(pairs.finding.before)


def _judged(pairs: Pairs, tolerance: float, alpha: float, groups: int) -> Finding:
    """The group's finding with its verdict; groups: how many are tested."""
    finding, better = pairs.finding, gain(pairs.finding.direction)
    if not (pairs.differences != 0).any():
        return replace(finding, verdict="unchanged")
    worse = -better * finding.difference
    allowed = tolerance * abs(finding.before)
    if pairs.exact:
        verdict: Verdict = "within tolerance" if worse <= allowed else "regression"
        return replace(finding, verdict=_told(better, worse, verdict), reason=EXACTLY)
    if not _tested(pairs):
        return replace(finding, verdict="refused", reason="numbers too large for arithmetic")
    if finding.p_corrected is None:
        return _too_few(finding, pairs, alpha, groups)
    assert finding.interval is not None
    low, high = finding.interval
    if finding.p_corrected > alpha or low <= 0 <= high:
        return replace(finding, verdict="unclear")
    surely = min(-better * low, -better * high)  # the least worsening in the interval
    proven = surely > allowed and pairs.beyond is not None and pairs.beyond <= alpha
    return replace(finding, verdict=_told(better, worse, "regression" if proven else "within tolerance"))


def _told(better: int, worse: float, verdict: Verdict) -> Verdict:
    """The verdict on a worsening; a change without a better direction is only a change."""
    return "changed" if not better else verdict if worse > 0 else "improvement"


def _too_few(finding: Finding, pairs: Pairs, alpha: float, groups: int) -> Finding:
    """A group that was not tested: too few seeds, or enough of them and too few that differ."""
    count, alone, all_of_them = len(pairs.before), needed(alpha), needed(alpha, groups)
    if count < alone:
        more = f", {all_of_them} for all {groups} groups at once" if all_of_them > alone else ""
        noise = "; it is a measurement, and varies" if pairs.noisy else ""
        return replace(finding, verdict="refused", reason=f"{_seeds(count)}: {alone} are needed{more}{noise}")
    if count < all_of_them or smallest(count) > alpha / groups:
        reason = f"{_seeds(count)}: {all_of_them} are needed for all {groups} groups at once"
        if count >= all_of_them:
            reason = f"{_seeds(count)}: more than {EXACT} are flipped at random, too seldom for {groups} groups at once"
        return replace(finding, verdict="refused", reason=reason)
    changed = int(np.count_nonzero(pairs.differences))
    return replace(finding, verdict="unclear", reason=f"only {changed} of {count} seeds differ")


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"


# ------------------------------------------------------------------------------------------------------------- telling


@dataclass(frozen=True)
class _Said:
    """Everything that was found, as lines."""

    a: Path
    b: Path
    before: Side
    after: Side
    findings: Sequence[Finding]
    events: Sequence[Event]
    unmeasured: Counter[str]
    level: float
    tolerance: float

    def lines(self) -> list[str]:
        """One line a group that changed, aligned, the largest relative differences first."""
        changed = [finding for finding in self.findings if finding.verdict != "unchanged"]
        if not changed:
            return []
        head = ("verdict", "change", "metric", "before -> after", f"{100 * self.level:g} % interval", "p", "seeds", "")
        cells = [head, *(_cells(finding) for finding in changed)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
        right = (1, 6)
        return [
            "  ".join(
                text.rjust(width) if column in right else text.ljust(width)
                for column, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        ]

    def alone(self) -> tuple[int, int]:
        """Points on the first side alone, and on the second."""

        def count(here: Side, there: Side) -> int:
            return sum(len(rows.keys() - there.groups.get(key, {}).keys()) for key, rows in here.groups.items())

        return count(self.before, self.after), count(self.after, self.before)

    def why_not(self) -> str:
        refused = [finding for finding in self.findings if finding.verdict == "refused"]
        if refused:
            reasons = Counter(finding.reason for finding in refused).most_common()
            return "; ".join(f"{many(count, 'group')} with {reason}" for reason, count in reasons) + "."
        return "no point has a number on both sides" + "".join(f", {n} {why}" for why, n in self.counted()) + "."

    def refused(self) -> str:
        """What could not be judged, as a sentence; empty where everything was."""
        count = sum(finding.verdict == "refused" for finding in self.findings)
        if not count:
            return ""
        of = f"{count} of {many(len(self.findings), 'group')} could not be judged"
        alone = count == len(self.findings) and not self.events
        return f"{'nothing could be judged' if alone else of}: {self.why_not()}"

    def counted(self) -> list[tuple[str, int]]:
        return sorted(self.unmeasured.items())

    def summary(self) -> str:
        counts = Counter(finding.verdict for finding in self.findings)
        words: tuple[tuple[Verdict, str], ...] = (
            *(("regression", "worse"), ("improvement", "better"), ("within tolerance", "worse within the tolerance")),
            *(("changed", "changed without a better direction"), ("unclear", "without evidence of a change")),
            *(("refused", "refused"), ("unchanged", "exactly unchanged")),
        )
        parts = [f"{counts[verdict]} {word}" for verdict, word in words if counts[verdict]]
        text = f"{many(len(self.findings), 'group')} compared: {', '.join(parts) or 'nothing to compare'}"
        for kind, what in (("lost", "without the result of before"), ("gained", "with a result that was not there")):
            number = sum(event.kind == kind for event in self.events)
            text += f"; {many(number, 'point')} {what}" if number else ""
        text += "".join(f"; {many(number, 'point')} {why}" for why, number in self.counted())
        for number, where in zip(self.alone(), ("before", "after"), strict=True):
            text += f"; {many(number, 'point')} only {where}" if number else ""
        return f"{text}."

    def as_text(self, regression: bool) -> str:
        sides = [
            f"{when}: {printable(str(folder))}, {many(sum(map(len, rows.groups.values())), 'point')}"
            for when, folder, rows in (("before", self.a, self.before), ("after ", self.b, self.after))
        ]
        marked = sorted(self.events, key=lambda event: (event.kind != "lost", event.point))
        events = [f"{event.kind.ljust(6)}  {event.point}: {event.reason}" for event in marked]
        # otherwise it is the error that ends the command
        refused = [f"Refused: {self.why_not()}"] if regression and self.refused() else []
        torn = [printable(sentence) for rows in (self.before, self.after) for sentence in rows.torn]
        return "\n".join([*sides, *self.lines(), *events, *torn, *refused, self.summary()])

    def as_json(self, regression: bool) -> str:
        alone = self.alone()
        content = {
            "before": str(self.a),
            "after": str(self.b),
            "level": self.level,
            "tolerance": self.tolerance,
            "groups": [asdict(finding) for finding in self.findings],
            "points": [asdict(event) for event in self.events],
            "not_compared": dict(self.counted()),
            "only_before": alone[0],
            "only_after": alone[1],
            "torn": [*self.before.torn, *self.after.torn],
            "regression": regression,
            "refused": self.refused(),
            "summary": self.summary(),
        }
        return json.dumps(plain(content), indent=2, allow_nan=False)


def _cells(finding: Finding) -> tuple[str, ...]:
    percent = f"{100 * finding.relative:+.3g} %" if math.isfinite(finding.relative) else "from 0"
    interval = "" if finding.interval is None else "[{:+.3g}, {:+.3g}]".format(*finding.interval)
    p = "" if finding.p_corrected is None else f"{finding.p_corrected:.2g}"
    exact = " (exact)" if finding.reason == EXACTLY else ""
    values = f"{_short(finding.before)} -> {_short(finding.after)}"
    seeds = str(len(finding.seeds))
    return (finding.verdict + exact, percent, printable(finding.metric), values, interval, p, seeds, finding.point)


def _short(value: float) -> str:
    return f"{value:.4g}"
