"""The command line: `odernn run | status | report | list | show | new | check | merge | compare`.

Exit status: 0 all ran; 1 some run or check failed; 2 the command or a file is wrong, or `compare` could not judge every
group and found no regression in the others; 3 nothing was run; 4 `compare` found a regression; 130 interrupted; 141 the
reader of the output went away. Everything heavy is imported by the command
that needs it. Past 200 lines because it is the whole surface in one place.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from .errors import Lines, UsageError
from .printable import printable

PASSED, FAILED, WRONG, REGRESSION, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 4, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command; the exit status. Never raises for what a user did."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    _mend_streams()
    try:
        grammar = parser()
        options = grammar.parse_args(arguments)
        if options.command is None and not options.version:
            grammar.error("a COMMAND is needed; --help shows them.")
        options.line = shlex.join(["odernn", *arguments])
        status = COMMANDS[options.command](options)
        sys.stdout.flush()  # here, where a closed pipe is still caught
        return status
    except Lines as lines:
        _complain(str(lines), keep="\n")
        return WRONG
    except UsageError as error:
        _complain(str(error))
        return WRONG
    except KeyboardInterrupt as interrupt:
        _complain(str(interrupt) or "interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        return BROKEN_PIPE
    except OSError as error:  # a full disk, a folder without permission
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}.")
        return WRONG
    except SystemExit as end:  # argparse, after --help or a wrong option
        return end.code if isinstance(end.code, int) else WRONG


def _complain(sentence: str, keep: str = "") -> None:
    print(f"odernn: {printable(sentence, keep)}", file=sys.stderr)


def _print(text: str) -> None:
    print(printable(text, keep="\n"))


def _mend_streams() -> None:
    """A closed stream is a silent one, and a character that the terminal cannot show is a question mark."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (open until the end)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


class _Grammar(argparse.ArgumentParser):
    """A parser whose messages, which repeat what was typed, cannot move a cursor."""

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(printable(message or "", keep="\n"), file)


def parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    top = _Grammar(
        prog="odernn",
        description="Recurrent networks as Runge-Kutta steps, beside classic ODE integrators of the same tableaux.",
        epilog="Exit status: 0 all ran; 1 some run failed; 2 the command or a file is wrong, or compare could not "
        "judge every group; 3 nothing was run; 4 compare found a regression; 130 interrupted.",
    )
    top.add_argument("--version", action="store_true", help="print the version and leave")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    run = commands.add_parser(
        "run", help="run experiments and report", description="Run what is missing of experiments."
    )
    run.add_argument("experiments", nargs="+", metavar="EXPERIMENT", help="a shipped name, or a TOML file")
    run.add_argument("--out", type=Path, metavar="DIR", help="folder of the rows (default: results/<experiment>)")
    run.add_argument("--device", default="auto", metavar="auto|cpu|cuda|mps", help="where to compute (default: auto)")
    run.add_argument("--jobs", type=int, metavar="N", help="processes at once (default: one a core; one on a GPU)")
    run.add_argument("--seeds", type=int, metavar="N", help="use the seeds 0 .. N-1")
    run.add_argument(
        "--set", action="append", default=[], dest="axes", metavar="AXIS=VALUE,...", help="replace an axis"
    )
    run.add_argument("--timeout", type=float, metavar="S", help="seconds that one run may take")
    run.add_argument("--memory", type=float, metavar="GIB", help="memory that one run may take")
    run.add_argument(
        "--dry-run", action="store_true", help="check and count the points, estimate the time, run nothing"
    )
    run.add_argument("--explain", action="store_true", help="say of every point why it is fresh, stale or missing")
    run.add_argument("--retry-failed", action="store_true", help="run failed points again")
    run.add_argument("--fail-fast", action="store_true", help="end at the first run that fails")
    run.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that carries out the runs")

    status = commands.add_parser("status", help="how far a run is, from another shell")
    status.add_argument("folder", type=Path, metavar="DIR", help="a folder of results")

    report = commands.add_parser("report", help="tables, figures and a page from rows alone")
    report.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="a folder of results")
    report.add_argument("--published", action="store_true", help="the rows that come with odernn")
    report.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: DIR/report, or report)")

    listing = commands.add_parser("list", help="tasks, cells, tableaux, backends, metrics, reports, experiments")
    listing.add_argument("kind", nargs="?", metavar="KIND", help="one of these (default: all)")
    listing.add_argument("--json", action="store_true", help="as JSON")

    show = commands.add_parser("show", help="one name in full; a tableau with its Butcher array")
    show.add_argument("name", metavar="NAME")
    show.add_argument("--tableau", metavar="NAME", help="of a cell: its largest certified step under this tableau")
    show.add_argument("--hidden", type=int, metavar="N", help="with --tableau: hidden units (default: 32)")
    show.add_argument("--seed", type=int, metavar="N", help="with --tableau: of the weights (default: 0)")
    show.add_argument("--json", action="store_true", help="as JSON")

    new = commands.add_parser("new", help="start a plugin package")
    new.add_argument("what", choices=["task", "cell", "tableau"])
    new.add_argument("name", metavar="NAME")
    new.add_argument("--out", type=Path, metavar="DIR", help="folder to make (default: odernn-NAME)")

    check = commands.add_parser("check", help="conformance of tasks, cells, tableaux and backends, plugins included")
    check.add_argument("names", nargs="*", metavar="NAME")
    check.add_argument("--all", action="store_true", help="everything in the catalogue")
    check.add_argument("--timeout", type=float, default=300.0, metavar="S", help="seconds a name (default: 300)")
    check.add_argument("--jobs", type=int, default=1, metavar="N", help="names at once (default: 1)")

    merge = commands.add_parser("merge", help="rows of several folders in one; conflicts are refused")
    merge.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folders of results")
    merge.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")

    compare = commands.add_parser(
        "compare",
        help="what changed from one folder of results to another, with intervals",
        epilog="Exit status: 4 a regression beyond the tolerance, or a result that is lost; else 2 where a group could "
        "not be judged, as with too few seeds; else 0.",
    )
    compare.add_argument("before", type=Path, metavar="DIR_A")
    compare.add_argument("after", type=Path, metavar="DIR_B")
    compare.add_argument("--metric", metavar="NAME", help="a metric or a cost (default: each task's primary metric)")
    compare.add_argument(
        "--tolerance", type=float, default=0.0, metavar="X", help="relative worsening that is allowed (default: 0)"
    )
    compare.add_argument("--level", type=float, default=0.95, metavar="P", help="of the intervals (default: 0.95)")
    compare.add_argument("--json", action="store_true", help="as JSON")
    return top


def _run(options: argparse.Namespace) -> int:
    from .session import Request, carry_out

    return carry_out(
        Request(
            experiments=options.experiments,
            out=options.out,
            device=options.device,
            jobs=options.jobs,
            seeds=options.seeds,
            axes=options.axes,
            timeout=options.timeout,
            memory=options.memory,
            dry_run=options.dry_run,
            explain=options.explain,
            retry_failed=options.retry_failed,
            fail_fast=options.fail_fast,
            scheduler=options.scheduler,
            command=options.line,
        )
    )


def _status(options: argparse.Namespace) -> int:
    from .status import status

    _print(status(options.folder))
    return PASSED


def _report(options: argparse.Namespace) -> int:
    from importlib import import_module

    from .catalogue import PUBLISHED
    from .commands import read_commands
    from .row import read, rows_file

    if options.published == (options.folder is not None):
        both = ", and not both" if options.published else ""
        raise UsageError(f"report needs a folder of results, or --published{both}.")
    folder = PUBLISHED if options.published else options.folder
    found = read(rows_file(folder))
    commands = read_commands(folder)
    for sentence in (*found.torn, *commands.torn):
        _complain(sentence)
    rows = list(found.newest().values())
    if not rows:
        raise UsageError(f"{folder} holds no rows yet.")
    out = options.out or (Path("report") if options.published else folder / "report")
    title = "odernn, published results" if options.published else ", ".join(sorted({r["experiment"] for r in rows}))
    write = import_module("odernn.reports.write").write_report
    written = write(rows, out, title, options.line, commands=commands.found)
    for sentence in written.problems:
        _complain(sentence)
    print(printable(str(written.index)))
    return PASSED


def _list(options: argparse.Namespace) -> int:
    from .browse import listing

    text, refused = listing(options.kind, options.json)
    _print(text)
    for sentence in refused:
        _complain(sentence)
    return PASSED


def _show(options: argparse.Namespace) -> int:
    from .browse import shown

    if options.tableau is not None:
        from .promise import promised

        hidden = 32 if options.hidden is None else options.hidden
        _print(promised(options.name, options.tableau, hidden, options.seed or 0, options.json))
        return PASSED
    for option, value in (("--hidden", options.hidden), ("--seed", options.seed)):
        if value is not None:
            raise UsageError(f"{option} is of a cell's certified step: expected it with --tableau NAME.")
    _print(shown(options.name, options.json))
    return PASSED


def _new(options: argparse.Namespace) -> int:
    from .scaffold import new_plugin

    written = new_plugin(options.what, options.name, options.out)
    for line in (
        *map(str, written),
        f"Next: pip install -e {_typed(written[0].parent)} && odernn check {options.name}",
    ):
        print(printable(line))
    return PASSED


def _typed(path: Path) -> str:
    """A path as a shell takes it: quoted where it has to be, as $'...' where it holds what a terminal would obey."""
    text = shlex.quote(str(path))
    if text.isprintable():
        return text
    escapes = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{printable(escapes)}'"


def _check(options: argparse.Namespace) -> int:
    from .checks import checkable
    from .checkup import check_isolated

    if bool(options.names) == options.all:
        raise UsageError(f"check needs names, or --all{', and not both' if options.all else ''}.")
    passed = True
    for name, verdicts in check_isolated(options.names or checkable(), options.timeout, options.jobs):
        _print(name)
        for verdict in verdicts:
            _print(
                f"  {'ok  ' if verdict.ok else 'FAIL'}  {verdict.rule}{': ' if verdict.detail else ''}{verdict.detail}"
            )
            passed = passed and verdict.ok
        sys.stdout.flush()
    return PASSED if passed else FAILED


def _merge(options: argparse.Namespace) -> int:
    from .merging import merge

    _print(merge(options.folders, options.out))
    return PASSED


def _compare(options: argparse.Namespace) -> int:
    from .comparison import compare

    found = compare(
        *(options.before, options.after),
        metric=options.metric,
        tolerance=options.tolerance,
        level=options.level,
        as_json=options.json,
    )
    _print(found.text)
    if found.refused and not found.regression:
        raise UsageError(found.refused)
    return REGRESSION if found.regression else PASSED


def _version(options: argparse.Namespace) -> int:
    from importlib.metadata import version

    print(f"odernn {version('odernn')}")
    return PASSED


COMMANDS: Mapping[str | None, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "status": _status,
    "report": _report,
    "list": _list,
    "show": _show,
    "new": _new,
    "check": _check,
    "merge": _merge,
    "compare": _compare,
    None: _version,
}
