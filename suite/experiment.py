"""An experiment: a TOML file, frozen; the product of its axes; the points of it.

Any value that is a list is an axis; each [[grid]] is the product of its axes, and the points of all grids are merged.
Past 200 lines because half of it is what is said of a wrong file, beside the reading of it.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from .errors import UsageError, nearest, unknown
from .row import Point, identity

Axis: TypeAlias = tuple[Any, ...]

SECTIONS = ("task", "solver", "budget")
TOP = ("name", "summary", "jobs", "seeds", "dtype", "grid", *SECTIONS)
GRID = ("seeds", "dtype", *SECTIONS)
DTYPES = ("float32", "float64", "bfloat16")
NAMES = ("task.name", "solver.cell", "solver.tableau", "solver.backend")
LATER = ("decay",)
"""Budget keys younger than published rows: a point has them only where they are given, so that its id stays."""

POINTS = 200_000
"""An experiment has so many points at most: more are a mistake, and would fill the memory before anything is said."""

INTEGERS = range(-(2**63), 2**63)
"""The whole numbers of TOML, which rows and their readers in other languages hold too."""

BACKEND, NATIVE, ENGINE = "solver.backend", "native", "solver.engine"

TRUE_FIELD = "true-field"
"""The cell that learns nothing."""

UNTRAINED = (TRUE_FIELD, "climatology", "persistence", "parroting", "nvar", "esn", "polynomial-field")
"""Cells that are not trained by updates: a budget of them means nothing to them and is left out of their points."""


@dataclass(frozen=True)
class Experiment:
    """name, summary: of the file. grids: each maps "task.length", "solver.step", ..., "seed", "dtype" to its values.
    jobs: at most so many runs at once, for an experiment whose runs disturb each other; None: no limit of its own."""

    name: str
    summary: str
    grids: tuple[Mapping[str, Axis], ...]
    jobs: int | None = None

    def points(self, device: str = "cpu") -> list[Point]:
        """Every point, in the order of the file, the seed varying fastest; a point of two grids appears once.

        Raises `UsageError` where there are more than `POINTS`.
        """
        count = sum(math.prod(map(len, grid.values())) for grid in self.grids)
        if count > POINTS:
            raise UsageError(f"experiment {self.name!r} has {count:,} points: expected at most {POINTS:,}.")
        found: dict[str, Point] = {}
        for grid in self.grids:
            keys = sorted(grid, key=lambda key: key == "seed")
            for values in itertools.product(*(grid[key] for key in keys)):
                point = _point(dict(zip(keys, values, strict=True)), device)
                found.setdefault(identity(point), point)
        return list(found.values())

    def with_axis(self, axis: str, values: Sequence[Any]) -> Experiment:
        """The experiment with an axis replaced in every grid that has it.

        axis: "solver.step", or "step" where only one section has such a key; budget keys are in every grid, and
        "solver.engine" is in those of the native backend, which alone has engines, whether the file names it or not.
        "seeds" of one number is a number of seeds, as in a file. Raises `UsageError` for an axis that no grid has (with
        the nearest) or that is ambiguous.
        """
        known = {key for grid in self.grids for key in grid} | {f"budget.{key}" for key in _budget()}
        if any(NATIVE in grid.get(BACKEND, ()) for grid in self.grids):
            known.add(ENGINE)
        if axis == "seeds":
            axis, values = "seed", _seeds(values[0] if len(values) == 1 else list(values), "axis 'seeds'")
        hits = sorted(key for key in known if key == axis or key.partition(".")[2] == axis)
        if not hits:
            short = known | {key.partition(".")[2] for key in known if "." in key}
            raise UsageError(f"unknown axis {axis!r} of experiment {self.name!r}: {nearest(axis, short)}")
        if len(hits) > 1:
            raise UsageError(f"axis {axis!r} of experiment {self.name!r} is ambiguous: write {' or '.join(hits)}.")
        (key,) = hits
        _check(key, tuple(values), lambda: f"axis {axis!r}")
        everywhere = key.startswith("budget.")
        if key == ENGINE:
            return replace(self, grids=tuple(part for grid in self.grids for part in _on_engines(grid, tuple(values))))
        grids = tuple({**grid, key: tuple(values)} if everywhere or key in grid else grid for grid in self.grids)
        return replace(self, grids=grids)

    def with_seeds(self, count: int) -> Experiment:
        """The experiment with the seeds 0 .. count - 1 in every grid. Raises `UsageError` below one and
        above `POINTS`."""
        if not 1 <= count <= POINTS:
            limit = "at least 1" if count < 1 else f"at most {POINTS:,}"
            raise UsageError(f"the number of seeds is {count}: expected {limit}.")
        return self.with_axis("seed", range(count))

    def to_toml(self) -> str:
        """The experiment as a file that `parse` reads back to an equal one."""
        lines = [f"name = {_toml(self.name)}", f"summary = {_toml(self.summary)}"]
        lines += [] if self.jobs is None else [f"jobs = {self.jobs}"]
        for grid in self.grids:
            lines += ["", "[[grid]]"]
            for key, values in grid.items():
                # An axis of one value is written bare, unless that value is itself a list.
                bare = len(values) == 1 and not isinstance(values[0], list) and key != "seed"
                parts = ["seeds"] if key == "seed" else key.split(".", 1)
                name = ".".join(part if re.fullmatch(r"[\w-]+", part, re.ASCII) else _toml(part) for part in parts)
                lines.append(f"{name} = {_toml(values[0] if bare else list(values))}")
        return "\n".join(lines) + "\n"


def _on_engines(grid: Mapping[str, Axis], engines: Axis) -> list[Mapping[str, Axis]]:
    """The grid's points of the native backend on these engines, then the others as they are."""
    if ENGINE in grid:
        return [{**grid, ENGINE: engines}]
    backends = grid.get(BACKEND, ())
    others = tuple(name for name in backends if name != NATIVE)
    parts: list[Mapping[str, Axis]] = []
    if NATIVE in backends:
        parts.append({**grid, BACKEND: (NATIVE,), ENGINE: engines})
    if others or not backends:
        parts.append({**grid, BACKEND: others} if others else grid)
    return parts


def load_experiment(name: str | Path) -> Experiment:
    """A shipped experiment by name, or a TOML file by path. Raises `UsageError`."""
    path = Path(name)
    if path.suffix != ".toml" and path.name == str(name):
        from .catalogue import entries

        shipped = entries("experiment")
        if str(name) not in shipped:
            raise unknown("experiment", str(name), shipped)
        path = Path(shipped[str(name)].module)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8.") from None
    except OSError as error:
        raise UsageError(f"experiment {str(path)!r} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # a name that no file can have
        raise UsageError(f"experiment {str(path)!r} cannot be read: {error}.") from None
    return parse(text, str(path))


def parse(text: str, source: str) -> Experiment:
    """An experiment from TOML. source: what error messages call the text. Raises `UsageError`, naming file and line."""
    try:
        data = tomllib.loads(text)
        _whole(data)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", str(error))
        line = place.group(1) if place and place.group(1) else str(text.count("\n") + 1)
        reason = str(error).split(" (at ")[0]
        raise UsageError(f"{source}, line {line}: {reason}.") from None
    except ValueError:  # more digits than `int` reads, or than rows hold
        raise UsageError(f"{source}: a whole number has more than 64 bits.") from None
    except RecursionError:
        raise UsageError(f"{source}: its lists or tables are nested too deep.") from None

    lines = text.split("\n")
    starts = [number for number, one in enumerate(lines) if re.match(r"\s*\[\[\s*grid\s*\]\]", one)]

    def line_of(key: str, grid: int = 0) -> str:
        """Where a key stands: in the grid of that number (from 1; 0 is what comes before them), else anywhere."""
        last = re.escape(key.rpartition(".")[2])
        ends = [0, *starts, len(lines)]
        for number in (*range(*ends[grid : grid + 2]), *range(len(lines))):
            # Possessive, as no part can start where the one before it goes on: a long line takes no time.
            if re.match(rf"\s*+\[*+\s*+([\w-]++\s*+\.\s*+)*[\"']?{last}[\"']?\s*+[=.\]]", lines[number]):
                return f"{source}, line {number + 1}"
        return source

    for key in data:
        if key not in TOP:
            raise UsageError(f"{line_of(key)}: unknown key {key!r}: {nearest(key, TOP)}")
    for key in ("name", "summary"):
        if not isinstance(data.get(key), str) or not data[key]:
            raise UsageError(f"{source}: an experiment needs a {key!r}, a string.")
    if re.fullmatch(r"[\w.-]+", data["name"]) is None or data["name"].startswith("."):
        raise UsageError(
            f"{line_of('name')}: name {data['name']!r} names a folder: letters, digits, '-', '_', '.' only."
        )
    jobs = data.get("jobs")
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise UsageError(f"{line_of('jobs')}: 'jobs' is {jobs!r}: expected a whole number of at least 1.")
    grids = data.get("grid")
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise UsageError(f"{source}: an experiment needs at least one [[grid]].")
    shared = {key: value for key, value in data.items() if key in GRID}
    read = [_grid(shared, grid, line_of, number) for number, grid in enumerate(grids, 1)]
    return Experiment(data["name"], data["summary"], tuple(read), jobs)


def _grid(
    shared: Mapping[str, Any], own: Mapping[str, Any], place: Callable[[str, int], str], number: int
) -> dict[str, Axis]:
    """The axes of the grid of that number. place: the line of a key in a grid, 0 for what is shared."""

    def line_of(key: str) -> str:
        return place(key, number)

    for key in own:
        if key not in GRID:
            raise UsageError(f"{line_of(key)}: unknown key {key!r} of a grid: {nearest(key, GRID)}")
    axes: dict[str, Axis] = {}
    for section in SECTIONS:
        for part, home in ((shared, 0), (own, number)):
            table = part.get(section, {})
            if not isinstance(table, dict):
                raise UsageError(
                    f"{place(section, home)}: {section!r} is {table!r}: expected keys, {section}.name say."
                )
            for key, value in table.items():
                if isinstance(value, dict):
                    raise UsageError(
                        f"{place(key, home)}: {f'{section}.{key}'!r} is a table: expected a value or a list of them."
                    )
                axes[f"{section}.{key}"] = tuple(value) if isinstance(value, list) else (value,)
    dtype = own.get("dtype", shared.get("dtype", "float32"))
    axes["dtype"] = tuple(dtype) if isinstance(dtype, list) else (dtype,)
    axes["seed"] = _seeds(own.get("seeds", shared.get("seeds", 1)), f"{line_of('seeds')}: 'seeds'")
    for key in ("task.name", "solver.cell"):
        if key not in axes:
            raise UsageError(f"{line_of('grid')}: a grid needs a '{key}'.")
    for key, values in axes.items():

        def what(key: str = key) -> str:
            return f"{line_of('seeds' if key == 'seed' else key)}: {key!r}"

        _check(key, values, what)
    return axes


def _seeds(given: Any, what: str) -> Axis:
    """The seeds of a number of them, 0 .. number - 1, or of a list. Raises `UsageError`."""
    if isinstance(given, int) and not isinstance(given, bool) and 0 < given <= POINTS:
        return tuple(range(given))
    if not isinstance(given, list):
        limit = f"at most {POINTS:,}" if isinstance(given, int) and given > POINTS else "at least 1"
        raise UsageError(f"{what} is {given!r}: expected a number of seeds, {limit}, or a list of them.")
    return tuple(given)


def _whole(value: Any) -> None:
    """Raises `ValueError` where a whole number in it is none of `INTEGERS`."""
    if isinstance(value, int) and value not in INTEGERS:
        raise ValueError("more than 64 bits")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _whole(item)


def _is_value(value: Any) -> bool:
    """Whether a row can hold it: not so a TOML date or table."""
    if isinstance(value, str):
        return not re.search("[\ud800-\udfff]", value)  # a byte of the command line that is no text
    return isinstance(value, int | float) or (isinstance(value, list) and all(map(_is_value, value)))


def _check(key: str, values: Axis, place: Callable[[], str]) -> None:
    """Values that are wrong whatever the task and the solver say. place: asked where one is. Raises `UsageError`."""
    try:
        _check_values(key, values)
    except UsageError as error:
        raise UsageError(f"{place()} {error}") from None


def _check_values(key: str, values: Axis) -> None:
    if not values:
        raise UsageError("is an empty list: expected at least one value.")
    for value in values:
        if key in NAMES and not isinstance(value, str):
            raise UsageError(f"is {value!r}: expected a name.")
        if not _is_value(value):
            raise UsageError(f"is {value!r}: expected a number, a string, true, false, or a list of these.")
    if key == "seed":
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise UsageError(f"holds the seed {value!r}: expected whole numbers from 0.")
    elif key == "dtype":
        for value in values:
            if value not in DTYPES:
                raise UsageError(f"is {value!r}: {nearest(str(value), DTYPES)}")
    elif key.startswith("budget."):
        known, name = _budget(), key.partition(".")[2]
        if name not in known:
            raise UsageError(f"is an unknown key: {nearest(name, known)}")
        for value in values:
            whole = isinstance(known[name], int)
            good = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            least = 1 if name in ("updates", "batch") else 0
            if not good or not least <= value < float("inf"):
                kind = "whole number" if whole else "number"
                raise UsageError(f"is {value!r}: expected a {kind} of at least {least}.")


def _budget() -> dict[str, Any]:
    """The keys of a budget and their defaults."""
    from dataclasses import asdict

    from .contracts import Budget  # imports NumPy and SymPy, so not where --help passes

    return asdict(Budget())


def _point(values: Mapping[str, Any], device: str) -> Point:
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if name:
            sections[section][name] = value
    trained = sections["solver"].get("cell") not in UNTRAINED
    defaults = {key: value for key, value in _budget().items() if key not in LATER}
    budget = defaults | sections["budget"] if trained else {}
    seed, dtype = values["seed"], values["dtype"]
    return {**sections, "budget": budget, "seed": seed, "device": device, "dtype": dtype}


def values_of(text: str) -> list[Any]:
    """The values of `--set`: those of a TOML array, with or without its brackets; words between commas may be bare."""
    found = _toml_values(text)
    if found is None:
        found = [value for part in text.split(",") for value in _toml_values(part) or [part.strip()]]
    return found[0] if len(found) == 1 and isinstance(found[0], list) else found


def _toml_values(text: str) -> list[Any] | None:
    try:
        values: list[Any] = tomllib.loads(f"values = [{text}]")["values"]
        _whole(values)
    except (ValueError, RecursionError):  # no TOML, a number of more than 64 bits, a list nested too deep
        return None
    return values


def _toml(value: Any) -> str:
    if isinstance(value, str):
        # A JSON string is a TOML basic string, but for the delete character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return repr(value)
