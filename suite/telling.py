"""What a run says before it starts: what it found, why each point would run, how long that takes."""

from __future__ import annotations

import sys

from .planning import Plan
from .printable import many, printable
from .progress import Pace, duration
from .row import describe


def say(line: str) -> None:
    """One line to stderr, at once."""
    print(f"odernn: {printable(line)}", file=sys.stderr, flush=True)


def tell(plan: Plan, device: str) -> None:
    """What was found: rows, torn lines, points left out or left on the CPU, and why rows are stale."""
    torn = [*plan.stored.torn, *plan.book.torn]
    for sentence in torn:
        say(sentence)
    if torn:
        aside = "a torn line was" if len(torn) == 1 else f"{len(torn)} torn lines were"
        say(f"{_rows(len(plan.stored.rows))} in {plan.folder}, and {aside} set aside.")
    for sentence in plan.left_out:
        say(sentence)
    left = sum(one.point["device"] == "cpu" for one in plan.planned)
    if device not in ("auto", "cpu") and left:
        say(f"{left} of {many(len(plan.planned), 'point')} cannot run on {device} and stay on the CPU, as rows say.")
    reasons: dict[str, int] = {}
    for one in plan.planned:
        if one.verdict.state == "stale":
            reasons[one.verdict.reason] = reasons.get(one.verdict.reason, 0) + 1
    most = sorted(reasons.items(), key=lambda item: -item[1])
    for reason, count in most[:3]:
        say(f"{count} of {many(len(plan.planned), 'point')} of {plan.experiment.name} have a stale row: {reason}")
    if most[3:]:
        say(f"{sum(count for _, count in most[3:])} more are stale for other reasons, which --explain says.")


def _rows(count: int) -> str:
    return "1 row is" if count == 1 else f"{count} rows are"


def processes(count: int) -> str:
    """A count of them in words."""
    return many(count, "process", "processes")


def all_points(count: int) -> str:
    """The subject of a sentence about every point."""
    return "its only point is" if count == 1 else f"all {count} points are"


def explain(plan: Plan) -> None:
    """Of every point its state and why, on stdout."""
    for one in plan.planned:
        print(printable(f"{one.verdict.state:7}  {describe(one.point)}: {one.verdict.reason}"))


def announce(plan: Plan, pace: Pace, jobs: int) -> None:
    """How many points would run, the first of them, and about how long, on stdout."""
    points, total = plan.points(), len(plan.planned)
    seconds = pace.total(points, jobs)
    time = "no rows yet to tell how long" if seconds is None else f"about {duration(seconds)} on {processes(jobs)}"
    if not points:
        time = "nothing to run"
    counts = ", ".join(f"{plan.count(state)} {state}" for state in ("fresh", "stale", "missing"))
    done = total - len(points)
    print(f"{plan.experiment.name}: {many(total, 'point')}, {done} done, {len(points)} to run ({counts}); {time}.")
    for point in points[:3]:
        print(f"  {printable(describe(point))}")
    if len(points) > 3:
        print(f"  ... and {len(points) - 3} more")
