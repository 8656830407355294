"""Inputs that are wrong in many ways: random, nearly right, hostile. Strategies for hypothesis."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
CANARY = "odernn_canary"

HOSTILE = [
    *(f"__import__('os').system('{CANARY}')", f"$(touch {CANARY})", f"`touch {CANARY}`", f"!!python/name:os.{CANARY}"),
    *(
        "../../../etc/passwd",
        "/etc/passwd",
        "..",
        "/",
        "~",
        "a/../../b",
        "\\\\host\\share",
        "con",
        "a" * 5000,
        "-",
        "--",
    ),
    *("\x1b[2J\x1b]0;title\x07", "line\nbreak", "\r", "\u202egnp.exe", "\u200b", "\ufeff", "\x7f", "é\u0301", "💥", ""),
    *("<script>alert(1)</script>", "=1+1", "{0.__class__}", "%s%n", "{{7*7}}", "NaN", "Infinity", "null", "true"),
]
TEXT = st.sampled_from(HOSTILE) | st.text(max_size=12)
NUMBERS = (
    st.sampled_from([0, -1, 1, 2**31, 2**63 - 1, -(2**63), 0.0, -0.0, 1e308, 5e-324, float("inf"), float("nan")])
    | st.integers(-3, 40)
    | st.floats()
)
SCALARS = NUMBERS | st.booleans() | TEXT


def counted(default: int, slow: int) -> Callable[[Any], Any]:
    """The test with so many inputs, the same ones every time; as a slow test, with many more, others every time."""
    return pytest.mark.parametrize(
        "tries", [default, pytest.param(slow, marks=[pytest.mark.slow, pytest.mark.timeout(0)])]
    )


def fuzz(target: Callable[[Any], None], inputs: st.SearchStrategy[Any], tries: int) -> None:
    """Give so many inputs to the target, which must not raise."""
    few = tries <= 2000
    checks = list(HealthCheck)

    @settings(
        max_examples=tries, deadline=None, derandomize=few, database=None, suppress_health_check=checks, print_blob=True
    )
    @given(inputs)
    def carried_out(one: Any) -> None:
        target(one)

    carried_out()


# ---------------------------------------------------------------------------------------------------------- experiments

SHIPPED = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "suite" / "experiments").glob("*.toml"))]

KEYS = st.sampled_from(
    [
        *("name", "summary", "jobs", "seeds", "dtype", "grid", "task", "solver", "budget", "task.name", "task.length"),
        *("solver.cell", "solver.tableau", "solver.backend", "solver.engine", "solver.step", "solver.steps"),
        *("solver.hidden", "budget.updates", "budget.batch", "budget.decay", "task.problem", "task.system", '"a.b"'),
    ]
)
NAMES = st.sampled_from(
    ["adding", "ivp", "chaos", "copying", "leaky", "lstm", "true-field", "cornn", "euler", "rk4", "native", "scipy"]
)


def toml(value: Any) -> str:
    """The value in TOML, written as other programs might."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value).replace("\\ud8", "\\ud7").replace("\\udc", "\\udb")  # halves of pairs are no TOML
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


VALUES = st.recursive(
    SCALARS | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
RAW = st.sampled_from(
    [
        *("1979-05-27", "07:32:00", "0x" + "f" * 6000, "9" * 5000, "1e999", "-nan", "'''\n'''", "[" * 3000, "{" * 500),
        *("[1,,2]", "+1_000", "0b11", "1_000_000_000", '"\\ud800"', '"\\U0010ffff"', "[[[[1]]]]", "{a.b.c = 1}", ""),
    ]
)
LINES = st.builds(lambda key, value: f"{key} = {value}", KEYS | TEXT.map(json.dumps), VALUES.map(toml) | RAW)
HEADS = st.sampled_from(
    [
        "[[grid]]",
        "[grid]",
        "[[ grid ]]",
        "[task]",
        "[[grid.task]]",
        "[solver.cell]",
        "[[",
        "#",
        " " * 3000,
        "\t[[grid]]",
    ]
)
GOOD = 'name = "t"\nsummary = "s"\n[[grid]]\ntask.name = "adding"\nsolver.cell = "leaky"\nsolver.tableau = "rk4"\n'


@st.composite
def built(draw: st.DrawFn) -> str:
    """Lines of the right form and the wrong content, some within a good file."""
    lines = GOOD.splitlines() if draw(st.booleans()) else []
    for line in draw(st.lists(LINES | HEADS, min_size=1, max_size=6)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    return "\n".join(lines)


@st.composite
def bent(draw: st.DrawFn) -> str:
    """A shipped file with a few characters or lines lost, doubled, moved or replaced."""
    text = draw(st.sampled_from(SHIPPED))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 30)))
        text = (
            text[:at] + draw(st.sampled_from(["", text[at:end] * 2, "[", "]", '"', "=", "\n", "."]) | TEXT) + text[end:]
        )
    return text


EXPERIMENTS = st.text(max_size=200) | built() | bent()

# ----------------------------------------------------------------------------------------------------------------- rows


def row(number: int = 0) -> dict[str, Any]:
    """A row as a run writes it."""
    return {
        "schema": 1, "id": f"{number:016x}", "experiment": "quick", "task": {"name": "adding", "length": 20},
        "solver": {"cell": "leaky", "tableau": "rk4", "backend": "native", "engine": "general", "step": 0.5},
        "budget": {"updates": 3, "batch": 2}, "seed": number, "device": "cpu", "dtype": "float32", "status": "ok",
        "reason": "", "metrics": {"mse": 0.25, "baseline": 0.5}, "curves": {"loss": [[0, 1.0], [3, 0.5]]},
        "cost": {"seconds": 0.5, "parameters": 12, "f_calls": 7}, "properties": {"stages": 4, "order": 4},
        "environment": {"python": "3.11.7", "packages": {"torch": "2.13.0"}, "cpu": "x", "code": "0" * 16},
        "started": "2026-01-01T00:00:00.000+00:00", "finished": "2026-01-01T00:00:01.000+00:00",
    }  # fmt: skip


JSON = st.recursive(
    st.none() | SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


SECTIONS = ("task", "solver", "budget", "metrics", "curves", "cost", "properties", "environment")
WORDED = ("experiment", "status", "reason", "device", "dtype", "started", "finished", "id")


@st.composite
def bent_row(draw: st.DrawFn, torn: bool = True) -> dict[str, Any]:
    """A row with a few values replaced, lost or added within its sections. torn: anywhere else too, so that it is no
    row any more."""
    found = row(draw(st.integers(0, 3)))
    for _ in range(draw(st.integers(0, 4))):
        where = draw(st.integers(0, 5))
        if where == 0 and torn:
            found[draw(st.sampled_from([*sorted(found), "another"]))] = draw(JSON)
        elif where == 0 and draw(st.booleans()):
            found["status"] = draw(st.sampled_from(["ok", "failed", "diverged", "timeout", "memory", "skipped"]))
        elif where == 1:
            found[draw(st.sampled_from(WORDED))] = draw(TEXT)
        else:
            section = found[draw(st.sampled_from(SECTIONS))]
            if isinstance(section, dict):
                key = draw(st.sampled_from([*sorted(section), "another"]) | TEXT)
                if draw(st.integers(0, 5)):
                    section[key] = draw(JSON)
                else:
                    section.pop(key, None)
    return found


def line_of(found: Mapping[str, Any]) -> bytes:
    return json.dumps(found).encode()


ODD_LINES = st.sampled_from(
    [
        *(b"", b"{}", b"[]", b"null", b'{"schema": 1}', b"\x00" * 40, b"\xff\xfe", b"\xef\xbb\xbf{}", b"[" * 50000),
        *(b'{"a":' * 2000, b'{"schema": 1, "id": ' + b"9" * 5000 + b"}", b"NaN", b'"\\ud800"', b'{"schema": 2}', b"\r"),
    ]
) | st.binary(max_size=60)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file of rows: good, bent, torn, and other lines; the end may be missing."""
    lines = draw(
        st.lists(
            bent_row().map(line_of) | ODD_LINES | st.builds(lambda n: line_of(row(n)), st.integers(0, 9)), max_size=5
        )
    )
    data = draw(st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b""])).join(lines) + b"\n"
    return data[: len(data) - draw(st.sampled_from([0, 0, 0, 1, 2, 40]))]


FOLDERS = st.lists(bent_row(torn=False).map(line_of), min_size=1, max_size=4).map(
    lambda lines: b"\n".join(lines) + b"\n"
)
"""Files that hold rows alone, with values of any kind."""

# -------------------------------------------------------------------------------------------------------- command lines

WORDS = st.sampled_from(
    [
        *(
            "run",
            "status",
            "report",
            "list",
            "show",
            "new",
            "merge",
            "compare",
            "quick",
            "out",
            "t.toml",
            "absent.toml",
        ),
        *("task", "cell", "tableau", "tableaux", "metrics", "rk4", "leaky", "adding", "dopri5", "true-field", "plugin"),
        *("--help", "--version", "--json", "--published", "--dry-run", "--explain", "--retry-failed", "--fail-fast"),
        *("--out", "--device", "--jobs", "--seeds", "--set", "--timeout", "--memory", "--scheduler", "--tableau"),
        *(
            "--hidden",
            "--seed",
            "--metric",
            "--tolerance",
            "--level",
            "--all",
            "--",
            "cpu",
            "0",
            "1",
            "-1",
            "1e9",
            "nan",
        ),
        *("step=0.5,1", "tableau=rk4", "seeds=[1,2]", "updates=1", "cell=leeky", "dtype=float64", "engine=cpu", "x="),
    ]
)
BYTES = st.binary(max_size=8).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
ARGUMENTS = WORDS | TEXT.map(lambda text: text.replace("\0", "")) | BYTES
COMMANDS: Mapping[str, list[st.SearchStrategy[str]]] = {
    "run": [st.sampled_from(["t.toml", "quick"])],
    "status": [st.sampled_from(["out", ".", "absent"])],
    "report": [st.sampled_from(["empty", ".", "absent"])],
    "list": [],
    "show": [],
    "new": [st.sampled_from(["task", "cell", "tableau"])],
    "merge": [st.just("out"), st.just("empty"), st.just("--out"), st.sampled_from(["merged", "empty", "t.toml"])],
    "compare": [st.just("out"), st.sampled_from(["out", "empty"])],
}


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with arguments of any kind; what would run an experiment is told to run nothing."""
    command = draw(st.sampled_from([*COMMANDS, "", "rnu"]))
    arguments = [draw(one) for one in COMMANDS.get(command, [])] if draw(st.integers(0, 4)) else []
    for extra in draw(st.lists(ARGUMENTS, max_size=4)):
        arguments.insert(draw(st.integers(0, len(arguments))), extra)
    arguments = [one for one in arguments if one != "check"]
    if command == "run":
        arguments.insert(0, draw(st.sampled_from(["--dry-run", "--explain"])))
    return [command, *arguments] if command else [one for one in arguments if one != "run"]
